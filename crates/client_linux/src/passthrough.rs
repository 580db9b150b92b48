//! Commands through an unmodified Linux kernel: io_uring NVMe passthrough on the generic character devices
//! (`/dev/ng0n1`, ...; Linux 5.19 and later), admin commands on `/dev/nvme0` (6.0 and later).

mod kernel;
mod slots;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nvme_spec::{PAGE_SIZE, Status};

use crate::options::OpenOptions;
use client::{Command, Data, Done, EXECUTE_PATIENCE, Lane, Submit, Ticket, TransportError};
use kernel::{Completion, Ring, UringCommand};
use slots::{Slot, Slots};

/// Largest data of a command. The kernel's driver takes 127 segments, and a buffer in user space may be as many
/// as it has pages, and one more.
const DATA_BYTES_MAX: u64 = 64 * PAGE_SIZE;

/// How long the kernel lets a program run before it resets the drive; it has less patience with other commands.
const EXECUTE_TIMEOUT_MS: u32 = EXECUTE_PATIENCE.as_millis() as u32;

/// Where a command's data is.
#[derive(Debug)]
enum Buffer {
    Own(Vec<u8>),
    Registered(Slot),
}

/// What is kept of a command that is under way.
#[derive(Debug)]
struct UnderWay {
    lane: Lane,
    buffer: Buffer,
    /// Bytes for the command's caller.
    receives: usize,
}

/// A way to a drive through the kernel.
#[derive(Debug)]
pub struct Passthrough {
    // Before what it uses: fields are dropped in order.
    ring: Ring,
    /// For admin commands, if they cannot be polled for with the others.
    admin_ring: Option<Ring>,
    /// Registered memory, if the kernel let it be.
    slots: Option<Slots>,
    /// The controller, for admin commands.
    controller: File,
    /// Namespaces by identifier.
    namespaces: HashMap<u32, File>,
    /// The namespace that it was opened by.
    named: Option<u32>,
    under_way: HashMap<u64, UnderWay>,
    /// How many of those are admin commands.
    admin_under_way: usize,
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

    /// Opens a drive by the name of its controller (`/dev/nvme0`) or any of its namespaces.
    ///
    /// # Errors
    /// If there is none, the caller must not use it, or the kernel has no io_uring.
    pub fn open(path: &Path, options: OpenOptions) -> Result<Self, TransportError> {
        let OpenOptions { depth, is_polled } = options;
        let name = path.display().to_string();
        let no_drive = |reason: &str| TransportError::NoDrive {
            path: name.clone(),
            reason: reason.to_owned(),
        };
        let number = Self::controller_number(path)
            .ok_or_else(|| no_drive("not the name of an NVMe device"))?;
        let folder = path.parent().unwrap_or(Path::new("/dev"));
        let controller = open(&folder.join(format!("nvme{number}")))?;
        let named = if path.file_name() == Some(format!("nvme{number}").as_ref()) {
            None
        } else {
            // A block device or a generic one: both say which namespace they are.
            let cause = |cause| TransportError::Open { path: name.clone(), cause };
            Some(kernel::namespace_id(&open(path)?).map_err(cause)?)
        };
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
        if is_polled && !has_poll_queues(number) {
            return Err(TransportError::NoPolling(name));
        }
        let ring = |is_polled| {
            Ring::new(depth, is_polled)
                .map_err(|cause| TransportError::Open { path: "io_uring".to_owned(), cause })
        };
        let (ring, admin_ring) =
            (ring(is_polled)?, if is_polled { Some(ring(false)?) } else { None });
        // A limit of locked memory may be in the way; it works without, too.
        let mut slots = Slots::new(depth);
        let slots = ring.register(slots.all()).is_ok().then_some(slots);
        Ok(Self {
            ring,
            admin_ring,
            slots,
            controller,
            namespaces,
            named,
            under_way: HashMap::new(),
            admin_under_way: 0,
            depth: depth.into(),
            next: 0,
        })
    }

    /// The namespace that the drive was opened by, if it was not opened by its controller.
    pub(crate) fn named(&self) -> Option<u32> {
        self.named
    }

    /// A place for a command's data, by a ring that knows the registered memory or not.
    fn buffer(&mut self, data: Data, may_register: bool) -> Buffer {
        let len = data.byte_count();
        let slots = self.slots.as_mut().filter(|_| may_register && len > 0);
        if let Some(slots) = slots
            && let Some(slot) = slots.take(len)
        {
            match &data {
                Data::ToDrive(bytes) => slots.bytes(&slot, len).copy_from_slice(bytes),
                // What another command left is not its data.
                _ => slots.bytes(&slot, len).fill(0),
            }
            return Buffer::Registered(slot);
        }
        Buffer::Own(match data {
            Data::ToDrive(bytes) => bytes,
            _ => vec![0; len],
        })
    }

    /// Waits for a completion by any ring.
    fn completion(&mut self, limit: Option<Duration>) -> std::io::Result<Option<Completion>> {
        let io_under_way = self.under_way.len() - self.admin_under_way;
        let Some(admin) = &mut self.admin_ring else { return self.ring.wait(limit) };
        match (self.admin_under_way, io_under_way) {
            (0, _) => self.ring.wait(limit),
            (_, 0) => admin.wait(limit),
            _ => {
                let began = Instant::now();
                loop {
                    for ring in [&mut self.ring, &mut *admin] {
                        if let Some(completion) = ring.wait(Some(Duration::ZERO))? {
                            return Ok(Some(completion));
                        }
                    }
                    if limit.is_some_and(|limit| began.elapsed() >= limit) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The command of a completion is no longer under way; its data, if it is for the caller.
    fn finish(&mut self, user_data: u64) -> Option<Vec<u8>> {
        let UnderWay { lane, buffer, receives } = self.under_way.remove(&user_data)?;
        self.admin_under_way -= usize::from(lane == Lane::Admin);
        match (buffer, &mut self.slots) {
            (Buffer::Own(bytes), _) if receives > 0 => Some(bytes),
            (Buffer::Registered(slot), Some(slots)) => {
                let bytes = slots.bytes(&slot, receives).to_vec();
                slots.give(slot);
                Some(bytes)
            }
            _ => Some(Vec::new()),
        }
    }
}

/// True if the kernel's driver can poll for this drive's completions.
fn has_poll_queues(controller: u32) -> bool {
    let folder = format!("/sys/class/nvme/nvme{controller}");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let polls = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("queue/io_poll"));
        text.is_ok_and(|text| text.trim() == "1")
    };
    entries.into_iter().any(polls)
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
        let Command { name, lane, entry, data, is_execution } = command;
        let nsid = entry.nsid.get();
        if lane == Lane::Io && !self.namespaces.contains_key(&nsid) {
            return Err(TransportError::NoNamespace(nsid));
        }
        let is_first_ring = lane == Lane::Io || self.admin_ring.is_none();
        let (data_len, receives) = (data.byte_count(), data.received());
        let mut buffer = self.buffer(data, is_first_ring);
        let timeout_ms = if is_execution { EXECUTE_TIMEOUT_MS } else { 0 };
        let number = self.next;
        let (bytes, is_registered) = match (&mut buffer, &mut self.slots) {
            (Buffer::Registered(slot), Some(slots)) => (slots.bytes(slot, data_len), true),
            (Buffer::Own(bytes), _) => (bytes.as_mut_slice(), false),
            (Buffer::Registered(_), None) => unreachable!("slots stay as long as the transport"),
        };
        let request = UringCommand::new(&entry, bytes, timeout_ms);
        let file = match lane {
            Lane::Admin => &self.controller,
            Lane::Io => &self.namespaces[&nsid],
        };
        let ring = match &mut self.admin_ring {
            Some(ring) if lane == Lane::Admin => ring,
            _ => &mut self.ring,
        };
        if let Err(cause) = ring.push(file, lane, request, is_registered, number) {
            if let (Buffer::Registered(slot), Some(slots)) = (buffer, &mut self.slots) {
                slots.give(slot);
            }
            return Err(TransportError::Kernel { command: name, cause });
        }
        self.next += 1;
        self.admin_under_way += usize::from(lane == Lane::Admin);
        self.under_way.insert(number, UnderWay { lane, buffer, receives });
        Ok(Ticket(number))
    }

    fn wait_at_most(&mut self, limit: Option<Duration>) -> Result<Option<Done>, TransportError> {
        if self.under_way.is_empty() {
            return Err(TransportError::Idle);
        }
        let gone = |cause| TransportError::Kernel { command: "waiting", cause };
        let Some(completion) = self.completion(limit).map_err(gone)? else { return Ok(None) };
        let data = self.finish(completion.user_data).ok_or(TransportError::Gone)?;
        // Positive numbers are NVMe statuses, negative ones the kernel's errors.
        let (status, kernel_error) = match u16::try_from(completion.result) {
            Ok(status) => (Status::from_bits(status), None),
            Err(_) => (Status::INTERNAL_ERROR, Some(completion.result.saturating_neg())),
        };
        let ticket = Ticket(completion.user_data);
        Ok(Some(Done { ticket, status, kernel_error, result: completion.value, data }))
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
            match self.completion(None) {
                Ok(completion) => {
                    completion.map(|completion| self.finish(completion.user_data));
                }
                Err(_) => {
                    // Whatever becomes of them, nothing else may get their memory.
                    std::mem::forget(std::mem::take(&mut self.under_way));
                    std::mem::forget(self.slots.take());
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
        let error = Passthrough::open(Path::new("/dev/null"), OpenOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("not the name of an NVMe device"), "{error}");
        let error = Passthrough::open(Path::new("/dev/nvme77"), OpenOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("/dev/nvme77"), "{error}");
    }
}
