//! Identify data structures (Base 2.1, section 5.1.13).

use nvme_spec::{
    CommandSet, IDENTIFY_SIZE, IdentifyController, IdentifyNamespaceIndependent,
    IdentifyNamespaceMemory, IdentifyNamespaceNvm, IdentifyNamespacePrograms, LbaFormat, Status,
    cns,
};
use zerocopy::IntoBytes;

use crate::command::Identify;
use crate::controller::Controller;
use crate::limits::{
    ACTIVATIONS_MAX, ERROR_LOG_ENTRIES, PROGRAM_BYTES_MAX, RANGE_SETS_MAX, RANGES_PER_SET_MAX,
};
use crate::namespace::{NAMESPACES, NVM_NSID};

/// PCI vendor of the model. Not 1b36h: Linux then ignores namespace identifiers.
const VENDOR: u16 = 0x1DED;
/// An identifier prefix of the locally administered kind, so that it is nobody's.
const OUI: [u8; 3] = [0x02, 0xC5, 0xD1];
const MODEL: &str = "csdrive computational storage drive";
/// Descriptor formats Memory Copy takes: 2h and 4h (bits of CDFS).
const COPY_FORMATS: u16 = 1 << 2 | 1 << 4;

impl Controller {
    /// Builds the data structure that an Identify command asks for.
    pub(crate) fn identify(&self, command: &Identify) -> Result<Vec<u8>, Status> {
        let Identify { cns, csi, nsid } = *command;
        let invalid = Status::INVALID_FIELD.with_dnr();
        let namespace = || {
            let found = NAMESPACES.iter().find(|(id, _)| *id == nsid);
            found.map(|(_, set)| *set).ok_or(Status::INVALID_NAMESPACE.with_dnr())
        };
        match cns {
            cns::CONTROLLER => Ok(self.identify_controller().as_bytes().to_vec()),
            cns::NAMESPACE if nsid == u32::MAX || namespace()? == CommandSet::NVM => {
                Ok(self.identify_nvm().as_bytes().to_vec())
            }
            cns::NAMESPACE => Err(invalid),
            cns::ACTIVE_NAMESPACES => active_namespaces(nsid, |_| true),
            cns::CSI_ACTIVE_NAMESPACES => active_namespaces(nsid, |set| set == csi),
            cns::NAMESPACE_DESCRIPTORS => Ok(self.namespace_descriptors(nsid, namespace()?)),
            cns::INDEPENDENT_NAMESPACE => {
                namespace()?;
                let page = IdentifyNamespaceIndependent {
                    nstat: 1, // ready
                    ..Default::default()
                };
                Ok(page.as_bytes().to_vec())
            }
            cns::CSI_NAMESPACE if namespace()? == csi => Ok(self.identify_csi_namespace(csi)),
            cns::CSI_NAMESPACE => Err(invalid),
            cns::CSI_CONTROLLER if NAMESPACES.iter().any(|(_, set)| *set == csi) => {
                Ok(vec![0; IDENTIFY_SIZE])
            }
            cns::COMMAND_SETS => {
                let mut page = vec![0; IDENTIFY_SIZE];
                let sets = NAMESPACES.iter().fold(0u64, |sets, (_, set)| sets | 1 << set.0);
                page[..8].copy_from_slice(&sets.to_le_bytes());
                Ok(page)
            }
            _ => Err(invalid),
        }
    }

    fn identify_controller(&self) -> IdentifyController {
        let mut subnqn = [0; 256];
        let nqn = format!("nqn.2026-11.dev.csdrive:{}", self.config.serial);
        subnqn[..nqn.len()].copy_from_slice(nqn.as_bytes());
        IdentifyController {
            vid: VENDOR.into(),
            ssvid: VENDOR.into(),
            sn: padded(&self.config.serial),
            mn: padded(MODEL),
            fr: padded(env!("CARGO_PKG_VERSION")),
            ieee: OUI,
            mdts: (self.config.transfer_bytes_max.trailing_zeros() - 12) as u8,
            cntlid: 0.into(),
            ver: 0x0002_0100.into(),
            cntrltype: 1, // I/O controller
            // One firmware slot, read only.
            frmw: 1 | 1 << 1,
            // Effects log; log pages with offsets (extended data).
            lpa: 1 << 1 | 1 << 2,
            elpe_z: (ERROR_LOG_ENTRIES - 1) as u8,
            wctemp: 343.into(),
            cctemp: 353.into(),
            tnvmcap: u128::from(self.config.flash.capacity_bytes).into(),
            sqes: 0x66,
            cqes: 0x44,
            nn: (NAMESPACES.len() as u32).into(),
            mnan: (NAMESPACES.len() as u32).into(),
            // A volatile write cache, with Flush of one or all namespaces.
            vwc: 1 | 0b11 << 1,
            cdfs: COPY_FORMATS.into(),
            subnqn,
            ..Default::default()
        }
    }

    fn identify_nvm(&self) -> IdentifyNamespaceNvm {
        let format = |lbads| LbaFormat { lbads, ..Default::default() };
        let mut lbaf = [LbaFormat::default(); 64];
        lbaf[..2].copy_from_slice(&[format(9), format(12)]);
        let (nguid, eui64) = self.identifiers(NVM_NSID);
        let blocks = self.block_count();
        let page_blocks_z = (1u32 << self.page_bits) / self.config.block_bytes - 1;
        IdentifyNamespaceNvm {
            nsze: blocks.into(),
            ncap: blocks.into(),
            nuse: blocks.into(),
            // Preferred write granularity and alignment are valid.
            nsfeat: 1 << 4,
            nlbaf_z: 1,
            flbas: u8::from(self.config.block_bytes == 4096),
            npwg_z: (page_blocks_z as u16).into(),
            npwa_z: (page_blocks_z as u16).into(),
            nvmcap: u128::from(self.config.flash.capacity_bytes).into(),
            nguid,
            eui64,
            lbaf,
            ..Default::default()
        }
    }

    fn identify_csi_namespace(&self, csi: CommandSet) -> Vec<u8> {
        match csi {
            CommandSet::MEMORY => {
                let page = IdentifyNamespaceMemory {
                    nsze_bytes: self.memory.len().into(),
                    granularity_bytes: 4.into(),
                    ..Default::default()
                };
                page.as_bytes().to_vec()
            }
            CommandSet::PROGRAMS => {
                let page = IdentifyNamespacePrograms {
                    maxact: ACTIVATIONS_MAX.into(),
                    maxmemrs: RANGE_SETS_MAX.into(),
                    maxmemr: RANGES_PER_SET_MAX,
                    maxpb: (PROGRAM_BYTES_MAX >> 20).into(),
                    ..Default::default()
                };
                page.as_bytes().to_vec()
            }
            _ => vec![0; IDENTIFY_SIZE],
        }
    }

    /// Namespace identification descriptors: EUI64, NGUID and CSI.
    fn namespace_descriptors(&self, nsid: u32, set: CommandSet) -> Vec<u8> {
        let (nguid, eui64) = self.identifiers(nsid);
        let mut page = Vec::with_capacity(IDENTIFY_SIZE);
        for (nidt, id) in [(1, eui64.as_slice()), (2, &nguid), (4, &[set.0])] {
            page.extend([nidt, id.len() as u8, 0, 0]);
            page.extend(id);
        }
        page.resize(IDENTIFY_SIZE, 0);
        page
    }

    /// NGUID and EUI64 of a namespace: equal for equal serial numbers, else distinct.
    fn identifiers(&self, nsid: u32) -> ([u8; 16], [u8; 8]) {
        // FNV-1a, 64 bit.
        let hash = self.config.serial.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        let unique = hash.to_be_bytes();
        let mut eui64 = [0; 8];
        eui64[..3].copy_from_slice(&OUI);
        eui64[3..7].copy_from_slice(&unique[..4]);
        eui64[7] = nsid as u8;
        let mut nguid = [0; 16];
        nguid[..8].copy_from_slice(&unique);
        nguid[8..].copy_from_slice(&eui64);
        (nguid, eui64)
    }
}

/// A string of the wire: ASCII, padded with spaces.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let len = text.len().min(N);
    field[..len].copy_from_slice(&text.as_bytes()[..len]);
    field
}

/// The list of namespaces above `after` whose command set passes.
fn active_namespaces(after: u32, passes: impl Fn(CommandSet) -> bool) -> Result<Vec<u8>, Status> {
    if after >= u32::MAX - 1 {
        return Err(Status::INVALID_NAMESPACE.with_dnr());
    }
    let listed = NAMESPACES.iter().filter(|(id, set)| *id > after && passes(*set));
    let mut page: Vec<u8> = listed.flat_map(|(id, _)| id.to_le_bytes()).collect();
    page.resize(IDENTIFY_SIZE, 0);
    Ok(page)
}
