//! The simulated drives of a workload.

use config::Sources;
use controller::{
    Config, Controller, LinkConfig, Parts, Peers, ProgramLoaders, RemoteRuntime, Switch,
};
use simtime::{Bandwidth, Duration};
use simulator::Session;

use crate::{DriveEntry, Error, Plan};

/// Commands that a drive's queue has room for.
const ENTRIES: u32 = 4096;

/// What a drive needs of the process that it is in.
#[derive(Debug, Default)]
pub struct Shell {
    /// Loads and runs programs other than eBPF's.
    pub programs: ProgramLoaders,
    /// Says how long programs take on another machine.
    pub remote: Option<Box<dyn RemoteRuntime>>,
    /// Keeps the pages of the flash; none = they are in memory.
    pub store: Option<Box<dyn ssd::Store>>,
}

/// The drives of a workload.
#[derive(Debug)]
pub struct Drives {
    /// In order.
    pub drives: Vec<Session>,
    /// What of the first one's configuration has no effect.
    pub warnings: Vec<String>,
}

/// Why there is no shell for a configuration.
pub type ShellError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the drives of a workload, with keys that are set for all, as `KEY=VALUE`; `shell` is asked for what each of them needs.
///
/// Unless a drive says it, reads of blocks that nobody wrote take the time of others, and data is kept only where programs need it.
///
/// # Errors
/// If a configuration is wrong; the error names file, line, drive and key.
pub fn simulated_drives(
    plan: &Plan,
    set: &[String],
    shell: &mut dyn FnMut(&Config) -> Result<Shell, ShellError>,
) -> Result<Drives, Error> {
    let switch = plan.switch.map(|(rate, latency)| {
        let (bandwidth, latency) = (Bandwidth::from_bytes_per_s(rate), Duration::from_ns(latency));
        Switch::new(LinkConfig { bandwidth, latency })
    });
    // A drive that is alone has no need of links that several threads could use.
    let has_others = plan.drive_count() > 1 || switch.is_some();
    let peers = has_others.then(|| Peers::new(switch.unwrap_or_default()));
    let mut made = Drives { drives: Vec::new(), warnings: Vec::new() };
    for entry in &plan.drives {
        for _ in 0..entry.count {
            open(plan, entry, set, peers.clone(), shell, &mut made)?;
        }
    }
    Ok(made)
}

fn open(
    plan: &Plan,
    entry: &DriveEntry,
    set: &[String],
    peers: Option<Peers>,
    shell: &mut dyn FnMut(&Config) -> Result<Shell, ShellError>,
    made: &mut Drives,
) -> Result<(), Error> {
    let number = made.drives.len();
    let wrong = |line, reason: &dyn std::fmt::Display| Error::Mistake {
        file: plan.file.clone(),
        line,
        reason: format!("drive {number}: {reason}"),
    };
    let mut assignments = entry.assignments();
    assignments.extend(set.iter().cloned());
    let sources =
        Sources { config: entry.config.clone(), set: assignments, femu: entry.femu.clone() };
    let loaded = sources.load().map_err(|error| {
        let key = match &error {
            config::Error::UnknownKey { key, .. } | config::Error::Value { key, .. } => Some(key),
            _ => None,
        };
        wrong(key.and_then(|key| plan.line_of(key)), &error)
    })?;
    if number == 0 {
        made.warnings.clone_from(&loaded.warnings);
    }
    // Reads of blocks that nobody wrote would take no time: as if the flash was full, unless it is said.
    let has_unwritten = loaded.sets("flash.unwritten_reads");
    let has_keep = loaded.sets("flash.keep_data")
        || plan.needs_data()
        || !loaded.config.storage.file.is_empty();
    let has_serial = loaded.sets("drive.serial");
    let mut config = loaded.config;
    if !has_unwritten {
        config.flash.unwritten_reads = ssd::UnwrittenReads::Flash;
    }
    if !has_keep {
        config.flash.keep_data = false;
    }
    if number > 0 && !has_serial {
        config.serial = format!("CSDRIVE{:04}", number + 1);
    }
    let Shell { programs, remote, store } = shell(&config).map_err(|error| wrong(None, &error))?;
    let parts = Parts { programs, peers, store, ..Parts::default() };
    let drive = Controller::with_parts(config, parts).map_err(|error| wrong(None, &error))?;
    let opened = simulator::open_drive(drive, 0, ENTRIES);
    let mut session = opened.map_err(|error| wrong(None, &error))?;
    if let Some(remote) = remote {
        session.transport.driver.port.set_remote(remote);
    }
    made.drives.push(session);
    Ok(())
}
