//! Requests to run a program, as text: `PROGRAM FILE... [param1=N] [param2=N] [group=N] [data=TEXT]`, or, chunk by chunk,
//! `PROGRAM storage/FILE [KEY=VALUE]... [chunk_kib=N] [in_flight=N] [overlap_kib=N] [early=1]`.

/// A request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Request<'a> {
    /// Its file in `programs/`.
    pub(crate) program: &'a str,
    /// Files in `memory/`: its memory ranges, in order.
    pub(crate) files: Vec<&'a str>,
    /// A file in `storage/`, in place of them, which goes through device memory chunk by chunk.
    pub(crate) storage: Option<&'a str>,
    pub(crate) chunks: Chunks,
    pub(crate) param1: i64,
    pub(crate) param2: i64,
    /// Job group.
    pub(crate) group: u8,
    /// Its data buffer.
    pub(crate) data: &'a str,
}

/// How a file is processed chunk by chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunks {
    /// Bytes of one.
    pub(crate) bytes: u64,
    pub(crate) in_flight: u64,
    /// Bytes that a run sees behind its chunk.
    pub(crate) overlap: Option<u64>,
    pub(crate) early: bool,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { bytes: 1 << 20, in_flight: 4, overlap: None, early: false }
    }
}

const USAGE: &str = "write: PROGRAM FILE... [param1=N] [param2=N] [group=N] [data=TEXT]; or PROGRAM storage/FILE ... [chunk_kib=N] [in_flight=N] [overlap_kib=N] [early=1]";

/// Longest chunk: all in flight are at most 256 MiB.
const MOST_KIB: u64 = 256 << 10;

/// Reads a request.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Request<'_>, String> {
    let mut words = text.split_whitespace();
    let program = words.next().ok_or(USAGE)?;
    let mut request =
        Request { program: program.trim_start_matches("programs/"), ..Request::default() };
    for word in words {
        let number = |text: &str| {
            let parsed = match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).map(|n| n as i64),
                None => text.parse(),
            };
            parsed.map_err(|_| format!("{word}: not a 64-bit number"))
        };
        match word.split_once('=') {
            Some(("param1", text)) => request.param1 = number(text)?,
            Some(("param2", text)) => request.param2 = number(text)?,
            Some(("group", text)) => {
                let parsed = text.parse();
                request.group = parsed.map_err(|_| format!("{word}: groups are 0 to 255"))?;
            }
            Some(("data", text)) => request.data = text,
            Some((key @ ("chunk_kib" | "overlap_kib"), text)) => {
                let kib = text.parse::<u64>().ok().filter(|kib| *kib <= MOST_KIB);
                let kib = kib.ok_or_else(|| format!("{word}: choose 0 to {MOST_KIB}"))?;
                match key {
                    "chunk_kib" => request.chunks.bytes = kib << 10,
                    _ => request.chunks.overlap = Some(kib << 10),
                }
            }
            Some(("in_flight", text)) => {
                let parsed = text.parse().ok().filter(|n| (1..=64).contains(n));
                request.chunks.in_flight = parsed.ok_or(format!("{word}: choose 1 to 64"))?;
            }
            Some(("early", text)) => {
                request.chunks.early = match text {
                    "0" => false,
                    "1" => true,
                    _ => return Err(format!("{word}: choose 0 or 1")),
                }
            }
            Some((other, _)) => {
                return Err(format!(
                    "{other}: there are param1, param2, group and data, and with a file in storage/ chunk_kib, in_flight, overlap_kib and early"
                ));
            }
            None => match word.strip_prefix("storage/") {
                Some(file) if request.storage.is_none() => request.storage = Some(file),
                Some(_) => {
                    return Err(format!("{word}: one file in storage/ is processed at a time"));
                }
                None => request.files.push(word.trim_start_matches("memory/")),
            },
        }
    }
    match request.storage {
        Some(_) if !request.files.is_empty() => Err(
            "with a file in storage/ each chunk has its own memory, and what the program returns is added up: name no other file"
                .to_owned(),
        ),
        None if request.chunks != Chunks::default() => {
            Err("chunk_kib, in_flight, overlap_kib and early are for a file in storage/".to_owned())
        }
        _ => Ok(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_words() {
        let request =
            parse("programs/grep memory/out in param1=-3 param2=0x10 group=7 data=abc\n").unwrap();
        let expected = Request {
            program: "grep",
            files: vec!["out", "in"],
            param1: -3,
            param2: 16,
            group: 7,
            data: "abc",
            ..Request::default()
        };
        assert_eq!(request, expected);
        let request =
            parse("grep storage/a/b data=x chunk_kib=64 in_flight=2 overlap_kib=4 early=1");
        let chunks = Chunks { bytes: 65536, in_flight: 2, overlap: Some(4096), early: true };
        let expected = Request {
            program: "grep",
            storage: Some("a/b"),
            data: "x",
            chunks,
            ..Request::default()
        };
        assert_eq!(request, Ok(expected));
        for wrong in [
            "p storage/a out",
            "p storage/a storage/b",
            "p in chunk_kib=4",
            "p storage/a chunk_kib=x",
            "p storage/a chunk_kib=99999999",
            "p storage/a in_flight=65",
            "p storage/a early=yes",
            "",
            " \n",
            "p param1=x",
            "p colour=red",
            "p param2=",
            "p group=256",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
