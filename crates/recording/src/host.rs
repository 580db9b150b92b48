//! The machine on which a run was made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may matter of the machine. Results in virtual time do not depend on it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, JsonSchema, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// Operating system and processor family, as "linux x86_64".
    pub system: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Main memory.
    pub memory_bytes: u64,
}

impl HostFacts {
    /// Of this machine. What it does not tell is empty.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let kilobytes = value(&memory, "MemTotal").and_then(|text| {
            text.split_whitespace().next().and_then(|digits| digits.parse::<u64>().ok())
        });
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: value(&cpu, "model name").unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kilobytes.unwrap_or_default() * 1024,
        }
    }
}
