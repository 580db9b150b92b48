//! Geometry and timing of the flash, and the checks that make a geometry usable.

use simtime::{Bandwidth, Duration};

use crate::address::{BlockId, Layout, Ppa};
use crate::reliability::BitErrors;
use crate::victims::VictimPolicyKind;

/// Bytes of a sector: the unit in which the write buffer knows what a page holds.
pub const SECTOR_BYTES: u32 = 512;

/// Which waiting reads of different planes of a die run together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MultiPlaneReads {
    /// Reads of the same page of their blocks (the multi-plane address rule of ONFI 5.1, section 5.7).
    SamePage,
    /// Any (independent multi-plane read: ONFI 5.1, section 5.22).
    Independent,
}

/// In which order a die does what waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DieOrder {
    /// As it came.
    Arrival,
    /// Reads of the host first.
    ReadsFirst,
}

/// What a die stops for reads of the host, which then go first (program and erase suspend: Wu and He, "Reducing SSD Read Latency
/// via NAND Flash Program and Erase Suspension", FAST 2012).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suspend {
    /// Nothing: what has begun ends.
    Nothing,
    /// Erases.
    Erases,
    /// Programs whose data is there, and erases.
    ProgramsAndErases,
}

/// What decides in which of several streams a page of the host's is written: pages of a stream share blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// The host says so. What it says nothing of goes to the first stream.
    Hints,
    /// Pages that are thought to be written again soon, and others: what a write replaces tells how long it will live. Collection
    /// moves pages of the former to blocks of their own, too (Wang et al., "`SepBIT`", FAST 2022, with one class for what collection
    /// has moved from elsewhere).
    HotCold,
}

/// What collection makes of streams of hints (the types of reclaim unit handle of NVMe's Flexible Data Placement).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Pages that it moves share blocks, whatever stream they were written for.
    Initial,
    /// Pages that it moves stay with those of their stream.
    Persistent,
}

/// How blocks are worn evenly. (Gal and Toledo, "Algorithms and Data Structures for Flash Memories", ACM Computing Surveys 2005, section 2.2.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WearLeveling {
    /// Blocks are used again in the order in which they were erased.
    None,
    /// Of the free blocks the host writes to the one that was erased least.
    Dynamic,
    /// And data that stays moves to blocks that were erased much: if the least worn block in use lags so many erases behind the most worn one,
    /// it is collected, however full it is, to the most worn free block; such data has a stream of its own.
    Static,
}

/// Entries of the map that are changed together: a page of it, of 4 KiB.
pub const MAP_PAGE_ENTRIES: u64 = 1024;

/// Most streams of hints.
pub const STREAMS_MAX: u32 = 16;

/// Most streams of zones.
pub const ZONE_STREAMS_MAX: u32 = 128;

/// How what is written on a new drive was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilledBy {
    /// Page after page, once.
    Sequence,
    /// Then overwritten, page by page at random, until write amplification does not change any more.
    RandomOverwrites,
}

/// Pages that share cells: the most that there are.
const PAGE_TYPES_MAX: usize = 4;

/// The time of an operation by type of page: page n of flash of a block is of the type n modulo their number. Cells of b bits have b types of
/// page, read and programmed at different times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageTimes {
    times: [Duration; PAGE_TYPES_MAX],
    count: u8,
}

impl PageTimes {
    /// All pages take the same time.
    pub const fn uniform(time: Duration) -> Self {
        Self { times: [time; PAGE_TYPES_MAX], count: 1 }
    }

    /// A time for each type, one to four; `None` for other numbers.
    pub fn new(times: &[Duration]) -> Option<Self> {
        let first = *times.first()?;
        let mut all = Self::uniform(first);
        all.times.get_mut(..times.len())?.copy_from_slice(times);
        all.count = times.len() as u8;
        Some(all)
    }

    /// The time of a page of a block.
    #[inline]
    pub fn of(&self, page: u32) -> Duration {
        if self.count == 1 {
            self.times[0]
        } else {
            self.times[page as usize % self.count as usize]
        }
    }

    /// The longest time of so many pages from one on.
    #[inline]
    pub(crate) fn slowest(&self, page: u32, count: u32) -> Duration {
        if self.count == 1 || count == 1 {
            return self.of(page);
        }
        (page..page + count).map(|page| self.of(page)).max().unwrap_or_default()
    }

    /// The time of each type.
    pub fn types(&self) -> &[Duration] {
        &self.times[..self.count.into()]
    }

    /// The mean over all types.
    pub fn mean(&self) -> Duration {
        let sum: u64 = self.types().iter().map(|time| time.as_ns()).sum();
        Duration::from_ns(sum / u64::from(self.count))
    }
}

impl From<Duration> for PageTimes {
    fn from(time: Duration) -> Self {
        Self::uniform(time)
    }
}

/// How many bits a cell holds: times of that kind of flash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellType {
    /// One.
    Slc,
    /// Two.
    Mlc,
    /// Three.
    Tlc,
    /// Four.
    Qlc,
}

impl CellType {
    /// All of them, with their names in configurations.
    pub const NAMES: [(&str, Self); 4] =
        [("slc", Self::Slc), ("mlc", Self::Mlc), ("tlc", Self::Tlc), ("qlc", Self::Qlc)];

    /// tR and tPROG by type of page, from lower to upper, and tBERS.
    ///
    /// SLC, MLC (Micron L95B) and TLC are as FEMU has them (`hw/femu/nand/nand.h`); TLC comes from Jung et al., "SimpleSSD: Modeling Solid State
    /// Drives for Holistic System Simulation" (IEEE CAL 2018). QLC reads are Intel's 96-layer QLC of Chen et al., "PACA" (ICCD 2022, table I), its
    /// program time is the one mean that they give.
    pub fn times(self) -> (PageTimes, PageTimes, Duration) {
        let times = |ns: &[u64]| {
            let times: Vec<Duration> = ns.iter().map(|ns| Duration::from_ns(*ns)).collect();
            PageTimes::new(&times).expect("there are one to four")
        };
        let (read, program, erase_us) = match self {
            Self::Slc => (times(&[40_000]), times(&[800_000]), 2000),
            Self::Mlc => (times(&[48_000, 64_000]), times(&[850_000, 2_300_000]), 3000),
            Self::Tlc => {
                let program = times(&[820_500, 2_225_000, 5_734_000]);
                (times(&[56_500, 77_500, 106_000]), program, 3000)
            }
            Self::Qlc => (times(&[47_900, 76_200, 134_600, 228_100]), times(&[1_860_000]), 6340),
        };
        (read, program, Duration::from_us(erase_us))
    }
}

/// What reading a page costs that was never written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnwrittenReads {
    /// Nothing: the map says that there is nothing to read.
    Free,
    /// A flash read, as if the drive had been filled before.
    Flash,
}

/// What the drive's flash is made of and how fast it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Bytes the host sees.
    pub capacity_bytes: u64,
    /// Independent channel buses.
    pub channels: u32,
    /// Dies on each channel; a die does one operation at a time.
    pub dies_per_channel: u32,
    /// Planes of each die; operations of one kind on different planes of a die run together.
    pub planes_per_die: u32,
    /// Blocks of each plane; 0 = as many as capacity and overprovisioning need.
    pub blocks_per_plane: u32,
    /// Pages of flash of each block.
    pub pages_per_block: u32,
    /// Bytes of a page of flash: what the array reads at once.
    pub page_bytes: u32,
    /// Bytes that the map has one entry for (indirection unit), a page of flash or a part of it; 0 = a page. This is what the
    /// model calls a page.
    pub indirection_bytes: u32,
    /// Pages of flash that one operation programs in a plane (one-shot programming: all types of page of the same cells).
    pub pages_per_program: u32,
    /// Flash beyond the capacity, in thousandths of the capacity.
    pub overprovisioning_permille: u32,
    /// Garbage collection begins when this part of a plane's blocks is free, in thousandths.
    pub gc_start_permille: u32,
    /// Host writes to a plane wait for garbage collection at this part, in thousandths.
    pub gc_urgent_permille: u32,
    /// Array time of a page read (tR), by type of page.
    pub read_time: PageTimes,
    /// Array time of a page program (tPROG), by type of page.
    pub program_time: PageTimes,
    /// Time of a block erase (tBERS).
    pub erase_time: Duration,
    /// Channel bus rate.
    pub channel_bandwidth: Bandwidth,
    /// Time in which the command and the address of an operation of a plane occupy the channel.
    pub bus_command_time: Duration,
    /// Bits of pages that are wrong; `None` = none are.
    pub bit_errors: Option<BitErrors>,
    /// Wrong bits of a million that are corrected with one read.
    pub ecc_limit_ppm: u32,
    /// So many thousandths as many with each further read.
    pub retry_gain_permille: u32,
    /// Further reads that are tried.
    pub retries_max: u32,
    /// A block of which a page needed so many of them is written anew; 0 = none is.
    pub refresh_retries: u32,
    /// Erases of every block before the drive was there.
    pub worn_erases: u32,
    /// How old data is that was there before the drive.
    pub data_age_days: u32,
    /// Blocks that are bad when the drive is new, in thousandths.
    pub bad_blocks_permille: u32,
    /// Of a million erases those that fail: their block is not used any more.
    pub erase_failures_ppm: u32,
    /// Page reads of the host that fail though nothing is damaged, of a million.
    pub read_errors_ppm: u32,
    /// False for a simulation of times alone: page contents are not kept.
    pub keep_data: bool,
    /// Bytes of host writes acknowledged before they are programmed; 0 = write through.
    pub write_buffer_bytes: u64,
    /// What is in the write buffer outlives a loss of power: capacitors last until it is in flash.
    pub power_loss_protection: bool,
    /// Pages that were read lately stay in so much memory; reads of them take no flash. Whatever is written leaves it.
    pub read_cache_bytes: u64,
    /// A page in the write buffer is programmed when it was not written for so long. It is programmed earlier if the
    /// buffer is half full of pages that wait, or for a flush.
    pub write_buffer_delay: Duration,
    /// What decides where pages of the host's are written.
    pub placement: Placement,
    /// Streams of the host's hints; each has an open block in every plane.
    pub hint_streams: u32,
    /// Streams beside them, of what is written in sequence and erased as a whole: zones. Each has an open block in every plane, too.
    pub zone_streams: u32,
    /// What collection makes of them.
    pub isolation: Isolation,
    /// How blocks are worn evenly.
    pub wear_leveling: WearLeveling,
    /// Erases that the least worn block may lag behind the most worn one, with [`WearLeveling::Static`].
    pub wear_gap: u32,
    /// Which block garbage collection takes next.
    pub victim_policy: VictimPolicyKind,
    /// Which reads of a die run together.
    pub multi_plane_reads: MultiPlaneReads,
    /// In which order a die does what waits for it.
    pub die_order: DieOrder,
    /// What a die stops for reads of the host.
    pub suspend: Suspend,
    /// How long it takes to stop.
    pub suspend_time: Duration,
    /// An operation that has stopped so often runs to its end.
    pub suspend_max: u32,
    /// A die reads the next page while the last one crosses the channel (cache registers: ONFI 5.1, section 5.20, Read Cache).
    pub cache_reads: bool,
    /// A die takes the data of the next program while it programs (ONFI 5.1, Page Cache Program).
    pub cache_programs: bool,
    /// What reading a page costs that was never written.
    pub unwritten_reads: UnwrittenReads,
    /// The time that deallocation takes for each [`MAP_PAGE_ENTRIES`] entries of the map in which it changes some.
    pub deallocate_time: Duration,
    /// Part of the capacity that is written when the drive is new, from its beginning, with zeroes, in thousandths.
    pub filled_permille: u32,
    /// How that was done.
    pub filled_by: FilledBy,
    /// What is random of it.
    pub filled_seed: u64,
}

impl Default for Config {
    /// A mid-range TLC drive: ONFI NV-DDR3 1200 MT/s channels; tR, tPROG and tBERS in the range
    /// of FEMU's and `MQSim`'s TLC defaults (40 us, 200 us, 2 ms).
    fn default() -> Self {
        Self {
            capacity_bytes: 16 << 30,
            channels: 8,
            dies_per_channel: 4,
            planes_per_die: 2,
            blocks_per_plane: 0,
            pages_per_block: 256,
            page_bytes: 4096,
            indirection_bytes: 0,
            pages_per_program: 1,
            overprovisioning_permille: 70,
            gc_start_permille: 30,
            gc_urgent_permille: 10,
            read_time: PageTimes::uniform(Duration::from_us(40)),
            program_time: PageTimes::uniform(Duration::from_us(200)),
            erase_time: Duration::from_us(2000),
            channel_bandwidth: Bandwidth::from_bytes_per_s(1_200_000_000),
            bus_command_time: Duration::ZERO,
            bit_errors: None,
            ecc_limit_ppm: 4000,
            retry_gain_permille: 1250,
            retries_max: 16,
            refresh_retries: 0,
            worn_erases: 0,
            data_age_days: 0,
            bad_blocks_permille: 0,
            erase_failures_ppm: 0,
            read_errors_ppm: 0,
            keep_data: true,
            write_buffer_bytes: 16 << 20,
            power_loss_protection: false,
            read_cache_bytes: 0,
            write_buffer_delay: Duration::from_us(1000),
            placement: Placement::Hints,
            hint_streams: 1,
            zone_streams: 0,
            isolation: Isolation::Initial,
            wear_leveling: WearLeveling::None,
            wear_gap: 50,
            victim_policy: VictimPolicyKind::Greedy,
            multi_plane_reads: MultiPlaneReads::SamePage,
            die_order: DieOrder::Arrival,
            suspend: Suspend::Nothing,
            suspend_time: Duration::from_us(10),
            suspend_max: 16,
            cache_reads: false,
            cache_programs: false,
            unwritten_reads: UnwrittenReads::Free,
            deallocate_time: Duration::ZERO,
            filled_permille: 0,
            filled_by: FilledBy::Sequence,
            filled_seed: 1,
        }
    }
}

impl Config {
    /// Streams of the host's writes.
    pub fn streams(&self) -> u32 {
        self.first_zone_stream() + self.zone_streams
    }

    /// The first stream of zones: those before it are of hints, or of what the drive thinks.
    pub fn first_zone_stream(&self) -> u32 {
        match self.placement {
            Placement::Hints => self.hint_streams,
            Placement::HotCold => 2,
        }
    }

    /// Streams of garbage collection.
    pub(crate) fn collection_streams(&self) -> u32 {
        let of_placement = match (self.placement, self.isolation) {
            (Placement::HotCold, _) => 2,
            (Placement::Hints, Isolation::Initial) => 1,
            (Placement::Hints, Isolation::Persistent) => self.hint_streams,
        };
        of_placement + u32::from(self.wear_leveling == WearLeveling::Static)
    }

    /// Bytes that the map has one entry for.
    pub fn mapped_bytes(&self) -> u32 {
        if self.indirection_bytes == 0 { self.page_bytes } else { self.indirection_bytes }
    }

    /// Pages of the write buffer.
    pub(crate) fn write_buffer_pages(&self) -> u64 {
        self.write_buffer_bytes / u64::from(self.mapped_bytes())
    }
}

/// A configuration that cannot be built, with the remedy. Texts name other fields of [`Config`] between backticks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} = {value}: {reason}; {remedy}")]
pub struct ConfigError {
    /// The offending field of [`Config`].
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// The limit it breaks.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

fn refuse(
    field: &'static str,
    value: impl ToString,
    reason: impl Into<String>,
    remedy: impl Into<String>,
) -> ConfigError {
    ConfigError { field, value: value.to_string(), reason: reason.into(), remedy: remedy.into() }
}

fn check_errors(config: &Config) -> Result<(), ConfigError> {
    let Config { ecc_limit_ppm: limit, retry_gain_permille: gain, retries_max, .. } = *config;
    if !(1..=500_000).contains(&limit) {
        let reason = "no code corrects so many wrong bits of a million";
        return Err(refuse("ecc_limit_ppm", limit, reason, "choose 1 to 500000"));
    }
    if !(1001..=1_000_000).contains(&gain) {
        let value = format!("{}.{:03}", gain / 1000, gain % 1000);
        let reason = "a further read has to correct more than the one before";
        return Err(refuse("retry_gain_permille", value, reason, "choose more than 1, up to 1000"));
    }
    if retries_max > RETRIES_MAX {
        let remedy = format!("choose at most {RETRIES_MAX}");
        return Err(refuse("retries_max", retries_max, "a read has to end some time", remedy));
    }
    Ok(())
}

/// Most reads of a page that is tried again and again.
const RETRIES_MAX: u32 = 255;

/// Most blocks of a drive: each that was used takes a hundred bytes of host memory beside its pages.
const BLOCKS_MAX: u64 = 1 << 28;

/// Most pages that a host sees: 4 PiB of 4 KiB pages.
const LOGICAL_PAGES_MAX: u64 = 1 << 40;

/// Most pages that are written when a drive is new: each takes 16 bytes of host memory at least.
const FILLED_PAGES_MAX: u64 = 1 << 32;

/// Most pages of flash of one operation: two for each bit of a QLC cell.
const PAGES_PER_PROGRAM_MAX: u32 = 8;

/// A checked geometry with everything derived from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Channels.
    pub channels: u32,
    /// Dies of the whole drive.
    pub dies: u32,
    /// Planes of the whole drive.
    pub planes: u32,
    /// Planes of a die.
    pub planes_per_die: u32,
    /// Blocks of a plane.
    pub blocks_per_plane: u32,
    /// Pages of a block.
    pub pages_per_block: u32,
    /// Bytes of a page, as the map knows it: a page of flash or a part of it.
    pub page_bytes: u32,
    /// Pages that make a page of flash: the array reads them at once.
    pub pages_per_read: u32,
    /// Pages that one operation programs.
    pub pages_per_program: u32,
    /// Pages the host sees.
    pub logical_pages: u64,
    /// Blocks of a plane that are bad when the drive is new, and those that there must be besides.
    pub bad_blocks_per_plane: u32,
    pub(crate) blocks_least: u32,
    /// Free blocks of a plane at which collection begins.
    pub gc_start_blocks: u32,
    /// Free blocks of a plane that host writes must leave.
    pub gc_reserve_blocks: u32,
    open_blocks: u32,
    pub(crate) layout: Layout,
}

impl Geometry {
    /// Pages of a reclaim unit: a block of each plane, which streams fill together.
    pub(crate) fn unit_pages(&self) -> u64 {
        u64::from(self.planes) * u64::from(self.pages_per_block)
    }

    /// Blocks of a plane that are good when the drive is new.
    pub fn good_blocks_per_plane(&self) -> u32 {
        self.blocks_per_plane - self.bad_blocks_per_plane
    }

    /// Bytes of a reclaim unit.
    pub fn unit_bytes(&self) -> u64 {
        self.unit_pages() * u64::from(self.page_bytes)
    }

    /// Derives and checks.
    ///
    /// # Errors
    /// If values contradict each other or exceed what the model can address.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        for (field, value, max) in [
            ("channels", config.channels, 256),
            ("dies_per_channel", config.dies_per_channel, 256),
            ("planes_per_die", config.planes_per_die, 8),
            ("pages_per_block", config.pages_per_block, 65_536),
            ("hint_streams", config.hint_streams, STREAMS_MAX),
        ] {
            if value == 0 || value > max {
                let remedy = format!("choose a value from 1 to {max}");
                return Err(refuse(field, value, "out of range", remedy));
            }
        }
        if config.zone_streams > ZONE_STREAMS_MAX {
            let reason = "each zone that may be active has open blocks of its own";
            let remedy = format!("choose at most {ZONE_STREAMS_MAX}");
            return Err(refuse("zone_streams", config.zone_streams, reason, remedy));
        }
        let flash_page = config.page_bytes;
        if !flash_page.is_power_of_two() || !(4096..=65_536).contains(&flash_page) {
            let reason = "a page is a power of two from 4KiB to 64KiB";
            return Err(refuse("page_bytes", flash_page, reason, "choose 4KiB, 8KiB or 16KiB"));
        }
        let page = config.mapped_bytes();
        if !page.is_power_of_two() || !(4096..=flash_page).contains(&page) {
            let reason = format!("not a power of two from 4KiB to `page_bytes` ({flash_page})");
            return Err(refuse("indirection_bytes", page, reason, "choose 4KiB, or 0B for a page"));
        }
        let together = config.pages_per_program;
        if !(1..=PAGES_PER_PROGRAM_MAX).contains(&together)
            || !config.pages_per_block.is_multiple_of(together)
        {
            let remedy = format!(
                "choose a divisor of `pages_per_block` ({}) from 1 to {PAGES_PER_PROGRAM_MAX}, or another `pages_per_block`",
                config.pages_per_block
            );
            return Err(refuse(
                "pages_per_program",
                together,
                "a block is no whole number of programs",
                remedy,
            ));
        }
        if config.pages_per_block < 2 * together && together > 1 {
            let reason = format!("a block has {} pages", config.pages_per_block);
            let remedy = "choose half of `pages_per_block` or less";
            return Err(refuse("pages_per_program", together, reason, remedy));
        }
        let pages_per_read = flash_page / page;
        let pages_per_program = together * pages_per_read;
        let pages_per_block = config.pages_per_block * pages_per_read;
        if config.capacity_bytes == 0 || !config.capacity_bytes.is_multiple_of(u64::from(page)) {
            let reason = format!("not a whole number of {page}-byte pages");
            let remedy =
                "choose a multiple of `page_bytes`, or of `indirection_bytes` if that is set";
            return Err(refuse("capacity_bytes", config.capacity_bytes, reason, remedy));
        }
        if config.gc_urgent_permille > config.gc_start_permille {
            let reason =
                format!("above `gc_start_permille` ({}%)", percent(config.gc_start_permille));
            let value = format!("{}%", percent(config.gc_urgent_permille));
            let remedy = "garbage collection must begin before it becomes urgent: lower it";
            return Err(refuse("gc_urgent_permille", value, reason, remedy));
        }
        if config.filled_permille > 1000 {
            let value = format!("{}%", percent(config.filled_permille));
            return Err(refuse("filled_permille", value, "above 100%", "choose 100% or less"));
        }
        for (field, value) in [
            ("read_errors_ppm", config.read_errors_ppm),
            ("erase_failures_ppm", config.erase_failures_ppm),
        ] {
            if value > 1_000_000 {
                let remedy = "choose 1000000 or less";
                return Err(refuse(field, value, "more than all of them", remedy));
            }
        }
        if config.bad_blocks_permille > 500 {
            let value = format!("{}%", percent(config.bad_blocks_permille));
            return Err(refuse("bad_blocks_permille", value, "above 50%", "choose 50% or less"));
        }
        if config.bit_errors.is_some() {
            check_errors(config)?;
        }
        if config.gc_start_permille > 900 {
            let value = format!("{}%", percent(config.gc_start_permille));
            return Err(refuse("gc_start_permille", value, "above 90%", "choose 90% or less"));
        }
        let logical_pages = config.capacity_bytes / u64::from(page);
        let dies = config.channels * config.dies_per_channel;
        let planes = dies * config.planes_per_die;
        let per_block = u64::from(pages_per_block);
        let stored =
            logical_pages.saturating_mul(1000 + u64::from(config.overprovisioning_permille));
        let wanted = stored.div_ceil(1000).div_ceil(u64::from(planes)).div_ceil(per_block);
        let least = logical_pages.div_ceil(u64::from(planes)).div_ceil(per_block);
        let reserve = |blocks: u64| (blocks * u64::from(config.gc_urgent_permille) / 1000).max(1);
        // Open blocks of a plane, the host's and collection's, hold no data that the capacity counts on, and neither does the reserve that
        // collection moves into.
        let open_blocks = config.streams() + config.collection_streams();
        // The last program of a victim's pages may be partly empty: collection gains only where a block has lost a whole one, and
        // there is such a block if all of them could have lost one page less.
        let padding = |blocks: u64| (blocks * u64::from(pages_per_program - 1)).div_ceil(per_block);
        let margin = |blocks: u64| u64::from(open_blocks) + reserve(blocks) + 1 + padding(blocks);
        let blocks = if config.blocks_per_plane == 0 {
            // The reserve is a part of the blocks it is derived for: grow until it fits.
            let mut blocks = wanted;
            while blocks < least + margin(blocks) && blocks <= BLOCKS_MAX {
                blocks = least + margin(blocks);
            }
            if blocks > BLOCKS_MAX && wanted <= BLOCKS_MAX {
                let reason = "what collection keeps free, and the padding of programs, leave no room for data, whatever the number of blocks";
                let remedy =
                    "use more pages per block, fewer per program, or a lower `gc_urgent_permille`";
                return Err(refuse("pages_per_block", config.pages_per_block, reason, remedy));
            }
            // As many good ones as it is derived for.
            let good = 1000 - u64::from(config.bad_blocks_permille);
            (blocks.min(BLOCKS_MAX) * 1000).div_ceil(good)
        } else {
            u64::from(config.blocks_per_plane)
        };
        let bad = blocks * u64::from(config.bad_blocks_permille) / 1000;
        let (all, blocks) = (blocks, blocks - bad);
        if blocks < least + margin(blocks) {
            let raw = blocks * u64::from(planes) * per_block * u64::from(page);
            return Err(refuse(
                "blocks_per_plane",
                blocks,
                format!(
                    "{raw} bytes of flash for {} bytes of capacity leave no room to write",
                    config.capacity_bytes
                ),
                format!(
                    "use at least {} blocks, 0 to derive it, or a smaller `capacity_bytes`",
                    least + margin(blocks)
                ),
            ));
        }
        let all_blocks = all.saturating_mul(u64::from(planes));
        if all_blocks > BLOCKS_MAX {
            let reason = format!("{all_blocks} blocks; the model keeps at most {BLOCKS_MAX}");
            let remedy = "use more pages per block, a larger `page_bytes` or a smaller capacity";
            return Err(refuse("pages_per_block", config.pages_per_block, reason, remedy));
        }
        if logical_pages > LOGICAL_PAGES_MAX {
            let reason =
                format!("{logical_pages} pages; the model keeps at most {LOGICAL_PAGES_MAX}");
            let remedy = "use a larger `page_bytes` or a smaller capacity";
            return Err(refuse("capacity_bytes", config.capacity_bytes, reason, remedy));
        }
        let filled = logical_pages.saturating_mul(config.filled_permille.into()) / 1000;
        if filled > FILLED_PAGES_MAX {
            let reason = format!(
                "{filled} pages are written then; the model writes at most {FILLED_PAGES_MAX}"
            );
            let value = format!("{}%", percent(config.filled_permille));
            let remedy = "choose less, or a smaller `capacity_bytes`";
            return Err(refuse("filled_permille", value, reason, remedy));
        }
        let start = (blocks * u64::from(config.gc_start_permille) / 1000).max(reserve(blocks) + 1);
        Ok(Self {
            channels: config.channels,
            dies,
            planes,
            planes_per_die: config.planes_per_die,
            blocks_per_plane: all as u32,
            pages_per_block,
            page_bytes: page,
            pages_per_read,
            pages_per_program,
            logical_pages,
            bad_blocks_per_plane: bad as u32,
            blocks_least: (least + margin(blocks)) as u32,
            gc_start_blocks: start as u32,
            gc_reserve_blocks: reserve(blocks) as u32,
            open_blocks,
            layout: Layout::new(planes, all as u32, pages_per_block),
        })
    }

    /// The block with this index in its plane.
    pub fn block(&self, plane: u32, index: u32) -> BlockId {
        self.layout.block(plane, index)
    }

    /// A page of a block.
    #[inline]
    pub fn page(&self, block: BlockId, page: u32) -> Ppa {
        self.layout.page(block, page)
    }

    /// The block of a page.
    #[inline]
    pub fn block_of(&self, ppa: Ppa) -> BlockId {
        self.layout.block_of(ppa)
    }

    /// A page's number in its block.
    #[inline]
    pub fn page_of(&self, ppa: Ppa) -> u32 {
        self.layout.page_of(ppa)
    }

    /// The number in its block of the page of flash that holds a page.
    #[inline]
    pub fn flash_page_of(&self, ppa: Ppa) -> u32 {
        self.page_of(ppa) >> self.pages_per_read.trailing_zeros()
    }

    /// True if two pages are parts of one page of flash.
    #[inline]
    pub(crate) fn are_read_together(&self, ppa: Ppa, other: Ppa) -> bool {
        self.block_of(ppa) == self.block_of(other)
            && self.flash_page_of(ppa) == self.flash_page_of(other)
    }

    /// The page that lies so many pages behind another one of its block.
    #[inline]
    pub(crate) fn page_after(&self, ppa: Ppa, count: u32) -> Ppa {
        self.page(self.block_of(ppa), self.page_of(ppa) + count)
    }

    /// The plane of a block.
    #[inline]
    pub fn plane_of(&self, block: BlockId) -> u32 {
        self.layout.plane_of(block)
    }

    /// A block's index in its plane.
    #[inline]
    pub fn index_of(&self, block: BlockId) -> u32 {
        self.layout.index_of(block)
    }

    /// Flash that can hold data beyond what the host sees, as a part of what the host sees: without what collection keeps free,
    /// and without half of the open blocks, which are half full on average. Formulas of write amplification mean this.
    pub fn effective_overprovisioning(&self) -> f64 {
        let unusable = f64::from(self.open_blocks) / 2.0 + f64::from(self.gc_reserve_blocks);
        let per_plane = (f64::from(self.good_blocks_per_plane()) - unusable).max(0.0);
        let pages = f64::from(self.planes) * per_plane * f64::from(self.pages_per_block);
        pages / self.logical_pages as f64 - 1.0
    }

    /// The die a plane belongs to. Planes are numbered so that consecutive numbers lie on
    /// different channels, then on different dies, then on different planes of a die.
    pub fn die_of(&self, plane: u32) -> u32 {
        plane % self.dies
    }

    /// The channel a die is on.
    pub fn channel_of(&self, die: u32) -> u32 {
        die % self.channels
    }
}

fn percent(permille: u32) -> String {
    format!("{}.{}", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_default_has_the_overprovisioning_asked_for() {
        let g = Geometry::new(&Config::default()).unwrap();
        assert_eq!((g.dies, g.planes, g.logical_pages), (32, 64, 4 << 20));
        let raw =
            u64::from(g.planes) * u64::from(g.blocks_per_plane) * u64::from(g.pages_per_block);
        assert!(raw * 1000 >= g.logical_pages * 1070);
    }

    #[test]
    fn geometry_contradictions_name_field_value_and_remedy() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 15] = [
            ("pages_per_program", |c| (c.pages_per_program, c.pages_per_block) = (8, 8)),
            ("pages_per_block", |c| {
                (c.page_bytes, c.indirection_bytes) = (65_536, 4096);
                (c.pages_per_program, c.pages_per_block, c.gc_urgent_permille) = (8, 16, 600);
                c.gc_start_permille = 700;
            }),
            ("filled_permille", |c| {
                (c.capacity_bytes, c.filled_permille, c.pages_per_block) = (1 << 50, 1000, 65_536);
            }),
            ("indirection_bytes", |c| c.indirection_bytes = 8192),
            ("indirection_bytes", |c| (c.page_bytes, c.indirection_bytes) = (16_384, 6000)),
            ("pages_per_program", |c| c.pages_per_program = 3),
            ("pages_per_program", |c| c.pages_per_program = 0),
            ("filled_permille", |c| c.filled_permille = 1001),
            ("channels", |c| c.channels = 0),
            ("page_bytes", |c| c.page_bytes = 5000),
            ("capacity_bytes", |c| c.capacity_bytes = 4097),
            ("blocks_per_plane", |c| c.blocks_per_plane = 10),
            ("gc_urgent_permille", |c| c.gc_urgent_permille = 500),
            ("pages_per_block", |c| c.capacity_bytes = 1 << 50),
            ("capacity_bytes", |c| (c.capacity_bytes, c.pages_per_block) = (1 << 53, 65_536)),
        ];
        for (field, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            let error = Geometry::new(&config).unwrap_err();
            assert_eq!(error.field, field, "{error}");
            assert!(!error.remedy.is_empty());
        }
    }
}
