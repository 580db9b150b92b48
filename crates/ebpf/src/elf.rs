//! Loader for the objects clang writes: sections, symbols and relocations to one linked image.
//!
//! All executable sections are laid end to end, whatever their names; calls between them are
//! resolved; data sections get their window addresses here, because 64-bit immediates and
//! pointers in data refer to them. Undefined functions link to helpers by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object::read::elf::ElfFile64;
use object::{
    LittleEndian, Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget,
    SectionFlags, SectionIndex, SectionKind, SymbolIndex,
};

use crate::btf::{Signatures, SourceLines};
use crate::error::LoadError;
use crate::helper::{self, HELPERS, Helper};
use crate::image::{DataSection, Function, FunctionName, Image, MAIN};
use crate::indirect::{self, Targets};
use crate::isa::{CALL, CALL_LOCAL, EXIT, Instruction, LDDW};
use crate::memory::Window;
use crate::runtime_library;

const EM_BPF: u16 = 247;
const R_BPF_64_64: u32 = 1;
const R_BPF_64_ABS64: u32 = 2;
const R_BPF_64_ABS32: u32 = 3;
const R_BPF_64_32: u32 = 10;
/// Why a reference to a symbol is refused if nobody knows what it means.
const UNKNOWN: &str = "and the object does not say whether clang or gcc wrote it: keep the section .comment (no -fno-ident, no strip)";

/// The number that binutils up to 2.40 has for R_BPF_64_ABS64.
const R_BPF_DATA_64: u32 = 12;
/// Where clang 22 puts jump tables; it does not say that they are loaded.
const JUMP_TABLES: &str = ".jumptables";
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;
const SHF_WRITE: u64 = 1;

/// Most bytes all data sections of a program may have together.
pub const DATA_BYTES_MAX: u64 = 16 << 20;

/// Most data sections a program may have.
const DATA_SECTIONS_MAX: usize = 256;
/// Most sections of code a program may have.
const TEXT_SECTIONS_MAX: usize = 4096;
/// Most functions a program may have.
const FUNCTIONS_MAX: usize = 65_536;
/// Longest name of a function.
const NAME_BYTES_MAX: usize = 512;
type Elf<'a> = ElfFile64<'a, LittleEndian>;

fn malformed(error: impl ToString) -> LoadError {
    LoadError::Malformed(error.to_string())
}

/// The global functions of an object, by their names, in the order in which they stand.
///
/// # Errors
/// If it is no BPF object, or has no functions.
pub fn functions(object: &[u8]) -> Result<Vec<String>, LoadError> {
    let elf = parse(object)?;
    let linker = Linker::new(&elf, HELPERS)?;
    Ok(linker.functions.into_iter().filter(|f| f.global).map(|f| f.name).collect())
}

/// An object of this machine.
fn parse(bytes: &[u8]) -> Result<Elf<'_>, LoadError> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::NotElf);
    }
    if let Some(&[low, high]) = bytes.get(18..20).and_then(|b| <&[u8; 2]>::try_from(b).ok()) {
        let machine = u16::from_le_bytes([low, high]);
        if machine != EM_BPF || bytes[4] != 2 || bytes[5] != 1 {
            let what = match (bytes[4], bytes[5]) {
                (_, 2) => "big-endian".to_owned(),
                (1, _) => "32-bit".to_owned(),
                _ => format!("machine {machine}"),
            };
            return Err(LoadError::WrongMachine(what));
        }
    }
    Elf::parse(bytes).map_err(malformed)
}

/// Loads an object and chooses its entry function.
pub(crate) fn load(
    bytes: &[u8],
    entry: Option<&str>,
    helpers: &[Helper],
) -> Result<(Image, usize), LoadError> {
    let elf = parse(bytes)?;
    let mut linker = Linker::new(&elf, helpers)?;
    linker.relocate_text()?;
    linker.relocate_data()?;
    let (image, targets) = linker.finish()?;
    let mut image = indirect::resolve(image, &targets)?;
    let section = |name| elf.section_by_name(name).and_then(|s| s.data().ok()).unwrap_or(&[]);
    let signatures = Signatures::parse(section(".BTF"));
    let entry = image.entry(entry, elf.entry(), || signatures.taking_arguments())?;
    signatures.check_arguments(&image.functions[entry].name)?;
    let name = &image.functions[entry].name;
    image.is_plain_main =
        name == MAIN && signatures.has_types() && !signatures.taking_arguments().contains(name);
    image.result_bits = signatures.signed_result_bits(&image.functions[entry].name);
    Ok((image, entry))
}

struct Text<'a> {
    name: String,
    index: SectionIndex,
    first_slot: usize,
    section: object::read::elf::ElfSection64<'a, 'a, LittleEndian>,
}

struct Data<'a> {
    address: u64,
    bytes: Vec<u8>,
    writable: bool,
    section: object::read::elf::ElfSection64<'a, 'a, LittleEndian>,
}

struct Linker<'a> {
    elf: &'a Elf<'a>,
    helpers: &'a [Helper],
    slots: Vec<Instruction>,
    text: Vec<Text<'a>>,
    data: BTreeMap<usize, Data<'a>>,
    functions: Vec<Function>,
    names: Vec<FunctionName>,
    /// Window addresses of common symbols (`-fcommon`), by symbol index.
    common: BTreeMap<usize, u64>,
    common_bytes: u64,
    lines: SourceLines,
    values: Values,
    /// Functions that are called and come from elsewhere: where they begin.
    added: BTreeMap<String, usize>,
    targets: Targets,
    /// The section of jump tables, and those tables whose entries are addresses already.
    jump_tables: Option<usize>,
    resolved_tables: BTreeSet<usize>,
}

/// `r0 = 0; r0 = *(u8 *)(r0 + 0); exit`
pub(crate) const NOTHING: [Instruction; 3] = [
    Instruction { opcode: 0xB7, dst: 0, src: 0, offset: 0, imm: 0 },
    Instruction { opcode: 0x71, dst: 0, src: 0, offset: 0, imm: 0 },
    Instruction { opcode: EXIT, dst: 0, src: 0, offset: 0, imm: 0 },
];

/// What is in instructions and data that refer to a symbol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Values {
    /// What is to be added to the symbol's value: so clang writes objects.
    Apart,
    /// The symbol's value is in it already: so gcc's assembler (binutils) writes objects.
    InPlace,
    /// One of the two.
    Unknown,
}

impl Values {
    /// gcc says who it is in `.comment`, unless it is told not to (-fno-ident). Then section names tell: binutils has
    /// them in a table of their own, clang in that of the symbols' names. But binutils may have rewritten what clang
    /// wrote.
    fn of(elf: &Elf<'_>) -> Self {
        let comment = elf.section_by_name(".comment").and_then(|s| s.data().ok()).unwrap_or(&[]);
        let says = |word: &[u8]| comment.windows(word.len()).any(|text| text == word);
        match (says(b"GCC: "), says(b"clang")) {
            (true, false) => Self::InPlace,
            (false, true) => Self::Apart,
            (true, true) => Self::Unknown,
            (false, false) if elf.section_by_name(".shstrtab").is_some() => Self::Unknown,
            (false, false) => Self::Apart,
        }
    }
}

impl<'a> Linker<'a> {
    fn new(elf: &'a Elf<'a>, helpers: &'a [Helper]) -> Result<Self, LoadError> {
        let debug = |name| elf.section_by_name(name).and_then(|s| s.data().ok()).unwrap_or(&[]);
        let mut linker = Self {
            elf,
            helpers,
            slots: Vec::new(),
            text: Vec::new(),
            data: BTreeMap::new(),
            functions: Vec::new(),
            names: Vec::new(),
            common: BTreeMap::new(),
            common_bytes: 0,
            lines: SourceLines::parse(debug(".BTF"), debug(".BTF.ext")),
            values: Values::of(elf),
            added: BTreeMap::new(),
            targets: Targets::default(),
            jump_tables: elf.section_by_name(JUMP_TABLES).map(|section| section.index().0),
            resolved_tables: BTreeSet::new(),
        };
        linker.place_sections()?;
        linker.collect_functions()?;
        Ok(linker)
    }

    fn place_sections(&mut self) -> Result<(), LoadError> {
        let (mut total, mut next) = (0u64, Window::FIRST);
        for section in self.elf.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
            let sh_flags = sh_flags.0;
            let name = section.name().map_err(malformed)?.to_owned();
            // How to unwind the stack: clang 22 writes it, and nobody here does.
            if name == ".eh_frame" {
                continue;
            }
            if name.starts_with(".init_array") || name.starts_with(".ctors") {
                return Err(LoadError::Constructors { section: name });
            }
            if sh_flags & SHF_EXECINSTR != 0 {
                let bytes = section.data().map_err(malformed)?;
                if bytes.len() % Instruction::SIZE != 0 {
                    let reason =
                        format!("section {name}: {} bytes are not whole instructions", bytes.len());
                    return Err(LoadError::Malformed(reason));
                }
                let first_slot = self.slots.len();
                let decode = |c: &[u8]| Instruction::decode(c.try_into().unwrap_or_default());
                let decoded = bytes.chunks_exact(Instruction::SIZE).map(decode);
                self.slots.extend(decoded.map(Instruction::with_register_called));
                self.text.push(Text { name, index: section.index(), first_slot, section });
                if self.text.len() > TEXT_SECTIONS_MAX {
                    let reason = format!("more than {TEXT_SECTIONS_MAX} sections of code");
                    return Err(LoadError::Malformed(reason));
                }
            } else if (sh_flags & SHF_ALLOC != 0 || name == JUMP_TABLES) && section.size() > 0 {
                total = total.saturating_add(section.size());
                if total > DATA_BYTES_MAX {
                    return Err(LoadError::TooMuchData { bytes: total, max: DATA_BYTES_MAX });
                }
                let bytes = match section.kind() {
                    SectionKind::UninitializedData => vec![0; section.size() as usize],
                    _ => section.data().map_err(malformed)?.to_vec(),
                };
                let address = Window::next_address(next, 0);
                next = Window::after(address, bytes.len() as u64);
                let writable = sh_flags & SHF_WRITE != 0;
                self.data.insert(section.index().0, Data { address, bytes, writable, section });
                if self.data.len() > DATA_SECTIONS_MAX {
                    let reason = format!("more than {DATA_SECTIONS_MAX} data sections");
                    return Err(LoadError::Malformed(reason));
                }
            }
        }
        self.place_common(next, total)
    }

    /// Gives uninitialised variables of `-fcommon` objects a place of their own.
    fn place_common(&mut self, next: u64, total: u64) -> Result<(), LoadError> {
        let base = Window::next_address(next, 0);
        for symbol in self.elf.symbols().filter(|s| s.is_common()) {
            // A common symbol's value is its alignment.
            let alignment = symbol.address().clamp(1, 4096);
            let start = self.common_bytes.next_multiple_of(alignment);
            self.common.insert(symbol.index().0, base + start);
            self.common_bytes = start.saturating_add(symbol.size());
            if total.saturating_add(self.common_bytes) > DATA_BYTES_MAX {
                let bytes = total.saturating_add(self.common_bytes);
                return Err(LoadError::TooMuchData { bytes, max: DATA_BYTES_MAX });
            }
        }
        Ok(())
    }

    fn collect_functions(&mut self) -> Result<(), LoadError> {
        for symbol in self.elf.symbols() {
            let Some(index) = symbol.section_index() else { continue };
            let Some(text) = self.text.iter().find(|t| t.index == index) else { continue };
            let is_function = symbol.kind() == object::SymbolKind::Text;
            if !is_function && !symbol.is_global() {
                continue;
            }
            let name = symbol.name().map_err(malformed)?;
            if name.len() > NAME_BYTES_MAX || self.names.len() == FUNCTIONS_MAX {
                let reason = format!(
                    "more than {FUNCTIONS_MAX} functions, or a name of more than {NAME_BYTES_MAX} bytes"
                );
                return Err(LoadError::Malformed(reason));
            }
            let offset = symbol.address();
            if !offset.is_multiple_of(Instruction::SIZE as u64) || offset >= text.section.size() {
                return Err(LoadError::Malformed(format!("function '{name}' at byte {offset}")));
            }
            let start = text.first_slot + offset as usize / Instruction::SIZE;
            let (name, global) = (name.to_owned(), symbol.is_global());
            self.names.push(FunctionName { name: name.clone(), start, symbol: symbol.index().0 });
            self.functions.push(Function { name, start, end: 0, global });
        }
        if self.functions.is_empty() {
            return Err(LoadError::NoFunction);
        }
        // Of several names of one function, a global one is shown.
        self.functions
            .sort_by(|a, b| (a.start, !a.global, &a.name).cmp(&(b.start, !b.global, &b.name)));
        self.functions.dedup_by_key(|f| f.start);
        let section_ends: Vec<usize> =
            self.text.iter().skip(1).map(|t| t.first_slot).chain([self.slots.len()]).collect();
        let end_of = |start: usize| {
            let n = section_ends.partition_point(|&end| end <= start);
            section_ends.get(n).copied().unwrap_or(self.slots.len())
        };
        for i in 0..self.functions.len() {
            let start = self.functions[i].start;
            let next = self.functions.get(i + 1).map_or(usize::MAX, |f| f.start);
            self.functions[i].end = next.min(end_of(start));
        }
        Ok(())
    }

    fn function_name(&self, slot: usize) -> String {
        let i = self.functions.partition_point(|f| f.start <= slot);
        self.functions.get(i.wrapping_sub(1)).map_or_else(|| "?".into(), |f| f.name.clone())
    }

    fn symbol(&self, index: SymbolIndex) -> Result<impl ObjectSymbol<'a> + use<'a>, LoadError> {
        self.elf.symbol_by_index(index).map_err(malformed)
    }

    /// Window address of a symbol in a data section.
    fn data_address(&self, symbol: SymbolIndex, place: &str) -> Result<u64, LoadError> {
        let refuse = |reason: String| LoadError::Relocation { place: place.to_owned(), reason };
        let symbol = self.symbol(symbol)?;
        let name = symbol.name().unwrap_or_default().to_owned();
        if let Some(&address) = self.common.get(&symbol.index().0) {
            if self.values != Values::Apart {
                let reason = format!("common variable '{name}' of gcc's; compile with -fno-common");
                return Err(refuse(reason));
            }
            return Ok(address);
        }
        let Some(section) = symbol.section_index() else {
            // ELF: an undefined weak symbol is 0.
            if symbol.is_weak() {
                return Ok(0);
            }
            return Err(LoadError::UndefinedSymbol { symbol: name, function: place.to_owned() });
        };
        if let Some(text) = self.text.iter().find(|t| t.index == section) {
            let base = indirect::address((text.first_slot * Instruction::SIZE) as u64);
            return match self.values {
                Values::Apart => Ok(base.wrapping_add(symbol.address())),
                Values::InPlace => Ok(base),
                Values::Unknown if symbol.address() == 0 => Ok(base),
                Values::Unknown => Err(refuse(format!("refers to '{name}', {UNKNOWN}"))),
            };
        }
        let section_name = self.elf.section_by_index(section).ok();
        if section_name.and_then(|s| s.name().ok().map(|n| matches!(n, "maps" | ".maps")))
            == Some(true)
        {
            return Err(refuse(format!(
                "uses BPF map '{name}'; programs work on memory ranges, not maps"
            )));
        }
        let Some(data) = self.data.get(&section.0) else {
            return Err(refuse(format!("refers to '{name}' in a section that is not loaded")));
        };
        match self.values {
            Values::Apart => Ok(data.address.wrapping_add(symbol.address())),
            Values::InPlace => Ok(data.address),
            Values::Unknown if symbol.address() == 0 => Ok(data.address),
            Values::Unknown => Err(refuse(format!("refers to '{name}', {UNKNOWN}"))),
        }
    }

    fn relocate_text(&mut self) -> Result<(), LoadError> {
        // An unresolved call keeps src = 1, imm = -1; helpers overwrite it below.
        for t in 0..self.text.len() {
            let first = self.text[t].first_slot;
            let relocations: Vec<_> = self.text[t].section.relocations().collect();
            for (offset, relocation) in relocations {
                let slot = first + (offset / Instruction::SIZE as u64) as usize;
                let (RelocationFlags::Elf { r_type }, RelocationTarget::Symbol(symbol)) =
                    (relocation.flags(), relocation.target())
                else {
                    return Err(LoadError::Malformed(format!(
                        "relocation at byte {offset} without a symbol"
                    )));
                };
                if offset % 8 != 0 || slot >= self.slots.len() {
                    return Err(LoadError::Malformed(format!("relocation at byte {offset}")));
                }
                let function = self.function_name(slot);
                match (r_type.0, self.slots[slot].opcode) {
                    (R_BPF_64_64, LDDW) => self.relocate_address(slot, symbol, &function)?,
                    (R_BPF_64_32, CALL) => self.relocate_call(slot, symbol, &function)?,
                    (r_type, opcode) => {
                        let reason = format!("relocation type {r_type} on opcode {opcode:#04x}");
                        let place = format!("function '{function}'");
                        return Err(LoadError::Relocation { place, reason });
                    }
                }
            }
        }
        Ok(())
    }

    fn relocate_address(
        &mut self,
        slot: usize,
        symbol: SymbolIndex,
        function: &str,
    ) -> Result<(), LoadError> {
        let Some(high) = self.slots.get(slot + 1).map(|i| i.imm) else {
            return Err(LoadError::Malformed("64-bit load cut off".into()));
        };
        let addend = u64::from(self.slots[slot].imm as u32) | u64::from(high as u32) << 32;
        self.use_jump_table(slot, symbol)?;
        let address = self.data_address(symbol, function)?.wrapping_add(addend);
        self.take_address(address);
        self.slots[slot].imm = address as u32 as i32;
        self.slots[slot].src = 0;
        self.slots[slot + 1].imm = (address >> 32) as u32 as i32;
        Ok(())
    }

    /// Notes that the program has an address, if it is one of code.
    fn take_address(&mut self, address: u64) {
        let byte = address.wrapping_sub(indirect::address(0));
        let slot = byte / Instruction::SIZE as u64;
        if byte.is_multiple_of(Instruction::SIZE as u64) && slot < self.slots.len() as u64 {
            self.targets.taken.insert(slot as usize);
        }
    }

    /// An instruction refers to a jump table: its entries, bytes of the section that the instruction is in, become addresses of code.
    fn use_jump_table(&mut self, slot: usize, symbol: SymbolIndex) -> Result<(), LoadError> {
        let symbol = self.symbol(symbol)?;
        let section = symbol.section_index().map_or(0, |index| index.0);
        if self.jump_tables != Some(section) {
            return Ok(());
        }
        let text = self.text.iter().rev().find(|t| t.first_slot <= slot);
        let first = text.map_or(0, |t| t.first_slot);
        let n = self.functions.partition_point(|f| f.start <= slot);
        let function = self.functions.get(n.wrapping_sub(1)).map_or(0, |f| f.start);
        let (at, size) = (symbol.address() as usize, symbol.size() as usize);
        let data = self.data.get_mut(&section);
        let entries = data.and_then(|data| data.bytes.get_mut(at..at.checked_add(size)?));
        let Some(entries) = entries else {
            return Err(LoadError::Malformed("a jump table beyond its section".into()));
        };
        if !self.resolved_tables.insert(symbol.index().0) {
            return Ok(());
        }
        let slots = self.targets.tables.entry(function).or_default();
        for entry in entries.as_chunks_mut::<8>().0 {
            let byte = u64::from_le_bytes(*entry);
            slots.insert(first + (byte / Instruction::SIZE as u64) as usize);
            let byte = byte.wrapping_add((first * Instruction::SIZE) as u64);
            *entry = indirect::address(byte).to_le_bytes();
        }
        Ok(())
    }

    fn relocate_call(
        &mut self,
        slot: usize,
        symbol: SymbolIndex,
        function: &str,
    ) -> Result<(), LoadError> {
        let symbol = self.symbol(symbol)?;
        let name = symbol.name().unwrap_or_default().to_owned();
        let Some(section) = symbol.section_index() else {
            let Some(helper) = helper::by_name(self.helpers, &name) else {
                if let Some(code) = runtime_library::function(&name) {
                    // gcc-bpf 12.2 writes 641 where it means 1000.0.
                    if self.values == Values::InPlace && runtime_library::is_float(&name) {
                        let place = format!("function '{function}'");
                        let reason = format!(
                            "calls '{name}': gcc's BPF target writes wrong floating-point constants; compile it with clang"
                        );
                        return Err(LoadError::Relocation { place, reason });
                    }
                    return self.call_added(slot, name, code);
                }
                // A program that makes the call all the same has a fault at address 0.
                if symbol.is_weak() {
                    return self.call_added(slot, name, &NOTHING);
                }
                let function = function.to_owned();
                return Err(LoadError::UndefinedSymbol { symbol: name, function });
            };
            self.slots[slot].src = 0;
            self.slots[slot].imm = helper.id as i32;
            return Ok(());
        };
        let imm = i64::from(self.slots[slot].imm) + 1;
        let target = match self.values {
            Values::Apart => (symbol.address() as i64).wrapping_add(imm * Instruction::SIZE as i64),
            // In bytes, of the section.
            Values::InPlace => imm,
            // An offset of 0 means the symbol itself, or the beginning of the section.
            Values::Unknown if imm == 0 && symbol.address() == 0 => 0,
            Values::Unknown => {
                let place = format!("function '{function}'");
                let reason = format!("calls '{name}', {UNKNOWN}");
                return Err(LoadError::Relocation { place, reason });
            }
        };
        let text = self.text.iter().find(|t| t.index == section);
        let Some(text) = text.filter(|_| target >= 0 && target % 8 == 0) else {
            let place = format!("function '{function}'");
            return Err(LoadError::Relocation {
                place,
                reason: format!("calls '{name}', which is not code"),
            });
        };
        let target = text.first_slot as i64 + target / Instruction::SIZE as i64;
        self.slots[slot].src = CALL_LOCAL;
        self.slots[slot].imm = i32::try_from(target - slot as i64 - 1).map_err(malformed)?;
        Ok(())
    }

    /// A call of a function that the object does not have: it comes behind those that it has.
    fn call_added(
        &mut self,
        slot: usize,
        name: String,
        code: &[Instruction],
    ) -> Result<(), LoadError> {
        let start = match self.added.get(&name) {
            Some(&start) => start,
            None => {
                let start = self.slots.len();
                self.slots.extend(code);
                let end = self.slots.len();
                self.functions.push(Function { name: name.clone(), start, end, global: false });
                self.added.insert(name, start);
                start
            }
        };
        self.slots[slot].src = CALL_LOCAL;
        self.slots[slot].imm = i32::try_from(start as i64 - slot as i64 - 1).map_err(malformed)?;
        Ok(())
    }

    fn relocate_data(&mut self) -> Result<(), LoadError> {
        let sections: Vec<usize> = self.data.keys().copied().collect();
        for index in sections {
            let relocations: Vec<_> = self.data[&index].section.relocations().collect();
            for (offset, relocation) in relocations {
                let (RelocationFlags::Elf { r_type }, RelocationTarget::Symbol(symbol)) =
                    (relocation.flags(), relocation.target())
                else {
                    return Err(LoadError::Malformed(format!(
                        "relocation at data byte {offset} without a symbol"
                    )));
                };
                let size = match r_type.0 {
                    R_BPF_64_ABS64 => 8,
                    R_BPF_DATA_64 if self.values != Values::Apart => 8,
                    R_BPF_64_ABS32 => 4,
                    other => {
                        let reason = format!("relocation type {other} in a data section");
                        return Err(LoadError::Malformed(reason));
                    }
                };
                let address = self.data_address(symbol, "a data section")?;
                let Some(data) = self.data.get_mut(&index) else { continue };
                let end = offset.saturating_add(size) as usize;
                let Some(place) = data.bytes.get_mut(offset as usize..end) else {
                    return Err(LoadError::Malformed(format!("relocation at data byte {offset}")));
                };
                let mut addend = [0; 8];
                addend[..place.len()].copy_from_slice(place);
                let value = address.wrapping_add(u64::from_le_bytes(addend));
                place.copy_from_slice(&value.to_le_bytes()[..size as usize]);
                self.take_address(value);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(Image, Targets), LoadError> {
        let common = self.common.values().min().map(|&address| DataSection {
            address,
            bytes: vec![0; self.common_bytes as usize].into(),
            writable: true,
        });
        let data = self.data.into_values().map(|d| DataSection {
            address: d.address,
            bytes: Arc::from(d.bytes),
            writable: d.writable,
        });
        let image = Image {
            slots: self.slots,
            functions: self.functions,
            names: self.names,
            // Common variables were placed last.
            data: data.chain(common.filter(|c| !c.bytes.is_empty())).collect(),
            sections: self.text.into_iter().map(|t| (t.name, t.first_slot)).collect(),
            lines: self.lines,
            origin: None,
            result_bits: None,
            is_plain_main: false,
        };
        Ok((image, self.targets))
    }
}

/// Names the entry function inside an object: sets `e_entry`, which means nothing in a
/// relocatable file, to the function's symbol index. The result is still the same ELF object.
///
/// # Errors
/// If the object cannot be loaded or has no such function.
pub fn select_entry(object: &[u8], name: &str) -> Result<Vec<u8>, LoadError> {
    let (image, entry) = load(object, Some(name), HELPERS)?;
    let mut bytes = object.to_vec();
    let start = image.functions[entry].start;
    let chosen = image.names.iter().find(|n| n.start == start && n.name == name);
    let symbol = chosen.map_or(0, |n| n.symbol as u64);
    bytes[24..32].copy_from_slice(&symbol.to_le_bytes());
    Ok(bytes)
}
