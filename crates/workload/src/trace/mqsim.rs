//! Traces of MQSim: lines of the arrival in nanoseconds, device, first sector of 512 bytes, sectors, and 0 for a write or 1 for a read
//! (src/host/ASCII_Trace_Definition.h).

use super::{Told, read_lines};

const SECTOR: u64 = 512;

/// True if the first line is one of these.
pub(super) fn is_one(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.next().is_some_and(|line| parse(line).is_some())
}

pub(super) fn read(text: &str) -> Result<Vec<Told>, String> {
    let reason = "write arrival in nanoseconds, device, sector, sectors, and 0 (write) or 1 (read), with spaces between them";
    read_lines(text, |_| false, parse, reason)
}

fn parse(line: &str) -> Option<Told> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [time, device, sector, sectors, kind] = fields.as_slice() else { return None };
    device.parse::<u64>().ok()?;
    let is_read = match *kind {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let bytes = |text: &str| text.parse::<u64>().ok()?.checked_mul(SECTOR);
    Some(Told { ns: time.parse().ok()?, is_read, offset: bytes(sector)?, bytes: bytes(sectors)? })
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn lines_of_its_traces_are_read() {
        // The first lines of traces/wsrch-small.trace, and a write of tpcc-small.trace.
        let text = "11413000 0 657728 16 1\n11565000 1 31244784 64 1\n938513000 4 264719034 16 0\n";
        assert!(is_one(text));
        let all = read(text).unwrap();
        assert_eq!(all[0], told(11_413_000, true, 657_728 * 512, 8192));
        assert_eq!(all[2], told(938_513_000, false, 264_719_034 * 512, 8192));
        assert!(read("1 0 0 8 2\n").unwrap_err().contains("0 (write) or 1 (read)"));
        assert!(read("1 0 99999999999999999999 8 1\n").is_err());
    }
}
