//! A folder that packages are unpacked into.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::archive::run;

/// The dynamic loader of programs for this machine.
const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";

/// A folder laid out as Debian's root: `usr/`, and links to what is in it.
#[derive(Clone, Debug)]
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// A folder, made if it is not there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        // The links must be there before anything is unpacked: packages hold files under both names.
        for part in ["bin", "sbin", "lib", "lib64"] {
            let below = folder.join("usr").join(part);
            fs::create_dir_all(&below).map_err(Error::file(below))?;
            let link = folder.join(part);
            match symlink(format!("usr/{part}"), &link) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::File { path: link, cause: error });
                }
                _ => {}
            }
        }
        let folder = folder.canonicalize().map_err(Error::file(folder))?;
        Ok(Self { folder })
    }

    /// Unpacks a package over what is there.
    ///
    /// # Errors
    /// If it is damaged, or the folder full.
    pub fn unpack(&self, package: &Path) -> Result<(), Error> {
        let program = "dpkg-deb";
        run(program, Command::new(program).arg("-x").arg(package).arg(&self.folder)).map(drop)
    }

    /// A file in it.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.join(inside)
    }

    fn library_path(&self) -> OsString {
        let libraries = self.folder.join("usr/lib/x86_64-linux-gnu");
        // Some packages keep private libraries beside the others.
        let mut path = libraries.clone().into_os_string();
        path.push(":");
        path.push(libraries.join("ceph"));
        path
    }

    /// A command that runs a program of it, with the loader and the libraries in it.
    pub fn command(&self, program: &str) -> Command {
        let program = self.folder.join(program);
        let mut command = Command::new(self.folder.join(LOADER));
        command.arg("--argv0").arg(&program).arg("--library-path");
        command.arg(self.library_path()).arg(program);
        command
    }
}
