//! A host that means harm: scripts of bytes that drive a controller in ways no driver would, and
//! what must hold nevertheless. The fuzz targets (`fuzz/`) and a test with random bytes run these.
//!
//! * [`commands`]: any submission queue entries, doorbells, changes of memory under the drive's
//!   hands, resets at any point.
//! * [`data_pointers`]: any PRP entries, PRP lists and SGLs in any memory, against a second
//!   implementation of the specification's rules: what is transferred, what is refused, and that
//!   nothing but the lists and the data is touched.
//! * [`registers`]: any register accesses.
//!
//! Each panics when something does not hold.

mod pointers;
mod script;

pub use pointers::data_pointers;
pub use script::{commands, registers};

use controller::{Config, HostMemory, HostMemoryError};

/// A drive so small that scripts reach all of it.
fn config() -> Config {
    let mut config = Config { memory_bytes: 64 << 10, queue_pairs_max: 4, ..Config::default() };
    config.flash.capacity_bytes = 1 << 20;
    (config.flash.channels, config.flash.dies_per_channel) = (2, 1);
    (config.flash.planes_per_die, config.flash.pages_per_block) = (1, 16);
    config.flash.write_buffer_bytes = 64 << 10;
    config.transfer_bytes_max = 64 << 10;
    config.instruction_budget = 10_000;
    config.instruction_budget_per_byte = 0;
    config.compute.units = 2;
    config
}

/// The bytes of a script; zeroes when it is over.
#[derive(Debug)]
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let n = self.0.len().min(N);
        bytes[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        bytes
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// Host memory that begins at [`Memory::BASE`], with a log of who touched what.
#[derive(Debug)]
struct Memory {
    bytes: Vec<u8>,
    reads: std::cell::RefCell<Vec<(u64, u64)>>,
    writes: Vec<(u64, u64)>,
}

impl Memory {
    const BASE: u64 = 0x1000;

    fn new(len: usize) -> Self {
        Self { bytes: vec![0; len], reads: Vec::new().into(), writes: Vec::new() }
    }

    /// Where `len` bytes are, if they are all there.
    fn place(&self, address: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(address.checked_sub(Self::BASE)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    fn forget_accesses(&mut self) {
        self.reads.get_mut().clear();
        self.writes.clear();
    }
}

impl HostMemory for Memory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), HostMemoryError> {
        let len = into.len() as u64;
        let place = self.place(address, into.len()).ok_or(HostMemoryError { address, len })?;
        self.reads.borrow_mut().push((address, len));
        into.copy_from_slice(&self.bytes[place]);
        Ok(())
    }

    fn write(&mut self, address: u64, from: &[u8]) -> Result<(), HostMemoryError> {
        let len = from.len() as u64;
        let place = self.place(address, from.len()).ok_or(HostMemoryError { address, len })?;
        self.writes.push((address, len));
        self.bytes[place].copy_from_slice(from);
        Ok(())
    }
}
