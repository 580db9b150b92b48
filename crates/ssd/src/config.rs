//! Geometry and timing of the flash, and the checks that make a geometry usable.

use simtime::{Bandwidth, Duration};

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
    /// Pages of each block.
    pub pages_per_block: u32,
    /// Bytes of a page: the unit of mapping, reading and programming.
    pub page_bytes: u32,
    /// Flash beyond the capacity, in thousandths of the capacity.
    pub overprovisioning_permille: u32,
    /// Garbage collection begins when this part of a plane's blocks is free, in thousandths.
    pub gc_start_permille: u32,
    /// Host writes to a plane wait for garbage collection at this part, in thousandths.
    pub gc_urgent_permille: u32,
    /// Array time of a page read (tR).
    pub read_time: Duration,
    /// Array time of a page program (tPROG).
    pub program_time: Duration,
    /// Time of a block erase (tBERS).
    pub erase_time: Duration,
    /// Channel bus rate.
    pub channel_bandwidth: Bandwidth,
    /// False for a simulation of times alone: page contents are not kept.
    pub keep_data: bool,
    /// Bytes of host writes acknowledged before they are programmed; 0 = write through.
    pub write_buffer_bytes: u64,
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
            overprovisioning_permille: 70,
            gc_start_permille: 30,
            gc_urgent_permille: 10,
            read_time: Duration::from_us(40),
            program_time: Duration::from_us(200),
            erase_time: Duration::from_us(2000),
            channel_bandwidth: Bandwidth::from_bytes_per_s(1_200_000_000),
            keep_data: true,
            write_buffer_bytes: 16 << 20,
        }
    }
}

/// A configuration that cannot be built, with the remedy. Keys are those of the config file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{key} = {value}: {reason}; {remedy}")]
pub struct ConfigError {
    /// The offending key.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// The limit it breaks.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

fn refuse(
    key: &'static str,
    value: impl ToString,
    reason: impl Into<String>,
    remedy: impl Into<String>,
) -> ConfigError {
    ConfigError { key, value: value.to_string(), reason: reason.into(), remedy: remedy.into() }
}

/// Blocks of a plane that are open: the host's and collection's. With the reserve that collection
/// moves into, they hold no data that the capacity counts on.
const BLOCKS_IN_MOTION: u32 = 2;

/// Most blocks of a drive: each takes a few dozen bytes of host memory from the start.
const BLOCKS_MAX: u64 = 1 << 23;

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
    /// Bytes of a page.
    pub page_bytes: u32,
    /// Pages the host sees.
    pub logical_pages: u32,
    /// Free blocks of a plane at which collection begins.
    pub gc_start_blocks: u32,
    /// Free blocks of a plane that host writes must leave.
    pub gc_reserve_blocks: u32,
}

impl Geometry {
    /// Derives and checks.
    ///
    /// # Errors
    /// If values contradict each other or exceed what the model can address.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        for (key, value, max) in [
            ("flash.channels", config.channels, 256),
            ("flash.dies_per_channel", config.dies_per_channel, 256),
            ("flash.planes_per_die", config.planes_per_die, 8),
            ("flash.pages_per_block", config.pages_per_block, 65_536),
        ] {
            if value == 0 || value > max {
                let remedy = format!("choose a value from 1 to {max}");
                return Err(refuse(key, value, "out of range", remedy));
            }
        }
        let page = config.page_bytes;
        if !page.is_power_of_two() || !(4096..=65_536).contains(&page) {
            let reason = "a page is a power of two from 4KiB to 64KiB";
            return Err(refuse("flash.page_size", page, reason, "choose 4KiB, 8KiB or 16KiB"));
        }
        if config.capacity_bytes == 0 || !config.capacity_bytes.is_multiple_of(u64::from(page)) {
            let reason = format!("not a whole number of {page}-byte pages");
            let remedy = "choose a multiple of flash.page_size";
            return Err(refuse("drive.capacity", config.capacity_bytes, reason, remedy));
        }
        if config.gc_urgent_permille > config.gc_start_permille {
            let reason = format!("above flash.gc_start ({}%)", percent(config.gc_start_permille));
            let value = format!("{}%", percent(config.gc_urgent_permille));
            let remedy = "garbage collection must begin before it becomes urgent: lower it";
            return Err(refuse("flash.gc_urgent", value, reason, remedy));
        }
        if config.gc_start_permille > 900 {
            let value = format!("{}%", percent(config.gc_start_permille));
            return Err(refuse("flash.gc_start", value, "above 90%", "choose 90% or less"));
        }
        let logical_pages = config.capacity_bytes / u64::from(page);
        let dies = config.channels * config.dies_per_channel;
        let planes = dies * config.planes_per_die;
        let per_block = u64::from(config.pages_per_block);
        let stored =
            logical_pages.saturating_mul(1000 + u64::from(config.overprovisioning_permille));
        let wanted = stored.div_ceil(1000).div_ceil(u64::from(planes)).div_ceil(per_block);
        let least = logical_pages.div_ceil(u64::from(planes)).div_ceil(per_block);
        let reserve = |blocks: u64| (blocks * u64::from(config.gc_urgent_permille) / 1000).max(1);
        let margin = |blocks: u64| u64::from(BLOCKS_IN_MOTION) + reserve(blocks) + 1;
        let blocks = if config.blocks_per_plane == 0 {
            // The reserve is a part of the blocks it is derived for: grow until it fits.
            let mut blocks = wanted;
            while blocks < least + margin(blocks) {
                blocks = least + margin(blocks);
            }
            blocks
        } else {
            u64::from(config.blocks_per_plane)
        };
        if blocks < least + margin(blocks) {
            let raw = blocks * u64::from(planes) * per_block * u64::from(page);
            return Err(refuse(
                "flash.blocks_per_plane",
                blocks,
                format!(
                    "{raw} bytes of flash for {} bytes of capacity leave no room to write",
                    config.capacity_bytes
                ),
                format!(
                    "use at least {} blocks, 0 to derive it, or a smaller drive.capacity",
                    least + margin(blocks)
                ),
            ));
        }
        let all_blocks = blocks.saturating_mul(u64::from(planes));
        if all_blocks > BLOCKS_MAX {
            let reason = format!("{all_blocks} blocks; the model keeps at most {BLOCKS_MAX}");
            let remedy = "use more pages per block, a larger flash.page_size or a smaller capacity";
            return Err(refuse("flash.pages_per_block", config.pages_per_block, reason, remedy));
        }
        let pages = all_blocks.saturating_mul(per_block);
        if pages >= u64::from(u32::MAX) {
            let reason = format!("{pages} flash pages; the model addresses fewer than 2^32");
            let remedy = "use a larger flash.page_size or a smaller capacity";
            return Err(refuse("drive.capacity", config.capacity_bytes, reason, remedy));
        }
        let start = (blocks * u64::from(config.gc_start_permille) / 1000).max(reserve(blocks) + 1);
        Ok(Self {
            channels: config.channels,
            dies,
            planes,
            planes_per_die: config.planes_per_die,
            blocks_per_plane: blocks as u32,
            pages_per_block: config.pages_per_block,
            page_bytes: page,
            logical_pages: logical_pages as u32,
            gc_start_blocks: start as u32,
            gc_reserve_blocks: reserve(blocks) as u32,
        })
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
        assert!(raw * 1000 >= u64::from(g.logical_pages) * 1070);
    }

    #[test]
    fn geometry_contradictions_name_key_value_and_remedy() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 7] = [
            ("flash.channels", |c| c.channels = 0),
            ("flash.page_size", |c| c.page_bytes = 5000),
            ("drive.capacity", |c| c.capacity_bytes = 4097),
            ("flash.blocks_per_plane", |c| c.blocks_per_plane = 10),
            ("flash.gc_urgent", |c| c.gc_urgent_permille = 500),
            ("flash.pages_per_block", |c| c.capacity_bytes = 1 << 50),
            ("drive.capacity", |c| (c.capacity_bytes, c.pages_per_block) = (1 << 46, 65_536)),
        ];
        for (key, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            let error = Geometry::new(&config).unwrap_err();
            assert_eq!(error.key, key, "{error}");
            assert!(!error.remedy.is_empty());
        }
    }
}
