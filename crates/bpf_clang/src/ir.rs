//! What clang's BPF target cannot do, done in LLVM's intermediate language before it sees it.
//!
//! clang compiles and optimises C to LLVM IR (text). Here each instruction that the target would refuse becomes some that it knows:
//!
//! * arithmetic on `float`, `double` and 128-bit integers: calls of functions in `csdrive_soft.h`;
//! * results that do not fit a register (`{ i64, i64 }`, `i128`) and structures by value: memory of the caller;
//! * more than five arguments, and a number of them that varies: in memory of the caller;
//! * arrays whose size is not constant: an arena;
//! * copies of memory: the drive's helpers.
//!
//! The same clang then optimises the rest again, and makes the object.

mod calls;
mod floats;
mod text;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use text::{Statement, ends_type, split_arguments};

/// A module, rewritten.
pub(crate) struct Rewritten {
    pub(crate) text: String,
    /// Functions of `csdrive_soft.h` that it calls.
    pub(crate) needs_soft: bool,
}

/// What a compiler's text looks like, and what its target can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// Pointers are `ptr` (clang 15 and newer).
    pub(crate) has_opaque_pointers: bool,
    /// The target divides signed numbers (v4).
    pub(crate) has_signed_division: bool,
    /// Arrays and structures of functions are in an arena: the target's frames are too small for them.
    pub(crate) has_small_frames: bool,
}

/// Rewrites a module.
pub(crate) fn rewrite(ir: &str, dialect: Dialect) -> Rewritten {
    let mut rewriter = Rewriter {
        dialect,
        out: String::with_capacity(ir.len() + 8192),
        function: None,
        wrappers: BTreeSet::new(),
        next: 0,
        needs_soft: false,
        has_arena: false,
        locations: Vec::new(),
    };
    for line in ir.lines() {
        rewriter.line(line);
    }
    rewriter.finish()
}

/// Divisions and products that are functions of the module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Wrapper {
    /// Operation and width of a signed division of an older target.
    Signed(&'static str, u32),
    /// 128 bits.
    Multiply,
    Divide(&'static str),
    Shift(&'static str),
    /// `{ i64, i1 }`, signed or not.
    Overflow(bool),
    /// Ones of 32 bits, as half of those of 64.
    CountOnes,
}

/// A function whose lines are being rewritten.
#[derive(Default)]
struct Function {
    head: String,
    /// What is to be done at its beginning.
    entry: Vec<String>,
    lines: Vec<String>,
    /// The type that it returns through memory.
    returns: Option<String>,
    /// Where in the source its calls are whose line is not known: `, !dbg !7`.
    scope: Option<String>,
    /// It has arrays of an arena, which it gives back.
    has_dynamic: bool,
}

struct Rewriter {
    dialect: Dialect,
    out: String,
    function: Option<Function>,
    wrappers: BTreeSet<Wrapper>,
    next: usize,
    needs_soft: bool,
    has_arena: bool,
    /// Metadata for the module's end.
    locations: Vec<String>,
}

/// Numbers of metadata that no compiler reaches.
const METADATA: usize = 100_000_000;

/// The name of a result through memory.
const RESULT: &str = "%csd.result";

impl Rewriter {
    fn line(&mut self, line: &str) {
        if self.function.is_some() {
            if line == "}" {
                return self.end_function();
            }
            return self.statement(line);
        }
        if line.starts_with("define ") {
            let mut function = self.begin_function(line);
            function.scope = self.location_in(line);
            self.function = Some(function);
            return;
        }
        // Kept for the functions of csdrive_soft.h alone: what is not called goes.
        let is_list = line.starts_with("@llvm.compiler.used") || line.starts_with("@llvm.used");
        if is_list && line.contains("@csd_f64_add") {
            return;
        }
        if line.starts_with("attributes #") {
            self.out.push_str(&text::without_memory_effects(line));
        } else {
            self.out.push_str(line);
        }
        self.out.push('\n');
    }

    /// A place in a function of which no line is known, for calls: those of a function with debug information must have one.
    fn location_in(&mut self, head: &str) -> Option<String> {
        let (_, scope) = head.rsplit_once("!dbg !")?;
        let digits = scope.find(|c: char| !c.is_ascii_digit()).unwrap_or(scope.len());
        self.next += 1;
        let number = METADATA + self.next;
        let scope = &scope[..digits];
        self.locations.push(format!("!{number} = !DILocation(line: 0, scope: !{scope})"));
        Some(format!(", !dbg !{number}"))
    }

    /// A new name.
    fn name(&mut self) -> String {
        self.next += 1;
        format!("%csd.{}", self.next)
    }

    fn put(&mut self, line: String) {
        self.function.as_mut().expect("statements are in functions").lines.push(line);
    }

    fn at_entry(&mut self, line: String) {
        self.function.as_mut().expect("statements are in functions").entry.push(line);
    }

    /// The type of a pointer to something.
    fn pointer(&self, to: &str) -> String {
        if self.dialect.has_opaque_pointers { "ptr".to_owned() } else { format!("{to}*") }
    }

    /// Bytes of a type, as a constant.
    fn size_of(&self, of: &str) -> String {
        let pointer = self.pointer(of);
        format!("ptrtoint ({pointer} getelementptr ({of}, {pointer} null, i64 1) to i64)")
    }

    fn end_function(&mut self) {
        let Some(mut function) = self.function.take() else { return };
        self.out.push_str(&function.head);
        self.out.push('\n');
        let has_label = function.lines.first().is_some_and(|line| text::is_label(line));
        if has_label {
            self.out.push_str(&function.lines.remove(0));
            self.out.push('\n');
        }
        if function.has_dynamic {
            let at = self.pointer("i64");
            function.entry.push(format!("  %csd.mark = load i64, {at} @csd.arena.next"));
        }
        for line in function.entry.iter().chain(&function.lines) {
            if function.has_dynamic && line.trim_start().starts_with("ret ") {
                let at = self.pointer("i64");
                let _ = writeln!(self.out, "  store i64 %csd.mark, {at} @csd.arena.next");
            }
            self.out.push_str(line);
            self.out.push('\n');
        }
        self.out.push_str("}\n");
    }

    fn statement(&mut self, line: &str) {
        if line.contains("@llvm.dbg.") || line.trim_start().starts_with('#') {
            return self.put(line.to_owned());
        }
        let scope = self.function.as_ref().and_then(|function| function.scope.as_deref());
        let statement = Statement::parse(line, scope);
        if self.ordered(&statement)
            || self.integer(&statement)
            || self.float(&statement)
            || self.dynamic_array(&statement)
            || self.next_varying(&statement)
            || self.call(&statement)
            || self.ret(&statement)
        {
            return;
        }
        self.put(line.to_owned());
    }

    /// Loads and stores in an order, which are plain ones on a drive; traps.
    fn ordered(&mut self, statement: &Statement<'_>) -> bool {
        const ORDERS: [&str; 6] =
            [" unordered", " monotonic", " acquire", " release", " acq_rel", " seq_cst"];
        if statement.operation == "fence" {
            return true;
        }
        let is_call = matches!(statement.operation, "call" | "tail");
        if is_call && statement.rest.contains("@llvm.trap(") {
            let byte = self.pointer("i8");
            self.put(format!("  store volatile i8 0, {byte} null"));
            return true;
        }
        let is_access = matches!(statement.operation, "load" | "store");
        let Some(rest) = statement.rest.strip_prefix("atomic ").filter(|_| is_access) else {
            return false;
        };
        let mut rest = rest.strip_prefix("volatile ").unwrap_or(rest).to_owned();
        for order in ORDERS {
            rest = rest.replace(&format!("{order},"), ",");
        }
        let assign = match statement.target {
            "" => String::new(),
            target => format!("{target} = "),
        };
        self.put(format!("  {assign}{} volatile {rest}{}", statement.operation, statement.after));
        true
    }

    /// Products, divisions and shifts of integers.
    fn integer(&mut self, statement: &Statement<'_>) -> bool {
        let operation = match statement.operation {
            "mul" => "mul",
            "udiv" => "udiv",
            "urem" => "urem",
            "sdiv" => "sdiv",
            "srem" => "srem",
            "shl" => "shl",
            "lshr" => "lshr",
            "ashr" => "ashr",
            _ => return false,
        };
        let rest = text::without_flags(statement.rest, &["nuw", "nsw", "exact"]);
        let Some((kind, operands)) = rest.split_once(' ') else { return false };
        let Some(width) = kind.strip_prefix('i').and_then(|width| width.parse::<u32>().ok()) else {
            return false;
        };
        let Some((a, b)) = operands.split_once(", ") else { return false };
        let (wrapper, name) = match (operation, width) {
            ("mul", 65..=128) => (Wrapper::Multiply, "csd.mul.i128".to_owned()),
            ("shl" | "lshr" | "ashr", 65..=128) if b.starts_with('%') => {
                (Wrapper::Shift(operation), format!("csd.{operation}.i128"))
            }
            ("mul" | "shl" | "lshr" | "ashr", _) => return false,
            (_, 65..=128) => {
                self.needs_soft = true;
                (Wrapper::Divide(operation), format!("csd.{operation}.i128"))
            }
            ("sdiv" | "srem", _) if !self.dialect.has_signed_division => {
                (Wrapper::Signed(operation, width), format!("csd.{operation}.i{width}"))
            }
            _ => return false,
        };
        self.wrappers.insert(wrapper);
        let (target, after) = (statement.target, &statement.after);
        if width <= 64 || width == 128 {
            self.put(format!("  {target} = call {kind} @{name}({kind} {a}, {kind} {b}){after}"));
            return true;
        }
        let extend = if matches!(operation, "sdiv" | "srem" | "ashr") { "sext" } else { "zext" };
        let [x, y, result] = [self.name(), self.name(), self.name()];
        self.put(format!("  {x} = {extend} {kind} {a} to i128"));
        self.put(format!("  {y} = {extend} {kind} {b} to i128"));
        self.put(format!("  {result} = call i128 @{name}(i128 {x}, i128 {y}){after}"));
        self.put(format!("  {target} = trunc i128 {result} to {kind}"));
        true
    }

    /// An array whose size is not constant, and the marks between which it lives.
    fn dynamic_array(&mut self, statement: &Statement<'_>) -> bool {
        if statement.operation != "alloca" {
            return false;
        }
        let parts = split_arguments(statement.rest);
        let Some(of) = parts.first() else { return false };
        let count = parts.get(1).and_then(|count| count.split_once(' '));
        let dynamic = count.filter(|(kind, count)| kind.starts_with('i') && count.starts_with('%'));
        let is_large = self.dialect.has_small_frames && of.starts_with(['[', '{', '%']);
        let (kind, count) = match dynamic {
            Some(count) => count,
            None if is_large => ("i64", "1"),
            None => return false,
        };
        self.has_arena = true;
        self.function.as_mut().expect("statements are in functions").has_dynamic = true;
        let count = self.wide(kind, count);
        let (bytes, size) = (self.name(), self.size_of(of));
        self.put(format!("  {bytes} = mul i64 {count}, {size}"));
        let (target, after) = (statement.target, &statement.after);
        if self.dialect.has_opaque_pointers {
            self.put(format!("  {target} = call ptr @csd.arena.take(i64 {bytes}){after}"));
        } else {
            let address = self.name();
            self.put(format!("  {address} = call i8* @csd.arena.take(i64 {bytes}){after}"));
            self.put(format!("  {target} = bitcast i8* {address} to {of}*"));
        }
        true
    }

    fn finish(mut self) -> Rewritten {
        if self.has_arena {
            let bytes = if self.dialect.has_opaque_pointers { "ptr" } else { "i8*" };
            let word = self.pointer("i64");
            let size = if self.dialect.has_small_frames { 1 << 20 } else { 262_144 };
            let arena = format!("[{size} x i8]");
            let arena_pointer = self.pointer(&arena);
            // What does not fit is at an address that no memory has.
            let _ = write!(
                self.out,
                "\n@csd.arena = internal global {arena} zeroinitializer, align 16\n\
                 @csd.arena.next = internal global i64 0\n\
                 define internal {bytes} @csd.arena.take(i64 %n) alwaysinline nounwind {{\n  \
                 %at = load i64, {word} @csd.arena.next\n  %more = add i64 %n, 15\n  \
                 %whole = and i64 %more, -16\n  %end = add i64 %at, %whole\n  \
                 %fits = icmp ule i64 %whole, {size}\n  %ends = icmp ule i64 %end, {size}\n  \
                 %both = and i1 %fits, %ends\n  %kept = select i1 %both, i64 %end, i64 %at\n  \
                 store i64 %kept, {word} @csd.arena.next\n  \
                 %p = getelementptr {arena}, {arena_pointer} @csd.arena, i64 0, i64 %at\n  \
                 %r = select i1 %both, {bytes} %p, {bytes} null\n  ret {bytes} %r\n}}\n"
            );
        }
        let mut wrappers = std::mem::take(&mut self.wrappers);
        if wrappers.iter().any(|wrapper| matches!(wrapper, Wrapper::Overflow(_))) {
            wrappers.insert(Wrapper::Multiply);
        }
        for wrapper in wrappers {
            self.wrapper(wrapper);
        }
        for location in &self.locations {
            let _ = writeln!(self.out, "{location}");
        }
        Rewritten { text: self.out, needs_soft: self.needs_soft }
    }

    fn wrapper(&mut self, wrapper: Wrapper) {
        match wrapper {
            Wrapper::Signed(operation, width) => signed_division(&mut self.out, operation, width),
            Wrapper::CountOnes => count_ones(&mut self.out),
            Wrapper::Multiply => self.out.push_str(MULTIPLY),
            Wrapper::Shift(operation) => shift(&mut self.out, operation),
            Wrapper::Overflow(is_signed) => overflow(&mut self.out, is_signed),
            Wrapper::Divide(operation) => {
                let word = self.pointer("i64");
                let parameter = if self.dialect.has_opaque_pointers { "ptr" } else { "i64*" };
                let _ = write!(
                    self.out,
                    "\ndefine internal i128 @csd.{operation}.i128(i128 %a, i128 %b) alwaysinline nounwind {{\n  \
                     %q = alloca i128, align 16\n  %al = trunc i128 %a to i64\n  %as = lshr i128 %a, 64\n  \
                     %ah = trunc i128 %as to i64\n  %bl = trunc i128 %b to i64\n  %bs = lshr i128 %b, 64\n  \
                     %bh = trunc i128 %bs to i64\n  {}\n  \
                     call void @csd_i128_{operation}({parameter} %w, i64 %al, i64 %ah, i64 %bl, i64 %bh)\n  \
                     %r = load i128, {} %q\n  ret i128 %r\n}}\n",
                    if self.dialect.has_opaque_pointers {
                        "%w = getelementptr i8, ptr %q, i64 0".to_owned()
                    } else {
                        format!("%w = bitcast i128* %q to {word}")
                    },
                    self.pointer("i128"),
                );
            }
        }
    }
}

/// A shift of 128 bits by a number that is not constant.
fn shift(text: &mut String, operation: &str) {
    // What is shifted in a half, what comes of the other one, and what a whole half becomes.
    let (from, to, high) = match operation {
        "shl" => ("%l", "%h", "or i64 %zero, 0"),
        "lshr" => ("%h", "%l", "or i64 %zero, 0"),
        _ => ("%h", "%l", "ashr i64 %h, 63"),
    };
    let back = if operation == "shl" { "lshr" } else { "shl" };
    let near = if operation == "shl" { "shl" } else { "lshr" };
    let (low_half, high_half) =
        if operation == "shl" { ("%first", "%second") } else { ("%second", "%first") };
    let _ = write!(
        text,
        "\ndefine internal i128 @csd.{operation}.i128(i128 %a, i128 %b) alwaysinline nounwind {{\n  \
           %zero = sub i64 0, 0\n  %l = trunc i128 %a to i64\n  %s = lshr i128 %a, 64\n  \
           %h = trunc i128 %s to i64\n  %n = trunc i128 %b to i64\n  %m = and i64 %n, 63\n  \
           %r = sub i64 63, %m\n  %big = icmp uge i64 %n, 64\n  %w = {operation} i64 {from}, %m\n  \
           %c0 = {back} i64 {from}, 1\n  %c1 = {back} i64 %c0, %r\n  %d = {near} i64 {to}, %m\n  \
           %e = or i64 %c1, %d\n  %fill = {high}\n  \
           %first = select i1 %big, i64 %fill, i64 %w\n  %second = select i1 %big, i64 %w, i64 %e\n  \
           %x = zext i64 {high_half} to i128\n  %y = shl i128 %x, 64\n  \
           %z = zext i64 {low_half} to i128\n  %q = or i128 %y, %z\n  ret i128 %q\n}}\n"
    );
}

/// Ones of 32 bits, which older targets cannot count.
fn count_ones(text: &mut String) {
    const DECLARED: &str = "declare i64 @llvm.ctpop.i64(";
    if !text.contains(DECLARED) {
        let _ = writeln!(text, "{DECLARED}i64)");
    }
    text.push_str(
        "\ndefine internal i32 @csd.ctpop.i32(i32 %a) alwaysinline nounwind {\n  \
           %wide = zext i32 %a to i64\n  %high = shl i64 %wide, 32\n  %x = or i64 %high, %wide\n  \
           %n = call i64 @llvm.ctpop.i64(i64 %x)\n  %m = lshr i64 %n, 1\n  \
           %r = trunc i64 %m to i32\n  ret i32 %r\n}\n",
    );
}

/// A product of 128 bits, of products of 32.
const MULTIPLY: &str = "
define internal i128 @csd.mul.i128(i128 %a, i128 %b) alwaysinline nounwind {
  %al = trunc i128 %a to i64
  %as = lshr i128 %a, 64
  %ah = trunc i128 %as to i64
  %bl = trunc i128 %b to i64
  %bs = lshr i128 %b, 64
  %bh = trunc i128 %bs to i64
  %a0 = and i64 %al, 4294967295
  %a1 = lshr i64 %al, 32
  %b0 = and i64 %bl, 4294967295
  %b1 = lshr i64 %bl, 32
  %p00 = mul i64 %a0, %b0
  %p01 = mul i64 %a0, %b1
  %p10 = mul i64 %a1, %b0
  %p11 = mul i64 %a1, %b1
  %c0 = lshr i64 %p00, 32
  %m0 = add i64 %p10, %c0
  %m0l = and i64 %m0, 4294967295
  %m0h = lshr i64 %m0, 32
  %m1 = add i64 %p01, %m0l
  %m1h = lshr i64 %m1, 32
  %h0 = add i64 %p11, %m0h
  %h1 = add i64 %h0, %m1h
  %x = mul i64 %al, %bh
  %y = mul i64 %ah, %bl
  %h2 = add i64 %h1, %x
  %hi = add i64 %h2, %y
  %lo = mul i64 %al, %bl
  %hw = zext i64 %hi to i128
  %hs = shl i128 %hw, 64
  %lw = zext i64 %lo to i128
  %r = or i128 %hs, %lw
  ret i128 %r
}
";

/// A product of 64 bits, and whether it has more: the upper half of the whole is then not what the lower one extends to.
fn overflow(text: &mut String, is_signed: bool) {
    let (name, extend, upper) = match is_signed {
        false => ("umulo", "zext", "and i64 %lo, 0"),
        true => ("smulo", "sext", "ashr i64 %lo, 63"),
    };
    let _ = write!(
        text,
        "\ndefine internal {{ i64, i1 }} @csd.{name}(i64 %a, i64 %b) alwaysinline nounwind {{\n  \
           %x = {extend} i64 %a to i128\n  %y = {extend} i64 %b to i128\n  \
           %p = call i128 @csd.mul.i128(i128 %x, i128 %y)\n  %lo = trunc i128 %p to i64\n  \
           %s = lshr i128 %p, 64\n  %hi = trunc i128 %s to i64\n  %fits = {upper}\n  \
           %o = icmp ne i64 %hi, %fits\n  %r0 = insertvalue {{ i64, i1 }} undef, i64 %lo, 0\n  \
           %r1 = insertvalue {{ i64, i1 }} %r0, i1 %o, 1\n  ret {{ i64, i1 }} %r1\n}}\n"
    );
}

/// A signed division of an older target: magnitudes divided unsigned, sign put back. As in C, the quotient is
/// truncated and the remainder has the dividend's sign.
fn signed_division(text: &mut String, operation: &str, width: u32) {
    let t = format!("i{width}");
    let (instruction, sign) = if operation == "sdiv" {
        ("udiv", "xor i1 %an, %bn")
    } else {
        ("urem", "or i1 %an, false")
    };
    let _ = write!(
        text,
        "\ndefine internal {t} @csd.{operation}.{t}({t} %a, {t} %b) alwaysinline nounwind {{\n  \
           %an = icmp slt {t} %a, 0\n  %am = sub {t} 0, %a\n  %au = select i1 %an, {t} %am, {t} %a\n  \
           %bn = icmp slt {t} %b, 0\n  %bm = sub {t} 0, %b\n  %bu = select i1 %bn, {t} %bm, {t} %b\n  \
           %q = {instruction} {t} %au, %bu\n  %s = {sign}\n  %m = sub {t} 0, %q\n  \
           %r = select i1 %s, {t} %m, {t} %q\n  ret {t} %r\n}}\n"
    );
}

/// True if a type is returned through memory.
fn is_wide(kind: &str) -> bool {
    kind == "i128" || kind.starts_with(['{', '[']) || ends_type(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_division_is_rewritten_with_its_debug_location() {
        let ir = "define i64 @f() {\nentry:\n  %3 = sdiv exact i64 %1, 7, !dbg !12\n  %4 = srem i32 %a, %b\n  %5 = udiv i64 %1, 7\n}\n";
        let dialect = Dialect {
            has_opaque_pointers: true,
            has_signed_division: false,
            has_small_frames: false,
        };
        let text = rewrite(ir, dialect).text;
        assert!(
            text.contains("  %3 = call i64 @csd.sdiv.i64(i64 %1, i64 7), !dbg !12\n"),
            "{text}"
        );
        assert!(text.contains("  %4 = call i32 @csd.srem.i32(i32 %a, i32 %b)\n"), "{text}");
        assert!(text.contains("  %5 = udiv i64 %1, 7\n"));
        assert_eq!(text.matches("define internal").count(), 2);
    }
}
