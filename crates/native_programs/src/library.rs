//! What there is to know about a shared object before any of its code runs.

use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, ElfFile64, FileHeader};
use object::{LittleEndian, Object, ObjectSymbol, SymbolKind, SymbolScope};

/// Most libraries that an object may need.
const NEEDED_MAX: usize = 32;
/// Most functions that are looked at.
const FUNCTIONS_MAX: usize = 65_536;
/// Longest name of a function or library.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Names that a message lists.
const NAMES_SHOWN: usize = 10;

/// ELF's number for this machine.
const MACHINE: elf::Machine =
    if cfg!(target_arch = "aarch64") { elf::EM_AARCH64 } else { elf::EM_X86_64 };

/// A shared object that can be tried.
#[derive(Debug)]
pub(crate) struct Library {
    /// The function that is called.
    pub(crate) function: String,
    /// Libraries that must be there before.
    pub(crate) needed: Vec<String>,
    /// Address and name of each function, ascending.
    functions: Vec<(u64, String)>,
    /// The address of the one that is called.
    entry: u64,
}

impl Library {
    /// Looks at the bytes of a shared object.
    pub(crate) fn inspect(bytes: &[u8], function: Option<&str>) -> Result<Self, String> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err("not a shared object: make one with cc -shared -fPIC -O2".to_owned());
        }
        let malformed = |error: object::Error| format!("a broken shared object: {error}");
        let file: ElfFile64<'_, LittleEndian> = ElfFile64::parse(bytes).map_err(malformed)?;
        let header = file.elf_header();
        if header.e_type(LittleEndian) != elf::ET_DYN {
            return Err("not a shared object: link it with cc -shared".to_owned());
        }
        let machine = header.e_machine(LittleEndian);
        if machine != MACHINE {
            return Err(format!(
                "made for another machine (ELF machine {}): this drive runs on one of {}",
                machine.0,
                std::env::consts::ARCH
            ));
        }
        let needed = needed(&file, bytes)?;
        let (mut exported, mut functions) = (Vec::new(), Vec::new());
        for symbol in file.dynamic_symbols().take(FUNCTIONS_MAX) {
            let (Ok(name), SymbolKind::Text) = (symbol.name(), symbol.kind()) else { continue };
            if symbol.is_undefined() || name.is_empty() || name.len() > NAME_BYTES_MAX {
                continue;
            }
            functions.push((symbol.address(), name.to_owned()));
            if symbol.scope() == SymbolScope::Dynamic {
                exported.push((symbol.address(), name, symbol.is_weak()));
            }
        }
        let (entry, function) = choose(&exported, function)?;
        functions.sort_unstable();
        Ok(Self { function, needed, functions, entry })
    }

    /// Where an address of the loaded object is, as text; `entry` is the address of the function that was called.
    pub(crate) fn locate(&self, address: u64, entry: u64) -> Option<String> {
        let at = address.wrapping_sub(entry.wrapping_sub(self.entry));
        let after = self.functions.partition_point(|(start, _)| *start <= at);
        let (start, name) = self.functions.get(after.checked_sub(1)?)?;
        // Code after the last function may be anyone's.
        let offset = at - start;
        (offset < 1 << 20).then(|| format!("{name}+{offset:#x}"))
    }
}

/// The function of this name, or else the only one that is a C function of the object's own.
fn choose(exported: &[(u64, &str, bool)], name: Option<&str>) -> Result<(u64, String), String> {
    let own: Vec<_> = exported
        .iter()
        .filter(|(_, name, is_weak)| !is_weak && !name.starts_with("_Z") && !is_startup(name))
        .collect();
    let listed = || {
        let mut names: Vec<_> = own.iter().take(NAMES_SHOWN).map(|(_, name, _)| *name).collect();
        if own.len() > NAMES_SHOWN {
            names.push("...");
        }
        names.join(", ")
    };
    match (name, own.as_slice()) {
        (Some(name), _) => match exported.iter().find(|(_, other, _)| *other == name) {
            Some((address, name, _)) => Ok((*address, (*name).to_owned())),
            None if own.is_empty() => Err(format!("exports no function {name}, nor any other")),
            None => Err(format!("exports no function {name}, but {}", listed())),
        },
        (None, [(address, name, _)]) => Ok((*address, (*name).to_owned())),
        (None, []) => Err("exports no function: declare it extern \"C\" in C++".to_owned()),
        (None, _) => Err(format!("exports several functions: name one of {}", listed())),
    }
}

fn is_startup(name: &str) -> bool {
    matches!(name, "_init" | "_fini")
}

/// The libraries that the object says it needs; each must be one that the system has.
fn needed(file: &ElfFile64<'_, LittleEndian>, bytes: &[u8]) -> Result<Vec<String>, String> {
    let malformed = |error: object::Error| format!("a broken shared object: {error}");
    let endian = LittleEndian;
    let sections = file.elf_section_table();
    let Some((entries, strings)) = sections.dynamic(endian, bytes).map_err(malformed)? else {
        return Err("a shared object without a dynamic section".to_owned());
    };
    let strings = sections.strings(endian, bytes, strings).map_err(malformed)?;
    let mut needed = Vec::new();
    for entry in entries {
        let (tag, value) = (entry.d_tag.get(endian), entry.d_val.get(endian));
        if tag == elf::DT_FLAGS_1 && value & elf::DF_1_PIE.0 != 0 {
            return Err("a program, not a shared object: link it with cc -shared".to_owned());
        }
        if tag != elf::DT_NEEDED {
            continue;
        }
        let name = <FileHeader64<LittleEndian> as FileHeader>::Dyn::string(entry, endian, strings);
        let name = name.map_err(malformed)?;
        let name = std::str::from_utf8(name).unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        let is_library = name.starts_with("lib") || name.starts_with("ld-");
        if !is_library || !name.chars().all(is_plain) || name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "needs {name:?}: only libraries of this system can be needed, as libm.so.6; link others in (libNAME.a)"
            ));
        }
        needed.push(name.to_owned());
    }
    if needed.len() > NEEDED_MAX {
        return Err(format!("needs {} libraries; at most {NEEDED_MAX} are loaded", needed.len()));
    }
    Ok(needed)
}
