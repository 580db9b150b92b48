//! Traces of Microsoft Research Cambridge, as SNIA's IOTTA repository has them (set 388): `Timestamp,Hostname,DiskNumber,Type,Offset,Size,
//! ResponseTime`. Times are those of Windows, in units of 100 nanoseconds since 1601; offset and size are bytes.

use super::{Told, read_lines};

/// True if the first line is one of these.
pub(super) fn is_one(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.next().is_some_and(|line| parse(line).is_some() || line.starts_with("Timestamp,"))
}

pub(super) fn read(text: &str) -> Result<Vec<Told>, String> {
    let reason = "write timestamp, host, disk, Read or Write, offset, size, response time";
    read_lines(text, |line| line.starts_with("Timestamp,"), parse, reason)
}

fn parse(line: &str) -> Option<Told> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [time, _, disk, kind, offset, bytes, _] = fields.as_slice() else { return None };
    disk.parse::<u64>().ok()?;
    let is_read = match kind.to_ascii_lowercase().as_str() {
        "read" => true,
        "write" => false,
        _ => return None,
    };
    let ns = ticks_to_ns(time.parse().ok()?)?;
    Some(Told { ns, is_read, offset: offset.parse().ok()?, bytes: bytes.parse().ok()? })
}

/// Nanoseconds since 1900 or so: those since 1601 are too many for 64 bits.
fn ticks_to_ns(ticks: u64) -> Option<u64> {
    const TICKS_OF_1900: u64 = 94_354_848_000_000_000;
    ticks.checked_sub(TICKS_OF_1900).or(Some(ticks))?.checked_mul(100)
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn lines_of_the_set_are_read() {
        // Lines of the form of hm_1.csv.
        let text = "128166372003061629,hm,1,Read,383496192,32768,413\n128166372003061639,hm,1,Write,310983680,4096,40736\n";
        let all = read(text).unwrap();
        let first = all[0].ns;
        let expected =
            [told(first, true, 383_496_192, 32_768), told(first + 1000, false, 310_983_680, 4096)];
        assert_eq!(all, expected);
        assert!(read("1,hm,1,Trim,0,1,2\n").unwrap_err().contains("Read or Write"));
    }
}
