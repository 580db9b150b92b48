//! What a drive counted since it was made, and how busy its parts were, as its log pages (C3h, C5h) say.

use std::path::Path;

use analysis::DriveReport;
use anyhow::{Result, anyhow};
use client::BusyParts;
use nvme_spec::DriveCounters;
use records::CounterRecord;
use serde_json::{Value, json};

use crate::report::{bytes, grouped, say, table, time};
use crate::{Outcome, usage};

/// Asks the drive and prints.
pub(super) fn run(device: &Path, is_json: bool) -> Result<Outcome> {
    let mut drive = usage(client_linux::open(device).map_err(Into::into))?;
    let counters = drive.counters()?.ok_or_else(|| {
        anyhow!("the drive has no log page C3h: it is not csdrive, or an older one")
    });
    let counters = usage(counters)?;
    let parts = usage(drive.parts().map_err(Into::into))?;
    if is_json {
        let mut document = to_json(&counters);
        document["parts"] = parts.as_ref().map_or(Value::Null, parts_json);
        document["format_version"] = 1.into();
        say!("{document:#}");
    } else {
        print(&counters);
        if let Some(parts) = &parts {
            print_parts(parts);
        }
    }
    Ok(Outcome::Success)
}

/// What it did since it was made.
fn report(counters: &DriveCounters) -> DriveReport {
    DriveReport::between(String::new(), &CounterRecord::default(), &counters.into())
}

fn to_json(counters: &DriveCounters) -> Value {
    let report = report(counters);
    json!({
        "now_ns": counters.now_ns.get(),
        "storage": backend(counters),
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
            "padding_programs": counters.padding_programs.get(),
            "read_retries": counters.read_retries.get(),
            "erases": counters.erases.get(),
            "write_amplification": report.write_amplification,
        },
        "busy": {
            "units": report.units_busy,
            "channels": report.channels_busy,
            "dies": report.dies_busy,
        },
        "late": report.late,
    })
}

/// What the bytes of the flash lie in.
fn backend(counters: &DriveCounters) -> &'static str {
    match counters.backend.get() {
        0 => "memory",
        1 => "a file",
        2 => "persistent memory (DAX, synced by its file system)",
        3 => "persistent memory (DAX, MAP_SYNC)",
        _ => "a place that this csdrive does not know",
    }
}

/// Shares of the time in which parts were busy.
fn shares(parts: &BusyParts, busy_ns: &[u64]) -> Vec<f64> {
    let now = parts.header.now_ns.get().max(1) as f64;
    busy_ns.iter().map(|busy| *busy as f64 / now).collect()
}

fn parts_json(parts: &BusyParts) -> Value {
    json!({
        "channels_busy": shares(parts, &parts.channels_ns),
        "dies_busy": shares(parts, &parts.dies_ns),
        "units_busy": shares(parts, &parts.units_ns),
        "blocks": parts.header.blocks.get(),
        "erases": parts.header.erases.get(),
        "erases_of_a_block_max": parts.header.erases_max.get(),
    })
}

/// How evenly work and wear are spread.
fn print_parts(parts: &BusyParts) {
    let all =
        [("channels", &parts.channels_ns), ("dies", &parts.dies_ns), ("units", &parts.units_ns)];
    let mut rows = vec![["busy", "least", "mean", "most"].map(str::to_owned).to_vec()];
    for (name, busy) in all {
        let shares = shares(parts, busy);
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let most = shares.iter().copied().fold(0.0, f64::max);
        rows.push(vec![name.to_owned(), percent(least), percent(mean), percent(most)]);
    }
    say!("");
    table(&rows, 1);
    let header = &parts.header;
    let mean = header.erases.get() as f64 / header.blocks.get().max(1) as f64;
    say!("erases of a block: {mean:.2} on average, {} at most", header.erases_max.get());
}

fn print(counters: &DriveCounters) {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let DriveReport {
        units_busy,
        channels_busy,
        dies_busy,
        write_amplification,
        bytes: sums,
        late,
        ..
    } = report(counters);
    let rows = [
        ("time", time(counters.now_ns.get())),
        ("commands", grouped(counters.commands.get())),
        (
            "late",
            format!(
                "{} over {}, by {} on average, {} at most",
                grouped(late.commands),
                time(late.tolerance_ns),
                time(late.mean_ns as u64),
                time(late.max_ns)
            ),
        ),
        ("to the host", bytes(sums.to_host)),
        ("from the host", bytes(sums.from_host)),
        ("within the drive", bytes(sums.internal)),
        ("to other drives", bytes(sums.to_peers)),
        ("from other drives", bytes(sums.from_peers)),
        ("units busy", percent(units_busy)),
        ("channels busy", percent(channels_busy)),
        ("dies busy", percent(dies_busy)),
        ("write amplification", format!("{write_amplification:.2}")),
        ("blocks erased", grouped(counters.erases.get())),
        ("bytes are in", backend(counters).to_owned()),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&rows, 1);
    if late.commands == 0 {
        say!("\nEvery completion left at its modelled time");
    }
}
