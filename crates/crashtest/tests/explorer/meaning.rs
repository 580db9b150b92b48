//! What events mean: what of a history may be lost, must be there, or was never tried.

use std::collections::BTreeSet;

use crate::host::{BLOCK, Host};
use crashtest::{Options, Report, State, Workload, search};
use history::{ALL, Change, Event, Range, What};

/// Every state of the first blocks that is tried, as the first byte of each, with how many marks had been made.
fn tried(events: &[Event], nsid: Option<u32>) -> (BTreeSet<(usize, [u8; 2])>, Report) {
    let workload = Workload::new(events, nsid, None).unwrap();
    let mut seen = BTreeSet::new();
    let mut checker = |state: &State<'_>| {
        let mut bytes = [[0; 1]; 2];
        for (block, byte) in bytes.iter_mut().enumerate() {
            state.read((block * BLOCK) as u64, byte);
        }
        seen.insert((state.marks().len(), bytes.map(|[byte]| byte)));
        Ok(())
    };
    let report = search(&workload, &mut checker, Options::default(), &mut |_| {}).unwrap();
    (seen, report)
}

fn namespace(nsid: u32) -> Event {
    let (bytes, block_bytes, atomic_bytes) = (8 * BLOCK as u64, BLOCK as u32, BLOCK as u32);
    Event { at_ns: 0, what: What::Namespace { nsid, bytes, block_bytes, atomic_bytes } }
}

fn fill(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK]
}

#[test]
fn a_flush_is_of_its_namespace_or_of_all() {
    for (nsid, may_be_lost) in [(1, false), (2, true), (ALL, false)] {
        let mut host = Host::new(8);
        host.events.push(namespace(2));
        host.write(0, &fill(b'a'));
        let id = host.begin(Change::Flush { nsid });
        host.end(id);
        host.mark("flushed");
        let (seen, _) = tried(&host.events, None);
        assert_eq!(seen.contains(&(1, [0, 0])), may_be_lost, "{nsid}: {seen:?}");
    }
}

#[test]
fn a_deallocation_is_durable_if_its_command_waits_for_that() {
    for is_durable in [false, true] {
        let mut host = Host::new(8);
        host.write(0, &fill(b'a'));
        host.flush();
        let ranges = vec![Range { start: 0, len: BLOCK as u64 }; 3];
        let id = host.begin(Change::Deallocate { nsid: 1, ranges, is_durable });
        host.end(id);
        host.mark("given up");
        let (seen, _) = tried(&host.events, None);
        assert_eq!(seen.contains(&(1, [b'a', 0])), !is_durable, "{seen:?}");
        assert!(seen.contains(&(1, [0, 0])));
    }
}

/// A namespace that is deleted and made anew is empty, whatever the old one held; what was said before was said.
#[test]
fn a_namespace_that_was_made_anew_is_another() {
    let mut host = Host::new(8);
    host.write(0, &fill(b'o'));
    host.flush();
    host.mark("old");
    host.events.push(Event { at_ns: 0, what: What::Gone { nsid: 1 } });
    host.events.push(namespace(1));
    host.write(1, &fill(b'n'));
    host.flush();
    host.mark("new");
    host.events.push(Event { at_ns: 0, what: What::Gone { nsid: 1 } });
    let (seen, _) = tried(&host.events, None);
    let expected = [(1, [0, 0]), (1, [0, b'n']), (2, [0, b'n'])];
    assert_eq!(seen, BTreeSet::from(expected));
    let workload = Workload::new(&host.events, None, None).unwrap();
    assert_eq!((workload.left_out, workload.write_count()), (1, 1));
    assert_eq!(workload.marks(), ["old", "new"]);
}

#[test]
fn of_two_writes_under_way_together_one_order_is_tried_and_that_is_told() {
    for together in [false, true] {
        let mut host = Host::new(8);
        let first = host.begin(Host::change(0, &fill(b'a'), false));
        if !together {
            host.end(first);
        }
        host.write(0, &fill(b'b'));
        if together {
            host.end(first);
        }
        host.flush();
        let (_, report) = tried(&host.events, None);
        assert_eq!((report.two_orders > 0, report.complete < report.cuts), (together, together));
    }
}

/// A flush that failed made nothing durable, and is over.
#[test]
fn a_flush_that_failed_is_none() {
    let mut host = Host::new(8);
    host.write(0, &fill(b'a'));
    let id = host.begin(Change::Flush { nsid: 1 });
    host.events.push(Event { at_ns: 9, what: What::End { id, is_success: false } });
    host.mark("it failed");
    let (seen, _) = tried(&host.events, None);
    assert!(seen.contains(&(1, [0, 0])), "{seen:?}");
}

/// Power goes between two marks.
#[test]
fn moments_may_be_those_between_two_marks() {
    let mut host = Host::new(8);
    for (n, byte) in b"abcd".iter().enumerate() {
        host.write(n as u64 % 2, &fill(*byte));
        host.flush();
        host.mark(&n.to_string());
    }
    let mut workload = Workload::new(&host.events, None, None).unwrap();
    workload.begin_after("0").unwrap();
    workload.end_with("2").unwrap();
    let mut seen = BTreeSet::new();
    let mut checker = |state: &State<'_>| {
        seen.insert(state.marks().len());
        Ok(())
    };
    search(&workload, &mut checker, Options::default(), &mut |_| {}).unwrap();
    assert_eq!(seen, BTreeSet::from([1, 2, 3]));
    assert!(workload.end_with("7").is_err());
}

/// With fewer states than moments, so many are checked.
#[test]
fn no_more_states_than_were_asked_for() {
    let mut host = Host::new(8);
    for n in 0..100 {
        host.write(n % 8, &fill(n as u8 + 1));
        host.flush();
    }
    let workload = Workload::new(&host.events, None, None).unwrap();
    for states in [1, 7, 50, 150, 100_000] {
        let mut checker = |_: &State<'_>| Ok(());
        let options = Options { states, ..Options::default() };
        let report = search(&workload, &mut checker, options, &mut |_| {}).unwrap();
        assert!(
            report.states <= states && report.states >= states.min(100),
            "{states}: {report:?}"
        );
    }
}

/// What was left is always compared, also where nothing happened after the last moment.
#[test]
fn what_was_left_is_compared_at_the_very_end() {
    let mut host = Host::new(8);
    host.write(0, &fill(b'a'));
    host.flush();
    host.begin(Change::Flush { nsid: 1 });
    let workload = Workload::new(&host.events, None, None).unwrap();
    let looked_at = |byte: u8| {
        let read = |start: u64, bytes: &mut [u8]| {
            bytes.fill(if start == 0 { byte } else { 0 });
            Ok::<(), ()>(())
        };
        workload.check_left(read).unwrap()
    };
    assert!(looked_at(b'a').is_ok() && looked_at(0).is_err() && looked_at(b'x').is_err());
}

/// Names that are no states, namespaces that cannot be, pieces larger than everything.
#[test]
fn what_cannot_be_is_refused() {
    let events = Host::new(8).events;
    assert!(Workload::new(&events, None, Some(u64::MAX / 4096 * 4096)).is_err());
    for bytes in [0, 1, u64::MAX / 4096 * 4096] {
        let what = What::Namespace { nsid: 1, bytes, block_bytes: 4096, atomic_bytes: 4096 };
        assert!(Workload::new(&[Event { at_ns: 0, what }], None, None).is_err(), "{bytes}");
    }
}
