//! A worker process, as the drive sees it.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, send, sendmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::job::{ENDED_BYTES, Ended};
use crate::worker::{self, WORKER_ARGUMENT};

/// How often it is looked whether the run is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Time for a worker to kill a run, beyond the run's own.
const GRACE: Duration = Duration::from_secs(30);
/// Time for a worker to load libraries: the drive waits for that.
const START: Duration = Duration::from_secs(5);
/// Longest output of a run that is kept.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A library that the object needs cannot be loaded.
    #[error("{0}")]
    Libraries(String),
    /// The machine has no process for it.
    #[error("{0}")]
    Host(String),
}

/// A worker that waits for jobs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    socket: OwnedFd,
    /// What the worker and its runs print.
    output: File,
}

impl Process {
    /// Starts this executable as the worker of a program.
    pub(crate) fn start(
        executable: &Path,
        object: BorrowedFd<'_>,
        function: &str,
        needed: &[String],
    ) -> Result<Self, StartError> {
        let host = |error: io::Error| StartError::Host(format!("a process for it: {error}"));
        let mut process = Self::spawn(executable).map_err(host)?;
        let names = [function].into_iter().chain(needed.iter().map(String::as_str));
        let names = names.collect::<Vec<_>>().join("\0");
        process.send(names.as_bytes(), &[object]).map_err(host)?;
        let mut output = Vec::new();
        let answer = process.answer(START, None, &mut output);
        if answer.as_deref() == Some(worker::READY) {
            return Ok(process);
        }
        process.kill(&mut output);
        let text = String::from_utf8_lossy(&output).trim().escape_debug().to_string();
        Err(match answer.as_deref() == Some(worker::LIBRARIES) {
            true => StartError::Libraries(text),
            false => StartError::Host(format!("its worker did not start: {text}")),
        })
    }

    fn spawn(executable: &Path) -> io::Result<Self> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (output, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let child = Command::new(executable)
            .arg0("csdrive")
            .arg(WORKER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(writer.try_clone()?))
            .stderr(Stdio::from(writer))
            .spawn()?;
        Ok(Self { child, socket, output: File::from(output) })
    }

    /// False if something ended the worker while it waited.
    pub(crate) fn is_there(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn send(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(files.len()))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("too many files"));
        }
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Has a run made. `None`: the worker is of no use any more, and the run is over.
    pub(crate) fn run(
        &mut self,
        files: &[BorrowedFd<'_>],
        time_limit: Duration,
        stop: Option<&AtomicBool>,
        output: &mut Vec<u8>,
    ) -> Option<Ended> {
        let answer = match self.send(b"run", files) {
            Ok(()) => self.answer(time_limit.saturating_add(GRACE), stop, output),
            Err(_) => None,
        };
        if answer.is_none() {
            self.kill(output);
        }
        answer.and_then(|bytes| Ended::from_bytes(&bytes))
    }

    /// The next message; collects output meanwhile.
    fn answer(
        &mut self,
        patience: Duration,
        stop: Option<&AtomicBool>,
        output: &mut Vec<u8>,
    ) -> Option<Vec<u8>> {
        let deadline = Instant::now().checked_add(patience);
        let mut is_told = false;
        loop {
            if !is_told && stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                is_told = true;
                // If it cannot be told, it is gone, and that is seen below.
                let _ = send(&self.socket, b"stop", SendFlags::NOSIGNAL);
            }
            let mut waits = [
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN),
            ];
            let wait = Timespec::try_from(LOOK_EVERY).expect("a millisecond");
            match poll(&mut waits, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
            let is_answered = !waits[0].revents().is_empty();
            self.read_output(output);
            if is_answered {
                let mut bytes = [0; ENDED_BYTES];
                let (_, len) = recv(&self.socket, &mut bytes, RecvFlags::empty()).ok()?;
                // What the run printed at its end.
                self.read_output(output);
                return (len > 0).then(|| bytes[..len.min(ENDED_BYTES)].to_vec());
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return None;
            }
        }
    }

    /// Reads what is there; true at the end of it.
    fn read_output(&mut self, output: &mut Vec<u8>) -> bool {
        let mut piece = [0; 4096];
        // As much as a pipe holds: a run that prints without end is not read without end.
        for _ in 0..16 {
            match self.output.read(&mut piece) {
                Ok(0) => return true,
                Ok(len) => {
                    let room = OUTPUT_BYTES_MAX.saturating_sub(output.len());
                    output.extend(&piece[..len.min(room)]);
                }
                Err(_) => return false,
            }
        }
        false
    }

    /// Ends the worker, and returns when no run of it is there any more: a run dies with its worker, and both hold the pipe.
    fn kill(&mut self, output: &mut Vec<u8>) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let deadline = Instant::now() + GRACE;
        while !self.read_output(output) && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
