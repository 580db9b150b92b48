//! Jumps and calls through registers: jump tables (`gotox`, clang 22) and pointers to functions (`callx`).
//!
//! An address of code is a number that no memory has: [`address`] of its slot in the object. A jump or call through a register
//! becomes a search for that number among those that the program can have there, and direct jumps or calls: code that
//! the verifier and all engines know. It stands at the function's end, so that the rest of it stays as it is. The search costs the
//! instructions that it takes.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::LoadError;
use crate::image::{Function, Image};
use crate::isa::{CALL, CALL_LOCAL, CALL_REGISTER, Instruction};
use crate::memory::Window;

/// Jump through a register.
pub(crate) const JUMP_REGISTER: u8 = 0x0D;

/// Slots that searches may add to a program.
const SLOTS_MAX: usize = 1 << 18;
/// The address of the first slot: no helper has such a number, and no memory such an address.
const FIRST: u64 = 1 << 16;

/// The address of a byte of code.
pub(crate) fn address(byte: u64) -> u64 {
    FIRST.wrapping_add(byte)
}

/// What a program can jump to or call through registers.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// Slots whose address the program has: functions, if anything.
    pub(crate) taken: BTreeSet<usize>,
    /// Slots that the jump tables of the function that begins with a slot lead to.
    pub(crate) tables: BTreeMap<usize, BTreeSet<usize>>,
}

impl Targets {
    /// True if the code is as it was written.
    fn is_empty(&self, image: &Image) -> bool {
        self.tables.is_empty()
            && !self.taken.iter().any(|&slot| image.function_starting_at(slot).is_some())
    }
}

/// Replaces all jumps and calls through registers that lead to code of the program.
pub(crate) fn resolve(image: Image, targets: &Targets) -> Result<Image, LoadError> {
    if targets.is_empty(&image) {
        return Ok(image);
    }
    let functions: Vec<usize> = targets
        .taken
        .iter()
        .copied()
        .filter(|&slot| image.function_starting_at(slot).is_some())
        .collect();
    let mut moved =
        Moved { image: &image, slots: Vec::new(), origin: Vec::new(), calls: Vec::new() };
    let mut starts = BTreeMap::new();
    let mut placed = Vec::with_capacity(image.functions.len());
    for function in &image.functions {
        let start = moved.slots.len();
        starts.insert(function.start, start);
        moved.function(function, targets.tables.get(&function.start), &functions)?;
        placed.push(Function { start, end: moved.slots.len(), ..function.clone() });
    }
    let Moved { mut slots, origin, calls, .. } = moved;
    for (slot, target) in calls {
        // A call of what is no function is refused when it is reached.
        let displacement = starts
            .get(&target)
            .map_or(i64::from(i32::MAX), |&start| start as i64 - slot as i64 - 1);
        slots[slot].imm = i32::try_from(displacement).unwrap_or(i32::MAX);
    }
    let names = image.names.iter().filter_map(|name| {
        let start = *starts.get(&name.start)?;
        Some(crate::image::FunctionName { start, ..name.clone() })
    });
    Ok(Image { names: names.collect(), slots, functions: placed, origin: Some(origin), ..image })
}

/// Code on its way to a new place.
struct Moved<'a> {
    image: &'a Image,
    slots: Vec<Instruction>,
    /// Of each slot, the one that it comes from.
    origin: Vec<usize>,
    /// Calls of functions, and the slots that these began with.
    calls: Vec<(usize, usize)>,
}

impl Moved<'_> {
    /// Moves a function, with the searches that it needs behind it.
    fn function(
        &mut self,
        function: &Function,
        table: Option<&BTreeSet<usize>>,
        functions: &[usize],
    ) -> Result<(), LoadError> {
        let begin = self.slots.len();
        let mut searches = Vec::new();
        for slot in function.start..function.end {
            let insn = self.image.slots[slot];
            let is_second_half = insn.opcode == 0;
            if !is_second_half && insn.is_local_call() {
                let target = slot as i64 + 1 + i64::from(insn.imm);
                self.calls.push((self.slots.len(), usize::try_from(target).unwrap_or(usize::MAX)));
            }
            let is_search = insn.opcode == JUMP_REGISTER && table.is_some()
                || insn.opcode == CALL_REGISTER && !functions.is_empty();
            if is_search {
                searches.push((self.slots.len(), slot));
            }
            self.push(insn, slot);
        }
        for (at, slot) in searches {
            let insn = self.slots[at];
            self.slots[at] = jump(at, self.slots.len());
            let register = insn.dst;
            if insn.opcode == JUMP_REGISTER {
                let within = function.start..function.end;
                let table = table.into_iter().flatten().filter(|slot| within.contains(slot));
                let table: Vec<usize> = table.copied().collect();
                self.search(&table, register, slot, &mut |moved, target| {
                    let at = moved.slots.len();
                    moved.push(jump(at, begin + target - function.start), slot);
                })?;
                // No entry of the table: an address that is no memory's.
                let [_, load, exit] = crate::elf::NOTHING;
                self.push(Instruction { src: register, ..load }, slot);
                self.push(exit, slot);
            } else {
                self.search(functions, register, slot, &mut |moved, target| {
                    moved.calls.push((moved.slots.len(), target));
                    moved.push(
                        Instruction { opcode: CALL, dst: 0, src: CALL_LOCAL, offset: 0, imm: 0 },
                        slot,
                    );
                    moved.push(jump(moved.slots.len(), at + 1), slot);
                })?;
                // A helper, by its number.
                self.push(insn, slot);
                self.push(jump(self.slots.len(), at + 1), slot);
            }
        }
        Ok(())
    }

    /// Compares a register with addresses, ascending; what follows it is what happens if it is none of them.
    fn search(
        &mut self,
        targets: &[usize],
        register: u8,
        slot: usize,
        found: &mut dyn FnMut(&mut Self, usize),
    ) -> Result<(), LoadError> {
        /// `if register >= imm goto`, `if register != imm goto`
        const AT_LEAST: u8 = 0x35;
        const NOT_EQUAL: u8 = 0x55;
        let compare = |opcode, target: usize| {
            let imm = address(8 * target as u64);
            let fits = i32::try_from(imm).ok().filter(|_| imm < Window::FIRST);
            let imm = fits.ok_or_else(|| {
                LoadError::Malformed("code of more than 16 MiB with addresses of it".into())
            })?;
            Ok(Instruction { opcode, dst: register, src: 0, offset: 0, imm })
        };
        // Branches whose other half, and jumps whose end, is not there yet.
        let mut open: Vec<(usize, &[usize])> = Vec::new();
        let mut misses = Vec::new();
        let mut part = targets;
        loop {
            if self.slots.len() > self.image.slots.len() + SLOTS_MAX {
                return Err(LoadError::Malformed(format!(
                    "calls and jumps through registers lead to so many places that more than {SLOTS_MAX} instructions are needed for them"
                )));
            }
            match part {
                [] => {}
                &[only] => {
                    let at = self.slots.len();
                    self.push(compare(NOT_EQUAL, only)?, slot);
                    found(self, only);
                    self.slots[at].offset = (self.slots.len() - at - 1) as i16;
                    misses.push(self.slots.len());
                    self.push(jump(0, 0), slot);
                }
                _ => {
                    let (low, high) = part.split_at(part.len() / 2);
                    // A jump over a far jump: the other half may be further than a branch reaches.
                    let at = self.slots.len();
                    self.push(Instruction { offset: 1, ..compare(AT_LEAST, high[0])? }, slot);
                    self.push(jump(at + 1, at + 3), slot);
                    self.push(jump(0, 0), slot);
                    open.push((at + 2, high));
                    part = low;
                    continue;
                }
            }
            let Some((from, rest)) = open.pop() else { break };
            self.slots[from] = jump(from, self.slots.len());
            part = rest;
        }
        for miss in misses {
            self.slots[miss] = jump(miss, self.slots.len());
        }
        Ok(())
    }

    fn push(&mut self, insn: Instruction, origin: usize) {
        self.slots.push(insn);
        self.origin.push(origin);
    }
}

/// A jump from a slot to another, however far.
fn jump(from: usize, to: usize) -> Instruction {
    /// `gotol`
    const FAR: u8 = 0x06;
    let imm = (to as i64 - from as i64 - 1) as i32;
    Instruction { opcode: FAR, dst: 0, src: 0, offset: 0, imm }
}
