//! `csdrive config cores`: the cost table of each core, and where its numbers come from.

use compute::{Core, WorkClass};
use serde_json::{Value, json};

use crate::report::say;

pub(crate) fn print(is_json: bool) {
    if is_json {
        let cores: Vec<Value> =
            Core::NAMES.iter().map(|(name, core)| document(name, *core)).collect();
        return say!("{:#}", json!({ "format_version": 1, "cores": cores }));
    }
    let names = WorkClass::ALL.map(|class| format!("{:>9}", name_of(class)));
    say!("{:<14} {:>6} {:>6} {}", "core", "GHz", "GB/s", names.concat());
    for (name, core) in Core::NAMES {
        let table = core.cost_table();
        let cycles = table.millicycles.map(|n| format!("{:>9}", n as f64 / 1000.0));
        let clock = table.clock.hz() as f64 / 1e9;
        let memory = table.memory_bandwidth.bytes_per_s() as f64 / 1e9;
        say!("{name:<14} {clock:>6} {memory:>6} {}", cycles.concat());
    }
    say!(
        "\nCycles of an instruction by its class; the clock and the memory bandwidth are examples.\n"
    );
    for (name, core) in Core::NAMES {
        say!("{name:<14} {}", core.source());
    }
}

fn name_of(class: WorkClass) -> String {
    format!("{class:?}").to_lowercase()
}

fn document(name: &str, core: Core) -> Value {
    let table = core.cost_table();
    let cycles = WorkClass::ALL.iter().zip(table.millicycles);
    let cycles: serde_json::Map<String, Value> =
        cycles.map(|(class, n)| (name_of(*class), json!(n as f64 / 1000.0))).collect();
    json!({
        "name": name,
        "clock_hz": table.clock.hz(),
        "memory_bandwidth": table.memory_bandwidth.bytes_per_s(),
        "cycles": cycles,
        "source": core.source(),
    })
}
