//! Bytes between files and a drive's memory or blocks: in pieces, with a progress bar.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use client::{Drive, DriveResult};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::Target;
use crate::report::{bytes, say};
use crate::{Outcome, usage};

/// Bytes moved at a time: what a progress bar counts. Whole blocks of any drive.
const STEP: u64 = 1 << 20;

fn progress(length: u64, what: &'static str) -> Result<ProgressBar> {
    let style =
        ProgressStyle::with_template("{msg:>8} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")?;
    Ok(ProgressBar::new(length).with_style(style).with_message(what))
}

/// Reads so many bytes to a file, or prints them: the document has them in `hex`, a dump begins at `start`.
pub(super) fn read(
    (target, mut drive): (&Target, Drive),
    file: Option<&Path>,
    (start, length): (u64, u64),
    mut read: impl FnMut(&mut Drive, u64, u64) -> DriveResult<Vec<u8>>,
    mut document: Value,
) -> Result<Outcome> {
    let Some(path) = file else {
        let data = match read(&mut drive, 0, length) {
            Ok(data) => data,
            Err(error) => return target.refused(error),
        };
        let hex = || -> String { data.iter().map(|byte| format!("{byte:02x}")).collect() };
        let with_hex = || {
            document["hex"] = hex().into();
            document
        };
        target.present(with_hex, || dump(start, &data));
        return Ok(Outcome::Success);
    };
    let is_stdout = path.as_os_str() == "-";
    let mut out: Box<dyn Write> = if is_stdout {
        Box::new(std::io::stdout())
    } else {
        Box::new(usage(File::create(path).with_context(|| path.display().to_string()))?)
    };
    let bar = progress(length, "read")?;
    for at in (0..length).step_by(STEP as usize) {
        match read(&mut drive, at, STEP.min(length - at)) {
            Ok(data) => out.write_all(&data).with_context(|| path.display().to_string())?,
            Err(error) => return target.refused(error),
        }
        bar.inc(STEP.min(length - at));
    }
    bar.finish_and_clear();
    // Bytes and a document do not go to one place.
    if !is_stdout {
        target.present(|| document, || ());
    }
    Ok(Outcome::Success)
}

/// As hexdump -C prints it.
fn dump(start: u64, data: &[u8]) {
    for (n, line) in data.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown =
            |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' };
        let text: String = line.iter().map(shown).collect();
        say!("{:08x}  {:<47}  |{text}|", start + 16 * n as u64, hex.join(" "));
    }
}

/// Writes a file's bytes, as many as there is room for.
pub(super) fn write(
    target: &Target,
    path: &Path,
    room: impl Fn(&Drive) -> u64,
    mut write: impl FnMut(&mut Drive, u64, &[u8]) -> DriveResult<()>,
    document: impl FnOnce(u64) -> Value,
) -> Result<Outcome> {
    let mut source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(usage(File::open(path).with_context(|| path.display().to_string()))?)
    };
    let mut drive = target.open()?;
    let room = room(&drive);
    let too_long = || {
        format!("{}: it does not fit: {room} bytes are there from this place on", path.display())
    };
    // Of a pipe, nobody knows how long it is.
    let length = fs::metadata(path).map_or(0, |m| if m.is_file() { m.len() } else { 0 });
    if length > room {
        bail!("{}", too_long());
    }
    let bar = progress(length, "write")?;
    let mut written = 0;
    loop {
        let mut piece = Vec::new();
        source
            .by_ref()
            .take(STEP)
            .read_to_end(&mut piece)
            .with_context(|| path.display().to_string())?;
        if piece.is_empty() {
            break;
        }
        if written + piece.len() as u64 > room {
            bail!("{}", too_long());
        }
        if let Err(error) = write(&mut drive, written, &piece) {
            return target.refused(error);
        }
        written += piece.len() as u64;
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    target.present(|| document(written), || say!("{} written", bytes(written)));
    Ok(Outcome::Success)
}
