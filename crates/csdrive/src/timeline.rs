//! `--trace FILE`: what the drive did, in the Trace Event Format that Perfetto and chrome://tracing
//! open. Times are virtual.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use nvme_spec::{CommandSet, Status};
use records::{CommandRecord, DieOperation, Records};
use serde_json::{Value, json};

use crate::input::is_standard;

const COMMANDS: u32 = 1;
const UNITS: u32 = 2;
const DIES: u32 = 3;

/// The timeline of a run.
pub(crate) struct Timeline<'a>(pub(crate) &'a Records);

impl Timeline<'_> {
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
        for record in &self.0.commands {
            // Commands overlap: asynchronous slices, one identifier each.
            let name = command_name(record);
            let common = |ph: &str, at: u64| {
                json!({"ph": ph, "cat": "command", "id": record.id, "pid": COMMANDS, "tid": record.sqid,
                       "name": name, "ts": micros(at)})
            };
            let mut begin = common("b", record.fetched_ns);
            begin["args"] = json!({
                "cid": record.cid, "nsid": record.nsid, "status": Status::from_bits(record.status).name(),
            });
            for (stage, time) in record.stages().iter() {
                begin["args"][format!("{}_ns", stage.name())] = time.as_ns().into();
            }
            put(begin)?;
            put(common("e", record.completed_ns))?;
        }
        for record in &self.0.units {
            let mut stay = slice(UNITS, record.unit, "job", record.start_ns, record.end_ns);
            stay["args"] = json!({"command": record.job});
            put(stay)?;
        }
        for record in &self.0.dies {
            let name = match (DieOperation::from_value(record.operation), record.is_collection) {
                (Some(DieOperation::Read), 1) => "collection read",
                (Some(DieOperation::Program), 1) => "collection program",
                (operation, _) => operation.map_or("unknown", DieOperation::name),
            };
            put(slice(DIES, record.die, name, record.start_ns, record.end_ns))?;
        }
        out.write_all(b"\n]}\n")?;
        out.flush()
    }
}

impl Timeline<'_> {
    /// The rows of each process, by number, and what each is.
    fn threads(&self) -> [(u32, &'static str, BTreeSet<u32>); 3] {
        [
            (COMMANDS, "submission queue", self.0.commands.iter().map(|r| r.sqid.into()).collect()),
            (UNITS, "unit", self.0.units.iter().map(|r| r.unit).collect()),
            (DIES, "die", self.0.dies.iter().map(|r| r.die).collect()),
        ]
    }

    /// What is counted over time, and when each lasts.
    fn spans(&self) -> [Counted; 3] {
        [
            (
                COMMANDS,
                "commands in flight",
                self.0.commands.iter().map(|r| (r.fetched_ns, r.completed_ns)).collect(),
            ),
            (UNITS, "units busy", self.0.units.iter().map(|r| (r.start_ns, r.end_ns)).collect()),
            (DIES, "dies busy", self.0.dies.iter().map(|r| (r.start_ns, r.end_ns)).collect()),
        ]
    }
}

/// Of which process, its name, and from when to when each of what is counted lasts.
type Counted = (u32, &'static str, Vec<(u64, u64)>);

/// How many last at a time, whenever that changes.
fn counts(spans: Vec<(u64, u64)>) -> BTreeMap<u64, i64> {
    let mut changes = BTreeMap::<u64, i64>::new();
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

fn slice(pid: u32, tid: u32, name: &str, start: u64, end: u64) -> Value {
    json!({"ph": "X", "pid": pid, "tid": tid, "name": name,
           "ts": micros(start), "dur": (end - start) as f64 / 1000.0})
}

/// The format counts microseconds; fractions are allowed.
fn micros(at: u64) -> f64 {
    at as f64 / 1000.0
}

fn command_name(record: &CommandRecord) -> &'static str {
    let set = CommandSet(record.csi);
    nvme_spec::command_name(record.sqid, set, record.opcode).unwrap_or("unknown command")
}
