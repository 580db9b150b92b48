//! Helpers: what a program may call besides its own functions. [`HELPERS`] is the whole table;
//! `examples/programs/csdrive.h` is its C side and a test keeps the two equal.
//!
//! A helper call costs one instruction of the budget, plus one for each
//! [`BYTES_PER_BUDGET_UNIT`] bytes it touches, so no program can hide work in helpers.

use std::sync::atomic::AtomicBool;

use crate::fault::{Access, FaultKind, MemoryFault};
use crate::memory::Window;
use crate::run::check_stop;

/// Bytes a helper may touch for one instruction of the budget.
pub const BYTES_PER_BUDGET_UNIT: u64 = 64;

/// Longest trace text one run may print; more is cut.
pub const TRACE_BYTES_MAX: usize = 64 * 1024;

/// Bytes a helper works on before it looks whether the run shall end.
const PIECE: u64 = 256 << 10;

/// Widest field a conversion pads to.
const WIDTH_MAX: usize = 64;

/// Bytes charged for each byte of text that is printed.
pub const TRACE_BYTE_COST: u64 = 10;

/// Longest format of the trace helper.
pub const TRACE_FORMAT_MAX: u64 = 1024;

/// Longest string a `%s` of the trace helper prints.
const TRACE_STRING_MAX: u64 = 256;

/// One helper. [`crate::Loader`] takes more of them for programs outside a drive.
#[derive(Clone, Copy, Debug)]
pub struct Helper {
    /// Number in the call instruction.
    pub id: u32,
    /// Name in `csdrive.h`.
    pub name: &'static str,
    /// Names of undefined functions that link to this helper besides its own.
    pub aliases: &'static [&'static str],
    /// C prototype.
    pub prototype: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// The helper itself: r1 to r5 in, r0 out.
    pub body: fn(&mut Call<'_>, [u64; 5]) -> Result<u64, FaultKind>,
}

/// Every helper, by ascending number.
pub static HELPERS: &[Helper] = &[
    Helper {
        id: 6,
        name: "csd_trace",
        aliases: &["bpf_trace_printk"],
        prototype: "long csd_trace(const char *format, unsigned int size, unsigned long a, unsigned long b, unsigned long c)",
        doc: "Prints at most three values to the drive's trace log; %d %i %u %x %X %c %s %p with h, l, ll and a width.",
        body: trace,
    },
    Helper {
        id: 1001,
        name: "csd_memcpy",
        aliases: &["memcpy", "memmove", "csd_memmove"],
        prototype: "void *csd_memcpy(void *to, const void *from, unsigned long n)",
        doc: "Copies n bytes; the two places may overlap. Returns `to`.",
        body: memory_copy,
    },
    Helper {
        id: 1002,
        name: "csd_memset",
        aliases: &["memset"],
        prototype: "void *csd_memset(void *p, int byte, unsigned long n)",
        doc: "Sets n bytes. Returns `p`.",
        body: memory_fill,
    },
    Helper {
        id: 1003,
        name: "csd_memcmp",
        aliases: &["memcmp"],
        prototype: "int csd_memcmp(const void *a, const void *b, unsigned long n)",
        doc: "Compares n bytes: negative, 0 or positive, as C's memcmp.",
        body: memory_compare,
    },
    Helper {
        id: 1004,
        name: "csd_memchr",
        aliases: &["memchr"],
        prototype: "void *csd_memchr(const void *p, int byte, unsigned long n)",
        doc: "Address of the first byte of that value, or 0.",
        body: memory_find_byte,
    },
    Helper {
        id: 1005,
        name: "csd_memmem",
        aliases: &["memmem"],
        prototype: "void *csd_memmem(const void *p, unsigned long n, const void *pattern, unsigned long m)",
        doc: "Address of the first occurrence of the pattern (at most 4096 bytes), or 0.",
        body: memory_find,
    },
    Helper {
        id: 1006,
        name: "csd_crc32c",
        aliases: &[],
        prototype: "unsigned int csd_crc32c(unsigned int crc, const void *p, unsigned long n)",
        doc: "CRC-32C (Castagnoli) of n bytes, continued from `crc` (0 to begin).",
        body: crc32c,
    },
    Helper {
        id: 1007,
        name: "csd_exit",
        aliases: &[],
        prototype: "void csd_exit(long result)",
        doc: "Ends the program, from wherever it is: `result` is its result.",
        body: exit,
    },
];

/// The helper an undefined function links to.
pub(crate) fn by_name<'a>(helpers: &'a [Helper], name: &str) -> Option<&'a Helper> {
    helpers.iter().find(|h| h.name == name || h.aliases.contains(&name))
}

/// What a helper may use of the run that called it.
#[derive(Debug)]
pub struct Call<'a> {
    /// The program's memory. Addresses come from the program: they may be anything.
    pub window: &'a mut Window,
    /// Text the program prints.
    pub trace: &'a mut Vec<u8>,
    /// Bytes this run has read; the helper adds what it reads.
    pub bytes_read: &'a mut u64,
    /// Bytes this run has written; the helper adds what it writes.
    pub bytes_written: &'a mut u64,
    pub(crate) stop: Option<&'a AtomicBool>,
}

impl Call<'_> {
    /// An error if another thread wants the run to end. Long work looks every
    /// 256 KiB.
    ///
    /// # Errors
    /// If the run is to end.
    pub fn check_stop(&self) -> Result<(), FaultKind> {
        check_stop(self.stop)
    }
}

impl From<MemoryFault> for FaultKind {
    fn from(fault: MemoryFault) -> Self {
        Self::Memory(fault)
    }
}

/// Reads a place piece by piece without borrowing it; the visitor says whether to go on.
fn visit(
    call: &Call<'_>,
    address: u64,
    len: u64,
    mut visitor: impl FnMut(u64, &[u8]) -> bool,
) -> Result<(), FaultKind> {
    let window = &*call.window;
    window.check(address, len, Access::Read)?;
    let mut buffer = [0; 4096];
    let mut offset = 0;
    while offset < len {
        if offset.is_multiple_of(PIECE) {
            call.check_stop()?;
        }
        let piece = &mut buffer[..(len - offset).min(4096) as usize];
        window.read(address.wrapping_add(offset), piece)?;
        if !visitor(offset, piece) {
            break;
        }
        offset += piece.len() as u64;
    }
    Ok(())
}

fn memory_copy(call: &mut Call<'_>, [to, from, n, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    call.window.check(from, n, Access::Read)?;
    call.window.check(to, n, Access::Write)?;
    // In pieces, from the end that keeps what is still to be read.
    let [at_to, at_from] = [to, from].map(|address| call.window.effective(address, 0));
    let backwards = at_to.wrapping_sub(at_from) < n;
    let pieces = n.div_ceil(PIECE);
    for i in 0..pieces {
        call.check_stop()?;
        let at = if backwards { pieces - 1 - i } else { i } * PIECE;
        call.window.copy(to.wrapping_add(at), from.wrapping_add(at), (n - at).min(PIECE))?;
    }
    *call.bytes_read += n;
    *call.bytes_written += n;
    Ok(to)
}

fn memory_fill(call: &mut Call<'_>, [p, byte, n, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    call.window.check(p, n, Access::Write)?;
    for at in (0..n).step_by(PIECE as usize) {
        call.check_stop()?;
        call.window.fill(p.wrapping_add(at), byte as u8, (n - at).min(PIECE))?;
    }
    *call.bytes_written += n;
    Ok(p)
}

fn memory_compare(call: &mut Call<'_>, [a, b, n, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    call.window.check(b, n, Access::Read)?;
    let mut other = [0; 4096];
    let mut result = 0i64;
    let mut read = 0;
    visit(call, a, n, |offset, piece| {
        let other = &mut other[..piece.len()];
        if call.window.read(b.wrapping_add(offset), other).is_err() {
            return false; // cannot be: the whole place was checked above
        }
        read += 2 * piece.len() as u64;
        match piece.iter().zip(&*other).find(|(x, y)| x != y) {
            Some((x, y)) => {
                result = i64::from(*x) - i64::from(*y);
                false
            }
            None => true,
        }
    })?;
    *call.bytes_read += read;
    Ok(result as u64)
}

fn memory_find_byte(call: &mut Call<'_>, [p, byte, n, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let mut found = None;
    let mut read = 0;
    visit(call, p, n, |offset, piece| {
        read += piece.len() as u64;
        found =
            piece.iter().position(|&b| b == byte as u8).map(|i| p.wrapping_add(offset + i as u64));
        found.is_none()
    })?;
    *call.bytes_read += read;
    Ok(found.unwrap_or(0))
}

fn memory_find(call: &mut Call<'_>, [p, n, pattern, m, _]: [u64; 5]) -> Result<u64, FaultKind> {
    call.window.check(p, n, Access::Read)?;
    if m > 4096 {
        let reason = format!("pattern of {m} bytes; at most 4096 are allowed");
        return Err(FaultKind::Helper { helper: "csd_memmem", reason });
    }
    let mut needle = vec![0; m as usize];
    call.window.read(pattern, &mut needle)?;
    if m == 0 || m > n {
        *call.bytes_read += m;
        return Ok(if m == 0 { p } else { 0 });
    }
    // Knuth-Morris-Pratt: linear in n whatever the pattern, so that the cost below is the truth.
    let mut fallback = vec![0usize; needle.len()];
    let mut matched = 0;
    for i in 1..needle.len() {
        while matched > 0 && needle[i] != needle[matched] {
            matched = fallback[matched - 1];
        }
        matched += usize::from(needle[i] == needle[matched]);
        fallback[i] = matched;
    }
    let (mut matched, mut found, mut read) = (0, None, m);
    visit(call, p, n, |offset, piece| {
        for (i, &byte) in piece.iter().enumerate() {
            while matched > 0 && byte != needle[matched] {
                matched = fallback[matched - 1];
            }
            matched += usize::from(byte == needle[matched]);
            if matched == needle.len() {
                found = Some(p.wrapping_add(offset + i as u64 + 1 - m));
                read += i as u64 + 1;
                return false;
            }
        }
        read += piece.len() as u64;
        true
    })?;
    *call.bytes_read += read;
    Ok(found.unwrap_or(0))
}

fn crc32c(call: &mut Call<'_>, [crc, p, n, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let mut value = crc as u32;
    visit(call, p, n, |_, piece| {
        value = ::crc32c::crc32c_append(value, piece);
        true
    })?;
    *call.bytes_read += n;
    Ok(u64::from(value))
}

fn exit(_: &mut Call<'_>, [result, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    Err(FaultKind::Exited(result))
}

fn trace(call: &mut Call<'_>, [format, size, a, b, c]: [u64; 5]) -> Result<u64, FaultKind> {
    let refuse = |reason: String| FaultKind::Helper { helper: "csd_trace", reason };
    if size > TRACE_FORMAT_MAX {
        let reason = format!("format of {size} bytes; at most {TRACE_FORMAT_MAX} are allowed");
        return Err(refuse(reason));
    }
    let mut text = vec![0; size as usize];
    call.window.read(format, &mut text)?;
    let window = &*call.window;
    let byte_at = |address: u64| {
        let mut one = [0];
        window.read(address, &mut one).map(|()| one[0]).map_err(FaultKind::from)
    };
    let out = trace_text(&text, [a, b, c], byte_at, refuse)?;
    // Formatting costs as much as the text it makes, ten times over: it is no memory copy.
    *call.bytes_read += size + TRACE_BYTE_COST * out.len() as u64;
    let room = TRACE_BYTES_MAX.saturating_sub(call.trace.len());
    call.trace.extend(&out[..out.len().min(room)]);
    Ok(out.len() as u64)
}

/// What the trace helper prints for a format, which ends at its first zero byte; `byte_at` reads the bytes of a string, `refuse` says
/// what is wrong with the format.
///
/// # Errors
/// Those of the two functions.
pub fn trace_text<E>(
    format: &[u8],
    values: [u64; 3],
    byte_at: impl Fn(u64) -> Result<u8, E>,
    refuse: impl Fn(String) -> E,
) -> Result<Vec<u8>, E> {
    let end = format.iter().position(|&b| b == 0).unwrap_or(format.len());
    let mut values = values.into_iter();
    let mut out = Vec::new();
    let mut bytes = format[..end].iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let zeroes = bytes.next_if_eq(&b'0').is_some();
        let mut width = 0usize;
        while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
            width = (width * 10 + usize::from(digit - b'0')).min(WIDTH_MAX);
        }
        let mut longs = 0;
        while bytes.next_if_eq(&b'l').is_some() {
            longs += 1;
        }
        while bytes.next_if_eq(&b'h').is_some() {}
        let conversion = bytes.next().unwrap_or(b'%');
        if conversion == b'%' {
            out.push(b'%');
            continue;
        }
        let value = values.next().ok_or_else(|| refuse("more than 3 values in format".into()))?;
        let narrow = if longs == 0 { u64::from(value as u32) } else { value };
        let text: Vec<u8> = match conversion {
            b'd' | b'i' if longs == 0 => (value as i32).to_string().into(),
            b'd' | b'i' => (value as i64).to_string().into(),
            b'u' => narrow.to_string().into(),
            b'x' => format!("{narrow:x}").into(),
            b'X' => format!("{narrow:X}").into(),
            b'p' => format!("{value:#x}").into(),
            b'c' => vec![value as u8],
            b's' => {
                let mut string = Vec::new();
                for i in 0..TRACE_STRING_MAX {
                    match byte_at(value.wrapping_add(i))? {
                        0 => break,
                        byte => string.push(byte),
                    }
                }
                string
            }
            other => return Err(refuse(format!("conversion %{} is not known", other as char))),
        };
        let fill = if zeroes { b'0' } else { b' ' };
        out.extend(std::iter::repeat_n(fill, width.saturating_sub(text.len())));
        out.extend(text);
    }
    Ok(out)
}
