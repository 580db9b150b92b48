//! From C, C++ and LLVM's bitcode to a BPF object with whatever clang there is.
//!
//! Plain C should just work. clang makes LLVM IR of it, `ir.rs` makes of that what the BPF target knows, and clang makes the object
//! (`-fno-builtin`: else it turns loops into calls of memset and memcpy). What clang refuses all the same comes with a remedy
//! (`remedies.rs`).
//!
//! Programs may include what is in `include/`: it comes with this crate.
#![forbid(unsafe_code)]

mod ir;
mod remedies;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The headers a program may include, shipped inside this executable.
const HEADERS: [(&str, &str); 18] = [
    ("csdrive.h", include_str!("../include/csdrive.h")),
    ("csdrive_helpers.h", include_str!("../include/csdrive_helpers.h")),
    ("csdrive_soft.h", include_str!("../include/csdrive_soft.h")),
    ("csdrive_test.h", include_str!("../include/csdrive_test.h")),
    ("cemu_def.h", include_str!("../include/cemu_def.h")),
    ("assert.h", include_str!("../include/assert.h")),
    ("ctype.h", include_str!("../include/ctype.h")),
    ("errno.h", include_str!("../include/errno.h")),
    ("inttypes.h", include_str!("../include/inttypes.h")),
    ("math.h", include_str!("../include/math.h")),
    ("stdint.h", include_str!("../include/stdint.h")),
    ("stdio.h", include_str!("../include/stdio.h")),
    ("stdlib.h", include_str!("../include/stdlib.h")),
    ("string.h", include_str!("../include/string.h")),
    ("strings.h", include_str!("../include/strings.h")),
    ("time.h", include_str!("../include/time.h")),
    ("sys/types.h", include_str!("../include/sys/types.h")),
    // The C library's headers ask for this one when the target is not the host.
    ("gnu/stubs-32.h", ""),
];

/// Frames of functions are as large as they need to be, up to 32 KiB: so far do offsets reach.
const LARGE_FRAMES: [&str; 2] = ["-mllvm", "-bpf-stack-size=32760"];

/// What clang says of a frame that is larger than it makes them.
const TOO_LARGE_A_FRAME: &str = "BPF stack limit";

/// First clang that can do that.
const FIRST_WITH_LARGE_FRAMES: u32 = 19;

/// First clang whose pointers have no types.
const FIRST_WITH_OPAQUE_POINTERS: u32 = 15;

/// First clang whose BPF target has instruction set v4.
const FIRST_WITH_V4: u32 = 18;
/// Newest clang looked for under a name with its version.
const NEWEST: u32 = 30;

/// What a source is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// C.
    C,
    /// C++, without exceptions and type information at run time.
    Cpp,
    /// LLVM's bitcode or its text, of whatever compiler (`-emit-llvm`, `-flto`).
    Llvm,
}

impl Language {
    /// By the end of a file's name, and its first bytes; `None` for what is no source.
    pub fn of(path: &Path, bytes: &[u8]) -> Option<Self> {
        const BITCODE: [&[u8]; 2] = [b"BC\xC0\xDE", b"\xDE\xC0\x17\x0B"];
        if BITCODE.iter().any(|magic| bytes.starts_with(magic)) {
            return Some(Self::Llvm);
        }
        match path.extension()?.to_str()? {
            "c" => Some(Self::C),
            "cc" | "cpp" | "cxx" | "c++" | "C" => Some(Self::Cpp),
            "ll" => Some(Self::Llvm),
            _ => None,
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            // Older ones take a function that nobody declared for one that returns int.
            Self::C => &["-Werror=implicit-function-declaration", "-Wno-int-conversion"],
            Self::Cpp => {
                &["-xc++", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-nostdinc++"]
            }
            Self::Llvm => &["-xir", "-Wno-override-module"],
        }
    }
}

/// A program that could not be compiled.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Error {
    #[error(
        "{program} is source and clang is not installed; install it (apt-get install clang) or give a BPF object"
    )]
    NoClang { program: PathBuf },
    #[error("{clang} could not compile {program}: {remedy}\n{messages}")]
    Rejected { clang: String, program: PathBuf, remedy: &'static str, messages: String },
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

    /// Compiles a source to a BPF object.
    ///
    /// # Errors
    /// If it is refused; the message has clang's.
    pub fn compile(&self, source: &Path, language: Language) -> Result<Vec<u8>, Error> {
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
        flags.extend(language.flags().iter().map(|flag| (*flag).to_owned()));
        flags.push("-I".into());
        flags.push(dir.path().display().to_string());
        // Kernel headers, for sources written for other BPF environments.
        let machine = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        for include in [machine.as_str(), "/usr/include"] {
            flags.extend(["-idirafter".into(), include.into()]);
        }
        let cpu = if self.major >= FIRST_WITH_V4 { "-mcpu=v4" } else { "-mcpu=v3" };
        flags.push(cpu.into());
        let dialect = ir::Dialect {
            has_opaque_pointers: self.major >= FIRST_WITH_OPAQUE_POINTERS,
            has_signed_division: self.major >= FIRST_WITH_V4,
            has_small_frames: false,
        };
        let module = dir.path().join("program.ll");
        let emit = |more: &[String]| {
            // Names: then what comes to be of one value does not number the others anew.
            let ir = ["-emit-llvm".to_owned(), "-fno-discard-value-names".to_owned()];
            self.run(source, &[&flags, &ir[..], more].concat(), source, &module, "-S")?;
            std::fs::read_to_string(&module).map_err(io("LLVM IR"))
        };
        let mut text = emit(&[])?;
        let mut rewritten = ir::rewrite(&text, dialect);
        if rewritten.needs_soft && language != Language::Llvm {
            let header = dir.path().join("csdrive_soft.h");
            text = emit(&["-include".to_owned(), header.display().to_string()])?;
            rewritten = ir::rewrite(&text, dialect);
        }
        let mut last = vec!["--target=bpf", "-O2", cpu, "-Wno-override-module"];
        if self.major >= FIRST_WITH_LARGE_FRAMES {
            last.extend(LARGE_FRAMES);
        }
        let last: Vec<String> = last.into_iter().map(String::from).collect();
        let finish = |text: &str| {
            std::fs::write(&module, text).map_err(io("LLVM IR"))?;
            self.run(source, &last, &module, &object, "-c")
        };
        match finish(&rewritten.text) {
            Err(Error::Rejected { messages, .. }) if messages.contains(TOO_LARGE_A_FRAME) => {
                let small = ir::Dialect { has_small_frames: true, ..dialect };
                finish(&ir::rewrite(&text, small).text)?;
            }
            finished => finished?,
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
        let messages = relevant.join("\n");
        let remedy = match remedies::remedy(&messages) {
            _ if messages.contains(TOO_LARGE_A_FRAME) && self.major < FIRST_WITH_LARGE_FRAMES => {
                "functions with so much on their stack need clang 19 or newer (apt-get install clang-19)"
            }
            Some(remedy) => remedy,
            None if messages.contains("error:") => "clang says where and why",
            None => "clang itself failed; another version of it may not",
        };
        let (clang, program) = (self.command.clone(), program.to_owned());
        Err(Error::Rejected { clang, program, remedy, messages })
    }
}

/// The bytes of a program: an object as it is, a source in a [`Language`] compiled.
///
/// # Errors
/// If there is no such file, no clang, or it is refused.
pub fn program_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    if path.as_os_str() == "-" {
        return from_standard_input();
    }
    let bytes = std::fs::read(path)
        .map_err(|cause| Error::Io { what: path.display().to_string(), cause })?;
    match Language::of(path, &bytes) {
        Some(language) => {
            let clang = Clang::find().ok_or_else(|| Error::NoClang { program: path.to_owned() })?;
            clang.compile(path, language)
        }
        None => Ok(bytes),
    }
}

/// An object, a WebAssembly module or C source from standard input: the first two begin with magic numbers.
fn from_standard_input() -> Result<Vec<u8>, Error> {
    const MOST: u64 = 64 << 20;
    let failed = |cause| Error::Io { what: "standard input".to_owned(), cause };
    let mut bytes = Vec::new();
    std::io::stdin().take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.starts_with(b"\x7FELF") || bytes.starts_with(b"\0asm") {
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
