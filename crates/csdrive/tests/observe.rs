//! What is recorded, and what is made of it: stat, report, trace, compare, replay, top, metrics.

#[path = "harness/lib.rs"]
mod harness;
mod served;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Files, csdrive, example};
use recording::Recording;
use records::{CommandRecord, Records};
use served::Served;

const WORKLOAD: &str = r#"
    runtime = "20ms"
    [[job]]
    name = "reader"
    rw = "randrw"
    rwmixread = 70
    iodepth = 8
    [[job]]
    name = "program"
    program = "declared"
    time = "300us"
    bs = "256KiB"
    iodepth = 3
"#;

/// Records a run; its folder.
fn record(files: &Files, name: &str, set: &[&str]) -> String {
    let (workload, folder) = (files.put("load.toml", WORKLOAD.as_bytes()), files.path(name));
    let mut arguments = vec!["workload", &workload, "--record", &folder];
    for key in set {
        arguments.extend(["--set", key]);
    }
    let ran = csdrive(&arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    folder
}

fn all_of(folder: &str) -> Records {
    let mut all = Records::default();
    let recording = Recording::open(Path::new(folder)).unwrap();
    recording.read(&mut |_, records| all.append(&mut records.clone())).unwrap();
    all
}

/// The least of some values that so many percent of them do not exceed.
fn nearest_rank(sorted: &[u64], percent: f64) -> u64 {
    let at = |n: usize| n as f64 * 100.0 >= percent * sorted.len() as f64;
    sorted[(1..=sorted.len()).find(|n| at(*n)).unwrap() - 1]
}

#[test]
fn the_summary_is_what_the_records_say() {
    let files = Files::new();
    let folder = record(&files, "run", &[]);
    let records = all_of(&folder);
    let doc = csdrive(&["stat", &folder, "--json"]).json();
    let drive = &doc["drives"][0];
    let of = |name: &str| {
        let all = drive["commands"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}"))
    };
    // NVM reads and writes, executions.
    for (name, csi, opcode) in [("Read", 0, 2), ("Write", 0, 1), ("Execute Program", 4, 1)] {
        let is_meant = |r: &&CommandRecord| (r.csi, r.opcode) == (csi, opcode) && r.sqid > 0;
        let raw: Vec<&CommandRecord> = records.commands.iter().filter(is_meant).collect();
        let mut latencies: Vec<u64> = raw.iter().map(|r| r.completed_ns - r.fetched_ns).collect();
        latencies.sort_unstable();
        let summary = of(name);
        assert_eq!(summary["count"], raw.len(), "{name}");
        for (percent, value) in summary["lat_ns"]["percentile"].as_object().unwrap() {
            let expected = nearest_rank(&latencies, percent.parse().unwrap());
            assert_eq!(*value, expected, "{name} {percent}");
        }
        // The stages are the whole.
        let stages = summary["stages_ns"].as_object().unwrap().values();
        let sum: f64 = stages.map(|ns| ns.as_f64().unwrap()).sum();
        let mean = summary["lat_ns"]["mean"].as_f64().unwrap();
        assert!((sum - mean).abs() < 1.0, "{name}: {sum} {mean}");
    }
    let jobs = doc["jobs"][0].as_object().unwrap();
    assert_eq!(jobs["read"]["clat_ns"]["N"], of("Read")["count"]);
    // Jobs, stays on units, reads of dies and bytes on links are of commands that are there.
    assert!(!records.jobs.is_empty() && !records.links.is_empty());
    let ids: std::collections::BTreeSet<u64> = records.commands.iter().map(|r| r.id).collect();
    assert!(records.jobs.iter().all(|job| ids.contains(&job.command)));
    assert!(records.units.iter().all(|unit| ids.contains(&unit.job)));
    let reads = records.dies.iter().filter(|die| die.command != records::NO_COMMAND);
    assert!(reads.clone().count() > 100);
    for die in reads {
        assert!(ids.contains(&die.command));
        assert!(die.start_ns <= die.transfer_start_ns && die.transfer_end_ns <= die.end_ns);
    }
    // Dies' times in the records are those that are counted.
    let (first, last) = (&records.counters[0], records.counters.last().unwrap());
    let counted = last.dies_busy_ns - first.dies_busy_ns;
    let recorded: u64 = records.dies.iter().map(|die| die.end_ns - die.start_ns).sum();
    assert!(counted.abs_diff(recorded) * 100 <= counted, "{counted} {recorded}");
    // No part is busy for longer than time goes.
    for pair in records.counters.windows(2) {
        let time = pair[1].now_ns - pair[0].now_ns;
        let busy = |of: fn(&records::CounterRecord) -> u64| of(&pair[1]) - of(&pair[0]);
        assert!(busy(|c| c.dies_busy_ns) <= time * u64::from(last.dies));
        assert!(busy(|c| c.channels_busy_ns) <= time * u64::from(last.channels));
        assert!(busy(|c| c.units_busy_ns) <= time * u64::from(last.units));
        assert!(busy(|c| c.link_out_busy_ns) <= time && busy(|c| c.link_in_busy_ns) <= time);
    }
    let bytes: u64 = records.links.iter().filter(|l| l.path == 0).map(|l| l.bytes).sum();
    assert_eq!(bytes, last.bytes_to_host - first.bytes_to_host);
    let csv = files.path("stat.csv");
    assert_eq!(csdrive(&["stat", &folder, "--csv", &csv]).code, 0);
    let csv = String::from_utf8(files.get("stat.csv")).unwrap();
    let row = csv.lines().find(|line| line.contains(",Read,")).unwrap();
    let cell = row.split(',').nth(11).unwrap();
    assert_eq!(cell, of("Read")["lat_ns"]["percentile"]["99.000000"].to_string());
}

/// CSV and JSON have what the Parquet files have.
#[test]
fn records_are_the_same_in_every_form() {
    let files = Files::new();
    let folder = record(&files, "run", &[]);
    let all = all_of(&folder);
    for kind in records::Kind::ALL {
        let columns = kind.layout().columns();
        let export = |format: &str| {
            let ran = csdrive(&["export", &folder, "--kind", kind.name(), "--format", format]);
            assert_eq!(ran.code, 0, "{ran:?}");
            ran.stdout
        };
        let (csv, json) = (export("csv"), export("json"));
        let heads: Vec<&str> = csv.lines().next().unwrap().split(',').skip(1).collect();
        assert_eq!(heads, columns.iter().map(|column| &*column.name).collect::<Vec<_>>());
        let size = kind.layout().bytes;
        let (mut from_csv, mut from_json) = (Vec::new(), Vec::new());
        for (row, document) in csv.lines().skip(1).zip(json.lines()) {
            let document: serde_json::Value = serde_json::from_str(document).unwrap();
            let (mut a, mut b) = (vec![0; size], vec![0; size]);
            for (column, cell) in columns.iter().zip(row.split(',').skip(1)) {
                assert!(column.set(&mut a, cell.parse().unwrap()));
                assert!(column.set(&mut b, document[&column.name].as_u64().unwrap()));
            }
            from_csv.extend(a);
            from_json.extend(b);
        }
        assert!(from_csv == all.bytes(kind) && from_json == all.bytes(kind), "{}", kind.name());
    }
    let wrong = csdrive(&["export", &folder, "--kind", "dice"]);
    assert_eq!((wrong.code, wrong.stderr.contains("commands, jobs")), (2, true));
}

/// What fio-plot reads of a document of fio's (fiolib/jsonparsing_support.py).
#[test]
fn a_workload_writes_the_document_that_fio_would() {
    let files = Files::new();
    let workload = files.put("load.toml", WORKLOAD.as_bytes());
    let path = files.path("fio.json");
    let ran = csdrive(&["workload", &workload, "--json", "--fio", &path]);
    let report = ran.json();
    let fio: serde_json::Value = serde_json::from_slice(&files.get("fio.json")).unwrap();
    assert!(fio["fio version"].as_str().unwrap().starts_with("csdrive-"));
    let job = &fio["jobs"][0];
    let options = [("rw", "randrw"), ("iodepth", "8"), ("numjobs", "1"), ("bs", "4096")];
    options.iter().for_each(|(name, value)| assert_eq!(job["job options"][name], *value));
    for mode in ["read", "write"] {
        let (mine, theirs) = (&report["jobs"][0][mode], &job[mode]);
        assert_eq!(theirs["iops"], mine["iops"]);
        assert_eq!(theirs["bw"].as_u64().unwrap(), mine["bw_bytes"].as_u64().unwrap() / 1024);
        assert_eq!(theirs["lat_ns"]["percentile"], mine["lat_ns"]["percentile"]);
        assert!(theirs["iops_stddev"].as_f64().unwrap() > 0.0);
    }
    let classes = ["latency_ns", "latency_us", "latency_ms"];
    let shares = classes.iter().flat_map(|unit| job[*unit].as_object().unwrap().values());
    let sum: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 100.0).abs() < 0.001, "{sum}");
    // Executions are reads of chunks.
    assert_eq!(fio["jobs"][1]["read"]["total_ios"], report["jobs"][1]["execute"]["total_ios"]);
}

#[test]
fn recording_changes_nothing() {
    let files = Files::new();
    let workload = files.put("load.toml", WORKLOAD.as_bytes());
    let plain = csdrive(&["workload", &workload, "--json"]).json();
    let folder = files.path("run");
    let recorded = csdrive(&["workload", &workload, "--json", "--record", &folder]).json();
    assert_eq!(plain, recorded);
    let again = csdrive(&["workload", &workload, "--record", &folder]);
    assert_eq!((again.code, again.stderr.contains("not empty")), (2, true), "{again:?}");
}

#[test]
fn a_run_is_repeated_exactly_or_not_at_all() {
    let files = Files::new();
    let folder = record(&files, "run", &["seed=7", "flash.read_time=50us"]);
    let replayed = csdrive(&["replay", &folder, "--json"]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert_eq!(replayed.json()["same"], true);
    // Another trace hash in the document: something else happens now.
    let document = files.path("run/record.json");
    let text = std::fs::read_to_string(&document).unwrap();
    let hash = replayed.json()["trace_hashes"][0][0].as_str().unwrap().to_owned();
    std::fs::write(&document, text.replace(&hash, "0123456789abcdef")).unwrap();
    let other = csdrive(&["replay", &folder]);
    assert_eq!((other.code, other.stderr.contains("something else happened")), (1, true));
    // A document that wants something else to be run, or what was read has changed.
    std::fs::write(&document, text.replace("\"workload\"", "\"serve\"")).unwrap();
    let foreign = csdrive(&["replay", &folder]);
    assert_eq!((foreign.code, foreign.stderr.contains("not made by --record")), (2, true));
    std::fs::write(&document, &text).unwrap();
    files.put("load.toml", WORKLOAD.replace("70", "71").as_bytes());
    let changed = csdrive(&["replay", &folder]);
    assert_eq!((changed.code, changed.stderr.contains("changed since")), (2, true), "{changed:?}");
}

#[test]
fn programs_and_the_demo_are_repeated_too() {
    let files = Files::new();
    let input = files.put("in", &[7; 100_000]);
    let (run, demo) = (files.path("run"), files.path("demo"));
    let program = example("histogram.bpf.o");
    let ran =
        csdrive(&["run", &program, "--input", &input, "--output-size", "2KiB", "--record", &run]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(csdrive(&["demo", "--scale", "0.01", "--record", &demo]).code, 0);
    for folder in [&run, &demo] {
        let replayed = csdrive(&["replay", folder]);
        assert_eq!(replayed.code, 0, "{replayed:?}");
        assert!(csdrive(&["stat", folder]).stdout.contains("Execute Program"));
    }
}

/// A record of somebody else's: what it names is not written, and nothing is reached.
#[test]
fn a_record_cannot_make_its_reader_do_more_than_simulate() {
    let files = Files::new();
    let folder = record(&files, "run", &[]);
    let document = files.path("run/record.json");
    let sound: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&document).unwrap()).unwrap();
    let victim = files.put("victim", b"precious");
    let workload = files.path("load.toml");
    for more in [
        vec!["--csv", &victim],
        vec![&format!("--fio={victim}")],
        vec!["--set", "compute.runtime_server=tcp://127.0.0.1:1"],
        vec!["--device", "/tmp/x"],
        vec!["--record", &victim],
    ] {
        let mut hostile = sound.clone();
        let command = [vec!["csdrive", "workload", &workload], more.clone()].concat();
        hostile["command"] = command.into();
        std::fs::write(&document, hostile.to_string()).unwrap();
        let ran = csdrive(&["replay", &folder]);
        assert_eq!(
            (ran.code, ran.stderr.contains("only if it neither")),
            (2, true),
            "{more:?} {ran:?}"
        );
    }
    assert_eq!(files.get("victim"), b"precious");
    // A run that was there is not taken for the new one; escapes are shown, not done.
    let mut strange = sound;
    strange["drives"][0]["serial"] = "\u{1b}[31mRED".into();
    std::fs::write(&document, strange.to_string()).unwrap();
    let other = record(&files, "other", &[]);
    let taken = csdrive(&["replay", &other, "--record", &folder]);
    assert_eq!((taken.code, taken.stderr.contains("not empty")), (2, true), "{taken:?}");
    assert!(!csdrive(&["stat", &folder]).stdout.contains('\u{1b}'));
}

/// A part of a run is never busy for longer than the run, whatever was recorded before and after.
#[test]
fn shares_of_every_recorded_command_are_shares() {
    let files = Files::new();
    let input = files.put("in", &[7; 100_000]);
    let (run, demo, output) = (files.path("run"), files.path("demo"), files.path("out"));
    let program = example("double.bpf.o");
    let line = ["run", &program, "--input", &input, "--record", &run, "--output", &output];
    assert_eq!(csdrive(&line).code, 0);
    assert_eq!(csdrive(&["demo", "--scale", "0.01", "--record", &demo]).code, 0);
    for folder in [&run, &demo] {
        let doc = csdrive(&["stat", folder, "--json"]).json();
        let drive = &doc["drives"][0];
        let mean = |name: &str| {
            let shares: Vec<f64> =
                drive[name].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{name}: {shares:?}");
            shares.iter().sum::<f64>() / shares.len() as f64
        };
        for name in ["dies_busy", "channels_busy", "units_busy"] {
            let counted = drive["drive"][name].as_f64().unwrap();
            assert!((mean(name) - counted).abs() < 0.01, "{name}: {} {counted}", mean(name));
        }
        // What the host reads of device memory is part of the run.
        let replayed = csdrive(&["replay", folder]);
        assert_eq!(replayed.code, 0, "{replayed:?}");
    }
}

#[test]
fn what_became_slower_is_explained() {
    let files = Files::new();
    let before = record(&files, "before", &[]);
    let after = record(&files, "after", &["flash.read_time=80us"]);
    let doc = csdrive(&["compare", &before, &after, "--json"]).json();
    let differences = doc["differences"].as_array().unwrap();
    let key = differences.iter().find(|one| one["what"] == "flash.read_time").unwrap();
    assert_eq!((&key["before"], &key["after"]), (&"40000".into(), &"80000".into()));
    assert_eq!(doc["same_trace"], false);
    let text = doc["drives"][0]["explanations"].to_string();
    assert!(text.contains("Read: ") && text.contains("slower: reading flash +"), "{text}");
    let same = csdrive(&["compare", &before, &before]);
    assert!(same.stdout.starts_with("The same happened"), "{same:?}");
    let none = csdrive(&["compare", &before, &files.path("nowhere")]);
    assert_eq!((none.code, none.stderr.contains("no recorded run")), (2, true), "{none:?}");
}

#[test]
fn a_page_and_a_timeline_are_made_of_a_run() {
    let files = Files::new();
    let folder = record(&files, "run", &[]);
    let (page, trace) = (files.path("page.html"), files.path("trace.json"));
    assert_eq!(csdrive(&["report", &folder, &folder, "-o", &page]).code, 0);
    let page = String::from_utf8(files.get("page.html")).unwrap();
    for part in
        ["Comparison", "Latency", "Where the time went", "Utilisation", "Write amplification"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("src=") && !page.contains("<link") && !page.contains("<script"));
    assert_eq!(csdrive(&["trace", &folder, "-o", &trace]).code, 0);
    let events: serde_json::Value = serde_json::from_slice(&files.get("trace.json")).unwrap();
    let events = events["traceEvents"].as_array().unwrap();
    let count = |ph: &str| events.iter().filter(|event| event["ph"] == ph).count();
    assert!(count("X") > 1000 && count("s") == count("f") && count("s") > 100);
    // A part of the time.
    let part = ["trace", &folder, "-o", &trace, "--from", "5ms", "--to", "6ms"];
    assert_eq!(csdrive(&part).code, 0);
    let fewer: serde_json::Value = serde_json::from_slice(&files.get("trace.json")).unwrap();
    assert!(fewer["traceEvents"].as_array().unwrap().len() < events.len() / 3);
}

#[test]
fn where_the_drive_wins_is_where_it_wins() {
    let demo = |set: &[&str]| {
        let mut arguments = vec!["demo", "--scale", "0.01", "--json"];
        set.iter().for_each(|key| arguments.extend(["--set", key]));
        csdrive(&arguments).json()
    };
    let is_won = |set: &str| {
        let doc = demo(&[set]);
        doc["device"]["time_ns"].as_u64() < doc["host"]["time_ns"].as_u64()
    };
    let doc = demo(&[]);
    let clock = doc["drive_wins"]["clock_hz_from"].as_f64().unwrap();
    let link = doc["drive_wins"]["link_bytes_per_s_to"].as_f64().unwrap();
    let mhz = |factor: f64| format!("compute.clock={}MHz", (clock * factor / 1e6) as u64);
    let rate = |factor: f64| format!("link.bandwidth={}MB/s", (link * factor / 1e6) as u64);
    assert!(is_won(&mhz(1.02)) && !is_won(&mhz(0.98)), "{clock}");
    assert!(is_won(&rate(0.98)) && !is_won(&rate(1.02)), "{link}");
    // More cores of the host, or better ones, look at a chunk sooner.
    let slow =
        csdrive(&["demo", "--scale", "0.05", "--json", "--host-core", "riscv-rocket"]).json();
    let fast = csdrive(&["demo", "--scale", "0.05", "--json"]).json();
    assert!(slow["host"]["time_ns"].as_u64() > fast["host"]["time_ns"].as_u64());
    assert_eq!(slow["device"], fast["device"]);
}

/// A drive that is served with records.
fn with_records(name: &str) -> (Served, String) {
    let serial = format!("{name}{}", std::process::id());
    (Served::with(&["--records"], &[&format!("drive.serial={serial}")]), serial)
}

#[test]
fn a_live_drive_is_summed_up_recorded_and_drawn() {
    let (served, serial) = with_records("LIVE");
    let files = Files::new();
    let load = files.put(
        "live.toml",
        b"runtime = \"4s\"\n[[job]]\nname = \"r\"\nrw = \"randread\"\niodepth = 2\nsize = \"1MiB\"\nrate_iops = 500\n",
    );
    let mut worker = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["workload", &load, "--device"])
        .arg(served.socket())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let folder = files.path("live");
    let recorded = csdrive(&["record", &serial, "--to", &folder, "--seconds", "1"]);
    assert_eq!(recorded.code, 0, "{recorded:?}");
    let doc = csdrive(&["stat", &serial, "--seconds", "0.5", "--json"]).json();
    let elapsed = doc["drives"][0]["elapsed_ns"].as_u64().unwrap();
    assert!((500_000_000..700_000_000).contains(&elapsed), "{elapsed}");
    assert_eq!(doc["drives"][0]["serial"], serial.as_str());
    assert!(doc["drives"][0]["commands"][0]["count"].as_u64().unwrap() > 20, "{doc:#}");
    // A picture in a terminal of its own.
    let top = format!("{} top {serial} --count 2 --interval 0.3", env!("CARGO_BIN_EXE_csdrive"));
    let picture = Command::new("script")
        .args(["-qec", &format!("stty rows 36 cols 120; {top}"), "/dev/null"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&picture.stdout);
    assert!(picture.status.success() && text.contains("units:"), "{text}");
    assert!(worker.wait().unwrap().success());
    let records = all_of(&folder);
    let reads = records.commands.iter().filter(|record| record.opcode == 2).count();
    assert!((300..800).contains(&reads), "{reads}");
    assert!(records.counters.len() > 10);
    // Without a terminal there is none.
    let none = csdrive(&["top", &serial, "--count", "1"]);
    assert_eq!((none.code, none.stderr.contains("no terminal")), (2, true));
    let nobody = csdrive(&["stat", "NOBODY", "--seconds", "0.1"]);
    assert_eq!((nobody.code, nobody.stderr.contains("--records")), (2, true));
}

/// A request to the metrics, and what comes of it.
fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn metrics_are_served_to_whoever_asks() {
    let (served, serial) = with_records("METRICS");
    let mut listening = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["stat", &serial, "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stderr = listening.stderr.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stderr), &mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let file = served.folder().join("bytes");
    std::fs::write(&file, vec![7; 1 << 16]).unwrap();
    let wrote = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["blocks", "write", "--block", "0", "--file"])
        .args([&file, &served.socket()])
        .output()
        .unwrap();
    assert!(wrote.status.success(), "{wrote:?}");
    let get = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let written = format!(
        "csdrive_command_bytes_total{{drive=\"{serial}\",command=\"Write\",queue=\"io\"}} 65536"
    );
    let began = Instant::now();
    while !ask(&address, get).contains(&written) {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", ask(&address, get));
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = ask(&address, get);
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("csdrive_up"), "{text}");
    // Every line is a comment or a number.
    for line in text.split("\r\n\r\n").nth(1).unwrap().lines().filter(|line| !line.starts_with('#'))
    {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("csdrive_") && value.parse::<f64>().is_ok(), "{line}");
    }
    // Others get an answer or none, and keep nobody from theirs.
    assert!(ask(&address, b"GET / HTTP/1.1\r\n\r\n").contains("404"));
    assert!(ask(&address, b"DELETE /metrics HTTP/1.1\r\n\r\n").contains("405"));
    assert_eq!(ask(&address, &[0xFF; 20_000]), "");
    let _silent = TcpStream::connect(&address).unwrap();
    assert!(ask(&address, get).contains("200 OK"));
    listening.kill().unwrap();
    listening.wait().unwrap();
}
