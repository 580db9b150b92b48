//! A history in a file: a line that says what it is, and records of a length, a checksum (CRC-32C) and so many bytes,
//! little-endian. A server that was killed leaves half a record at the end.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write};
use std::path::Path;

use crate::{Change, Event, Range, What};

/// How such a file begins.
pub const MAGIC: &[u8] = b"csdrive history 1\n";

/// Bytes of a record are at most so many: one command writes at most some MiB.
const RECORD_BYTES_MAX: u32 = 1 << 30;

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum HistoryError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(
        "it is not a history of writes: it does not begin with \"csdrive history 1\"; csdrive serve --history FILE and csdrive vm --history FILE make one"
    )]
    Foreign,
    #[error("record {record}, at byte {at}, is damaged: {what}")]
    Damaged { record: u64, at: u64, what: &'static str },
}

/// True if bytes of a file's beginning are those of a history.
pub fn is_history(beginning: &[u8]) -> bool {
    beginning.starts_with(MAGIC)
}

/// Writes a history.
#[derive(Debug)]
pub struct Writer<W: Write> {
    to: W,
    record: Vec<u8>,
}

impl Writer<BufWriter<File>> {
    /// A new file; there must be none.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        Self::new(BufWriter::with_capacity(1 << 20, file))
    }
}

impl<W: Write> Writer<W> {
    /// Begins a history.
    ///
    /// # Errors
    /// If the beginning cannot be written.
    pub fn new(mut to: W) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        Ok(Self { to, record: Vec::new() })
    }

    /// Appends an event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&mut self, event: &Event) -> io::Result<()> {
        self.record.clear();
        encode(event, &mut self.record);
        self.to.write_all(&(self.record.len() as u32).to_le_bytes())?;
        self.to.write_all(&crc32c::crc32c(&self.record).to_le_bytes())?;
        self.to.write_all(&self.record)
    }

    /// Hands on what was put.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A history that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// What happened.
    pub events: Vec<Event>,
    /// Bytes at the end that are no whole record: whoever wrote it was stopped.
    pub left_out: u64,
}

/// Reads a history.
///
/// # Errors
/// If it is none, or damaged.
pub fn read(path: &Path) -> Result<Read, HistoryError> {
    let file = File::open(path)?;
    let mut from = BufReader::with_capacity(1 << 20, file);
    let mut magic = [0; MAGIC.len()];
    match from.read_exact(&mut magic) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
        _ if magic != MAGIC => return Err(HistoryError::Foreign),
        _ => {}
    }
    let (mut events, mut at) = (Vec::new(), MAGIC.len() as u64);
    let mut head = [0; 8];
    loop {
        let damaged = |what| HistoryError::Damaged { record: events.len() as u64, at, what };
        let got = read_at_most(&mut from, &mut head)?;
        if got < head.len() {
            return Ok(Read { events, left_out: got as u64 });
        }
        let [len, checksum] = [0, 4].map(|at| {
            u32::from_le_bytes(head[at..at + 4].try_into().expect("they are four bytes"))
        });
        if len > RECORD_BYTES_MAX {
            return Err(damaged("its length is impossible"));
        }
        // What a length says is only believed as far as there are bytes.
        let mut record = Vec::new();
        from.by_ref().take(len.into()).read_to_end(&mut record)?;
        if record.len() < len as usize {
            return Ok(Read { events, left_out: (head.len() + record.len()) as u64 });
        }
        if crc32c::crc32c(&record) != checksum {
            return Err(damaged("its checksum is another"));
        }
        let event = decode(&record).ok_or_else(|| damaged("it is no event of version 1"))?;
        events.push(event);
        at += (head.len() + record.len()) as u64;
    }
}

fn read_at_most(from: &mut impl io::Read, into: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < into.len() {
        match from.read(&mut into[got..]) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// What a record is of: its first byte.
mod kind {
    pub(super) const NAMESPACE: u8 = 1;
    pub(super) const GONE: u8 = 2;
    pub(super) const CONTENT: u8 = 3;
    pub(super) const WRITE: u8 = 4;
    pub(super) const DEALLOCATE: u8 = 5;
    pub(super) const FLUSH: u8 = 6;
    pub(super) const END: u8 = 7;
    pub(super) const MARK: u8 = 8;
    pub(super) const POWER_LOST: u8 = 9;
}

/// Bits of a Write.
const DURABLE: u8 = 1;
const ZEROES: u8 = 2;

fn encode(Event { at_ns, what }: &Event, out: &mut Vec<u8>) {
    let mut begin = |kind: u8| {
        out.push(kind);
        out.extend(at_ns.to_le_bytes());
    };
    match what {
        What::Namespace { nsid, bytes, block_bytes, atomic_bytes } => {
            begin(kind::NAMESPACE);
            out.extend(nsid.to_le_bytes());
            out.extend(bytes.to_le_bytes());
            out.extend(block_bytes.to_le_bytes());
            out.extend(atomic_bytes.to_le_bytes());
        }
        What::Gone { nsid } => {
            begin(kind::GONE);
            out.extend(nsid.to_le_bytes());
        }
        What::Content { nsid, start, bytes } => {
            begin(kind::CONTENT);
            out.extend(nsid.to_le_bytes());
            out.extend(start.to_le_bytes());
            out.extend(bytes);
        }
        What::Begin { id, change: Change::Write { nsid, ranges, bytes, is_durable } } => {
            begin(kind::WRITE);
            let durable = if *is_durable { DURABLE } else { 0 };
            out.push(durable | if bytes.is_none() { ZEROES } else { 0 });
            encode_ranges(*id, *nsid, ranges, out);
            out.extend(bytes.iter().flatten());
        }
        What::Begin { id, change: Change::Deallocate { nsid, ranges, is_durable } } => {
            begin(kind::DEALLOCATE);
            out.push(if *is_durable { DURABLE } else { 0 });
            encode_ranges(*id, *nsid, ranges, out);
        }
        What::Begin { id, change: Change::Flush { nsid } } => {
            begin(kind::FLUSH);
            out.extend(id.to_le_bytes());
            out.extend(nsid.to_le_bytes());
        }
        What::End { id, is_success } => {
            begin(kind::END);
            out.extend(id.to_le_bytes());
            out.push((*is_success).into());
        }
        What::Mark(text) => {
            begin(kind::MARK);
            out.extend(text.bytes());
        }
        What::PowerLost => begin(kind::POWER_LOST),
    }
}

fn encode_ranges(id: u64, nsid: u32, ranges: &[Range], out: &mut Vec<u8>) {
    out.extend(id.to_le_bytes());
    out.extend(nsid.to_le_bytes());
    out.extend((ranges.len() as u32).to_le_bytes());
    for range in ranges {
        out.extend(range.start.to_le_bytes());
        out.extend(range.len.to_le_bytes());
    }
}

/// What is left of a record.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn ranges(&mut self) -> Option<Vec<Range>> {
        let count = self.u32()? as usize;
        if count > self.0.len() / 16 {
            return None;
        }
        let range = |_| {
            let range = Range { start: self.u64()?, len: self.u64()? };
            range.start.checked_add(range.len).map(|_| range)
        };
        (0..count).map(range).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }
}

fn decode(record: &[u8]) -> Option<Event> {
    let mut rest = Rest(record);
    let (kind, at_ns) = (rest.u8()?, rest.u64()?);
    let what = match kind {
        kind::NAMESPACE => What::Namespace {
            nsid: rest.u32()?,
            bytes: rest.u64()?,
            block_bytes: rest.u32()?,
            atomic_bytes: rest.u32()?,
        },
        kind::GONE => What::Gone { nsid: rest.u32()? },
        kind::CONTENT => {
            What::Content { nsid: rest.u32()?, start: rest.u64()?, bytes: rest.bytes() }
        }
        kind::WRITE => {
            let flags = rest.u8()?;
            let (id, nsid, ranges) = (rest.u64()?, rest.u32()?, rest.ranges()?);
            let bytes = (flags & ZEROES == 0).then(|| rest.bytes());
            let mut len = 0u64;
            for range in &ranges {
                len = len.checked_add(range.len)?;
            }
            if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 != len) {
                return None;
            }
            let is_durable = flags & DURABLE != 0;
            What::Begin { id, change: Change::Write { nsid, ranges, bytes, is_durable } }
        }
        kind::DEALLOCATE => {
            let is_durable = rest.u8()? & DURABLE != 0;
            let (id, nsid, ranges) = (rest.u64()?, rest.u32()?, rest.ranges()?);
            What::Begin { id, change: Change::Deallocate { nsid, ranges, is_durable } }
        }
        kind::FLUSH => {
            let (id, nsid) = (rest.u64()?, rest.u32()?);
            What::Begin { id, change: Change::Flush { nsid } }
        }
        kind::END => What::End { id: rest.u64()?, is_success: rest.u8()? != 0 },
        kind::MARK => What::Mark(String::from_utf8(rest.bytes()).ok()?),
        kind::POWER_LOST => What::PowerLost,
        _ => return None,
    };
    rest.0.is_empty().then_some(Event { at_ns, what })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<Range>> {
        let range = (0..1u64 << 40, 0..64u64).prop_map(|(start, len)| Range { start, len });
        prop::collection::vec(range, 0..4)
    }

    fn event() -> impl Strategy<Value = Event> {
        let write = (any::<u64>(), any::<u32>(), ranges(), any::<bool>(), any::<bool>());
        let write = write.prop_map(|(id, nsid, ranges, has_bytes, is_durable)| {
            let len = ranges.iter().map(|range| range.len as usize).sum();
            let bytes = has_bytes.then(|| vec![id as u8; len]);
            What::Begin { id, change: Change::Write { nsid, ranges, bytes, is_durable } }
        });
        let deallocate = (any::<u64>(), any::<u32>(), ranges(), any::<bool>());
        let deallocate = deallocate.prop_map(|(id, nsid, ranges, is_durable)| What::Begin {
            id,
            change: Change::Deallocate { nsid, ranges, is_durable },
        });
        let namespace = (any::<u32>(), any::<u64>(), any::<u32>(), any::<u32>()).prop_map(
            |(nsid, bytes, block_bytes, atomic_bytes)| What::Namespace {
                nsid,
                bytes,
                block_bytes,
                atomic_bytes,
            },
        );
        let content = (any::<u32>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..64));
        let what = prop_oneof![
            write,
            deallocate,
            namespace,
            content.prop_map(|(nsid, start, bytes)| What::Content { nsid, start, bytes }),
            any::<u32>().prop_map(|nsid| What::Gone { nsid }),
            (any::<u64>(), any::<u32>())
                .prop_map(|(id, nsid)| What::Begin { id, change: Change::Flush { nsid } }),
            (any::<u64>(), any::<bool>()).prop_map(|(id, is_success)| What::End { id, is_success }),
            ".*".prop_map(What::Mark),
            Just(What::PowerLost),
        ];
        (any::<u64>(), what).prop_map(|(at_ns, what)| Event { at_ns, what })
    }

    /// A file with this in it.
    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn written(events: &[Event]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        events.iter().for_each(|event| writer.put(event).unwrap());
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(events in prop::collection::vec(event(), 0..8)) {
            let read = read(file(&written(&events)).path()).unwrap();
            prop_assert_eq!(read, Read { events, left_out: 0 });
        }

        /// Cut anywhere, it is shorter; with other bytes it is refused, or it is about something else that can be read.
        #[test]
        fn what_is_damaged_is_refused(events in prop::collection::vec(event(), 1..6), at: prop::sample::Index, flip in 1..=255u8) {
            let bytes = written(&events);
            let at = at.index(bytes.len());
            match read(file(&bytes[..at]).path()) {
                Ok(read) => prop_assert!(events.starts_with(&read.events)),
                Err(error) => prop_assert!(at < MAGIC.len() && matches!(error, HistoryError::Foreign)),
            }
            let mut other = bytes;
            other[at] ^= flip;
            if let Ok(read) = read(file(&other).path()) {
                // A length that is too long leaves an end that is no record.
                prop_assert!(read.left_out > 0 && events.starts_with(&read.events));
            }
        }
    }
}
