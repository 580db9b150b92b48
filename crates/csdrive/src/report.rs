//! What people look at rather than read: tables and bars.

use std::fmt;
use std::io::{self, Write};

use indicatif::{BinaryBytes, HumanCount};

/// Prints a line. A reader that has gone away (`csdrive ... | head`) is no error; anything else
/// that keeps the output from its place is.
pub(crate) fn put(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell!("csdrive: standard output: {error}");
            std::process::exit(2);
        }
        _ => {}
    }
}

/// Prints a line to standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::report::put(format_args!($($text)*)) };
}
pub(crate) use say;

/// Writes a line to standard error. Whether anybody reads it is no matter of the command's: `eprintln!` would panic.
pub(crate) fn note(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a line to standard error.
macro_rules! tell {
    ($($text:tt)*) => { $crate::report::note(format_args!($($text)*)) };
}
pub(crate) use tell;

/// Prints remarks on a configuration to standard error, where they do not mix with results.
pub(crate) fn notes(notes: &[String]) {
    for note in notes {
        tell!("csdrive: note: {note}");
    }
}

/// Width of a full bar.
const BAR: usize = 40;

/// A bar for `value` where `max` is a full one; anything above zero shows.
pub(crate) fn bar(value: f64, max: f64) -> String {
    if max <= 0.0 || value <= 0.0 {
        return String::new();
    }
    let eighths = ((value / max * (BAR * 8) as f64).round() as usize).clamp(1, BAR * 8);
    let mut text = "\u{2588}".repeat(eighths / 8);
    if let Some(part) = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8) {
        text.push_str(part);
    }
    text
}

/// Prints rows in columns, the first so many flush left.
pub(crate) fn table(rows: &[Vec<String>], left: usize) {
    // Names come from files and drives.
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(n, (cell, &width))| match n < left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        say!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A number of bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    BinaryBytes(n).to_string()
}

/// A text as a cell of comma-separated values.
pub(crate) fn csv_cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A time for people.
pub(crate) fn time(ns: u64) -> String {
    simtime::Duration::from_ns(ns).to_string()
}

/// The least of some sorted values that so many thousandths of them do not exceed (nearest rank); 0 if there are none.
pub(crate) fn percentile<T: Copy + Default>(sorted: &[T], permille: usize) -> T {
    let rank = (sorted.len() * permille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Text of a program as a terminal may show it: what is neither text nor a new line is escaped.
pub(crate) fn printable(text: &str) -> String {
    let escape = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// A word that a shell takes as it is.
pub(crate) fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A number with thousands separated.
pub(crate) fn grouped(n: u64) -> String {
    HumanCount(n).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(5), "5 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(bar(0.0, 1.0), "");
        assert_eq!(bar(1.0, 1.0).chars().count(), BAR);
        assert_eq!(bar(1e-9, 1.0), "▏");
    }
}
