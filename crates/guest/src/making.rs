//! QEMU, a kernel and a guest's disk, from Debian packages, made once and kept in a cache folder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use debian::{Archive, Root, System};
use indicatif::{ProgressBar, ProgressStyle};

use crate::parts::{INIT_PATH, Made, Parts};
use crate::payload::Payload;
use crate::qemu::{self, Hardware, Machine};
use crate::{Tell, initramfs, kvm};

/// The Debian release of the guest; its backports have a QEMU with the vfio-user client (10.1).
const RELEASE: &str = "trixie";
const BACKPORTS: &str = "trixie-backports";

/// The guest's kernel: NVMe, ext4, FUSE, virtiofs, io_uring and serial ports are built in.
const KERNEL: &str = "linux-image-cloud-amd64";

/// What runs on this machine besides QEMU: mke2fs and what it reads archives with, qemu-img, ...
const TOOLS: [&str; 6] =
    ["e2fsprogs", "libarchive13t64", "qemu-utils", "virtiofsd", "openssh-client", "busybox-static"];

/// What the guest has: what every Debian has, and tools for a drive and its programs.
const GUEST: [&str; 18] = [
    "?essential",
    "apt",
    "ca-certificates",
    "clang",
    "e2fsprogs",
    "fdisk",
    "fio",
    "fuse3",
    "iproute2",
    "kmod",
    "less",
    "lz4",
    "nano",
    "nvme-cli",
    "openssh-server",
    "procps",
    "python3-minimal",
    "xfsprogs",
];

/// Raised when what is in the cache changes.
const VERSION: &str = "vm-3";

/// Size of the guest's disk: the file is as large as what is on it.
const DISK: &str = "8G";

/// Finds the parts, or makes them.
pub fn find(tell: Tell) -> Result<Parts> {
    let folder = cache()?.join(VERSION);
    fs::create_dir_all(&folder).map_err(|error| no_folder(&folder, &error))?;
    // One at a time: another csdrive may be fetching.
    let lock = File::create(folder.join("lock")).map_err(|error| no_folder(&folder, &error))?;
    lock.lock().with_context(|| folder.display().to_string())?;
    let complete = folder.join("complete");
    let (qemu, tools) = (Root::new(&folder.join("qemu"))?, Root::new(&folder.join("tools"))?);
    let mut parts = Parts { folder, qemu, tools, kernel: PathBuf::new(), made: None };
    if !complete.exists() {
        let start = Instant::now();
        let fetched = make(&mut parts, tell).map_err(|error| match is_full(&error) {
            true => error.context(format!(
                "{} takes 2.5 GB while it is made: free some room, or set XDG_CACHE_HOME to another folder",
                parts.folder.display()
            )),
            false => error,
        })?;
        let made = Made { time: start.elapsed(), fetched };
        tell(format_args!(
            "csdrive: the guest's parts are made, in {:.0} s; {} MB were fetched",
            made.time.as_secs_f64(),
            fetched / 1_000_000
        ));
        parts.made = Some(made);
        fs::write(&complete, "").with_context(|| complete.display().to_string())?;
    }
    parts.kernel = newest(&parts.folder.join("kernel/boot"), "vmlinuz-")?;
    Ok(parts)
}

/// The cache folder cannot be used.
fn no_folder(folder: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "{}: {error}; QEMU and the guest's disk are kept there (1.6 GB): set XDG_CACHE_HOME to a folder that you may write",
        folder.display()
    )
}

/// True if a disk is full somewhere below an error.
fn is_full(error: &anyhow::Error) -> bool {
    let is_full_kind = |error: &std::io::Error| {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(error.kind(), StorageFull | QuotaExceeded)
    };
    let is_full = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(debian::Error::Full { .. }) => true,
        Some(debian::Error::File { cause, .. }) => is_full_kind(cause),
        _ => cause.downcast_ref().is_some_and(is_full_kind),
    };
    error.chain().any(is_full)
}

fn cache() -> Result<PathBuf> {
    // A relative path is to be ignored, an empty one means nothing (XDG Base Directory Specification 0.8).
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let base = base.context(
        "neither XDG_CACHE_HOME nor HOME is an absolute path: set XDG_CACHE_HOME to a folder for QEMU and the guest's disk",
    )?;
    Ok(base.join("csdrive"))
}

/// Makes the parts; gives how many bytes were fetched.
fn make(parts: &mut Parts, tell: Tell) -> Result<u64> {
    let folder = parts.folder.clone();
    tell(format_args!(
        "csdrive: the first virtual machine takes QEMU, a kernel and a guest's disk from Debian packages, in some minutes: \
         about 240 MB to fetch; 2.5 GB in {} while it is made, 1.6 GB when done",
        folder.display()
    ));
    let archive = Archive::open(&folder.join("apt"), &[RELEASE, BACKPORTS], &["amd64"])?;
    let fetch = |what: &'static str, suite, packages: &[&str]| {
        download(&archive, what, (suite, packages), &folder.join("packages"))
    };
    let qemu = fetch("QEMU", BACKPORTS, &["qemu-system-x86"])?;
    unpack("QEMU", &qemu, &parts.qemu)?;
    let tools = fetch("tools", RELEASE, &TOOLS)?;
    unpack("tools", &tools, &parts.tools)?;
    // The kernel comes without what Debian starts it with: csdrive has its own.
    let name = archive.dependency(KERNEL, "linux-image-")?;
    let kernel_files = fetch("kernel", RELEASE, &[&name])?;
    let is_kernel =
        |path: &&PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&name));
    let kernel = Root::new(&folder.join("kernel"))?;
    unpack("kernel", &kernel_files.iter().filter(is_kernel).cloned().collect::<Vec<_>>(), &kernel)?;
    parts.kernel = newest(&kernel.path("boot"), "vmlinuz-")?;
    let modules = newest(&kernel.path("usr/lib/modules"), "")?;
    initramfs::write(
        &parts.tools.path("usr/bin/busybox"),
        &modules,
        INIT_PATH,
        &parts.initramfs(),
    )?;
    if !parts.key().exists() {
        let mut command = parts.tools.command("usr/bin/ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "csdrive", "-f"]).arg(parts.key());
        let made = command.output().context("ssh-keygen")?;
        if !made.status.success() {
            bail!("ssh-keygen: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
    }
    let guest = fetch("guest", RELEASE, &GUEST)?;
    let files = [&qemu, &tools, &kernel_files, &guest].into_iter().flatten();
    let unique: BTreeSet<&PathBuf> = files.collect();
    let fetched = unique.iter().map(|file| fs::metadata(file).map_or(0, |m| m.len())).sum();
    let image = folder.join("image.unfinished");
    make_image(parts, &guest, &kernel.path("usr/lib/modules"), &image)?;
    configure(parts, &image, guest.len() as u64, tell)?;
    fs::rename(&image, parts.image()).with_context(|| image.display().to_string())?;
    // What is unpacked is not needed again.
    let packed = folder.join("packages");
    fs::remove_dir_all(&packed).with_context(|| packed.display().to_string())?;
    let modules = kernel.path("usr/lib/modules");
    fs::remove_dir_all(&modules).with_context(|| modules.display().to_string())?;
    Ok(fetched)
}

fn download(
    archive: &Archive,
    what: &'static str,
    packages: (&str, &[&str]),
    into: &Path,
) -> Result<Vec<PathBuf>> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "{msg:>16} {bar:30} {bytes}/{total_bytes} {elapsed}",
    )?);
    bar.set_message(format!("fetch {what}"));
    let files = archive.download(packages, into, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    Ok(files)
}

/// A bar that counts packages.
fn counter(message: String, count: u64) -> Result<ProgressBar> {
    let bar = ProgressBar::new(count);
    bar.set_style(ProgressStyle::with_template("{msg:>16} {bar:30} {pos}/{len} {elapsed}")?);
    bar.set_message(message);
    Ok(bar)
}

fn unpack(what: &str, files: &[PathBuf], root: &Root) -> Result<()> {
    let bar = counter(format!("unpack {what}"), files.len() as u64)?;
    for file in files {
        root.unpack(file)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Makes the guest's disk: a file system with all packages, not yet configured.
fn make_image(parts: &Parts, packages: &[PathBuf], modules: &Path, image: &Path) -> Result<()> {
    let bar = counter("unpack guest".to_owned(), packages.len() as u64)?;
    // What is left of an attempt may be of any size.
    let _ = fs::remove_file(image);
    let mut mke2fs = parts.tools.command("usr/sbin/mke2fs");
    // It reads the archive from its input, in which the owners are right without root.
    mke2fs.args(["-q", "-F", "-t", "ext4", "-L", "csdrive", "-d", "-"]).arg(image).arg(DISK);
    let mut child = mke2fs
        .env("MKE2FS_CONFIG", parts.tools.path("etc/mke2fs.conf"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("mke2fs")?;
    let input = child.stdin.take().context("mke2fs has no input")?;
    let written = write_system(packages, modules, input, &bar);
    let ended = child.wait_with_output().context("mke2fs")?;
    bar.finish_and_clear();
    if !ended.status.success() {
        bail!("mke2fs, {}: {}", image.display(), String::from_utf8_lossy(&ended.stderr).trim());
    }
    written
}

fn write_system(
    packages: &[PathBuf],
    modules: &Path,
    out: impl Write,
    bar: &ProgressBar,
) -> Result<()> {
    let mut system = System::new(BufWriter::with_capacity(1 << 20, out))?;
    for package in packages {
        system.package(package)?;
        bar.inc(1);
    }
    system.tree(modules, Path::new("usr/lib/modules"))?;
    system.file(Path::new(INIT_PATH), 0o755, include_bytes!("init.sh"))?;
    for name in ["poweroff", "reboot"] {
        let path = Path::new("usr/local/sbin").join(name);
        system.file(&path, 0o755, include_bytes!("poweroff.sh"))?;
    }
    system.file(Path::new("etc/hostname"), 0o644, b"csdrive\n")?;
    system.file(Path::new("etc/hosts"), 0o644, b"127.0.0.1 localhost csdrive\n")?;
    system.file(Path::new("etc/fstab"), 0o644, b"")?;
    let sources = format!(
        "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {RELEASE} {BACKPORTS}\n\
         Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    );
    let path = Path::new("etc/apt/sources.list.d/debian.sources");
    system.file(path, 0o644, sources.as_bytes())?;
    system.finish()?.flush()?;
    Ok(())
}

/// Lets the guest run its packages' scripts.
fn configure(parts: &Parts, image: &Path, packages: u64, tell: Tell) -> Result<()> {
    let folder = tempfile::tempdir()
        .context("no temporary folder: set TMPDIR to a folder that you may write")?;
    let payload = folder.path().join("payload");
    Payload { command: include_str!("configure.sh"), ..Payload::default() }
        .write(&payload)
        .with_context(|| payload.display().to_string())?;
    let hardware = Hardware {
        memory: "1G".to_owned(),
        cpus: 2,
        has_kvm: kvm::kvm_works(parts, image, tell)?,
        ..Hardware::default()
    };
    let mut machine = Machine::new(parts, &hardware, folder.path(), &payload);
    machine.disk(image, qemu::Disk::Making);
    let out = folder.path().join("out");
    machine.console_file(&out);
    let bar = counter("configure guest".to_owned(), packages)?;
    let ended = machine.run(&mut || {
        let text = fs::read(&out).unwrap_or_default();
        let done = String::from_utf8_lossy(&text).matches("Setting up ").count();
        bar.set_position(done as u64);
        None
    })?;
    bar.finish_and_clear();
    match machine.status() {
        Some(0) => Ok(()),
        status => bail!(
            "the guest could not be made ({ended:?}, status {status:?}); its last words:\n{}\nits kernel's:\n{}",
            qemu::tail(&out),
            machine.messages(),
        ),
    }
}

/// The last file of a folder whose name begins so.
fn newest(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    });
    paths.sort();
    paths.pop().with_context(|| format!("no {prefix}... in {}", folder.display()))
}
