//! A drive in persistent memory: csdrive serves it inside of a guest, whose NVDIMM is a file of this machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

fn machine(folder: &Path, word: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csdrive"));
    command
        .args(["vm", "run", "--timeout", super::PATIENCE, "--nvdimm"])
        .arg(folder.join("nvdimm"))
        .arg("--share")
        .arg(folder.join("share"))
        .args(["--file", concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/guest/pmem.sh")])
        .args(["--", "sh", "pmem.sh", word])
        .stdin(Stdio::null());
    command
}

/// The test: what was flushed is there after kill -9 of the server and after the end of the machine, and a full file system is an error.
pub(crate) fn persistent_memory() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("share"))?;
    std::fs::File::create(folder.path().join("nvdimm"))?.set_len(512 << 20)?;
    let log = folder.path().join("output");
    let output = std::fs::File::create(&log)?;
    let mut first =
        machine(folder.path(), "wait").stdout(output.try_clone()?).stderr(output).spawn()?;
    let end = Instant::now() + Duration::from_secs(600);
    let flushed = folder.path().join("share/flushed");
    while !flushed.exists() && Instant::now() < end && first.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // The machine ends as it does without power: QEMU goes with its parent.
    first.kill()?;
    first.wait()?;
    let text = std::fs::read_to_string(&log)?;
    let lines = [
        "persistent memory (DAX, MAP_SYNC)",
        "device memory is there, too",
        "it is there after kill -9",
        " a file",
        "Flush: Write Fault",
        "it writes again when there is room",
    ];
    for line in lines {
        if !text.contains(line) || text.contains("where is it?") {
            return Err(format!("not found: {line}\n{text}").into());
        }
    }
    let output = machine(folder.path(), "").output()?;
    super::expect(&output, 0)?;
    super::expect_lines(
        &output,
        &["it is there after the end of the machine", "nothing is damaged"],
    )
}
