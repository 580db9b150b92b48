//! What there is to know about a shared object before any of its code runs.

use object::elf;
use object::read::elf::{ElfFile64, FileHeader, SectionHeader, Sym};
use object::{LittleEndian, SectionIndex};

/// Most libraries that an object may need.
const NEEDED_MAX: usize = 32;
/// Most functions that are looked at.
const FUNCTIONS_MAX: usize = 65_536;
/// Longest name of a function or library.
const NAME_BYTES_MAX: usize = 255;
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
    /// Address, size and name of each function, ascending.
    functions: Vec<(u64, u64, String)>,
}

type Elf<'a> = ElfFile64<'a, LittleEndian>;

fn malformed(error: object::Error) -> String {
    format!("a broken shared object: {error}")
}

impl Library {
    /// Looks at the bytes of a shared object. What that costs is bounded by their number: names are looked at as far as they may go.
    pub(crate) fn inspect(bytes: &[u8], function: Option<&str>) -> Result<Self, String> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err("not a shared object: make one with cc -shared -fPIC -O2".to_owned());
        }
        let endian = LittleEndian;
        let file = Elf::parse(bytes).map_err(malformed)?;
        let header = file.elf_header();
        if header.e_type(endian) != elf::ET_DYN {
            return Err("not a shared object: link it with cc -shared".to_owned());
        }
        let machine = header.e_machine(endian);
        if machine != MACHINE {
            return Err(format!(
                "made for another machine (ELF machine {}): this drive runs on one of {}",
                machine.0,
                std::env::consts::ARCH
            ));
        }
        let needed = needed(&file, bytes)?;
        let symbols = file.elf_dynamic_symbol_table();
        let names = strings(&file, bytes, symbols.string_section())?;
        let (mut exported, mut functions) = (Vec::new(), Vec::new());
        for symbol in symbols.iter().take(FUNCTIONS_MAX) {
            let is_function = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC);
            if !is_function || symbol.st_shndx(endian) == elf::SHN_UNDEF {
                continue;
            }
            let Some(name) = name_at(names, symbol.st_name(endian).into()) else { continue };
            let address = symbol.st_value(endian);
            functions.push((address, symbol.st_size(endian), name.to_owned()));
            let is_visible =
                matches!(symbol.st_visibility(), elf::STV_DEFAULT | elf::STV_PROTECTED);
            if is_visible && symbol.st_bind() != elf::STB_LOCAL {
                exported.push((name, symbol.st_bind() == elf::STB_WEAK));
            }
        }
        let function = choose(&exported, function)?;
        functions.sort_unstable();
        Ok(Self { function, needed, functions })
    }

    /// Where an address of the loaded object is, as text; `base` is where the object begins.
    pub(crate) fn locate(&self, address: u64, base: u64) -> Option<String> {
        let at = address.wrapping_sub(base);
        let after = self.functions.partition_point(|(start, ..)| *start <= at);
        let (start, size, name) = self.functions.get(after.checked_sub(1)?)?;
        (at - start < *size).then(|| format!("{name}+{:#x}", at - start))
    }
}

/// A string table.
fn strings<'a>(file: &Elf<'a>, bytes: &'a [u8], section: SectionIndex) -> Result<&'a [u8], String> {
    let section = file.elf_section_table().section(section).map_err(malformed)?;
    section.data(LittleEndian, bytes).map_err(malformed)
}

/// True for a name that stays in its folder, of letters that have no meaning to a shell or in a path.
pub(crate) fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain)
}

/// A name of a string table, unless it is none or a very long one.
fn name_at(strings: &[u8], offset: u64) -> Option<&str> {
    let from = strings.get(usize::try_from(offset).ok()?..)?;
    let len = from.iter().take(NAME_BYTES_MAX + 1).position(|byte| *byte == 0)?;
    std::str::from_utf8(&from[..len]).ok().filter(|name| !name.is_empty())
}

/// The function of this name, or else the only one that is a C function of the object's own.
fn choose(exported: &[(&str, bool)], name: Option<&str>) -> Result<String, String> {
    let own: Vec<&str> = exported
        .iter()
        .filter(|(name, is_weak)| !is_weak && !name.starts_with("_Z") && !is_startup(name))
        .map(|(name, _)| *name)
        .collect();
    let listed = || {
        let mut names = own[..own.len().min(NAMES_SHOWN)].to_vec();
        if own.len() > NAMES_SHOWN {
            names.push("...");
        }
        names.join(", ").escape_debug().to_string()
    };
    match (name, own.as_slice()) {
        (Some(name), _) if exported.iter().any(|(other, _)| *other == name) => Ok(name.to_owned()),
        (Some(name), []) => Err(format!("exports no function {name}, nor any other")),
        (Some(name), _) => Err(format!("exports no function {name}, but {}", listed())),
        (None, [name]) => Ok((*name).to_owned()),
        (None, []) => Err("exports no function: declare it extern \"C\" in C++".to_owned()),
        (None, _) => Err(format!("exports several functions: name one of {}", listed())),
    }
}

fn is_startup(name: &str) -> bool {
    matches!(name, "_init" | "_fini")
}

/// The libraries that the object says it needs; each must be one that the system has.
fn needed(file: &Elf<'_>, bytes: &[u8]) -> Result<Vec<String>, String> {
    let endian = LittleEndian;
    let dynamic = file.elf_section_table().dynamic(endian, bytes).map_err(malformed)?;
    let Some((entries, names)) = dynamic else {
        return Err(
            "a shared object without a section .dynamic: keep its section headers".to_owned()
        );
    };
    let names = strings(file, bytes, names)?;
    let mut needed = Vec::new();
    for entry in entries {
        let (tag, value) = (entry.d_tag.get(endian), entry.d_val.get(endian));
        if tag == elf::DT_FLAGS_1 && value & elf::DF_1_PIE.0 != 0 {
            return Err("a program, not a shared object: link it with cc -shared".to_owned());
        }
        if tag != elf::DT_NEEDED {
            continue;
        }
        let name = name_at(names, value).unwrap_or_default();
        let is_library = name.starts_with("lib") || name.starts_with("ld-");
        if !is_library || !is_plain(name) {
            return Err(format!(
                "needs {name:?}: only libraries of this system can be needed, as libm.so.6; link others in (libNAME.a)"
            ));
        }
        if needed.len() == NEEDED_MAX {
            return Err(format!("needs more than {NEEDED_MAX} libraries"));
        }
        needed.push(name.to_owned());
    }
    Ok(needed)
}
