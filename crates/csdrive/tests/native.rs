//! Native programs on a drive: what CEMU's users have, and whatever else hosts may send.

#[path = "harness/lib.rs"]
mod harness;
#[allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
mod served;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::{Files, csdrive, example, root};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use served::Served;

/// What a trial runs.
type Test = fn() -> Result<(), Failed>;

fn main() {
    let arguments = Arguments::from_args();
    let tests: [(&str, Test); 6] = [
        ("examples_do_the_same_as_native_programs", examples_do_the_same),
        ("native_programs_are_off_unless_they_are_let", they_are_off),
        ("every_end_is_a_status_and_the_drive_goes_on", every_end_is_a_status),
        ("a_drive_that_is_killed_leaves_no_process", a_killed_drive_leaves_no_process),
        ("a_client_that_goes_away_ends_its_program", a_client_that_goes_away_ends_its_program),
        ("programs_of_the_drives_folder", programs_of_the_drives_folder),
    ];
    let missing = Command::new("cc").arg("--version").output().is_err();
    let trials = tests.into_iter().map(|(name, test)| match missing {
        false => Trial::test(name, test),
        true => {
            let why = "SKIPPED: there is no C compiler (apt-get install gcc)";
            Trial::test(format!("{name} ({why})"), || Ok(())).with_ignored_flag(true)
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Compiles a shared object, as the documentation tells users to.
fn compile(source: &Path, object: &str) {
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-w", "-I"])
        .arg(root().join("crates/bpf_clang/include"))
        .args(["-o", object])
        .arg(source)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn hostile(object: &str) {
    compile(&root().join("crates/native_programs/tests/sources/hostile.c"), object);
}

const UPLOAD: &str = "compute.native_upload=true";

fn examples_do_the_same() -> Result<(), Failed> {
    let files = Files::new();
    let numbers: Vec<u8> =
        (0..40_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let text: String = (0..5000).map(|i| format!("line {i} of a file with words\n")).collect();
    let query = files.put("query", &numbers[..64]);
    let (numbers, text) = (files.put("numbers", &numbers), files.put("text", text.as_bytes()));
    for (name, inputs, more) in [
        ("double", &[&numbers][..], &[][..]),
        ("vadd", &[&numbers, &numbers], &["--output-size", "160000"]),
        ("histogram", &[&text], &["--output-size", "4096"]),
        ("grep-count", &[&text], &["--data", "hex:37206f66"]),
        ("filter", &[&numbers], &[]),
        ("lz4", &[&text], &["--output-size", "200000"]),
        (
            "nearest",
            &[&numbers, &query],
            &["--output-size", "160", "--param1", "16", "--param2", "10"],
        ),
    ] {
        let native = files.path(&format!("{name}.so"));
        compile(Path::new(&example(&format!("{name}.bpf.c"))), &native);
        let (out, native_out) = (files.path("out"), files.path("native_out"));
        let run = |program: &str, out: &str| {
            let mut arguments = vec!["run", program, "--json", "--output", out, "--set", UPLOAD];
            arguments.extend(inputs.iter().flat_map(|input| ["--input", input]));
            arguments.extend(more);
            csdrive(&arguments)
        };
        let object = run(&example(&format!("{name}.bpf.o")), &out);
        let shared = run(&native, &native_out);
        assert_eq!((object.code, shared.code), (0, 0), "{name}: {object:?} {shared:?}");
        assert_eq!(object.json()["result"], shared.json()["result"], "{name}");
        assert!(files.get("out") == files.get("native_out"), "{name}: other outputs");
        let run_time = &shared.json()["run_time"];
        assert_eq!(run_time["model"], "measured", "{name}: {run_time}");
        assert_eq!(shared.json()["instructions"], serde_json::Value::Null, "{name}");
    }
    // Every knob of the time that is measured moves it.
    let (native, out) = (files.path("histogram.so"), files.path("out"));
    let time = |more: &[&str]| {
        let common =
            ["run", &native, "--json", "--input", &text, "--output", &out, "--set", UPLOAD];
        let document = csdrive(&[&common, more].concat()).json();
        (document["run_time"].clone(), document["time_ns"]["compute"].as_f64().unwrap())
    };
    let (declared, held) = time(&["--run-time", "50us"]);
    assert_eq!((declared["model"].as_str(), held), (Some("declared"), 50_000.0), "{declared}");
    let (measured, held) = time(&["--set", "compute.run_time_samples=5"]);
    let times = &measured["processor_time"];
    assert_eq!(times["samples"], 5, "{measured}");
    let median = times["median_ns"].as_f64().unwrap();
    assert!((held / median / 3.0 - 1.0).abs() < 0.001, "{held} {times}");
    let refused = csdrive(&["run", &native, "--set", UPLOAD, "--run-time", "instructions"]);
    assert!(refused.stderr.contains("declared or measured"), "{refused:?}");
    Ok(())
}

fn they_are_off() -> Result<(), Failed> {
    let files = Files::new();
    let object = files.path("hostile.so");
    hostile(&object);
    let ran = csdrive(&["run", &object, "--function", "exits"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("compute.native_upload=true"), "{ran:?}");
    let ran = csdrive(&["run", &object, "--set", UPLOAD]);
    assert!(ran.stderr.contains("exports several functions"), "{ran:?}");
    let folder = format!("compute.native_directory={}", files.path("absent"));
    let ran = csdrive(&["run", &example("double.bpf.o"), "--set", &folder]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("compute.native_directory"), "{ran:?}");
    Ok(())
}

/// What a served drive is told.
fn to(served: &Served, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(arguments)
        .arg(served.socket())
        .output()
        .unwrap()
}

fn must(served: &Served, arguments: &[&str]) -> String {
    let output = to(served, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Processes below one, by number.
fn below(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let children: Vec<u32> = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    children.iter().flat_map(|child| [vec![*child], below(*child)].concat()).collect()
}

fn is_there(process: u32) -> bool {
    // One that has ended and is not waited for is gone as well.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn every_end_is_a_status() -> Result<(), Failed> {
    let served = Served::new(&[UPLOAD, "compute.native_time_limit=300ms"]);
    let object = served.folder().join("hostile.so").display().to_string();
    hostile(&object);
    must(&served, &["program", "load", "--index", "1", &example("double.bpf.o")]);
    for (function, status) in [
        ("null", "Program Memory Fault"),
        ("recursion", "Program Memory Fault"),
        ("hundred_gib", "Program Memory Fault"),
        ("endless", "Program Instruction Budget Exceeded"),
        ("ignores_signals", "Program Instruction Budget Exceeded"),
        ("exits", "Program Crashed"),
        ("fork_bomb", "Program System Call Refused"),
        ("opens", "Program System Call Refused"),
        ("traces_parent", "Program System Call Refused"),
    ] {
        must(&served, &["program", "load", "--function", function, &object]);
        let ran = to(&served, &["exec", "-r", "0:4096"]);
        let text = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{function}: {text}");
        assert!(text.contains(status), "{function}: {text}");
        must(&served, &["program", "unload", "--index", "0"]);
        assert_eq!(must(&served, &["exec", "-p", "1", "-r", "0:4000", "-r", "8192:4000"]), "1000");
    }
    assert_eq!(
        below(served.process.id()),
        Vec::<u32>::new(),
        "workers of programs that were unloaded"
    );
    Ok(())
}

/// A drive that runs a program that never ends, and its processes.
fn running() -> (Served, std::process::Child, Vec<u32>) {
    let served = Served::new(&[UPLOAD, "compute.native_time_limit=1000s"]);
    let object = served.folder().join("hostile.so").display().to_string();
    hostile(&object);
    must(&served, &["program", "load", "--function", "ignores_signals", &object]);
    let client = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["exec", "-r", "0:4096"])
        .arg(served.socket())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("a worker and a run", || below(served.process.id()).len() == 2);
    let processes = below(served.process.id());
    (served, client, processes)
}

fn a_killed_drive_leaves_no_process() -> Result<(), Failed> {
    let (mut served, mut client, processes) = running();
    kill_process(Pid::from_child(&served.process), Signal::KILL)?;
    served.process.wait()?;
    until("no worker and no run", || !processes.iter().any(|process| is_there(*process)));
    assert!(!client.wait()?.success());
    Ok(())
}

/// The drive is reset when its client is gone: the run ends, and with it every lease.
fn a_client_that_goes_away_ends_its_program() -> Result<(), Failed> {
    let (served, mut client, processes) = running();
    client.kill()?;
    client.wait()?;
    let run = *processes.last().unwrap();
    until("no run", || !is_there(run));
    until("the program is free", || {
        to(&served, &["program", "unload", "--index", "0"]).status.success()
    });
    assert_eq!(below(served.process.id()), Vec::<u32>::new());
    let double = example("double.bpf.o");
    must(&served, &["program", "load", &double]);
    assert_eq!(must(&served, &["exec", "-r", "0:4000", "-r", "8192:4000"]), "1000");
    Ok(())
}

fn programs_of_the_drives_folder() -> Result<(), Failed> {
    let files = Files::new();
    let folder = files.path("programs");
    std::fs::create_dir(&folder)?;
    compile(Path::new(&example("double.bpf.c")), &format!("{folder}/double.so"));
    let served = Served::new(&[&format!("compute.native_directory={folder}")]);
    must(&served, &["program", "load", "--in-drive", "double.so"]);
    assert_eq!(must(&served, &["exec", "-r", "0:4000", "-r", "8192:4000"]), "1000");
    assert!(must(&served, &["program", "list"]).contains("native"));
    must(&served, &["program", "unload", "--index", "0"]);
    let refused = to(&served, &["program", "load", "--in-drive", "../double.so"]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("is not in compute.native_directory"), "{refused:?}");
    // Names are let, objects are not.
    let object = format!("{folder}/double.so");
    let refused = to(&served, &["program", "load", &object]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("native_upload"), "{refused:?}");
    Ok(())
}
