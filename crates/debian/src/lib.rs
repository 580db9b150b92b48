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
        "{program} does not run ({cause}); parts come from Debian packages: use Debian or Ubuntu"
    )]
    Program {
        /// What was started.
        program: &'static str,
        /// Why it did not start.
        cause: std::io::Error,
    },
    /// A program of Debian's failed.
    #[error("{program} failed: {message}")]
    Failed {
        /// What was started.
        program: &'static str,
        /// Its last words.
        message: String,
    },
    /// The mirror cannot be reached.
    #[error(
        "no network: apt cannot reach the Debian mirror ({0}); connect this machine, or set http_proxy right, and try again: \
         what is already fetched is kept"
    )]
    Network(String),
    /// No room for what is fetched.
    #[error(
        "{program}: the disk is full ({message}); free some room, or choose another folder for it"
    )]
    Full {
        /// What was started.
        program: &'static str,
        /// Its last words.
        message: String,
    },
    /// The machine's own configuration names no mirror.
    #[error(
        "no Debian mirror in {0} or its sources.list: parts come from the mirror that apt uses; add a line \
         'deb http://deb.debian.org/debian trixie main', or one with your mirror's address, which ends in /debian"
    )]
    Mirror(PathBuf),
    /// A file or folder.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

impl Error {
    /// Why a program of apt's failed, by what it said.
    fn of_apt(program: &'static str, text: &str) -> Self {
        const NETWORK: [&str; 10] = [
            "Could not resolve",
            "Temporary failure resolving",
            "Could not connect",
            "Cannot initiate the connection",
            "Unable to connect",
            "Connection failed",
            "Connection timed out",
            "Connection refused",
            "Network is unreachable",
            "No route to host",
        ];
        let line_with = |words: &[&str]| {
            let mut lines = text.lines().map(str::trim);
            lines.find(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned)
        };
        if let Some(message) = line_with(&["No space left", "don't have enough free space"]) {
            return Self::Full { program, message };
        }
        if let Some(line) = line_with(&NETWORK) {
            // Its last part says what happened; what is before says to what file.
            let at = NETWORK.iter().filter_map(|word| line.find(word)).min().unwrap_or(0);
            return Self::Network(line[at..].to_owned());
        }
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Self::Failed { program, message: lines.join("; ") }
    }

    fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |cause| Self::File { path, cause }
    }
}
