//! Status field: status code type, status code and the retry bits (Base 2.1, section 4.2.3).

use core::fmt;

/// The 15-bit status field of a completion, without the phase tag:
/// SC in bits 7:0, SCT in 10:8, CRD in 12:11, More in 13, Do Not Retry in 14.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Status(u16);

impl Status {
    /// A status of the given type and code, without retry bits.
    pub const fn new(sct: u8, sc: u8) -> Self {
        Self(((sct as u16) & 7) << 8 | sc as u16)
    }

    /// From the 15 bits of the completion's status field.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x7FFF)
    }

    /// The 15 bits of the completion's status field.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Status code type.
    pub const fn sct(self) -> u8 {
        (self.0 >> 8) as u8 & 7
    }

    /// Status code.
    pub const fn sc(self) -> u8 {
        self.0 as u8
    }

    /// Do Not Retry: the same command would fail again.
    pub const fn dnr(self) -> bool {
        self.0 & 1 << 14 != 0
    }

    /// The same status with Do Not Retry set.
    #[must_use]
    pub const fn with_dnr(self) -> Self {
        Self(self.0 | 1 << 14)
    }

    /// True for Successful Completion.
    pub const fn is_success(self) -> bool {
        self.0 & 0x7FF == 0
    }

    /// Same type and code, whatever the retry bits say.
    pub const fn same_code(self, other: Self) -> bool {
        self.0 & 0x7FF == other.0 & 0x7FF
    }

    /// True if a program was stopped; the diagnostics log says why.
    pub const fn is_program_fault(self) -> bool {
        self.sct() == 1
            && self.sc() >= Self::PROGRAM_MEMORY_FAULT.sc()
            && self.sc() <= Self::PROGRAM_SYSTEM_CALL_REFUSED.sc()
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SCT {:x}h SC {:02x}h)", self.name(), self.sct(), self.sc())
    }
}

macro_rules! statuses {
    ($($name:ident = ($sct:literal, $sc:literal), $text:literal;)*) => {
        impl Status {
            $(#[doc = $text] pub const $name: Self = Self::new($sct, $sc);)*

            /// Every status named here.
            pub const ALL: &'static [Self] = &[$(Self::new($sct, $sc)),*];

            /// The specification's name of this status, or "Unknown Status".
            pub const fn name(self) -> &'static str {
                match (self.sct(), self.sc()) {
                    $(($sct, $sc) => $text,)*
                    _ => "Unknown Status",
                }
            }
        }
    };
}

statuses! {
    SUCCESS = (0, 0x00), "Successful Completion";
    INVALID_OPCODE = (0, 0x01), "Invalid Command Opcode";
    INVALID_FIELD = (0, 0x02), "Invalid Field in Command";
    COMMAND_ID_CONFLICT = (0, 0x03), "Command ID Conflict";
    DATA_TRANSFER_ERROR = (0, 0x04), "Data Transfer Error";
    INTERNAL_ERROR = (0, 0x06), "Internal Error";
    ABORT_REQUESTED = (0, 0x07), "Command Abort Requested";
    ABORTED_SQ_DELETION = (0, 0x08), "Command Aborted due to SQ Deletion";
    ABORTED_FAILED_FUSED = (0, 0x09), "Command Aborted due to Failed Fused Command";
    ABORTED_MISSING_FUSED = (0, 0x0A), "Command Aborted due to Missing Fused Command";
    INVALID_NAMESPACE = (0, 0x0B), "Invalid Namespace or Format";
    COMMAND_SEQUENCE_ERROR = (0, 0x0C), "Command Sequence Error";
    INVALID_SGL_SEGMENT = (0, 0x0D), "Invalid SGL Segment Descriptor";
    INVALID_SGL_COUNT = (0, 0x0E), "Invalid Number of SGL Descriptors";
    INVALID_SGL_LENGTH = (0, 0x0F), "Data SGL Length Invalid";
    INVALID_SGL_TYPE = (0, 0x11), "SGL Descriptor Type Invalid";
    INVALID_PRP_OFFSET = (0, 0x13), "PRP Offset Invalid";
    SANITIZE_IN_PROGRESS = (0, 0x1D), "Sanitize In Progress";
    WRITE_PROTECTED = (0, 0x20), "Namespace is Write Protected";
    FDP_DISABLED = (0, 0x29), "FDP Disabled";
    INVALID_PLACEMENT_HANDLE_LIST = (0, 0x2A), "Invalid Placement Handle List";
    KEEP_ALIVE_EXPIRED = (0, 0x19), "Keep Alive Timeout Expired";
    LBA_OUT_OF_RANGE = (0, 0x80), "LBA Out of Range";
    CAPACITY_EXCEEDED = (0, 0x81), "Capacity Exceeded";
    FORMAT_IN_PROGRESS = (0, 0x84), "Format In Progress";
    INVALID_COMPLETION_QUEUE = (1, 0x00), "Completion Queue Invalid";
    INVALID_QUEUE_IDENTIFIER = (1, 0x01), "Invalid Queue Identifier";
    INVALID_QUEUE_SIZE = (1, 0x02), "Invalid Queue Size";
    ABORT_LIMIT_EXCEEDED = (1, 0x03), "Abort Command Limit Exceeded";
    EVENT_LIMIT_EXCEEDED = (1, 0x05), "Asynchronous Event Request Limit Exceeded";
    INVALID_INTERRUPT_VECTOR = (1, 0x08), "Invalid Interrupt Vector";
    INVALID_LOG_PAGE = (1, 0x09), "Invalid Log Page";
    INVALID_FORMAT = (1, 0x0A), "Invalid Format";
    INVALID_QUEUE_DELETION = (1, 0x0C), "Invalid Queue Deletion";
    FEATURE_NOT_SAVEABLE = (1, 0x0D), "Feature Identifier Not Saveable";
    FEATURE_NOT_CHANGEABLE = (1, 0x0E), "Feature Not Changeable";
    FEATURE_NOT_NAMESPACE_SPECIFIC = (1, 0x0F), "Feature Not Namespace Specific";
    NAMESPACE_INSUFFICIENT_CAPACITY = (1, 0x15), "Namespace Insufficient Capacity";
    NAMESPACE_IDENTIFIER_UNAVAILABLE = (1, 0x16), "Namespace Identifier Unavailable";
    NAMESPACE_ALREADY_ATTACHED = (1, 0x18), "Namespace Already Attached";
    NAMESPACE_NOT_ATTACHED = (1, 0x1A), "Namespace Not Attached";
    THIN_PROVISIONING_NOT_SUPPORTED = (1, 0x1B), "Thin Provisioning Not Supported";
    CONTROLLER_LIST_INVALID = (1, 0x1C), "Controller List Invalid";
    SELF_TEST_IN_PROGRESS = (1, 0x1D), "Device Self-test In Progress";
    COMMAND_SET_NOT_SUPPORTED = (1, 0x29), "I/O Command Set Not Supported";
    COMMAND_SET_COMBINATION_REJECTED = (1, 0x2B), "I/O Command Set Combination Rejected";
    CONFLICTING_ATTRIBUTES = (1, 0x80), "Conflicting Attributes";
    INVALID_PROTECTION_INFORMATION = (1, 0x81), "Invalid Protection Information";
    WRITE_TO_READ_ONLY_RANGE = (1, 0x82), "Attempted Write to Read Only Range";
    COMMAND_SIZE_LIMIT_EXCEEDED = (1, 0x83), "Command Size Limit Exceeded";
    INCOMPATIBLE_NAMESPACE = (1, 0x85), "Incompatible Namespace or Format";
    FAST_COPY_NOT_POSSIBLE = (1, 0x86), "Fast Copy Not Possible";
    OVERLAPPING_IO_RANGE = (1, 0x87), "Overlapping I/O Range";
    NAMESPACE_NOT_REACHABLE = (1, 0x88), "Namespace Not Reachable";
    INSUFFICIENT_RESOURCES = (1, 0x89), "Insufficient Resources";
    INSUFFICIENT_PROGRAM_RESOURCES = (1, 0x8A), "Insufficient Program Resources";
    INVALID_MEMORY_NAMESPACE = (1, 0x8B), "Invalid Memory Namespace";
    INVALID_MEMORY_RANGE_SET = (1, 0x8C), "Invalid Memory Range Set";
    INVALID_MEMORY_RANGE_SET_ID = (1, 0x8D), "Invalid Memory Range Set Identifier";
    INVALID_PROGRAM_DATA = (1, 0x8E), "Invalid Program Data";
    INVALID_PROGRAM_INDEX = (1, 0x8F), "Invalid Program Index";
    INVALID_PROGRAM_TYPE = (1, 0x90), "Invalid Program Type";
    MAXIMUM_MEMORY_RANGES_EXCEEDED = (1, 0x91), "Maximum Memory Ranges Exceeded";
    MAXIMUM_MEMORY_RANGE_SETS_EXCEEDED = (1, 0x92), "Maximum Memory Range Sets Exceeded";
    MAXIMUM_PROGRAMS_ACTIVATED = (1, 0x93), "Maximum Programs Activated";
    MAXIMUM_PROGRAM_BYTES_EXCEEDED = (1, 0x94), "Maximum Program Bytes Exceeded";
    MEMORY_RANGE_SET_IN_USE = (1, 0x95), "Memory Range Set In Use";
    NO_PROGRAM = (1, 0x96), "No Program";
    OVERLAPPING_MEMORY_RANGES = (1, 0x97), "Overlapping Memory Ranges";
    PROGRAM_NOT_ACTIVATED = (1, 0x98), "Program Not Activated";
    PROGRAM_IN_USE = (1, 0x99), "Program In Use";
    PROGRAM_INDEX_NOT_DOWNLOADABLE = (1, 0x9A), "Program Index Not Downloadable";
    PROGRAM_TOO_BIG = (1, 0x9B), "Program Too Big";
    ZONE_BOUNDARY_ERROR = (1, 0xB8), "Zone Boundary Error";
    ZONE_IS_FULL = (1, 0xB9), "Zone Is Full";
    ZONE_INVALID_WRITE = (1, 0xBC), "Zone Invalid Write";
    TOO_MANY_ACTIVE_ZONES = (1, 0xBD), "Too Many Active Zones";
    TOO_MANY_OPEN_ZONES = (1, 0xBE), "Too Many Open Zones";
    INVALID_ZONE_STATE_TRANSITION = (1, 0xBF), "Invalid Zone State Transition";
    WRITE_FAULT = (2, 0x80), "Write Fault";
    UNRECOVERED_READ_ERROR = (2, 0x81), "Unrecovered Read Error";
    COMPARE_FAILURE = (2, 0x85), "Compare Failure";
    UNWRITTEN_BLOCK = (2, 0x87), "Deallocated or Unwritten Logical Block";
    PROGRAM_MEMORY_FAULT = (1, 0xC0), "Program Memory Fault (csdrive)";
    PROGRAM_BUDGET_EXCEEDED = (1, 0xC1), "Program Instruction Budget Exceeded (csdrive)";
    PROGRAM_CALL_DEPTH_EXCEEDED = (1, 0xC2), "Program Call Depth Exceeded (csdrive)";
    PROGRAM_HELPER_FAULT = (1, 0xC3), "Program Helper Fault (csdrive)";
    PROGRAM_CRASHED = (1, 0xC4), "Program Crashed (csdrive)";
    PROGRAM_SYSTEM_CALL_REFUSED = (1, 0xC5), "Program System Call Refused (csdrive)";
    INVALID_JOB_GROUP = (1, 0xC8), "Invalid Job Group (csdrive)";
    JOB_GROUP_IN_USE = (1, 0xC9), "Job Group In Use (csdrive)";
    MAXIMUM_JOB_GROUPS_EXCEEDED = (1, 0xCA), "Maximum Job Groups Exceeded (csdrive)";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_bits_match_the_completion_layout() {
        let status = Status::new(1, 0x8E).with_dnr();
        assert_eq!((status.sct(), status.sc(), status.dnr()), (1, 0x8E, true));
        assert_eq!(status.bits(), 1 << 14 | 1 << 8 | 0x8E);
        assert!(status.same_code(Status::INVALID_PROGRAM_DATA));
        assert_eq!(status.name(), "Invalid Program Data");
        assert!(!status.is_success() && Status::SUCCESS.is_success());
    }
}
