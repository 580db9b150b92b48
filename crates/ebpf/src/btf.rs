//! What `.BTF` and `.BTF.ext` say: source lines, and the layout of the arguments (Linux `Documentation/bpf/btf.rst`).
//!
//! Debug information only serves messages and refusals: whatever is malformed is ignored, never trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::LoadError;

const MAGIC: u16 = 0xEB9F;
/// Longest file or section name kept.
const NAME_BYTES_MAX: usize = 256;
/// Most line records kept.
const RECORDS_MAX: usize = 1 << 20;

/// The line that begins at a byte offset of a section.
#[derive(Debug, Clone)]
struct Record {
    section: Arc<str>,
    offset: u32,
    file: Arc<str>,
    line: u32,
}

/// Source lines, sorted by section name and byte offset.
#[derive(Debug, Default, Clone)]
pub(crate) struct SourceLines {
    records: Vec<Record>,
}

impl SourceLines {
    /// Reads the line table; empty if there is none.
    pub(crate) fn parse(btf: &[u8], ext: &[u8]) -> Self {
        Self::try_parse(btf, ext).unwrap_or_default()
    }

    /// The path and line of an instruction: those of the last record that begins at or before it.
    pub(crate) fn find(&self, section: &str, offset: u32) -> Option<(&str, u32)> {
        let after = self.records.partition_point(|r| (&*r.section, r.offset) <= (section, offset));
        let record = self.records.get(after.checked_sub(1)?)?;
        (&*record.section == section).then_some((&*record.file, record.line))
    }

    fn try_parse(btf: &[u8], ext: &[u8]) -> Option<Self> {
        let strings = {
            let header = header_len(btf)?;
            let (offset, len) = (u32_at(btf, 16)? as usize, u32_at(btf, 20)? as usize);
            btf.get(header..)?.get(offset..)?.get(..len)?
        };
        let mut texts: BTreeMap<u32, Arc<str>> = BTreeMap::new();
        let mut text = |offset: u32| -> Option<Arc<str>> {
            if let Some(known) = texts.get(&offset) {
                return Some(Arc::clone(known));
            }
            let rest = strings.get(offset as usize..)?;
            let rest = &rest[..rest.len().min(NAME_BYTES_MAX)];
            let end = rest.iter().position(|&b| b == 0)?;
            let whole = String::from_utf8_lossy(&rest[..end]);
            let name: Arc<str> = Arc::from(&*whole);
            texts.insert(offset, Arc::clone(&name));
            Some(name)
        };
        let header = header_len(ext)?;
        let (offset, len) = (u32_at(ext, 16)? as usize, u32_at(ext, 20)? as usize);
        let info = ext.get(header..)?.get(offset..)?.get(..len)?;
        let record_size = u32_at(info, 0)? as usize;
        if record_size < 16 {
            return None;
        }
        let mut records = Vec::new();
        let mut rest = info.get(4..)?;
        while rest.len() >= 8 {
            let section = text(u32_at(rest, 0)?)?;
            let count = u32_at(rest, 4)? as usize;
            let body = rest.get(8..)?.get(..count.checked_mul(record_size)?)?;
            for record in body.chunks_exact(record_size) {
                let (offset, line) = (u32_at(record, 0)?, u32_at(record, 12)? >> 10);
                let path = text(u32_at(record, 4)?)?;
                if line != 0 && records.len() < RECORDS_MAX {
                    records.push(Record {
                        section: Arc::clone(&section),
                        offset,
                        file: path,
                        line,
                    });
                }
            }
            rest = &rest[8 + body.len()..];
        }
        records.sort_by(|a, b| (&a.section, a.offset).cmp(&(&b.section, b.offset)));
        Some(Self { records })
    }
}

/// Bytes at which the drive puts the seven members of `struct cemu_args`, which is packed.
const ARGUMENT_OFFSETS: [u32; 7] = [0, 4, 12, 20, 28, 36, 44];

/// Name of the structure of arguments in CEMU's, FEMU's and csdrive's headers.
const ARGUMENTS: &str = "cemu_args";

/// What functions take and return, as far as the object says it.
pub(crate) struct Signatures<'a>(Option<Types<'a>>);

impl<'a> Signatures<'a> {
    /// Reads `.BTF`.
    pub(crate) fn parse(btf: &'a [u8]) -> Self {
        Self(Types::parse(btf))
    }

    /// True if the object says anything about types.
    pub(crate) fn has_types(&self) -> bool {
        self.0.is_some()
    }

    /// Names of the functions whose first parameter is the drive's structure of arguments, by its name.
    pub(crate) fn taking_arguments(&self) -> BTreeSet<String> {
        let Some(types) = &self.0 else { return BTreeSet::new() };
        let name = |(head, _): &(&[u8], &[u8])| {
            let (Types::FUNCTION, prototype) = (kind_of(head)?, u32_at(head, 8)?) else {
                return None;
            };
            let structure = types.first_structure(types.get(prototype)?)?;
            types
                .is_named(structure.name, ARGUMENTS)
                .then(|| types.text(u32_at(head, 0).unwrap_or(0)))
        };
        types.types.iter().filter_map(name).collect()
    }

    /// Bits of a function's result if it is a signed integer of fewer than 64.
    pub(crate) fn signed_result_bits(&self, function: &str) -> Option<u32> {
        let types = self.0.as_ref()?;
        let (_, result, ..) = types.prototype_of(function)?;
        types.signed_bits(result).filter(|bits| *bits < 64)
    }

    /// Refuses an entry function whose structure of arguments is not packed: it would read parts of two members as one. A
    /// program may declare the structure under any name. It is taken for that if a 4-byte member is first and an 8-byte
    /// one second.
    ///
    /// # Errors
    /// If it is not packed.
    pub(crate) fn check_arguments(&self, function: &str) -> Result<(), LoadError> {
        let misplaced = self.0.as_ref().and_then(|types| misplaced_member(types, function));
        misplaced.map_or(Ok(()), Err)
    }
}

fn misplaced_member(types: &Types<'_>, function: &str) -> Option<LoadError> {
    let structure = types.arguments_of(function)?;
    let members: Vec<&[u8]> = structure.members.chunks_exact(12).collect();
    let name = types.text(structure.name);
    let size = |n: usize| types.size(u32_at(members.get(n)?, 4)?);
    if name != ARGUMENTS && (size(0), size(1)) != (Some(4), Some(8)) {
        return None;
    }
    let expected = ARGUMENT_OFFSETS.iter().copied();
    let (member, offset, expected) =
        members.iter().zip(expected).find_map(|(member, expected)| {
            // In structures with bit fields, the upper 8 bits are the field's size.
            let bits =
                u32_at(member, 8)? & if structure.has_bit_fields { 0x00FF_FFFF } else { u32::MAX };
            (bits != 8 * expected).then_some((types.text(u32_at(member, 0)?), bits / 8, expected))
        })?;
    Some(LoadError::Arguments { function: function.to_owned(), name, member, offset, expected })
}

/// The type section of `.BTF`.
struct Types<'a> {
    strings: &'a [u8],
    /// Each type's 12 bytes and what follows them; type 1 is the first.
    types: Vec<(&'a [u8], &'a [u8])>,
}

struct Structure<'a> {
    name: u32,
    has_bit_fields: bool,
    members: &'a [u8],
}

impl<'a> Types<'a> {
    const POINTER: u32 = 2;
    const STRUCTURE: u32 = 4;
    const FUNCTION: u32 = 12;
    const PROTOTYPE: u32 = 13;
    /// Most types looked at.
    const MAX: usize = 1 << 20;

    fn parse(btf: &'a [u8]) -> Option<Self> {
        let body = btf.get(header_len(btf)?..)?;
        let part = |at: usize| -> Option<&'a [u8]> {
            let (offset, len) = (u32_at(btf, at)? as usize, u32_at(btf, at + 4)? as usize);
            body.get(offset..)?.get(..len)
        };
        let (mut rest, strings) = (part(8)?, part(16)?);
        let mut types = Vec::new();
        while rest.len() >= 12 && types.len() < Self::MAX {
            let info = u32_at(rest, 4)?;
            let (kind, count) = (info >> 24 & 0x1F, (info & 0xFFFF) as usize);
            let more = match kind {
                // Integers and variables, tags.
                1 | 14 | 17 => 4,
                // Arrays.
                3 => 12,
                // Structures and unions; members of a section; 64-bit enumerators.
                4 | 5 | 15 | 19 => 12 * count,
                // Enumerators; parameters.
                6 | 13 => 8 * count,
                _ => 0,
            };
            types.push((&rest[..12], rest.get(12..12 + more)?));
            rest = &rest[12 + more..];
        }
        Some(Self { strings, types })
    }

    fn text(&self, offset: u32) -> String {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        // Cut first: a hostile table may have no end of a name for megabytes.
        let rest = &rest[..rest.len().min(NAME_BYTES_MAX)];
        let text = rest.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// True if that is the name at an offset.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// A type's kind, its size or the type it refers to, and what follows it.
    fn get(&self, id: u32) -> Option<(u32, u32, &'a [u8], &'a [u8])> {
        let (head, more) = *self.types.get((id as usize).checked_sub(1)?)?;
        Some((u32_at(head, 4)? >> 24 & 0x1F, u32_at(head, 8)?, head, more))
    }

    /// A type without names for it and qualifiers.
    fn resolve(&self, mut id: u32) -> u32 {
        // Longer chains, or circles, are of no compiler's making.
        for _ in 0..32 {
            match self.get(id) {
                // Typedef, volatile, const, restrict, type tag.
                Some((8..=11 | 18, of, ..)) => id = of,
                _ => break,
            }
        }
        id
    }

    /// Bytes of an integer, an enumeration or a pointer.
    fn size(&self, id: u32) -> Option<u32> {
        match self.get(self.resolve(id))? {
            (Self::POINTER, ..) => Some(8),
            (1 | 6 | 19, size, ..) => Some(size),
            _ => None,
        }
    }

    /// Bits of a signed integer or enumeration.
    fn signed_bits(&self, id: u32) -> Option<u32> {
        /// BTF_INT_SIGNED, in the upper byte of what describes an integer.
        const SIGNED: u32 = 1 << 24;
        let (kind, size, head, more) = self.get(self.resolve(id))?;
        let is_signed = match kind {
            1 => u32_at(more, 0)? & SIGNED != 0,
            // Of enumerations the kind flag says it.
            6 => u32_at(head, 4)? >> 31 == 1,
            _ => false,
        };
        (is_signed && matches!(size, 1 | 2 | 4 | 8)).then(|| 8 * size)
    }

    /// A function's prototype.
    fn prototype_of(&self, function: &str) -> Option<(u32, u32, &'a [u8], &'a [u8])> {
        let is_it = |head: &[u8]| {
            kind_of(head) == Some(Self::FUNCTION)
                && u32_at(head, 0).is_some_and(|n| self.is_named(n, function))
        };
        let (head, _) = self.types.iter().find(|(head, _)| is_it(head))?;
        self.get(u32_at(head, 8)?).filter(|(kind, ..)| *kind == Self::PROTOTYPE)
    }

    /// The structure that a function's first parameter points to.
    fn arguments_of(&self, function: &str) -> Option<Structure<'a>> {
        self.first_structure(self.prototype_of(function)?)
    }

    /// The structure that the first parameter of a prototype points to.
    fn first_structure(
        &self,
        (kind, _, _, parameters): (u32, u32, &'a [u8], &'a [u8]),
    ) -> Option<Structure<'a>> {
        if kind != Self::PROTOTYPE {
            return None;
        }
        let parameter = self.resolve(u32_at(parameters, 4)?);
        let (Self::POINTER, to, ..) = self.get(parameter)? else { return None };
        let (Self::STRUCTURE, _, head, members) = self.get(self.resolve(to))? else { return None };
        let has_bit_fields = u32_at(head, 4)? >> 31 == 1;
        Some(Structure { name: u32_at(head, 0)?, has_bit_fields, members })
    }
}

/// A type's kind.
fn kind_of(head: &[u8]) -> Option<u32> {
    Some(u32_at(head, 4)? >> 24 & 0x1F)
}

/// Length of a BTF header, once its magic number is seen.
fn header_len(bytes: &[u8]) -> Option<usize> {
    let magic = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
    (magic == MAGIC).then_some(u32_at(bytes, 4)? as usize)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..)?.get(..4)?.try_into().ok()?))
}
