//! What a program with a `main` sees of the world (WASI preview 1, `wasi_snapshot_preview1`): its input ranges are standard input,
//! one after the other, range 0 is standard output, standard error is printed text. There are no files; the clock counts
//! instructions, as nanoseconds; random bytes are the same in every run.

use ebpf::Range;
use wasmtime::{Caller, FuncType, Linker, Memory, Result, Val, ValType};

use crate::helpers::{memory, print, slice, slice_mut, spend};
use crate::operators::FUEL_PER_INSTRUCTION;
use crate::run::{Ended, State};

/// Modules from which programs import WASI.
pub(crate) const MODULES: [&str; 1] = ["wasi_snapshot_preview1"];

const MODULE: &str = MODULES[0];

/// Error numbers (WASI preview 1, `errno`).
mod errno {
    pub(super) const SUCCESS: i32 = 0;
    pub(super) const BADF: i32 = 8;
    pub(super) const INVAL: i32 = 28;
    pub(super) const NOENT: i32 = 44;
    pub(super) const NOSPC: i32 = 51;
    pub(super) const NOSYS: i32 = 52;
    pub(super) const SPIPE: i32 = 70;
}

const STDIN: i32 = 0;
const STDOUT: i32 = 1;
const STDERR: i32 = 2;

/// File types (`filetype`).
const CHARACTER_DEVICE: u8 = 2;
const REGULAR_FILE: u8 = 4;

/// Bytes of structures.
const IOVEC: u32 = 8;
const FDSTAT: usize = 24;
const FILESTAT: usize = 64;
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// Functions that programs may import besides those below, and that do nothing here.
const NOTHING: [(&str, i32); 4] = [
    ("fd_close", errno::SUCCESS),
    ("fd_sync", errno::SUCCESS),
    ("fd_datasync", errno::SUCCESS),
    ("sched_yield", errno::SUCCESS),
];

/// A program's standard input and output, and the rest of its world.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) inputs: Vec<Range>,
    pub(crate) output: Option<Range>,
    /// Where it is in its input and output.
    at: [u64; 2],
    /// The furthest that it wrote.
    pub(crate) written: u64,
    /// Each ends with a zero byte.
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<Vec<u8>>,
    /// Fuel at the beginning.
    pub(crate) fuel: u64,
    /// Nanoseconds that it slept.
    slept: u64,
    random: u64,
}

impl World {
    /// Of a job: the data buffer has the arguments, divided by zero bytes if there are any, else by blanks.
    pub(crate) fn new(invocation: &ebpf::Invocation, fuel: u64) -> Self {
        let is_end = |byte: &u8| match invocation.data.contains(&0) {
            true => *byte == 0,
            false => byte.is_ascii_whitespace(),
        };
        let words = invocation.data.split(is_end).filter(|word| !word.is_empty());
        let arguments = std::iter::once(&b"program"[..]).chain(words);
        let [one, two] = [invocation.param1, invocation.param2];
        let environment = [format!("CSD_PARAM1={one}"), format!("CSD_PARAM2={two}")];
        let terminated = |text: &[u8]| [text, b"\0"].concat();
        Self {
            inputs: invocation.ranges.iter().skip(1).cloned().collect(),
            output: invocation.ranges.first().cloned(),
            arguments: arguments.map(terminated).collect(),
            environment: environment.iter().map(|text| terminated(text.as_bytes())).collect(),
            fuel,
            random: 0x9E37_79B9_7F4A_7C15,
            ..Self::default()
        }
    }

    fn input_len(&self) -> u64 {
        self.inputs.iter().map(|range| range.len).sum()
    }

    /// Bytes of a file, if the descriptor is of one.
    fn len(&self, fd: i32) -> Option<u64> {
        match fd {
            STDIN => Some(self.input_len()),
            STDOUT => Some(self.output.as_ref().map_or(0, |range| range.len)),
            _ => None,
        }
    }

    /// Reads on; the number of bytes that there were.
    fn read(&mut self, into: &mut [u8]) -> usize {
        let (mut done, mut begins) = (0, 0);
        for Range { memory, offset, len, .. } in &self.inputs {
            let within = self.at[0].checked_sub(begins).filter(|within| within < len);
            begins += len;
            let Some(within) = within else { continue };
            let n = (len - within).min((into.len() - done) as u64);
            let is_inside = memory.read(offset + within, &mut into[done..][..n as usize]);
            debug_assert!(is_inside, "ranges are within their memory");
            done += n as usize;
            self.at[0] += n;
        }
        done
    }

    /// Writes on; the number of bytes for which there was room.
    fn write(&mut self, from: &[u8]) -> usize {
        let Some(Range { memory, offset, len, .. }) = &self.output else { return 0 };
        let n = len.saturating_sub(self.at[1]).min(from.len() as u64);
        let is_inside = memory.write(offset + self.at[1], &from[..n as usize]);
        debug_assert!(n == 0 || is_inside, "ranges are within their memory");
        if n > 0 {
            self.at[1] += n;
            self.written = self.written.max(self.at[1]);
        }
        n as usize
    }
}

/// Lets a module import what it asks for.
pub(crate) fn add(linker: &mut Linker<State>, module: &wasmtime::Module) -> Result<()> {
    linker.func_wrap(MODULE, "args_sizes_get", |caller: Caller<'_, State>, count, bytes| {
        sizes(caller, |world| &world.arguments, count, bytes)
    })?;
    linker.func_wrap(MODULE, "args_get", |caller: Caller<'_, State>, table, bytes| {
        texts(caller, |world| &world.arguments, table, bytes)
    })?;
    linker.func_wrap(MODULE, "environ_sizes_get", |caller: Caller<'_, State>, count, bytes| {
        sizes(caller, |world| &world.environment, count, bytes)
    })?;
    linker.func_wrap(MODULE, "environ_get", |caller: Caller<'_, State>, table, bytes| {
        texts(caller, |world| &world.environment, table, bytes)
    })?;
    linker.func_wrap(MODULE, "fd_read", fd_read)?;
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    linker.func_wrap(MODULE, "fd_seek", fd_seek)?;
    linker.func_wrap(MODULE, "fd_tell", |caller: Caller<'_, State>, fd: i32, out: u32| {
        fd_seek(caller, fd, 0, 1, out)
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_get", fd_fdstat_get)?;
    linker.func_wrap(MODULE, "fd_filestat_get", fd_filestat_get)?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |_: i32, _: i32| errno::SUCCESS)?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_: i32, _: i32| errno::BADF)?;
    linker.func_wrap(MODULE, "clock_time_get", clock_time_get)?;
    linker.func_wrap(
        MODULE,
        "clock_res_get",
        |mut caller: Caller<'_, State>, _: i32, out: u32| {
            put(&mut caller, out, &1u64.to_le_bytes())
        },
    )?;
    linker.func_wrap(MODULE, "random_get", random_get)?;
    linker.func_wrap(MODULE, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<()> {
        Err(Ended::Exit(code).into())
    })?;
    for import in module.imports().filter(|import| import.module() == MODULE) {
        let Some(ty) = import.ty().func().cloned() else { continue };
        let name = import.name();
        // What is there already stays.
        let known = NOTHING.iter().find(|(known, _)| *known == name);
        let answer = match known {
            Some((_, answer)) => *answer,
            None if name.starts_with("path_") => errno::NOENT,
            None => errno::NOSYS,
        };
        add_answer(linker, name, ty, answer);
    }
    Ok(())
}

/// A function that does nothing but answer, unless there is one of that name.
fn add_answer(linker: &mut Linker<State>, name: &str, ty: FuncType, answer: i32) {
    let returns_number =
        ty.results().len() == 1 && ty.result(0).is_some_and(|ty| ValType::I32.matches(&ty));
    // An error says that the name is taken.
    let _ = linker.func_new(MODULE, name, ty, move |_, _, results| {
        if !returns_number {
            let text = "it called a function of WASI that no drive has".to_owned();
            return Err(Ended::Fault(controller::ShellFaultKind::Crash, text).into());
        }
        results[0] = Val::I32(answer);
        Ok(())
    });
}

/// Writes to the program's memory.
fn put(caller: &mut Caller<'_, State>, at: u32, bytes: &[u8]) -> Result<i32> {
    let memory = memory(caller)?;
    slice_mut(memory.data_mut(caller), at, bytes.len() as u64)?.copy_from_slice(bytes);
    Ok(errno::SUCCESS)
}

fn sizes(
    mut caller: Caller<'_, State>,
    which: impl Fn(&World) -> &Vec<Vec<u8>>,
    count: u32,
    bytes: u32,
) -> Result<i32> {
    let count_of = which(&caller.data().world).len();
    spend(&mut caller, 8 * count_of as u64)?;
    let texts = which(&caller.data().world);
    let sizes = [texts.len(), texts.iter().map(Vec::len).sum()].map(|n| (n as u32).to_le_bytes());
    put(&mut caller, count, &sizes[0])?;
    put(&mut caller, bytes, &sizes[1])
}

fn texts(
    mut caller: Caller<'_, State>,
    which: impl Fn(&World) -> &Vec<Vec<u8>>,
    table: u32,
    bytes: u32,
) -> Result<i32> {
    let texts = which(&caller.data().world).clone();
    spend(&mut caller, texts.iter().map(|text| text.len() as u64 + 4).sum())?;
    let mut at = bytes;
    for (n, text) in texts.iter().enumerate() {
        put(&mut caller, table.wrapping_add(4 * n as u32), &at.to_le_bytes())?;
        put(&mut caller, at, text)?;
        at = at.wrapping_add(text.len() as u32);
    }
    Ok(errno::SUCCESS)
}

/// Moves bytes to or from the places that a list of `iovec`s names, until a place takes less than all: how many in all, and whether one did.
fn transfer(
    caller: &mut Caller<'_, State>,
    list: u32,
    count: u32,
    mut one: impl FnMut(&mut Caller<'_, State>, Memory, (u32, u32)) -> Result<u32>,
) -> Result<(u32, bool)> {
    let bytes = u64::from(count) * u64::from(IOVEC);
    spend(caller, bytes)?;
    let memory = memory(caller)?;
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let list = slice(memory.data(&*caller), list, bytes)?.chunks_exact(IOVEC as usize);
    let places: Vec<_> = list.map(|place| (word(place), word(&place[4..]))).collect();
    let mut total = 0u32;
    for (at, len) in places {
        slice(memory.data(&*caller), at, len.into())?;
        let done = one(caller, memory, (at, len))?;
        total = total.wrapping_add(done);
        if done < len {
            return Ok((total, true));
        }
    }
    Ok((total, false))
}

fn fd_read(mut caller: Caller<'_, State>, fd: i32, list: u32, count: u32, out: u32) -> Result<i32> {
    if fd != STDIN {
        return Ok(errno::BADF);
    }
    let (total, _) = transfer(&mut caller, list, count, |caller, memory, (at, len)| {
        let (bytes, state) = memory.data_and_store_mut(&mut *caller);
        let done = state.world.read(slice_mut(bytes, at, len.into())?);
        spend(caller, done as u64)?;
        Ok(done as u32)
    })?;
    put(&mut caller, out, &total.to_le_bytes())
}

fn fd_write(
    mut caller: Caller<'_, State>,
    fd: i32,
    list: u32,
    count: u32,
    out: u32,
) -> Result<i32> {
    if fd != STDOUT && fd != STDERR {
        return Ok(errno::BADF);
    }
    let (total, is_short) = transfer(&mut caller, list, count, |caller, memory, (at, len)| {
        spend(caller, len.into())?;
        let (bytes, state) = memory.data_and_store_mut(&mut *caller);
        let bytes = slice(bytes, at, len.into())?;
        if fd == STDOUT {
            return Ok(state.world.write(bytes) as u32);
        }
        print(state, bytes);
        Ok(len)
    })?;
    // There is no more room; what did fit is written.
    if is_short && total == 0 {
        return Ok(errno::NOSPC);
    }
    put(&mut caller, out, &total.to_le_bytes())
}

fn fd_seek(
    mut caller: Caller<'_, State>,
    fd: i32,
    offset: i64,
    whence: i32,
    out: u32,
) -> Result<i32> {
    let world = &mut caller.data_mut().world;
    let Some(len) = world.len(fd) else {
        return Ok(if fd == STDERR { errno::SPIPE } else { errno::BADF });
    };
    let end = if fd == STDOUT { world.written } else { len };
    let from = match whence {
        0 => 0,
        1 => world.at[fd as usize],
        2 => end,
        _ => return Ok(errno::INVAL),
    };
    let Some(at) = from.checked_add_signed(offset) else { return Ok(errno::INVAL) };
    world.at[fd as usize] = at;
    put(&mut caller, out, &at.to_le_bytes())
}

fn fd_fdstat_get(mut caller: Caller<'_, State>, fd: i32, out: u32) -> Result<i32> {
    let mut stat = [0; FDSTAT];
    stat[0] = match fd {
        STDIN | STDOUT => REGULAR_FILE,
        STDERR => CHARACTER_DEVICE,
        _ => return Ok(errno::BADF),
    };
    // All rights.
    stat[8..].fill(0xFF);
    put(&mut caller, out, &stat)
}

fn fd_filestat_get(mut caller: Caller<'_, State>, fd: i32, out: u32) -> Result<i32> {
    let mut stat = [0; FILESTAT];
    match (fd, caller.data().world.len(fd)) {
        (_, Some(len)) => {
            stat[16] = REGULAR_FILE;
            stat[32..40].copy_from_slice(&len.to_le_bytes());
        }
        (STDERR, None) => stat[16] = CHARACTER_DEVICE,
        _ => return Ok(errno::BADF),
    }
    put(&mut caller, out, &stat)
}

/// Nanoseconds since the program began: one for each instruction.
fn now(caller: &Caller<'_, State>) -> Result<u64> {
    let world = &caller.data().world;
    let spent = world.fuel.saturating_sub(caller.get_fuel()?);
    Ok((spent / FUEL_PER_INSTRUCTION).saturating_add(world.slept))
}

fn clock_time_get(
    mut caller: Caller<'_, State>,
    _clock: i32,
    _precision: i64,
    out: u32,
) -> Result<i32> {
    let now = now(&caller)?;
    put(&mut caller, out, &now.to_le_bytes())
}

fn random_get(mut caller: Caller<'_, State>, at: u32, len: u32) -> Result<i32> {
    let memory = memory(&caller)?;
    slice(memory.data(&caller), at, len.into())?;
    spend(&mut caller, len.into())?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    for piece in slice_mut(bytes, at, len.into())?.chunks_mut(8) {
        // SplitMix64.
        state.world.random = state.world.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state.world.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        piece.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..piece.len()]);
    }
    Ok(errno::SUCCESS)
}

/// Everything is there at once; the clock goes on to the latest time that is waited for.
fn poll_oneoff(
    mut caller: Caller<'_, State>,
    list: u32,
    events: u32,
    count: u32,
    out: u32,
) -> Result<i32> {
    const CLOCK: u8 = 0;
    const IS_ABSOLUTE: u8 = 1;
    if count == 0 {
        return Ok(errno::INVAL);
    }
    spend(&mut caller, u64::from(count) * u64::from(SUBSCRIPTION + EVENT))?;
    let begin = now(&caller)?;
    for n in 0..count {
        let memory = memory(&caller)?;
        let at = u64::from(list) + u64::from(n) * u64::from(SUBSCRIPTION);
        let at = u32::try_from(at).map_err(|_| wasmtime::Trap::MemoryOutOfBounds)?;
        let asked = slice(memory.data(&caller), at, SUBSCRIPTION.into())?;
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&asked[..8]);
        event[10] = asked[8];
        if asked[8] == CLOCK {
            let timeout = u64::from_le_bytes(asked[24..32].try_into().expect("8 bytes"));
            let until = match asked[40] & IS_ABSOLUTE {
                0 => begin.saturating_add(timeout),
                _ => timeout,
            };
            let late = until.saturating_sub(now(&caller)?);
            let world = &mut caller.data_mut().world;
            world.slept = world.slept.saturating_add(late);
        }
        put(&mut caller, events.wrapping_add(n.wrapping_mul(EVENT)), &event)?;
    }
    put(&mut caller, out, &count.to_le_bytes())
}
