//! Ways to a drive that Linux has. [`open`] finds out which one a path names:
//!
//! - a device (`/dev/nvme0`, or one of its namespaces): io_uring passthrough through an unmodified kernel ([`Passthrough`]),
//! - a socket of `csdrive serve`: an NVMe driver of our own over vfio-user ([`VfioUser`]).
//!
//! ```no_run
//! use client::Invocation;
//!
//! let mut drive = client_linux::open("/dev/nvme0".as_ref())?;
//! drive.load_program_file(1, "double.bpf.c".as_ref())?;
//! drive.write_memory(4096, &[1, 0, 0, 0, 2, 0, 0, 0])?;
//! let ranges = vec![(8192, 8), (4096, 8)];
//! let result = drive.execute(&Invocation { program: 1, ranges, ..Default::default() })?;
//! let doubled = drive.read_memory(8192, 8)?;
//! # Ok::<(), client::DriveError>(())
//! ```
#![deny(unsafe_code)]

mod options;
mod passthrough;
mod served;

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use client::{Direct, Drive, DriveResult, Driver, EXECUTE_PATIENCE, Submit, TransportError};

pub use options::OpenOptions;
pub use passthrough::Passthrough;
pub use served::{SharedRam, VfioUser, VfioUserOptions, Waiting};

/// Opens a drive: `/dev/nvme0` or one of its namespaces, or the socket of `csdrive serve`.
///
/// # Errors
/// If there is no such drive, it may not be used, or it is not a computational one.
pub fn open(path: &Path) -> DriveResult<Drive> {
    open_with(path, OpenOptions::default())
}

/// As [`open`].
///
/// # Errors
/// As of that; and if the kernel's driver cannot poll and is asked to.
pub fn open_with(path: &Path, options: OpenOptions) -> DriveResult<Drive> {
    let name = path.display().to_string();
    let OpenOptions { depth, is_polled } = options;
    let metadata = std::fs::metadata(path)
        .map_err(|cause| TransportError::Open { path: name.clone(), cause })?;
    let kind = metadata.file_type();
    let mut named = None;
    let transport: Box<dyn Submit + Send> = if kind.is_socket() {
        // As much as all commands under way can need; the machine provides what is used of it.
        let memory_bytes = 2 << 30;
        let waiting = if is_polled { Waiting::Poll } else { Waiting::Interrupts };
        let patience = EXECUTE_PATIENCE;
        let entries = u32::from(depth);
        let options =
            VfioUserOptions { memory_bytes, waiting, patience, ..VfioUserOptions::default() };
        let port = VfioUser::connect(path, options).map_err(|cause| TransportError::Socket {
            path: name.clone(),
            cause: Box::new(cause),
        })?;
        Box::new(Direct::new(Driver::new(port, 1, entries)?))
    } else if kind.is_char_device() || kind.is_block_device() {
        let transport = Passthrough::open(path, options)?;
        named = transport.named();
        Box::new(transport)
    } else {
        let reason = "neither a device nor a socket".to_owned();
        return Err(TransportError::NoDrive { path: name, reason }.into());
    };
    Drive::identify_all(transport, &name, named)
}
