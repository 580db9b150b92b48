//! `csdrive serve`: drives for virtual machines and user-space drivers, over vfio-user sockets.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use controller::{Lateness, LinkConfig, Switch};
use emulator::{
    Doorbells, Event, FreezeStatistics, Freezer, Neighbours, Options, RealTimeStatistics, Server,
    Stopper,
};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use ring::{Kind, Wanted, Writer};

use crate::input::{check_standard_input, is_standard};
use crate::report::{self, say, tell};
use crate::{Outcome, program_loaders::program_loaders, runtime_server, storage, usage};
use config::{Sources, parse_bandwidth};
use simtime::{Bandwidth, Duration};

/// Serve drives to QEMU, Cloud Hypervisor or a user-space driver, in real time, until SIGTERM
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Configuration of a drive: TOML, or CEMU's JSON; repeat it for several drives
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// So many equal drives, instead of several --config
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    count: Option<u64>,
    /// Bandwidth of the switch between the drives and their host, which all of them share [default: unlimited]
    #[arg(long, value_name = "RATE", value_parser = parse_bandwidth)]
    switch_bandwidth: Option<u64>,
    /// Socket of the first drive; those of others have -2, -3, ... appended
    #[arg(long, value_name = "PATH", default_value = "/tmp/csdrive.sock")]
    socket: PathBuf,
    /// One key, for all drives, for example --set flash.read_time=80us; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// FEMU device properties, for all drives; repeatable
    #[arg(long, value_name = "K=V,...")]
    femu: Vec<String>,
    /// Host threads of each drive that run programs [default: compute.workers, or as many as there are units]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// How clients ring doorbells: messages (Linux shares its doorbells in memory and sends few), or a
    /// mapped page (for hosts that cannot; an idle drive then wakes a thousand times a second)
    #[arg(long, value_name = "HOW", default_value = "messages", value_parser = ["messages", "mapped"])]
    doorbells: String,
    /// Put records into shared memory, for csdrive stat, top, record and Python: commands, jobs, units, dies, links, counters, separated by
    /// commas [default: all]
    #[arg(long, value_name = "KINDS", num_args = 0..=1, require_equals = true, default_missing_value = "commands,jobs,units,dies,links,counters", value_parser = parse_kinds)]
    records: Option<Wanted>,
    /// Keep a history of what is written, for csdrive crashtest; those of further drives have -2, -3, ... appended
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Print one JSON document when the drives are ready, and one when they have stopped
    #[arg(long)]
    json: bool,
}

/// Kinds of records, by their names.
pub(crate) fn parse_kinds(text: &str) -> Result<Wanted, String> {
    text.split(',').try_fold(Wanted::default(), |wanted, name| {
        let found = Kind::ALL.into_iter().find(|known| known.name() == name.trim());
        let names = || Kind::ALL.map(Kind::name).join(", ");
        let kind = found.ok_or_else(|| format!("{name:?}: choose of {}", names()))?;
        Ok(wanted.with(kind))
    })
}

/// Drives of one server.
const DRIVES_MAX: usize = 64;

/// Drives to serve.
pub(crate) struct Request<'a> {
    /// A configuration file for each; none = one drive of the default configuration.
    pub(crate) configs: &'a [PathBuf],
    /// Of each of them so many.
    pub(crate) count: u64,
    /// Bytes per second of the switch that all drives share.
    pub(crate) switch_bandwidth: Option<u64>,
    /// Socket of the first.
    pub(crate) socket: &'a Path,
    pub(crate) set: &'a [String],
    pub(crate) femu: &'a [String],
    /// Threads that run programs, if the configuration is not to say.
    pub(crate) workers: Option<u32>,
    pub(crate) doorbells: Doorbells,
    /// Records that are put into shared memory.
    pub(crate) records: Option<Wanted>,
    /// Where the history of the first goes.
    pub(crate) history: Option<&'a Path>,
    /// Says nothing of clients that come and go.
    pub(crate) is_quiet: bool,
}

/// A drive that is being served.
pub(crate) struct Serving {
    pub(crate) socket: PathBuf,
    /// Serial number.
    pub(crate) name: String,
    stopper: Stopper,
    freezer: Option<Freezer>,
    thread: JoinHandle<std::io::Result<RealTimeStatistics>>,
}

impl Serving {
    /// Asks it to stop.
    pub(crate) fn stop(&self) {
        self.stopper.stop();
    }

    /// Waits until it has stopped; what it counted, and what became of its guest's clock, if that is frozen.
    pub(crate) fn join(self) -> Result<(RealTimeStatistics, Option<FreezeStatistics>)> {
        let ended = self.thread.join().map_err(|_| anyhow!("{}: a bug", self.socket.display()))?;
        if let Some(freezer) = &self.freezer {
            freezer.end();
        }
        let statistics = ended.with_context(|| self.socket.display().to_string())?;
        Ok((statistics, self.freezer.map(|freezer| freezer.statistics())))
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    // Before any thread is there: they inherit who handles signals.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals")?;
    let drives = start(&Request {
        configs: &arguments.config,
        count: arguments.count.unwrap_or(1),
        switch_bandwidth: arguments.switch_bandwidth,
        socket: &arguments.socket,
        set: &arguments.set,
        femu: &arguments.femu,
        workers: arguments.workers,
        doorbells: match &*arguments.doorbells {
            "mapped" => Doorbells::Mapped,
            _ => Doorbells::Messages,
        },
        records: arguments.records,
        history: arguments.history.as_deref(),
        is_quiet: false,
    })?;
    announce(arguments, &drives);
    let stoppers: Vec<Stopper> = drives.iter().map(|drive| drive.stopper.clone()).collect();
    std::thread::spawn(move || {
        signals.forever().for_each(|_| stoppers.iter().for_each(Stopper::stop));
    });
    let mut results = Vec::new();
    for drive in drives {
        let socket = drive.socket.clone();
        let (statistics, frozen) = drive.join()?;
        if !arguments.json {
            say!("{}: {}", socket.display(), lateness(&statistics.lateness));
            frozen.iter().for_each(|frozen| say!("{}: {}", socket.display(), freezes(frozen)));
        }
        let mut document = statistics_of(&statistics, frozen.as_ref());
        document["socket"] = json!(socket);
        results.push(document);
    }
    if arguments.json {
        say!("{}", json!({ "format_version": 1, "event": "stopped", "drives": results }));
    }
    Ok(Outcome::Success)
}

/// Makes and starts all drives; if one cannot be made, none is served.
/// Checks the configurations of drives that are to be served, except one that comes by standard input.
///
/// # Errors
/// If one is wrong.
pub(crate) fn check(configs: &[PathBuf], set: &[String], femu: &[String]) -> Result<()> {
    let files = configs.iter().filter(|path| !is_standard(path)).cloned().map(Some);
    let standard = configs.is_empty().then_some(None);
    for config in files.chain(standard) {
        let sources = Sources { config, set: set.to_vec(), femu: femu.to_vec() };
        usage(sources.load().map_err(Into::into))?;
    }
    Ok(())
}

pub(crate) fn start(request: &Request<'_>) -> Result<Vec<Serving>> {
    // There it is seen whether what a client passes is an event that can be signalled.
    std::fs::metadata("/proc/self/fd")
        .context("/proc/self/fd cannot be read, and a served drive needs it: mount /proc")?;
    let configs: Vec<Option<PathBuf>> = match request.configs {
        [] => vec![None],
        files => files.iter().cloned().map(Some).collect(),
    };
    let count = configs.len() * request.count as usize;
    if count > DRIVES_MAX {
        let text = format!("{count} drives: one csdrive serves at most {DRIVES_MAX}");
        return usage(Err(anyhow!(text)));
    }
    let configs = configs.into_iter().cycle().take(count);
    // They reach each other's device memory. A drive that is alone has the switch on its way to the host, if there is one.
    let has_switch = request.switch_bandwidth.is_some();
    let switch = request.switch_bandwidth.map(|rate| {
        let bandwidth = Bandwidth::from_bytes_per_s(rate);
        Switch::new(LinkConfig { bandwidth, latency: Duration::ZERO })
    });
    let neighbours = (count > 1 || has_switch).then(|| Neighbours::new(switch.unwrap_or_default()));
    usage(check_standard_input(request.configs.iter().map(|path| &**path)))?;
    let mut servers = Vec::new();
    let mut serials = Vec::new();
    let mut freezers = Vec::new();
    for (n, config) in configs.enumerate() {
        let sources = Sources { config, set: request.set.to_vec(), femu: request.femu.to_vec() };
        let loaded = usage(sources.load().map_err(Into::into))?;
        report::notes(&loaded.warnings);
        let mut config = loaded.config;
        // Linux refuses a second drive with the name of the first.
        if serials.contains(&config.serial) {
            config.serial = format!("CSDRIVE{:04}", n + 1);
            tell!("csdrive: note: drive {}: drive.serial = {}", n + 1, config.serial);
        }
        serials.push(config.serial.clone());
        let socket = numbered(request.socket, n);
        config.workers = request.workers.unwrap_or(config.workers);
        let name = config.serial.clone();
        let remote = usage(runtime_server::connections(&config))?;
        let programs = usage(program_loaders(&config))?;
        let store = usage(storage::store(&config))?;
        let freezer = usage(freezer_of(&config, &mut freezers))?;
        let doorbells = request.doorbells;
        let path = ring::path_of(&config.serial);
        let records = request.records.map(|wanted| Writer::create(&path, wanted)).transpose();
        let records = usage(records.map_err(Into::into))?;
        let history = request.history.map(|path| new_history(&numbered(path, n))).transpose();
        let history = usage(history)?;
        let options = Options {
            config,
            socket: socket.clone(),
            doorbells,
            remote,
            programs,
            store,
            freezer: freezer.clone(),
            neighbours: neighbours.clone(),
            records,
            history,
        };
        let server = Server::new(options).inspect_err(|_| {
            // There is nothing in it.
            if let Some(path) = request.history {
                let _ = std::fs::remove_file(numbered(path, n));
            }
        });
        let server = usage(server.map_err(Into::into))?;
        servers.push((socket, name, freezer, server));
    }
    let spawn = |(socket, name, freezer, server): (PathBuf, String, Option<Freezer>, Server)| {
        let (stopper, place) = (server.stopper(), socket.display().to_string());
        let is_quiet = request.is_quiet;
        let thread = std::thread::Builder::new()
            .name("drive".to_owned())
            .spawn(move || {
                server.run(|event| {
                    if !is_quiet || matches!(event, Event::Complaint(_)) {
                        tell_event(&place, &event);
                    }
                })
            })
            .context("a thread for the drive")?;
        Ok(Serving { socket, name, stopper, freezer, thread })
    };
    servers.into_iter().map(spawn).collect()
}

/// A new file for a drive's history.
fn new_history(path: &Path) -> Result<history::Writer<BufWriter<File>>> {
    history::Writer::create(path).with_context(|| {
        format!(
            "--history {}: it must be a new file in a folder that you may write",
            path.display()
        )
    })
}

/// The freezer of a drive's guest; drives of one guest have the same.
fn freezer_of(
    config: &controller::Config,
    freezers: &mut Vec<(String, Freezer)>,
) -> Result<Option<Freezer>> {
    let controller::FreezeConfig { is_on, qmp } = &config.freeze;
    if !is_on {
        if !qmp.is_empty() {
            tell!(
                "csdrive: note: compute.freeze_qmp = {qmp} has no effect without compute.freeze = true"
            );
        }
        return Ok(None);
    }
    if qmp.is_empty() {
        return Err(anyhow!(
            "compute.freeze = true: give compute.freeze_qmp, the QMP socket of the guest's QEMU (-qmp unix:PATH,server=on,wait=off); csdrive vm --freeze does both"
        ));
    }
    if let Some((_, freezer)) = freezers.iter().find(|(path, _)| path == qmp) {
        return Ok(Some(freezer.clone()));
    }
    let freezer = Freezer::new(Path::new(qmp)).context("a thread for QMP")?;
    freezers.push((qmp.clone(), freezer.clone()));
    Ok(Some(freezer))
}

fn numbered(socket: &Path, n: usize) -> PathBuf {
    match n {
        0 => socket.to_owned(),
        _ => {
            let mut name = socket.as_os_str().to_owned();
            name.push(format!("-{}", n + 1));
            name.into()
        }
    }
}

fn tell_event(socket: &str, event: &Event) {
    let text = match event {
        Event::Connected => "connected".to_owned(),
        Event::Disconnected(why) => why.to_string(),
        Event::Refused => "another client was refused: the drive is in use".to_owned(),
        Event::Complaint(what) => what.clone(),
    };
    tell!("csdrive: {socket}: {text}");
}

/// A device of QEMU's for a drive.
fn device(socket: &Path) -> Value {
    json!({ "driver": "vfio-user-pci", "socket": { "type": "unix", "path": socket } })
}

fn announce(arguments: &Arguments, drives: &[Serving]) {
    let sockets: Vec<&Path> = drives.iter().map(|drive| &*drive.socket).collect();
    if arguments.json {
        let drives: Vec<Value> = sockets
            .iter()
            .map(|socket| json!({ "socket": socket, "qemu_device": device(socket) }))
            .collect();
        say!(
            "{}",
            json!({ "format_version": 1, "event": "ready", "pid": std::process::id(), "drives": drives })
        );
    } else {
        say!("QEMU (10.1 or newer), added to your own arguments; memory must be shared:");
        say!("  -machine q35,memory-backend=ram0 -m 2G \\");
        say!("  -object memory-backend-memfd,id=ram0,size=2G,share=on \\");
        for (n, socket) in sockets.iter().enumerate() {
            let end = if n + 1 < sockets.len() { " \\" } else { "" };
            say!("  -device '{}'{end}", device(socket));
        }
        say!("Cloud Hypervisor:");
        say!("  --memory size=2G,shared=on");
        for socket in &sockets {
            say!("  --user-device socket={}", socket.display());
        }
        say!("Serving until SIGTERM or Ctrl-C.");
    }
    // Whoever waits for this line reads a pipe; that it is closed is no reason to stop.
    let _ = std::io::stdout().flush();
}

/// How well a drive kept its times, in a sentence.
pub(crate) fn lateness(lateness: &Lateness) -> String {
    let Lateness { completions, late, .. } = lateness;
    let tolerance = Lateness::TOLERANCE;
    if *late == 0 {
        let noun = if *completions == 1 { "completion" } else { "completions" };
        return format!("{completions} {noun}, none over {tolerance} late");
    }
    format!(
        "{completions} completions, {late} of them over {tolerance} late: by {} on average, {} at most",
        lateness.late_mean(),
        lateness.late_max
    )
}

/// How often a guest was frozen, in a sentence.
pub(crate) fn freezes(frozen: &FreezeStatistics) -> String {
    let FreezeStatistics { count, frozen, cost } = frozen;
    format!("the guest was frozen {count} times, {frozen:.1?} in all; QEMU took {cost:.1?} for it")
}

pub(crate) fn statistics_of(
    statistics: &RealTimeStatistics,
    frozen: Option<&FreezeStatistics>,
) -> Value {
    let lateness = &statistics.lateness;
    let mut document = json!({
        "completions": lateness.completions,
        "late": lateness.late,
        "late_mean_ns": lateness.late_mean().as_ns(),
        "late_max_ns": lateness.late_max.as_ns(),
        "interrupts": statistics.interrupts,
        "sleeps": statistics.sleeps,
        "programs_max": statistics.programs_max,
    });
    if let Some(FreezeStatistics { count, frozen, cost }) = frozen {
        document["frozen"] = json!({
            "count": count, "ns": frozen.as_nanos() as u64, "cost_ns": cost.as_nanos() as u64,
        });
    }
    document
}
