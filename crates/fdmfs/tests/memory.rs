//! Random operations on files in device memory against vectors: what fsx does, on the files themselves.
//!
//! `OPERATIONS=n` sets how many, `SEED=s` where to begin.

use controller::Config;
use fdmfs::{FileError, FileId, MemoryFiles};
use simtime::Prng;

/// Bytes of device memory: little, so that it is full at times and files must move.
const MEMORY: u64 = 256 << 10;

/// Files at a time.
const FILES: u64 = 5;

struct Model {
    files: Vec<(FileId, Vec<u8>)>,
    random: Prng,
    /// Operations that there was no room for.
    refused: u64,
}

impl Model {
    fn pick(&mut self) -> usize {
        self.random.below(self.files.len() as u64) as usize
    }

    /// An offset in a file, or a little beyond.
    fn offset(&mut self, n: usize) -> u64 {
        let len = self.files[n].1.len() as u64;
        self.random.below(len + 1 + len / 8 + 16)
    }

    fn len(&mut self) -> u64 {
        let most = [8, 4096, 70_000][self.random.below(3) as usize];
        self.random.below(most)
    }

    /// True if it was done; there may be no room.
    fn done(&mut self, result: Result<(), FileError>) -> bool {
        match result {
            Ok(()) => true,
            Err(FileError::NoSpace { .. }) => {
                self.refused += 1;
                false
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn write_into(contents: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (offset, end) = (offset as usize, offset as usize + data.len());
    if data.is_empty() {
        return;
    }
    contents.resize(contents.len().max(end), 0);
    contents[offset..end].copy_from_slice(data);
}

#[test]
fn files_are_what_was_written() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let operations: u64 = number("OPERATIONS").unwrap_or(30_000);
    let seed: u64 = number("SEED").unwrap_or(1);
    let config = Config { memory_bytes: MEMORY, ..Config::default() };
    let mut store = MemoryFiles::new(simulator::open(config, 0, 64).unwrap());
    let mut model = Model { files: Vec::new(), random: Prng::new(seed), refused: 0 };
    for operation in 0..operations {
        if model.files.is_empty()
            || (model.files.len() as u64) < FILES && model.random.below(50) == 0
        {
            model.files.push((store.create(), Vec::new()));
        }
        let n = model.pick();
        let (offset, len) = (model.offset(n), model.len());
        let id = model.files[n].0;
        match model.random.below(10) {
            0..=3 => {
                let mut data = vec![0; len as usize];
                model.random.fill(&mut data);
                let result = store.write(id, offset, &data);
                if model.done(result) {
                    write_into(&mut model.files[n].1, offset, &data);
                }
            }
            4 | 5 => {
                let bytes = store.read(id, offset, len).unwrap();
                let contents = &model.files[n].1;
                let from = (offset as usize).min(contents.len());
                let to = (from + len as usize).min(contents.len());
                assert!(bytes == contents[from..to], "seed {seed}, operation {operation}");
            }
            6 => {
                let result = store.truncate(id, offset);
                if model.done(result) {
                    model.files[n].1.resize(offset as usize, 0);
                }
            }
            7 => {
                let other = model.pick();
                let to_offset = model.offset(other);
                let (to, source) = (model.files[other].0, model.files[n].1.clone());
                match store.copy((id, offset), (to, to_offset), len) {
                    Ok((copied, _)) => {
                        let from = (offset as usize).min(source.len());
                        let end = (from + len as usize).min(source.len());
                        assert_eq!(copied, (end - from) as u64);
                        write_into(&mut model.files[other].1, to_offset, &source[from..end]);
                    }
                    error => drop(model.done(error.map(drop))),
                }
            }
            8 => {
                store.punch(id, offset, len).unwrap();
                let contents = &mut model.files[n].1;
                let from = (offset as usize).min(contents.len());
                let to = (from + len as usize).min(contents.len());
                contents[from..to].fill(0);
            }
            _ if model.random.below(10) == 0 => {
                store.remove(id);
                model.files.swap_remove(n);
                assert!(store.read(id, 0, 1).is_err());
            }
            _ => {
                let result = store.reserve(id, offset + len);
                model.done(result);
                store.trim(id);
            }
        }
    }
    for (id, contents) in &model.files {
        assert_eq!(store.place(*id).unwrap().size, contents.len() as u64);
        assert!(store.read(*id, 0, u64::MAX).unwrap() == *contents, "seed {seed}");
        store.remove(*id);
    }
    assert_eq!(store.capacity(), (MEMORY, MEMORY), "all of it is free again");
    assert!(model.refused > operations / 1000, "memory was never full: {}", model.refused);
}
