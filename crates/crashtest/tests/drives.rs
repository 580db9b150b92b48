//! What the drive itself leaves is what it may leave: random commands, and a loss of power at any moment.
//!
//! `CRASHES=20000 cargo test --release -p crashtest --test drives` tries as many.

use client::commands::{dataset_management, flush, write_zeroes};
use client::{Command, Data, Lane};
use controller::{Config, Controller};
use crashtest::Workload;
use nvme_spec::Cc;
use nvme_spec::command::DatasetRange;
use simtime::{Duration, Prng};
use simulator::Session;
use zerocopy::IntoBytes;

const BLOCKS: u64 = 96;

fn config(prng: &mut Prng) -> Config {
    let mut config = Config { memory_bytes: 1 << 20, ..Config::default() };
    config.block_bytes = if prng.below(2) == 0 { 512 } else { 4096 };
    let flash = &mut config.flash;
    flash.capacity_bytes = BLOCKS * 4096;
    (flash.channels, flash.dies_per_channel) = (2, 1);
    flash.pages_per_block = 16;
    flash.overprovisioning_permille = 1500;
    flash.write_buffer_bytes = prng.below(3) * 16 * 4096;
    config
}

/// A command that writes, or has writes be durable.
fn command(session: &Session, prng: &mut Prng, stamp: u64) -> Command {
    let (block, blocks) = (session.block_bytes(), session.geometry().blocks);
    let count = 1 + prng.below(blocks / 4);
    let first = prng.below(blocks - count);
    let io = |name, entry, data| Command { name, lane: Lane::Io, entry, data, is_execution: false };
    match prng.below(10) {
        0..=4 => {
            let text =
                |n: u64| (stamp << 20 | (first + n)).to_le_bytes().repeat(block as usize / 8);
            let mut write = session.write_command(first, (0..count).flat_map(text).collect());
            if prng.below(4) == 0 {
                write.entry.cdw12.set(write.entry.cdw12.get() | 1 << 30); // FUA
            }
            write
        }
        5 => {
            let entry = write_zeroes(first, count as u32, prng.below(2) == 0);
            io("Write Zeroes", entry, Data::None)
        }
        6 => {
            let mut range = DatasetRange::default();
            range.slba.set(first);
            range.nlb.set(count as u32);
            let data = Data::ToDrive(range.as_bytes().to_vec());
            io("Dataset Management", dataset_management(1, true), data)
        }
        _ => io("Flush", flush(), Data::None),
    }
}

/// Writes at random for a while, loses power, and gives what is in the namespace then, with the history.
fn run(seed: u64) -> (Vec<history::Event>, Vec<u8>, u64) {
    let mut prng = Prng::new(seed);
    let drive = Controller::new(config(&mut prng)).unwrap();
    let mut session = simulator::open_drive(drive, 0, 64).unwrap();
    let block = session.block_bytes();
    // Something was there before.
    session.write_blocks(3, &vec![7; 5 * block as usize]).unwrap();
    session.flush().unwrap();
    session.transport.driver.port.drive.keep_history().unwrap();
    let mut under_way = 0;
    for stamp in 0..prng.below(40) {
        let command = command(&session, &mut prng, stamp);
        session.start(command).unwrap();
        under_way += 1;
        while under_way > prng.below(6) {
            assert!(session.wait().unwrap().status.is_success());
            under_way -= 1;
        }
    }
    let host = &mut session.transport.driver;
    let then = host.port.now() + Duration::from_ns(prng.below(3_000_000));
    host.port.idle_until(then);
    host.port.power_cut();
    let events = host.port.drive.take_history();
    host.disable();
    host.enable(Cc::new()).unwrap();
    host.create_queue_pair(1, 64).unwrap();
    let left = session.read_blocks(0, session.geometry().blocks).unwrap();
    (events, left, block)
}

fn check(events: &[history::Event], left: &[u8]) -> Result<(), String> {
    let workload = Workload::new(events, None, None).unwrap();
    assert!(workload.ends_with_power_loss);
    let checked = workload.check_left(|start, bytes| {
        let at = start as usize;
        bytes.copy_from_slice(&left[at..at + bytes.len()]);
        Ok::<(), ()>(())
    });
    checked.unwrap().map_err(|illegal| illegal.to_string())
}

#[test]
fn the_drive_leaves_what_it_may_leave() {
    let count = std::env::var("CRASHES").map_or(600, |count| count.parse().unwrap());
    for seed in 0..count {
        let (events, left, _) = run(seed);
        check(&events, &left).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// Blocks in other places than they were written to are noticed.
#[test]
fn what_may_not_be_left_is_noticed() {
    let mut noticed = 0;
    for seed in 0..200 {
        let (events, left, block) = run(seed);
        let mut other = left.clone();
        other.rotate_left(block as usize);
        // Where nothing of note was written it may be left.
        noticed += u32::from(check(&events, &other).is_err());
    }
    assert!(noticed > 180, "{noticed}");
}
