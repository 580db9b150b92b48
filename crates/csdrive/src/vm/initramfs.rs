//! The guest's files: an archive that the kernel unpacks into memory (cpio, "newc" form; the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::parts::Parts;

/// Programs of the guest, with other names they are called by.
const PROGRAMS: [(&str, &[&str]); 8] = [
    ("usr/bin/fio", &[]),
    ("usr/sbin/nvme", &[]),
    ("usr/sbin/mke2fs", &["usr/sbin/mkfs.ext4"]),
    ("usr/sbin/e2fsck", &["usr/sbin/fsck.ext4"]),
    ("usr/bin/lsblk", &[]),
    ("usr/sbin/blkdiscard", &[]),
    ("usr/bin/findmnt", &[]),
    ("usr/bin/taskset", &[]),
];

/// Begins every guest: file systems, then the command, whose status goes to the second serial port.
const INIT: &str = r#"#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=linux
mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /tmp; mount -t tmpfs run /run
mkdir -p /dev/pts; mount -t devpts pts /dev/pts
echo 1 > /proc/sys/kernel/printk
hostname csdrive
# The drives are there when their last namespace is.
n=0
while [ $n -lt 300 ]; do
    [ "$(ls /dev/ng*n3 2>/dev/null | wc -l)" -ge "$(cat /drives)" ] && break
    n=$((n+1)); sleep 0.1
done
cd /root
stty -F /dev/ttyS0 MODE 2>/dev/null
setsid -c sh /command < INPUT > /dev/ttyS0 2>&1
echo "status $?" > /dev/ttyS1
sync
poweroff -f
"#;

/// What the guest does.
pub(super) struct Guest<'a> {
    /// A shell script.
    pub(super) command: &'a str,
    /// The command talks to a terminal, which the guest then looks after.
    pub(super) is_terminal: bool,
    /// The command reads what is typed, or piped in.
    pub(super) has_input: bool,
    /// Drives to wait for.
    pub(super) drives: usize,
    /// Files of the host, to be found in the folder where the command starts.
    pub(super) files: &'a [PathBuf],
}

/// A cpio archive under way.
struct Archive<W> {
    out: W,
    at: u64,
    inode: u32,
    folders: BTreeSet<PathBuf>,
}

/// Types of files.
const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const PROGRAM: u32 = 0o100_755;

impl<W: Write> Archive<W> {
    fn new(out: W) -> Self {
        Self { out, at: 0, inode: 1, folders: BTreeSet::new() }
    }

    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
        let size = u32::try_from(bytes.len())
            .map_err(|_| std::io::Error::other(format!("{path}: 4 GiB or more")))?;
        // inode, mode, uid, gid, links, time, size, device and its device, both in two parts, name, check
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, path.len() as u32 + 1, 0];
        self.inode += 1;
        let mut header = String::from("070701");
        fields.iter().for_each(|field| header.push_str(&format!("{field:08x}")));
        self.put(header.as_bytes())?;
        self.put(path.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(bytes)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self) -> std::io::Result<()> {
        let missing = self.at.next_multiple_of(4) - self.at;
        self.put(&[0; 3][..missing as usize])
    }

    fn folder(&mut self, path: &Path) -> std::io::Result<()> {
        if path.as_os_str().is_empty() || self.folders.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.folders.insert(path.to_owned());
        self.entry(&path.to_string_lossy(), FOLDER, &[])
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(parent) = Path::new(path).parent() {
            self.folder(parent)?;
        }
        self.entry(path, mode, bytes)
    }

    fn finish(mut self) -> std::io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()
    }
}

/// Writes the archive.
pub(super) fn write(parts: &Parts, guest: &Guest<'_>, to: &Path) -> Result<()> {
    let file = fs::File::create(to).with_context(|| to.display().to_string())?;
    let mut archive = Archive::new(std::io::BufWriter::new(file));
    for (name, target) in
        [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
    {
        archive.folder(Path::new(target))?;
        archive.entry(name, LINK, target.as_bytes())?;
    }
    for folder in ["proc", "sys", "dev", "run", "tmp", "mnt", "root", "etc"] {
        archive.folder(Path::new(folder))?;
    }
    archive.file("etc/passwd", 0o100_644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    archive.file("etc/group", 0o100_644, b"root:x:0:\n")?;
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let mut libraries = BTreeSet::new();
    for (program, names) in PROGRAMS {
        let path = parts.guest.path(program);
        archive.file(program, PROGRAM, &read(&path)?)?;
        for name in names {
            archive.file(name, LINK, format!("/{program}").as_bytes())?;
        }
        libraries.extend(parts.guest.libraries(&path)?);
    }
    // csdrive itself, as far as the guest's libraries serve it.
    let own = std::env::current_exe().context("where csdrive is")?;
    if let Ok(needed) = parts.guest.libraries(&own) {
        archive.file("usr/bin/csdrive", PROGRAM, &read(&own)?)?;
        libraries.extend(needed);
    }
    let inside = parts.guest.path("");
    for library in libraries {
        let path = library.strip_prefix(&inside).unwrap_or(&library);
        let path = path.to_string_lossy();
        archive.file(path.trim_start_matches('/'), PROGRAM, &read(&library)?)?;
    }
    // busybox is the rest of the system; real programs come first in PATH only if busybox has not
    // their names, so those are left to them.
    let busybox = parts.guest.path("usr/bin/busybox");
    archive.file("usr/bin/busybox", PROGRAM, &read(&busybox)?)?;
    let taken: Vec<&str> = PROGRAMS
        .iter()
        .flat_map(|(program, names)| std::iter::once(program).chain(*names))
        .filter_map(|path| path.rsplit('/').next())
        .collect();
    let list = std::process::Command::new(&busybox).arg("--list").output()?;
    for name in String::from_utf8_lossy(&list.stdout).lines() {
        if name != "busybox" && !taken.contains(&name) {
            archive.file(&format!("usr/bin/{name}"), LINK, b"busybox")?;
        }
    }
    for file in guest.files {
        let name = file.file_name().with_context(|| format!("{}: no file", file.display()))?;
        archive.file(&format!("root/{}", name.to_string_lossy()), PROGRAM, &read(file)?)?;
    }
    let mode = if guest.is_terminal { "sane" } else { "raw -echo" };
    // A serial line has no end of input: a command that is not typed gets none.
    let input = if guest.has_input { "/dev/ttyS0" } else { "/dev/null" };
    let init = INIT.replace("MODE", mode).replace("INPUT", input);
    archive.file("init", PROGRAM, init.as_bytes())?;
    archive.file("command", 0o100_644, guest.command.as_bytes())?;
    archive.file("drives", 0o100_644, guest.drives.to_string().as_bytes())?;
    archive.finish()?;
    Ok(())
}
