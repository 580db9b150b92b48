//! A mapping reads and writes what the file has, and survives what happens to the file. (Real persistent memory is tried in a guest:
//! crates/csdrive/tests/guest.)
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use dax::{Durable, Mapping};

fn file(len: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len).unwrap();
    file
}

#[test]
fn any_bytes_at_any_place() {
    let file = file(3 << 12);
    let mut mapping = Mapping::anyway(&file).unwrap().unwrap();
    assert_eq!(mapping.durable(), Durable::AfterSync);
    let mut expected = vec![0; 3 << 12];
    let mut at = 0;
    for len in (0..40).chain([4096, 5000]) {
        let bytes: Vec<u8> = (0..len).map(|n| (n * 7 + len) as u8 | 1).collect();
        mapping.write(at as u64, &bytes).unwrap();
        expected[at..at + len].copy_from_slice(&bytes);
        at += len + 3;
    }
    let mut found = vec![0; expected.len()];
    mapping.read(0, &mut found).unwrap();
    assert_eq!(found, expected);
    found.fill(0);
    file.read_exact_at(&mut found, 0).unwrap();
    assert_eq!(found, expected);
}

#[test]
fn nothing_beyond_the_end() {
    let file = file(4096);
    let mut mapping = Mapping::anyway(&file).unwrap().unwrap();
    assert!(mapping.write(4090, &[0; 7]).is_err() && mapping.write(u64::MAX, &[0; 8]).is_err());
    assert!(mapping.read(4096, &mut [0; 1]).is_err() && mapping.read(4096, &mut []).is_ok());
    assert!(Mapping::anyway(&self::file(0)).unwrap().is_none());
    assert!(Mapping::anyway(&self::file(12)).unwrap().is_none());
}

#[test]
fn a_file_that_became_shorter_is_an_error() {
    let file = file(1 << 16);
    let mut mapping = Mapping::anyway(&file).unwrap().unwrap();
    mapping.write(40_000, &[5; 100]).unwrap();
    file.set_len(4096).unwrap();
    let error = mapping.read(40_000, &mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(mapping.write(40_000, &[6; 100]).is_err() && mapping.write(40_000, &[6; 8]).is_err());
    assert_eq!(file.metadata().unwrap().len(), 4096);
    // What is still there can be used.
    mapping.write(100, &[7; 9]).unwrap();
    let mut found = [0; 9];
    mapping.read(100, &mut found).unwrap();
    assert_eq!(found, [7; 9]);
}

/// Others that have a signal handler, or none, get what is theirs.
#[test]
fn a_fault_of_somebody_else_still_ends_the_process() {
    const CHILD: &str = "DAX_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let file = file(1 << 16);
        let mapping = Mapping::anyway(&file).unwrap().unwrap();
        mapping.read(0, &mut [0; 8]).unwrap();
        let raise = |signal: &str| {
            std::process::Command::new("kill")
                .args([signal, &std::process::id().to_string()])
                .status()
        };
        raise("-BUS").unwrap();
        raise("-BUS").unwrap();
        std::process::exit(0);
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_fault_of_somebody_else_still_ends_the_process", "--nocapture"])
        .env(CHILD, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(7), "{text}");
}
