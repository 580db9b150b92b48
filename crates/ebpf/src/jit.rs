//! Tier 1: verified code to machine code, with Cranelift.
//!
//! ```text
//! Code --Flow--> blocks, checks, counters --translate--> Cranelift IR --> machine code, sites
//! ```
//!
//! Two variants are made of a program, each when first needed: one in which page protection alone
//! guards memory, for windows whose segments all begin and end with pages, and one that compares
//! each address with the segment's bounds, exact to the byte, for all others.

mod code_memory;
mod interval;
mod translate;

use std::sync::{Arc, OnceLock};

use cranelift_codegen::Context;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, UserExternalNameRef};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CompiledCode, FinalizedRelocTarget};
use cranelift_frontend::FunctionBuilderContext;

use crate::code::Code;
use crate::flow::Flow;
use crate::native::{Native, Site, Timer};

pub(crate) use code_memory::CodeMemory;

/// Programs of more instructions are interpreted: what compiles in a millisecond for a usual program
/// would let a hostile one keep the host busy for minutes.
pub(crate) const OPS_MAX: usize = 32_768;

/// Programs with more memory accesses are compiled without optimisation where accesses are compared
/// with bounds: what does not change in a loop is moved out of it, several values for each access, and
/// the register allocator takes values times blocks.
const OPTIMISED_ACCESSES_MAX: usize = 512;

/// Most loops that may be nested: what Cranelift takes for them grows with the third power (4000 take 5 s).
const NESTING_MAX: usize = 200;

/// How memory accesses are kept within the program's segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Guard {
    /// By page protection: every segment is whole pages of a 4 GiB window.
    Pages,
    /// By comparing each address with the bounds of its segment.
    Bounds,
}

/// The cheaper guard, where there are signal handlers to catch what it catches.
pub(crate) const PREFERRED_GUARD: Guard =
    if cfg!(target_arch = "x86_64") { Guard::Pages } else { Guard::Bounds };

/// Compilers for this machine, each made when first needed.
struct Host {
    optimising: OnceLock<Result<Arc<dyn TargetIsa>, String>>,
    plain: OnceLock<Result<Arc<dyn TargetIsa>, String>>,
}

static HOST: Host = Host { optimising: OnceLock::new(), plain: OnceLock::new() };

impl Host {
    fn optimising(&self) -> Result<&dyn TargetIsa, String> {
        Self::get(&self.optimising, "speed")
    }

    fn plain(&self) -> Result<&dyn TargetIsa, String> {
        Self::get(&self.plain, "none")
    }

    fn get<'a>(
        place: &'a OnceLock<Result<Arc<dyn TargetIsa>, String>>,
        level: &str,
    ) -> Result<&'a dyn TargetIsa, String> {
        let isa = place.get_or_init(|| {
            if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
                return Err(format!("no compiler for {}", std::env::consts::ARCH));
            }
            let builder = cranelift_native::builder().map_err(str::to_owned)?;
            builder.finish(settings::Flags::new(flags(level))).map_err(|e| e.to_string())
        });
        isa.as_deref().map_err(Clone::clone)
    }
}

fn flags(level: &str) -> settings::Builder {
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", level),
        ("unwind_info", "false"),
        ("enable_verifier", verify),
        ("enable_pinned_reg", "true"),
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
    ] {
        flags.set(name, value).expect("a setting of the pinned version");
    }
    flags
}

/// Machine code before it is put into executable memory.
pub(crate) struct Compiled {
    pub(crate) bytes: Vec<u8>,
    /// Offset of the entry thunk.
    pub(crate) entry: usize,
    /// (offset of an instruction that may trap, its site), ascending.
    pub(crate) traps: Vec<(u32, u32)>,
    pub(crate) sites: Vec<Site>,
}

/// Compiles a program for this machine.
///
/// # Errors
/// If the program is too large or the machine is not supported.
pub(crate) fn compile(code: &Code, flow: &Flow, guard: Guard) -> Result<Native, String> {
    let timer = Timer::start();
    let accesses = || code.ops.iter().filter(|op| op.is_memory_access()).count();
    let is_large = guard == Guard::Bounds && accesses() > OPTIMISED_ACCESSES_MAX;
    let isa = if is_large { HOST.plain()? } else { HOST.optimising()? };
    let compiled = compile_for(isa, code, flow, guard)?;
    let memory = CodeMemory::new(&compiled.bytes).map_err(|e| format!("code memory: {e}"))?;
    let took = timer.elapsed();
    Ok(Native::new(memory, compiled, took))
}

/// Refuses programs that are too large.
///
/// # Errors
/// If this one is.
pub(crate) fn check_size(code: &Code) -> Result<(), String> {
    match code.ops.len() {
        ops if ops > OPS_MAX => Err(format!("{ops} instructions; at most {OPS_MAX} are compiled")),
        _ => Ok(()),
    }
}

/// Compiles a program for any machine.
pub(crate) fn compile_for(
    isa: &dyn TargetIsa,
    code: &Code,
    flow: &Flow,
    guard: Guard,
) -> Result<Compiled, String> {
    check_size(code)?;
    if let Some(function) = flow.functions.iter().find(|f| f.nesting > NESTING_MAX) {
        let loops = function.nesting;
        return Err(format!("{loops} loops are nested; at most {NESTING_MAX} are compiled"));
    }
    let mut output = Compiled { bytes: Vec::new(), entry: 0, traps: Vec::new(), sites: Vec::new() };
    let mut starts = Vec::new();
    let mut calls = Vec::new();
    let mut context = Context::new();
    let mut builder = FunctionBuilderContext::new();
    // The functions in order, then the thunk that the runtime enters.
    for function in 0..=flow.functions.len() {
        context.clear();
        let first_site = output.sites.len();
        if function < flow.functions.len() {
            let sites = &mut output.sites;
            translate::function(
                isa,
                &mut context.func,
                &mut builder,
                (code, flow),
                function,
                guard,
                sites,
            );
        } else {
            translate::thunk(isa, &mut context.func, &mut builder, code);
        }
        context.compile(isa, &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
        let machine = context.compiled_code().expect("it was compiled just now");
        let frame = machine.buffer.frame_layout().map_or(0, |frame| frame.frame_to_fp_offset);
        let most = code.stack.host_bytes_of_a_call();
        if frame as usize > most {
            return Err(format!("needs {frame} bytes of host stack for a call; at most {most}"));
        }
        output.bytes.resize(output.bytes.len().next_multiple_of(64), 0);
        let start = output.bytes.len();
        starts.push(start);
        output.bytes.extend(machine.code_buffer());
        note_traps(machine, start, first_site, output.sites.len(), &mut output.traps);
        for reloc in machine.buffer.relocs() {
            let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = &reloc.target else {
                return Err(format!("unexpected relocation {reloc:?}"));
            };
            let callee = callee_index(&context.func, *name);
            calls.push((start + reloc.offset as usize, reloc.kind, reloc.addend, callee));
        }
    }
    for (at, kind, addend, callee) in calls {
        let distance = starts[callee] as i64 - at as i64 + addend;
        let place = &mut output.bytes[at..at + 4];
        match kind {
            Reloc::X86CallPCRel4 => place.copy_from_slice(&(distance as i32).to_le_bytes()),
            Reloc::Arm64Call => {
                let mut insn = u32::from_le_bytes(place.try_into().expect("four bytes"));
                insn |= (distance / 4) as u32 & 0x03FF_FFFF;
                place.copy_from_slice(&insn.to_le_bytes());
            }
            _ => return Err(format!("unexpected relocation {kind:?}")),
        }
    }
    output.entry = starts[flow.functions.len()];
    Ok(output)
}

fn callee_index(func: &cranelift_codegen::ir::Function, name: UserExternalNameRef) -> usize {
    func.params.user_named_funcs()[name].index as usize
}

/// Finds the site of each instruction that may trap. Its trap code is the site's number modulo
/// [`translate::TRAP_CODES`], and its source location the site of it or of one near: an instruction
/// may have taken over a load that stood before it.
fn note_traps(
    machine: &CompiledCode,
    start: usize,
    first: usize,
    end: usize,
    traps: &mut Vec<(u32, u32)>,
) {
    let locations = machine.buffer.get_srclocs_sorted();
    for trap in machine.buffer.traps() {
        let Some(residue) = translate::residue_of(trap.code) else { continue };
        let after = locations.partition_point(|l| l.start <= trap.offset);
        let near = match after.checked_sub(1).map(|n| locations[n].loc) {
            Some(location) if !location.is_default() => location.bits() as usize,
            _ => first,
        };
        let near = near.clamp(first, end.saturating_sub(1).max(first));
        let distance = |site: &usize| site.abs_diff(near);
        // The sites with that residue around the one that is near.
        let codes = translate::TRAP_CODES;
        let base = first + (near - first) / codes * codes + residue;
        let candidates = [base.wrapping_sub(codes), base, base + codes];
        let inside = candidates.into_iter().filter(|site| (first..end).contains(site));
        if let Some(site) = inside.min_by_key(distance) {
            traps.push(((start + trap.offset as usize) as u32, site as u32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;

    const EXAMPLES: [&[u8]; 6] = [
        include_bytes!("../../../examples/programs/double.bpf.o"),
        include_bytes!("../../../examples/programs/filter.bpf.o"),
        include_bytes!("../../../examples/programs/grep-count.bpf.o"),
        include_bytes!("../../../examples/programs/histogram.bpf.o"),
        include_bytes!("../../../examples/programs/tpch_q6.bpf.o"),
        include_bytes!("../../../examples/programs/vadd.bpf.o"),
    ];

    /// Both targets, whatever the host is: every example compiles, and where memory accesses may trap
    /// is known.
    #[test]
    fn examples_compile_for_both_targets() {
        for (name, call) in [("x86_64", 0xE8), ("aarch64", 0x97)] {
            let builder = cranelift_codegen::isa::lookup_by_name(name).unwrap();
            let isa = builder.finish(settings::Flags::new(flags("speed"))).unwrap();
            for object in EXAMPLES {
                let program = Program::load(object, None).unwrap();
                let code = program.code();
                let flow = Flow::new(code);
                let accesses = code.ops.iter().filter(|op| op.is_memory_access()).count();
                for guard in [Guard::Pages, Guard::Bounds] {
                    let compiled = compile_for(&*isa, code, &flow, guard).unwrap();
                    assert!(compiled.sites.len() >= accesses / 2, "{name}: too few sites");
                    assert!(compiled.entry > 0 && compiled.entry < compiled.bytes.len());
                    if guard == Guard::Pages {
                        assert!(compiled.traps.len() >= accesses / 2, "{name}: too few traps");
                    }
                    // The thunk calls the entry function.
                    assert!(compiled.bytes[compiled.entry..].contains(&call), "{name}");
                }
            }
        }
    }
}
