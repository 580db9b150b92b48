//! Objects of other compilers, and objects that are traps: each was silently wrong or took seconds once.
//!
//! `gcc-*.o` are of Debian's gcc-bpf 12.2 with binutils 2.40; sources are beside the objects.

use ebpf::{Engine, Invocation, LoadError, Outcome, Program, Worker};

/// Runs a program without ranges on each engine that needs no compiler; all must agree.
fn run(object: &[u8], entry: Option<&str>) -> Outcome {
    let program = Program::load(object, entry).unwrap();
    let invocation = Invocation { budget: 10_000_000, ..Default::default() };
    let [interpreted, compiled] = [Engine::Interpreter, Engine::Tier1]
        .map(|engine| program.execute(&mut Worker::new(engine), &invocation));
    assert_eq!(interpreted.result, compiled.result);
    assert_eq!(interpreted.counts, compiled.counts);
    interpreted
}

#[test]
fn gcc_has_symbols_values_in_the_instructions() {
    let object = include_bytes!("objects/gcc-global-addend.o");
    assert_eq!(run(object, Some("lk")).result, Ok(19_008));
}

#[test]
fn gcc_has_pointers_in_data() {
    let object = include_bytes!("objects/gcc-data-pointer.o");
    assert_eq!(run(object, Some("gptr")).result, Ok(9));
}

/// Calls of global and local functions, pointers to global and local variables, strings. What is right, gcc for the
/// host says.
#[test]
fn gcc_calls_and_pointers_mean_what_they_say() {
    let object = include_bytes!("objects/gcc-calls.o");
    assert_eq!(run(object, Some("gmain")).result, Ok(7_562_212_414));
}

#[test]
fn arguments_that_are_not_packed_are_refused_by_name() {
    let refused = Program::load(include_bytes!("objects/unpacked-args.o"), None).unwrap_err();
    let LoadError::Arguments { function, name, member, offset, expected } = &refused else {
        panic!("{refused}")
    };
    assert_eq!((&**function, &**name, &**member), ("noinc", "cemu_args", "mr_addr"));
    assert_eq!((*offset, *expected), (8, 4));
    assert!(refused.to_string().contains("packed"), "{refused}");
    // Ours are packed.
    Program::load(include_bytes!("../../../examples/programs/double.bpf.o"), None).unwrap();
}

/// The time that Cranelift takes grows with the third power of the nesting.
#[test]
fn deeply_nested_loops_are_interpreted_instead_of_compiled_for_seconds() {
    let program = Program::load(include_bytes!("objects/jit-backjumps-4000.o"), None).unwrap();
    let why = program.compile(Engine::Tier1).unwrap_err();
    assert!(why.contains("nested"), "{why}");
    let invocation = Invocation { budget: 10_000_000, ..Default::default() };
    let [first, second] = [Engine::Interpreter, Engine::Auto]
        .map(|engine| program.execute(&mut Worker::new(engine), &invocation));
    assert_eq!((first.result, first.counts), (second.result, second.counts));
}
