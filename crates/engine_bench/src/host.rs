//! Engines that run on host pointers: native code and rbpf's compiler.
#![expect(unsafe_code, reason = "calls native code; see the SAFETY comments")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ebpf::SharedMemory;
use libloading::Library;

/// Source of the kernels.
const SOURCE: &str = include_str!("kernels.bpf.c");

/// Arguments of a kernel, with host addresses. The struct is packed as in the program ABI.
#[repr(C, packed)]
#[derive(Debug)]
pub(crate) struct Arguments {
    numr: i32,
    mr_addr: *const *mut u8,
    mr_len: *const i64,
    params: [i64; 2],
    data_buffer: *const u8,
    buffer_len: i64,
}

/// Ranges of shared memory as native code sees them.
#[derive(Debug)]
pub(crate) struct HostRanges {
    addresses: Vec<*mut u8>,
    lengths: Vec<i64>,
    params: [i64; 2],
}

impl HostRanges {
    /// The first bytes of `memory` are at window offset 0 of the ranges, one (offset, length) each.
    pub(crate) fn new(memory: &SharedMemory, ranges: &[(u64, u64)], params: [i64; 2]) -> Self {
        let inside = |&(offset, len): &(u64, u64)| offset + len <= memory.len();
        assert!(ranges.iter().all(inside), "ranges are not within their memory");
        let address = |&(offset, _): &(u64, u64)| memory.as_ptr().wrapping_add(offset as usize);
        let lengths = ranges.iter().map(|&(_, len)| len as i64).collect();
        Self { addresses: ranges.iter().map(address).collect(), lengths, params }
    }

    fn arguments(&self) -> Arguments {
        Arguments {
            numr: self.addresses.len() as i32,
            mr_addr: self.addresses.as_ptr(),
            mr_len: self.lengths.as_ptr(),
            params: self.params,
            data_buffer: std::ptr::null(),
            buffer_len: 0,
        }
    }
}

/// Kernels compiled for the host.
#[derive(Debug)]
pub(crate) struct Native {
    library: Library,
}

impl Native {
    /// Compiles the kernels with clang.
    pub(crate) fn new(clang: &str, flags: &[&str], directory: &Path) -> Result<Self> {
        let source = directory.join("kernels.c");
        std::fs::write(&source, SOURCE)?;
        let library = directory.join(format!("kernels{}.so", flags.concat()));
        let output = Command::new(clang)
            .args(["-O2", "-shared", "-fPIC"])
            .args(flags)
            .arg(&source)
            .arg("-o")
            .arg(&library)
            .output()
            .with_context(|| format!("{clang} does not start"))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // SAFETY: the library has no initialisers: it was compiled just now from the source above.
        let library = unsafe { Library::new(&library) }?;
        Ok(Self { library })
    }

    /// Calls a kernel.
    pub(crate) fn call(&self, function: &str, ranges: &HostRanges) -> Result<u64> {
        type Function = unsafe extern "C" fn(*const Arguments) -> i64;
        // SAFETY: every function of the source has this type.
        let function = unsafe { self.library.get::<Function>(function) }?;
        let arguments = ranges.arguments();
        // SAFETY: the kernels keep within the ranges, as their results in the sandbox show.
        Ok(unsafe { function(&arguments) } as u64)
    }
}

/// A kernel compiled by rbpf.
pub(crate) struct Rbpf<'a> {
    vm: rbpf::EbpfVmRaw<'a>,
}

impl<'a> Rbpf<'a> {
    /// Compiles a program.
    pub(crate) fn new(code: &'a [u8]) -> Result<Self> {
        let mut vm = rbpf::EbpfVmRaw::new(Some(code))?;
        vm.jit_compile()?;
        Ok(Self { vm })
    }

    /// Calls it.
    pub(crate) fn call(&self, ranges: &HostRanges) -> Result<u64> {
        let mut arguments = ranges.arguments();
        let len = size_of::<Arguments>();
        // SAFETY: a packed struct of integers and pointers is that many initialised bytes.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(std::ptr::from_mut(&mut arguments).cast::<u8>(), len)
        };
        // SAFETY: nothing is checked; the kernels keep within the ranges, as in the sandbox.
        Ok(unsafe { self.vm.execute_program_jit(bytes) }?)
    }
}
