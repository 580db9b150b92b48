//! The kernel's interface: `struct nvme_uring_cmd` and its commands (linux/nvme_ioctl.h), in io_uring entries of
//! double size.
#![expect(unsafe_code, reason = "gives the kernel addresses; see the SAFETY comments")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use nvme_spec::SubmissionEntry;
use rustix::ioctl::{IoctlOutput, Opcode};
use zerocopy::{Immutable, IntoBytes};

use client::Lane;

/// `NVME_IOCTL_ID`.
const IOCTL_ID: Opcode = rustix::ioctl::opcode::none(b'N', 0x40);
/// `NVME_URING_CMD_IO` and `NVME_URING_CMD_ADMIN`: `_IOWR('N', 0x80 and 0x82, struct nvme_uring_cmd)`.
const URING_IO: u32 = rustix::ioctl::opcode::read_write::<UringCommand>(b'N', 0x80) as u32;
const URING_ADMIN: u32 = rustix::ioctl::opcode::read_write::<UringCommand>(b'N', 0x82) as u32;

const _: () = assert!(URING_IO == 0xC048_4E80);

/// `struct nvme_uring_cmd`.
#[repr(C)]
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
pub(super) struct UringCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    address: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: [u32; 6],
    timeout_ms: u32,
    reserved2: u32,
}

impl UringCommand {
    /// What the kernel passes on of an entry, with its data. The direction is in the opcode. 0 ms = the kernel's
    /// own limit.
    pub(super) fn new(entry: &SubmissionEntry, data: &mut [u8], timeout_ms: u32) -> Self {
        Self {
            opcode: entry.opcode,
            flags: 0,
            reserved: 0,
            nsid: entry.nsid.get(),
            cdw2: entry.cdw2.get(),
            cdw3: entry.cdw3.get(),
            metadata: 0,
            address: if data.is_empty() { 0 } else { data.as_mut_ptr() as u64 },
            metadata_len: 0,
            data_len: data.len() as u32,
            cdw10: [
                entry.cdw10.get(),
                entry.cdw11.get(),
                entry.cdw12.get(),
                entry.cdw13.get(),
                entry.cdw14.get(),
                entry.cdw15.get(),
            ],
            timeout_ms,
            reserved2: 0,
        }
    }
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    /// An NVMe status, or a negative error number.
    pub(super) result: i32,
    /// Dwords 0 and 1 of the NVMe completion.
    pub(super) value: u64,
}

/// An io_uring of its owner's.
pub(super) struct Ring {
    ring: IoUring<squeue::Entry128, cqueue::Entry32>,
    is_polled: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("is_polled", &self.is_polled).finish_non_exhaustive()
    }
}

/// Names the only memory that is registered.
const REGISTERED: u16 = 0;

impl Ring {
    /// A ring; if polled, the kernel looks for completions instead of being interrupted.
    pub(super) fn new(depth: u16, is_polled: bool) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        if is_polled {
            builder.setup_iopoll();
        }
        let ring = builder.build(u32::from(depth).next_power_of_two())?;
        Ok(Self { ring, is_polled })
    }

    /// Lets the kernel know memory for good: it is there as long as the ring is.
    pub(super) fn register(&self, memory: &mut [u8]) -> io::Result<()> {
        let vector = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() };
        // SAFETY: the memory is the transport's, which gives up the ring first.
        unsafe { self.ring.submitter().register_buffers(&[vector]) }
    }

    /// Puts a command into the queue; the kernel sees it at the next wait.
    pub(super) fn push(
        &mut self,
        file: &File,
        lane: Lane,
        command: UringCommand,
        is_registered: bool,
        user_data: u64,
    ) -> io::Result<()> {
        let mut bytes = [0; 80];
        bytes[..size_of::<UringCommand>()].copy_from_slice(command.as_bytes());
        let operation = match lane {
            Lane::Io => URING_IO,
            Lane::Admin => URING_ADMIN,
        };
        let entry = opcode::UringCmd80::new(types::Fd(file.as_raw_fd()), operation)
            .buf_index(is_registered.then_some(REGISTERED))
            .cmd(bytes)
            .build()
            .user_data(user_data);
        // SAFETY: the transport keeps file and data until the completion of this command came.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        if pushed.is_ok() {
            return Ok(());
        }
        self.ring.submit()?;
        // SAFETY: as above.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))
    }

    /// Waits for a completion, about so long at most.
    pub(super) fn wait(&mut self, limit: Option<Duration>) -> io::Result<Option<Completion>> {
        let began = Instant::now();
        loop {
            if let Some(entry) = self.ring.completion().next() {
                let (user_data, result) = (entry.user_data(), entry.result());
                return Ok(Some(Completion { user_data, result, value: entry.big_cqe()[0] }));
            }
            let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
            let waited = match left {
                None => self.ring.submit_and_wait(1),
                // The kernel has no time limit when it polls.
                Some(left) if self.is_polled || left.is_zero() => self.ring.submit_and_wait(0),
                Some(left) => {
                    let left = types::Timespec::from(left);
                    let limit = types::SubmitArgs::new().timespec(&left);
                    self.ring.submitter().submit_with_args(1, &limit)
                }
            };
            match waited {
                Err(error) if error.raw_os_error() == Some(libc::ETIME) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => drop(other?),
            }
            if left.is_some_and(|left| left.is_zero()) && self.ring.completion().is_empty() {
                return Ok(None);
            }
        }
    }
}

/// The identifier of an open namespace.
pub(super) fn namespace_id(file: &File) -> io::Result<u32> {
    struct Id;
    // SAFETY: NVME_IOCTL_ID takes no argument and returns the identifier.
    unsafe impl rustix::ioctl::Ioctl for Id {
        type Output = u32;
        const IS_MUTATING: bool = false;
        fn opcode(&self) -> Opcode {
            IOCTL_ID
        }
        fn as_ptr(&mut self) -> *mut core::ffi::c_void {
            core::ptr::null_mut()
        }
        unsafe fn output_from_ptr(
            out: IoctlOutput,
            _: *mut core::ffi::c_void,
        ) -> rustix::io::Result<u32> {
            Ok(out as u32)
        }
    }
    // SAFETY: as above; other devices refuse it.
    Ok(unsafe { rustix::ioctl::ioctl(file.as_fd(), Id) }?)
}
