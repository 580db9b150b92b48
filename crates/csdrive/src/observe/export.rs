//! `csdrive export`: records as lines of text.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use records::{Column, Kind, Records};

use super::seen::Source;
use crate::input::is_standard;
use crate::{Outcome, usage};

/// Print the records of one kind, of a recorded run or of a live drive for a while: CSV, or a JSON object in each line
///
/// The columns are those of the Parquet files.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// commands, jobs, units, dies, links or counters
    #[arg(long, value_name = "KIND", default_value = "commands", value_parser = kind)]
    kind: Kind,
    /// csv or json
    #[arg(long, value_name = "FORMAT", default_value = "csv", value_parser = ["csv", "json"])]
    format: String,
    /// The file to write; - = standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

fn kind(text: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    found.ok_or_else(|| format!("choose one of {}", Kind::ALL.map(Kind::name).join(", ")))
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let seen = arguments.source.see()?;
    let out: Box<dyn Write> = if is_standard(&arguments.output) {
        Box::new(io::stdout().lock())
    } else {
        let file = File::create(&arguments.output);
        Box::new(usage(file.with_context(|| arguments.output.display().to_string()))?)
    };
    let mut lines = Lines::new(BufWriter::new(out), arguments.kind, arguments.format == "json");
    let mut done = lines.head();
    seen.read_kind(arguments.kind, &mut |drive, records| {
        if done.is_ok() {
            done = lines.put(drive, records);
        }
    })?;
    match done.and_then(|()| lines.out.flush()) {
        // `csdrive export ... | head`
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Success),
        done => {
            usage(done.with_context(|| arguments.output.display().to_string()))?;
            Ok(Outcome::Success)
        }
    }
}

struct Lines<W: Write> {
    out: W,
    kind: Kind,
    columns: Vec<Column>,
    is_json: bool,
}

impl<W: Write> Lines<W> {
    fn new(out: W, kind: Kind, is_json: bool) -> Self {
        Self { out, kind, columns: kind.layout().columns(), is_json }
    }

    fn head(&mut self) -> io::Result<()> {
        if self.is_json {
            return Ok(());
        }
        write!(self.out, "drive")?;
        for column in &self.columns {
            write!(self.out, ",{}", column.name)?;
        }
        writeln!(self.out)
    }

    fn put(&mut self, drive: usize, records: &Records) -> io::Result<()> {
        let bytes = records.bytes(self.kind);
        for record in bytes.chunks_exact(self.kind.layout().bytes) {
            match self.is_json {
                true => write!(self.out, "{{\"drive\":{drive}")?,
                false => write!(self.out, "{drive}")?,
            }
            for column in &self.columns {
                let value = column.get(record);
                match self.is_json {
                    true => write!(self.out, ",\"{}\":{value}", column.name)?,
                    false => write!(self.out, ",{value}")?,
                }
            }
            writeln!(self.out, "{}", if self.is_json { "}" } else { "" })?;
        }
        Ok(())
    }
}
