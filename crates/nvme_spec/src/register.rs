//! Controller registers (Base 2.1, section 3.1.4).

use bitfield_struct::bitfield;

/// Register offsets in BAR0.
pub mod offset {
    /// Controller capabilities, 64 bits.
    pub const CAP: u64 = 0x00;
    /// Version.
    pub const VS: u64 = 0x08;
    /// Interrupt mask set.
    pub const INTMS: u64 = 0x0C;
    /// Interrupt mask clear.
    pub const INTMC: u64 = 0x10;
    /// Controller configuration.
    pub const CC: u64 = 0x14;
    /// Controller status.
    pub const CSTS: u64 = 0x1C;
    /// NVM subsystem reset.
    pub const NSSR: u64 = 0x20;
    /// Admin queue attributes.
    pub const AQA: u64 = 0x24;
    /// Admin submission queue base, 64 bits.
    pub const ASQ: u64 = 0x28;
    /// Admin completion queue base, 64 bits.
    pub const ACQ: u64 = 0x30;
    /// Controller memory buffer location; reads 0 where there is none.
    pub const CMBLOC: u64 = 0x38;
    /// Controller memory buffer size.
    pub const CMBSZ: u64 = 0x3C;
    /// Controller ready timeouts.
    pub const CRTO: u64 = 0x68;
    /// First doorbell: submission queue 0 tail.
    pub const DOORBELLS: u64 = 0x1000;
}

/// The value that resets the subsystem when written to NSSR: "NVMe" (Base 2.1, Figure 43).
pub const SUBSYSTEM_RESET: u32 = 0x4E56_4D65;

/// Controller capabilities, CAP (Base 2.1, Figure 36).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cap {
    /// Maximum queue entries supported, zero-based.
    pub mqes_z: u16,
    /// Contiguous queues required.
    pub cqr: bool,
    /// Arbitration mechanisms supported.
    #[bits(2)]
    pub ams: u8,
    #[bits(5)]
    __: u8,
    /// Worst case time to become ready, in 500 ms units.
    pub to: u8,
    /// Doorbell stride.
    #[bits(4)]
    pub dstrd: u8,
    /// NVM subsystem reset supported.
    pub nssrs: bool,
    /// Command sets supported: bit 0 NVM, bit 6 "as CNS 1Ch says", bit 7 admin only.
    pub css: u8,
    /// Boot partition support.
    pub bps: bool,
    /// Controller power scope.
    #[bits(2)]
    pub cps: u8,
    /// Memory page size minimum, 2^(12 + MPSMIN).
    #[bits(4)]
    pub mpsmin: u8,
    /// Memory page size maximum.
    #[bits(4)]
    pub mpsmax: u8,
    /// Persistent memory region supported.
    pub pmrs: bool,
    /// Controller memory buffer supported.
    pub cmbs: bool,
    /// NVM subsystem shutdown supported.
    pub nsss: bool,
    /// Controller ready with media support.
    pub crwms: bool,
    /// Controller ready independent of media support.
    pub crims: bool,
    #[bits(3)]
    __: u8,
}

/// Controller configuration, CC (Base 2.1, Figure 41).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cc {
    /// Enable.
    pub en: bool,
    #[bits(3)]
    __: u8,
    /// I/O command set selected; 110b = all supported.
    #[bits(3)]
    pub css: u8,
    /// Memory page size, 2^(12 + MPS).
    #[bits(4)]
    pub mps: u8,
    /// Arbitration mechanism selected.
    #[bits(3)]
    pub ams: u8,
    /// Shutdown notification.
    #[bits(2)]
    pub shn: u8,
    /// I/O submission queue entry size, 2^n.
    #[bits(4)]
    pub iosqes: u8,
    /// I/O completion queue entry size, 2^n.
    #[bits(4)]
    pub iocqes: u8,
    /// Controller ready independent of media enable.
    pub crime: bool,
    #[bits(7)]
    __: u8,
}

/// Controller status, CSTS (Base 2.1, Figure 42).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Csts {
    /// Ready.
    pub rdy: bool,
    /// Controller fatal status.
    pub cfs: bool,
    /// Shutdown status: 0 normal, 1 in progress, 2 complete.
    #[bits(2)]
    pub shst: u8,
    /// NVM subsystem reset occurred.
    pub nssro: bool,
    /// Processing paused.
    pub pp: bool,
    /// Shutdown type.
    pub st: bool,
    #[bits(25)]
    __: u32,
}

/// Values of [`Cc::shn`] and [`Csts::shst`].
pub mod shutdown {
    /// SHN: normal shutdown.
    pub const NORMAL: u8 = 1;
    /// SHST: shutdown in progress.
    pub const RUNNING: u8 = 1;
    /// SHST: shutdown complete.
    pub const COMPLETE: u8 = 2;
}

/// Admin queue attributes, AQA (Base 2.1, Figure 44).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Aqa {
    /// Admin submission queue size, zero-based.
    #[bits(12)]
    pub asqs_z: u16,
    #[bits(4)]
    __: u8,
    /// Admin completion queue size, zero-based.
    #[bits(12)]
    pub acqs_z: u16,
    #[bits(4)]
    __: u8,
}
