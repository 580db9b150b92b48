//! `csdrive crashtest` on histories that are made here: what is right, wrong and hostile.

#[path = "harness/lib.rs"]
mod harness;

use std::path::Path;

use harness::csdrive;
use history::{Change, Event, Range, What, Writer};
use serde_json::Value;

const BLOCK: u64 = 4096;

fn write(id: u64, block: u64, byte: u8) -> Event {
    let ranges = vec![Range { start: block * BLOCK, len: BLOCK }];
    let bytes = Some(vec![byte; BLOCK as usize]);
    let change = Change::Write { nsid: 1, ranges, bytes, is_durable: false };
    Event { at_ns: id * 1000, what: What::Begin { id, change } }
}

fn end(id: u64) -> Event {
    Event { at_ns: id * 1000 + 500, what: What::End { id, is_success: true } }
}

fn flush(id: u64) -> Event {
    Event { at_ns: id * 1000, what: What::Begin { id, change: Change::Flush { nsid: 1 } } }
}

fn mark(text: &str) -> Event {
    Event { at_ns: 9000, what: What::Mark(text.to_owned()) }
}

fn namespace() -> Event {
    let what = What::Namespace { nsid: 1, bytes: 64 * BLOCK, block_bytes: 512, atomic_bytes: 4096 };
    Event { at_ns: 0, what }
}

fn save(folder: &Path, events: &[Event]) -> String {
    let path = folder.join("history");
    let _ = std::fs::remove_file(&path);
    let mut writer = Writer::create(&path).unwrap();
    events.iter().for_each(|event| writer.put(event).unwrap());
    writer.flush().unwrap();
    path.display().to_string()
}

/// Changes an image.
type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Two blocks and a flush; the second must not be there without the first.
fn two_blocks() -> Vec<Event> {
    vec![
        namespace(),
        write(1, 0, b'a'),
        end(1),
        write(2, 1, b'b'),
        end(2),
        flush(3),
        end(3),
        mark("both"),
    ]
}

const CHECK: &str = r#"
    first=$(head -c 1 $CSDRIVE_IMAGE | tr -d '\0'); second=$(tail -c +4097 $CSDRIVE_IMAGE | head -c 1 | tr -d '\0')
    echo spoilt > $CSDRIVE_IMAGE
    [ -z "$second" ] || [ -n "$first" ] || { echo "second without first"; exit 3; }"#;

#[test]
fn a_failure_is_small_told_and_can_be_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    let history = save(folder.path(), &two_blocks());
    let saved = folder.path().join("saved");
    let saved = saved.to_str().unwrap();
    let ran = csdrive(&[
        "crashtest",
        "--workload",
        &history,
        "--check",
        CHECK,
        "--json",
        "--save",
        saved,
    ]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let failure = &document["failures"][0];
    assert_eq!(failure["why"], "exit code 3: second without first");
    assert_eq!(failure["pending"][0]["lost"][0]["bytes"], 4096);
    assert_eq!(failure["pending"][1]["kept"][0]["start"], 4096);
    let image = std::fs::read(saved).unwrap();
    assert_eq!((image[0], image[4096], image.len()), (0, b'b', 64 * 4096));
    let state = failure["state"].as_str().unwrap();
    let again = csdrive(&["crashtest", "--workload", &history, "--check", CHECK, "--state", state]);
    assert!(again.code == 1 && again.stdout.contains("second without first"), "{}", again.stdout);
    // With blocks of half a page, half of it may be lost; after the mark nothing is.
    let ran = csdrive(&[
        "crashtest",
        "--workload",
        &history,
        "--check",
        "true",
        "--atomic",
        "512",
        "--json",
    ]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, document["moments_complete"].as_u64()), (0, Some(1)), "{document}");
    assert!(
        document["states"].as_u64().unwrap() > 5000,
        "2^16 states are searched in part: {document}"
    );
    let ran = csdrive(&["crashtest", "--workload", &history, "--check", CHECK, "--after", "both"]);
    assert!(ran.code == 0 && ran.stdout.contains("no state fails"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn what_a_drive_left_is_compared_with_what_it_may_leave() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = two_blocks();
    events.push(write(4, 0, b'c'));
    let history = save(folder.path(), &events);
    let image = folder.path().join("image");
    let looked_at = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = vec![0; 64 * 4096];
        bytes[..4096].fill(b'a');
        bytes[4096..8192].fill(b'b');
        change(&mut bytes);
        std::fs::write(&image, bytes).unwrap();
        csdrive(&["crashtest", "--workload", &history, "--image", image.to_str().unwrap()])
    };
    assert_eq!(looked_at(&|_| {}).code, 0);
    assert_eq!(looked_at(&|bytes| bytes[..4096].fill(b'c')).code, 0);
    let wrong: [(&str, Damage<'_>); 4] = [
        ("4096 bytes at 0: nobody wrote this", &|bytes| bytes[7] = b'x'),
        ("512 bytes at 0: what was durable is gone", &|bytes| bytes[..512].fill(b'c')),
        ("512 bytes at 4096: what was durable is gone", &|bytes| bytes[4096..8192].fill(0)),
        ("512 bytes at 8192: it is there only in part, or of another place", &|bytes| {
            bytes[8192..12288].fill(b'a');
        }),
    ];
    for (text, change) in wrong {
        let ran = looked_at(change);
        assert!(ran.code == 1 && ran.stdout.contains(text), "{text}: {}", ran.stdout);
    }
    let ran = looked_at(&|bytes| bytes.truncate(4096));
    assert!(ran.code == 2 && ran.stderr.contains("give all of them"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |events: &[Event], arguments: &[&str], text: &str| {
        let history = save(folder.path(), events);
        let mut all = vec!["crashtest", "--workload", &history];
        all.extend(arguments);
        let ran = csdrive(&all);
        assert!(ran.code == 2 && ran.stderr.contains(text), "{text}: {} {}", ran.code, ran.stderr);
    };
    let check = ["--check", "true"];
    let good = two_blocks();
    refused(&[], &check, "has no namespace of blocks");
    refused(&good, &["--check", "true", "--nsid", "7"], "with NSID 7");
    refused(&good, &["--check", "true", "--atomic", "100"], "multiple of a block");
    refused(&good, &["--check", "true", "--after", "neither"], "these are there: both");
    refused(&good, &["--check", "false"], "where nothing was lost");
    refused(&good, &["--check", "sleep 60", "--timeout", "100ms"], "did not end within 100ms");
    refused(&good, &["--check", "true", "--state", "1:99"], "names no state");
    refused(&good, &["--save", "x"], "give --state");
    refused(&good, &[], "--check");
    let mut outside = good.clone();
    outside.insert(1, write(9, 64, b'x'));
    refused(&outside, &check, "no blocks of the namespace");
    let odd = What::Namespace { nsid: 1, bytes: 5, block_bytes: 4, atomic_bytes: 0 };
    refused(&[Event { at_ns: 0, what: odd }], &check, "512 or 4096");
    let history = save(folder.path(), &good);
    let mut bytes = std::fs::read(&history).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&history, &bytes).unwrap();
    let ran = csdrive(&["crashtest", "--workload", &history, "--check", "true"]);
    assert!(ran.code == 2 && ran.stderr.contains("is damaged"), "{}", ran.stderr);
    let ran = csdrive(&["crashtest", "--workload", "/dev/null", "--check", "true"]);
    assert!(ran.code == 2 && ran.stderr.contains("csdrive serve --history"), "{}", ran.stderr);
    // The end of a history that was cut off is told, and the rest is searched.
    bytes[60] ^= 1;
    bytes.truncate(bytes.len() - 3);
    std::fs::write(&history, &bytes).unwrap();
    let ran = csdrive(&["crashtest", "--workload", &history, "--check", "true"]);
    assert!(ran.code == 0 && ran.stderr.contains("half an event"), "{}", ran.stderr);
}

/// A check may change the image, put another in its place, leave processes behind: each state is what it is.
#[test]
fn whatever_a_check_does_to_its_image_the_next_state_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let history = save(folder.path(), &two_blocks());
    let look = |before: &str, after: &str| {
        let check = format!("{before}\n{CHECK}\n");
        let check = check.replace("echo spoilt > $CSDRIVE_IMAGE", after);
        let ran = csdrive(&["crashtest", "--workload", &history, "--check", &check, "--jobs", "1"]);
        assert!(ran.code == 1, "{before} {after}: {} {}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("second without first"), "{}", ran.stdout);
    };
    look("cp -p $CSDRIVE_IMAGE $CSDRIVE_IMAGE.old", "mv $CSDRIVE_IMAGE.old $CSDRIVE_IMAGE");
    look(
        "cp -p $CSDRIVE_IMAGE old",
        "cat old > $CSDRIVE_IMAGE; touch -r old $CSDRIVE_IMAGE; rm old",
    );
    look("", "rm $CSDRIVE_IMAGE");
    look("", ": > $CSDRIVE_IMAGE");
    look("", "(sleep 30; echo late > $CSDRIVE_IMAGE) &");
    look("", ":");
}

/// What was started ends with the command, and no folder is left, also if it is interrupted.
#[test]
fn an_interrupted_search_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let history = save(folder.path(), &two_blocks());
    let places = folder.path().join("places");
    std::fs::create_dir(&places).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(["crashtest", "--workload", &history, "--check", "touch $PLACES/begun; sleep 60"])
        .env("TMPDIR", &places)
        .env("PLACES", &places)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !places.join("begun").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    std::fs::remove_file(places.join("begun")).unwrap();
    let left: Vec<_> = std::fs::read_dir(&places).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
