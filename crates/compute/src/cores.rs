//! Cost tables of cores that have a name.
//!
//! A number is how long an instruction keeps its pipeline busy, divided by the number of such pipelines, and at least one by the
//! issue width: what a core does when nothing waits for anything else. Programs whose instructions depend on each other are
//! slower on a real core; a table that is fitted to measurements (`csdrive calibrate`) has the average of that in it.
//!
//! Widths, pipelines and occupancies are those of LLVM's scheduling models (`llvm/lib/Target/*/*Sched*.td`), which have them from
//! the cores' software optimisation guides. Where the models say nothing the table has this crate's assumptions, the same for
//! all: an atomic operation is a load, a store and a round trip to the shared cache; a helper is a call, a return and some ten
//! moves. Clock and memory bandwidth are not the core's but a product's: they are examples, to be replaced.

use simtime::{Bandwidth, Frequency};

use crate::runtime::CostTable;

/// Cost tables by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Core {
    /// Arm Cortex-A53: in order, two instructions a cycle; in many SSD controllers and boards.
    CortexA53,
    /// Arm Cortex-A72: out of order, three a cycle (Raspberry Pi 4).
    CortexA72,
    /// Arm Cortex-R82: in order, two a cycle, real time; made for storage controllers.
    CortexR82,
    /// Arm Neoverse N1: out of order, four a cycle; servers and SmartNICs.
    NeoverseN1,
    /// A small RISC-V core, RV64 in order, one a cycle (Rocket, SiFive U54).
    RiscvRocket,
    /// A core of an x86-64 server.
    Host,
}

/// What is in a table, in the order of [`crate::WorkClass`], in thousandths of cycles.
struct Numbers {
    alu: u64,
    multiply: u64,
    divide: u64,
    load: u64,
    store: u64,
    atomic: u64,
    branch: u64,
    call: u64,
    helper: u64,
    clock_mhz: u64,
    memory_mbps: u64,
}

impl Core {
    /// All of them, with their names in configurations and documents.
    pub const NAMES: [(&str, Self); 6] = [
        ("cortex-a53", Self::CortexA53),
        ("cortex-a72", Self::CortexA72),
        ("cortex-r82", Self::CortexR82),
        ("neoverse-n1", Self::NeoverseN1),
        ("riscv-rocket", Self::RiscvRocket),
        ("host", Self::Host),
    ];

    /// Its cost table.
    pub fn cost_table(self) -> CostTable {
        let n = self.numbers();
        CostTable {
            millicycles: [
                n.alu, n.multiply, n.divide, n.load, n.store, n.atomic, n.branch, n.call, n.helper,
            ],
            clock: Frequency::from_hz(n.clock_mhz * 1_000_000).expect("not zero"),
            memory_bandwidth: Bandwidth::from_bytes_per_s(n.memory_mbps * 1_000_000),
        }
    }

    /// Where its numbers come from.
    pub const fn source(self) -> &'static str {
        match self {
            Self::CortexA53 => {
                "LLVM AArch64SchedA53.td: 2 ALUs, one pipeline each for multiply, load and store, branch; divide as the A55's (8 cycles, not pipelined)"
            }
            Self::CortexA72 => {
                "LLVM AArch64SchedA57.td, which is the A72's model, too: 2 ALUs, one pipeline each for multiply, load, store, branch; 64-bit multiply 3 cycles, 32-bit divide 19 (Arm Cortex-A72 Software Optimization Guide)"
            }
            Self::CortexR82 => {
                "LLVM AArch64SchedA55.td, with which it schedules for the R82: 2 ALUs, one pipeline each for multiply, load, store, branch; divide 8 cycles, not pipelined"
            }
            Self::NeoverseN1 => {
                "LLVM AArch64SchedNeoverseN1.td: 3 integer pipelines, 2 for loads and stores, 1 branch; 64-bit multiply 3 cycles, 32-bit divide 12; decodes 4 a cycle"
            }
            Self::RiscvRocket => {
                "LLVM RISCVSchedRocket.td: one instruction a cycle; divide 33 cycles, not pipelined"
            }
            Self::Host => {
                "uops.info, Ice Lake: ADD 0.25, IMUL 1, 64-bit DIV 14, load 0.5, store 0.5, LOCK ADD 18, taken branch 1, CALL and RET 2"
            }
        }
    }

    const fn numbers(self) -> Numbers {
        match self {
            Self::CortexA53 => Numbers {
                alu: 500,
                multiply: 1000,
                divide: 8000,
                load: 1000,
                store: 1000,
                atomic: 10_000,
                branch: 1000,
                call: 2000,
                helper: 20_000,
                clock_mhz: 1500,
                memory_mbps: 8000,
            },
            Self::CortexA72 => Numbers {
                alu: 500,
                multiply: 3000,
                divide: 19_000,
                load: 1000,
                store: 1000,
                atomic: 10_000,
                branch: 1000,
                call: 1000,
                helper: 12_000,
                clock_mhz: 1800,
                memory_mbps: 10_000,
            },
            Self::CortexR82 => Numbers {
                alu: 500,
                multiply: 1000,
                divide: 8000,
                load: 1000,
                store: 1000,
                atomic: 10_000,
                branch: 1000,
                call: 2000,
                helper: 20_000,
                clock_mhz: 1800,
                memory_mbps: 12_000,
            },
            Self::NeoverseN1 => Numbers {
                alu: 333,
                multiply: 3000,
                divide: 12_000,
                load: 500,
                store: 500,
                atomic: 9000,
                branch: 1000,
                call: 1000,
                helper: 8000,
                clock_mhz: 2600,
                memory_mbps: 20_000,
            },
            Self::RiscvRocket => Numbers {
                alu: 1000,
                multiply: 1000,
                divide: 33_000,
                load: 1000,
                store: 1000,
                atomic: 10_000,
                branch: 1000,
                call: 2000,
                helper: 22_000,
                clock_mhz: 1000,
                memory_mbps: 2000,
            },
            Self::Host => Numbers {
                alu: 250,
                multiply: 1000,
                divide: 14_000,
                load: 500,
                store: 500,
                atomic: 18_000,
                branch: 1000,
                call: 2000,
                helper: 8000,
                clock_mhz: 3000,
                memory_mbps: 15_000,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_differ_and_the_default_is_the_first() {
        assert_eq!(Core::CortexA53.cost_table(), CostTable::default());
        for (n, (name, core)) in Core::NAMES.iter().enumerate() {
            let others = Core::NAMES[..n].iter().map(|(_, other)| other.cost_table());
            assert!(others.into_iter().all(|other| other != core.cost_table()), "{name}");
        }
    }
}
