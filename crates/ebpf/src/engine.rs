//! Which engine runs a program, and what is kept between runs.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::code::Code;
use crate::fault::FaultKind;
use crate::flow::{Flow, Tally};
use crate::interpreter::{self, State};
use crate::jit::{self, Guard};
use crate::measure;
use crate::memory::Window;
use crate::native::Native;
use crate::observe::{Observer, Unwatched, Watched};
use crate::run::Run;
use crate::tier2;

/// What runs programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Engine {
    /// Whichever pays: machine code of tier 1, that of tier 2 once a program with loops that it
    /// makes much faster has run for long, the interpreter where there is neither.
    #[default]
    Auto,
    /// The interpreter.
    Interpreter,
    /// Machine code made by Cranelift, in about a millisecond.
    Tier1,
    /// Machine code made by the host's clang, in a tenth of a second or more.
    Tier2,
}

impl Engine {
    /// Every engine with its name.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("interpreter", Self::Interpreter),
        ("tier1", Self::Tier1),
        ("tier2", Self::Tier2),
    ];
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, engine)| engine == self);
        f.pad(name.map_or("", |(name, _)| name))
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text.trim());
        let names = || Self::NAMES.map(|(name, _)| name).join(", ");
        found.map(|(_, engine)| *engine).ok_or_else(|| format!("choose one of: {}", names()))
    }
}

/// Instructions after which tier 2 pays for itself: about half a second of tier 1, several times what
/// clang takes.
const TIER2_PAYS: u64 = 2_000_000_000;

/// What compiling a program gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompileReport {
    /// Time it took.
    pub compile_time: Duration,
    /// Bytes of machine code.
    pub code_bytes: usize,
}

/// Machine code of a program, made when first needed and kept with it.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    flow: OnceLock<Flow>,
    pages: OnceLock<Result<Native, String>>,
    bounds: OnceLock<Result<Native, String>>,
    tier2: OnceLock<Result<Native, String>>,
    /// Instructions that automatic workers have run.
    executed: AtomicU64,
}

impl Compiled {
    fn flow(&self, code: &Code) -> &Flow {
        self.flow.get_or_init(|| Flow::new(code))
    }

    fn native(&self, code: &Code, guard: Guard) -> Result<&Native, &String> {
        let place = match guard {
            Guard::Pages => &self.pages,
            Guard::Bounds => &self.bounds,
        };
        let compile = || {
            // Before the flow is studied: that takes long for huge programs, too.
            jit::check_size(code)?;
            jit::compile(code, self.flow(code), guard)
        };
        place.get_or_init(compile).as_ref()
    }

    /// True if a program has run for long and tier 2 makes its loops much faster.
    fn tier2_pays(&self, code: &Code) -> bool {
        self.executed.load(Relaxed) >= TIER2_PAYS
            && tier2::check_size(code).is_ok()
            && tier2::is_worthwhile(code, self.flow(code))
    }

    fn tier2(&self, code: &Code) -> Result<&Native, &String> {
        let compile = || {
            tier2::check_size(code)?;
            let mut compiled = tier2::compile(&[(code, self.flow(code))])?;
            compiled.pop().ok_or_else(|| "clang compiled nothing".to_owned())
        };
        self.tier2.get_or_init(compile).as_ref()
    }

    /// Compiles several programs for tier 2; see [`crate::Program::compile_together`].
    pub(crate) fn prepare_together(programs: &[(&Code, &Self)]) -> Result<(), String> {
        let missing = programs.iter().filter(|(_, own)| own.tier2.get().is_none());
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        for (code, _) in &missing {
            // Before the flow is studied: that takes long for huge programs.
            tier2::check_size(code)?;
        }
        let sources: Vec<_> = missing.iter().map(|(code, own)| (*code, own.flow(code))).collect();
        for ((_, own), native) in missing.iter().zip(tier2::compile(&sources)?) {
            // Another thread may have been first: its code does the same.
            let _ = own.tier2.set(Ok(native));
        }
        Ok(())
    }

    /// Compiles now; see [`crate::Program::compile`].
    pub(crate) fn prepare(&self, code: &Code, engine: Engine) -> Result<CompileReport, String> {
        let native = match engine {
            Engine::Interpreter => return Ok(CompileReport::default()),
            Engine::Auto | Engine::Tier1 => self.native(code, jit::PREFERRED_GUARD),
            Engine::Tier2 => self.tier2(code),
        };
        let native = native.map_err(Clone::clone)?;
        let (compile_time, code_bytes) = (native.compile_time(), native.code_bytes());
        Ok(CompileReport { compile_time, code_bytes })
    }
}

/// A host thread's means to run programs: an engine, and memory that is used again.
///
/// Workers share nothing: each may run the same program at the same time as others.
#[derive(Debug, Default)]
pub struct Worker {
    engine: Engine,
    pub(crate) window: Option<Window>,
    /// Looks at what it runs.
    pub(crate) observer: Option<Box<dyn Observer>>,
    /// While runs are measured: the processor time of the last.
    pub(crate) cpu_time: Option<Duration>,
}

impl Worker {
    /// A worker with an engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, ..Self::default() }
    }

    /// The engine it prefers.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// From now on somebody looks at what it runs, or nobody any more. Whoever looked before is given back.
    pub fn observe(&mut self, observer: Option<Box<dyn Observer>>) -> Option<Box<dyn Observer>> {
        std::mem::replace(&mut self.observer, observer)
    }

    /// The code to run, if it is not to be interpreted.
    fn choose<'a>(
        &self,
        code: &Code,
        compiled: &'a Compiled,
        run: &Run<'_>,
    ) -> Option<(Engine, &'a Native)> {
        let tier1 = || {
            let pages = run.window.is_whole_pages();
            let guard = if pages { jit::PREFERRED_GUARD } else { Guard::Bounds };
            Some((Engine::Tier1, compiled.native(code, guard).ok()?))
        };
        match self.engine {
            _ if self.observer.is_some() => None,
            Engine::Interpreter => None,
            Engine::Tier1 => tier1(),
            Engine::Auto if !compiled.tier2_pays(code) => tier1(),
            // What clang reorders must not lie on top of each other.
            Engine::Auto | Engine::Tier2 if run.window.has_aliases() => tier1(),
            Engine::Auto | Engine::Tier2 => match compiled.tier2(code) {
                Ok(native) => Some((Engine::Tier2, native)),
                Err(_) => tier1(),
            },
        }
    }

    /// Runs a program from a state to its end.
    pub(crate) fn run(
        &mut self,
        code: &Code,
        compiled: &Compiled,
        run: &mut Run<'_>,
        state: State,
    ) -> (Result<u64, (usize, FaultKind)>, Tally, Engine) {
        // Compiles first, if it must.
        let chosen = self.choose(code, compiled, run);
        let start = self.cpu_time.map(|_| {
            run.window.populate(measure::POPULATED_MAX);
            measure::thread_time()
        });
        let ended = self.run_chosen(chosen, (code, compiled), run, state);
        self.cpu_time = start.map(|start| measure::thread_time().saturating_sub(start));
        ended
    }

    fn run_chosen(
        &mut self,
        chosen: Option<(Engine, &Native)>,
        (code, compiled): (&Code, &Compiled),
        run: &mut Run<'_>,
        state: State,
    ) -> (Result<u64, (usize, FaultKind)>, Tally, Engine) {
        if let Some((engine, native)) = chosen {
            let ended = native.run((code, compiled.flow(code)), run, state);
            let (result, tally) = ended.unwrap_or_else(|error| {
                let failed = FaultKind::Host(error.to_string());
                (Err((code.entry, failed)), Tally::default())
            });
            if self.engine == Engine::Auto {
                compiled.executed.fetch_add(tally.instructions.iter().sum(), Relaxed);
            }
            return (result, tally, engine);
        }
        let mut counts = [0; 16];
        let result = match &mut self.observer {
            None => interpreter::execute(code, run, state, &mut counts, &mut Unwatched),
            Some(observer) => {
                let mut watched = Watched { observer: &mut **observer, code };
                interpreter::execute(code, run, state, &mut counts, &mut watched)
            }
        };
        let mut tally = Tally::default();
        let classes = tally.instructions.len();
        tally.instructions.copy_from_slice(&counts[..classes]);
        (result, tally, Engine::Interpreter)
    }
}
