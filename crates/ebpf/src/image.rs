//! A linked program: what the loader makes, the verifier checks and the engines run.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::btf::SourceLines;
use crate::error::LoadError;
use crate::isa::Instruction;

/// How names of C++ functions end whose last parameter is a `struct cemu_args *`.
const TAKES_ARGUMENTS: &str = "P9cemu_args";
/// The function that a program of C begins with.
pub(crate) const MAIN: &str = "main";
/// Names listed in a message.
const NAMES_SHOWN: usize = 20;

/// A data section with its place in the window.
#[derive(Debug, Clone)]
pub(crate) struct DataSection {
    pub(crate) address: u64,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) writable: bool,
}

/// A function of the linked image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// First instruction slot.
    pub(crate) start: usize,
    /// One past the last instruction slot.
    pub(crate) end: usize,
    pub(crate) global: bool,
}

/// Where an instruction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location<'a> {
    /// The function.
    pub function: &'a str,
    /// The instruction's number in it, as it was in the object.
    pub instruction: usize,
    /// Path of the source, as the compiler knew it, and line; `None` without debug information (`-g`).
    pub source: Option<(&'a str, u32)>,
}

/// A name of a function; a function may have several.
#[derive(Debug, Clone)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
    pub(crate) start: usize,
    /// Index of its symbol in the object.
    pub(crate) symbol: usize,
}

/// A linked image: what the verifier checks and the engines run.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) slots: Vec<Instruction>,
    /// Ascending by start, without overlap.
    pub(crate) functions: Vec<Function>,
    pub(crate) data: Vec<DataSection>,
    pub(crate) names: Vec<FunctionName>,
    /// (name, first slot) of each executable section, ascending.
    pub(crate) sections: Vec<(String, usize)>,
    pub(crate) lines: SourceLines,
    /// Of each slot, the one of the object that it comes from; `None` if it is the same.
    pub(crate) origin: Option<Vec<usize>>,
    /// Bits of the entry function's result if it is signed and has fewer than 64: the others say nothing.
    pub(crate) result_bits: Option<u32>,
    /// The entry function is a `main` that knows nothing of a program's arguments: it has none.
    pub(crate) is_plain_main: bool,
}

impl Image {
    /// An image without sections, data or debug information.
    pub(crate) fn bare(slots: Vec<Instruction>, functions: Vec<Function>) -> Self {
        let lines = SourceLines::default();
        let (data, names, sections) = (Vec::new(), Vec::new(), Vec::new());
        let (origin, result_bits, is_plain_main) = (None, None, false);
        Self { slots, functions, data, names, sections, lines, origin, result_bits, is_plain_main }
    }

    /// A function's instructions.
    pub(crate) fn code(&self, function: &Function) -> &[Instruction] {
        &self.slots[function.start..function.end]
    }

    /// The functions that a function calls.
    pub(crate) fn callees(&self, function: &Function) -> impl Iterator<Item = usize> {
        let calls = (function.start..).zip(self.code(function));
        calls.filter(|(_, insn)| insn.is_local_call()).filter_map(|(slot, insn)| {
            let target = slot.checked_add_signed(insn.imm as isize + 1)?;
            self.function_starting_at(target)
        })
    }

    /// The function an instruction slot belongs to.
    pub(crate) fn function_at(&self, slot: usize) -> Option<&Function> {
        let i = self.functions.partition_point(|f| f.start <= slot);
        self.functions.get(i.wrapping_sub(1)).filter(|f| slot < f.end)
    }

    /// The function whose first instruction is in a slot.
    pub(crate) fn function_starting_at(&self, slot: usize) -> Option<usize> {
        self.functions.binary_search_by_key(&slot, |f| f.start).ok()
    }

    /// The slot of the object that a slot comes from.
    fn written_at(&self, slot: usize) -> usize {
        self.origin.as_ref().map_or(slot, |origin| origin.get(slot).copied().unwrap_or(slot))
    }

    /// Where a slot is.
    pub(crate) fn location(&self, slot: usize) -> Location<'_> {
        let (function, start) = match self.function_at(slot) {
            Some(f) => (f.name.as_str(), self.written_at(f.start)),
            None => ("?", 0),
        };
        let slot = self.written_at(slot);
        let section = self.sections.iter().rev().find(|(_, first)| *first <= slot);
        let source = section.and_then(|(section, first)| {
            self.lines.find(section, u32::try_from((slot - first) * Instruction::SIZE).ok()?)
        });
        Location { function, instruction: slot - start, source }
    }

    /// Function, instruction and, if known, source line of a slot.
    pub(crate) fn describe(&self, slot: usize) -> String {
        let Location { function, instruction, source } = self.location(slot);
        match source {
            Some((path, line)) => {
                let file = path.rsplit('/').next().unwrap_or(path);
                format!("function '{function}', instruction {instruction} ({file}:{line})")
            }
            None => format!("function '{function}', instruction {instruction}"),
        }
    }

    /// Chooses the entry function: by name, by the symbol index in `e_entry`, or the only global function that takes the arguments of a
    /// program, or else `main`, or the only one that no other function calls.
    pub(crate) fn entry(
        &self,
        name: Option<&str>,
        symbol: u64,
        taking_arguments: impl Fn() -> BTreeSet<String>,
    ) -> Result<usize, LoadError> {
        let globals: Vec<usize> =
            (0..self.functions.len()).filter(|&n| self.functions[n].global).collect();
        let known = || {
            let shown = globals.iter().take(NAMES_SHOWN).map(|&n| self.functions[n].name.as_str());
            let more = if globals.len() > NAMES_SHOWN { ", ..." } else { "" };
            shown.collect::<Vec<_>>().join(", ") + more
        };
        if let Some(name) = name {
            let found = self.names.iter().find(|n| n.name == name);
            let found = found.and_then(|n| self.function_starting_at(n.start));
            return found.ok_or_else(|| LoadError::UnknownFunction {
                name: name.to_owned(),
                known: known(),
            });
        }
        if symbol != 0 {
            let found = self.names.iter().find(|n| n.symbol as u64 == symbol);
            let found = found.and_then(|n| self.function_starting_at(n.start));
            return found.ok_or_else(|| {
                LoadError::Malformed(format!("e_entry names symbol {symbol}, not a function"))
            });
        }
        let named = taking_arguments();
        let mut taking = globals.iter().copied().filter(|&n| {
            let name = &self.functions[n].name;
            named.contains(name) || name.starts_with("_Z") && name.ends_with(TAKES_ARGUMENTS)
        });
        if let (Some(only), None) = (taking.next(), taking.next()) {
            return Ok(only);
        }
        if let Some(main) = globals.iter().copied().find(|&n| self.functions[n].name == MAIN) {
            return Ok(main);
        }
        let mut called = vec![false; self.functions.len()];
        for (slot, insn) in self.slots.iter().enumerate().filter(|(_, i)| i.is_local_call()) {
            let target = slot.checked_add_signed(insn.imm as isize + 1);
            if let Some(n) = target.and_then(|t| self.function_starting_at(t)) {
                called[n] = true;
            }
        }
        let mut roots = globals.iter().copied().filter(|&n| !called[n]);
        match (roots.next(), roots.next(), globals.as_slice()) {
            (Some(only), None, _) | (None, _, &[only]) => Ok(only),
            (_, _, []) => Err(LoadError::NoFunction),
            _ => Err(LoadError::AmbiguousFunction { known: known() }),
        }
    }
}
