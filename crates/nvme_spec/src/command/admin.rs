//! Admin command dwords (Base 2.1, section 5).

use bitfield_struct::bitfield;

/// Create I/O Submission/Completion Queue and Delete Queue, dword 10 (Base 2.1, Figure 472).
#[bitfield(u32)]
pub struct QueueCdw10 {
    /// Queue identifier.
    pub qid: u16,
    /// Queue size, zero-based.
    pub qsize_z: u16,
}

/// Create I/O Completion Queue, dword 11 (Base 2.1, Figure 473).
#[bitfield(u32)]
pub struct CreateCqCdw11 {
    /// Physically contiguous.
    pub pc: bool,
    /// Interrupts enabled.
    pub ien: bool,
    #[bits(14)]
    __: u16,
    /// Interrupt vector.
    pub iv: u16,
}

/// Create I/O Submission Queue, dword 11 (Base 2.1, Figure 477).
#[bitfield(u32)]
pub struct CreateSqCdw11 {
    /// Physically contiguous.
    pub pc: bool,
    /// Queue priority.
    #[bits(2)]
    pub qprio: u8,
    #[bits(13)]
    __: u16,
    /// Completion queue identifier.
    pub cqid: u16,
}

/// Identify, dword 10 (Base 2.1, Figure 306).
#[bitfield(u32)]
pub struct IdentifyCdw10 {
    /// Controller or namespace structure.
    pub cns: u8,
    __: u8,
    /// Controller identifier.
    pub cntid: u16,
}

/// Identify, dword 11 (Base 2.1, Figure 307).
#[bitfield(u32)]
pub struct IdentifyCdw11 {
    /// CNS specific identifier.
    pub cnssid: u16,
    __: u8,
    /// Command set identifier.
    pub csi: u8,
}

/// Get Log Page, dword 10 (Base 2.1, Figure 198).
#[bitfield(u32)]
pub struct GetLogCdw10 {
    /// Log page identifier.
    pub lid: u8,
    /// Log specific parameter.
    #[bits(7)]
    pub lsp: u8,
    /// Retain asynchronous event.
    pub rae: bool,
    /// Number of dwords, low 16 bits, zero-based.
    pub numdl: u16,
}

/// Get Log Page, dword 14 (Base 2.1, Figure 202).
#[bitfield(u32)]
pub struct GetLogCdw14 {
    /// UUID index.
    #[bits(7)]
    pub uuid_index: u8,
    #[bits(16)]
    __: u16,
    /// Offset type: 0 = byte offset.
    pub ot: bool,
    /// Command set identifier.
    pub csi: u8,
}

/// Set and Get Features, dword 10 (Base 2.1, Figure 385).
#[bitfield(u32)]
pub struct FeaturesCdw10 {
    /// Feature identifier.
    pub fid: u8,
    /// Select (Get Features): 0 current, 1 default, 2 saved, 3 supported capabilities.
    #[bits(3)]
    pub sel: u8,
    #[bits(20)]
    __: u32,
    /// Save (Set Features).
    pub sv: bool,
}

/// Abort, dword 10 (Base 2.1, Figure 147).
#[bitfield(u32)]
pub struct AbortCdw10 {
    /// Submission queue of the command.
    pub sqid: u16,
    /// Its command identifier.
    pub cid: u16,
}

/// Format NVM, dword 10 (Base 2.1, Figure 189).
#[bitfield(u32)]
pub struct FormatCdw10 {
    /// LBA format, low four bits.
    #[bits(4)]
    pub lbafl: u8,
    /// Metadata settings.
    pub mset: bool,
    /// Protection information.
    #[bits(3)]
    pub pi: u8,
    /// Protection information location.
    pub pil: bool,
    /// Secure erase settings: 0 none, 1 user data erase, 2 cryptographic erase.
    #[bits(3)]
    pub ses: u8,
    /// LBA format, upper two bits.
    #[bits(2)]
    pub lbafu: u8,
    #[bits(18)]
    __: u32,
}

/// Sanitize, dword 10 (Base 2.1, Figure 378).
#[bitfield(u32)]
pub struct SanitizeCdw10 {
    /// Action: 1 exit failure mode, 2 block erase, 3 overwrite, 4 crypto erase, 5 exit media
    /// verification state.
    #[bits(3)]
    pub sanact: u8,
    /// Allow unrestricted sanitize exit.
    pub ause: bool,
    /// Overwrite pass count, 0 = 16.
    #[bits(4)]
    pub owpass: u8,
    /// Overwrite invert pattern between passes.
    pub oipbp: bool,
    /// No deallocate after sanitize.
    pub ndas: bool,
    /// Enter media verification state.
    pub emvs: bool,
    #[bits(21)]
    __: u32,
}

/// Device Self-test, dword 10 (Base 2.1, Figure 179).
#[bitfield(u32)]
pub struct SelfTestCdw10 {
    /// Self-test code: 1 short, 2 extended, Fh abort.
    #[bits(4)]
    pub stc: u8,
    #[bits(28)]
    __: u32,
}

/// Namespace Management and Namespace Attachment, dword 10 (Base 2.1, Figures 364 and 369).
#[bitfield(u32)]
pub struct NamespaceCdw10 {
    /// Select: 0 create or attach, 1 delete or detach.
    #[bits(4)]
    pub sel: u8,
    #[bits(28)]
    __: u32,
}

/// Namespace Management, dword 11 (Base 2.1, Figure 365).
#[bitfield(u32)]
pub struct NamespaceManagementCdw11 {
    #[bits(24)]
    __: u32,
    /// Command set identifier of the namespace.
    pub csi: u8,
}
