//! Functions of `csdrive.h` that a module may import: what the helpers are for eBPF programs.

use controller::ShellFaultKind;
use ebpf::{HELPERS, TRACE_BYTE_COST, TRACE_BYTES_MAX, TRACE_FORMAT_MAX, trace_text};
use wasmtime::{Caller, Linker, Memory, Result, Trap};

use crate::run::{Ended, State};

/// Modules from which compilers import functions that are declared and not defined.
const MODULES: [&str; 2] = ["csdrive", "env"];

/// True if a drive has this function.
pub(crate) fn is_known(module: &str, name: &str) -> bool {
    MODULES.contains(&module) && HELPERS.iter().any(|helper| helper.name == name)
        || module == "env" && ["abort", "emscripten_notify_memory_growth"].contains(&name)
}

/// The program's memory.
pub(crate) fn memory(caller: &Caller<'_, State>) -> Result<Memory> {
    // Nothing of a program runs before it is known.
    caller.data().memory.ok_or_else(|| Trap::MemoryOutOfBounds.into())
}

/// Takes what touching so many bytes costs, or ends the run.
pub(crate) fn spend(caller: &mut Caller<'_, State>, bytes: u64) -> Result<()> {
    let left = caller.get_fuel()?.checked_sub(bytes);
    caller.set_fuel(left.unwrap_or(0))?;
    left.map(|_| ()).ok_or_else(|| Trap::OutOfFuel.into())
}

/// A place in linear memory.
pub(crate) fn slice(bytes: &[u8], at: u32, len: u64) -> Result<&[u8]> {
    let (at, end) = (u64::from(at), u64::from(at) + len);
    let outside = || Trap::MemoryOutOfBounds.into();
    bytes.get(at as usize..end as usize).ok_or_else(outside)
}

/// The same, to be written.
pub(crate) fn slice_mut(bytes: &mut [u8], at: u32, len: u64) -> Result<&mut [u8]> {
    let (at, end) = (u64::from(at), u64::from(at) + len);
    let outside = || Trap::MemoryOutOfBounds.into();
    bytes.get_mut(at as usize..end as usize).ok_or_else(outside)
}

/// Keeps what a program prints.
pub(crate) fn print(state: &mut State, text: &[u8]) {
    let room = TRACE_BYTES_MAX.saturating_sub(state.printed.len());
    state.printed.extend(&text[..text.len().min(room)]);
}

/// Bytes, and what the call costs.
fn read<'a>(
    caller: &'a mut Caller<'_, State>,
    places: [(u32, u32); 2],
    cost: u64,
) -> Result<[&'a [u8]; 2]> {
    let memory = memory(caller)?;
    for (at, len) in places {
        slice(memory.data(&*caller), at, len.into())?;
    }
    spend(caller, cost)?;
    let bytes = memory.data(&*caller);
    let [first, second] = places.map(|(at, len)| slice(bytes, at, len.into()));
    Ok([first?, second?])
}

/// Lets modules import the functions.
pub(crate) fn add(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: i32| {})?;
    linker.func_wrap("env", "abort", |_: i32, _: i32, line: i32, column: i32| -> Result<()> {
        let text = format!("it aborted at line {line}, column {column} of its source");
        Err(Ended::Fault(ShellFaultKind::Crash, text).into())
    })?;
    for module in MODULES {
        linker.func_wrap(module, "csd_trace", trace)?;
        linker.func_wrap(module, "csd_exit", |code: i32| -> Result<()> {
            Err(Ended::Exit(code).into())
        })?;
        linker.func_wrap(module, "csd_memcpy", copy)?;
        linker.func_wrap(module, "csd_memset", fill)?;
        linker.func_wrap(
            module,
            "csd_memcmp",
            |mut caller: Caller<'_, State>, a: u32, b: u32, n: u32| -> Result<i32> {
                let [a, b] = read(&mut caller, [(a, n), (b, n)], 2 * u64::from(n))?;
                let differs = a.iter().zip(b).find(|(a, b)| a != b);
                Ok(differs.map_or(0, |(a, b)| i32::from(*a) - i32::from(*b)))
            },
        )?;
        linker.func_wrap(
            module,
            "csd_memchr",
            |mut caller: Caller<'_, State>, p: u32, byte: i32, n: u32| -> Result<u32> {
                let [bytes, _] = read(&mut caller, [(p, n), (0, 0)], n.into())?;
                Ok(memchr::memchr(byte as u8, bytes).map_or(0, |at| p + at as u32))
            },
        )?;
        linker.func_wrap(
            module,
            "csd_memmem",
            |mut caller: Caller<'_, State>, p: u32, n: u32, pattern: u32, m: u32| -> Result<u32> {
                let cost = u64::from(n) + u64::from(m);
                let [bytes, pattern] = read(&mut caller, [(p, n), (pattern, m)], cost)?;
                Ok(memchr::memmem::find(bytes, pattern).map_or(0, |at| p + at as u32))
            },
        )?;
        linker.func_wrap(
            module,
            "csd_crc32c",
            |mut caller: Caller<'_, State>, crc: u32, p: u32, n: u32| -> Result<u32> {
                let [bytes, _] = read(&mut caller, [(p, n), (0, 0)], n.into())?;
                Ok(crc32c::crc32c_append(crc, bytes))
            },
        )?;
    }
    Ok(())
}

fn copy(mut caller: Caller<'_, State>, to: u32, from: u32, n: u32) -> Result<u32> {
    let memory = memory(&caller)?;
    slice(memory.data(&caller), from, n.into())?;
    slice(memory.data(&caller), to, n.into())?;
    spend(&mut caller, 2 * u64::from(n))?;
    let from = from as usize;
    memory.data_mut(&mut caller).copy_within(from..from + n as usize, to as usize);
    Ok(to)
}

fn fill(mut caller: Caller<'_, State>, p: u32, byte: i32, n: u32) -> Result<u32> {
    let memory = memory(&caller)?;
    slice(memory.data(&caller), p, n.into())?;
    spend(&mut caller, n.into())?;
    slice_mut(memory.data_mut(&mut caller), p, n.into())?.fill(byte as u8);
    Ok(p)
}

fn trace(
    mut caller: Caller<'_, State>,
    format: u32,
    size: u32,
    a: u64,
    b: u64,
    c: u64,
) -> Result<i32> {
    let refuse = |text: String| {
        wasmtime::Error::from(Ended::Fault(ShellFaultKind::Helper, format!("csd_trace: {text}")))
    };
    if u64::from(size) > TRACE_FORMAT_MAX {
        let text = format!("format of {size} bytes; at most {TRACE_FORMAT_MAX} are allowed");
        return Err(refuse(text));
    }
    let memory = memory(&caller)?;
    let bytes = memory.data(&caller);
    let byte_at = |at: u64| bytes.get(at as u32 as usize).copied().ok_or(Trap::MemoryOutOfBounds);
    let text = trace_text(
        slice(bytes, format, size.into())?,
        [a, b, c],
        |at| byte_at(at).map_err(Into::into),
        refuse,
    )?;
    spend(&mut caller, u64::from(size) + TRACE_BYTE_COST * text.len() as u64)?;
    print(caller.data_mut(), &text);
    Ok(text.len() as i32)
}
