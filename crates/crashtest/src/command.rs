//! A command of the user's as a checker: it finds the state in a file.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::Checker;
use crate::content::ContentId;
use crate::state::{State, Verdict};

/// Why a state cannot be checked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum CheckerError {
    #[error("{}: {cause}; states are put into this folder (TMPDIR): it needs room for them", .path.display())]
    Image { path: PathBuf, cause: io::Error },
    #[error("sh: {0}")]
    Shell(io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// What is kept of a checker's output.
const OUTPUT_BYTES: usize = 4096;

/// Runs a command of the shell for each state, several at a time. The command finds
/// - the state in a file, `$CSDRIVE_IMAGE`, which it may change;
/// - what the host had said before in `$CSDRIVE_MARKS`, a file with a line for each mark.
///
/// It succeeds if all is well.
#[derive(Debug)]
pub struct CommandChecker {
    command: String,
    limit: Duration,
    stop: Arc<AtomicBool>,
    slots: Vec<Slot>,
}

impl CommandChecker {
    /// So many at a time, each for no longer than a limit. Images are in a temporary folder. When `stop` is set, checks end, and
    /// there is an error.
    ///
    /// # Errors
    /// If there is no folder.
    pub fn new(
        command: &str,
        at_a_time: usize,
        limit: Duration,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, CheckerError> {
        let slots = (0..at_a_time.max(1)).map(|_| Slot::new()).collect::<Result<_, _>>()?;
        Ok(Self { command: command.to_owned(), limit, stop, slots })
    }
}

impl Checker for CommandChecker {
    fn check(&mut self, states: &[State<'_>]) -> Result<Vec<Verdict>, CheckerError> {
        let (command, limit, stop) = (&self.command, self.limit, &*self.stop);
        let mut verdicts = Vec::new();
        for some in states.chunks(self.slots.len()) {
            std::thread::scope(|scope| {
                let run = |(slot, state)| {
                    scope.spawn(move || Slot::check(slot, command, (limit, stop), state))
                };
                let running: Vec<_> = self.slots.iter_mut().zip(some).map(run).collect();
                for thread in running {
                    let verdict =
                        thread.join().unwrap_or_else(|bug| std::panic::resume_unwind(bug));
                    verdicts.push(verdict?);
                }
                Ok(())
            })?;
        }
        Ok(verdicts)
    }

    fn batch(&self) -> usize {
        self.slots.len()
    }
}

/// A folder with an image, and what is in it.
#[derive(Debug)]
struct Slot {
    folder: tempfile::TempDir,
    image: File,
    /// What the image holds, as it was written last, and what the file was like then.
    holds: HashMap<u64, ContentId>,
    written: Option<Looks>,
    /// Changes of the image by others can be seen: not on file systems that do not note them.
    has_times: bool,
}

/// What changes of a file when somebody writes to it, or puts another in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Looks {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    /// Nobody can set this one.
    changed: (i64, i64),
}

impl Looks {
    fn of(about: &Metadata) -> Self {
        Self {
            file: (about.dev(), about.ino()),
            bytes: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

/// The time of an image that nobody has changed.
fn untouched() -> FileTimes {
    FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
}

impl Slot {
    fn new() -> Result<Self, CheckerError> {
        let failed = |cause| CheckerError::Image { path: std::env::temp_dir(), cause };
        let folder = tempfile::Builder::new().prefix("csdrive-crashtest-").tempdir();
        let folder = folder.map_err(failed)?;
        let path = folder.path().join("image");
        let options = File::options().read(true).write(true).create_new(true).open(path);
        let image = options.map_err(failed)?;
        // tmpfs does not note what is written through a mapping.
        const TMPFS: i64 = 0x0102_1994;
        let kind = rustix::fs::fstatfs(&image).map(|about| about.f_type);
        let has_times = kind.is_ok_and(|kind| kind != TMPFS);
        Ok(Self { folder, image, holds: HashMap::new(), written: None, has_times })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn check(
        slot: &mut Self,
        command: &str,
        until: (Duration, &AtomicBool),
        state: &State<'_>,
    ) -> Result<Verdict, CheckerError> {
        slot.put(state).map_err(|cause| CheckerError::Image { path: slot.path(), cause })?;
        let marks = slot.folder.path().join("marks");
        let text: String = state.marks().iter().map(|mark| format!("{mark}\n")).collect();
        fs::write(&marks, text)
            .map_err(|cause| CheckerError::Image { path: marks.clone(), cause })?;
        run(command, &slot.path(), &marks, until)
    }

    /// Brings the image into a state.
    fn put(&mut self, state: &State<'_>) -> io::Result<()> {
        let path = self.path();
        let looks = fs::symlink_metadata(&path).ok().map(|about| Looks::of(&about));
        let is_as_it_was = self.has_times && looks.is_some() && looks == self.written;
        if !is_as_it_was {
            // The checker may have put another file in its place.
            let _ = fs::remove_file(&path);
            self.image = File::options().read(true).write(true).create_new(true).open(&path)?;
            self.holds.clear();
            self.image.set_len(state.bytes())?;
        }
        let block_bytes = u64::from(state.block_bytes());
        let zeroes = vec![0; block_bytes as usize];
        let mut held = std::mem::take(&mut self.holds);
        for (block, content) in state.written() {
            if held.remove(&block) != Some(content) {
                self.image.write_all_at(state.contents.get(content), block * block_bytes)?;
            }
            self.holds.insert(block, content);
        }
        for block in held.into_keys() {
            self.image.write_all_at(&zeroes, block * block_bytes)?;
        }
        self.image.set_times(untouched())?;
        self.written = Some(Looks::of(&self.image.metadata()?));
        Ok(())
    }
}

/// Runs the command; when it ends, or at the limit, its process group ends, too: whatever it started and did not give a group of its own.
fn run(
    command: &str,
    image: &Path,
    marks: &Path,
    until: (Duration, &AtomicBool),
) -> Result<Verdict, CheckerError> {
    let mut output = tempfile::tempfile().map_err(CheckerError::Shell)?;
    let to = |file: &File| file.try_clone().map(Stdio::from).map_err(CheckerError::Shell);
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("CSDRIVE_IMAGE", image)
        .env("CSDRIVE_MARKS", marks)
        .stdin(Stdio::null())
        .stdout(to(&output)?)
        .stderr(to(&output)?)
        .process_group(0)
        .spawn()
        .map_err(CheckerError::Shell)?;
    let ended = wait(&mut child, until);
    end_group(&child);
    let ended = ended.map_err(CheckerError::Shell)?;
    let (limit, stop) = until;
    if stop.load(Ordering::Relaxed) {
        return Err(CheckerError::Interrupted);
    }
    let why = match ended {
        Some(status) if status.success() => return Ok(Verdict::Holds),
        Some(status) => how(status),
        None => format!("it did not end within {limit:?} (--timeout)"),
    };
    let mut text = Vec::new();
    let len = output.seek(SeekFrom::End(0)).map_err(CheckerError::Shell)?;
    output
        .seek(SeekFrom::Start(len.saturating_sub(OUTPUT_BYTES as u64)))
        .map_err(CheckerError::Shell)?;
    output.read_to_end(&mut text).map_err(CheckerError::Shell)?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    Ok(Verdict::Fails(if text.is_empty() { why } else { format!("{why}: {text}") }))
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Ends what is left of a child's process group.
fn end_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // Mostly there is nothing left.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Waits for a child until the limit; `None` if it was ended there.
fn wait(
    child: &mut Child,
    (limit, stop): (Duration, &AtomicBool),
) -> io::Result<Option<ExitStatus>> {
    let (began, mut pause) = (Instant::now(), Duration::from_micros(200));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= limit || stop.load(Ordering::Relaxed) {
            end_group(child);
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}
