//! A command of the user's as a checker: it finds the state in a file.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
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
    slots: Vec<Slot>,
}

impl CommandChecker {
    /// So many at a time, each for no longer than a limit. Images are in a temporary folder.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(command: &str, at_a_time: usize, limit: Duration) -> Result<Self, CheckerError> {
        let slots = (0..at_a_time.max(1)).map(|_| Slot::new()).collect::<Result<_, _>>()?;
        Ok(Self { command: command.to_owned(), limit, slots })
    }
}

impl Checker for CommandChecker {
    fn check(&mut self, states: &[State<'_>]) -> Result<Vec<Verdict>, CheckerError> {
        let (command, limit) = (&self.command, self.limit);
        let mut verdicts = Vec::new();
        for some in states.chunks(self.slots.len()) {
            std::thread::scope(|scope| {
                let run =
                    |(slot, state)| scope.spawn(move || Slot::check(slot, command, limit, state));
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
    /// What the image holds, as it was written last.
    holds: HashMap<u64, ContentId>,
    bytes: u64,
    /// Changes of the image by others can be seen: not on file systems that do not note them.
    has_times: bool,
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
        Ok(Self { folder, image, holds: HashMap::new(), bytes: 0, has_times })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn check(
        slot: &mut Self,
        command: &str,
        limit: Duration,
        state: &State<'_>,
    ) -> Result<Verdict, CheckerError> {
        slot.put(state).map_err(|cause| CheckerError::Image { path: slot.path(), cause })?;
        let marks = slot.folder.path().join("marks");
        let text: String = state.marks().iter().map(|mark| format!("{mark}\n")).collect();
        fs::write(&marks, text)
            .map_err(|cause| CheckerError::Image { path: marks.clone(), cause })?;
        run(command, &slot.path(), &marks, limit)
    }

    /// Brings the image into a state.
    fn put(&mut self, state: &State<'_>) -> io::Result<()> {
        let path = self.path();
        let is_as_it_was = self.has_times
            && self.bytes == state.bytes()
            && fs::metadata(&path).is_ok_and(|about| {
                about.len() == self.bytes
                    && about.modified().ok()
                        == Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            });
        if !is_as_it_was {
            // The checker may have put another file in its place.
            let _ = fs::remove_file(&path);
            self.image = File::options().read(true).write(true).create_new(true).open(&path)?;
            self.holds.clear();
            self.bytes = state.bytes();
            self.image.set_len(self.bytes)?;
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
        self.image.set_times(untouched())
    }
}

/// Runs the command; it and all that it started ends at the limit.
fn run(
    command: &str,
    image: &Path,
    marks: &Path,
    limit: Duration,
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
    let ended = wait(&mut child, limit).map_err(CheckerError::Shell)?;
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

/// Waits for a child until the limit; `None` if it was ended there.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let (began, mut pause) = (Instant::now(), Duration::from_micros(200));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= limit {
            let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}
