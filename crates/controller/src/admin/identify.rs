//! Identify data structures (Base 2.1, section 5.1.13).

use nvme_spec::namespace::ALL_NSID;
use nvme_spec::{
    CommandSet, IDENTIFY_SIZE, IdentifyController, IdentifyControllerNvm,
    IdentifyNamespaceIndependent, IdentifyNamespaceMemory, IdentifyNamespaceNvm,
    IdentifyNamespacePrograms, LbaFormat, PAGE_SIZE, PowerState, Status, cns,
};
use simtime::Duration;
use zerocopy::IntoBytes;

use crate::admin::background::{EXTENDED_TEST_MINUTES, LBA_FORMATS};
use crate::admin::keep_alive;
use crate::admin::log_pages::group_of;
use crate::command::Identify;
use crate::controller::Controller;
use crate::features::WARNING_TEMPERATURE_K;
use crate::limits::{
    ACTIVATIONS_MAX, ARBITRATION_BURST_LOG2, ASYNC_EVENT_REQUESTS_MAX, ERROR_LOG_ENTRIES,
    NVM_COPY_BYTES_MAX, NVM_COPY_SOURCES_MAX, PROGRAM_BYTES_MAX, RANGE_SETS_MAX,
    RANGES_PER_SET_MAX,
};
use crate::namespace::{NAMESPACES, NVM_NSID};
use crate::registers::VERSION;

/// PCI vendor of the model: an identifier that no company has (pci.ids of 2026-11). Not QEMU's 1b36h: Linux then
/// ignores namespace identifiers.
pub const PCI_VENDOR: u16 = 0xC5D0;
/// An identifier prefix of the locally administered kind, so that it is nobody's.
const OUI: [u8; 3] = [0x02, 0xC5, 0xD1];
const MODEL: &str = "csdrive computational storage drive";
/// Copy descriptor formats: 0h to 4h (bits of CDFS).
const COPY_FORMATS: u16 = 0b1_1111;
/// Optional commands: Compare, Dataset Management, Write Zeroes, saved and selected features,
/// Timestamp, Verify, Copy (bits of ONCS).
const OPTIONAL_COMMANDS: u16 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8;
/// Optional admin commands: Format NVM, Device Self-test, Doorbell Buffer Config (bits of OACS).
const OPTIONAL_ADMIN_COMMANDS: u16 = 1 << 1 | 1 << 4 | 1 << 8;
/// SGLs without alignment, with bit buckets, and longer than the transfer (SGLS bits 1:0, 16, 18).
const SGL_SUPPORT: u32 = 0b01 | 1 << 16 | 1 << 18;
/// Crypto erase, block erase and overwrite; no way to keep data allocated, and nothing else is
/// done to the media afterwards (SANICAP bits 0 to 2, 29, 31:30).
const SANITIZE_SUPPORT: u32 = 0b111 | 1 << 29 | 0b01 << 30;
/// A critically hot drive, in kelvin (CCTEMP).
const CRITICAL_TEMPERATURE_K: u16 = 353;
/// Power of the one power state, in centiwatts: that of a PCIe card without auxiliary supply.
const POWER_CENTIWATTS: u16 = 2500;

/// Time to look up the descriptors of each namespace after the first. Hosts scan namespaces in parallel and
/// number block devices as they find them: so the NVM namespace is /dev/nvme0n1.
const LOOK_UP: Duration = Duration::from_us(100_000);

impl Identify {
    /// Time the firmware needs before it has the data structure, besides that of any command.
    pub(super) fn look_up_time(&self) -> Duration {
        let later = NAMESPACES.iter().position(|(nsid, _)| *nsid == self.nsid).unwrap_or(0);
        if self.cns == cns::NAMESPACE_DESCRIPTORS {
            LOOK_UP * later as u64
        } else {
            Duration::default()
        }
    }
}

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
            cns::NAMESPACE if nsid == ALL_NSID || namespace()? == CommandSet::NVM => {
                Ok(self.identify_nvm().as_bytes().to_vec())
            }
            // Linux asks this of every namespace when somebody looks at its use (sysfs, `nvme list`), and logs a
            // refusal. Nothing of the structure means anything without blocks.
            cns::NAMESPACE => namespace().map(|_| vec![0; IDENTIFY_SIZE]),
            cns::ACTIVE_NAMESPACES => active_namespaces(nsid, |_| true),
            cns::CSI_ACTIVE_NAMESPACES => active_namespaces(nsid, |set| set == csi),
            cns::NAMESPACE_DESCRIPTORS => Ok(self.namespace_descriptors(nsid, namespace()?)),
            cns::INDEPENDENT_NAMESPACE => {
                namespace()?;
                Ok(self.identify_independent(nsid).as_bytes().to_vec())
            }
            cns::CSI_NAMESPACE if namespace()? == csi => Ok(self.identify_csi_namespace(csi)),
            cns::CSI_NAMESPACE => Err(invalid),
            cns::CSI_CONTROLLER if csi == CommandSet::NVM => {
                Ok(self.identify_nvm_limits().as_bytes().to_vec())
            }
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
        let atomic_z = (self.transfer_blocks_max() - 1).min(0xFFFF) as u16;
        let mut psd = [PowerState::default(); 32];
        psd[0].mp.set(POWER_CENTIWATTS);
        IdentifyController {
            vid: PCI_VENDOR.into(),
            ssvid: PCI_VENDOR.into(),
            sn: padded(&self.config.serial),
            mn: padded(MODEL),
            fr: firmware_revision(),
            rab: ARBITRATION_BURST_LOG2,
            ieee: OUI,
            mdts: self.transfer_pages_log2(),
            cntlid: 0.into(),
            ver: VERSION.into(),
            // Namespace attribute notices.
            oaes: (1 << 8).into(),
            cntrltype: 1, // I/O controller
            // Reachability reporting.
            crcap: 1 << 0,
            // A storage device.
            nvmsr: 1 << 0,
            oacs: OPTIONAL_ADMIN_COMMANDS.into(),
            acl_z: 3,
            aerl_z: (ASYNC_EVENT_REQUESTS_MAX - 1) as u8,
            // One firmware slot, read only.
            frmw: 1 | 1 << 1,
            // Effects log; log pages with offsets (extended data); pages 00h, 05h, 12h and 13h.
            lpa: 1 << 1 | 1 << 2 | 1 << 5,
            elpe_z: (ERROR_LOG_ENTRIES - 1) as u8,
            wctemp: WARNING_TEMPERATURE_K.into(),
            cctemp: CRITICAL_TEMPERATURE_K.into(),
            tnvmcap: u128::from(self.config.flash.capacity_bytes).into(),
            edstt: EXTENDED_TEST_MINUTES.into(),
            // One self-test in the subsystem at a time.
            dsto: 1,
            kas: keep_alive::GRANULARITY.into(),
            sanicap: SANITIZE_SUPPORT.into(),
            sqes: 0x66,
            cqes: 0x44,
            nn: (NAMESPACES.len() as u32).into(),
            mnan: (NAMESPACES.len() as u32).into(),
            oncs: OPTIONAL_COMMANDS.into(),
            // Compare and write.
            fuses: 1.into(),
            // Format erases cryptographically too.
            fna: 1 << 2,
            // A volatile write cache, if there is one; Flush of one or all namespaces.
            vwc: u8::from(self.has_write_cache()) | 0b11 << 1,
            // Commands are kept whole up to the largest transfer; over a power failure, a block.
            awun_z: atomic_z.into(),
            awupf_z: 0.into(),
            // So are fused pairs.
            acwu_z: atomic_z.into(),
            // Namespace write protection, not until a power cycle and not permanent.
            nwpc: 1 << 0,
            cdfs: COPY_FORMATS.into(),
            sgls: SGL_SUPPORT.into(),
            subnqn,
            psd,
            ..Default::default()
        }
    }

    /// Blocks of the largest transfer.
    fn transfer_blocks_max(&self) -> u64 {
        self.config.transfer_bytes_max / u64::from(self.block_bytes)
    }

    /// The largest transfer in pages, as a power of two.
    fn transfer_pages_log2(&self) -> u8 {
        (self.config.transfer_bytes_max.trailing_zeros() - PAGE_SIZE.trailing_zeros()) as u8
    }

    /// Limits of NVM commands without data: as of those with data, so that no command makes the
    /// drive do much at once. Dataset Management has none.
    fn identify_nvm_limits(&self) -> IdentifyControllerNvm {
        let limit = self.transfer_pages_log2();
        IdentifyControllerNvm { vsl: limit, wzsl: limit, ..Default::default() }
    }

    fn identify_independent(&self, nsid: u32) -> IdentifyNamespaceIndependent {
        let is_protected = nsid == NVM_NSID && self.features.write_protected;
        IdentifyNamespaceIndependent {
            nsattr: is_protected.into(),
            nstat: 1, // ready
            rgrpid: group_of(nsid).into(),
            ..Default::default()
        }
    }

    fn identify_nvm(&self) -> IdentifyNamespaceNvm {
        let mut lbaf = [LbaFormat::default(); 64];
        for (format, bytes) in lbaf.iter_mut().zip(LBA_FORMATS) {
            format.lbads = bytes.trailing_zeros() as u8;
        }
        let in_use = LBA_FORMATS.iter().position(|bytes| *bytes == self.block_bytes);
        let (nguid, eui64) = self.identifiers(NVM_NSID);
        let blocks = self.block_count();
        let page_blocks = (1u32 << self.page_bits) / self.block_bytes;
        let page_blocks_z = (page_blocks - 1) as u16;
        let copy_blocks = NVM_COPY_BYTES_MAX / u64::from(self.block_bytes);
        IdentifyNamespaceNvm {
            nsze: blocks.into(),
            ncap: blocks.into(),
            nuse: (self.ssd.mapped_pages() * u64::from(page_blocks)).into(),
            // Errors for deallocated blocks on demand (DAE); preferred granularities are valid.
            nsfeat: 1 << 2 | 1 << 4,
            nlbaf_z: (LBA_FORMATS.len() - 1) as u8,
            flbas: in_use.expect("the block size is one of the formats") as u8,
            // Deallocated blocks read as zeroes; Write Zeroes may deallocate.
            dlfeat: 0b001 | 1 << 3,
            npwg_z: page_blocks_z.into(),
            npwa_z: page_blocks_z.into(),
            npdg_z: page_blocks_z.into(),
            npda_z: page_blocks_z.into(),
            mssrl: (copy_blocks.min(0xFFFF) as u16).into(),
            mcl: (copy_blocks as u32).into(),
            msrc_z: (NVM_COPY_SOURCES_MAX - 1) as u8,
            nsattr: self.features.write_protected.into(),
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

    /// Namespace identification descriptors: EUI64, NGUID, UUID (Linux logs that there is none) and CSI.
    fn namespace_descriptors(&self, nsid: u32, set: CommandSet) -> Vec<u8> {
        let (nguid, eui64) = self.identifiers(nsid);
        let mut page = Vec::with_capacity(IDENTIFY_SIZE);
        // Version 8 of RFC 9562, of this program's own making: the NGUID with version and variant in their places.
        let mut uuid = nguid;
        uuid[6] = uuid[6] & 0x0F | 0x80;
        uuid[8] = uuid[8] & 0x3F | 0x80;
        for (nidt, id) in [(1, eui64.as_slice()), (2, &nguid), (3, &uuid), (4, &[set.0])] {
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

/// The firmware is this program.
pub(crate) fn firmware_revision() -> [u8; 8] {
    padded(env!("CARGO_PKG_VERSION"))
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
