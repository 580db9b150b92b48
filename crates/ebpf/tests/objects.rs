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

/// `*.clang22.o` are of clang 22 (PyPI package ziglang 0.17.1).
#[test]
fn clang_22_has_unwind_tables_jump_tables_and_ordered_accesses() {
    let tables = include_bytes!("objects/string_tables.clang22.o");
    assert_eq!(run(tables, Some("ptrs")).result, Ok(45));
    let switch = include_bytes!("objects/switch.clang22.o");
    assert_eq!(run(switch, Some("sw20")).result, Ok(25_511_364_932));
    let acquire = include_bytes!("objects/acquire.clang22.o");
    assert_eq!(run(acquire, None).result, Ok(48));
}

#[test]
fn an_undefined_weak_symbol_is_zero() {
    assert_eq!(run(include_bytes!("objects/weak.o"), None).result, Ok(1));
}

#[test]
fn functions_are_called_through_pointers_and_nothing_else_is() {
    let object = include_bytes!("objects/pointers.o");
    // What gcc makes of the same on the host.
    assert_eq!(run(object, Some("fold")).result, Ok(834_224_081_999));
    let fault = run(object, Some("astray")).result.unwrap_err();
    assert!(fault.to_string().contains("not a helper"), "{fault}");
    assert!(fault.location.contains("'astray'"), "{}", fault.location);
}

/// What gcc makes of the same source on x86-64 prints this number.
#[test]
fn what_gcc_calls_is_there() {
    let object = include_bytes!("objects/gcc-libcalls.o");
    assert_eq!(run(object, None).result, Ok(-141_492i64 as u64));
    let refused =
        Program::load(include_bytes!("objects/gcc-float.o"), None).unwrap_err().to_string();
    assert!(refused.contains("wrong floating-point constants; compile it with clang"), "{refused}");
}

/// Without `.comment` (-fno-ident, strip) nobody knows whose symbols' values these are: 3000 would be as plausible.
#[test]
fn an_object_of_nobody_knows_whom_is_refused_where_that_matters() {
    let mut object = include_bytes!("objects/gcc-global-addend.o").to_vec();
    let at = object.windows(5).position(|text| text == b"GCC: ").unwrap();
    object[at..at + 5].fill(b'x');
    let refused = Program::load(&object, Some("lk")).unwrap_err().to_string();
    assert!(refused.contains("'vc'") && refused.contains(".comment"), "{refused}");
}

/// Names in the type information that never end: looking for one costs no more than its length.
#[test]
fn hostile_type_information_takes_no_time() {
    let mut btf = vec![0x9F, 0xEB, 1, 0];
    let (count, strings) = (200_000u32, 4_000_000u32);
    for number in [24, 0, 12 * count, 12 * count, strings] {
        btf.extend(number.to_le_bytes());
    }
    for n in 0..count {
        // FUNC, of a name somewhere.
        btf.extend([n, 12 << 24, 1].into_iter().flat_map(u32::to_le_bytes));
    }
    btf.resize(btf.len() + strings as usize, b'a');
    let object = include_bytes!("objects/unpacked-args.o");
    let object = with_section(object, ".BTF", &btf);
    // It would take minutes.
    Program::load(&object, None).unwrap();
}

/// An object whose section has other contents, appended.
fn with_section(object: &[u8], name: &str, contents: &[u8]) -> Vec<u8> {
    let mut object = object.to_vec();
    let number = |object: &[u8], at: usize, len: usize| {
        object[at..at + len].iter().rev().fold(0usize, |n, byte| n << 8 | usize::from(*byte))
    };
    let (headers, count, names) =
        (number(&object, 0x28, 8), number(&object, 0x3C, 2), number(&object, 0x3E, 2));
    let names = number(&object, headers + 64 * names + 0x18, 8);
    let header = (0..count).map(|n| headers + 64 * n).find(|&header| {
        let at = names + number(&object, header, 4);
        object[at..].starts_with(name.as_bytes()) && object[at + name.len()] == 0
    });
    let (header, end) = (header.unwrap(), object.len() as u64);
    object[header + 0x18..header + 0x20].copy_from_slice(&end.to_le_bytes());
    object[header + 0x20..header + 0x28].copy_from_slice(&(contents.len() as u64).to_le_bytes());
    object.extend(contents);
    object
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

/// Objects with some bytes changed are refused, or run the same on each engine; nothing panics, and nothing takes long.
#[test]
fn mutated_objects_are_refused_or_run_the_same() {
    let objects: [&[u8]; 7] = [
        include_bytes!("objects/switch.clang22.o"),
        include_bytes!("objects/string_tables.clang22.o"),
        include_bytes!("objects/acquire.clang22.o"),
        include_bytes!("objects/pointers.o"),
        include_bytes!("objects/weak.o"),
        include_bytes!("objects/gcc-libcalls.o"),
        include_bytes!("objects/gcc-data-pointer.o"),
    ];
    let rounds = 1500;
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut loaded = 0;
    for round in 0..rounds {
        let mut object = objects[round % objects.len()].to_vec();
        for _ in 0..=random(4) {
            let at = random(object.len());
            object[at] = match random(4) {
                0 => 0,
                1 => 0xFF,
                2 => object[at] ^ (1 << random(8)),
                _ => random(256) as u8,
            };
        }
        let entries = [Some("fold"), Some("sw20"), Some("ptrs"), Some("libcalls"), None];
        for entry in entries {
            let Ok(program) = Program::load(&object, entry) else { continue };
            loaded += 1;
            let invocation = Invocation { budget: 20_000, ..Default::default() };
            let [a, b] = [Engine::Interpreter, Engine::Tier1]
                .map(|engine| program.execute(&mut Worker::new(engine), &invocation));
            assert_eq!((a.result, a.counts), (b.result, b.counts), "round {round}");
        }
    }
    assert!(loaded > rounds / 4, "{loaded}");
}
