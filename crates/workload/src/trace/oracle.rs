//! oracleGeneral of libCacheSim: records of 24 bytes, little-endian: time in seconds (u32), object (u64), size (u32), when it is used next
//! (i64, not used here). All of them read. Object n is at n times 4096 bytes. The operations of a second are spread over it.

use super::Told;

const BYTES: usize = 24;
const OBJECT_BYTES: u64 = 4096;

struct Record {
    seconds: u32,
    object: u64,
    size: u32,
}

fn records(bytes: &[u8]) -> impl Iterator<Item = Record> + '_ {
    bytes.chunks_exact(BYTES).map(|record| {
        let number = |at: usize| {
            u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
        };
        let object = u64::from(number(4)) | u64::from(number(8)) << 32;
        Record { seconds: number(0), object, size: number(12) }
    })
}

/// True if it can be one: whole records, in the order of their times.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.len().is_multiple_of(BYTES)
        && records(bytes).map(|record| record.seconds).is_sorted()
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Told>, String> {
    if !bytes.len().is_multiple_of(BYTES) {
        return Err(format!("{} bytes are no records of {BYTES}", bytes.len()));
    }
    let all: Vec<Record> = records(bytes).collect();
    let mut told = Vec::with_capacity(all.len());
    for second in all.chunk_by(|a, b| a.seconds == b.seconds) {
        for (n, record) in second.iter().enumerate() {
            let within = 1_000_000_000 * n as u64 / second.len() as u64;
            let ns = u64::from(record.seconds) * 1_000_000_000 + within;
            let offset = record.object.wrapping_mul(OBJECT_BYTES);
            if record.size > 0 {
                told.push(Told { ns, is_read: true, offset, bytes: record.size.into() });
            }
        }
    }
    if !told.is_sorted_by_key(|told| told.ns) {
        return Err("its records are not in the order of their times".to_owned());
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn operations_of_a_second_are_spread_over_it() {
        let record = |seconds: u32, object: u64, size: u32| {
            let mut bytes = seconds.to_le_bytes().to_vec();
            bytes.extend(object.to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend((-1i64).to_le_bytes());
            bytes
        };
        let bytes = [record(5, 1, 4096), record(5, 2, 512), record(6, 1, 4096)].concat();
        assert!(is_one(&bytes) && !is_one(&bytes[..30]));
        let expected = [
            told(5_000_000_000, true, 4096, 4096),
            told(5_500_000_000, true, 8192, 512),
            told(6_000_000_000, true, 4096, 4096),
        ];
        assert_eq!(read(&bytes).unwrap(), expected);
        assert!(read(&[record(6, 1, 1), record(5, 1, 1)].concat()).unwrap_err().contains("order"));
    }
}
