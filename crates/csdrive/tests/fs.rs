//! A drive as a file system on this machine: programs that run while others work, and what goes wrong meanwhile.
//! (With a kernel's own NVMe devices: `guest.rs`.)
//!
//! Where there is no FUSE, or it may not be used, the tests are reported as ignored, with the reason.

mod served;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use served::Served;

const CSDRIVE: &str = env!("CARGO_BIN_EXE_csdrive");

/// How long every program runs.
const RUN: Duration = Duration::from_secs(4);

/// A drive that is served and mounted.
struct Mounted {
    served: Served,
}

impl Mounted {
    fn new() -> Result<Self, Failed> {
        let settings = ["compute.units=4", "compute.run_time=declared", "compute.declared_time=4s"];
        let mounted = Self { served: Served::new(&settings) };
        fs::create_dir(mounted.path(""))?;
        let done = Command::new(CSDRIVE)
            .args(["fs", "mount"])
            .arg(mounted.served.socket())
            .arg(mounted.path(""))
            .output()?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
        }
        let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/programs/double.bpf.o");
        fs::copy(object, mounted.path("programs/double"))?;
        Ok(mounted)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.served.folder().join("mount").join(name)
    }

    /// Numbers to be doubled, and a place for the result.
    fn put(&self, number: u32) -> Result<String, Failed> {
        let numbers: Vec<u8> = (0..1024).flat_map(|n| (n + number).to_le_bytes()).collect();
        fs::write(self.path(&format!("memory/in{number}")), numbers)?;
        fs::write(self.path(&format!("memory/out{number}")), [0; 4096])?;
        Ok(format!("double out{number} in{number}"))
    }

    fn statistic(&self, name: &str) -> Result<u64, Failed> {
        let text = fs::read_to_string(self.path("statistics"))?;
        let statistics: serde_json::Value = serde_json::from_str(&text)?;
        Ok(statistics[name].as_u64().ok_or("no such number")?)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new(CSDRIVE).args(["fs", "unmount"]).arg(self.path("")).output();
    }
}

/// Executes a program by a handle of one's own; gives the answer.
fn run(file: &Path, request: &str) -> Result<String, Failed> {
    let mut run = File::options().read(true).write(true).open(file)?;
    let written = run.write_all(request.as_bytes());
    let mut answer = String::new();
    run.seek(SeekFrom::Start(0))?;
    run.read_to_string(&mut answer)?;
    written.map(|()| answer.clone()).map_err(|error| format!("{error}: {answer}").into())
}

/// Executes a program by a shell, which does not read the answer.
fn shell(file: &Path, request: &str) -> Result<String, Failed> {
    let command = format!("echo '{request}' > '{}'", file.display());
    let status = Command::new("sh").args(["-c", &command]).status()?;
    expect(status.success(), status.to_string())?;
    Ok(String::new())
}

/// Starts an execution and waits until it is under way.
fn start(mounted: &Mounted, request: String) -> std::thread::JoinHandle<Result<String, Failed>> {
    let file = mounted.path("run");
    let thread = std::thread::spawn(move || run(&file, &request));
    std::thread::sleep(Duration::from_millis(300));
    thread
}

fn finish(thread: std::thread::JoinHandle<Result<String, Failed>>) -> Result<String, Failed> {
    thread.join().map_err(|_| "a thread panicked")?
}

fn expect(is_so: bool, what: impl Into<String>) -> Result<(), Failed> {
    if is_so { Ok(()) } else { Err(what.into().into()) }
}

fn programs_run_side_by_side_and_others_work() -> Result<(), Failed> {
    let mounted = Mounted::new()?;
    let requests = [1, 2, 3, 4].map(|n| mounted.put(n));
    let began = Instant::now();
    let mut threads = Vec::new();
    for (n, request) in requests.into_iter().enumerate() {
        let (file, request) = (mounted.path("run"), request?);
        // As a program does it, and as a shell does: it makes the file empty first.
        let way = if n % 2 == 0 { shell } else { run };
        threads.push(std::thread::spawn(move || way(&file, &request)));
    }
    std::thread::sleep(Duration::from_millis(300));
    // Meanwhile.
    let others = Instant::now();
    for n in 0..20 {
        fs::write(mounted.path("memory/other"), vec![n; 10_000])?;
        expect(fs::read(mounted.path("memory/other"))? == vec![n; 10_000], "other bytes")?;
    }
    let others = others.elapsed();
    expect(fs::read_dir(mounted.path("memory"))?.count() == 9, "nine files")?;
    expect(threads.iter().all(|thread| !thread.is_finished()), "they run")?;
    for thread in threads {
        let answer = finish(thread)?;
        expect(answer.is_empty() || answer == "result 1024\n", answer)?;
    }
    let took = began.elapsed();
    expect(took < 3 * RUN, format!("{took:?}: one after the other"))?;
    expect(others < RUN - Duration::from_millis(300), format!("others waited {others:?}"))?;
    for n in 1..5u32 {
        let doubled: Vec<u8> = (0..1024).flat_map(|i| (2 * (i + n)).to_le_bytes()).collect();
        expect(fs::read(mounted.path(&format!("memory/out{n}")))? == doubled, "doubled")?;
    }
    Ok(())
}

fn files_of_a_program_that_runs_stay_where_they_are() -> Result<(), Failed> {
    let mounted = Mounted::new()?;
    let request = mounted.put(0)?;
    // In the way of its growth.
    fs::write(mounted.path("memory/neighbour"), [1; 4096])?;
    let thread = start(&mounted, request);
    let free = mounted.statistic("memory_free_bytes")?;
    let out = File::options().write(true).open(mounted.path("memory/out0"))?;
    let grown = out.set_len(1 << 20);
    expect(
        grown.as_ref().is_err_and(|error| error.raw_os_error() == Some(16)),
        format!("growing is {grown:?}, not EBUSY"),
    )?;
    let removed = fs::remove_file(mounted.path("programs/double"));
    expect(removed.is_err(), "a program that runs was removed")?;
    // A file that loses its name keeps its memory until the program has ended.
    fs::remove_file(mounted.path("memory/in0"))?;
    expect(mounted.statistic("memory_free_bytes")? == free, "memory was given to others")?;
    expect(finish(thread)? == "result 1024\n", "another result")?;
    expect(mounted.statistic("memory_free_bytes")? == free + 4096, "memory is not free again")?;
    out.set_len(1 << 20)?;
    fs::remove_file(mounted.path("programs/double"))?;
    Ok(())
}

fn more_programs_than_can_run_are_refused() -> Result<(), Failed> {
    let mounted = Mounted::new()?;
    fs::write(mounted.path("memory/in"), [0; 4096])?;
    fs::write(mounted.path("memory/out"), [0; 4096])?;
    let start = || {
        let file = mounted.path("run");
        std::thread::spawn(move || run(&file, "double out in"))
    };
    let threads: Vec<_> = (0..33).map(|_| start()).collect();
    std::thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    expect(fs::read_dir(mounted.path("memory"))?.count() == 2, "two files")?;
    expect(began.elapsed() < RUN - Duration::from_secs(1), "the file system stands still")?;
    let refused: Vec<_> = threads.iter().filter(|thread| thread.is_finished()).collect();
    expect(refused.len() == 1, format!("{} were refused", refused.len()))?;
    // The rest ends with the drive.
    let mut mounted = mounted;
    mounted.served.process.kill()?;
    let failures: Vec<String> = threads
        .into_iter()
        .filter_map(|thread| finish(thread).err())
        .map(|error| error.message().unwrap_or_default().to_owned())
        .collect();
    let full = failures.iter().filter(|text| text.contains("32 programs run already")).count();
    expect(failures.len() == 33 && full == 1, format!("{failures:?}"))
}

fn a_drive_that_vanishes_ends_what_runs() -> Result<(), Failed> {
    let mut mounted = Mounted::new()?;
    let request = mounted.put(0)?;
    let thread = start(&mounted, request);
    mounted.served.process.kill()?;
    let began = Instant::now();
    let answer = finish(thread);
    let text = answer.err().map(|error| error.message().unwrap_or_default().to_owned());
    let text = text.ok_or("it has a result")?;
    expect(text.contains("os error 5") && text.contains("gone"), text)?;
    expect(began.elapsed() < Duration::from_secs(30), "that took long")?;
    expect(fs::read(mounted.path("memory/in0")).is_err(), "memory can be read")?;
    expect(fs::read_dir(mounted.path("memory"))?.count() == 2, "names stay")?;
    Ok(())
}

fn errno(result: std::io::Result<impl Sized>, expected: i32, what: &str) -> Result<(), Failed> {
    let errno = result.err().and_then(|error| error.raw_os_error());
    expect(errno == Some(expected), format!("{what}: errno {errno:?}, not {expected}"))
}

fn memory_has_folders_and_links() -> Result<(), Failed> {
    const EPERM: i32 = 1;
    const ENOENT: i32 = 2;
    const EXDEV: i32 = 18;
    const ENAMETOOLONG: i32 = 36;
    const ENOTEMPTY: i32 = 39;
    let mounted = Mounted::new()?;
    let path = |name: &str| mounted.path(&format!("memory/{name}"));
    fs::create_dir_all(path("a/b/c"))?;
    fs::write(path("a/b/c/file"), b"deep")?;
    std::os::unix::fs::symlink("b/c/file", path("a/link"))?;
    expect(fs::read(path("a/link"))? == b"deep", "a link does not lead to its file")?;
    expect(fs::read_link(path("a/link"))? == Path::new("b/c/file"), "another target")?;
    // As tools do it: copies of trees, in and out, and what is found.
    let tree = mounted.served.folder().join("tree");
    for (from, to) in [(path("a"), tree.clone()), (tree.clone(), path("copy"))] {
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
        expect(copied.success(), "cp -a fails")?;
    }
    let diff = Command::new("diff").arg("-r").arg(&tree).arg(path("copy")).output()?;
    expect(diff.status.success() && diff.stdout.is_empty(), format!("{diff:?}"))?;
    let found = Command::new("find").arg(path("")).args(["-mindepth", "1"]).output()?;
    let found = String::from_utf8_lossy(&found.stdout).lines().count();
    expect(found == 10, format!("{found} names"))?;
    // Moves: within, into another folder, over an empty folder, into itself.
    fs::rename(path("a/b/c/file"), path("copy/moved"))?;
    expect(fs::read(path("copy/moved"))? == b"deep", "moved")?;
    fs::create_dir(path("empty"))?;
    fs::rename(path("a"), path("empty"))?;
    expect(fs::metadata(path("empty/b/c"))?.is_dir(), "a folder over an empty one")?;
    expect(fs::rename(path("empty"), path("empty/b/x")).is_err(), "a folder into itself")?;
    errno(fs::rename(path("copy"), path("empty")), ENOTEMPTY, "over a folder with names in it")?;
    errno(fs::remove_dir(path("empty")), ENOTEMPTY, "rmdir of a folder with names in it")?;
    errno(fs::rename(path("empty"), mounted.path("programs/x")), EXDEV, "memory to programs")?;
    errno(fs::create_dir(mounted.path("programs/x")), EPERM, "a folder of programs")?;
    let links = fs::metadata(path("empty"))?.nlink();
    expect(links == 3, format!("a folder with one folder in it has {links} links"))?;
    // Names.
    let longest = "n".repeat(255);
    fs::write(path(&longest), b"x")?;
    for name in ["n".repeat(256), "n".repeat(1024)] {
        errno(fs::write(path(&name), b"x"), ENAMETOOLONG, "a file")?;
        errno(fs::create_dir(path(&name)), ENAMETOOLONG, "a folder")?;
        errno(fs::rename(path(&longest), path(&name)), ENAMETOOLONG, "a new name")?;
        errno(fs::metadata(path(&name)), ENAMETOOLONG, "a look")?;
    }
    // A program's files may be in folders.
    fs::create_dir(path("data"))?;
    fs::write(path("data/in"), 21u32.to_le_bytes())?;
    fs::write(path("data/out"), [0; 4])?;
    let answer = run(&mounted.path("run"), "double data/out memory/data/in")?;
    expect(answer == "result 1\n" && fs::read(path("data/out"))? == 42u32.to_le_bytes(), answer)?;
    expect(run(&mounted.path("run"), "double data data/in").is_err(), "a folder as a range")?;
    // All of it goes, and its memory is free again.
    for name in ["empty", "copy", "data"] {
        fs::remove_dir_all(path(name))?;
    }
    fs::remove_file(path(&longest))?;
    errno(fs::metadata(path("copy")), ENOENT, "what was removed")?;
    let (free, all) = (mounted.statistic("memory_free_bytes")?, mounted.statistic("memory_bytes")?);
    expect(free == all, format!("{free} of {all} bytes are free"))
}

fn programs_of_before_and_of_others_are_there() -> Result<(), Failed> {
    let mounted = Mounted::new()?;
    let names = || -> Result<Vec<String>, Failed> {
        let mut names = Vec::new();
        for entry in fs::read_dir(mounted.path("programs"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    };
    let csdrive = |arguments: &[&str]| Command::new(CSDRIVE).args(arguments).output();
    expect(names()? == ["double"], format!("{:?}", names()?))?;
    let folder = mounted.path("").display().to_string();
    expect(csdrive(&["fs", "unmount", &folder])?.status.success(), "unmount")?;
    // It may take a moment until the server is gone.
    let socket = mounted.served.socket().display().to_string();
    let document = csdrive(&["fs", "mount", "--json", &socket, &folder])?;
    let text = String::from_utf8_lossy(&document.stdout).into_owned();
    let document: serde_json::Value = serde_json::from_str(&text)?;
    expect(document["mounted"] == folder.as_str() && document["pid"].is_u64(), text)?;
    expect(names()? == ["program-1"], format!("after a remount: {:?}", names()?))?;
    let text = fs::read_to_string(mounted.path("programs/program-1"))?;
    expect(text.starts_with("loaded and active\nindex 1\n"), text)?;
    let request = mounted.put(3)?.replace("double", "program-1");
    expect(run(&mounted.path("run"), &request)? == "result 1024\n", "another result")?;
    fs::remove_file(mounted.path("programs/program-1"))?;
    expect(names()?.is_empty(), "a program that was removed")
}

fn what_cannot_be_mounted_is_named() -> Result<(), Failed> {
    let served = Served::new(&[]);
    let file = served.folder().join("file");
    fs::write(&file, "kept")?;
    let mount = |arguments: &[&Path]| {
        let output = Command::new(CSDRIVE)
            .args(["fs", "mount"])
            .arg(served.socket())
            .args(arguments)
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok::<_, Failed>((output.status.code(), text))
    };
    let (code, text) = mount(&[&file])?;
    expect(code == Some(2) && text.contains("not a directory"), text)?;
    expect(fs::read(&file)? == b"kept", "the file")?;
    let nowhere = Path::new("/nonexist");
    let folder = served.folder().join("mount");
    fs::create_dir(&folder)?;
    let (code, text) = mount(&[&folder, Path::new("--storage"), nowhere])?;
    expect(code == Some(2) && text.contains("storage folder /nonexist"), text)?;
    let (code, text) = mount(&[nowhere])?;
    expect(code == Some(2) && text.contains("/nonexist"), text)
}

fn thousands_of_small_files() -> Result<(), Failed> {
    let mounted = Mounted::new()?;
    for n in 0..3000 {
        fs::write(mounted.path(&format!("memory/f{n}")), format!("{n}"))?;
    }
    expect(fs::read_dir(mounted.path("memory"))?.count() == 3000, "3000 files")?;
    expect(fs::read(mounted.path("memory/f2999"))? == b"2999", "its bytes")?;
    for n in 0..3000 {
        fs::remove_file(mounted.path(&format!("memory/f{n}")))?;
    }
    expect(fs::read_dir(mounted.path("memory"))?.count() == 0, "none")
}

/// Why file systems cannot be mounted here.
fn obstacle() -> Option<String> {
    let opened = File::options().read(true).write(true).open("/dev/fuse");
    if let Err(error) = opened {
        return Some(format!("/dev/fuse: {error}"));
    }
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let helper = Command::new("fusermount3").arg("--version").output();
    (!is_root && helper.is_err()).then(|| "neither root nor fusermount3 (fuse3)".to_owned())
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Times are compared.
    arguments.test_threads = Some(1);
    type Test = fn() -> Result<(), Failed>;
    let tests: [(&str, Test); 8] = [
        ("programs_run_side_by_side_and_others_work", programs_run_side_by_side_and_others_work),
        (
            "files_of_a_program_that_runs_stay_where_they_are",
            files_of_a_program_that_runs_stay_where_they_are,
        ),
        ("more_programs_than_can_run_are_refused", more_programs_than_can_run_are_refused),
        ("a_drive_that_vanishes_ends_what_runs", a_drive_that_vanishes_ends_what_runs),
        ("memory_has_folders_and_links", memory_has_folders_and_links),
        ("programs_of_before_and_of_others_are_there", programs_of_before_and_of_others_are_there),
        ("what_cannot_be_mounted_is_named", what_cannot_be_mounted_is_named),
        ("thousands_of_small_files", thousands_of_small_files),
    ];
    let obstacle = if arguments.list { None } else { obstacle() };
    let trial = |(name, test): (&str, Test)| match &obstacle {
        None => Trial::test(name, test),
        Some(why) => {
            Trial::test(format!("{name} (SKIPPED: {why})"), || Ok(())).with_ignored_flag(true)
        }
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit();
}
