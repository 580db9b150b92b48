//! House tasks. `cargo run -p xtask -- layers` checks the direction of dependencies between the
//! workspace's crates; `examples` rebuilds the committed example objects; `aarch64` runs the engine's
//! tests on an emulated aarch64; `install-library PREFIX` installs the C library.

mod aarch64;
mod library;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// A crate, what of ours it may depend on, and what else its tests may.
struct Layer {
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
}

const fn layer(
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
) -> Layer {
    Layer { name, uses, tests_use }
}

/// All crates. Arrows point down only; a crate or an arrow that is not listed here fails the check.
const LAYERS: &[Layer] = &[
    layer("nvme_spec", &[], &[]),
    layer("simtime", &[], &[]),
    layer("faults", &[], &[]),
    layer("dax", &["faults"], &[]),
    layer("ebpf", &["faults"], &[]),
    layer("history", &[], &[]),
    // Its tests look at what the drive really leaves.
    layer(
        "crashtest",
        &["history", "simtime"],
        &["nvme_spec", "client", "controller", "simulator"],
    ),
    layer("runtime_server", &["ebpf"], &[]),
    layer("records", &["nvme_spec", "simtime"], &[]),
    layer("recording", &["records"], &[]),
    layer("analysis", &["nvme_spec", "simtime", "records"], &[]),
    layer("ring", &["records"], &[]),
    layer("ssd", &["simtime", "records"], &[]),
    layer("flash_file", &["ssd", "dax"], &["simtime"]),
    layer("compute", &["simtime", "records"], &[]),
    layer("fabric", &["simtime"], &[]),
    layer(
        "controller",
        &["nvme_spec", "simtime", "records", "history", "ssd", "compute", "fabric", "ebpf"],
        &[],
    ),
    layer("native_programs", &["ebpf", "controller"], &["simtime"]),
    layer("wasm_programs", &["ebpf", "controller"], &[]),
    layer("config", &["simtime", "ssd", "compute", "controller"], &[]),
    // Tests compare its list of helpers with the engine's.
    layer("bpf_clang", &[], &["ebpf"]),
    layer("vfio_user", &[], &[]),
    layer("pacer", &[], &[]),
    layer("client", &["nvme_spec", "bpf_clang"], &[]),
    layer("client_linux", &["client", "nvme_spec", "vfio_user", "pacer"], &[]),
    layer(
        "simulator",
        &["nvme_spec", "simtime", "ssd", "controller", "client"],
        &["records", "compute", "flash_file"],
    ),
    layer(
        "workload",
        &[
            "nvme_spec",
            "simtime",
            "records",
            "recording",
            "analysis",
            "ssd",
            "controller",
            "config",
            "client",
            "simulator",
        ],
        &[],
    ),
    layer(
        "csdrive_python",
        &[
            "nvme_spec",
            "simtime",
            "records",
            "recording",
            "analysis",
            "ssd",
            "flash_file",
            "history",
            "controller",
            "config",
            "client",
            "simulator",
            "workload",
        ],
        &[],
    ),
    // Its tests are hosts of the drive.
    layer(
        "emulator",
        &[
            "nvme_spec",
            "simtime",
            "records",
            "history",
            "ring",
            "ssd",
            "controller",
            "vfio_user",
            "pacer",
        ],
        &["client", "client_linux"],
    ),
    // Its tests have a drive in their process.
    layer("fdmfs", &["client"], &["simulator", "controller", "simtime"]),
    // Its tests serve a drive.
    layer(
        "libcsdrive",
        &["nvme_spec", "client", "client_linux", "bpf_clang"],
        &["emulator", "controller"],
    ),
    layer("engine_bench", &["ebpf"], &[]),
    layer("debian", &[], &[]),
    layer("guest", &["debian"], &[]),
    layer(
        "csdrive",
        &[
            "nvme_spec",
            "simtime",
            "records",
            "ring",
            "recording",
            "analysis",
            "runtime_server",
            "native_programs",
            "wasm_programs",
            "ssd",
            "compute",
            "ebpf",
            "controller",
            "config",
            "client",
            "client_linux",
            "simulator",
            "workload",
            "emulator",
            "flash_file",
            "history",
            "crashtest",
            "engine_bench",
            "guest",
            "bpf_clang",
            "fdmfs",
        ],
        // Its tests take the C library to a guest.
        &["libcsdrive"],
    ),
    layer("xtask", &["debian"], &[]),
    layer("needs_rust", &[], &[]),
];

/// The clang that the committed objects are built with (Debian 12's).
const EXAMPLES_CLANG: &str = "clang-14";

/// Where sources of committed objects are.
const PROGRAM_FOLDERS: [&str; 6] = [
    "examples/programs",
    "crates/simulator/tests/statuses",
    "crates/ebpf/runtime",
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
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
            bail!("crate {name} has no place in the layers; add it to LAYERS in xtask");
        };
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        for dependency in dependencies {
            let to = dependency["name"].as_str().context("a dependency without a name")?;
            let is_tests = dependency["kind"].as_str() == Some("dev");
            let is_allowed = layer.uses.contains(&to) || is_tests && layer.tests_use.contains(&to);
            let who = if is_tests { "the tests of " } else { "" };
            ensure!(
                !ours.contains(&to) || is_allowed,
                "{who}{name} depend on {to}, against the layers; allowed: {:?}, for tests also {:?}",
                layer.uses,
                layer.tests_use
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
