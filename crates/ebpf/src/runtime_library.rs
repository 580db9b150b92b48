//! Functions that compilers call and no program has: a library of their own, of which the loader takes what is needed.
//!
//! `runtime/runtime.bpf.c` is its source. Each function stands for itself: it calls no other and has no data.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::isa::Instruction;

static OBJECT: &[u8] = include_bytes!("../runtime/runtime.bpf.o");

/// The code of a function; `None` if the library has none of that name.
pub(crate) fn function(name: &str) -> Option<&'static [Instruction]> {
    static ALL: OnceLock<BTreeMap<String, Vec<Instruction>>> = OnceLock::new();
    let all = ALL
        .get_or_init(|| read().expect("the library is an object that this crate was built with"));
    // gcc-bpf has names of its own for conversions: __bpf_extendsfdf2.
    let found = all.get(name).or_else(|| all.get(&format!("__{}", name.strip_prefix("__bpf_")?)));
    found.map(Vec::as_slice)
}

/// True for floating point, by the letters that compilers name types with.
pub(crate) fn is_float(name: &str) -> bool {
    name.starts_with("__") && (name.contains("sf") || name.contains("df"))
}

fn read() -> object::Result<BTreeMap<String, Vec<Instruction>>> {
    let elf = ElfFile64::<LittleEndian>::parse(OBJECT)?;
    let mut all = BTreeMap::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        let Some(index) = symbol.section_index() else { continue };
        let bytes = elf.section_by_index(index)?.data()?;
        let code = &bytes[symbol.address() as usize..][..symbol.size() as usize];
        let code = code.as_chunks().0.iter().map(|slot| Instruction::decode(*slot)).collect();
        all.insert(symbol.name()?.to_owned(), code);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_stands_for_itself() {
        let all = read().unwrap();
        assert!(all.len() > 80, "{}", all.len());
        for (name, code) in all {
            assert!(!code.iter().any(|insn| insn.is_local_call()), "{name} calls");
            // An exit, or a jump back to one.
            let ends = code.last().is_some_and(|insn| matches!(insn.opcode, 0x95 | 0x05));
            assert!(ends, "{name}");
        }
    }
}
