//! MQSim's configuration of a drive (`ssdconfig.xml`), as keys of ours: <https://github.com/CMU-SAFARI/MQSim>, README, "MQSim Execution
//! Configurations". Its workloads are not read; its traces are (`format = "mqsim"` in a workload file).

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use crate::{Error, Loaded};

/// What is in the file and has another place here, or none; told if it is not what is said first.
const NO_EFFECT: &[(&str, &str, &str)] = &[
    (
        "Enabled_Preconditioning",
        "false",
        "flash.filled says how much is written when the drive is new",
    ),
    ("Memory_Type", "FLASH", "a drive here is of flash"),
    (
        "Ideal_Mapping_Table",
        "true",
        "the whole map is in the drive's memory here; a cached map is not modelled",
    ),
    (
        "Use_Copyback_for_GC",
        "false",
        "collection reads into the controller and programs from there",
    ),
    (
        "Preemptible_GC_Enabled",
        "false",
        "reads of the host pass collection with flash.die_order = reads-first",
    ),
    ("Address_Mapping", "PAGE_LEVEL", "the map is by pages"),
    (
        "Data_Cache_DRAM_Data_Rate",
        "",
        "the write buffer takes no time here, whatever its memory is",
    ),
    ("Plane_Allocation_Scheme", "CWDP", "pages go to channels, dies and planes in turn"),
    (
        "Transaction_Scheduling_Policy",
        "PRIORITY_OUT_OF_ORDER",
        "flash.die_order says what a die does first",
    ),
];

/// What is told with others of [`NO_EFFECT`], or means nothing to the results.
const SILENT: &[&str] = &[
    "Seed",
    "SATA_Processing_Delay",
    "Enable_ResponseTime_Logging",
    "ResponseTime_Logging_Period_Length",
    "IO_Queue_Depth",
    "Queue_Fetch_Size",
    "Caching_Mechanism",
    "Data_Cache_Sharing_Mode",
    "Data_Cache_DRAM_Row_Size",
    "Data_Cache_DRAM_Data_Busrt_Size",
    "Data_Cache_DRAM_Data_Burst_Size",
    "Data_Cache_DRAM_tRCD",
    "Data_Cache_DRAM_tCL",
    "Data_Cache_DRAM_tRP",
    "CMT_Capacity",
    "CMT_Sharing_Mode",
    "Flash_Comm_Protocol",
    "Preferred_suspend_erase_time_for_read",
    "Preferred_suspend_erase_time_for_write",
    "Preferred_suspend_write_time_for_read",
    "Page_Metadat_Capacity",
    "Page_Metadata_Capacity",
];

/// What some editors put before a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// True if a text is such a file.
pub(crate) fn is_one(text: &str) -> bool {
    text.trim_start_matches(BYTE_ORDER_MARK).trim_start().starts_with('<')
}

/// Applies a file. The error of a file that is none is a text.
pub(crate) fn apply(loaded: &mut Loaded, text: &str) -> Result<Result<(), Error>, String> {
    let document = Document::parse(text.trim_start_matches(BYTE_ORDER_MARK))
        .map_err(|error| format!("not XML: {error}"))?;
    let root = document.root_element();
    if root.has_tag_name("MQSim_IO_Scenarios") {
        return Err("these are MQSim's workloads: give its configuration of the drive (ssdconfig.xml); experiments here are workload files (csdrive workload)".to_owned());
    }
    if !root.has_tag_name("Execution_Parameter_Set") {
        return Err(format!(
            "an XML document of <{}>: MQSim's configuration is one of <Execution_Parameter_Set>",
            root.tag_name().name()
        ));
    }
    Ok(Parameters { root }.apply(loaded))
}

/// A value that cannot be, and why.
fn refused(name: &str, value: &dyn ToString, reason: &str) -> Error {
    Error::Value { key: name.to_owned(), value: value.to_string(), reason: reason.to_owned() }
}

/// The file's parameters, by name.
struct Parameters<'a, 'input> {
    root: Node<'a, 'input>,
}

impl Parameters<'_, '_> {
    fn text(&self, name: &str) -> Option<&str> {
        let node = self.root.descendants().find(|node| node.has_tag_name(name))?;
        Some(node.text().unwrap_or_default().trim())
    }

    fn switch(&self, name: &str) -> Result<bool, Error> {
        match self.text(name) {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(refused(name, &text, "write true or false")),
        }
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Error> {
        let parse =
            |text: &str| text.parse().map_err(|_| refused(name, &text, &format!("not {what}")));
        self.text(name).map(parse).transpose()
    }

    /// A number that is not too large for products of several.
    fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let number: Option<u32> = self.parsed(name, "a whole number of at most 2^32 - 1")?;
        Ok(number.map(u64::from))
    }

    fn share(&self, name: &str) -> Result<Option<f64>, Error> {
        let share: Option<f64> = self.parsed(name, "a number")?;
        match share {
            Some(share) if !(0.0..1.0).contains(&share) => {
                Err(refused(name, &share, "a share of the flash is from 0 to below 1"))
            }
            share => Ok(share),
        }
    }

    fn apply(&self, loaded: &mut Loaded) -> Result<(), Error> {
        self.geometry(loaded)?;
        self.times(loaded)?;
        self.translation(loaded)?;
        self.front_end(loaded)?;
        for (name, expected, why) in NO_EFFECT {
            if let Some(value) = self.text(name).filter(|value| value != expected) {
                loaded.warnings.push(format!("{name}={value} has no effect: {why}"));
            }
        }
        self.check_known()
    }

    fn geometry(&self, loaded: &mut Loaded) -> Result<(), Error> {
        let default = loaded.config.flash.clone();
        let channels = self.number("Flash_Channel_Count")?.unwrap_or(default.channels.into());
        let chips = self.number("Chip_No_Per_Channel")?.unwrap_or(1);
        let dies = self.number("Die_No_Per_Chip")?.unwrap_or(default.dies_per_channel.into());
        let planes = self.number("Plane_No_Per_Die")?.unwrap_or(default.planes_per_die.into());
        let blocks = self.number("Block_No_Per_Plane")?;
        let pages = self.number("Page_No_Per_Block")?.unwrap_or(default.pages_per_block.into());
        let page = self.number("Page_Capacity")?.unwrap_or(default.page_bytes.into());
        loaded.set("flash.channels", &channels.to_string())?;
        loaded.set("flash.dies_per_channel", &(chips * dies).to_string())?;
        loaded.set("flash.planes_per_die", &planes.to_string())?;
        loaded.set("flash.pages_per_block", &pages.to_string())?;
        loaded.set("flash.page_size", &format!("{page}B"))?;
        // MQSim's hosts count in sectors.
        loaded.set("drive.block_size", "512B")?;
        let spare = self.share("Overprovisioning_Ratio")?;
        if let Some(spare) = spare {
            // A share of all flash there, of the capacity here.
            let of_capacity = (1000.0 * spare / (1.0 - spare)).floor() / 10.0;
            loaded.set("flash.overprovisioning", &format!("{of_capacity}%"))?;
        }
        if let Some(blocks) = blocks {
            loaded.set("flash.blocks_per_plane", &blocks.to_string())?;
            let all = [chips, dies, planes, blocks, pages, page]
                .into_iter()
                .try_fold(channels, u64::checked_mul)
                .ok_or_else(|| {
                    refused(
                        "Block_No_Per_Plane",
                        &blocks,
                        "all flash together is more than 2^64 bytes",
                    )
                })?;
            let capacity = all as f64 * (1.0 - spare.unwrap_or(0.0)) / page.max(1) as f64;
            loaded.set("drive.capacity", &format!("{}B", capacity as u64 * page))?;
        }
        Ok(())
    }

    fn times(&self, loaded: &mut Loaded) -> Result<(), Error> {
        let types: &[&str] = match self.text("Flash_Technology") {
            Some("SLC") => &["LSB"],
            // MQSim's default.
            None | Some("MLC") => &["LSB", "MSB"],
            Some("TLC") => &["LSB", "CSB", "MSB"],
            Some(other) => {
                return Err(refused("Flash_Technology", &other, "choose of SLC, MLC, TLC"));
            }
        };
        for (key, operation) in [("flash.read_time", "Read"), ("flash.program_time", "Program")] {
            let mut times = Vec::new();
            let mut lacking = None;
            for kind in types {
                let name = format!("Page_{operation}_Latency_{kind}");
                match self.number(&name)? {
                    Some(ns) => times.push(ns),
                    None => lacking = Some(name),
                }
            }
            if let Some(name) = lacking.filter(|_| !times.is_empty()) {
                let reason =
                    "pages of this type have no time, and others have: give all".to_owned();
                return Err(Error::Key { key: name, reason });
            }
            // One time for all is that of pages of any type.
            if times.iter().all(|ns| *ns == times[0]) {
                times.truncate(1);
            }
            let times: Vec<String> = times.iter().map(|ns| format!("{ns}ns")).collect();
            if !times.is_empty() {
                loaded.set(key, &times.join("/"))?;
            }
        }
        if let Some(ns) = self.number("Block_Erase_Latency")? {
            loaded.set("flash.erase_time", &format!("{ns}ns"))?;
        }
        if let Some(erases) = self.number("Block_PE_Cycles_Limit")? {
            loaded.set("flash.rated_erases", &erases.to_string())?;
        }
        if let Some(rate) = self.number("Channel_Transfer_Rate")? {
            // Millions of transfers, of as many bytes as the channel is wide.
            let width = self.number("Flash_Channel_Width")?.unwrap_or(1);
            loaded.set("flash.channel_bandwidth", &format!("{}MB/s", rate * width))?;
        }
        // Its reads pass writes and erases that wait, whatever can be stopped.
        loaded.set("flash.die_order", "reads-first")?;
        let (suspend, time) = match self.text("CMD_Suspension_Support") {
            None | Some("NONE") => return Ok(()),
            Some("ERASE") => ("erases", "Suspend_Erase_Time"),
            Some("PROGRAM_ERASE") => ("programs-and-erases", "Suspend_Program_Time"),
            Some(other) => {
                return Err(refused(
                    "CMD_Suspension_Support",
                    &other,
                    "choose of NONE, ERASE, PROGRAM_ERASE; programs alone are not stopped here",
                ));
            }
        };
        loaded.set("flash.suspend", suspend)?;
        match self.number(time)? {
            Some(ns) => loaded.set("flash.suspend_time", &format!("{ns}ns")),
            None => Ok(()),
        }
    }

    fn translation(&self, loaded: &mut Loaded) -> Result<(), Error> {
        if let Some(policy) = self.text("GC_Block_Selection_Policy") {
            let (ours, note) = match policy {
                "GREEDY" => ("greedy", None),
                "FIFO" => ("fifo", None),
                "RGA" => (
                    "d-choices",
                    Some(
                        "the best of 4 blocks that are drawn; MQSim draws as many as the logarithm of the blocks of a plane",
                    ),
                ),
                "RANDOM" => ("random", Some("a block with nothing to gain is not taken")),
                "RANDOM_P" | "RANDOM_PP" => {
                    ("random", Some("any block with something to gain is taken"))
                }
                _ => {
                    return Err(refused(
                        "GC_Block_Selection_Policy",
                        &policy,
                        "choose of GREEDY, RGA, RANDOM, RANDOM_P, RANDOM_PP, FIFO",
                    ));
                }
            };
            loaded.set("flash.gc_policy", ours)?;
            if let Some(note) = note {
                loaded.warnings.push(format!("GC_Block_Selection_Policy={policy}: {note}"));
            }
        }
        for (name, key) in
            [("GC_Exec_Threshold", "flash.gc_start"), ("GC_Hard_Threshold", "flash.gc_urgent")]
        {
            if let Some(share) = self.share(name)? {
                loaded.set(key, &format!("{}%", (1000.0 * share).round() / 10.0))?;
            }
        }
        if self.switch("Static_Wearleveling_Enabled")? {
            loaded.set("flash.wear_leveling", "static")?;
            if let Some(gap) = self.number("Static_Wearleveling_Threshold")? {
                loaded.set("flash.wear_gap", &gap.to_string())?;
            }
        } else if self.switch("Dynamic_Wearleveling_Enabled")? {
            loaded.set("flash.wear_leveling", "dynamic")?;
        }
        Ok(())
    }

    fn front_end(&self, loaded: &mut Loaded) -> Result<(), Error> {
        if let Some(bytes) = self.parsed::<u64>("Data_Cache_Capacity", "a number of bytes")? {
            loaded.set("flash.write_buffer", &format!("{bytes}B"))?;
        }
        let lanes = self.number("PCIe_Lane_Count")?;
        let lane: Option<f64> = self.parsed("PCIe_Lane_Bandwidth", "a number")?;
        if let Some(lane) = lane {
            if !(lane > 0.0 && lane < 1e6) {
                return Err(refused(
                    "PCIe_Lane_Bandwidth",
                    &lane,
                    "gigabytes a second of a lane, more than 0",
                ));
            }
            let bytes = lanes.unwrap_or(1) as f64 * lane * 1e9;
            loaded.set("link.bandwidth", &format!("{}B/s", bytes as u64))?;
        }
        // Neither has a time of its own there.
        loaded.set("link.latency", "0ns")?;
        loaded.set("drive.command_time", "0ns")?;
        match self.text("HostInterface_Type") {
            Some("SATA") => Err(Error::Value {
                key: "HostInterface_Type".to_owned(),
                value: "SATA".to_owned(),
                reason: "a drive here is NVMe".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// What is not known is told: it may be a mistake in a name.
    fn check_known(&self) -> Result<(), Error> {
        let leaves = self
            .root
            .descendants()
            .filter(|node| node.is_element() && !node.children().any(|child| child.is_element()));
        let mut names = BTreeSet::new();
        for leaf in leaves {
            let name = leaf.tag_name().name();
            let is_known = USED.contains(&name)
                || SILENT.contains(&name)
                || NO_EFFECT.iter().any(|(known, ..)| *known == name);
            let pieces = leaf.children().filter(|child| child.is_text()).count();
            if pieces > 1 || !names.insert(name) {
                let reason =
                    "it is there twice, or has something within it: write it once".to_owned();
                return Err(Error::Key { key: format!("<{name}>"), reason });
            }
            if !is_known {
                let known: Vec<&str> = USED.iter().chain(SILENT).copied().collect();
                let near = known.iter().max_by(|a, b| {
                    strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b))
                });
                let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                return Err(Error::UnknownKey { key: format!("<{name}>"), hint });
            }
        }
        Ok(())
    }
}

/// What sets keys.
const USED: &[&str] = &[
    "PCIe_Lane_Bandwidth",
    "PCIe_Lane_Count",
    "HostInterface_Type",
    "Data_Cache_Capacity",
    "Overprovisioning_Ratio",
    "GC_Exec_Threshold",
    "GC_Hard_Threshold",
    "GC_Block_Selection_Policy",
    "Dynamic_Wearleveling_Enabled",
    "Static_Wearleveling_Enabled",
    "Static_Wearleveling_Threshold",
    "Flash_Channel_Count",
    "Flash_Channel_Width",
    "Channel_Transfer_Rate",
    "Chip_No_Per_Channel",
    "Flash_Technology",
    "CMD_Suspension_Support",
    "Page_Read_Latency_LSB",
    "Page_Read_Latency_CSB",
    "Page_Read_Latency_MSB",
    "Page_Program_Latency_LSB",
    "Page_Program_Latency_CSB",
    "Page_Program_Latency_MSB",
    "Block_Erase_Latency",
    "Block_PE_Cycles_Limit",
    "Suspend_Erase_Time",
    "Suspend_Program_Time",
    "Die_No_Per_Chip",
    "Plane_No_Per_Die",
    "Block_No_Per_Plane",
    "Page_No_Per_Block",
    "Page_Capacity",
];

#[cfg(test)]
mod tests {
    use crate::{Error, Loaded, Sources};

    /// Parts of the ssdconfig.xml that MQSim comes with.
    const SHIPPED: &str = r#"<?xml version="1.0" encoding="us-ascii"?>
<Execution_Parameter_Set>
	<Host_Parameter_Set>
		<PCIe_Lane_Bandwidth>1.00000</PCIe_Lane_Bandwidth>
		<PCIe_Lane_Count>4</PCIe_Lane_Count>
	</Host_Parameter_Set>
	<Device_Parameter_Set>
		<HostInterface_Type>NVME</HostInterface_Type>
		<Data_Cache_Capacity>268435456</Data_Cache_Capacity>
		<Ideal_Mapping_Table>false</Ideal_Mapping_Table>
		<Overprovisioning_Ratio>0.07</Overprovisioning_Ratio>
		<GC_Exec_Threshold>0.05000</GC_Exec_Threshold>
		<GC_Block_Selection_Policy>RGA</GC_Block_Selection_Policy>
		<GC_Hard_Threshold>0.005000</GC_Hard_Threshold>
		<Dynamic_Wearleveling_Enabled>true</Dynamic_Wearleveling_Enabled>
		<Static_Wearleveling_Enabled>true</Static_Wearleveling_Enabled>
		<Static_Wearleveling_Threshold>100</Static_Wearleveling_Threshold>
		<Flash_Channel_Count>8</Flash_Channel_Count>
		<Flash_Channel_Width>1</Flash_Channel_Width>
		<Channel_Transfer_Rate>333</Channel_Transfer_Rate>
		<Chip_No_Per_Channel>4</Chip_No_Per_Channel>
		<Flash_Parameter_Set>
			<Flash_Technology>MLC</Flash_Technology>
			<CMD_Suspension_Support>ERASE</CMD_Suspension_Support>
			<Page_Read_Latency_LSB>75000</Page_Read_Latency_LSB>
			<Page_Read_Latency_CSB>75000</Page_Read_Latency_CSB>
			<Page_Read_Latency_MSB>75000</Page_Read_Latency_MSB>
			<Page_Program_Latency_LSB>750000</Page_Program_Latency_LSB>
			<Page_Program_Latency_CSB>800000</Page_Program_Latency_CSB>
			<Page_Program_Latency_MSB>850000</Page_Program_Latency_MSB>
			<Block_Erase_Latency>3800000</Block_Erase_Latency>
			<Suspend_Erase_Time>700000</Suspend_Erase_Time>
			<Die_No_Per_Chip>2</Die_No_Per_Chip>
			<Plane_No_Per_Die>2</Plane_No_Per_Die>
			<Block_No_Per_Plane>2048</Block_No_Per_Plane>
			<Page_No_Per_Block>256</Page_No_Per_Block>
			<Page_Capacity>8192</Page_Capacity>
		</Flash_Parameter_Set>
	</Device_Parameter_Set>
</Execution_Parameter_Set>"#;

    fn load(text: &str) -> Result<Loaded, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ssdconfig.xml");
        std::fs::write(&path, text).unwrap();
        Sources { config: Some(path), ..Sources::default() }.load()
    }

    #[test]
    fn what_mqsim_comes_with_is_a_drive() {
        let loaded = load(SHIPPED).unwrap();
        let config = &loaded.config;
        let flash = &config.flash;
        assert_eq!((flash.channels, flash.dies_per_channel, flash.planes_per_die), (8, 8, 2));
        assert_eq!(
            (flash.blocks_per_plane, flash.pages_per_block, flash.page_bytes),
            (2048, 256, 8192)
        );
        let all = 128u64 * 2048 * 256 * 8192;
        assert_eq!(flash.capacity_bytes / 8192, (all as f64 * 0.93 / 8192.0) as u64);
        assert_eq!(flash.read_time.mean().as_ns(), 75_000);
        assert_eq!(flash.program_time.mean().as_ns(), 800_000, "LSB and MSB");
        assert_eq!(flash.channel_bandwidth.bytes_per_s(), 333_000_000);
        assert_eq!(config.host_link.bandwidth.bytes_per_s(), 4_000_000_000);
        assert_eq!(flash.victim_policy, ssd::VictimPolicyKind::DChoices);
        assert_eq!((flash.suspend, flash.suspend_time.as_ns()), (ssd::Suspend::Erases, 700_000));
        assert_eq!(flash.write_buffer_bytes, 256 << 20);
        assert_eq!((config.block_bytes, config.command_time.as_ns()), (512, 0));
        assert!(loaded.warnings.iter().any(|note| note.starts_with("Ideal_Mapping_Table=false")));
        assert!(loaded.warnings.iter().any(|note| note.contains("RGA")));
        // Types of equal times are types all the same.
        let tlc = SHIPPED.replace(">MLC<", ">TLC<").replace(">850000<", ">800000<");
        let flash = load(&format!("\u{feff}{tlc}")).unwrap().config.flash;
        assert_eq!(flash.program_time.types().len(), 3);
        assert_eq!(flash.read_time.types().len(), 1);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (from, to, text) in [
            ("<Page_Capacity>8192<", "<Page_Capacity>many<", "Page_Capacity"),
            (">RGA<", ">BEST<", "choose of GREEDY"),
            (">NVME<", ">SATA<", "NVMe"),
            (">MLC<", ">PLC<", "SLC, MLC, TLC"),
            (">0.07<", ">1.5<", "from 0 to below 1"),
            ("Page_Capacity>", "Page_Capacities>", "did you mean Page_Capacity"),
            ("Block_No_Per_Plane>2048", "Block_No_Per_Plane>4294967295", "flash"),
            (">1.00000<", ">-1<", "PCIe_Lane_Bandwidth"),
            (">true</Static", ">yes</Static", "true or false"),
            (">8192<", ">81<!-- x -->92<", "Page_Capacity"),
            ("<Page_Capacity>", "<Page_Capacity>1</Page_Capacity><Page_Capacity>", "twice"),
            ("<Page_Read_Latency_MSB>75000</Page_Read_Latency_MSB>", "", "Page_Read_Latency_MSB"),
            ("<Execution_Parameter_Set>", "<Execution_Parameter_Set><a>", "not XML"),
            ("Execution_Parameter_Set", "MQSim_IO_Scenarios", "workloads"),
            ("Execution_Parameter_Set", "html", "Execution_Parameter_Set"),
        ] {
            let error = load(&SHIPPED.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(text), "{to}: {error}");
        }
        // An XML bomb is none here.
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbbbbbbbb\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]><a>&c;&c;&c;</a>";
        assert!(load(bomb).is_err());
    }
}
