//! `csdrive vm`: a Debian guest with the drive attached, in a stock QEMU with a stock kernel.

use std::fs;
use std::io::{IsTerminal, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::input::is_standard;
use crate::report::{self, say, tell};
use crate::serve::{self, Serving};
use crate::{Outcome, Usage};
use guest::{Disk, Ended, Hardware, Machine, Payload, Reason, Share, absolute};

/// Boot a Debian guest with the drive: a shell, or one command
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<VmCommand>,
    #[command(flatten)]
    machine: Options,
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
struct Options {
    /// Memory of the guest, for example 1G or 512M
    #[arg(long, global = true, value_name = "SIZE", default_value = "1G", value_parser = memory)]
    memory: String,
    /// Processors of the guest [default: 2, or 1 on a machine with one]
    #[arg(long, global = true, value_name = "N", default_value_t = cpus(), hide_default_value = true, value_parser = clap::value_parser!(u16).range(1..=255))]
    cpus: u16,
    /// Configuration of a drive: TOML, or CEMU's JSON; repeat it for several drives
    #[arg(long, global = true, value_name = "FILE", alias = "config")]
    drive: Vec<PathBuf>,
    /// One key, for all drives; repeatable
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// FEMU device properties, for all drives; repeatable
    #[arg(long, global = true, value_name = "K=V,...")]
    femu: Vec<String>,
    /// Put records of the drives into shared memory, as csdrive serve --records does
    #[arg(long, global = true, value_name = "KINDS", num_args = 0..=1, require_equals = true, default_missing_value = "commands,jobs,units,dies", value_parser = serve::parse_kinds)]
    records: Option<ring::Wanted>,
    /// Keep a history of what is written to the drives, as csdrive serve --history does
    #[arg(long, global = true, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Copy a file of this machine to where the guest's command starts; repeatable
    #[arg(long, global = true, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Show a folder of this machine in the guest, as /share
    #[arg(long, global = true, value_name = "DIR")]
    share: Option<PathBuf>,
    /// Keep the guest's own disk in a file, made if it is not there; without it every guest is fresh
    #[arg(long, global = true, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// Put a file into the guest as persistent memory (an NVDIMM: /dev/pmem0 after modprobe nfit nd_pmem); its size is a multiple of 2 MiB
    #[arg(long, global = true, value_name = "FILE")]
    nvdimm: Option<PathBuf>,
    /// Port of this machine that leads to the guest's ssh; 0 = none [default: 2222 for a shell, none for a command]
    #[arg(long, global = true, value_name = "PORT")]
    ssh_port: Option<u16>,
    /// A kernel of your own: NVMe, ext4, virtio disks and serial ports built in, or in an initramfs of your own
    #[arg(long, global = true, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The initramfs of your own kernel; it finds root= and init= on the kernel's command line
    #[arg(long, global = true, value_name = "FILE")]
    initramfs: Option<PathBuf>,
    /// Firmware: qboot starts at once; seabios looks at the drive before the kernel does
    #[arg(long, global = true, default_value = "qboot", value_parser = ["qboot", "seabios"])]
    firmware: String,
    /// Put each drive below a PCIe root port of its own
    #[arg(long, global = true)]
    root_ports: bool,
    /// One more argument for QEMU, as it is; repeatable
    #[arg(long, global = true, value_name = "ARGUMENT", allow_hyphen_values = true)]
    qemu: Vec<String>,
    /// Stop the guest's clock while a program runs longer on this machine than on the drive
    #[arg(long, global = true)]
    freeze: bool,
    /// Run on emulated processors even if KVM works
    #[arg(long, global = true)]
    no_kvm: bool,
    /// Print one JSON document at the end: the command's output and status, times, completions and how late they were
    #[arg(long, global = true)]
    json: bool,
    /// End the guest after so many seconds
    #[arg(long, global = true, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// Persistent memory has parts of this size.
const NVDIMM_ALIGNMENT: u64 = 2 << 20;

/// ssh's port on this machine, for a guest with a shell.
const SSH_PORT: u16 = 2222;

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let options = &arguments.machine;
    if options.json && arguments.command.is_none() && std::io::stdin().is_terminal() {
        return Err(Usage(anyhow!(
            "--json is for a command or a script: csdrive vm run --json -- COMMAND"
        ))
        .into());
    }
    if arguments.command.is_none() && options.drive.iter().any(|path| is_standard(path)) {
        return Err(Usage(anyhow!(
            "--drive -: standard input is the guest's shell or script; put the configuration into a file"
        ))
        .into());
    }
    let is_shell = arguments.command.is_none();
    let is_terminal = is_shell && std::io::stdin().is_terminal();
    let ssh = match options.ssh_port {
        None if is_terminal => Some(SSH_PORT),
        None | Some(0) => None,
        Some(port) => Some(port),
    };
    if let Some(port) = ssh {
        TcpListener::bind(("127.0.0.1", port))
            .with_context(|| format!("port {port} for ssh; choose another with --ssh-port"))?;
    }
    check(options)?;
    let parts = guest::find(report::note)?;
    let folder = crate::input::temporary_folder()?;
    let command = match &arguments.command {
        Some(VmCommand::Run { command }) => quoted(command),
        None if is_terminal => SHELL.to_owned(),
        None => {
            let mut script = String::new();
            std::io::stdin().read_to_string(&mut script).context("the script to run")?;
            script
        }
    };
    // From here on there is a machine to be ended; until here a signal just ends this process.
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
    }
    let qmp = folder.path().join("qmp");
    let mut set = options.set.clone();
    if options.freeze {
        set.push("compute.freeze=true".to_owned());
        set.push(format!("compute.freeze_qmp={}", qmp.display()));
    }
    let drives = serve::start(&serve::Request {
        configs: &options.drive,
        count: 1,
        switch_bandwidth: None,
        socket: &folder.path().join("drive"),
        set: &set,
        femu: &options.femu,
        workers: None,
        doorbells: emulator::Doorbells::Messages,
        records: options.records,
        history: options.history.as_deref(),
        is_quiet: true,
    })?;
    let keys = if ssh.is_some() { parts.public_keys()? } else { String::new() };
    let payload = folder.path().join("payload");
    Payload {
        command: &command,
        is_terminal,
        drives: drives.len(),
        files: &options.file,
        has_network: is_terminal || ssh.is_some(),
        keys: &keys,
        has_share: options.share.is_some(),
    }
    .write(&payload)
    .with_context(|| payload.display().to_string())?;
    let hardware = Hardware {
        memory: options.memory.clone(),
        cpus: options.cpus,
        has_kvm: !options.no_kvm && guest::kvm_works(&parts, &parts.image(), report::note)?,
        has_seabios: options.firmware == "seabios",
        kernel: options.kernel.as_deref().map(absolute).transpose()?,
        initramfs: options.initramfs.as_deref().map(absolute).transpose()?,
    };
    let mut machine = Machine::new(&parts, &hardware, folder.path(), &payload);
    match &options.disk {
        None => machine.disk(&parts.image(), Disk::Fresh),
        Some(file) => machine.disk(&parts.kept_disk(file)?, Disk::Kept),
    }
    for (n, drive) in drives.iter().enumerate() {
        machine.vfio_user(&drive.socket, options.root_ports.then_some(n));
    }
    if is_terminal || ssh.is_some() {
        machine.network(ssh);
    }
    let start_share = |shared| Share::start(&parts, shared, folder.path());
    let share = options.share.as_deref().map(start_share).transpose()?;
    if let Some(share) = &share {
        machine.share(&share.socket);
    }
    if let Some(file) = &options.nvdimm {
        let bytes = fs::metadata(file).with_context(|| file.display().to_string())?.len();
        machine.nvdimm(&absolute(file)?, bytes, memory_bytes(&options.memory));
    }
    machine.arguments(&options.qemu);
    if options.freeze {
        machine.qmp(&qmp);
    }
    let output = folder.path().join("output");
    if options.json {
        machine.console_file(&output);
    } else {
        machine.console_stdio();
    }
    if !is_terminal {
        machine.no_input();
    }
    if let Some(port) = ssh {
        tell!(
            "csdrive: ssh -i {} -p {port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1",
            parts.key().display()
        );
    }
    let start = Instant::now();
    let patience = options.timeout.map(Duration::from_secs);
    let ended = with_terminal(is_terminal, || {
        machine.run(&mut || match signal.load(Ordering::Relaxed) {
            0 if patience.is_some_and(|patience| start.elapsed() > patience) => {
                Some(Reason::TimedOut)
            }
            0 => None,
            number => Some(Reason::Signal(number as i32)),
        })
    });
    drop(share);
    let took = start.elapsed();
    drives.iter().for_each(Serving::stop);
    let joined = drives.into_iter().map(|drive| {
        let name = drive.name.clone();
        drive.join().map(|(statistics, frozen)| (name, statistics, frozen))
    });
    let statistics = joined.collect::<Result<Vec<_>>>()?;
    let ended = match (ended?, signal.load(Ordering::Relaxed)) {
        // QEMU had the signal, too, if it came from a terminal.
        (Ended::Exited(_), number @ 1..) => Ended::Told(Reason::Signal(number as i32)),
        (ended, _) => ended,
    };
    if options.json {
        let text = fs::read(&output).unwrap_or_default();
        let made = parts.made.map(
            |made| json!({ "seconds": made.time.as_secs_f64(), "bytes_fetched": made.fetched }),
        );
        let document = |(name, statistics, frozen): &(String, _, Option<_>)| {
            let mut document = serve::statistics_of(statistics, frozen.as_ref());
            document["drive"] = name.as_str().into();
            document
        };
        let drives: Vec<_> = statistics.iter().map(document).collect();
        say!(
            "{:#}",
            json!({
                "format_version": 1,
                "exit_status": machine.status(),
                "output": String::from_utf8_lossy(&text).replace("\r\n", "\n"),
                "seconds": took.as_secs_f64(),
                "processors": if hardware.has_kvm { "kvm" } else { "emulated" },
                "made": made,
                "drives": drives,
            })
        );
    } else {
        for (name, statistics, frozen) in &statistics {
            tell!("csdrive: drive {name}: {}", serve::lateness(&statistics.lateness));
            frozen
                .iter()
                .for_each(|frozen| tell!("csdrive: drive {name}: {}", serve::freezes(frozen)));
        }
    }
    outcome(ended, &machine, options, is_terminal)
}

/// What can be wrong with the options without a machine: found before anything is fetched.
fn check(options: &Options) -> Result<()> {
    let files = options.file.iter().map(|path| ("--file", path));
    if let Some(file) = &options.nvdimm {
        let about = fs::metadata(file);
        let about = about.with_context(|| {
            format!(
                "--nvdimm {0}: make it first, for example with: truncate -s 512M {0}",
                file.display()
            )
        })?;
        if !about.is_file() || about.len() == 0 || !about.len().is_multiple_of(NVDIMM_ALIGNMENT) {
            bail!(
                "--nvdimm {}: it has {} bytes; a file of a multiple of {NVDIMM_ALIGNMENT} is needed",
                file.display(),
                about.len()
            );
        }
    }
    let own = [("--kernel", &options.kernel), ("--initramfs", &options.initramfs)];
    let own = own.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
    for (name, path) in files.chain(own) {
        fs::metadata(path).with_context(|| format!("{name} {}", path.display()))?;
    }
    if let Some(shared) = &options.share
        && !shared.is_dir()
    {
        bail!("--share {}: no such folder", shared.display());
    }
    if let Some(disk) = &options.disk
        && let Some(folder) = disk.parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::metadata(folder)
            .with_context(|| format!("--disk {}: {}", disk.display(), folder.display()))?;
    }
    serve::check(&options.drive, &options.set, &options.femu)
}

/// What has become of a guest.
fn outcome(
    ended: Ended,
    machine: &Machine,
    options: &Options,
    is_terminal: bool,
) -> Result<Outcome> {
    match (ended, machine.status()) {
        (Ended::Told(Reason::TimedOut), _) => {
            bail!("the guest was ended after {} s", options.timeout.unwrap_or_default())
        }
        // As shells do.
        (Ended::Told(Reason::Signal(number)), _) => Ok(Outcome::Status(128 + number as u8)),
        (Ended::Panicked, _) => Err(anyhow!("the guest's kernel panicked; {}", machine.messages())),
        (Ended::Exited(_), Some(0)) => Ok(Outcome::Success),
        (Ended::Exited(_), Some(status)) => Ok(Outcome::Status(status)),
        // A shell may end its guest as it likes.
        (Ended::Exited(code), None) if is_terminal && code.success() => Ok(Outcome::Success),
        (Ended::Exited(code), None) => {
            Err(anyhow!("the guest ended without a status ({code}); {}", machine.messages()))
        }
    }
}

/// Two processors let what serves in the guest (a file system, say) work beside what uses it.
fn cpus() -> u16 {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(2) as u16)
}

/// QEMU reads a number without a unit as MiB in one place and as bytes in another.
fn memory(text: &str) -> Result<String, String> {
    let number = text.strip_suffix(['M', 'G']).unwrap_or_default();
    match number.parse::<u32>() {
        Ok(1..) => Ok(text.to_owned()),
        _ => Err("write it as 512M or 2G".to_owned()),
    }
}

/// The same size as a number.
fn memory_bytes(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    number.parse::<u64>().unwrap_or(0) << if unit == "G" { 30 } else { 20 }
}

/// What a guest without a command runs.
const SHELL: &str = "echo 'The drive: /dev/nvme0n1 (blocks), /dev/ng0n1 to ng0n3. Ctrl-D ends the guest.'\n\
                     nvme list\nexec bash -l\n";

/// A shell script that runs a command with its arguments as they are.
fn quoted(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| report::shell_quoted(word)).collect();
    format!("exec {}\n", words.join(" "))
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
