//! What every engine needs of the run it executes: memory, helpers, atomics, the stop flag.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::code::Op;
use crate::fault::{Access, FaultKind};
use crate::helper::{BYTES_PER_BUDGET_UNIT, Call, Helper};
use crate::isa::atomic;
use crate::memory::Window;

/// Instructions between two looks at the stop flag: even if each of them misses every cache, they
/// take less than a millisecond.
pub(crate) const SLICE: u64 = 8192;

/// An error if a stop flag is set.
pub(crate) fn check_stop(stop: Option<&AtomicBool>) -> Result<(), FaultKind> {
    match stop {
        Some(stop) if stop.load(Ordering::Relaxed) => Err(FaultKind::Stopped),
        _ => Ok(()),
    }
}

/// What one run carries besides its registers.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) window: &'a mut Window,
    pub(crate) trace: Vec<u8>,
    pub(crate) bytes_loaded: u64,
    pub(crate) bytes_stored: u64,
    pub(crate) budget: u64,
    pub(crate) stop: Option<&'a AtomicBool>,
}

impl Run<'_> {
    #[cold]
    pub(crate) fn memory_fault(&self, address: u64, len: u64, access: Access) -> FaultKind {
        FaultKind::Memory(self.window.fault(address, len, access))
    }

    #[cold]
    pub(crate) fn out_of_budget(&self) -> FaultKind {
        FaultKind::Budget(self.budget)
    }

    /// An error if another thread wants the run to end.
    pub(crate) fn check_stop(&self) -> Result<(), FaultKind> {
        check_stop(self.stop)
    }

    /// Calls a helper: its result, and what it costs of the budget besides its instruction.
    pub(crate) fn call_helper(
        &mut self,
        helper: &Helper,
        arguments: [u64; 5],
    ) -> Result<(u64, u64), FaultKind> {
        let before = self.bytes_loaded + self.bytes_stored;
        let mut call = Call {
            window: self.window,
            trace: &mut self.trace,
            bytes_read: &mut self.bytes_loaded,
            bytes_written: &mut self.bytes_stored,
            stop: self.stop,
        };
        let value = (helper.body)(&mut call, arguments)?;
        let touched = self.bytes_loaded + self.bytes_stored - before;
        Ok((value, touched / BYTES_PER_BUDGET_UNIT))
    }

    /// An atomic read-modify-write (RFC 9669, section 5.3): the value that was there.
    pub(crate) fn atomic(
        &mut self,
        op: Op,
        address: u64,
        operand: u64,
        expected: u64,
    ) -> Result<u64, FaultKind> {
        let narrow = op.access_size() == 4;
        let mask = if narrow { u64::from(u32::MAX) } else { u64::MAX };
        let (operand, expected) = (operand & mask, expected & mask);
        let operation = op.imm as i32;
        let update = |old: u64| match operation & !atomic::FETCH {
            atomic::ADD => old.wrapping_add(operand) & mask,
            atomic::OR => old | operand,
            atomic::AND => old & operand,
            atomic::XOR => old ^ operand,
            _ if operation == atomic::XCHG => operand,
            _ => {
                if old == expected {
                    operand
                } else {
                    old
                }
            }
        };
        let old = if narrow {
            self.window.atomic_update::<4>(address, update)
        } else {
            self.window.atomic_update::<8>(address, update)
        };
        let len = u64::from(op.access_size());
        let old = old.ok_or_else(|| self.memory_fault(address, len, Access::Write))?;
        self.bytes_loaded += len;
        self.bytes_stored += len;
        Ok(old)
    }
}
