//! The first root file system: an archive that the kernel unpacks into memory (cpio, "newc" form; the
//! kernel's Documentation/driver-api/early-userspace/buffer-format.rst). It loads the disk's driver, if the
//! kernel has it as a module, and goes on to the disk.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Modules that the disk needs.
const MODULES: [&str; 1] = ["kernel/drivers/block/virtio_blk.ko.xz"];

/// The first program: this, and the path of the system's own.
const INIT: &str = "#!/bin/busybox sh\n\
    /bin/busybox mount -t devtmpfs dev /dev\n\
    for module in /modules/*; do /bin/busybox insmod $module; done\n\
    n=0; while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do /bin/busybox sleep 0.1; n=$((n + 1)); done\n\
    /bin/busybox mount -t ext4 /dev/vda /root\n\
    /bin/busybox mount --move /dev /root/dev\n\
    exec /bin/busybox switch_root /root ";

/// Types of files.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Writes the archive, with modules of a kernel's folder; it goes on to the program `init` of the disk.
pub(crate) fn write(busybox: &Path, modules: &Path, init: &str, to: &Path) -> Result<()> {
    let file = fs::File::create(to).with_context(|| to.display().to_string())?;
    let mut archive = Archive { out: std::io::BufWriter::new(file), at: 0, inode: 1 };
    for folder in ["bin", "modules", "dev", "root"] {
        archive.entry(folder, FOLDER, &[])?;
    }
    let program = fs::read(busybox).with_context(|| busybox.display().to_string())?;
    archive.entry("bin/busybox", PROGRAM, &program)?;
    for (n, module) in MODULES.iter().enumerate() {
        let path = modules.join(module);
        let unpacked = Command::new(busybox).arg("xzcat").arg(&path).output()?;
        if !unpacked.status.success() {
            bail!("{}: {}", path.display(), String::from_utf8_lossy(&unpacked.stderr).trim());
        }
        archive.entry(&format!("modules/{n}.ko"), PROGRAM, &unpacked.stdout)?;
    }
    archive.entry("init", PROGRAM, format!("{INIT}/{init}\n").as_bytes())?;
    archive.entry("TRAILER!!!", 0, &[])?;
    archive.out.flush()?;
    Ok(())
}

/// A cpio archive under way.
struct Archive<W> {
    out: W,
    at: u64,
    inode: u32,
}

impl<W: Write> Archive<W> {
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
}
