//! A user of a simulated drive.

use client::{Direct, Drive, Geometry, NamespaceIds};
use controller::limits::NVM_COPY_BYTES_MAX;
use controller::{Config, Controller, NamespaceConfig, NamespaceKind};

use crate::{HostError, Simulation};

/// Whole jobs on a simulated drive; its host is `transport.driver`.
pub type Session = Drive<Direct<Simulation>>;

/// Builds and enables a drive, with an I/O queue pair of so many entries for its user and as many more as asked
/// for. It is not asked what it is like: virtual time begins with the first job.
///
/// # Errors
/// If it cannot be built.
pub fn open(config: Config, extra_queues: u16, entries: u32) -> Result<Session, HostError> {
    open_drive(Controller::new(config)?, extra_queues, entries)
}

/// As [`open`], for a drive that was built before.
///
/// # Errors
/// If it refuses.
pub fn open_drive(
    drive: Controller,
    extra_queues: u16,
    entries: u32,
) -> Result<Session, HostError> {
    let geometry = geometry(drive.config(), &drive.namespaces());
    let host = crate::host_of(drive, 1 + extra_queues, entries)?;
    Ok(Drive::new(Direct::new(host), geometry))
}

/// A host of a drive that uses this NVM namespace.
///
/// # Errors
/// If it refuses.
pub fn open_namespace(drive: Controller, nsid: u32) -> Result<Session, HostError> {
    let mut namespaces = drive.namespaces();
    namespaces.retain(|namespace| namespace.nsid == nsid);
    let geometry = geometry(drive.config(), &namespaces);
    let host = crate::host_of(drive, 1, 64)?;
    Ok(Drive::new(Direct::new(host), geometry))
}

/// What a drive is like: the first namespace of each kind. A kind that it does not have has identifier 0 and no bytes.
pub fn geometry(config: &Config, namespaces: &[NamespaceConfig]) -> Geometry {
    let mut geometry = Geometry {
        block_bytes: config.block_bytes.into(),
        blocks: 0,
        memory_bytes: 0,
        transfer_bytes_max: config.transfer_bytes_max,
        copy_blocks_max: NVM_COPY_BYTES_MAX / u64::from(config.block_bytes),
        namespaces: NamespaceIds { nvm: 0, memory: 0, programs: 0 },
    };
    // Blocks in zones are blocks, if there are no others.
    let is_plain = |n: &&NamespaceConfig| matches!(n.kind, NamespaceKind::Nvm { .. });
    let others = namespaces.iter().filter(|n| !is_plain(n));
    for &NamespaceConfig { nsid, kind } in namespaces.iter().filter(is_plain).chain(others) {
        let namespaces = &mut geometry.namespaces;
        let kind = match kind {
            NamespaceKind::Zoned(zoned) => {
                let bytes = u64::from(zoned.zones) * zoned.zone_bytes;
                NamespaceKind::Nvm { bytes, block_bytes: zoned.block_bytes }
            }
            other => other,
        };
        match kind {
            NamespaceKind::Nvm { bytes, block_bytes } if namespaces.nvm == 0 => {
                namespaces.nvm = nsid;
                geometry.block_bytes = block_bytes.into();
                geometry.blocks = bytes / u64::from(block_bytes);
                geometry.copy_blocks_max = NVM_COPY_BYTES_MAX / u64::from(block_bytes);
            }
            NamespaceKind::Memory { bytes } if namespaces.memory == 0 => {
                namespaces.memory = nsid;
                geometry.memory_bytes = bytes;
            }
            NamespaceKind::Programs if namespaces.programs == 0 => namespaces.programs = nsid,
            _ => {}
        }
    }
    geometry
}
