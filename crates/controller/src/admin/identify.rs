//! Identify data structures (Base 2.1, section 5.1.13).

use nvme_spec::{
    CommandSet, ControllerList, IDENTIFY_SIZE, IdentifyController, IdentifyControllerNvm,
    IdentifyNamespaceIndependent, IdentifyNamespaceMemory, IdentifyNamespaceNvm,
    IdentifyNamespacePrograms, IdentifyNamespaceZoned, LbaFormat, Nsid, PAGE_SIZE, PowerState,
    Status, cns,
};
use simtime::Duration;
use zerocopy::IntoBytes;

use crate::admin::firmware::{firmware_revision, padded};
use crate::admin::keep_alive;
use crate::admin::log_pages::group_of;
use crate::admin::operations::EXTENDED_TEST_MINUTES;
use crate::command::Identify;
use crate::config::Config;
use crate::features::WARNING_TEMPERATURE_K;
use crate::limits::{
    ACTIVATIONS_MAX, ARBITRATION_BURST_LOG2, ASYNC_EVENT_REQUESTS_MAX, ERROR_LOG_ENTRIES,
    NVM_COPY_BYTES_MAX, NVM_COPY_SOURCES_MAX, PROGRAM_BYTES_MAX, RANGE_SETS_MAX,
    RANGES_PER_SET_MAX,
};
use crate::namespace::memory::MemoryNamespace;
use crate::namespace::nvm::zones::Zones;
use crate::namespace::nvm::{LBA_FORMATS, NvmNamespace};
use crate::namespace::{NAMESPACES_MAX, Namespace, Namespaces, check_nsid};
use crate::registers::VERSION;
use crate::subsystem::Subsystem;
use crate::turn::Turn;

/// PCI vendor of the model: an identifier that no company has (pci.ids of 2026-11). Not QEMU's 1b36h: Linux then
/// ignores namespace identifiers.
pub const PCI_VENDOR: u16 = 0xC5D0;
/// Identifier of the one controller (CNTLID).
pub(super) const CONTROLLER_ID: u16 = 0;
/// The one endurance group: all of the flash.
pub(super) const ENDURANCE_GROUP: u16 = 1;
/// An identifier prefix of the locally administered kind, so that it is nobody's.
pub(super) const OUI: [u8; 3] = [0x02, 0xC5, 0xD1];
const MODEL: &str = "csdrive computational storage drive";
/// The I/O command sets of every drive, whatever namespaces it has.
const COMMAND_SETS: [CommandSet; 3] = [CommandSet::NVM, CommandSet::MEMORY, CommandSet::PROGRAMS];
/// Copy descriptor formats: 0h to 4h (bits of CDFS).
const COPY_FORMATS: u16 = 0b1_1111;
/// Optional commands: Compare, Dataset Management, Write Zeroes, saved and selected features,
/// Timestamp, Verify, Copy (bits of ONCS).
const OPTIONAL_COMMANDS: u16 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8;
/// Optional admin commands: Format NVM, Namespace Management and Attachment, Device Self-test, Doorbell Buffer Config (bits
/// of OACS).
const OPTIONAL_ADMIN_COMMANDS: u16 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 8;
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
/// number block devices as they find them: so the first NVM namespace is /dev/nvme0n1.
const LOOK_UP: Duration = Duration::from_us(100_000);
/// From so many namespaces on the look-up takes no longer.
const LOOK_UPS_MAX: usize = 16;

/// Time the firmware needs before it has the data structure, besides that of any command.
pub(crate) fn look_up_time(turn: &Turn<'_>, command: &Identify) -> Duration {
    if command.cns != cns::NAMESPACE_DESCRIPTORS {
        return Duration::default();
    }
    let before = turn.session.attached.count_below(command.nsid);
    LOOK_UP * before.min(LOOK_UPS_MAX) as u64
}

/// Builds the data structure that an Identify command asks for.
pub(crate) fn page(turn: &Turn<'_>, command: &Identify) -> Result<Vec<u8>, Status> {
    let Identify { cns, controller: first, csi, nsid } = *command;
    let invalid = Status::INVALID_FIELD.with_dnr();
    let (session, subsystem) = (&*turn.session, &*turn.subsystem);
    let nothing = || Ok(vec![0; IDENTIFY_SIZE]);
    // A namespace that is attached, or none: what says that (Base 2.1, section 3.2.1.5).
    let active = || {
        check_nsid(nsid)?;
        Ok(subsystem.namespaces.get(nsid).filter(|_| session.attached.contains(nsid)))
    };
    let allocated = || {
        check_nsid(nsid)?;
        Ok(subsystem.namespaces.get(nsid))
    };
    match cns {
        cns::CONTROLLER => Ok(controller(subsystem).as_bytes().to_vec()),
        // What is common to all namespaces.
        cns::NAMESPACE if nsid == Nsid::ALL => Ok(nvm_capabilities(subsystem).as_bytes().to_vec()),
        cns::NAMESPACE => active()?.map_or_else(nothing, |n| Ok(nvm_page(subsystem, n))),
        cns::ALLOCATED_NAMESPACE => {
            allocated()?.map_or_else(nothing, |n| Ok(nvm_page(subsystem, n)))
        }
        cns::ACTIVE_NAMESPACES => list(subsystem, nsid, |id, _| session.attached.contains(id)),
        cns::CSI_ACTIVE_NAMESPACES => {
            list(subsystem, nsid, |id, set| set == csi && session.attached.contains(id))
        }
        cns::ALLOCATED_NAMESPACES => list(subsystem, nsid, |_, _| true),
        cns::CSI_ALLOCATED_NAMESPACES => list(subsystem, nsid, |_, set| set == csi),
        cns::NAMESPACE_DESCRIPTORS => {
            let namespace = active()?.ok_or(invalid)?;
            Ok(descriptors(&subsystem.config, namespace))
        }
        cns::INDEPENDENT_NAMESPACE => {
            active()?.map_or_else(nothing, |n| Ok(independent(n).as_bytes().to_vec()))
        }
        cns::CSI_NAMESPACE => csi_page(&subsystem.namespaces, active()?, csi),
        cns::CSI_ALLOCATED_NAMESPACE => csi_page(&subsystem.namespaces, allocated()?, csi),
        cns::ATTACHED_CONTROLLERS => {
            check_nsid(nsid)?;
            Ok(controllers(first, session.attached.contains(nsid)))
        }
        cns::CONTROLLERS => Ok(controllers(first, true)),
        cns::ENDURANCE_GROUPS => Ok(endurance_groups(first)),
        cns::CSI_CONTROLLER if csi == CommandSet::NVM => {
            Ok(nvm_limits(&subsystem.config).as_bytes().to_vec())
        }
        cns::CSI_CONTROLLER if command_sets(&subsystem.namespaces).any(|set| set == csi) => {
            nothing()
        }
        cns::COMMAND_SETS => {
            let mut page = vec![0; IDENTIFY_SIZE];
            let all = command_sets(&subsystem.namespaces);
            let sets = all.fold(0u64, |sets, set| sets | 1 << set.0);
            page[..8].copy_from_slice(&sets.to_le_bytes());
            Ok(page)
        }
        _ => Err(invalid),
    }
}

/// The I/O command sets of a drive: that of zones only if it has some.
fn command_sets(namespaces: &Namespaces) -> impl Iterator<Item = CommandSet> {
    let zoned = namespaces.has_zones().then_some(CommandSet::ZONED);
    COMMAND_SETS.into_iter().chain(zoned)
}

fn controller(subsystem: &Subsystem) -> IdentifyController {
    let config = &subsystem.config;
    let mut subnqn = [0; 256];
    let nqn = format!("nqn.2026-11.dev.csdrive:{}", config.serial);
    subnqn[..nqn.len()].copy_from_slice(nqn.as_bytes());
    let atomic_z = (transfer_blocks_min(subsystem) - 1).min(0xFFFF) as u16;
    let mut psd = [PowerState::default(); 32];
    psd[0].mp.set(POWER_CENTIWATTS);
    IdentifyController {
        vid: PCI_VENDOR.into(),
        ssvid: PCI_VENDOR.into(),
        sn: padded(&config.serial),
        mn: padded(MODEL),
        fr: firmware_revision(),
        rab: ARBITRATION_BURST_LOG2,
        ieee: OUI,
        mdts: transfer_pages_log2(config),
        cntlid: CONTROLLER_ID.into(),
        ver: VERSION.into(),
        // Namespace attribute notices.
        oaes: (1 << 8).into(),
        // Endurance groups; data placement.
        ctratt: (1 << 4 | u32::from(config.placement) << 19).into(),
        endgidmax: ENDURANCE_GROUP.into(),
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
        // Effects log; log pages with offsets (extended data); telemetry; pages 00h, 05h, 12h and 13h.
        lpa: 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5,
        elpe_z: (ERROR_LOG_ENTRIES - 1) as u8,
        wctemp: WARNING_TEMPERATURE_K.into(),
        cctemp: CRITICAL_TEMPERATURE_K.into(),
        tnvmcap: u128::from(config.flash.capacity_bytes).into(),
        unvmcap: u128::from(subsystem.namespaces.free_bytes()).into(),
        edstt: EXTENDED_TEST_MINUTES.into(),
        // One self-test in the subsystem at a time.
        dsto: 1,
        kas: keep_alive::GRANULARITY.into(),
        sanicap: SANITIZE_SUPPORT.into(),
        sqes: 0x66,
        cqes: 0x44,
        nn: NAMESPACES_MAX.into(),
        mnan: NAMESPACES_MAX.into(),
        oncs: OPTIONAL_COMMANDS.into(),
        // Compare and write.
        fuses: 1.into(),
        // Format erases cryptographically too.
        fna: 1 << 2,
        // A volatile write cache, if there is one; Flush of one or all namespaces.
        vwc: u8::from(subsystem.has_write_cache()) | 0b11 << 1,
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

/// Blocks of the largest transfer, in the namespace with the largest blocks.
fn transfer_blocks_min(subsystem: &Subsystem) -> u64 {
    let largest = subsystem.namespaces.nvm_all().map(|namespace| namespace.block_bytes).max();
    subsystem.config.transfer_bytes_max / u64::from(largest.unwrap_or(subsystem.config.block_bytes))
}

/// The largest transfer in pages, as a power of two.
fn transfer_pages_log2(config: &Config) -> u8 {
    (config.transfer_bytes_max.trailing_zeros() - PAGE_SIZE.trailing_zeros()) as u8
}

/// Limits of NVM commands without data: as of those with data, so that no command makes the
/// drive do much at once. Dataset Management has none.
fn nvm_limits(config: &Config) -> IdentifyControllerNvm {
    let limit = transfer_pages_log2(config);
    IdentifyControllerNvm { vsl: limit, wzsl: limit, ..Default::default() }
}

/// The controllers of the subsystem from an identifier on, if there are any to list.
fn controllers(first: u16, are_there: bool) -> Vec<u8> {
    let mut page = ControllerList::default();
    if are_there && (first..).contains(&CONTROLLER_ID) {
        page.count = 1.into();
        page.ids[0] = CONTROLLER_ID.into();
    }
    page.as_bytes().to_vec()
}

/// Endurance groups from an identifier on: a count, and identifiers (CNS 19h).
fn endurance_groups(first: u16) -> Vec<u8> {
    let mut page = vec![0; IDENTIFY_SIZE];
    if first <= ENDURANCE_GROUP {
        page[0] = 1;
        page[2..4].copy_from_slice(&ENDURANCE_GROUP.to_le_bytes());
    }
    page
}

fn independent(namespace: &Namespace) -> IdentifyNamespaceIndependent {
    let is_read_only = matches!(namespace, Namespace::Nvm(nvm) if nvm.is_read_only());
    IdentifyNamespaceIndependent {
        nsattr: is_read_only.into(),
        endgid: endurance_group_of(namespace).into(),
        nstat: 1, // ready
        rgrpid: group_of(namespace.set()).into(),
        ..Default::default()
    }
}

/// Namespaces without flash are in none.
fn endurance_group_of(namespace: &Namespace) -> u16 {
    if matches!(namespace, Namespace::Nvm(_)) { ENDURANCE_GROUP } else { 0 }
}

/// Identify Namespace of the NVM command set. Linux asks this of every namespace when somebody looks at its use (sysfs,
/// `nvme list`), and logs a refusal. Nothing of the structure means anything without blocks.
fn nvm_page(subsystem: &Subsystem, namespace: &Namespace) -> Vec<u8> {
    match namespace {
        Namespace::Nvm(namespace) => nvm(subsystem, namespace).as_bytes().to_vec(),
        _ => vec![0; IDENTIFY_SIZE],
    }
}

/// What all NVM namespaces have in common.
fn nvm_capabilities(subsystem: &Subsystem) -> IdentifyNamespaceNvm {
    let mut lbaf = [LbaFormat::default(); 64];
    for (format, bytes) in lbaf.iter_mut().zip(LBA_FORMATS) {
        format.lbads = bytes.trailing_zeros() as u8;
    }
    let in_use = LBA_FORMATS.iter().position(|bytes| *bytes == subsystem.config.block_bytes);
    IdentifyNamespaceNvm {
        // Atomic units of its own (NSABP); errors for deallocated blocks on demand (DAE); preferred granularities are valid.
        nsfeat: 1 << 1 | 1 << 2 | 1 << 4,
        nlbaf_z: (LBA_FORMATS.len() - 1) as u8,
        flbas: in_use.expect("the block size is one of the formats") as u8,
        // Deallocated blocks read as zeroes; Write Zeroes may deallocate.
        dlfeat: 0b001 | 1 << 3,
        msrc_z: (NVM_COPY_SOURCES_MAX - 1) as u8,
        lbaf,
        ..Default::default()
    }
}

fn nvm(subsystem: &Subsystem, namespace: &NvmNamespace) -> IdentifyNamespaceNvm {
    let in_use = LBA_FORMATS.iter().position(|bytes| *bytes == namespace.block_bytes);
    let (nguid, eui64) = identifiers(&subsystem.config, namespace.identity);
    let (blocks, block) = (namespace.block_count, u64::from(namespace.block_bytes));
    let page_blocks = (1u32 << namespace.page_bits) / namespace.block_bytes;
    let page_blocks_z = (page_blocks - 1) as u16;
    let transfer_blocks = subsystem.config.transfer_bytes_max / u64::from(namespace.block_bytes);
    let atomic_z = (transfer_blocks - 1).min(0xFFFF) as u16;
    let copy_blocks = NVM_COPY_BYTES_MAX / u64::from(namespace.block_bytes);
    let mapped: u64 =
        namespace.pieces().map(|(lpn, count)| subsystem.ssd.mapped_among(lpn, count)).sum();
    IdentifyNamespaceNvm {
        nsze: blocks.into(),
        ncap: namespace.layout.map_or(blocks, |layout| layout.written_max() / block).into(),
        nuse: (mapped * u64::from(page_blocks)).min(blocks).into(),
        flbas: in_use.expect("the block size is one of the formats") as u8,
        // Commands are kept whole up to the largest transfer. Over a power failure a page is: what begins and ends in one.
        nawun_z: atomic_z.into(),
        nawupf_z: page_blocks_z.into(),
        nacwu_z: atomic_z.into(),
        nabspf_z: page_blocks_z.into(),
        npwg_z: page_blocks_z.into(),
        npwa_z: page_blocks_z.into(),
        npdg_z: page_blocks_z.into(),
        npda_z: page_blocks_z.into(),
        mssrl: (copy_blocks.min(0xFFFF) as u16).into(),
        mcl: (copy_blocks as u32).into(),
        nsattr: namespace.is_read_only().into(),
        nvmcap: u128::from(namespace.capacity).into(),
        endgid: ENDURANCE_GROUP.into(),
        nguid,
        eui64,
        ..nvm_capabilities(subsystem)
    }
}

/// Identify Namespace of a command set, which must be the namespace's.
fn csi_page(
    namespaces: &Namespaces,
    namespace: Option<&Namespace>,
    csi: CommandSet,
) -> Result<Vec<u8>, Status> {
    let Some(namespace) = namespace else { return Ok(vec![0; IDENTIFY_SIZE]) };
    // What zoned namespaces have of the NVM command set's.
    if (namespace.set(), csi) == (CommandSet::ZONED, CommandSet::NVM) {
        return Ok(vec![0; IDENTIFY_SIZE]);
    }
    if namespace.set() != csi {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    Ok(match namespace {
        Namespace::Memory(MemoryNamespace { memory, .. }) => {
            let page = IdentifyNamespaceMemory {
                nsze_bytes: memory.len().into(),
                granularity_bytes: 4.into(),
                ..Default::default()
            };
            page.as_bytes().to_vec()
        }
        Namespace::Programs(_) => {
            let page = IdentifyNamespacePrograms {
                maxact: ACTIVATIONS_MAX.into(),
                maxmemrs: RANGE_SETS_MAX.into(),
                maxmemr: RANGES_PER_SET_MAX,
                maxpb: (PROGRAM_BYTES_MAX >> 20).into(),
                ..Default::default()
            };
            page.as_bytes().to_vec()
        }
        Namespace::Nvm(NvmNamespace { nsid, layout: Some(_), block_bytes, .. }) => {
            zoned(namespaces.zones(*nsid), *block_bytes).as_bytes().to_vec()
        }
        Namespace::Nvm(_) => vec![0; IDENTIFY_SIZE],
    })
}

/// Identify Namespace of the Zoned Namespace command set. Only the format in use has zones.
fn zoned(zones: &Zones, block_bytes: u32) -> IdentifyNamespaceZoned {
    let mut page = IdentifyNamespaceZoned {
        // Reads may cross from a zone into the next.
        ozcs: (1 << 0).into(),
        mar_z: (zones.active_max - 1).into(),
        mor_z: (zones.open_max - 1).into(),
        ..IdentifyNamespaceZoned::default()
    };
    for (format, bytes) in page.lbafe.iter_mut().zip(LBA_FORMATS) {
        if bytes != block_bytes {
            continue;
        }
        format.blocks = (zones.layout.size() / u64::from(bytes)).into();
    }
    page
}

/// Namespace identification descriptors: EUI64, NGUID, UUID (Linux logs that there is none) and CSI.
fn descriptors(config: &Config, namespace: &Namespace) -> Vec<u8> {
    let (nguid, eui64) = identifiers(config, namespace.identity());
    let mut page = Vec::with_capacity(IDENTIFY_SIZE);
    // Version 8 of RFC 9562, of this program's own making: the NGUID with version and variant in their places.
    let mut uuid = nguid;
    uuid[6] = uuid[6] & 0x0F | 0x80;
    uuid[8] = uuid[8] & 0x3F | 0x80;
    let set = [namespace.set().0];
    for (nidt, id) in [(1, eui64.as_slice()), (2, &nguid), (3, &uuid), (4, &set)] {
        page.extend([nidt, id.len() as u8, 0, 0]);
        page.extend(id);
    }
    page.resize(IDENTIFY_SIZE, 0);
    page
}

/// NGUID and EUI64 of a namespace: equal for equal serial numbers, else distinct. Two namespaces of a drive never have the
/// same, also if the second came after the first was deleted.
fn identifiers(config: &Config, identity: u32) -> ([u8; 16], [u8; 8]) {
    // FNV-1a, 64 bit.
    let hash = config.serial.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let unique = hash.to_be_bytes();
    let mut eui64 = [0; 8];
    eui64[..3].copy_from_slice(&OUI);
    eui64[3..7].copy_from_slice(&unique[..4]);
    eui64[7] = identity as u8;
    if identity > NAMESPACES_MAX {
        // Created at run time: every number leads to a value of its own, far from those of other serial numbers.
        let upper = (hash >> 32) as u32;
        let mixed = upper.wrapping_add(identity.wrapping_mul(0x9E37_79B1));
        eui64[3..7].copy_from_slice(&mixed.to_be_bytes());
        eui64[7] = u8::MAX;
    }
    let mut nguid = [0; 16];
    nguid[..8].copy_from_slice(&unique);
    nguid[8..].copy_from_slice(&eui64);
    (nguid, eui64)
}

/// The list of namespaces above `after` that pass.
fn list(
    subsystem: &Subsystem,
    after: Nsid,
    passes: impl Fn(Nsid, CommandSet) -> bool,
) -> Result<Vec<u8>, Status> {
    if after.0 >= u32::MAX - 1 {
        return Err(Status::INVALID_NAMESPACE.with_dnr());
    }
    let all = subsystem.namespaces.iter();
    let listed = all.filter(|(id, namespace)| *id > after && passes(*id, namespace.set()));
    let mut page: Vec<u8> = listed.flat_map(|(id, _)| id.0.to_le_bytes()).collect();
    page.resize(IDENTIFY_SIZE, 0);
    Ok(page)
}
