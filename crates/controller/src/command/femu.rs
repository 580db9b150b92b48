//! FEMU's commands for computational storage (hw/femu/csd/csd.h), which CEMU's hosts send, too. Identifiers begin with 1.

use nvme_spec::command::{MemoryRangeDescriptor, RunTime};
use nvme_spec::{FemuAdminOpcode, FemuOpcode, Status, SubmissionEntry};

use crate::command::{ExecuteProgram, GroupAction, GroupFields};
use crate::limits::RANGES_PER_SET_MAX;

/// A part of the memory that was allocated under an identifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) id: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// An I/O command of this dialect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FemuCommand {
    Allocate { bytes: u64 },
    Deallocate { id: u32 },
    Copy { first: u64, count: u32, id: u32, offset: u64 },
    Execute(ExecuteProgram),
    Read(Part),
    Write(Part),
    Group(GroupAction),
}

/// One piece of what a program is loaded from: a path, a zero byte, the name of a function, a zero byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FemuLoad {
    pub(crate) program_index: u16,
    pub(crate) program_type: u8,
    pub(crate) run_time: RunTime,
    pub(crate) scale_tenths: u16,
    pub(crate) identifier: u64,
    /// Bytes of all pieces.
    pub(crate) total: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// An admin command of this dialect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FemuAdminCommand {
    CreateRangeSet { count: u8 },
    DeleteRangeSet { rsid: u16 },
    Load(FemuLoad),
    Unload { program_index: u16 },
    Activate { program_index: u16, activate: bool },
}

/// A time that a host declares, in nanoseconds; 0 = none.
fn declared(ns: u32) -> RunTime {
    if ns == 0 { RunTime::Unsaid } else { RunTime::Declared(ns) }
}

fn invalid<T>() -> Result<T, Status> {
    Err(Status::INVALID_FIELD.with_dnr())
}

impl FemuCommand {
    pub(crate) fn decode(entry: &SubmissionEntry) -> Result<Self, Status> {
        let part =
            || Part { id: entry.cdw14.get(), offset: entry.cdw10_11(), len: entry.cdw12_13() };
        let fields = || GroupFields {
            weight: compute::DEFAULT_WEIGHT,
            priority: entry.cdw10.get() as u8,
            bandwidth_kbps: entry.cdw11.get(),
            deadline_us: entry.cdw12.get(),
            units_max: 0,
            unit_mask: 0,
        };
        match FemuOpcode(entry.opcode) {
            // A type of memory other than the host's is not defined.
            FemuOpcode::ALLOCATE if entry.cdw12.get() & 0xFF != 0 => invalid(),
            FemuOpcode::ALLOCATE => Ok(Self::Allocate { bytes: entry.cdw10_11() }),
            FemuOpcode::DEALLOCATE => Ok(Self::Deallocate { id: entry.cdw10.get() }),
            FemuOpcode::COPY_BLOCKS => Ok(Self::Copy {
                first: entry.cdw10_11(),
                count: u32::from(entry.cdw12.get() as u16) + 1,
                id: entry.cdw13.get(),
                offset: entry.cdw14_15(),
            }),
            FemuOpcode::EXECUTE => execute(entry).map(Self::Execute),
            FemuOpcode::READ => Ok(Self::Read(part())),
            FemuOpcode::WRITE => Ok(Self::Write(part())),
            FemuOpcode::CREATE_GROUP => Ok(Self::Group(GroupAction::Create(fields()))),
            FemuOpcode::SET_QOS => {
                let group = u16::try_from(entry.cdw13.get()).unwrap_or(u16::MAX);
                Ok(Self::Group(GroupAction::Change(group, fields())))
            }
            FemuOpcode::DELETE_GROUP => {
                let group = u16::try_from(entry.cdw10.get()).unwrap_or(u16::MAX);
                Ok(Self::Group(GroupAction::Delete { group }))
            }
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        }
    }
}

/// Execute: ranges are those of a set, or stand in the data buffer.
fn execute(entry: &SubmissionEntry) -> Result<ExecuteProgram, Status> {
    let (cdw2, inline_ranges) = (entry.cdw2.get(), entry.cdw3.get() as usize);
    let (program_index, rsid) = (cdw2 as u16, (cdw2 >> 16) as u16);
    if program_index == 0 || (rsid == 0) == (inline_ranges == 0) {
        return invalid();
    }
    if inline_ranges > usize::from(RANGES_PER_SET_MAX) {
        return Err(Status::MAXIMUM_MEMORY_RANGES_EXCEEDED.with_dnr());
    }
    let descriptors = (inline_ranges * size_of::<MemoryRangeDescriptor>()) as u64;
    let data_len = match (rsid, entry.cdw4.get()) {
        (0, 0) => descriptors,
        (0, len) => u64::from(len),
        // Ranges of a set leave no data.
        _ => 0,
    };
    if data_len < descriptors {
        return invalid();
    }
    Ok(ExecuteProgram {
        program_index,
        rsid,
        inline_ranges,
        data_len,
        param1: entry.cdw10_11(),
        param2: entry.cdw12_13(),
        group: entry.cdw14.get() as u8,
        run_time: declared(entry.cdw15.get()),
    })
}

impl FemuAdminCommand {
    /// The command, if the opcode is one of this dialect's.
    pub(crate) fn decode(entry: &SubmissionEntry) -> Option<Result<Self, Status>> {
        let (cdw10, cdw11) = (entry.cdw10.get(), entry.cdw11.get());
        let program_index = cdw10 as u16;
        let command = match FemuAdminOpcode(entry.opcode) {
            FemuAdminOpcode::MEMORY_RANGE_SET => {
                let rsid = (cdw10 >> 16) as u16;
                match (cdw10 & 0xF, rsid) {
                    (0, 0) => Ok(Self::CreateRangeSet { count: cdw11 as u8 }),
                    (1, _) => Ok(Self::DeleteRangeSet { rsid }),
                    _ => invalid(),
                }
            }
            FemuAdminOpcode::PROGRAM_ACTIVATION => match cdw10 >> 16 & 0xF {
                sel @ 0..=1 => Ok(Self::Activate { program_index, activate: sel == 1 }),
                _ => invalid(),
            },
            FemuAdminOpcode::LOAD_PROGRAM | FemuAdminOpcode::LOAD_PROGRAM_DATA => {
                match cdw10 >> 24 & 1 {
                    1 => Ok(Self::Unload { program_index }),
                    _ => Ok(Self::Load(FemuLoad {
                        program_index,
                        program_type: (cdw10 >> 16) as u8,
                        run_time: declared(entry.cdw3.get()),
                        scale_tenths: (entry.cdw2.get() >> 16) as u16,
                        identifier: entry.cdw12_13(),
                        total: cdw11,
                        len: entry.cdw14.get(),
                        offset: entry.cdw15.get(),
                    })),
                }
            }
            _ => return None,
        };
        match command {
            Ok(
                Self::Load(FemuLoad { program_index: 0, .. })
                | Self::Unload { program_index: 0 }
                | Self::Activate { program_index: 0, .. },
            ) => Some(invalid()),
            other => Some(other),
        }
    }
}
