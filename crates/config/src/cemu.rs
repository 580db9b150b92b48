//! CEMU's JSON configuration file (`-device femu,config_file=...`). Its parameters are FEMU's
//! names, nested in objects for the controller and its namespaces. What we do not know is reported
//! and ignored: the file also describes things of QEMU's.

use serde_json::Value;

use crate::femu::{self, Deferred};
use crate::namespaces::{Entry, Kind};
use crate::{Error, Loaded, parse_size};

/// Parameters that CEMU derives from others and writes into its files.
const DERIVED: [&str; 6] =
    ["tt_", "secs_per_", "pgs_per_", "blks_per_", "pls_per_", "gc_thres_lines"];

/// Applies a file.
pub(crate) fn apply(loaded: &mut Loaded, json: &Value) -> Result<(), Error> {
    let mut deferred = Deferred::default();
    let mut listed = Vec::new();
    collect(json, &mut listed)?;
    let has_several =
        listed.iter().enumerate().any(|(n, a)| listed[..n].iter().any(|b| a.kind == b.kind));
    if has_several {
        listed.into_iter().for_each(|entry| loaded.namespaces.push(entry));
    }
    walk(loaded, json, None, &mut Walk { deferred: &mut deferred, has_several })?;
    deferred.apply(loaded)
}

/// What a walk through the file keeps.
struct Walk<'a> {
    deferred: &'a mut Deferred,
    /// The file lists several namespaces of a kind: their sizes are taken from the list.
    has_several: bool,
}

/// The namespaces of the file, in its order.
fn collect(value: &Value, listed: &mut Vec<Entry>) -> Result<(), Error> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| {
            let Some(object) = item.as_object() else { return Ok(()) };
            let kind = match kind_of(object) {
                Some("nvm") => Kind::Nvm,
                Some("memory") => Kind::Memory,
                Some(_) => Kind::Compute,
                None => return collect(item, listed),
            };
            let mut entry = Entry { kind: Some(kind), ..Default::default() };
            for (name, value) in object.iter().filter(|_| kind != Kind::Compute) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let text = match name.as_str() {
                    "size" | "capacity" => size(name, &text)?,
                    "size_mb" => format!("{}MiB", femu::number(name, &text)?),
                    _ => continue,
                };
                let refuse =
                    |reason| Error::Value { key: name.clone(), value: text.clone(), reason };
                entry.size = Some(parse_size(&text).map_err(refuse)?);
            }
            listed.push(entry);
            Ok(())
        }),
        Value::Object(object) => object.values().try_for_each(|value| collect(value, listed)),
        _ => Ok(()),
    }
}

/// Command set of a namespace object, by its `type`, `csi` or name.
fn kind_of(object: &serde_json::Map<String, Value>) -> Option<&'static str> {
    let text = ["type", "csi", "command_set", "name"]
        .iter()
        .find_map(|k| object.get(*k))
        .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_lowercase))?;
    match text.as_str() {
        "0" | "nvm" | "bb" | "bbssd" | "blackbox" | "black-box" => Some("nvm"),
        "3" | "memory" | "slm" | "fdm" => Some("memory"),
        "4" | "compute" | "cp" | "csd" => Some("compute"),
        _ => None,
    }
}

/// A size as CEMU has it: k, m, g (or t) are powers of 1024, with or without a b, in any case.
fn size(name: &str, text: &str) -> Result<String, Error> {
    let lower = text.trim().to_lowercase();
    let short = lower.strip_suffix('b').unwrap_or(&lower);
    let short = short.strip_suffix('i').unwrap_or(short).trim_end();
    let (number, unit) = match short.char_indices().last() {
        Some((at, unit @ ('k' | 'm' | 'g' | 't'))) => {
            (&short[..at], format!("{}iB", unit.to_uppercase()))
        }
        _ => (short, "B".to_owned()),
    };
    if number.trim().parse::<f64>().is_ok_and(|number| number > 0.0) {
        return Ok(format!("{}{unit}", number.trim()));
    }
    Err(Error::Value {
        key: name.to_owned(),
        value: text.to_owned(),
        reason: "not a size; CEMU writes 512m, 2g, 48gb (powers of 1024)".to_owned(),
    })
}

fn walk(
    loaded: &mut Loaded,
    value: &Value,
    kind: Option<&str>,
    state: &mut Walk<'_>,
) -> Result<(), Error> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|v| walk(loaded, v, kind, state)),
        Value::Object(object) => {
            let kind = kind_of(object).or(kind);
            object.iter().try_for_each(|(name, v)| match v {
                Value::Object(_) | Value::Array(_) => {
                    let named = match name.as_str() {
                        "nvm" => Some("nvm"),
                        "memory" | "fdm" => Some("memory"),
                        "compute" => Some("compute"),
                        _ => kind,
                    };
                    walk(loaded, v, named, state)
                }
                _ => parameter(loaded, name, v, kind, state),
            })
        }
        _ => Ok(()),
    }
}

fn parameter(
    loaded: &mut Loaded,
    name: &str,
    value: &Value,
    kind: Option<&str>,
    state: &mut Walk<'_>,
) -> Result<(), Error> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (name, kind) {
        ("type" | "csi" | "command_set" | "name", _) => Ok(()),
        _ if state.deferred.take(name, &text)? => Ok(()),
        ("size" | "capacity" | "size_mb", Some(_)) if state.has_several => Ok(()),
        ("size" | "capacity", Some("nvm")) => loaded.set("drive.capacity", &size(name, &text)?),
        ("size" | "capacity", Some("memory")) => loaded.set("memory.size", &size(name, &text)?),
        // Programs take what they need.
        ("size" | "capacity", Some("compute")) => Ok(()),
        ("internal_bandwidth", _) => {
            let rate = match femu::number(name, &text) {
                Ok(0) => "unlimited".to_owned(),
                Ok(rate) => format!("{rate}MB/s"),
                Err(_) => format!("{}/s", size(name, &text)?),
            };
            loaded.set("internal.bandwidth", &rate)
        }
        ("size_mb", Some("nvm")) => femu::property(loaded, "devsz_mb", &text),
        ("size_mb", Some("memory")) => femu::property(loaded, "fdm_size", &text),
        // CEMU computes blocks per plane from the namespace size, and so do we.
        ("blks_per_pl", _) => Ok(()),
        ("gc_thres_pcent" | "gc_thres_pcent_high", _) => {
            // A fraction in CEMU's own files, a percentage as a FEMU property.
            let fraction = value.as_f64().filter(|f| *f <= 1.0);
            let percent = fraction.map_or(text, |f| ((f * 100.0).round() as u64).to_string());
            femu::property(loaded, name, &percent)
        }
        _ => match femu::property(loaded, name, &text) {
            Err(Error::UnknownKey { .. }) => {
                if !DERIVED.iter().any(|prefix| name.starts_with(prefix)) {
                    loaded.warnings.push(format!("{name} = {text} is not known and was ignored"));
                }
                Ok(())
            }
            other => other,
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::Sources;

    #[test]
    fn cemu_file_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cemu_config.json");
        let text = r#"{ "mdts": 7, "namespaces": [
            { "type": "nvm", "size": "8GiB", "params": { "secsz": 512, "secs_per_pg": 8,
              "pgs_per_blk": 256, "luns_per_ch": 8, "nchs": 8, "pg_rd_lat": 50000,
              "gc_thres_pcent": 0.75, "gc_thres_pcent_high": 0.99, "tt_pgs": 1 } },
            { "type": "memory", "size_mb": 2048 },
            { "type": "compute", "params": { "nr_cu": 6, "nr_thread": 4, "time_slice": 100000,
              "context_switch_time": 300, "csf_runtime_scale": 3, "csf_sched_option": "rr",
              "grouped_csf": 0 } } ] }"#;
        std::fs::write(&path, text).unwrap();
        let loaded = Sources { config: Some(path), ..Default::default() }.load().unwrap();
        let c = &loaded.config;
        assert_eq!((c.flash.capacity_bytes, c.memory_bytes), (8 << 30, 2 << 30));
        assert_eq!((c.compute.units, c.compute.policy), (6, compute::PolicyKind::RoundRobin));
        assert_eq!((c.flash.read_time.mean().as_ns(), c.block_bytes), (50_000, 512));
        assert_eq!((c.transfer_bytes_max, c.workers), (512 << 10, 4));
    }

    /// The file that CEMU ships, as `facts` have it.
    const SHIPPED: &str = r#"{ "parameters": { "femu_mode": 4, "cq_poller_enabled": 0, "mdts": 8, "internal_bandwidth": 0 },
        "namespaces": [
          { "type": "nvm", "size": "48gb", "parameters": { "secsz": 512, "secs_per_pg": 8, "pgs_per_blk": 256,
            "blks_per_pl": 64, "pls_per_lun": 1, "luns_per_ch": 6, "nchs": 8, "pg_rd_lat": 62500,
            "pg_wr_lat": 65000, "blk_er_lat": 100, "ch_xfer_lat": 500 } },
          { "type": "memory", "size": "2gb" },
          { "type": "compute", "parameters": { "nr_cu": 1, "nr_thread": 1, "time_slice": 200000,
            "csf_sched_option": "fifo", "context_switch_time": 0, "grouped_csf": 0, "grouped_csf_prio": 0 } } ] }"#;

    fn load(text: &str) -> Result<crate::Loaded, crate::Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        Sources { config: Some(path), ..Default::default() }.load()
    }

    #[test]
    fn the_file_that_cemu_ships_means_what_it_says() {
        let loaded = load(SHIPPED).unwrap();
        let c = &loaded.config;
        assert_eq!((c.flash.capacity_bytes, c.memory_bytes), (48 << 30, 2 << 30));
        assert_eq!(
            (c.compute.units, c.workers, c.compute.policy),
            (1, 1, compute::PolicyKind::Fifo)
        );
        assert_eq!((c.flash.channels, c.flash.dies_per_channel, c.block_bytes), (8, 6, 512));
        assert_eq!((c.flash.read_time.mean().as_ns(), c.flash.erase_time.as_ns()), (62_500, 100));
        assert_eq!((c.transfer_bytes_max, c.internal_link.bandwidth.bytes_per_s()), (1 << 20, 0));
        // What has no effect is said; nothing else is.
        assert!(loaded.warnings.iter().all(|w| w.contains("time_slice")), "{:?}", loaded.warnings);
    }

    #[test]
    fn several_namespaces_of_a_kind_are_a_list() {
        use controller::NamespaceKind::{Memory, Nvm, Programs};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cemu_config.json");
        let text = r#"{ "namespaces": [
            { "type": "nvm", "size": "8g", "secsz": 512, "secs_per_pg": 8 },
            { "type": "memory", "size": "2g" },
            { "type": "compute", "size": "1g", "nr_cu": 6 },
            { "type": "nvm", "size": "4g" },
            { "type": "memory", "size_mb": 512 } ] }"#;
        std::fs::write(&path, text).unwrap();
        let loaded = Sources { config: Some(path), ..Default::default() }.load().unwrap();
        let listed: Vec<_> =
            loaded.config.namespace_list().iter().map(|n| (n.nsid, n.kind)).collect();
        let expected = [
            (1, Nvm { bytes: 8 << 30, block_bytes: 512 }),
            (2, Memory { bytes: 2 << 30 }),
            (3, Programs),
            (4, Nvm { bytes: 4 << 30, block_bytes: 512 }),
            (5, Memory { bytes: 512 << 20 }),
        ];
        assert_eq!(listed, expected);
        assert_eq!(
            (loaded.config.flash.capacity_bytes, loaded.config.compute.units),
            (12 << 30, 6)
        );
    }

    #[test]
    fn sizes_are_binary_in_any_spelling() {
        for (text, bytes) in [
            ("1g", 1u64 << 30),
            ("1GB", 1 << 30),
            ("1024M", 1 << 30),
            ("1 gib", 1 << 30),
            ("1073741824", 1 << 30),
            ("1048576k", 1 << 30),
        ] {
            let loaded = load(&SHIPPED.replace("2gb", text)).unwrap();
            assert_eq!(loaded.config.memory_bytes, bytes, "{text}");
        }
        for text in ["", "gb", "-1g", "1x", "two", "1gg", "nan", "inf"] {
            let error = load(&SHIPPED.replace("2gb", text)).unwrap_err().to_string();
            assert!(error.contains(&format!("size = {text}")), "{error}");
        }
        let loaded = load(&SHIPPED.replace("bandwidth\": 0", "bandwidth\": 3200")).unwrap();
        assert_eq!(loaded.config.internal_link.bandwidth.bytes_per_s(), 3_200_000_000);
    }
}
