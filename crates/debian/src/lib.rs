//! Parts of Debian packages, fetched and unpacked into a folder: nothing is installed, and no root is
//! needed.
//!
//! An [`Archive`] is a private configuration of apt: other suites than the machine's own may be asked
//! for, and other architectures. Mirror and key are those of the machine; apt checks signatures and
//! hashes, and goes on with a download that was interrupted.
//!
//! Unpacked programs run through [`Root::command`]: by the unpacked loader, with the unpacked libraries,
//! so the machine's own libc does not matter. A [`System`] makes of packages a whole system that boots.

mod archive;
mod root;
mod system;

pub use archive::{Archive, Progress};
pub use root::Root;
pub use system::System;

use std::path::PathBuf;

/// Why parts could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of Debian's is missing.
    #[error(
        "{program} does not run ({source}); parts come from Debian packages: use Debian or Ubuntu"
    )]
    Program {
        /// What was started.
        program: &'static str,
        /// Why it did not start.
        source: std::io::Error,
    },
    /// A program of Debian's failed.
    #[error("{program} failed: {message}")]
    Failed {
        /// What was started.
        program: &'static str,
        /// Its last words.
        message: String,
    },
    /// The machine's own configuration names no mirror.
    #[error(
        "no Debian mirror in {0} or its sources.list: parts come from the mirror that apt uses"
    )]
    Mirror(PathBuf),
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |source| Self::File { path, source }
    }
}
