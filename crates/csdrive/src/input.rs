//! What commands are given: files, bytes, numbers.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use client::RunTime;

use config::{parse_duration, parse_integer, parse_size};

/// What a program is given besides its ranges.
#[derive(Debug, clap::Args)]
pub(crate) struct Parameters {
    /// First parameter, decimal or 0x hexadecimal, may be negative
    #[arg(long, value_name = "N", value_parser = parse_integer, allow_negative_numbers = true, allow_hyphen_values = true, default_value = "0")]
    pub(crate) param1: i64,
    /// Second parameter
    #[arg(long, value_name = "N", value_parser = parse_integer, allow_negative_numbers = true, allow_hyphen_values = true, default_value = "0")]
    pub(crate) param2: i64,
    /// Data buffer: a file (- = standard input), hex:BYTES or text:TEXT
    #[arg(long, value_name = "FILE|hex:BYTES|text:TEXT")]
    data: Option<String>,
}

impl Parameters {
    /// The file with the data buffer, if it is in one.
    pub(crate) fn data_file(&self) -> Option<&Path> {
        let is_file = |text: &&str| !text.starts_with("hex:") && !text.starts_with("text:");
        self.data.as_deref().filter(is_file).map(Path::new)
    }

    /// The data buffer, of at most about so many bytes.
    pub(crate) fn data(&self, most: u64) -> Result<Vec<u8>> {
        data_buffer(self.data.as_deref(), most)
    }
}

/// Microseconds of a group's deadline, a time with a unit, rounded up.
pub(crate) fn deadline_us(text: &str) -> Result<u32, String> {
    // No time that is taken is longer than an hour.
    parse_duration(text).map(|ns| ns.div_ceil(1000) as u32)
}

/// Kilobytes per second of a group's bandwidth, a rate with a unit, rounded up.
pub(crate) fn bandwidth_kbps(text: &str) -> Result<u32, String> {
    let rate = config::parse_bandwidth(text)?;
    u32::try_from(rate.div_ceil(1000)).map_err(|_| "choose at most 4294GB/s".to_owned())
}

/// Units that jobs may use, as the bits of a number.
pub(crate) fn unit_mask(text: &str) -> Result<u64, String> {
    parse_integer(text).map(|bits| bits as u64)
}

/// Where a run time comes from: a model by name, or a time to declare.
pub(crate) fn parse_run_time(text: &str) -> Result<RunTime, String> {
    match text {
        "declared" => Ok(RunTime::Declared(0)),
        "instructions" => Ok(RunTime::Instructions),
        "measured" => Ok(RunTime::Measured),
        "remote" => Ok(RunTime::Remote),
        time => {
            let ns = parse_duration(time).map_err(|_| {
                "choose instructions, measured, remote, declared, or a time with a unit, as 50us".to_owned()
            })?;
            let ns = u32::try_from(ns)
                .ok()
                .filter(|ns| RunTime::of_execute(*ns) == Some(RunTime::Declared(*ns)));
            ns.map(RunTime::Declared).ok_or_else(|| "choose a time from 1ns to 4.29s".to_owned())
        }
    }
}

/// In place of a file: standard input or standard output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses to read standard input twice.
pub(crate) fn check_standard_input<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<()> {
    let uses = paths.filter(|path| is_standard(path)).count();
    if uses > 1 {
        anyhow::bail!(
            "`-` {uses} times: standard input can be read once; put the others into files"
        );
    }
    Ok(())
}

/// Reads a file or standard input, but not much more than can be used of it: files without an end exist.
pub(crate) fn read_at_most(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let source: Box<dyn Read> = if is_standard(path) {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path)?)
    };
    let mut bytes = Vec::new();
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Finds out before long work whether a file can be written after it: it is opened, and left as it is. Standard output can be.
pub(crate) fn check_output(path: &Path) -> std::io::Result<()> {
    let is_there = path.symlink_metadata().is_ok();
    // A pipe waits for its reader when it is opened.
    if is_standard(path) || is_there && !path.is_file() && !path.is_dir() {
        return Ok(());
    }
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if is_there { Ok(()) } else { std::fs::remove_file(path) }
}

/// Writes a file, or to standard output. A reader that has gone away is no error.
pub(crate) fn write_all(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if !is_standard(path) {
        return std::fs::write(path, bytes);
    }
    let mut out = std::io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A data buffer: a file, `hex:BYTES` or `text:TEXT`.
fn data_buffer(text: Option<&str>, most: u64) -> Result<Vec<u8>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if let Some(text) = text.strip_prefix("text:") {
        return Ok(text.as_bytes().to_vec());
    }
    let Some(hex) = text.strip_prefix("hex:") else {
        return read_at_most(Path::new(text), most).with_context(|| format!("--data {text}"));
    };
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let digits = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        let pair = std::str::from_utf8(pair).ok().filter(|_| digits);
        pair.and_then(|p| u8::from_str_radix(p, 16).ok())
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.with_context(|| {
        format!("--data {text}: write bytes as pairs of hexadecimal digits, for example hex:00ff10")
    })
}

/// A number of bytes or blocks: decimal, 0x hexadecimal, or with a unit.
pub(crate) fn parse_number(text: &str) -> Result<u64, String> {
    if text.starts_with("0x") || text.starts_with("0X") {
        return parse_integer(text).map(|value| value as u64);
    }
    parse_size(text).map_err(|_| "not a number; write it as 4096, 0x1000 or 4KiB".to_owned())
}

/// A memory range: `START:LENGTH`, in bytes of device memory.
pub(crate) fn parse_range(text: &str) -> Result<(u64, u32), String> {
    let (start, len) = text.split_once(':').ok_or("write it as START:LENGTH, as in 0x1000:4KiB")?;
    let len = parse_number(len)?;
    let len =
        u32::try_from(len).map_err(|_| format!("{len} bytes: a range has less than 4 GiB"))?;
    Ok((parse_number(start)?, len))
}

/// Parses blocks: the first, and how many.
pub(crate) fn parse_blocks(text: &str) -> Result<(u64, u64), String> {
    let (first, count) = text.split_once(':').ok_or("write it as FIRST:COUNT, as in 0:4096")?;
    Ok((parse_number(first)?, parse_number(count)?))
}

/// A folder that goes with the process.
pub(crate) fn temporary_folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(|error| {
        let cause = error.kind();
        anyhow::anyhow!(
            "no temporary folder in {} ({cause}): set TMPDIR to a folder that you may write",
            std::env::temp_dir().display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_numbers() {
        assert_eq!(parse_number("0x10"), Ok(16));
        assert_eq!(parse_number("4KiB"), Ok(4096));
        assert!(parse_number("-1").is_err() && parse_number("0xg").is_err());
        assert_eq!(parse_range("0x1000:8"), Ok((4096, 8)));
        assert_eq!(parse_range("1MiB:64k"), Ok((1 << 20, 65_536)));
        for wrong in ["", "5", "5:", ":5", "0:4GiB", "a:b"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }
}
