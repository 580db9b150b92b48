//! The register file (Base 2.1, section 3.1): values only; what changes of CC, NSSR and of doorbells
//! mean is decided in `lifecycle.rs` and `doorbell.rs`.

use nvme_spec::{Aqa, Cap, Cc, Csts, offset};

use crate::limits::QUEUE_ENTRIES_MAX;

/// NVM Express 2.1.
pub(crate) const VERSION: u32 = 0x0002_0100;

/// CC.CSS: the NVM command set alone.
pub(crate) const CSS_NVM: u8 = 0b000;
/// CC.CSS: all supported I/O command sets.
pub(crate) const CSS_ALL: u8 = 0b110;
/// CC.AMS: round robin.
pub(crate) const AMS_ROUND_ROBIN: u8 = 0;
/// CC.AMS: weighted round robin with urgent priority class.
pub(crate) const AMS_WEIGHTED: u8 = 1;

/// Ready time-out in units of 500 ms (CAP.TO, CRTO.CRWMT).
const READY_TIMEOUT: u8 = 20;

/// Register values.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    pub(crate) cc: Cc,
    pub(crate) csts: Csts,
    pub(crate) aqa: Aqa,
    pub(crate) asq: u64,
    pub(crate) acq: u64,
    interrupt_mask: u32,
}

/// The capabilities of every drive here: contiguous queues, weighted round robin, subsystem reset,
/// the NVM command set and those of CNS 1Ch, 4 KiB pages. No memory buffer, no boot partition.
pub(crate) fn capabilities() -> Cap {
    Cap::new()
        .with_mqes_z((QUEUE_ENTRIES_MAX - 1) as u16)
        .with_cqr(true)
        .with_ams(1)
        .with_to(READY_TIMEOUT)
        .with_nssrs(true)
        .with_css(1 << 0 | 1 << 6)
        .with_crwms(true)
}

impl Registers {
    /// Reads 1, 2, 4 or 8 bytes within an aligned 8-byte word; what straddles two is cut off. What
    /// does not exist reads as zero.
    pub(crate) fn read(&self, at: u64, size: usize) -> u64 {
        let aligned = at & !7;
        let value = match aligned {
            offset::CAP => capabilities().into_bits(),
            offset::VS => u64::from(VERSION) | u64::from(self.interrupt_mask) << 32,
            0x10 => u64::from(self.interrupt_mask) | u64::from(self.cc.into_bits()) << 32,
            0x18 => u64::from(self.csts.into_bits()) << 32,
            0x20 => u64::from(self.aqa.into_bits()) << 32,
            offset::ASQ => self.asq,
            offset::ACQ => self.acq,
            offset::CRTO => u64::from(READY_TIMEOUT),
            _ => 0,
        };
        let shifted = value >> (8 * (at - aligned));
        match size {
            8 => shifted,
            4 => shifted & u64::from(u32::MAX),
            2 => shifted & 0xFFFF,
            _ => shifted & 0xFF,
        }
    }

    /// Writes a 4-byte register without side effects.
    pub(crate) fn write(&mut self, at: u64, value: u32) {
        let low = |old: u64| old & !u64::from(u32::MAX) | u64::from(value);
        let high = |old: u64| old & u64::from(u32::MAX) | u64::from(value) << 32;
        // The admin queue's place must not change while the controller is enabled.
        let is_enabled = self.cc.en();
        match at {
            offset::INTMS => self.interrupt_mask |= value,
            offset::INTMC => self.interrupt_mask &= !value,
            // NSSRO is cleared by writing it; the rest is read only.
            offset::CSTS if Csts::from_bits(value).nssro() => self.csts.set_nssro(false),
            offset::AQA if !is_enabled => self.aqa = Aqa::from_bits(value & 0x0FFF_0FFF),
            offset::ASQ if !is_enabled => self.asq = low(self.asq),
            0x2C if !is_enabled => self.asq = high(self.asq),
            offset::ACQ if !is_enabled => self.acq = low(self.acq),
            0x34 if !is_enabled => self.acq = high(self.acq),
            _ => {}
        }
    }

    /// A controller reset puts everything back but the admin queue's attributes and place.
    pub(crate) fn reset(&mut self) {
        let Self { aqa, asq, acq, .. } = *self;
        let csts = Csts::new().with_nssro(self.csts.nssro());
        *self = Self { csts, aqa, asq, acq, ..Self::default() };
    }

    /// A subsystem reset puts everything back.
    pub(crate) fn reset_subsystem(&mut self) {
        *self = Self { csts: Csts::new().with_nssro(true), ..Self::default() };
    }
}
