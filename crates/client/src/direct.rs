//! Commands by a driver of one's own: over whatever [`Port`] leads to the controller.

use std::collections::HashMap;
use std::time::Duration;

use nvme_spec::PAGE_SIZE;

use crate::commands;
use crate::driver::{Completion, Driver, Next, QueueId};
use crate::memory::{Buffer, DmaMemory};
use crate::port::Port;
use crate::transport::{Command, Data, Done, Lane, Submit, Ticket, TransportError};

/// Largest data of a command: what buffers are made for.
const DATA_BYTES_MAX: u64 = 4 << 20;

/// The queue pair that is used.
const IO: QueueId = QueueId(1);
const ADMIN: QueueId = QueueId(0);

/// Data of a command that is under way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    ticket: Ticket,
    buffer: Option<Buffer>,
    /// Bytes that come from the drive.
    receives: usize,
}

/// A way to a drive by a driver with an I/O queue pair, number 1.
#[derive(Debug)]
pub struct Direct<P> {
    /// The driver. What is submitted to it directly must also be waited for directly.
    pub driver: Driver<P>,
    under_way: HashMap<(QueueId, u16), UnderWay>,
    next: u64,
}

impl<P: Port> Direct<P> {
    /// Uses a driver that has at least one I/O queue pair.
    pub fn new(driver: Driver<P>) -> Self {
        Self { driver, under_way: HashMap::new(), next: 0 }
    }

    /// What a completion means that was taken from the driver; `None` if it is not of a command that was submitted here.
    pub fn completed(&mut self, completion: Completion) -> Option<Done> {
        let known = self.under_way.remove(&(completion.queue, completion.cid))?;
        let UnderWay { ticket, buffer, receives } = known;
        let mut data = vec![0; receives];
        if let Some(buffer) = buffer {
            self.driver.port.memory().get(buffer.address, &mut data);
            self.driver.port.memory().release(buffer);
        }
        let Completion { status, result, .. } = completion;
        Some(Done { ticket, status, kernel_error: None, result, data })
    }
}

fn queue(lane: Lane) -> QueueId {
    match lane {
        Lane::Admin => ADMIN,
        Lane::Io => IO,
    }
}

impl<P: Port + std::fmt::Debug> Submit for Direct<P> {
    fn submit(&mut self, command: Command) -> Result<Ticket, TransportError> {
        let queue = queue(command.lane);
        if !self.driver.has_room(queue) {
            let taken = self.under_way.keys().filter(|(q, _)| *q == queue).count();
            return Err(TransportError::Full(taken));
        }
        let memory = self.driver.port.memory();
        // Powers of two, so that what one command gives back serves another of about its size.
        let allocate = |memory: &mut P::Memory, len: usize| {
            memory.allocate((len as u64).max(PAGE_SIZE).next_power_of_two())
        };
        let (buffer, len) = match &command.data {
            Data::None => (None, 0),
            Data::ToDrive(bytes) => {
                let buffer = allocate(memory, bytes.len());
                memory.put(buffer.address, bytes);
                (Some(buffer), bytes.len())
            }
            Data::FromDrive(len) => (Some(allocate(memory, *len)), *len),
        };
        let entry = match &buffer {
            Some(buffer) if len > 0 => {
                commands::with_data(command.entry, memory.prps(buffer, len as u64))
            }
            _ => command.entry,
        };
        let ticket = Ticket(self.next);
        self.next += 1;
        let receives = command.data.received();
        let cid = self.driver.submit(queue, entry);
        self.under_way.insert((queue, cid), UnderWay { ticket, buffer, receives });
        Ok(ticket)
    }

    fn wait_at_most(&mut self, limit: Option<Duration>) -> Result<Option<Done>, TransportError> {
        if self.under_way.is_empty() {
            return Err(TransportError::Idle);
        }
        // What else completes belongs to a user of the driver itself.
        let is_one = |queue, cid| self.under_way.contains_key(&(queue, cid));
        let completion = match self.driver.next_completion_of(is_one, limit) {
            Next::Completed(completion) => completion,
            Next::NotYet => return Ok(None),
            Next::Never => return Err(TransportError::Gone),
        };
        self.completed(completion).map(Some).ok_or(TransportError::Gone)
    }

    fn room(&self, lane: Lane) -> usize {
        self.driver.room(queue(lane))
    }

    fn data_bytes_max(&self) -> u64 {
        DATA_BYTES_MAX
    }
}
