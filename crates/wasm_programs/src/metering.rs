//! Code that counts, put into a module: a counter for each straight piece of code, in a memory that the program cannot name.
//!
//! The memory of a program is as large as it may become from the beginning, and what it asks for is noted beside the counters: behind it
//! are the ranges of a job, and no allocator that looks at `memory.size` takes them for its own.
//!
//! What instructions of each class ran and what bytes they touched follows from how often each piece ran. That is exact
//! also when a run ends in the middle of one: Wasmtime says at which operator.

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, CustomSection, ExportKind, ExportSection, Function, FunctionSection,
    Instruction, MemArg, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, ExportSectionReader, FunctionBody,
    FunctionSectionReader, KnownCustom, MemorySectionReader, Operator, Parser, Payload,
    TypeSectionReader,
};

use crate::counting::{Block, Meter, Site};
use crate::operators::weight;

/// The name under which the counters are exported.
pub(crate) const COUNTERS: &str = "csdrive counters";

/// The name under which the function is exported that was the module's start.
pub(crate) const START: &str = "csdrive start";

/// The memory of the counters: a program has one of its own.
const COUNTERS_INDEX: u32 = 1;

/// Where in the memory of the counters it stands how many pages the program asked for; the counters begin behind it.
const GROWN: MemArg = MemArg { offset: 0, align: 2, memory_index: COUNTERS_INDEX };

/// Where the counters begin.
pub(crate) const COUNTERS_AT: u64 = 8;

/// Bytes of a page of linear memory.
pub(crate) const WASM_PAGE: u64 = 65_536;

/// Most counters of a module: their addresses are constants that need no check.
const COUNTERS_MAX: usize = 2 << 20;

/// Loops in each other that a function may have: the compiler takes the square of it.
const LOOPS_MAX: usize = 200;

/// Blocks of one function in each other.
const NESTING_MAX: usize = 5_000;

/// Why code that counts cannot be put into a module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeteringError {
    #[error("it has more than {COUNTERS_MAX} pieces of code: divide it")]
    TooLarge,
    #[error(
        "function {0} has more than {LOOPS_MAX} loops, or {NESTING_MAX} blocks, in each other: move inner ones to functions of their own"
    )]
    TooDeep(u32),
    #[error("{0}")]
    Malformed(String),
}

impl<E: std::fmt::Display> From<Error<E>> for MeteringError {
    fn from(error: Error<E>) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<wasmparser::BinaryReaderError> for MeteringError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The same module with code that counts, and with a memory of so many pages, of which it has its own at first. It must be valid.
pub(crate) fn metered(module: &[u8], pages: u64) -> Result<(Vec<u8>, Meter), MeteringError> {
    let mut meter = Meter::default();
    let mut start = None;
    let mut plans = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let is_function = matches!(import?.ty, wasmparser::TypeRef::Func(_));
                    meter.imported_functions += u32::from(is_function);
                }
            }
            Payload::StartSection { func, .. } => start = Some(func),
            Payload::CodeSectionEntry(body) => {
                let number = meter.imported_functions + plans.len() as u32;
                plans.push(plan(&body, number, &mut meter.blocks)?);
            }
            _ => {}
        }
    }
    meter.has_start = start.is_some();
    let mut metering = Metering { meter, plans, next: 0, start, types: 0, pages_min: 0, pages };
    let mut with = Module::new();
    metering.parse_core_module(&mut with, Parser::new(0), module)?;
    Ok((with.finish(), metering.meter))
}

/// Operators with which the pieces of a function begin, by their number, with those that are counted.
type Plan = Vec<(u32, u32)>;

fn plan(
    body: &FunctionBody<'_>,
    function: u32,
    blocks: &mut Vec<Block>,
) -> Result<Plan, MeteringError> {
    let mut plan = Plan::new();
    let mut current = Block::of_entry();
    // Where its counter goes: before the first operator that counts, or at the beginning of the function.
    let mut begins = Some(0);
    let mut control: Vec<bool> = Vec::new();
    let mut loops = 0;
    let mut end_piece = |current: &mut Block, begins: &mut Option<u32>| {
        let block = std::mem::take(current);
        if let Some(at) = begins.take().filter(|_| !block.is_empty()) {
            plan.push((at, blocks.len() as u32));
            blocks.push(block);
        }
    };
    for (n, operator) in body.get_operators_reader()?.into_iter().enumerate() {
        let operator = operator?;
        if let Some(weight) = weight(&operator) {
            begins.get_or_insert(n as u32);
            current.add(weight);
        }
        match operator {
            Operator::Loop { .. } => {
                loops += 1;
                control.push(true);
            }
            Operator::Block { .. } | Operator::If { .. } => control.push(false),
            Operator::End => loops -= usize::from(control.pop() == Some(true)),
            _ => {}
        }
        if loops > LOOPS_MAX || control.len() > NESTING_MAX {
            return Err(MeteringError::TooDeep(function));
        }
        if ends_piece(&operator) {
            end_piece(&mut current, &mut begins);
        }
    }
    end_piece(&mut current, &mut begins);
    if blocks.len() > COUNTERS_MAX {
        return Err(MeteringError::TooLarge);
    }
    Ok(plan)
}

/// True if what comes after an operator need not run when it ran, or may run when it did not.
fn ends_piece(operator: &Operator<'_>) -> bool {
    use Operator::{
        Br, BrIf, BrOnNonNull, BrOnNull, BrTable, Call, CallIndirect, CallRef, Else, End, If, Loop,
        Return, ReturnCall, ReturnCallIndirect, ReturnCallRef, Unreachable,
    };
    matches!(
        operator,
        Br { .. }
            | BrIf { .. }
            | BrOnNonNull { .. }
            | BrOnNull { .. }
            | BrTable { .. }
            | Call { .. }
            | CallIndirect { .. }
            | CallRef { .. }
            | Else
            | End
            | If { .. }
            | Loop { .. }
            | Return
            | ReturnCall { .. }
            | ReturnCallIndirect { .. }
            | ReturnCallRef { .. }
            | Unreachable
    )
}

struct Metering {
    meter: Meter,
    plans: Vec<Plan>,
    /// The function that comes next.
    next: usize,
    /// The function to be called before any other.
    start: Option<u32>,
    /// Types that there were.
    types: u32,
    /// Pages of its memory at first, and at most.
    pages_min: u64,
    pages: u64,
}

impl Metering {
    /// The first of the functions that are added: it makes memory larger. The next one does nothing.
    fn first_added(&self) -> u32 {
        self.meter.imported_functions + self.plans.len() as u32
    }

    /// What `memory.grow` does.
    fn grow(&self) -> Function {
        let (asked, grown) = (0, 1);
        let most = self.pages.saturating_sub(self.pages_min) as i32;
        let mut function = Function::new([(1, ValType::I32)]);
        function
            .instruction(&Instruction::I32Const(0))
            .instruction(&Instruction::I32Load(GROWN))
            .instruction(&Instruction::LocalSet(grown))
            .instruction(&Instruction::LocalGet(asked))
            .instruction(&Instruction::I32Const(most))
            .instruction(&Instruction::LocalGet(grown))
            .instruction(&Instruction::I32Sub)
            .instruction(&Instruction::I32GtU)
            .instruction(&Instruction::If(BlockType::Empty))
            .instruction(&Instruction::I32Const(-1))
            .instruction(&Instruction::Return)
            .instruction(&Instruction::End)
            .instruction(&Instruction::I32Const(0))
            .instruction(&Instruction::LocalGet(grown))
            .instruction(&Instruction::LocalGet(asked))
            .instruction(&Instruction::I32Add)
            .instruction(&Instruction::I32Store(GROWN))
            .instruction(&Instruction::LocalGet(grown))
            .instruction(&Instruction::I32Const(self.pages_min as i32))
            .instruction(&Instruction::I32Add)
            .instruction(&Instruction::End);
        function
    }

    /// One more for a counter, and fuel for what is behind it.
    fn count(&self, function: &mut Function, block: u32) {
        for _ in 0..self.meter.blocks[block as usize].total() {
            function.instruction(&Instruction::Nop);
        }
        let offset = COUNTERS_AT + u64::from(block) * 8;
        let place = MemArg { offset, align: 3, memory_index: COUNTERS_INDEX };
        function
            .instruction(&Instruction::I32Const(0))
            .instruction(&Instruction::I32Const(0))
            .instruction(&Instruction::I64Load(place))
            .instruction(&Instruction::I64Const(1))
            .instruction(&Instruction::I64Add)
            .instruction(&Instruction::I64Store(place));
    }
}

impl Reencode for Metering {
    type Error = std::convert::Infallible;

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: MemorySectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        for memory in section {
            let memory = self.memory_type(memory?)?;
            self.pages_min = memory.minimum;
            memories.memory(MemoryType { minimum: self.pages, maximum: None, ..memory });
        }
        let bytes = COUNTERS_AT + self.meter.blocks.len() as u64 * 8;
        let pages = bytes.div_ceil(WASM_PAGE);
        memories.memory(MemoryType {
            minimum: pages,
            maximum: Some(pages),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(COUNTERS, ExportKind::Memory, COUNTERS_INDEX);
        if let Some(start) = self.start {
            exports.export(START, ExportKind::Func, start);
        }
        Ok(())
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        utils::parse_type_section(self, types, section)?;
        self.types = types.len();
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([], []);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        utils::parse_function_section(self, functions, section)?;
        functions.function(self.types).function(self.types + 1);
        Ok(())
    }

    /// It is called once there is an instance, which says what it did.
    fn start_section(&mut self, _: u32) -> Result<u32, Error<Self::Error>> {
        Ok(self.first_added() + 1)
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        utils::parse_code_section(self, code, section)?;
        code.function(&self.grow());
        code.function(Function::new([]).instruction(&Instruction::End));
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let plan = std::mem::take(&mut self.plans[self.next]);
        self.next += 1;
        let mut pieces = plan.into_iter().peekable();
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let (mut sites, mut block) = (Vec::new(), 0);
        let mut reader = body.get_operators_reader()?;
        let mut n = 0;
        while !reader.eof() {
            if let Some((_, counter)) = pieces.next_if(|(at, _)| *at == n) {
                self.count(&mut function, counter);
                block = counter;
            }
            let original = reader.original_position() as u32;
            let operator = reader.read()?;
            if let Some(weight) = weight(&operator) {
                let offset = function.byte_len() as u32;
                sites.push(Site { offset, original, block, weight });
            }
            match operator {
                // Those of the program would take fuel.
                Operator::Nop => {}
                Operator::MemorySize { .. } => {
                    function
                        .instruction(&Instruction::I32Const(0))
                        .instruction(&Instruction::I32Load(GROWN))
                        .instruction(&Instruction::I32Const(self.pages_min as i32))
                        .instruction(&Instruction::I32Add);
                }
                Operator::MemoryGrow { .. } => {
                    function.instruction(&Instruction::Call(self.first_added()));
                }
                operator => {
                    function.instruction(&self.instruction(operator)?);
                }
            }
            n += 1;
        }
        self.meter.sites.push(sites);
        code.function(&function);
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        // Names of functions are for messages. What debuggers read would not fit the code any more.
        if let KnownCustom::Name(_) = section.as_known() {
            let (name, data) = (section.name().into(), section.data().into());
            module.section(&CustomSection { name, data });
        }
        Ok(())
    }
}
