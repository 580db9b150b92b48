//! The process ends at any moment, or the machine does and loses any part of what was not synced: what was flushed is there, and
//! everything else is old or new. The suite is that of the flash model; the disk below the real store forgets.
//!
//! `POWER_CUTS=10000 cargo test --release -p flash_file --test power` tries as many of each kind; `POWER_FROM=6400` begins there.

mod forgetful;

use flash_file::{FileStore, FlashFile};
use simtime::{Instant, Prng};
use ssd::conformance::{PowerLoss, check_power_cuts};
use ssd::{Config, DaxPolicy, Geometry, Ssd, SyncPolicy};

use forgetful::ForgetfulDisk;

/// What ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Process,
    Machine,
}

struct OverDisk {
    end: End,
    sync: SyncPolicy,
    config: Config,
    disk: Option<ForgetfulDisk>,
}

impl OverDisk {
    fn store(&self, new: bool) -> FileStore {
        let geometry = Geometry::new(&self.config).unwrap();
        let disk = self.disk.clone().unwrap();
        FileStore::over(Box::new(disk), &geometry, self.sync, new).unwrap()
    }
}

impl PowerLoss for OverDisk {
    fn switch_on(&mut self, config: &Config) -> Ssd {
        let geometry = Geometry::new(config).unwrap();
        self.config = config.clone();
        self.disk = Some(ForgetfulDisk::new(FileStore::disk_bytes(&geometry)));
        let ssd = Ssd::with_store(config, Box::new(self.store(true))).unwrap();
        self.disk.as_ref().unwrap().settle();
        ssd
    }

    fn cut(&mut self, mut ssd: Ssd, now: Instant, prng: &mut Prng) -> Ssd {
        match prng.below(4) {
            // A modelled loss of power comes before: torn pages are in the file.
            0 => drop(ssd.power_cut(now)),
            // Only that: the process goes on.
            1 => {
                ssd.power_cut(now);
                return ssd;
            }
            _ => {}
        }
        let disk = self.disk.as_mut().unwrap();
        disk.end_process();
        drop(ssd);
        if self.end == End::Machine {
            disk.forget(prng);
        }
        disk.settle();
        Ssd::with_store(&self.config, Box::new(self.store(false))).unwrap()
    }

    fn may_undo_deallocation(&self) -> bool {
        true
    }
}

fn from() -> u64 {
    std::env::var("POWER_FROM").ok().and_then(|from| from.parse().ok()).unwrap_or(0)
}

fn count() -> u64 {
    std::env::var("POWER_CUTS").ok().and_then(|count| count.parse().ok()).unwrap_or(500)
}

fn run(end: End, sync: SyncPolicy) {
    for seed in from()..from() + count() {
        let mut power = OverDisk { end, sync, config: Config::default(), disk: None };
        check_power_cuts(seed, &mut power);
    }
}

#[test]
fn what_was_flushed_survives_the_end_of_the_process() {
    run(End::Process, SyncPolicy::Never);
    run(End::Process, SyncPolicy::Flush);
}

#[test]
fn what_was_flushed_survives_the_end_of_the_machine() {
    run(End::Machine, SyncPolicy::Flush);
}

/// The same in a real file, which is closed and opened again.
struct InFile {
    folder: tempfile::TempDir,
    config: Config,
}

impl InFile {
    fn open(&self) -> Ssd {
        let geometry = Geometry::new(&self.config).unwrap();
        let file = FlashFile::open(&self.folder.path().join("flash"), &geometry).unwrap();
        Ssd::with_store(
            &self.config,
            Box::new(file.store(SyncPolicy::Flush, DaxPolicy::Auto).unwrap()),
        )
        .unwrap()
    }
}

impl PowerLoss for InFile {
    fn switch_on(&mut self, config: &Config) -> Ssd {
        self.config = config.clone();
        self.open()
    }

    fn cut(&mut self, ssd: Ssd, _now: Instant, _prng: &mut Prng) -> Ssd {
        drop(ssd);
        self.open()
    }

    fn may_undo_deallocation(&self) -> bool {
        true
    }
}

#[test]
fn a_file_that_is_opened_again_has_what_was_flushed() {
    for seed in 0..count().min(100) {
        let folder = tempfile::tempdir().unwrap();
        check_power_cuts(seed, &mut InFile { folder, config: Config::default() });
    }
}
