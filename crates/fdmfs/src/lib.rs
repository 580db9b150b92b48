//! A drive's memory, storage and programs as one file system.
//!
//! ```text
//! memory/      files that live in device memory, in folders; a program gets a file as a memory range
//! programs/    copy an object file in: it is loaded and activated; reading it shows its state. Programs that others
//!              have loaded, or this before it was mounted again, are there too: `program-INDEX`
//! storage/     the files of a file system on the drive's blocks
//! run          write "PROGRAM FILE... [param1=N] [param2=N] [data=TEXT]", read what came out; a file in storage/ goes through
//!              device memory chunk by chunk
//! groups       the drive's job groups; write "create|change|delete ..." to change them
//! statistics   bytes copied within the drive and through the host, as JSON
//! ```
//!
//! Copies between `storage/` and `memory/` (`copy_file_range`, which is what `cp` does) become Memory Copy commands
//! where the file system says where the file is on the drive; the rest goes through the host, and is counted.
//!
//! [`MemoryFiles`] are the files in device memory, without a file system around them.
#![deny(unsafe_code)]

mod caller;
mod copy;
mod filesystem;
mod fuse;
mod groups;
mod memory;
mod nodes;
mod run;
mod running;
mod space;
mod state;
mod storage;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use client::{Drive, Submit};
use fuser::{BackgroundSession, Config, MountOption, SessionACL};

use filesystem::Fdmfs;
pub use memory::{FileError, FileId, MemoryFiles, Place};
use running::RUNNING_MAX;
use state::State;
use storage::Storage;

/// Threads for requests: each program that runs has one, and there are some for everything else.
const THREADS: usize = RUNNING_MAX + 8;

/// How to mount.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A folder of a file system that is shown as `storage/`.
    pub storage: Option<PathBuf>,
    /// The kernel's name of the drive (`nvme0`), to know whether that file system is on it.
    pub drive: Option<String>,
    /// Let other users in; permissions are checked.
    pub allow_other: bool,
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mount {
    session: BackgroundSession,
}

/// Mounts a drive. Its memory is the file system's from then on.
///
/// # Errors
/// If the folder cannot be mounted on (fusermount3 is needed, or root), or the storage folder is not there.
pub fn mount<T: Submit + Send + 'static>(
    drive: Drive<T>,
    folder: &Path,
    options: &Options,
) -> io::Result<Mount> {
    let storage = options.storage.as_deref();
    let storage = storage.map(|root| {
        // Which of the two paths is wrong, only this knows.
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("storage folder {}: {error}", root.display()))
        };
        Storage::new(root, options.drive.as_deref()).map_err(named)
    });
    let storage = storage.transpose()?;
    check_fuse(Path::new("/dev/fuse"))?;
    if !std::fs::metadata(folder)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
    }
    // Sent to who holds a lease that another wants: the lease ends soon anyhow.
    signal_hook::flag::register(signal_hook::consts::SIGIO, Arc::new(AtomicBool::new(false)))?;
    let mut state = State::new(MemoryFiles::new(drive), storage);
    state.find_programs().map_err(io::Error::other)?;
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("csdrive".to_owned()),
        MountOption::Subtype("fdmfs".to_owned()),
        MountOption::NoDev,
        MountOption::NoSuid,
    ];
    // Root alone, which may do everything, needs no look at permissions, which are more requests.
    if options.allow_other || !rustix::process::geteuid().is_root() {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    config.n_threads = Some(THREADS);
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    let notifier = Arc::new(OnceLock::new());
    let filesystem = Fdmfs::new(state, Arc::clone(&notifier));
    let session = fuser::spawn_mount(filesystem, folder, &config)?;
    // It is the first and only one.
    let _ = notifier.set(session.notifier());
    Ok(Mount { session })
}

/// Says what is missing to mount anything; the errors of system calls alone would not.
fn check_fuse(device: &Path) -> io::Result<()> {
    let failed = |kind, why: String| Err(io::Error::new(kind, why));
    if let Err(error) = std::fs::File::options().read(true).write(true).open(device) {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "this user may not use it (a container may forbid it)"
            }
            _ => "the kernel's FUSE is not there: modprobe fuse, or give the container this device",
        };
        return failed(error.kind(), format!("{}: {error}: {remedy}", device.display()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    if !rustix::process::geteuid().is_root() && !is_there("fusermount3") && !is_there("fusermount")
    {
        let why = "fusermount3 is missing, without which only root mounts: apt-get install fuse3";
        return failed(io::ErrorKind::NotFound, why.to_owned());
    }
    Ok(())
}

impl Mount {
    /// Waits until the file system is unmounted.
    ///
    /// # Errors
    /// If the connection to the kernel broke.
    pub fn wait(self) -> io::Result<()> {
        self.session.join()
    }
}
