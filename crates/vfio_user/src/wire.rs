//! Messages as bytes (vfio-user specification, version 0.0; structures of linux/vfio.h).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Version of the protocol: major and minor.
pub const VERSION: (u16, u16) = (0, 0);

/// Most bytes that one region access may move.
pub const DATA_MAX: usize = 1 << 20;

/// Most bytes of a message: data, and whatever is before it.
pub const MESSAGE_MAX: usize = DATA_MAX + 4096;

/// Most file descriptors of a message.
pub const DESCRIPTORS_MAX: usize = 16;

/// Most pieces of memory that a device is given at a time.
pub const MAPS: u32 = 4096;

/// What a message asks for.
pub mod command {
    #![expect(missing_docs, reason = "the specification's names")]
    pub const VERSION: u16 = 1;
    pub const DMA_MAP: u16 = 2;
    pub const DMA_UNMAP: u16 = 3;
    pub const DEVICE_GET_INFO: u16 = 4;
    pub const DEVICE_GET_REGION_INFO: u16 = 5;
    pub const DEVICE_GET_REGION_IO_FDS: u16 = 6;
    pub const DEVICE_GET_IRQ_INFO: u16 = 7;
    pub const DEVICE_SET_IRQS: u16 = 8;
    pub const REGION_READ: u16 = 9;
    pub const REGION_WRITE: u16 = 10;
    pub const DMA_READ: u16 = 11;
    pub const DMA_WRITE: u16 = 12;
    pub const DEVICE_RESET: u16 = 13;
}

/// Bits of [`Header::flags`].
pub mod flag {
    /// Mask of the type: 0 = command, 1 = reply.
    pub const TYPE: u32 = 0xF;
    /// Type of replies.
    pub const REPLY: u32 = 1;
    /// The sender wants no reply.
    pub const NO_REPLY: u32 = 1 << 4;
    /// The reply tells of an error.
    pub const ERROR: u32 = 1 << 5;
}

/// Regions and interrupts of a PCI device.
pub mod pci {
    /// Region of BAR0.
    pub const BAR0: u32 = 0;
    /// Region of the configuration space.
    pub const CONFIG: u32 = 7;
    /// Number of regions: six BARs, ROM, configuration space, VGA.
    pub const REGIONS: u32 = 9;
    /// Interrupts of MSI-X.
    pub const MSIX: u32 = 2;
    /// Number of kinds of interrupts: INTx, MSI, MSI-X, errors, requests.
    pub const INTERRUPTS: u32 = 5;
}

/// Begins every message.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// Chosen by the sender of a command, repeated in its reply.
    pub message_id: U16,
    /// See [`command`].
    pub command: U16,
    /// Bytes of the message, this header included.
    pub message_size: U32,
    /// See [`flag`].
    pub flags: U32,
    /// Of replies with an error: errno.
    pub error: U32,
}

/// Begins the payload of VERSION; JSON follows, ended by a zero byte.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Version {
    /// Must be equal.
    pub major: U16,
    /// The lower of both is spoken.
    pub minor: U16,
}

/// DMA_MAP: memory of the client that the device may access.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DmaMap {
    /// Bytes of this structure.
    pub argsz: U32,
    /// Bit 0: the device may read; bit 1: write.
    pub flags: U32,
    /// Where it begins in the file whose descriptor comes with the message.
    pub offset: U64,
    /// Where it begins for the device.
    pub address: U64,
    /// Bytes.
    pub size: U64,
}

/// DMA_UNMAP, and its reply.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DmaUnmap {
    /// Bytes of this structure.
    pub argsz: U32,
    /// Bit 1: everything, address and size being zero.
    pub flags: U32,
    /// Where it begins for the device.
    pub address: U64,
    /// Bytes.
    pub size: U64,
}

impl DmaUnmap {
    /// Flag: unmap everything.
    pub const ALL: u32 = 1 << 1;
}

/// Reply of DEVICE_GET_INFO.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DeviceInfo {
    /// Bytes of this structure.
    pub argsz: U32,
    /// Bit 0: can be reset; bit 1: is a PCI device.
    pub flags: U32,
    /// Number of regions.
    pub regions: U32,
    /// Number of kinds of interrupts.
    pub interrupts: U32,
}

/// DEVICE_GET_REGION_INFO, and its reply; capabilities follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RegionInfo {
    /// Of a command, bytes there is room for; of a reply, bytes it needs.
    pub argsz: U32,
    /// See the constants.
    pub flags: U32,
    /// Which region.
    pub index: U32,
    /// Where capabilities begin, from this structure's first byte.
    pub capabilities: U32,
    /// Bytes.
    pub size: U64,
    /// Where it begins in the file whose descriptor comes with the reply.
    pub offset: U64,
}

impl RegionInfo {
    /// Flag: can be read.
    pub const READ: u32 = 1 << 0;
    /// Flag: can be written.
    pub const WRITE: u32 = 1 << 1;
    /// Flag: parts can be mapped.
    pub const MAP: u32 = 1 << 2;
    /// Flag: capabilities follow.
    pub const CAPABILITIES: u32 = 1 << 3;
}

/// Capability of a region: the parts of it that can be mapped; here always one.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SparseMap {
    /// [`Self::ID`].
    pub id: U16,
    /// 1.
    pub version: U16,
    /// Where the next capability begins; 0 = none.
    pub next: U32,
    /// Number of areas.
    pub areas: U32,
    /// Nothing.
    pub reserved: U32,
    /// Where the area begins in the region.
    pub offset: U64,
    /// Its bytes.
    pub size: U64,
}

impl SparseMap {
    /// VFIO_REGION_INFO_CAP_SPARSE_MMAP.
    pub const ID: u16 = 1;
}

/// DEVICE_GET_IRQ_INFO, and its reply.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IrqInfo {
    /// Bytes of this structure.
    pub argsz: U32,
    /// Bit 0: can be signalled by eventfds; bit 3: their number cannot change while set.
    pub flags: U32,
    /// Which kind.
    pub index: U32,
    /// How many there are.
    pub count: U32,
}

/// DEVICE_SET_IRQS; data follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SetIrqs {
    /// Bytes of this structure and its data.
    pub argsz: U32,
    /// See the constants.
    pub flags: U32,
    /// Which kind.
    pub index: U32,
    /// The first one.
    pub start: U32,
    /// How many.
    pub count: U32,
}

impl SetIrqs {
    /// Data: none.
    pub const DATA_NONE: u32 = 1 << 0;
    /// Data: file descriptors, with the message.
    pub const DATA_EVENTFD: u32 = 1 << 2;
    /// What to do: set how they are signalled.
    pub const ACTION_TRIGGER: u32 = 1 << 5;
}

/// REGION_READ and REGION_WRITE, and their replies; data follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RegionAccess {
    /// Where in the region.
    pub offset: U64,
    /// Which region.
    pub region: U32,
    /// Bytes.
    pub count: U32,
}

const _: () = assert!(size_of::<Header>() == 16 && size_of::<DmaMap>() == 32);
const _: () = assert!(size_of::<DmaUnmap>() == 24 && size_of::<RegionInfo>() == 32);
const _: () = assert!(size_of::<SparseMap>() == 32 && size_of::<SetIrqs>() == 20);
