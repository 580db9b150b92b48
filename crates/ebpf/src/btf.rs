//! Source lines from `.BTF` and `.BTF.ext` (Linux `Documentation/bpf/btf.rst`, section 4).
//!
//! Debug information only serves messages: whatever is malformed is ignored, never trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

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

    /// The line that covers an instruction: the last one that begins at or before it.
    pub(crate) fn find(&self, section: &str, offset: u32) -> Option<(&str, u32)> {
        let after = self.records.partition_point(|r| (&*r.section, r.offset) <= (section, offset));
        let record = self.records.get(after.checked_sub(1)?)?;
        let file = record.file.rsplit('/').next().unwrap_or(&record.file);
        (&*record.section == section).then_some((file, record.line))
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

/// Length of a BTF header, once its magic number is seen.
fn header_len(bytes: &[u8]) -> Option<usize> {
    let magic = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
    (magic == MAGIC).then_some(u32_at(bytes, 4)? as usize)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..)?.get(..4)?.try_into().ok()?))
}
