//! A program, line by line, with whoever debugs it at the keyboard.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};

use ebpf::{Observer, Outcome, Program, Step, StopRun};

use super::listing::changes;
use super::{Sources, file_name, place};
use crate::report::say;

const HELP: &str = "\
Enter, n   run to the next line        s   run one instruction
c          run on                      b N stop at line N, or no more (c first)
r          registers                   q   end the run";

/// When it stops again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Until {
    #[default]
    Line,
    Instruction,
    /// A line at which it is to stop.
    Breakpoint,
}

/// Stops, shows where, and asks what to do.
#[derive(Debug, Default)]
pub(super) struct Stepping {
    program: Option<Program>,
    until: Until,
    /// No run of the program is wanted any more.
    is_over: bool,
    breakpoints: BTreeSet<u32>,
    /// Where it was last.
    line: Option<(String, u32)>,
    /// The registers when it stopped last.
    shown: Option<[u64; 11]>,
    /// What was touched since then.
    touched: Vec<String>,
    sources: Sources,
}

/// Touched places that are listed.
const TOUCHED_SHOWN: usize = 8;

impl Stepping {
    fn show(&mut self, step: &Step<'_>, program: &Program) {
        for touched in self.touched.drain(..) {
            say!("      {touched}");
        }
        let before = self.shown.replace(*step.registers).unwrap_or_default();
        let changed = changes(&before, step.registers);
        if !changed.is_empty() {
            say!("      {changed}");
        }
        let location = program.location(step.slot);
        match location.source {
            Some((path, line)) if self.until != Until::Instruction => {
                let text = self.sources.line(path, line);
                say!("{}:{line} in {}: {text}", file_name(path), location.function);
            }
            _ => say!(
                "{} in {}+{}: {}",
                place(program, step.slot),
                location.function,
                location.instruction,
                program.disassemble(step.slot)
            ),
        }
    }

    fn has_code(&self, line: u32) -> bool {
        self.program.as_ref().is_some_and(|program| {
            let is_it = |slot| program.location(slot).source.is_some_and(|(_, at)| at == line);
            program.instructions().any(is_it)
        })
    }

    fn ask(&mut self, step: &Step<'_>) -> Result<(), StopRun> {
        loop {
            print!("> ");
            let _ = std::io::stdout().flush();
            let mut line = Vec::new();
            let read = std::io::stdin().lock().read_until(b'\n', &mut line);
            let line = String::from_utf8_lossy(&line);
            // Whoever asked is gone: it runs on.
            if !matches!(read, Ok(1..)) {
                self.until = Until::Breakpoint;
                self.breakpoints.clear();
                return Ok(());
            }
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (None | Some("n"), _) => self.until = Until::Line,
                (Some("s"), _) => self.until = Until::Instruction,
                (Some("c"), _) => self.until = Until::Breakpoint,
                (Some("q"), _) => {
                    self.is_over = true;
                    return Err(StopRun);
                }
                (Some("r"), _) => {
                    let registers = step.registers.iter().enumerate();
                    let text = registers.map(|(n, value)| format!("r{n} = {value:#x}"));
                    say!("{}", text.collect::<Vec<_>>().join("  "));
                    continue;
                }
                (Some("b"), Some(number)) if number.parse::<u32>().is_ok() => {
                    let number = number.parse().expect("it was looked at");
                    match self.breakpoints.remove(&number) {
                        true => say!("no longer stops at line {number}"),
                        false if !self.has_code(number) => say!("line {number} has no code"),
                        false => {
                            self.breakpoints.insert(number);
                            say!("stops at line {number}");
                        }
                    }
                    continue;
                }
                _ => {
                    say!("{HELP}");
                    continue;
                }
            }
            return Ok(());
        }
    }
}

impl Observer for Stepping {
    fn begins(&mut self, program: &Program) {
        self.program = Some(program.clone());
        (self.line, self.shown) = (None, None);
    }

    fn step(&mut self, step: &Step<'_>) -> Result<(), StopRun> {
        if self.is_over {
            return Err(StopRun);
        }
        // Not a copy of its code: another handle.
        let program = self.program.clone().expect("a run began");
        let source = program.location(step.slot).source;
        let before = self.line.as_ref().map(|(path, line)| (path.as_str(), *line));
        let is_new = source != before || source.is_none();
        let stops = match self.until {
            Until::Line => is_new,
            Until::Instruction => true,
            Until::Breakpoint => {
                is_new && source.is_some_and(|(_, line)| self.breakpoints.contains(&line))
            }
        };
        if is_new {
            self.line = source.map(|(path, line)| (path.to_owned(), line));
        }
        let asked = match stops {
            true => {
                self.show(step, &program);
                self.ask(step)
            }
            false => Ok(()),
        };
        if let Some(touched) = step.touches.filter(|_| self.until != Until::Breakpoint) {
            match self.touched.len() {
                TOUCHED_SHOWN.. => {}
                n if n + 1 == TOUCHED_SHOWN => self.touched.push("...".to_owned()),
                _ => self.touched.push(touched.to_string()),
            }
        }
        asked
    }

    fn ends(&mut self, outcome: &Outcome) {
        match &outcome.result {
            Ok(result) => say!("returned {} ({result:#x})", *result as i64),
            Err(fault) => say!("ended: {fault}"),
        }
    }
}
