//! What each line of a program cost.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use compute::{CostTable, Work, WorkClass};
use ebpf::{Observer, Outcome, Program, Step, StopRun};
use serde_json::{Value, json};

use super::{Sources, file_name, place};
use crate::input::write_all;
use crate::report::{self, tell};

/// Lines of the table.
const SHOWN: usize = 20;

/// Most different stacks of functions; what is called beyond counts for its caller.
const STACKS_MAX: usize = 10_000;

/// A stack of functions, and what ran while it was this.
#[derive(Debug)]
struct Node {
    function: String,
    parent: Option<usize>,
    /// How often each instruction ran, and bytes that it touched, by slot.
    ran: Vec<(u64, u64)>,
}

impl Node {
    /// The instructions that ran.
    fn ran(&self) -> impl Iterator<Item = (u32, (u64, u64))> + '_ {
        let all = self.ran.iter().enumerate().map(|(slot, ran)| (slot as u32, *ran));
        all.filter(|(_, (times, _))| *times > 0)
    }
}

/// Counts instructions and bytes by place and by stack of functions.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    program: Option<Program>,
    /// Of each instruction that ran, by slot.
    classes: Vec<Option<WorkClass>>,
    nodes: Vec<Node>,
    children: BTreeMap<(Option<usize>, u32), usize>,
    /// Those of the functions that have not returned.
    stack: Vec<usize>,
    /// The instruction before, and the bytes that had been touched when it began.
    last: Option<(usize, u32, u64)>,
}

/// What a source line cost.
#[derive(Debug, Default)]
struct Line {
    function: String,
    /// How often the instruction of it ran that ran most often.
    times: u64,
    work: Work,
}

/// Path and line, or where there is no debug information the function and the number of the instruction.
type Place = (String, u32);

impl Profile {
    fn child(&mut self, slot: u32) -> usize {
        let parent = self.stack.last().copied();
        if let Some(&known) = self.children.get(&(parent, slot)) {
            return known;
        }
        if let Some(parent) = parent.filter(|_| self.nodes.len() >= STACKS_MAX) {
            return parent;
        }
        let program = self.program.as_ref().expect("a run began");
        let function = program.location(slot).function.to_owned();
        self.nodes.push(Node { function, parent, ran: Vec::new() });
        self.children.insert((parent, slot), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Bytes that the instruction before touched.
    fn settle(&mut self, bytes: u64) {
        if let Some((node, slot, before)) = self.last.take()
            && let Some((_, touched)) = self.nodes[node].ran.get_mut(slot as usize)
        {
            *touched += bytes.saturating_sub(before);
        }
    }

    fn work(&self, slot: u32, (times, bytes): (u64, u64)) -> Work {
        let mut work = Work { bytes, ..Work::default() };
        if let Some(&Some(class)) = self.classes.get(slot as usize) {
            work.instructions[class as usize] = times;
        }
        work
    }

    fn place_of(program: &Program, slot: u32) -> Place {
        let location = program.location(slot);
        match location.source {
            Some((path, line)) => (path.to_owned(), line),
            None => (location.function.to_owned(), location.instruction as u32),
        }
    }

    /// Every line that has instructions, also those that never ran.
    fn lines(&self) -> BTreeMap<Place, Line> {
        let mut lines: BTreeMap<Place, Line> = BTreeMap::new();
        let Some(program) = &self.program else { return lines };
        for slot in program.instructions() {
            let line = lines.entry(Self::place_of(program, slot)).or_default();
            if line.function.is_empty() {
                program.location(slot).function.clone_into(&mut line.function);
            }
        }
        let mut times: BTreeMap<u32, u64> = BTreeMap::new();
        for (slot, ran) in self.nodes.iter().flat_map(Node::ran) {
            *times.entry(slot).or_default() += ran.0;
            let line = lines.entry(Self::place_of(program, slot)).or_default();
            add(&mut line.work, &self.work(slot, ran));
        }
        for (slot, times) in times {
            let line = lines.entry(Self::place_of(program, slot)).or_default();
            line.times = line.times.max(times);
        }
        lines
    }

    /// Lines that ran, and what they cost, the dearest first.
    fn ranked(&self, cost: &CostTable) -> Vec<(Place, Line, u64)> {
        let lines = self.lines().into_iter().filter(|(_, line)| line.times > 0);
        let priced = lines.map(|(place, line)| {
            let ns = cost.time_for(&line.work).as_ns();
            (place, line, ns)
        });
        let mut ranked: Vec<_> = priced.collect();
        ranked.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        ranked
    }

    /// For people.
    pub(super) fn render(&self, cost: &CostTable) -> String {
        let ranked = self.ranked(cost);
        let all: u64 = ranked.iter().map(|(.., ns)| ns).sum();
        let mut sources = Sources::default();
        let heads = ["time", "", "times", "instructions", "bytes", "line", ""];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        for ((path, line), of, ns) in ranked.iter().take(SHOWN) {
            let place = match self.has_source() {
                true => format!("{}:{line}", file_name(path)),
                false => format!("{path}+{line}"),
            };
            rows.push(vec![
                report::time(*ns),
                format!("{:.1}%", 100.0 * *ns as f64 / all.max(1) as f64),
                report::grouped(of.times),
                report::grouped(of.work.instructions.iter().sum()),
                report::grouped(of.work.bytes),
                place,
                sources.line(path, *line).to_owned(),
            ]);
        }
        let more = ranked.len().saturating_sub(SHOWN);
        let note = match more {
            0 => String::new(),
            more => format!("\n({more} more lines: --json has all)"),
        };
        let hint = match self.has_source() {
            true => "",
            false => "\n(no source lines: compile with -g)",
        };
        // Numbers to the right, the place and its text to the left.
        let widths: Vec<usize> = (0..heads.len())
            .map(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::from("where the program's time went\n");
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(n, (cell, width))| match n {
                0..=4 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text += &format!("  {}\n", line.trim_end());
        }
        text.trim_end().to_owned() + &note + hint
    }

    fn has_source(&self) -> bool {
        self.program.as_ref().is_some_and(|program| {
            program
                .instructions()
                .next()
                .is_some_and(|slot| program.location(slot).source.is_some())
        })
    }

    pub(super) fn to_json(&self, cost: &CostTable) -> Value {
        let has_source = self.has_source();
        let lines = self.ranked(cost).into_iter().map(|((path, line), of, ns)| {
            json!({
                "file": has_source.then_some(path),
                "line": has_source.then_some(line),
                "instruction": (!has_source).then_some(line),
                "function": of.function,
                "times": of.times,
                "instructions": of.work.instructions.iter().sum::<u64>(),
                "bytes": of.work.bytes,
                "ns": ns,
            })
        });
        Value::Array(lines.collect())
    }

    /// Stacks of functions, the line last, with nanoseconds: what makes flame graphs reads.
    pub(super) fn folded(&self, cost: &CostTable) -> String {
        let Some(program) = &self.program else { return String::new() };
        let mut stacks: BTreeMap<String, Work> = BTreeMap::new();
        for node in &self.nodes {
            let mut names = vec![node.function.as_str()];
            let mut above = node.parent;
            while let Some(parent) = above {
                names.push(&self.nodes[parent].function);
                above = self.nodes[parent].parent;
            }
            names.reverse();
            let stack = names.join(";");
            for (slot, ran) in node.ran() {
                let of = stacks.entry(format!("{stack};{}", place(program, slot))).or_default();
                add(of, &self.work(slot, ran));
            }
        }
        stacks.iter().fold(String::new(), |mut text, (stack, work)| {
            let _ = writeln!(text, "{stack} {}", cost.time_for(work).as_ns());
            text
        })
    }
}

/// Which lines of programs ran how often.
#[derive(Debug, Default)]
pub(crate) struct Coverage(BTreeMap<Place, u64>);

impl Coverage {
    /// That of a run.
    pub(super) fn of(profile: &Profile) -> Self {
        let mut coverage = Self::default();
        coverage.add(profile);
        coverage
    }

    /// Adds those of another run.
    pub(crate) fn add(&mut self, profile: &Profile) {
        for (place, line) in profile.lines().into_iter().filter(|_| profile.has_source()) {
            *self.0.entry(place).or_default() += line.times;
        }
    }

    /// Writes them to a file, and says so if there are none.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if self.0.is_empty() {
            tell!("csdrive: --coverage: the object has no source lines: compile it with -g");
        }
        let written = write_all(path, self.to_lcov().as_bytes());
        written.with_context(|| format!("--coverage {}", path.display()))
    }

    /// In lcov's format (geninfo(1)).
    fn to_lcov(&self) -> String {
        let mut files: BTreeMap<&str, Vec<(u32, u64)>> = BTreeMap::new();
        for ((path, line), times) in &self.0 {
            files.entry(path).or_default().push((*line, *times));
        }
        let mut text = String::new();
        // Headers that csdrive brought for the compiler are gone.
        for (path, lines) in files.into_iter().filter(|(path, _)| Path::new(path).exists()) {
            let _ = writeln!(text, "TN:\nSF:{path}");
            for (line, times) in &lines {
                let _ = writeln!(text, "DA:{line},{times}");
            }
            let hit = lines.iter().filter(|(_, times)| *times > 0).count();
            let _ = writeln!(text, "LF:{}\nLH:{hit}\nend_of_record", lines.len());
        }
        text
    }
}

fn add(sum: &mut Work, more: &Work) {
    for (sum, more) in sum.instructions.iter_mut().zip(more.instructions) {
        *sum += more;
    }
    sum.bytes += more.bytes;
}

impl Observer for Profile {
    fn begins(&mut self, program: &Program) {
        self.program.get_or_insert_with(|| program.clone());
        self.stack.clear();
        self.last = None;
    }

    fn step(&mut self, step: &Step<'_>) -> Result<(), StopRun> {
        self.settle(step.bytes);
        self.stack.truncate(step.depth + 1);
        if self.stack.len() <= step.depth {
            let node = self.child(step.slot);
            self.stack.push(node);
        }
        let node = self.stack[step.depth];
        let slot = step.slot as usize;
        let ran = &mut self.nodes[node].ran;
        if ran.len() <= slot {
            ran.resize(slot + 1, (0, 0));
        }
        ran[slot].0 += 1;
        if self.classes.len() <= slot {
            self.classes.resize(slot + 1, None);
        }
        self.classes[slot] = Some(WorkClass::ALL[step.class as usize]);
        self.last = Some((node, step.slot, step.bytes));
        Ok(())
    }

    fn ends(&mut self, outcome: &Outcome) {
        self.settle(outcome.counts.bytes_loaded + outcome.counts.bytes_stored);
    }
}
