//! The register file (Base 2.1, section 3.1): values only; what changes of CC and of doorbells
//! mean is decided in `controller.rs`.

use nvme_spec::{Aqa, Cap, Cc, Csts, offset};

use crate::limits::QUEUE_ENTRIES_MAX;

/// NVM Express 2.1.
const VERSION: u32 = 0x0002_0100;

/// CC.CSS: all supported I/O command sets.
pub(crate) const CSS_ALL: u8 = 0b110;
/// CC.CSS: admin command set only.
pub(crate) const CSS_ADMIN: u8 = 0b111;

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

/// The capabilities of every drive here.
pub(crate) fn capabilities() -> Cap {
    Cap::new()
        .with_mqes_z((QUEUE_ENTRIES_MAX - 1) as u16)
        .with_cqr(true)
        .with_to(READY_TIMEOUT)
        .with_css(1 << 0 | 1 << 6)
        .with_crwms(true)
}

impl Registers {
    /// Reads 4 or 8 bytes. What does not exist reads as zero.
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

    /// Writes 4 or 8 bytes of a plain register; CC and doorbells are not plain.
    pub(crate) fn write(&mut self, at: u64, size: usize, value: u64) {
        let low = |old: u64| old & !u64::from(u32::MAX) | value & u64::from(u32::MAX);
        let high = |old: u64| old & u64::from(u32::MAX) | value << 32;
        let enabled = self.cc.en();
        match (at, size) {
            (offset::INTMS, _) => self.interrupt_mask |= value as u32,
            (offset::INTMC, _) => self.interrupt_mask &= !(value as u32),
            // The admin queue's place must not change while the controller is enabled.
            (offset::AQA, _) if !enabled => self.aqa = Aqa::from_bits(value as u32 & 0x0FFF_0FFF),
            (offset::ASQ, 8) if !enabled => self.asq = value,
            (offset::ASQ, 4) if !enabled => self.asq = low(self.asq),
            (0x2C, 4) if !enabled => self.asq = high(self.asq),
            (offset::ACQ, 8) if !enabled => self.acq = value,
            (offset::ACQ, 4) if !enabled => self.acq = low(self.acq),
            (0x34, 4) if !enabled => self.acq = high(self.acq),
            _ => {}
        }
    }
}
