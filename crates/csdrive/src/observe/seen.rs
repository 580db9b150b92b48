//! What is looked at: a recorded run, or live drives for a while.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use analysis::{DriveSummary, RunOnPage, Series, Tally};
use anyhow::{Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use recording::Recording;
use records::{Kind, Records};
use ring::Reader;

use super::live_clock::LiveClock;
use crate::report::time;
use crate::usage;

/// How often records of live drives are taken: the places of the ring are for some ten times as long at a million commands a second.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// Pieces of time in pictures.
const PIECES: usize = 100;

/// Which drives, live or recorded.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// A recorded run (its folder), or a live drive's serial number (drive.serial; served with --records)
    #[arg(value_name = "RUN|SERIAL", default_value = "CSDRIVE0001")]
    pub(super) source: PathBuf,
    /// How long a live drive is looked at
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub(super) seconds: f64,
}

/// A number of seconds.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=86_400.0).contains(&seconds) {
        return Ok(seconds);
    }
    Err("choose 0.01 to 86400".to_owned())
}

/// Where a live drive's records are: a serial number, or a path.
pub(super) fn ring_of(drive: &Path) -> PathBuf {
    match drive.to_str().filter(|text| !text.contains('/')) {
        Some(serial) => ring::path_of(serial),
        None => drive.to_owned(),
    }
}

/// The serial number of a live drive, as its records' name has it.
pub(super) fn serial_of(drive: &Path) -> String {
    let name = drive.file_name().unwrap_or(drive.as_os_str()).to_string_lossy();
    name.strip_prefix("csdrive-").unwrap_or(&name).to_owned()
}

/// Records of some drives, to be looked at as often as needed.
pub(crate) struct Seen {
    /// What it is called.
    pub(super) name: String,
    /// Serial numbers.
    pub(super) serials: Vec<String>,
    held: Held,
    /// Records that are missing, of each drive.
    lost: Vec<u64>,
    /// For how long a live drive was looked at, in nanoseconds.
    looked_ns: Option<u64>,
}

enum Held {
    Recorded(Box<Recording>),
    Live(Vec<Records>),
}

impl Source {
    /// Takes what is there: of a live drive, what comes in the time that is given.
    pub(super) fn see(&self) -> Result<Seen> {
        if self.source.is_dir() || self.source.file_name().is_some_and(|name| name == "record.json")
        {
            return Seen::recorded(&self.source);
        }
        Seen::live(std::slice::from_ref(&self.source), self.seconds)
    }
}

impl Seen {
    /// A recorded run.
    pub(super) fn recorded(path: &Path) -> Result<Self> {
        let recording = usage(Recording::open(path).map_err(Into::into))?;
        let drives = &recording.provenance().drives;
        let serials = drives.iter().map(|drive| drive.serial.clone()).collect();
        let mut lost = vec![0; drives.len()];
        if let Some(first) = lost.first_mut() {
            *first = recording.provenance().lost;
        }
        let name = recording.folder().display().to_string();
        Ok(Self { name, serials, held: Held::Recorded(Box::new(recording)), lost, looked_ns: None })
    }

    /// Live drives, for a while.
    pub(super) fn live(drives: &[PathBuf], seconds: f64) -> Result<Self> {
        let mut readers = Vec::new();
        for drive in drives {
            readers.push(open(drive)?);
        }
        let mut clocks: Vec<LiveClock> = readers.iter().map(LiveClock::new).collect();
        let mut all: Vec<Records> = readers.iter().map(|_| Records::default()).collect();
        let mut lost = vec![0; readers.len()];
        let began = Instant::now();
        let bar = ProgressBar::new((seconds * 1000.0) as u64);
        bar.set_style(ProgressStyle::with_template("{bar:40} {percent}% looking at the drive")?);
        loop {
            for (n, reader) in readers.iter_mut().enumerate() {
                let mut batch = reader.read();
                if let Some(mut first) = clocks[n].saw(&batch.records) {
                    all[n].append(&mut first);
                }
                all[n].append(&mut batch.records);
                lost[n] += batch.lost.iter().sum::<u64>();
            }
            let gone = began.elapsed().as_secs_f64();
            if gone >= seconds {
                break;
            }
            bar.set_position((gone * 1000.0) as u64);
            std::thread::sleep(POLL.min(Duration::from_secs_f64(seconds - gone)));
        }
        bar.finish_and_clear();
        let serials: Vec<String> = drives.iter().map(|drive| serial_of(drive)).collect();
        for (records, clock) in all.iter_mut().zip(&clocks) {
            records.append(&mut clock.end());
        }
        let looked_ns = Some(began.elapsed().as_nanos() as u64);
        let name = serials.join(", ");
        Ok(Self { name, serials, held: Held::Live(all), lost, looked_ns })
    }

    /// Hands out all records, in pieces.
    pub(super) fn read(&self, each: &mut dyn FnMut(usize, &Records)) -> Result<()> {
        match &self.held {
            Held::Recorded(recording) => usage(recording.read(each).map_err(Into::into)),
            Held::Live(all) => {
                all.iter().enumerate().for_each(|(drive, records)| each(drive, records));
                Ok(())
            }
        }
    }

    /// The same of one kind.
    pub(super) fn read_kind(
        &self,
        kind: Kind,
        each: &mut dyn FnMut(usize, &Records),
    ) -> Result<()> {
        match &self.held {
            Held::Recorded(recording) => usage(recording.read_kind(kind, each).map_err(Into::into)),
            Held::Live(_) => self.read(each),
        }
    }

    /// What each drive did, and over time.
    pub(super) fn drives(&self) -> Result<Vec<(DriveSummary, Series)>> {
        let spans = self.spans()?;
        let mut all: Vec<(Tally, Series)> = spans
            .into_iter()
            .zip(&self.lost)
            .map(|((start, end), lost)| {
                let mut tally = Tally::default();
                tally.lose(*lost);
                match self.looked_ns {
                    // It told nothing.
                    Some(looked_ns) if end == start => tally.lasts(looked_ns),
                    Some(looked_ns) => tally.window(end.saturating_sub(looked_ns), end),
                    None => {}
                }
                (tally, Series::new(start, end, PIECES))
            })
            .collect();
        self.read(&mut |drive, records| {
            let (tally, series) = &mut all[drive];
            tally.add(records);
            series.add(records);
        })?;
        let made = all.into_iter().zip(&self.serials);
        Ok(made.map(|((tally, series), serial)| (tally.summary(serial), series)).collect())
    }

    /// From when to when each drive has records.
    fn spans(&self) -> Result<Vec<(u64, u64)>> {
        let mut spans = vec![(u64::MAX, 0); self.serials.len()];
        let mut look = |drive: usize, records: &Records| {
            let (start, end) = &mut spans[drive];
            for record in &records.commands {
                *start = (*start).min(record.fetched_ns);
                *end = (*end).max(record.completed_ns);
            }
            for record in &records.counters {
                *start = (*start).min(record.now_ns);
                *end = (*end).max(record.now_ns);
            }
        };
        match &self.held {
            Held::Recorded(recording) => {
                for kind in [Kind::Commands, Kind::Counters] {
                    usage(recording.read_kind(kind, &mut look).map_err(Into::into))?;
                }
            }
            Held::Live(all) => {
                all.iter().enumerate().for_each(|(drive, records)| look(drive, records));
            }
        }
        let sound = |(start, end)| if start <= end { (start, end) } else { (0, 0) };
        Ok(spans.into_iter().map(sound).collect())
    }

    /// What is to be known of the run.
    fn facts(&self) -> Vec<(String, String)> {
        let Held::Recorded(recording) = &self.held else {
            return vec![("live".to_owned(), self.name.clone())];
        };
        let about = recording.provenance();
        let mut facts = vec![
            ("command".to_owned(), about.command.join(" ")),
            ("csdrive".to_owned(), about.csdrive.clone()),
            ("seed".to_owned(), about.seed.to_string()),
            ("clock".to_owned(), format!("{}, {} of real time", about.clock, time(about.took_ns))),
        ];
        for drive in &about.drives {
            if let Some(hash) = &drive.trace_hash {
                facts.push((format!("trace hash of {}", drive.serial), hash.clone()));
            }
        }
        for input in &about.inputs {
            let digits = input.sha256.get(..16).unwrap_or(&input.sha256);
            facts.push((
                input.path.display().to_string(),
                format!("{} bytes, SHA-256 {digits}...", input.bytes),
            ));
        }
        facts.push((
            "machine".to_owned(),
            format!("{}, {} processors", about.host.processor, about.host.processors),
        ));
        facts
    }

    /// All that a page shows.
    pub(super) fn on_page(&self, name: String) -> Result<RunOnPage> {
        Ok(RunOnPage { name, facts: self.facts(), drives: self.drives()? })
    }

    /// What was run, if it is a recorded run.
    pub(super) fn provenance(&self) -> Option<&recording::Provenance> {
        match &self.held {
            Held::Recorded(recording) => Some(recording.provenance()),
            Held::Live(_) => None,
        }
    }
}

/// The records of a live drive that must be there.
pub(super) fn open(drive: &Path) -> Result<Reader> {
    let path = ring_of(drive);
    if !path.exists() {
        return usage(Err(anyhow!(
            "{}: neither the folder of a recorded run (--record) nor a live drive with records: {} is not there; serve it with csdrive serve --records",
            drive.display(),
            path.display()
        )));
    }
    let reader = usage(Reader::open(&path).map_err(Into::into))?;
    if reader.is_closed() {
        return usage(Err(anyhow!(
            "{}: the drive is gone: {} is what it left; serve it again with csdrive serve --records",
            drive.display(),
            path.display()
        )));
    }
    Ok(reader)
}
