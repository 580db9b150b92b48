//! Drives that go on from the flash of another.

use controller::{Config, Controller, Parts};
use simulator::Session;

/// A drive on another's flash.
fn on(flash: Option<ssd::Ssd>, config: Config) -> Session {
    let drive = Controller::with_parts(config, Parts { flash, ..Parts::default() }).unwrap();
    simulator::open_drive(drive, 0, 64).unwrap()
}

#[test]
fn a_drive_on_a_forked_flash_has_its_bytes_and_its_time() {
    let mut first = simulator::open(Config::default(), 0, 64).unwrap();
    first.write_blocks(7, &[1; 8192]).unwrap();
    first.flush().unwrap();
    let read = |session: &mut Session| {
        let begin = session.transport.driver.port.now();
        let bytes = session.read_blocks(7, 2).unwrap();
        (bytes, session.transport.driver.port.now().since(begin))
    };
    // While it has something to do there is no fork.
    first.write_blocks(100, &[2; 4096]).unwrap();
    assert!(first.transport.driver.port.drive.fork_flash().is_none());
    while first.transport.driver.port.step() {}
    let flash = first.transport.driver.port.drive.fork_flash();
    let mut second = on(flash, Config::default());
    assert!(second.transport.driver.port.now() >= first.transport.driver.port.now());
    // What one writes the other does not see.
    let expected = read(&mut first);
    assert_eq!(expected.0, [1; 8192]);
    assert_eq!(read(&mut second), expected);
    second.write_blocks(7, &[3; 4096]).unwrap();
    assert_eq!(read(&mut first).0, [1; 8192]);
    assert_eq!(read(&mut second).0[..4096], [3; 4096]);
}

#[test]
fn flash_of_another_configuration_is_refused() {
    let first = simulator::open(Config::default(), 0, 64).unwrap();
    let flash = first.transport.driver.port.drive.fork_flash();
    let mut config = Config::default();
    config.flash.channels *= 2;
    let refused = Controller::with_parts(config, Parts { flash, ..Parts::default() });
    assert!(refused.unwrap_err().to_string().contains("must be the same"));
}
