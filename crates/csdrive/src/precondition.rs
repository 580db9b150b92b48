//! `csdrive precondition`: a drive is brought into its steady state, and it is looked at whether it is in it.

use anyhow::{Result, anyhow};
use config::KEYS;
use controller::{Config, Controller, Parts};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use simtime::{Instant, Prng};
use ssd::{FilledBy, Lpn, RequestId, Span, Ssd};

use crate::report::{bytes, notes, say, table};
use crate::{Outcome, storage, usage};

/// Bring a drive into its steady state under random writes, and check that it is there: write amplification and rate, round by round
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sources: config::Sources,
    /// How the state comes about: computed, in no time (analytic), or by writing (simulated)
    #[arg(long, value_enum, default_value_t = How::Analytic)]
    how: How,
    /// Most rounds; in each an eighth of what is filled is written at random
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(5..=1000))]
    rounds: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum How {
    Analytic,
    Simulated,
}

/// Page writes under way at a time.
const DEPTH: u64 = 128;

/// What a round of random writes came to.
#[derive(Clone, Copy, Debug)]
struct Round {
    write_amplification: f64,
    bytes_per_s: f64,
}

/// Rounds that must agree (SNIA Solid State Storage Performance Test Specification 2.0.2, section 2.1.24).
const WINDOW: usize = 5;

/// True if values of the window are within 20 % of their mean, and the line through them climbs or falls by less than 10 % of it.
fn is_steady(values: &[f64]) -> bool {
    let Some(window) = values.len().checked_sub(WINDOW).map(|first| &values[first..]) else {
        return false;
    };
    let mean = window.iter().sum::<f64>() / WINDOW as f64;
    let centre = (WINDOW - 1) as f64 / 2.0;
    let (mut above, mut below) = (0.0, 0.0);
    for (n, value) in window.iter().enumerate() {
        let x = n as f64 - centre;
        above += x * (value - mean);
        below += x * x;
    }
    let climb = above / below * (WINDOW - 1) as f64;
    let range = window.iter().fold(0.0, |range: f64, value| range.max((value - mean).abs()));
    range <= 0.2 * mean && climb.abs() <= 0.1 * mean
}

/// The drive, and a host that writes pages of what is filled.
struct Writer {
    ssd: Ssd,
    prng: Prng,
    pages: u64,
    now: Instant,
    written: u64,
}

impl Writer {
    fn write(&mut self, lpn: u64) -> Result<()> {
        let len = self.ssd.geometry().page_bytes;
        let span = Span { lpn: Lpn(lpn), offset: 0, len };
        self.written += 1;
        self.ssd.write(self.now, RequestId(self.written), span, false, None);
        self.wait(DEPTH)
    }

    /// Until no more than so many requests are under way.
    fn wait(&mut self, backlog: u64) -> Result<()> {
        let mut done = Vec::new();
        while self.ssd.backlog() > backlog || backlog == 0 && self.ssd.next_event().is_some() {
            let (event, sync) = (self.ssd.next_event(), self.ssd.take_sync());
            if event.is_none() && sync.is_none() {
                return Err(anyhow!(
                    "the drive stands still: collection finds nothing to free; raise flash.overprovisioning"
                ));
            }
            if let Some(at) = event {
                self.now = at.max(self.now);
                self.ssd.advance(self.now, &mut done);
                done.clear();
            }
            if let Some(work) = sync {
                self.ssd.synced(self.now, work.run());
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.written += 1;
        self.ssd.flush(self.now, RequestId(self.written));
        self.wait(0)
    }

    /// Writes so many random pages; `shown` is told of each thousandth.
    fn round(&mut self, writes: u64, shown: &mut dyn FnMut(u64)) -> Result<Round> {
        let (before, began) = (self.ssd.statistics(), self.now);
        for n in 0..writes {
            let lpn = self.prng.below(self.pages);
            self.write(lpn)?;
            if n % 1024 == 0 {
                shown(n);
            }
        }
        let after = self.ssd.statistics();
        let host = after.host_bytes_written - before.host_bytes_written;
        let seconds = self.now.since(began).as_ns() as f64 / 1e9;
        Ok(Round {
            write_amplification: after.write_amplification_since(&before),
            bytes_per_s: if seconds > 0.0 { host as f64 / seconds } else { 0.0 },
        })
    }
}

/// The flash of a drive that is to be preconditioned.
fn flash_of(config: &Config, how: How) -> Result<Ssd> {
    let store = storage::store(config)?;
    let is_used =
        |store: &dyn ssd::Store| !store.used_blocks().is_empty() || store.saved().is_some();
    if store.as_ref().is_some_and(|store| is_used(&**store)) {
        let file = &config.storage.file;
        return Err(anyhow!(
            "storage.file = {file}: it holds a drive that was used; preconditioning writes over all of it: name a new file, or delete this one"
        ));
    }
    let mut flash = config.flash.clone();
    if flash.filled_permille == 0 {
        flash.filled_permille = 1000;
    }
    flash.filled_by = match how {
        How::Analytic => FilledBy::RandomOverwrites,
        How::Simulated => FilledBy::Sequence,
    };
    Ok(match store {
        Some(store) => Ssd::with_store(&flash, store)?,
        // What the pages hold is not looked at.
        None => Ssd::new(&ssd::Config { keep_data: false, ..flash })?,
    })
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let Arguments { sources, how, rounds, json } = arguments;
    let loaded = usage(sources.load().map_err(Into::into))?;
    notes(&loaded.warnings);
    let config = loaded.config;
    let ssd = usage(flash_of(&config, *how))?;
    let (pages, page_bytes) = (ssd.mapped_pages(), u64::from(ssd.geometry().page_bytes));
    if pages == 0 {
        let filled = KEYS.iter().find(|key| key.name == "flash.filled").map(|key| key.get(&config));
        return usage(Err(anyhow!(
            "flash.filled = {}: less than a page of the drive is filled; choose more",
            filled.map_or(String::new(), |value| value.to_string())
        )));
    }
    let predicted = ssd::steady_write_amplification(ssd.config());
    let mut writer = Writer { ssd, prng: Prng::new(1), pages, now: Instant::ZERO, written: 0 };
    let writes = (pages / 8).max(1);
    // The write buffer is as full as it stays.
    writer.round(config.flash.write_buffer_bytes / page_bytes, &mut |_| {})?;
    let (mut measured, mut is_there) = (Vec::new(), false);
    let bar = if *json { ProgressBar::hidden() } else { ProgressBar::new(writes) };
    let style = "round {msg} {bar:40} {percent}%";
    bar.set_style(ProgressStyle::with_template(style)?);
    while measured.len() < *rounds as usize && !is_there {
        bar.set_message((measured.len() + 1).to_string());
        measured.push(writer.round(writes, &mut |at| bar.set_position(at))?);
        let of = |value: fn(&Round) -> f64| measured.iter().map(value).collect::<Vec<_>>();
        is_there = is_steady(&of(|round| round.write_amplification))
            && is_steady(&of(|round| round.bytes_per_s));
    }
    bar.finish_and_clear();
    writer.flush()?;
    let Writer { ssd, .. } = writer;
    let media_errors = ssd.statistics().media_errors;
    drop(ssd);
    if !config.storage.file.is_empty() {
        // The drive is switched on once, and off, so that the file has its namespaces, too.
        let parts = Parts { store: storage::store(&config)?, ..Parts::default() };
        let drive = Controller::with_parts(config.clone(), parts)?;
        simulator::host_of(drive, 1, 64)?.port.shut_down();
    }
    if media_errors > 0 {
        return Err(anyhow!(
            "{media_errors} pages could not be written to {}",
            config.storage.file
        ));
    }
    if *json {
        let rounds: Vec<_> = measured
            .iter()
            .map(|round| {
                json!({ "write_amplification": round.write_amplification, "bytes_per_s": round.bytes_per_s })
            })
            .collect();
        let document = json!({
            "format_version": 1, "filled_bytes": pages * page_bytes, "round_bytes": writes * page_bytes,
            "predicted_write_amplification": predicted, "rounds": rounds, "is_steady": is_there,
            "file": (!config.storage.file.is_empty()).then_some(&config.storage.file),
        });
        say!("{document:#}");
    } else {
        print(&measured, pages * page_bytes, predicted);
        if is_there {
            say!("steady: the last {WINDOW} rounds agree");
        } else {
            say!("not steady: the last {WINDOW} rounds do not agree; --rounds allows more");
        }
        if !config.storage.file.is_empty() {
            say!("{} holds the drive in this state", config.storage.file);
        }
    }
    Ok(if is_there { Outcome::Success } else { Outcome::ErrorStatus })
}

fn print(measured: &[Round], filled: u64, predicted: Option<f64>) {
    let mut rows =
        vec![["round", "write amplification", "random writes"].map(str::to_owned).to_vec()];
    for (n, round) in (1..).zip(measured) {
        rows.push(vec![
            format!("{n}"),
            format!("{:.3}", round.write_amplification),
            format!("{:.1} MB/s", round.bytes_per_s / 1e6),
        ]);
    }
    table(&rows, 0);
    let theory = predicted.map_or(String::new(), |value| {
        format!("; collection of the oldest block would come to {value:.3}")
    });
    say!("{} filled{theory}", bytes(filled));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_steady_if_they_neither_scatter_nor_drift() {
        assert!(is_steady(&[9.0, 2.0, 2.1, 1.9, 2.0, 2.05]));
        assert!(!is_steady(&[2.0, 2.1, 1.9, 2.0]));
        assert!(!is_steady(&[2.0, 2.0, 2.0, 2.0, 2.6]));
        // Each within 20 % of the mean, but climbing.
        assert!(!is_steady(&[1.8, 1.9, 2.0, 2.1, 2.2]));
    }
}
