//! What Linux's blktrace records: `struct blk_io_trace` of linux/blktrace_api.h, one after the other, each followed by as many bytes as it
//! says. Several processors' files may be joined by `cat`. An operation counts when it is queued (action Q).

use super::{Told, sorted};

/// `BLK_IO_TRACE_MAGIC`, and the version of the structure in its lowest byte.
const MAGIC: u32 = 0x6561_7400;
const VERSION: u32 = 7;
const BYTES: usize = 48;
/// `__BLK_TA_QUEUE`.
const QUEUE: u32 = 1;
/// `BLK_TC_READ`, `BLK_TC_WRITE`, `BLK_TC_DISCARD`, `BLK_TC_NOTIFY`, behind the 16 bits of the action.
const READ: u32 = 1 << 16;
const WRITE: u32 = 1 << 17;
const NOTIFY: u32 = 1 << 26;
const DISCARD: u32 = 1 << 29;
/// Sectors are always of 512 bytes.
const SECTOR: u64 = 512;

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(number(bytes, at)) | u64::from(number(bytes, at + 4)) << 32
}

/// True if the first structure is one of these.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.len() >= BYTES && number(bytes, 0) & !0xFF == MAGIC
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Told>, String> {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(one) = bytes.get(at..at + BYTES) {
        let first = at;
        let wrong = |reason: &str| Err(format!("at byte {first}: {reason}"));
        if number(one, 0) != MAGIC | VERSION {
            return wrong("no structure of blktrace in this machine's byte order (version 7)");
        }
        // magic, sequence, time, sector, bytes, action, pid, device, cpu, error, pdu_len
        let (time, sector, len, action) =
            (long(one, 8), long(one, 16), number(one, 24), number(one, 28));
        let pdu = usize::from(one[46]) | usize::from(one[47]) << 8;
        at += BYTES + pdu;
        let is_data = action & (READ | WRITE) != 0 && action & (NOTIFY | DISCARD) == 0;
        if action & 0xFFFF != QUEUE || !is_data || len == 0 {
            continue;
        }
        let Some(offset) = sector.checked_mul(SECTOR) else {
            return wrong("its sector is too large");
        };
        all.push(Told { ns: time, is_read: action & WRITE == 0, offset, bytes: len.into() });
    }
    if bytes.len() != at {
        return Err(format!("it ends within a structure, at byte {}", bytes.len()));
    }
    Ok(sorted(all))
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    fn one(time: u64, sector: u64, len: u32, action: u32, pdu: u16) -> Vec<u8> {
        let mut bytes = (MAGIC | VERSION).to_le_bytes().to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(time.to_le_bytes());
        bytes.extend(sector.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(action.to_le_bytes());
        bytes.extend([0; 14]);
        bytes.extend(pdu.to_le_bytes());
        bytes.extend(vec![7; pdu.into()]);
        assert_eq!(bytes.len(), BYTES + usize::from(pdu));
        bytes
    }

    #[test]
    fn queued_operations_are_read_in_the_order_of_their_times() {
        let complete = 8 | READ;
        let all = [
            one(3000, 16, 8192, QUEUE | WRITE, 0),
            one(1000, 8, 4096, QUEUE | READ, 5),
            one(1500, 8, 4096, complete, 0),
            one(1600, 0, 0, QUEUE | WRITE, 0),
            one(0, 0, 9, NOTIFY | 1, 9),
        ];
        let bytes = all.concat();
        assert!(is_one(&bytes));
        assert_eq!(
            read(&bytes).unwrap(),
            [told(1000, true, 4096, 4096), told(3000, false, 8192, 8192)]
        );
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
        assert!(read(&[1; 100]).unwrap_err().contains("at byte 0"));
    }
}
