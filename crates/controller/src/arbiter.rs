//! Arbitration: which submission queue the next command is taken from (Base 2.1, section 3.4.4).
//!
//! The admin queue comes first. With round robin every I/O queue is in the class below it; with
//! weighted round robin urgent queues come next, and the other three classes share what is left by
//! their weights. Within a class queues take turns, a burst of commands each.

use std::collections::VecDeque;

use nvme_spec::{Arbitration, SqId};

/// Classes in strict order; the last three are weighted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Class {
    Admin,
    /// Urgent queues, or every I/O queue under round robin.
    Urgent,
    High,
    Medium,
    Low,
}

impl Class {
    /// The class of an I/O queue by QPRIO (Base 2.1, Figure 477).
    pub(crate) fn of_priority(qprio: u8) -> Self {
        match qprio & 3 {
            0 => Self::Urgent,
            1 => Self::High,
            2 => Self::Medium,
            _ => Self::Low,
        }
    }

    const WEIGHTED: [Self; 3] = [Self::High, Self::Medium, Self::Low];

    /// Position among the weighted classes.
    fn weighted(self) -> Option<usize> {
        Self::WEIGHTED.iter().position(|c| *c == self)
    }
}

/// A queue's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Burst {
    pub(crate) class: Class,
    pub(crate) sqid: SqId,
    /// Commands that the queue may send.
    pub(crate) commands: u32,
}

/// The queues that hold commands, in the order of their turns.
#[derive(Debug, Default)]
pub(crate) struct Arbiter {
    ready: [VecDeque<SqId>; 5],
    /// Queues whose next command has no place to complete to, or no place in flight.
    blocked: Vec<(Class, SqId)>,
    /// Commands each weighted class may still send in this round.
    credits: [u32; 3],
}

impl Arbiter {
    /// A queue has commands.
    #[inline]
    pub(crate) fn wake(&mut self, class: Class, sqid: SqId) {
        self.ready[class as usize].push_back(sqid);
    }

    /// A queue's commands wait for a place.
    pub(crate) fn block(&mut self, class: Class, sqid: SqId) {
        self.blocked.push((class, sqid));
    }

    /// There may be places: blocked queues take part again. False if there were none.
    #[inline]
    pub(crate) fn unblock(&mut self) -> bool {
        let any = !self.blocked.is_empty();
        for (class, sqid) in self.blocked.drain(..) {
            self.ready[class as usize].push_back(sqid);
        }
        any
    }

    /// Forgets a queue.
    pub(crate) fn remove(&mut self, sqid: SqId) {
        self.ready.iter_mut().for_each(|queues| queues.retain(|q| *q != sqid));
        self.blocked.retain(|(_, q)| *q != sqid);
    }

    /// Whose turn it is. The caller puts the queue back with [`Self::wake`] or [`Self::block`] if it still has commands, after
    /// [`Self::charge`].
    #[inline]
    pub(crate) fn next(&mut self, arbitration: Arbitration) -> Option<Burst> {
        let burst = match arbitration.ab() {
            7 => u32::MAX,
            ab => 1 << ab,
        };
        for class in [Class::Admin, Class::Urgent] {
            if let Some(sqid) = self.ready[class as usize].pop_front() {
                return Some(Burst { class, sqid, commands: burst });
            }
        }
        self.next_weighted(arbitration, burst)
    }

    fn next_weighted(&mut self, arbitration: Arbitration, burst: u32) -> Option<Burst> {
        let is_ready =
            |ready: &[VecDeque<SqId>; 5], class: Class| !ready[class as usize].is_empty();
        if !Class::WEIGHTED.iter().any(|&class| is_ready(&self.ready, class)) {
            return None;
        }
        loop {
            for (n, class) in Class::WEIGHTED.into_iter().enumerate() {
                if self.credits[n] > 0
                    && let Some(sqid) = self.ready[class as usize].pop_front()
                {
                    let commands = burst.min(self.credits[n]);
                    return Some(Burst { class, sqid, commands });
                }
            }
            // Who has commands has no credit left: a new round begins.
            let weights = [arbitration.hpw_z(), arbitration.mpw_z(), arbitration.lpw_z()];
            self.credits = weights.map(|weight_z| u32::from(weight_z) + 1);
        }
    }

    /// A queue of a class sent some commands.
    #[inline]
    pub(crate) fn charge(&mut self, class: Class, commands: u32) {
        if let Some(n) = class.weighted() {
            self.credits[n] = self.credits[n].saturating_sub(commands);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is served, when every queue always has commands.
    fn served(arbiter: &mut Arbiter, arbitration: Arbitration, turns: usize) -> Vec<(u16, u32)> {
        let mut order = Vec::new();
        for _ in 0..turns {
            let Burst { class, sqid, commands } = arbiter.next(arbitration).unwrap();
            arbiter.charge(class, commands);
            arbiter.wake(class, sqid);
            order.push((sqid.0, commands));
        }
        order
    }

    #[test]
    fn round_robin_takes_turns_and_admin_comes_first() {
        let mut arbiter = Arbiter::default();
        for sqid in [3, 1, 2] {
            arbiter.wake(Class::Urgent, SqId(sqid));
        }
        let arbitration = Arbitration::new().with_ab(2);
        assert_eq!(served(&mut arbiter, arbitration, 4), [(3, 4), (1, 4), (2, 4), (3, 4)]);
        arbiter.wake(Class::Admin, SqId(0));
        assert_eq!(served(&mut arbiter, arbitration, 2), [(0, 4), (0, 4)]);
    }

    #[test]
    fn weighted_round_robin_shares_by_weight_below_urgent() {
        let mut arbiter = Arbiter::default();
        for (class, sqid) in
            [(Class::Low, 9), (Class::High, 4), (Class::Medium, 6), (Class::High, 5)]
        {
            arbiter.wake(class, SqId(sqid));
        }
        let arbitration = Arbitration::new().with_ab(7).with_hpw_z(5).with_mpw_z(2).with_lpw_z(0);
        let order = served(&mut arbiter, arbitration, 300);
        let share = |queues: &[u16]| -> u32 {
            order.iter().filter(|(q, _)| queues.contains(q)).map(|(_, n)| n).sum()
        };
        assert_eq!((share(&[4, 5]), share(&[6]), share(&[9])), (600, 300, 100));
        assert_eq!(share(&[4]), share(&[5]), "queues of a class take turns");
        arbiter.wake(Class::Urgent, SqId(2));
        assert_eq!(served(&mut arbiter, arbitration, 1)[0].0, 2);
    }

    #[test]
    fn blocked_queues_wait_until_unblocked_and_removed_ones_are_gone() {
        let mut arbiter = Arbiter::default();
        arbiter.wake(Class::Urgent, SqId(1));
        arbiter.block(Class::Urgent, SqId(2));
        arbiter.block(Class::Low, SqId(3));
        arbiter.remove(SqId(1));
        assert!(arbiter.next(Arbitration::new()).is_none());
        assert!(arbiter.unblock() && !arbiter.unblock());
        arbiter.remove(SqId(3));
        assert_eq!(arbiter.next(Arbitration::new()).map(|n| n.sqid), Some(SqId(2)));
        assert!(arbiter.next(Arbitration::new()).is_none());
    }
}
