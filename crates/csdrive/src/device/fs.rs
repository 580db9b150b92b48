//! `csdrive fs`: a drive as a file system (FDMFS).

use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client_linux::Passthrough;
use fdmfs::Options;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::report::say;
use crate::{Outcome, Usage, usage};

/// What the process that serves the file system says when it is there.
const READY: &str = "mounted";

/// How long a server may take to end once its file system is unmounted.
const END_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Mount a drive: memory/, programs/, storage/, run
    Mount(Mount),
    /// Unmount it
    Unmount {
        /// Where it is mounted
        dir: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Mount {
    /// The drive: /dev/nvme0, one of its namespaces, or the socket of csdrive serve
    #[arg(value_name = "DEV")]
    device: PathBuf,
    /// A folder to mount on
    dir: PathBuf,
    /// Show this folder of a mounted file system as storage/; copies to memory/ are made within the drive if it is there
    #[arg(long, value_name = "PATH")]
    storage: Option<PathBuf>,
    /// Let other users in; permissions are checked
    #[arg(long)]
    allow_other: bool,
    /// Do not go to the background
    #[arg(long)]
    foreground: bool,
    /// Print one JSON document when it is mounted
    #[arg(long)]
    json: bool,
    /// Started by another csdrive, which waits for what this one says first
    #[arg(long, hide = true)]
    detach: bool,
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Mount(arguments) if arguments.foreground => serve(arguments),
        Command::Mount(arguments) => start(arguments),
        Command::Unmount { dir, json } => {
            unmount(dir, false)?;
            if *json {
                say!("{}", json!({ "format_version": 1, "unmounted": dir }));
            }
            Ok(Outcome::Success)
        }
    }
}

/// Lets another process serve the file system, and waits until it does.
fn start(arguments: &Mount) -> Result<Outcome> {
    let mut server = Process::new(std::env::current_exe().context("where csdrive is")?);
    server.args(["fs", "mount", "--foreground", "--detach"]);
    if let Some(storage) = &arguments.storage {
        server.arg("--storage").arg(storage);
    }
    if arguments.allow_other {
        server.arg("--allow-other");
    }
    server.arg("--").arg(&arguments.device).arg(&arguments.dir);
    // A group of its own: what ends the shell's job does not end it.
    server.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = server.spawn()?;
    let out = server.stdout.take().context("it says nothing")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    if line.trim() == READY {
        if arguments.json {
            say!("{}", mounted(arguments, server.id()));
        }
        return Ok(Outcome::Success);
    }
    // It has said why.
    let status = server.wait()?;
    Ok(Outcome::Status(status.code().map_or(1, |code| code as u8)))
}

/// What is mounted, and which process serves it.
fn mounted(arguments: &Mount, pid: u32) -> serde_json::Value {
    json!({
        "format_version": 1,
        "mounted": arguments.dir,
        "device": arguments.device,
        "storage": arguments.storage,
        "pid": pid,
    })
}

fn serve(arguments: &Mount) -> Result<Outcome> {
    let dir = &arguments.dir;
    // What is left of one whose server was killed is in the way.
    if let Err(error) = std::fs::metadata(dir)
        && error.kind() == std::io::ErrorKind::NotConnected
    {
        unmount(dir, true)?;
    }
    let drive = client_linux::open(&arguments.device).map_err(|error| Usage(error.into()))?;
    // Only of a device the kernel's name says where file systems are; a socket may have any.
    let metadata = std::fs::metadata(&arguments.device)?.file_type();
    let is_device = metadata.is_char_device() || metadata.is_block_device();
    let number = Passthrough::controller_number(&arguments.device).filter(|_| is_device);
    let controller = number.map(|number| format!("nvme{number}"));
    let _lock = controller.as_deref().map(lock).transpose()?;
    let options = Options {
        storage: arguments.storage.clone(),
        drive: controller,
        allow_other: arguments.allow_other,
    };
    let mount = usage(
        fdmfs::mount(drive, dir, &options).with_context(|| format!("mount on {}", dir.display())),
    )?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let at = dir.clone();
    std::thread::spawn(move || {
        // Another signal tries again: files may have been open.
        signals.forever().for_each(|_| drop(unmount(&at, false)));
    });
    if arguments.json && !arguments.detach {
        say!("{}", mounted(arguments, std::process::id()));
    } else {
        say!("{READY}");
    }
    if arguments.detach {
        // Whoever reads what the command printed must not wait for the end of the file system.
        let nowhere = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(&nowhere)?;
        rustix::stdio::dup2_stderr(&nowhere)?;
    }
    mount.wait().with_context(|| dir.display().to_string())?;
    Ok(Outcome::Success)
}

/// Keeps others from mounting a drive: each mount takes all of its memory.
fn lock(controller: &str) -> Result<std::fs::File> {
    let path = Path::new("/dev").join(controller);
    let file = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            usage(Err(anyhow::anyhow!("{}: mounted already; unmount it first", path.display())))
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| path.display().to_string())
        }
    }
}

/// The process that serves a mounted file system, if it still does.
fn server_of(dir: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(dir.join("statistics")).ok()?;
    serde_json::from_str::<serde_json::Value>(&text).ok()?["pid"].as_u64()
}

/// Waits until a server has let go of the drive and of the storage folder, so that they can be used at once.
fn await_end(server: u64) {
    let start = Instant::now();
    // One that has ended and that its parent has not asked for is a zombie (state Z).
    let is_there = || {
        let stat = std::fs::read_to_string(format!("/proc/{server}/stat"));
        stat.is_ok_and(|text| !text.contains(") Z "))
    };
    while is_there() && start.elapsed() < END_PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn unmount(dir: &Path, lazily: bool) -> Result<Outcome> {
    // The server itself, which does this at a signal, does not wait for itself.
    let server = server_of(dir).filter(|server| *server != u64::from(std::process::id()));
    let lazy: &[&str] = if lazily { &["-l"] } else { &[] };
    let mut said = String::new();
    for (program, arguments) in [("umount", lazy), ("fusermount3", &["-u"])] {
        let Ok(output) = Process::new(program).args(arguments).arg(dir).output() else { continue };
        if output.status.success() {
            server.into_iter().for_each(await_end);
            return Ok(Outcome::Success);
        }
        said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if said.contains("not mounted") {
            break;
        }
    }
    bail!("{}: {said}", dir.display())
}
