//! A programs namespace: program slots, memory range sets, what programs printed.
//!
//! A program or range set is in use while a lease on it exists; leases travel with the command and
//! with its work item, so a worker that still runs keeps them in use even after a reset.

pub(crate) mod early;
pub(crate) mod execute;
pub(crate) mod manage;
pub(crate) mod run_time;
pub(crate) mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use compute::{GroupId, Work};
use early::EarlyInput;
use ebpf::{CpuTime, Program, Range};
use nvme_spec::command::program_type;
use nvme_spec::{Nsid, Status};
use run_time::{CostSource, ProgramRunTime};
use simtime::{Duration, Instant};

use crate::command::{ExecuteProgram, LoadProgram, StreamProgram};
use crate::femu::FemuEnd;
use crate::limits::{
    ACTIVATIONS_MAX, DIAGNOSTICS_BYTES_MAX, FUNCTION_BYTES_MAX, PROGRAM_BYTES_MAX, PROGRAM_SLOTS,
    RANGE_SETS_MAX, TRACE_LOG_BYTES,
};
use crate::native::{NativeLoadError, NativePrograms, NativeSource};
use crate::own_memory::Allocation;
use crate::parts::ProgramLoaders;
use crate::shell_program::ShellProgram;
use crate::wasm::{WasmConfig, WasmPrograms};
use crate::work::Ran;

/// What a slot holds once all pieces of it have arrived.
#[derive(Clone, Debug)]
pub(crate) enum LoadedProgram {
    Ebpf {
        program: Program,
        /// What it was loaded from, for a runtime server.
        object: Arc<[u8]>,
    },
    /// What the shell runs.
    Shell { kind: ShellKind, program: Arc<dyn ShellProgram> },
    /// Runs nothing and takes a declared time.
    Declared(Duration),
}

/// What a program is that the shell runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ShellKind {
    /// Code of this machine.
    Native,
    /// A WebAssembly module.
    Wasm,
}

impl ShellKind {
    /// A program of this kind.
    fn of(self, program: Arc<dyn ShellProgram>) -> LoadedProgram {
        LoadedProgram::Shell { kind: self, program }
    }
}

/// The right to use a program; while one exists the program is in use.
#[derive(Clone, Debug)]
pub(crate) struct ProgramLease {
    pub(crate) program: LoadedProgram,
    pub(super) run_time: ProgramRunTime,
    #[expect(dead_code, reason = "counted, not read")]
    in_use: Arc<()>,
    /// Memory of the drive's own that it works on: it stays as long as the program may run.
    pub(crate) memory: Vec<Arc<Allocation>>,
}

/// A program slot that is not empty.
#[derive(Debug)]
pub(crate) struct ProgramSlot {
    pub(crate) program_type: u8,
    pub(crate) identifier_type: u8,
    pub(crate) identifier: u64,
    pub(crate) active: bool,
    run_time: ProgramRunTime,
    total: u32,
    bytes: Vec<u8>,
    /// The function to call, of an object with several.
    pub(crate) function: Option<String>,
    program: Option<LoadedProgram>,
    in_use: Arc<()>,
}

impl ProgramSlot {
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.in_use) > 1
    }
}

/// A memory range set. Who holds a copy of the [`Arc`] besides the namespace keeps it in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeSet {
    pub(crate) ranges: Vec<Range>,
    /// The memory namespace of each.
    pub(crate) nsids: Vec<Nsid>,
}

/// Loads a native program of what a host sent: the name of a function, a zero byte, then a shared object or a name of one.
fn load_native(
    native: Option<&dyn NativePrograms>,
    kind: u8,
    bytes: &[u8],
) -> Result<Arc<dyn ShellProgram>, NativeLoadError> {
    let refused = |text: &str| NativeLoadError::Refused(text.to_owned());
    let native = native.ok_or_else(|| {
        refused("native programs run in processes of csdrive: serve this drive with it, or give Parts::native")
    })?;
    let (function, object) = named(bytes).map_err(refused)?;
    let source = match kind {
        program_type::NATIVE => NativeSource::Uploaded(object),
        _ => NativeSource::Named(std::str::from_utf8(object).map_err(|_| refused(NOT_UTF_8))?),
    };
    native.load(source, function)
}

/// Loads a WebAssembly program of what a host sent: the name of a function, a zero byte, then a module.
fn load_wasm(
    wasm: Option<&dyn WasmPrograms>,
    config: &WasmConfig,
    bytes: &[u8],
) -> Result<Arc<dyn ShellProgram>, String> {
    let wasm = wasm.ok_or("this drive runs no WebAssembly: drives of csdrive run, serve and workload do (ProgramLoaders::wasm)")?;
    let (function, module) = named(bytes)?;
    wasm.load(module, function, config)
}

const NOT_UTF_8: &str = "a name is not UTF-8";

/// The name of a function, if one is given, and what comes after it.
fn named(bytes: &[u8]) -> Result<(Option<&str>, &[u8]), &'static str> {
    let end = bytes.iter().take(FUNCTION_BYTES_MAX + 1).position(|b| *b == 0);
    let end =
        end.ok_or("a program of this type begins with the name of a function and a zero byte")?;
    let function = std::str::from_utf8(&bytes[..end]).map_err(|_| NOT_UTF_8)?;
    Ok((Some(function).filter(|name| !name.is_empty()), &bytes[end + 1..]))
}

/// True if an execution or its worker uses a range set.
pub(crate) fn is_in_use(set: &Arc<RangeSet>) -> bool {
    Arc::strong_count(set) > 1
}

/// A job on the compute units.
#[derive(Debug)]
pub(crate) struct RunningJob {
    /// Keep the program and the range set in use.
    pub(crate) _in_use: (ProgramLease, Option<Arc<RangeSet>>),
    pub(crate) group: GroupId,
    /// The program's index.
    pub(crate) program: u16,
    pub(crate) cost: CostSource,
    /// What it did, once it ran.
    pub(crate) work: Work,
    /// The processor time of that, if it is measured.
    pub(crate) cpu_time: CpuTime,
    /// What the program came to, once it ran.
    pub(crate) ran: Option<Ran>,
    /// Who ran the program.
    pub(crate) worked: Worked,
    /// It began before all of its input was there.
    pub(crate) early: Option<Box<EarlyInput>>,
    /// How it ends in FEMU's dialect.
    pub(crate) femu: Option<FemuEnd>,
    /// Stops the program, wherever it runs, when nobody waits for it any more.
    #[expect(dead_code, reason = "acts when it is dropped")]
    pub(crate) stop: StopOnDrop,
}

/// Who ran a program, for records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Worked {
    /// When its result came.
    pub(crate) until: Option<Instant>,
    /// In real time.
    pub(crate) took: std::time::Duration,
    pub(crate) worker: u32,
}

/// Sets a program's stop flag at the end of its job.
#[derive(Debug)]
pub(crate) struct StopOnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a command does when the data it waits for has arrived.
#[derive(Debug)]
pub(crate) enum ProgramsArrival {
    Load(LoadProgram),
    CreateRangeSet { count: u8 },
    Execute { command: ExecuteProgram, lease: ProgramLease, set: Option<Arc<RangeSet>> },
    Stream { command: StreamProgram, lease: ProgramLease, set: Arc<RangeSet> },
}

/// What programs printed, and why they were refused or stopped.
#[derive(Debug, Default)]
pub(crate) struct ProgramText {
    pub(crate) diagnostics: Vec<u8>,
    pub(crate) trace: VecDeque<u8>,
}

impl ProgramText {
    /// Forgets text that holds what programs saw.
    pub(crate) fn clear(&mut self) {
        self.diagnostics.clear();
        self.trace.clear();
    }

    /// Keeps why a program was refused (with its index) or stopped.
    pub(crate) fn set_diagnostics(&mut self, program_index: u16, text: &str) {
        let text = &text[..text.floor_char_boundary(DIAGNOSTICS_BYTES_MAX)];
        self.diagnostics.clear();
        self.diagnostics.extend(program_index.to_le_bytes());
        self.diagnostics.extend([0, 0]);
        self.diagnostics.extend((text.len() as u32).to_le_bytes());
        self.diagnostics.extend(text.as_bytes());
    }

    /// The text of the diagnostics.
    pub(crate) fn diagnostics_text(&self) -> String {
        /// Bytes before the text.
        const HEADER: usize = 8;
        String::from_utf8_lossy(self.diagnostics.get(HEADER..).unwrap_or_default()).into_owned()
    }

    /// Keeps text that a program printed; the oldest is dropped.
    pub(crate) fn append_trace(&mut self, text: &[u8]) {
        self.trace.extend(text);
        let excess = self.trace.len().saturating_sub(TRACE_LOG_BYTES);
        self.trace.drain(..excess);
    }
}

/// A programs namespace.
#[derive(Debug)]
pub(crate) struct ProgramsNamespace {
    pub(crate) nsid: Nsid,
    pub(crate) slots: BTreeMap<u16, ProgramSlot>,
    pub(crate) sets: BTreeMap<u16, Arc<RangeSet>>,
    pub(crate) text: ProgramText,
}

impl ProgramsNamespace {
    /// Without programs and range sets.
    pub(crate) fn new(nsid: Nsid) -> Self {
        Self { nsid, slots: BTreeMap::new(), sets: BTreeMap::new(), text: ProgramText::default() }
    }

    /// Takes one piece of a program; true when it was the last.
    pub(crate) fn load_piece(&mut self, load: &LoadProgram, bytes: &[u8]) -> Result<bool, Status> {
        let others = self.slots.iter().filter(|(i, _)| **i != load.program_index);
        let used: u64 = others.map(|(_, s)| u64::from(s.total)).sum();
        if used + u64::from(load.program_bytes) > PROGRAM_BYTES_MAX {
            return Err(Status::MAXIMUM_PROGRAM_BYTES_EXCEEDED);
        }
        let unfinished = |slot: &ProgramSlot| slot.program.is_none();
        if load.offset == 0 && self.slots.get(&load.program_index).is_some_and(unfinished) {
            // The first piece begins a load anew, whatever became of the one before.
            self.slots.remove(&load.program_index);
        }
        let slot = self.slots.entry(load.program_index).or_insert_with(|| ProgramSlot {
            program_type: load.program_type,
            identifier_type: load.identifier_type,
            identifier: load.identifier,
            active: false,
            run_time: ProgramRunTime { run_time: load.run_time, scale_tenths: load.scale_tenths },
            total: load.program_bytes,
            bytes: Vec::new(),
            function: None,
            program: None,
            in_use: Arc::new(()),
        });
        if slot.program.is_some() {
            return Err(Status::PROGRAM_IN_USE.with_dnr());
        }
        let continues = slot.total == load.program_bytes
            && slot.program_type == load.program_type
            && slot.bytes.len() == load.offset as usize;
        if !continues {
            // Pieces come in order; a piece out of order drops what came before it.
            self.slots.remove(&load.program_index);
            return Err(Status::INVALID_PROGRAM_DATA.with_dnr());
        }
        slot.bytes.extend(bytes);
        Ok(slot.bytes.len() == slot.total as usize)
    }

    /// All pieces are here: make a program of them. The error is a status, and text for the diagnostics log.
    pub(crate) fn finish_load(
        &mut self,
        index: u16,
        loaders: &ProgramLoaders,
        wasm: &WasmConfig,
    ) -> Result<(), (Status, String)> {
        let Some(slot) = self.slots.get_mut(&index) else { return Ok(()) };
        let bytes = std::mem::take(&mut slot.bytes);
        let refused = |text| (Status::INVALID_PROGRAM_DATA.with_dnr(), text);
        let program = match slot.program_type {
            program_type::DECLARED => match <[u8; 8]>::try_from(bytes.as_slice()) {
                Ok(ns) => Ok(LoadedProgram::Declared(Duration::from_ns(u64::from_le_bytes(ns)))),
                Err(_) => Err(refused(format!(
                    "a declared-time program is 8 bytes, its run time in ns; got {}",
                    bytes.len()
                ))),
            },
            kind @ (program_type::NATIVE | program_type::NATIVE_FILE) => {
                let native = loaders.native.as_deref();
                let loaded =
                    load_native(native, kind, &bytes).map(|program| ShellKind::Native.of(program));
                loaded.map_err(|error| match error {
                    NativeLoadError::Refused(text) => refused(text),
                    NativeLoadError::Host(text) => (Status::INTERNAL_ERROR, text),
                })
            }
            program_type::WASM => load_wasm(loaders.wasm.as_deref(), wasm, &bytes)
                .map(|program| ShellKind::Wasm.of(program))
                .map_err(refused),
            _ => Program::load(&bytes, slot.function.as_deref())
                .map(|program| LoadedProgram::Ebpf { program, object: bytes.into() })
                .map_err(|e| refused(e.to_string())),
        };
        match program {
            Ok(program) => slot.program = Some(program),
            Err(why) => {
                self.slots.remove(&index);
                return Err(why);
            }
        }
        Ok(())
    }

    fn find(&self, index: u16) -> Result<&ProgramSlot, Status> {
        if index >= PROGRAM_SLOTS {
            return Err(Status::INVALID_PROGRAM_INDEX.with_dnr());
        }
        self.slots.get(&index).ok_or(Status::NO_PROGRAM.with_dnr())
    }

    fn slot(&mut self, index: u16) -> Result<&mut ProgramSlot, Status> {
        self.find(index)?;
        Ok(self.slots.get_mut(&index).expect("it was just found"))
    }

    /// True while an execution or a worker of one, also of one that a reset forgot, may touch
    /// device memory.
    pub(crate) fn is_running_programs(&self) -> bool {
        self.slots.values().any(ProgramSlot::is_in_use)
    }

    /// Empties a slot.
    pub(crate) fn unload(&mut self, index: u16) -> Result<(), Status> {
        let slot = self.slot(index)?;
        if slot.active || slot.is_in_use() {
            return Err(Status::PROGRAM_IN_USE);
        }
        self.slots.remove(&index);
        Ok(())
    }

    /// Takes a slot away whose program does not run, active or not; `None` if it is empty.
    pub(crate) fn take_unused(&mut self, index: u16) -> Result<Option<ProgramSlot>, Status> {
        match self.slots.get(&index) {
            Some(slot) if slot.is_in_use() => Err(Status::PROGRAM_IN_USE),
            _ => Ok(self.slots.remove(&index)),
        }
    }

    /// Activates or deactivates a program.
    pub(crate) fn activate(&mut self, index: u16, activate: bool) -> Result<(), Status> {
        let active = self.slots.values().filter(|s| s.active).count();
        let slot = self.slot(index)?;
        match (activate, slot.active) {
            (true, false) if slot.program.is_none() => Err(Status::INVALID_PROGRAM_DATA.with_dnr()),
            (true, false) if active >= usize::from(ACTIVATIONS_MAX) => {
                Err(Status::MAXIMUM_PROGRAMS_ACTIVATED)
            }
            (false, true) if slot.is_in_use() => Err(Status::PROGRAM_IN_USE),
            (false, false) => Err(Status::PROGRAM_NOT_ACTIVATED.with_dnr()),
            _ => {
                slot.active = activate;
                Ok(())
            }
        }
    }

    pub(crate) fn lease(&self, index: u16) -> Result<ProgramLease, Status> {
        let slot = self.find(index)?;
        match &slot.program {
            Some(program) if slot.active => Ok(ProgramLease {
                program: program.clone(),
                run_time: slot.run_time,
                in_use: Arc::clone(&slot.in_use),
                memory: Vec::new(),
            }),
            _ => Err(Status::PROGRAM_NOT_ACTIVATED.with_dnr()),
        }
    }

    /// Keeps a range set under the lowest free identifier from 1; 0 means "no set".
    pub(super) fn add_set(&mut self, set: RangeSet) -> Result<u16, Status> {
        let free = (1..=RANGE_SETS_MAX).find(|id| !self.sets.contains_key(id));
        let id = free.ok_or(Status::MAXIMUM_MEMORY_RANGE_SETS_EXCEEDED)?;
        self.sets.insert(id, Arc::new(set));
        Ok(id)
    }

    /// Deletes a range set.
    pub(crate) fn delete_set(&mut self, id: u16) -> Result<(), Status> {
        let unknown = Status::INVALID_MEMORY_RANGE_SET_ID.with_dnr();
        let set = self.sets.get(&id).ok_or(unknown)?;
        if is_in_use(set) {
            return Err(Status::MEMORY_RANGE_SET_IN_USE);
        }
        self.sets.remove(&id);
        Ok(())
    }
}
