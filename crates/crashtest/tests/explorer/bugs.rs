//! A small store with a journal, right and in twelve ways wrong: what is right stands every crash, and each bug is found.

use crate::host::{BLOCK, Host};
use crashtest::{Options, Report, State, Workload, search};

/// What is wrong with a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    None,
    /// The commit is written with its data, and nobody looks whether the data is right.
    CommitBesideData,
    /// One write of header, data and commit is taken for atomic.
    OneWriteIsAtomic,
    /// The host is told before the commit is durable.
    ToldTooEarly,
    /// The flush is sent before the commit has ended.
    FlushDoesNotWait,
    /// A commit counts whichever transaction it is of.
    OldCommitCounts,
    /// Pages are written in their places before the commit is durable.
    PagesTooEarly,
    /// The journal is given up before the pages are durable.
    TailTooEarly,
    /// The journal is written anew before the superblock that gives it up is durable.
    ReusedTooEarly,
    /// There is one superblock, which is written in its place.
    OneSuperblock,
    /// Both superblocks are written at a time.
    BothSuperblocks,
    /// A write that is durable itself (FUA) is taken for a flush of what came before.
    DurableIsNoFlush,
    /// The old journal is deallocated before the superblock that gives it up is durable.
    DeallocatedTooEarly,
}

const BUGS: [Bug; 12] = [
    Bug::CommitBesideData,
    Bug::OneWriteIsAtomic,
    Bug::ToldTooEarly,
    Bug::FlushDoesNotWait,
    Bug::OldCommitCounts,
    Bug::PagesTooEarly,
    Bug::TailTooEarly,
    Bug::ReusedTooEarly,
    Bug::OneSuperblock,
    Bug::BothSuperblocks,
    Bug::DurableIsNoFlush,
    Bug::DeallocatedTooEarly,
];

/// Two superblocks of two blocks each; a journal of three transactions of a header, two pages and a commit; pages.
const SUPERBLOCKS: u64 = 0;
const JOURNAL: u64 = 4;
const TRANSACTIONS: u64 = 3;
const TRANSACTION_BLOCKS: u64 = 4;
const PAGES: u64 = JOURNAL + TRANSACTIONS * TRANSACTION_BLOCKS;
const PAGE_COUNT: u64 = 4;
const BLOCKS: u64 = PAGES + PAGE_COUNT;

/// Numbers at the beginning of a block, with their sum at its end.
fn block(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK];
    for (n, number) in numbers.iter().enumerate() {
        bytes[8 * n..8 * n + 8].copy_from_slice(&number.to_le_bytes());
    }
    let sum = numbers.iter().fold(0xC5u64, |sum, n| sum.rotate_left(9) ^ n);
    bytes[BLOCK - 8..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn number(bytes: &[u8], n: usize) -> u64 {
    u64::from_le_bytes(bytes[8 * n..8 * n + 8].try_into().unwrap())
}

/// A page that a transaction wrote: its number all over.
fn page(transaction: u64) -> Vec<u8> {
    transaction.to_le_bytes().repeat(BLOCK / 8)
}

/// The two pages that a transaction writes.
fn targets(transaction: u64) -> [u64; 2] {
    [transaction % PAGE_COUNT, (transaction * transaction + 1) % PAGE_COUNT]
}

const HEADER: u64 = 0x4844;
const COMMIT: u64 = 0x434F;
const SUPERBLOCK: u64 = 0x5342;

/// The store, as it writes.
struct Store {
    host: Host,
    bug: Bug,
    generation: u64,
}

impl Store {
    fn run(bug: Bug, transactions: u64) -> Host {
        let mut store = Self { host: Host::new(BLOCKS), bug, generation: 0 };
        store.superblock(1);
        store.host.mark("0");
        for transaction in 1..=transactions {
            store.transact(transaction);
            if transaction % TRANSACTIONS == 0 {
                store.checkpoint(transaction);
            }
        }
        store.host
    }

    fn transact(&mut self, transaction: u64) {
        let at = JOURNAL + (transaction - 1) % TRANSACTIONS * TRANSACTION_BLOCKS;
        let [first, second] = targets(transaction);
        let header = block(&[HEADER, transaction, first, second]);
        let body = [header, page(transaction), page(transaction)].concat();
        let commit = block(&[COMMIT, transaction]);
        let host = &mut self.host;
        if self.bug == Bug::OneWriteIsAtomic {
            host.write(at, &[body, commit].concat());
            host.flush();
            return host.mark(&transaction.to_string());
        }
        host.write(at, &body);
        if self.bug == Bug::DurableIsNoFlush {
            host.write_durably(at + 3, &commit);
            return host.mark(&transaction.to_string());
        }
        if self.bug != Bug::CommitBesideData {
            host.flush();
        }
        if self.bug == Bug::PagesTooEarly {
            self.pages(transaction);
        }
        let host = &mut self.host;
        if self.bug == Bug::FlushDoesNotWait {
            let commit = host.begin(Host::change(at + 3, &commit, false));
            let flush = host.begin(history::Change::Flush { nsid: 1 });
            host.end(commit);
            host.end(flush);
        } else {
            host.write(at + 3, &commit);
            if self.bug == Bug::ToldTooEarly {
                host.mark(&transaction.to_string());
            }
            host.flush();
        }
        host.mark(&transaction.to_string());
    }

    /// Writes the pages of a transaction in their places.
    fn pages(&mut self, transaction: u64) {
        for target in targets(transaction) {
            self.host.write(PAGES + target, &page(transaction));
        }
    }

    /// Gives the journal up.
    fn checkpoint(&mut self, last: u64) {
        for transaction in last + 1 - TRANSACTIONS..=last {
            self.pages(transaction);
        }
        if self.bug != Bug::TailTooEarly {
            self.host.flush();
        }
        if self.bug == Bug::DeallocatedTooEarly {
            self.host.deallocate(JOURNAL, TRANSACTIONS * TRANSACTION_BLOCKS);
        }
        self.superblock(last + 1);
    }

    /// Says from which transaction on the journal counts.
    fn superblock(&mut self, tail: u64) {
        self.generation += 1;
        // It has two blocks, which belong together.
        let halves = [[SUPERBLOCK, self.generation, tail], [tail, SUPERBLOCK, self.generation]];
        let bytes = halves.map(|half| block(&half)).concat();
        let places = match self.bug {
            Bug::OneSuperblock => vec![0],
            Bug::BothSuperblocks => vec![0, 1],
            _ => vec![self.generation % 2],
        };
        for place in places {
            self.host.write(SUPERBLOCKS + 2 * place, &bytes);
        }
        if self.bug != Bug::ReusedTooEarly || self.generation == 1 {
            self.host.flush();
        }
    }
}

/// What is found after a crash: the pages, or why there is nothing.
fn recover(bug: Bug, read: &dyn Fn(u64) -> Vec<u8>) -> Result<Vec<u64>, String> {
    let is_right = |bytes: &[u8], numbers: usize| {
        let all: Vec<u64> = (0..numbers).map(|n| number(bytes, n)).collect();
        block(&all) == bytes
    };
    let superblock = |place: u64| {
        let [first, second] = [0, 1].map(|half| read(SUPERBLOCKS + 2 * place + half));
        let [generation, tail] = [number(&first, 1), number(&first, 2)];
        let is_whole = number(&first, 0) == SUPERBLOCK
            && is_right(&first, 3)
            && is_right(&second, 3)
            && [0, 1, 2].map(|n| number(&second, n)) == [tail, SUPERBLOCK, generation];
        is_whole.then_some((generation, tail))
    };
    let mut superblocks: Vec<_> = [0, 1].into_iter().filter_map(superblock).collect();
    superblocks.sort_unstable_by(|a, b| b.cmp(a));
    let Some((_, tail)) = superblocks.first() else { return Err("no superblock".to_owned()) };
    let mut pages: Vec<Vec<u8>> = (0..PAGE_COUNT).map(|n| read(PAGES + n)).collect();
    for transaction in *tail..*tail + TRANSACTIONS {
        let at = JOURNAL + (transaction - 1) % TRANSACTIONS * TRANSACTION_BLOCKS;
        let (header, commit) = (read(at), read(at + 3));
        let is_header = number(&header, 0) == HEADER
            && is_right(&header, 4)
            && number(&header, 1) == transaction;
        let is_commit = number(&commit, 0) == COMMIT
            && (number(&commit, 1) == transaction || bug == Bug::OldCommitCounts);
        if !is_header || !is_commit {
            break;
        }
        for (n, place) in [2, 3].into_iter().enumerate() {
            pages[number(&header, place) as usize] = read(at + 1 + n as u64);
        }
    }
    let whole = |bytes: &Vec<u8>| {
        let transaction = number(bytes, 0);
        if *bytes == page(transaction) { Ok(transaction) } else { Err("a torn page".to_owned()) }
    };
    pages.iter().map(whole).collect()
}

/// The pages must be those after some transaction, not before the last that the host was told of.
fn check(bug: Bug, state: &State<'_>) -> Result<(), String> {
    let Some(last) = state.marks().last() else { return Ok(()) };
    let told: u64 = last.parse().unwrap();
    let read = |block: u64| {
        let mut bytes = vec![0; BLOCK];
        state.read(block * BLOCK as u64, &mut bytes);
        bytes
    };
    let found = recover(bug, &read)?;
    let mut pages = vec![0; PAGE_COUNT as usize];
    for transaction in 1..=told + 1 {
        if transaction > told && found == pages {
            return Ok(());
        }
        targets(transaction).into_iter().for_each(|n| pages[n as usize] = transaction);
    }
    if found == pages {
        return Ok(());
    }
    Err(format!("told of {told}, found {found:?}"))
}

fn searched(bug: Bug, options: Options) -> Report {
    let host = Store::run(bug, 8);
    let workload = Workload::new(&host.events, None, None).unwrap();
    let mut checker = |state: &State<'_>| check(bug, state);
    search(&workload, &mut checker, options, &mut |_| {}).unwrap()
}

#[test]
fn what_is_right_stands_every_crash() {
    let report = searched(Bug::None, Options::default());
    assert_eq!(report.failures, []);
    assert_eq!(report.complete, report.cuts, "{report:?}");
    assert!(report.cuts > 20 && report.states > 120, "{report:?}");
}

#[test]
fn each_of_twelve_bugs_is_found() {
    for bug in BUGS {
        let report = searched(bug, Options::default());
        let [failure] = &report.failures[..] else { panic!("{bug:?}: {report:?}") };
        // Something is lost, or something is there that must not be: as little as it takes.
        let lost: usize = failure.crash.pending.iter().map(|write| write.lost.len()).sum();
        assert!(lost <= 3, "{bug:?}: {failure:?}");
        eprintln!("{bug:?}: {} states, {}, {}", report.states, failure.crash.state, failure.why);
    }
}

/// The same search finds the same, whatever it chooses at random; a state that failed fails again.
#[test]
fn what_is_found_can_be_looked_at_again() {
    let options = Options { states: 200, failures: 3, ..Options::default() };
    let first = searched(Bug::TailTooEarly, options);
    assert_eq!(searched(Bug::TailTooEarly, options), first);
    assert!(first.failures.len() > 1);
    let host = Store::run(Bug::TailTooEarly, 8);
    let workload = Workload::new(&host.events, None, None).unwrap();
    for failure in first.failures {
        let name = &failure.crash.state;
        let again = crashtest::with_state(&workload, name, |state| check(Bug::TailTooEarly, state));
        assert_eq!(again.unwrap(), (Err(failure.why), failure.crash));
    }
    for name in ["", "7", "9999:", "3:77", "3:2-1", "x:0"] {
        assert!(crashtest::with_state(&workload, name, |_| ()).is_err(), "{name}");
    }
}
