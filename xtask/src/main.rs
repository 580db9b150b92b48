//! House tasks. `cargo run -p xtask -- layers` checks the direction of dependencies between the
//! workspace's crates; `examples` rebuilds the committed example objects; `aarch64` runs the engine's
//! tests on an emulated aarch64; `install-library PREFIX` installs the C library.

mod aarch64;
mod library;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What each crate may depend on, of ours. Arrows point down only; a crate not listed here, or an
/// arrow not listed here, fails the check.
const LAYERS: &[(&str, &[&str])] = &[
    ("nvme_spec", &[]),
    ("simtime", &[]),
    ("ebpf", &[]),
    ("ssd", &["simtime"]),
    ("compute", &["simtime"]),
    ("controller", &["nvme_spec", "simtime", "ssd", "compute", "ebpf"]),
    // ebpf: its test compares helpers.
    ("bpf_clang", &["ebpf"]),
    ("client", &["nvme_spec", "vfio_user", "bpf_clang", "pacer"]),
    // simulator, controller, simtime: its tests have a drive in their process.
    ("fdmfs", &["client", "simulator", "controller", "simtime"]),
    // emulator, controller: its tests serve a drive.
    ("libcsdrive", &["nvme_spec", "client", "bpf_clang", "emulator", "controller"]),
    ("engine_bench", &["ebpf"]),
    ("simulator", &["nvme_spec", "simtime", "ssd", "controller", "client"]),
    (
        "csdrive",
        &[
            "nvme_spec",
            "simtime",
            "ssd",
            "compute",
            "ebpf",
            "controller",
            "client",
            "simulator",
            "emulator",
            "engine_bench",
            "config",
            "debian",
            "bpf_clang",
            "fdmfs",
            // Its tests take the C library to a guest.
            "libcsdrive",
        ],
    ),
    ("config", &["simtime", "ssd", "compute", "controller"]),
    ("debian", &[]),
    ("vfio_user", &[]),
    ("pacer", &[]),
    // client: its tests are hosts of the drive.
    ("emulator", &["nvme_spec", "simtime", "controller", "vfio_user", "pacer", "client"]),
    ("xtask", &["debian"]),
    ("needs_rust", &[]),
];

/// The clang that the committed objects are built with (Debian 12's).
const EXAMPLES_CLANG: &str = "clang-14";

/// Where sources of committed objects are.
const PROGRAM_FOLDERS: [&str; 5] = [
    "examples/programs",
    "crates/simulator/tests/statuses",
    "crates/engine_bench/src",
    "crates/emulator/tests",
    "crates/csdrive/src/bench",
];

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("layers") => layers(),
        Some("examples") => examples(),
        Some("aarch64") => aarch64::test(),
        Some("install-library") => match std::env::args_os().nth(2) {
            Some(prefix) => library::install(prefix.as_ref()),
            None => Err(anyhow::anyhow!("where to? cargo xtask install-library /usr/local")),
        },
        _ => Err(anyhow::anyhow!("usage: cargo xtask layers|examples|aarch64|install-library")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn layers() -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .context("cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let Some((_, allowed)) = LAYERS.iter().find(|(n, _)| *n == name) else {
            bail!("crate {name} has no place in the layers; add it to LAYERS in xtask");
        };
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        for dependency in dependencies.iter().filter_map(|d| d["name"].as_str()) {
            ensure!(
                !ours.contains(&dependency) || allowed.contains(&dependency),
                "{name} depends on {dependency}, against the layers; allowed: {allowed:?}"
            );
        }
    }
    println!("layers: {} crates, every arrow points down", packages.len());
    Ok(())
}

fn examples() -> Result<()> {
    let mut sources: Vec<PathBuf> = Vec::new();
    for folder in PROGRAM_FOLDERS {
        for entry in std::fs::read_dir(root().join(folder))? {
            sources.push(entry?.path());
        }
    }
    sources.retain(|path| path.to_string_lossy().ends_with(".bpf.c"));
    sources.sort();
    for source in sources {
        let status = Command::new(EXAMPLES_CLANG)
            .args([
                "--target=bpf",
                "-O2",
                "-mcpu=v3",
                "-g0",
                "-ffreestanding",
                "-fno-builtin",
                "-I",
            ])
            .arg(root().join("crates/bpf_clang/include"))
            .arg("-c")
            .arg(&source)
            .arg("-o")
            .arg(source.with_extension("o"))
            .status()
            .with_context(|| {
                format!("{EXAMPLES_CLANG}: install it with apt-get install {EXAMPLES_CLANG}")
            })?;
        ensure!(status.success(), "{} does not compile", source.display());
        println!("built {}", source.with_extension("o").display());
    }
    Ok(())
}
