//! FEMU's device properties (`-device femu,devsz_mb=...`) as keys of ours. Times are nanoseconds,
//! sizes MiB or sectors, as FEMU has them.

use crate::{Error, Loaded};

/// How a property becomes a key.
enum Meaning {
    /// A key that takes the number with this unit behind it.
    Key(&'static str, &'static str),
    /// Accepted without effect; the reason is told if it is set to something else than this.
    NoEffect(Option<&'static str>, &'static str),
}

use Meaning::{Key, NoEffect};

const PROPERTIES: &[(&str, Meaning)] = &[
    ("devsz_mb", Key("drive.capacity", "MiB")),
    ("nchs", Key("flash.channels", "")),
    ("luns_per_ch", Key("flash.dies_per_channel", "")),
    ("pls_per_lun", Key("flash.planes_per_die", "")),
    ("blks_per_pl", Key("flash.blocks_per_plane", "")),
    ("pgs_per_blk", Key("flash.pages_per_block", "")),
    ("pg_rd_lat", Key("flash.read_time", "ns")),
    ("pg_wr_lat", Key("flash.program_time", "ns")),
    ("blk_er_lat", Key("flash.erase_time", "ns")),
    ("tsusp_ns", Key("flash.suspend_time", "ns")),
    ("cmd_addr_lat", Key("flash.bus_command_time", "ns")),
    ("err_read_unc_ppm", Key("flash.read_errors_ppm", "")),
    ("queues", Key("drive.queue_pairs", "")),
    ("read_cache_mb", Key("flash.read_cache", "MiB")),
    ("nr_cu", Key("compute.units", "")),
    ("context_switch_time", Key("compute.context_switch_time", "ns")),
    ("pcie_prop_delay_ns", Key("link.latency", "ns")),
    ("pcie_bandwidth_mbps", Key("link.bandwidth", "MB/s")),
    ("fw_cpu_ns", Key("drive.command_time", "ns")),
    ("serial", Key("drive.serial", "")),
    ("op_pcent", Key("flash.overprovisioning", "%")),
    (
        "namespaces",
        NoEffect(
            Some("1"),
            "list the namespaces of a drive with [[namespace]] in a configuration file",
        ),
    ),
    ("nr_thread", Key("compute.workers", "")),
    ("cq_poller_enabled", NoEffect(None, "")),
    (
        "pmem_file",
        NoEffect(
            None,
            "storage.file keeps the flash in a file of csdrive's own form, memory.folder the device memory; on a file system with DAX both are in persistent memory",
        ),
    ),
    ("csd_program_dir", Key("compute.native_directory", "")),
    ("id", NoEffect(None, "")),
];

/// Applies a property string.
pub(crate) fn apply(loaded: &mut Loaded, text: &str) -> Result<(), Error> {
    let mut deferred = Deferred::default();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            if part == "femu" {
                continue; // pasted with the device's name in front
            }
            return Err(Error::Value {
                key: "--femu".into(),
                value: part.into(),
                reason: "write properties as name=value, separated by commas".into(),
            });
        };
        if !deferred.take(name, value)? {
            property(loaded, name, value)?;
        }
    }
    deferred.apply(loaded)
}

/// Properties that mean something only together: pages are counted in sectors, and the channel
/// time is given for a page.
#[derive(Default)]
pub(crate) struct Deferred {
    sector: Option<u64>,
    sectors_per_page: Option<u64>,
    transfer_ns: Option<u64>,
    time_slice_ns: Option<u64>,
    scheduler: Option<String>,
    is_grouped: bool,
    is_by_priority: bool,
}

impl Deferred {
    /// Keeps a property for later; false if it is not one of these.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        let place = match name {
            "secsz" => &mut self.sector,
            "secs_per_pg" => &mut self.sectors_per_page,
            // A page over the channel; the second is how FEMU has called it since 2026.
            "ch_xfer_lat" | "pg_xfer_lat" => &mut self.transfer_ns,
            "time_slice" => &mut self.time_slice_ns,
            "csf_sched_option" => {
                self.scheduler = Some(value.to_owned());
                return Ok(true);
            }
            "grouped_csf" => {
                self.is_grouped = switch(name, value)?;
                return Ok(true);
            }
            "grouped_csf_prio" => {
                self.is_by_priority = switch(name, value)?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *place = Some(number(name, value)?);
        Ok(true)
    }

    /// Applies what was kept.
    pub(crate) fn apply(self, loaded: &mut Loaded) -> Result<(), Error> {
        if self.sector.is_some() || self.sectors_per_page.is_some() {
            let (sector, per_page) =
                (self.sector.unwrap_or(512), self.sectors_per_page.unwrap_or(8));
            loaded.set("drive.block_size", &format!("{sector}B"))?;
            let page = sector.saturating_mul(per_page);
            loaded.set("flash.page_size", &format!("{page}B"))?;
        }
        self.schedule(loaded)?;
        let Some(ns) = self.transfer_ns else { return Ok(()) };
        let page = u64::from(loaded.config.flash.page_bytes);
        let rate = match page.saturating_mul(1_000_000_000).checked_div(ns) {
            None => "unlimited".into(), // 0 = no transfer time
            Some(rate) => format!("{rate}B/s"),
        };
        loaded.set("flash.channel_bandwidth", &rate)
    }
}

impl Deferred {
    /// A time slice means round robin, unless a scheduler is named.
    fn schedule(&self, loaded: &mut Loaded) -> Result<(), Error> {
        let slice = self.time_slice_ns.filter(|ns| *ns > 0);
        let is_grouped = self.is_grouped || self.is_by_priority;
        let policy = match (self.scheduler.as_deref(), slice) {
            (Some("rr"), _) | (None, Some(_)) if is_grouped => "grouped-round-robin",
            (Some("rr"), _) | (None, Some(_)) => "round-robin",
            (Some("fifo") | None, _) if is_grouped => "grouped-fifo",
            (Some("fifo"), _) => "fifo",
            (None, None) => return Ok(()),
            (Some(other), _) => {
                return Err(Error::Value {
                    key: "csf_sched_option".to_owned(),
                    value: other.to_owned(),
                    reason: "choose fifo or rr".to_owned(),
                });
            }
        };
        loaded.set("compute.policy", policy)?;
        if self.is_by_priority {
            loaded.set("compute.slice_by_priority", "true")?;
        }
        let Some(ns) = slice else { return Ok(()) };
        if policy == "fifo" || policy == "grouped-fifo" && !self.is_by_priority {
            let note = "the fifo scheduler runs each job to its end; choose rr for slices";
            loaded.warnings.push(format!("time_slice={ns} has no effect: {note}"));
        }
        loaded.set("compute.time_slice", &format!("{ns}ns"))
    }
}

/// A property that is 0 or 1.
fn switch(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(Error::Value {
            key: name.to_owned(),
            value: value.to_owned(),
            reason: "write 0 or 1".to_owned(),
        }),
    }
}

/// A property that is a plain number.
pub(crate) fn number(name: &str, value: &str) -> Result<u64, Error> {
    value.trim().parse().map_err(|_| Error::Value {
        key: name.to_owned(),
        value: value.to_owned(),
        reason: "FEMU properties are plain numbers".into(),
    })
}

/// Applies one property. FEMU's thresholds are the used part, ours the free part.
pub(crate) fn property(loaded: &mut Loaded, name: &str, value: &str) -> Result<(), Error> {
    match name {
        "gc_thres_pcent" | "gc_thres_pcent_high" => {
            let used = number(name, value)?;
            let key = if name == "gc_thres_pcent" { "flash.gc_start" } else { "flash.gc_urgent" };
            return loaded.set(key, &format!("{}%", 100u64.saturating_sub(used)));
        }
        // FEMU's names of policies are the same but for one.
        "gc_policy" => {
            let policy = if value.trim() == "d-choice" { "d-choices" } else { value };
            return loaded.set("flash.gc_policy", policy);
        }
        "nand_cell_type" => {
            let cell = match number(name, value)? {
                1 => "slc",
                2 => "mlc",
                3 => "tlc",
                4 => "qlc",
                // The flat times, as for all other numbers.
                _ => return Ok(()),
            };
            return loaded.set("flash.cell_type", cell);
        }
        // Without a volatile write cache nothing is acknowledged before it is in flash.
        "vwc" => {
            if !switch(name, value)? {
                return loaded.set("flash.write_buffer", "0B");
            }
            return Ok(());
        }
        "fdp" => {
            let fdp = if switch(name, value)? { "true" } else { "false" };
            return loaded.set("drive.fdp", fdp);
        }
        "pe_suspend" => {
            let suspends = if switch(name, value)? { "programs-and-erases" } else { "nothing" };
            return loaded.set("flash.suspend", suspends);
        }
        // Memory that hosts of the dialect allocate, and the memory namespace.
        "fdm_size" => {
            let size = format!("{}MiB", number(name, value)?);
            loaded.set("memory.size", &size)?;
            return loaded.set("memory.own_size", &size);
        }
        "femu_mode" => match value.trim() {
            "4" => return loaded.set("drive.dialect", "femu"),
            _ => {
                let why = "a drive here is always a computational one";
                loaded.warnings.push(format!("{name}={value} has no effect: {why}"));
                return Ok(());
            }
        },
        "mdts" => {
            // A power of two of the smallest page; 0 = no limit.
            let power = number(name, value)?;
            const MOST: u64 = 14;
            if power == 0 || power > MOST {
                let why = "one command transfers 64 MiB at most here";
                loaded.warnings.push(format!("{name}={value}: {why}"));
            }
            let pages = 1u64 << if power == 0 { MOST } else { power.min(MOST) };
            return loaded.set("drive.max_transfer", &format!("{}B", pages * 4096));
        }
        "arm_server_url" => {
            loaded.set("compute.runtime_server", value)?;
            return loaded.set("compute.run_time", "remote");
        }
        // Both spellings are in CEMU's documentation.
        "csf_runtime_scale" | "csf_runtim_scale" => {
            loaded.set("compute.run_time_scale", value)?;
            loaded.warnings.push(format!(
                "{name}={value}: run times are measured on this machine, as CEMU does it, so they differ from run to \
                 run; compute.run_time=instructions gives the same times everywhere"
            ));
            return loaded.set("compute.run_time", "measured");
        }
        _ => {}
    }
    let found = PROPERTIES.iter().find(|(known, _)| *known == name);
    match found.map(|(_, meaning)| meaning) {
        Some(Key(key, unit)) => {
            let value = if ["drive.serial", "compute.native_directory"].contains(key) {
                value.to_owned()
            } else {
                number(name, value)?.to_string()
            };
            loaded.set(key, &format!("{value}{unit}"))
        }
        Some(NoEffect(expected, why)) => {
            if *expected != Some(value) && !why.is_empty() {
                loaded.warnings.push(format!("{name}={value} has no effect: {why}"));
            }
            Ok(())
        }
        None => Err(Error::UnknownKey {
            key: format!("--femu {name}"),
            hint: format!("; known FEMU properties: {}", names().join(", ")),
        }),
    }
}

fn names() -> Vec<&'static str> {
    let special = [
        "secsz",
        "secs_per_pg",
        "ch_xfer_lat",
        "gc_thres_pcent",
        "gc_thres_pcent_high",
        "mdts",
        "csf_runtime_scale",
        "arm_server_url",
        "csf_sched_option",
        "grouped_csf",
        "grouped_csf_prio",
    ];
    PROPERTIES.iter().map(|(name, _)| *name).chain(special).collect()
}

#[cfg(test)]
mod tests {
    use crate::Sources;

    fn load(text: &str) -> Result<crate::Loaded, crate::Error> {
        Sources { femu: vec![text.into()], ..Default::default() }.load()
    }

    /// The device line of FEMU's documentation for its CSD mode.
    #[test]
    fn the_flash_of_2026_is_known_by_its_names() {
        let load = |text: &str| {
            let femu = vec![text.to_owned()];
            Sources { femu, ..Sources::default() }.load().map(|loaded| loaded.config.flash)
        };
        let flash = load("nand_cell_type=3,pe_suspend=1,tsusp_ns=5000,gc_policy=d-choice").unwrap();
        assert_eq!(
            (flash.read_time, flash.program_time, flash.erase_time),
            ssd::CellType::Tlc.times()
        );
        assert_eq!(flash.suspend, ssd::Suspend::ProgramsAndErases);
        assert_eq!(flash.suspend_time.as_ns(), 5000);
        assert_eq!(flash.victim_policy, ssd::VictimPolicyKind::DChoices);
        // 0 and what FEMU does not know are its flat times.
        let bus = load("cmd_addr_lat=300,pg_xfer_lat=4096,vwc=0,err_read_unc_ppm=7").unwrap();
        assert_eq!(bus.bus_command_time.as_ns(), 300);
        assert_eq!(bus.channel_bandwidth.bytes_per_s(), 1_000_000_000);
        assert_eq!((bus.write_buffer_bytes, bus.read_errors_ppm), (0, 7));
        let small = Sources { set: vec!["flash.read_cache=1KiB".to_owned()], ..Sources::default() };
        let notes = small.load().unwrap().warnings;
        assert!(notes.iter().any(|note| note.contains("no room for one page")), "{notes:?}");
        assert_eq!(load("read_cache_mb=32").unwrap().read_cache_bytes, 32 << 20);
        assert!(load("vwc=2").is_err() && load("queues=x").is_err() && load("fdp=1").is_ok());
        let flat = load("nand_cell_type=0,pg_rd_lat=41000,pe_suspend=0").unwrap();
        assert_eq!(flat.read_time.types(), [simtime::Duration::from_us(41)]);
        assert_eq!(flat.suspend, ssd::Suspend::Nothing);
        assert!(load("gc_policy=best").is_err() && load("pe_suspend=2").is_err());
    }

    #[test]
    fn femu_documented_device_line_is_accepted() {
        let loaded = load(
            "femu,devsz_mb=4096,namespaces=1,femu_mode=4,secsz=512,secs_per_pg=8,pgs_per_blk=256,\
             blks_per_pl=270,pls_per_lun=1,luns_per_ch=8,nchs=8,pg_rd_lat=40000,pg_wr_lat=200000,\
             blk_er_lat=2000000,ch_xfer_lat=0,gc_thres_pcent=75,gc_thres_pcent_high=99,fdm_size=64,\
             nr_cu=4,nr_thread=4,time_slice=200000,context_switch_time=200,csf_runtime_scale=3",
        )
        .unwrap();
        let c = &loaded.config;
        assert_eq!((c.flash.capacity_bytes, c.memory_bytes), (4 << 30, 64 << 20));
        assert_eq!((c.block_bytes, c.flash.page_bytes, c.flash.channels), (512, 4096, 8));
        assert_eq!((c.flash.read_time.mean().as_ns(), c.flash.gc_start_permille), (40_000, 250));
        assert_eq!(c.flash.channel_bandwidth.bytes_per_s(), 0);
        assert_eq!((c.compute.units, c.workers), (4, 4));
        assert_eq!(c.compute.policy, compute::PolicyKind::RoundRobin);
        assert_eq!(c.compute.time_slice.as_ns(), 200_000);
        assert_eq!(c.run_time, controller::RunTimeModel::Measured);
        assert!(loaded.warnings.iter().any(|w| w.contains("csf_runtime_scale=3")));
    }

    #[test]
    fn femu_channel_time_is_for_a_page_of_the_size_given() {
        let loaded = load("ch_xfer_lat=25000,secsz=512,secs_per_pg=32").unwrap();
        assert_eq!(loaded.config.flash.page_bytes, 16_384);
        assert_eq!(loaded.config.flash.channel_bandwidth.bytes_per_s(), 655_360_000);
    }

    #[test]
    fn femu_names_select_what_they_imply() {
        use compute::PolicyKind::{Fifo, GroupedFifo, GroupedRoundRobin, RoundRobin, WeightedFair};
        for (text, policy, notes) in [
            ("nr_cu=2", WeightedFair, 0),
            ("time_slice=1000", RoundRobin, 0),
            ("time_slice=0", WeightedFair, 0),
            ("csf_sched_option=rr", RoundRobin, 0),
            ("csf_sched_option=fifo,time_slice=1000", Fifo, 1),
            ("time_slice=1000,csf_sched_option=rr", RoundRobin, 0),
            ("csf_sched_option=rr,grouped_csf=0", RoundRobin, 0),
            ("csf_sched_option=rr,grouped_csf=1", GroupedRoundRobin, 0),
            ("grouped_csf=1", GroupedFifo, 0),
            ("grouped_csf=1,csf_sched_option=fifo,time_slice=1000", GroupedFifo, 1),
            ("grouped_csf_prio=1,csf_sched_option=fifo,time_slice=1000", GroupedFifo, 0),
            ("grouped_csf=1,grouped_csf_prio=1,csf_sched_option=rr", GroupedRoundRobin, 0),
        ] {
            let loaded = load(text).unwrap();
            assert_eq!(
                (loaded.config.compute.policy, loaded.warnings.len()),
                (policy, notes),
                "{text}"
            );
        }
        for (text, bytes) in [("mdts=5", 128 << 10), ("mdts=0", 64 << 20), ("mdts=20", 64 << 20)] {
            assert_eq!(load(text).unwrap().config.transfer_bytes_max, bytes, "{text}");
        }
        assert!(load("grouped_csf_prio=1").unwrap().config.compute.slice_by_priority);
        assert!(load("grouped_csf=2").unwrap_err().to_string().contains("0 or 1"));
        assert!(load("csf_sched_option=lottery").unwrap_err().to_string().contains("fifo or rr"));
    }

    #[test]
    fn femu_unknown_or_malformed_properties_are_refused() {
        for bad in ["nr_cus=4", "nr_cu=four", "nr_cu", "devsz_mb=-1"] {
            assert!(load(bad).is_err(), "{bad}");
        }
    }
}
