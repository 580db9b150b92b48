//! Every command with every error that a host can make it return: each row of `docs/statuses.md` is
//! proved here, and the page is written from these rows (`UPDATE_DOCS=1 cargo test -p simulator
//! --test statuses`).

mod admin;
mod any;
mod compound;
mod memory;
mod namespaces;
mod nvm;
mod placement;
mod programs;
mod queues;
mod zones;

use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use client::{DmaMemory, QueueId, commands::with_data};
use controller::{
    Config, Controller, Counts, CpuTime, Invocation, NativeConfig, NativeLoadError, NativePrograms,
    NativeSource, Parts, ProgramLoaders, ShellFault, ShellFaultKind, ShellOutcome, ShellProgram,
};
use nvme_spec::{Status, SubmissionEntry};
use simulator::Session;
use ssd::Geometry;
use ssd::faulty::{FaultyStore, Plan};

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);
const DOUBLE: &[u8] = include_bytes!("../../../../examples/programs/double.bpf.o");

/// Blocks of the drive in these rows.
const BLOCKS: u64 = (64 << 20) / 4096;
/// Bytes of its device memory.
const MEMORY: u64 = 16 << 20;

/// A row: under a condition, a command completes with a status.
struct Row {
    command: &'static str,
    condition: &'static str,
    status: Status,
    prove: fn(&mut Scene) -> Status,
}

fn config() -> Config {
    let mut config = Config { memory_bytes: MEMORY, ..Config::default() };
    config.flash.capacity_bytes = 64 << 20;
    config
}

/// Native programs that end in one way.
#[derive(Clone, Debug)]
struct Ending(ShellFaultKind);

impl NativePrograms for Ending {
    fn load(
        &self,
        _: NativeSource<'_>,
        _: Option<&str>,
    ) -> Result<Arc<dyn ShellProgram>, NativeLoadError> {
        Ok(Arc::new(self.clone()))
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, NativeLoadError> {
        Err(NativeLoadError::Refused(String::new()))
    }
}

impl ShellProgram for Ending {
    fn run(&self, _: &Invocation, _: u32) -> ShellOutcome {
        let fault = ShellFault { kind: self.0, text: String::new() };
        ShellOutcome {
            result: Err(fault),
            counts: Counts::default(),
            output: Vec::new(),
            cpu_time: CpuTime::default(),
        }
    }
}

/// A drive for one row.
struct Scene {
    session: Session,
}

impl Scene {
    fn new() -> Self {
        Self { session: simulator::open(config(), 0, 64).expect("a sound configuration") }
    }

    /// A new drive whose flash fails.
    fn break_flash(&mut self, plan: Plan) {
        let geometry = Geometry::new(&config().flash).expect("a sound configuration");
        let store = FaultyStore::new(&geometry, Arc::new(Mutex::new(plan)));
        let parts = Parts { store: Some(Box::new(store)), ..Parts::default() };
        let drive = Controller::with_parts(config(), parts).expect("a sound configuration");
        self.session = simulator::open_drive(drive, 0, 64).expect("a sound drive");
    }

    /// A new drive with native programs, all of which end like this.
    fn take_native(&mut self, kind: ShellFaultKind) {
        let native = NativeConfig { upload: true, ..NativeConfig::default() };
        let config = Config { native, ..config() };
        let parts = Parts {
            programs: ProgramLoaders { native: Some(Arc::new(Ending(kind))), wasm: None },
            ..Parts::default()
        };
        let drive = Controller::with_parts(config, parts).expect("a sound configuration");
        self.session = simulator::open_drive(drive, 0, 64).expect("a sound drive");
    }

    /// Runs a command without data.
    fn run(&mut self, queue: QueueId, entry: SubmissionEntry) -> Status {
        self.session.transport.driver.execute(queue, entry).expect("every command completes").status
    }

    /// Runs an admin command with data, or room for it.
    fn admin(&mut self, entry: SubmissionEntry, data: &[u8]) -> Status {
        self.send(ADMIN, entry, data)
    }

    /// Runs an I/O command with data, or room for it.
    fn io(&mut self, entry: SubmissionEntry, data: &[u8]) -> Status {
        self.send(IO, entry, data)
    }

    fn send(&mut self, queue: QueueId, entry: SubmissionEntry, data: &[u8]) -> Status {
        let entry = self.with_buffer(entry, data);
        self.run(queue, entry)
    }

    /// The same command with its data pointer set to a buffer that holds `data`.
    fn with_buffer(&mut self, entry: SubmissionEntry, data: &[u8]) -> SubmissionEntry {
        let ram = &mut self.session.transport.driver.port.ram;
        let buffer = ram.allocate(data.len().max(4096) as u64);
        ram.put(buffer.address, data);
        let prps = ram.prps(&buffer, data.len() as u64);
        with_data(entry, prps)
    }

    /// Submits a command that is then under way; its identifier.
    fn begin(&mut self, queue: QueueId, entry: SubmissionEntry, data: &[u8]) -> u16 {
        let entry = self.with_buffer(entry, data);
        self.session.transport.driver.submit(queue, entry)
    }

    /// The next completion's status.
    fn next(&mut self) -> Status {
        self.session.transport.driver.next_completion().expect("a command is under way").status
    }

    /// A command must have succeeded before what the row is about.
    fn given(&mut self, status: Status) {
        assert!(status.is_success(), "preparing a row: {status}");
    }
}

fn rows() -> Vec<Row> {
    let rows = [
        any::rows(),
        queues::rows(),
        admin::rows(),
        namespaces::rows(),
        placement::rows(),
        programs::rows(),
        compound::rows(),
        nvm::rows(),
        zones::rows(),
        memory::rows(),
    ];
    rows.into_iter().flatten().collect()
}

/// The statuses of each single command, in the order of the rows.
fn by_command(rows: &[Row]) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows.iter().filter(|row| !row.command.starts_with("any ")) {
        for command in row.command.split(", ") {
            // "(unload)" and the like are forms of one command.
            let command = command.split(" (").next().unwrap_or(command);
            let name = row.status.name();
            match commands.iter_mut().find(|(known, _)| *known == command) {
                Some((_, names)) if names.contains(&name) => {}
                Some((_, names)) => names.push(name),
                None => commands.push((command, vec![name])),
            }
        }
    }
    commands
}

/// Statuses the drive knows the names of and never completes a command with.
const NEVER: [(Status, &str); 10] = [
    (Status::KEEP_ALIVE_EXPIRED, "ends in CSTS.CFS and the error log, not in a completion"),
    (Status::INTERNAL_ERROR, "bugs stop the program instead"),
    (Status::ABORT_LIMIT_EXCEEDED, "every Abort is done before the next command is taken"),
    (Status::CONFLICTING_ATTRIBUTES, "the context attributes of Dataset Management are not used"),
    (Status::INVALID_PROTECTION_INFORMATION, "no format has protection information"),
    (Status::WRITE_TO_READ_ONLY_RANGE, "the namespace is protected as a whole or not at all"),
    (Status::FAST_COPY_NOT_POSSIBLE, "every copy is inside the drive: fast"),
    (Status::NAMESPACE_NOT_REACHABLE, "what does not reach each other is incompatible too"),
    (Status::INSUFFICIENT_RESOURCES, "limits have statuses of their own"),
    (Status::PROGRAM_INDEX_NOT_DOWNLOADABLE, "no program is device-defined"),
];

fn page(rows: &[Row]) -> String {
    let mut page = String::from(
        "# Statuses\n\nWhat each command returns when something is wrong with it. Every row is a \
         test (`crates/simulator/tests/statuses`), and this\npage is written by it: `UPDATE_DOCS=1 \
         cargo test -p simulator --test statuses`.\n\nA command that is wrong in several ways \
         returns the first that is found; decoding comes before state, state before data.\n\n\
         | command | condition | status | SCT | SC |\n|---|---|---|---|---|\n",
    );
    for Row { command, condition, status, .. } in rows {
        let (name, sct, sc) = (status.name(), status.sct(), status.sc());
        writeln!(page, "| {command} | {condition} | {name} | {sct:x}h | {sc:02x}h |")
            .expect("strings take everything");
    }
    page.push_str("\n## By command\n\n| command | its own statuses, besides those of any command |\n|---|---|\n");
    for (command, statuses) in by_command(rows) {
        writeln!(page, "| {command} | {} |", statuses.join(", ")).expect("strings take everything");
    }
    page.push_str("\n## Never returned\n\n| status | why |\n|---|---|\n");
    for (status, why) in NEVER {
        writeln!(page, "| {} | {why} |", status.name()).expect("strings take everything");
    }
    page
}

#[test]
fn every_row_returns_its_status() {
    for row in rows() {
        let got = (row.prove)(&mut Scene::new());
        let (command, condition, expected) = (row.command, row.condition, row.status);
        assert!(got.same_code(expected), "{command}, {condition}: got {got}, expected {expected}");
    }
}

#[test]
fn page_of_statuses_is_what_the_rows_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/statuses.md");
    let page = page(&rows());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("docs are writable");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/statuses.md differs; write it with UPDATE_DOCS=1");
}

#[test]
fn every_status_has_a_row_or_a_reason_why_not() {
    let rows = rows();
    for status in Status::ALL.iter().filter(|status| !status.is_success()) {
        let is_returned = rows.iter().any(|row| row.status.same_code(*status));
        let is_excused = NEVER.iter().any(|(never, _)| never.same_code(*status));
        assert!(
            is_returned != is_excused,
            "{status}: returned {is_returned}, excused {is_excused}"
        );
    }
}
