//! The table of all keys: name, meaning, and the place in the configuration.

use compute::{Core, CostTable, PolicyKind, QueueKind, WorkClass};
use controller::{Config, Dialect, Engine, RemoteFallback, RunTimeModel};
use simtime::{Bandwidth, Duration, Frequency};
use ssd::{
    BitErrors, CellType, DaxPolicy, DieOrder, FilledBy, Isolation, MultiPlaneReads, PageTimes,
    Placement, Suspend, SyncPolicy, UnwrittenReads, VictimPolicyKind, WearLeveling,
};

use crate::profiles;
use crate::value::{
    Value, parse_bandwidth, parse_bool, parse_count, parse_duration, parse_factor, parse_frequency,
    parse_millicycles, parse_permille, parse_size,
};

/// A key of the configuration.
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// What values look like.
    pub values: &'static str,
    /// The field of the configuration, where there is one.
    pub(crate) field: &'static str,
    get: fn(&Config) -> Value,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Key {
    /// The key's value in a configuration.
    pub fn get(&self, config: &Config) -> Value {
        (self.get)(config)
    }

    /// Sets it from text; the reason if the text is no value of this key.
    pub fn set(&self, config: &mut Config, text: &str) -> Result<(), String> {
        (self.set)(config, text)
    }
}

const NO_BIT_ERRORS: &str = "none";
const TLC_72_LAYERS: &str = "tlc-72-layers";

fn bit_errors(errors: Option<BitErrors>) -> Value {
    match errors {
        None => Value::Text(NO_BIT_ERRORS.into()),
        Some(errors) if errors == BitErrors::TLC_72_LAYERS => Value::Text(TLC_72_LAYERS.into()),
        Some(errors) => {
            let all = errors.coefficients().map(|number| format!("{number:e}"));
            Value::Text(all.join(","))
        }
    }
}

fn parse_bit_errors(text: &str) -> Result<Option<BitErrors>, String> {
    match text.trim() {
        NO_BIT_ERRORS => return Ok(None),
        TLC_72_LAYERS => return Ok(Some(BitErrors::TLC_72_LAYERS)),
        _ => {}
    }
    let numbers = text.split(',').map(|number| number.trim().parse::<f64>().ok());
    let numbers: Option<Vec<f64>> = numbers.collect();
    let errors = numbers.and_then(|all| BitErrors::new(all.try_into().ok()?));
    let refuse = || {
        format!(
            "write none, {TLC_72_LAYERS}, or nine numbers of at least 0 with commas between them"
        )
    };
    errors.map(Some).ok_or_else(refuse)
}

const MULTI_PLANE_READS: [(&str, MultiPlaneReads); 2] =
    [("same-page", MultiPlaneReads::SamePage), ("independent", MultiPlaneReads::Independent)];
const DIE_ORDERS: [(&str, DieOrder); 2] =
    [("arrival", DieOrder::Arrival), ("reads-first", DieOrder::ReadsFirst)];
const FILLED_BY: [(&str, FilledBy); 2] =
    [("sequence", FilledBy::Sequence), ("random-overwrites", FilledBy::RandomOverwrites)];
const PLACEMENTS: [(&str, Placement); 2] =
    [("hints", Placement::Hints), ("hot-cold", Placement::HotCold)];
const ISOLATIONS: [(&str, Isolation); 2] =
    [("initial", Isolation::Initial), ("persistent", Isolation::Persistent)];
const WEAR_LEVELINGS: [(&str, WearLeveling); 3] = [
    ("none", WearLeveling::None),
    ("dynamic", WearLeveling::Dynamic),
    ("static", WearLeveling::Static),
];
const SUSPENDS: [(&str, Suspend); 3] = [
    ("nothing", Suspend::Nothing),
    ("erases", Suspend::Erases),
    ("programs-and-erases", Suspend::ProgramsAndErases),
];
const UNWRITTEN_READS: [(&str, UnwrittenReads); 2] =
    [("free", UnwrittenReads::Free), ("flash", UnwrittenReads::Flash)];

const SYNC_POLICIES: [(&str, SyncPolicy); 2] =
    [("flush", SyncPolicy::Flush), ("never", SyncPolicy::Never)];

const DAX_POLICIES: [(&str, DaxPolicy); 3] =
    [("auto", DaxPolicy::Auto), ("never", DaxPolicy::Never), ("always", DaxPolicy::Always)];

fn name_of<T: PartialEq>(choices: &[(&'static str, T)], value: &T) -> Value {
    let found = choices.iter().find(|(_, v)| v == value);
    Value::Choice(found.map_or("", |(name, _)| name))
}

fn choose<T: Copy>(choices: &[(&'static str, T)], text: &str) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text.trim());
    let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.map(|(_, value)| *value).ok_or_else(|| format!("choose one of: {}", names()))
}

/// How addresses of runtime servers begin, as CEMU has it.
const URL: &str = "tcp://";

fn url_of(address: &str) -> String {
    if address.is_empty() { String::new() } else { format!("{URL}{address}") }
}

fn parse_url(text: &str) -> Result<String, String> {
    let address = text.trim().strip_prefix(URL).unwrap_or(text.trim());
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(1..)) => Ok(address.to_owned()),
        _ if address.is_empty() => Ok(String::new()),
        _ => Err("not an address; write it as tcp://HOST:4231".to_owned()),
    }
}

/// One time, or one for each type of page.
fn page_times(times: &PageTimes) -> Value {
    match times.types() {
        [time] => Value::Duration(time.as_ns()),
        all => Value::Durations(all.iter().map(|time| time.as_ns()).collect()),
    }
}

fn parse_page_times(text: &str) -> Result<PageTimes, String> {
    let times: Result<Vec<Duration>, String> =
        text.split('/').map(|time| parse_duration(time).map(Duration::from_ns)).collect();
    PageTimes::new(&times?).ok_or_else(|| "give one to four times".to_owned())
}

fn cell_type_of(flash: &ssd::Config) -> Value {
    let times = (flash.read_time, flash.program_time, flash.erase_time);
    let found = CellType::NAMES.iter().find(|(_, cell)| cell.times() == times);
    Value::Choice(found.map_or(CUSTOM, |(name, _)| name))
}

fn set_cell_type(config: &mut Config, text: &str) -> Result<(), String> {
    if text.trim() != CUSTOM {
        let cell = choose(&CellType::NAMES, text).map_err(|names| format!("{names}, {CUSTOM}"))?;
        let flash = &mut config.flash;
        (flash.read_time, flash.program_time, flash.erase_time) = cell.times();
    }
    Ok(())
}

/// Name of a choice that is none of those that have names.
const CUSTOM: &str = "custom";

fn core_of(cost: &CostTable) -> Value {
    let found = Core::NAMES.iter().find(|(_, core)| core.cost_table() == *cost);
    Value::Choice(found.map_or(CUSTOM, |(name, _)| name))
}

fn set_core(config: &mut Config, text: &str) -> Result<(), String> {
    if text.trim() != CUSTOM {
        let core = choose(&Core::NAMES, text).map_err(|names| format!("{names}, {CUSTOM}"))?;
        config.cost = core.cost_table();
    }
    Ok(())
}

macro_rules! key {
    ($name:literal, $doc:literal, size, $($field:ident).+) => {
        key!(@ $name, $doc, "size", |c| Value::Size(c.$($field).+.into()),
            |c, t| parse_size(t).and_then(|v| v.try_into().map_err(|_| "too large".to_owned())).map(|v| c.$($field).+ = v), stringify!($($field).+))
    };
    ($name:literal, $doc:literal, time, $($field:ident).+) => {
        key!(@ $name, $doc, "time", |c| Value::Duration(c.$($field).+.as_ns()),
            |c, t| parse_duration(t).map(|v| c.$($field).+ = Duration::from_ns(v)), stringify!($($field).+))
    };
    ($name:literal, $doc:literal, bandwidth, $($field:ident).+) => {
        key!(@ $name, $doc, "bandwidth", |c| Value::Bandwidth(c.$($field).+.bytes_per_s()),
            |c, t| parse_bandwidth(t).map(|v| c.$($field).+ = Bandwidth::from_bytes_per_s(v)), stringify!($($field).+))
    };
    ($name:literal, $doc:literal, percent, $($field:ident).+) => {
        key!(@ $name, $doc, "percentage", |c| Value::Permille(c.$($field).+),
            |c, t| parse_permille(t).map(|v| c.$($field).+ = v), stringify!($($field).+))
    };
    ($name:literal, $doc:literal, count($type:ty, $min:literal..=$max:expr), $($field:ident).+) => {
        key!(@ $name, $doc, "number", |c| Value::Count(c.$($field).+.into()),
            |c, t| parse_count(t, $min, $max).map(|v| c.$($field).+ = v as $type), stringify!($($field).+))
    };
    ($name:literal, $doc:literal, cycles, $class:ident) => {
        key!(@ $name, $doc, "cycles", |c| Value::Millicycles(c.cost.millicycles[WorkClass::$class as usize]),
            |c, t| parse_millicycles(t).map(|v| c.cost.millicycles[WorkClass::$class as usize] = v))
    };
    (@ $name:literal, $doc:literal, $values:expr, $get:expr, $set:expr) => {
        key!(@ $name, $doc, $values, $get, $set, "")
    };
    (@ $name:literal, $doc:literal, $values:expr, $get:expr, $set:expr, $field:expr) => {
        Key { name: $name, doc: $doc, values: $values, field: $field, get: $get, set: $set }
    };
}

/// Every key, grouped by section.
pub static KEYS: &[Key] = &[
    key!("drive.capacity", "Size of the NVM namespace.", size, flash.capacity_bytes),
    key!("drive.block_size", "Logical block: 512B or 4KiB.", size, block_bytes),
    key!(
        "drive.max_transfer",
        "Most bytes one command transfers (MDTS), a power of two.",
        size,
        transfer_bytes_max
    ),
    key!(
        "drive.queue_pairs",
        "I/O queue pairs a host may create.",
        count(u16, 1..=1024),
        queue_pairs_max
    ),
    key!("drive.command_time", "Firmware time added to every command.", time, command_time),
    key!(
        "drive.command_interval",
        "Time from one I/O command that the controller takes to the next: the most commands a second that it can do.",
        time,
        command_interval
    ),
    key!(@ "drive.fdp", "Hosts say which writes belong together: NVMe's Flexible Data Placement, with flash.streams reclaim unit handles.", "true or false",
        |c| Value::Bool(c.placement), |c, t| parse_bool(t).map(|v| c.placement = v), "placement"),
    key!(@ "drive.dialect", "Whose commands the drive understands besides NVMe's: nvme = none; femu = FEMU's and CEMU's for computational storage (block_size is 512B then, unless it is set).", "nvme, femu",
        |c| name_of(&Dialect::NAMES, &c.dialect), |c, t| choose(&Dialect::NAMES, t).map(|v| c.dialect = v)),
    key!(@ "drive.serial", "Serial number, 1 to 20 ASCII characters.", "text",
        |c| Value::Text(c.serial.clone()), |c, t| { c.serial = t.to_owned(); Ok(()) }, "serial"),
    key!(@ "drive.profile", "Settings of a known drive or emulator by one name; what is set besides counts more. See csdrive config profiles.", "generic-tlc, fast-slc, intel-p4500, samsung-pm9a3, femu-default, cemu-example, none",
        |c| profiles::of(c), |_, t| profiles::find(t.trim()).map(drop)),
    key!("link.bandwidth", "Host link, each direction.", bandwidth, host_link.bandwidth),
    key!("link.latency", "Host link, one way.", time, host_link.latency),
    key!(
        "internal.bandwidth",
        "Link from flash to device memory, and copies within it.",
        bandwidth,
        internal_link.bandwidth
    ),
    key!("internal.latency", "Latency of that link.", time, internal_link.latency),
    key!("flash.channels", "Channel buses.", count(u32, 1..=256), flash.channels),
    key!(
        "flash.dies_per_channel",
        "Dies on each channel.",
        count(u32, 1..=256),
        flash.dies_per_channel
    ),
    key!(
        "flash.planes_per_die",
        "Planes of each die; they work together on like operations.",
        count(u32, 1..=8),
        flash.planes_per_die
    ),
    key!(
        "flash.blocks_per_plane",
        "Blocks of each plane; 0 = as capacity and overprovisioning need.",
        count(u32, 0..=u32::MAX as u64),
        flash.blocks_per_plane
    ),
    key!(
        "flash.pages_per_block",
        "Pages of each block.",
        count(u32, 1..=65_536),
        flash.pages_per_block
    ),
    key!("flash.page_size", "Page of flash: what the array reads at once.", size, flash.page_bytes),
    key!(
        "flash.indirection_unit",
        "What the map has one entry for: a page of flash, or a part of it; a write of less reads the rest first. 0B = a page.",
        size,
        flash.indirection_bytes
    ),
    key!(
        "flash.pages_per_program",
        "Pages that one operation programs in a plane: 3 for TLC that programs all types of page of its cells at once. It takes the longest of their program_time.",
        count(u32, 1..=8),
        flash.pages_per_program
    ),
    key!(
        "flash.overprovisioning",
        "Flash beyond the capacity, of the capacity.",
        percent,
        flash.overprovisioning_permille
    ),
    key!(
        "flash.gc_start",
        "Free blocks of a plane at which garbage collection begins.",
        percent,
        flash.gc_start_permille
    ),
    key!(
        "flash.gc_urgent",
        "Free blocks of a plane that host writes wait for.",
        percent,
        flash.gc_urgent_permille
    ),
    key!(@ "flash.cell_type", "Bits of a cell: sets read_time, program_time and erase_time to those of such flash; what is given besides counts more. custom = leave them.", "slc, mlc, tlc, qlc, custom",
        |c| cell_type_of(&c.flash), set_cell_type),
    key!(@ "flash.read_time", "Page read (tR); or one for each type of page, as 56us/78us/106us: page n of a block is of type n modulo their number.", "time or times",
        |c| page_times(&c.flash.read_time), |c, t| parse_page_times(t).map(|v| c.flash.read_time = v)),
    key!(@ "flash.program_time", "Page program (tPROG), or one for each type of page.", "time or times",
        |c| page_times(&c.flash.program_time), |c, t| parse_page_times(t).map(|v| c.flash.program_time = v)),
    key!("flash.erase_time", "Block erase (tBERS).", time, flash.erase_time),
    key!("flash.channel_bandwidth", "Channel bus rate.", bandwidth, flash.channel_bandwidth),
    key!(
        "flash.bus_command_time",
        "Time in which the command and address of an operation of a plane occupy the channel.",
        time,
        flash.bus_command_time
    ),
    key!(@ "flash.bit_errors", "Wrong bits of pages, by wear, age and reads of their block: none, those of TLC flash of 72 layers, or the nine coefficients e,a,k,b,m,n,g,p,q of e + a c^k + b c^m t^n + g c^p r^q for c erases, t days and r reads of each page. What one read does not correct is read again.", "none, tlc-72-layers, or nine numbers",
        |c| bit_errors(c.flash.bit_errors), |c, t| parse_bit_errors(t).map(|v| c.flash.bit_errors = v)),
    key!(
        "flash.ecc_limit_ppm",
        "Wrong bits of a million that one read of a page corrects.",
        count(u32, 1..=500_000),
        flash.ecc_limit_ppm
    ),
    key!(@ "flash.retry_gain", "So many times as many wrong bits are corrected with each further read.", "factor",
        |c| Value::Factor(c.flash.retry_gain_permille), |c, t| parse_factor(t).map(|v| c.flash.retry_gain_permille = v), "retry_gain_permille"),
    key!(
        "flash.retries",
        "Further reads of a page that are tried; then it cannot be read (Unrecovered Read Error).",
        count(u32, 0..=255),
        flash.retries_max
    ),
    key!(
        "flash.refresh_retries",
        "A block of which a page needed so many further reads is written anew (read reclaim, data refresh). 0 = none is.",
        count(u32, 0..=255),
        flash.refresh_retries
    ),
    key!(
        "flash.worn_erases",
        "Erases that every block had before the drive was new, for bit_errors.",
        count(u32, 0..=1_000_000),
        flash.worn_erases
    ),
    key!(
        "flash.data_age_days",
        "How old data is that is there when the drive is switched on (filled, or in storage.file), for bit_errors.",
        count(u32, 0..=36_500),
        flash.data_age_days
    ),
    key!(
        "flash.bad_blocks",
        "Blocks that are bad when the drive is new. Where the number of blocks is derived, there are more for them.",
        percent,
        flash.bad_blocks_permille
    ),
    key!(
        "flash.erase_failures_ppm",
        "Of a million erases those that fail: the block is not used any more. When a plane has no spare blocks left the drive takes no more writes.",
        count(u32, 0..=1_000_000),
        flash.erase_failures_ppm
    ),
    key!(
        "flash.read_errors_ppm",
        "Page reads of the host that fail (Unrecovered Read Error) though nothing is damaged, of a million; a retry may succeed.",
        count(u32, 0..=1_000_000),
        flash.read_errors_ppm
    ),
    key!(
        "flash.write_buffer",
        "Writes acknowledged before they are in flash; 0B = write through.",
        size,
        flash.write_buffer_bytes
    ),
    key!(@ "flash.power_loss_protection", "Capacitors keep the write buffer over a loss of power: it is no volatile cache, and Flush and Force Unit Access wait for nothing.", "true or false",
        |c| Value::Bool(c.flash.power_loss_protection), |c, t| parse_bool(t).map(|v| c.flash.power_loss_protection = v), "flash.power_loss_protection"),
    key!(
        "flash.read_cache",
        "Pages that were read lately stay in so much memory of the drive, and are read again without flash; what is written leaves it. 0B = none.",
        size,
        flash.read_cache_bytes
    ),
    key!(
        "flash.write_buffer_delay",
        "A buffered page is programmed when it was not written for so long; earlier if half of the buffer waits, or for a flush.",
        time,
        flash.write_buffer_delay
    ),
    key!(@ "flash.placement", "What decides which writes share blocks: their namespace (hints, see flash.streams), or the drive, which tells pages that will be written again soon from others (hot-cold).", "hints, hot-cold",
        |c| name_of(&PLACEMENTS, &c.flash.placement), |c, t| choose(&PLACEMENTS, t).map(|v| c.flash.placement = v)),
    key!(
        "flash.streams",
        "Streams of writes, which share no blocks: the NVM namespace N writes to stream N-1 modulo their number. Each has an open block in every plane.",
        count(u32, 1..=16),
        flash.hint_streams
    ),
    key!(@ "flash.isolation", "What garbage collection makes of them: pages that it moves share blocks (initial), or stay in their stream (persistent).", "initial, persistent",
        |c| name_of(&ISOLATIONS, &c.flash.isolation), |c, t| choose(&ISOLATIONS, t).map(|v| c.flash.isolation = v)),
    key!(@ "flash.wear_leveling", "How blocks are worn evenly: none = used again in the order in which they were erased; dynamic = the host writes to the free block that was erased least; static = and data that stays moves to blocks that were erased much.", "none, dynamic, static",
        |c| name_of(&WEAR_LEVELINGS, &c.flash.wear_leveling), |c, t| choose(&WEAR_LEVELINGS, t).map(|v| c.flash.wear_leveling = v)),
    key!(
        "flash.wear_gap",
        "wear_leveling = static: erases that the least worn block may lag behind the most worn one of its plane.",
        count(u32, 1..=1_000_000),
        flash.wear_gap
    ),
    key!(@ "flash.gc_policy", "Block that garbage collection takes: the one with the fewest valid pages (greedy), the best of gain, cost and age (cost-benefit), the oldest (fifo), the best of the 32 oldest (windowed-greedy), any (random), the best of 4 that are drawn (d-choices).",
        "greedy, cost-benefit, fifo, windowed-greedy, random, d-choices",
        |c| name_of(&VictimPolicyKind::NAMES, &c.flash.victim_policy),
        |c, t| choose(&VictimPolicyKind::NAMES, t).map(|v| c.flash.victim_policy = v)),
    key!(@ "flash.multi_plane_reads",
        "Waiting reads of a die that run together: same-page (multi-plane address rule) or independent.",
        "same-page, independent",
        |c| name_of(&MULTI_PLANE_READS, &c.flash.multi_plane_reads),
        |c, t| choose(&MULTI_PLANE_READS, t).map(|v| c.flash.multi_plane_reads = v)),
    key!(@ "flash.cache_programs", "A die takes the data of its next program while it programs (cache registers).", "true or false",
        |c| Value::Bool(c.flash.cache_programs), |c, t| parse_bool(t).map(|v| c.flash.cache_programs = v), "cache_programs"),
    key!(@ "flash.cache_reads", "A die reads the next page while the last one crosses the channel (cache register).", "true or false",
        |c| Value::Bool(c.flash.cache_reads), |c, t| parse_bool(t).map(|v| c.flash.cache_reads = v)),
    key!(@ "flash.die_order", "What a die does first of what waits for it: what came first (arrival), or reads of the host (reads-first).",
        "arrival, reads-first",
        |c| name_of(&DIE_ORDERS, &c.flash.die_order),
        |c, t| choose(&DIE_ORDERS, t).map(|v| c.flash.die_order = v)),
    key!(@ "flash.suspend", "What a die stops for reads of the host; unless it is nothing, die_order is reads-first.",
        "nothing, erases, programs-and-erases",
        |c| name_of(&SUSPENDS, &c.flash.suspend),
        |c, t| choose(&SUSPENDS, t).map(|v| c.flash.suspend = v)),
    key!("flash.suspend_time", "How long it takes to stop.", time, flash.suspend_time),
    key!(
        "flash.suspend_max",
        "An operation that has stopped so often runs to its end.",
        count(u32, 1..=1_000_000),
        flash.suspend_max
    ),
    key!(
        "flash.rated_erases",
        "Erases that a block is made for: SMART's percentage used counts them. Nothing fails when they are used up.",
        count(u32, 1..=1_000_000_000),
        rated_erases
    ),
    key!(
        "flash.filled",
        "Part of the capacity that is written when the drive is new, with zeroes: reads of it take flash time.",
        percent,
        flash.filled_permille
    ),
    key!(@ "flash.filled_by", "How that was written: in order (sequence), or then overwritten at random, again and again, until the drive is in its steady state (random-overwrites): garbage collection is at work from the first write on.", "sequence, random-overwrites",
        |c| name_of(&FILLED_BY, &c.flash.filled_by), |c, t| choose(&FILLED_BY, t).map(|v| c.flash.filled_by = v)),
    key!(
        "flash.filled_seed",
        "What is random of that.",
        count(u64, 0..=u64::MAX),
        flash.filled_seed
    ),
    key!(
        "flash.deallocate_time",
        "Time that a deallocation (trim) takes for each 1024 entries of the map in which it changes some; 0ns = none.",
        time,
        flash.deallocate_time
    ),
    key!(@ "flash.unwritten_reads", "What reading a page costs that was never written: free, or a flash read.", "free, flash",
        |c| name_of(&UNWRITTEN_READS, &c.flash.unwritten_reads),
        |c, t| choose(&UNWRITTEN_READS, t).map(|v| c.flash.unwritten_reads = v)),
    key!(@ "flash.keep_data", "false = simulate times alone: reads return nothing useful.", "true or false",
        |c| Value::Bool(c.flash.keep_data), |c, t| parse_bool(t).map(|v| c.flash.keep_data = v)),
    key!(@ "storage.file", "File in which the flash is kept: it is made if there is none, and a drive that is started again has what was flushed. Without one the flash is in memory.", "path",
        |c| Value::Text(c.storage.file.clone()), |c, t| { c.storage.file = t.to_owned(); Ok(()) }),
    key!(@ "storage.sync", "When that file is made durable: flush = when the host flushes or writes with Force Unit Access, as a drive does; never = what was flushed survives the end of csdrive, not that of the machine.", "flush, never",
        |c| name_of(&SYNC_POLICIES, &c.storage.sync), |c, t| choose(&SYNC_POLICIES, t).map(|v| c.storage.sync = v)),
    key!(@ "storage.dax", "Whether that file is mapped as persistent memory: auto = if its file system is mounted with DAX; never = it is read and written as any other; always = it is, or the drive does not start.", "auto, never, always",
        |c| name_of(&DAX_POLICIES, &c.storage.dax), |c, t| choose(&DAX_POLICIES, t).map(|v| c.storage.dax = v)),
    key!("memory.size", "Device memory.", size, memory_bytes),
    key!(@ "memory.folder", "Folder in which files without names have the device memory: on a file system with DAX it is in persistent memory, on a disk it can be larger than this machine's memory. Its contents go with the drive all the same. Without one it is in memory.", "path",
        |c| Value::Text(c.memory_backing.folder.clone()), |c, t| { c.memory_backing.folder = t.to_owned(); Ok(()) }),
    key!(@ "memory.huge_pages", "This machine is asked for huge pages for the device memory (transparent_hugepage/shmem_enabled must say advise).", "true or false",
        |c| Value::Bool(c.memory_backing.has_huge_pages), |c, t| parse_bool(t).map(|v| c.memory_backing.has_huge_pages = v)),
    key!(
        "memory.own_size",
        "Device memory besides, which the drive gives out by itself: to compound executions, and to hosts of FEMU's dialect. This machine's memory is used only for what is given out.",
        size,
        own_memory_bytes
    ),
    key!(
        "memory.bandwidth",
        "Rate at which all units together load and store, run_time = instructions; jobs share it fairly.",
        bandwidth,
        compute.memory_bandwidth
    ),
    key!("compute.units", "Compute units.", count(u32, 1..=1024), compute.units),
    key!(@ "compute.policy", "Scheduler: which waiting job a free unit takes, and who may interrupt whom.", "weighted-fair, weighted-round-robin, fifo, round-robin, grouped-fifo, grouped-round-robin, priority, earliest-deadline",
        |c| name_of(&PolicyKind::NAMES, &c.compute.policy), |c, t| choose(&PolicyKind::NAMES, t).map(|v| c.compute.policy = v)),
    key!(@ "compute.queues", "Where jobs wait: in one queue for all units, or in one of each unit, where they stay.", "shared, per-unit",
        |c| name_of(&QueueKind::NAMES, &c.compute.queues), |c, t| choose(&QueueKind::NAMES, t).map(|v| c.compute.queues = v)),
    key!(
        "compute.time_slice",
        "Round robin, grouped or not: time a job keeps its unit while others wait.",
        time,
        compute.time_slice
    ),
    key!(@ "compute.slice_by_priority", "Grouped policies: a slice is multiplied by the group's priority; grouped-fifo has slices only then.",
        "true or false", |c| Value::Bool(c.compute.slice_by_priority),
        |c, t| parse_bool(t).map(|v| c.compute.slice_by_priority = v)),
    key!(
        "compute.ageing",
        "Policy priority: a job that has waited so long counts as one priority higher; 0ns = never.",
        time,
        compute.ageing
    ),
    key!(
        "compute.context_switch_time",
        "Time a unit needs to take a job after interrupting another.",
        time,
        compute.context_switch_time
    ),
    key!(@ "compute.run_time", "Where the run time of a job comes from: executed instructions (the cost table below), a declared time, or this machine's processor time. A program and an execution may say otherwise.", "instructions, declared, measured, remote",
        |c| name_of(&RunTimeModel::NAMES, &c.run_time), |c, t| choose(&RunTimeModel::NAMES, t).map(|v| c.run_time = v), "run_time"),
    key!(@ "compute.run_time_scale", "run_time = measured: a unit takes so many times this machine's processor time.", "factor",
        |c| Value::Factor(c.run_time_scale_permille), |c, t| parse_factor(t).map(|v| c.run_time_scale_permille = v), "run_time_scale_permille"),
    key!(
        "compute.run_time_samples",
        "run_time = measured or remote: runs of which the median counts; all but the last on copies of the ranges.",
        count(u32, 1..=1000),
        run_time_samples
    ),
    key!(@ "compute.runtime_server", "run_time = remote: the machine that runs programs to see how long they take there (csdrive runtime-server).", "tcp://host:port",
        |c| Value::Text(url_of(&c.runtime_server.address)), |c, t| parse_url(t).map(|v| c.runtime_server.address = v), "runtime_server.address"),
    key!(@ "compute.runtime_server_secret", "File with the secret that the server knows, too; none = the server asks for none.", "path",
        |c| Value::Text(c.runtime_server.secret.clone()), |c, t| { c.runtime_server.secret = t.to_owned(); Ok(()) }),
    key!(
        "compute.runtime_server_timeout",
        "The server's answer must be there by then.",
        time,
        runtime_server.timeout
    ),
    key!(@ "compute.runtime_server_fallback", "If it is not, or the server's run came to something else: fail, or another model.", "fail, instructions, declared, measured",
        |c| name_of(&RemoteFallback::NAMES, &c.runtime_server.fallback), |c, t| choose(&RemoteFallback::NAMES, t).map(|v| c.runtime_server.fallback = v)),
    key!(
        "compute.declared_time",
        "run_time = declared: run time of a job for which neither host nor program declares one.",
        time,
        declared_time
    ),
    key!(@ "compute.native_upload", "Take native programs (shared objects) that hosts send. Each run is a process of its own, without files, network and other processes.",
        "true or false", |c| Value::Bool(c.native.upload), |c, t| parse_bool(t).map(|v| c.native.upload = v)),
    key!(@ "compute.native_directory", "Folder of shared objects that hosts may name to have them loaded; none = no native programs by name.", "path",
        |c| Value::Text(c.native.directory.clone()), |c, t| { c.native.directory = t.to_owned(); Ok(()) }),
    key!(@ "compute.native_threads", "Runs of native programs may have threads: their processor times count together. True with drive.dialect = femu, unless it is set.", "true or false",
        |c| Value::Bool(c.native.threads), |c, t| parse_bool(t).map(|v| c.native.threads = v)),
    key!(
        "compute.native_time_limit",
        "A run of a native program that takes longer on this machine is stopped.",
        time,
        native.time_limit
    ),
    key!(
        "compute.wasm_memory",
        "Memory that a run of a WebAssembly program may have besides its ranges.",
        size,
        wasm.memory_bytes
    ),
    key!(
        "compute.native_memory",
        "Memory that a run of a native program may have besides its ranges.",
        size,
        native.memory_bytes
    ),
    key!(@ "compute.freeze", "A guest's clock stands still while a program runs longer on this machine than on the drive (csdrive vm --freeze).", "true or false",
        |c| Value::Bool(c.freeze.is_on), |c, t| parse_bool(t).map(|v| c.freeze.is_on = v)),
    key!(@ "compute.freeze_qmp", "With freeze: QMP socket of the guest's QEMU (-qmp unix:PATH,server=on,wait=off).", "path",
        |c| Value::Text(c.freeze.qmp.clone()), |c, t| { c.freeze.qmp = t.to_owned(); Ok(()) }),
    key!(@ "compute.core", "Core of a unit: sets clock, memory bandwidth and the cycles below to its cost table; those given in the same file, or later, count more. custom = leave them.",
        "cortex-a53, cortex-a72, cortex-r82, neoverse-n1, riscv-rocket, host, custom",
        |c| core_of(&c.cost), set_core),
    key!(@ "compute.clock", "Clock of a unit.", "frequency", |c| Value::Frequency(c.cost.clock.hz()),
        |c, t| parse_frequency(t).and_then(|v| Frequency::from_hz(v).ok_or_else(|| "0 Hz".into())).map(|v| c.cost.clock = v)),
    key!(
        "compute.memory_bandwidth",
        "Rate at which a unit loads from and stores to memory.",
        bandwidth,
        cost.memory_bandwidth
    ),
    key!("compute.cycles_alu", "Cycles of arithmetic, logic, moves.", cycles, Alu),
    key!("compute.cycles_multiply", "Cycles of a multiplication.", cycles, Multiply),
    key!("compute.cycles_divide", "Cycles of a division or remainder.", cycles, Divide),
    key!("compute.cycles_load", "Cycles of a load, memory time apart.", cycles, Load),
    key!("compute.cycles_store", "Cycles of a store, memory time apart.", cycles, Store),
    key!("compute.cycles_atomic", "Cycles of an atomic operation.", cycles, Atomic),
    key!("compute.cycles_branch", "Cycles of a jump, taken or not.", cycles, Branch),
    key!("compute.cycles_call", "Cycles of a call or exit.", cycles, Call),
    key!("compute.cycles_helper", "Cycles of a helper call, memory time apart.", cycles, Helper),
    key!(@ "compute.engine", "What runs programs; their results and modelled times do not depend on it.",
        "auto, interpreter, tier1, tier2",
        |c| name_of(&Engine::NAMES, &c.engine), |c, t| choose(&Engine::NAMES, t).map(|v| c.engine = v)),
    key!(
        "compute.workers",
        "Host threads that run programs, in real time; 0 = as many as units.",
        count(u32, 0..=1024),
        workers
    ),
    key!(
        "compute.instruction_budget",
        "Instructions any program may execute.",
        count(u64, 1..=1_000_000_000_000),
        instruction_budget
    ),
    key!(
        "compute.instruction_budget_per_byte",
        "Instructions more for each byte of its ranges.",
        count(u64, 0..=1_000_000),
        instruction_budget_per_byte
    ),
];
