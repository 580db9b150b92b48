//! What a guest is made of: QEMU, a kernel and a disk, in a cache folder.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use debian::Root;

/// The first program of the guest's disk.
pub(crate) const INIT_PATH: &str = "usr/lib/csdrive/init";

/// What a guest is made of.
pub struct Parts {
    /// The cache folder.
    pub(crate) folder: PathBuf,
    pub(crate) qemu: Root,
    pub(crate) tools: Root,
    /// Its kernel.
    pub kernel: PathBuf,
    /// What making them took, if they were not there.
    pub made: Option<Made>,
}

/// What the first guest on a machine takes.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// How long it took.
    pub time: Duration,
    /// Bytes of packages.
    pub fetched: u64,
}

impl Parts {
    /// The packages of QEMU.
    pub fn qemu(&self) -> &Root {
        &self.qemu
    }

    /// The packages of what runs on this machine besides.
    pub fn tools(&self) -> &Root {
        &self.tools
    }

    /// The first root file system.
    pub fn initramfs(&self) -> PathBuf {
        self.folder.join("initramfs")
    }

    /// The guest's disk, which nothing writes to.
    pub fn image(&self) -> PathBuf {
        self.folder.join("image")
    }

    /// The private key that guests accept.
    pub fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// Where it is noted whether KVM works.
    pub(crate) fn kvm_note(&self) -> PathBuf {
        self.folder.join("kvm")
    }

    /// Public keys that may log in: csdrive's own, and those of the user.
    ///
    /// # Errors
    /// If csdrive's own cannot be read.
    pub fn public_keys(&self) -> Result<String> {
        let own = self.key().with_extension("pub");
        let mut keys = fs::read_to_string(&own).with_context(|| own.display().to_string())?;
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        for entry in fs::read_dir(home.join(".ssh")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "pub")
                && let Ok(key) = fs::read_to_string(entry.path())
            {
                let _ = writeln!(keys, "{}", key.trim());
            }
        }
        Ok(keys)
    }

    /// A disk that its user keeps: a copy of the fresh one, the first time.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn kept_disk(&self, file: &Path) -> Result<PathBuf> {
        if !file.exists() {
            let mut unfinished = file.as_os_str().to_owned();
            unfinished.push(".unfinished");
            let mut copy = self.tools().command("usr/bin/qemu-img");
            copy.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(self.image()).arg(&unfinished);
            let output = copy.output().context("qemu-img")?;
            if !output.status.success() {
                bail!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
            }
            fs::rename(unfinished, file).with_context(|| file.display().to_string())?;
        }
        absolute(file)
    }
}

/// QEMU runs in a folder of its own.
///
/// # Errors
/// If there is no such file.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| path.display().to_string())
}
