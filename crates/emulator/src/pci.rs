//! PCI configuration space of the drive (PCI Express Base 6.0, chapter 7), and the layout of BAR0.

use std::ops::Range;

pub use controller::PCI_VENDOR as VENDOR;

/// Device.
pub const DEVICE: u16 = 0xC5D0;

/// Bytes of configuration space.
pub(crate) const CONFIG_BYTES: usize = 4096;

/// Where BAR0 has its doorbells: a page of their own, which a client may map.
pub(crate) const DOORBELLS: Range<u64> = 0x1000..0x2000;
/// Doorbells of more queues are beyond that page.
const MSIX_TABLE: u64 = 0x4000;
/// Bytes of a table entry.
const MSIX_ENTRY: u64 = 16;

/// Capabilities.
const POWER: usize = 0x40;
const EXPRESS: usize = 0x60;
const MSIX: usize = 0xA0;

/// Device Control of the PCI Express capability, and its bit that resets the function.
const DEVICE_CONTROL: usize = EXPRESS + 8;
const FUNCTION_RESET: u16 = 1 << 15;

/// What a write to configuration space leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    None,
    /// Function Level Reset.
    Reset,
}

/// Configuration space: values, and which bits can be written.
pub(crate) struct ConfigSpace {
    bytes: Box<[u8; CONFIG_BYTES]>,
    writable: Box<[u8; CONFIG_BYTES]>,
    vectors: u16,
}

/// Bytes of BAR0 of a drive with that many interrupt vectors.
pub(crate) fn bar_bytes(vectors: u16) -> u64 {
    (pending_bits(vectors) + u64::from(vectors).div_ceil(64) * 8).next_power_of_two()
}

/// Where the pending bits of MSI-X are.
fn pending_bits(vectors: u16) -> u64 {
    MSIX_TABLE + (u64::from(vectors) * MSIX_ENTRY).next_multiple_of(4096)
}

impl ConfigSpace {
    /// Of a drive with that many interrupt vectors.
    pub(crate) fn new(vectors: u16) -> Self {
        let mut space = Self {
            bytes: Box::new([0; CONFIG_BYTES]),
            writable: Box::new([0; CONFIG_BYTES]),
            vectors,
        };
        space.reset();
        space
    }

    /// Values after a reset.
    pub(crate) fn reset(&mut self) {
        self.bytes.fill(0);
        self.writable.fill(0);
        self.set16(0x00, VENDOR, 0);
        self.set16(0x02, DEVICE, 0);
        // Command: memory space, bus master, interrupt disable. Status: capabilities.
        self.set16(0x04, 0, 0x0406);
        self.set16(0x06, 0x0010, 0);
        // Revision 1; mass storage, non-volatile memory, NVM Express.
        self.set32(0x08, 0x0108_0201, 0);
        self.writable[0x0C] = 0xFF;
        // BAR0 and BAR1: 64 bits, not prefetchable.
        let mask = !(bar_bytes(self.vectors) - 1);
        self.set32(0x10, 0b100, mask as u32);
        self.set32(0x14, 0, (mask >> 32) as u32);
        self.set16(0x2C, VENDOR, 0);
        self.set16(0x2E, DEVICE, 0);
        self.bytes[0x34] = POWER as u8;
        self.writable[0x3C] = 0xFF;
        // Power management, version 3; a return from D3hot keeps the state.
        self.set16(POWER, 0x01 | (EXPRESS as u16) << 8, 0);
        self.set16(POWER + 2, 3, 0);
        self.set16(POWER + 4, 1 << 3, 0b11);
        // PCI Express endpoint, version 2: role-based errors, function level reset.
        self.set16(EXPRESS, 0x10 | (MSIX as u16) << 8, 0);
        self.set16(EXPRESS + 2, 2, 0);
        self.set32(EXPRESS + 4, 1 << 15 | 1 << 28, 0);
        self.set16(DEVICE_CONTROL, 0x2810, 0x7FFF);
        // A link of generation 3, four lanes wide.
        self.set32(EXPRESS + 0x0C, 3 | 4 << 4, 0);
        self.set16(EXPRESS + 0x10, 0, 0x00C3);
        self.set16(EXPRESS + 0x12, 3 | 4 << 4, 0);
        self.set32(EXPRESS + 0x2C, 0b1110, 0);
        self.set16(EXPRESS + 0x30, 3, 0x000F);
        // MSI-X: table and pending bits in BAR0.
        self.set16(MSIX, 0x11, 0);
        self.set16(MSIX + 2, self.vectors - 1, 0xC000);
        self.set32(MSIX + 4, MSIX_TABLE as u32, 0);
        self.set32(MSIX + 8, pending_bits(self.vectors) as u32, 0);
    }

    fn set16(&mut self, at: usize, value: u16, writable: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        self.writable[at..at + 2].copy_from_slice(&writable.to_le_bytes());
    }

    fn set32(&mut self, at: usize, value: u32, writable: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self.writable[at..at + 4].copy_from_slice(&writable.to_le_bytes());
    }

    /// Reads; what is beyond its end reads as zero.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) {
        into.fill(0);
        let from = self.bytes.get(at as usize..).unwrap_or_default();
        let n = into.len().min(from.len());
        into[..n].copy_from_slice(&from[..n]);
    }

    /// Writes what can be written.
    pub(crate) fn write(&mut self, at: u64, from: &[u8]) -> Effect {
        let mut effect = Effect::None;
        for (at, &new) in (at as usize..CONFIG_BYTES).zip(from) {
            let mask = self.writable[at];
            self.bytes[at] = self.bytes[at] & !mask | new & mask;
            // The bit reads as zero, always.
            if at == DEVICE_CONTROL + 1 && u16::from(new) << 8 & FUNCTION_RESET != 0 {
                effect = Effect::Reset;
            }
        }
        effect
    }
}

impl std::fmt::Debug for ConfigSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigSpace").field("vectors", &self.vectors).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read32(space: &ConfigSpace, at: u64) -> u32 {
        let mut bytes = [0; 4];
        space.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn bars_tell_their_size_and_capabilities_are_a_list() {
        let mut space = ConfigSpace::new(65);
        assert_eq!(read32(&space, 0), u32::from(DEVICE) << 16 | u32::from(VENDOR));
        for at in (0x10..0x34).step_by(4).chain([0x30]) {
            assert_eq!(space.write(at, &[0xFF; 4]), Effect::None);
        }
        let size = u64::from(!(read32(&space, 0x10) & !0xF)) + 1;
        assert_eq!(size, bar_bytes(65));
        assert!(size > pending_bits(65) && size.is_power_of_two());
        assert_eq!(
            (read32(&space, 0x14), read32(&space, 0x18), read32(&space, 0x30)),
            (u32::MAX, 0, 0)
        );
        let (mut at, mut seen) = (u64::from(read32(&space, 0x34) as u8), Vec::new());
        while at != 0 {
            let header = read32(&space, at);
            seen.push(header as u8);
            at = u64::from((header >> 8) as u8);
        }
        assert_eq!(seen, [0x01, 0x10, 0x11]);
        assert_eq!(read32(&space, 0x100), 0, "no extended capability");
    }

    #[test]
    fn only_what_is_writable_changes_and_a_function_reset_is_seen() {
        let mut space = ConfigSpace::new(3);
        space.write(0, &[0xFF; 8]);
        assert_eq!(read32(&space, 0), u32::from(DEVICE) << 16 | u32::from(VENDOR));
        assert_eq!(read32(&space, 4), 0x0010_0406);
        space.write(MSIX as u64 + 2, &[0xFF, 0xFF]);
        assert_eq!(read32(&space, MSIX as u64) >> 16, 0xC002);
        assert_eq!(space.write(DEVICE_CONTROL as u64, &[0, 0x80]), Effect::Reset);
        assert_eq!(space.write(DEVICE_CONTROL as u64 + 1, &[0x80]), Effect::Reset);
        assert_eq!(read32(&space, DEVICE_CONTROL as u64) & 0x8000, 0);
        assert_eq!(space.write(DEVICE_CONTROL as u64, &[0xFF]), Effect::None);
        space.reset();
        assert_eq!(read32(&space, 4), 0x0010_0000);
        // At the end and beyond.
        assert_eq!(space.write(4094, &[0xFF; 4]), Effect::None);
        assert_eq!((read32(&space, 4094), read32(&space, 5000)), (0, 0));
    }
}
