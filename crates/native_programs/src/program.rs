//! Native programs, for a drive.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use controller::limits::PROGRAM_BYTES_MAX;
use controller::{
    Counts, CpuTime, Invocation, NativeConfig, NativeLoadError, NativePrograms, NativeSource,
    ShellFault, ShellFaultKind, ShellOutcome, ShellProgram,
};
use ebpf::{Range, SharedMemory};
use rustix::fs::{MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags};
use zerocopy::{FromZeros, IntoBytes};

use crate::job::{
    DATA_AT, Ended, HEADER_AT, Header, PAGE, RANGES_AT, RANGES_MAX, RangeEntry, Report, stage,
};
use crate::library::{Library, is_plain};
use crate::process::{Process, StartError};
use crate::system_calls;

/// Most workers that wait, of all programs of a drive.
const IDLE_MAX: usize = 16;

/// What the refusal of a system call reminds of.
const MAY: &str = "a program may use its ranges, memory of its own and standard output, no files, processes, network, or threads (unless compute.native_threads = true)";

/// Loads native programs, each with processes of its own.
#[derive(Clone, Debug)]
pub struct Programs {
    /// What calls [`crate::worker_main`] if its first argument is [`crate::WORKER_ARGUMENT`].
    executable: PathBuf,
    config: NativeConfig,
    /// Workers of all programs that wait.
    idle: Arc<AtomicUsize>,
}

impl Programs {
    /// Processes are made of this executable.
    pub fn new(executable: &Path, config: &NativeConfig) -> Self {
        Self { executable: executable.to_owned(), config: config.clone(), idle: Arc::default() }
    }

    /// The name of a file in the folder; FEMU's hosts give the whole path.
    fn name_of<'a>(&self, path: &'a str) -> Result<&'a str, String> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok(path) };
        let folder = &self.config.directory;
        // As they are written: whoever asks learns nothing of other folders.
        let canonical = Path::new(folder).canonicalize().unwrap_or_default();
        match [Path::new(folder), &canonical].contains(&Path::new(parent)) {
            true => Ok(name),
            false => Err(format!(
                "{path:?} is not in compute.native_directory = {folder:?}, the folder of the programs that hosts may name"
            )),
        }
    }

    /// The bytes of a file in the folder.
    fn read_named(&self, path: &str) -> Result<Vec<u8>, String> {
        let folder = &self.config.directory;
        let name = self.name_of(path)?;
        if !is_plain(name) {
            return Err(format!(
                "{name:?} is not a name: give one of a file in compute.native_directory, of letters, digits and . _ + -"
            ));
        }
        let failed = |error: io::Error| format!("{name} in compute.native_directory: {error}");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty())
            .map_err(|error| format!("compute.native_directory = {folder:?}: {error}"))?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(folder, name, flags, Mode::empty(), beneath);
        let file = File::from(file.map_err(|error| failed(error.into()))?);
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(format!("{name} in compute.native_directory is not a file"));
        }
        let mut bytes = Vec::new();
        file.take(PROGRAM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > PROGRAM_BYTES_MAX {
            return Err(format!("{name}: more than {PROGRAM_BYTES_MAX} bytes"));
        }
        Ok(bytes)
    }
}

impl NativePrograms for Programs {
    fn load(
        &self,
        source: NativeSource<'_>,
        function: Option<&str>,
    ) -> Result<Arc<dyn ShellProgram>, NativeLoadError> {
        use NativeLoadError::{Host, Refused};
        if cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))) {
            return Err(Host("native programs run on x86-64 and aarch64 machines only".to_owned()));
        }
        let read;
        let bytes = match source {
            NativeSource::Uploaded(bytes) => bytes,
            NativeSource::Named(name) => {
                read = self.read_named(name).map_err(Refused)?;
                &read
            }
        };
        let library = Library::inspect(bytes, function).map_err(Refused)?;
        let object = seal(bytes);
        let object = object.map_err(|error| Host(format!("memory for the program: {error}")))?;
        let program = Program { programs: self.clone(), library, object, idle: Mutex::default() };
        // That libraries are missing is known now, and not when the program runs.
        let first = program.start().map_err(|error| match error {
            StartError::Libraries(text) => Refused(text),
            StartError::Host(text) => Host(text),
        })?;
        program.keep(first);
        Ok(Arc::new(program))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, NativeLoadError> {
        self.read_named(path).map_err(NativeLoadError::Refused)
    }
}

/// The object in memory that nobody can change.
fn seal(bytes: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("csdrive-native", flags)?);
    file.write_all(bytes)?;
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, all)?;
    Ok(file)
}

/// A native program; its workers end with it.
#[derive(Debug)]
struct Program {
    programs: Programs,
    library: Library,
    object: File,
    /// Workers that wait: as many as there were runs at a time.
    idle: Mutex<Vec<Process>>,
}

/// What a run is given.
struct Job {
    file: SharedMemory,
    memories: Vec<Arc<SharedMemory>>,
    /// Ranges that the run has copies of: which, and where in the memory of the copies.
    copied: Vec<(Range, u64)>,
    copies: Option<Arc<SharedMemory>>,
    /// What the copies were.
    originals: Option<SharedMemory>,
}

impl Program {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> Result<Process, StartError> {
        let Library { function, needed, .. } = &self.library;
        let executable = &self.programs.executable;
        // Opened anew: where a reader of it is, is not shared with other workers.
        let own = File::open(format!("/proc/self/fd/{}", self.object.as_raw_fd()));
        let own = own.map_err(|error| StartError::Host(format!("/proc/self/fd: {error}")))?;
        Process::start(executable, own.as_fd(), function, needed)
    }

    /// A worker that waits, or else a new one.
    fn free_process(&self) -> Result<Process, StartError> {
        while let Some(mut process) = self.take_idle() {
            if process.is_there() {
                return Ok(process);
            }
        }
        self.start()
    }

    fn take_idle(&self) -> Option<Process> {
        let process = self.idle().pop()?;
        self.programs.idle.fetch_sub(1, Ordering::Relaxed);
        Some(process)
    }

    /// Keeps a worker for the next run, unless many wait: each holds a process and descriptors.
    fn keep(&self, process: Process) {
        if self.programs.idle.fetch_add(1, Ordering::Relaxed) < IDLE_MAX {
            self.idle().push(process);
        } else {
            self.programs.idle.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn run_once(&self, invocation: &Invocation, on_copies: bool) -> ShellOutcome {
        let config = &self.programs.config;
        let host = |text: String| {
            let fault = ShellFault { kind: ShellFaultKind::Host, text };
            ShellOutcome {
                result: Err(fault),
                counts: Counts::default(),
                output: Vec::new(),
                cpu_time: CpuTime::default(),
            }
        };
        let job = match Job::new(invocation, config, on_copies) {
            Ok(job) => job,
            Err(error) => return host(format!("memory for a native program: {error}")),
        };
        let mut process = match self.free_process() {
            Ok(process) => process,
            Err(error) => return host(error.to_string()),
        };
        let files: Vec<BorrowedFd<'_>> = [&job.file]
            .into_iter()
            .chain(job.memories.iter().map(|m| &**m))
            .map(SharedMemory::file)
            .collect();
        let (mut output, stop) = (Vec::new(), invocation.stop.as_deref());
        let limit = Duration::from_nanos(config.time_limit.as_ns());
        let ended = process.run(&files, limit, stop, &mut output);
        if ended.is_some() {
            self.keep(process);
        }
        if !on_copies {
            job.copy_back();
        }
        let report = job.report();
        let result = match ended {
            Some(ended) => self.judge(ended, &report),
            None => Err((ShellFaultKind::Host, "the worker process is gone".to_owned())),
        };
        let result = result.map_err(|(kind, text)| {
            let text = format!("native program {}: {text}", self.library.function);
            ShellFault { kind, text }
        });
        // What the program says of itself; more than its limit it cannot have had. What ended early is no sample.
        let time = Duration::from_nanos(report.cpu_ns).min(limit);
        let times = result.iter().map(|_| time).collect();
        ShellOutcome { result, counts: Counts::default(), output, cpu_time: CpuTime::of(times) }
    }

    /// What became of a run.
    fn judge(&self, ended: Ended, report: &Report) -> Result<u64, (ShellFaultKind, String)> {
        use ShellFaultKind::{Budget, Crash, Host, Memory, Stopped, SystemCall};
        let limit = Duration::from_nanos(self.programs.config.time_limit.as_ns());
        Err(match ended {
            Ended::Exited(0) if report.stage == stage::RETURNED => return Ok(report.result),
            Ended::Exited(_) if report.is_refused != 0 => {
                let call = system_calls::name(report.system_call);
                (SystemCall, format!("made the system call {call}; {MAY}"))
            }
            Ended::Exited(_) if report.stage == stage::PREPARING => {
                (Host, format!("could not be made ready: {}", report.text()))
            }
            Ended::Exited(_) if report.stage == stage::LOADING && report.text_len > 0 => {
                (Crash, format!("could not be loaded: {}", report.text()))
            }
            Ended::Exited(_) if report.text_len > 0 => (Crash, report.text()),
            Ended::Exited(code) => (Crash, format!("ended its process (exit {code})")),
            Ended::Signalled(signal) if report.stage == stage::LOADING => {
                (Crash, format!("could not be loaded: it ended by signal {signal}"))
            }
            // Refused while the program had this signal blocked, as the C library does to start a thread.
            Ended::Signalled(libc::SIGSYS) => (
                SystemCall,
                format!(
                    "made a system call that it may not make (clone, to start a thread?); {MAY}"
                ),
            ),
            Ended::Signalled(signal @ (libc::SIGSEGV | libc::SIGBUS)) => {
                // What a function touches below its stack pointer, and what pushes it there.
                let is_stack = report.stack.abs_diff(report.address) < 64 << 10;
                let hint = if is_stack {
                    "; its stack (8 MiB) is full"
                } else {
                    "; are the fields of its struct cemu_args packed, and does it have the ranges that it expects?"
                };
                let place = self.place(report);
                let name = if signal == libc::SIGSEGV { "SIGSEGV" } else { "SIGBUS" };
                (Memory, format!("{name} at address {:#x}{place}{hint}", report.address))
            }
            Ended::TimeOver => {
                (Budget, format!("did not end within {limit:?} (compute.native_time_limit)"))
            }
            Ended::Signalled(libc::SIGABRT) => (Crash, "aborted (SIGABRT)".to_owned()),
            Ended::Signalled(libc::SIGILL) => (Crash, format!("SIGILL{}", self.place(report))),
            Ended::Signalled(libc::SIGFPE) => (Crash, format!("SIGFPE{}", self.place(report))),
            Ended::Signalled(libc::SIGKILL) => {
                (Crash, "was killed (is this machine short of memory?)".to_owned())
            }
            Ended::Signalled(signal) => (Crash, format!("ended by signal {signal}")),
            Ended::Cancelled => (Stopped, "stopped".to_owned()),
            Ended::NotStarted(error) => {
                (Host, format!("no process for it: {}", io::Error::from_raw_os_error(error)))
            }
        })
    }

    /// Where a signal came from, as the report has it.
    fn place(&self, report: &Report) -> String {
        let place = self.library.locate(report.instruction, report.base);
        place.map_or_else(String::new, |place| format!(", in {place}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        while self.take_idle().is_some() {}
    }
}

impl ShellProgram for Program {
    fn run(&self, invocation: &Invocation, samples: u32) -> ShellOutcome {
        let mut times = Vec::new();
        for _ in 1..samples {
            let outcome = self.run_once(invocation, true);
            // What ends early does so each time.
            if outcome.result.is_err() {
                break;
            }
            times.push(outcome.cpu_time.median);
        }
        let mut outcome = self.run_once(invocation, false);
        times.extend(outcome.result.iter().map(|_| outcome.cpu_time.median));
        outcome.cpu_time = CpuTime::of(times);
        outcome
    }
}

impl Job {
    /// A run has the pages of its ranges themselves, if they hold nothing else and it may write them, and otherwise copies of the
    /// ranges.
    fn new(invocation: &Invocation, config: &NativeConfig, on_copies: bool) -> io::Result<Self> {
        let ranges = &invocation.ranges;
        if ranges.len() > RANGES_MAX {
            return Err(io::Error::other(format!("{} ranges", ranges.len())));
        }
        let must_copy = |range: &Range| on_copies || !range.writable || !has_whole_pages(range);
        let of_copy = |range: &Range| (range.offset % PAGE + range.len).next_multiple_of(PAGE);
        let copied_bytes = ranges.iter().filter(|range| must_copy(range)).map(of_copy).sum();
        let copies = match copied_bytes {
            0 => None,
            bytes => Some(Arc::new(SharedMemory::new(bytes)?)),
        };
        let mut memories: Vec<Arc<SharedMemory>> = copies.iter().cloned().collect();
        let (mut entries, mut copied, mut next) = (Vec::new(), Vec::new(), 0);
        for range in ranges {
            let (memory, offset) = match &copies {
                Some(copies) if must_copy(range) => {
                    let at = next + range.offset % PAGE;
                    next += of_copy(range);
                    if !copies.copy_from(&range.memory, range.offset, at, range.len) {
                        return Err(io::Error::other("a range is not within its memory"));
                    }
                    copied.push((range.clone(), at));
                    (copies, at)
                }
                _ => (&range.memory, range.offset),
            };
            let known = memories.iter().position(|other| Arc::ptr_eq(other, memory));
            let file = known.unwrap_or_else(|| {
                memories.push(Arc::clone(memory));
                memories.len() - 1
            });
            entries.push(RangeEntry {
                offset,
                len: range.len,
                // The first file is the job's.
                file: file as u32 + 1,
                writable: range.writable.into(),
            });
        }
        let originals = match &copies {
            Some(copies) if !on_copies => {
                let originals = SharedMemory::new(copied_bytes)?;
                assert!(originals.copy_from(copies, 0, 0, copied_bytes), "they are as long");
                Some(originals)
            }
            _ => None,
        };
        let data = &invocation.data;
        let file = SharedMemory::new(DATA_AT + data.len() as u64)?;
        let header = Header {
            ranges: ranges.len() as u64,
            param1: invocation.param1,
            param2: invocation.param2,
            data_len: data.len() as u64,
            memory_bytes: config.memory_bytes,
            time_limit_ns: config.time_limit.as_ns(),
            threads: config.threads.into(),
        };
        let is_written = file.write(HEADER_AT, header.as_bytes())
            && file.write(RANGES_AT, entries.as_bytes())
            && file.write(DATA_AT, data);
        assert!(is_written, "the file has room for it");
        Ok(Self { file, memories, copied, copies, originals })
    }

    /// Puts what the run changed in copies where it belongs. What it did not change, others may have changed meanwhile.
    fn copy_back(&self) {
        let (Some(copies), Some(originals)) = (&self.copies, &self.originals) else { return };
        let (mut now, mut before) = (vec![0; PIECE], vec![0; PIECE]);
        for (range, at) in self.copied.iter().filter(|(range, _)| range.writable) {
            for start in (0..range.len).step_by(PIECE) {
                let len = (range.len - start).min(PIECE as u64) as usize;
                let (now, before) = (&mut now[..len], &mut before[..len]);
                let are_read = copies.read(at + start, now) && originals.read(at + start, before);
                assert!(are_read, "the copies are as long as the ranges");
                for (from, to) in changes(before, now) {
                    let is_written =
                        range.memory.write(range.offset + start + from as u64, &now[from..to]);
                    assert!(is_written, "it was copied from there");
                }
            }
        }
    }

    fn report(&self) -> Report {
        let mut report = Report::new_zeroed();
        assert!(self.file.read(0, report.as_mut_bytes()), "the file begins with it");
        report
    }
}

/// Bytes that are compared at a time.
const PIECE: usize = 64 << 10;

/// Where two pieces of the same length differ: from, to.
fn changes(before: &[u8], now: &[u8]) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    if before == now {
        return found;
    }
    for at in (0..now.len()).filter(|at| before[*at] != now[*at]) {
        match found.last_mut() {
            Some((_, to)) if *to == at => *to += 1,
            _ => found.push((at, at + 1)),
        }
    }
    found
}

/// True if nothing but the range is on its pages.
fn has_whole_pages(range: &Range) -> bool {
    let end = range.offset + range.len;
    range.offset.is_multiple_of(PAGE) && (end.is_multiple_of(PAGE) || end == range.memory.len())
}
