//! Lines of `seconds,R|W,offset,bytes`, in the order of their times.

use super::{Told, wrong};

/// Lines that begin with `#` and a line of heads are no operations.
pub(super) fn read(text: &str) -> Result<Vec<Told>, String> {
    let mut all: Vec<Told> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let is_head = n == 0 && line.starts_with(|c: char| c.is_alphabetic());
        if line.trim().is_empty() || line.starts_with('#') || is_head {
            continue;
        }
        let told = parse(line).ok_or_else(|| {
            wrong(n + 1, line, "write seconds, R or W, offset, bytes, as 0.0015,R,4096,4096")
        })?;
        if all.first().is_some_and(|first| told.ns < first.ns) {
            return Err(wrong(n + 1, line, "it is earlier than the first"));
        }
        if all.last().is_some_and(|last| told.ns < last.ns) {
            return Err(wrong(n + 1, line, "it is earlier than the line before it: sort them"));
        }
        all.push(told);
    }
    Ok(all)
}

fn parse(line: &str) -> Option<Told> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [seconds, kind, offset, bytes] = fields.as_slice() else { return None };
    let seconds: f64 = seconds.parse().ok().filter(|s| (0.0..1e9).contains(s))?;
    let is_read = match kind.to_ascii_lowercase().as_str() {
        "r" | "read" => true,
        "w" | "write" => false,
        _ => return None,
    };
    let (offset, bytes) = (offset.parse().ok()?, bytes.parse().ok().filter(|n| *n > 0)?);
    Some(Told { ns: (seconds * 1e9).round() as u64, is_read, offset, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_none_are_named() {
        assert!(read("1,R,0,4096\n0.5,R,0,4096\n").unwrap_err().starts_with("line 2"));
        assert!(read("0,R,0,4096\n0,X,0,4096\n").unwrap_err().contains("R or W"));
        assert!(read("0,R,0,0\n").unwrap_err().contains("line 1"));
    }
}
