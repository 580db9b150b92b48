//! Where a command's time goes.

use core::ops::{AddAssign, Index, IndexMut};

use simtime::Duration;

/// A part of a command's time. The parts follow each other and add up to the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Waiting for and reading flash.
    FlashRead,
    /// Link between flash and device memory, after the last flash page was read.
    Copy,
    /// Waiting for a compute unit, context switches included.
    Queue,
    /// Holding a compute unit.
    Compute,
    /// Waiting for the write buffer or for flash to be programmed.
    FlashWrite,
    /// Host link, either direction.
    Transfer,
    /// Firmware time of the command itself.
    Command,
}

impl Stage {
    /// All of them, about in the order in which they happen.
    pub const ALL: [Self; 7] = [
        Self::FlashRead,
        Self::Copy,
        Self::Queue,
        Self::Compute,
        Self::FlashWrite,
        Self::Transfer,
        Self::Command,
    ];

    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FlashRead => "flash_read",
            Self::Copy => "copy",
            Self::Queue => "queue",
            Self::Compute => "compute",
            Self::FlashWrite => "flash_write",
            Self::Transfer => "transfer",
            Self::Command => "command",
        }
    }

    /// What happens in it, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::FlashRead => "reading flash",
            Self::Copy => "copying to device memory",
            Self::Queue => "waiting for a unit",
            Self::Compute => "running",
            Self::FlashWrite => "writing to buffer or flash",
            Self::Transfer => "host link",
            Self::Command => "firmware",
        }
    }
}

/// The time of each stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stages([Duration; Stage::ALL.len()]);

impl Stages {
    /// Every stage with its time.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        Stage::ALL.into_iter().map(|stage| (stage, self[stage]))
    }

    /// The times in nanoseconds.
    pub fn as_ns(&self) -> [u64; Stage::ALL.len()] {
        self.0.map(Duration::as_ns)
    }
}

impl Index<Stage> for Stages {
    type Output = Duration;

    #[inline]
    fn index(&self, stage: Stage) -> &Duration {
        &self.0[stage as usize]
    }
}

impl IndexMut<Stage> for Stages {
    #[inline]
    fn index_mut(&mut self, stage: Stage) -> &mut Duration {
        &mut self.0[stage as usize]
    }
}

impl AddAssign for Stages {
    fn add_assign(&mut self, other: Self) {
        for (stage, time) in other.iter() {
            self[stage] += time;
        }
    }
}
