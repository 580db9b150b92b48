//! What the drive is made of.

use compute::{CostTable, RunTimeModel};
use ebpf::Engine;
use fabric::LinkConfig;
use simtime::{Bandwidth, Duration};
use ssd::{DaxPolicy, SyncPolicy};

use crate::limits::{MEMORY_BYTES_MAX, NAMESPACES_MAX, ZONES_MAX};
use crate::native::NativeConfig;
use crate::wasm::WasmConfig;
use nvme_spec::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};

/// A machine that says how long programs take there. A shell of the drive speaks with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuntimeServerConfig {
    /// `host:port`; empty = there is none.
    pub address: String,
    /// Path of the file with the secret that both know; empty = there is none.
    pub secret: String,
    /// An answer must be there by then.
    pub timeout: Duration,
    /// What happens if it is not, or if the server's run came to something else.
    pub fallback: RemoteFallback,
}

impl Default for RuntimeServerConfig {
    fn default() -> Self {
        Self {
            address: String::new(),
            secret: String::new(),
            timeout: Duration::from_us(10_000_000),
            fallback: RemoteFallback::Fail,
        }
    }
}

/// Where the pages of the flash are kept: a matter of the shell, which gives the drive its store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StorageConfig {
    /// Path of the file; empty = they are in memory, and gone with the process.
    pub file: String,
    /// When it is made durable.
    pub sync: SyncPolicy,
    /// Whether it is mapped.
    pub dax: DaxPolicy,
}

/// What this machine keeps the memory of memory namespaces in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryBacking {
    /// A folder, in which files without names have it; empty = memory of the process.
    pub folder: String,
    /// Huge pages are asked for.
    pub has_huge_pages: bool,
}

/// Freezing of the guest: a matter of the shell that serves the drive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FreezeConfig {
    /// It is asked for.
    pub is_on: bool,
    /// Path of the QMP socket of the guest's QEMU.
    pub qmp: String,
}

/// What happens to an execution whose run time a runtime server did not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoteFallback {
    /// It fails.
    Fail,
    /// Its run time comes from executed instructions.
    Instructions,
    /// It is declared.
    Declared,
    /// It is measured on this machine.
    Measured,
}

impl RemoteFallback {
    /// All of them, with their names in configurations.
    pub const NAMES: [(&str, Self); 4] = [
        ("fail", Self::Fail),
        ("instructions", Self::Instructions),
        ("declared", Self::Declared),
        ("measured", Self::Measured),
    ];
}

/// Whose commands a drive understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// The ratified command sets.
    Nvme,
    /// FEMU's commands for computational storage, too (`hw/femu/csd`), which CEMU's hosts send.
    Femu,
}

impl Dialect {
    /// All of them, with their names in configurations.
    pub const NAMES: [(&str, Self); 2] = [("nvme", Self::Nvme), ("femu", Self::Femu)];
}

/// Zones of a namespace (Zoned Namespace Command Set 1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZonedConfig {
    /// Zones.
    pub zones: u32,
    /// From the beginning of a zone to the next: a power of two.
    pub zone_bytes: u64,
    /// Bytes of a zone that can be written.
    pub zone_capacity: u64,
    /// Zones that may be active, that is open or closed; each has a stream of the flash of its own.
    pub active_max: u32,
    /// Zones that may be open.
    pub open_max: u32,
    /// Bytes of a logical block: 4096.
    pub block_bytes: u32,
}

/// What a namespace is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamespaceKind {
    /// Blocks on the flash.
    Nvm {
        /// Size.
        bytes: u64,
        /// Bytes of a logical block: 512 or 4096.
        block_bytes: u32,
    },
    /// Blocks on the flash, in zones that are written in sequence.
    Zoned(ZonedConfig),
    /// Device memory.
    Memory {
        /// Size.
        bytes: u64,
    },
    /// Programs.
    Programs,
}

impl NamespaceKind {
    /// Streams of the flash that its zones need ([`ssd::Config::zone_streams`]).
    pub fn zone_streams(&self) -> u32 {
        if let Self::Zoned(zoned) = self { zoned.active_max } else { 0 }
    }
}

/// A namespace that the drive has from the factory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamespaceConfig {
    /// Its identifier, from 1.
    pub nsid: u32,
    /// What it is.
    pub kind: NamespaceKind,
}

/// The drive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Flash.
    pub flash: ssd::Config,
    /// Where its pages are kept.
    pub storage: StorageConfig,
    /// Bytes of a logical block, of namespaces that do not say it: 512 or 4096.
    pub block_bytes: u32,
    /// Bytes of device memory, if [`Self::namespaces`] is empty.
    pub memory_bytes: u64,
    /// What this machine keeps it in.
    pub memory_backing: MemoryBacking,
    /// Bytes of device memory that the drive gives out by itself, and that are no namespace.
    pub own_memory_bytes: u64,
    /// Whose commands it understands.
    pub dialect: Dialect,
    /// The namespaces of the drive. An empty list means one of each kind: all of the flash, device memory, programs.
    pub namespaces: Vec<NamespaceConfig>,
    /// Compute units and their scheduler.
    pub compute: compute::Config,
    /// Run-time model of executions and programs that name none.
    pub run_time: RunTimeModel,
    /// Under [`RunTimeModel::Measured`], a unit takes so many thousandths of this machine's processor time.
    pub run_time_scale_permille: u32,
    /// Under [`RunTimeModel::Measured`], runs of which the median counts; all but the last on copies of the ranges.
    pub run_time_samples: u32,
    /// The machine that is asked under [`RunTimeModel::Remote`].
    pub runtime_server: RuntimeServerConfig,
    /// Native programs.
    pub native: NativeConfig,
    /// WebAssembly programs.
    pub wasm: WasmConfig,
    /// Whether a guest's clock stands still while a program runs longer here than on the drive.
    pub freeze: FreezeConfig,
    /// Cost of instructions and memory on a unit.
    pub cost: CostTable,
    /// Run time of programs that declare none, under [`RunTimeModel::Declared`].
    pub declared_time: Duration,
    /// Instructions any program may execute.
    pub instruction_budget: u64,
    /// Instructions it may execute more for each byte of its memory ranges.
    pub instruction_budget_per_byte: u64,
    /// What runs programs. It changes how fast the host machine is, never the drive.
    pub engine: Engine,
    /// Host threads that run programs in real time; 0 = as many as units. It changes when results are there, never
    /// what they are.
    pub workers: u32,
    /// Host link.
    pub host_link: LinkConfig,
    /// Link between flash and device memory.
    pub internal_link: LinkConfig,
    /// Time the drive's firmware spends on each command.
    pub command_time: Duration,
    /// Time from one I/O command that the controller takes to the next: what its firmware can do at most.
    pub command_interval: Duration,
    /// Hosts say which writes belong together (Flexible Data Placement).
    pub placement: bool,
    /// Erases that a block is made for: what the health logs count as 100 % used.
    pub rated_erases: u32,
    /// Most bytes one command may transfer: a power of two of at least 4 KiB.
    pub transfer_bytes_max: u64,
    /// I/O queue pairs a host may have.
    pub queue_pairs_max: u16,
    /// Serial number, at most 20 characters.
    pub serial: String,
}

impl Default for Config {
    /// PCIe Gen3 x4 to the host (about 3.5 GB/s after protocol overhead, about 1 us one way), a
    /// flash-to-memory path as fast as all channels together.
    fn default() -> Self {
        Self {
            flash: ssd::Config::default(),
            storage: StorageConfig::default(),
            block_bytes: 4096,
            memory_bytes: 1 << 30,
            memory_backing: MemoryBacking::default(),
            own_memory_bytes: 64 << 20,
            dialect: Dialect::Nvme,
            namespaces: Vec::new(),
            compute: compute::Config::default(),
            run_time: RunTimeModel::Instructions,
            run_time_scale_permille: 3000,
            run_time_samples: 1,
            runtime_server: RuntimeServerConfig::default(),
            native: NativeConfig::default(),
            wasm: WasmConfig::default(),
            freeze: FreezeConfig::default(),
            cost: CostTable::default(),
            declared_time: Duration::from_us(100),
            instruction_budget: 500_000_000,
            instruction_budget_per_byte: 32,
            engine: Engine::Auto,
            workers: 0,
            host_link: LinkConfig {
                bandwidth: Bandwidth::from_bytes_per_s(3_500_000_000),
                latency: Duration::from_us(1),
            },
            internal_link: LinkConfig {
                bandwidth: Bandwidth::from_bytes_per_s(9_600_000_000),
                latency: Duration::from_ns(500),
            },
            command_time: Duration::from_us(2),
            command_interval: Duration::ZERO,
            placement: false,
            // TLC of data-centre drives is commonly rated so.
            rated_erases: 3000,
            transfer_bytes_max: 1 << 20,
            queue_pairs_max: 64,
            serial: "CSDRIVE0001".into(),
        }
    }
}

/// A configuration the drive cannot be built from. Texts name other fields of [`Config`] between backticks.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message is the documentation")]
pub enum ConfigError {
    #[error(transparent)]
    Flash(#[from] ssd::ConfigError),
    #[error("{field} = {value}: {reason}")]
    Value { field: &'static str, value: String, reason: &'static str },
    #[error(
        "`memory_bytes` = {bytes}: this machine cannot reserve that much: {cause}; choose less, or another place for it"
    )]
    Memory { bytes: u64, cause: std::io::Error },
    #[error("namespace {nsid}: {reason}")]
    Namespace { nsid: u32, reason: String },
    #[error(
        "namespace {nsid}: a size of {bytes} bytes is more than the {free} bytes of flash that namespaces before it leave; choose less, or a larger `flash.capacity_bytes`"
    )]
    FlashSpace { nsid: u32, bytes: u64, free: u64 },
    #[error(
        "the list of namespaces that the drive's file keeps cannot be used: {reason}; `csdrive storage repair` gives it up"
    )]
    Saved { reason: &'static str },
    #[error(
        "namespace {nsid}: the drive's file has blocks under this identifier, and the configuration something else; give that another identifier"
    )]
    NamespaceTaken { nsid: u32 },
}

impl Config {
    /// The namespaces of the drive, by identifier.
    pub fn namespace_list(&self) -> Vec<NamespaceConfig> {
        if self.namespaces.is_empty() {
            let nvm = NamespaceKind::Nvm {
                bytes: self.flash.capacity_bytes,
                block_bytes: self.block_bytes,
            };
            return vec![
                NamespaceConfig { nsid: NVM_NSID, kind: nvm },
                NamespaceConfig {
                    nsid: MEMORY_NSID,
                    kind: NamespaceKind::Memory { bytes: self.memory_bytes },
                },
                NamespaceConfig { nsid: COMPUTE_NSID, kind: NamespaceKind::Programs },
            ];
        }
        let mut listed = self.namespaces.clone();
        listed.sort_by_key(|namespace| namespace.nsid);
        listed
    }

    fn check_namespaces(&self) -> Result<(), ConfigError> {
        let (mut before, mut zones, mut streams) = (None, 0, 0);
        for NamespaceConfig { nsid, kind } in self.namespace_list() {
            let refuse = |reason: String| Err(ConfigError::Namespace { nsid, reason });
            if !(1..=NAMESPACES_MAX).contains(&nsid) {
                return refuse(format!("choose an identifier from 1 to {NAMESPACES_MAX}"));
            }
            if before.replace(nsid) == Some(nsid) {
                return refuse("two namespaces have this identifier; give each its own".into());
            }
            match kind {
                NamespaceKind::Nvm { bytes, block_bytes } => {
                    if !matches!(block_bytes, 512 | 4096) {
                        return refuse(format!(
                            "a block size of {block_bytes} bytes is not possible; choose 512B or 4KiB"
                        ));
                    }
                    if bytes < u64::from(block_bytes) {
                        return refuse(format!(
                            "a size of {bytes} bytes is less than a block; choose at least {block_bytes} bytes"
                        ));
                    }
                }
                NamespaceKind::Memory { bytes } => {
                    if bytes == 0 || !bytes.is_multiple_of(4096) || bytes > MEMORY_BYTES_MAX {
                        return refuse(format!(
                            "a size of {bytes} bytes is not possible; choose a multiple of 4KiB, from 4KiB to 16TiB"
                        ));
                    }
                }
                NamespaceKind::Zoned(zoned) => {
                    self.check_zoned(&zoned).or_else(refuse)?;
                    zones += u64::from(zoned.zones);
                    streams += u64::from(zoned.active_max);
                    if zones > ZONES_MAX.into() {
                        return refuse(format!(
                            "with its zones the drive has {zones}; choose a larger zone_size, for at most {ZONES_MAX}"
                        ));
                    }
                }
                NamespaceKind::Programs => {}
            }
        }
        if streams > self.flash.zone_streams.into() {
            let reason = "zones that may be active need as many: leave it out, or choose more";
            let value = self.flash.zone_streams.to_string();
            return Err(ConfigError::Value { field: "flash.zone_streams", value, reason });
        }
        Ok(())
    }

    /// Checks what the flash would say of streams that no user named.
    fn check_active_zones(&self) -> Result<(), ConfigError> {
        let mut active = 0;
        for NamespaceConfig { nsid, kind } in self.namespace_list() {
            active += u64::from(kind.zone_streams());
            if active > ssd::ZONE_STREAMS_MAX.into() {
                let reason = format!(
                    "with its max_active {active} zones of the drive may be active; choose less, for at most {}",
                    ssd::ZONE_STREAMS_MAX
                );
                return Err(ConfigError::Namespace { nsid, reason });
            }
        }
        Ok(())
    }

    /// What is wrong with zones.
    fn check_zoned(&self, zoned: &ZonedConfig) -> Result<(), String> {
        let ZonedConfig { zones, zone_bytes, zone_capacity, active_max, open_max, block_bytes } =
            *zoned;
        let page = u64::from(self.flash.mapped_bytes());
        // After a loss of power a zone is as far written as the map tells.
        if block_bytes != 4096 || page != 4096 {
            return Err(format!(
                "blocks of {block_bytes} bytes, and {page} bytes for which the map has an entry: of a zoned namespace both are 4KiB (block_size, flash.indirection_unit)"
            ));
        }
        if zone_capacity == 0 || !zone_capacity.is_multiple_of(page) {
            return Err(format!(
                "a zone capacity of {zone_capacity} bytes is not possible; choose a multiple of {page} bytes"
            ));
        }
        if !zone_bytes.is_power_of_two() || zone_bytes < page || zone_bytes > 1 << 40 {
            return Err(format!(
                "a zone size of {zone_bytes} bytes is not possible; choose a power of two from {page} bytes to 1TiB"
            ));
        }
        if zone_capacity > zone_bytes {
            return Err(format!(
                "a zone capacity of {zone_capacity} bytes is more than the zone size, {zone_bytes} bytes; choose less"
            ));
        }
        if zones == 0 {
            return Err(format!(
                "its size is less than a zone; choose at least {zone_capacity} bytes, or smaller zones"
            ));
        }
        if !(1..=ssd::ZONE_STREAMS_MAX).contains(&active_max) {
            return Err(format!(
                "{active_max} active zones are not possible; choose 1 to {}",
                ssd::ZONE_STREAMS_MAX
            ));
        }
        if !(1..=active_max).contains(&open_max) {
            return Err(format!(
                "{open_max} open zones are not possible; choose 1 to {active_max}, as many as may be active"
            ));
        }
        Ok(())
    }

    /// Checks what the flash model does not.
    ///
    /// # Errors
    /// Naming the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, value: &dyn ToString, reason| {
            Err(ConfigError::Value { field, value: value.to_string(), reason })
        };
        self.check_active_zones()?;
        ssd::Geometry::new(&self.flash)?;
        if self.placement && self.flash.placement != ssd::Placement::Hints {
            let reason =
                "the host says which writes belong together: flash.placement is hints then";
            return refuse("placement", &self.placement, reason);
        }
        if !self.storage.file.is_empty() && !self.flash.keep_data {
            let reason = "a drive whose pages are in a file (`storage.file`) keeps them: leave it out, or the file";
            return refuse("flash.keep_data", &false, reason);
        }
        if !self.storage.file.is_empty() && self.flash.bad_blocks_permille > 0 {
            let reason =
                "a file does not say which blocks are bad: leave it out, or `storage.file`";
            return refuse("flash.bad_blocks_permille", &self.flash.bad_blocks_permille, reason);
        }
        if !self.storage.file.is_empty() && self.flash.power_loss_protection {
            let reason = "capacitors do not help a process that is killed, and its file: set it to false, or leave out `storage.file`";
            return refuse("flash.power_loss_protection", &true, reason);
        }
        let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
        if !matches!(self.block_bytes, 512 | 4096) {
            return refuse("block_bytes", &self.block_bytes, "choose 512B or 4KiB");
        }
        if self.memory_bytes == 0 || !self.memory_bytes.is_multiple_of(4096) {
            let reason = "choose a multiple of 4KiB, at least 4KiB";
            return refuse("memory_bytes", &self.memory_bytes, reason);
        }
        if self.memory_bytes > MEMORY_BYTES_MAX {
            return refuse("memory_bytes", &self.memory_bytes, "choose at most 16TiB");
        }
        if !self.own_memory_bytes.is_multiple_of(4096) || self.own_memory_bytes > MEMORY_BYTES_MAX {
            let reason = "choose a multiple of 4KiB, at most 16TiB";
            return refuse("own_memory_bytes", &self.own_memory_bytes, reason);
        }
        if !(1..=1024).contains(&self.compute.units) {
            return refuse("compute.units", &self.compute.units, "choose 1 to 1024");
        }
        if self.compute.time_slice.is_zero() {
            return refuse("compute.time_slice", &0, "choose at least 1ns");
        }
        if !(1_000_000..=86_400_000_000_000).contains(&self.native.time_limit.as_ns()) {
            let reason = "choose 1ms to 86400s";
            return refuse("native.time_limit", &self.native.time_limit.as_ns(), reason);
        }
        if !(1 << 20..=1 << 40).contains(&self.native.memory_bytes) {
            let reason = "choose 1MiB to 1TiB";
            return refuse("native.memory_bytes", &self.native.memory_bytes, reason);
        }
        if !(1 << 20..=4 << 30).contains(&self.wasm.memory_bytes) {
            let reason = "choose 1MiB to 4GiB: a WebAssembly program has addresses of 32 bits";
            return refuse("wasm.memory_bytes", &self.wasm.memory_bytes, reason);
        }
        if !(1..=1000).contains(&self.run_time_samples) {
            return refuse("run_time_samples", &self.run_time_samples, "choose 1 to 1000");
        }
        if self.run_time == RunTimeModel::Remote && self.runtime_server.address.is_empty() {
            let reason = "give `runtime_server.address`, as tcp://HOST:4231; `csdrive runtime-server` serves there";
            return refuse("run_time", &"remote", reason);
        }
        let max = self.transfer_bytes_max;
        if !max.is_power_of_two() || !(4096..=64 << 20).contains(&max) {
            let reason = "choose a power of two from 4KiB to 64MiB";
            return refuse("transfer_bytes_max", &max, reason);
        }
        if !(1..=1024).contains(&self.queue_pairs_max) {
            return refuse("queue_pairs_max", &self.queue_pairs_max, "choose 1 to 1024");
        }
        if self.serial.is_empty() || self.serial.len() > 20 || !self.serial.bytes().all(printable) {
            let reason = "choose 1 to 20 printable ASCII characters";
            return refuse("serial", &self.serial.escape_debug(), reason);
        }
        self.check_namespaces()
    }
}
