//! Native programs in processes of their own. This executable is the worker, too: it has its own `main`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use controller::{
    Invocation, NativeConfig, NativeLoadError, NativePrograms, NativeSource, ShellFaultKind,
    ShellOutcome, ShellProgram,
};
use ebpf::{PAGE, Range, SharedMemory};
use libtest_mimic::{Arguments, Failed, Trial};
use native_programs::{Programs, WORKER_ARGUMENT, worker_main};

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|first| first == WORKER_ARGUMENT) {
        return worker_main();
    }
    // Where there is no seccomp (user-mode emulation), nothing of this can run.
    let is_there = |compiler: &str| Command::new(compiler).arg("--version").output().is_ok();
    let missing = match is_there("cc") {
        false => Some("there is no C compiler (apt-get install gcc)"),
        true if !has_filters() => Some("this kernel, or who emulates it, has no seccomp filters"),
        true => None,
    };
    let missing_cpp =
        (!is_there("c++")).then_some("there is no C++ compiler (apt-get install g++)");
    let missing_of = |name: &str| missing.or(missing_cpp.filter(|_| name.starts_with("cpp")));
    let trials = TESTS.iter().map(|(name, test)| match missing_of(name) {
        None => Trial::test(*name, test),
        Some(why) => {
            Trial::test(format!("{name} (SKIPPED: {why})"), || Ok(())).with_ignored_flag(true)
        }
    });
    // One after the other: tests look at all processes of this one.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

type Test = fn() -> Result<(), Failed>;
const TESTS: &[(&str, Test)] = &[
    ("kernels_in_the_shape_of_cemus_run", kernels_run),
    ("cpp_with_exceptions_runs", cpp_runs),
    ("whatever_a_program_does_it_ends_with_a_status", hostile_programs_end),
    ("constructors_run_in_the_sandbox", constructors_run_in_the_sandbox),
    ("a_run_sees_its_ranges_only", a_run_sees_its_ranges_only),
    ("ranges_that_share_pages_are_copied", ranges_that_share_pages_are_copied),
    ("descriptors_are_closed_everywhere", descriptors_are_closed_everywhere),
    (
        "what_a_run_does_not_change_is_not_written_back",
        what_a_run_does_not_change_is_not_written_back,
    ),
    ("names_without_end_cost_nothing", names_without_end_cost_nothing),
    ("a_run_that_nobody_wants_stops", a_run_that_nobody_wants_stops),
    ("samples_leave_memory_as_one_run_does", samples_leave_memory_as_one_run_does),
    ("many_runs_at_a_time", many_runs_at_a_time),
    ("what_is_no_program_is_refused_with_a_reason", what_is_no_program_is_refused),
    ("programs_by_name_come_from_the_folder_only", programs_by_name),
    ("a_worker_that_dies_is_replaced", a_worker_that_dies_is_replaced),
    ("threads_where_they_are_let", threads_where_they_are_let),
];

fn has_filters() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.contains("Seccomp_filters:")
}

const MEMORY: u64 = 32 << 20;

fn config() -> NativeConfig {
    NativeConfig {
        upload: true,
        time_limit: simtime::Duration::from_us(400_000),
        memory_bytes: MEMORY,
        ..NativeConfig::default()
    }
}

fn programs(config: &NativeConfig) -> Programs {
    Programs::new(Path::new("/proc/self/exe"), config)
}

/// Compiles a source of the tests.
fn compile(source: &str, options: &[&str]) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir().unwrap();
    let object = scratch.path().join("program.so");
    let compiler = if source.ends_with(".cc") { "c++" } else { "cc" };
    let output = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O2", "-w", "-I"])
        .arg(folder.join("../bpf_clang/include"))
        .args(options)
        .arg("-o")
        .arg(&object)
        .arg(folder.join("tests/sources").join(source))
        .arg("-lm")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(object).unwrap()
}

fn load(object: &[u8], function: &str) -> Arc<dyn ShellProgram> {
    programs(&config()).load(NativeSource::Uploaded(object), Some(function)).unwrap()
}

fn memory(bytes: u64) -> Arc<SharedMemory> {
    Arc::new(SharedMemory::new(bytes).unwrap())
}

fn range(memory: &Arc<SharedMemory>, offset: u64, len: u64) -> Range {
    Range { memory: Arc::clone(memory), offset, len, writable: true }
}

fn with(ranges: Vec<Range>) -> Invocation {
    Invocation { ranges, ..Invocation::default() }
}

fn read(memory: &SharedMemory, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    assert!(memory.read(offset, &mut bytes));
    bytes
}

fn result(outcome: &ShellOutcome) -> i64 {
    outcome.result.as_ref().copied().unwrap() as i64
}

fn kernels_run() -> Result<(), Failed> {
    let object = compile("kernels.c", &[]);
    let device = memory(1 << 20);
    let numbers: Vec<u8> = (0..2000i32).flat_map(i32::to_le_bytes).collect();
    assert!(device.write(0, &numbers));
    let ranges = vec![range(&device, 0, 8000), range(&device, 8192, 4000)];
    let outcome = load(&object, "vadd").run(&Invocation { param1: 1000, ..with(ranges) }, 1);
    assert_eq!(result(&outcome), 1000);
    let sums: Vec<u8> = (0..1000i32).flat_map(|i| (2 * i + 1000).to_le_bytes()).collect();
    assert_eq!(read(&device, 8192, 4000), sums);
    assert_eq!(read(&device, 8192 + 4000, 96), vec![0; 96]);

    let text = b"one fish\ntwo fish\nred hat\nblue fish";
    assert!(device.write(PAGE, text));
    let ranges = vec![range(&device, 0, PAGE), range(&device, PAGE, text.len() as u64)];
    let grep = load(&object, "grep");
    let outcome = grep.run(&Invocation { data: b"fish\0".to_vec(), ..with(ranges) }, 1);
    let found = b"one fish\ntwo fish\nblue fish\n";
    assert_eq!(result(&outcome), found.len() as i64);
    assert_eq!(read(&device, 0, found.len()), found);
    assert_eq!(String::from_utf8_lossy(&outcome.output), "3 lines with fish\n");

    let points = [3.0f64, 0.0, 0.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    assert!(device.write(0, &points));
    let ranges = vec![range(&device, 0, 16), range(&device, 16, 16)];
    assert_eq!(result(&load(&object, "distance").run(&with(ranges), 1)), 5000);

    let count = load(&object, "count_runs");
    for _ in 0..3 {
        assert_eq!(result(&count.run(&with(vec![]), 2)), 1);
    }
    let arguments = load(&object, "arguments");
    let invocation = Invocation { param1: 3, param2: 2, ..with(vec![range(&device, 4, 7)]) };
    assert_eq!(result(&arguments.run(&invocation, 1)), 6_007_320);
    let invocation = Invocation { data: vec![1], ..invocation };
    assert_eq!(result(&arguments.run(&invocation, 1)), 1_007_321);

    let work = |n| load(&object, "work").run(&Invocation { param1: n, ..with(vec![]) }, 3).cpu_time;
    // Times of a machine that others use, too, say little: twenty times the work takes longer, and
    // that in one of several tries.
    let measured: Vec<_> = (0..5).map(|_| (work(1_000_000), work(20_000_000))).collect();
    for (short, long) in &measured {
        assert_eq!((short.samples, long.samples), (3, 3));
        assert!(short.least > Duration::ZERO && short.least <= short.median, "{short:?}");
    }
    assert!(measured.iter().any(|(short, long)| long.least > short.most), "{measured:?}");
    Ok(())
}

fn cpp_runs() -> Result<(), Failed> {
    let object = compile("exceptions.cc", &[]);
    let program = load(&object, "words");
    let device = memory(PAGE);
    let text = b"a rose is a rose is a rose ";
    assert!(device.write(0, text));
    let outcome = program.run(&with(vec![range(&device, 0, text.len() as u64)]), 1);
    assert_eq!((result(&outcome), &*outcome.output), (3, &b"3 words\n"[..]));
    let fault = load(&object, "throws").run(&with(vec![]), 1).result.unwrap_err();
    assert_eq!(fault.kind, ShellFaultKind::Crash, "{}", fault.text);
    assert!(fault.text.contains("exception"), "{}", fault.text);
    Ok(())
}

fn hostile_programs_end() -> Result<(), Failed> {
    use ShellFaultKind::{Budget, Crash, Memory, SystemCall};
    let object = compile("hostile.c", &[]);
    let device = memory(8 * PAGE);
    assert!(device.fill(0, 8 * PAGE, 0x55));
    for (function, kind, says) in [
        ("null", Memory, "SIGSEGV at address 0x0, in null+0x"),
        ("past_end", Memory, "in past_end"),
        ("before_start", Memory, "in before_start"),
        ("write_data", Crash, "aborted"),
        ("divide", Crash, "SIGFPE, in divide"),
        ("illegal", Crash, "SIGILL, in illegal"),
        ("exits", Crash, "exit 3"),
        ("endless", Budget, "did not end within 400ms"),
        ("sleeps", Budget, "compute.native_time_limit"),
        ("recursion", Memory, "its stack (8 MiB) is full"),
        ("ignores_signals", Budget, "did not end"),
        ("fork_bomb", SystemCall, "clone"),
        ("threads", SystemCall, "clone"),
        ("hundred_gib", Memory, "SIGSEGV"),
        ("opens", SystemCall, "openat"),
        ("fopens", SystemCall, "openat"),
        ("stats", SystemCall, "newfstatat"),
        ("creates", SystemCall, "openat"),
        ("traces", SystemCall, "getppid"),
        ("traces_parent", SystemCall, "ptrace"),
        ("reads_memory", SystemCall, "process_vm_readv"),
        ("kills", SystemCall, "kill"),
        ("kills_other", SystemCall, "tgkill"),
        ("connects", SystemCall, "socket"),
        ("executes", SystemCall, "execve"),
        ("new_rules", SystemCall, "prctl"),
        ("remaps", SystemCall, "number 216"),
        ("prints", Budget, "did not end"),
        ("lies", Memory, "SIGSEGV"),
        ("unpacked", Memory, "packed"),
        ("odd_call", SystemCall, "number -1"),
        ("unmasks", SystemCall, "openat"),
    ] {
        if cfg!(not(target_arch = "x86_64")) && ["divide", "remaps"].contains(&function) {
            continue;
        }
        let invocation = with(vec![range(&device, PAGE, PAGE)]);
        let began = Instant::now();
        let outcome = load(&object, function).run(&invocation, 1);
        let fault = outcome.result.expect_err(function);
        assert_eq!(fault.kind, kind, "{function}: {}", fault.text);
        assert!(fault.text.contains(says), "{function}: {}", fault.text);
        assert!(fault.text.contains(function), "{function}: {}", fault.text);
        assert!(began.elapsed() < Duration::from_secs(20), "{function}: {:?}", began.elapsed());
        assert!(outcome.output.len() <= 64 << 10, "{function}: {}", outcome.output.len());
        for others in [0, 2 * PAGE] {
            assert_eq!(read(&device, others, PAGE as usize), vec![0x55; PAGE as usize]);
        }
    }
    // What it wrote before it crashed stays, as with other programs.
    assert_eq!(read(&device, PAGE, 8), [7; 8]);
    for (function, least, most) in [
        ("memory_bomb", 1, MEMORY as i64 >> 20),
        ("grows", -12, -12),
        ("descriptors", 0, 0),
        ("steals", 0, 0),
        ("unmaps_ranges_for_more", 1, 1),
    ] {
        let outcome = load(&object, function).run(&with(vec![range(&device, PAGE, PAGE)]), 1);
        let result = result(&outcome);
        assert!((least..=most).contains(&result), "{function}: {result}");
    }
    assert!(!Path::new("/tmp/csdrive-native-was-here").exists());
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTERM] {
        let invocation = Invocation { param1: signal.into(), ..with(vec![]) };
        assert!(load(&object, "raises").run(&invocation, 1).result.is_err(), "{signal}");
    }
    Ok(())
}

fn constructors_run_in_the_sandbox() -> Result<(), Failed> {
    let object = compile("constructor.c", &[]);
    assert_eq!(result(&load(&object, "opened").run(&with(vec![]), 1)), 0);
    let object = compile("constructor.c", &["-DCONNECT"]);
    let fault = load(&object, "opened").run(&with(vec![]), 1).result.unwrap_err();
    assert_eq!(fault.kind, ShellFaultKind::SystemCall, "{}", fault.text);
    assert!(fault.text.contains("socket"), "{}", fault.text);
    Ok(())
}

fn a_run_sees_its_ranges_only() -> Result<(), Failed> {
    let object = compile("hostile.c", &[]);
    let device = memory(4 * PAGE);
    assert!(device.fill(0, 4 * PAGE, 0x55));
    // Bytes around it on its pages are not there either: it has a copy.
    let outcome = load(&object, "null").run(&with(vec![range(&device, 10, 100)]), 1);
    assert_eq!(outcome.result.unwrap_err().kind, ShellFaultKind::Memory);
    let read_only = Range { writable: false, ..range(&device, 0, PAGE) };
    let outcome = load(&object, "write_data").run(&with(vec![read_only]), 1);
    assert_eq!(outcome.result.unwrap_err().kind, ShellFaultKind::Memory);
    assert_eq!(read(&device, 0, 4), [0x55; 4]);
    Ok(())
}

fn ranges_that_share_pages_are_copied() -> Result<(), Failed> {
    let object = compile("hostile.c", &[]);
    let device = memory(4 * PAGE);
    assert!(device.fill(0, 4 * PAGE, 0x55));
    let outcome = load(&object, "write_data").run(&with(vec![range(&device, 5000, 5000)]), 1);
    assert_eq!(outcome.result.unwrap_err().kind, ShellFaultKind::Crash);
    let mut expected = vec![0x55; 4 * PAGE as usize];
    expected[5000..10_000].fill(7);
    assert!(read(&device, 0, 4 * PAGE as usize) == expected);
    Ok(())
}

/// Where the kernel does not know `close_range`, or a filter says so, descriptors are closed all the same.
fn descriptors_are_closed_everywhere() -> Result<(), Failed> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    let object = compile("hostile.c", &[]);
    let filtered = std::thread::spawn(move || {
        let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
        let rules = [(libc::SYS_close_range, Vec::new())].into();
        let machine = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, machine).unwrap();
        seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        let device = memory(4 * PAGE);
        for function in ["steals", "descriptors"] {
            let outcome = load(&object, function).run(&with(vec![range(&device, 0, PAGE)]), 1);
            assert_eq!(result(&outcome), 0, "{function}");
        }
    });
    filtered.join().map_err(|_| "a program found descriptors".into())
}

/// A program that only reads a range undoes nothing that others write there meanwhile.
fn what_a_run_does_not_change_is_not_written_back() -> Result<(), Failed> {
    let object = compile("hostile.c", &[]);
    let device = memory(2 * PAGE);
    let invocation = with(vec![range(&device, 8, 16)]);
    let (reader, writer) = (load(&object, "reads_only"), load(&object, "writes"));
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(result(&reader.run(&invocation, 1)), 0));
        assert_eq!(result(&writer.run(&invocation, 1)), 0);
    });
    assert_eq!(read(&device, 8, 16), [0x77; 16]);
    Ok(())
}

/// What a host sends costs time and memory in proportion to its bytes: a name without end is none.
fn names_without_end_cost_nothing() -> Result<(), Failed> {
    let mut object = compile("kernels.c", &[]);
    let word =
        |object: &[u8], at: usize| u64::from_le_bytes(object[at..at + 8].try_into().unwrap());
    let sections = word(&object, 0x28) as usize;
    let count = usize::from(u16::from_le_bytes([object[0x3C], object[0x3D]]));
    let long = object.len() as u64;
    object.extend(vec![b'x'; 30_000_000]);
    for n in 0..count {
        let header = sections + 64 * n;
        // String tables, of symbols and of sections: one name of 30 MB.
        if u32::from_le_bytes(object[header + 4..header + 8].try_into().unwrap()) == 3 {
            object[header + 24..header + 32].copy_from_slice(&long.to_le_bytes());
            object[header + 32..header + 40].copy_from_slice(&30_000_000u64.to_le_bytes());
        }
    }
    let loaded = programs(&config()).load(NativeSource::Uploaded(&object), Some("vadd"));
    let text = format!("{:?}", loaded.unwrap_err());
    assert!(text.len() < 2000, "{} bytes", text.len());
    Ok(())
}

fn a_run_that_nobody_wants_stops() -> Result<(), Failed> {
    let object = compile("hostile.c", &[]);
    let config = NativeConfig { time_limit: simtime::Duration::from_us(60_000_000), ..config() };
    let source = NativeSource::Uploaded(&object);
    let program = programs(&config).load(source, Some("ignores_signals")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let invocation = Invocation { stop: Some(Arc::clone(&stop)), ..with(vec![]) };
    for _ in 0..2 {
        stop.store(false, Ordering::Relaxed);
        let began = Instant::now();
        let later = Arc::clone(&stop);
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            later.store(true, Ordering::Relaxed);
        });
        let fault = program.run(&invocation, 1).result.unwrap_err();
        assert_eq!(fault.kind, ShellFaultKind::Stopped, "{}", fault.text);
        assert!(began.elapsed() < Duration::from_secs(30));
        other.join().unwrap();
    }
    Ok(())
}

fn samples_leave_memory_as_one_run_does() -> Result<(), Failed> {
    let object = compile("kernels.c", &[]);
    let device = memory(PAGE);
    assert!(device.write(0, &[1, 0, 0, 0, 2, 0, 0, 0]));
    // Adds in place: the second run would see the first one's.
    let ranges = vec![range(&device, 0, 8), range(&device, 0, 8)];
    let outcome = load(&object, "vadd").run(&Invocation { param1: 1, ..with(ranges) }, 5);
    assert_eq!((result(&outcome), outcome.cpu_time.samples), (1, 5));
    Ok(())
}

/// Processes of this executable that are workers, or runs of them.
fn workers() -> Vec<PathBuf> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    all.filter(|path| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let own = format!("PPid:\t{}\n", std::process::id());
        line.windows(WORKER_ARGUMENT.len()).any(|w| w == WORKER_ARGUMENT.as_bytes())
            && status.contains(&own)
    })
    .collect()
}

fn many_runs_at_a_time() -> Result<(), Failed> {
    let object = compile("kernels.c", &[]);
    let program = load(&object, "work");
    let invocation = Invocation { param1: 10_000_000, ..with(vec![]) };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    assert_eq!(result(&program.run(&invocation, 1)), 49_999_995_000_000);
                }
            });
        }
    });
    Ok(())
}

fn what_is_no_program_is_refused() -> Result<(), Failed> {
    let programs = programs(&config());
    let refusal = |bytes: &[u8], function: Option<&str>| match programs
        .load(NativeSource::Uploaded(bytes), function)
        .unwrap_err()
    {
        NativeLoadError::Refused(text) => text,
        other => panic!("{other:?}"),
    };
    let kernels = compile("kernels.c", &[]);
    assert!(refusal(b"", None).contains("not a shared object"));
    assert!(refusal(b"#!/bin/sh", None).contains("cc -shared"));
    assert!(refusal(&kernels[..100], None).contains("broken"));
    let several = refusal(&kernels, None);
    assert!(several.contains("several functions") && several.contains("vadd"), "{several}");
    let unknown = refusal(&kernels, Some("vsub"));
    assert!(unknown.contains("no function vsub, but"), "{unknown}");
    let relocatable = compile("kernels.c", &["-c", "-no-pie"]);
    assert!(refusal(&relocatable, None).contains("link it with cc -shared"));
    let missing = compile("kernels.c", &["-Wl,-soname,libelsewhere.so"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libelsewhere.so"), missing).unwrap();
    let search = format!("-L{}", folder.path().display());
    let needing = compile("constructor.c", &[&search, "-Wl,--no-as-needed", "-lelsewhere"]);
    let text = refusal(&needing, None);
    assert!(text.contains("libelsewhere.so"), "{text}");
    let mut other = kernels.clone();
    other[18] = 0xF3;
    assert!(refusal(&other, Some("vadd")).contains("another machine"));
    // Whatever the bytes are: an answer.
    for at in (0..kernels.len().min(4000)).step_by(7) {
        let mut broken = kernels.clone();
        broken[at] ^= 0xFF;
        if let Ok(program) = programs.load(NativeSource::Uploaded(&broken), Some("count_runs")) {
            let _ = program.run(&with(vec![]), 1);
        }
    }
    Ok(())
}

fn programs_by_name() -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("allowed");
    std::fs::create_dir(&inside).unwrap();
    let kernels = compile("kernels.c", &[]);
    std::fs::write(inside.join("kernels.so"), &kernels).unwrap();
    std::fs::write(folder.path().join("outside.so"), &kernels).unwrap();
    std::os::unix::fs::symlink("../outside.so", inside.join("link.so")).unwrap();
    std::os::unix::fs::symlink("/proc/self/exe", inside.join("magic.so")).unwrap();
    let config = NativeConfig { directory: inside.to_str().unwrap().to_owned(), ..config() };
    let programs = programs(&config);
    let by_name = |name| programs.load(NativeSource::Named(name), Some("count_runs"));
    assert_eq!(result(&by_name("kernels.so").unwrap().run(&with(vec![]), 1)), 1);
    for name in ["", "../outside.so", "/etc/passwd", "link.so", "magic.so", "absent.so", ".", ".."]
    {
        assert!(by_name(name).is_err(), "{name}");
    }
    Ok(())
}

fn threads_where_they_are_let() -> Result<(), Failed> {
    let object = compile("hostile.c", &["-pthread"]);
    let with_threads = NativeConfig { threads: true, memory_bytes: 256 << 20, ..config() };
    let load = |function| {
        let source = NativeSource::Uploaded(&object);
        programs(&with_threads).load(source, Some(function)).unwrap()
    };
    let invocation = || with(vec![range(&memory(PAGE), 0, PAGE)]);
    let outcome = load("works_with_threads").run(&invocation(), 1);
    assert_eq!(result(&outcome), 4);
    // All threads count: five times the work of one.
    let all = outcome.cpu_time.median;
    assert!(all > Duration::from_millis(10), "{all:?}");
    // Short times are known, too.
    for _ in 0..5 {
        let time = load("works_alone").run(&invocation(), 1).cpu_time.median;
        assert!(time > Duration::from_micros(20), "{time:?}");
    }
    // Memory ends it: each has a stack.
    let outcome = load("thread_bomb").run(&invocation(), 1);
    assert!((1..4096).contains(&result(&outcome)), "{outcome:?}");
    for function in ["fork_bomb", "opens", "executes", "kills_other"] {
        let fault = load(function).run(&invocation(), 1).result.expect_err(function);
        assert_eq!(fault.kind, ShellFaultKind::SystemCall, "{function}: {}", fault.text);
    }
    Ok(())
}

fn a_worker_that_dies_is_replaced() -> Result<(), Failed> {
    let object = compile("kernels.c", &[]);
    let program = load(&object, "count_runs");
    let before = workers();
    assert!(!before.is_empty());
    for path in &before {
        let pid = path.file_name().unwrap().to_str().unwrap();
        assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(result(&program.run(&with(vec![]), 1)), 1);
    drop(program);
    assert_eq!(workers(), Vec::<PathBuf>::new());
    Ok(())
}
