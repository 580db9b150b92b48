//! What clang says, and what to do about it.

/// A text that clang's messages have, and the remedy. The first that fits counts.
const REMEDIES: &[(&str, &str)] = &[
    ("thread-local storage", "a program is one thread: leave out _Thread_local (__thread)"),
    (
        "'pthread.h' file not found",
        "a program is one thread: leave out pthread.h; several jobs run beside each other (csdrive run --jobs)",
    ),
    (
        "pthread_",
        "a program is one thread: leave out pthread.h; several jobs run beside each other (csdrive run --jobs)",
    ),
    ("inline asm", "assembly is another machine's: put it between #ifndef __bpf__ and #endif"),
    (
        "invalid register/token name",
        "assembly is another machine's: put it between #ifndef __bpf__ and #endif",
    ),
    ("indirect goto", "labels have no addresses here: use a switch"),
    ("address-of-label", "labels have no addresses here: use a switch"),
    (
        "undeclared identifier 'FILE'",
        "a program has no files: its data is in the memory ranges (mr_addr) and the data buffer; fprintf(stderr, ...) and printf print",
    ),
    (
        "'fopen'",
        "a program has no files: its data is in the memory ranges (mr_addr) and the data buffer; fprintf(stderr, ...) and printf print",
    ),
    (
        "'scanf'",
        "a program has no standard input: its data is in the memory ranges (mr_addr) and the data buffer; or compile it for WebAssembly, where standard input is its ranges",
    ),
    (
        "'getchar'",
        "a program has no standard input: its data is in the memory ranges (mr_addr) and the data buffer; or compile it for WebAssembly, where standard input is its ranges",
    ),
    (
        "call to undeclared function",
        "declare the function, or include its header: csdrive has string.h, stdlib.h, stdio.h (printf), ctype.h, math.h, assert.h",
    ),
    (
        "implicit declaration of function",
        "declare the function, or include its header: csdrive has string.h, stdlib.h, stdio.h (printf), ctype.h, math.h, assert.h",
    ),
    (
        "file not found",
        "csdrive has the headers assert.h, ctype.h, errno.h, inttypes.h, math.h, stdint.h, stdio.h, stdlib.h, string.h, time.h and its own; others must lie beside the source",
    ),
    ("exceptions disabled", "C++ has no exceptions here: return what went wrong"),
    (
        "use of typeid requires",
        "C++ has no type information at run time here: leave out typeid and dynamic_cast",
    ),
    (
        "dynamic_cast",
        "C++ has no type information at run time here: leave out typeid and dynamic_cast",
    ),
    (
        "BPF stack limit",
        "a function has more than 32 KiB of variables: make large arrays static, or take them from malloc",
    ),
    ("__sync_", "atomic operations are of 4 and 8 bytes: use a larger type"),
    (
        "unsupported atomic operation",
        "atomic operations are of 4 and 8 bytes, without fences: use a larger type",
    ),
    ("csd_i128_", "128-bit division in LLVM bitcode: give the source instead"),
    ("csd_f", "floating point in LLVM bitcode: give the source instead"),
    (
        "A call to built-in function",
        "this operation is not there for programs: compute it with what stdlib.h and math.h have",
    ),
    (
        "BasicBlock::",
        "the source takes clang's BPF target to its end: simplify the function that it names",
    ),
];

/// The remedy for what clang says.
pub(crate) fn remedy(messages: &str) -> Option<&'static str> {
    let found = REMEDIES.iter().find(|(text, _)| messages.contains(text));
    found.map(|(_, remedy)| *remedy)
}
