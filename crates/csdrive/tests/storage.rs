//! Drives that keep their flash in a file: killed, started again, copied, damaged, and on disks that are full.
//!
//! `KILL_ROUNDS=200 cargo test --release -p csdrive --test storage kill` kills one as often.

#[path = "harness/lib.rs"]
mod harness;
mod served;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Files, Ran, csdrive};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use served::Served;

fn main() {
    let arguments = Arguments::from_args();
    let tests: [(&str, fn()); 6] = [
        ("what_was_flushed_is_there_after_every_kill", what_was_flushed_is_there_after_every_kill),
        (
            "files_that_are_none_or_other_drives_are_refused_and_left_as_they_are",
            files_that_are_none_or_other_drives_are_refused_and_left_as_they_are,
        ),
        (
            "damage_is_refused_or_repaired_and_reads_of_damaged_pages_fail",
            damage_is_refused_or_repaired_and_reads_of_damaged_pages_fail,
        ),
        ("a_drive_is_copied_exported_and_imported", a_drive_is_copied_exported_and_imported),
        ("a_preconditioned_drive_is_steady_and_kept", a_preconditioned_drive_is_steady_and_kept),
        (FULL_DISK, a_full_disk_fails_writes_and_damages_nothing),
    ];
    let may_mount = may_mount();
    let trials = tests.into_iter().map(|(name, test)| {
        if name == FULL_DISK && !may_mount {
            let why = "SKIPPED: this user may not mount a file system; run it as root";
            return Trial::test(format!("{name} ({why})"), || Ok(())).with_ignored_flag(true);
        }
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// The test that needs a file system of its own.
const FULL_DISK: &str = "a_full_disk_fails_writes_and_damages_nothing";

const BLOCK: usize = 4096;

/// A block that says what it is.
fn block(value: u64) -> Vec<u8> {
    value.to_le_bytes().repeat(BLOCK / 8)
}

/// Settings of a small drive in a file.
fn settings(file: &str) -> [String; 7] {
    [
        format!("storage.file={file}"),
        "drive.capacity=64MiB".to_owned(),
        "flash.write_buffer=1MiB".to_owned(),
        "flash.pages_per_block=8".to_owned(),
        "flash.page_size=16KiB".to_owned(),
        "flash.indirection_unit=4KiB".to_owned(),
        "flash.pages_per_program=2".to_owned(),
    ]
}

fn serve(file: &str) -> Served {
    let settings = settings(file);
    Served::new(&settings.each_ref().map(String::as_str))
}

fn a_preconditioned_drive_is_steady_and_kept() {
    let files = Files::new();
    let file = files.path("flash.csd");
    let on = format!("storage.file={file}");
    let small = ["--set", "drive.capacity=256MiB", "--set", "flash.overprovisioning=28%"];
    let small = [
        &small[..],
        &["--set", "flash.pages_per_block=64", "--set", "flash.write_buffer=1MiB", "--set", &on],
    ]
    .concat();
    let precondition = || csdrive(&[&["precondition", "--json"], &small[..]].concat());
    let ran = precondition();
    assert_eq!(ran.code, 0, "{ran:?}");
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&document["is_steady"], &document["filled_bytes"]),
        (&json!(true), &json!(256 << 20))
    );
    let rounds = document["rounds"].as_array().unwrap();
    let of = |n: usize| rounds[n]["write_amplification"].as_f64().unwrap();
    assert!(rounds.len() >= 5 && of(0) > 1.5, "{document}");
    // Once is enough.
    let again = precondition();
    assert!(again.code == 2 && again.stderr.contains("holds a drive that was used"), "{again:?}");
    // Less than a page is none.
    let nothing = ["precondition", "--set", "drive.capacity=2MiB", "--set", "flash.filled=0.1%"];
    let nothing = csdrive(&nothing);
    assert!(nothing.code == 2 && nothing.stderr.contains("flash.filled = 0.1%"), "{nothing:?}");
    // By writing, the same comes out. (Other files: this one is used.)
    let by_writing = csdrive(
        &[&["precondition", "--json", "--how", "simulated"], &small[..small.len() - 2]].concat(),
    );
    let simulated: Value = serde_json::from_str(&by_writing.stdout).unwrap();
    let last = |document: &Value| {
        let rounds = document["rounds"].as_array().unwrap();
        rounds.last().unwrap()["write_amplification"].as_f64().unwrap()
    };
    let ratio = last(&document) / last(&simulated);
    assert!((0.95..1.05).contains(&ratio), "{document} {simulated}");
    // The next run of the drive is in this state.
    let info = storage(&["info", "--json", &file]);
    let info: Value = serde_json::from_str(&info.stdout).unwrap();
    assert_eq!(info["contents"]["pages"], 65_536);
    assert_eq!(info["namespaces"][0]["bytes"], 256 << 20);
}

/// Commands of `csdrive` on a file.
fn storage(arguments: &[&str]) -> Ran {
    csdrive(&[&["storage"], arguments].concat())
}

fn rounds() -> u64 {
    std::env::var("KILL_ROUNDS").ok().and_then(|count| count.parse().ok()).unwrap_or(10)
}

fn what_was_flushed_is_there_after_every_kill() {
    let files = Files::new();
    let file = files.path("flash.csd");
    let mut random = 1u64;
    let mut draw = move |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    // Of each block, what may be found: the value of the last flush, and those written since.
    let mut known: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut value = 0;
    for round in 0..rounds() {
        let mut served = serve(&file);
        let mut drive = client_linux::open(&served.socket()).unwrap();
        for (&at, allowed) in &mut known {
            let found = drive.read_blocks(at, 1).unwrap();
            let number = u64::from_le_bytes(found[..8].try_into().unwrap());
            assert_eq!(found, block(number), "round {round}: block {at} is a mixture");
            assert!(
                allowed.contains(&number),
                "round {round}: block {at} has {number}, and not one of {allowed:?}"
            );
            *allowed = vec![number];
        }
        let until = Instant::now() + Duration::from_millis(20 + draw(150));
        let killer = std::thread::spawn({
            let process = served.process.id();
            move || {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                let process = rustix::process::Pid::from_raw(process as i32).unwrap();
                rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
            }
        });
        // Until it is gone: all of the drive is written again and again, so that it collects garbage.
        loop {
            value += 1;
            let (at, count) = (draw(14_000), 1 + draw(32));
            let data: Vec<u8> = (0..count).flat_map(|n| block(value + n)).collect();
            for n in 0..count {
                known.entry(at + n).or_insert_with(|| vec![0]).push(value + n);
            }
            value += count;
            if drive.write_blocks(at, &data).is_err() {
                break;
            }
            if draw(20) == 0 {
                if drive.flush().is_err() {
                    break;
                }
                for allowed in known.values_mut() {
                    let newest = *allowed.last().unwrap();
                    *allowed = vec![newest];
                }
            }
        }
        killer.join().unwrap();
        served.process.wait().unwrap();
    }
    let checked = storage(&["check", &file]);
    assert_eq!(checked.code, 0, "{checked:?}");
}

/// Starts a drive that must be refused; what it says.
fn refused(settings: &[String]) -> String {
    let files = Files::new();
    let socket = files.path("socket");
    let mut command = Command::new("timeout");
    // One that is served after all does not hold up the test.
    command.args(["20", env!("CARGO_BIN_EXE_csdrive"), "serve", "--socket", &socket]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{settings:?}: {said}");
    said
}

fn files_that_are_none_or_other_drives_are_refused_and_left_as_they_are() {
    let files = Files::new();
    let file = files.path("flash.csd");
    drop(serve(&file));
    let with = |key: &str| [&settings(&file)[..], &[key.to_owned()]].concat();
    for (key, says) in [
        ("drive.capacity=128MiB", "drive.capacity = 67108864"),
        ("flash.pages_per_block=64", "pages_per_block"),
        ("flash.channels=4", "channels"),
        ("flash.indirection_unit=8KiB", "flash.indirection_unit = 4096"),
        ("flash.pages_per_program=4", "pages_per_program"),
        ("flash.blocks_per_plane=40", "blocks_per_plane"),
        ("flash.keep_data=false", "keep_data"),
    ] {
        let before = files.get("flash.csd");
        let said = refused(&with(key));
        assert!(said.contains(says), "{key}: {said}");
        assert!(before == files.get("flash.csd"), "{key}: the file was changed");
    }
    // In use.
    let served = serve(&file);
    assert!(refused(&settings(&file)).contains("another drive uses it"));
    let told = storage(&["info", &file]);
    assert!(told.code == 2 && told.stderr.contains("another drive uses it"), "{told:?}");
    drop(served);

    let foreign = files.put("foreign", b"#!/bin/sh\necho this is no drive\n");
    assert!(refused(&settings(&foreign)).contains("not a drive's flash"));
    assert_eq!(files.get("foreign"), b"#!/bin/sh\necho this is no drive\n");
    let empty = files.put("empty", b"");
    assert!(refused(&settings(&empty)).contains("not a drive's flash"));

    let whole = files.get("flash.csd");
    let short = files.put_with_holes("short", &whole[..whole.len() / 2]);
    assert!(refused(&settings(&short)).contains("its end is missing"));
    let stub = files.put("stub", &whole[..100]);
    assert!(refused(&settings(&stub)).contains("it has 100 bytes"));
    assert_eq!(files.get("stub").len(), 100);
    let folder = files.path(".");
    assert!(refused(&settings(&folder)).contains("it is a folder"));
    assert!(refused(&settings("/dev/zero")).contains("it is a device"));
    assert!(refused(&settings("/nowhere/at/all")).contains("/nowhere/at/all"));
    let mut newer = whole;
    for at in [8, 4096 + 8] {
        newer[at] = 9;
    }
    let newer = files.put_with_holes("newer", &newer);
    assert!(refused(&settings(&newer)).contains("version 9"));
}

fn damage_is_refused_or_repaired_and_reads_of_damaged_pages_fail() {
    let files = Files::new();
    let file = files.path("flash.csd");
    {
        let served = serve(&file);
        let mut drive = client_linux::open(&served.socket()).unwrap();
        let data: Vec<u8> = (0..256).flat_map(|n| block(1000 + n)).collect();
        drive.write_blocks(0, &data).unwrap();
        drive.flush().unwrap();
    }
    let sound = files.get("flash.csd");
    let find = |value: u64| {
        let page = block(value);
        sound.chunks_exact(BLOCK).position(|chunk| chunk == page).unwrap() * BLOCK
    };
    let damaged = |name: &str, places: &[usize]| {
        let mut bytes = sound.clone();
        places.iter().for_each(|at| bytes[*at] ^= 0x10);
        files.put_with_holes(name, &bytes)
    };
    // A page's bytes: found by its checksum, and others are read.
    let page = damaged("page", &[find(1003) + 100]);
    let checked = storage(&["check", &page]);
    assert!(checked.code == 1 && checked.stdout.contains("1 pages do not match"), "{checked:?}");
    {
        let served = serve(&page);
        let mut drive = client_linux::open(&served.socket()).unwrap();
        let failed = drive.read_blocks(3, 1).unwrap_err().to_string();
        assert!(failed.to_lowercase().contains("unrecovered read error"), "{failed}");
        assert_eq!(drive.read_blocks(4, 1).unwrap(), block(1004));
        drive.write_blocks(3, &block(7)).unwrap();
        assert_eq!(drive.read_blocks(3, 1).unwrap(), block(7));
    }
    // One header, one state: the other one is as good.
    for (name, at) in [("header", 20), ("state", 8192 + 8), ("state2", 12_288 + 8)] {
        let file = damaged(name, &[at]);
        let served = serve(&file);
        let mut drive = client_linux::open(&served.socket()).unwrap();
        assert_eq!(drive.read_blocks(9, 1).unwrap(), block(1009), "{name}: {}", served.log());
    }
    // Both of them, and the record of a page: nobody knows what was lost.
    let record = {
        // Records of a block lie right before its pages, which begin at a multiple of 1 MiB and 32 pages.
        let page = find(1003);
        (0..=page / BLOCK).rev().map(|n| n * BLOCK).find(|at| {
            let bytes = &sound[*at..at + 32];
            bytes.iter().any(|b| *b != 0)
                && bytes != &block(u64::from_le_bytes(bytes[..8].try_into().unwrap()))[..32]
        })
    };
    for (name, places, says) in [
        ("headers", vec![20, 4096 + 20], "both headers"),
        ("states", vec![8192 + 8, 12_288 + 8], "both states"),
        ("record", vec![record.unwrap() + 1], "1 page records"),
    ] {
        let file = damaged(name, &places);
        let before = files.get(name);
        let said = refused(&settings(&file));
        assert!(said.contains(says) && said.contains("csdrive storage repair"), "{name}: {said}");
        assert!(before == files.get(name), "{name}: the file was changed");
        let repaired = storage(&["repair", &file]);
        if name == "headers" {
            assert_eq!(repaired.code, 2, "{repaired:?}");
            continue;
        }
        assert_eq!(repaired.code, 0, "{repaired:?}");
        let served = serve(&file);
        let mut drive = client_linux::open(&served.socket()).unwrap();
        let found =
            (0..256u64).filter(|n| drive.read_blocks(*n, 1).unwrap() == block(1000 + n)).count();
        assert!(found >= 255, "{name}: {found} of 256 blocks are there");
    }
    // An entry of the block table is made again.
    let entry = damaged("entry", &[(1 << 20) + 1]);
    let served = serve(&entry);
    let mut drive = client_linux::open(&served.socket()).unwrap();
    for n in 0..256 {
        assert_eq!(drive.read_blocks(n, 1).unwrap(), block(1000 + n));
    }
}

fn a_drive_is_copied_exported_and_imported() {
    let files = Files::new();
    let (file, copy, image) =
        (files.path("flash.csd"), files.path("copy.csd"), files.path("image"));
    {
        let served = serve(&file);
        let mut drive = client_linux::open(&served.socket()).unwrap();
        drive.write_blocks(5, &block(55)).unwrap();
        drive.write_blocks(16_383, &block(99)).unwrap();
        drive.flush().unwrap();
    }
    let cloned = storage(&["clone", &file, &copy]);
    assert_eq!(cloned.code, 0, "{cloned:?}");
    assert_eq!(storage(&["clone", &file, &copy]).code, 2, "it is there already");
    let exported = storage(&["export", &copy, &image, "--json"]);
    assert_eq!(exported.code, 0, "{exported:?}");
    let raw = files.get("image");
    assert_eq!(raw.len(), 64 << 20);
    assert_eq!(raw[5 * BLOCK..6 * BLOCK], block(55));
    assert_eq!(raw[16_383 * BLOCK..], block(99));
    assert_eq!(raw.iter().filter(|byte| **byte != 0).count(), 2 * BLOCK / 8);
    // Back into another one, over what is there.
    std::fs::File::options().write(true).open(&image).unwrap().write_all_at(&block(7), 0).unwrap();
    let imported = storage(&["import", &copy, &image]);
    assert_eq!(imported.code, 0, "{imported:?}");
    let served = serve(&copy);
    let mut drive = client_linux::open(&served.socket()).unwrap();
    assert_eq!(drive.read_blocks(0, 1).unwrap(), block(7));
    assert_eq!(drive.read_blocks(5, 1).unwrap(), block(55));
    drop(drive);
    drop(served);
    // Looking changes nothing.
    let before = files.get("copy.csd");
    let info = storage(&["info", &copy, "--json"]).json();
    assert!(before == files.get("copy.csd"), "info changed the file");
    // What has no end is too long.
    let endless = storage(&["import", &copy, "/dev/zero"]);
    assert!(endless.code == 1 && endless.stderr.contains("longer than"), "{endless:?}");
    assert_eq!(info["namespaces"][0]["bytes"], 64 << 20);
    assert_eq!(info["contents"]["pages"], 3);
    let nowhere = storage(&["export", &copy, &files.path("other"), "--namespace", "7"]);
    assert!(nowhere.code == 2 && nowhere.stderr.contains("has the namespaces 1"), "{nowhere:?}");
}

/// A file system of 24 MiB in a folder; false if this user may not mount one.
fn mount(folder: &str) -> bool {
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs", folder]).output();
    mount.is_ok_and(|output| output.status.success())
}

fn unmount(folder: &str) {
    let unmounted = Command::new("umount").args(["-l", folder]).status();
    assert!(unmounted.is_ok_and(|status| status.success()), "{folder} cannot be unmounted");
}

fn may_mount() -> bool {
    let files = Files::new();
    let folder = files.path(".");
    let may = mount(&folder);
    if may {
        unmount(&folder);
    }
    may
}

fn a_full_disk_fails_writes_and_damages_nothing() {
    let files = Files::new();
    let mount_point = files.path("disk");
    std::fs::create_dir(&mount_point).unwrap();
    assert!(mount(&mount_point), "it could be done before");
    let mount = &mount_point;
    let tried = std::panic::catch_unwind(|| {
        let file = format!("{mount}/flash.csd");
        let mut written = 0;
        {
            let served = serve(&file);
            let mut drive = client_linux::open(&served.socket()).unwrap();
            let first: Vec<u8> = (0..1024).flat_map(block).collect();
            drive.write_blocks(0, &first).unwrap();
            drive.flush().unwrap();
            let failed = loop {
                written += 256;
                let piece: Vec<u8> = (0..256).flat_map(|n| block(written + n)).collect();
                let done = drive.write_blocks(1024 + written, &piece).and_then(|_| drive.flush());
                match done {
                    Err(error) => break error.to_string(),
                    Ok(()) => assert!(written < 14_000, "the disk has no end"),
                }
            };
            assert!(failed.to_lowercase().contains("write fault"), "{failed}");
            assert!(served.log().contains("No space left"), "{}", served.log());
            // It goes on reading, and what was flushed is there.
            for at in (0..1024).step_by(100) {
                assert_eq!(drive.read_blocks(at, 1).unwrap(), block(at));
            }
        }
        let checked = storage(&["check", &file]);
        assert_eq!(checked.code, 0, "{checked:?}");
        let served = serve(&file);
        let mut drive = client_linux::open(&served.socket()).unwrap();
        for at in 0..1024 {
            assert_eq!(drive.read_blocks(at, 1).unwrap(), block(at));
        }
    });
    unmount(mount);
    tried.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
}
