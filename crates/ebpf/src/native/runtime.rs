//! What compiled code calls, by way of `entry.rs`. Each function notes in the context if the run is to
//! end; the way back to compiled code looks there.
#![expect(unsafe_code, reason = "entry points with raw arguments; see the SAFETY comments")]

use super::context::{CONTEXT, Context, status};
use super::{Convention, entry};
use crate::code::Code;
use crate::fault::FaultKind;
use crate::run::{Run, SLICE};

/// The slice of code that clang made: it needs long loops to be fast, and runs them faster.
const PLAIN_SLICE: u64 = 4 * SLICE;

/// The runtime of one run, behind [`Context::runtime`].
pub(super) struct Runtime<'a, 'b> {
    code: &'a Code,
    run: &'a mut Run<'b>,
    /// Instructions between two looks at the stop flag.
    slice: u64,
    /// Budget besides the slice that the code has.
    reserve: u64,
    /// What helpers took from the budget besides their instructions.
    helper_cost: u64,
    /// Why the run ends, if the runtime ended it.
    fault: Option<FaultKind>,
}

impl<'a, 'b> Runtime<'a, 'b> {
    pub(super) fn new(
        code: &'a Code,
        run: &'a mut Run<'b>,
        budget: u64,
        convention: Convention,
    ) -> Self {
        let slice = match convention {
            Convention::Pinned => SLICE,
            Convention::Plain => PLAIN_SLICE,
        };
        Self { code, run, slice, reserve: budget, helper_cost: 0, fault: None }
    }

    /// A context with the entry points.
    pub(super) fn context(convention: Convention) -> Context {
        let [refill, call_helper, call_register, atomic, end] = match convention {
            Convention::Pinned => [
                entry::refill as *const (),
                entry::call_helper as *const (),
                entry::call_register as *const (),
                entry::atomic as *const (),
                entry::end as *const (),
            ],
            Convention::Plain => [
                entry::plain::refill as *const (),
                entry::plain::call_helper as *const (),
                entry::plain::call_register as *const (),
                entry::plain::atomic as *const (),
                entry::plain::land as *const (),
            ],
        }
        .map(|entry| entry as u64);
        Context {
            mask: 0,
            bounds: std::ptr::null(),
            fuel: 0,
            status: 0,
            depth: 0,
            frame_pointer: 0,
            result: 0,
            registers: [0; 10],
            pc: 0,
            site: 0,
            address: 0,
            trap_pc: 0,
            recovery: 0,
            code: [0; 2],
            extent: [0; 2],
            refill,
            call_helper,
            call_register,
            atomic,
            end,
            runtime: std::ptr::null_mut(),
        }
    }

    /// What is left of the budget besides the slice, what helpers took of it, and why the runtime
    /// ended the run, if it did.
    pub(super) fn finish(self) -> (u64, u64, Option<FaultKind>) {
        (self.reserve, self.helper_cost, self.fault)
    }

    fn refill(&mut self, context: &mut Context, margin: u64) {
        self.reserve += std::mem::take(&mut context.fuel);
        if let Err(fault) = self.run.check_stop() {
            self.fault = Some(fault);
            context.status = status::LEAVE;
        } else if self.reserve < margin {
            context.status = status::LEAVE;
        } else {
            context.fuel = self.reserve.min(self.slice.max(margin));
            self.reserve -= context.fuel;
        }
    }

    fn end(&mut self, context: &mut Context, fault: FaultKind) {
        self.fault = Some(fault);
        context.status = status::ENDED;
    }

    fn call(&mut self, context: &mut Context, helper: usize) {
        let arguments = std::array::from_fn(|n| context.registers[n + 1]);
        match self.run.call_helper(&self.code.helpers[helper], arguments) {
            Ok((value, cost)) => {
                context.result = value;
                // The check after the call takes the next slice.
                let before = self.reserve + context.fuel;
                let left = before.checked_sub(cost);
                (self.reserve, context.fuel) = (left.unwrap_or(0), 0);
                self.helper_cost += before - self.reserve;
                if left.is_none() {
                    let fault = self.run.out_of_budget();
                    self.end(context, fault);
                }
            }
            Err(fault) => self.end(context, fault),
        }
    }
}

/// Both, from the address that compiled code passes on.
///
/// # Safety
/// `base` must be the one `enter` gave to the code, and the code must be running: then no Rust
/// code holds a reference to either.
unsafe fn parts<'x>(base: *mut u8) -> (&'x mut Context, &'x mut Runtime<'x, 'x>) {
    // SAFETY: see above.
    let context = unsafe { &mut *base.wrapping_offset(CONTEXT as isize).cast::<Context>() };
    // SAFETY: `enter` put the run's runtime there.
    let runtime = unsafe { &mut *context.runtime.cast::<Runtime<'x, 'x>>() };
    (context, runtime)
}

/// The next slice of the budget.
pub(super) extern "C" fn refill(base: *mut u8, margin: u64) {
    // SAFETY: compiled code passes its base on.
    let (context, runtime) = unsafe { parts(base) };
    runtime.refill(context, margin);
}

/// Calls a helper by its index; arguments are in the context.
pub(super) extern "C" fn call_helper(base: *mut u8, helper: u64) {
    // SAFETY: compiled code passes its base on.
    let (context, runtime) = unsafe { parts(base) };
    runtime.call(context, helper as usize);
}

/// Calls the helper with a number.
pub(super) extern "C" fn call_register(base: *mut u8, number: u64) {
    // SAFETY: compiled code passes its base on.
    let (context, runtime) = unsafe { parts(base) };
    match runtime.code.helper_by_number(number) {
        Ok(helper) => runtime.call(context, helper),
        Err(fault) => runtime.end(context, fault),
    }
}

/// Does the atomic operation of an op.
pub(super) extern "C" fn atomic(base: *mut u8, op: u64, pointer: u64, operand: u64, expected: u64) {
    // SAFETY: compiled code passes its base on.
    let (context, runtime) = unsafe { parts(base) };
    let op = runtime.code.ops[op as usize];
    let address = runtime.run.window.effective(pointer, op.offset);
    match runtime.run.atomic(op, address, operand, expected) {
        Ok(old) => context.result = old,
        Err(fault) => runtime.end(context, fault),
    }
}
