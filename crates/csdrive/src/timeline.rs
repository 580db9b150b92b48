//! `--trace FILE`: what the drive did, in the Trace Event Format that Perfetto and chrome://tracing
//! open. Times are virtual.

use std::io::{self, Write};
use std::path::Path;

use compute::UnitRecord;
use controller::CommandRecord;
use nvme_spec::{AdminOpcode, MemoryOpcode, NvmOpcode, ProgramOpcode};
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
                "flash_read_ns": record.stages.flash_read.as_ns(),
                "flash_write_ns": record.stages.flash_write.as_ns(),
                "copy_ns": record.stages.copy.as_ns(),
                "queue_ns": record.stages.queue.as_ns(),
                "compute_ns": record.stages.compute.as_ns(),
                "transfer_ns": record.stages.transfer.as_ns(),
            });
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

fn slice(pid: u32, tid: u32, name: &str, start: Instant, end: Instant) -> Value {
    json!({"ph": "X", "pid": pid, "tid": tid, "name": name,
           "ts": micros(start), "dur": end.since(start).as_ns() as f64 / 1000.0})
}

/// The format counts microseconds; fractions are allowed.
fn micros(at: Instant) -> f64 {
    at.as_ns() as f64 / 1000.0
}

fn command_name(record: &CommandRecord) -> &'static str {
    let name = match (record.sqid, record.nsid) {
        (0, _) => AdminOpcode(record.opcode).name(),
        (_, controller::MEMORY_NSID) => MemoryOpcode(record.opcode).name(),
        (_, controller::COMPUTE_NSID) => ProgramOpcode(record.opcode).name(),
        _ => NvmOpcode(record.opcode).name(),
    };
    name.unwrap_or("unknown command")
}
