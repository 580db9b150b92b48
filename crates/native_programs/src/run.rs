//! One run, in the child that was made for it: memory is mapped, everything else is given up, the object is loaded, and its
//! function is called.
#![expect(unsafe_code, reason = "processes, mappings and foreign code; see the SAFETY comments")]

use std::ffi::{CString, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::thread::CapabilitySets;
use rustix::time::{ClockId, clock_gettime};
use zerocopy::IntoBytes;

use crate::job::{
    DATA_AT, HEADER_AT, Header, PAGE, RANGES_AT, RANGES_MAX, RangeEntry, Report, TEXT_BYTES, stage,
};
use crate::sandbox;

/// The object's descriptor in the child, while it is loaded.
pub(crate) const OBJECT: i32 = 3;

/// Where the child's report goes.
pub(crate) static REPORT: AtomicPtr<Report> = AtomicPtr::new(std::ptr::null_mut());

/// The most stack.
const STACK_BYTES: u64 = 8 << 20;

/// What a child needs.
pub(crate) struct Run<'a> {
    pub(crate) object: &'a OwnedFd,
    pub(crate) function: &'a str,
    /// The job file, then those of which ranges are parts.
    pub(crate) files: &'a [OwnedFd],
}

/// CEMU's and FEMU's argument of a CSF.
#[repr(C, packed)]
struct Arguments {
    numr: i32,
    mr_addr: *mut *mut c_void,
    mr_len: *mut i64,
    cparam1: i64,
    cparam2: i64,
    data_buffer: *mut c_void,
    buffer_len: i64,
}

/// Where a range of no bytes begins: nothing is ever mapped there.
const NOWHERE: *mut c_void = std::ptr::without_provenance_mut(PAGE as usize);

/// The header of a job.
pub(crate) fn header(files: &[OwnedFd]) -> io::Result<Header> {
    let job = files.first().ok_or_else(|| io::Error::other("a job without its file"))?;
    let mut header = Header::default();
    File::from(job.try_clone()?).read_exact_at(header.as_mut_bytes(), HEADER_AT)?;
    Ok(header)
}

/// Threads of this user, those of other runs included.
const THREADS_MAX: u64 = 4096;

/// Closes all descriptors from a number on: what is left open, a program can use.
pub(crate) fn close_from(first: i32) -> io::Result<()> {
    // SAFETY: whoever calls this uses none of them any more.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } == 0 {
        return Ok(());
    }
    // Kernels before 5.9, and where a filter does not know it.
    let open = || -> io::Result<Vec<i32>> {
        let entries = std::fs::read_dir("/proc/self/fd")?;
        let numbers = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().parse().ok()));
        let numbers = numbers.collect::<io::Result<Vec<Option<i32>>>>()?;
        Ok(numbers.into_iter().flatten().filter(|number| *number >= first).collect())
    };
    for number in open()? {
        // SAFETY: as before. That of the folder is closed already.
        unsafe { libc::close(number) };
    }
    // The folder itself is open while it is read.
    match open()?.len() {
        0 | 1 => Ok(()),
        left => Err(io::Error::other(format!("{left} descriptors cannot be closed"))),
    }
}

/// Signals as a process has them that nobody changed: what is ignored or blocked is inherited.
pub(crate) fn reset_signals() {
    // SAFETY: the default is what is wanted.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: a set to be filled in.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: a set that is filled in.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Gives up being root, if this process is, and every capability: libraries can be read by everyone. Where there is no other user
/// (a container may have only root), it stays root of the container, which may do no more than the system calls that are left.
pub(crate) fn become_nobody() -> io::Result<()> {
    const NOBODY: u32 = 65_534;
    if rustix::process::geteuid().is_root() {
        // SAFETY: an empty list of groups.
        unsafe { libc::setgroups(0, std::ptr::null()) };
        // SAFETY: no memory is involved.
        unsafe { libc::setgid(NOBODY) };
        // SAFETY: as before.
        unsafe { libc::setuid(NOBODY) };
    }
    let none = rustix::thread::CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, none)?;
    Ok(())
}

/// Makes a child that makes the run.
pub(crate) fn fork(run: &Run<'_>) -> io::Result<Pid> {
    let parent = rustix::process::getpid();
    // SAFETY: this process has one thread, so that the child has all of it and no lock is held.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => child(run, parent),
        child => Ok(Pid::from_raw(child).expect("a process number is positive")),
    }
}

/// The child: never returns.
fn child(run: &Run<'_>, parent: Pid) -> ! {
    let Ok(report) = map_report(run) else { exit(1) };
    REPORT.store(report, Ordering::Relaxed);
    if let Err(error) = prepare_and_call(run, parent) {
        tell(&error.to_string());
        exit(1);
    }
    exit(0)
}

/// Ends the process without anything that was to be done at its end.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: the process ends.
    unsafe { libc::_exit(code) }
}

/// Changes the report.
pub(crate) fn report(change: impl FnOnce(&mut Report)) {
    let report = REPORT.load(Ordering::Relaxed);
    // SAFETY: mapped as long as the process is there; the object's code may write there too, which makes only its own report wrong.
    change(unsafe { &mut *report });
}

fn tell(text: &str) {
    report(|report| {
        let len = text.len().min(TEXT_BYTES);
        report.text[..len].copy_from_slice(&text.as_bytes()[..len]);
        report.text_len = len as u64;
    });
}

fn map_report(run: &Run<'_>) -> io::Result<*mut Report> {
    let job = run.files.first().ok_or_else(|| io::Error::other("a job without its file"))?;
    let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping at a place that the kernel chooses.
    let at = unsafe { mmap(std::ptr::null_mut(), PAGE as usize, prot, flags, job, 0) }?;
    Ok(at.cast())
}

fn prepare_and_call(run: &Run<'_>, parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        exit(1);
    }
    let header = header(run.files)?;
    let job = File::from(run.files[0].try_clone()?);
    let mut ranges = [RangeEntry::default(); RANGES_MAX];
    let ranges = usize::try_from(header.ranges)
        .ok()
        .and_then(|count| ranges.get_mut(..count))
        .ok_or_else(|| io::Error::other("too many ranges"))?;
    job.read_exact_at(ranges.as_mut_bytes(), RANGES_AT)?;
    let (mut addresses, mut lengths) = (Vec::new(), Vec::new());
    for range in ranges.iter() {
        let file = run.files.get(range.file as usize);
        let file = file.ok_or_else(|| io::Error::other("a range without its file"))?;
        addresses.push(map_range(file.as_fd(), range)?);
        lengths.push(range.len as i64);
    }
    let mut data = vec![0u8; header.data_len as usize];
    job.read_exact_at(&mut data, DATA_AT)?;
    drop(job);
    let mut arguments = Arguments {
        numr: ranges.len() as i32,
        mr_addr: addresses.as_mut_ptr(),
        mr_len: lengths.as_mut_ptr(),
        cparam1: header.param1,
        cparam2: header.param2,
        data_buffer: if data.is_empty() { std::ptr::null_mut() } else { data.as_mut_ptr().cast() },
        buffer_len: data.len() as i64,
    };
    let function = CString::new(run.function).map_err(io::Error::other)?;
    // The first look at a clock asks the kernel where it is.
    clock_ns(header.may_have_threads());
    limit(&header)?;
    keep_only(run.object)?;
    sandbox::enter(header.may_have_threads())?;
    call(&function, &mut arguments, header.may_have_threads())
}

/// Maps the pages of a range, with pages before and after it that nothing can touch.
fn map_range(file: BorrowedFd<'_>, range: &RangeEntry) -> io::Result<*mut c_void> {
    if range.len == 0 {
        return Ok(NOWHERE);
    }
    let at = range.offset % PAGE;
    let len = (at + range.len).next_multiple_of(PAGE) as usize;
    let page = PAGE as usize;
    let (none, private) = (ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a new mapping at a place that the kernel chooses.
    let place = unsafe { mmap_anonymous(std::ptr::null_mut(), len + 2 * page, none, private) }?;
    let mut prot = ProtFlags::READ;
    prot.set(ProtFlags::WRITE, range.writable == 1);
    let start = place.wrapping_byte_add(page);
    let flags = MapFlags::SHARED | MapFlags::FIXED;
    // SAFETY: within what was just mapped.
    unsafe { mmap(start, len, prot, flags, file, range.offset - at) }?;
    Ok(start.wrapping_byte_add(at as usize))
}

/// Limits of memory and time, and no core file.
fn limit(header: &Header) -> io::Result<()> {
    // Never more than what was inherited.
    let limit = |resource, soft: u64, hard: u64| {
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
        setrlimit(resource, limit)
    };
    // Pages of all mappings, and of those that are writable and private.
    let mapped = std::fs::read_to_string("/proc/self/statm")?;
    let pages = |place| mapped.split(' ').nth(place).and_then(|pages| pages.parse::<u64>().ok());
    for (resource, place) in [(Resource::As, 0), (Resource::Data, 5)] {
        let pages = pages(place).ok_or_else(|| io::Error::other("/proc/self/statm"))?;
        let bytes = (pages * PAGE).saturating_add(header.memory_bytes);
        limit(resource, bytes, bytes)?;
    }
    if header.may_have_threads() {
        // All threads of this user count.
        limit(Resource::Nproc, THREADS_MAX, THREADS_MAX)?;
    } else {
        // The worker's clock decides; this is for a worker that cannot. Of several threads it would count all together, and with it
        // Linux knows the time of the process only now and then.
        let seconds = header.time_limit_ns / 1_000_000_000 + 2;
        limit(Resource::Cpu, seconds, seconds + 1)?;
    }
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Stack, STACK_BYTES, STACK_BYTES)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Keeps the object and where output goes, and closes everything else.
fn keep_only(object: &OwnedFd) -> io::Result<()> {
    if object.as_raw_fd() != OBJECT {
        // SAFETY: whatever has that number is not used any more in this process.
        if unsafe { libc::dup2(object.as_raw_fd(), OBJECT) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the socket is the worker's.
    unsafe { libc::close(0) };
    close_from(OBJECT + 1)
}

/// Loads the object, and calls its function.
fn call(function: &CString, arguments: &mut Arguments, may_have_threads: bool) -> io::Result<()> {
    report(|report| report.stage = stage::LOADING);
    // SAFETY: whatever the code does, it does to this process.
    let library = unsafe { libc::dlopen(sandbox::PATH.as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        return Err(loading_error());
    }
    // SAFETY: a library that is loaded, a name that ends.
    let address = unsafe { libc::dlsym(library, function.as_ptr()) };
    if address.is_null() {
        return Err(loading_error());
    }
    // SAFETY: the object is loaded, and the descriptor is used no more.
    unsafe { libc::close(OBJECT) };
    sandbox::loaded();
    let base = base_of(address);
    std::panic::set_hook(Box::new(|_| {
        tell("an exception left its function");
        exit(1)
    }));
    report(|report| (report.base, report.stage) = (base, stage::CALLED));
    // SAFETY: the program says that it is such a function. If not, only this process suffers.
    let function = unsafe { std::mem::transmute::<*mut c_void, Function>(address) };
    let before = clock_ns(may_have_threads);
    let result = no_exception(function, arguments);
    let cpu_ns = clock_ns(may_have_threads).saturating_sub(before);
    // SAFETY: what the program printed is written out.
    unsafe { libc::fflush(std::ptr::null_mut()) };
    report(|report| {
        report.result = result as u64;
        report.cpu_ns = cpu_ns;
        report.stage = stage::RETURNED;
    });
    Ok(())
}

type Function = extern "C-unwind" fn(*mut Arguments) -> i64;

/// Calls the function; an exception that leaves it is a panic that ends the process.
extern "C" fn no_exception(function: Function, arguments: *mut Arguments) -> i64 {
    function(arguments)
}

/// Where the object of an address begins.
fn base_of(address: *mut c_void) -> u64 {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: a structure to be filled in.
    unsafe { libc::dladdr(address, found.as_mut_ptr()) };
    // SAFETY: all zeroes are a value of it, too.
    unsafe { found.assume_init() }.dli_fbase as u64
}

fn loading_error() -> io::Error {
    // SAFETY: a string or null, which is ours until the next call.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return io::Error::other("it has no such function");
    }
    // SAFETY: a string that ends.
    let text = unsafe { std::ffi::CStr::from_ptr(text) };
    io::Error::other(text.to_string_lossy().into_owned())
}

/// Processor time of this thread, or of all of this process.
fn clock_ns(may_have_threads: bool) -> u64 {
    let clock = if may_have_threads { ClockId::ProcessCPUTime } else { ClockId::ThreadCPUTime };
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
