//! The command line, end to end, with the committed example objects: no clang needed.

#[path = "harness/lib.rs"]
mod harness;

use std::process::Command;

use harness::{Files, csdrive, example, ints, longs, root, to_longs};
use serde_json::Value;

/// Runs an example with --json and more arguments; it must succeed.
fn run(program: &str, arguments: &[&str]) -> Value {
    let program = example(program);
    let all: Vec<&str> = [&["run", &program, "--json"], arguments].concat();
    let ran = csdrive(&all);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

#[test]
fn examples_compute_what_they_say() {
    let files = Files::new();
    let numbers: Vec<i32> = (0..5000).map(|n| n * 7 - 9000).collect();
    let input = files.put("in", &ints(numbers.iter().copied()));
    let output = files.path("out");
    let doc = run("double.bpf.o", &["--input", &input, "--output", &output]);
    assert_eq!(doc["result"], 5000);
    assert_eq!(files.get("out"), ints(numbers.iter().map(|n| 2 * n)));

    let doc = run(
        "vadd.bpf.o",
        &["--input", &input, "--input", &input, "--output", &output, "--output-size", "20000"],
    );
    assert_eq!(doc["result"], 5000);
    assert_eq!(files.get("out"), ints(numbers.iter().map(|n| 2 * n)));

    let text = files.put("log", b"GET /a\nPUT /b\nGET /c GET\n\nGE\nlast GET");
    let doc = run(
        "grep-count.bpf.o",
        &["--input", &text, "--output-size", "0", "--data", "hex:47 45 54"],
    );
    assert_eq!(doc["result"], 3);

    let records: Vec<i64> = (0..100).flat_map(|n| [n * 37 % 101 - 50, n, -n, 7]).collect();
    let input = files.put("records", &longs(records.iter().copied()));
    let doc = run(
        "filter.bpf.o",
        &["--input", &input, "--output", &output, "--param1", "-20", "--param2", "0x10"],
    );
    let kept: Vec<i64> =
        records.chunks(4).filter(|r| (-20..=16).contains(&r[0])).flatten().copied().collect();
    assert_eq!(doc["result"], 8 * kept.len());
    assert_eq!(&files.get("out")[..8 * kept.len()], longs(kept));

    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let input = files.put("bytes", &bytes);
    run("histogram.bpf.o", &["--input", &input, "--output", &output, "--output-size", "2KiB"]);
    let mut counts = [0i64; 256];
    bytes.iter().for_each(|&b| counts[usize::from(b)] += 1);
    assert_eq!(to_longs(&files.get("out")), counts);

    let columns: [Vec<u8>; 4] = [
        ints([8765, 8766, 9000, 9130, 9131, 9000, 9000]),
        longs([6, 5, 7, 6, 6, 8, 6]),
        longs([1, 23, 1, 10, 1, 1, 24]),
        longs([100, 200, 300, 400, 500, 600, 700]),
    ];
    let inputs: Vec<String> =
        columns.iter().enumerate().map(|(n, c)| files.put(&format!("c{n}"), c)).collect();
    let mut arguments = vec!["--param1", "7", "--output-size", "8", "--output", &output];
    inputs.iter().for_each(|i| arguments.extend(["--input", i]));
    let doc = run("tpch_q6.bpf.o", &arguments);
    assert_eq!(doc["result"], 200 * 5 + 300 * 7 + 400 * 6);
    assert_eq!(to_longs(&files.get("out")), [200 * 5 + 300 * 7 + 400 * 6]);
}

#[test]
fn any_input_size_works() {
    let files = Files::new();
    for size in [0usize, 1, 3, 4, 511, 512, 513, 4095, 4096, 4097, 65_537, 1 << 20, (3 << 20) + 5] {
        let bytes: Vec<u8> = (0..size).map(|n| (n * 31 + n / 251) as u8).collect();
        let input = files.put("in", &bytes);
        for block in ["512B", "4KiB"] {
            let set = format!("drive.block_size={block}");
            let output = files.path("out");
            let doc = run(
                "histogram.bpf.o",
                &["--input", &input, "--output", &output, "--output-size", "2048", "--set", &set],
            );
            let total: i64 = to_longs(&files.get("out")).iter().sum();
            assert_eq!(total, size as i64, "{block}: {doc}");
        }
    }
}

#[test]
fn output_is_range_0_whole_and_starts_as_zeroes() {
    let files = Files::new();
    let input = files.put("in", &ints([1, 2, 3]));
    let output = files.path("out");
    run("double.bpf.o", &["--input", &input, "--output", &output, "--output-size", "21"]);
    assert_eq!(files.get("out"), [ints([2, 4, 6]), vec![0; 9]].concat());
}

#[test]
fn document_has_every_key_and_parts_add_up() {
    let files = Files::new();
    let input = files.put("in", &[1; 300_000]);
    let doc = run(
        "histogram.bpf.o",
        &["--input", &input, "--output", &files.path("o"), "--output-size", "2048"],
    );
    let time = doc["time_ns"].as_object().unwrap();
    let part = |k: &str| time[k].as_u64().unwrap_or_else(|| panic!("time_ns.{k} in {doc}"));
    let parts = ["flash_read", "copy", "queue", "compute", "transfer", "command"];
    assert_eq!(parts.iter().map(|k| part(k)).sum::<u64>(), part("total"));
    assert!(part("flash_read") > 0 && part("compute") > 0 && part("setup") > 0);
    let pages = 300_000u64.div_ceil(4096) * 4096;
    assert_eq!(doc["bytes"]["flash"], pages);
    assert_eq!(doc["bytes"]["internal"], pages);
    // One source entry of 32 bytes to the drive, range 0 back.
    assert_eq!(doc["bytes"]["host_link"], 32 + 2048);
    assert_eq!(doc["format_version"], 1);
    assert_eq!(doc["status"]["sct"], 0);
    assert_eq!(doc["status"]["name"], "Successful Completion");
    assert!(doc["instructions"].as_u64().unwrap() > 300_000);
    assert_eq!(doc["trace_hash"].as_str().unwrap().len(), 16);
}

#[test]
fn two_runs_print_the_same_document() {
    let files = Files::new();
    let input = files.put("in", &[9; 100_000]);
    let arguments = ["--input", &input, "--output-size", "2048"];
    let first = run("histogram.bpf.o", &arguments);
    assert_eq!(run("histogram.bpf.o", &arguments), first);
    let other =
        run("histogram.bpf.o", &[&arguments[..], &["--set", "flash.read_time=41us"]].concat());
    assert_ne!(other["trace_hash"], first["trace_hash"]);
}

#[test]
fn keys_move_times_by_what_arithmetic_says() {
    let files = Files::new();
    let input = files.put("in", &[9; 4096]);
    let time = |sets: &[&str]| {
        let mut arguments = vec!["--input", &input, "--output-size", "2048"];
        sets.iter().for_each(|s| arguments.extend(["--set", s]));
        run("histogram.bpf.o", &arguments)["time_ns"].clone()
    };
    let base = time(&[]);
    let slow = time(&["flash.read_time=140us"]);
    assert_eq!(slow["flash_read"], base["flash_read"].as_u64().unwrap() + 100_000);
    let no_memory_time = ["compute.memory_bandwidth=unlimited", "compute.clock=1GHz"];
    let one = time(&no_memory_time)["compute"].as_u64().unwrap();
    let half = time(&["compute.memory_bandwidth=unlimited", "compute.clock=500MHz"])["compute"]
        .as_u64()
        .unwrap();
    assert!(half.abs_diff(2 * one) <= 1, "{half} is twice {one}");
    let far = time(&["link.latency=51us"]);
    // The copy command's list crosses the link once.
    assert_eq!(far["transfer"], base["transfer"].as_u64().unwrap() + 50_000);
    let busy = time(&["drive.command_time=12us"]);
    assert_eq!(busy["command"], 2 * 12_000);
}

#[test]
fn a_webassembly_program_with_a_main_runs_unchanged() {
    let files = Files::new();
    let program = root().join("examples/wasm/wordcount.wasm").display().to_string();
    let input = files.put("in", b"one two three two three three\n");
    let output = files.path("out");
    let run = |more: &[&str]| {
        let base = ["run", &program, "--input", &input, "--output", &output, "--json"];
        csdrive(&[&base[..], more].concat())
    };
    let ran = run(&[]).json();
    assert_eq!(files.get("out")[..20], *b"3 three\n2 two\n1 one\n");
    assert_eq!((&ran["result"], &ran["run_time"]["model"]), (&20.into(), &"instructions".into()));
    assert!(ran["instructions"].as_u64().unwrap() > 1000, "{ran}");
    // Once more it is the same, to the nanosecond.
    assert_eq!(run(&[]).json(), ran);
    // Its arguments are the data buffer.
    assert_eq!(run(&["--data", "text:1"]).json()["result"], 8);
    // Its output has no room.
    let full = run(&["--output-size", "4"]);
    assert_eq!((full.code, &full.json()["status"]["sc"]), (1, &0xC4.into()), "{full:?}");
    assert!(full.stderr.contains("exit code 1"), "{full:?}");
    let ended = run(&["--set", "compute.instruction_budget=1000"]);
    assert!(ended.code == 1 && ended.stderr.contains("its budget of"), "{ended:?}");
    // Several jobs, and chunks of a stream.
    let several = run(&["--jobs", "3"]);
    assert_eq!(several.code, 0, "{several:?}");
    let refused = run(&["--function", "nothing"]);
    assert!(refused.stderr.contains("exports no function \"nothing\""), "{refused:?}");
}

#[test]
fn wrong_use_is_told_in_one_line_and_exits_2() {
    let files = Files::new();
    let double = example("double.bpf.o");
    let text = files.put("text", b"not a program");
    let native = std::env::current_exe().unwrap().display().to_string();
    let input = files.put("in", &[0; 100]);
    let date = files.put("date.toml", b"[flash]\nread_time = 1979-05-27\n");
    let broken = files.put("broken.toml", b"[flash]\nread_time = = 1\n");
    let two_gib = ["run", &double, "--input", &input, "--output-size", "2GiB"];
    let cases: &[(&[&str], &str)] = &[
        (&["run", &text], "not an ELF file; compile"),
        (&["run", &native], "compute.native_upload=true"),
        (&["run", "/nowhere/x.o"], "/nowhere/x.o: No such file"),
        (&["run", "/nowhere/x.c"], "/nowhere/x.c: No such file"),
        (
            &["run", &double, "--function", "triple"],
            "no function 'triple' in the object; it has: double_values",
        ),
        (&["run", &double, "--input", "/nowhere/in"], "--input /nowhere/in"),
        (&["run", &double, "--engine", "warp"], "auto, interpreter, tier1"),
        (&["run", &double, "--data", "hex:0g"], "hexadecimal"),
        (&["run", &double, "--data", "hex:123"], "hexadecimal"),
        (&["run", &double, "--data", "/nowhere/d"], "--data /nowhere/d"),
        (&["run", &double, "--set", "compute.unit=1"], "did you mean compute.units"),
        (&["run", &double, "--set", "flash.read_time=4 parsecs"], "ns, us, ms, s"),
        (&["run", &double, "--set", "link.latency=9223372036s"], "longer than an hour"),
        (&["run", &double, "--set", "compute.clock=1Hz"], "at least 1MHz"),
        (
            &["run", &double, "--set", "flash.pages_per_block=1", "--set", "drive.capacity=8TiB"],
            "at most 268435456",
        ),
        (&["run", &double, "--input", "/dev/zero"], "--set memory.size="),
        (&["run", &double, "--config", &date], "not a plain value"),
        (&["run", &double, "--config", &broken], "line 2"),
        (&["run", &double, "--set", "flash.blocks_per_plane=3"], "use at least"),
        (&["run", &double, "--config", "/nowhere/c.toml"], "/nowhere/c.toml"),
        (&["run", &double, "--femu", "nr_cux=1"], "known FEMU properties"),
        (&["run", &double, "--set", "flash.keep_data=false"], "set it to true"),
        (&two_gib, "--set memory.size="),
        (&["demo", "--scale", "0"], "choose 0.0005 to 100"),
        (&["demo", "--set", "drive.capacity=16MiB"], "--set drive.capacity="),
        (&["config", "check", &text], "text"),
        (&["config", "show", "--set", "nothing"], "KEY=VALUE"),
    ];
    for (arguments, part) in cases {
        let ran = csdrive(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("csdrive: "), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{arguments:?}: {}", ran.stdout);
        assert_eq!(ran.stderr.lines().count(), 1, "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("os error").count() / 2, 0, "{}", ran.stderr);
    }
    for arguments in [&["run"][..], &["run", &double, "--param1", "ten"], &["nonsense"], &[]] {
        assert_eq!(csdrive(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn configuration_shows_checks_and_lists() {
    let files = Files::new();
    let shown = csdrive(&["config", "show", "--set", "compute.units=7", "--femu", "fdm_size=64"]);
    assert_eq!(shown.code, 0);
    let path = files.put("drive.toml", shown.stdout.as_bytes());
    let again = csdrive(&["config", "show", "--config", &path]);
    assert_eq!(again.stdout, shown.stdout);
    assert_eq!(csdrive(&["config", "check", &path]).code, 0);
    let json = csdrive(&["config", "show", "--config", &path, "--json"]).json();
    assert_eq!(json["config"]["compute.units"], 7);
    assert_eq!(json["config"]["memory.size"], 64 << 20);
    let keys = csdrive(&["config", "keys", "--json"]).json();
    for key in keys["keys"].as_array().unwrap() {
        let name = key["key"].as_str().unwrap();
        assert!(csdrive(&["config", "keys"]).stdout.contains(name));
        assert!(!key["doc"].as_str().unwrap().is_empty());
    }
}

#[test]
fn demo_answers_agree_and_match_tpch() {
    let ran = csdrive(&["demo", "--scale", "0.01", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let doc = ran.json();
    // Q6 on dbgen's data at scale 0.01.
    assert_eq!(doc["answer"]["device"], 1193053.2253);
    assert_eq!(doc["answer"]["host"], 1193053.2253);
    assert_eq!(doc["rows"], 60_175);
    assert!(doc["device"]["host_link_bytes"].as_u64() < doc["host"]["host_link_bytes"].as_u64());
    assert_eq!(csdrive(&["demo", "--scale", "0.01", "--json"]).json(), doc);
    // Another block size, fewer units, little memory: the same answer.
    let sets =
        ["--set", "drive.block_size=512B", "--set", "compute.units=1", "--set", "memory.size=2MiB"];
    let small = csdrive(&[&["demo", "--scale", "0.01", "--json"], &sets[..]].concat()).json();
    assert_eq!(small["answer"], doc["answer"]);
    let text = csdrive(&["demo", "--scale", "0.01"]).stdout;
    assert!(text.contains("$1,193,053.2253") && text.contains("are the same"), "{text}");
}

#[test]
fn more_units_make_the_demo_faster_until_something_else_is_slower() {
    let time = |units: u32| {
        // Slow units: computing is the bottleneck until there are many.
        let set = format!("compute.units={units}");
        let slow = ["--set", "compute.clock=200MHz", "--set", &set];
        let doc = csdrive(&[&["demo", "--scale", "0.1", "--json"], &slow[..]].concat()).json();
        doc["device"]["time_ns"].as_u64().unwrap() as f64
    };
    let (one, two, ten) = (time(1), time(2), time(10));
    assert!((1.7..2.1).contains(&(one / two)), "{one} against {two}");
    assert!(ten < two);
}

#[test]
fn demo_survives_commands_that_complete_together_and_programs_that_fail() {
    let sets: Vec<&str> = [
        "flash.read_time=0",
        "flash.channel_bandwidth=unlimited",
        "link.bandwidth=unlimited",
        "link.latency=0",
        "internal.bandwidth=unlimited",
        "internal.latency=0",
        "drive.command_time=0",
        "compute.run_time=declared",
        "compute.declared_time=0",
    ]
    .iter()
    .flat_map(|s| ["--set", s])
    .collect();
    let ran = csdrive(&[&["demo", "--scale", "0.05", "--json"], &sets[..]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let doc = ran.json();
    assert_eq!(doc["answer"]["device"], doc["answer"]["host"]);
    let tiny =
        ["--set", "compute.instruction_budget=1", "--set", "compute.instruction_budget_per_byte=0"];
    let ran = csdrive(&[&["demo", "--scale", "0.05"], &tiny[..]].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("Budget Exceeded"), "{ran:?}");
}

#[test]
fn result_is_printed_also_when_a_file_cannot_be_written() {
    let files = Files::new();
    let input = files.put("in", &[1; 8]);
    let double = example("double.bpf.o");
    let ran = csdrive(&["run", &double, "--input", &input, "--json", "--output", "/dev/full"]);
    assert_eq!((ran.code, ran.json()["result"].as_i64()), (2, Some(2)), "{ran:?}");
    assert!(ran.stderr.contains("--output /dev/full"), "{ran:?}");
}

#[test]
fn a_file_that_cannot_be_written_is_known_before_the_run() {
    let files = Files::new();
    let input = files.put("in", &[1; 8]);
    let double = example("double.bpf.o");
    for option in ["--output", "--trace"] {
        let ran = csdrive(&["run", &double, "--input", &input, option, "/nowhere/o"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains(&format!("{option} /nowhere/o")), "{ran:?}");
    }
    // What is there stays until there is something to write.
    let kept = files.put("kept", b"kept");
    let ran = csdrive(&["run", "nosuch.o", "--output", &kept]);
    assert_eq!((ran.code, files.get("kept")), (2, b"kept".to_vec()), "{ran:?}");
}

#[test]
fn timeline_is_a_trace_event_document() {
    let files = Files::new();
    let input = files.put("in", &[0; 9000]);
    let trace = files.path("trace.json");
    run("double.bpf.o", &["--input", &input, "--trace", &trace]);
    let doc: Value = serde_json::from_slice(&files.get("trace.json")).unwrap();
    let events = doc["traceEvents"].as_array().unwrap();
    let named = |name: &str| events.iter().filter(|e| e["name"] == name).count();
    // Three reads of dies, and what they moved over channels.
    assert_eq!((named("Execute Program"), named("job"), named("read")), (1, 1, 2 * 3));
    // Rows have names, and counters go up and come down.
    let threads = events.iter().filter(|e| e["name"] == "thread_name");
    let threads: Vec<_> = threads.map(|e| e["args"]["name"].as_str().unwrap()).collect();
    assert!(threads.contains(&"queue 1") && threads.contains(&"unit 0"), "{threads:?}");
    for (counter, most) in [("commands in flight", 1), ("units busy", 1), ("dies busy", 3)] {
        let counts = events.iter().filter(|e| e["name"] == counter && e["ph"] == "C");
        let counts: Vec<_> = counts.map(|e| e["args"]["value"].as_i64().unwrap()).collect();
        assert_eq!(counts.iter().max(), Some(&most), "{counter}: {counts:?}");
        assert_eq!(counts.last(), Some(&0), "{counter}: {counts:?}");
    }
}

#[test]
fn large_drive_starts_in_little_memory() {
    // 1 TiB within 100 MiB of resident memory: the limit is on address space, so device memory,
    // which is reserved but not used, is made small.
    let status = Command::new("sh")
        .arg("-c")
        .arg("ulimit -v 400000; exec \"$0\" run \"$1\" --input \"$1\" --json --set drive.capacity=1TiB --set memory.size=16MiB")
        .arg(env!("CARGO_BIN_EXE_csdrive"))
        .arg(example("double.bpf.o"))
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}

#[test]
fn configuration_document_is_what_the_program_prints() {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let printed = csdrive(&["config", "keys"]).stdout;
    assert!(
        text.contains(&printed),
        "docs/configuration.md is out of date: put the output of `csdrive config keys` between its fences"
    );
}

#[test]
fn documented_table_of_schedulers_is_what_the_command_prints() {
    let text = std::fs::read_to_string(root().join("docs/timing.md")).unwrap();
    let printed = csdrive(&["bench", "schedulers"]).stdout;
    assert!(
        text.contains(&printed),
        "docs/timing.md is out of date: put the output of `csdrive bench schedulers` between its fences"
    );
}

/// A file in the documents loads, and means what they say of it.
#[test]
fn documented_list_of_namespaces_loads() {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let (_, block) = text.split_once("```toml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drive.toml");
    std::fs::write(&file, block).unwrap();
    let shown = csdrive(&["config", "show", "--json", "--config", file.to_str().unwrap()]).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let (mib, gib) = (1u64 << 20, 1u64 << 30);
    let expected = serde_json::json!([
        { "id": 1, "kind": "nvm", "size": gib, "block_size": 4096 },
        { "id": 2, "kind": "nvm", "size": gib, "block_size": 512 },
        { "id": 3, "kind": "memory", "size": 256 * mib },
        { "id": 9, "kind": "compute" },
    ]);
    assert_eq!(
        (&shown["namespaces"], &shown["config"]["drive.capacity"]),
        (&expected, &(4 * gib).into())
    );
}

#[test]
fn reader_that_goes_away_is_no_error() {
    for arguments in ["demo --scale 0.001", "config keys", "config show"] {
        let line = format!("\"$0\" {arguments} | true; exit ${{PIPESTATUS[0]}}");
        let output = Command::new("bash")
            .args(["-c", &line, env!("CARGO_BIN_EXE_csdrive")])
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments}: {output:?}");
    }
}

/// Runs a command line of the shell, in which `csdrive` is this program.
fn shell(line: &str) -> std::process::Output {
    let own = std::path::Path::new(env!("CARGO_BIN_EXE_csdrive")).parent().unwrap();
    let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap_or_default());
    Command::new("bash").args(["-c", line]).env("PATH", path).output().unwrap()
}

#[test]
fn a_closed_standard_error_is_no_failure() {
    // The reader of what goes to standard error is gone before anything is written.
    let object = example("double.bpf.o");
    let gone = "2> >(exec 0<&-; sleep 0.2)";
    for (line, code) in [
        ("csdrive config show --femu csf_runtime_scale=3 > /dev/null", 0),
        ("csdrive run nowhere.o", 2),
        ("csdrive --nonsense", 2),
        (&*format!("csdrive run {object} --femu id=x,csf_runtime_scale=3 > /dev/null"), 1),
    ] {
        for closing in [gone, "2>&-"] {
            let output = shell(&format!("sleep 0.1; exec {line} {closing}"));
            assert_eq!(output.status.code(), Some(code), "{line} {closing}: {output:?}");
        }
    }
}

#[test]
fn a_dash_is_standard_input_or_output() {
    let object = example("double.bpf.o");
    let output =
        shell(&format!("printf '\\1\\0\\0\\0' | csdrive run {object} --input - --output -"));
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &[2, 0, 0, 0][..]), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("where time went"), "{output:?}");
    let output = shell(&format!("csdrive run - --json --input {object} < {object}"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"result\": 264"), "{output:?}");
    let output =
        shell("printf '[compute]\\nunits = 7\\n' | csdrive config show --config - | grep units");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "units = 7\n");
    for (line, words) in [
        (format!("csdrive run {object} --input - --input -"), "can be read once"),
        (format!("csdrive run {object} --json --output -"), "standard output takes one"),
        (format!("csdrive run {object} --output --json"), "--output"),
        ("csdrive serve --config - --config -".to_owned(), "can be read once"),
        ("csdrive vm --drive - < /dev/null".to_owned(), "put the configuration into a file"),
    ] {
        let output = shell(&line);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(words), "{line}: {text}");
    }
}

#[test]
fn configurations_are_checked_whatever_they_consist_of() {
    let files = Files::new();
    let good = files.put("drive.toml", b"[compute]\nunits = 2\n");
    let check = |arguments: &[&str]| csdrive(&[&["config", "check"], arguments].concat());
    assert_eq!(check(&[&good]).code, 0);
    let text = check(&["--set", "compute.units=8"]).stdout;
    let flash =
        "flash: 274 blocks of 256 pages in each of 64 planes; effective over-provisioning 5.9 %";
    assert_eq!(text, format!("valid\n{flash}\n"));
    assert_eq!(check(&["--femu", "nr_cu=8,time_slice=200000"]).code, 0);
    let document = check(&[&good, "--set", "compute.units=0", "--json"]);
    assert_eq!((document.code, document.json()["valid"].as_bool()), (2, Some(false)));
    for (arguments, words) in [
        (&[][..], "nothing to check"),
        (&["--set", "compute.units"], "KEY=VALUE"),
        (&["--set", "compute.units=0"], "1 to 1024"),
        (&["--femu", "nr_cus=8"], "known FEMU properties"),
        (&["--femu", "csf_sched_option=lottery"], "fifo or rr"),
        (&["nowhere.toml"], "nowhere.toml"),
        (&[&*good, "--set", "flash.page_size=3KiB"], "flash.page_size"),
    ] {
        let ran = check(arguments);
        assert!(ran.code == 2 && ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn shells_and_man_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = csdrive(&["completion", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("output-size"), "{shell}: {}", ran.stderr);
    }
    assert_eq!(csdrive(&["completion", "tcsh"]).code, 2);
    let files = Files::new();
    assert_eq!(csdrive(&["man", &files.path("man1")]).code, 0);
    for page in ["csdrive.1", "csdrive-run.1", "csdrive-vm-run.1", "csdrive-fs-mount.1"] {
        let text = String::from_utf8(files.get(&format!("man1/{page}"))).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{page}");
    }
    assert!(csdrive(&["man"]).stdout.contains(".TH csdrive 1"));
}

/// Jobs of the declared time 100 us, one unit: arithmetic says when each ends.
#[test]
fn many_jobs_wait_as_their_scheduler_says() {
    let files = Files::new();
    let input = files.put("in", &[1; 4096]);
    let times = |arguments: &[&str]| {
        let common = [
            "--input",
            &input,
            "--set",
            "compute.units=1",
            "--set",
            "compute.run_time=declared",
            "--set",
            "compute.context_switch_time=0ns",
            "--set",
            "compute.ageing=0ns",
        ];
        let jobs = run("double.bpf.o", &[&common, arguments].concat())["jobs"].clone();
        assert_eq!(jobs["units"], 1);
        let list = jobs["jobs"].as_array().unwrap().clone();
        let column =
            |name: &str| list.iter().map(|job| job[name].as_u64().unwrap() / 1000).collect();
        let columns: (Vec<u64>, Vec<u64>) = (column("waited_ns"), column("ran_ns"));
        (jobs, columns.0, columns.1)
    };
    let (jobs, waited, ran) = times(&["--jobs", "5"]);
    assert_eq!((waited, ran), (vec![0, 100, 200, 300, 400], vec![100; 5]));
    let group = &jobs["groups"][0];
    assert_eq!((&group["jobs"], &group["waited_ns"]["mean"]), (&5.into(), &200_000.into()));
    assert_eq!(group["waited_ns"]["p50"], 200_000);
    assert_eq!(group["waited_ns"]["p99"], 400_000);
    // One comes every 150 us: none waits.
    let (jobs, waited, _) = times(&["--jobs", "4", "--every", "150us"]);
    assert_eq!(waited, [0; 4]);
    let fetched: Vec<u64> =
        (0..4).map(|n| jobs["jobs"][n]["fetched_ns"].as_u64().unwrap()).collect();
    assert!(fetched.windows(2).all(|pair| pair[1] - pair[0] == 150_000), "{fetched:?}");
    // Every second one is urgent. One comes every 50 us: the unit gets twice what it can do.
    let two = ["--jobs", "4", "--every", "50us", "--group", "a:priority=1,b:priority=9"];
    let waits = |policy: &str| {
        let policy = format!("compute.policy={policy}");
        times(&[&two[..], &["--set", &policy]].concat()).1
    };
    assert_eq!(waits("fifo"), [0, 50, 100, 150]);
    // b interrupts a at 50; b again at 150; then a has 50 left, and the other a comes last.
    assert_eq!(waits("priority"), [200, 0, 200, 0]);
    let deadlines = ["--jobs", "4", "--group", "a:deadline=1ms,b:deadline=250us"];
    let edf = ["--set", "compute.policy=earliest-deadline"];
    let (jobs, waited, _) = times(&[&deadlines[..], &edf].concat());
    assert_eq!(waited, [200, 0, 300, 100]);
    assert_eq!(
        (&jobs["groups"][0]["missed"], &jobs["groups"][1]["missed"]),
        (&0.into(), &0.into())
    );
    let (jobs, ..) = times(&deadlines);
    assert_eq!(jobs["groups"][1]["missed"], 1, "first in, first out: the second b ends at 400");
    let csv = files.path("csv");
    let parameters = files.put("parameters", b"1 2\n-3\n");
    times(&["--jobs", "3", "--param-from", &parameters, "--csv", &csv]);
    let csv = String::from_utf8(files.get("csv")).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("0,-,"), "{csv}");
    for (arguments, parts) in [
        (&["--jobs", "0"][..], ["--jobs", "1..=65535"]),
        (&["--every", "5us"], ["--jobs", "required"]),
        (&["--jobs", "2", "--group", "a:weight=0"], ["weight = 0", "1 to 1000"]),
        (&["--jobs", "2", "--group", "a:speed=3"], ["speed", "weight, priority, deadline"]),
        (&["--jobs", "2", "--param-from", "/dev/null"], ["--param-from /dev/null", "one line"]),
    ] {
        let ran = csdrive(&[&["run", &example("double.bpf.o")], arguments].concat());
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(parts.iter().all(|part| ran.stderr.contains(part)), "{ran:?}");
    }
}

#[test]
fn levels_of_the_log_are_checked() {
    let wrong = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["config", "keys"])
        .env("CSDRIVE_LOG", "a=b")
        .output();
    let wrong = wrong.expect("csdrive runs");
    assert_eq!(wrong.status.code(), Some(2));
    let text = String::from_utf8_lossy(&wrong.stderr);
    assert!(text.contains("CSDRIVE_LOG=\"a=b\": not levels; give off, error"), "{text}");
}

/// Each model says what it is told to, and only the measured one depends on the machine.
#[test]
fn run_times_come_from_where_they_are_said_to() {
    let files = Files::new();
    let input = files.put("in", &[7; 200_000]);
    let of = |arguments: &[&str]| {
        let common = ["--input", &input, "--output-size", "2048"];
        run("histogram.bpf.o", &[&common[..], arguments].concat())
    };
    let counted = of(&["--run-time", "instructions"]);
    assert_eq!(counted["run_time"]["model"], "instructions");
    assert_eq!(counted["run_time"]["ns"], counted["time_ns"]["compute"]);
    assert_eq!(of(&["--run-time", "50us"])["time_ns"]["compute"], 50_000);
    assert_eq!(of(&["--run-time", "declared"])["time_ns"]["compute"], 100_000);

    // Ours and FEMU's names: the time is exactly the median times the scale, rounded up.
    let ours = ["--set", "compute.run_time=measured", "--set", "compute.run_time_scale=2.5"];
    let samples = ["--set", "compute.run_time_samples=5"];
    for (arguments, samples, scale) in [
        ([&ours[..], &samples[..]].concat(), 5, 2500),
        (vec!["--femu", "csf_runtime_scale=6"], 1, 6000),
        (vec!["--run-time", "measured"], 1, 3000),
    ] {
        let measured = of(&arguments);
        let time = &measured["run_time"];
        assert_eq!((&time["model"], &time["deterministic"]), (&"measured".into(), &false.into()));
        let of = |key: &str| time["processor_time"][key].as_u64().expect(key);
        assert_eq!(of("samples"), samples);
        assert!(0 < of("least_ns") && of("least_ns") <= of("median_ns"));
        assert!(of("median_ns") <= of("most_ns"));
        let expected = (of("median_ns") * scale).div_ceil(1000);
        assert_eq!(time["ns"], expected, "{arguments:?}");
        assert_eq!(measured["result"], counted["result"]);
        assert_eq!(measured["instructions"], counted["instructions"]);
    }

    let compared = of(&["--run-time", "instructions,measured,50us"]);
    let models: Vec<_> =
        compared["runs"].as_array().unwrap().iter().map(|run| &run["run_time"]["model"]).collect();
    assert_eq!(models, ["instructions", "measured", "declared"]);
}

/// What limits compute moves its number, by our names and by FEMU's.
#[test]
fn limits_of_compute_move_the_numbers_that_they_should() {
    let files = Files::new();
    let input = files.put("in", &[1; 200_000]);
    let jobs = |arguments: &[&str]| {
        let common = ["--input", &input, "--output-size", "200000", "--jobs", "100"];
        run("double.bpf.o", &[&common[..], arguments].concat())["jobs"].clone()
    };
    let makespan = |arguments: &[&str]| jobs(arguments)["makespan_ns"].as_f64().unwrap();
    let rate = |jobs: &Value, group: usize| jobs["groups"][group]["bytes_per_s"].as_f64().unwrap();

    // A tenant limited to 100 MB/s has 100 MB/s; the other is not held back.
    let tenants = jobs(&["--group", "a:bandwidth=100MB/s,b"]);
    assert!((rate(&tenants, 0) / 100e6 - 1.0).abs() < 0.02, "{}", tenants["groups"][0]);
    assert!(rate(&tenants, 1) > 1e9, "{}", tenants["groups"][1]);
    assert!(tenants["groups"][0]["throttled_ns"].as_u64().unwrap() > 1_000_000_000);
    assert_eq!(tenants["groups"][1]["throttled_ns"], 0);

    // Units: 1, 2 and 4 of them, by configuration, by a group's limit and by its mask.
    let all = makespan(&[]);
    for (arguments, slower) in [
        (&["--set", "compute.units=2"][..], 2.0),
        (&["--femu", "nr_cu=1"], 4.0),
        (&["--group", "a:units-max=2"], 2.0),
        (&["--group", "a:unit-mask=0x8"], 4.0),
        (&["--set", "compute.queues=per-unit"], 1.0),
    ] {
        let ratio = makespan(arguments) / all;
        assert!((ratio / slower - 1.0).abs() < 0.02, "{arguments:?}: {ratio}");
    }
    // What four units need of the memory together is less than 4 x 8 GB/s; at 1 GB/s it is what limits.
    assert_eq!(makespan(&["--set", "memory.bandwidth=32GB/s"]), all);
    let short = jobs(&["--set", "memory.bandwidth=1GB/s"]);
    assert!((rate(&short, 0) / 1e9 - 1.0).abs() < 0.01, "{}", short["groups"][0]);

    // Cores: a faster one is faster, its numbers can be changed, and it is shown by its name.
    let core = |name: &str| {
        let set = format!("compute.core={name}");
        run("double.bpf.o", &["--input", &input, "--set", &set])["time_ns"]["compute"].as_u64()
    };
    let times = ["riscv-rocket", "cortex-a53", "cortex-a72", "neoverse-n1"].map(core);
    assert!(times.windows(2).all(|pair| pair[0] > pair[1]), "{times:?}");
    let shown = |sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        csdrive(&[&["config", "show", "--json"], &sets[..]].concat()).json()["config"].clone()
    };
    assert_eq!(shown(&[])["compute.core"], "cortex-a53");
    let own = shown(&["compute.core=neoverse-n1", "compute.cycles_alu=0.5"]);
    assert_eq!(
        (&own["compute.core"], &own["compute.clock"]),
        (&"custom".into(), &2_600_000_000u64.into())
    );
    // In a file the core comes first, wherever it stands.
    let file = files.put("core.toml", b"[compute]\nclock = \"1GHz\"\ncore = \"cortex-a72\"\n");
    let own = csdrive(&["config", "show", "--json", "--config", &file]).json()["config"].clone();
    assert_eq!(
        (&own["compute.clock"], &own["compute.cycles_multiply"]),
        (&1_000_000_000.into(), &3.0.into())
    );
}

#[test]
fn a_contradiction_is_told_once() {
    let ran = csdrive(&["config", "check", "--set", "compute.time_slice=0"]);
    let expected = "csdrive: compute.time_slice = 0: choose at least 1ns";
    assert_eq!((ran.code, ran.stderr.trim()), (2, expected));
}

/// A server as another process, and what becomes of executions when it goes.
#[test]
fn run_times_come_from_a_runtime_server() {
    use std::io::BufRead as _;
    let files = Files::new();
    let input = files.put("in", &[3; 100_000]);
    let secret = files.put("secret", b"known to both sides, and to nobody else");
    let mut server = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["runtime-server", "--listen", "tcp://127.0.0.1:0", "--json", "--secret", &secret])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let server_set = format!("compute.runtime_server={}", ready["address"].as_str().unwrap());
    let secret_set = format!("compute.runtime_server_secret={secret}");
    let of = |arguments: &[&str]| {
        let double = example("histogram.bpf.o");
        let common = ["run", &double, "--input", &input, "--output-size", "2048", "--json"];
        csdrive(&[&common[..], arguments].concat())
    };
    let known = ["--set", &server_set, "--set", &secret_set, "--set", "compute.run_time=remote"];
    let ran = of(&known);
    assert_eq!(ran.code, 0, "{ran:?}");
    let (doc, local) = (ran.json(), of(&[]).json());
    assert_eq!(doc["run_time"]["model"], "remote");
    let median = &doc["run_time"]["processor_time"]["median_ns"];
    assert!(median.as_u64().unwrap() > 0);
    assert_eq!(&doc["run_time"]["ns"], median, "the time there, as it is");
    assert_eq!((&doc["result"], &doc["instructions"]), (&local["result"], &local["instructions"]));
    // CEMU's name; the wrong secret.
    let femu = format!("arm_server_url={}", ready["address"].as_str().unwrap());
    let ran = of(&["--femu", &femu]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("does not know the secret"), "{ran:?}");
    // Killed: the execution fails and says why, or has another model.
    server.kill().unwrap();
    server.wait().unwrap();
    let ran = of(&known);
    assert_eq!((ran.code, &ran.json()["status"]["name"]), (1, &"Internal Error".into()));
    assert!(ran.stderr.contains("runtime server 127.0.0.1:"), "{ran:?}");
    let instead = ["--set", "compute.runtime_server_fallback=instructions"];
    let ran = of(&[&known[..], &instead].concat());
    assert_eq!((ran.code, &ran.json()["run_time"]), (0, &local["run_time"]), "{ran:?}");
    assert!(ran.stderr.contains("the run time is instructions instead"), "{ran:?}");
    let measured = ["--set", "compute.runtime_server_fallback=measured"];
    let ran = of(&[&known[..], &measured].concat());
    assert_eq!(ran.json()["run_time"]["model"], "measured", "{ran:?}");
    // All models by one command.
    let ran = of(&["--run-time", "instructions,measured,50us,remote"]);
    assert_eq!(ran.json()["runs"][3]["run_time"]["model"], "remote", "{ran:?}");
}

#[test]
fn a_calibrated_table_is_a_configuration() {
    let files = Files::new();
    let table = files.path("table.toml");
    let ran = csdrive(&["calibrate", "--output", &table, "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let doc = ran.json();
    let predictions = doc["left_out"].as_array().unwrap();
    assert_eq!(predictions.len(), 11);
    for prediction in predictions {
        let [measured, predicted] =
            ["measured_ns", "predicted_ns"].map(|key| prediction[key].as_f64().unwrap());
        assert!(measured > 0.0 && predicted > 0.0, "{prediction}");
    }
    let shown = csdrive(&["config", "show", "--json", "--config", &table]);
    let config = &shown.json()["config"];
    assert_eq!(config["compute.cycles_branch"], doc["cycles"]["branch"]);
    assert_eq!(config["compute.memory_bandwidth"], doc["memory_bandwidth"]);
}

#[test]
fn streaming_reproduces_what_cemu_measured() {
    let points = "1,1,1,574.773\n4,2,4,2624.19\n16,4,4,3101.49\n";
    let files = Files::new();
    let compared = files.put("some.csv", format!("chunk,n,kernel,mb\n{points}").as_bytes());
    let ran =
        csdrive(&["bench", "streaming", "--file", "512MiB", "--compare", &compared, "--json"]);
    let document = ran.json();
    assert_eq!(document["points"].as_array().unwrap().len(), 3, "{ran:?}");
    assert!(document["error"]["max"].as_f64().unwrap() < 0.03, "{document}");
    // One chunk at a time: three stages that add up, each with the host's software before it.
    let one = &document["points"][0];
    let (link, pages) = (0.2 * 1048576.0 / 2.08e9, (256.0f64 / 48.0).ceil());
    let seconds = 1048576.0 / 1e9 + link + pages * 62.5e-6 + 3.0 * 100e-6;
    let rate = one["bytes_per_s"].as_f64().unwrap();
    assert!((rate * seconds / 1048576.0 - 1.0).abs() < 0.02, "{rate} {}", 1048576.0 / seconds);

    let wrong = files.put("wrong.csv", b"1,2,3\n");
    let ran = csdrive(&["bench", "streaming", "--compare", &wrong]);
    assert_eq!((ran.code, ran.stderr.contains("four numbers")), (2, true), "{ran:?}");
    let ran = csdrive(&["bench", "streaming", "--set", "compute.units=2"]);
    assert_eq!((ran.code, ran.stderr.contains("--compare FILE")), (2, true), "{ran:?}");
}

#[test]
fn a_stream_gives_what_a_direct_run_gives() {
    let files = Files::new();
    let line = |n: u32| format!("{n} {}\n", if n.is_multiple_of(7) { "needle" } else { "straw" });
    // Lines end with blocks: no line crosses a chunk.
    let mut text: String = (0..40_000).map(|n| format!("{:63}\n", line(n).trim())).collect();
    text.truncate(40_000 * 64 / 4096 * 4096);
    let input = files.put("in", text.as_bytes());
    let common = ["--input", &input, "--output-size", "0", "--data", "hex:6e6565646c65"];
    let direct = run("grep-count.bpf.o", &common);
    for chunk in ["4KiB", "64KiB", "1MiB"] {
        let stream =
            ["--stream", "--chunk", chunk, "--set", "memory.size=4MiB", "--in-flight", "3"];
        let streamed = run("grep-count.bpf.o", &[&common[..], &stream].concat());
        assert_eq!(streamed["result"], direct["result"], "{chunk}");
        assert!(streamed["time_ns"]["total"].as_u64() < direct["time_ns"]["total"].as_u64());
    }
    // Lines of any length, that end where they like; the last has no end.
    let ragged: String = (0..30_000).map(line).collect::<String>() + "a needle";
    let input = files.put("ragged", ragged.as_bytes());
    let common = ["--input", &input, "--output-size", "0", "--data", "hex:6e6565646c65"];
    let direct = run("grep-count.bpf.o", &common);
    for chunk in ["4KiB", "40KiB"] {
        let more = ["--stream", "--chunk", chunk, "--overlap", "4KiB", "--in-flight", "1"];
        let stream = [&common[..], &more].concat();
        let streamed = run("grep-lines.bpf.o", &stream);
        assert_eq!(streamed["result"], direct["result"], "{chunk}");
        let early = run("grep-lines.bpf.o", &[&stream[..], &["--early"]].concat());
        assert_eq!(early["result"], direct["result"], "{chunk}");
        assert!(early["time_ns"]["total"].as_u64() < streamed["time_ns"]["total"].as_u64());
    }
    let program = example("grep-count.bpf.o");
    for (arguments, part) in [
        (&["--chunk", "100"][..], "a multiple of a block"),
        (&["--overlap", "100"], "--overlap 100: choose a multiple of a block"),
        (&["--overlap", "1GiB"], "use a smaller --chunk"),
        (&["--chunk", "1GiB"], "use a smaller --chunk"),
        (&["--set", "memory.size=4MiB"], "of device memory"),
        (&["--output", "x"], "drop --output"),
        (&["--input", &input], "give one input"),
    ] {
        let ran = csdrive(&[&["run", &program, "--input", &input, "--stream"], arguments].concat());
        assert_eq!((ran.code, ran.stderr.contains(part)), (2, true), "{arguments:?}: {ran:?}");
    }
    let empty = files.put("empty", b"");
    let ran = csdrive(&["run", &program, "--input", &empty, "--stream"]);
    assert_eq!((ran.code, ran.stderr.contains("no bytes")), (2, true), "{ran:?}");
}

#[test]
fn a_sweep_runs_every_combination_once_however_it_is_interrupted() {
    let files = Files::new();
    let input = files.put("in", &[1; 50_000]);
    let program = example("double.bpf.o");
    let sweep = |results: &str, more: &[&str]| {
        let varied = ["--vary", "compute.units=1,2", "--vary", "flash.read_time=40us,80us,160us"];
        let command = ["--", "run", &program, "--input", &input];
        csdrive(&[&["sweep", "--results", results][..], &varied, more, &command].concat())
    };
    let (one, two, csv) = (files.path("one.jsonl"), files.path("two.jsonl"), files.path("all.csv"));
    let all = sweep(&one, &["--jobs", "1", "--json", "--csv", &csv]);
    assert_eq!(all.code, 0, "{all:?}");
    let points = all.json()["points"].as_array().unwrap().clone();
    assert_eq!(points.len(), 6);
    // A point is what the command says with these settings.
    let alone = run(
        "double.bpf.o",
        &["--input", &input, "--set", "compute.units=2", "--set", "flash.read_time=40us"],
    );
    let point = &points[3];
    assert_eq!(point["settings"]["compute.units"], "2");
    assert_eq!(point["document"], alone);
    let table = String::from_utf8(files.get("all.csv")).unwrap();
    assert_eq!(table.lines().count(), 7);
    assert!(table.starts_with("compute.units,flash.read_time,bytes.flash,"), "{table}");
    // Interrupted: two lines and a half are there. The rest is run, in any order, and the answer is the same.
    let lines = String::from_utf8(files.get("one.jsonl")).unwrap();
    let end = lines.match_indices('\n').nth(2).unwrap().0;
    files.put("two.jsonl", &lines.as_bytes()[..end - 10]);
    let rest = sweep(&two, &["--jobs", "4", "--json"]);
    assert_eq!((rest.code, rest.json()), (0, all.json()), "{rest:?}");
    assert_eq!(String::from_utf8(files.get("two.jsonl")).unwrap().lines().count(), 6);
    // Nothing is left to do: the same again.
    assert_eq!(sweep(&two, &["--json"]).json(), all.json());
    assert_eq!(files.get("two.jsonl").len(), lines.len());
    let shown = sweep(&two, &["--show", "time_ns.flash_read,bytes.flash"]).stdout;
    assert!(shown.lines().next().unwrap().contains("time_ns.flash_read"), "{shown}");
    for (arguments, part) in [
        (&["--vary", "compute.unit=1", "--", "run", &program][..], "did you mean compute.units"),
        (&["--vary", "compute.units", "--", "run", &program], "KEY=VALUE"),
        (
            &["--vary", "compute.units=1", "--vary", "compute.units=2", "--", "run", &program],
            "given twice",
        ),
        (&["--vary", "compute.units=1", "--", "serve"], "a sweep is over run"),
        (&["--vary", "compute.units=1", "--", "run", &program, "--json"], "leave it out"),
    ] {
        let results = files.path("three.jsonl");
        let ran = csdrive(&[&["sweep", "--results", &results], arguments].concat());
        assert_eq!((ran.code, ran.stderr.contains(part)), (2, true), "{arguments:?}: {ran:?}");
    }
    let other =
        csdrive(&["sweep", "--results", &one, "--vary", "compute.units=1", "--", "run", &program]);
    assert_eq!((other.code, other.stderr.contains("of another command")), (2, true), "{other:?}");
}
