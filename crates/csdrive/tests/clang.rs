//! Programs compiled by real clangs: every version found, every instruction set it has. Without
//! clang these tests are reported as ignored, never as passed; CI installs clang.

#[path = "harness/lib.rs"]
mod harness;

use std::process::{Command, ExitCode};

use harness::{Files, csdrive, example, ints, root, to_longs};
use libtest_mimic::{Arguments, Failed, Trial};

/// A clang on this machine.
#[derive(Clone)]
struct Clang {
    command: String,
    major: u32,
}

/// Clangs that exist under some name, one of each version.
fn clangs() -> Vec<Clang> {
    let names = (11..=30).map(|n| format!("clang-{n}")).chain(["clang".into()]);
    let mut found: Vec<Clang> = names
        .filter_map(|command| {
            let output = Command::new(&command).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let major = text.split("version ").nth(1)?.split('.').next()?.parse().ok()?;
            Some(Clang { command, major })
        })
        .collect();
    found.sort_by_key(|c| c.major);
    found.dedup_by_key(|c| c.major);
    found
}

fn source(name: &str) -> String {
    root().join("crates/csdrive/tests/sources").join(name).display().to_string()
}

/// Compiles as the documentation tells users to.
fn compile(clang: &Clang, cpu: &str, name: &str, object: &str, more: &[&str]) {
    let include = root().join("crates/bpf_clang/include");
    let output = Command::new(&clang.command)
        .args(["-target", "bpf", "-O2", "-g"])
        .arg(format!("-mcpu={cpu}"))
        .arg("-I")
        .arg(include)
        .args(more)
        .args(["-c", &source(name), "-o", object])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

type Body = fn(&Clang, &str);
type Single = fn(&Clang);

/// A CEMU-style source, with and without a data buffer, negative parameters.
fn cemu_style(clang: &Clang, cpu: &str) {
    let files = Files::new();
    let object = files.path("program.o");
    compile(clang, cpu, "cemu_style.c", &object, &[]);
    let numbers: Vec<i32> = (-500..1500).collect();
    let (input, output) = (files.put("in", &ints(numbers.iter().copied())), files.path("out"));
    let base = ["run", &object, "--input", &input, "--output", &output, "--json"];
    let ran = csdrive(&[&base[..], &["--param1", "-7", "--param2", "0x64"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["result"], 2 * 1000 + 2000);
    assert_eq!(files.get("out"), ints(numbers.iter().map(|n| n - 7 - 100)));
    let ran = csdrive(&[&base[..], &["--data", "hex:01020300"]].concat());
    let weights = [1, 2, 3, 0];
    let expected = numbers.iter().enumerate().map(|(i, n)| n * weights[i & 3]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(files.get("out"), ints(expected));
}

/// Data sections, relocations, calls between sections, several functions in an object.
fn sections(clang: &Clang, cpu: &str) {
    let files = Files::new();
    let object = files.path("program.o");
    compile(clang, cpu, "sections.c", &object, &[]);
    let letters: i64 = "storage".bytes().map(i64::from).sum();
    for n in [0i64, 3, 6] {
        let param = n.to_string();
        // `letters` is called by `entry`: `entry` is the one to run.
        let ran = csdrive(&["run", &object, "--param1", &param, "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        // Globals are fresh in every run; each `+ 5` is seen twice: stored and read back once.
        assert_eq!(ran.json()["result"], 1001 + n * n + letters + 5 + 9, "n = {n}");
    }
    // Of two that nobody calls, the one named like the file; without such a one, the user chooses.
    let two = files
        .put("two.c", b"long long one(void *x) { return 1; } long long two(void *x) { return 2; }");
    let output = files.path("two.bpf.o");
    let compiled = Command::new(&clang.command)
        .args(["-target", "bpf", "-O2", "-c", &two, "-o", &output])
        .status();
    assert!(compiled.unwrap().success());
    assert_eq!(csdrive(&["run", &output, "--json"]).json()["result"], 2);
    let ran = csdrive(&["run", &output, "--json", "--function", "one"]);
    assert_eq!(ran.json()["result"], 1);
    std::fs::rename(&output, files.path("other.o")).unwrap();
    let ran = csdrive(&["run", &files.path("other.o")]);
    assert!(ran.code == 2 && ran.stderr.contains("--function NAME"), "{ran:?}");
    let ran = csdrive(&["run", &object, "--function", "nothing"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("entry") && ran.stderr.contains("letters"), "{ran:?}");
}

/// What a program does wrong ends it with a status, and the drive with it stays well.
fn faults(clang: &Clang, cpu: &str) {
    let files = Files::new();
    let object = files.path("program.o");
    compile(clang, cpu, "faults.c", &object, &["-fno-builtin"]);
    let input = files.put("in", &[5; 1000]);
    let run = |what: i64, at: i64| {
        let (what, at) = (what.to_string(), at.to_string());
        let budget = ["--set", "compute.instruction_budget=1000000"];
        csdrive(
            &[
                &["run", &object, "--input", &input, "--param1", &what, "--param2", &at, "--json"],
                &budget[..],
            ]
            .concat(),
        )
    };
    // An index that is off by a multiple of the window's 4 GiB is none that is off.
    for (what, at, result) in [
        (0, 0, 5),
        (0, 999, 5),
        (0, 1 << 40, 5),
        (1, 999, 0),
        (3, 3, 6),
        (7, 0, 42),
        (8, 936, 0),
        (9, 1000, 0),
    ] {
        let ran = run(what, at);
        assert_eq!(
            (ran.code, ran.json()["result"].as_i64()),
            (0, Some(result)),
            "{what} {at}: {ran:?}"
        );
    }
    let memory = "Program Memory Fault (csdrive)";
    let line = "faults.c:";
    for (what, at, status, parts) in [
        (0, 1000, memory, ["just past the end of range 1", line]),
        (0, 200_000, memory, ["199000 bytes past the end of range 1", line]),
        (0, -1, memory, ["before range 1", line]),
        (0, 1 << 31, memory, ["load of 1 byte", line]),
        (0, i64::MIN + (1 << 31), memory, ["load of 1 byte", line]),
        (1, 1000, memory, ["store of 1 byte", line]),
        (1, -1, memory, ["store of 1 byte", line]),
        (4, 0, memory, ["a null pointer", line]),
        (4, -8, memory, ["address 0xfffffff8", line]),
        (5, 0x1234_5678, memory, ["load of 1 byte", line]),
        (6, 0, memory, ["is read-only", line]),
        (8, 937, memory, ["over the end of range 1", line]),
        (9, 1001, memory, ["over the end of range 1", line]),
        (10, 125, memory, ["past the end of range 1", line]),
        (11, 0, memory, ["load of 8 bytes", line]),
        (
            2,
            0,
            "Program Instruction Budget Exceeded (csdrive)",
            ["compute.instruction_budget", line],
        ),
        (
            12,
            0,
            "Program Instruction Budget Exceeded (csdrive)",
            ["compute.instruction_budget", line],
        ),
        (3, 1000, "Program Call Depth Exceeded (csdrive)", ["call frames", "'recurse'"]),
    ] {
        let ran = run(what, at);
        let doc = ran.json();
        assert_eq!(
            (ran.code, doc["status"]["name"].as_str()),
            (1, Some(status)),
            "{what} {at}: {ran:?}"
        );
        assert_eq!(doc["status"]["sct"], 1);
        let text = doc["error"].as_str().unwrap();
        assert!(parts.iter().all(|p| text.contains(p)), "{what} {at}: {text}");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

/// Every instruction set that a clang can write.
fn instruction_sets(clang: &Clang) -> &'static [&'static str] {
    if clang.major >= 18 { &["v1", "v2", "v3", "v4"] } else { &["v1", "v2", "v3"] }
}

/// `csdrive run FILE.c` with a given clang in front of the path.
fn plain_c(clang: &Clang) {
    let files = Files::new();
    // Only this clang is visible, under its plain name.
    let path =
        Command::new("sh").args(["-c", &format!("command -v {}", clang.command)]).output().unwrap();
    let path = String::from_utf8(path.stdout).unwrap();
    std::os::unix::fs::symlink(path.trim(), files.path("clang")).unwrap();
    let input = files.put("in", b"drive and more");
    let output = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args([
            "run",
            &source("plain.c"),
            "--json",
            "--input",
            &input,
            "--output",
            &files.path("out"),
        ])
        .args(["--output-size", "64", "--param1", "-1000", "--param2", "-7"])
        .env("PATH", files.path(""))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    let doc: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(doc["result"], 0);
    assert_eq!(doc["program_output"], "7 of 14\n");
    let own = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["run", &source("own_struct.c"), "--json", "--input", &input, "--output-size", "64"])
        .env("PATH", files.path(""))
        .output()
        .unwrap();
    let own_doc: serde_json::Value = serde_json::from_slice(&own.stdout).unwrap();
    assert_eq!(own_doc["result"], 14, "{own:?}");
    let crc = 0x8B4252B; // CRC-32C of the input, computed bit by bit elsewhere
    let expected = [142_000 - 6, -333, -6, 14, 32, i64::from_le_bytes(*b"drive an"), crc, 2];
    assert_eq!(to_longs(&files.get("out")), expected);
}

/// Errors in C source are clang's, with the source's name, and exit code 2.
fn broken_c(_: &Clang) {
    let files = Files::new();
    let path = files.put("broken.c", b"long long f(void *x) { return y; }");
    let ran = csdrive(&["run", &path]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("broken.c:1:") && ran.stderr.contains("undeclared"), "{ran:?}");
}

/// The verifier's text reaches the user: a helper that does not exist.
fn refused_program(clang: &Clang) {
    let files = Files::new();
    let text = b"static long (*const nothing)(void) = (void *)777;\nlong long f(void *x) {\n    return nothing();\n}";
    let path = files.put("refused.c", text);
    let object = files.path("refused.o");
    let compiled = Command::new(&clang.command)
        .args(["-target", "bpf", "-O2", "-g", "-c", &path, "-o", &object])
        .status()
        .unwrap();
    assert!(compiled.success());
    let ran = csdrive(&["run", &object, "--json"]);
    let doc = ran.json();
    assert_eq!((ran.code, doc["status"]["sc"].as_u64()), (1, Some(0x8E)), "{ran:?}");
    let error = doc["error"].as_str().unwrap();
    assert!(error.contains("helper 777") && error.contains("refused.c:3"), "{error}");
}

/// Committed example objects are what their sources compile to. Byte for byte with the clang
/// they were built with; with any other, the objects must at least load.
fn examples(clang: &Clang) {
    const BUILT_WITH: u32 = 14;
    let files = Files::new();
    let programs = root().join("examples/programs");
    let mut count = 0;
    for entry in std::fs::read_dir(&programs).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".bpf.c")) else {
            continue;
        };
        count += 1;
        let object = files.path("built.o");
        let output = Command::new(&clang.command)
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
            .args(["-c".as_ref(), path.as_os_str(), "-o".as_ref(), object.as_ref()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        let built = files.get("built.o");
        ebpf::Program::load(&built, None).unwrap();
        let committed = std::fs::read(programs.join(format!("{name}.bpf.o"))).unwrap();
        if clang.major == BUILT_WITH {
            assert!(
                built == committed,
                "{name}.bpf.o is not what {name}.bpf.c compiles to; run `cargo xtask examples`"
            );
        }
    }
    assert!(count >= 6, "the examples are not where this test looks");
}

/// Profile, coverage, listing and steps of a program agree with its counts.
fn looked_at(clang: &Clang) {
    let files = Files::new();
    let text = "#include <csdrive.h>\n\
        static __attribute__((noinline)) long long square(long long x)\n\
        {\n\
            return x * x;\n\
        }\n\
        long long sum(struct cemu_args *args)\n\
        {\n\
            long long sum = args->cparam1;\n\
            for (long long i = 0; i < args->mr_len[1]; i++)\n\
                sum += square(((unsigned char *)args->mr_addr[1])[i]);\n\
            if (sum == 77)\n\
                sum = csd_crc32c(0, args->mr_addr[1], 640);\n\
            return sum;\n\
        }\n";
    let source = files.put("sum.c", text.as_bytes());
    let object = files.path("sum.o");
    let include = root().join("crates/bpf_clang/include");
    let output = Command::new(&clang.command)
        .args(["-target", "bpf", "-O2", "-g", "-I"])
        .arg(include)
        .args(["-c", &source, "-o", &object])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let input = files.put("in", &[3; 1000]);
    let [folded, coverage, listing] = ["folded", "lcov", "listing"].map(|name| files.path(name));
    let base = ["run", &object, "--input", &input, "--json"];
    let plain = csdrive(&base).json();
    let more = ["--profile", "--folded", &folded, "--coverage", &coverage, "--trace-program"];
    let ran = csdrive(&[&base[..], &more, &[&listing]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut looked = ran.json();
    let profile = looked.as_object_mut().unwrap().remove("profile").unwrap();
    // Looking changes nothing.
    assert_eq!(looked, plain);
    let lines = profile.as_array().unwrap();
    let sum = |key: &str| lines.iter().map(|line| line[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("instructions"), plain["instructions"].as_u64().unwrap());
    let (all, compute) = (sum("ns"), plain["time_ns"]["compute"].as_u64().unwrap());
    assert!(all.abs_diff(compute) <= lines.len() as u64, "{all} and {compute} ns");
    let line = |number: u64| lines.iter().find(|line| line["line"] == number);
    let squares = line(4).expect("line 4 has instructions");
    assert_eq!((&squares["times"], &squares["function"]), (&1000.into(), &"square".into()));
    assert!(line(12).is_none(), "it did not run: {profile:#}");
    let lcov = String::from_utf8(files.get("lcov")).unwrap();
    assert!(lcov.contains("sum.c\n") && lcov.contains("\nDA:4,1000\n"), "{lcov}");
    assert!(lcov.contains("\nDA:12,0\n") && lcov.ends_with("end_of_record\n"), "{lcov}");
    let folded = String::from_utf8(files.get("folded")).unwrap();
    let of_stacks =
        folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap());
    assert!(of_stacks.sum::<u64>().abs_diff(compute) <= folded.lines().count() as u64, "{folded}");
    assert!(folded.contains("sum;square;sum.c:4 "), "{folded}");
    let listing = String::from_utf8(files.get("listing")).unwrap();
    let instructions = plain["instructions"].as_u64().unwrap() as usize;
    assert_eq!(listing.lines().count(), instructions + 1, "each, and the result");
    assert!(listing.contains("; loads 1 at range 1 +0x3e7"), "the last byte");
    assert!(listing.ends_with("returned 9000 (0x2328)\n"));
    // Bytes of a helper are those of its line.
    let with_helper = [&base[..], &["--profile", "--param1", "-8923"]].concat();
    let profile = csdrive(&with_helper).json()["profile"].clone();
    let helper = profile.as_array().unwrap().iter().find(|line| line["line"] == 12).cloned();
    assert!(helper.as_ref().is_some_and(|line| line["bytes"].as_u64() >= Some(640)), "{helper:?}");
    // Somebody at the keyboard.
    let step = |commands: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_csdrive"))
            .args(["run", &object, "--input", &input, "--step"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, commands.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = step("b 4\nc\nr\ns\nb 4\nc\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("sum.c:4 in square: return x * x;"), "{text}");
    assert!(text.contains("r1 = 0x3") && text.contains("returned 9000"), "{text}");
    let (code, text) = step("q\n");
    assert!(code == Some(1) && text.contains("ended"), "{text}");
}

/// Tests that are written in C.
fn tests_of_programs(_: &Clang) {
    let files = Files::new();
    let passing = root().join("examples/programs/tests/vadd_test.c").display().to_string();
    let lcov = files.path("lcov");
    let ran = csdrive(&["test", &passing, "--coverage", &lcov]);
    assert!(ran.code == 0 && ran.stdout.contains("2 passed, 0 failed"), "{ran:?}");
    let lcov = String::from_utf8(files.get("lcov")).unwrap();
    assert!(lcov.contains("/vadd.bpf.c\n") && !lcov.contains("csdrive_test.h"), "{lcov}");
    let failing = files.put(
        "failing.c",
        b"#include <csdrive_test.h>\n\
        int calls;\n\
        int f(struct cemu_args *args) { calls++; return args->cparam1 > 0 ? -1 : ((char *)args->data_buffer)[1]; }\n\
        CSD_TEST(holds_not) { CSD_CHECK(1 + 1 == 3); CSD_CHECK_EQ(CSD_RUN(f, .param1 = 5), 5); }\n\
        CSD_TEST(bytes) { char a[2] = {1, 2}, b[2] = {1, 3}; CSD_CHECK_BYTES(a, b, 1); CSD_CHECK_BYTES(a, b, 2); }\n\
        CSD_TEST(faults) { *(volatile int *)8 = 1; }\n\
        CSD_TEST(data) { char text[] = \"ab\"; CSD_CHECK_EQ(CSD_RUN(f, .data = CSD_RANGE(text)), 'b'); CSD_CHECK_EQ(calls, 1); }\n",
    );
    for engine in ["interpreter", "tier1"] {
        let ran = csdrive(&["test", &failing, "--json", "--engine", engine]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let document = ran.json();
        let test = |name: &str| {
            let tests = document["tests"].as_array().unwrap();
            tests.iter().find(|test| test["name"] == name).unwrap().clone()
        };
        assert_eq!((&document["failed"], &document["left_out"]), (&3.into(), &0.into()));
        assert_eq!(test("data")["passed"], true, "{document:#}");
        assert_eq!(
            test("holds_not")["printed"],
            "failing.c:4: 1 + 1 == 3 does not hold\nfailing.c:4: CSD_RUN(f, .param1 = 5) is -1, not 5\n"
        );
        assert_eq!(test("bytes")["printed"], "failing.c:5: a and b differ at byte 1: 2, 3\n");
        let fault = test("faults")["failure"].as_str().unwrap().to_owned();
        assert!(fault.contains("failing.c:6") && fault.contains("null pointer"), "{fault}");
    }
    let one = csdrive(&["test", &failing, "data"]);
    assert!(one.code == 0 && one.stdout.contains("1 passed, 0 failed, 3 left out"), "{one:?}");
    let none = csdrive(&["test", &failing, "nothing"]);
    assert!(none.code == 2 && none.stderr.contains("there are: holds_not"), "{none:?}");
    let no_tests = csdrive(&["test", &example("double.bpf.o")]);
    assert!(no_tests.code == 2 && no_tests.stderr.contains("no tests"), "{no_tests:?}");
}

/// Everyday C prints what it prints natively, in every engine: structures and more than five arguments by value, arrays of any size,
/// recursion, pointers to functions, floating point, 128-bit integers, the C library.
fn everyday(clang: &Clang) {
    prints_the_same(clang, "everyday.c");
    // What a stranger found wrong.
    prints_the_same(clang, "corners.c");
    prints_the_same(clang, "numbers.c");
    let memory = csdrive(&["run", &source("memory.c"), "--output-size", "0", "--json"]);
    assert_eq!(memory.json()["program_output"], "0 bad 0 nulls\n", "{memory:?}");
}

fn prints_the_same(clang: &Clang, name: &str) {
    let files = Files::new();
    let (object, native) = (files.path("program.o"), files.path("native"));
    let compiler = bpf_clang::Clang { command: clang.command.clone(), major: clang.major };
    let bytes = compiler
        .compile(source(name).as_ref(), bpf_clang::Language::C)
        .unwrap_or_else(|e| panic!("{e}"));
    std::fs::write(&object, bytes).unwrap();
    let built = Command::new(&clang.command)
        .args(["-w", "-O1", "-ffp-contract=off", &source(name), "-o", &native, "-lm"])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    for parameter in ["0", "1", "41", "60"] {
        let expected = Command::new(&native).arg(parameter).output().unwrap().stdout;
        for engine in ["interpreter", "tier1", "tier2"] {
            let flag = format!("--param1={parameter}");
            let ran = csdrive(&["run", &object, &flag, "--engine", engine, "--json"]);
            assert_eq!(ran.code, 0, "{ran:?}");
            let document = ran.json();
            assert_eq!(document["result"], -parameter.parse::<i64>().unwrap());
            let printed = document["program_output"].as_str().unwrap();
            assert_eq!(printed, String::from_utf8_lossy(&expected), "{parameter} {engine}");
        }
    }
}

/// A source and flags with what it must come to: cases that people who did not write csdrive found.
const CASES: [(&str, &[&str], i64); 9] = [
    ("mul128.c", &[], 1_141_026_914_453_553_624),
    ("big_frame.c", &[], 700),
    ("ret_struct.c", &[], 3),
    ("stdlib_first.c", &[], 1),
    ("strs.c", &[], 110_603),
    ("two_globals.c", &[], 3),
    ("variadic.c", &["--param1=16"], 669),
    ("mathematics.c", &["--param1=16", "--param2=5"], 5_291),
    ("shapes.cpp", &[], 112),
];

/// All of them, and recursion and an array of variable length with data.
fn cases(clang: &Clang) {
    let files = Files::new();
    let object = files.path("program.o");
    let build = |name: &str| {
        let path = source(name);
        let compiler = bpf_clang::Clang { command: clang.command.clone(), major: clang.major };
        let language = bpf_clang::Language::of(path.as_ref(), &[]).unwrap();
        let bytes = compiler.compile(path.as_ref(), language);
        std::fs::write(&object, bytes.unwrap_or_else(|e| panic!("{name}: {e}"))).unwrap();
    };
    for (name, flags, expected) in CASES {
        build(name);
        let ran = csdrive(&[&["run", &object, "--json"], flags].concat());
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        assert_eq!(ran.json()["result"], expected, "{name}");
    }
    build("recursion.c");
    let numbers: Vec<i32> = (0..1000i32).map(|n| n.wrapping_mul(0x9E37_79B1u32 as i32)).collect();
    let (input, output) = (files.put("in", &ints(numbers.iter().copied())), files.path("out"));
    let ran = csdrive(&["run", &object, "--input", &input, "--output", &output, "--json"]);
    assert_eq!(ran.json()["result"], 1000, "{ran:?}");
    let mut sorted = numbers;
    sorted.sort_unstable();
    assert_eq!(files.get("out"), ints(sorted));
    build("vla.c");
    let [a, b] = [("a", "kitten\0"), ("b", "sitting\0")].map(|(n, t)| files.put(n, t.as_bytes()));
    let ran = csdrive(&["run", &object, "--input", &a, "--input", &b, "--json"]);
    assert_eq!(ran.json()["result"], 3, "{ran:?}");
}

/// The functions that stand for a floating-point unit do what this machine's does.
fn soft_float(clang: &Clang) {
    let files = Files::new();
    let program = files.path("soft_float");
    let include = root().join("crates/bpf_clang/include");
    let built = Command::new(&clang.command)
        .args(["-O2", "-w", "-I"])
        .arg(include)
        .args([&source("soft_float.c"), "-o", &program, "-lm"])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&program).arg("1000000").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

/// What cannot be done is refused with what to do instead.
fn walls(clang: &Clang) {
    let walls = [
        ("_Thread_local int x; long long f(void *a) { return x; }", "one thread"),
        ("long long f(void *a) { __asm__ volatile(\"cli\"); return 0; }", "#ifndef __bpf__"),
        (
            "#include <stdio.h>\nlong long f(void *a) { return fopen(\"x\", \"r\") != 0; }",
            "no files",
        ),
        (
            "#include <stdio.h>\nlong long f(void *a) { int x; return scanf(\"%d\", &x); }",
            "no standard input",
        ),
        ("#include <nowhere.h>\nlong long f(void *a) { return 0; }", "must lie beside the source"),
    ];
    let files = Files::new();
    for (text, remedy) in walls {
        let path = files.put("wall.c", text.as_bytes());
        let compiler = bpf_clang::Clang { command: clang.command.clone(), major: clang.major };
        let refused = compiler
            .compile(path.as_ref(), bpf_clang::Language::C)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        let first = refused.lines().next().unwrap_or_default();
        assert!(first.contains(remedy), "{text}: {refused}");
    }
}

/// Without clang, C source is refused with the package to install.
fn no_clang() -> Result<(), Failed> {
    let files = Files::new();
    let output = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["run", &source("plain.c")])
        .env("PATH", files.path(""))
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("apt-get install clang"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = vec![Trial::test("c_source_without_clang_names_the_package", no_clang)];
    let matrix: [(&str, Body); 3] =
        [("cemu_style", cemu_style), ("sections", sections), ("faults", faults)];
    let single: [(&str, Single); 10] = [
        ("programs_are_looked_at_line_by_line", looked_at),
        ("tests_of_programs_pass_and_fail", tests_of_programs),
        ("cases", cases),
        ("soft_float", soft_float),
        ("walls", walls),
        ("everyday", everyday),
        ("plain_c", plain_c),
        ("broken_c", broken_c),
        ("refused_program", refused_program),
        ("examples_match_their_sources", examples),
    ];
    let clangs = clangs();
    for clang in &clangs {
        for (name, body) in matrix {
            for cpu in instruction_sets(clang) {
                let clang = clang.clone();
                let name = format!("{name}_clang{}_{cpu}", clang.major);
                trials.push(Trial::test(name, move || {
                    body(&clang, cpu);
                    Ok(())
                }));
            }
        }
        for (name, body) in single {
            let clang = clang.clone();
            let name = format!("{name}_clang{}", clang.major);
            trials.push(Trial::test(name, move || {
                body(&clang);
                Ok(())
            }));
        }
    }
    if clangs.is_empty() {
        let names = matrix.map(|(n, _)| n).into_iter().chain(single.map(|(n, _)| n));
        for name in names {
            let trial = Trial::test(format!("{name} (SKIPPED: clang is not installed)"), || Ok(()));
            trials.push(trial.with_ignored_flag(true));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
