//! A module that may be a program: what it needs is there, and the function to call is known.

use controller::WasmConfig;
use wasmparser::types::Types;
use wasmparser::{
    ExternalKind, FuncType, Parser, Payload, TypeRef, ValType, Validator, WasmFeatures,
};

use crate::counting::Meter;
use crate::engine::FEATURES;
use crate::memory::TABLE_ENTRIES_MAX;
use crate::metering::{MeteringError, WASM_PAGE, metered};
use crate::{helpers, wasi};

/// Why a module is no program.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Refused {
    #[error(
        "a WebAssembly component: build a module instead (target wasm32-wasip1 or wasm32-unknown-unknown)"
    )]
    Component,
    #[error("no valid WebAssembly 2.0 module: {0}")]
    Invalid(String),
    #[error("a WebAssembly module that {0}")]
    Unfit(String),
    #[error("the module exports no function {name:?} that can be a program: {all}")]
    NoFunction { name: String, all: String },
    #[error(
        "the module exports several functions that can be the program: {0}; name one (csdrive run --function)"
    )]
    Ambiguous(String),
}

/// What a program returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Returns {
    Nothing,
    I32,
    I64,
}

/// How a program is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// `_start`, which `main` is behind.
    Command,
    /// A function that takes the address of its arguments.
    Function { name: String, returns: Returns },
}

/// A module that is a program.
#[derive(Debug)]
pub(crate) struct Checked {
    /// With code that counts.
    pub(crate) module: Vec<u8>,
    pub(crate) meter: Meter,
    pub(crate) entry: Entry,
    /// It has a function `_initialize`, to be called first.
    pub(crate) has_initialize: bool,
}

const START: &str = "_start";

/// So much memory of its own a program may have at most: its ranges have addresses, too.
const MEMORY_MAX: u64 = 4 << 30;

/// What a module exports and imports.
struct Outline {
    functions: Vec<(String, FuncType)>,
    imports: Vec<(String, String, TypeRef)>,
    /// Pages of its memory at first, and at most: modules with several are not taken.
    memory: Option<(u64, Option<u64>)>,
    /// Something is exported as `memory` that is one.
    exports_memory: bool,
}

/// The exported functions of a module that can be its program.
///
/// # Errors
/// If it is no module.
pub fn functions(module: &[u8]) -> Result<Vec<String>, Refused> {
    let outline = outline(module)?;
    Ok(candidates(&outline).map(|(name, _)| name.to_owned()).collect())
}

/// Looks at a module, and puts the code that counts into it.
pub(crate) fn check(
    module: &[u8],
    function: Option<&str>,
    config: &WasmConfig,
) -> Result<Checked, Refused> {
    let outline = outline(module)?;
    check_imports(&outline)?;
    let exported = outline.memory.filter(|_| outline.exports_memory);
    let (pages, pages_max) = exported.ok_or_else(|| {
        Refused::Unfit(
            "exports no memory of its own by the name \"memory\": link it with --export-memory"
                .to_owned(),
        )
    })?;
    let bytes = pages * WASM_PAGE;
    if bytes > config.memory_bytes {
        return Err(Refused::Unfit(format!(
            "has a memory of {bytes} bytes; compute.wasm_memory is {}: raise it (at most 4GiB)",
            config.memory_bytes
        )));
    }
    let entry = choose(&outline, function)?;
    let has_initialize = entry != Entry::Command
        && outline.functions.iter().any(|(name, ty)| {
            name == "_initialize" && ty.params().is_empty() && ty.results().is_empty()
        });
    let most = config.memory_bytes.min(MEMORY_MAX) / WASM_PAGE;
    let pages = pages_max.unwrap_or(most).min(most).max(pages);
    let (module, meter) = metered(module, pages).map_err(|error| match error {
        MeteringError::Malformed(text) => Refused::Invalid(text),
        other => Refused::Unfit(format!("is too large: {other}")),
    })?;
    Ok(Checked { module, meter, entry, has_initialize })
}

fn outline(module: &[u8]) -> Result<Outline, Refused> {
    if Parser::is_component(module) {
        return Err(Refused::Component);
    }
    let invalid = |error: wasmparser::BinaryReaderError| Refused::Invalid(error.to_string());
    let types =
        Validator::new_with_features(FEATURES).validate_all(module).map_err(
            |error| match needs(module) {
                Some(what) => Refused::Unfit(what.to_owned()),
                None => invalid(error),
            },
        )?;
    let mut outline =
        Outline { functions: Vec::new(), imports: Vec::new(), memory: None, exports_memory: false };
    let mut entries = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(invalid)?;
                    let [module, name] = [import.module, import.name].map(str::to_owned);
                    outline.imports.push((module, name, import.ty));
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory.map_err(invalid)?;
                    outline.memory = Some((memory.initial, memory.maximum));
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    entries += table.map_err(invalid)?.ty.initial;
                }
                if entries > TABLE_ENTRIES_MAX as u64 {
                    return Err(Refused::Unfit(format!(
                        "has tables of {entries} entries; {TABLE_ENTRIES_MAX} are possible"
                    )));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(invalid)?;
                    if export.name.starts_with("csdrive ") {
                        let text = format!("exports {:?}: another name, please", export.name);
                        return Err(Refused::Unfit(text));
                    }
                    match export.kind {
                        ExternalKind::Func => {
                            let ty = function_type(&types, export.index);
                            outline.functions.extend(ty.map(|ty| (export.name.to_owned(), ty)));
                        }
                        ExternalKind::Memory if export.name == "memory" => {
                            outline.exports_memory = true;
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}

fn function_type(types: &Types, index: u32) -> Option<FuncType> {
    let types = types.as_ref();
    let id = types.core_function_at(index);
    types.get(id).map(|ty| ty.unwrap_func().clone())
}

/// What a module has that is valid, but not taken.
fn needs(module: &[u8]) -> Option<&'static str> {
    let with = |more: WasmFeatures| {
        Validator::new_with_features(FEATURES.union(more)).validate_all(module).is_ok()
    };
    [
        (WasmFeatures::THREADS, "has atomics or shared memory: build it without threads"),
        (WasmFeatures::MEMORY64, "has a memory of 64 bits: build it for wasm32"),
        (
            WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
            "has exceptions: build it without (-fno-exceptions)",
        ),
        (
            WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES).union(WasmFeatures::GC_TYPES),
            "needs garbage collection by the engine: compilers for linear memory are taken",
        ),
        (WasmFeatures::MULTI_MEMORY, "has several memories: build it with one"),
    ]
    .into_iter()
    .find(|(more, _)| with(*more))
    .map(|(_, what)| what)
}

fn check_imports(outline: &Outline) -> Result<(), Refused> {
    for (module, name, ty) in &outline.imports {
        let is_known = matches!(ty, TypeRef::Func(_))
            && (wasi::MODULES.contains(&module.as_str()) || helpers::is_known(module, name));
        if !is_known {
            return Err(Refused::Unfit(format!(
                "imports {module}.{name}, which no drive has: functions of wasi_snapshot_preview1 and of csdrive.h are there; link what it calls into it"
            )));
        }
    }
    Ok(())
}

fn candidates(outline: &Outline) -> impl Iterator<Item = (&str, Returns)> {
    outline.functions.iter().filter_map(|(name, ty)| {
        let returns = match ty.results() {
            [] => Returns::Nothing,
            [ValType::I32] => Returns::I32,
            [ValType::I64] => Returns::I64,
            _ => return None,
        };
        (ty.params() == [ValType::I32]).then_some((name.as_str(), returns))
    })
}

/// What libraries export beside programs.
fn is_of_library(name: &str) -> bool {
    name.starts_with('_') || ["malloc", "free", "asyncify_start_unwind"].contains(&name)
}

fn choose(outline: &Outline, function: Option<&str>) -> Result<Entry, Refused> {
    let has_start = outline
        .functions
        .iter()
        .any(|(name, ty)| name == START && ty.params().is_empty() && ty.results().is_empty());
    let named = |name: &str, returns| Entry::Function { name: name.to_owned(), returns };
    if let Some(name) = function {
        if name == START && has_start {
            return Ok(Entry::Command);
        }
        let found = candidates(outline).find(|(candidate, _)| *candidate == name);
        return found.map(|(name, returns)| named(name, returns)).ok_or_else(|| {
            let all = candidates(outline).map(|(name, _)| name).collect::<Vec<_>>();
            let all = match all.as_slice() {
                [] => "it exports none that takes the address of its arguments".to_owned(),
                all => format!("it has {}", all.join(", ")),
            };
            Refused::NoFunction { name: name.to_owned(), all }
        });
    }
    if has_start {
        return Ok(Entry::Command);
    }
    let all: Vec<_> = candidates(outline).filter(|(name, _)| !is_of_library(name)).collect();
    match all.as_slice() {
        [(name, returns)] => Ok(named(name, *returns)),
        [] => Err(Refused::Unfit(
            "exports no program: neither _start nor a function that takes the address of its arguments (struct cemu_args) and returns i64, i32 or nothing"
                .to_owned(),
        )),
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| *name).collect();
            Err(Refused::Ambiguous(names.join(", ")))
        }
    }
}
