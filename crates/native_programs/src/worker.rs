//! The worker: a process that has runs of one program made, one at a time, each in a child of its own.
//!
//! It has one thread, so that a child of it is whole.

use std::process::ExitCode;

/// `csdrive` becomes a worker if this is its first argument.
pub const WORKER_ARGUMENT: &str = "native-worker";

/// What a worker says first: it waits for jobs,
pub(crate) const READY: &[u8] = b"ready";
/// or a library is missing.
pub(crate) const LIBRARIES: &[u8] = b"libs";

/// Serves the drive that started this process, until it is gone. Called before anything else happens in the process.
pub fn main() -> ExitCode {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    return serving::serve();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return ExitCode::FAILURE;
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod serving {
    use std::io::{self, IoSliceMut};
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::process::ExitCode;
    use std::time::{Duration, Instant};

    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send,
    };
    use rustix::process::{
        Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid,
    };

    use super::{LIBRARIES, READY};
    use crate::job::{Ended, Header};
    use crate::run::{self, Run};

    /// Most bytes of a message: names of libraries.
    const MESSAGE_BYTES_MAX: usize = 16 << 10;
    /// Most files that come with a message.
    const FILES_MAX: usize = 250;

    pub(super) fn serve() -> ExitCode {
        // What its user sees: processes of this name.
        let _ = rustix::thread::set_name(c"csdrive-native");
        let socket = rustix::stdio::stdin();
        run::reset_signals();
        let ready = run::close_from(3).and_then(|()| run::become_nobody());
        match ready.and_then(|()| serve_at(socket)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // It goes to the drive, which is the reader of this process's output.
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }

    fn serve_at(socket: BorrowedFd<'_>) -> io::Result<()> {
        let Some((names, mut files)) = receive(socket)? else { return Ok(()) };
        let object = files.pop().ok_or_else(|| io::Error::other("no object came"))?;
        let names = String::from_utf8(names).map_err(io::Error::other)?;
        let mut names = names.split('\0');
        let function = names.next().unwrap_or_default().to_owned();
        for name in names {
            if let Err(error) = preload(name) {
                eprintln!("{error}");
                send(socket, LIBRARIES, SendFlags::NOSIGNAL)?;
                return Ok(());
            }
        }
        send(socket, READY, SendFlags::NOSIGNAL)?;
        while let Some((_, files)) = receive(socket)? {
            // The drive told a run to stop that had ended by itself.
            if files.is_empty() {
                continue;
            }
            let ended = run_one(socket, &object, &function, files)?;
            send(socket, &ended.to_bytes(), SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    /// Loads a library of the system that the object needs.
    #[expect(unsafe_code, reason = "libraries run code; see the SAFETY comment")]
    fn preload(name: &str) -> io::Result<()> {
        // SAFETY: `name` has no slash, so this is a library of the system, trusted as those that this executable needs.
        let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) };
        let library = library.map_err(|error| io::Error::other(cause(&error)))?;
        std::mem::forget(library);
        Ok(())
    }

    /// What the C library's loader says.
    fn cause(error: &libloading::Error) -> String {
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
    }

    /// The next message; `None` if the drive is gone.
    fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        let mut files = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                files.extend(more);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        bytes.truncate(received.bytes);
        Ok(Some((bytes, files)))
    }

    /// Has one run made, and waits for its end.
    fn run_one(
        socket: BorrowedFd<'_>,
        object: &OwnedFd,
        function: &str,
        files: Vec<OwnedFd>,
    ) -> io::Result<Ended> {
        let header = run::header(&files)?;
        let child = match run::fork(&Run { object, function, files: &files }) {
            Ok(child) => child,
            Err(error) => return Ok(Ended::NotStarted(error.raw_os_error().unwrap_or(0))),
        };
        drop(files);
        watch(socket, child, &header)
    }

    /// Waits for a child; kills it if its time is over, or the drive says so or is gone.
    fn watch(socket: BorrowedFd<'_>, child: Pid, header: &Header) -> io::Result<Ended> {
        let handle = pidfd_open(child, PidfdFlags::empty());
        let limit = Duration::from_nanos(header.time_limit_ns);
        let (began, deadline) = (Instant::now(), Instant::now() + limit);
        let mut why = None;
        while why.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            let handle = match &handle {
                Ok(handle) => handle,
                // Kernels before 5.3, or no descriptors: without a handle only the end could be waited for.
                Err(error) => {
                    why = Some(Ended::NotStarted(error.raw_os_error()));
                    break;
                }
            };
            let mut waits = [
                PollFd::new(handle, PollFlags::IN),
                PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
            ];
            let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match poll(&mut waits, Some(&left)) {
                Ok(_) if !waits[0].revents().is_empty() => break,
                Ok(0) => why = Some(Ended::TimeOver),
                Ok(_) => why = Some(Ended::Cancelled),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    let _ = kill_process(child, Signal::KILL);
                    return Err(error.into());
                }
            }
        }
        if why.is_some() {
            // It may have ended meanwhile: nobody else has its number until it is waited for.
            let _ = kill_process(child, Signal::KILL);
        }
        let status = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
        if why == Some(Ended::Cancelled) && receive(socket)?.is_none() {
            // The drive is gone.
            std::process::exit(0);
        }
        let (_, status) = status.ok_or_else(|| io::Error::other("no such child"))?;
        Ok(match (why, status.exit_status(), status.terminating_signal()) {
            (Some(why), ..) => why,
            (None, Some(code), _) => Ended::Exited(code),
            // The kernel's clock was faster than this one.
            (None, None, Some(libc::SIGKILL | libc::SIGXCPU)) if began.elapsed() >= limit => {
                Ended::TimeOver
            }
            (None, None, signal) => Ended::Signalled(signal.unwrap_or_default()),
        })
    }
}
