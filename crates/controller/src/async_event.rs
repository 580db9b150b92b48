//! Asynchronous events (Base 2.1, section 5.1.2): what happened waits for a request that can carry
//! it; a type reported once is silent until its log page was read.

use std::collections::VecDeque;

use nvme_spec::{AsyncEvent, Status, event_type, lid};
use simtime::Instant;

use crate::controller::Controller;
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Ending, Tag};
use crate::limits::ASYNC_EVENT_REQUESTS_MAX;

/// Something a host may want to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// A doorbell of a queue that does not exist was written.
    InvalidDoorbellRegister,
    /// A doorbell was written with a value its queue cannot have.
    InvalidDoorbellValue,
    /// The temperature crossed a threshold.
    TemperatureThreshold,
    /// Identify data of a namespace changed.
    NamespaceAttribute,
    /// A sanitize operation is over.
    SanitizeCompleted,
}

impl Notice {
    /// Type, information and log page (Base 2.1, Figures 152 to 157).
    fn event(self) -> AsyncEvent {
        let (kind, information, page) = match self {
            Self::InvalidDoorbellRegister => (event_type::ERROR, 0, lid::ERROR),
            Self::InvalidDoorbellValue => (event_type::ERROR, 1, lid::ERROR),
            Self::TemperatureThreshold => (event_type::SMART, 1, lid::SMART),
            Self::NamespaceAttribute => (event_type::NOTICE, 0, lid::CHANGED_NAMESPACES),
            Self::SanitizeCompleted => (event_type::COMMAND_SET, 1, lid::SANITIZE_STATUS),
        };
        AsyncEvent::new().with_event_type(kind).with_information(information).with_lid(page)
    }
}

/// Requests that wait and notices that wait.
#[derive(Debug, Default)]
pub(crate) struct AsyncEvents {
    requests: VecDeque<Tag>,
    /// One of a kind at most.
    notices: VecDeque<Notice>,
    /// Types reported whose log page was not read since, as bits.
    silenced: u8,
}

impl AsyncEvents {
    /// A controller reset: requests are abandoned with all other commands, notices forgotten.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// A request ended in another way.
    pub(crate) fn forget(&mut self, tag: Tag) {
        self.requests.retain(|t| *t != tag);
    }

    /// A log page was read: its type may be reported again.
    pub(crate) fn log_read(&mut self, page: u8) {
        let kind = match page {
            lid::ERROR => event_type::ERROR,
            lid::SMART => event_type::SMART,
            lid::CHANGED_NAMESPACES => event_type::NOTICE,
            lid::SANITIZE_STATUS => event_type::COMMAND_SET,
            _ => return,
        };
        self.silenced &= !(1 << kind);
    }

    /// The first notice that may be reported.
    fn reportable(&self) -> Option<usize> {
        let silenced = |n: &Notice| self.silenced & 1 << n.event().event_type() != 0;
        self.notices.iter().position(|n| !silenced(n))
    }
}

impl Controller {
    /// Keeps an Asynchronous Event Request until there is something to tell.
    pub(crate) fn request_event(&mut self, tag: Tag) -> Result<(), Status> {
        if self.async_events.requests.len() >= ASYNC_EVENT_REQUESTS_MAX {
            return Err(Status::EVENT_LIMIT_EXCEEDED.with_dnr());
        }
        // A request may wait for ever: it must not hold a place that other completions need.
        if let Some(queue) = &mut self.completion[0] {
            queue.release();
        }
        self.fetch_due |= self.arbiter.unblock();
        self.set_activity(tag, Activity::AwaitingEvent);
        self.async_events.requests.push_back(tag);
        Ok(())
    }

    /// True if the host asked for notices of a kind (Asynchronous Event Configuration), or always
    /// gets them.
    pub(crate) fn wants(&self, notice: Notice) -> bool {
        let config = self.features.current.async_events;
        match notice {
            Notice::TemperatureThreshold => config.smart() & 1 << 1 != 0,
            Notice::NamespaceAttribute => config.namespace_attributes(),
            _ => true,
        }
    }

    /// Something happened that a host may have asked to be told.
    pub(crate) fn notify(&mut self, notice: Notice) {
        if self.wants(notice) && !self.async_events.notices.contains(&notice) {
            self.async_events.notices.push_back(notice);
            self.fetch_due = true;
        }
    }

    /// Sends notices to requests that wait, as long as the admin completion queue has places.
    pub(crate) fn deliver_events(&mut self, now: Instant, host: &mut impl HostMemory) {
        while !self.async_events.requests.is_empty()
            && let Some(which) = self.async_events.reportable()
        {
            if !self.reserve_completion(host, 0) {
                return;
            }
            let notice = self.async_events.notices.remove(which).expect("it was just found");
            let tag = self.async_events.requests.pop_front().expect("one waits");
            let event = notice.event();
            self.async_events.silenced |= 1 << event.event_type();
            let ending = self.inflight.remove(tag).expect("requests that wait are in flight");
            let result = event.into_bits().into();
            self.end(now, host, Ending { result, ..ending });
        }
    }

    /// True if [`Self::deliver_events`] has something to do.
    #[inline]
    pub(crate) fn has_events(&self) -> bool {
        !self.async_events.notices.is_empty()
    }

    /// Ends an Asynchronous Event Request early with a status, if there is a place for it.
    pub(crate) fn end_event_request(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        status: Status,
    ) -> bool {
        if !self.reserve_completion(host, 0) {
            return false;
        }
        self.async_events.forget(tag);
        if let Some(ending) = self.inflight.remove(tag) {
            self.end(now, host, Ending { status, ..ending });
        }
        true
    }
}
