//! Asynchronous events (Base 2.1, section 5.1.2): what happened waits for a request that can carry
//! it; a type reported once is silent until its log page was read.

use std::collections::VecDeque;

use nvme_spec::{AsyncEvent, Status, event_type, lid};

use crate::event::Tag;
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
    /// Few spare blocks are left.
    SpareThreshold,
    /// The flash takes no more writes.
    Reliability,
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
            Self::SpareThreshold => (event_type::SMART, 2, lid::SMART),
            Self::Reliability => (event_type::SMART, 0, lid::SMART),
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

    /// Keeps a request until there is something to tell.
    pub(crate) fn request(&mut self, tag: Tag) -> Result<(), Status> {
        if self.requests.len() >= ASYNC_EVENT_REQUESTS_MAX {
            return Err(Status::EVENT_LIMIT_EXCEEDED.with_dnr());
        }
        self.requests.push_back(tag);
        Ok(())
    }

    /// Keeps a notice; false if one of its kind waits already.
    pub(crate) fn add(&mut self, notice: Notice) -> bool {
        let is_new = !self.notices.contains(&notice);
        if is_new {
            self.notices.push_back(notice);
        }
        is_new
    }

    /// True if there are notices.
    #[inline]
    pub(crate) fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// True if a request can carry a notice.
    pub(crate) fn is_deliverable(&self) -> bool {
        !self.requests.is_empty() && self.reportable().is_some()
    }

    /// Takes a request, and what it carries to the host.
    pub(crate) fn deliver(&mut self) -> Option<(Tag, AsyncEvent)> {
        let which = self.reportable()?;
        let tag = self.requests.pop_front()?;
        let event = self.notices.remove(which).expect("it was just found").event();
        self.silenced |= 1 << event.event_type();
        Some((tag, event))
    }
}
