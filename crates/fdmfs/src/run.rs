//! Requests to run a program, as text: `PROGRAM FILE... [param1=N] [param2=N] [group=N] [data=TEXT]`.

/// A request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Request<'a> {
    /// Its file in `programs/`.
    pub(crate) program: &'a str,
    /// Files in `memory/`: its memory ranges, in order.
    pub(crate) files: Vec<&'a str>,
    pub(crate) param1: i64,
    pub(crate) param2: i64,
    /// Job group.
    pub(crate) group: u8,
    /// Its data buffer.
    pub(crate) data: &'a str,
}

const USAGE: &str = "write: PROGRAM FILE... [param1=N] [param2=N] [group=N] [data=TEXT]";

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
            Some((other, _)) => {
                return Err(format!("{other}: there are param1, param2, group and data"));
            }
            None => request.files.push(word.trim_start_matches("memory/")),
        }
    }
    Ok(request)
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
        };
        assert_eq!(request, expected);
        for wrong in ["", " \n", "p param1=x", "p colour=red", "p param2=", "p group=256"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
