//! CEMU's JSON configuration file (`-device femu,config_file=...`). Its parameters are FEMU's
//! names, nested in objects for the controller and its namespaces. What we do not know is reported
//! and ignored: the file also describes things of QEMU's.

use serde_json::Value;

use super::femu::{self, Deferred};
use super::{Error, Loaded, set};

/// Parameters that CEMU derives from others and writes into its files.
const DERIVED: [&str; 6] =
    ["tt_", "secs_per_", "pgs_per_", "blks_per_", "pls_per_", "gc_thres_lines"];

/// Applies a file.
pub(crate) fn apply(loaded: &mut Loaded, json: &Value) -> Result<(), Error> {
    let mut deferred = Deferred::default();
    walk(loaded, json, None, &mut deferred)?;
    deferred.apply(loaded)
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

fn walk(
    loaded: &mut Loaded,
    value: &Value,
    kind: Option<&str>,
    deferred: &mut Deferred,
) -> Result<(), Error> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|v| walk(loaded, v, kind, deferred)),
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
                    walk(loaded, v, named, deferred)
                }
                _ => parameter(loaded, name, v, kind, deferred),
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
    deferred: &mut Deferred,
) -> Result<(), Error> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (name, kind) {
        ("type" | "csi" | "command_set" | "name", _) => Ok(()),
        _ if deferred.take(name, &text)? => Ok(()),
        ("size" | "capacity", Some("nvm")) => set(&mut loaded.config, "drive.capacity", &text),
        ("size" | "capacity", Some("memory")) => set(&mut loaded.config, "memory.size", &text),
        ("size_mb", Some("nvm")) => femu::property(loaded, "devsz_mb", &text),
        ("size_mb", Some("memory")) => femu::property(loaded, "fdm_size", &text),
        ("csf_sched_option", _) => {
            let policy = match text.as_str() {
                "rr" => "round-robin",
                other => other,
            };
            set(&mut loaded.config, "compute.policy", policy)
        }
        // Groups share units here whenever a host makes some.
        ("grouped_csf", _) if matches!(text.as_str(), "0" | "1") => Ok(()),
        ("grouped_csf_prio", _) if text == "0" => Ok(()),
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
    use crate::config::Sources;

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
        assert_eq!((c.flash.read_time.as_ns(), c.block_bytes), (50_000, 512));
        assert!(loaded.warnings.iter().any(|w| w.contains("mdts")), "{:?}", loaded.warnings);
    }
}
