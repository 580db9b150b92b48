//! Run-time models: how long a job holds its unit.

use simtime::{Bandwidth, Duration, Frequency};

use crate::cores::Core;

/// Where the time that a job holds its unit comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RunTimeModel {
    /// From executed instructions and bytes touched, by a [`CostTable`]: deterministic.
    Instructions,
    /// The host, the program or the configuration says it.
    Declared,
    /// The processor time that this machine took, times a factor.
    Measured,
    /// The processor time that a runtime server took.
    Remote,
}

impl RunTimeModel {
    /// All of them, with their names in configurations and documents, by value.
    pub const NAMES: [(&str, Self); 4] = [
        ("instructions", Self::Instructions),
        ("declared", Self::Declared),
        ("measured", Self::Measured),
        ("remote", Self::Remote),
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// Kinds of instructions that cost different numbers of cycles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum WorkClass {
    Alu,
    Multiply,
    Divide,
    Load,
    Store,
    Atomic,
    Branch,
    Call,
    Helper,
}

impl WorkClass {
    /// Every class, in the order of [`Work::instructions`].
    pub const ALL: [Self; 9] = [
        Self::Alu,
        Self::Multiply,
        Self::Divide,
        Self::Load,
        Self::Store,
        Self::Atomic,
        Self::Branch,
        Self::Call,
        Self::Helper,
    ];
}

// A record of a job has a number for each class.
const _: () = assert!(WorkClass::ALL.len() == records::INSTRUCTION_CLASSES);

/// What a job did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Executed instructions by [`WorkClass`].
    pub instructions: [u64; WorkClass::ALL.len()],
    /// Bytes loaded and stored.
    pub bytes: u64,
}

/// Cost of work on one unit: cycles per instruction class at a clock, plus bytes at a memory rate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CostTable {
    /// Thousandths of cycles by [`WorkClass`].
    pub millicycles: [u64; WorkClass::ALL.len()],
    /// Clock of a unit.
    pub clock: Frequency,
    /// Rate at which a unit reaches device memory; 0 = infinitely fast.
    pub memory_bandwidth: Bandwidth,
}

impl Default for CostTable {
    /// That of [`Core::CortexA53`].
    fn default() -> Self {
        Core::CortexA53.cost_table()
    }
}

impl CostTable {
    /// Time a unit needs for `work`: compute and memory time add up, as on an in-order core.
    pub fn time_for(&self, work: &Work) -> Duration {
        let cycles = work.instructions.iter().zip(&self.millicycles);
        let millicycles = cycles.map(|(&n, &cost)| u128::from(n) * u128::from(cost)).sum();
        self.clock.time_for_millicycles(millicycles) + self.memory_bandwidth.time_for(work.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_cycles_over_clock_plus_bytes_over_bandwidth() {
        let table = CostTable {
            millicycles: [500, 0, 0, 2000, 0, 0, 0, 0, 0],
            clock: Frequency::from_hz(1_000_000_000).unwrap(),
            memory_bandwidth: Bandwidth::from_bytes_per_s(2_000_000_000),
        };
        let work = Work { instructions: [1000, 9, 9, 100, 0, 0, 0, 0, 0], bytes: 4096 };
        // 1000 x 0.5 + 100 x 2 = 700 cycles at 1 GHz; 4096 B at 2 GB/s = 2048 ns.
        assert_eq!(table.time_for(&work).as_ns(), 700 + 2048);
    }
}
