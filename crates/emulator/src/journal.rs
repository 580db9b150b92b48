//! What a served drive tells whoever looks for a fault, by `tracing`.
//!
//! Target `emulator::command`: at level `debug` each command that ended with an error, at `trace` every command. Target
//! `emulator::drive`: what the client does with the device (registers, memory at `debug`,
//! interrupts at `trace`).

use controller::Controller;
use nvme_spec::{CommandSet, Status, command_name};
use records::{CommandRecord, Records};
use tracing::Level;

const COMMANDS: &str = "emulator::command";

/// Has the controller keep records, if they will be shown; true if so.
pub(crate) fn open(controller: &mut Controller) -> bool {
    let is_wanted = tracing::enabled!(target: COMMANDS, Level::DEBUG);
    if is_wanted {
        controller.set_recording(true);
    }
    is_wanted
}

/// Tells of commands that have ended.
pub(crate) fn write(records: &Records) {
    records.commands.iter().for_each(write_command);
}

fn write_command(record: &CommandRecord) {
    let CommandRecord { sqid, cid, nsid, .. } = *record;
    let name =
        command_name(sqid, CommandSet(record.csi), record.opcode).unwrap_or("unknown command");
    let status = Status::from_bits(record.status);
    let took = simtime::Duration::from_ns(record.completed_ns - record.fetched_ns);
    let late = simtime::Duration::from_ns(record.late_ns);
    if status == Status::SUCCESS {
        tracing::trace!(target: COMMANDS, sqid, cid, nsid, %took, %late, "{name}");
    } else {
        let opcode = record.opcode;
        tracing::debug!(target: COMMANDS, sqid, cid, nsid, opcode, %took, %late, "{name}: {status}");
    }
}
