//! Operations whose times and places were recorded.

mod blktrace;
mod csv;
mod fio;
mod mqsim;
mod msr;
mod oracle;

use std::path::Path;

use serde::Deserialize;
use simtime::Duration;

/// One operation of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Since the first.
    pub(crate) at: Duration,
    pub(crate) is_read: bool,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// How a file tells of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// What the file looks like.
    #[default]
    Auto,
    /// Lines of seconds, R or W, offset, bytes.
    Csv,
    /// Of Microsoft Research Cambridge (SNIA): lines of timestamp, host, disk, Read or Write, offset, bytes, response time.
    Msr,
    /// Of MQSim: lines of nanoseconds, device, sector, sectors, 0 or 1.
    Mqsim,
    /// An iolog of fio, version 2 or 3.
    Fio,
    /// What blktrace records.
    Blktrace,
    /// oracleGeneral of libCacheSim.
    Oracle,
}

/// An operation as a file tells of it: its time, in nanoseconds since whenever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    ns: u64,
    is_read: bool,
    offset: u64,
    bytes: u64,
}

/// Reads a file, and lets its time go so many times as fast.
pub(crate) fn read(path: &Path, format: Format, speed: f64) -> Result<Vec<Entry>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let format = match format {
        Format::Auto => recognize(&bytes),
        said => said,
    };
    let text = || std::str::from_utf8(&bytes).map_err(|_| "it is no text".to_owned());
    let told = match format {
        Format::Auto | Format::Csv => csv::read(text()?)?,
        Format::Msr => msr::read(text()?)?,
        Format::Mqsim => mqsim::read(text()?)?,
        Format::Fio => fio::read(text()?)?,
        Format::Blktrace => blktrace::read(&bytes)?,
        Format::Oracle => oracle::read(&bytes)?,
    };
    let first = told.first().ok_or("no operations")?.ns;
    let last = told.iter().map(|told| told.ns).max().unwrap_or(first);
    if (last - first) as f64 / speed > LONGEST_NS {
        return Err("its last operation is more than a hundred years after the first: are its times what they should be?".to_owned());
    }
    if let Some(told) = told.iter().find(|told| told.bytes > LARGEST) {
        return Err(format!("an operation of {} bytes: no drive does that at once", told.bytes));
    }
    let entry = |told: &Told| {
        let ns = (told.ns - first) as f64 / speed;
        let Told { is_read, offset, bytes, .. } = *told;
        Entry { at: Duration::from_ns(ns.round() as u64), is_read, offset, bytes }
    };
    Ok(told.iter().map(entry).collect())
}

/// A hundred years, in nanoseconds.
const LONGEST_NS: f64 = 3.15e18;

/// Bytes of an operation at most.
const LARGEST: u64 = 1 << 40;

/// What a file looks like.
fn recognize(bytes: &[u8]) -> Format {
    if bytes.starts_with(fio::MAGIC) {
        return Format::Fio;
    }
    if blktrace::is_one(bytes) {
        return Format::Blktrace;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if msr::is_one(text) => Format::Msr,
        Ok(text) if mqsim::is_one(text) => Format::Mqsim,
        Ok(_) => Format::Csv,
        Err(_) if oracle::is_one(bytes) => Format::Oracle,
        Err(_) => Format::Csv,
    }
}

/// Reads lines that each tell of one operation, but for a head; some tell of operations of no bytes.
fn read_lines(
    text: &str,
    is_head: impl Fn(&str) -> bool,
    parse: impl Fn(&str) -> Option<Told>,
    reason: &str,
) -> Result<Vec<Told>, String> {
    let mut all = Vec::new();
    for (n, line) in text.lines().enumerate() {
        if line.trim().is_empty() || n == 0 && is_head(line) {
            continue;
        }
        let told = parse(line).ok_or_else(|| wrong(n + 1, line, reason))?;
        if told.bytes > 0 {
            all.push(told);
        }
    }
    Ok(sorted(all))
}

/// What a line is wrong in.
fn wrong(line: usize, text: &str, reason: &str) -> String {
    let text: String = text.chars().take(100).collect();
    format!("line {line}: {text}: {reason}")
}

/// Sorts by time. Files that several processors wrote, or several hosts, are not.
fn sorted(mut told: Vec<Told>) -> Vec<Told> {
    told.sort_by_key(|told| told.ns);
    told
}

/// Where operations go that were recorded elsewhere: into a region, in whole blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fit {
    /// First byte, and bytes, of the region.
    pub(crate) first: u64,
    pub(crate) region: u64,
    pub(crate) block: u64,
    /// Bytes of every operation, if they have one length.
    pub(crate) chunk: Option<u64>,
}

impl Fit {
    /// The first byte of an operation, and its bytes: as many blocks as it touches; what is beyond the region comes again at its beginning.
    pub(crate) fn place(&self, entry: &Entry) -> (u64, u64) {
        let Self { first, region, block, chunk } = *self;
        let start = entry.offset / block * block;
        let last = entry.offset.saturating_add(entry.bytes.max(1) - 1);
        let touched = (last / block - entry.offset / block + 1).saturating_mul(block);
        let len = chunk.unwrap_or(touched);
        let len = len.clamp(block, region / block * block);
        // An operation is not divided at the end of the region.
        let start = (start % (region / block * block)).min(region / block * block - len);
        (first + start, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn told(ns: u64, is_read: bool, offset: u64, bytes: u64) -> Told {
        Told { ns, is_read, offset, bytes }
    }

    fn of(bytes: &[u8], format: Format, speed: f64) -> Result<Vec<Entry>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        std::fs::write(&path, bytes).unwrap();
        read(&path, format, speed)
    }

    #[test]
    fn times_count_from_the_first_operation_and_are_scaled() {
        let text = b"time,op,offset,bytes\n# c\n1.5,R,4096,8192\n1.500001,write,0,512\n";
        let entries = of(text, Format::Auto, 0.5).unwrap();
        let first = Entry { at: Duration::ZERO, is_read: true, offset: 4096, bytes: 8192 };
        let second = Entry { at: Duration::from_us(2), is_read: false, offset: 0, bytes: 512 };
        assert_eq!(entries, [first, second]);
        assert_eq!(of(b"\n", Format::Auto, 1.0).unwrap_err(), "no operations");
    }

    #[test]
    fn what_no_trace_can_say_is_refused() {
        let late = of(b"0 0 0 8 1\n18446744073709551615 0 0 8 1\n", Format::Auto, 1.0);
        assert!(late.unwrap_err().contains("a hundred years"));
        let large = of(b"0 0 0 36028797018963967 1\n", Format::Mqsim, 1.0);
        assert!(large.unwrap_err().contains("at once"));
    }

    #[test]
    fn files_are_recognized() {
        let msr = "128166372003061629,hm,1,Read,383496192,32768,413\n";
        assert_eq!(recognize(msr.as_bytes()), Format::Msr);
        assert_eq!(recognize(b"fio version 3 iolog\n"), Format::Fio);
        assert_eq!(recognize(b"0,R,0,512\n"), Format::Csv);
        let mut oracle = Vec::new();
        for n in 0..4u32 {
            oracle.extend(n.to_le_bytes());
            oracle.extend(u64::MAX.to_le_bytes());
            oracle.extend(4096u32.to_le_bytes());
            oracle.extend((-1i64).to_le_bytes());
        }
        assert_eq!(recognize(&oracle), Format::Oracle);
        assert!(of(b"\xFF\xFE garbage", Format::Auto, 1.0).unwrap_err().contains("no text"));
    }

    #[test]
    fn what_is_elsewhere_comes_into_the_region_in_whole_blocks() {
        let fit = Fit { first: 1 << 20, region: 65_536, block: 4096, chunk: None };
        let place =
            |offset, bytes| fit.place(&Entry { at: Duration::ZERO, is_read: true, offset, bytes });
        let at = |blocks: u64| (1 << 20) + 4096 * blocks;
        assert_eq!(place(0, 512), (at(0), 4096));
        assert_eq!(place(4095, 2), (at(0), 8192));
        assert_eq!(place(65_536 + 8192, 4096), (at(2), 4096));
        // Not divided at the end, and no longer than the region.
        assert_eq!(place(65_536 - 4096, 8192), (at(14), 8192));
        assert_eq!(place(0, u64::MAX), (at(0), 65_536));
        assert_eq!(place(u64::MAX, u64::MAX), (at(15), 4096));
        let chunks = Fit { chunk: Some(16_384), ..fit };
        assert_eq!(
            chunks.place(&Entry { at: Duration::ZERO, is_read: true, offset: 5000, bytes: 1 }),
            (at(1), 16_384)
        );
    }
}
