//! Builds the engine and the runtime server with their tests for aarch64, and runs them there: in QEMU's user mode, with a compiler
//! and a standard library from Debian packages, which may be newer than the machine's own.

use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use debian::{Archive, Root};

use crate::root;

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";

/// Debian suites with a Rust as new as the workspace asks for, and what they stand on. While a new version is being built, one
/// architecture has it before the other, and the two do not go together: then the next suite is tried.
const SUITES: [(&str, &[&str]); 2] =
    [("trixie-backports", &["trixie", "trixie-backports"]), ("forky", &["forky"])];

/// What rustc needs, and of which architecture; packages not listed are not unpacked.
const COMPILER: [&str; 14] = [
    "rustc_",
    "libstd-rust-",
    "libllvm",
    "libc6_",
    "libgcc-s1_",
    "libstdc++6_",
    "zlib1g_",
    "libzstd1_",
    "libxml2",
    "libz3-4_",
    "libedit2_",
    "libffi8_",
    "libtinfo6_",
    "liblzma5_",
];

/// Of these, the files for this machine: two architectures' libraries have the same names.
const NATIVE: &str = "_amd64.deb";

/// Random programs of the differential test: an emulated machine is slow.
const PROGRAMS: &str = "3000";

pub(crate) fn test() -> Result<()> {
    ensure!(
        Command::new(LINKER).arg("--version").output().is_ok(),
        "no {LINKER}: apt-get install gcc-aarch64-linux-gnu"
    );
    let folder = root().join("target/aarch64");
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let parts = parts(&folder)?;
    let variable =
        |name: &str| format!("CARGO_TARGET_{}_{name}", TARGET.replace('-', "_").to_uppercase());
    let status = Command::new(env!("CARGO"))
        .args([
            "test",
            "--package",
            "ebpf",
            "--package",
            "runtime_server",
            "--lib",
            "--tests",
            "--profile",
            "emulated",
            "--target",
            TARGET,
        ])
        .current_dir(root())
        .env("RUSTC", parts.rustc)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env(variable("LINKER"), LINKER)
        .env(variable("RUNNER"), parts.qemu)
        .env(variable("RUSTFLAGS"), "-C target-feature=+crt-static")
        .env("PROGRAMS", PROGRAMS)
        .env_remove("RUSTFLAGS")
        .status()?;
    ensure!(status.success(), "the tests fail on aarch64");
    Ok(())
}

struct Parts {
    rustc: PathBuf,
    qemu: PathBuf,
}

fn parts(folder: &Path) -> Result<Parts> {
    let compiler = Root::new(&folder.join("compiler"))?;
    let emulator = Root::new(&folder.join("emulator"))?;
    let rustc = folder.join("rustc");
    let qemu = emulator.path("usr/bin/qemu-aarch64");
    if !rustc.exists() {
        let (suite, archive, packages) = compiler_packages(folder)?;
        for package in packages {
            let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let needed = COMPILER.iter().any(|prefix| name.starts_with(prefix));
            if needed && (name.ends_with(NATIVE) || name.starts_with("libstd-rust-")) {
                compiler.unpack(&package)?;
            }
        }
        for package in archive.download(
            (suite, &["qemu-user"]),
            &folder.join("debs/emulator"),
            &mut progress,
        )? {
            if package.to_string_lossy().contains("/qemu-user_") {
                emulator.unpack(&package)?;
            }
        }
        // Last: that it is there means that all is.
        let command = compiler.command("usr/bin/rustc");
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<String> =
            words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let sysroot = compiler.path("usr");
        let text = format!(
            "#!/bin/sh\nexec {} --sysroot '{}' \"$@\"\n",
            words.join(" "),
            sysroot.display()
        );
        let unfinished = rustc.with_extension("new");
        fs::write(&unfinished, text)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
        fs::rename(&unfinished, &rustc).context("rustc")?;
    }
    Ok(Parts { rustc, qemu })
}

/// The packages of a compiler, and the suite and archive that they are from.
fn compiler_packages(folder: &Path) -> Result<(&'static str, Archive, Vec<PathBuf>)> {
    let mut failures = Vec::new();
    for (suite, suites) in SUITES {
        let archive = Archive::open(&folder.join("apt"), suites, &["amd64", "arm64"])?;
        let packages = ["rustc", "libstd-rust-dev:arm64"];
        // Packages of one suite alone: a compiler has the standard library of its own version.
        let into = folder.join("debs").join(suite);
        match archive.download((suite, &packages), &into, &mut progress) {
            Ok(packages) => return Ok((suite, archive, packages)),
            Err(error) => failures.push(format!("{suite}: {error}")),
        }
    }
    anyhow::bail!("no suite has a compiler for aarch64 now: {}", failures.join("; "))
}

fn progress(done: u64, total: u64) {
    if std::io::stderr().is_terminal() {
        eprint!("\rDebian packages: {} of {} MB ", done / 1_000_000, total / 1_000_000);
        if done == total {
            eprintln!();
        }
    }
}
