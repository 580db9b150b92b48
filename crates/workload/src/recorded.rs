//! Recording a run: where its records go, and what is told of it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use controller::Config;
use recording::{Drive, Error, HostFacts, Input, Provenance, Recorder};
use records::Records;

use crate::rig::RecordSink;

/// A run that is being recorded.
#[derive(Debug)]
pub struct RunRecorder {
    written: Rc<RefCell<Written>>,
    began: Instant,
    began_s: u64,
}

#[derive(Debug)]
struct Written {
    recorder: Recorder,
    /// The first thing that went wrong; nothing is written after it.
    failed: Option<Error>,
}

/// What was run.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// The command line, without options that name files to write.
    pub command: Vec<String>,
    /// "virtual" or "real".
    pub clock: &'static str,
    /// Of all random numbers.
    pub seed: u64,
    /// The drives, by number.
    pub drives: Vec<Drive>,
    /// Files that were read; `-` is standard input.
    pub inputs: Vec<PathBuf>,
    /// Records that are missing.
    pub lost: u64,
    /// The document that came of it.
    pub result: serde_json::Value,
}

impl RunRecorder {
    /// Begins in a new folder.
    ///
    /// # Errors
    /// If it cannot be made, or something is in it.
    pub fn start(folder: &Path) -> Result<Self, Error> {
        let written = Written { recorder: Recorder::create(folder)?, failed: None };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = Rc::new(RefCell::new(written));
        Ok(Self { written, began: Instant::now(), began_s: now.as_secs() })
    }

    /// Where records of simulated drives go.
    pub fn sink(&self) -> RecordSink {
        let written = Rc::clone(&self.written);
        Box::new(move |drive, records| written.borrow_mut().put(drive, records))
    }

    /// Adds records of a drive. If they cannot be written, [`Self::finish`] says so.
    pub fn put(&self, drive: usize, records: &Records) {
        self.written.borrow_mut().put(drive, records);
    }

    /// Real time since it began.
    pub fn elapsed(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// If something could not be written, or an input not be read again.
    pub fn finish(self, ran: Ran) -> Result<(), Error> {
        let took = self.began.elapsed();
        let mut written = self.written.borrow_mut();
        if let Some(error) = written.failed.take() {
            return Err(error);
        }
        // Standard input and pipes cannot be read again.
        let of = |path: &PathBuf| match path.is_file() {
            true => Input::of(path),
            false => Ok(Input { path: path.clone(), ..Input::default() }),
        };
        written.recorder.finish(Provenance {
            csdrive: env!("CARGO_PKG_VERSION").to_owned(),
            command: ran.command,
            folder: std::env::current_dir().unwrap_or_default(),
            began_s: self.began_s,
            took_ns: took.as_nanos() as u64,
            clock: ran.clock.to_owned(),
            seed: ran.seed,
            drives: ran.drives,
            inputs: ran.inputs.iter().map(of).collect::<Result<_, _>>()?,
            host: HostFacts::here(),
            lost: ran.lost,
            result: ran.result,
            ..Provenance::default()
        })
    }
}

impl Written {
    fn put(&mut self, drive: usize, records: &Records) {
        if self.failed.is_none() {
            self.failed = self.recorder.put(drive as u32, records).err();
        }
    }
}

/// A simulated drive as a run tells of it.
pub fn recorded_drive(config: &Config, trace_hash: u64) -> Drive {
    let value = |key: &config::Key| (key.name.to_owned(), key.get(config).to_json());
    Drive {
        serial: config.serial.clone(),
        config: config::KEYS.iter().map(value).collect(),
        trace_hash: Some(format!("{trace_hash:016x}")),
    }
}
