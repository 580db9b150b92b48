//! From C to a BPF object with whatever clang there is.
//!
//! Plain C should just work. Two things in the way: clang turns loops into calls of memset or
//! memcpy that its BPF target then rejects (`-fno-builtin` stops that), and the BPF target has
//! signed division only from instruction set v4 on (clang 18). For older clangs the optimised
//! program is taken as LLVM IR and its signed divisions are rewritten to unsigned ones.
//!
//! Programs may include what is in `include/`: it comes with this crate.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The headers a program may include, shipped inside this executable.
const HEADERS: [(&str, &str); 14] = [
    ("csdrive.h", include_str!("../include/csdrive.h")),
    ("csdrive_helpers.h", include_str!("../include/csdrive_helpers.h")),
    ("cemu_def.h", include_str!("../include/cemu_def.h")),
    ("assert.h", include_str!("../include/assert.h")),
    ("ctype.h", include_str!("../include/ctype.h")),
    ("errno.h", include_str!("../include/errno.h")),
    ("inttypes.h", include_str!("../include/inttypes.h")),
    ("stdint.h", include_str!("../include/stdint.h")),
    ("stdio.h", include_str!("../include/stdio.h")),
    ("stdlib.h", include_str!("../include/stdlib.h")),
    ("string.h", include_str!("../include/string.h")),
    ("strings.h", include_str!("../include/strings.h")),
    ("sys/types.h", include_str!("../include/sys/types.h")),
    // The C library's headers ask for this one when the target is not the host.
    ("gnu/stubs-32.h", ""),
];

/// Frames of functions are as large as they need to be, up to 32 KiB: so far do offsets reach.
const LARGE_FRAMES: [&str; 2] = ["-mllvm", "-bpf-stack-size=32760"];

/// First clang that can do that.
const FIRST_WITH_LARGE_FRAMES: u32 = 19;

/// First clang whose BPF target has instruction set v4.
const FIRST_WITH_V4: u32 = 18;
/// Newest clang looked for under a name with its version.
const NEWEST: u32 = 30;

/// A program that could not be compiled.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Error {
    #[error(
        "{program} is C source and clang is not installed; install it (apt-get install clang) or give a BPF object"
    )]
    NoClang { program: PathBuf },
    #[error("{clang} could not compile {program}:\n{messages}")]
    Rejected { clang: String, program: PathBuf, messages: String },
    #[error("{what}: {cause}")]
    Io { what: String, cause: std::io::Error },
}

/// A clang that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clang {
    /// Its name, as it is called.
    pub command: String,
    /// Its major version.
    pub major: u32,
}

impl Clang {
    /// The newest clang on the path.
    pub fn find() -> Option<Self> {
        let versioned = (11..=NEWEST).rev().map(|n| format!("clang-{n}"));
        let found = versioned.chain(["clang".into()]).filter_map(Self::probe);
        found.max_by_key(|clang| clang.major)
    }

    /// The clang of a name, if it is there and runs.
    fn probe(command: String) -> Option<Self> {
        let output = Command::new(&command).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split("version ").nth(1)?;
        let major = version.split('.').next()?.trim().parse().ok()?;
        Some(Self { command, major })
    }

    /// Compiles C source to a BPF object.
    ///
    /// # Errors
    /// If it is refused; the message has clang's.
    pub fn compile(&self, source: &Path) -> Result<Vec<u8>, Error> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |cause| Error::Io { what, cause }
        };
        let dir = tempfile::tempdir().map_err(io("temporary directory"))?;
        for folder in ["gnu", "sys"] {
            std::fs::create_dir(dir.path().join(folder)).map_err(io("temporary directory"))?;
        }
        for (name, text) in HEADERS {
            std::fs::write(dir.path().join(name), text).map_err(io(name))?;
        }
        let object = dir.path().join("program.o");
        let mut flags: Vec<String> =
            ["--target=bpf", "-O2", "-g", "-ffreestanding", "-fno-builtin", "-fno-stack-protector"]
                .map(String::from)
                .into();
        if self.major >= FIRST_WITH_LARGE_FRAMES {
            flags.extend(LARGE_FRAMES.map(String::from));
        }
        flags.push("-I".into());
        flags.push(dir.path().display().to_string());
        // Kernel headers, for sources written for other BPF environments.
        let machine = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        for include in [machine.as_str(), "/usr/include"] {
            flags.extend(["-idirafter".into(), include.into()]);
        }
        if self.major >= FIRST_WITH_V4 {
            flags.push("-mcpu=v4".into());
            self.run(source, &flags, source, &object, "-c")?;
        } else {
            flags.push("-mcpu=v3".into());
            let ir = dir.path().join("program.ll");
            let emit = [flags.as_slice(), &["-emit-llvm".into()]].concat();
            self.run(source, &emit, source, &ir, "-S")?;
            let text = std::fs::read_to_string(&ir).map_err(io("LLVM IR"))?;
            std::fs::write(&ir, without_signed_division(&text)).map_err(io("LLVM IR"))?;
            let flags =
                ["--target=bpf", "-O2", "-mcpu=v3", "-Wno-override-module"].map(String::from);
            self.run(source, &flags, &ir, &object, "-c")?;
        }
        std::fs::read(&object).map_err(io("compiled object"))
    }

    fn run(
        &self,
        program: &Path,
        flags: &[String],
        input: &Path,
        output: &Path,
        mode: &str,
    ) -> Result<(), Error> {
        let mut command = Command::new(&self.command);
        // A source whose name begins with a dash is no flag.
        let input = if input.is_relative() { Path::new(".").join(input) } else { input.into() };
        command.args(flags).arg(mode).arg(input).arg("-o").arg(output);
        let ran =
            command.output().map_err(|cause| Error::Io { what: self.command.clone(), cause })?;
        if ran.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&ran.stderr);
        // What clang says about the program, without its own stack when its backend gives up.
        let relevant: Vec<&str> = text
            .lines()
            .take_while(|l| !l.starts_with("PLEASE submit") && !l.starts_with("Stack dump"))
            .collect();
        Err(Error::Rejected {
            clang: self.command.clone(),
            program: program.to_owned(),
            messages: relevant.join("\n"),
        })
    }
}

/// Rewrites every `sdiv` and `srem` of a module to a call of a function that divides unsigned.
fn without_signed_division(ir: &str) -> String {
    let mut widths = std::collections::BTreeSet::new();
    let mut text = String::with_capacity(ir.len() + 4096);
    for line in ir.lines() {
        match rewritten(line) {
            Some((line, operation, width)) => {
                widths.insert((operation, width));
                text.push_str(&line);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    for (operation, width) in widths {
        define(&mut text, operation, width);
    }
    text
}

/// `%a = sdiv exact i64 %b, %c, !dbg !1` becomes `%a = call i64 @csd.sdiv.i64(i64 %b, i64 %c), !dbg !1`.
fn rewritten(line: &str) -> Option<(String, &'static str, u32)> {
    let (target, rest) = line.split_once(" = ")?;
    let (operation, rest) = match rest.split_once(' ')? {
        ("sdiv", rest) => ("sdiv", rest),
        ("srem", rest) => ("srem", rest),
        _ => return None,
    };
    let rest = rest.strip_prefix("exact ").unwrap_or(rest);
    let (kind, rest) = rest.split_once(' ')?;
    let width = kind.strip_prefix('i')?.parse().ok()?;
    let (a, rest) = rest.split_once(", ")?;
    let (b, tail) =
        rest.split_once(',').map_or((rest, String::new()), |(b, t)| (b, format!(",{t}")));
    let line =
        format!("{target} = call {kind} @csd.{operation}.{kind}({kind} {a}, {kind} {b}){tail}");
    Some((line, operation, width))
}

/// The division itself: magnitudes divided unsigned, sign put back. As in C, the quotient is
/// truncated and the remainder has the dividend's sign.
fn define(text: &mut String, operation: &str, width: u32) {
    let t = format!("i{width}");
    let (instruction, sign) = if operation == "sdiv" {
        ("udiv", "xor i1 %an, %bn")
    } else {
        ("urem", "or i1 %an, false")
    };
    let _ = write!(
        text,
        "\ndefine internal {t} @csd.{operation}.{t}({t} %a, {t} %b) alwaysinline nounwind {{\n  \
           %an = icmp slt {t} %a, 0\n  %am = sub {t} 0, %a\n  %au = select i1 %an, {t} %am, {t} %a\n  \
           %bn = icmp slt {t} %b, 0\n  %bm = sub {t} 0, %b\n  %bu = select i1 %bn, {t} %bm, {t} %b\n  \
           %q = {instruction} {t} %au, %bu\n  %s = {sign}\n  %m = sub {t} 0, %q\n  \
           %r = select i1 %s, {t} %m, {t} %q\n  ret {t} %r\n}}\n"
    );
}

/// The bytes of a program: an object as it is, C source (`.c`) compiled.
///
/// # Errors
/// If there is no such file, no clang, or it is refused.
pub fn program_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    if path.as_os_str() == "-" {
        return from_standard_input();
    }
    if path.extension().is_some_and(|e| e == "c") {
        if let Err(cause) = std::fs::metadata(path) {
            return Err(Error::Io { what: path.display().to_string(), cause });
        }
        let clang = Clang::find().ok_or_else(|| Error::NoClang { program: path.to_owned() })?;
        return clang.compile(path);
    }
    std::fs::read(path).map_err(|cause| Error::Io { what: path.display().to_string(), cause })
}

/// An object or C source from standard input: an object begins with ELF's magic number.
fn from_standard_input() -> Result<Vec<u8>, Error> {
    const MOST: u64 = 64 << 20;
    let failed = |cause| Error::Io { what: "standard input".to_owned(), cause };
    let mut bytes = Vec::new();
    std::io::stdin().take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.starts_with(b"\x7FELF") {
        return Ok(bytes);
    }
    let folder = tempfile::tempdir().map_err(failed)?;
    let source = folder.path().join("stdin.c");
    std::fs::write(&source, bytes).map_err(failed)?;
    program_bytes(&source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_division_is_rewritten_with_its_debug_location() {
        let ir = "  %3 = sdiv exact i64 %1, 7, !dbg !12\n  %4 = srem i32 %a, %b\n  %5 = udiv i64 %1, 7\n";
        let text = without_signed_division(ir);
        assert!(
            text.contains("  %3 = call i64 @csd.sdiv.i64(i64 %1, i64 7), !dbg !12\n"),
            "{text}"
        );
        assert!(text.contains("  %4 = call i32 @csd.srem.i32(i32 %a, i32 %b)\n"), "{text}");
        assert!(text.contains("  %5 = udiv i64 %1, 7\n"));
        assert_eq!(text.matches("define internal").count(), 2);
    }

    #[test]
    fn header_lists_exactly_the_helpers_of_the_engine() {
        let header = HEADERS[1].1;
        for helper in ebpf::HELPERS {
            let declared = format!("(*const {})", helper.name);
            let line = header.lines().find(|l| l.contains(&declared));
            let line =
                line.unwrap_or_else(|| panic!("{} is not in csdrive_helpers.h", helper.name));
            assert!(line.ends_with(&format!("= (void *){};", helper.id)), "{line}");
            assert!(header.contains(&format!("/* {} */", helper.doc)), "{}", helper.doc);
            let prototype = helper.prototype.replacen(helper.name, &declared, 1);
            assert!(line.contains(&prototype), "{line} is not {prototype}");
        }
        assert_eq!(header.matches("(*const ").count(), ebpf::HELPERS.len());
    }
}
