//! Profiles: settings of known drives and emulators by one name. What a user sets besides counts more, wherever it stands.

use controller::Config;

use crate::value::Value;

/// The key that names a profile, and how it may also be written.
pub(crate) const PROFILE: &str = "drive.profile";
pub(crate) const PROFILE_ALONE: &str = "profile";

/// The drive without a profile.
pub(crate) const NONE: &str = "none";

/// Settings by one name.
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What it is like, and where its numbers come from.
    pub doc: &'static str,
    /// Keys and their values.
    pub settings: &'static [(&'static str, &'static str)],
}

/// All profiles.
pub const PROFILES: [Profile; 6] = [
    Profile {
        name: "generic-tlc",
        doc: "A mid-range TLC drive behind PCIe Gen3 x4: the defaults, with types of page, cache registers, and reads that stop programs and erases. Times are the default's, spread over lower, middle and upper pages as the TLC of Jung et al. (SimpleSSD, IEEE CAL 2018) spreads them.",
        settings: &[
            ("flash.read_time", "28us/39us/53us"),
            ("flash.program_time", "56us/152us/392us"),
            ("flash.cache_reads", "true"),
            ("flash.suspend", "programs-and-erases"),
        ],
    },
    Profile {
        name: "fast-slc",
        doc: "A low-latency SLC drive as Z-NAND makes them: tR 3 us, tPROG 100 us (Cheong et al., \"A Flash Memory Controller for 15us Ultra-Low-Latency SSD Using High-Speed 3D NAND Flash with 3us Read Time\", ISSCC 2018).",
        settings: &[
            ("flash.channels", "16"),
            ("flash.read_time", "3us"),
            ("flash.program_time", "100us"),
            ("flash.erase_time", "1ms"),
            ("flash.suspend", "programs-and-erases"),
            ("flash.suspend_time", "3us"),
            ("flash.overprovisioning", "28%"),
        ],
    },
    Profile {
        name: "intel-p4500",
        doc: "Intel SSD DC P4500, 2.0 TB (TLC, PCIe Gen3 x4), as its data sheet says; what that does not say is fitted. See docs/validation.md.",
        settings: &[
            ("drive.capacity", "1863GiB"),
            ("drive.command_time", "8us"),
            ("drive.command_interval", "1550ns"),
            ("link.bandwidth", "3200MB/s"),
            ("link.latency", "1us"),
            ("flash.channels", "12"),
            ("flash.dies_per_channel", "4"),
            ("flash.planes_per_die", "1"),
            ("flash.pages_per_block", "384"),
            ("flash.page_size", "16KiB"),
            ("flash.indirection_unit", "4KiB"),
            ("flash.pages_per_program", "3"),
            ("flash.overprovisioning", "12%"),
            ("flash.gc_start", "2%"),
            ("flash.gc_urgent", "1%"),
            ("flash.read_time", "68us"),
            ("flash.program_time", "2150us"),
            ("flash.erase_time", "4ms"),
            ("flash.channel_bandwidth", "533MB/s"),
            ("flash.write_buffer", "64MiB"),
            ("flash.power_loss_protection", "true"),
            ("flash.suspend", "programs-and-erases"),
            ("flash.suspend_time", "20us"),
        ],
    },
    Profile {
        name: "samsung-pm9a3",
        doc: "Samsung PM9A3, 7.68 TB, U.2 (128-layer TLC, PCIe Gen4 x4), as its data sheet says, with tR of the same flash in Samsung's announcement of 2019; the rest is fitted. See docs/validation.md.",
        settings: &[
            ("drive.capacity", "7153GiB"),
            ("drive.command_time", "5us"),
            ("drive.command_interval", "1110ns"),
            ("link.bandwidth", "6500MB/s"),
            ("link.latency", "1us"),
            ("flash.channels", "8"),
            ("flash.dies_per_channel", "16"),
            ("flash.planes_per_die", "1"),
            ("flash.pages_per_block", "384"),
            ("flash.page_size", "16KiB"),
            ("flash.indirection_unit", "4KiB"),
            ("flash.pages_per_program", "3"),
            ("flash.overprovisioning", "14.5%"),
            ("flash.gc_start", "2%"),
            ("flash.gc_urgent", "1%"),
            ("flash.read_time", "45us"),
            ("flash.program_time", "1760us"),
            ("flash.erase_time", "4ms"),
            ("flash.channel_bandwidth", "1200MB/s"),
            ("flash.write_buffer", "64MiB"),
            ("flash.power_loss_protection", "true"),
            ("flash.suspend", "programs-and-erases"),
            ("flash.suspend_time", "20us"),
        ],
    },
    Profile {
        name: "femu-default",
        doc: "FEMU's black-box drive as its run-blackbox.sh starts it: 12 GiB of 16, no bus time, no write buffer.",
        settings: &[
            ("drive.capacity", "12GiB"),
            ("drive.block_size", "512B"),
            ("drive.command_time", "0ns"),
            ("link.bandwidth", "unlimited"),
            ("link.latency", "0ns"),
            ("flash.channels", "8"),
            ("flash.dies_per_channel", "8"),
            ("flash.planes_per_die", "1"),
            ("flash.blocks_per_plane", "256"),
            ("flash.pages_per_block", "256"),
            ("flash.page_size", "4KiB"),
            ("flash.read_time", "40us"),
            ("flash.program_time", "200us"),
            ("flash.erase_time", "2ms"),
            ("flash.channel_bandwidth", "unlimited"),
            ("flash.write_buffer", "0B"),
            ("flash.gc_start", "25%"),
            ("flash.gc_urgent", "5%"),
        ],
    },
    Profile {
        name: "cemu-example",
        doc: "The drive of CEMU's shipped example: 48 GiB, 2 GiB of device memory, one compute unit.",
        settings: &[
            ("drive.capacity", "48GiB"),
            ("drive.block_size", "512B"),
            ("memory.size", "2GiB"),
            ("compute.units", "1"),
            ("compute.policy", "fifo"),
            ("flash.channels", "8"),
            ("flash.dies_per_channel", "6"),
            ("flash.planes_per_die", "1"),
            ("flash.pages_per_block", "256"),
            ("flash.page_size", "4KiB"),
            ("flash.read_time", "62500ns"),
            ("flash.program_time", "65us"),
            ("flash.erase_time", "100ns"),
            // 500 ns for a page of 4 KiB.
            ("flash.channel_bandwidth", "8192MB/s"),
        ],
    },
];

/// The profile of this name; none for [`NONE`].
pub(crate) fn find(name: &str) -> Result<Option<&'static Profile>, String> {
    if name == NONE {
        return Ok(None);
    }
    let found = PROFILES.iter().find(|profile| profile.name == name);
    let names = || PROFILES.iter().map(|profile| profile.name).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| format!("choose one of: {}, {NONE}", names()))
}

/// The profile that a configuration is of, whatever its name was: all that it sets is as it says.
pub(crate) fn of(config: &Config) -> Value {
    let is_set = |(name, text): &(&str, &str)| {
        let mut with = config.clone();
        crate::set(&mut with, name, text).is_ok() && with == *config
    };
    let found = PROFILES.iter().find(|profile| profile.settings.iter().all(is_set));
    Value::Choice(found.map_or(NONE, |profile| profile.name))
}

#[cfg(test)]
mod tests {
    use crate::Sources;

    use super::*;

    fn load(sets: &[&str]) -> Config {
        let set = sets.iter().map(|text| (*text).to_owned()).collect();
        Sources { set, ..Sources::default() }.load().unwrap().config
    }

    #[test]
    fn profiles_set_what_they_say_and_what_is_given_besides_counts_more() {
        for profile in &PROFILES {
            let name = format!("profile={}", profile.name);
            let config = load(&[&name]);
            assert_eq!(of(&config).to_string(), profile.name);
            for (key, text) in profile.settings {
                let key = crate::KEYS.iter().find(|known| known.name == *key).unwrap();
                assert_eq!(key.get(&config).to_string(), *text, "{}: {}", profile.name, key.name);
            }
            // Before it or after it.
            for sets in [["flash.read_time=7us", &*name], [&*name, "flash.read_time=7us"]] {
                assert_eq!(load(&sets).flash.read_time.mean().as_ns(), 7000);
            }
        }
        assert_eq!(load(&["profile=none"]), Config::default());
        let set = vec!["profile=samsung".to_owned()];
        let refused = Sources { set, ..Sources::default() }.load().unwrap_err().to_string();
        assert!(
            refused.contains(
                "generic-tlc, fast-slc, intel-p4500, samsung-pm9a3, femu-default, cemu-example"
            ),
            "{refused}"
        );
    }

    #[test]
    fn profiles_are_what_femu_and_cemu_mean_by_their_own_names() {
        let femu = "devsz_mb=12288,secsz=512,secs_per_pg=8,pgs_per_blk=256,blks_per_pl=256,pls_per_lun=1,luns_per_ch=8,nchs=8,pg_rd_lat=40000,pg_wr_lat=200000,blk_er_lat=2000000,ch_xfer_lat=0,gc_thres_pcent=75,gc_thres_pcent_high=95";
        let loaded = Sources { femu: vec![femu.to_owned()], ..Sources::default() }.load().unwrap();
        let (theirs, ours) = (loaded.config.flash, load(&["profile=femu-default"]).flash);
        assert_eq!((theirs.read_time, theirs.channels), (ours.read_time, ours.channels));
        assert_eq!(
            (theirs.gc_start_permille, theirs.gc_urgent_permille, theirs.channel_bandwidth),
            (ours.gc_start_permille, ours.gc_urgent_permille, ours.channel_bandwidth)
        );
    }
}
