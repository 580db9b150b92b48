//! Pending events in time order, ties in insertion order.
//!
//! Models schedule most events a constant delay ahead of a clock that only moves forward, so the
//! events of one kind arrive already sorted. The queue takes advantage of that as patience sorting
//! does: a few sorted runs take every event that extends one of them in constant time, and a heap
//! takes the rest. Whatever arrives, the order that comes out is the same.

use std::collections::{BinaryHeap, VecDeque};

use crate::Instant;

/// Sorted runs besides the heap: as many as the delays that are common at one time.
const RUNS: usize = 4;

/// A priority queue of events. Events due at the same instant come out in the order they were
/// pushed, which makes a simulation a function of its inputs.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    runs: [VecDeque<Entry<E>>; RUNS],
    /// Key of the first entry of each run, [`NEVER`] if it is empty.
    first: [Key; RUNS],
    /// Time of the last entry of each run; anything may follow an empty run.
    last: [Instant; RUNS],
    heap: BinaryHeap<Entry<E>>,
    sequence: u64,
    len: usize,
    /// The earliest event and where it is (a run, or `RUNS` for the heap).
    next: (Key, usize),
}

type Key = (Instant, u64);

/// Later than every event.
const NEVER: Key = (Instant::NEVER, u64::MAX);

#[derive(Clone, Debug)]
struct Entry<E> {
    key: Key,
    event: E,
}

// `BinaryHeap` is a max-heap: the order is reversed so that the earliest entry is the greatest.
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        other.key.cmp(&self.key)
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self {
            runs: core::array::from_fn(|_| VecDeque::new()),
            first: [NEVER; RUNS],
            last: [Instant::ZERO; RUNS],
            heap: BinaryHeap::new(),
            sequence: 0,
            len: 0,
            next: (NEVER, RUNS),
        }
    }
}

impl<E> EventQueue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Schedules `event` for `at`.
    #[inline]
    pub fn push(&mut self, at: Instant, event: E) {
        self.sequence += 1;
        self.len += 1;
        let key = (at, self.sequence);
        let entry = Entry { key, event };
        // The run that ends latest but not after the event; an empty run counts as ending at the
        // beginning of time, so that it is taken only if no other fits.
        let mut best = RUNS;
        let mut best_end = Instant::ZERO;
        for (n, &end) in self.last.iter().enumerate() {
            if end <= at && (best == RUNS || end > best_end) {
                (best, best_end) = (n, end);
            }
        }
        match self.runs.get_mut(best) {
            Some(run) => {
                if run.is_empty() {
                    self.first[best] = key;
                }
                self.last[best] = at;
                run.push_back(entry);
            }
            None => self.heap.push(entry),
        }
        if key < self.next.0 {
            self.next = (key, best);
        }
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<Instant> {
        self.next_or_never().unless_never()
    }

    /// When the next event is due; [`Instant::NEVER`] if nothing is pending.
    #[inline]
    pub fn next_or_never(&self) -> Instant {
        self.next.0.0
    }

    /// Takes the next event if it is due at or before `now`.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, E)> {
        let ((at, _), place) = self.next;
        if at > now || self.len == 0 {
            return None;
        }
        let entry = match self.runs.get_mut(place) {
            Some(run) => {
                let entry = run.pop_front();
                match run.front() {
                    Some(next) => self.first[place] = next.key,
                    None => (self.first[place], self.last[place]) = (NEVER, Instant::ZERO),
                }
                entry
            }
            None => self.heap.pop(),
        };
        self.len -= 1;
        self.next = (self.heap.peek().map_or(NEVER, |entry| entry.key), RUNS);
        for (n, &first) in self.first.iter().enumerate() {
            if first < self.next.0 {
                self.next = (first, n);
            }
        }
        entry.map(|entry| (at, entry.event))
    }

    /// Number of pending events.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Prng;

    #[test]
    fn events_come_out_by_time_then_by_insertion() {
        let mut queue = EventQueue::new();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            queue.push(Instant::from_ns(at), event);
        }
        assert_eq!(queue.next_at(), Some(Instant::from_ns(1)));
        let mut out = Vec::new();
        while let Some((_, event)) = queue.pop_due(Instant::from_ns(4)) {
            out.push(event);
        }
        assert_eq!((out, queue.len()), (vec!['a', 'b'], 2));
        let rest: Vec<char> =
            core::iter::from_fn(|| queue.pop_due(Instant::from_ns(9)).map(|e| e.1)).collect();
        assert_eq!(rest, ['c', 'd']);
    }

    /// Against a sorted list: constant delays, random delays, and mixtures of both.
    #[test]
    fn random_pushes_and_pops_match_a_sorted_list() {
        for seed in 0..50 {
            let mut prng = Prng::new(seed);
            let (mut queue, mut model) = (EventQueue::new(), Vec::new());
            let (mut now, mut number) = (0, 0u64);
            for _ in 0..3000 {
                if prng.below(2) == 0 {
                    let delay = match prng.below(8) {
                        n @ 0..6 => n * 100,
                        _ => prng.below(1000),
                    };
                    queue.push(Instant::from_ns(now + delay), number);
                    model.push((now + delay, number));
                    number += 1;
                } else {
                    model.sort_unstable();
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    let got = queue.pop_due(Instant::from_ns(u64::MAX));
                    assert_eq!(got.map(|(at, n)| (at.as_ns(), n)), expected);
                    now = expected.map_or(now, |(at, _)| at);
                }
                assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }
}
