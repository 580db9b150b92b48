//! Where a file's bytes are: FS_IOC_FIEMAP (linux/fiemap.h; Documentation/filesystems/fiemap.rst).
#![expect(unsafe_code, reason = "an ioctl; see the SAFETY comments")]

use std::fs::File;
use std::io;

use rustix::ioctl::{Getter, Opcode, Updater};

/// Extents of one call.
const COUNT: usize = 128;

/// What a header without extents says: `_IOWR('f', 11, struct fiemap)`.
const FIEMAP: Opcode = rustix::ioctl::opcode::read_write::<Header>(b'f', 11);
const _: () = assert!(FIEMAP == 0xC020_660B);

/// Write what is delayed first.
const FLAG_SYNC: u32 = 1;

/// The last extent of the file.
const LAST: u32 = 0x1;
/// Its place is known, but it was never written: it reads as zeroes.
const UNWRITTEN: u32 = 0x800;
/// Belongs to several files.
const SHARED: u32 = 0x2000;
/// What does not keep bytes from being where it says; also: made of several.
const HARMLESS: u32 = LAST | 0x1000 | SHARED;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved2: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Request {
    header: Header,
    entries: [Entry; COUNT],
}

/// A part of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// First byte in the file.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// First byte on the drive; `None` if it reads as zeroes.
    pub(crate) place: Option<u64>,
    /// Other files have the same bytes.
    pub(crate) is_shared: bool,
}

/// `struct fsxattr` (linux/fs.h): flags, and what is of no interest here.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    flags: u32,
    rest: [u32; 6],
}

/// `_IOR('X', 31, struct fsxattr)`.
const FSGETXATTR: Opcode = rustix::ioctl::opcode::read::<Attributes>(b'X', 31);
const _: () = assert!(FSGETXATTR == 0x801C_581F);

/// True if a file is on XFS's realtime device: its extents are that one's.
pub(super) fn is_realtime(file: &File) -> bool {
    const REALTIME: u32 = 1;
    // SAFETY: the kernel writes a `struct fsxattr`.
    let get = unsafe { Getter::<FSGETXATTR, Attributes>::new() };
    // SAFETY: as above.
    let attributes = unsafe { rustix::ioctl::ioctl(file, get) };
    // File systems that do not know the question have no such device.
    attributes.is_ok_and(|attributes| attributes.flags & REALTIME != 0)
}

/// All of a part of a file, in order and without gaps.
pub(crate) type Map = Vec<Extent>;

/// Where a part of a file is, for a file system that begins at `base`; `None` if one cannot rely on it (compressed,
/// encrypted, inline, not placed yet).
pub(super) fn map(file: &File, base: u64, offset: u64, len: u64) -> io::Result<Option<Map>> {
    let end = offset + len;
    let (mut map, mut at) = (Map::new(), offset);
    let zero = |map: &mut Map, from: u64, to: u64| {
        if from < to {
            map.push(Extent { offset: from, len: to - from, place: None, is_shared: false });
        }
    };
    while at < end {
        let mut request = Request {
            header: Header {
                start: at,
                length: end - at,
                flags: FLAG_SYNC,
                count: COUNT as u32,
                ..Header::default()
            },
            entries: [Entry::default(); COUNT],
        };
        // SAFETY: the kernel reads the header, and writes as many entries as it says there are.
        let update = unsafe { Updater::<FIEMAP, Request>::new(&mut request) };
        // SAFETY: as above.
        unsafe { rustix::ioctl::ioctl(file, update) }?;
        let entries = &request.entries[..(request.header.mapped as usize).min(COUNT)];
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            let entry_end = entry.logical.saturating_add(entry.length);
            let (from, to) = (entry.logical.max(at), entry_end.min(end));
            if from >= to {
                continue;
            }
            zero(&mut map, at, from);
            let place = match entry.flags & !HARMLESS {
                0 => Some(base + entry.physical + (from - entry.logical)),
                UNWRITTEN => None,
                _ => return Ok(None),
            };
            let is_shared = entry.flags & SHARED != 0;
            map.push(Extent { offset: from, len: to - from, place, is_shared });
            at = to;
        }
        if entries.iter().any(|entry| entry.flags & LAST != 0) {
            break;
        }
    }
    zero(&mut map, at, end);
    Ok(Some(map))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_and_data_of_a_sparse_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&[7; 8192], 65_536).unwrap();
        // Some file systems (tmpfs) do not say where files are.
        let map = match map(&file, 0, 4096, 128 << 10) {
            Ok(map) => map.expect("nothing special about it"),
            Err(error) => {
                println!("SKIPPED: no FIEMAP in the temporary folder ({error})");
                return;
            }
        };
        let mut at = 4096;
        for extent in &map {
            assert_eq!(extent.offset, at);
            assert_eq!(extent.place.is_some(), (65_536..73_728).contains(&at), "{map:?}");
            at += extent.len;
        }
        assert_eq!(at, 4096 + (128 << 10));
    }
}
