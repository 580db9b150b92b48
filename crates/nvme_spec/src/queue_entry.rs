//! Submission and completion queue entries (Base 2.1, sections 4.1 and 4.2).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{SglDescriptor, Status};

/// Submission queue entry, 64 bytes (Base 2.1, Figure 92).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SubmissionEntry {
    /// Opcode.
    pub opcode: u8,
    /// FUSE in bits 1:0, PSDT in bits 7:6.
    pub flags: u8,
    /// Command identifier.
    pub cid: U16,
    /// Namespace identifier.
    pub nsid: U32,
    /// Command dword 2.
    pub cdw2: U32,
    /// Command dword 3.
    pub cdw3: U32,
    /// Command dword 4: low half of the metadata pointer; DLEN in Execute Program.
    pub cdw4: U32,
    /// Command dword 5: high half of the metadata pointer.
    pub cdw5: U32,
    /// PRP entry 1.
    pub prp1: U64,
    /// PRP entry 2.
    pub prp2: U64,
    /// Command dword 10.
    pub cdw10: U32,
    /// Command dword 11.
    pub cdw11: U32,
    /// Command dword 12.
    pub cdw12: U32,
    /// Command dword 13.
    pub cdw13: U32,
    /// Command dword 14.
    pub cdw14: U32,
    /// Command dword 15.
    pub cdw15: U32,
}

const _: () = assert!(size_of::<SubmissionEntry>() == SubmissionEntry::SIZE);

impl SubmissionEntry {
    /// Bytes of one entry: the only entry size the specification allows (SQES = 6).
    pub const SIZE: usize = 64;

    /// PSDT, bits 7:6 of the flags: 0 = PRP, 1 and 2 = SGL.
    pub fn psdt(&self) -> u8 {
        self.flags >> 6
    }

    /// FUSE, bits 1:0 of the flags: 0 = a command of its own.
    pub fn fuse(&self) -> u8 {
        self.flags & 3
    }

    /// The data pointer as one SGL descriptor.
    pub fn sgl(&self) -> SglDescriptor {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(self.prp1.as_bytes());
        bytes[8..].copy_from_slice(self.prp2.as_bytes());
        SglDescriptor::read_from_bytes(&bytes).expect("a descriptor is 16 bytes")
    }

    /// Dwords 10 and 11 as one value.
    pub fn cdw10_11(&self) -> u64 {
        u64::from(self.cdw10.get()) | u64::from(self.cdw11.get()) << 32
    }

    /// Dwords 12 and 13 as one value.
    pub fn cdw12_13(&self) -> u64 {
        u64::from(self.cdw12.get()) | u64::from(self.cdw13.get()) << 32
    }

    /// Dwords 14 and 15 as one value.
    pub fn cdw14_15(&self) -> u64 {
        u64::from(self.cdw14.get()) | u64::from(self.cdw15.get()) << 32
    }

    /// Dwords 2 and 3 as one value.
    pub fn cdw2_3(&self) -> u64 {
        u64::from(self.cdw2.get()) | u64::from(self.cdw3.get()) << 32
    }
}

/// Completion queue entry, 16 bytes (Base 2.1, Figure 97).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CompletionEntry {
    /// Dwords 0 and 1: command specific result.
    pub result: U64,
    /// Submission queue head pointer.
    pub sqhd: U16,
    /// Submission queue identifier.
    pub sqid: U16,
    /// Command identifier.
    pub cid: U16,
    /// Bit 0: phase tag; bits 15:1: [`Status`].
    pub status_phase: U16,
}

const _: () = assert!(size_of::<CompletionEntry>() == CompletionEntry::SIZE);

impl CompletionEntry {
    /// Bytes of one entry (CQES = 4).
    pub const SIZE: usize = 16;

    /// The status field without the phase tag.
    pub fn status(&self) -> Status {
        Status::from_bits(self.status_phase.get() >> 1)
    }

    /// The phase tag.
    pub fn phase(&self) -> bool {
        self.status_phase.get() & 1 != 0
    }
}
