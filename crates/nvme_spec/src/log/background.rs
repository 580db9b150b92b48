//! Log pages of operations that run in the background.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Device self-test, LID 06h, 564 bytes (Base 2.1, Figure 211).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SelfTestLog {
    /// Operation in progress: 0 none, 1 short, 2 extended.
    pub current_operation: u8,
    /// Percent done.
    pub completion: u8,
    /// Reserved.
    pub reserved2: [u8; 2],
    /// Results, newest first; Fh in the low half of the first byte of an unused one.
    pub results: [SelfTestResult; 20],
}

const _: () = assert!(size_of::<SelfTestLog>() == 564);

/// Self-test result, 28 bytes (Base 2.1, Figure 212).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SelfTestResult {
    /// Result (bits 3:0): 0 passed, 1 aborted by command, 2 by controller reset, 4 by format, Fh
    /// unused, 9 by sanitize; self-test code (bits 7:4).
    pub status: u8,
    /// Segment that failed.
    pub segment: u8,
    /// Which of the next fields are valid.
    pub valid: u8,
    /// Reserved.
    pub reserved3: u8,
    /// Power on hours at the end of the test.
    pub power_on_hours: U64,
    /// Namespace that failed.
    pub nsid: U32,
    /// Block that failed.
    pub failing_lba: U64,
    /// Status code type.
    pub sct: u8,
    /// Status code.
    pub sc: u8,
    /// Vendor specific.
    pub vendor: [u8; 2],
}

const _: () = assert!(size_of::<SelfTestResult>() == 28);

/// Sanitize status, LID 81h, 512 bytes (Base 2.1, Figure 285).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SanitizeLog {
    /// Progress in 65536ths; FFFFh when none runs.
    pub sprog: U16,
    /// Status of the last operation (bits 2:0: 0 never, 1 success, 2 in progress, 3 failed),
    /// overwrite passes done (bits 7:3), global data erased (bit 8).
    pub sstat: U16,
    /// Dword 10 of the last Sanitize command.
    pub scdw10: U32,
    /// Estimated seconds of an overwrite, a block erase, a crypto erase; then of each without
    /// deallocation. FFFFFFFFh = not reported.
    pub estimates: [U32; 6],
    /// Reserved.
    pub reserved32: [u8; 480],
}

const _: () = assert!(size_of::<SanitizeLog>() == 512);

impl Default for SanitizeLog {
    fn default() -> Self {
        Self::new_zeroed()
    }
}
