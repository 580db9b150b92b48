//! Every instruction that ran, as text.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use ebpf::{Observer, Outcome, Program, Step, StopRun};

use super::place;
use crate::input::is_standard;

/// Instructions that are written: a gigabyte of text helps nobody.
const WRITTEN_MAX: u64 = 1_000_000;

/// Writes each instruction with what it touched and what it changed.
pub(super) struct Listing {
    to: BufWriter<Box<dyn Write + Send>>,
    program: Option<Program>,
    number: u64,
    /// The registers before the last instruction.
    before: Option<[u64; 11]>,
    failed: Option<std::io::Error>,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Registers that changed, as text.
pub(super) fn changes(before: &[u64; 11], after: &[u64; 11]) -> String {
    let changed = (0..11).filter(|n| before[*n] != after[*n]);
    changed.map(|n| format!("r{n} = {:#x}", after[n])).collect::<Vec<_>>().join(", ")
}

impl Listing {
    pub(super) fn new(path: &Path) -> Result<Self> {
        let to: Box<dyn Write + Send> = match is_standard(path) {
            true => Box::new(std::io::stdout()),
            false => Box::new(
                File::create(path)
                    .with_context(|| format!("--trace-program {}", path.display()))?,
            ),
        };
        Ok(Self { to: BufWriter::new(to), program: None, number: 0, before: None, failed: None })
    }

    fn put(&mut self, text: &str) {
        if self.failed.is_none()
            && let Err(error) = self.to.write_all(text.as_bytes())
        {
            self.failed = Some(error);
        }
    }

    pub(super) fn finish(&mut self) -> std::io::Result<()> {
        if self.number > WRITTEN_MAX {
            let text = format!("... and {} more instructions\n", self.number - WRITTEN_MAX);
            self.put(&text);
        }
        let flushed = self.to.flush();
        self.failed.take().map_or(flushed, Err)
    }
}

impl Observer for Listing {
    fn begins(&mut self, program: &Program) {
        self.program = Some(program.clone());
        self.before = None;
    }

    fn step(&mut self, step: &Step<'_>) -> Result<(), StopRun> {
        self.number += 1;
        if self.number > WRITTEN_MAX {
            return Ok(());
        }
        if let Some(before) = self.before.replace(*step.registers) {
            let changed = changes(&before, step.registers);
            self.put(&if changed.is_empty() {
                "\n".to_owned()
            } else {
                format!("  -> {changed}\n")
            });
        }
        let program = self.program.as_ref().expect("a run began");
        let location = program.location(step.slot);
        let within = format!("{}+{}", location.function, location.instruction);
        let mut text = format!(
            "{:>9}  {:<24} {:<24} {}{}",
            self.number,
            place(program, step.slot),
            within,
            "  ".repeat(step.depth.min(20)),
            program.disassemble(step.slot)
        );
        if let Some(touched) = &step.touches {
            text += &format!("  ; {touched}");
        }
        self.put(&text);
        Ok(())
    }

    fn ends(&mut self, outcome: &Outcome) {
        let end = match &outcome.result {
            Ok(result) => format!("returned {} ({result:#x})", *result as i64),
            Err(fault) => format!("ended: {fault}"),
        };
        self.put(&format!("\n{end}\n"));
        self.before = None;
    }
}
