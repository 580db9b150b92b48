//! Programs, range sets, executions.

use std::borrow::Cow;
use std::path::Path;

use nvme_spec::command::{ExecuteCdw14, MemoryRangeDescriptor, RunTime, program_type};
use nvme_spec::{
    ProgramDescriptor, ProgramListHeader, RangeSetEntry, RangeSetsHeader, Status, SubmissionEntry,
    lid,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{Drive, DriveError, DriveResult};
use crate::commands::{self, Execute, LoadOptions};
use crate::transport::{Command, Data, Done, Lane, Submit, Ticket};

/// What is at a program index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgramInfo {
    /// Its index.
    pub index: u16,
    /// Where it comes from.
    pub state: ProgramState,
    /// It can be executed.
    pub is_active: bool,
    /// Its type: 1 = eBPF, C0h = declared time, C1h and C2h = native.
    pub kind: u8,
}

/// Where a program comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgramState {
    /// A host loaded it.
    Downloaded,
    /// The drive has it by itself.
    DeviceDefined,
}

/// A memory range set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeSetInfo {
    /// Its identifier.
    pub id: u16,
    /// An execution uses it.
    pub is_in_use: bool,
    /// Start and length of each range, in bytes of device memory.
    pub ranges: Vec<(u64, u32)>,
}

/// One execution of a program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Invocation {
    /// Program index.
    pub program: u16,
    /// Identifier of a range set, 0 = none; ranges may also be given with the command.
    pub range_set: u16,
    /// Start and length of each range, if no set is named. A range may have no bytes.
    pub ranges: Vec<(u64, u32)>,
    /// First parameter.
    pub param1: i64,
    /// Second parameter.
    pub param2: i64,
    /// Data buffer of the program.
    pub data: Vec<u8>,
    /// Job group, 0 = none.
    pub group: u8,
    /// Where the modelled run time comes from; unless it is said, as the program or else the drive has it.
    pub run_time: RunTime,
}

/// What is downloaded as a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgramImage<'a> {
    /// A BPF object.
    Bpf(&'a [u8]),
    /// No code, but a run time in nanoseconds, little-endian (vendor specific).
    Declared([u8; 8]),
    /// A native program: a shared object for the machine that runs the drive, and the function to call; empty = the only one that
    /// it exports. The drive must be configured to take it.
    Native {
        /// The shared object.
        object: &'a [u8],
        /// The function.
        function: &'a str,
    },
    /// A WebAssembly program: a module, and the function to call; empty = `_start`, or the only one that fits.
    Wasm {
        /// The module.
        module: &'a [u8],
        /// The function.
        function: &'a str,
    },
    /// A native program that the drive has in its folder, by the name of its file.
    NativeFile {
        /// The file.
        name: &'a str,
        /// The function.
        function: &'a str,
    },
}

impl<'a> ProgramImage<'a> {
    /// What the bytes of an object file say that it is.
    pub fn of(object: &'a [u8]) -> Self {
        if is_native(object) {
            Self::Native { object, function: "" }
        } else if object.starts_with(b"\0asm") {
            Self::Wasm { module: object, function: "" }
        } else {
            Self::Bpf(object)
        }
    }

    /// The type of the program, and what is sent.
    fn payload(self) -> (u8, Cow<'a, [u8]>) {
        let named = |function: &str, rest| Cow::Owned([function.as_bytes(), b"\0", rest].concat());
        match self {
            Self::Bpf(object) => (program_type::EBPF, Cow::Borrowed(object)),
            Self::Declared(ns) => (program_type::DECLARED, Cow::Owned(ns.to_vec())),
            Self::Native { object, function } => (program_type::NATIVE, named(function, object)),
            Self::Wasm { module, function } => (program_type::WASM, named(function, module)),
            Self::NativeFile { name, function } => {
                (program_type::NATIVE_FILE, named(function, name.as_bytes()))
            }
        }
    }
}

/// True for an ELF file of a machine that is not BPF.
fn is_native(object: &[u8]) -> bool {
    const MACHINE: std::ops::Range<usize> = 18..20;
    const BPF: [u8; 2] = 247u16.to_le_bytes();
    object.starts_with(b"\x7FELF\x02\x01") && object.get(MACHINE).is_some_and(|m| m != BPF)
}

/// Bytes of a memory range descriptor in log page 84h.
const RANGE_BYTES: usize = 32;

/// First guess at the length of a log page that says how long it is.
const FIRST_LOOK: u64 = 4096;

impl<T: Submit> Drive<T> {
    /// Downloads a program in pieces, and verifies it. It must be activated before it can run.
    ///
    /// # Errors
    /// If the drive refuses it; the detail says why.
    pub fn download_program(&mut self, index: u16, object: &[u8]) -> DriveResult<()> {
        self.download_program_with(index, ProgramImage::of(object), LoadOptions::default())
    }

    /// As [`Self::download_program`], of any kind, and says where the run time of its executions comes from.
    ///
    /// # Errors
    /// If the drive refuses it; the detail says why.
    pub fn download_program_with(
        &mut self,
        index: u16,
        image: ProgramImage<'_>,
        options: LoadOptions,
    ) -> DriveResult<()> {
        let (kind, bytes) = image.payload();
        let total = u32::try_from(bytes.len())
            .map_err(|_| DriveError::TooMuch(format!("a program of {} bytes", bytes.len())))?;
        if bytes.is_empty() {
            return Err(DriveError::Empty("a program"));
        }
        let mut offset = 0;
        // Pieces are whole dwords, but for the last.
        for piece in bytes.chunks(self.geometry.transfer_bytes_max as usize) {
            let load = commands::load_program(index, kind, total, offset, piece.len() as u32);
            let entry = self.of_programs(options.apply(load));
            let data = Data::ToDrive(piece.to_vec());
            let sent = self.run(LOAD, Lane::Admin, entry, data);
            self.with_detail(sent, Self::diagnostics)?;
            offset += piece.len() as u32;
        }
        Ok(())
    }

    /// Downloads a program and activates it.
    ///
    /// # Errors
    /// If the drive refuses it; the detail says why.
    pub fn load_program(&mut self, index: u16, object: &[u8]) -> DriveResult<()> {
        self.download_program(index, object)?;
        self.activate_program(index, true)
    }

    /// Downloads a program from a file and activates it: a BPF object, a shared object (native), or C source (`.c`), which is
    /// compiled by clang to a BPF object.
    ///
    /// # Errors
    /// If there is no such file, it cannot be compiled, or the drive refuses it; the detail says why.
    pub fn load_program_file(&mut self, index: u16, path: &Path) -> DriveResult<()> {
        self.load_program(index, &bpf_clang::program_bytes(path)?)
    }

    /// Activates or deactivates a program.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn activate_program(&mut self, index: u16, activate: bool) -> DriveResult<()> {
        let entry = self.of_programs(commands::activate_program(index, activate));
        self.run("Program Activation Management", Lane::Admin, entry, Data::None).map(drop)
    }

    /// Unloads a program that is not active.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn unload_program(&mut self, index: u16) -> DriveResult<()> {
        let entry = self.of_programs(commands::unload_program(index));
        self.run("Unload Program", Lane::Admin, entry, Data::None).map(drop)
    }

    /// Deactivates a program if it is active, and unloads it.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn remove_program(&mut self, index: u16) -> DriveResult<()> {
        match self.activate_program(index, false) {
            Err(DriveError::Failed(failed))
                if failed.status.same_code(Status::PROGRAM_NOT_ACTIVATED) => {}
            other => other?,
        }
        self.unload_program(index)
    }

    /// The programs on the drive.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn programs(&mut self) -> DriveResult<Vec<ProgramInfo>> {
        let header = size_of::<ProgramListHeader>() as u64;
        let page = self.log(lid::PROGRAM_LIST, self.geometry.namespaces.programs, header)?;
        let (head, _) = ProgramListHeader::read_from_prefix(&page).expect("it was asked for");
        let len = u64::from(head.numd.get()) * size_of::<ProgramDescriptor>() as u64;
        let list =
            self.log_at(lid::PROGRAM_LIST, self.geometry.namespaces.programs, header, len)?;
        let (descriptors, _) = list.as_chunks::<{ size_of::<ProgramDescriptor>() }>();
        let info = |(index, bytes): (usize, &[u8; size_of::<ProgramDescriptor>()])| {
            let descriptor = ProgramDescriptor::read_from_bytes(bytes).expect("as long as that");
            let state = match descriptor.state & 3 {
                1 => ProgramState::Downloaded,
                2 => ProgramState::DeviceDefined,
                _ => return None,
            };
            let is_active = descriptor.state & 4 != 0;
            Some(ProgramInfo { index: index as u16, state, is_active, kind: descriptor.ptype })
        };
        Ok(descriptors.iter().enumerate().filter_map(info).collect())
    }

    /// Creates a memory range set of (start, length) pairs.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn create_range_set(&mut self, ranges: &[(u64, u32)]) -> DriveResult<u16> {
        let list = descriptors(self.geometry.namespaces.memory, ranges);
        let count = u8::try_from(ranges.len())
            .map_err(|_| DriveError::TooMuch(format!("{} ranges", ranges.len())))?;
        let entry = self.of_programs(commands::create_range_set(count));
        let done =
            self.run("Memory Range Set Management", Lane::Admin, entry, Data::ToDrive(list))?;
        Ok(done.result as u16)
    }

    /// Deletes a memory range set.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn delete_range_set(&mut self, id: u16) -> DriveResult<()> {
        let entry = self.of_programs(commands::delete_range_set(id));
        self.run("Memory Range Set Management", Lane::Admin, entry, Data::None).map(drop)
    }

    /// The memory range sets of the drive.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn range_sets(&mut self) -> DriveResult<Vec<RangeSetInfo>> {
        let mut len = FIRST_LOOK;
        // The page says only as one reads it how long it is.
        loop {
            let page = self.log(lid::RANGE_SETS, self.geometry.namespaces.programs, len)?;
            match parse_range_sets(&page) {
                Some(sets) => return Ok(sets),
                None if len < u32::MAX.into() => len *= 8,
                None => return Err(DriveError::TooMuch("a list of range sets".to_owned())),
            }
        }
    }

    /// Executes a program; returns its result: its `long long`, as the drive sends it, without a sign.
    ///
    /// # Errors
    /// If the drive refuses or stops the program; the detail says why.
    pub fn execute(&mut self, invocation: &Invocation) -> DriveResult<u64> {
        let ticket = self.start_execute(invocation)?;
        let done = self.wait_for(ticket)?;
        self.executed(done)
    }

    /// Starts an execution; [`Self::wait`] gives its completion, [`Self::executed`] its result.
    ///
    /// # Errors
    /// If the drive is gone.
    pub fn start_execute(&mut self, invocation: &Invocation) -> DriveResult<Ticket> {
        let command = self.execute_command(invocation)?;
        self.start(command)
    }

    /// Execute Program, not yet sent; [`Self::start`] sends it.
    ///
    /// # Errors
    /// If its ranges and its data are more than a command can carry.
    pub fn execute_command(&self, invocation: &Invocation) -> DriveResult<Command> {
        let mut data = descriptors(self.geometry.namespaces.memory, &invocation.ranges);
        data.extend(&invocation.data);
        self.execution(invocation, data, |entry| entry)
    }

    /// Refuses more ranges, extents and data than the data buffer of an execution holds.
    pub(super) fn check_execution_data(&self, bytes: u64) -> DriveResult<()> {
        let most = self.geometry.transfer_bytes_max.min(EXECUTE_DATA_BYTES_MAX);
        if bytes <= most {
            return Ok(());
        }
        let what = format!("ranges and data of {bytes} bytes (at most {most})");
        Err(DriveError::TooMuch(what))
    }

    pub(super) fn execution(
        &self,
        invocation: &Invocation,
        data: Vec<u8>,
        change: impl FnOnce(SubmissionEntry) -> SubmissionEntry,
    ) -> DriveResult<Command> {
        self.check_execution_data(data.len() as u64)?;
        let mut execute = Execute {
            program_index: invocation.program,
            rsid: invocation.range_set,
            inline_ranges: invocation.ranges.len() as u32,
            data_len: data.len() as u32,
            param1: invocation.param1,
            param2: invocation.param2,
            group: invocation.group,
            run_time: invocation.run_time,
        }
        .entry();
        // The kernel's passthrough has no place for dword 4: this drive takes dword 14, too.
        let dword14 = ExecuteCdw14::from_bits(execute.cdw14.get()).with_dlen(data.len() as u32);
        execute.cdw14.set(dword14.into_bits());
        let execute = self.of_programs(change(execute));
        let data = if data.is_empty() { Data::None } else { Data::ToDrive(data) };
        Ok(Command { name: EXECUTE, lane: Lane::Io, entry: execute, data, is_execution: true })
    }

    /// The result of an execution that has completed.
    ///
    /// # Errors
    /// If the drive refused or stopped the program; the detail says why.
    pub fn executed(&mut self, done: Done) -> DriveResult<u64> {
        let done = self.with_detail(super::succeeded(EXECUTE, done), Self::diagnostics)?;
        Ok(done.result)
    }

    /// Adds what the drive says about it to the failure of a program command.
    pub(super) fn with_detail<U>(
        &mut self,
        result: DriveResult<U>,
        detail: impl FnOnce(&mut Self, Status) -> DriveResult<Option<String>>,
    ) -> DriveResult<U> {
        match result {
            Err(DriveError::Failed(mut failed)) => {
                failed.detail = detail(self, failed.status)?;
                Err(failed.into())
            }
            other => other,
        }
    }

    fn diagnostics(&mut self, status: Status) -> DriveResult<Option<String>> {
        let has_text = status.is_program_fault()
            || status.same_code(Status::INVALID_PROGRAM_DATA)
            || status.same_code(Status::INVALID_PROGRAM_TYPE)
            || status.same_code(Status::INTERNAL_ERROR);
        if !has_text {
            return Ok(None);
        }
        self.diagnostics_text().map(Some)
    }

    /// Diagnostics of a command of several steps: any of them may have failed, with any status.
    pub(super) fn step_diagnostics(&mut self) -> DriveResult<Option<String>> {
        Ok(Some(self.diagnostics_text()?).filter(|text| !text.is_empty()))
    }

    fn diagnostics_text(&mut self) -> DriveResult<String> {
        let page = self.log(lid::PROGRAM_DIAGNOSTICS, self.geometry.namespaces.programs, 4096)?;
        let len = u32::from_le_bytes([page[4], page[5], page[6], page[7]]) as usize;
        let text = &page[8..page.len().min(8 + len)];
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Text that programs printed with the trace helper.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn program_trace(&mut self) -> DriveResult<Vec<u8>> {
        let head = self.log(lid::PROGRAM_TRACE, self.geometry.namespaces.programs, 4)?;
        let len = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
        let rounded = len.next_multiple_of(4);
        let mut text =
            self.log_at(lid::PROGRAM_TRACE, self.geometry.namespaces.programs, 4, rounded)?;
        text.truncate(len as usize);
        Ok(text)
    }
}

/// What dword 14 can say.
const EXECUTE_DATA_BYTES_MAX: u64 = (1 << 24) - 1;

pub(super) const EXECUTE: &str = "Execute Program";
pub(super) const LOAD: &str = "Load Program";

/// Range descriptors of a memory namespace.
fn descriptors(nsid: u32, ranges: &[(u64, u32)]) -> Vec<u8> {
    let describe = |&(start, len): &(u64, u32)| MemoryRangeDescriptor {
        nsid: nsid.into(),
        ..commands::memory_range(start, len)
    };
    let list: Vec<_> = ranges.iter().map(describe).collect();
    list.as_bytes().to_vec()
}

/// `None` if the page goes on.
fn parse_range_sets(page: &[u8]) -> Option<Vec<RangeSetInfo>> {
    let (head, mut rest) = RangeSetsHeader::read_from_prefix(page).ok()?;
    let mut sets = Vec::new();
    for _ in 0..head.sets.get() {
        let (entry, after) = RangeSetEntry::read_from_prefix(rest).ok()?;
        let (list, after) = after.split_at_checked(usize::from(entry.numr) * RANGE_BYTES)?;
        let (list, _) = list.as_chunks::<RANGE_BYTES>();
        let range = |bytes: &[u8; RANGE_BYTES]| {
            let descriptor = MemoryRangeDescriptor::read_from_bytes(bytes).ok()?;
            Some((descriptor.start.get(), descriptor.length.get()))
        };
        let ranges = list.iter().filter_map(range).collect();
        sets.push(RangeSetInfo { id: entry.rsid.get(), is_in_use: entry.state & 1 != 0, ranges });
        rest = after;
    }
    Some(sets)
}
