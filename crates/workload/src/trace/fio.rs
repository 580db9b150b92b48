//! fio's iologs (`write_iolog`), versions 2 and 3. In version 2 there is no time but that of `wait`; in version 3 every line has its time.
//! Both are microseconds (fio's HOWTO, "Trace file format"; fio 3.33 writes version 3 so).

use super::{Told, sorted, wrong};

pub(super) const MAGIC: &[u8] = b"fio version ";

pub(super) fn read(text: &str) -> Result<Vec<Told>, String> {
    let mut lines = text.lines().enumerate();
    let has_times = match lines.next().map(|(_, line)| line.trim()) {
        Some("fio version 2 iolog") => false,
        Some("fio version 3 iolog") => true,
        other => {
            let first = other.unwrap_or_default();
            return Err(wrong(1, first, "versions 2 and 3 of fio's iolog are known"));
        }
    };
    let (mut all, mut now_us) = (Vec::new(), 0u64);
    for (n, line) in lines {
        let fail = |reason| Err(wrong(n + 1, line, reason));
        let mut words = line.split_whitespace();
        if has_times {
            let Some(word) = words.next() else { continue };
            let Ok(us) = word.parse() else { return fail("it does not begin with a time") };
            now_us = us;
        }
        // A name of a file, which may be any.
        let Some(_) = words.next() else { continue };
        let action = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let is_read = match action {
            "read" => true,
            "write" => false,
            "wait" if !has_times => {
                // Since the one before.
                let Some(us) = number() else { return fail("wait: how long?") };
                now_us = now_us.saturating_add(us);
                continue;
            }
            "add" | "open" | "close" | "trim" | "sync" | "datasync" => continue,
            _ => {
                return fail("no action of fio's: add, open, close, wait, read, write, trim, sync");
            }
        };
        let (Some(offset), Some(bytes)) = (number(), number()) else {
            return fail("write offset and length in bytes");
        };
        let Some(ns) = now_us.checked_mul(1000) else { return fail("its time is too long") };
        if bytes > 0 {
            all.push(Told { ns, is_read, offset, bytes });
        }
    }
    Ok(sorted(all))
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn what_fio_wrote_is_read() {
        // Of fio 3.33: --rw=randrw --rate_iops=100 --write_iolog.
        let text = "fio version 3 iolog\n23 /f add\n195 /f open\n200 /f read 61440 4096\n460 /f write 774144 4096\n10157 /f read 880640 4096\n20326 /f close\n";
        let expected = [
            told(200_000, true, 61_440, 4096),
            told(460_000, false, 774_144, 4096),
            told(10_157_000, true, 880_640, 4096),
        ];
        assert_eq!(read(text).unwrap(), expected);
        let old = "fio version 2 iolog\n/f add\n/f open\n/f read 0 512\n/f wait 150 0\n/f write 512 512\n/f wait 150 0\n/f read 0 512\n/f close\n";
        let expected =
            [told(0, true, 0, 512), told(150_000, false, 512, 512), told(300_000, true, 0, 512)];
        assert_eq!(read(old).unwrap(), expected);
        assert!(read("fio version 9 iolog\n").unwrap_err().contains("versions 2 and 3"));
        assert!(read("fio version 2 iolog\n/f explode 1 2\n").unwrap_err().contains("line 2"));
    }
}
