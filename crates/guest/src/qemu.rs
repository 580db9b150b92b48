//! QEMU's command line, and its life.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::parts::{INIT_PATH, Parts};

/// How often a running machine is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Looks between two looks at the kernel's messages.
const LOOKS_AT_KERNEL: u32 = 25;

/// What a machine consists of.
#[derive(Clone, Debug, Default)]
pub struct Hardware {
    /// Size as QEMU writes it.
    pub memory: String,
    /// Processors.
    pub cpus: u16,
    /// They are this machine's own, not emulated.
    pub has_kvm: bool,
    /// SeaBIOS instead of qboot.
    pub has_seabios: bool,
    /// A kernel instead of Debian's.
    pub kernel: Option<PathBuf>,
    /// A first root file system instead of csdrive's.
    pub initramfs: Option<PathBuf>,
}

/// How the guest's disk is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// What is written to it is forgotten.
    Fresh,
    /// It is under construction.
    Making,
    /// A file of its user's (qcow2).
    Kept,
}

/// A machine that is put together.
pub struct Machine {
    command: Command,
    folder: PathBuf,
}

/// Why a machine is no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// QEMU ended.
    Exited(ExitStatus),
    /// Its kernel gave up.
    Panicked,
    /// It was told to end, for this reason.
    Told(Reason),
}

/// Why a machine is told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It took too long.
    TimedOut,
    /// A signal came.
    Signal(i32),
}

impl Machine {
    /// A machine whose files are in a folder.
    pub fn new(parts: &Parts, hardware: &Hardware, folder: &Path, payload: &Path) -> Self {
        let qemu = parts.qemu();
        let mut command = with_parent(&qemu.command("usr/bin/qemu-system-x86_64"));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(qemu.path(data));
        }
        let Hardware { memory, cpus, has_kvm, .. } = hardware;
        command.args(["-machine", "q35,memory-backend=ram0", "-m", memory, "-object"]);
        command.arg(format!("memory-backend-memfd,id=ram0,size={memory},share=on"));
        command.args(["-accel", if *has_kvm { "kvm" } else { "tcg" }]);
        command.args(["-cpu", if *has_kvm { "host" } else { "max" }]);
        command.args(["-smp", &cpus.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        if !hardware.has_seabios {
            command.args(["-bios", "qboot.rom"]);
        }
        command.arg("-kernel").arg(hardware.kernel.as_ref().unwrap_or(&parts.kernel));
        command.arg("-initrd");
        command.arg(hardware.initramfs.clone().unwrap_or_else(|| parts.initramfs()));
        command.arg("-append");
        // iomem=relaxed: `nvme show-regs` and `nvme effects-log` map the registers of a device that has a driver.
        command.arg(format!(
            "console=ttyS2 root=/dev/vda rw init=/{INIT_PATH} edd=off iomem=relaxed mitigations=off"
        ));
        command.current_dir(folder);
        let mut machine = Self { command, folder: folder.to_owned() };
        machine.drive("payload", payload, "format=raw,readonly=on");
        machine
    }

    fn drive(&mut self, id: &str, file: &Path, options: &str) {
        // A comma in a path is doubled.
        let file = file.display().to_string().replace(',', ",,");
        self.command.arg("-drive").arg(format!("file={file},if=none,id={id},{options}"));
    }

    /// The guest's disk.
    pub fn disk(&mut self, file: &Path, disk: Disk) {
        let options = match disk {
            Disk::Fresh => "format=raw,snapshot=on",
            Disk::Making => "format=raw,cache=unsafe,discard=unmap",
            Disk::Kept => "format=qcow2,discard=unmap",
        };
        self.drive("disk", file, options);
        // In this order: the first is vda.
        self.command.args(["-device", "virtio-blk-pci,drive=disk"]);
        self.command.args(["-device", "virtio-blk-pci,drive=payload"]);
    }

    /// A drive of csdrive, in a slot of its own if it is to be below a root port.
    pub fn vfio_user(&mut self, socket: &Path, slot: Option<usize>) {
        // A stalled server (a debugger, say) must not lose its guest.
        let mut device = json!({
            "driver": "vfio-user-pci",
            "socket": { "type": "unix", "path": socket },
            "x-msg-timeout": 60_000
        });
        if let Some(slot) = slot {
            let port = format!("port{slot}");
            self.command.arg("-device").arg(format!("pcie-root-port,id={port},chassis={slot}"));
            device["bus"] = json!(port);
        }
        self.command.arg("-device").arg(device.to_string());
    }

    /// A file of so many bytes as an NVDIMM: persistent memory, in a machine that has `memory` bytes besides.
    pub fn nvdimm(&mut self, file: &Path, bytes: u64, memory: u64) {
        let path = file.display().to_string().replace(',', ",,");
        self.command.args(["-machine", "nvdimm=on", "-m"]);
        self.command.arg(format!("slots=1,maxmem={}", memory + bytes));
        self.command.arg("-object");
        self.command
            .arg(format!("memory-backend-file,id=nvdimm,share=on,mem-path={path},size={bytes}"));
        self.command.args(["-device", "nvdimm,memdev=nvdimm"]);
    }

    /// QEMU's user network, with a port of this machine for ssh.
    pub fn network(&mut self, ssh: Option<u16>) {
        let forward = ssh.map(|port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22"));
        self.command.arg("-netdev").arg(format!("user,id=net{}", forward.unwrap_or_default()));
        // Without the file of a boot program that nobody needs.
        self.command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
    }

    /// A folder of this machine, served at a socket.
    pub fn share(&mut self, socket: &Path) {
        self.command.arg("-chardev");
        self.command.arg(format!("socket,id=share,path={}", socket.display()));
        self.command.args(["-device", "vhost-user-fs-pci,chardev=share,tag=share"]);
    }

    /// QEMU's control socket.
    pub fn qmp(&mut self, socket: &Path) {
        self.command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
    }

    /// Arguments of its user's.
    pub fn arguments(&mut self, arguments: &[String]) {
        self.command.args(arguments);
    }

    /// The command's output goes to this process's, its input comes from there.
    pub fn console_stdio(&mut self) {
        self.command.args(["-serial", "stdio"]);
    }

    /// The command's output goes to a file.
    pub fn console_file(&mut self, file: &Path) {
        self.command.arg("-serial").arg(format!("file:{}", file.display()));
        self.command.stdin(Stdio::null()).stdout(Stdio::null());
    }

    /// The command gets no input.
    pub fn no_input(&mut self) {
        self.command.stdin(Stdio::null());
    }

    /// Runs the machine until it ends, or `tell` gives a reason to end it.
    pub fn run(&mut self, tell: &mut dyn FnMut() -> Option<Reason>) -> Result<Ended> {
        for port in ["status", "kernel"] {
            let file = self.folder.join(port);
            self.command.arg("-serial").arg(format!("file:{}", file.display()));
        }
        let log = File::create(self.folder.join("qemu"))?;
        let mut child = self.command.stderr(log).spawn().context("QEMU")?;
        for look in 1.. {
            if let Some(status) = child.try_wait()? {
                return Ok(Ended::Exited(status));
            }
            let has_panicked = || {
                let text = fs::read(self.folder.join("kernel")).unwrap_or_default();
                String::from_utf8_lossy(&text).contains("Kernel panic")
            };
            let ended = if let Some(reason) = tell() {
                Some(Ended::Told(reason))
            } else if look % LOOKS_AT_KERNEL == 0 && has_panicked() {
                Some(Ended::Panicked)
            } else {
                None
            };
            if let Some(ended) = ended {
                child.kill()?;
                child.wait()?;
                return Ok(ended);
            }
            std::thread::sleep(LOOK);
        }
        unreachable!("it looks until the machine ends")
    }

    /// The status of the command, if it ended.
    pub fn status(&self) -> Option<u8> {
        let text = fs::read_to_string(self.folder.join("status")).unwrap_or_default();
        text.lines().last()?.trim().strip_prefix("status ")?.parse().ok()
    }

    /// What QEMU and the guest's kernel said last.
    pub fn messages(&self) -> String {
        let [qemu, kernel] = ["qemu", "kernel"].map(|name| tail(&self.folder.join(name)));
        format!("QEMU said:\n{qemu}\nits kernel:\n{kernel}")
    }
}

/// The same command, which ends when this process is killed, too (setpriv is in Debian's util-linux).
pub(crate) fn with_parent(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    tied
}

/// The last lines of a file.
pub(crate) fn tail(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
