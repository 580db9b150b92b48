//! Why an object was refused.

/// An object that cannot be loaded, with the reason and, where possible, the remedy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message is the documentation")]
pub enum LoadError {
    #[error("not an ELF file; compile the program with `clang -target bpf -O2 -g -c`")]
    NotElf,
    #[error("ELF file for another machine ({0}); compile with `clang -target bpf`")]
    WrongMachine(String),
    #[error("malformed ELF file: {0}")]
    Malformed(String),
    #[error("the object holds no function; is the program empty, or everything `static`?")]
    NoFunction,
    #[error("no function '{name}' in the object; it has: {known}")]
    UnknownFunction { name: String, known: String },
    #[error("the object has several functions ({known}); choose one with --function NAME")]
    AmbiguousFunction { known: String },
    #[error(
        "undefined symbol '{symbol}' used by '{function}'; it is neither in the object nor a helper (see csdrive.h)"
    )]
    UndefinedSymbol { symbol: String, function: String },
    #[error("{place}: {reason}")]
    Relocation { place: String, reason: String },
    #[error(
        "section {section}: constructors of global objects, which nothing runs; make the objects constexpr, or construct them in the entry function"
    )]
    Constructors { section: String },
    #[error("data sections of {bytes} bytes; at most {max} are allowed")]
    TooMuchData { bytes: u64, max: u64 },
    #[error(
        "function '{function}': struct {name} has '{member}' at byte {offset}, the drive puts it at byte {expected}; \
         declare the struct __attribute__((packed)), or include csdrive.h"
    )]
    Arguments { function: String, name: String, member: String, offset: u32, expected: u32 },
    #[error("{location}: {reason}")]
    Rejected { location: String, reason: String },
}
