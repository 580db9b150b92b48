//! The kernels: their data, and what they must return.

use ebpf::PAGE;

/// One measurement: a function of `kernels.bpf.c` and what it works on.
pub(crate) struct Kernel {
    /// Key in the results.
    pub(crate) name: &'static str,
    /// The C function.
    pub(crate) function: &'static str,
    /// Contents of the ranges; whole pages each, so that page protection guards them.
    pub(crate) ranges: Vec<Vec<u8>>,
    pub(crate) params: [i64; 2],
    /// Elements that one call works on: results are per element.
    pub(crate) elements: u64,
    pub(crate) unit: &'static str,
}

/// Pseudorandom numbers (Steele and others, "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn whole_pages(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().max(1).next_multiple_of(PAGE as usize), 0);
    bytes
}

fn ints(values: impl Iterator<Item = i32>) -> Vec<u8> {
    whole_pages(values.flat_map(i32::to_le_bytes).collect())
}

fn longs(values: impl Iterator<Item = i64>) -> Vec<u8> {
    whole_pages(values.flat_map(i64::to_le_bytes).collect())
}

/// Numbers of 4 bytes in each of the three arrays that together fit the second-level cache.
const VADD_SMALL: usize = 32 << 10;
/// The same for 48 MiB, which fit no cache.
const VADD_LARGE: usize = 4 << 20;
const TEXT: usize = 16 << 20;
const RECORDS: usize = 512 << 10;
const ROWS: usize = 1 << 20;
const POINTS: usize = 256 << 10;
const JSON_LINES: u64 = 100_000;
const SORTED: usize = 64 << 10;

fn vadd(name: &'static str, count: usize, repeat: u64, random: &mut Random) -> Kernel {
    let mut array = || ints((0..count).map(|_| random.next() as i32));
    let inputs = [array(), array()];
    let [a, b] = inputs;
    let params = [repeat as i64, 0];
    let elements = count as u64 * repeat;
    let ranges = vec![vec![0; a.len()], a, b];
    Kernel { name, function: "vadd", ranges, params, elements, unit: "number" }
}

/// The constants of SHA-256: fractions of the cube roots of the first 64 primes (FIPS 180-4, section 4.2.2).
fn sha256_constants() -> Vec<u8> {
    let is_prime = |n: &u64| (2..*n).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    let fraction = |prime: u64| {
        // The largest number whose cube is at most prime * 2^96.
        let (mut low, mut high) = (0u128, 1u128 << 36);
        while high - low > 1 {
            let middle = (low + high) / 2;
            // Of 36 bits: its cube has 108.
            if middle * middle * middle <= u128::from(prime) << 96 {
                low = middle;
            } else {
                high = middle;
            }
        }
        low as u32 as i32
    };
    ints((2..).filter(is_prime).take(64).map(fraction))
}

/// A block of LZ4 that stands for about so many bytes of letters: itself, and how many bytes it stands for.
fn lz4_block(bytes: u64, random: &mut Random) -> (Vec<u8>, u64) {
    let (mut block, mut decoded) = (Vec::new(), 0);
    while decoded < bytes {
        let literals = if decoded == 0 { 14 } else { random.below(15) };
        let length = random.below(15);
        block.push((literals << 4 | length) as u8);
        block.extend((0..literals).map(|_| b'a' + random.below(26) as u8));
        decoded += literals;
        let back = 1 + random.below(decoded.min(60_000));
        block.extend((back as u16).to_le_bytes());
        decoded += length + 4;
    }
    // The last sequence has literals only.
    block.push(0);
    (block, decoded)
}

/// Lines of JSON.
fn json_lines(count: u64, random: &mut Random) -> Vec<u8> {
    let line = |n| {
        let (value, hidden) = (random.below(100_000), random.below(10));
        format!(
            "{{\"id\":{n},\"name\":\"a \\\"value\\\":{hidden}\",\"value\":{value},\"more\":{{\"value\":{hidden}}}}}\n"
        )
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

/// States of `[a-f]+[0-9][0-9]+z`, for each byte the next one; 4 is that of a match.
fn regex_table() -> Vec<u8> {
    let next = |state: u8, byte: u8| match (state, byte) {
        (_, b'a'..=b'f') => 1,
        (1, b'0'..=b'9') => 2,
        (2 | 3, b'0'..=b'9') => 3,
        (3, b'z') => 4,
        _ => 0,
    };
    whole_pages((0..5).flat_map(|state| (0..=255).map(move |byte| next(state, byte))).collect())
}

/// All kernels with their data.
pub(crate) fn all() -> Vec<Kernel> {
    let mut random = Random(1);
    let letters: Vec<u8> = (0..TEXT).map(|_| b'a' + random.below(26) as u8).collect();
    let pattern = whole_pages(letters[TEXT / 2..][..8].to_vec());
    let records = (0..RECORDS).flat_map(|n| {
        let key = random.below(1000) as i64;
        [key, n as i64, -key, 7]
    });
    let records = longs(records);
    let shipdate = ints((0..ROWS).map(|_| 8036 + random.below(2526) as i32));
    let discount = longs((0..ROWS).map(|_| random.below(11) as i64));
    let quantity = longs((0..ROWS).map(|_| 1 + random.below(50) as i64));
    let price = longs((0..ROWS).map(|_| 90_000 + random.below(10_000_000) as i64));
    let bytes: Vec<u8> = (0..TEXT).map(|_| random.next() as u8).collect();
    let table = (0..256u32).map(|n| {
        (0..8).fold(n, |c, _| if c & 1 != 0 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 }) as i32
    });
    let points = ints((0..POINTS * 16).map(|_| random.below(1000) as i32));
    let query = ints((0..16).map(|_| random.below(1000) as i32));
    let blocks: Vec<u8> = (0..TEXT / 4).map(|_| random.next() as u8).collect();
    let (lz4, decoded) = lz4_block(TEXT as u64, &mut random);
    let json = json_lines(JSON_LINES, &mut random);
    let unsorted = ints((0..SORTED).map(|_| random.next() as i32));
    let words: Vec<u8> =
        (0..TEXT).map(|_| b"abcdefz0123456789 "[random.below(18) as usize]).collect();
    let none = || vec![0; PAGE as usize];
    vec![
        vadd("vadd_cache", VADD_SMALL, 100, &mut random),
        vadd("vadd_48m", VADD_LARGE, 1, &mut random),
        Kernel {
            name: "grep",
            function: "grep",
            ranges: vec![none(), letters, pattern],
            params: [0; 2],
            elements: TEXT as u64,
            unit: "byte",
        },
        Kernel {
            name: "filter",
            function: "filter",
            ranges: vec![vec![0; records.len()], records],
            params: [0, 49],
            elements: RECORDS as u64,
            unit: "record",
        },
        Kernel {
            name: "tpch_q6",
            function: "tpch_q6",
            ranges: vec![none(), shipdate, discount, quantity, price],
            params: [ROWS as i64, 0],
            elements: ROWS as u64,
            unit: "row",
        },
        Kernel {
            name: "crc",
            function: "crc32",
            ranges: vec![none(), bytes, ints(table)],
            params: [0; 2],
            elements: TEXT as u64,
            unit: "byte",
        },
        Kernel {
            name: "knn",
            function: "knn",
            ranges: vec![none(), points, query],
            params: [0; 2],
            elements: POINTS as u64,
            unit: "point",
        },
        Kernel {
            name: "sha256",
            function: "sha256",
            elements: blocks.len() as u64,
            ranges: vec![none(), blocks, sha256_constants()],
            params: [0; 2],
            unit: "byte",
        },
        Kernel {
            name: "lz4",
            function: "lz4",
            params: [lz4.len() as i64, 0],
            ranges: vec![whole_pages(vec![0; decoded as usize]), whole_pages(lz4)],
            elements: decoded,
            unit: "byte",
        },
        Kernel {
            name: "json",
            function: "json",
            params: [json.len() as i64, 0],
            elements: json.len() as u64,
            ranges: vec![none(), whole_pages(json)],
            unit: "byte",
        },
        Kernel {
            name: "sort",
            function: "sort",
            ranges: vec![vec![0; unsorted.len()], unsorted],
            params: [0; 2],
            elements: SORTED as u64,
            unit: "number",
        },
        Kernel {
            name: "regex",
            function: "regex",
            ranges: vec![none(), words, regex_table()],
            params: [4, 0],
            elements: TEXT as u64,
            unit: "byte",
        },
    ]
}
