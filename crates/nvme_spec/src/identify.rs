//! Identify data structures (Base 2.1, section 5.1.13; NVM Command Set 1.2, section 4.1.5).

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Controller or Namespace Structure values (Base 2.1, Figure 309).
pub mod cns {
    /// Identify Namespace of the NVM command set.
    pub const NAMESPACE: u8 = 0x00;
    /// Identify Controller.
    pub const CONTROLLER: u8 = 0x01;
    /// Active namespace identifiers.
    pub const ACTIVE_NAMESPACES: u8 = 0x02;
    /// Namespace identification descriptors.
    pub const NAMESPACE_DESCRIPTORS: u8 = 0x03;
    /// Identify Namespace of a given I/O command set.
    pub const CSI_NAMESPACE: u8 = 0x05;
    /// Identify Controller of a given I/O command set.
    pub const CSI_CONTROLLER: u8 = 0x06;
    /// Active namespace identifiers of a given I/O command set.
    pub const CSI_ACTIVE_NAMESPACES: u8 = 0x07;
    /// Identify Namespace, independent of the I/O command set.
    pub const INDEPENDENT_NAMESPACE: u8 = 0x08;
    /// Allocated namespace identifiers, attached or not.
    pub const ALLOCATED_NAMESPACES: u8 = 0x10;
    /// Identify Namespace of an allocated namespace.
    pub const ALLOCATED_NAMESPACE: u8 = 0x11;
    /// Controllers that a namespace is attached to.
    pub const ATTACHED_CONTROLLERS: u8 = 0x12;
    /// Controllers of the NVM subsystem.
    pub const CONTROLLERS: u8 = 0x13;
    /// Endurance groups.
    pub const ENDURANCE_GROUPS: u8 = 0x19;
    /// Allocated namespace identifiers of a given I/O command set.
    pub const CSI_ALLOCATED_NAMESPACES: u8 = 0x1A;
    /// Identify Namespace of an allocated namespace, of a given I/O command set.
    pub const CSI_ALLOCATED_NAMESPACE: u8 = 0x1B;
    /// I/O command set combinations.
    pub const COMMAND_SETS: u8 = 0x1C;
}

/// Bytes of every Identify data structure.
pub const IDENTIFY_SIZE: usize = 4096;

/// Identify Controller, CNS 01h (Base 2.1, Figure 312).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct IdentifyController {
    pub vid: U16,
    pub ssvid: U16,
    pub sn: [u8; 20],
    pub mn: [u8; 40],
    pub fr: [u8; 8],
    pub rab: u8,
    pub ieee: [u8; 3],
    pub cmic: u8,
    pub mdts: u8,
    pub cntlid: U16,
    pub ver: U32,
    pub rtd3r: U32,
    pub rtd3e: U32,
    pub oaes: U32,
    pub ctratt: U32,
    pub rrls: U16,
    pub reserved102: [u8; 9],
    pub cntrltype: u8,
    pub fguid: [u8; 16],
    pub crdt: [U16; 3],
    pub crcap: u8,
    pub reserved135: [u8; 118],
    pub nvmsr: u8,
    pub vwci: u8,
    pub mec: u8,
    pub oacs: U16,
    pub acl_z: u8,
    pub aerl_z: u8,
    pub frmw: u8,
    pub lpa: u8,
    pub elpe_z: u8,
    pub npss_z: u8,
    pub avscc: u8,
    pub apsta: u8,
    pub wctemp: U16,
    pub cctemp: U16,
    pub mtfa: U16,
    pub hmpre: U32,
    pub hmmin: U32,
    pub tnvmcap: U128,
    pub unvmcap: U128,
    pub rpmbs: U32,
    pub edstt: U16,
    pub dsto: u8,
    pub fwug: u8,
    pub kas: U16,
    pub hctma: U16,
    pub mntmt: U16,
    pub mxtmt: U16,
    pub sanicap: U32,
    pub hmminds: U32,
    pub hmmaxd: U16,
    pub nsetidmax: U16,
    pub endgidmax: U16,
    pub anatt: u8,
    pub anacap: u8,
    pub anagrpmax: U32,
    pub nanagrpid: U32,
    pub pels: U32,
    pub domainid: U16,
    pub reserved358: [u8; 154],
    pub sqes: u8,
    pub cqes: u8,
    pub maxcmd: U16,
    pub nn: U32,
    pub oncs: U16,
    pub fuses: U16,
    pub fna: u8,
    pub vwc: u8,
    pub awun_z: U16,
    pub awupf_z: U16,
    pub icsvscc: u8,
    pub nwpc: u8,
    pub acwu_z: U16,
    pub cdfs: U16,
    pub sgls: U32,
    pub mnan: U32,
    pub reserved544: [u8; 224],
    pub subnqn: [u8; 256],
    pub reserved1024: [u8; 1024],
    pub psd: [PowerState; 32],
    pub vendor: [u8; 1024],
}

/// Power state descriptor (Base 2.1, Figure 313).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct PowerState {
    /// Most power, in centiwatts unless a flag says otherwise.
    pub mp: U16,
    pub reserved2: u8,
    pub flags: u8,
    pub enlat: U32,
    pub exlat: U32,
    pub rrt: u8,
    pub rrl: u8,
    pub rwt: u8,
    pub rwl: u8,
    pub idlp: U16,
    pub ips: u8,
    pub reserved19: u8,
    pub actp: U16,
    pub apws: u8,
    pub reserved23: [u8; 9],
}

const _: () = assert!(size_of::<PowerState>() == 32);

/// Identify Controller of the NVM command set, CNS 06h with CSI 00h (NVM Command Set 1.2,
/// Figure 119).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct IdentifyControllerNvm {
    /// Largest Verify, a power of two of the minimum memory page size; 0 = no limit.
    pub vsl: u8,
    /// Largest Write Zeroes, alike.
    pub wzsl: u8,
    pub wusl: u8,
    /// Most ranges of a Dataset Management command; 0 = no limit.
    pub dmrl: u8,
    pub dmrsl: U32,
    pub dmsl: U64,
    pub reserved16: [u8; 4080],
}

/// LBA format (NVM Command Set 1.2, Figure 115).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LbaFormat {
    /// Metadata bytes per block.
    pub ms: U16,
    /// Block size as a power of two.
    pub lbads: u8,
    /// Relative performance.
    pub rp: u8,
}

/// Identify Namespace of the NVM command set, CNS 00h (NVM Command Set 1.2, Figure 114).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct IdentifyNamespaceNvm {
    pub nsze: U64,
    pub ncap: U64,
    pub nuse: U64,
    pub nsfeat: u8,
    pub nlbaf_z: u8,
    pub flbas: u8,
    pub mc: u8,
    pub dpc: u8,
    pub dps: u8,
    pub nmic: u8,
    pub rescap: u8,
    pub fpi: u8,
    pub dlfeat: u8,
    pub nawun_z: U16,
    pub nawupf_z: U16,
    pub nacwu_z: U16,
    pub nabsn_z: U16,
    pub nabo: U16,
    pub nabspf_z: U16,
    pub noiob: U16,
    pub nvmcap: U128,
    pub npwg_z: U16,
    pub npwa_z: U16,
    pub npdg_z: U16,
    pub npda_z: U16,
    pub nows_z: U16,
    pub mssrl: U16,
    pub mcl: U32,
    pub msrc_z: u8,
    pub reserved81: [u8; 11],
    pub anagrpid: U32,
    pub reserved96: [u8; 3],
    pub nsattr: u8,
    pub nvmsetid: U16,
    pub endgid: U16,
    pub nguid: [u8; 16],
    pub eui64: [u8; 8],
    pub lbaf: [LbaFormat; 64],
    pub vendor: [u8; 3712],
}

/// What a host specifies of a new namespace: the first 768 bytes of the data of Namespace Management (Base 2.1, Figure 368;
/// NVM Command Set 1.2, section 4.1.6). The rest of its 4096 bytes is reserved.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct NamespaceSpecification {
    pub nsze: U64,
    pub ncap: U64,
    pub reserved16: [u8; 10],
    pub flbas: u8,
    pub reserved27: [u8; 2],
    pub dps: u8,
    pub nmic: u8,
    pub reserved31: [u8; 61],
    pub anagrpid: U32,
    pub reserved96: [u8; 4],
    pub nvmsetid: U16,
    pub endgid: U16,
    pub reserved104: [u8; 280],
    pub lbstm: U64,
    pub nphndls: U16,
    pub reserved394: [u8; 118],
    /// Placement handle n has this reclaim unit handle.
    pub placement_handles: [U16; 128],
}

const _: () = assert!(size_of::<NamespaceSpecification>() == 768);

impl Default for NamespaceSpecification {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// A list of controllers, as Namespace Attachment takes it (Base 2.1, Figure 137).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ControllerList {
    /// How many of the identifiers count.
    pub count: U16,
    /// Identifiers, ascending.
    pub ids: [U16; 2047],
}

const _: () = assert!(size_of::<ControllerList>() == IDENTIFY_SIZE);

impl Default for ControllerList {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Identify Namespace independent of the command set, CNS 08h (Base 2.1, Figure 320).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct IdentifyNamespaceIndependent {
    pub nsfeat: u8,
    pub nmic: u8,
    pub rescap: u8,
    pub fpi: u8,
    pub anagrpid: U32,
    pub nsattr: u8,
    pub reserved9: u8,
    pub nvmsetid: U16,
    pub endgid: U16,
    pub nstat: u8,
    pub kpios: u8,
    pub maxkt: U16,
    pub reserved18: [u8; 2],
    pub rgrpid: U32,
    pub reserved24: [u8; 4072],
}

/// Identify Namespace of the Computational Programs command set, CNS 05h with CSI 04h.
/// Units of MRSG, LPG and MAXPB are provisional, see `docs/conformance.md`.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct IdentifyNamespacePrograms {
    pub maxact: U16,
    pub maxmemrs: U16,
    pub mrsg: U16,
    pub maxmemr: u8,
    pub reserved7: u8,
    pub maxpb: U64,
    pub lpg: u8,
    pub reserved17: [u8; 4079],
}

/// Identify Namespace of the Subsystem Local Memory command set, CNS 05h with CSI 03h.
/// The public material gives no layout: this one is ours, see `docs/conformance.md`.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct IdentifyNamespaceMemory {
    pub nsze_bytes: U64,
    pub granularity_bytes: U32,
    pub reserved12: [u8; 4084],
}

/// Namespace identification descriptor header (Base 2.1, Figure 315).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NamespaceDescriptorHeader {
    /// Identifier type: 1 EUI64, 2 NGUID, 3 UUID, 4 CSI.
    pub nidt: u8,
    /// Identifier length in bytes.
    pub nidl: u8,
    /// Reserved.
    pub reserved: [u8; 2],
}

macro_rules! check {
    ($type:ident: $($field:ident @ $offset:literal),*) => {
        const _: () = assert!(size_of::<$type>() == IDENTIFY_SIZE);
        $(const _: () = assert!(core::mem::offset_of!($type, $field) == $offset);)*
        impl Default for $type {
            fn default() -> Self { Self::new_zeroed() }
        }
    };
}

check!(IdentifyController: mdts @ 77, cntlid @ 78, ver @ 80, oaes @ 92, cntrltype @ 111,
    crdt @ 128, crcap @ 134, nvmsr @ 253, oacs @ 256, lpa @ 261, wctemp @ 266, hmpre @ 272, tnvmcap @ 280,
    rpmbs @ 312, kas @ 320, sanicap @ 328, anatt @ 342, pels @ 352, sqes @ 512, nn @ 516,
    oncs @ 520, vwc @ 525, cdfs @ 534, sgls @ 536, mnan @ 540, subnqn @ 768, psd @ 2048,
    vendor @ 3072);
check!(IdentifyControllerNvm: dmrsl @ 4, dmsl @ 8);
check!(IdentifyNamespaceNvm: nsfeat @ 24, nmic @ 30, nawun_z @ 34, nvmcap @ 48, npwg_z @ 64,
    mssrl @ 74, mcl @ 76, msrc_z @ 80, anagrpid @ 92, nsattr @ 99, nguid @ 104, eui64 @ 120,
    lbaf @ 128, vendor @ 384);
check!(IdentifyNamespaceIndependent: anagrpid @ 4, nsattr @ 8, nvmsetid @ 10, endgid @ 12,
    nstat @ 14, maxkt @ 16, rgrpid @ 20);
check!(IdentifyNamespacePrograms: maxmemrs @ 2, mrsg @ 4, maxmemr @ 6, maxpb @ 8, lpg @ 16);
check!(IdentifyNamespaceMemory: granularity_bytes @ 8);
