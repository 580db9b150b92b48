//! Operations whose times and places were recorded.

use std::path::Path;

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

/// Reads lines of `seconds,R|W,offset,bytes`, in the order of their times. Lines that begin with `#` and a line of heads are
/// no operations.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut first = None;
    for (n, line) in text.lines().enumerate() {
        let is_head = n == 0 && line.starts_with(|c: char| c.is_alphabetic());
        if line.trim().is_empty() || line.starts_with('#') || is_head {
            continue;
        }
        let wrong = |reason: &str| format!("line {}: {line}: {reason}", n + 1);
        let (ns, entry) = parse(line)
            .ok_or_else(|| wrong("write seconds, R or W, offset, bytes, as 0.0015,R,4096,4096"))?;
        let begin = *first.get_or_insert(ns);
        let since = ns.checked_sub(begin).ok_or_else(|| wrong("it is earlier than the first"))?;
        let entry = Entry { at: Duration::from_ns(since), ..entry };
        if entries.last().is_some_and(|last| last.at > entry.at) {
            return Err(wrong("it is earlier than the line before it: sort them"));
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err("no operations".to_owned());
    }
    Ok(entries)
}

/// The time in nanoseconds, and the rest.
fn parse(line: &str) -> Option<(u64, Entry)> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [seconds, kind, offset, bytes] = fields.as_slice() else { return None };
    let seconds: f64 = seconds.parse().ok().filter(|s| (0.0..1e9).contains(s))?;
    let is_read = match kind.to_ascii_lowercase().as_str() {
        "r" | "read" => true,
        "w" | "write" => false,
        _ => return None,
    };
    let (offset, bytes) = (offset.parse().ok()?, bytes.parse().ok().filter(|n| *n > 0)?);
    let ns = (seconds * 1e9).round() as u64;
    Some((ns, Entry { at: Duration::ZERO, is_read, offset, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Entry>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn times_count_from_the_first_operation() {
        let entries =
            of("time,op,offset,bytes\n# c\n1.5,R,4096,8192\n1.500001,write,0,512\n").unwrap();
        let first = Entry { at: Duration::ZERO, is_read: true, offset: 4096, bytes: 8192 };
        let second = Entry { at: Duration::from_us(1), is_read: false, offset: 0, bytes: 512 };
        assert_eq!(entries, [first, second]);
    }

    #[test]
    fn lines_that_are_none_are_named() {
        assert!(of("1,R,0,4096\n0.5,R,0,4096\n").unwrap_err().starts_with("line 2"));
        assert!(of("0,R,0,4096\n0,X,0,4096\n").unwrap_err().contains("R or W"));
        assert!(of("0,R,0,0\n").unwrap_err().contains("line 1"));
        assert_eq!(of("\n").unwrap_err(), "no operations");
    }
}
