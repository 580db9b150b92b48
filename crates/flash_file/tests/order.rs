//! In which order the store writes: ends of the machine between any two of its steps, and disks that fail.

mod forgetful;

use flash_file::FileStore;
use simtime::Prng;
use ssd::{Config, Discarded, Geometry, Lpn, MediaError, Oob, Page, Ppa, Store, SyncPolicy};

use forgetful::ForgetfulDisk;

struct Test {
    geometry: Geometry,
    disk: ForgetfulDisk,
    store: FileStore,
}

impl Test {
    fn new() -> Self {
        let config = Config {
            capacity_bytes: 1 << 20,
            channels: 1,
            dies_per_channel: 1,
            planes_per_die: 1,
            pages_per_block: 8,
            ..Config::default()
        };
        let geometry = Geometry::new(&config).unwrap();
        let disk = ForgetfulDisk::new(FileStore::disk_bytes(&geometry));
        let new = Box::new(disk.clone());
        let store = FileStore::over(new, &geometry, SyncPolicy::Flush, true).unwrap();
        disk.settle();
        Self { geometry, disk, store }
    }

    fn at(&self, block: u32, page: u32) -> Ppa {
        self.geometry.page(self.geometry.block(0, block), page)
    }

    fn program(&mut self, (block, page): (u32, u32), lpn: u64, version: u64) {
        let bytes = Page::from(vec![version as u8; 4096]);
        let oob = Oob::new(Lpn(lpn), version, &bytes);
        self.store.program(self.at(block, page), bytes, oob).unwrap();
    }

    fn flush(&mut self) -> Result<(), MediaError> {
        let mut work = self.store.begin_sync();
        while let Some(sync) = work {
            work = self.store.end_sync(sync.run())?;
        }
        Ok(())
    }

    /// The machine ends, and the file is opened again.
    fn end(mut self, prng: &mut Prng) -> Self {
        self.disk.end_process();
        drop(self.store);
        self.disk.forget(prng);
        let again = Box::new(self.disk.clone());
        self.store = FileStore::over(again, &self.geometry, SyncPolicy::Flush, false).unwrap();
        self
    }

    /// Logical pages that a drive finds, with their newest versions.
    fn found(&self) -> std::collections::BTreeMap<u64, u64> {
        let mut found = std::collections::BTreeMap::new();
        for used in self.store.used_blocks() {
            self.store.scan(&self.geometry, used, &mut |_, oob, _| {
                let newest = found.entry(oob.lpn.0).or_insert(oob.version);
                *newest = oob.version.max(*newest);
            });
        }
        found
    }
}

#[test]
fn what_the_drive_remembers_is_what_was_flushed_or_newer() {
    // Longer than a sector, and different all over.
    let own = |n: u8| vec![n; 2000];
    for seed in 0..300 {
        let mut prng = Prng::new(seed);
        let mut test = Test::new();
        test.store.save(&own(1)).unwrap();
        test.flush().unwrap();
        test.store.save(&own(2)).unwrap();
        test.flush().unwrap();
        let newest = 2 + prng.below(4) as u8;
        for n in 3..=newest {
            // Also while a sync is under way.
            let work = if prng.below(2) == 0 {
                test.program((0, u32::from(n)), 1, n.into());
                test.store.begin_sync()
            } else {
                None
            };
            let work = work.map(|work| work.run());
            test.store.save(&own(n)).unwrap();
            if let Some(result) = work {
                test.store.end_sync(result).unwrap();
            }
        }
        let test = test.end(&mut prng);
        let found = test.store.saved().unwrap();
        assert!((2..=newest).any(|n| found == own(n)), "seed {seed}: {:?}", found.first());
    }
}

#[test]
fn deallocated_pages_stay_so_if_a_save_syncs_while_a_flush_waits() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut test = Test::new();
        (0..8).for_each(|page| test.program((0, page), page.into(), 1 + u64::from(page)));
        test.flush().unwrap();
        test.store.discard(test.at(0, 3), Discarded::Deallocated);
        test.program((1, 0), 50, 20);
        // A second save syncs by itself, after the first one.
        let work = test.store.begin_sync().unwrap();
        test.store.save(&[1; 100]).unwrap();
        test.store.save(&[2; 100]).unwrap();
        let mut work = test.store.end_sync(work.run()).unwrap();
        while let Some(sync) = work {
            work = test.store.end_sync(sync.run()).unwrap();
        }
        let test = test.end(&mut prng);
        assert!(!test.found().contains_key(&3), "seed {seed}: page 3 is back");
        assert_eq!(test.found()[&50], 20);
    }
}

#[test]
fn after_a_failed_sync_nothing_is_erased_for_what_may_be_lost() {
    for seed in 0..100 {
        let mut prng = Prng::new(seed);
        let mut test = Test::new();
        (0..8).for_each(|page| test.program((0, page), page.into(), 1));
        test.flush().unwrap();
        // Newer versions elsewhere; the old block is to be erased.
        (0..8).for_each(|page| test.program((1, page), page.into(), 2));
        (0..8).for_each(|page| drop(test.store.discard(test.at(0, page), Discarded::Superseded)));
        test.store.erase(test.geometry.block(0, 0));
        test.disk.fail_sync();
        assert_eq!(test.flush(), Err(MediaError::NotDurable));
        // It stays so, whatever is tried.
        assert_eq!(test.flush(), Err(MediaError::NotDurable));
        assert!(test.store.sync_now().is_err() && test.store.save(&[1]).is_err());
        let bytes = Page::from(vec![3; 4096]);
        let oob = Oob::new(Lpn(0), 3, &bytes);
        assert!(test.store.program(test.at(0, 0), bytes, oob).is_err());
        let test = test.end(&mut prng);
        let found = test.found();
        assert_eq!(found.len(), 8, "seed {seed}: {found:?}");
    }
}

#[test]
fn a_write_that_fails_is_done_by_the_next_flush() {
    for failing in 0..12 {
        let mut test = Test::new();
        (0..8).for_each(|page| test.program((0, page), page.into(), 1));
        (0..8).for_each(|page| test.program((1, page), (10 + page).into(), 1));
        test.flush().unwrap();
        (0..8).for_each(|page| drop(test.store.discard(test.at(0, page), Discarded::Deallocated)));
        test.store.erase(test.geometry.block(0, 0));
        test.store.discard(test.at(1, 2), Discarded::Deallocated);
        test.disk.fail_write_after(Some(failing));
        let is_done = test.flush().is_ok();
        test.disk.fail_write_after(None);
        if !is_done {
            test.flush().unwrap();
        }
        // The block is used again, with an empty page.
        let bytes = Page::from(vec![0; 4096]);
        let oob = Oob::new(Lpn(77), 9, &bytes);
        test.store.program(test.at(0, 0), bytes, oob).unwrap();
        test.flush().unwrap();
        let test = test.end(&mut Prng::new(failing.into()));
        let mut expected: Vec<u64> = (10..18).filter(|lpn| *lpn != 12).collect();
        expected.push(77);
        assert_eq!(test.found().into_keys().collect::<Vec<_>>(), expected, "write {failing}");
        let mut sum = 1;
        test.store
            .read(test.at(0, 0), &mut |page| sum = page.bytes.iter().map(|b| u64::from(*b)).sum())
            .unwrap();
        assert_eq!(sum, 0, "write {failing}");
    }
}

/// What is in a page: one of each block is not empty.
fn value(round: u64, page: u64) -> u8 {
    if page == 3 { round as u8 } else { 0 }
}

/// What a drive does again and again on persistent memory, until the machine ends: it writes all pages anew, and erases what held
/// them. Returns how often all were written, and whether the machine ended.
fn rewrite(test: &mut Test, rounds: u64) -> (u64, bool) {
    let geometry = test.geometry;
    for round in 1..=rounds {
        let (block, old) = ((round % 3) as u32, ((round + 2) % 3) as u32);
        for page in 0..8 {
            let bytes = Page::from(vec![value(round, page.into()); 4096]);
            let oob = Oob::new(Lpn(page.into()), round * 8 + u64::from(page), &bytes);
            if test
                .store
                .program(geometry.page(geometry.block(0, block), page), bytes, oob)
                .is_err()
            {
                return (round - 1, true);
            }
            test.store.discard(geometry.page(geometry.block(0, old), page), Discarded::Superseded);
        }
        test.store.erase(geometry.block(0, old));
        let is_saved = test.store.save(&[round as u8; 100]).is_ok();
        if !is_saved || test.flush().is_err() || test.disk.words_left() == 0 {
            return (round, true);
        }
    }
    (rounds, false)
}

#[test]
fn persistent_memory_may_end_at_any_word() {
    let new = |words| {
        let mut test = Test::new();
        test.disk.end_after_words(words);
        let again = Box::new(test.disk.clone());
        test.store = FileStore::over(again, &test.geometry, SyncPolicy::Flush, false).unwrap();
        test
    };
    let mut ended = 0;
    let whole = {
        let mut test = new(1 << 40);
        rewrite(&mut test, 7);
        (1 << 40) - test.disk.words_left()
    };
    for count in 0..whole {
        let mut test = new(count);
        let (rounds, has_ended) = rewrite(&mut test, 7);
        ended += u64::from(has_ended);
        test.disk.end_process();
        drop(test.store);
        test.disk.end_after_words(1 << 40);
        let again = Box::new(test.disk.clone());
        let opened = FileStore::over(again, &test.geometry, SyncPolicy::Flush, false);
        test.store = opened.unwrap_or_else(|why| panic!("after {count} words: {why}"));
        while let Some(note) = test.store.take_note() {
            assert!(!note.contains("damaged"), "after {count} words: {note}");
        }
        // Every page that was written is there, as it was written last or as the program that did not end would have it.
        let found = test.found();
        for page in 0..if rounds == 0 { 0 } else { 8 } {
            let version = found.get(&page).copied().unwrap_or(0);
            assert!(version >= rounds * 8 + page, "after {count} words: {page} has {version}");
        }
        for used in test.store.used_blocks() {
            test.store.scan(&test.geometry, used, &mut |ppa, oob, _| {
                let value = value(oob.version / 8, oob.lpn.0);
                let check = &mut |page: ssd::StoredPage<'_>| {
                    assert_eq!(page.bytes, [value; 4096], "after {count} words: {oob:?}");
                };
                test.store.read(ppa, check).unwrap();
            });
            let programs = found.values().max().map_or(0, |version| version / 8);
            assert!(u64::from(used.erases) <= programs.div_ceil(3), "{used:?} after {count} words");
            let all = (programs.saturating_sub(2)) / 3;
            assert!(u64::from(used.erases) >= all, "{used:?} after {count} words, {programs}");
        }
        let saved = test.store.saved().map_or(0, |own| u64::from(own[0]));
        assert!(saved == rounds || saved + 1 == rounds || saved == rounds + 1, "{saved} {rounds}");
        // It can be used again.
        rewrite(&mut test, 1);
    }
    assert!(ended > 4000, "{ended}");
}

#[test]
fn a_page_that_was_known_to_be_unreadable_stays_so() {
    for seed in 0..50 {
        let mut prng = Prng::new(seed);
        let mut test = Test::new();
        let bytes = Page::from(vec![7; 4096]);
        let oob = Oob { checksum: 1, ..Oob::new(Lpn(5), 4, &bytes) };
        test.store.program(test.at(0, 0), bytes, oob).unwrap();
        test.store.relocate(test.at(0, 0), test.at(1, 0)).unwrap();
        test.flush().unwrap();
        let test = test.end(&mut prng);
        // It is found, and cannot be read: it does not become a page that was never written.
        assert_eq!(test.found()[&5], 4, "seed {seed}");
        assert!(test.store.read(test.at(1, 0), &mut |_| ()).is_err());
    }
}

#[test]
fn a_page_that_is_deallocated_is_whole_or_gone() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut test = Test::new();
        (0..8).for_each(|page| test.program((0, page), page.into(), 1 + u64::from(page)));
        test.flush().unwrap();
        (0..8).for_each(|page| drop(test.store.discard(test.at(0, page), Discarded::Deallocated)));
        if seed % 2 == 0 {
            test.store.erase(test.geometry.block(0, 0));
        }
        // The marks are written, and not durable yet.
        let work = test.store.begin_sync().unwrap();
        assert!(test.store.end_sync(work.run()).unwrap().is_some());
        let test = test.end(&mut prng);
        for used in test.store.used_blocks() {
            test.store.scan(&test.geometry, used, &mut |ppa, oob, _| {
                let mut is_whole = false;
                let check = &mut |page: ssd::StoredPage<'_>| {
                    is_whole = page.bytes == [oob.version as u8; 4096];
                };
                test.store.read(ppa, check).unwrap();
                assert!(is_whole, "seed {seed}: a part of {:?} is gone", oob.lpn);
            });
        }
    }
}
