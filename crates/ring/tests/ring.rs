//! What a drive writes is what readers get, or is counted as lost.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use records::{CommandRecord, DieRecord, Records};
use ring::{Error, Kind, Reader, Wanted, Writer, path_of};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn commands(range: std::ops::Range<u64>) -> Records {
    let record = |id: u64| CommandRecord {
        id,
        fetched_ns: id.wrapping_mul(3),
        stages_ns: [id; 7],
        ..CommandRecord::default()
    };
    Records { commands: range.map(record).collect(), ..Records::default() }
}

#[test]
fn readers_get_what_came_since_they_opened() {
    let folder = folder();
    let path = folder.path().join("ring");
    let mut writer = Writer::create(&path, Wanted::ALL).unwrap();
    writer.put(&commands(0..5));
    let mut early = Reader::open(&path).unwrap();
    writer.put(&commands(5..9));
    let mut late = Reader::open(&path).unwrap();
    let dies = vec![DieRecord { die: 3, ..DieRecord::default() }; 2];
    writer.put(&Records { dies, ..Records::default() });
    let batch = early.read();
    assert_eq!((batch.records.commands, batch.lost), (commands(5..9).commands, [0; Kind::COUNT]));
    assert_eq!(batch.records.dies.len(), 2);
    let batch = late.read();
    assert_eq!((batch.records.commands.len(), batch.records.dies.len()), (0, 2));
    assert_eq!(early.read(), ring::Batch::default(), "nothing comes twice");
    assert!(!early.is_closed());
    drop(writer);
    assert!(early.is_closed() && !path.exists());
}

#[test]
fn what_is_overwritten_is_counted_by_each_reader() {
    let folder = folder();
    let path = folder.path().join("ring");
    let mut writer = Writer::create(&path, Wanted::default().with(Kind::Commands)).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert!(reader.has(Kind::Commands) && !reader.has(Kind::Jobs));
    let places = 1 << 17;
    for round in 0..3 {
        writer.put(&commands(round * places..(round + 1) * places));
    }
    let mut other = Reader::open(&path).unwrap();
    writer.put(&commands(3 * places..3 * places + 10));
    let batch = reader.read();
    assert_eq!(batch.lost[0], 2 * places + 10);
    assert_eq!(batch.records.commands.first().unwrap().id, 2 * places + 10);
    assert_eq!(batch.records.commands.len() as u64, places);
    let batch = other.read();
    assert_eq!((batch.lost[0], batch.records.commands.len()), (0, 10));
    // More at once than there are places.
    writer.put(&commands(0..5 * places));
    let batch = other.read();
    assert_eq!((batch.lost[0], batch.records.commands.len() as u64), (4 * places, places));
}

/// A reader beside a writer that is faster: every record that it gets is whole and in order, and all others are counted.
#[test]
fn no_record_is_torn_and_none_is_uncounted() {
    let folder = folder();
    let path = folder.path().join("ring");
    let mut writer = Writer::create(&path, Wanted::default().with(Kind::Commands)).unwrap();
    let mut readers: Vec<Reader> = (0..2).map(|_| Reader::open(&path).unwrap()).collect();
    let total = 2_000_000u64;
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let check = |reader: &mut Reader, pause: bool| {
            let (mut next, mut got, mut lost) = (0, 0, 0);
            loop {
                let was_done = is_done.load(Ordering::Acquire);
                let batch = reader.read();
                lost += batch.lost[0];
                next += batch.lost[0];
                for record in &batch.records.commands {
                    assert_eq!(record.id, next, "in order, the lost ones before");
                    assert!(record.stages_ns == [next; 7] && record.fetched_ns == 3 * next);
                    next += 1;
                }
                got += batch.records.commands.len() as u64;
                if was_done {
                    break;
                }
                if pause {
                    std::thread::sleep(std::time::Duration::from_millis(30));
                }
            }
            assert_eq!(got + lost, total);
        };
        for (n, reader) in readers.iter_mut().enumerate() {
            scope.spawn(move || check(reader, n == 1));
        }
        let mut at = 0;
        while at < total {
            let end = (at + 1 + at % 997).min(total);
            writer.put(&commands(at..end));
            at = end;
        }
        is_done.store(true, Ordering::Release);
    });
}

#[test]
fn rings_of_living_drives_are_not_taken_and_others_are() {
    let folder = folder();
    let path = folder.path().join("ring");
    let first = Writer::create(&path, Wanted::ALL).unwrap();
    let error = Writer::create(&path, Wanted::ALL).unwrap_err();
    assert!(
        matches!(error, Error::InUse { process, .. } if process == std::process::id()),
        "{error}"
    );
    // A process that is gone left it.
    std::mem::forget(first);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[24..32].copy_from_slice(&u64::from(u32::MAX - 5).to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let old = Reader::open(&path).unwrap();
    assert!(old.is_closed());
    let second = Writer::create(&path, Wanted::ALL).unwrap();
    assert_ne!(Reader::open(&path).unwrap().generation(), old.generation());
    drop(second);
}

#[test]
fn files_that_are_no_rings_are_refused() {
    let folder = folder();
    let path = folder.path().join("ring");
    let refused = |bytes: &[u8], mode: u32, says: &str| {
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Reader::open(&path).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} has no {says:?}");
    };
    assert!(Reader::open(&PathBuf::from("/dev/shm/csdrive-nowhere")).is_err());
    refused(b"", 0o600, "no ring");
    refused(&[0; 8192], 0o600, "no ring");
    let sound = {
        let own = folder.path().join("sound");
        let writer = Writer::create(&own, Wanted::ALL).unwrap();
        let bytes = std::fs::read(writer.path()).unwrap();
        drop(writer);
        bytes
    };
    refused(&sound, 0o666, "only its owner");
    refused(&sound[..4096], 0o600, "not where they can be");
    let changed = |word: usize, value: u64| {
        let mut bytes = sound.clone();
        bytes[8 * word..8 * word + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    refused(&changed(1, 99), 0o600, "version");
    for (word, value) in [(8, 77), (9, 3), (9, 1 << 62), (10, 0), (10, u64::MAX), (10, 4097)] {
        refused(&changed(word, value), 0o600, "not where they can be");
    }
    // Numbers that make no sense are read as nothing, or as lost.
    for (word, value) in [(11, u64::MAX), (12, u64::MAX), (11, 5)] {
        std::fs::write(&path, changed(word, value)).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        reader.read();
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(Reader::open(&path).is_err());
}

#[test]
fn names_are_files_of_the_folder() {
    assert_eq!(path_of("CSDRIVE0001"), PathBuf::from("/dev/shm/csdrive-CSDRIVE0001"));
    assert_eq!(path_of("../a b"), PathBuf::from("/dev/shm/csdrive-..%2Fa%20b"));
}

/// The folder is everybody's: what is no file of this user's keeps nobody waiting.
#[test]
fn pipes_and_links_at_the_place_of_a_ring_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let target = folder.path().join("target");
    std::fs::write(&target, vec![0; 8192]).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for path in [&pipe, &link] {
        assert!(Reader::open(path).is_err());
        // A drive takes the place, and the target of a link is as it was.
        drop(Writer::create(path, Wanted::ALL).unwrap());
    }
    assert_eq!(std::fs::read(&target).unwrap(), vec![0; 8192]);
}
