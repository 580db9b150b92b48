//! `--trace FILE`: what the drive did, in the Trace Event Format that Perfetto and chrome://tracing
//! open. Times are virtual.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use compute::UnitRecord;
use controller::CommandRecord;
use nvme_spec::{AdminOpcode, CommandSet, MemoryOpcode, NvmOpcode, ProgramOpcode};
use serde_json::{Value, json};
use simtime::Instant;
use ssd::{DieRecord, Operation};

use crate::input::is_standard;

const COMMANDS: u32 = 1;
const UNITS: u32 = 2;
const DIES: u32 = 3;

/// Everything recorded in a run.
#[derive(Default)]
pub(crate) struct Timeline {
    pub(crate) commands: Vec<CommandRecord>,
    pub(crate) units: Vec<UnitRecord>,
    pub(crate) dies: Vec<DieRecord>,
}

impl Timeline {
    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let out: Box<dyn Write> = if is_standard(path) {
            Box::new(io::stdout())
        } else {
            Box::new(std::fs::File::create(path)?)
        };
        let mut out = io::BufWriter::new(out);
        out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
        let names = [(COMMANDS, "NVMe commands"), (UNITS, "compute units"), (DIES, "flash dies")];
        let mut first = true;
        let mut put = |event: Value| -> io::Result<()> {
            if !std::mem::take(&mut first) {
                out.write_all(b",\n")?;
            }
            serde_json::to_writer(&mut out, &event).map_err(io::Error::from)
        };
        for (pid, name) in names {
            put(json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}))?;
        }
        for (pid, what, numbers) in self.threads() {
            for number in numbers {
                let name = format!("{what} {number}");
                put(
                    json!({"ph": "M", "pid": pid, "tid": number, "name": "thread_name", "args": {"name": name}}),
                )?;
            }
        }
        for (pid, name, spans) in self.spans() {
            for (at, count) in counts(spans) {
                put(
                    json!({"ph": "C", "pid": pid, "name": name, "ts": micros(at), "args": {"count": count}}),
                )?;
            }
        }
        for (id, record) in self.commands.iter().enumerate() {
            // Commands overlap: asynchronous slices, one identifier each.
            let name = command_name(record);
            let common = |ph: &str, at: Instant| {
                json!({"ph": ph, "cat": "command", "id": id, "pid": COMMANDS, "tid": record.sqid,
                       "name": name, "ts": micros(at)})
            };
            let mut begin = common("b", record.fetched);
            begin["args"] = json!({
                "cid": record.cid, "nsid": record.nsid, "status": record.status.name(),
            });
            for (stage, time) in record.stages.iter() {
                begin["args"][format!("{}_ns", stage.name())] = time.as_ns().into();
            }
            put(begin)?;
            put(common("e", record.completed))?;
        }
        for record in &self.units {
            put(slice(UNITS, record.unit.0, "job", record.start, record.end))?;
        }
        for record in &self.dies {
            let name = match (record.operation, record.gc) {
                (Operation::Read, false) => "read",
                (Operation::Program, false) => "program",
                (Operation::Read, true) => "collection read",
                (Operation::Program, true) => "collection program",
                (Operation::Erase, _) => "erase",
            };
            put(slice(DIES, record.die, name, record.start, record.end))?;
        }
        out.write_all(b"\n]}\n")?;
        out.flush()
    }
}

impl Timeline {
    /// The rows of each process, by number, and what each is.
    fn threads(&self) -> [(u32, &'static str, BTreeSet<u32>); 3] {
        [
            (COMMANDS, "submission queue", self.commands.iter().map(|r| r.sqid.into()).collect()),
            (UNITS, "unit", self.units.iter().map(|r| r.unit.0).collect()),
            (DIES, "die", self.dies.iter().map(|r| r.die).collect()),
        ]
    }

    /// What is counted over time, and when each lasts.
    fn spans(&self) -> [Counted; 3] {
        [
            (
                COMMANDS,
                "commands in flight",
                self.commands.iter().map(|r| (r.fetched, r.completed)).collect(),
            ),
            (UNITS, "units busy", self.units.iter().map(|r| (r.start, r.end)).collect()),
            (DIES, "dies busy", self.dies.iter().map(|r| (r.start, r.end)).collect()),
        ]
    }
}

/// Of which process, its name, and from when to when each of what is counted lasts.
type Counted = (u32, &'static str, Vec<(Instant, Instant)>);

/// How many last at a time, whenever that changes.
fn counts(spans: Vec<(Instant, Instant)>) -> BTreeMap<Instant, i64> {
    let mut changes = BTreeMap::<Instant, i64>::new();
    for (start, end) in spans {
        *changes.entry(start).or_default() += 1;
        *changes.entry(end).or_default() -= 1;
    }
    let mut count = 0;
    for change in changes.values_mut() {
        count += *change;
        *change = count;
    }
    changes
}

fn slice(pid: u32, tid: u32, name: &str, start: Instant, end: Instant) -> Value {
    json!({"ph": "X", "pid": pid, "tid": tid, "name": name,
           "ts": micros(start), "dur": end.since(start).as_ns() as f64 / 1000.0})
}

/// The format counts microseconds; fractions are allowed.
fn micros(at: Instant) -> f64 {
    at.as_ns() as f64 / 1000.0
}

fn command_name(record: &CommandRecord) -> &'static str {
    let name = match (record.sqid, record.set) {
        (0, _) => AdminOpcode(record.opcode).name(),
        (_, CommandSet::MEMORY) => MemoryOpcode(record.opcode).name(),
        (_, CommandSet::PROGRAMS) => ProgramOpcode(record.opcode).name(),
        _ => NvmOpcode(record.opcode).name(),
    };
    name.unwrap_or("unknown command")
}
