//! Runs that begin on the first pages of their input, while later ones are on their way to device memory.
//!
//! A program is taken to work through its input from front to back, evenly: of n pages and a run time of T, page i (from 0 on) is
//! needed when T i/n is over. The program holds its unit while it waits for a page. If page i arrives when the job has had `a_i` of
//! its unit, the job needs the unit for
//!
//! ```text
//! max over i of  a_i + T (n - i)/n
//! ```
//!
//! What the program computes does not depend on it: it runs when all of its input is there, and that is before this time is over.

use compute::JobId;
use simtime::{Duration, Instant};
use ssd::Lpn;

use super::stream;
use crate::event::{Event, Tag};
use crate::namespace::nvm::waiting::Source;
use crate::turn::Turn;
use crate::waiting::Waiting;
use crate::work::WorkItem;

/// Which page of an input a flash page is.
#[derive(Debug)]
pub(crate) struct PageOrder {
    /// Sorted by flash page.
    pages: Vec<(Lpn, u32)>,
    /// At the first place of a flash page: how many of its places have arrived. An input may have a page more than once.
    arrived: Vec<u32>,
}

impl PageOrder {
    /// The order of the pages of some blocks.
    pub(super) fn of(turn: &Turn<'_>, sources: &[Source]) -> Self {
        let spans = sources.iter().flat_map(|source| {
            let namespace = turn.subsystem.namespaces.nvm(source.nsid);
            namespace.expect("blocks that were resolved are there").spans(source.extent)
        });
        let mut pages: Vec<_> = spans.map(|span| span.lpn).zip(0..).collect();
        pages.sort_unstable();
        Self { arrived: vec![0; pages.len()], pages }
    }

    /// A flash page was read; returns which page of the input it is.
    pub(crate) fn arrived(&mut self, lpn: Lpn) -> Option<u32> {
        let first = self.pages.partition_point(|(other, _)| *other < lpn);
        let arrived = self.arrived.get_mut(first)?;
        let (found, place) = *self.pages.get(first + *arrived as usize)?;
        *arrived += 1;
        (found == lpn).then_some(place)
    }
}

/// The input of a job that began early.
#[derive(Debug)]
pub(crate) struct EarlyInput {
    /// The unit time that the job had had when each page arrived.
    arrivals: Vec<Duration>,
    left: usize,
    /// What is run once all pages are there.
    item: Option<WorkItem>,
}

impl EarlyInput {
    pub(super) fn new(pages: usize, item: Option<WorkItem>) -> Self {
        Self { arrivals: vec![Duration::ZERO; pages], left: pages, item }
    }

    /// The unit time of a job that would take so long if all of its input were there.
    pub(super) fn unit_time(&self, run: Duration) -> Duration {
        let pages = self.arrivals.len() as u128;
        let rest = |i: usize| {
            let rest = (u128::from(run.as_ns()) * (pages - i as u128)).div_ceil(pages);
            Duration::from_ns(rest as u64)
        };
        let ends = self.arrivals.iter().enumerate().map(|(i, arrival)| *arrival + rest(i));
        ends.max().unwrap_or(run)
    }
}

/// A page of the input of a slot's chunk has been read from flash: it is in device memory then.
pub(crate) fn page_read(turn: &mut Turn<'_>, copy: Tag, page: u32, then: Instant) {
    turn.subsystem.events.push(then, Event::InputArrived { copy, page });
}

/// A page of the input of a chunk is in device memory: its run begins, or goes on.
pub(crate) fn page_arrived(turn: &mut Turn<'_>, copy: Tag, page: u32) {
    let Some(job) = stream::run_of(turn, copy) else { return };
    let had = turn.subsystem.engine.had(turn.now, JobId(job.0));
    let Some(command) = turn.session.inflight.get_mut(job) else { return };
    let Waiting::Job(running) = &mut command.waiting else { return };
    let Some(early) = &mut running.early else { return };
    early.arrivals[page as usize] = had;
    early.left -= 1;
    if early.left == 0 {
        all_arrived(turn, job);
    }
}

/// All of a job's input is there: the program runs.
fn all_arrived(turn: &mut Turn<'_>, tag: Tag) {
    let (now, job) = (turn.now, JobId(tag.0));
    let Some(command) = turn.session.inflight.get_mut(tag) else { return };
    let Waiting::Job(running) = &mut command.waiting else { return };
    let declared = running.cost.declared();
    let Some(early) = &mut running.early else { return };
    let item = early.item.take();
    let cost = declared.map(|time| early.unit_time(time));
    let engine = &mut turn.subsystem.engine;
    match item {
        // Nothing runs: its time is known.
        None => engine.set_cost(now, job, cost.unwrap_or(Duration::ZERO)),
        Some(item) => {
            turn.subsystem.outbox.work.push(item);
            let least = cost.unwrap_or_else(|| early.unit_time(Duration::ZERO));
            engine.set_least_cost(now, job, Some(least));
        }
    }
}
