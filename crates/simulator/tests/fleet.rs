//! Several drives on one clock: completions in the order of time, and every drive as if it were alone.

use client::commands::{read_write, with_data};
use client::{DmaMemory, QueueId};
use controller::Config;
use nvme_spec::NvmOpcode;
use simtime::{Duration, Instant, Prng};
use simulator::{DriveNumber, Fleet, Host};

const IO: QueueId = QueueId(1);
const BLOCKS: u64 = (64 << 20) / 4096;
const DEPTH: u32 = 8;
const COMMANDS: u32 = 500;

/// A drive that is filled, so that reads take flash time, and whose flash is its own.
fn host(read_us: u64) -> Host {
    let mut config = Config::default();
    config.flash.capacity_bytes = 64 << 20;
    config.flash.filled_permille = 1000;
    config.flash.read_time = Duration::from_us(read_us).into();
    simulator::host(config, 1, 64).unwrap()
}

/// What a host does: random reads and writes, so many at a time.
struct Load {
    prng: Prng,
    buffer: (u64, u64),
    left: u32,
}

impl Load {
    fn new(host: &mut Host, seed: u64) -> Self {
        let buffer = host.port.ram.allocate(4096);
        let buffer = host.port.ram.prps(&buffer, 4096);
        Self { prng: Prng::new(seed), buffer, left: COMMANDS }
    }

    fn submit(&mut self, host: &mut Host) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let opcode = if self.prng.below(4) == 0 { NvmOpcode::WRITE } else { NvmOpcode::READ };
        let entry = read_write(opcode, self.prng.below(BLOCKS), 1);
        host.submit(IO, with_data(entry, self.buffer));
    }
}

/// The hash of what a drive did alone, beginning at a time.
fn alone(read_us: u64, seed: u64, start: Instant) -> u64 {
    let mut host = host(read_us);
    let mut load = Load::new(&mut host, seed);
    host.port.idle_until(start);
    (0..DEPTH).for_each(|_| load.submit(&mut host));
    while host.outstanding(IO) > 0 {
        host.next_completion().unwrap();
        load.submit(&mut host);
    }
    host.port.drive.statistics().trace_hash
}

#[test]
fn drives_share_a_clock_and_nothing_else() {
    let reads_us = [40, 70, 11, 40];
    let mut fleet = Fleet::default();
    let mut loads = Vec::new();
    for (seed, &read_us) in reads_us.iter().enumerate() {
        let mut host = host(read_us);
        loads.push(Load::new(&mut host, seed as u64));
        assert_eq!(fleet.add(host), DriveNumber(seed));
    }
    // Others that do nothing.
    for _ in 0..100 {
        fleet.add(host(40));
    }
    let start = fleet.now();
    for (n, load) in loads.iter_mut().enumerate() {
        fleet.with(DriveNumber(n), |host| (0..DEPTH).for_each(|_| load.submit(host)));
    }
    let (mut before, mut completed) = (start, [0; 4]);
    while let Some((drive, completion)) = fleet.next_completion() {
        assert!(completion.status.is_success());
        assert!(fleet.now() >= before, "completions come in the order of time");
        before = fleet.now();
        completed[drive.0] += 1;
        fleet.with(drive, |host| loads[drive.0].submit(host));
    }
    assert_eq!(completed, [COMMANDS; 4]);
    for (n, &read_us) in reads_us.iter().enumerate() {
        let hash = fleet.host(DriveNumber(n)).port.drive.statistics().trace_hash;
        assert_eq!(hash, alone(read_us, n as u64, start), "drive {n}");
    }
    let idle = fleet.host(DriveNumber(50)).port.drive.statistics().commands;
    let admin_alone = host(40).port.drive.statistics().commands;
    assert_eq!(idle, admin_alone, "a drive without commands does nothing");
}
