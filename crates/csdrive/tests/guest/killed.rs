//! A drive with a file is killed (`kill -9`) while fio in a guest writes to it: what fio was told is durable is there. `KILLS=200` kills so often.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

/// Runs a round until the drive is killed, or, without a time, to its end; what it printed.
fn round(folder: &Path, seed: u64, seconds: u32, is_synced: bool) -> Result<String, Failed> {
    let share = folder.join("share");
    let kill = share.join("kill");
    let _ = std::fs::remove_file(&kill);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/guest/killed.sh");
    let file = format!("storage.file={}", folder.join("flash").display());
    let output = std::fs::File::create(folder.join("output"))?;
    let mut machine = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["vm", "run", "--timeout", super::PATIENCE, "--set", "drive.capacity=512MiB"])
        // What nobody waits for stays in the drive's memory for long.
        .args(["--set", "flash.write_buffer=128MiB", "--set", "flash.write_buffer_delay=60s"])
        .args(["--set", &file, "--share", &share.display().to_string(), "--file", script, "--"])
        .args(["sh", "killed.sh", &seed.to_string(), &seconds.to_string()])
        .arg(u8::from(is_synced).to_string())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let end = Instant::now() + Duration::from_secs(600);
    let has_ended = loop {
        if machine.try_wait()?.is_some() {
            break true;
        }
        if kill.exists() || Instant::now() > end {
            // SIGKILL: nothing is written any more.
            machine.kill()?;
            machine.wait()?;
            break false;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = std::fs::read_to_string(folder.join("output"))?;
    if has_ended == (seconds == 0) { Ok(text) } else { Err(text.into()) }
}

/// The test.
pub(crate) fn killed_under_fio() -> Result<(), Failed> {
    let kills: u64 = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("share"))?;
    for seed in 0..=kills {
        let seconds = if seed == kills { 0 } else { 1 + (seed % 3) as u32 };
        let text = round(folder.path(), seed, seconds, true)?;
        let is_right = seed == 0 || text.contains("verified: ");
        if !is_right || text.contains("something is lost") {
            return Err(format!("after {seed} kills:\n{text}").into());
        }
    }
    // What was not synced is lost: the test would notice.
    round(folder.path(), 1, 2, false)?;
    let text = round(folder.path(), 1, 0, false)?;
    if text.contains("something is lost") { Ok(()) } else { Err(text.into()) }
}
