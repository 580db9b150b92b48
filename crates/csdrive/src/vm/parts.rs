//! QEMU, a kernel and a guest's programs, from Debian packages, unpacked once into a cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use debian::{Archive, Root};
use indicatif::{ProgressBar, ProgressStyle};

/// The Debian release of the guest; its backports have a QEMU with the vfio-user client (10.1).
const RELEASE: &str = "trixie";
const BACKPORTS: &str = "trixie-backports";

/// The guest's kernel: NVMe, ext4, FUSE, io_uring and serial ports are built in.
const KERNEL: &str = "linux-image-cloud-amd64";

/// What the guest has besides the kernel.
const GUEST: [&str; 5] = ["busybox-static", "fio", "nvme-cli", "e2fsprogs", "util-linux"];

/// Raised when what is unpacked changes.
const VERSION: &str = "vm-1";

/// What a guest is made of.
pub(super) struct Parts {
    /// The cache folder.
    pub(super) folder: PathBuf,
    pub(super) qemu: Root,
    pub(super) guest: Root,
    pub(super) kernel: PathBuf,
}

/// Finds the parts, or fetches them.
pub(super) fn find() -> Result<Parts> {
    let folder = cache()?.join(VERSION);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    // One at a time: another csdrive may be fetching.
    let lock = File::create(folder.join("lock")).with_context(|| folder.display().to_string())?;
    lock.lock().with_context(|| folder.display().to_string())?;
    let complete = folder.join("complete");
    let (qemu, guest) = (Root::new(&folder.join("qemu"))?, Root::new(&folder.join("guest"))?);
    if !complete.exists() {
        fetch(&folder, &qemu, &guest)?;
        fs::write(&complete, "").with_context(|| complete.display().to_string())?;
    }
    let kernel = kernel_in(&guest.path("boot"))?;
    Ok(Parts { folder, qemu, guest, kernel })
}

fn cache() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("csdrive"))
}

fn fetch(folder: &Path, qemu: &Root, guest: &Root) -> Result<()> {
    eprintln!(
        "csdrive: the first virtual machine takes QEMU, a kernel and tools from Debian packages: about \
         130 MB, unpacked to {}",
        folder.display()
    );
    let archive = Archive::open(&folder.join("apt"), &[RELEASE, BACKPORTS], &["amd64"])?;
    let packages = (BACKPORTS, &["qemu-system-x86"][..]);
    download(&archive, "QEMU", packages, &folder.join("debs-qemu"), qemu)?;
    let kernel = archive.dependency(KERNEL, "linux-image-")?;
    let mut packages = GUEST.to_vec();
    packages.push(&kernel);
    download(&archive, "guest", (RELEASE, &packages), &folder.join("debs-guest"), guest)?;
    // What is unpacked is not needed again.
    for packed in ["debs-qemu", "debs-guest"] {
        fs::remove_dir_all(folder.join(packed)).with_context(|| packed.to_owned())?;
    }
    Ok(())
}

fn download(
    archive: &Archive,
    what: &'static str,
    packages: (&str, &[&str]),
    into: &Path,
    root: &Root,
) -> Result<()> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "{msg:>14} {bar:30} {bytes}/{total_bytes} {elapsed}",
    )?);
    bar.set_message(format!("fetch {what}"));
    let files = archive.download(packages, into, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let bar = ProgressBar::new(files.len() as u64);
    bar.set_style(ProgressStyle::with_template("{msg:>14} {bar:30} {pos}/{len} {elapsed}")?);
    bar.set_message(format!("unpack {what}"));
    for file in &files {
        root.unpack(file)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn kernel_in(boot: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(boot).with_context(|| boot.display().to_string())?;
    let mut kernels: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    kernels.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    });
    kernels.sort();
    kernels.pop().with_context(|| format!("no kernel in {}", boot.display()))
}
