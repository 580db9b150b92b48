//! Commands for a drive that is there: the same exercises in this process and by a socket, and what goes wrong.

mod served;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use served::Served;

const CSDRIVE: &str = env!("CARGO_BIN_EXE_csdrive");

/// What its user does with a served drive.
impl Served {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(CSDRIVE).args(arguments).arg(self.socket()).output().unwrap()
    }

    /// Waits until it has said something: that comes after the client has its completion.
    fn says(&self, what: &str) {
        let start = std::time::Instant::now();
        while !self.log().contains(what) {
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Ends the server in order; what it says then.
    fn stop(mut self) -> Value {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut output = String::new();
        std::io::Read::read_to_string(&mut self.rest(), &mut output).unwrap();
        serde_json::from_str(output.trim()).unwrap_or_else(|error| panic!("{error}: {output}"))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn refused(output: &Output, status: i32, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(text.contains(words), "{text}");
}

#[test]
fn every_way_passes_the_same_exercises() {
    let simulated = Command::new(CSDRIVE).args(["check", "simulated"]).output().unwrap();
    assert!(simulated.status.success(), "{}", String::from_utf8_lossy(&simulated.stdout));
    let checked = Served::new(&[]).json(&["check"]);
    assert_eq!(checked["passed"], true, "{checked:#}");
    assert_eq!(checked["exercises"].as_array().unwrap().len(), 9);
}

#[test]
fn wrong_uses_say_what_is_wrong() {
    let served = Served::new(&[]);
    refused(&served.run(&["exec", "--program", "9"]), 1, "No Program (SCT 1h SC 96h)");
    let failed = served.json(&["exec", "--program", "9"]);
    assert_eq!(failed["status"]["name"], "No Program");
    let beyond = ["memory", "read", "--start", "16MiB", "--length", "4"];
    refused(&served.run(&beyond), 1, "16777216 bytes");
    let odd = ["memory", "fill", "--start", "2", "--length", "4"];
    refused(&served.run(&odd), 1, "not a multiple of 4");
    refused(&served.run(&["ranges", "create", "--range", "1:2:3"]), 2, "not a number");
    refused(
        &served.run(&["ranges", "delete", "--id", "5"]),
        1,
        "Invalid Memory Range Set Identifier",
    );
    refused(&served.run(&["group", "delete", "--id", "5"]), 1, "csdrive group list");
    refused(&served.run(&["group", "create", "--weight", "0"]), 2, "1..=1000");
    refused(&served.run(&["exec", "--group", "5"]), 1, "Invalid Job Group");
    let file = served.folder().join("text.o");
    std::fs::write(&file, "text").unwrap();
    refused(&served.run(&["program", "load", &file.to_string_lossy()]), 2, "not an ELF file");
    let nowhere = Command::new(CSDRIVE).args(["exec", "/nowhere/nvme0"]).output().unwrap();
    refused(&nowhere, 2, "csdrive serve");
    let file = Command::new(CSDRIVE).args(["exec", file.to_str().unwrap()]).output().unwrap();
    refused(&file, 2, "neither a device nor a socket");
}

#[test]
fn bytes_go_between_files_blocks_and_memory() {
    let served = Served::new(&[]);
    let file = |name: &str| served.folder().join(name).to_string_lossy().into_owned();
    let (from, to) = (file("from"), file("to"));
    let data: Vec<u8> = (0..3_000_001u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&from, &data).unwrap();
    let info = served.json(&["blocks", "info"]);
    assert_eq!((&info["block_bytes"], &info["memory_bytes"]), (&4096.into(), &(16 << 20).into()));

    // File, blocks, memory, memory elsewhere, blocks elsewhere, file: the same bytes, and zeroes after them.
    assert_eq!(served.json(&["blocks", "write", "-b", "5", "-f", &from])["bytes"], 3_000_001);
    let copied = served.json(&["memory", "copy", "-b", "5", "-c", "733", "-s", "4"]);
    assert_eq!(copied["bytes"], 733 * 4096);
    let copy = ["memory", "copy", "--from", "4", "--length", "3002368", "--start", "8MiB"];
    assert_eq!(served.json(&copy)["bytes"], 3_002_368);
    served.json(&["memory", "copy", "-b", "100000", "-c", "733", "-s", "8MiB", "--to-blocks"]);
    served.json(&["blocks", "read", "-b", "100000", "-c", "733", "-f", &to]);
    let back = std::fs::read(&to).unwrap();
    assert!(back[..data.len()] == data && back[data.len()..].iter().all(|byte| *byte == 0));

    // Odd places.
    assert_eq!(served.json(&["memory", "write", "-s", "3", "-f", &from])["length"], 3_000_001);
    served.json(&["memory", "read", "-s", "3", "-l", "3000001", "-f", &to]);
    assert!(std::fs::read(&to).unwrap() == data);
    assert_eq!(
        served.json(&["memory", "read", "-s", "1", "-l", "4"])["hex"],
        "00000001".to_owned()
    );

    // What does not fit as a whole is not written at all.
    refused(&served.run(&["memory", "write", "-s", "14MiB", "-f", &from]), 1, "does not fit");
    let rest = served.json(&["memory", "read", "-s", "14MiB", "-l", "2MiB"]);
    assert!(rest["hex"].as_str().unwrap().bytes().all(|digit| digit == b'0'));
    let last = (info["blocks"].as_u64().unwrap() - 1).to_string();
    refused(&served.run(&["blocks", "write", "-b", &last, "-f", &from]), 1, "does not fit");
    refused(&served.run(&["blocks", "read", "-b", &last, "-c", "2"]), 1, "LBA Out of Range");
    refused(&served.run(&["blocks", "read", "-b", "0", "-c", "0xFFFFFFFFFFFFFFFF"]), 1, "more");
    refused(&served.run(&["memory", "copy", "--start", "0"]), 2, "--block");
    let half = ["memory", "copy", "--from", "0", "--start", "0"];
    refused(&served.run(&half), 2, "--length");
    let both = ["memory", "copy", "--from", "0", "--length", "4", "-b", "0", "-c", "1", "-s", "0"];
    refused(&served.run(&both), 2, "cannot be used with");
}

#[test]
fn groups_are_made_listed_and_deleted() {
    let served = Served::new(&[]);
    assert_eq!(served.json(&["group", "create", "--weight", "300"])["id"], 1);
    assert_eq!(served.json(&["group", "change", "--id", "1", "--weight", "7"])["weight"], 7);
    let listed = &served.json(&["group", "list"])["groups"];
    assert_eq!((&listed[0]["id"], &listed[0]["weight"]), (&0.into(), &100.into()), "{listed:#}");
    assert_eq!((&listed[1]["id"], &listed[1]["weight"]), (&1.into(), &7.into()), "{listed:#}");
    assert_eq!(served.json(&["group", "delete", "--id", "1"])["deleted"], true);
    assert_eq!(served.json(&["group", "list"])["groups"].as_array().unwrap().len(), 1);
}

#[test]
fn a_server_that_is_gone_is_an_error() {
    let mut served = Served::new(&[]);
    served.process.kill().unwrap();
    served.process.wait().unwrap();
    refused(&served.run(&["exec"]), 2, "csdrive serve");
}

#[test]
fn what_a_way_costs_is_a_document() {
    let costs = Served::new(&[]).json(&["bench", "transport", "--milliseconds", "20"]);
    for (name, key) in [
        ("execute_empty", "qd1_median_ns"),
        ("execute_empty", "qd64_per_second"),
        ("memory_copy", "bytes_per_second"),
        ("memory_write", "bytes_per_second"),
        ("memory_read", "bytes_per_second"),
    ] {
        assert!(
            costs[name][key].as_u64().is_some_and(|value| value > 0),
            "{name}.{key}: {costs:#}"
        );
    }
}

#[test]
fn a_served_drive_logs_what_is_asked_for() {
    let failed = "Execute Program: No Program (SCT 1h SC 96h) sqid=1";
    let quiet = Served::new(&[]);
    quiet.run(&["exec", "--program", "9"]);
    assert!(!quiet.log().contains("Execute"), "{}", quiet.log());

    let more = Served::with(&["-v"], &[]);
    more.run(&["exec", "--program", "9"]);
    more.run(&["memory", "fill", "-s", "0", "-l", "4"]);
    more.says(failed);
    assert!(!more.log().contains("Memory Fill"), "{}", more.log());

    // The exercises take more than a hundred commands: not all are shown, and a line says so.
    let most = Served::with(&["-vv"], &[]);
    most.run(&["memory", "fill", "-s", "0", "-l", "4"]);
    most.says("Memory Fill");
    most.run(&["check"]);
    most.says("more than 100 messages of emulator::command in a second");
}

/// What QEMU is to a drive that freezes its guest: it writes down what it is told to do with the guest.
struct FakeQemu {
    log: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

/// How it answers the n-th command that is not `query-status`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    Error,
    HangUp,
}

impl FakeQemu {
    fn new(path: &std::path::Path, answer: fn(usize) -> Answer) -> Self {
        use std::io::{BufRead as _, Write as _};
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
        let kept = std::sync::Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let greeting = b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
                if stream.write_all(greeting).is_err() {
                    continue;
                }
                let lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
                for line in lines.map_while(Result::ok) {
                    let command: Value = serde_json::from_str(&line).unwrap();
                    let command = command["execute"].as_str().unwrap();
                    let mut log = kept.lock().unwrap();
                    let reply = match command {
                        "query-status" => "{\"return\": {\"running\": true}}\r\n",
                        "qmp_capabilities" => "{\"return\": {}}\r\n",
                        _ => {
                            log.push(command.to_owned());
                            match answer(log.len()) {
                                // An event comes between, as from QEMU.
                                Answer::Done => "{\"event\": \"STOP\"}\r\n{\"return\": {}}\r\n",
                                Answer::Error => "{\"error\": {\"class\": \"GenericError\"}}\r\n",
                                Answer::HangUp => break,
                            }
                        }
                    };
                    drop(log);
                    if stream.write_all(reply.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
        Self { log }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// A drive whose programs take longer on this machine than the millisecond that they declare.
fn slow_here(folder: &std::path::Path) -> Vec<String> {
    let qmp = format!("compute.freeze_qmp={}", folder.join("qmp").display());
    [
        "compute.freeze=true",
        &qmp,
        "compute.engine=interpreter",
        "compute.run_time=declared",
        "compute.declared_time=1ms",
        "compute.units=2",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn a_guest_is_stopped_while_programs_take_longer_here_than_there() {
    let folder = tempfile::tempdir().unwrap();
    let qemu = FakeQemu::new(&folder.path().join("qmp"), |_| Answer::Done);
    let settings = slow_here(folder.path());
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let served = Served::new(&settings);
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");
    served.json(&["program", "load", program]);
    let long = ["exec", "-r", "0:4MiB", "-r", "8MiB:4MiB"];
    // One after the other, and two at once: stopped once for both that overlap.
    served.json(&[&long[..], &["--count", "3"]].concat());
    let one_by_one = qemu.log().len();
    assert_eq!(one_by_one, 2 * 3, "{:?}", qemu.log());
    served.json(&[&long[..], &["--count", "2", "--depth", "2"]].concat());
    let log = qemu.log();
    assert!(log.chunks(2).all(|pair| pair == ["stop", "cont"]), "{log:?}");
    assert!(log.len() <= one_by_one + 4, "{log:?}");
    // A program that is quick enough: nothing is stopped.
    served.json(&["exec", "-r", "0:4", "-r", "8MiB:4", "--run-time", "500ms"]);
    assert_eq!(qemu.log().len(), log.len());
    // It says how long the guest was stopped.
    let stopped = served.stop();
    let frozen = &stopped["drives"][0]["frozen"];
    assert_eq!(frozen["count"].as_u64().unwrap() as usize, log.len() / 2, "{stopped}");
    assert!(frozen["ns"].as_u64().unwrap() > 5_000_000, "{stopped}");
}

#[test]
fn a_qemu_that_is_gone_or_not_there_makes_completions_late_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    // It stops the guest and hangs up before it says so; and it lets the guest go on at the second time of asking.
    let qemu = FakeQemu::new(&folder.path().join("qmp"), |n| match n {
        1 => Answer::HangUp,
        2 => Answer::Error,
        _ => Answer::Done,
    });
    let settings = slow_here(folder.path());
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let served = Served::new(&settings);
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");
    served.json(&["program", "load", program]);
    let long = ["exec", "-r", "0:4MiB", "-r", "8MiB:4MiB", "--count", "3"];
    assert_eq!(served.json(&long)["count"], 3);
    // However it went, the guest runs at the end.
    let settled = || qemu.log().last().is_some_and(|last| last == "cont");
    let start = std::time::Instant::now();
    while !settled() && start.elapsed() < std::time::Duration::from_secs(20) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(qemu.log()[..3], ["stop", "cont", "cont"], "{:?}", qemu.log());
    served.says("the guest is not frozen");
    // Without a socket's path, and without a guest, it is refused.
    for (command, words) in [
        (&["serve"][..], "compute.freeze_qmp"),
        (&["run", program], "only virtual time; use csdrive vm --freeze"),
    ] {
        let freeze = ["--set", "compute.freeze=true"];
        let ran = Command::new(CSDRIVE).args(command).args(freeze).output().unwrap();
        refused(&ran, 2, words);
    }
}

#[test]
fn as_many_programs_run_at_a_time_as_there_are_threads() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");
    let most = |threads: &str| {
        let settings = [threads, "compute.engine=interpreter", "compute.units=8"];
        let served = Served::new(&settings);
        served.json(&["program", "load", program]);
        let exec = ["exec", "-r", "0:4MiB", "-r", "8MiB:4MiB", "--count", "8", "--depth", "8"];
        served.json(&exec);
        served.stop()["drives"][0]["programs_max"].as_u64().unwrap()
    };
    assert_eq!(most("compute.workers=1"), 1);
    let several = most("compute.workers=3");
    assert!((2..=3).contains(&several), "{several}");
}

#[test]
fn a_served_drive_is_followed_live() {
    let serial = format!("FOLLOW{}", std::process::id());
    let follow = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_csdrive"));
        command
            .args(["stat", "--follow"])
            .arg(&serial)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    // It waits for the drive.
    let waiting = follow(&["--json", "--interval", "3", "--count", "1"]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let setting = format!("drive.serial={serial}");
    let served = Served::with(&["--records"], &[&setting]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let file = served.folder().join("bytes");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    served.json(&["blocks", "write", "--block", "0", "--file", file.to_str().unwrap()]);
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--records"), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["written_bytes"], 1 << 20, "{document}");
    let (latency, commands) = (&document["lat_ns"], &document["commands"]);
    assert_eq!(&latency["N"], commands);
    assert!(latency["percentile"]["50.000000"].as_u64() <= latency["max"].as_u64());
    assert_eq!(document["lost"]["commands"], 0);
    let lines = follow(&["--interval", "0.1", "--count", "2"]).wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&lines.stdout).lines().count(), 3, "{lines:?}");
    // A file that is no ring, a ring that is another's, kinds that there are not.
    let refused_with = |arguments: &[&str], words: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_csdrive")).args(arguments).output().unwrap();
        refused(&output, 2, words);
    };
    refused_with(
        &["stat", "--follow", "--count", "1", file.to_str().unwrap()],
        "no ring of records",
    );
    let socket = served.folder().join("other");
    let other = ["serve", "--records", "--set", &setting, "--socket", socket.to_str().unwrap()];
    refused_with(&other, "drive.serial");
    refused_with(&["serve", "--records=commands,dice"], "commands, jobs, units, dies");
    let path = format!("/dev/shm/csdrive-{serial}");
    assert!(std::path::Path::new(&path).exists());
    drop(served);
    let _ = std::fs::remove_file(path);
}

#[test]
fn blocks_of_a_served_drive_are_processed_chunk_by_chunk() {
    let served = Served::new(&[]);
    let folder = served.folder();
    let line =
        |n: u32| format!("{n:<40} {:<22}\n", if n.is_multiple_of(5) { "needle" } else { "straw" });
    let text: String = (0..200_000).map(line).collect();
    let (file, pattern) = (folder.join("text"), folder.join("pattern"));
    std::fs::write(&file, &text).unwrap();
    std::fs::write(&pattern, "needle").unwrap();
    let (file, pattern) = (file.display().to_string(), pattern.display().to_string());
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/grep-count.bpf.o");
    served.json(&["program", "load", program]);
    served.json(&["blocks", "write", "--block", "100", "--file", &file]);
    let blocks = format!("100:{}", text.len() / 4096);
    let exec = [
        "exec",
        "--stream",
        &blocks,
        "--chunk",
        "256KiB",
        "--output-size",
        "0",
        "--data",
        &pattern,
    ];
    assert_eq!(served.json(&exec)["result"], 40_000);
    let refused_with = |arguments: &[&str], status, words| {
        refused(&served.run(&[&["exec", "--stream"], arguments].concat()), status, words);
    };
    refused_with(&["0:10", "--chunk", "100"], 2, "a multiple of a block");
    refused_with(&["0:10", "--chunk", "32MiB"], 2, "of device memory");
    refused_with(&["9999999999:10", "--chunk", "4KiB"], 1, "LBA Out of Range");
    refused_with(&["10"], 2, "FIRST:COUNT");
    // `double` writes past an output of no bytes.
    let double = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");
    served.json(&["program", "load", "--index", "1", double]);
    // One chunk at a time: of several that fail, any may be first in real time.
    let alone = ["--chunk", "4KiB", "--in-flight", "1", "--output-size", "0", "-p", "1"];
    refused_with(&[&["7:10"], &alone[..]].concat(), 1, "from block 7");
    // One command copies, runs and returns the output.
    let output = folder.join("doubled");
    let blocks = ["exec", "-p", "1", "--compound", "100:2", "--output-size", "8KiB"];
    let more = ["--output", output.to_str().unwrap()];
    assert_eq!(served.json(&[&blocks[..], &more].concat())["result"], 2048);
    let word = u32::from_le_bytes(text.as_bytes()[..4].try_into().unwrap());
    assert_eq!(std::fs::read(&output).unwrap()[..4], word.wrapping_mul(2).to_le_bytes());
    refused(&served.run(&["exec", "--compound", "100:9000"]), 1, "at most 33554432");
    refused(
        &served.run(&["exec", "--compound", "0:16", "--output-size", "4294967295"]),
        1,
        "at most 1048576",
    );
    for (options, of) in [
        (&["--output-size", "8KiB"][..], "--stream and --compound"),
        (&["--compound", "0:16", "--memory", "4096"], "only with --stream"),
        (&["--compound", "0:16", "--chunk", "4096"], "only with --stream"),
        (&["--compound", "0:0"], "COUNT 0"),
        (&["--compound", "0:4294967296"], "at most 4294967295"),
        (&["--stream", "0:16", "--output", "x"], "only with --compound"),
        (&["--early"], "--stream and --compound"),
    ] {
        refused(&served.run(&[&["exec"], options].concat()), 2, of);
    }
    // What it says is about this command, not about the one before.
    let beyond = served.run(&["exec", "--stream", "9999999999:10", "--chunk", "4KiB"]);
    assert!(!String::from_utf8_lossy(&beyond.stderr).contains("chunk of slot"), "{beyond:?}");
    assert!(served.json(&["ranges", "list"])["sets"].as_array().unwrap().is_empty());
}
