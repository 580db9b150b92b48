//! One run: an instance of the module, its arguments, the call, and what became of it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use controller::{Counts, Invocation, ShellFault, ShellFaultKind, ShellOutcome, ShellProgram};
use ebpf::{measured, thread_time};
use wasmtime::{
    Engine, Error, Instance, InstancePre, Linker, Memory, Module, Store, Trap, UpdateDeadline,
    WasmBacktrace,
};

use crate::counting::{Meter, Site};
use crate::engine::{Ticking, engine};
use crate::memory::{Limits, PlaceError, Placed, place};
use crate::metering::{COUNTERS, COUNTERS_AT, START};
use crate::module::{Checked, Entry, Returns};
use crate::operators::FUEL_PER_INSTRUCTION;
use crate::wasi::World;
use crate::{helpers, wasi};

/// What the functions that a program imports see of its run.
pub(crate) struct State {
    pub(crate) memory: Option<Memory>,
    pub(crate) printed: Vec<u8>,
    pub(crate) world: World,
    limits: Limits,
    stop: Option<Arc<AtomicBool>>,
}

/// How a function that a program imports ends its run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("exit {0}")]
    Exit(i32),
    #[error("{1}")]
    Fault(ShellFaultKind, String),
}

/// A program that is loaded.
pub(crate) struct Program {
    checked: Checked,
    /// Compiled by the first run.
    compiled: OnceLock<Result<InstancePre<State>, String>>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("entry", &self.checked.entry).finish_non_exhaustive()
    }
}

impl Program {
    pub(crate) fn new(checked: Checked) -> Self {
        Self { checked, compiled: OnceLock::new() }
    }

    fn compile(&self, engine: &Engine) -> Result<InstancePre<State>, String> {
        let compile = || {
            let module = Module::new(engine, &self.checked.module)?;
            let mut linker = Linker::new(engine);
            helpers::add(&mut linker)?;
            wasi::add(&mut linker, &module)?;
            linker.instantiate_pre(&module)
        };
        compile().map_err(|error: Error| format!("it cannot be compiled: {error:#}"))
    }

    fn run_once(&self, invocation: &Invocation) -> (ShellOutcome, Duration) {
        let prepared = engine().and_then(|engine| {
            let compiled = self.compiled.get_or_init(|| self.compile(engine)).as_ref();
            compiled.map(|compiled| (engine, compiled)).map_err(Clone::clone)
        });
        let (engine, compiled) = match prepared {
            Ok(prepared) => prepared,
            Err(text) => {
                let fault = ShellFault { kind: ShellFaultKind::Host, text };
                return (outcome(Err(fault), Counts::default(), Vec::new()), Duration::ZERO);
            }
        };
        let fuel = invocation.budget.saturating_mul(FUEL_PER_INSTRUCTION);
        let fuel = fuel.min(i64::MAX as u64);
        let mut store = Store::new(
            engine,
            State {
                memory: None,
                printed: Vec::new(),
                world: World::new(invocation, fuel),
                limits: Limits::default(),
                stop: invocation.stop.clone(),
            },
        );
        store.limiter(|state| &mut state.limits);
        store.set_fuel(fuel).expect("the engine counts fuel");
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            let stop = context.data().stop.as_deref();
            match stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                true => Err(Trap::Interrupt.into()),
                false => Ok(UpdateDeadline::Continue(1)),
            }
        });
        let _ticking = invocation.stop.is_some().then(|| Ticking::start(engine));
        let meter = &self.checked.meter;
        let instance = match compiled.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => {
                let (fault, _) = self.judge(&error, meter, &store);
                return (outcome(Err(fault), Counts::default(), Vec::new()), Duration::ZERO);
            }
        };
        // What making it took is none of the program's: nothing of it has run.
        store.set_fuel(fuel).expect("the engine counts fuel");
        let (result, took) = self.call(&mut store, &instance, invocation);
        let spent = fuel - store.get_fuel().unwrap_or(0);
        let (result, not_run) = match result {
            Ok(result) => (Ok(result), None),
            Err(error) => {
                let (fault, not_run) = self.judge(&error, meter, &store);
                (Err(fault), not_run)
            }
        };
        let counters = instance.get_memory(&mut store, COUNTERS).expect("metering exports it");
        let words = counters.data(&store)[COUNTERS_AT as usize..].as_chunks().0;
        let times: Vec<u64> = words.iter().copied().map(u64::from_le_bytes).collect();
        let counts = meter.counts(&times, not_run.unwrap_or_default(), spent);
        (outcome(result, counts, std::mem::take(&mut store.data_mut().printed)), took)
    }

    /// Calls the program: what it came to, and the processor time of that.
    fn call(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
        invocation: &Invocation,
    ) -> (Result<u64, Error>, Duration) {
        let memory = instance.get_memory(&mut *store, "memory").expect("it was looked for");
        store.data_mut().memory = Some(memory);
        let placed = match self.checked.entry {
            Entry::Command => None,
            Entry::Function { .. } => match place(&mut *store, &memory, invocation) {
                Ok(placed) => Some(placed),
                Err(error) => return (Err(error.into()), Duration::ZERO),
            },
        };
        let begin = thread_time();
        let result = self.call_all(store, instance, placed.as_ref());
        let took = thread_time().saturating_sub(begin);
        if let Some(placed) = placed {
            placed.copy_back(&*store, &memory);
        }
        let result = result.or_else(|error| match (error.downcast_ref(), &self.checked.entry) {
            (Some(Ended::Exit(0)), Entry::Command) => Ok(store.data().world.written),
            (Some(Ended::Exit(code)), Entry::Function { .. }) => Ok(i64::from(*code) as u64),
            _ => Err(error),
        });
        (result, took)
    }

    /// The functions of a program, in order: the last one is the program itself.
    fn call_all(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
        placed: Option<&Placed>,
    ) -> Result<u64, Error> {
        let before =
            [(self.checked.meter.has_start, START), (self.checked.has_initialize, "_initialize")];
        for (_, name) in before.into_iter().filter(|(is_there, _)| *is_there) {
            instance.get_typed_func::<(), ()>(&mut *store, name)?.call(&mut *store, ())?;
        }
        match (&self.checked.entry, placed) {
            (Entry::Function { name, returns }, Some(placed)) => {
                call_function(store, instance, name, *returns, placed)
            }
            _ => {
                instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call(&mut *store, ())?;
                Ok(store.data().world.written)
            }
        }
    }

    /// Why a run ended, and what of its last piece did not run.
    fn judge<'a>(
        &self,
        error: &Error,
        meter: &'a Meter,
        store: &Store<State>,
    ) -> (ShellFault, Option<&'a [Site]>) {
        use ShellFaultKind::{Budget, CallDepth, Crash, Host, Memory, Stopped};
        let trap = error.downcast_ref::<Trap>().copied();
        let (kind, what) = match (trap, error.downcast_ref::<Ended>(), error.downcast_ref()) {
            (_, Some(Ended::Exit(code)), _) => (Crash, format!("it ended with exit code {code}")),
            (_, Some(Ended::Fault(kind, text)), _) => (*kind, text.clone()),
            (_, _, Some(PlaceError::TooLarge(_))) => (Memory, error.to_string()),
            (Some(Trap::OutOfFuel), ..) => {
                let budget = store.data().world.fuel / FUEL_PER_INSTRUCTION;
                (Budget, format!("it used up its budget of {budget} instructions"))
            }
            (Some(Trap::StackOverflow), ..) => {
                (CallDepth, "its calls used up the stack".to_owned())
            }
            (Some(Trap::Interrupt), ..) => (Stopped, "nobody waits for it any more".to_owned()),
            (Some(Trap::MemoryOutOfBounds), ..) => {
                (Memory, "it touched memory that it does not have".to_owned())
            }
            (Some(trap), ..) => (Crash, trap.to_string()),
            (None, None, _) => (Host, format!("{error:#}")),
        };
        let frame = error.downcast_ref::<WasmBacktrace>().and_then(|trace| trace.frames().first());
        let mut text = format!("WebAssembly program: {what}");
        let mut not_run = None;
        if let Some(frame) = frame {
            let offset = frame.func_offset().unwrap_or(0) as u32;
            let stopped = meter.stopped_at(frame.func_index(), offset);
            match frame.func_name() {
                Some(name) => text += &format!(", in function {name}"),
                None => text += &format!(", in function {}", frame.func_index()),
            }
            if let Some((original, rest)) = stopped {
                text += &format!(" (byte {original:#x} of the module)");
                not_run = Some(rest);
            }
        }
        (ShellFault { kind, text }, not_run)
    }
}

fn call_function(
    store: &mut Store<State>,
    instance: &Instance,
    name: &str,
    returns: Returns,
    placed: &Placed,
) -> Result<u64, Error> {
    let arguments = placed.arguments as i32;
    Ok(match returns {
        Returns::Nothing => {
            let function = instance.get_typed_func::<i32, ()>(&mut *store, name)?;
            function.call(store, arguments)?;
            0
        }
        Returns::I32 => {
            let function = instance.get_typed_func::<i32, i32>(&mut *store, name)?;
            i64::from(function.call(store, arguments)?) as u64
        }
        Returns::I64 => {
            let function = instance.get_typed_func::<i32, i64>(&mut *store, name)?;
            function.call(store, arguments)? as u64
        }
    })
}

fn outcome(result: Result<u64, ShellFault>, counts: Counts, output: Vec<u8>) -> ShellOutcome {
    ShellOutcome { result, counts, output, cpu_time: ebpf::CpuTime::default() }
}

impl ShellProgram for Program {
    fn run(&self, invocation: &Invocation, samples: u32) -> ShellOutcome {
        let (mut outcome, cpu_time) = measured(invocation, samples, |invocation| {
            let (outcome, took) = self.run_once(invocation);
            let is_whole = outcome.result.is_ok();
            (outcome, is_whole, took)
        });
        outcome.cpu_time = cpu_time;
        outcome
    }
}
