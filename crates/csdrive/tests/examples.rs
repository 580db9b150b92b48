//! The examples for a host, from the shell and in Rust, on a drive that `csdrive serve` serves. Those in C are tested
//! with the C library, those for a mounted drive in a guest.
//!
//! An example whose tool or binary is not there is reported as ignored, with the reason in its name.

mod served;

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use served::Served;

const CSDRIVE: &str = env!("CARGO_BIN_EXE_csdrive");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// Examples and their programs.
const NAMES: [(&str, &str); 6] = [
    ("double", "double"),
    ("vadd", "vadd"),
    ("grep", "grep-count"),
    ("filter", "filter"),
    ("nearest", "nearest"),
    ("lz4", "lz4"),
];

/// Runs an example, and makes sure that it leaves no program.
fn run(served: &Served, mut example: Command, program: &str) -> Result<(), Failed> {
    let socket = served.socket();
    let object = Path::new(EXAMPLES).join(format!("programs/{program}.bpf.o"));
    let output = example.arg(&socket).arg(object).env("CSDRIVE", CSDRIVE).output()?;
    let [out, errors] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
    if !output.status.success() || !out.contains("on the host") && !out.contains("to the same") {
        let log = served.log();
        let status = output.status;
        return Err(format!("{status}\n{out}\n{errors}\nThe server:\n{log}").into());
    }
    let left = Command::new(CSDRIVE).args(["program", "list", "--json"]).arg(&socket).output()?;
    let left: serde_json::Value = serde_json::from_slice(&left.stdout)?;
    if left["programs"].as_array().is_none_or(|programs| !programs.is_empty()) {
        return Err(format!("programs are left on the drive: {left}").into());
    }
    Ok(())
}

fn shell(name: &'static str, program: &'static str) -> Trial {
    let test = move || {
        let mut sh = Command::new("sh");
        sh.arg(Path::new(EXAMPLES).join(format!("host/shell/{name}.sh")));
        run(&Served::new(&[]), sh, program)
    };
    let has_tool = || Command::new("lz4").arg("--version").output().is_ok();
    if name == "lz4" && !has_tool() {
        return skipped("shell/lz4", "no lz4: apt-get install lz4");
    }
    Trial::test(format!("shell/{name}"), test)
}

fn rust(name: &'static str, program: &'static str, folder: &Path) -> Trial {
    let binary = folder.join(name);
    if !binary.exists() {
        return skipped(&format!("rust/{name}"), "not built: cargo build -p client --examples");
    }
    let test = move || run(&Served::new(&[]), Command::new(&binary), program);
    Trial::test(format!("rust/{name}"), test)
}

fn skipped(name: &str, why: &str) -> Trial {
    Trial::test(format!("{name} (SKIPPED: {why})"), || Ok(())).with_ignored_flag(true)
}

/// An example that fails says what differs, and leaves no program: here the program is another one.
fn another_program_is_noticed() -> Result<(), Failed> {
    let served = Served::new(&[]);
    let mut sh = Command::new("sh");
    sh.arg(Path::new(EXAMPLES).join("host/shell/double.sh"));
    match run(&served, sh, "grep-count") {
        Err(failed) if failed.message().is_some_and(|text| text.contains("the result is ")) => {}
        other => return Err(format!("{other:?}").into()),
    }
    let mut sh = Command::new("sh");
    sh.arg(Path::new(EXAMPLES).join("host/shell/double.sh"));
    run(&served, sh, "double")
}

/// Where Cargo puts the examples of this workspace: `cargo test --workspace` builds them.
fn built_examples() -> PathBuf {
    let mut folder = std::env::current_exe().expect("tests are files");
    folder.pop();
    folder.with_file_name("examples")
}

fn main() {
    let arguments = Arguments::from_args();
    let built = built_examples();
    let mut trials = vec![Trial::test("another_program_is_noticed", another_program_is_noticed)];
    for (name, program) in NAMES {
        trials.push(shell(name, program));
        trials.push(rust(name, program, &built));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
