//! `csdrive vm`: a Debian guest with the drive attached, in a stock QEMU with a stock kernel.

mod initramfs;
mod parts;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use crate::Outcome;
use crate::serve::{self, Serving};
use initramfs::Guest;
use parts::Parts;

/// How long a guest may take to start where KVM works; where it does not, QEMU hangs.
const KVM_PATIENCE: Duration = Duration::from_secs(10);

/// Boot a Debian guest with the drive: a shell, or one command
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<VmCommand>,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Debug, clap::Subcommand)]
enum VmCommand {
    /// Run one command in a fresh guest and exit with its status
    Run {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Machine {
    /// Memory of the guest, for example 1G or 512M
    #[arg(long, global = true, value_name = "SIZE", default_value = "1G", value_parser = memory)]
    memory: String,
    /// Processors of the guest
    #[arg(long, global = true, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=255))]
    cpus: u16,
    /// Configuration of a drive; repeat it for several drives
    #[arg(long, global = true, value_name = "FILE")]
    drive: Vec<PathBuf>,
    /// One key, for all drives; repeatable
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Copy a file of this machine to where the guest's command starts; repeatable
    #[arg(long, global = true, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// A kernel of your own, with NVMe and serial ports built in
    #[arg(long, global = true, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Firmware: qboot starts at once; seabios looks at the drive before the kernel does
    #[arg(long, global = true, default_value = "qboot", value_parser = ["qboot", "seabios"])]
    firmware: String,
    /// Run on emulated processors even if KVM works
    #[arg(long, global = true)]
    no_kvm: bool,
    /// End the guest after so many seconds
    #[arg(long, global = true, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let machine = &arguments.machine;
    let parts = parts::find()?;
    let folder = tempfile::tempdir()?;
    let (command, is_terminal) = match &arguments.command {
        Some(VmCommand::Run { command }) => (quoted(command), false),
        None => (SHELL.to_owned(), std::io::stdin().is_terminal()),
    };
    let drives = serve::start(&serve::Request {
        configs: &machine.drive,
        socket: &folder.path().join("drive"),
        set: &machine.set,
        femu: &[],
        workers: 1,
        doorbells: emulator::Doorbells::Messages,
        is_quiet: true,
    })?;
    let archive = folder.path().join("initramfs");
    let guest = Guest {
        command: &command,
        is_terminal,
        has_input: arguments.command.is_none(),
        drives: drives.len(),
        files: &machine.file,
    };
    initramfs::write(&parts, &guest, &archive)?;
    let has_kvm = !machine.no_kvm && kvm_works(&parts)?;
    let mut qemu = qemu(&parts, machine, has_kvm, &archive, folder.path());
    for drive in &drives {
        qemu.arg("-device").arg(device(&drive.socket));
    }
    let log = fs::File::create(folder.path().join("qemu"))?;
    qemu.arg("-serial").arg("stdio").stderr(log);
    for port in ["status", "kernel"] {
        qemu.arg("-serial").arg(format!("file:{}", folder.path().join(port).display()));
    }
    let ended = with_terminal(is_terminal, || {
        let child = qemu.spawn().context("QEMU")?;
        wait(child, machine.timeout.map(Duration::from_secs))
    });
    drives.iter().for_each(Serving::stop);
    for drive in drives {
        drive.join()?;
    }
    let ended = ended?;
    let status = fs::read_to_string(folder.path().join("status")).unwrap_or_default();
    let status = status.trim().strip_prefix("status ").and_then(|text| text.parse::<u8>().ok());
    let tail = |name: &str| {
        let text = fs::read(folder.path().join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    };
    match (ended, status) {
        (None, _) => bail!("the guest was ended after {} s", machine.timeout.unwrap_or_default()),
        (Some(_), Some(0)) => Ok(Outcome::Success),
        (Some(_), Some(status)) => Ok(Outcome::Status(status)),
        (Some(code), None) => Err(anyhow!(
            "the guest ended without a status ({code}); QEMU said:\n{}\nits kernel:\n{}",
            tail("qemu"),
            tail("kernel")
        )),
    }
}

/// QEMU reads a number without a unit as MiB in one place and as bytes in another.
fn memory(text: &str) -> Result<String, String> {
    let number = text.strip_suffix(['M', 'G']).unwrap_or_default();
    match number.parse::<u32>() {
        Ok(1..) => Ok(text.to_owned()),
        _ => Err("write it as 512M or 2G".to_owned()),
    }
}

/// What a guest without a command runs.
const SHELL: &str = "echo 'The drive: /dev/nvme0n1 (blocks), /dev/ng0n1 to ng0n3. Ctrl-D ends the guest.'\n\
                     nvme list\nexec sh -l\n";

/// A shell script that runs a command with its arguments as they are.
fn quoted(command: &[String]) -> String {
    let quote = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
    let words: Vec<String> = command.iter().map(quote).collect();
    format!("exec {}\n", words.join(" "))
}

fn device(socket: &Path) -> String {
    // A stalled server (a debugger, say) must not lose its guest.
    json!({
        "driver": "vfio-user-pci",
        "socket": { "type": "unix", "path": socket },
        "x-msg-timeout": 60_000
    })
    .to_string()
}

fn qemu(parts: &Parts, machine: &Machine, has_kvm: bool, archive: &Path, folder: &Path) -> Command {
    let mut qemu = parts.qemu.command("usr/bin/qemu-system-x86_64");
    for data in ["usr/share/qemu", "usr/share/seabios"] {
        qemu.arg("-L").arg(parts.qemu.path(data));
    }
    let memory = &machine.memory;
    qemu.args(["-machine", "q35,memory-backend=ram0", "-m", memory, "-object"]);
    qemu.arg(format!("memory-backend-memfd,id=ram0,size={memory},share=on"));
    qemu.args(["-accel", if has_kvm { "kvm" } else { "tcg" }]);
    qemu.args(["-cpu", if has_kvm { "host" } else { "max" }]);
    qemu.args(["-smp", &machine.cpus.to_string()]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    if machine.firmware == "qboot" {
        qemu.args(["-bios", "qboot.rom"]);
    }
    qemu.arg("-kernel").arg(machine.kernel.as_ref().unwrap_or(&parts.kernel));
    qemu.arg("-initrd").arg(archive);
    qemu.args(["-append", "console=ttyS2 panic=-1 edd=off"]);
    qemu.current_dir(folder);
    qemu
}

/// Waits for QEMU; `None` if it took too long and was ended.
fn wait(mut child: Child, patience: Option<Duration>) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if patience.is_some_and(|patience| start.elapsed() > patience) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// True if a guest starts with KVM. There are machines with a /dev/kvm on which QEMU hangs: found out once
/// for each boot of this machine.
fn kvm_works(parts: &Parts) -> Result<bool> {
    let accessible = fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    if !accessible {
        return Ok(false);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let noted = parts.folder.join("kvm");
    if let Ok(text) = fs::read_to_string(&noted)
        && let Some(answer) = text.strip_prefix(boot.trim())
    {
        return Ok(answer.trim() == "works");
    }
    eprintln!("csdrive: trying KVM, once (at most {} s)", KVM_PATIENCE.as_secs());
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("initramfs");
    let guest =
        Guest { command: "true", is_terminal: false, has_input: false, drives: 0, files: &[] };
    initramfs::write(parts, &guest, &archive)?;
    let machine = Machine {
        memory: "512M".to_owned(),
        cpus: 1,
        drive: Vec::new(),
        set: Vec::new(),
        file: Vec::new(),
        kernel: None,
        firmware: "qboot".to_owned(),
        no_kvm: false,
        timeout: None,
    };
    let mut qemu = qemu(parts, &machine, true, &archive, folder.path());
    let status = folder.path().join("status");
    qemu.args(["-serial", "null", "-serial"]).arg(format!("file:{}", status.display()));
    qemu.args(["-serial", "null"]);
    qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = wait(qemu.spawn().context("QEMU")?, Some(KVM_PATIENCE))?;
    let works = ended.is_some() && fs::read_to_string(status).is_ok_and(|s| s.contains("status 0"));
    let answer = if works { "works" } else { "does not work" };
    eprintln!("csdrive: KVM {answer} here");
    fs::write(noted, format!("{} {answer}", boot.trim()))?;
    Ok(works)
}

/// Runs something while the terminal passes every key on, if there is one.
fn with_terminal<T>(is_terminal: bool, run: impl FnOnce() -> Result<T>) -> Result<T> {
    if !is_terminal {
        return run();
    }
    let stdin = std::io::stdin();
    let before = rustix::termios::tcgetattr(&stdin)?;
    let mut raw = before.clone();
    raw.make_raw();
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &raw)?;
    let result = run();
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &before)?;
    result
}
