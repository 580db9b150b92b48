//! The search: states of every cut, and of what fails the shortest history.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::ControlFlow;

use history::Range;
use simtime::Prng;

use crate::Checker;
use crate::command::CheckerError;
use crate::state::{State, Verdict};
use crate::subsets::Subsets;
use crate::workload::{Cut, Kind, Piece, Workload};

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Different states to check at most.
    pub states: u64,
    /// Of what is chosen at random.
    pub seed: u64,
    /// Ends after so many cuts with a failure.
    pub failures: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { states: 10_000, seed: 1, failures: 1 }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// States that were checked.
    pub states: u64,
    /// The most that there will be.
    pub states_max: u64,
    /// Failures so far.
    pub failures: usize,
}

/// Why a search cannot be done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum SearchError {
    #[error(
        "the check fails where nothing was lost: {0}; it must succeed with all that was written in place. Is it right?"
    )]
    Whole(String),
    #[error("{0:?} names no state of this history: give it as it was printed")]
    NoState(String),
    #[error(transparent)]
    Checker(#[from] CheckerError),
}

/// What a search found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Moments at which power may go and that differ in what may be left.
    pub cuts: u64,
    /// Of them, those of which every state was checked.
    pub complete: u64,
    /// Those at which writes of the same blocks were under way together: of their two orders one was tried.
    pub two_orders: u64,
    /// Different states that were checked, those of making failures shorter not counted.
    pub states: u64,
    /// What failed, the earliest cut first.
    pub failures: Vec<Failure>,
}

/// A state that the software cannot stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The state: it loses as little as fails.
    pub crash: Crash,
    /// What the checker said.
    pub why: String,
}

/// A state that a loss of power may leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crash {
    /// Names the state, for [`with_state`].
    pub state: String,
    /// Changes of blocks that had begun.
    pub begun: usize,
    /// What the host had said last.
    pub last_mark: Option<String>,
    /// How many times it had said something.
    pub marks: usize,
    /// Changes that were not durable, in order: which parts are there and which are lost.
    pub pending: Vec<Pending>,
    /// Flushes under way.
    pub flushes_under_way: usize,
}

/// A change that was not durable when the power went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Its number among all changes, from 1.
    pub number: usize,
    /// How it changes blocks.
    pub kind: Kind,
    /// When it began, in nanoseconds of the drive's time.
    pub at_ns: u64,
    /// The host knew that it had ended.
    pub is_acknowledged: bool,
    /// Bytes that are there.
    pub kept: Vec<Range>,
    /// Bytes that are not.
    pub lost: Vec<Range>,
}

/// Searches for states that fail.
///
/// # Errors
/// If the check cannot be done, or fails where nothing is lost.
pub fn search(
    workload: &Workload,
    checker: &mut dyn Checker,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, SearchError> {
    check_whole(workload, checker)?;
    let shares = shares(workload, options.states);
    let mut search = Search {
        workload,
        checker,
        seen: HashSet::new(),
        report: Report { cuts: shares.len() as u64, ..Report::default() },
        states_max: shares.iter().map(|share| share.states).sum(),
        progress,
    };
    let mut number = 0;
    workload.cuts(|cut| -> Result<_, SearchError> {
        search.look_at(cut, shares[number], options.seed)?;
        number += 1;
        Ok(match search.report.failures.len() >= options.failures {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })?;
    Ok(search.report)
}

/// What all writes leave must be right: otherwise the check is not.
fn check_whole(workload: &Workload, checker: &mut dyn Checker) -> Result<(), SearchError> {
    let whole = workload
        .at(workload.end(), |cut| one(checker, workload.state(cut, &vec![true; cut.pieces.len()])));
    match whole.expect("the end is a moment at which power goes")? {
        Verdict::Holds => Ok(()),
        Verdict::Fails(why) => Err(SearchError::Whole(why)),
    }
}

fn one(checker: &mut dyn Checker, state: State<'_>) -> Result<Verdict, CheckerError> {
    let verdicts = checker.check(&[state])?;
    Ok(verdicts.into_iter().next().expect("a checker has a verdict for each state"))
}

/// What a cut may have of the states to check.
#[derive(Clone, Copy, Debug)]
struct Share {
    states: u64,
    is_complete: bool,
}

/// Cuts of which there are few states are searched wholly; the others share the rest.
fn shares(workload: &Workload, states: u64) -> Vec<Share> {
    let mut wanted = Vec::new();
    let visited: Result<(), Infallible> = workload.cuts(|cut| {
        wanted.push(Subsets::count(cut.pieces.len()).unwrap_or(u64::MAX));
        Ok(ControlFlow::Continue(()))
    });
    let Ok(()) = visited;
    let mut sorted = wanted.clone();
    sorted.sort_unstable();
    let (mut left, mut limit) = (states, 0);
    for (n, count) in sorted.iter().enumerate() {
        limit = left / (sorted.len() - n) as u64;
        if *count > limit {
            break;
        }
        left -= count;
        limit = u64::MAX;
    }
    let count = wanted.len() as u64;
    // With fewer states than moments, some moments have one, evenly spread.
    let has_one = |n: usize| {
        let n = n as u64;
        limit > 0 || (n + 1) * states / count > n * states / count
    };
    let share = |(n, count): (usize, u64)| match has_one(n) {
        true => Share { states: count.min(limit.max(1)), is_complete: count <= limit.max(1) },
        false => Share { states: 0, is_complete: false },
    };
    wanted.into_iter().enumerate().map(share).collect()
}

struct Search<'a> {
    workload: &'a Workload,
    checker: &'a mut dyn Checker,
    /// States that were checked.
    seen: HashSet<u128>,
    report: Report,
    states_max: u64,
    progress: &'a mut dyn FnMut(Progress),
}

/// Checks that making a failure small may take.
const SHORTEN_CHECKS: u32 = 1000;

/// Subsets that are made for each state that is to be checked: many leave the same.
const ATTEMPTS: u64 = 8;

impl Search<'_> {
    fn look_at(&mut self, cut: &Cut<'_>, share: Share, seed: u64) -> Result<(), SearchError> {
        let commands: Vec<usize> = cut.pieces.iter().map(|piece| piece.write).collect();
        let seed = Prng::new(seed ^ (cut.steps as u64) << 20).next_u64();
        let mut subsets = Subsets::new(&commands, seed, share.states.saturating_mul(ATTEMPTS));
        let (mut checked, batch) = (0, self.checker.batch());
        let mut is_over = false;
        while !is_over {
            let (mut chosen, mut states) = (Vec::new(), Vec::new());
            while states.len() < batch && checked + (states.len() as u64) < share.states {
                let Some(subset) = subsets.next() else { break };
                let state = self.workload.state(cut, &subset);
                let fingerprint = state.fingerprint();
                if self.seen.insert(fingerprint) {
                    states.push(state);
                    chosen.push((subset, fingerprint));
                }
            }
            is_over = states.is_empty();
            checked += states.len() as u64;
            self.report.states += states.len() as u64;
            let verdicts = self.checker.check(&states)?;
            let mut looked_at = chosen.into_iter().zip(verdicts);
            while let Some(((subset, _), verdict)) = looked_at.next() {
                let Verdict::Fails(why) = verdict else { continue };
                // As if the others of the batch had not been looked at: how many that are is this machine's affair.
                for ((_, later), _) in looked_at {
                    self.seen.remove(&later);
                    self.report.states -= 1;
                }
                let failure = self.shorten(cut, subset, why)?;
                self.report.failures.push(failure);
                // Of one cut, one.
                self.tell();
                return Ok(());
            }
            self.tell();
        }
        self.report.complete += u64::from(share.is_complete && !cut.has_two_orders);
        self.report.two_orders += u64::from(cut.has_two_orders);
        Ok(())
    }

    fn tell(&mut self) {
        let Report { states, failures, .. } = &self.report;
        let progress =
            Progress { states: *states, states_max: self.states_max, failures: failures.len() };
        (self.progress)(progress);
    }

    /// Loses as little as fails: many commands come back first, then fewer, then single pieces.
    fn shorten(
        &mut self,
        cut: &Cut<'_>,
        mut is_there: Vec<bool>,
        mut why: String,
    ) -> Result<Failure, SearchError> {
        let commands = groups(&cut.pieces, |piece| piece.write);
        let pieces = groups(&cut.pieces, |piece| (piece.write, piece.piece));
        let mut left = SHORTEN_CHECKS;
        for groups in [commands, pieces] {
            let is_lost = |group: &std::ops::Range<usize>, is_there: &[bool]| {
                group.clone().any(|piece| !is_there[piece])
            };
            let mut lost: Vec<_> =
                groups.into_iter().filter(|group| is_lost(group, &is_there)).collect();
            let mut together = lost.len();
            while together > 0 {
                for some in lost.chunks(together) {
                    if left == 0 || !some.iter().any(|group| is_lost(group, &is_there)) {
                        continue;
                    }
                    left -= 1;
                    let mut more = is_there.clone();
                    some.iter().for_each(|group| more[group.clone()].fill(true));
                    let state = self.workload.state(cut, &more);
                    if let Verdict::Fails(still) = one(self.checker, state)? {
                        (is_there, why) = (more, still);
                    }
                    self.tell();
                }
                lost.retain(|group| is_lost(group, &is_there));
                together = (together / 2).min(lost.len());
            }
        }
        Ok(Failure { crash: crash(self.workload, cut, &is_there), why })
    }
}

/// Neighbours that are alike.
fn groups<K: PartialEq>(
    pieces: &[Piece],
    key: impl Fn(&Piece) -> K,
) -> Vec<std::ops::Range<usize>> {
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        match groups.last_mut() {
            Some(last) if key(&pieces[last.start]) == key(piece) => last.end = n + 1,
            _ => groups.push(n..n + 1),
        }
    }
    groups
}

fn crash(workload: &Workload, cut: &Cut<'_>, is_there: &[bool]) -> Crash {
    let block_bytes = u64::from(workload.block_bytes());
    let mut pending: Vec<Pending> = Vec::new();
    for (piece, is_there) in cut.pieces.iter().zip(is_there) {
        let write = &workload.writes[piece.write];
        if pending.last().is_none_or(|last| last.number != write.info.number) {
            pending.push(Pending {
                number: write.info.number,
                kind: write.info.kind,
                at_ns: write.info.at_ns,
                is_acknowledged: write.ended.is_some_and(|ended| ended < cut.steps),
                kept: Vec::new(),
                lost: Vec::new(),
            });
        }
        let of = pending.last_mut().expect("it was just pushed");
        let ranges = if *is_there { &mut of.kept } else { &mut of.lost };
        for (block, _) in &write.pieces[piece.piece] {
            let start = block * block_bytes;
            match ranges.last_mut() {
                Some(last) if last.end() == start => last.len += block_bytes,
                _ => ranges.push(Range { start, len: block_bytes }),
            }
        }
    }
    Crash {
        state: name(cut, is_there),
        begun: workload.writes.iter().filter(|write| write.begun < cut.steps).count(),
        last_mark: cut.marks.last().cloned(),
        marks: cut.marks.len(),
        pending,
        flushes_under_way: cut.flushes_under_way,
    }
}

/// A cut, and the numbers of the pieces that are lost: `57:0-3,6`.
fn name(cut: &Cut<'_>, is_there: &[bool]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (piece, _) in is_there.iter().enumerate().filter(|(_, is_there)| !**is_there) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == piece => *last = piece,
            _ => runs.push((piece, piece)),
        }
    }
    let run = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let lost: Vec<String> = runs.iter().map(run).collect();
    format!("{}:{}", cut.steps, lost.join(","))
}

/// The cut and the lost pieces of a name.
fn parse(name: &str) -> Option<(usize, Vec<std::ops::RangeInclusive<usize>>)> {
    let (steps, lost) = name.split_once(':')?;
    let run = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    let lost: Option<Vec<_>> = lost.split(',').filter(|run| !run.is_empty()).map(run).collect();
    Some((steps.parse().ok()?, lost?))
}

/// Does something with one state, by its name; with what that gives, comes what is there and what is lost.
///
/// # Errors
/// If there is none of that name.
pub fn with_state<T>(
    workload: &Workload,
    name: &str,
    act: impl FnOnce(&State<'_>) -> T,
) -> Result<(T, Crash), SearchError> {
    let unknown = || SearchError::NoState(name.to_owned());
    let (steps, lost) = parse(name).ok_or_else(unknown)?;
    let given = workload.at(steps, |cut| {
        let count = cut.pieces.len();
        if lost.iter().any(|run| run.start() > run.end() || *run.end() >= count) {
            return None;
        }
        let is_there: Vec<bool> =
            (0..count).map(|piece| !lost.iter().any(|run| run.contains(&piece))).collect();
        let given = act(&workload.state(cut, &is_there));
        Some((given, crash(workload, cut, &is_there)))
    });
    given.flatten().ok_or_else(unknown)
}
