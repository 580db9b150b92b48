//! Which pieces are there and which are lost: the likely culprits first, then more and more of them, then at random.

use simtime::Prng;

/// Subsets of pieces that belong to commands, each as what is there. Some come more than once.
pub(crate) struct Subsets<'a> {
    /// Which command each piece is of, in order.
    commands: &'a [usize],
    stage: Stage,
    random: Prng,
    /// Subsets to make at most.
    left: u64,
}

enum Stage {
    All,
    None,
    /// The first so many pieces.
    Prefix(usize),
    /// All but these commands, or only these.
    Commands {
        chosen: Vec<usize>,
        is_lost: bool,
    },
    /// All but these pieces, or only these.
    Pieces {
        chosen: Vec<usize>,
        is_lost: bool,
    },
    Random,
    Done,
}

/// Commands that are chosen together before single pieces are: two that depend on each other, and one that both depend on.
const COMMANDS_TOGETHER: usize = 3;

impl<'a> Subsets<'a> {
    pub(crate) fn new(commands: &'a [usize], seed: u64, left: u64) -> Self {
        Self { commands, stage: Stage::All, random: Prng::new(seed), left }
    }

    /// How many there are; `None` for more than can be counted.
    pub(crate) fn count(pieces: usize) -> Option<u64> {
        1u64.checked_shl(u32::try_from(pieces).ok()?)
    }

    fn command_count(&self) -> usize {
        let mut commands = self.commands.to_vec();
        commands.dedup();
        commands.len()
    }

    /// The number of a piece's command among all.
    fn ordinals(&self) -> Vec<usize> {
        let mut ordinal = 0;
        let mut last = None;
        let number = |command: &usize| {
            if last.is_some_and(|last| last != *command) {
                ordinal += 1;
            }
            last = Some(*command);
            ordinal
        };
        self.commands.iter().map(number).collect()
    }
}

/// The next choice of as many out of `count`, in order; false after the last.
fn next_choice(chosen: &mut [usize], count: usize) -> bool {
    let len = chosen.len();
    for place in (0..len).rev() {
        if chosen[place] + (len - place) < count {
            chosen[place] += 1;
            for later in place + 1..len {
                chosen[later] = chosen[later - 1] + 1;
            }
            return true;
        }
    }
    false
}

/// How many choices of so many there are, at most `most`.
fn choices(count: usize, of: usize, most: u64) -> u64 {
    let mut all = 1u64;
    for n in 0..of as u64 {
        all = match all.checked_mul(count as u64 - n) {
            Some(product) => product / (n + 1),
            None => return most,
        };
        if all >= most {
            return most;
        }
    }
    all
}

impl Iterator for Subsets<'_> {
    type Item = Vec<bool>;

    fn next(&mut self) -> Option<Vec<bool>> {
        self.left = self.left.checked_sub(1)?;
        let count = self.commands.len();
        loop {
            match &mut self.stage {
                Stage::All => {
                    self.stage = Stage::None;
                    return Some(vec![true; count]);
                }
                Stage::None => {
                    self.stage = Stage::Prefix(1);
                    return Some(vec![false; count]);
                }
                Stage::Prefix(len) if *len < count => {
                    let prefix = (0..count).map(|piece| piece < *len).collect();
                    *len += 1;
                    return Some(prefix);
                }
                Stage::Done => return None,
                Stage::Prefix(_) if count == 0 => return None,
                Stage::Prefix(_) => {
                    self.stage = Stage::Commands { chosen: vec![0], is_lost: true };
                }
                Stage::Commands { chosen, is_lost } => {
                    let (chosen, is_lost) = (chosen.clone(), *is_lost);
                    self.after_commands(chosen.clone(), is_lost);
                    let ordinals = self.ordinals();
                    let is_there = |ordinal: &usize| chosen.contains(ordinal) != is_lost;
                    return Some(ordinals.iter().map(is_there).collect());
                }
                Stage::Pieces { chosen, is_lost } => {
                    let (chosen, is_lost) = (chosen.clone(), *is_lost);
                    self.after_pieces(chosen.clone(), is_lost);
                    let is_there = |piece: usize| chosen.contains(&piece) != is_lost;
                    return Some((0..count).map(is_there).collect());
                }
                Stage::Random => {
                    // From nearly all to nearly none.
                    let share = self.random.below(1 << 16);
                    let mut is_there = || self.random.below(1 << 16) >= share;
                    return Some((0..count).map(|_| is_there()).collect());
                }
            }
        }
    }
}

impl Subsets<'_> {
    fn after_commands(&mut self, mut chosen: Vec<usize>, is_lost: bool) {
        if is_lost {
            self.stage = Stage::Commands { chosen, is_lost: false };
            return;
        }
        let count = self.command_count();
        if next_choice(&mut chosen, count) {
            self.stage = Stage::Commands { chosen, is_lost: true };
            return;
        }
        let more = chosen.len() + 1;
        let fits = 2 * choices(count, more, self.left) < self.left / 2;
        self.stage = if more <= COMMANDS_TOGETHER.min(count) && fits {
            Stage::Commands { chosen: (0..more).collect(), is_lost: true }
        } else {
            Stage::Pieces { chosen: vec![0], is_lost: true }
        };
    }

    fn after_pieces(&mut self, mut chosen: Vec<usize>, is_lost: bool) {
        if is_lost {
            self.stage = Stage::Pieces { chosen, is_lost: false };
            return;
        }
        let count = self.commands.len();
        if next_choice(&mut chosen, count) {
            self.stage = Stage::Pieces { chosen, is_lost: true };
            return;
        }
        // All but k and only k: half of the levels are all.
        let more = chosen.len() + 1;
        let fits = || 2 * choices(count, more, self.left) <= self.left;
        self.stage = match more > count / 2 {
            true => Stage::Done,
            false if fits() => Stage::Pieces { chosen: (0..more).collect(), is_lost: true },
            false => Stage::Random,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn small_ones_are_all_made() {
        for count in 0..9 {
            let commands: Vec<usize> = (0..count).map(|piece| piece / 2).collect();
            let made: BTreeSet<_> = {
                let attempts = 8 * Subsets::count(count).unwrap();
                Subsets::new(&commands, 7, attempts).collect()
            };
            assert_eq!(made.len() as u64, Subsets::count(count).unwrap(), "{count}");
        }
    }

    #[test]
    fn of_many_the_simple_ones_come_first() {
        let commands: Vec<usize> = (0..300).map(|piece| piece / 3).collect();
        let made: Vec<_> = Subsets::new(&commands, 7, 5000).collect();
        assert_eq!(made.len(), 5000);
        let lost = |subset: &Vec<bool>| subset.iter().filter(|is_there| !**is_there).count();
        assert_eq!((lost(&made[0]), lost(&made[1])), (0, 300));
        // Each single command and each single piece is lost alone.
        for wanted in [3, 1] {
            let alone = made.iter().filter(|subset| lost(subset) == wanted).count();
            assert!(alone >= 300 / wanted, "{wanted}: {alone}");
        }
    }
}
