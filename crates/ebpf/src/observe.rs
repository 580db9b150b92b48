//! Looking at runs instruction by instruction, for whoever debugs a program or asks where its time goes.
//!
//! A [`Worker`](crate::Worker) that has an [`Observer`] interprets its programs. Results and counts are those of any run.

use std::fmt;

use crate::code::{Code, Op};
use crate::fault::Access;
use crate::isa::InstructionClass;
use crate::memory::{SegmentKind, Window};
use crate::program::{Outcome, Program};
use crate::run::Run;

/// Sees every instruction before it runs.
pub trait Observer: fmt::Debug + Send {
    /// A run of this program begins.
    fn begins(&mut self, program: &Program);
    /// An instruction is about to run. An error ends the run, as if nobody waited for it any more.
    ///
    /// # Errors
    /// If the run is to end.
    fn step(&mut self, step: &Step<'_>) -> Result<(), StopRun>;
    /// The run has ended.
    fn ends(&mut self, outcome: &Outcome);
}

/// An observer wants the run to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopRun;

/// An instruction that is about to run.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its number in the linked program.
    pub slot: u32,
    /// What it costs.
    pub class: InstructionClass,
    /// Functions that wait for the one that it is in.
    pub depth: usize,
    /// r0 to r10.
    pub registers: &'a [u64; 11],
    /// What it loads or stores.
    pub touches: Option<Touched>,
    /// Bytes that were loaded and stored before it, also by helpers.
    pub bytes: u64,
}

/// Memory that an instruction is about to touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touched {
    /// The address.
    pub address: u64,
    /// Bytes.
    pub len: u64,
    /// Direction; atomic operations count as stores.
    pub access: Access,
    /// What is there, and how far behind the beginning of its pages; `None` if the program has nothing there.
    pub place: Option<(SegmentKind, u64)>,
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, len, access, place } = *self;
        let what = if access == Access::Read { "loads" } else { "stores" };
        match place {
            // They end with their pages, and do not begin there.
            Some((kind @ (SegmentKind::Arguments | SegmentKind::DataBuffer), _)) => {
                write!(f, "{what} {len} of {kind}")
            }
            Some((kind, at)) => write!(f, "{what} {len} at {kind} +{at:#x}"),
            None => write!(f, "{what} {len} at {address:#x}, where it has nothing"),
        }
    }
}

/// What the interpreter tells whoever watches it.
pub(crate) trait Watch {
    fn before(
        &mut self,
        at: usize,
        op: Op,
        registers: &[u64; 16],
        depth: usize,
        run: &Run<'_>,
    ) -> Result<(), StopRun>;
}

/// Nobody watches.
pub(crate) struct Unwatched;

impl Watch for Unwatched {
    #[inline]
    fn before(
        &mut self,
        _: usize,
        _: Op,
        _: &[u64; 16],
        _: usize,
        _: &Run<'_>,
    ) -> Result<(), StopRun> {
        Ok(())
    }
}

/// An observer watches.
pub(crate) struct Watched<'a> {
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) code: &'a Code,
}

impl Watch for Watched<'_> {
    fn before(
        &mut self,
        at: usize,
        op: Op,
        registers: &[u64; 16],
        depth: usize,
        run: &Run<'_>,
    ) -> Result<(), StopRun> {
        let base = if op.is_load() { op.src } else { op.dst };
        let touches = (op.is_memory_access() || op.is_atomic()).then(|| {
            let address = run.window.effective(registers[usize::from(base & 15)], op.offset);
            let access = if op.is_load() { Access::Read } else { Access::Write };
            touched(run.window, address, op.access_size().into(), access)
        });
        self.observer.step(&Step {
            slot: self.code.slot_of[at],
            class: InstructionClass::ALL[usize::from(op.cost_class)],
            depth,
            registers: registers.first_chunk().expect("there are more"),
            touches,
            bytes: run.bytes_loaded + run.bytes_stored,
        })
    }
}

fn touched(window: &Window, address: u64, len: u64, access: Access) -> Touched {
    let near = window.fault(address, len, access).near;
    let place = near.and_then(|(kind, base, size, _)| {
        let at = address.checked_sub(base)?;
        (at < size).then_some((kind, at))
    });
    Touched { address, len, access, place }
}
