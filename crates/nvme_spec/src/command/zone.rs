//! Dwords of the Zoned Namespace command set (Zoned Namespace Command Set 1.2, section 3.4).

use bitfield_struct::bitfield;

/// Zone Management Send, dword 13.
#[bitfield(u32)]
pub struct ZoneSendCdw13 {
    /// What is done: a [`crate::ZoneAction`].
    pub zsa: u8,
    /// To all zones.
    pub select_all: bool,
    /// Option of the action.
    pub zsaso: bool,
    #[bits(22)]
    __: u32,
}

/// Zone Management Receive, dword 13.
#[bitfield(u32)]
pub struct ZoneReceiveCdw13 {
    /// What is reported: 0 zones, 1 zones with their extensions.
    pub zra: u8,
    /// Which zones: a [`crate::zone_filter`].
    pub zrasf: u8,
    /// The header counts the zones that the report has, not those that there are.
    pub partial: bool,
    #[bits(15)]
    __: u16,
}
