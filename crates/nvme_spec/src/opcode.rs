//! Opcodes of the admin command set and of the I/O command sets.

use crate::CommandSet;

macro_rules! opcodes {
    ($(#[$doc:meta])* $type:ident { $($(#[$cdoc:meta])* $name:ident = $value:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $type(pub u8);

        impl $type {
            $(#[doc = $text] pub const $name: Self = Self($value);)*

            /// Every opcode named here, ascending.
            pub const ALL: &'static [Self] = &[$(Self($value)),*];

            /// The command's name in the specification, if it is one of ours.
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($value => Some($text),)* _ => None }
            }
        }
    };
}

opcodes! {
    /// Admin opcodes (Base 2.1, Figure 89).
    AdminOpcode {
        DELETE_SQ = 0x00, "Delete I/O Submission Queue";
        CREATE_SQ = 0x01, "Create I/O Submission Queue";
        GET_LOG_PAGE = 0x02, "Get Log Page";
        DELETE_CQ = 0x04, "Delete I/O Completion Queue";
        CREATE_CQ = 0x05, "Create I/O Completion Queue";
        IDENTIFY = 0x06, "Identify";
        ABORT = 0x08, "Abort";
        SET_FEATURES = 0x09, "Set Features";
        GET_FEATURES = 0x0A, "Get Features";
        ASYNC_EVENT_REQUEST = 0x0C, "Asynchronous Event Request";
        NAMESPACE_MANAGEMENT = 0x0D, "Namespace Management";
        SELF_TEST = 0x14, "Device Self-test";
        NAMESPACE_ATTACHMENT = 0x15, "Namespace Attachment";
        KEEP_ALIVE = 0x18, "Keep Alive";
        DOORBELL_BUFFER_CONFIG = 0x7C, "Doorbell Buffer Config";
        FORMAT_NVM = 0x80, "Format NVM";
        SANITIZE = 0x84, "Sanitize";
        LOAD_PROGRAM = 0x85, "Load Program";
        PROGRAM_ACTIVATION = 0x88, "Program Activation Management";
        MEMORY_RANGE_SET = 0x89, "Memory Range Set Management";
        JOB_GROUP = 0xC0, "Job Group Management (csdrive)";
        MARK = 0xC1, "Mark (csdrive)";
    }
}

opcodes! {
    /// NVM command set opcodes (NVM Command Set 1.2, Figure 21).
    NvmOpcode {
        FLUSH = 0x00, "Flush";
        WRITE = 0x01, "Write";
        READ = 0x02, "Read";
        COMPARE = 0x05, "Compare";
        WRITE_ZEROES = 0x08, "Write Zeroes";
        DATASET_MANAGEMENT = 0x09, "Dataset Management";
        VERIFY = 0x0C, "Verify";
        IO_MANAGEMENT_RECEIVE = 0x12, "I/O Management Receive";
        COPY = 0x19, "Copy";
        IO_MANAGEMENT_SEND = 0x1D, "I/O Management Send";
    }
}

opcodes! {
    /// Zoned Namespace opcodes beside those of the NVM command set (Zoned Namespace Command Set 1.2, section 3).
    ZoneOpcode {
        MANAGEMENT_SEND = 0x79, "Zone Management Send";
        MANAGEMENT_RECEIVE = 0x7A, "Zone Management Receive";
        APPEND = 0x7D, "Zone Append";
    }
}

opcodes! {
    /// Subsystem Local Memory opcodes (`docs/conformance.md`, "Memory Fill opcode").
    MemoryOpcode {
        COPY = 0x01, "Memory Copy";
        READ = 0x02, "Memory Read";
        FILL = 0x04, "Memory Fill";
        WRITE = 0x05, "Memory Write";
    }
}

opcodes! {
    /// Computational Programs I/O opcodes.
    ProgramOpcode {
        EXECUTE = 0x01, "Execute Program";
        EXECUTE_STREAM = 0x81, "Execute Program, streaming (csdrive)";
        EXECUTE_COMPOUND = 0x82, "Execute Program, compound (csdrive)";
    }
}

opcodes! {
    /// FEMU's admin commands for computational storage, which an early draft had (hw/femu/csd/csd.h); for drives that speak its
    /// dialect. NVMe 2.1 has other uses of some of these numbers.
    FemuAdminOpcode {
        MEMORY_RANGE_SET = 0x21, "Memory Range Set Management (FEMU)";
        LOAD_PROGRAM = 0x22, "Load Program (FEMU)";
        PROGRAM_ACTIVATION = 0x23, "Program Activation Management (FEMU)";
        LOAD_PROGRAM_DATA = 0x25, "Load Program with data (FEMU)";
    }
}

opcodes! {
    /// FEMU's I/O commands for computational storage, for an NVM namespace; for drives that speak its dialect.
    FemuOpcode {
        ALLOCATE = 0xB0, "Allocate Device Memory (FEMU)";
        DEALLOCATE = 0xC0, "Deallocate Device Memory (FEMU)";
        COPY_BLOCKS = 0xD0, "Copy Blocks to Device Memory (FEMU)";
        EXECUTE = 0xE1, "Execute Program (FEMU)";
        READ = 0xF2, "Read Device Memory (FEMU)";
        WRITE = 0xF5, "Write Device Memory (FEMU)";
        CREATE_GROUP = 0xF6, "Create Job Group (FEMU)";
        SET_QOS = 0xF7, "Set Quality of Service (FEMU)";
        DELETE_GROUP = 0xF8, "Delete Job Group (FEMU)";
    }
}

/// The name of a command: `sqid` says whether it is an admin command (0) or one of `set`; `None` if it is none of ours.
pub fn command_name(sqid: u16, set: CommandSet, opcode: u8) -> Option<&'static str> {
    match (sqid, set) {
        (0, _) => AdminOpcode(opcode).name().or(FemuAdminOpcode(opcode).name()),
        (_, CommandSet::MEMORY) => MemoryOpcode(opcode).name(),
        (_, CommandSet::ZONED) => NvmOpcode(opcode).name().or(ZoneOpcode(opcode).name()),
        (_, CommandSet::PROGRAMS) => ProgramOpcode(opcode).name().or(FemuOpcode(opcode).name()),
        _ => NvmOpcode(opcode).name().or(FemuOpcode(opcode).name()),
    }
}
