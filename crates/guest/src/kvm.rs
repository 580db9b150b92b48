//! Whether a guest can use this machine's processor.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Tell;
use crate::parts::Parts;
use crate::payload::Payload;
use crate::qemu::{Disk, Hardware, Machine, Reason};

/// How long a guest may take to start where KVM works; where it does not, QEMU hangs.
const KVM_PATIENCE: Duration = Duration::from_secs(10);

/// True if a guest starts with KVM. There are machines with a /dev/kvm on which QEMU hangs: found out once
/// for each boot of this machine.
pub fn kvm_works(parts: &Parts, image: &Path, tell: Tell) -> Result<bool> {
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "; add your user to the group kvm",
            _ => "",
        };
        tell(format_args!(
            "csdrive: note: no KVM (/dev/kvm: {error}{remedy}): processors are emulated, some ten times slower"
        ));
        return Ok(false);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let note = parts.kvm_note();
    if let Ok(text) = fs::read_to_string(&note)
        && let Some(answer) = text.strip_prefix(boot.trim())
    {
        let works = answer.trim() == "works";
        if !works {
            tell(format_args!(
                "csdrive: note: KVM was tried and does not work here: processors are emulated, some ten times slower"
            ));
        }
        return Ok(works);
    }
    tell(format_args!("csdrive: trying KVM, once (at most {} s)", KVM_PATIENCE.as_secs()));
    let folder = tempfile::tempdir()
        .context("no temporary folder: set TMPDIR to a folder that you may write")?;
    let payload = folder.path().join("payload");
    Payload { command: "true", ..Payload::default() }.write(&payload)?;
    let hardware =
        Hardware { memory: "512M".to_owned(), cpus: 1, has_kvm: true, ..Hardware::default() };
    let mut machine = Machine::new(parts, &hardware, folder.path(), &payload);
    machine.disk(image, Disk::Fresh);
    machine.console_file(&folder.path().join("out"));
    let start = Instant::now();
    machine.run(&mut || (start.elapsed() > KVM_PATIENCE).then_some(Reason::TimedOut))?;
    let works = machine.status() == Some(0);
    let answer = if works { "works" } else { "does not work" };
    tell(format_args!("csdrive: KVM {answer} here"));
    fs::write(note, format!("{} {answer}", boot.trim()))?;
    Ok(works)
}
