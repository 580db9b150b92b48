//! Commands of zoned namespaces beside those of the NVM command set (Zoned Namespace Command Set 1.2, section 3.4).

use nvme_spec::command::{ReadWriteCdw12, ZoneReceiveCdw13, ZoneSendCdw13};
use nvme_spec::{Status, SubmissionEntry, ZoneAction, ZoneOpcode, ZoneState, zone_filter};

/// A command that only zoned namespaces have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ZonedCommand {
    /// Writes blocks where the write pointer of the zone is that begins with a block.
    Append { zone: u64, count: u32, fua: bool },
    /// Changes the zone that begins with a block; or all.
    Send { zone: u64, action: ZoneAction, is_all: bool },
    /// Reports zones from that of a block on.
    Receive(ZoneReport),
}

/// A report of zones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZoneReport {
    /// A block of the first zone.
    pub(crate) first: u64,
    /// Bytes.
    pub(crate) len: u64,
    /// Only zones in this state.
    pub(crate) only: Option<ZoneState>,
    /// Only zones that the report has room for are counted.
    pub(crate) is_partial: bool,
}

/// The action of a report: zones without extensions, which no zone here has.
const REPORT_ZONES: u8 = 0;

impl ZonedCommand {
    /// `None` if it is none of these commands.
    #[inline]
    pub(crate) fn decode(entry: &SubmissionEntry) -> Option<Result<Self, Status>> {
        let invalid = Status::INVALID_FIELD.with_dnr();
        let block = entry.cdw10_11();
        Some(match ZoneOpcode(entry.opcode) {
            ZoneOpcode::APPEND => {
                let cdw12 = ReadWriteCdw12::from_bits(entry.cdw12.get());
                let count = u32::from(cdw12.nlb_z()) + 1;
                // No directives.
                match cdw12.dtype() {
                    0 => Ok(Self::Append { zone: block, count, fua: cdw12.fua() }),
                    _ => Err(invalid),
                }
            }
            ZoneOpcode::MANAGEMENT_SEND => {
                let cdw13 = ZoneSendCdw13::from_bits(entry.cdw13.get());
                match ZoneAction(cdw13.zsa()) {
                    action @ (ZoneAction::CLOSE
                    | ZoneAction::FINISH
                    | ZoneAction::OPEN
                    | ZoneAction::RESET
                    | ZoneAction::OFFLINE) => {
                        Ok(Self::Send { zone: block, action, is_all: cdw13.select_all() })
                    }
                    _ => Err(invalid),
                }
            }
            ZoneOpcode::MANAGEMENT_RECEIVE => {
                let cdw13 = ZoneReceiveCdw13::from_bits(entry.cdw13.get());
                let only = zone_filter::state(cdw13.zrasf());
                let is_known = cdw13.zrasf() == zone_filter::ALL || only.is_some();
                if cdw13.zra() != REPORT_ZONES || !is_known {
                    return Some(Err(invalid));
                }
                let len = (u64::from(entry.cdw12.get()) + 1) * 4;
                let is_partial = cdw13.partial();
                Ok(Self::Receive(ZoneReport { first: block, len, only, is_partial }))
            }
            _ => return None,
        })
    }
}
