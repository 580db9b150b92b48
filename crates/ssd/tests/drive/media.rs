//! Flash that fails: who is told, and that nothing wrong is handed out as right.

use std::sync::{Arc, Mutex};

use simtime::{Duration, Instant};
use ssd::faulty::{FaultyStore, Plan};
use ssd::{Config, Geometry, MediaError, RequestId, Ssd};

use crate::{PAGE, bytes, config, drain, page, read, sector, write};

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
