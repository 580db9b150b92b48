//! Clients of a served drive that mean harm: scripts of a client in Python, which shares nothing with the server.
//! Each runs against a server of its own, which must then serve an honest client, and end when it is told to.
//!
//! Where there is no Python, or there may be no huge pages, tests are reported as ignored.

mod served;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use served::Served;

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/peer.py");

fn peer(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new("python3").arg(PEER).args(arguments).output()
}

/// Runs a script.
fn run(script: &str) -> Result<(), Failed> {
    let mut served = Served::new(&[]);
    let (socket, pid) = (served.socket(), served.process.id().to_string());
    let output = peer(&[&socket.display().to_string(), &pid, script])?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or_default();
        return Err(format!("{last}\n{errors}\nthe server said:\n{}", served.log()).into());
    }
    // It ends in order, within the time that a shutdown may take.
    let kill = Command::new("kill").arg(&pid).status()?;
    let begun = Instant::now();
    while kill.success() && served.process.try_wait()?.is_none() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("the server does not end".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = served.process.wait()?;
    if !status.success() {
        return Err(format!("the server ended with {status}: {}", served.log()).into());
    }
    Ok(())
}

/// True if this process may ask for huge pages.
fn has_huge_pages() -> bool {
    std::fs::File::options().write(true).open("/proc/sys/vm/nr_hugepages").is_ok()
}

fn main() {
    let arguments = Arguments::from_args();
    let names: Vec<String> = match peer(&["-", "0", "list"]) {
        Ok(output) => {
            // What is there must work.
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        Err(_) => Vec::new(),
    };
    let trials = if names.is_empty() {
        println!("SKIPPED: hostile clients: no python3 (apt-get install python3)");
        vec![Trial::test("hostile_clients", || Ok(())).with_ignored_flag(true)]
    } else {
        let trial = |name: String| {
            let is_impossible = name == "huge_pages_that_vanish" && !has_huge_pages();
            if is_impossible {
                println!("SKIPPED: {name}: this user may not ask for huge pages (vm.nr_hugepages)");
            }
            let script = name.clone();
            Trial::test(name, move || run(&script)).with_ignored_flag(is_impossible)
        };
        names.into_iter().map(trial).collect()
    };
    libtest_mimic::run(&arguments, trials).exit();
}
