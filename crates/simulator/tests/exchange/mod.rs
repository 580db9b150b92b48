//! A command and its data, of tests whose drive is a session.

use client::commands::with_data;
use client::{Completion, DmaMemory, QueueId};
use nvme_spec::SubmissionEntry;
use simulator::Session;

/// Sends a command with data, which it may change.
pub(crate) fn send(
    s: &mut Session,
    queue: QueueId,
    entry: SubmissionEntry,
    data: &mut [u8],
) -> Completion {
    let host = &mut s.transport.driver;
    let buffer = host.port.ram.allocate(data.len().max(4096) as u64);
    host.port.ram.put(buffer.address, data);
    let prps = host.port.ram.prps(&buffer, data.len() as u64);
    let done = host.execute(queue, with_data(entry, prps)).unwrap();
    host.port.ram.get(buffer.address, data);
    done
}
