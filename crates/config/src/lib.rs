//! The drive's configuration as users write it: TOML with units, `--set key=value`, FEMU property
//! strings, CEMU's JSON. Every key is a row of the table [`KEYS`].

mod cemu;
mod femu;
mod keys;
mod mqsim;
mod namespaces;
mod profiles;
mod value;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use controller::{Config, Dialect, NamespaceKind};

use profiles::{PROFILE, PROFILE_ALONE};

pub use keys::{KEYS, Key};
pub use namespaces::{ENTRY_KEYS, to_json as namespaces_to_json};
pub use profiles::{PROFILES, Profile};
pub use value::{parse_bandwidth, parse_duration, parse_integer, parse_size};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// The file is neither TOML nor JSON.
    #[error("{path}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line and mistake.
        reason: String,
    },
    /// No key has this name.
    #[error("{key}: unknown key{hint} (`csdrive config keys` lists all)")]
    UnknownKey {
        /// What was written.
        key: String,
        /// A key with a name like it.
        hint: String,
    },
    /// A key does not take this value.
    #[error("{key} = {value}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What was written.
        value: String,
        /// What it takes.
        reason: String,
    },
    /// A key cannot be used here.
    #[error("{key}: {reason}")]
    Key {
        /// The key.
        key: String,
        /// Why, and the remedy.
        reason: String,
    },
    /// Not `KEY=VALUE`.
    #[error("--set {0}: write it as KEY=VALUE, for example --set compute.units=8")]
    NotAnAssignment(String),
    /// What is wrong is in a file.
    #[error("{}: {error}", .path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<Error>,
    },
    /// The values do not fit together.
    #[error("{}", in_words_of_keys(.0))]
    Contradiction(controller::ConfigError),
}

// Not as its source: the text is in other words, and whoever prints causes would print it twice.
impl From<controller::ConfigError> for Error {
    fn from(error: controller::ConfigError) -> Self {
        Self::Contradiction(error)
    }
}

/// The key that sets a field; the field itself if there is none.
fn key_of(field: &str) -> Option<&'static str> {
    KEYS.iter().find(|key| key.field == field).map(|key| key.name)
}

/// A text with keys in the place of the fields that it names between backticks.
pub fn reworded(text: &str, section: &str) -> String {
    let mut words = String::new();
    for (n, piece) in text.split('`').enumerate() {
        match key_of(&format!("{section}{piece}")).filter(|_| n % 2 == 1) {
            Some(key) => words.push_str(key),
            None if n % 2 == 1 => words.extend(["`", piece, "`"]),
            None => words.push_str(piece),
        }
    }
    words
}

/// What a model says of its fields, said of the keys that set them.
fn in_words_of_keys(error: &controller::ConfigError) -> String {
    match error {
        controller::ConfigError::Flash(error) => {
            let ssd::ConfigError { field, value, reason, remedy } = error;
            let (reason, remedy) = (reworded(reason, "flash."), reworded(remedy, "flash."));
            let key = key_of(&format!("flash.{field}")).unwrap_or(field);
            format!("{key} = {value}: {reason}; {remedy}")
        }
        controller::ConfigError::Value { field, value, reason } => {
            format!("{} = {value}: {}", key_of(field).unwrap_or(field), reworded(reason, ""))
        }
        other => reworded(&other.to_string(), ""),
    }
}

/// Where a configuration comes from; later sources win: file, FEMU string, `--set`.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct Sources {
    /// Configuration file: TOML, CEMU's JSON, or MQSim's XML (ssdconfig.xml)
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    pub config: Option<PathBuf>,
    /// One key, for example --set flash.read_time=80us; repeatable
    #[cfg_attr(feature = "clap", arg(long, value_name = "KEY=VALUE"))]
    pub set: Vec<String>,
    /// FEMU device properties, for example --femu "devsz_mb=4096,fdm_size=64,nr_cu=4"; repeatable
    #[cfg_attr(feature = "clap", arg(long, value_name = "K=V,..."))]
    pub femu: Vec<String>,
}

/// A configuration with remarks on what of it has no effect.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, checked.
    pub config: Config,
    /// What of it has no effect, each in a sentence.
    pub warnings: Vec<String>,
    namespaces: namespaces::List,
    /// Keys that were set.
    given: BTreeSet<String>,
}

/// Settings that do nothing beside the others.
fn without_effect(flash: &ssd::Config) -> Vec<String> {
    let is_found_out = flash.placement == ssd::Placement::HotCold;
    let mut notes = Vec::new();
    if is_found_out && flash.hint_streams > 1 {
        notes.push("flash.streams has no effect: with flash.placement = hot-cold the drive has its own two");
    }
    let is_isolated = flash.isolation == ssd::Isolation::Persistent;
    if is_isolated && (is_found_out || flash.hint_streams == 1) {
        notes.push("flash.isolation has no effect: it is about the streams of flash.streams, with flash.placement = hints");
    }
    if flash.filled_by == ssd::FilledBy::RandomOverwrites && flash.filled_permille == 0 {
        notes.push("flash.filled_by has no effect: nothing is written when the drive is new (flash.filled = 0%)");
    }
    if (1..u64::from(flash.mapped_bytes())).contains(&flash.read_cache_bytes) {
        notes.push("flash.read_cache has no effect: it has no room for one page");
    }
    let new = ssd::Config::default();
    let are_errors_set = (flash.refresh_retries, flash.worn_erases, flash.data_age_days)
        != (new.refresh_retries, new.worn_erases, new.data_age_days);
    if flash.bit_errors.is_none() && are_errors_set {
        notes.push("flash.refresh_retries, flash.worn_erases and flash.data_age_days have no effect: no bits are wrong (flash.bit_errors = none)");
    }
    if flash.refresh_retries > flash.retries_max {
        notes.push("flash.refresh_retries has no effect: it is more than flash.retries, and what cannot be read is not written anew");
    }
    if flash.power_loss_protection && flash.write_buffer_bytes == 0 {
        notes.push("flash.power_loss_protection has no effect: there is no write buffer to keep");
    }
    notes.into_iter().map(str::to_owned).collect()
}

/// True if this is a key of a drive's configuration, of a namespace, or another name of one.
pub fn is_key(name: &str) -> bool {
    matches!(name, DIALECT_ALONE | PROFILE_ALONE)
        || name.starts_with("namespace.")
        || KEYS.iter().any(|known| known.name == name)
}

impl Loaded {
    /// True if some source set this key, or a name of another system that means it.
    pub fn sets(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    /// Sets one key.
    fn set(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let name = match name {
            DIALECT_ALONE => DIALECT,
            PROFILE_ALONE => PROFILE,
            name => name,
        };
        if let Some(name) = name.strip_prefix("namespace.") {
            return self.namespaces.set_named(name, text);
        }
        self.given.insert(name.to_owned());
        if name == PROFILE {
            return self.take_profile(text.trim());
        }
        set(&mut self.config, name, text)
    }

    /// Sets what a profile sets and no source did.
    fn take_profile(&mut self, name: &str) -> Result<(), Error> {
        let refused = |reason| Error::Value { key: PROFILE.into(), value: name.into(), reason };
        let profile = profiles::find(name).map_err(refused)?;
        for (key, text) in profile.into_iter().flat_map(|profile| profile.settings) {
            if !self.given.contains(*key) {
                set(&mut self.config, key, text)?;
            }
        }
        Ok(())
    }

    /// The configuration for a command that works on the first namespace of each kind: the short keys say what they are
    /// like.
    pub fn for_one_of_each(&self) -> Result<Config, Error> {
        let list = self.config.namespace_list();
        let first = |kind: &str, is: fn(&NamespaceKind) -> bool| {
            list.iter().map(|n| n.kind).find(is).ok_or_else(|| {
                let reason = format!(
                    "this command needs a namespace of each kind; list one of kind {kind:?}"
                );
                Error::Key { key: "namespace.kind".into(), reason }
            })
        };
        let nvm = first("nvm", |kind| matches!(kind, NamespaceKind::Nvm { .. }))?;
        let memory = first("memory", |kind| matches!(kind, NamespaceKind::Memory { .. }))?;
        first("compute", |kind| matches!(kind, NamespaceKind::Programs))?;
        let mut config = self.config.clone();
        if let NamespaceKind::Nvm { block_bytes, .. } = nvm {
            config.block_bytes = block_bytes;
        }
        if let NamespaceKind::Memory { bytes } = memory {
            config.memory_bytes = bytes;
        }
        Ok(config)
    }
}

impl Sources {
    /// Reads all sources and checks the result.
    pub fn load(&self) -> Result<Loaded, Error> {
        let mut loaded = Loaded {
            config: Config::default(),
            warnings: Vec::new(),
            namespaces: namespaces::List::default(),
            given: BTreeSet::new(),
        };
        if let Some(path) = &self.config {
            apply_file(&mut loaded, path).map_err(|error| match error {
                // These say themselves which file they are about.
                Error::Read { .. } | Error::Syntax { .. } => error,
                error => Error::InFile { path: path.clone(), error: Box::new(error) },
            })?;
        }
        if !self.femu.is_empty() {
            femu::apply(&mut loaded, &self.femu.join(","))?;
        }
        for assignment in &self.set {
            let (key, value) = assignment
                .split_once('=')
                .ok_or_else(|| Error::NotAnAssignment(assignment.clone()))?;
            loaded.set(key.trim(), value.trim())?;
        }
        let is_femu = loaded.config.dialect == Dialect::Femu;
        for (key, value) in AS_IN_FEMU {
            if is_femu && !loaded.sets(key) {
                set(&mut loaded.config, key, value)?;
            }
        }
        let is_capacity_given = loaded.sets(CAPACITY);
        loaded.namespaces.apply(&mut loaded.config, is_capacity_given)?;
        loaded.config.check()?;
        let idle = without_effect(&loaded.config.flash);
        loaded.warnings.extend(idle);
        Ok(loaded)
    }
}

fn apply_file(loaded: &mut Loaded, path: &Path) -> Result<(), Error> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
    let syntax = |reason: String| Error::Syntax { path: path.to_owned(), reason };
    if text.trim_start().starts_with('{') {
        let json = serde_json::from_str(&text).map_err(|e| syntax(format!("not JSON: {e}")))?;
        return cemu::apply(loaded, &json);
    }
    if mqsim::is_one(&text) {
        return mqsim::apply(loaded, &text).map_err(syntax)?;
    }
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        syntax(format!("line {line}: {}", e.message().replace('\n', " ")))
    })?;
    for (section, entries) in &table {
        if section == "namespace" {
            loaded.namespaces.take_file(entries)?;
            continue;
        }
        let toml::Value::Table(entries) = entries else {
            match entries {
                toml::Value::String(text)
                    if section == DIALECT_ALONE || section == PROFILE_ALONE =>
                {
                    loaded.set(section, text)?;
                    continue;
                }
                _ => return Err(unknown(section)),
            }
        };
        // Keys that set others come first: those may be given, too.
        let is_first = |name: &str| FIRST.contains(&&*format!("{section}.{name}"));
        let (first, others) = entries.iter().partition::<Vec<_>, _>(|(name, _)| is_first(name));
        for (name, value) in first.into_iter().chain(others) {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => {
                    value.to_string()
                }
                _ => {
                    return Err(Error::Value {
                        key: format!("{section}.{name}"),
                        value: value.to_string(),
                        reason: "not a plain value; write a string, a number, true or false".into(),
                    });
                }
            };
            loaded.set(&format!("{section}.{name}"), &text)?;
        }
    }
    Ok(())
}

/// Keys that set other keys.
const FIRST: [&str; 3] = [PROFILE, "compute.core", "flash.cell_type"];

/// The key of the dialect, and how it may also be written.
const DIALECT: &str = "drive.dialect";
const DIALECT_ALONE: &str = "dialect";

/// What hosts of FEMU's dialect expect, unless it is said otherwise.
const AS_IN_FEMU: [(&str, &str); 2] =
    [("drive.block_size", "512B"), ("compute.native_threads", "true")];

/// The key of the size of the flash.
const CAPACITY: &str = "drive.capacity";

/// Sets one key.
fn set(config: &mut Config, name: &str, text: &str) -> Result<(), Error> {
    let key = KEYS.iter().find(|k| k.name == name).ok_or_else(|| unknown(name))?;
    key.set(config, text).map_err(|reason| Error::Value {
        key: name.to_owned(),
        value: text.to_owned(),
        reason,
    })
}

fn unknown(name: &str) -> Error {
    let last = name.rsplit('.').next().unwrap_or(name);
    let names = KEYS.iter().map(|k| k.name).chain(ENTRY_KEYS.iter().map(|k| k.0));
    let mut close = names.filter(|known| {
        known.rsplit('.').next().unwrap_or(known) == last || strsim::levenshtein(known, name) <= 2
    });
    let hint = close.next().map_or(String::new(), |known| format!("; did you mean {known}?"));
    Error::UnknownKey { key: name.to_owned(), hint }
}

/// The configuration as a TOML file that loads back to the same.
pub fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != section {
            if !section.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("[{of}]\n"));
            section = of;
        }
        text.push_str(&format!("{name} = {}\n", key.get(config).to_toml()));
    }
    text.push_str(&namespaces::to_toml(config));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(sets: &[&str]) -> Result<Config, Error> {
        let set = sets.iter().map(|&s| s.to_owned()).collect();
        Sources { set, ..Default::default() }.load().map(|l| l.config)
    }

    #[test]
    fn shown_configuration_loads_back_identically() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive.toml");
        for sets in [
            vec![],
            vec!["drive.capacity=1TiB", "flash.read_time=333ns", "compute.clock=1.25GHz"],
            vec!["compute.cycles_alu=0.125", "flash.gc_start=12.5%", "link.bandwidth=7877MB/s"],
            vec!["compute.policy=round-robin", "flash.keep_data=false", "drive.serial=a b'c"],
            vec![
                "namespace.1.kind=nvm",
                "namespace.1.size=3GiB",
                "namespace.7.kind=memory",
                "namespace.3.kind=nvm",
                "namespace.3.block_size=512B",
                "namespace.128.kind=compute",
            ],
        ] {
            let config = loaded(&sets).unwrap();
            std::fs::write(&path, to_toml(&config)).unwrap();
            let again = Sources { config: Some(path.clone()), ..Default::default() }.load();
            assert_eq!(again.unwrap().config, config, "{sets:?}\n{}", to_toml(&config));
        }
    }

    #[test]
    fn every_key_takes_its_own_default_and_refuses_nonsense() {
        for key in KEYS {
            let mut config = Config::default();
            let text = key.get(&config).to_string();
            key.set(&mut config, &text).unwrap();
            assert_eq!(config, Config::default(), "{}", key.name);
            // Names and paths are any text, and an empty address is none.
            if key.name == "drive.serial" || key.values == "path" {
                continue;
            }
            assert!(key.set(&mut config, "banana").is_err(), "{}", key.name);
            assert!(key.set(&mut config, "-5").is_err(), "{}", key.name);
            let takes_none = key.name == "compute.runtime_server";
            assert_eq!(key.set(&mut config, "").is_err(), !takes_none, "{}", key.name);
        }
    }

    #[test]
    fn namespaces_take_what_they_do_not_say_from_the_short_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive.toml");
        let text = r#"
            drive.block_size = "512B"
            memory.size = "2MiB"
            [[namespace]]
            kind = "nvm"
            size = "1GiB"
            [[namespace]]
            kind = "nvm"
            id = 9
            block_size = "4KiB"
            [[namespace]]
            kind = "memory"
            [[namespace]]
            kind = "memory"
            size = "4MiB"
            id = 5
            [[namespace]]
            kind = "compute"
        "#;
        std::fs::write(&path, text).unwrap();
        let load = |set: Vec<String>| {
            Sources { config: Some(path.clone()), set, ..Default::default() }.load()
        };
        let kinds = |config: &Config| -> Vec<_> {
            config.namespace_list().iter().map(|n| (n.nsid, n.kind)).collect()
        };
        let nvm = |bytes, block_bytes| NamespaceKind::Nvm { bytes, block_bytes };
        let memory = |bytes| NamespaceKind::Memory { bytes };
        let config = load(vec!["drive.capacity=3GiB".into()]).unwrap().config;
        let programs = NamespaceKind::Programs;
        let expected = [
            (1, nvm(1 << 30, 512)),
            (5, memory(4 << 20)),
            (6, programs),
            (9, nvm(2 << 30, 4096)),
            (10, memory(2 << 20)),
        ];
        assert_eq!(kinds(&config), expected);
        // All sizes given and no capacity: the flash is as large as what lies on it.
        let config = load(vec!["namespace.9.size=5GiB".into()]).unwrap().config;
        assert_eq!(config.flash.capacity_bytes, 6 << 30);
        for (sets, parts) in [
            (["drive.capacity=1GiB", ""], ["namespace.9.size", "leave nothing"]),
            (["namespace.1.size=2PiB", ""], ["namespace.1.size = 2PiB", "size"]),
            (["namespace.2.size=1GiB", ""], ["namespace.2.kind", "choose one of"]),
            (["namespace.6.size=1GiB", ""], ["namespace.6.size", "leave it out"]),
            (["namespace.129.kind=nvm", ""], ["namespace.129.kind", "1 to 128"]),
            (["namespace.1.sise=1GiB", ""], ["namespace.sise", "did you mean namespace.size"]),
            (["namespace.kind=nvm", ""], ["namespace.kind", "by its identifier"]),
            (["namespace.3.kind=nvm", "drive.capacity=9GiB"], ["namespace.3.size", "only one"]),
        ] {
            let sets = sets.iter().filter(|s| !s.is_empty()).map(|s| (*s).to_owned()).collect();
            let text = load(sets).unwrap_err().to_string();
            assert!(parts.iter().all(|p| text.contains(p)), "{text}");
        }
    }

    #[test]
    fn errors_name_key_value_and_remedy() {
        for (set, parts) in [
            ("flash.gc_urgent=50%", ["flash.gc_urgent = 50.0%", "above flash.gc_start"]),
            ("drive.capacity=5000B", ["drive.capacity = 5000", "flash.page_size"]),
            ("flash.page_size=3KiB", ["flash.page_size = 3072", "choose 4KiB"]),
            ("drive.serial=", ["drive.serial = ", "1 to 20"]),
            ("drive.queue_pairs=0", ["drive.queue_pairs = 0", "1"]),
            ("drive.max_transfer=5KiB", ["drive.max_transfer = 5120", "power of two"]),
            ("compute.unit=3", ["compute.unit", "did you mean compute.units"]),
            ("flash.read_time=40", ["flash.read_time = 40", "us"]),
            ("flash.read_time=40parsecs", ["flash.read_time = 40parsecs", "ns, us, ms"]),
            ("flash.channels=0", ["flash.channels = 0", "1 to 256"]),
            ("flash.blocks_per_plane=4", ["flash.blocks_per_plane = 4", "at least"]),
            ("memory.size=5", ["memory.size = 5", "4KiB"]),
            ("nonsense", ["--set nonsense", "KEY=VALUE"]),
            ("compute.policy=lottery", ["compute.policy = lottery", "fifo, round-robin"]),
        ] {
            let text = loaded(&[set]).unwrap_err().to_string();
            assert!(parts.iter().all(|p| text.contains(p)), "{set}: {text}");
            assert!(!text.contains('\n'), "{set}: {text}");
        }
    }

    #[test]
    fn settings_that_do_nothing_beside_the_others_are_noted() {
        let notes = |sets: &[&str]| {
            let set = sets.iter().map(|text| (*text).to_owned()).collect();
            Sources { set, ..Sources::default() }.load().unwrap().warnings.join("; ")
        };
        for (sets, says) in [
            (&["flash.streams=2", "flash.placement=hot-cold"][..], "flash.streams has no effect"),
            (&["flash.isolation=persistent"], "flash.isolation has no effect"),
            (&["flash.filled_by=random-overwrites"], "flash.filled_by has no effect"),
            (&["flash.worn_erases=9"], "have no effect: no bits are wrong"),
            (
                &["flash.bit_errors=tlc-72-layers", "flash.refresh_retries=17"],
                "flash.refresh_retries has no effect",
            ),
            (
                &["flash.power_loss_protection=true", "flash.write_buffer=0B"],
                "flash.power_loss_protection has no effect",
            ),
        ] {
            assert!(notes(sets).contains(says), "{}", notes(sets));
        }
        for sets in [
            &["flash.streams=2", "flash.isolation=persistent"][..],
            &["flash.filled_by=random-overwrites", "flash.filled=10%"],
            &["flash.bit_errors=tlc-72-layers", "flash.refresh_retries=3", "flash.worn_erases=9"],
        ] {
            assert_eq!(notes(sets), "");
        }
    }
}
