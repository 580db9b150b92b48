//! Wasmtime, set up so that nothing depends on the machine, and the clock by which runs that nobody waits for end.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use wasmparser::WasmFeatures;
use wasmtime::{Config, Engine, OptLevel};

use crate::operators;

/// Stack of the host machine that the calls of a run take: threads have two.
const STACK_BYTES: usize = 1 << 20;

/// How often a run looks whether anybody waits for it.
const TICK: Duration = Duration::from_millis(1);

/// What modules may use: what compilers for WebAssembly 2.0 make, and tail calls.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::RELAXED_SIMD);

/// The engine of this process. It stays to the end: its handler of signals and that of crate `faults` hand on to each other in the
/// order in which they were made.
pub(crate) fn engine() -> Result<&'static Engine, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    ENGINE.get_or_init(make).as_ref().map_err(Clone::clone)
}

fn make() -> Result<Engine, String> {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_relaxed_simd(true)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        // That which counts is in a memory of its own.
        .wasm_multi_memory(true)
        .consume_fuel(true)
        .operator_cost(operators::fuel())
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .memory_reservation(4 << 30)
        .memory_may_move(false)
        .native_unwind_info(false);
    Engine::new(&config).map_err(|error| format!("this machine runs no WebAssembly: {error}"))
}

/// Runs that look whether anybody waits for them.
#[derive(Debug, Default)]
struct Clock {
    runs: Mutex<usize>,
    begins: Condvar,
}

/// A run that looks at its stop flag at every tick, as long as this is there.
#[derive(Debug)]
pub(crate) struct Ticking(&'static Clock);

impl Ticking {
    /// Starts the clock, if it stands still.
    pub(crate) fn start(engine: &'static Engine) -> Self {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        let clock = CLOCK.get_or_init(|| {
            // Without the thread runs end by their budget.
            let _ = std::thread::Builder::new().name("wasm clock".to_owned()).spawn(|| {
                let clock = CLOCK.wait();
                loop {
                    let runs = clock.runs.lock().unwrap_or_else(PoisonError::into_inner);
                    drop(clock.begins.wait_while(runs, |runs| *runs == 0));
                    std::thread::sleep(TICK);
                    engine.increment_epoch();
                }
            });
            Clock::default()
        });
        *clock.runs.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        clock.begins.notify_one();
        Self(clock)
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        *self.0.runs.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}
