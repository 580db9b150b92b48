//! What a run did, of how often each straight piece of its code ran.

use ebpf::Counts;
use ebpf::isa::InstructionClass;

use crate::operators::{FUEL_PER_INSTRUCTION, Weight};

/// Operators that run one after the other whenever the first does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    /// A function begins with it.
    pub(crate) is_entry: bool,
    instructions: [u32; InstructionClass::ALL.len()],
    loads: u64,
    stores: u64,
}

impl Block {
    /// With which a function begins.
    pub(crate) fn of_entry() -> Self {
        Self { is_entry: true, ..Self::default() }
    }

    pub(crate) fn add(&mut self, weight: Weight) {
        self.instructions[weight.class as usize] += 1;
        self.loads += u64::from(weight.loads);
        self.stores += u64::from(weight.stores);
    }

    /// Instructions.
    pub(crate) fn total(&self) -> u32 {
        self.instructions.iter().sum()
    }

    /// True if nothing is to be counted of it.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_entry && self.total() == 0
    }
}

/// An operator that counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// Where it is in its function's code, once that counts.
    pub(crate) offset: u32,
    /// Where it was in the module.
    pub(crate) original: u32,
    pub(crate) block: u32,
    pub(crate) weight: Weight,
}

/// What is to be known of a module to say what a run of it did.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) blocks: Vec<Block>,
    /// The sites of each function that is not imported, in order.
    pub(crate) sites: Vec<Vec<Site>>,
    pub(crate) imported_functions: u32,
    /// A function is to be called before any other.
    pub(crate) has_start: bool,
}

impl Meter {
    /// Where in the module, as it was loaded, the operator at this place in the code of a function is, and what of its block did
    /// not run after it.
    pub(crate) fn stopped_at(&self, function: u32, offset: u32) -> Option<(u32, &[Site])> {
        let sites = self.sites.get(function.checked_sub(self.imported_functions)? as usize)?;
        let after = sites.partition_point(|site| site.offset <= offset);
        let last = sites.get(after.checked_sub(1)?)?;
        let rest = &sites[after..];
        let end = rest.partition_point(|site| site.block == last.block);
        Some((last.original, &rest[..end]))
    }

    /// What was done: `times` says how often each block ran, `not_run` what of the last one did not, and `fuel` what all of it took.
    pub(crate) fn counts(&self, times: &[u64], not_run: &[Site], fuel: u64) -> Counts {
        let mut counts = Counts::default();
        let mut entries = 0;
        for (block, times) in self.blocks.iter().zip(times) {
            for (sum, count) in counts.instructions.iter_mut().zip(block.instructions) {
                *sum += u64::from(count) * times;
            }
            counts.bytes_loaded += block.loads * times;
            counts.bytes_stored += block.stores * times;
            entries += if block.is_entry { *times } else { 0 };
        }
        for Site { weight, .. } in not_run {
            let of_class = &mut counts.instructions[weight.class as usize];
            *of_class = of_class.saturating_sub(1);
            counts.bytes_loaded = counts.bytes_loaded.saturating_sub(weight.loads.into());
            counts.bytes_stored = counts.bytes_stored.saturating_sub(weight.stores.into());
        }
        // Every call takes one more; the rest are bytes of what touches many at once, half of them loaded: nobody asks which.
        let known = counts.total() * FUEL_PER_INSTRUCTION + entries;
        let many = fuel.saturating_sub(known);
        counts.bytes_loaded += many.div_ceil(2);
        counts.bytes_stored += many / 2;
        counts
    }
}
