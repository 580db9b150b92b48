//! What the examples have in common: the drive with the program, comparison, numbers.
#![allow(dead_code, reason = "each example uses a part")]

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::process::ExitCode;

use client::Drive;

/// Why an example failed, in words.
pub(crate) type Failure = Box<dyn Error>;

/// The program's index.
pub(crate) const PROGRAM: u16 = 1;

/// Where in device memory the ranges begin.
pub(crate) const OUTPUT: u64 = 0;
pub(crate) const INPUT: u64 = 1 << 20;
pub(crate) const SECOND_INPUT: u64 = 2 << 20;

/// Runs an example on the drive, with the program, that the command line names; prints what it returns.
pub(crate) fn run(example: fn(&mut Drive) -> Result<String, Failure>) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let [_, path, object] = &arguments[..] else {
        eprintln!("use: {} DEV PROGRAM.bpf.o", arguments[0].display());
        return ExitCode::from(2);
    };
    match with_program(path, object, example) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn with_program(
    path: &OsStr,
    object: &OsStr,
    example: fn(&mut Drive) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let program =
        std::fs::read(object).map_err(|cause| format!("{}: {cause}", object.display()))?;
    let mut drive = client_linux::open(path.as_ref())?;
    drive.load_program(PROGRAM, &program)?;
    let outcome = example(&mut drive);
    // After a failure, too: the next example uses the same index.
    let unloaded = drive.remove_program(PROGRAM);
    let text = outcome?;
    unloaded?;
    Ok(text)
}

/// Says what differs first, if anything does.
pub(crate) fn compare<T: PartialEq + Debug>(
    what: &str,
    drive: &[T],
    host: &[T],
) -> Result<(), Failure> {
    if drive.len() != host.len() {
        return Err(
            format!("{what}: {} on the drive, {} on the host", drive.len(), host.len()).into()
        );
    }
    match drive.iter().zip(host).position(|(one, other)| one != other) {
        None => Ok(()),
        Some(at) => {
            Err(format!("{what}: number {at} is {:?}, not {:?}", drive[at], host[at]).into())
        }
    }
}

/// Numbers as they are in device memory.
pub(crate) fn to_bytes(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Numbers that were in device memory.
pub(crate) fn to_numbers(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks().0.iter().map(|number| i32::from_le_bytes(*number)).collect()
}

/// Numbers that look random, and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number from low to high - 1.
    pub(crate) fn number(&mut self, low: i32, high: i32) -> i32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + ((self.0 >> 33) % (high - low) as u64) as i32
    }

    pub(crate) fn numbers(&mut self, count: usize, low: i32, high: i32) -> Vec<i32> {
        (0..count).map(|_| self.number(low, high)).collect()
    }

    /// One of some.
    pub(crate) fn choose<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.number(0, from.len() as i32) as usize]
    }
}
