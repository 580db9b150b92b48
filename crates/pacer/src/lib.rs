//! How a thread waits for work that comes through shared memory: whether it spins or blocks.
//!
//! Spinning answers within a microsecond, and blocking costs some ten. But a thread that spins takes a processor. If
//! the thread that would bring the work needs that processor, spinning only delays the work. Two observations tell:
//!
//! - **The thread was kept off its processor.** The kernel counts how long a thread was ready and did not run
//!   (`run_delay`, see [`RunDelay`]). More than a quarter of the time is more than interrupts and wake-ups take.
//! - **Spinning was futile.** The thread spun as long as it may, blocked, and work came at once; it spun twice as
//!   long, blocked, and again work came at once, three times. Then the work follows the blocking and not the clock: whoever brings
//!   it waited for this processor.
//!
//! After either, the thread blocks at once for a while ([`HOLD_MIN`], longer if the next try fails as well). Otherwise
//! it spins for about as long as work lately took to come, within [`Limits`].
//!
//! ```
//! use std::time::{Duration, Instant};
//! use pacer::{Limits, Pacer, Wait};
//!
//! # fn work_is_there() -> bool { true }
//! # fn block() {}
//! let mut pacer = Pacer::new(Limits { min: Duration::from_micros(10), max: Duration::from_micros(500) });
//! loop {
//!     if work_is_there() {
//!         pacer.found_work();
//!         break;
//!     }
//!     let now = Instant::now();
//!     match pacer.found_nothing(now) {
//!         Wait::Spin => std::hint::spin_loop(),
//!         Wait::Block => {
//!             block();
//!             pacer.was_blocked(now, Instant::now());
//!         }
//!     }
//! }
//! ```
#![forbid(unsafe_code)]

mod run_delay;

use std::time::{Duration, Instant};

pub use run_delay::{RunDelay, SchedStat};

/// How long a thread blocks at once after it saw that spinning does harm, the first time.
pub const HOLD_MIN: Duration = Duration::from_millis(20);

/// The same after many tries that failed.
pub const HOLD_MAX: Duration = Duration::from_millis(320);

/// How long a thread watches, at least, before it judges how much of the time it was kept off.
const WINDOW: Duration = Duration::from_millis(4);

/// A wake-up on an idle processor takes up to so long (a halted virtual processor included): that is not contention.
const WAKE_UP: Duration = Duration::from_micros(15);

/// Work that comes within this time of blocking came at once.
const AT_ONCE: Duration = Duration::from_micros(30);

/// Futile spins in a row that prove contention.
const FUTILE: u32 = 3;

/// Shortest and longest time to spin before blocking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Shortest.
    pub min: Duration,
    /// Longest.
    pub max: Duration,
}

/// What a thread does that found nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It looks again.
    Spin,
    /// It blocks until something wakes it.
    Block,
}

/// Decides for one thread. All methods are to be called by that thread.
#[derive(Debug)]
pub struct Pacer<D = SchedStat> {
    limits: Limits,
    run_delay: D,
    /// How long the thread spins before it blocks.
    spin: Duration,
    /// When it found nothing for the first time since there was work.
    idle_since: Option<Instant>,
    /// Until then it blocks at once.
    contended_until: Option<Instant>,
    /// How long the next period of contention will be assumed to last.
    hold: Duration,
    /// Futile spins in a row.
    futile: u32,
    /// Since when nothing spoke of contention.
    calm_since: Option<Instant>,
    watch: Option<Watch>,
}

/// A period over which `run_delay` is looked at.
#[derive(Clone, Copy, Debug)]
struct Watch {
    since: Instant,
    run_delay: Duration,
    blocks: u32,
}

impl Pacer {
    /// A pacer that asks the kernel how long its thread was kept off its processor.
    pub fn new(limits: Limits) -> Self {
        Self::with_run_delay(limits, SchedStat::default())
    }
}

impl<D: RunDelay> Pacer<D> {
    /// A pacer with another source of `run_delay`.
    pub fn with_run_delay(limits: Limits, run_delay: D) -> Self {
        Self {
            limits,
            run_delay,
            spin: limits.min,
            idle_since: None,
            contended_until: None,
            hold: HOLD_MIN,
            futile: 0,
            calm_since: None,
            watch: None,
        }
    }

    /// The thread looked and there was work.
    #[inline]
    pub fn found_work(&mut self) {
        if self.idle_since.take().is_some() {
            self.futile = 0;
        }
    }

    /// The thread looked and there was nothing to do.
    #[inline]
    pub fn found_nothing(&mut self, now: Instant) -> Wait {
        let idle_since = *self.idle_since.get_or_insert(now);
        if self.is_contended(now) {
            return Wait::Block;
        }
        match self.watch {
            Some(watch) if now.saturating_duration_since(watch.since) < WINDOW => {}
            _ => self.judge(now),
        }
        let spun = now.saturating_duration_since(idle_since);
        if self.contended_until.is_none() && spun < self.spin { Wait::Spin } else { Wait::Block }
    }

    /// True while the thread had better not spin at all, not even for a time that it knows to be short.
    #[inline]
    pub fn is_contended(&mut self, now: Instant) -> bool {
        match self.contended_until {
            None => false,
            Some(until) if now < until => true,
            Some(_) => {
                // A new try, from the beginning.
                (self.contended_until, self.watch) = (None, None);
                (self.spin, self.futile) = (self.limits.min, 0);
                self.idle_since = Some(now);
                false
            }
        }
    }

    /// The thread blocked from `began` to `now` because [`Self::found_nothing`] said so, and something woke it that
    /// may be work. (After a time-out of its own there is nothing to say.)
    pub fn was_blocked(&mut self, began: Instant, now: Instant) {
        let slept = now.saturating_duration_since(began);
        self.idle_since = None;
        if let Some(watch) = &mut self.watch {
            watch.blocks = watch.blocks.saturating_add(1);
        }
        if self.contended_until.is_some() {
            return;
        }
        if slept > self.limits.max * 4 {
            // Nothing for long: it could have blocked earlier.
            (self.spin, self.futile) = (self.limits.min, 0);
            return;
        }
        self.futile = if slept < AT_ONCE { self.futile + 1 } else { 0 };
        if self.futile >= FUTILE {
            self.contend(now);
        } else if slept < self.limits.max {
            // It was too early.
            self.spin = (self.spin * 2).min(self.limits.max);
        }
    }

    /// Looks at what the kernel says of the time since the last look.
    #[cold]
    fn judge(&mut self, now: Instant) {
        let Some(run_delay) = self.run_delay.run_delay() else { return };
        // (Another thread that goes on with this has another count: less than nothing is nothing.)
        let watch = self.watch.replace(Watch { since: now, run_delay, blocks: 0 });
        let Some(watch) = watch else { return };
        let elapsed = now.saturating_duration_since(watch.since);
        let wake_ups = WAKE_UP * watch.blocks;
        let kept_off = run_delay.saturating_sub(watch.run_delay).saturating_sub(wake_ups);
        if kept_off > elapsed / 4 {
            self.contend(now);
        } else if now.saturating_duration_since(*self.calm_since.get_or_insert(now)) >= self.hold {
            self.hold = HOLD_MIN;
        }
    }

    fn contend(&mut self, now: Instant) {
        self.contended_until = Some(now + self.hold);
        self.hold = (self.hold * 2).min(HOLD_MAX);
        (self.calm_since, self.watch) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { min: Duration::from_micros(10), max: Duration::from_micros(500) };

    /// A clock and a count of time kept off, both moved by hand.
    struct Thread {
        pacer: Pacer<Counted>,
        now: Instant,
    }

    #[derive(Debug, Default)]
    struct Counted(Duration);

    impl RunDelay for Counted {
        fn run_delay(&mut self) -> Option<Duration> {
            Some(self.0)
        }
    }

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    impl Thread {
        fn new() -> Self {
            Self { pacer: Pacer::with_run_delay(LIMITS, Counted::default()), now: Instant::now() }
        }

        /// Waits for work that comes after some time, or, if the thread blocks before, so long after that. Looks
        /// once a microsecond; of each, the thread is kept off for a part. Returns how long it spun and if it blocked.
        fn wait(
            &mut self,
            comes: Duration,
            after_block: Option<Duration>,
            kept_off: Duration,
        ) -> (Duration, bool) {
            let began = self.now;
            while self.now < began + comes {
                let wait = self.pacer.found_nothing(self.now);
                if wait == Wait::Block {
                    let spun = self.now - began;
                    let slept = after_block.unwrap_or(comes.saturating_sub(spun));
                    self.now += slept;
                    self.pacer.was_blocked(self.now - slept, self.now);
                    return (spun, true);
                }
                self.now += us(1) + kept_off;
                self.pacer.run_delay.0 += kept_off;
            }
            self.pacer.found_work();
            (self.now - began, false)
        }
    }

    #[test]
    fn it_learns_to_spin_as_long_as_work_takes() {
        let mut thread = Thread::new();
        let waits: Vec<bool> = (0..8).map(|_| thread.wait(us(200), None, us(0)).1).collect();
        // 10, 20, 40, 80, 160 us are too short, 320 us are not.
        assert_eq!(waits, [true, true, true, true, true, false, false, false]);
        // Nothing for long: it spins shortly again.
        thread.wait(us(10_000), None, us(0));
        assert_eq!(thread.wait(us(200), None, us(0)), (us(10), true));
        // Work that takes longer than it may spin does not make it spin for longer than it may.
        for _ in 0..20 {
            thread.wait(us(450), None, us(0));
        }
        assert_eq!(thread.wait(us(1_000), None, us(0)), (LIMITS.max, true));
    }

    #[test]
    fn work_that_follows_the_blocking_stops_the_spinning() {
        let mut thread = Thread::new();
        let spun: Vec<Duration> =
            (0..6).map(|_| thread.wait(us(100_000), Some(us(8)), us(0)).0).collect();
        assert_eq!(spun, [us(10), us(20), us(40), us(0), us(0), us(0)]);
        // After a while it tries again, and gives up again, for longer.
        thread.now += HOLD_MIN;
        let spun: Duration = (0..6).map(|_| thread.wait(us(100_000), Some(us(8)), us(0)).0).sum();
        assert_eq!(spun, us(70));
        thread.now += HOLD_MIN;
        assert_eq!(thread.wait(us(100_000), Some(us(8)), us(0)).0, us(0));
        // In all, it spins for a small part of the time.
        let (begin, mut spun) = (thread.now, us(0));
        while thread.now - begin < Duration::from_secs(10) {
            spun += thread.wait(us(100_000), Some(us(8)), us(0)).0;
        }
        assert!(spun < Duration::from_millis(10), "{spun:?}");
        // When it is left alone it spins again, at the latest after the longest hold.
        thread.now += HOLD_MAX;
        assert_eq!(thread.wait(us(5), None, us(0)), (us(5), false));
    }

    #[test]
    fn a_thread_that_is_kept_off_blocks_at_once() {
        // Kept off for as long as it runs: another thread has half of the processor.
        let mut thread = Thread::new();
        let begin = thread.now;
        while !thread.wait(us(5), None, us(1)).1 {
            assert!(thread.now - begin < WINDOW * 3, "it must have noticed");
        }
        assert_eq!(thread.wait(us(5), None, us(1)), (us(0), true));
        // An interrupt now and then is no contention.
        let mut thread = Thread::new();
        for _ in 0..10_000 {
            assert!(!thread.wait(us(5), None, us(0)).1);
            thread.pacer.run_delay.0 += us(1) / 2;
        }
        // Neither are wake-ups from sleep.
        let mut thread = Thread::new();
        for _ in 0..1000 {
            let (spun, _) = thread.wait(us(100), Some(us(90)), us(0));
            thread.pacer.run_delay.0 += us(12);
            assert!(spun > us(0));
        }
    }

    #[test]
    fn holds_grow_while_contention_lasts_and_are_forgotten_after_it() {
        let mut thread = Thread::new();
        for hold in [20, 40, 80, 160, 320, 320u64] {
            while !thread.pacer.is_contended(thread.now) {
                thread.wait(us(5), None, us(1));
            }
            let until = thread.pacer.contended_until.unwrap() - thread.now;
            assert!((0..20).contains(&(hold * 1000 - until.as_micros() as u64)), "{until:?}");
            thread.now += Duration::from_millis(hold);
        }
        let calm = thread.now + HOLD_MAX + WINDOW * 4;
        while thread.now < calm {
            assert!(!thread.wait(us(5), None, us(0)).1);
        }
        assert_eq!(thread.pacer.hold, HOLD_MIN);
    }
}
