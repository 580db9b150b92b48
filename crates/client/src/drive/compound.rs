//! Compound executions: a copy, a run and a read-back in one command.

use nvme_spec::command::{CompoundCdw13, ExecuteCdw2};
use nvme_spec::namespace::COMPUTE_NSID;
use nvme_spec::{ProgramOpcode, Status, SubmissionEntry};
use zerocopy::FromZeros;

use super::programs::EXECUTE;
use super::{Drive, DriveError, DriveResult, succeeded};
use crate::transport::{Command, Data, Lane, Submit};

/// Most bytes of the input of a compound execution.
const COMPOUND_BYTES_MAX: u64 = 32 << 20;

/// An execution on blocks that the drive copies to memory of its own, and whose output comes with the completion (vendor specific).
/// The program's range 0 is the output, range 1 the blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compound {
    /// Program index.
    pub program: u16,
    /// First block.
    pub first: u64,
    /// Number of blocks.
    pub count: u32,
    /// Bytes of the output.
    pub output: u32,
    /// First parameter.
    pub param1: i64,
    /// Identifier of a range set, whose ranges come behind those two; 0 = none.
    pub range_set: u16,
    /// Job group, 0 = none.
    pub group: u8,
    /// The run begins on the first pages of its input, while later ones are on their way.
    pub early: bool,
}

impl Compound {
    /// The submission queue entry, for blocks of this namespace.
    fn entry(&self, nsid: u32) -> SubmissionEntry {
        let mut entry = SubmissionEntry::new_zeroed();
        entry.opcode = ProgramOpcode::EXECUTE_COMPOUND.0;
        entry.nsid.set(COMPUTE_NSID);
        let cdw2 = ExecuteCdw2::new().with_pind(self.program).with_rsid(self.range_set);
        entry.cdw2.set(cdw2.into_bits());
        entry.cdw3.set(self.output);
        entry.cdw10.set(self.first as u32);
        entry.cdw11.set((self.first >> 32) as u32);
        entry.cdw12.set(self.count - 1);
        let cdw13 = CompoundCdw13::new().with_nsid(nsid as u16).with_group(self.group);
        entry.cdw13.set(cdw13.with_early(self.early).into_bits());
        entry.cdw14.set(self.param1 as u32);
        entry.cdw15.set((self.param1 as u64 >> 32) as u32);
        entry
    }
}

impl<T: Submit> Drive<T> {
    /// A compound execution, not yet sent; [`Self::start`] sends it.
    ///
    /// # Errors
    /// If it has no blocks, or no drive has them.
    pub fn compound_command(&self, compound: &Compound) -> DriveResult<Command> {
        if compound.count == 0 {
            return Err(DriveError::TooMuch("a compound execution on no blocks".to_owned()));
        }
        self.check_blocks(compound.first, compound.count.into())?;
        let most = self.geometry.transfer_bytes_max;
        if u64::from(compound.output) > most {
            let what = format!(
                "an output of {} bytes (a command carries at most {most})",
                compound.output
            );
            return Err(DriveError::TooMuch(what));
        }
        let input = u64::from(compound.count) * self.geometry.block_bytes;
        if input > COMPOUND_BYTES_MAX {
            let what = format!(
                "{input} bytes of input (a compound execution takes at most {COMPOUND_BYTES_MAX})"
            );
            return Err(DriveError::TooMuch(what));
        }
        let entry = self.of_programs(compound.entry(self.geometry.namespaces.nvm));
        let data = match compound.output {
            0 => Data::None,
            len => Data::FromDrive(len as usize),
        };
        Ok(Command { name: EXECUTE, lane: Lane::Io, entry, data, is_execution: true })
    }

    /// Executes a program on blocks in one command; what it returned, and its output.
    ///
    /// # Errors
    /// If the drive refuses, or has no memory of its own left; the detail says where it failed.
    pub fn execute_compound(&mut self, compound: &Compound) -> DriveResult<(u64, Vec<u8>)> {
        let ticket = self.start(self.compound_command(compound)?)?;
        let done = self.wait_for(ticket)?;
        let done = self.with_detail(succeeded(EXECUTE, done), |drive, status| {
            if status.same_code(Status::CAPACITY_EXCEEDED) {
                let full =
                    "the drive's own memory is given out: memory.own_size is how much it has";
                return Ok(Some(full.to_owned()));
            }
            drive.step_diagnostics()
        })?;
        Ok((done.result, done.data))
    }
}
