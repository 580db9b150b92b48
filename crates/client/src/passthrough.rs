//! Commands through an unmodified Linux kernel: io_uring NVMe passthrough on the generic character devices
//! (`/dev/ng0n1`, ...; Linux 5.19 and later), admin commands on `/dev/nvme0` (6.0 and later).

mod kernel;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nvme_spec::{PAGE_SIZE, Status};

use crate::transport::{Command, Data, Done, Lane, Submit, Ticket, TransportError};
use kernel::{Ring, UringCommand};

/// Largest data of a command. The kernel's driver takes 127 segments, and a buffer in user space may be as many
/// as it has pages, and one more.
const DATA_BYTES_MAX: u64 = 64 * PAGE_SIZE;

/// What is kept of a command that is under way.
#[derive(Debug)]
struct UnderWay {
    ticket: Ticket,
    buffer: Vec<u8>,
    /// The buffer is for the command's caller.
    receives: bool,
}

/// A way to a drive through the kernel.
#[derive(Debug)]
pub struct Passthrough {
    ring: Ring,
    /// The controller, for admin commands.
    controller: File,
    /// Namespaces by identifier.
    namespaces: HashMap<u32, File>,
    under_way: HashMap<u64, UnderWay>,
    depth: usize,
    next: u64,
}

impl Passthrough {
    /// The N of nvmeN, nvmeNn1 or ngNn1. A partition is none: its blocks are not numbered as the drive's are.
    pub fn controller_number(path: &Path) -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        let rest = name.strip_prefix("nvme").or_else(|| name.strip_prefix("ng"))?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let namespace = &rest[digits.len()..];
        let is_whole = namespace.is_empty()
            || namespace.strip_prefix('n').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if is_whole { digits.parse().ok() } else { None }
    }

    /// Opens a drive by the name of its controller (`/dev/nvme0`) or any of its namespaces, for so many commands
    /// at a time.
    ///
    /// # Errors
    /// If there is none, the caller must not use it, or the kernel has no io_uring.
    pub fn open(path: &Path, depth: u16) -> Result<Self, TransportError> {
        let name = path.display().to_string();
        let no_drive = |reason: &str| TransportError::NoDrive {
            path: name.clone(),
            reason: reason.to_owned(),
        };
        let number = Self::controller_number(path)
            .ok_or_else(|| no_drive("not the name of an NVMe device"))?;
        let folder = path.parent().unwrap_or(Path::new("/dev"));
        let controller = open(&folder.join(format!("nvme{number}")))?;
        let mut namespaces = HashMap::new();
        for device in generic_devices(folder, number) {
            let file = open(&device)?;
            let nsid = kernel::namespace_id(&file).map_err(|cause| TransportError::Open {
                path: device.display().to_string(),
                cause,
            })?;
            namespaces.insert(nsid, file);
        }
        if namespaces.is_empty() {
            return Err(no_drive(
                "the kernel shows no generic devices (/dev/ngXnY) for it: Linux 6.1 or newer is needed",
            ));
        }
        let ring = Ring::new(depth)
            .map_err(|cause| TransportError::Open { path: "io_uring".to_owned(), cause })?;
        Ok(Self {
            ring,
            controller,
            namespaces,
            under_way: HashMap::new(),
            depth: depth.into(),
            next: 0,
        })
    }
}

fn open(path: &Path) -> Result<File, TransportError> {
    let opened = File::options().read(true).write(true).open(path);
    opened.map_err(|cause| TransportError::Open { path: path.display().to_string(), cause })
}

/// The generic devices of a controller.
fn generic_devices(folder: &Path, controller: u32) -> Vec<PathBuf> {
    let prefix = format!("ng{controller}n");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_one = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix))
            && entry.file_type().is_ok_and(|kind| kind.is_char_device())
    };
    entries.filter(is_one).map(|entry| entry.path()).collect()
}

impl Submit for Passthrough {
    fn submit(&mut self, command: Command) -> Result<Ticket, TransportError> {
        if self.under_way.len() >= self.depth {
            return Err(TransportError::Full(self.depth));
        }
        let Command { name, lane, entry, data } = command;
        let file = match lane {
            Lane::Admin => &self.controller,
            Lane::Io => {
                let nsid = entry.nsid.get();
                self.namespaces.get(&nsid).ok_or(TransportError::NoNamespace(nsid))?
            }
        };
        let (mut buffer, receives) = match data {
            Data::None => (Vec::new(), false),
            Data::ToDrive(bytes) => (bytes, false),
            Data::FromDrive(len) => (vec![0; len], true),
        };
        let number = self.next;
        let request = UringCommand::new(&entry, &mut buffer);
        self.ring
            .push(file, lane, request, number)
            .map_err(|cause| TransportError::Kernel { command: name, cause })?;
        self.next += 1;
        let ticket = Ticket(number);
        self.under_way.insert(number, UnderWay { ticket, buffer, receives });
        Ok(ticket)
    }

    fn wait(&mut self) -> Result<Done, TransportError> {
        if self.under_way.is_empty() {
            return Err(TransportError::Idle);
        }
        let gone = |cause| TransportError::Kernel { command: "waiting", cause };
        let completion = self.ring.wait().map_err(gone)?;
        let known = self.under_way.remove(&completion.user_data);
        let UnderWay { ticket, buffer, receives } = known.ok_or(TransportError::Gone)?;
        // Positive numbers are NVMe statuses, negative ones the kernel's errors.
        let (status, kernel_error) = match u16::try_from(completion.result) {
            Ok(status) => (Status::from_bits(status), None),
            Err(_) => (Status::INTERNAL_ERROR, Some(completion.result.saturating_neg())),
        };
        let data = if receives { buffer } else { Vec::new() };
        Ok(Done { ticket, status, kernel_error, result: completion.value, data })
    }

    fn room(&self, _: Lane) -> usize {
        self.depth - self.under_way.len()
    }

    fn data_bytes_max(&self) -> u64 {
        DATA_BYTES_MAX
    }
}

impl Drop for Passthrough {
    /// The kernel writes to buffers until their commands end.
    fn drop(&mut self) {
        while !self.under_way.is_empty() {
            match self.ring.wait() {
                Ok(completion) => drop(self.under_way.remove(&completion.user_data)),
                Err(_) => {
                    // Whatever becomes of them, nothing else may get their memory.
                    self.under_way
                        .drain()
                        .for_each(|(_, command)| std::mem::forget(command.buffer));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_known_by_any_of_their_devices() {
        for (name, number) in [
            ("/dev/nvme0", Some(0)),
            ("/dev/nvme12n1", Some(12)),
            ("/dev/nvme3n1p2", None),
            ("/dev/ng4n2", Some(4)),
            ("/dev/sda", None),
            ("/dev/nvme", None),
            ("/dev/nvme99999999999", None),
            ("/", None),
        ] {
            assert_eq!(Passthrough::controller_number(Path::new(name)), number, "{name}");
        }
    }

    #[test]
    fn what_is_no_drive_is_refused() {
        let error = Passthrough::open(Path::new("/dev/null"), 8).unwrap_err().to_string();
        assert!(error.contains("not the name of an NVMe device"), "{error}");
        let error = Passthrough::open(Path::new("/dev/nvme77"), 8).unwrap_err().to_string();
        assert!(error.contains("/dev/nvme77"), "{error}");
    }
}
