//! `csdrive stat`: what a drive counted since it was made.

use anyhow::Result;
use nvme_spec::DriveCounters;
use serde_json::{Value, json};

use super::Target;
use crate::report::{bytes, grouped, say, table, time};
use crate::{Outcome, usage};

/// What a drive counted since it was made: commands, bytes by where they went, how busy it was, how late
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let mut drive = arguments.target.open()?;
    match drive.counters() {
        Ok(Some(counters)) => {
            arguments.target.present(|| to_json(&counters), || print(&counters));
            Ok(Outcome::Success)
        }
        Ok(None) => usage(Err(anyhow::anyhow!(
            "the drive has no log page C3h: it is not csdrive, or an older one"
        ))),
        Err(error) => arguments.target.refused(error),
    }
}

/// Bytes programmed per byte that hosts wrote.
fn write_amplification(counters: &DriveCounters) -> f64 {
    let pages = counters.flash_programs.get() + counters.gc_programs.get();
    match counters.host_bytes_written.get() {
        0 => 1.0,
        written => (pages * u64::from(counters.page_bytes.get())) as f64 / written as f64,
    }
}

/// Share of a time that so many of something were busy.
fn share(counters: &DriveCounters, busy_ns: u64, of: u32) -> f64 {
    busy_ns as f64 / counters.now_ns.get().max(1) as f64 / f64::from(of.max(1))
}

fn to_json(counters: &DriveCounters) -> Value {
    let busy = |ns: u64, of: u32| share(counters, ns, of);
    json!({
        "now_ns": counters.now_ns.get(),
        "commands": counters.commands.get(),
        "bytes": {
            "to_host": counters.bytes_to_host.get(),
            "from_host": counters.bytes_from_host.get(),
            "internal": counters.bytes_internal.get(),
            "to_peers": counters.bytes_to_peers.get(),
            "from_peers": counters.bytes_from_peers.get(),
            "host_written": counters.host_bytes_written.get(),
        },
        "flash": {
            "page_bytes": counters.page_bytes.get(),
            "reads": counters.flash_reads.get(),
            "modify_reads": counters.modify_reads.get(),
            "gc_reads": counters.gc_reads.get(),
            "programs": counters.flash_programs.get(),
            "gc_programs": counters.gc_programs.get(),
            "erases": counters.erases.get(),
            "write_amplification": write_amplification(counters),
        },
        "busy": {
            "units": busy(counters.units_busy_ns.get(), counters.units.get()),
            "channels": busy(counters.channels_busy_ns.get(), counters.channels.get()),
            "dies": busy(counters.dies_busy_ns.get(), counters.dies.get()),
        },
        "late": {
            "commands": counters.late.get(),
            "tolerance_ns": counters.late_tolerance_ns.get(),
            "mean_ns": counters.late_sum_ns.get() as f64 / counters.late.get().max(1) as f64,
            "max_ns": counters.late_max_ns.get(),
        },
    })
}

fn print(counters: &DriveCounters) {
    let percent = |ns: u64, of: u32| format!("{:.2} %", 100.0 * share(counters, ns, of));
    let late = counters.late.get();
    let mean = counters.late_sum_ns.get() / late.max(1);
    let rows = [
        ("time", time(counters.now_ns.get())),
        ("commands", grouped(counters.commands.get())),
        (
            "late",
            format!(
                "{} over {}, by {} on average, {} at most",
                grouped(late),
                time(counters.late_tolerance_ns.get()),
                time(mean),
                time(counters.late_max_ns.get())
            ),
        ),
        ("to the host", bytes(counters.bytes_to_host.get())),
        ("from the host", bytes(counters.bytes_from_host.get())),
        ("within the drive", bytes(counters.bytes_internal.get())),
        ("to other drives", bytes(counters.bytes_to_peers.get())),
        ("from other drives", bytes(counters.bytes_from_peers.get())),
        ("units busy", percent(counters.units_busy_ns.get(), counters.units.get())),
        ("channels busy", percent(counters.channels_busy_ns.get(), counters.channels.get())),
        ("dies busy", percent(counters.dies_busy_ns.get(), counters.dies.get())),
        ("write amplification", format!("{:.2}", write_amplification(counters))),
        ("blocks erased", grouped(counters.erases.get())),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&rows, 1);
    if late == 0 {
        say!("\nEvery completion left at its modelled time");
    }
}
