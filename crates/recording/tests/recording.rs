//! What is written is read; what is damaged is refused.

use std::fs;
use std::path::{Path, PathBuf};

use recording::{Drive, Provenance, Recorder, Recording};
use records::{Kind, Records};

/// Records of every kind whose bytes are all different.
fn records(count: usize, seed: u64) -> Records {
    let mut records = Records::default();
    for kind in Kind::ALL {
        let layout = kind.layout();
        let mut bytes = vec![0u8; layout.bytes * count];
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for field in layout.fields.iter().filter(|field| field.name != "reserved") {
            for record in bytes.chunks_exact_mut(layout.bytes) {
                let len = field.element_bytes * field.count.unwrap_or(1);
                for byte in &mut record[field.offset..field.offset + len] {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    *byte = state as u8;
                }
            }
        }
        records.extend_from_bytes(kind, &bytes);
    }
    records
}

fn drives(count: usize) -> Provenance {
    let drive = |n| Drive { serial: format!("CSDRIVE{n:04}"), ..Default::default() };
    Provenance { drives: (0..count).map(drive).collect(), seed: 7, ..Default::default() }
}

fn write(folder: &Path, parts: &[(u32, Records)]) {
    let mut recorder = Recorder::create(folder).unwrap();
    for (drive, records) in parts {
        recorder.put(*drive, records).unwrap();
    }
    recorder.finish(drives(2)).unwrap();
}

fn read(folder: &Path) -> Result<[Records; 2], recording::Error> {
    let mut all = [Records::default(), Records::default()];
    Recording::open(folder)?.read(&mut |drive, records| all[drive].append(&mut records.clone()))?;
    Ok(all)
}

#[test]
fn what_is_written_is_read_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    // More than is written at a time, drives in turn.
    let parts: Vec<(u32, Records)> =
        (0..6).map(|n| (n % 2, records(40_000, u64::from(n) + 1))).collect();
    write(&path, &parts);
    let all = read(&path).unwrap();
    for (number, all) in all.iter().enumerate() {
        let mut expected = Records::default();
        for (_, records) in parts.iter().filter(|(drive, _)| *drive as usize == number) {
            expected.append(&mut records.clone());
        }
        for kind in Kind::ALL {
            assert!(all.bytes(kind) == expected.bytes(kind), "{} of {number}", kind.name());
        }
    }
    let about = Recording::open(&path.join("record.json")).unwrap();
    assert_eq!(about.provenance().records["commands"], 240_000);
    assert_eq!(about.provenance().seed, 7);
}

#[test]
fn a_folder_with_something_in_it_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "everything").unwrap();
    let error = Recorder::create(folder.path()).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
}

#[test]
fn a_run_that_was_not_finished_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(Recorder::create(&path).unwrap());
    let error = Recording::open(&path).unwrap_err().to_string();
    assert!(error.contains("not finished"), "{error}");
}

#[test]
fn other_versions_and_other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    write(&path, &[(0, records(10, 1))]);
    let document = path.join("record.json");
    let text = fs::read_to_string(&document).unwrap();
    for (from, to, says) in [
        ("\"format_version\": 1", "\"format_version\": 9", "format 9"),
        ("\"seed\": 7", "\"seed\": seven", "record.json"),
    ] {
        fs::write(&document, text.replace(from, to)).unwrap();
        let error = Recording::open(&path).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // A drive that the document does not have.
    fs::write(&document, text.replace("\"serial\": \"CSDRIVE0001\"", "\"serial\": \"\"")).unwrap();
    read(&path).unwrap();
    let fewer: serde_json::Value = {
        let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["drives"] = serde_json::json!([]);
        document
    };
    fs::write(&document, fewer.to_string()).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("drive 0: the run has 0"));
    fs::write(&document, &text).unwrap();
    // Another kind's file.
    fs::copy(path.join("units.parquet"), path.join("jobs.parquet")).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("checksum"));
}

/// Whatever is in a file: it is refused, also if its checksum is right, and nothing panics.
#[test]
fn damage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("run");
    write(&path, &[(0, records(300, 1)), (1, records(300, 2))]);
    let (file, document) = (path.join("units.parquet"), path.join("record.json"));
    let sound = fs::read(&file).unwrap();
    let text = fs::read_to_string(&document).unwrap();
    let right = format!("{:08x}", crc32c::crc32c(&sound));
    assert!(text.contains(&right));
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut state = 1u64;
    let mut refused = 0;
    for n in 0..2000usize {
        let mut bytes = sound.clone();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // The description of the file is at its end.
        let at = match n % 2 {
            0 => (state >> 33) as usize % bytes.len(),
            _ => bytes.len() - 1 - (state >> 33) as usize % (bytes.len() / 3),
        };
        match n % 5 {
            0 => bytes.truncate(at),
            1 => bytes[at] = !bytes[at],
            _ => bytes[at] ^= 1 << (state >> 61),
        }
        fs::write(&file, &bytes).unwrap();
        fs::write(&document, &text).unwrap();
        let read = |path: &Path| Recording::open(path)?.read_kind(Kind::Units, &mut |_, _| {});
        assert!(read(&path).unwrap_err().to_string().contains("checksum"));
        fs::write(&document, text.replace(&right, &format!("{:08x}", crc32c::crc32c(&bytes))))
            .unwrap();
        refused += usize::from(read(&path).is_err());
    }
    std::panic::set_hook(quiet);
    assert!(refused > 300, "{refused}");
}
