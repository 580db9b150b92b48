//! `csdrive trace`: a timeline for Perfetto.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use analysis::Timeline;
use anyhow::{Context, Result, anyhow};
use records::Records;
use simtime::Instant;

use super::seen::Source;
use crate::input::is_standard;
use crate::report::tell;
use crate::{Outcome, usage};

/// What a drive did as a timeline for Perfetto (ui.perfetto.dev): of a recorded run, or live for a while
///
/// Rows for queues, compute units, worker threads, dies, channels and links; arrows from a command to its jobs and reads of flash; counters.
/// Queries for Perfetto's trace processor are in examples/queries.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// The file to write; - = standard output
    #[arg(short, long, value_name = "FILE", default_value = "trace.json")]
    output: PathBuf,
    /// Leave out what ended before this time of the drive, as 10ms
    #[arg(long, value_name = "TIME", value_parser = config::parse_duration)]
    from: Option<u64>,
    /// Leave out what began after this time of the drive
    #[arg(long, value_name = "TIME", value_parser = config::parse_duration)]
    to: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let seen = arguments.source.see()?;
    let (from, to) = (arguments.from.unwrap_or(0), arguments.to.unwrap_or(Instant::NEVER.as_ns()));
    if from > to {
        return usage(Err(anyhow!("--from is after --to: nothing is between them")));
    }
    let mut drives: Vec<(String, Records)> =
        seen.serials.iter().map(|serial| (serial.clone(), Records::default())).collect();
    seen.read(&mut |drive, records| {
        drives[drive].1.append(&mut window(records, from, to));
    })?;
    if drives.iter().all(|(_, records)| records.is_empty()) {
        return usage(Err(anyhow!(
            "there are no records of that time: csdrive stat says how long the run is"
        )));
    }
    usage(write(&drives, &arguments.output))?;
    if !is_standard(&arguments.output) {
        let count: usize = drives.iter().map(|(_, records)| records.commands.len()).sum();
        tell!(
            "csdrive: {count} commands in {}: open it in ui.perfetto.dev",
            arguments.output.display()
        );
    }
    Ok(Outcome::Success)
}

/// Writes the timeline of some drives.
pub(crate) fn write(drives: &[(String, Records)], path: &Path) -> Result<()> {
    let write = || -> io::Result<()> {
        let out: Box<dyn Write> =
            if is_standard(path) { Box::new(io::stdout()) } else { Box::new(File::create(path)?) };
        Timeline { drives }.write(&mut io::BufWriter::new(out))
    };
    match write() {
        // `csdrive trace -o - | head`
        Err(error) if is_standard(path) && error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.with_context(|| path.display().to_string()),
    }
}

/// Records of what was under way in some time.
fn window(records: &Records, from: u64, to: u64) -> Records {
    let is_in = |start: u64, end: u64| end >= from && start <= to;
    let mut kept = records.clone();
    kept.commands.retain(|r| is_in(r.fetched_ns, r.completed_ns));
    kept.jobs.retain(|r| is_in(r.submitted_ns, r.ended_ns));
    kept.units.retain(|r| is_in(r.start_ns, r.end_ns));
    kept.dies.retain(|r| is_in(r.start_ns, r.end_ns));
    kept.links.retain(|r| is_in(r.asked_ns, r.arrived_ns));
    kept.counters.retain(|r| is_in(r.now_ns, r.now_ns));
    kept
}
