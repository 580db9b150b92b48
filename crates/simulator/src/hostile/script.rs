//! Scripts of commands and of register accesses.

use controller::{Controller, Worker};
use nvme_spec::{
    AdminOpcode, Aqa, Cc, CompletionEntry, Csts, MemoryOpcode, NvmOpcode, Status, SubmissionEntry,
    offset,
};
use simtime::{Duration, Instant};
use zerocopy::{FromBytes, IntoBytes};

use super::{Memory, Script, config};

/// Host memory of a script: queues in the first pages, data in the rest.
const MEMORY: usize = 256 << 10;
/// Entries of every queue: few, so that they fill up.
const ENTRIES: u32 = 8;
/// Submission queues, the admin queue included; each has a completion queue of its number.
const QUEUES: u16 = 3;
/// A program that doubles the numbers of its second range into its first.
const DOUBLE: &[u8] = include_bytes!("../../../../examples/programs/double.bpf.o");

/// A drive with its queues, and what the host knows of them.
struct Scene {
    drive: Controller,
    memory: Memory,
    now: Instant,
    tails: [u32; QUEUES as usize],
    heads: [u32; QUEUES as usize],
    phases: [bool; QUEUES as usize],
    /// Entries rung and not completed, from the host's point of view.
    outstanding: [u32; QUEUES as usize],
    /// Work items that a slow worker still holds.
    working: Vec<controller::WorkItem>,
    worker: Worker,
}

fn submission_base(queue: u16) -> u64 {
    Memory::BASE + u64::from(queue) * 0x2000
}

fn completion_base(queue: u16) -> u64 {
    submission_base(queue) + 0x1000
}

impl Scene {
    fn new() -> Self {
        let drive = Controller::new(config()).expect("the configuration is sound");
        let mut scene = Self {
            drive,
            memory: Memory::new(MEMORY),
            now: Instant::ZERO,
            tails: [0; 3],
            heads: [0; 3],
            phases: [true; 3],
            outstanding: [0; 3],
            working: Vec::new(),
            worker: Worker::default(),
        };
        scene.enable();
        scene
    }

    /// Enables the controller and creates the I/O queues.
    fn enable(&mut self) {
        self.drive.register_write(offset::CC, 4, 0);
        for queue in 0..QUEUES {
            let place = self.memory.place(submission_base(queue), 0x2000).expect("queues fit");
            self.memory.bytes[place].fill(0);
        }
        (self.tails, self.heads, self.outstanding) = ([0; 3], [0; 3], [0; 3]);
        self.phases = [true; 3];
        let size_z = (ENTRIES - 1) as u16;
        let aqa = Aqa::new().with_asqs_z(size_z).with_acqs_z(size_z);
        self.drive.register_write(offset::AQA, 4, aqa.into_bits().into());
        self.drive.register_write(offset::ASQ, 8, submission_base(0));
        self.drive.register_write(offset::ACQ, 8, completion_base(0));
        let cc = Cc::new().with_en(true).with_css(0b110).with_iosqes(6).with_iocqes(4);
        self.drive.register_write(offset::CC, 4, cc.into_bits().into());
        let csts = Csts::from_bits(self.drive.register_read(offset::CSTS, 4) as u32);
        assert!(csts.rdy() && !csts.cfs(), "a reset makes every drive ready: {csts:?}");
        for queue in 1..QUEUES {
            use client::{CompletionQueueOptions, SubmissionQueueOptions, commands};
            let completion =
                CompletionQueueOptions { id: queue, entries: ENTRIES, vector: Some(queue) };
            let submission = SubmissionQueueOptions {
                id: queue,
                entries: ENTRIES,
                completion_queue: queue,
                priority: 0,
            };
            let base = completion_base(queue);
            self.must(0, commands::create_completion_queue(&completion, base));
            let base = submission_base(queue);
            self.must(0, commands::create_submission_queue(&submission, base));
        }
    }

    /// Puts an entry into a queue if the host believes that there is room.
    fn submit(&mut self, queue: u16, entry: &SubmissionEntry) -> bool {
        let at = usize::from(queue);
        if self.outstanding[at] + 1 >= ENTRIES {
            return false;
        }
        let address = submission_base(queue) + 64 * u64::from(self.tails[at]);
        let place = self.memory.place(address, 64).expect("queues are in memory");
        self.memory.bytes[place].copy_from_slice(entry.as_bytes());
        self.tails[at] = (self.tails[at] + 1) % ENTRIES;
        self.outstanding[at] += 1;
        true
    }

    fn ring(&mut self, queue: u16) {
        let at = offset::DOORBELLS + 8 * u64::from(queue);
        let tail = self.tails[usize::from(queue)];
        self.drive.register_write(at, 4, tail.into());
    }

    fn advance(&mut self, is_worker_slow: bool) {
        self.drive.advance(self.now, &mut self.memory);
        self.drive.outbox().interrupts.clear();
        self.working.append(&mut self.drive.outbox().work);
        if !is_worker_slow {
            for item in std::mem::take(&mut self.working) {
                let done = item.run(&mut self.worker);
                self.drive.work_done(done);
            }
            self.drive.advance(self.now, &mut self.memory);
        }
    }

    /// Jumps to the next event; false if there is none.
    fn step(&mut self, is_worker_slow: bool) -> bool {
        let Some(at) = self.drive.next_event() else { return false };
        self.now = self.now.max(at);
        self.advance(is_worker_slow);
        true
    }

    /// Takes completions; returns the last.
    fn collect(&mut self) -> Option<CompletionEntry> {
        let mut last = None;
        for queue in 0..QUEUES {
            let at = usize::from(queue);
            let head = self.heads[at];
            loop {
                let address = completion_base(queue) + 16 * u64::from(self.heads[at]);
                let place = self.memory.place(address, 16).expect("queues are in memory");
                let entry = CompletionEntry::read_from_bytes(&self.memory.bytes[place]);
                let entry = entry.expect("an entry is 16 bytes");
                if entry.phase() != self.phases[at] {
                    break;
                }
                self.heads[at] = (self.heads[at] + 1) % ENTRIES;
                self.phases[at] ^= self.heads[at] == 0;
                // A script may create queues and shadow doorbells that the host knows nothing of:
                // that a command completes once is what the drive's tokens are for.
                if let Some(count) = self.outstanding.get_mut(usize::from(entry.sqid.get())) {
                    *count = count.saturating_sub(1);
                }
                last = Some(entry);
            }
            if self.heads[at] != head {
                let doorbell = offset::DOORBELLS + 8 * u64::from(queue) + 4;
                self.drive.register_write(doorbell, 4, self.heads[at].into());
            }
        }
        last
    }

    /// Runs one command, on a drive that does nothing else.
    fn run(&mut self, queue: u16, entry: SubmissionEntry) -> CompletionEntry {
        assert!(self.submit(queue, &entry), "the queue has room");
        self.ring(queue);
        self.advance(false);
        loop {
            if let Some(done) = self.collect() {
                return done;
            }
            assert!(self.step(false), "a command never completed: {entry:?}");
        }
    }

    /// Runs one command that must succeed.
    fn must(&mut self, queue: u16, entry: SubmissionEntry) {
        let done = self.run(queue, entry);
        assert!(done.status().is_success(), "{entry:?}: {}", done.status());
    }

    /// Lets everything finish.
    fn settle(&mut self) {
        self.advance(false);
        self.collect();
        // Commands wait for places at most as often as there are commands.
        while self.step(false) {
            self.collect();
        }
        self.advance(false);
        self.collect();
    }
}

/// An entry that is valid more often than not.
fn entry(script: &mut Script<'_>, queue: u16) -> SubmissionEntry {
    let mut entry = SubmissionEntry::read_from_bytes(&script.take::<64>()).expect("64 bytes");
    let taming = script.byte();
    if taming & 1 == 0 {
        return entry;
    }
    let pick = |byte: u8, list: &[u8]| list[usize::from(byte) % list.len()];
    entry.nsid.set(match queue {
        0 => [0, 1, 3, u32::MAX][usize::from(taming >> 1 & 3)],
        _ => u32::from(taming >> 1 & 3),
    });
    entry.opcode = match (queue, entry.nsid.get()) {
        (0, _) => pick(entry.opcode, &AdminOpcode::ALL.iter().map(|o| o.0).collect::<Vec<_>>()),
        (_, 2) => pick(entry.opcode, &MemoryOpcode::ALL.iter().map(|o| o.0).collect::<Vec<_>>()),
        (_, 3) => 1,
        _ => pick(entry.opcode, &NvmOpcode::ALL.iter().map(|o| o.0).collect::<Vec<_>>()),
    };
    if taming & 8 != 0 {
        entry.flags = 0;
    }
    // Addresses in the data pages, numbers that are small.
    if taming & 16 != 0 {
        let page = |value: u64| Memory::BASE + 0x8000 + (value & 0x1F) * 0x1000;
        entry.prp1.set(page(entry.prp1.get()));
        entry.prp2.set(page(entry.prp2.get()));
    }
    if taming & 32 != 0 {
        for word in [&mut entry.cdw2, &mut entry.cdw3, &mut entry.cdw4, &mut entry.cdw14] {
            word.set(word.get() & 3);
        }
        entry.cdw10.set(entry.cdw10.get() & 0x00FF_00FF);
        entry.cdw11.set(entry.cdw11.get() & 0x0003_0007);
        entry.cdw12.set(entry.cdw12.get() & 0x4000_000F);
        entry.cdw15.set(0);
    }
    entry
}

/// A program for slot 0, so that executions have something to run.
fn load_program(scene: &mut Scene) {
    use client::commands;
    let data = Memory::BASE + 0x8000;
    let place = scene.memory.place(data, DOUBLE.len()).expect("the program fits");
    scene.memory.bytes[place].copy_from_slice(DOUBLE);
    let len = DOUBLE.len() as u32;
    assert!(len <= 8192, "the program needs no PRP list");
    let kind = nvme_spec::command::program_type::EBPF;
    let load = commands::load_program(0, kind, len, 0, len);
    scene.must(0, commands::with_data(load, (data, data + 0x1000)));
    scene.must(0, commands::activate_program(0, true));
}

/// Any commands: every one completes once or is forgotten by a reset (the drive's tokens panic
/// otherwise), none waits for ever but requests for events, and the drive works afterwards.
pub fn commands(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut scene = Scene::new();
    load_program(&mut scene);
    while !script.is_over() {
        match script.below(16) {
            0..=6 => {
                let queue = u16::from(script.below(QUEUES as u8));
                let entry = entry(&mut script, queue);
                scene.submit(queue, &entry);
            }
            7..=9 => {
                (0..QUEUES).for_each(|queue| scene.ring(queue));
                scene.advance(script.byte() & 1 == 1);
            }
            10 => {
                scene.step(script.byte() & 1 == 1);
            }
            11 => {
                scene.collect();
            }
            12 => scene.now += Duration::from_ns(u64::from(script.word())),
            13 => {
                // Memory changes while commands point to it.
                let at = 0x8000 + usize::from(script.byte()) * 0x200;
                let bytes: [u8; 32] = script.take();
                scene.memory.bytes[at..at + 32].copy_from_slice(&bytes);
            }
            14 => {
                let at = offset::DOORBELLS + 4 * u64::from(script.byte());
                scene.drive.register_write(at, 4, script.word().into());
                // The host does not know its indices any more: it starts afresh.
                scene.enable();
            }
            _ => scene.enable(),
        }
        let csts = Csts::from_bits(scene.drive.register_read(offset::CSTS, 4) as u32);
        if csts.cfs() {
            scene.enable();
        }
    }
    finish(scene);
}

/// Namespace 1 is there and attached, whatever the script did to it.
fn restore_namespace(scene: &mut Scene) {
    use client::commands::{attach_namespace, create_namespace, with_data};
    let data = Memory::BASE + 0x8000;
    let put = |scene: &mut Scene, words: &[u64]| {
        scene.memory.bytes[0x8000..0x9000].fill(0);
        scene.memory.bytes[0x8000..0x8000 + 8 * words.len()].copy_from_slice(words.as_bytes());
    };
    let is_there = scene.drive.namespaces().iter().any(|namespace| namespace.nsid == 1);
    if !is_there {
        let blocks = 16;
        put(scene, &[blocks, blocks]);
        scene.must(0, with_data(create_namespace(), (data, 0)));
    }
    // One controller, whose identifier is 0.
    put(scene, &[1]);
    let attached = scene.run(0, with_data(attach_namespace(1, true), (data, 0))).status();
    let was_attached = attached.same_code(Status::NAMESPACE_ALREADY_ATTACHED);
    assert!(attached.is_success() || was_attached, "{attached}");
}

/// After anything, a reset gives a drive that works; background operations end.
fn finish(mut scene: Scene) {
    scene.settle();
    // Only requests for events may wait for ever.
    let left = scene.drive.statistics().commands_in_flight;
    let requests = controller::limits::ASYNC_EVENT_REQUESTS_MAX as u64;
    assert!(left <= requests, "{left} commands never complete");
    scene.enable();
    scene.settle();
    restore_namespace(&mut scene);
    use client::commands::{read_write, set_feature, with_data};
    let protection = nvme_spec::fid::WRITE_PROTECTION;
    scene.must(0, set_feature(protection, 1, 0, false));
    let (from, to) = (Memory::BASE + 0x8000, Memory::BASE + 0xA000);
    let pattern: Vec<u8> = (0..0x1000).map(|n| (n * 7) as u8).collect();
    scene.memory.bytes[0x8000..0x9000].copy_from_slice(&pattern);
    // 4 KiB whatever the format: eight blocks of 512 bytes, or as many of 4 KiB in two pages.
    scene.must(1, with_data(read_write(NvmOpcode::WRITE, 3, 1), (from, 0)));
    scene.must(1, with_data(read_write(NvmOpcode::READ, 3, 1), (to, 0)));
    assert_eq!(scene.memory.bytes[0xA000..0xA200], pattern[..512], "the drive lost a block");
    assert_eq!(scene.drive.statistics().commands_in_flight, 0, "nothing is in flight");
}

/// Any register accesses: what is read obeys the specification's invariants, and a host that starts
/// over finds a working drive.
pub fn registers(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut scene = Scene::new();
    let cap = scene.drive.register_read(offset::CAP, 8);
    while !script.is_over() {
        let (kind, size) = (script.byte(), [1, 2, 4, 4, 4, 8][usize::from(script.below(6))]);
        let at = match kind >> 4 & 3 {
            0 => u64::from(script.byte()) & 0x7F,
            1 => offset::DOORBELLS + 4 * u64::from(script.below(16)),
            2 => script.long(),
            _ => [offset::CC, offset::NSSR, offset::CSTS, offset::AQA, offset::ASQ, offset::ACQ]
                [usize::from(script.below(6))],
        };
        match kind & 3 {
            0 => {
                let value = scene.drive.register_read(at, size);
                let fits = size == 8 || value < 1 << (8 * size);
                assert!(fits, "{size} bytes at {at:#x} read {value:#x}");
            }
            1 => scene.drive.register_write(at, size, script.long()),
            // Values that mean something.
            2 => {
                let cc = Cc::new().with_css(0b110).with_iosqes(6).with_iocqes(4);
                let cc = cc.with_en(script.byte() & 1 == 1).with_shn(script.below(4));
                let value = if at == offset::NSSR { 0x4E56_4D65 } else { cc.into_bits() };
                scene.drive.register_write(at, 4, value.into());
            }
            _ => {
                scene.step(false);
            }
        }
        scene.advance(false);
        let cc = Cc::from_bits(scene.drive.register_read(offset::CC, 4) as u32);
        let csts = Csts::from_bits(scene.drive.register_read(offset::CSTS, 4) as u32);
        assert!(!csts.rdy() || cc.en(), "ready without being enabled: {cc:?} {csts:?}");
        assert_eq!(scene.drive.register_read(offset::CAP, 8), cap, "capabilities never change");
        assert_eq!(scene.drive.register_read(offset::CMBSZ, 4), 0, "there is no memory buffer");
    }
    scene.drive.register_write(offset::CC, 4, 0);
    scene.enable();
    finish(scene);
}
