//! Source lines from `.BTF` and `.BTF.ext` (Linux `Documentation/bpf/btf.rst`, section 4).
//!
//! Debug information only serves messages: whatever is malformed is ignored, never trusted.

use std::collections::BTreeMap;

const MAGIC: u16 = 0xEB9F;

/// Source lines by (section name, byte offset in the section).
#[derive(Debug, Default, Clone)]
pub(crate) struct SourceLines {
    lines: BTreeMap<(String, u32), (String, u32)>,
}

impl SourceLines {
    /// Reads the line table; empty if there is none.
    pub(crate) fn parse(btf: &[u8], ext: &[u8]) -> Self {
        Self::try_parse(btf, ext).unwrap_or_default()
    }

    /// The line that covers an instruction: the last one that begins at or before it.
    pub(crate) fn find(&self, section: &str, offset: u32) -> Option<(&str, u32)> {
        let from = (section.to_owned(), 0);
        let to = (section.to_owned(), offset);
        let (_, (file, line)) = self.lines.range(from..=to).next_back()?;
        Some((file, *line))
    }

    fn try_parse(btf: &[u8], ext: &[u8]) -> Option<Self> {
        let strings = {
            let header = header_len(btf)?;
            let (offset, len) = (u32_at(btf, 16)? as usize, u32_at(btf, 20)? as usize);
            btf.get(header..)?.get(offset..)?.get(..len)?
        };
        let text = |offset: u32| -> Option<String> {
            let rest = strings.get(offset as usize..)?;
            let end = rest.iter().position(|&b| b == 0)?;
            Some(String::from_utf8_lossy(&rest[..end]).into_owned())
        };
        let header = header_len(ext)?;
        let (offset, len) = (u32_at(ext, 16)? as usize, u32_at(ext, 20)? as usize);
        let info = ext.get(header..)?.get(offset..)?.get(..len)?;
        let record_size = u32_at(info, 0)? as usize;
        if record_size < 16 {
            return None;
        }
        let mut lines = BTreeMap::new();
        let mut rest = info.get(4..)?;
        while rest.len() >= 8 {
            let section = text(u32_at(rest, 0)?)?;
            let count = u32_at(rest, 4)? as usize;
            let body = rest.get(8..)?.get(..count.checked_mul(record_size)?)?;
            for record in body.chunks_exact(record_size) {
                let line = u32_at(record, 12)? >> 10;
                let file = text(u32_at(record, 4)?)?;
                let file = file.rsplit('/').next().unwrap_or(&file).to_owned();
                if line != 0 {
                    lines.insert((section.clone(), u32_at(record, 0)?), (file, line));
                }
            }
            rest = &rest[8 + body.len()..];
        }
        Some(Self { lines })
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
