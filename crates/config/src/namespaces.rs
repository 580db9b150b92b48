//! The list of namespaces: `[[namespace]]` in a file, `--set namespace.ID.key=value`, CEMU's `namespaces`.

use std::collections::BTreeMap;

use controller::{Config, NamespaceConfig, NamespaceKind};

use crate::value::{Value, parse_count, parse_size};
use crate::{Error, unknown};

/// The keys of an entry, with what they mean and what values look like.
pub const ENTRY_KEYS: [(&str, &str, &str); 4] = [
    (
        "namespace.kind",
        "What it is: nvm (blocks), memory or compute (programs).",
        "nvm, memory, compute",
    ),
    (
        "namespace.id",
        "Its identifier (NSID), 1 to 128. Default: one more than that of the entry before.",
        "number",
    ),
    (
        "namespace.size",
        "Its size. Default: of nvm what others leave of drive.capacity, of memory memory.size.",
        "size",
    ),
    ("namespace.block_size", "Logical block of nvm. Default: drive.block_size.", "size"),
];

/// What a namespace is, as users name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Nvm,
    Memory,
    Compute,
}

/// Kinds by name.
const KINDS: [(&str, Kind); 3] =
    [("nvm", Kind::Nvm), ("memory", Kind::Memory), ("compute", Kind::Compute)];

/// An entry as far as it was given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) kind: Option<Kind>,
    pub(super) size: Option<u64>,
    pub(super) block_size: Option<u64>,
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
                let kind =
                    kind.ok_or_else(|| refuse("choose one of: nvm, memory, compute".into()))?;
                entry.kind = Some(kind.1);
            }
            "size" => entry.size = Some(parse_size(text).map_err(refuse)?),
            "block_size" => entry.block_size = Some(parse_size(text).map_err(refuse)?),
            _ => return Err(unknown(&format!("namespace.{key}"))),
        }
        Ok(())
    }

    /// Puts the list into a configuration whose other keys are set. Without a capacity that was asked for, the flash is as
    /// large as the namespaces on it.
    pub(super) fn apply(&self, config: &mut Config, is_capacity_given: bool) -> Result<(), Error> {
        let nvm = || self.0.values().filter(|entry| entry.kind == Some(Kind::Nvm));
        let given: u64 = nvm().filter_map(|e| e.size).fold(0, u64::saturating_add);
        let open = nvm().filter(|entry| entry.size.is_none()).count();
        if !self.0.is_empty() && !is_capacity_given && open == 0 && given > 0 {
            config.flash.capacity_bytes = given;
        }
        let capacity = config.flash.capacity_bytes;
        for (&id, entry) in &self.0 {
            let name = |key: &str| format!("namespace.{id}.{key}");
            let Some(kind) = entry.kind else {
                return Err(lacking(&name("kind"), "choose one of: nvm, memory, compute"));
            };
            let needless = |key: &str| {
                Err(lacking(&name(key), "a namespace of this kind has none; leave it out"))
            };
            let kind = match kind {
                Kind::Nvm => {
                    let rest = capacity.checked_sub(given).filter(|rest| *rest > 0);
                    let bytes = match entry.size {
                        Some(bytes) => bytes,
                        None if open > 1 => {
                            return Err(lacking(&name("size"), "only one nvm namespace can take what others leave; give the others a size"));
                        }
                        None => rest.ok_or_else(|| {
                            lacking(&name("size"), "the others leave nothing of drive.capacity; give it a size, or make the others smaller")
                        })?,
                    };
                    let block = entry.block_size.unwrap_or(config.block_bytes.into());
                    let block_bytes = u32::try_from(block).unwrap_or(u32::MAX);
                    NamespaceKind::Nvm { bytes, block_bytes }
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
        NamespaceKind::Memory { bytes } => {
            serde_json::json!({ "id": nsid, "kind": "memory", "size": bytes })
        }
        NamespaceKind::Programs => serde_json::json!({ "id": nsid, "kind": "compute" }),
    });
    entries.collect()
}
