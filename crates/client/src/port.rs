//! The way to a controller.

use std::time::Duration;

use crate::memory::DmaMemory;

/// What a driver needs of the way to a controller.
pub trait Port {
    /// Memory that the controller reaches too.
    type Memory: DmaMemory;

    /// Reads 4 or 8 bytes of BAR0.
    fn register_read(&mut self, at: u64, size: usize) -> u64;

    /// Writes 4 or 8 bytes of BAR0.
    fn register_write(&mut self, at: u64, size: usize, value: u64);

    /// Memory that the controller reaches too.
    fn memory(&mut self) -> &mut Self::Memory;

    /// A doorbell was rung or memory that stands for one was written: lets the controller see it.
    fn settle(&mut self);

    /// Lets the controller work until it may have completed something, or for about so long (a simulated one: until
    /// the former); false if nothing that is under way ever will.
    fn wait(&mut self, limit: Option<Duration>) -> bool;

    /// A completion was taken from memory: the controller is at work.
    fn answered(&mut self) {}

    /// Takes the interrupt vectors raised since the last call, in order, into a buffer that is
    /// empty.
    fn take_interrupts(&mut self, vectors: &mut Vec<u16>);
}
