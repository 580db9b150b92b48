//! What goes on in the background of a subsystem: formats, a sanitize operation, a self-test. What is done about them:
//! `admin/operations.rs`.

use std::collections::VecDeque;

use nvme_spec::{Nsid, SelfTestLog, SelfTestResult};
use simtime::{EventQueue, Instant};
use zerocopy::FromZeros;

use crate::command::SanitizeAction;
use crate::event::{Event, Tag};
use crate::logs::power_on_hours;
use crate::reminder::Reminder;

/// Self-test results kept (Base 2.1, Figure 211).
const RESULTS_MAX: usize = 20;
/// A place of the log without a result.
const UNUSED: u8 = 0xF;

/// How a self-test ended (Base 2.1, Figure 212).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TestResult {
    Passed = 0,
    EndedByCommand = 1,
    EndedByReset = 2,
    EndedByRemoval = 3,
    EndedByFormat = 4,
    EndedBySanitize = 9,
}

/// A format being done.
#[derive(Debug)]
pub(crate) struct Formatting {
    pub(crate) tag: Tag,
    pub(crate) nsids: Vec<Nsid>,
    pub(crate) block_bytes: u32,
    pub(crate) ends: Instant,
}

/// The last sanitize operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sanitizing {
    pub(crate) action: SanitizeAction,
    pub(crate) cdw10: u32,
    pub(crate) started: Instant,
    pub(crate) ends: Instant,
    pub(crate) is_running: bool,
}

/// A self-test being done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Testing {
    pub(crate) is_extended: bool,
    pub(crate) nsid: Nsid,
    pub(crate) started: Instant,
    pub(crate) ends: Instant,
}

impl Testing {
    fn code(&self) -> u8 {
        if self.is_extended { 2 } else { 1 }
    }
}

/// State of all of them.
#[derive(Debug, Default)]
pub(crate) struct Background {
    pub(crate) formatting: Vec<Formatting>,
    pub(crate) sanitizing: Option<Sanitizing>,
    /// Pages written by hosts when the last sanitize ended.
    pub(crate) written_pages: u64,
    pub(crate) testing: Option<Testing>,
    pub(crate) format_reminder: Reminder,
    pub(crate) test_reminder: Reminder,
    pub(crate) results: VecDeque<SelfTestResult>,
}

impl Background {
    /// A format's command ended before the format did: nothing of it happens. Returns its namespaces.
    pub(crate) fn format_abandoned(&mut self, tag: Tag) -> Vec<Nsid> {
        let ended = self.formatting.extract_if(.., |format| format.tag == tag);
        ended.flat_map(|format| format.nsids).collect()
    }

    /// A controller reset ends a short self-test; an extended one and a sanitize go on.
    pub(crate) fn controller_reset(&mut self, now: Instant) {
        if self.testing.is_some_and(|test| !test.is_extended) {
            self.end_test(now, TestResult::EndedByReset);
        }
    }

    /// The power went, and is there again: a format has not happened, a self-test is over, and a sanitize goes on (Base 2.1,
    /// section 8.1.24).
    pub(crate) fn power_lost(&mut self, now: Instant, events: &mut EventQueue<Event>) {
        self.formatting.clear();
        self.end_test(now, TestResult::EndedByReset);
        (self.format_reminder, self.test_reminder) = (Reminder::default(), Reminder::default());
        if let Some(sanitizing) = self.sanitizing.filter(|s| s.is_running) {
            events.push(sanitizing.ends.max(now), Event::Sanitized);
        }
    }

    #[inline]
    pub(crate) fn is_sanitizing(&self) -> bool {
        self.sanitizing.is_some_and(|s| s.is_running)
    }

    /// A namespace is no longer there for a self-test of it, or of all.
    pub(crate) fn namespace_removed(&mut self, now: Instant, nsid: Nsid) {
        if self.testing.is_some_and(|test| test.nsid == nsid || test.nsid == Nsid::ALL) {
            self.end_test(now, TestResult::EndedByRemoval);
        }
    }

    pub(crate) fn end_test(&mut self, now: Instant, result: TestResult) {
        let Some(test) = self.testing.take() else { return };
        let mut entry = SelfTestResult::new_zeroed();
        entry.status = test.code() << 4 | result as u8;
        entry.power_on_hours.set(power_on_hours(now));
        entry.nsid.set(test.nsid.0);
        self.results.push_front(entry);
        self.results.truncate(RESULTS_MAX);
    }

    /// Device self-test log.
    pub(crate) fn self_test_log(&self, now: Instant) -> SelfTestLog {
        let mut log = SelfTestLog::new_zeroed();
        if let Some(test) = &self.testing {
            log.current_operation = test.code();
            log.completion = part(test.started, test.ends, now, 100) as u8;
        }
        for (n, entry) in log.results.iter_mut().enumerate() {
            match self.results.get(n) {
                Some(result) => *entry = *result,
                None => entry.status = UNUSED,
            }
        }
        log
    }
}

/// How far `now` is from `start` to `end`, in parts of `whole`.
pub(crate) fn part(start: Instant, end: Instant, now: Instant, whole: u64) -> u64 {
    let total = u128::from(end.since(start).as_ns().max(1));
    let done = u128::from(now.since(start).as_ns()).min(total);
    (done * u128::from(whole) / total) as u64
}
