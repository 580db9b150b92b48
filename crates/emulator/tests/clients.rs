//! Many clients: alone in its process, because it counts the process's file descriptors.

mod served;

use std::time::Duration;

use client::{DmaMemory, Port, QueueId, commands};
use client_linux::{VfioUserOptions, Waiting};
use emulator::{Doorbells, Event};
use nvme_spec::NvmOpcode;
use served::{Served, immediate};

const IO: QueueId = QueueId(1);

/// Clients come and go; each finds a drive that was reset, and what was stored.
#[test]
fn a_hundred_clients_one_after_another() {
    let served = Served::new(immediate(), Doorbells::Messages);
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut before = 0;
    for round in 0..100u64 {
        let mut host = served.host(VfioUserOptions {
            memory_bytes: 1 << 20,
            waiting: if round % 2 == 0 { Waiting::Poll } else { Waiting::Interrupts },
            ..Default::default()
        });
        let buffer = host.port.memory().allocate(4096);
        let prps = (buffer.address, 0);
        if round > 0 {
            let read = commands::read_write(NvmOpcode::READ, round - 1, 1);
            assert!(host.execute(IO, commands::with_data(read, prps)).unwrap().status.is_success());
            let mut back = [0; 8];
            host.port.memory().get(buffer.address, &mut back);
            assert_eq!(u64::from_le_bytes(back), round - 1);
        }
        host.port.memory().put(buffer.address, &round.to_le_bytes());
        let write = commands::read_write(NvmOpcode::WRITE, round, 1);
        let write = commands::with_data(write, prps);
        assert!(host.execute(IO, write).unwrap().status.is_success());
        // The last command of every other client is still under way when it goes.
        if round % 2 == 1 {
            host.submit(IO, write);
        }
        drop(host);
        if round == 10 {
            std::thread::sleep(Duration::from_millis(50));
            before = open();
        }
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(open() <= before, "file descriptors are left behind");
    let events: Vec<Event> = served.events.try_iter().collect();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Connected)).count(), 100);
    served.stop();
}
