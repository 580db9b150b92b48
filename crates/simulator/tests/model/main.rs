//! The model test: random commands of all three command sets, valid and not, with data pointers of
//! every shape, queues that come and go, aborts, and resets at any point, on a drive and on a
//! reference that is as simple as it can be.
//!
//! `cargo test --release -p simulator --test model` runs 200 000 commands from fixed seeds and a
//! quarter of that from a fresh one; the seeds are printed. `MODEL_COMMANDS=5000000` runs more,
//! `MODEL_SEED=7` begins at a seed. A script that fails is shrunk and printed.

mod pointer;
mod reference;
mod runner;
mod script;
mod shrink;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use reference::Reference;
use script::Step;

/// Steps of a script; about three quarters are commands.
const STEPS: usize = 1500;
/// Commands a run must reach.
const COMMANDS: u64 = 200_000;
/// First of the fixed seeds.
const SEED: u64 = 1;
/// Seeds that once showed a fault: an aborted write that was read and came undone later.
const PAST: [u64; 1] = [1_753_667_158_374_933];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} = {text}: a number is needed")))
}

/// Runs a script; a panic is a failure like any other.
fn run(script: &[Step], seed: u64) -> Result<u64, String> {
    catch_unwind(AssertUnwindSafe(|| runner::run(script, seed, |_| {}))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("of another kind")))
    })
}

/// Says what was run also when the test passes: the harness keeps only what `println` prints.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs scripts from a seed on until enough commands were submitted.
fn run_from(first: u64, commands: u64) {
    let (mut seed, mut done) = (first, 0);
    while done < commands {
        let script = script::random(seed, STEPS);
        match run(&script, seed) {
            Ok(count) => done += count,
            Err(failure) => {
                let quiet = std::panic::take_hook();
                std::panic::set_hook(Box::new(|_| {}));
                let short = shrink::shrink(&script, 3000, |script| run(script, seed).is_err());
                let last = run(&short, seed).err();
                std::panic::set_hook(quiet);
                panic!(
                    "MODEL_SEED={seed}: {failure}\n\nshrunk to {} steps: {}\n{short:#?}",
                    short.len(),
                    last.unwrap_or_default()
                );
            }
        }
        seed += 1;
    }
    say(&format!("model test: {done} commands, MODEL_SEED={first} to {}", seed - 1));
}

#[test]
fn random_commands_match_the_reference() {
    let commands = number("MODEL_COMMANDS").unwrap_or(COMMANDS);
    run_from(number("MODEL_SEED").unwrap_or(SEED), commands);
}

#[test]
fn scripts_that_once_failed_match_the_reference() {
    for seed in PAST {
        run_from(seed, 1);
    }
}

#[test]
fn fresh_random_commands_match_the_reference() {
    if number("MODEL_SEED").is_some() || number("MODEL_COMMANDS").is_some() {
        return; // somebody chose what to run
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = now.expect("the clock is right").as_nanos() as u64 >> 10;
    run_from(seed, COMMANDS / 4);
}

/// A model test that cannot fail would be worthless: with a reference that is wrong in one thing it
/// fails, and the script shrinks to what shows it.
#[test]
fn wrong_references_are_noticed_and_scripts_shrink_to_what_shows_it() {
    type Sabotage = fn(&mut Reference);
    let wrong: [Sabotage; 3] = [
        |reference| reference.blocks[70_000] = 1,
        |reference| reference.memory[5] = 1,
        |reference| reference.pretend_write_protection(),
    ];
    for (n, sabotage) in wrong.into_iter().enumerate() {
        let script = script::random(SEED, 300);
        let fails = |script: &[Step]| runner::run(script, SEED, sabotage).is_err();
        assert!(fails(&script), "sabotage {n} went unnoticed");
        let short = shrink::shrink(&script, 1000, fails);
        assert!(short.len() <= 2 && fails(&short), "{n}: {short:#?}");
    }
}
