//! Flash that fails: who is told, and that nothing wrong is handed out as right.

use std::sync::{Arc, Mutex};

use simtime::{Duration, Instant, Prng};
use ssd::faulty::{FaultyStore, Plan};
use ssd::{Config, Geometry, MediaError, RequestId, Ssd};

use crate::{PAGE, bytes, config, drain, one_plane, page, read, sector, write};

fn faulty(config: &Config) -> (Ssd, Arc<Mutex<Plan>>) {
    let plan = Arc::new(Mutex::new(Plan::default()));
    let store = FaultyStore::new(&Geometry::new(config).unwrap(), Arc::clone(&plan));
    (Ssd::with_store(config, Box::new(store)).unwrap(), plan)
}

fn results(ssd: &mut Ssd) -> Vec<(u64, Result<(), MediaError>)> {
    drain(ssd).iter().map(|d| (d.id.0, d.result.map(|_| ()))).collect()
}

#[test]
fn a_page_that_rotted_is_an_error_and_stays_one_when_it_moves() {
    let config = Config { capacity_bytes: 4 << 20, pages_per_block: 16, ..config() };
    let (mut ssd, plan) = faulty(&config);
    plan.lock().unwrap().pages_rot = true;
    write(&mut ssd, Instant::ZERO, 3, 1);
    drain(&mut ssd);
    plan.lock().unwrap().pages_rot = false;
    let mut now = Instant::from_ns(1 << 30);
    for round in 0..2 {
        read(&mut ssd, now, 3, 2);
        assert_eq!(results(&mut ssd), [(2, Err(MediaError::Uncorrectable))], "round {round}");
        now += Duration::from_us(100_000);
        // Overwriting everything else moves it.
        for lpn in (0..ssd.geometry().logical_pages).cycle().take(5000).filter(|lpn| *lpn != 3) {
            write(&mut ssd, now, lpn, 5);
        }
        drain(&mut ssd);
        now += Duration::from_us(1 << 32);
    }
    assert!(ssd.statistics().gc_programs > 0);
    // Part of it cannot be written, for the rest is not there; all of it can.
    now += Duration::from_us(100_000);
    ssd.write(now, RequestId(3), sector(3, 0), false, None);
    drain(&mut ssd);
    now += Duration::from_us(100_000);
    read(&mut ssd, now, 3, 4);
    assert_eq!(results(&mut ssd), [(4, Err(MediaError::Uncorrectable))]);
    now += Duration::from_us(100_000);
    write(&mut ssd, now, 3, 6);
    drain(&mut ssd);
    now += Duration::from_us(100_000);
    read(&mut ssd, now, 3, 7);
    assert_eq!(results(&mut ssd), [(7, Ok(()))]);
    assert_eq!(bytes(&ssd, page(3)), [6; PAGE as usize]);
}

#[test]
fn another_pages_data_is_an_error() {
    let (mut ssd, plan) = faulty(&config());
    plan.lock().unwrap().pages_swap = true;
    write(&mut ssd, Instant::ZERO, 3, 1);
    drain(&mut ssd);
    read(&mut ssd, Instant::from_ns(1 << 30), 3, 2);
    assert_eq!(results(&mut ssd), [(2, Err(MediaError::Misplaced { found: ssd::Lpn(4) }))]);
}

#[test]
fn a_program_that_fails_is_done_again_elsewhere() {
    let (mut ssd, plan) = faulty(&Config { write_buffer_bytes: 1 << 20, ..config() });
    plan.lock().unwrap().programs_fail = 2;
    write(&mut ssd, Instant::ZERO, 3, 1);
    ssd.flush(Instant::ZERO, RequestId(2));
    assert_eq!(results(&mut ssd), [(1, Ok(())), (2, Ok(()))]);
    assert_eq!((ssd.statistics().media_errors, ssd.statistics().flash_programs), (2, 3));
    assert_eq!(bytes(&ssd, page(3)), [1; PAGE as usize]);
    ssd.check();
}

#[test]
fn a_write_that_cannot_be_programmed_fails_its_flush_and_is_not_lost() {
    let (mut ssd, plan) = faulty(&Config { write_buffer_bytes: 1 << 20, ..config() });
    plan.lock().unwrap().programs_fail = 6;
    write(&mut ssd, Instant::ZERO, 3, 1);
    ssd.flush(Instant::ZERO, RequestId(2));
    ssd.write(Instant::ZERO, RequestId(4), page(4), true, Some(&[4; PAGE as usize]));
    let mut finished = results(&mut ssd);
    finished.sort_by_key(|(id, _)| *id);
    assert_eq!(
        finished,
        [(1, Ok(())), (2, Err(MediaError::ProgramFailed)), (4, Err(MediaError::ProgramFailed))]
    );
    // Both are still there, and go to flash with the next flush.
    assert_eq!(bytes(&ssd, page(3)), [1; PAGE as usize]);
    ssd.flush(Instant::from_ns(1 << 40), RequestId(5));
    assert_eq!(results(&mut ssd), [(5, Ok(()))]);
    let recovery = ssd.power_cut(Instant::from_ns(1 << 41));
    assert_eq!((recovery.lost, recovery.found), (0, 2));
    assert_eq!(
        (bytes(&ssd, page(3)), bytes(&ssd, page(4))),
        (vec![1; PAGE as usize], vec![4; PAGE as usize])
    );
}

/// Runs until a request is done.
fn until(ssd: &mut Ssd, id: u64) -> ssd::Done {
    let mut done = Vec::new();
    loop {
        let at = ssd.next_event().expect("the request is under way");
        ssd.advance(at, &mut done);
        if let Some(found) = done.iter().find(|d: &&ssd::Done| d.id == RequestId(id)) {
            return *found;
        }
    }
}

#[test]
fn a_flush_that_follows_a_failed_one_waits_for_what_failed() {
    let (mut ssd, plan) = faulty(&Config { write_buffer_bytes: 1 << 20, ..config() });
    plan.lock().unwrap().programs_fail = 3;
    write(&mut ssd, Instant::ZERO, 3, 1);
    ssd.flush(Instant::ZERO, RequestId(2));
    ssd.flush(Instant::ZERO, RequestId(3));
    assert!(until(&mut ssd, 2).result.is_err());
    let done = until(&mut ssd, 3);
    assert!(done.result.is_ok());
    assert_eq!(ssd.power_cut(done.at).found, 1);
    assert_eq!(bytes(&ssd, page(3)), [1; PAGE as usize]);
}

#[test]
fn a_store_that_always_fails_leaves_the_drive_idle() {
    for write_buffer_bytes in [0, 4096, 1 << 20] {
        let (mut ssd, plan) = faulty(&Config { write_buffer_bytes, ..config() });
        plan.lock().unwrap().programs_fail = u32::MAX;
        write(&mut ssd, Instant::ZERO, 3, 1);
        drain(&mut ssd);
        let now = Instant::from_ns(1 << 40);
        ssd.flush(now, RequestId(2));
        assert_eq!(results(&mut ssd), [(2, Err(MediaError::ProgramFailed))]);
        // Writing it again tries again.
        plan.lock().unwrap().programs_fail = 0;
        ssd.write(
            Instant::from_ns(1 << 41),
            RequestId(3),
            page(3),
            true,
            Some(&[9; PAGE as usize]),
        );
        assert_eq!(results(&mut ssd), [(3, Ok(()))]);
    }
}

#[test]
fn programs_that_fail_fill_blocks_and_these_are_collected() {
    let config = Config { write_buffer_bytes: 64 * 4096, ..one_plane() };
    let (mut ssd, plan) = faulty(&config);
    for lpn in 0..56 {
        write(&mut ssd, Instant::ZERO, lpn, lpn);
    }
    ssd.flush(Instant::ZERO, RequestId(0));
    drain(&mut ssd);
    let now = Instant::from_ns(1 << 38);
    plan.lock().unwrap().programs_fail = 33;
    for lpn in 0..40 {
        write(&mut ssd, now, lpn, 100 + lpn);
    }
    ssd.flush(now, RequestId(999));
    assert!(results(&mut ssd).iter().any(|(id, _)| *id == 999), "the drive stands still");
}

#[test]
fn undoing_a_write_leaves_the_one_before_as_it_was() {
    let (mut ssd, plan) = faulty(&Config { write_buffer_bytes: 4096, ..config() });
    plan.lock().unwrap().programs_fail = 1;
    write(&mut ssd, Instant::ZERO, 3, 1); // goes to flash
    write(&mut ssd, Instant::ZERO, 3, 2); // waits for room
    ssd.advance(Instant::ZERO, &mut Vec::new());
    ssd.forget(Instant::ZERO, |_| false);
    drain(&mut ssd);
    assert_eq!(bytes(&ssd, page(3)), [1; PAGE as usize]);
    read(&mut ssd, Instant::from_ns(1 << 40), 3, 9);
    assert_eq!(results(&mut ssd), [(9, Ok(()))]);
}

#[test]
fn what_cannot_be_read_cannot_after_a_loss_of_power() {
    let (mut ssd, plan) = faulty(&config());
    plan.lock().unwrap().pages_rot = true;
    write(&mut ssd, Instant::ZERO, 3, 1);
    drain(&mut ssd);
    let now = Instant::from_ns(1 << 40);
    assert_eq!(ssd.power_cut(now).unreadable, 1);
    read(&mut ssd, now, 3, 9);
    assert_eq!(results(&mut ssd), [(9, Err(MediaError::Uncorrectable))]);
}

#[test]
fn a_record_of_a_page_that_the_drive_does_not_have_is_unreadable() {
    let (mut ssd, plan) = faulty(&config());
    plan.lock().unwrap().pages_swap = true;
    let last = ssd.geometry().logical_pages - 1;
    write(&mut ssd, Instant::ZERO, last, 1);
    drain(&mut ssd);
    assert_eq!(ssd.power_cut(Instant::from_ns(1 << 40)).unreadable, 1);
}

#[test]
fn a_page_with_unreadable_parts_stays_so_whatever_is_written_meanwhile() {
    for is_undone in [false, true] {
        let (mut ssd, plan) = faulty(&Config { write_buffer_bytes: 4096, ..config() });
        plan.lock().unwrap().pages_rot = true;
        ssd.write(Instant::ZERO, RequestId(1), page(3), true, Some(&[1; PAGE as usize]));
        drain(&mut ssd);
        plan.lock().unwrap().pages_rot = false;
        let now = Instant::from_ns(1 << 40);
        ssd.write(now, RequestId(2), sector(3, 0), true, Some(&[2; 512]));
        // Its missing parts could not be read; it is on its way to flash when all of the page is written.
        let now = now + Duration::from_us(100);
        ssd.advance(now, &mut Vec::new());
        ssd.write(now, RequestId(3), page(3), true, Some(&[3; PAGE as usize]));
        if is_undone {
            ssd.forget(now, |id| id.0 == 2);
            drain(&mut ssd);
        } else {
            let landed = until(&mut ssd, 2).at;
            ssd.power_cut(landed);
        }
        let now = Instant::from_ns(1 << 41);
        ssd.read(now, RequestId(9), sector(3, 4));
        assert_eq!(results(&mut ssd), [(9, Err(MediaError::Uncorrectable))], "undone: {is_undone}");
    }
}

#[test]
fn a_page_that_rotted_is_an_error_while_collection_moves_it() {
    let config = Config { capacity_bytes: 4 << 20, pages_per_block: 16, ..config() };
    let (mut ssd, plan) = faulty(&config);
    plan.lock().unwrap().pages_rot = true;
    write(&mut ssd, Instant::ZERO, 3, 1);
    drain(&mut ssd);
    plan.lock().unwrap().pages_rot = false;
    let (mut prng, mut now) = (Prng::new(1), Instant::from_ns(1 << 30));
    let pages = ssd.geometry().logical_pages;
    for n in 0..20_000 {
        write(&mut ssd, now, 4 + prng.below(pages - 4), 5);
        read(&mut ssd, now, 3, 1 << 40 | n);
        let mut done = Vec::new();
        now += Duration::from_us(prng.below(120));
        ssd.advance(now, &mut done);
        while ssd.backlog() > 40 {
            now = ssd.next_event().unwrap();
            ssd.advance(now, &mut done);
        }
        for read in done.iter().filter(|d| d.id.0 >> 40 == 1) {
            assert!(read.result.is_err(), "read {n} handed out what rotted");
        }
    }
    assert!(ssd.statistics().gc_programs > 0);
}

#[test]
fn a_drive_whose_moves_failed_goes_on_with_the_next_write() {
    for seed in 0..40 {
        let config =
            Config { write_buffer_bytes: 1 << 14, overprovisioning_permille: 1000, ..one_plane() };
        let (mut ssd, plan) = faulty(&config);
        let (mut prng, pages) = (Prng::new(seed), ssd.geometry().logical_pages);
        for lpn in 0..pages {
            write(&mut ssd, Instant::ZERO, lpn, 1);
        }
        drain(&mut ssd);
        plan.lock().unwrap().moves_fail = 4;
        let now = ssd.now() + Duration::from_us(1000);
        for n in 0..200 {
            write(&mut ssd, now, prng.below(pages), n);
        }
        drain(&mut ssd);
        plan.lock().unwrap().moves_fail = 0;
        let now = ssd.now() + Duration::from_us(1000);
        write(&mut ssd, now, prng.below(pages), 5);
        drain(&mut ssd);
        assert_eq!(ssd.backlog(), 0, "seed {seed}: the drive stands still");
        ssd.check();
    }
}
