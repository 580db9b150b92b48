//! The list of namespaces: `[[namespace]]` in a file, `--set namespace.ID.key=value`, CEMU's `namespaces`.

use std::collections::BTreeMap;

use controller::{Config, NamespaceConfig, NamespaceKind, ZonedConfig};

use crate::value::{Value, parse_count, parse_size};
use crate::{Error, unknown};

/// The keys of an entry, with what they mean and what values look like.
pub const ENTRY_KEYS: [(&str, &str, &str); 8] = [
    (
        "namespace.kind",
        "What it is: nvm (blocks), zoned (blocks in zones that are written in sequence), memory or compute (programs).",
        "nvm, zoned, memory, compute",
    ),
    (
        "namespace.id",
        "Its identifier (NSID), 1 to 128. Default: one more than that of the entry before.",
        "number",
    ),
    (
        "namespace.size",
        "Its size: of zoned what can be written, a whole number of zones. Default: of nvm and zoned what others leave of drive.capacity, of memory memory.size.",
        "size",
    ),
    ("namespace.block_size", "Logical block of nvm and zoned. Default: drive.block_size.", "size"),
    (
        "namespace.zone_size",
        "From the beginning of a zone of zoned to the next: a power of two. Default: the least that holds a zone's capacity.",
        "size",
    ),
    (
        "namespace.zone_capacity",
        "What can be written of a zone of zoned. Default: zone_size if that is given, else a block of each plane of the flash.",
        "size",
    ),
    (
        "namespace.max_active",
        "Zones of zoned that may be active, open or closed, at a time; each has open blocks of its own. Default: 14.",
        "number",
    ),
    (
        "namespace.max_open",
        "Zones of zoned that may be open at a time. Default: as many as may be active.",
        "number",
    ),
];

/// Zones that may be active: as of Western Digital's Ultrastar DC ZN540 (Doekemeijer et al., "Performance Characterization of NVMe
/// Flash Devices with Zoned Namespaces", CLUSTER 2023).
const ACTIVE_DEFAULT: u64 = 14;

/// What a namespace is, as users name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Nvm,
    Zoned,
    Memory,
    Compute,
}

/// Kinds by name.
const KINDS: [(&str, Kind); 4] = [
    ("nvm", Kind::Nvm),
    ("zoned", Kind::Zoned),
    ("memory", Kind::Memory),
    ("compute", Kind::Compute),
];

/// An entry as far as it was given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) kind: Option<Kind>,
    pub(super) size: Option<u64>,
    pub(super) block_size: Option<u64>,
    pub(super) zones: ZoneEntry,
}

/// What is said of zones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct ZoneEntry {
    size: Option<u64>,
    capacity: Option<u64>,
    max_active: Option<u64>,
    max_open: Option<u64>,
}

impl ZoneEntry {
    /// Zones of a namespace that can hold so many bytes; with `is_exact` they are a whole number of zones.
    fn zoned(&self, bytes: u64, is_exact: bool, config: &Config) -> Result<ZonedConfig, String> {
        let flash = &config.flash;
        let planes = [flash.channels, flash.dies_per_channel, flash.planes_per_die];
        let block = u64::from(flash.pages_per_block).saturating_mul(flash.page_bytes.into());
        let unit = planes.iter().fold(block, |all, planes| all.saturating_mul(u64::from(*planes)));
        let zone_capacity = self.capacity.or(self.size).unwrap_or(unit);
        let zone_bytes = self.size.or(zone_capacity.checked_next_power_of_two()).unwrap_or(0);
        if zone_capacity == 0 {
            return Err("a zone of no bytes is not possible; choose at least a page".into());
        }
        if is_exact && !bytes.is_multiple_of(zone_capacity) {
            return Err(format!(
                "{bytes} bytes are no whole number of zones of {zone_capacity} bytes; choose a multiple, or another zone_capacity"
            ));
        }
        let zones = bytes / zone_capacity;
        let active = self.max_active.unwrap_or(ACTIVE_DEFAULT.min(zones.max(1)));
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(ZonedConfig {
            zones: number(zones),
            zone_bytes,
            zone_capacity,
            active_max: number(active),
            open_max: number(self.max_open.unwrap_or(active)),
            block_bytes: config.block_bytes,
        })
    }
}

/// Entries by identifier.
#[derive(Debug, Default)]
pub(super) struct List(BTreeMap<u64, Entry>);

impl List {
    /// Takes the entries of a file.
    pub(super) fn take_file(&mut self, value: &toml::Value) -> Result<(), Error> {
        let wrong = || Error::Value {
            key: "namespace".into(),
            value: value.to_string(),
            reason: "write each namespace as a table of its own, headed [[namespace]]".into(),
        };
        let mut next = 1;
        for entry in value.as_array().ok_or_else(wrong)? {
            let entry = entry.as_table().ok_or_else(wrong)?;
            let text = |value: &toml::Value| match value {
                toml::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if let Some(id) = entry.get("id") {
                next = identifier("namespace.id", &text(id))?;
            }
            if self.0.contains_key(&next) {
                return Err(refusal(
                    "namespace.id",
                    &next.to_string(),
                    "two entries have this identifier; give each its own",
                ));
            }
            self.0.insert(next, Entry::default());
            for (name, value) in entry.iter().filter(|(name, _)| *name != "id") {
                self.set(next, name, &text(value))?;
            }
            next += 1;
        }
        Ok(())
    }

    /// Adds an entry after the last one.
    pub(super) fn push(&mut self, entry: Entry) {
        let next = self.0.last_key_value().map_or(1, |(id, _)| id + 1);
        self.0.insert(next, entry);
    }

    /// Sets `ID.key` of `--set namespace.ID.key=value`.
    pub(super) fn set_named(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let whole = format!("namespace.{name}");
        let Some((id, key)) = name.split_once('.') else {
            let reason = "name the namespace by its identifier, for example namespace.1.size=1GiB";
            return Err(refusal(&whole, text, reason));
        };
        let id = identifier(&whole, id)?;
        self.0.entry(id).or_default();
        self.set(id, key, text)
    }

    fn set(&mut self, id: u64, key: &str, text: &str) -> Result<(), Error> {
        let name = format!("namespace.{id}.{key}");
        let refuse = |reason: String| refusal(&name, text, &reason);
        let entry = self.0.entry(id).or_default();
        match key {
            "kind" => {
                let kind = KINDS.iter().find(|(name, _)| *name == text.trim());
                let kind = kind
                    .ok_or_else(|| refuse("choose one of: nvm, zoned, memory, compute".into()))?;
                entry.kind = Some(kind.1);
            }
            "size" => entry.size = Some(parse_size(text).map_err(refuse)?),
            "block_size" => entry.block_size = Some(parse_size(text).map_err(refuse)?),
            "zone_size" => entry.zones.size = Some(parse_size(text).map_err(refuse)?),
            "zone_capacity" => entry.zones.capacity = Some(parse_size(text).map_err(refuse)?),
            "max_active" | "max_open" => {
                let most = ssd::ZONE_STREAMS_MAX.into();
                let number = Some(parse_count(text, 1, most).map_err(refuse)?);
                match key {
                    "max_active" => entry.zones.max_active = number,
                    _ => entry.zones.max_open = number,
                }
            }
            _ => return Err(unknown(&format!("namespace.{key}"))),
        }
        Ok(())
    }

    /// Puts the list into a configuration whose other keys are set. Without a capacity that was asked for, the flash is as
    /// large as the namespaces on it.
    pub(super) fn apply(&self, config: &mut Config, is_capacity_given: bool) -> Result<(), Error> {
        let is_flash = |entry: &&Entry| matches!(entry.kind, Some(Kind::Nvm | Kind::Zoned));
        let flash = || self.0.values().filter(is_flash);
        let given: u64 = flash().filter_map(|e| e.size).fold(0, u64::saturating_add);
        let open = flash().filter(|entry| entry.size.is_none()).count();
        if !self.0.is_empty() && !is_capacity_given && open == 0 && given > 0 {
            config.flash.capacity_bytes = given;
        }
        let capacity = config.flash.capacity_bytes;
        for (&id, entry) in &self.0 {
            let name = |key: &str| format!("namespace.{id}.{key}");
            let Some(kind) = entry.kind else {
                return Err(lacking(&name("kind"), "choose one of: nvm, zoned, memory, compute"));
            };
            let needless = |key: &str| {
                Err(lacking(&name(key), "a namespace of this kind has none; leave it out"))
            };
            if kind != Kind::Zoned && entry.zones != ZoneEntry::default() {
                let reason = "only a namespace of kind zoned has zones; leave it out";
                let all = [
                    ("zone_size", entry.zones.size),
                    ("zone_capacity", entry.zones.capacity),
                    ("max_active", entry.zones.max_active),
                    ("max_open", entry.zones.max_open),
                ];
                let given = all.iter().find(|(_, value)| value.is_some());
                return Err(lacking(&name(given.map_or("zone_size", |(key, _)| key)), reason));
            }
            let kind = match kind {
                Kind::Nvm | Kind::Zoned => {
                    let rest = capacity.checked_sub(given).filter(|rest| *rest > 0);
                    let bytes = match entry.size {
                        Some(bytes) => bytes,
                        None if open > 1 => {
                            return Err(lacking(&name("size"), "only one namespace of blocks can take what others leave; give the others a size"));
                        }
                        None => rest.ok_or_else(|| {
                            lacking(&name("size"), "the others leave nothing of drive.capacity; give it a size, or make the others smaller")
                        })?,
                    };
                    let block = entry.block_size.unwrap_or(config.block_bytes.into());
                    let block_bytes = u32::try_from(block).unwrap_or(u32::MAX);
                    if kind == Kind::Nvm {
                        NamespaceKind::Nvm { bytes, block_bytes }
                    } else {
                        let zoned = entry.zones.zoned(bytes, entry.size.is_some(), config);
                        let zoned = zoned.map_err(|reason| lacking(&name("size"), &reason))?;
                        config.flash.zone_streams =
                            config.flash.zone_streams.saturating_add(zoned.active_max);
                        NamespaceKind::Zoned(ZonedConfig { block_bytes, ..zoned })
                    }
                }
                _ if entry.block_size.is_some() => return needless("block_size"),
                Kind::Memory => {
                    NamespaceKind::Memory { bytes: entry.size.unwrap_or(config.memory_bytes) }
                }
                Kind::Compute if entry.size.is_some() => return needless("size"),
                Kind::Compute => NamespaceKind::Programs,
            };
            config.namespaces.push(NamespaceConfig { nsid: id as u32, kind });
        }
        Ok(())
    }
}

fn identifier(name: &str, text: &str) -> Result<u64, Error> {
    let most = controller::limits::NAMESPACES_MAX.into();
    parse_count(text, 1, most).map_err(|reason| refusal(name, text, &reason))
}

fn refusal(key: &str, value: &str, reason: &str) -> Error {
    Error::Value { key: key.into(), value: value.into(), reason: reason.into() }
}

/// A key that lacks a value, or has one that it cannot have with what else is given.
fn lacking(key: &str, reason: &str) -> Error {
    Error::Key { key: key.into(), reason: reason.into() }
}

/// The list as TOML; nothing if there is none.
pub(super) fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    for NamespaceConfig { nsid, kind } in &config.namespaces {
        let size = |bytes: u64| Value::Size(bytes).to_toml();
        text.push_str(&format!("\n[[namespace]]\nid = {nsid}\n"));
        text.push_str(&match *kind {
            NamespaceKind::Nvm { bytes, block_bytes } => format!(
                "kind = \"nvm\"\nsize = {}\nblock_size = {}\n",
                size(bytes),
                size(block_bytes.into())
            ),
            NamespaceKind::Zoned(zoned) => format!(
                "kind = \"zoned\"\nsize = {}\nblock_size = {}\nzone_size = {}\nzone_capacity = {}\nmax_active = {}\nmax_open = {}\n",
                size(u64::from(zoned.zones) * zoned.zone_capacity),
                size(zoned.block_bytes.into()),
                size(zoned.zone_bytes),
                size(zoned.zone_capacity),
                zoned.active_max,
                zoned.open_max,
            ),
            NamespaceKind::Memory { bytes } => {
                format!("kind = \"memory\"\nsize = {}\n", size(bytes))
            }
            NamespaceKind::Programs => "kind = \"compute\"\n".into(),
        });
    }
    text
}

/// All namespaces of a drive as JSON, in bytes.
pub fn to_json(config: &Config) -> serde_json::Value {
    let entries = config.namespace_list().into_iter().map(|NamespaceConfig { nsid, kind }| match kind {
        NamespaceKind::Nvm { bytes, block_bytes } => {
            serde_json::json!({ "id": nsid, "kind": "nvm", "size": bytes, "block_size": block_bytes })
        }
        NamespaceKind::Zoned(zoned) => serde_json::json!({
            "id": nsid,
            "kind": "zoned",
            "size": u64::from(zoned.zones) * zoned.zone_capacity,
            "block_size": zoned.block_bytes,
            "zone_size": zoned.zone_bytes,
            "zone_capacity": zoned.zone_capacity,
            "max_active": zoned.active_max,
            "max_open": zoned.open_max,
        }),
        NamespaceKind::Memory { bytes } => {
            serde_json::json!({ "id": nsid, "kind": "memory", "size": bytes })
        }
        NamespaceKind::Programs => serde_json::json!({ "id": nsid, "kind": "compute" }),
    });
    entries.collect()
}
