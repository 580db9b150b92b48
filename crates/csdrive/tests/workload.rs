//! `csdrive workload`, sweeps over it, and the experiments that are shipped.

#[path = "harness/lib.rs"]
mod harness;
#[path = "served/mod.rs"]
mod served;

use std::path::Path;
use std::process::Command;

use harness::{csdrive, root};
use serde_json::Value;
use served::Served;

const WORKLOAD: &str = r#"
runtime = "20ms"

[[job]]
name = "reader"
rw = "randread"
iodepth = 4
assert = ["p99 < 10ms"]

[[job]]
name = "scan"
program = "declared"
time = "100us"
bs = "64KiB"
output_ratio = 0.5
"#;

fn document(args: &[&str]) -> Value {
    let ran = csdrive(args);
    assert!(ran.code == 0, "{args:?}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("workload.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn results_are_printed_written_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), WORKLOAD);
    let [csv, svg] = ["out.csv", "out.svg"].map(|name| folder.path().join(name));
    let (csv_path, svg_path) = (csv.display().to_string(), svg.display().to_string());
    let ran = csdrive(&["workload", &file, "--csv", &csv_path, "--plot", &svg_path]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for word in ["reader", "scan", "execute", "p99.9", "units", "virtual time"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    let csv = std::fs::read_to_string(csv).unwrap();
    assert_eq!(csv.lines().count(), 3);
    assert!(csv.lines().all(|line| line.split(',').count() == 15), "{csv}");
    assert!(std::fs::read_to_string(svg).unwrap().contains("scan execute"));
    let document = document(&["workload", &file, "--json"]);
    let read = &document["jobs"][0]["read"];
    assert_eq!(read["total_ios"].as_u64(), read["clat_ns"]["N"].as_u64());
    assert!(read["clat_ns"]["percentile"]["99.000000"].as_u64() > Some(10_000));
    assert_eq!(document["drives"][0]["late"]["commands"], 0);
}

#[test]
fn what_does_not_hold_or_is_wrong_has_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &WORKLOAD.replace("p99 < 10ms", "p99 < 1us"));
    let ran = csdrive(&["workload", &path]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("reader: p99 < 1us does not hold"), "{}", ran.stderr);
    assert!(ran.stdout.contains("reader"), "the table is there all the same");
    let path = file(folder.path(), &WORKLOAD.replace("iodepth", "io_depth"));
    let ran = csdrive(&["workload", &path]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("line 7") && ran.stderr.contains("io_depth"), "{}", ran.stderr);
    let path = file(folder.path(), WORKLOAD);
    for (set, says) in [
        ("job.nobody.bs=1", "no job"),
        ("compute.units=0", "compute.units"),
        ("compute.unit=1", "compute.unit"),
    ] {
        let ran = csdrive(&["workload", &path, "--set", set]);
        assert!(ran.code == 2 && ran.stderr.contains(says), "{set}: {}", ran.stderr);
    }
    let ran = csdrive(&["workload", &path, "--device", "/nonexistent"]);
    assert!(ran.code == 2 && ran.stderr.contains("/nonexistent"), "{}", ran.stderr);
}

/// The same file against a drive that is served. It says how late it was, if it was; that it is near is for an idle machine.
#[test]
fn a_served_drive_takes_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), &WORKLOAD.replace("20ms", "300ms"));
    let served = Served::new(&[]);
    let socket = served.socket().display().to_string();
    let real = document(&["workload", &file, "--json", "--device", &socket]);
    // What it made there is gone again.
    let programs = document(&["program", "list", &socket, "--json"]);
    assert_eq!(programs["programs"], Value::Array(Vec::new()), "{programs}");
    let virtually = document(&["workload", &file, "--json"]);
    assert_eq!((&real["clock"], &virtually["clock"]), (&"real".into(), &"virtual".into()));
    for (job, kind) in [(0, "read"), (1, "execute")] {
        let count = |document: &Value| document["jobs"][job][kind]["total_ios"].as_f64().unwrap();
        let (real, virtually) = (count(&real), count(&virtually));
        println!("{kind}: {real} in real time, {virtually} in virtual time");
        // One may be faster if the machine keeps the other from its times.
        assert!(real > 0.0 && real < 2.0 * virtually, "{real} {virtually}");
    }
    let drive = &real["drives"][0];
    assert!(drive["commands"].as_u64() > Some(100) && drive["late"]["tolerance_ns"] == 3000);
}

/// Two drives of one server: a copy from one to the other crosses the links of both, and not the host's side.
#[test]
fn a_copy_between_served_drives_does_not_pass_the_host() {
    let served = Served::with(&["--count", "2"], &[]);
    let first = served.socket().display().to_string();
    let second = format!("{first}-2");
    let numbers: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let file = served.folder().join("numbers.bin");
    std::fs::write(&file, &numbers).unwrap();
    let put = ["memory", "write", "--start", "4096", "--file", &file.display().to_string(), &first];
    let ran = csdrive(&put);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let peers = document(&["memory", "peers", &second, "--json"]);
    assert_eq!(
        (&peers["peers"][0]["own"], &peers["peers"][1]["own"]),
        (&false.into(), &true.into())
    );
    let stat = |drive: &str| document(&["stat", drive, "--json"]);
    let (from_before, to_before) = (stat(&first), stat(&second));
    let copy = ["--from", "4096", "--length", "1000000", "--start", "8192", "--from-drive"];
    let ran = csdrive(&[&["memory", "copy"], &copy[..], &["0", &second]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (from, to) = (stat(&first), stat(&second));
    let grown = |after: &Value, before: &Value, what: &str| {
        after["bytes"][what].as_u64().unwrap() - before["bytes"][what].as_u64().unwrap()
    };
    assert_eq!(grown(&to, &to_before, "from_peers"), 1_000_000);
    assert_eq!(grown(&from, &from_before, "to_peers"), 1_000_000);
    for what in ["to_host", "from_host"] {
        // Identify pages, log pages, one source entry.
        assert!(grown(&to, &to_before, what) < 200_000, "{what}: {to}");
        assert!(grown(&from, &from_before, what) < 200_000, "{what}: {from}");
    }
    let back = served.folder().join("back.bin");
    let get = ["memory", "read", "--start", "8192", "--length", "1000000", "--file"];
    let ran = csdrive(&[&get[..], &[&back.display().to_string(), &second]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(std::fs::read(back).unwrap() == numbers);
    // A drive that is not there, and its own number.
    for number in ["7", "1"] {
        let ran = csdrive(&[&["memory", "copy"], &copy[..], &[number, &second]].concat());
        assert!(ran.code == 1 && ran.stderr.contains("Invalid"), "{number}: {}", ran.stderr);
    }
}

/// CEMU's kernels: what they return is what they should, wherever outputs go and however many drives there are.
#[test]
fn kernels_of_the_suite_are_right() {
    let common = ["bench", "suite", "--json", "--chunk", "64KiB", "--file", "1MiB"];
    for options in
        [&["--drives", "2"][..], &["--output", "flash", "--in-flight", "2"], &["--interference"]]
    {
        let document = document(&[&common[..], options].concat());
        let kernels = document["kernels"].as_array().unwrap();
        assert_eq!(kernels.len(), 5);
        for kernel in kernels.iter().filter(|kernel| kernel["kernel"] != "lz4") {
            assert_eq!(kernel["is_right"], true, "{options:?} {kernel}");
        }
    }
    // One unit at 1 GB/s, and nothing else that is slower.
    let declared =
        ["--kernel", "vadd", "--bandwidth", "1GB/s", "--file", "64MiB", "--set", "compute.units=1"];
    let document =
        document(&[&["bench", "suite", "--json", "--chunk", "1MiB"], &declared[..]].concat());
    let rate = document["kernels"][0]["bytes_per_s"].as_f64().unwrap() / 1e9;
    assert!((rate - 1.0).abs() < 0.02, "{rate}");
}

/// Also of one drive: a MiB takes at least a tenth of a second of a switch of 10 MB/s, and not of the drive's own link.
#[test]
fn the_switch_of_a_server_bounds_a_drive_that_is_alone() {
    let served = Served::with(&["--switch-bandwidth", "10MB/s"], &[]);
    let folder = tempfile::tempdir().unwrap();
    let text = "[[job]]\nrw = 'read'\nbs = '1MiB'\nnumber_ios = 3\n";
    let socket = served.socket().display().to_string();
    let read = document(&["workload", &file(folder.path(), text), "--json", "--device", &socket]);
    let least = read["jobs"][0]["read"]["lat_ns"]["min"].as_u64().unwrap();
    assert!(least >= 104_857_600, "{least}");
}

/// Each of several drives gets the same service from the host, however fast others are.
#[test]
fn served_drives_are_served_alike() {
    let served = Served::with(&["--count", "2"], &[]);
    let first = served.socket().display().to_string();
    let second = format!("{first}-2");
    let folder = tempfile::tempdir().unwrap();
    let text = "runtime = '300ms'\n[[drive]]\ncount = 2\n[[job]]\nname = 'a'\ndrives = [0]\nrw = 'randread'\niodepth = 8\n[[job]]\nname = 'b'\ndrives = [1]\nrw = 'randread'\niodepth = 8\n";
    let file = file(folder.path(), text);
    let document =
        document(&["workload", &file, "--json", "--device", &first, "--device", &second]);
    let count = |job: usize| document["jobs"][job]["read"]["total_ios"].as_f64().unwrap();
    assert!((0.1..10.0).contains(&(count(0) / count(1))), "{} and {}", count(0), count(1));
}

#[test]
fn sweeps_vary_what_a_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), WORKLOAD);
    let results = folder.path().join("results.jsonl").display().to_string();
    let svg = folder.path().join("sweep.svg");
    let args = [
        "sweep",
        &file,
        "--vary",
        "job.reader.iodepth=1,2,4",
        "--vary",
        "drive.count=1,2",
        "--results",
        &results,
        "--plot",
        &svg.display().to_string(),
    ];
    let ran = csdrive(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("jobs.reader.read.lat_ns.p99"), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 7);
    // What was done is done, and what has changed is not the same.
    assert_eq!(csdrive(&args).stdout, ran.stdout);
    std::fs::write(&file, WORKLOAD.replace("20ms", "10ms")).unwrap();
    let changed = csdrive(&args);
    assert!(changed.code == 2 && changed.stderr.contains("has changed"), "{}", changed.stderr);
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.contains("drive.count 2") && svg.contains("job.reader.iodepth"));
}

/// All of them, their figures, and what each is to show.
#[test]
fn shipped_experiments_show_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let [figures, results] = ["figures", "results"].map(|name| folder.path().join(name));
    let csdrive = Path::new(env!("CARGO_BIN_EXE_csdrive")).parent().unwrap();
    let path = format!("{}:{}", csdrive.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .arg(root().join("experiments/figures.sh"))
        .args([&figures, &results])
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut drawn = 0;
    for entry in std::fs::read_dir(root().join("experiments")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let figure = Path::new(path.file_stem().unwrap()).with_extension("svg");
            assert!(figures.join(&figure).exists(), "{figure:?}");
            let kept = root().join("docs/figures").join(&figure);
            assert!(kept.exists(), "{kept:?}: run sh experiments/figures.sh");
            drawn += 1;
        }
    }
    assert!(drawn >= 8);
    // The lines of an experiment: settings by the ends of their keys, and a number of the document.
    let of = |name: &str, settings: &[&str], place: &str| -> f64 {
        let text = std::fs::read_to_string(results.join(name).with_extension("jsonl")).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let is = |line: &&Value| {
            settings.iter().all(|setting| {
                let (key, value) = setting.split_once('=').unwrap();
                line["settings"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .any(|(k, v)| k.ends_with(key) && v == value)
            })
        };
        let line = lines.iter().find(is).unwrap_or_else(|| panic!("{name} {settings:?}"));
        line["document"].pointer(place).unwrap().as_f64().unwrap()
    };
    let rate = "/jobs/0/execute/bw_bytes";
    // Selective scans are for the drive; the link carries as much of one that returns everything.
    let scan = |ratio, on| of("pushdown", &[&format!("ratio={ratio}"), &format!("on={on}")], rate);
    assert!(scan("0.01", "drive") > 1.4 * scan("0.01", "host"));
    assert!((scan("1.0", "drive") / scan("1.0", "host") - 1.0).abs() < 0.01);
    // Two commands less, and what they cost the host (5 us each) and the link; an early run saves more.
    let lat = |bs, compound| {
        let settings = [&format!("bs={bs}")[..], &format!("compound={compound}")];
        of("compound", &settings, "/jobs/0/execute/lat_ns/mean")
    };
    for bs in ["4KiB", "64KiB", "1MiB"] {
        let saved = lat(bs, "false") - lat(bs, "true");
        assert!((12_000.0..12_100.0).contains(&saved), "{bs}: {saved}");
    }
    assert!(lat("1MiB", "{early=true}") < 0.9 * lat("1MiB", "true"));
    // Eight drives do eight times as much; the host's processors are the same.
    let scale = |count, on| of("scale", &[&format!("count={count}"), &format!("on={on}")], rate);
    let gain = scale("8", "drive") / scale("1", "drive");
    assert!(gain >= 7.5, "{gain}");
    assert!(scale("16", "host") < 1.01 * scale("8", "host"));
    // FLAX: with memory for all of it, or for what is used often, the host wins.
    let flax = |memory, on, skew| {
        let settings =
            [format!("memory={memory}"), format!("on={on}"), format!("distribution={skew}")];
        of("host_memory", &settings.each_ref().map(|s| s.as_str()), rate)
    };
    assert!(flax("0MiB", "drive", "random") > flax("0MiB", "host", "random"));
    assert!(flax("256MiB", "host", "random") > flax("256MiB", "drive", "random"));
    assert!(flax("32MiB", "host", "zipf:1.2") > flax("32MiB", "drive", "zipf:1.2"));
    // Urgent jobs do not wait behind long ones.
    let p99 = |policy| {
        of(
            "schedulers",
            &[&format!("policy={policy}")],
            "/jobs/0/execute/lat_ns/percentile/99.000000",
        )
    };
    assert!(10.0 * p99("priority") < p99("fifo"));
    let amplification = |spare| {
        let settings = ["rate_iops=2000", &format!("provisioning={spare}")].map(str::to_owned);
        of("collection", &settings.each_ref().map(|s| s.as_str()), "/drives/0/write_amplification")
    };
    assert!(amplification("15%") > 1.5 * amplification("28%"));
}
