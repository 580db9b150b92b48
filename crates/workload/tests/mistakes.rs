//! Mistakes in files: one line that names the line, the key and the remedy.

use std::path::Path;

use workload::{Plan, Simulated, run};

fn mistake(text: &str, set: &[&str]) -> String {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let plan = match Plan::parse("file.toml", text, folder, &set) {
        Ok(plan) => plan,
        Err(error) => return error.to_string(),
    };
    let open = |_| simulator::open(controller::Config::default(), 0, 64).unwrap();
    let drives = (0..plan.drive_count()).map(open).collect();
    match run(&plan, &mut Simulated::new(drives), &mut |_| {}) {
        Ok(_) => panic!("nothing is wrong with {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_mistake_is_named() {
    let job = |lines: &str| format!("runtime = '1ms'\n\n[[job]]\nname = 'x'\n{lines}");
    let reader = |lines: &str| job(&format!("rw = 'randread'\n{lines}"));
    let program = |lines: &str| job(&format!("program = 'declared'\ntime = '1us'\n{lines}"));
    let cases = [
        ("runtime = '1ms'\n".to_owned(), 1, "[[job]]"),
        ("runtime = 5\n[[job]]\nrw = 'read'".to_owned(), 1, "runtime"),
        ("[[job]]\nrw = 'read'\n".to_owned(), 1, "runtime = \"100ms\""),
        ("x = = 1".to_owned(), 1, ""),
        (job(""), 3, "rw ="),
        (job("rw = 'sideways'\n"), 5, "sideways: choose read"),
        (reader("bs = '4q'\n"), 6, "bs"),
        (reader("blocksize = '4KiB'\n"), 6, "unknown key \"blocksize\""),
        (reader("iodepth = 0\n"), 6, "choose 1 to 1024"),
        (
            reader("iodepth = 'x'\n"),
            6,
            "iodepth: invalid type: string \"x\", expected a whole number",
        ),
        (reader("group = 3\n"), 6, "{ weight = 300 }"),
        (
            "runtime = '1s'\n[drive]\ncount = 2\n[[job]]\nrw = 'read'".to_owned(),
            2,
            "write [[drive]]",
        ),
        (reader("iodepth = 5000\n"), 6, "choose 1 to 1024"),
        (reader("numjobs = 0\n"), 6, "numjobs"),
        (reader("numjobs = 1024\niodepth = 1024\n[[job]]\nrw = 'read'\n"), 7, "in flight"),
        (reader("drives = [1]\n"), 6, "there are 1"),
        (reader("rate_iops = -4\n"), 6, "more than 0"),
        (reader("rate_process = 'poisson'\n"), 6, "rate_iops"),
        (reader("rate_process = 'sometimes'\n"), 6, "rate_process"),
        (reader("random_distribution = 'zipf:x'\n"), 6, "zipf:1.2"),
        (reader("random_distribution = 'zoned:50/50:20/50'\n"), 6, "100 together"),
        (reader("bssplit = '4KiB/50:8KiB/49'\n"), 6, "100 together"),
        (reader("bssplit = '4KiB/100'\nbs = '4KiB'\n"), 7, "one of bs and bssplit"),
        (reader("rwmixread = 50\n"), 6, "rwmixread"),
        (reader("size = '1KiB'\n"), 6, "smaller than an operation"),
        (reader("runtime = '1s'\nio_size = '1MiB'\n"), 6, "one of runtime"),
        (reader("number_ios = 0\n"), 6, "nothing would be done"),
        (reader("trace = 'nowhere.csv'\n"), 6, "nowhere.csv"),
        (reader("output = 'host'\n"), 6, "without a program"),
        (reader("assert = ['p99 < banana']\n"), 6, "banana"),
        (reader("assert = ['latency < 1ms']\n"), 6, "latency: unknown"),
        (job("program = 'declared'\n"), 5, "time ="),
        (job("program = 'x.o'\ntime = '1us'\n"), 6, "declared"),
        (program("rw = 'write'\n"), 7, "read or randread"),
        (program("output_ratio = 99\n"), 7, "0 to 16"),
        (program("output_size = '4GiB'\n"), 7, "at most 4294967292"),
        (program("bs = '4GiB'\n"), 7, "at most 4294967292"),
        (program("input = 'memory'\nfill = true\n"), 8, "does not come from blocks"),
        (program("input = 'memory'\nsize = '1MiB'\n"), 8, "does not come from blocks"),
        (program("input = 'memory'\noffset = '1MiB'\n"), 8, "does not come from blocks"),
        (program("input = 'memory'\nrw = 'randread'\n"), 8, "does not come from blocks"),
        (reader("param1 = 3\n"), 6, "without a program"),
        (reader("drives = [0, 0]\n"), 6, "0 twice"),
        (reader("trace = 'x.csv'\nbs = '4KiB'\n"), 7, "the trace says"),
        (reader("trace_wrap = true\n"), 6, "give trace, too"),
        (reader("trace = 'x.csv'\ntrace_speed = 0.0\n"), 7, "choose 0.000001"),
        (reader("trace = 'x.csv'\nrate_process = 'linear'\n"), 7, "the trace says"),
        (program("stream = { chunk = '3KiB' }\n"), 7, "multiple"),
        (program("stream = { chunk = '4KiB', in_flight = 0 }\n"), 7, "1 to 64"),
        (program("stream = { chunk = '4KiB', late = true }\n"), 7, "late"),
        (program("compound = 'yes'\n"), 7, "{ early = true }"),
        (program("compound = true\ndata = 'x'\n"), 8, "no room"),
        (program("compound = true\ninput = 'host'\n"), 8, "from the flash"),
        (program("compound = true\noutput = 'flash'\n"), 8, "to the host"),
        (
            program("compound = true\nstream = { chunk = '4KiB' }\n"),
            7,
            "one of stream and compound",
        ),
        (program("input = 'peer'\n"), 7, "from_drive = 0"),
        (program("input = 'peer'\nfrom_drive = 3\n"), 8, "there are 1"),
        (program("input = 'peer'\nfrom_drive = 0\n"), 8, "other drives"),
        (program("from_drive = 0\n"), 7, "input = \"peer\""),
        (program("on = 'host'\n"), 7, "host_bandwidth ="),
        (job("on = 'host'\nbandwidth = '1GB/s'\n"), 5, "host_bandwidth ="),
        (reader("bandwidth = '1GB/s'\n"), 6, "without a program"),
        (reader("host_bandwidth = '1GB/s'\n"), 6, "on = \"host\""),
        (program("group = { weigth = 3 }\n"), 7, "weigth"),
        (program("group = { priority = 12 }\n"), 7, "choose 1 to 9"),
        (program("group = { weight = 0 }\n"), 7, "choose 1 to 1000"),
        (format!("{}[[job]]\nname = 'x'\nrw = 'read'\n", reader("")), 7, "two of it"),
        (format!("assert = ['y.p99 < 1ms']\n{}", reader("")), 1, "no job has the name y"),
        (format!("assert = ['p99 < 1ms']\n{}", reader("")), 1, "of which job"),
        (format!("{}[[drive]]\ncount = 0\n", reader("")), 7, "0 drives"),
        (format!("{}[[drive]]\ncount = 100000\n", reader("")), 7, "choose 1 to 1024"),
        (format!("{}[host]\ncores = 0\n", reader("")), 7, "cores = 0"),
        (format!("{}[host]\ncores = 4294967295\n", reader("")), 7, "choose 1 to 65536"),
    ];
    for (text, line, says) in cases {
        let error = mistake(&text, &[]);
        assert!(error.starts_with(&format!("file.toml: line {line}: ")), "{text}\n{error}");
        assert!(error.contains(says) && !error.contains('\n'), "{text}\n{error}");
    }
}

#[test]
fn what_does_not_fit_the_drive_is_named() {
    let job = |lines: &str| format!("runtime = '1ms'\n[[job]]\nname = 'x'\n{lines}");
    for (lines, says) in [
        ("rw = 'read'\nbs = '1KiB'\n", "bs = 1024: choose a multiple of a block"),
        ("rw = 'read'\noffset = '1KiB'\n", "offset = 1024: choose a multiple"),
        ("rw = 'read'\noffset = '100TiB'\n", "smaller offset"),
        ("rw = 'read'\nsize = '100TiB'\n", "smaller offset or size"),
        ("program = 'nowhere.bpf.o'\n", "nowhere.bpf.o"),
        ("program = 'declared'\ntime = '1us'\niodepth = 1024\nbs = '16MiB'\n", "memory.size"),
        ("rw = 'read'\nfile = 'nowhere.bin'\n", "nowhere.bin"),
        (
            "rw = 'read'\nfile = 'Cargo.toml'\nbs = '4KiB'\nsize = '4KiB'\noffset = '100TiB'\n",
            "smaller offset",
        ),
        ("program = 'declared'\ntime = '1us'\noutput = 'flash'\n", "beyond the namespace"),
    ] {
        let error = mistake(&job(lines), &[]);
        assert!(error.starts_with("file.toml: line 2: job x: "), "{lines}\n{error}");
        assert!(error.contains(says), "{lines}\n{error}");
    }
}

/// Files of traces, and rates that no drive keeps.
#[test]
fn what_no_drive_can_do_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = |trace: &str, job: &str| {
        std::fs::write(folder.path().join("trace.csv"), trace).unwrap();
        let text = format!("[[job]]\nname = 'x'\n{job}");
        let plan = Plan::parse("file.toml", &text, folder.path(), &[]).unwrap();
        let drive = simulator::open(controller::Config::default(), 0, 64).unwrap();
        run(&plan, &mut Simulated::new(vec![drive]), &mut |_| {}).unwrap_err().to_string()
    };
    let traced = "trace = 'trace.csv'\n";
    for (trace, says) in [
        ("0,R,0,4096\n1,R,100,4096\n", "operation 2: 4096 bytes at 100 are no whole blocks"),
        ("0,R,0,5\n", "operation 1: 5 bytes at 0 are no whole blocks"),
        ("0,W,1099511627776,4096\n", "not in the namespace"),
        ("0,R,18446744073709547520,8192\n", "not in the namespace"),
    ] {
        let error = run(trace, traced);
        assert!(
            error.starts_with("file.toml: line 1: job x: trace: ") && error.contains(says),
            "{error}"
        );
    }
    let program = "program = 'declared'\ntime = '1us'\nbs = '4KiB'\ntrace = 'trace.csv'\n";
    assert!(run("0,R,0,8192\n", program).contains("no chunk of the program"));
    let error = run("", "rw = 'randread'\niodepth = 1\nrate_iops = 1000000000\nruntime = '1s'\n");
    assert!(error.contains("arrive faster"), "{error}");
}

#[test]
fn assignments_change_the_file() {
    let text = "runtime = '1ms'\n[[job]]\nname = 'x'\nrw = 'read'\n[[job]]\nrw = 'read'\n";
    let folder = Path::new(".");
    let parse = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        Plan::parse("file.toml", text, folder, &set)
    };
    assert_eq!(parse(&["seed=9"]).unwrap().seed, 9);
    for (set, says) in [
        ("job.y.bs=4KiB", "no job has the name y"),
        ("job.x.bs", "KEY=VALUE"),
        ("job.x.bs=4q", "4q"),
        ("job.*.nonsense=1", "nonsense"),
        ("banana=1", "banana"),
        ("job.x.iodepth=0", "1 to 1024"),
        ("drive.set.a.b.c.d.e.f.g.h=1", "at most 8 parts"),
    ] {
        let error = parse(&[set]).unwrap_err().to_string();
        assert!(error.contains(says), "{set}: {error}");
    }
    parse(&[
        "job.x.bs=8KiB",
        "job.job2.iodepth=4",
        "job.*.runtime=2ms",
        "host.cores=2",
        "drive.count=3",
    ])
    .unwrap();
}
