//! The whole drive across losses of power: what a host finds when it comes back.

use std::collections::BTreeMap;

use client::commands::{self, read_write, with_data};
use client::{DmaMemory, Port, QueueId};
use controller::Config;
use nvme_spec::{Cc, CommandSet, Csts, InterruptCoalescing, NvmOpcode, SmartLog, fid, lid, offset};
use simtime::{Duration, Prng};
use simulator::{Host, Session};
use zerocopy::FromBytes;

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);
const BLOCK: usize = 4096;
const BLOCKS: u64 = 1024;

fn session() -> Session {
    let mut config = Config { memory_bytes: 1 << 20, ..Config::default() };
    config.flash.capacity_bytes = BLOCKS * BLOCK as u64;
    (config.flash.channels, config.flash.dies_per_channel) = (2, 1);
    config.flash.pages_per_block = 16;
    config.flash.overprovisioning_permille = 400;
    config.flash.write_buffer_bytes = 64 * BLOCK as u64;
    simulator::open(config, 0, 64).unwrap()
}

/// The power goes and comes back; the host starts the drive again.
fn cut(session: &mut Session) -> ssd::Recovery {
    let host = &mut session.transport.driver;
    let recovery = host.port.power_cut();
    host.disable();
    host.enable(Cc::new()).unwrap();
    host.create_queue_pair(1, 64).unwrap();
    recovery
}

fn smart(session: &mut Session) -> SmartLog {
    let host = &mut session.transport.driver;
    let buffer = host.port.ram.allocate(4096);
    let entry =
        with_data(commands::get_log(lid::SMART, 0, CommandSet::NVM, 0, 512), (buffer.address, 0));
    assert!(host.execute(ADMIN, entry).unwrap().status.is_success());
    let mut log = [0; 512];
    host.port.ram.get(buffer.address, &mut log);
    SmartLog::read_from_bytes(&log).unwrap()
}

#[test]
fn flushed_blocks_survive_and_everything_volatile_is_gone() {
    let mut session = session();
    session.write_blocks(0, &vec![1; 8 * BLOCK]).unwrap();
    session.flush().unwrap();
    session.write_blocks(8, &vec![2; 8 * BLOCK]).unwrap();
    session.write_memory(0, &[3; 4096]).unwrap();
    let recovery = cut(&mut session);
    assert_eq!((recovery.found, recovery.lost), (8, 8));
    assert_eq!(session.read_blocks(0, 8).unwrap(), vec![1; 8 * BLOCK]);
    assert_eq!(
        session.read_blocks(8, 8).unwrap(),
        vec![0; 8 * BLOCK],
        "they were only in the buffer"
    );
    assert_eq!(session.read_memory(0, 4096).unwrap(), [0; 4096]);
    let log = smart(&mut session);
    assert_eq!((log.power_cycles.get(), log.unsafe_shutdowns.get()), (2, 1));
}

#[test]
fn a_drive_takes_commands_at_its_rate_after_a_loss_of_power_too() {
    let mut config = Config { memory_bytes: 1 << 20, ..Config::default() };
    config.flash.capacity_bytes = BLOCKS * BLOCK as u64;
    config.command_interval = Duration::from_us(1000);
    let mut session = simulator::open(config, 0, 64).unwrap();
    let read_all = |session: &mut Session, are_waited_for: bool| {
        let host = &mut session.transport.driver;
        let buffer = host.port.ram.allocate(BLOCK as u64);
        let start = host.port.now();
        for _ in 0..8 {
            host.enqueue(IO, with_data(read_write(NvmOpcode::READ, 0, 1), (buffer.address, 0)));
        }
        host.ring(IO);
        if are_waited_for {
            (0..8).for_each(|_| assert!(host.next_completion().unwrap().status.is_success()));
        } else {
            host.port.idle_until(start + Duration::from_us(2500));
        }
        host.port.now().since(start)
    };
    // The power goes while commands wait until they may be taken.
    read_all(&mut session, false);
    cut(&mut session);
    let took = read_all(&mut session, true);
    assert!((7000..7100).contains(&(took.as_ns() / 1000)), "{took:?}");
}

#[test]
fn random_commands_and_losses_of_power() {
    for seed in 0..40 {
        let mut prng = Prng::new(seed);
        let mut session = session();
        // By block: what may be found. The first is what is sure.
        let mut blocks: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for round in 1..6 {
            for _ in 0..prng.below(200) {
                let (block, byte) = (prng.below(BLOCKS / 8), 1 + prng.below(255) as u8);
                match prng.below(20) {
                    0 => {
                        session.flush().unwrap();
                        for held in blocks.values_mut() {
                            held.drain(..held.len() - 1);
                        }
                    }
                    1..=4 => {
                        let host = &mut session.transport.driver;
                        let buffer = host.port.ram.allocate(BLOCK as u64);
                        host.port.ram.put(buffer.address, &[byte; BLOCK]);
                        let mut entry =
                            with_data(read_write(NvmOpcode::WRITE, block, 1), (buffer.address, 0));
                        entry.cdw12.set(entry.cdw12.get() | 1 << 30); // FUA
                        assert!(host.execute(IO, entry).unwrap().status.is_success());
                        blocks.insert(block, vec![byte]);
                    }
                    5 => {
                        let host = &mut session.transport.driver;
                        let then = host.port.now() + Duration::from_us(prng.below(3000));
                        host.port.idle_until(then);
                    }
                    _ => {
                        session.write_blocks(block, &[byte; BLOCK]).unwrap();
                        blocks.entry(block).or_insert_with(|| vec![0]).push(byte);
                    }
                }
            }
            cut(&mut session);
            for (block, held) in &mut blocks {
                let found = session.read_blocks(*block, 1).unwrap();
                assert!(found.iter().all(|byte| *byte == found[0]), "block {block} is a mixture");
                assert!(
                    held.contains(&found[0]),
                    "seed {seed}, round {round}: block {block}: {} of {held:?}",
                    found[0]
                );
                *held = vec![found[0]];
            }
            session.transport.driver.port.drive.check();
        }
    }
}

#[test]
fn timers_work_again_after_a_loss_of_power() {
    let mut session = session();
    let host = &mut session.transport.driver;
    let set = |host: &mut Host, feature, value| {
        let entry = commands::set_feature(feature, 0, value, false);
        assert!(host.execute(ADMIN, entry).unwrap().status.is_success());
    };
    let gather = InterruptCoalescing::new().with_thr_z(3).with_time(2).into_bits();
    set(host, fid::INTERRUPT_COALESCING, gather);
    set(host, fid::KEEP_ALIVE, 1500);
    // A completion is posted, and its interrupt waits for its time, when the power goes.
    host.enqueue(IO, commands::flush());
    host.ring(IO);
    let then = host.port.now() + Duration::from_us(50);
    host.port.idle_until(then);
    cut(&mut session);
    let host = &mut session.transport.driver;
    set(host, fid::INTERRUPT_COALESCING, gather);
    let then = host.port.now() + Duration::from_us(5_000);
    host.port.idle_until(then);
    assert!(host.execute(IO, commands::flush()).unwrap().status.is_success());
    set(host, fid::KEEP_ALIVE, 2500);
    let then = host.port.now() + Duration::from_us(60_000_000);
    host.port.idle_until(then);
    let status = Csts::from_bits(host.port.register_read(offset::CSTS, 4) as u32);
    assert!(status.cfs(), "a minute of silence");
}
