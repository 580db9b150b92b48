//! A drive whose blocks become bad: what its logs say, what hosts are told, and that it takes no more writes when no spare is left.

use client::QueueId;
use client::commands::{self, read_write};
use controller::Config;
use nvme_spec::{
    AsyncEvent, CommandSet, EnduranceGroupLog, NvmOpcode, SmartLog, Status, cns, fid, lid,
};
use simtime::Prng;
use simulator::Session;
use zerocopy::FromBytes;

mod exchange;

use exchange::send;

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);
const BLOCKS: u64 = 1024;

fn open() -> Session {
    let mut config = Config { memory_bytes: 1 << 20, ..Config::default() };
    config.flash.capacity_bytes = BLOCKS * 4096;
    (config.flash.channels, config.flash.dies_per_channel) = (2, 1);
    config.flash.pages_per_block = 8;
    config.flash.overprovisioning_permille = 800;
    config.flash.write_buffer_bytes = 16 * 4096;
    config.flash.erase_failures_ppm = 20_000;
    simulator::open(config, 0, 64).unwrap()
}

fn smart(s: &mut Session) -> SmartLog {
    let mut page = [0; 512];
    let entry = commands::get_log(lid::SMART, 0, CommandSet::NVM, 0, 512);
    assert!(send(s, ADMIN, entry, &mut page).status.is_success());
    SmartLog::read_from_bytes(&page).unwrap()
}

#[test]
fn a_drive_without_spare_blocks_is_read_only() {
    let s = &mut open();
    // The host wants to be told of all that the SMART log warns of.
    let events = commands::set_feature(fid::ASYNC_EVENTS, 0, 0b1101, false);
    assert!(send(s, ADMIN, events, &mut [0; 4]).status.is_success());
    let request = commands::async_event_request();
    s.transport.driver.submit(ADMIN, request);
    let log = smart(s);
    assert_eq!((log.critical_warning, log.available_spare), (0, 100));
    assert_eq!(log.available_spare_threshold, 10);
    let (mut prng, mut spare, mut written) = (Prng::new(3), 100, vec![0u8; BLOCKS as usize]);
    let status = loop {
        let (block, byte) = (prng.below(BLOCKS), prng.below(250) as u8 + 1);
        let entry = read_write(NvmOpcode::WRITE, block, 1);
        let status = send(s, IO, entry, &mut [byte; 4096]).status;
        if !status.is_success() {
            break status;
        }
        written[block as usize] = byte;
        if prng.below(50) == 0 {
            let log = smart(s);
            assert!(log.available_spare <= spare);
            assert_eq!(log.critical_warning & 1 != 0, log.available_spare < 10);
            spare = log.available_spare;
        }
    };
    assert!(status.same_code(Status::WRITE_PROTECTED), "{status}");
    let log = smart(s);
    assert_eq!((log.critical_warning, log.available_spare), (0b1001, 0));
    assert_eq!(log.media_errors.get(), 0, "no data was lost");
    let mut page = [0; 512];
    let mut entry = commands::get_log(lid::ENDURANCE_GROUP, 0, CommandSet::NVM, 0, 512);
    entry.cdw11.set(entry.cdw11.get() | 1 << 16);
    assert!(send(s, ADMIN, entry, &mut page).status.is_success());
    let group = EnduranceGroupLog::read_from_bytes(&page).unwrap();
    assert_eq!((group.critical_warning, group.available_spare), (0b1001, 0));
    // It was told: a SMART event, of the SMART log.
    let told = s.transport.driver.next_completion().unwrap();
    let event = AsyncEvent::from_bits(told.result as u32);
    assert_eq!((event.event_type(), event.lid()), (nvme_spec::event_type::SMART, lid::SMART));
    let page = s.identify(cns::NAMESPACE, 1, CommandSet::NVM).unwrap();
    assert_eq!(page[99] & 1, 1, "NSATTR: write protected");
    // Everything can be read, and nothing changed.
    for (block, byte) in (0..).zip(&written) {
        let mut data = [0; 4096];
        let entry = read_write(NvmOpcode::READ, block, 1);
        assert!(send(s, IO, entry, &mut data).status.is_success());
        assert_eq!(data, [*byte; 4096], "block {block}");
    }
    s.transport.driver.port.drive.check();
}
