//! Floating point: calls of functions in `csdrive_soft.h`, which work on the bits.

use super::Rewriter;
use super::text::{Statement, leading_type, split_arguments, without_flags};

const FAST: [&str; 9] =
    ["nneg", "fast", "nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc"];

/// Bits of a type, and the letter-number that functions for it have in their names.
fn bits_of(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "double" => Some(("i64", "f64")),
        "float" => Some(("i32", "f32")),
        _ => None,
    }
}

impl Rewriter {
    /// Arithmetic, comparisons and conversions.
    pub(super) fn float(&mut self, statement: &Statement<'_>) -> bool {
        let rest = without_flags(statement.rest, &FAST);
        match statement.operation {
            "fadd" | "fsub" | "fmul" | "fdiv" | "frem" => {
                let (kind, operands) = leading_type(rest);
                let Some((bits, name)) = bits_of(kind) else { return false };
                let operands = split_arguments(operands);
                let [a, b] = operands.as_slice() else { return false };
                let (a, b) = (self.bits(kind, a), self.bits(kind, b));
                let what = &statement.operation[1..];
                let call = format!("{bits} @csd_{name}_{what}({bits} {a}, {bits} {b})");
                self.float_result(kind, bits, &call, statement);
                true
            }
            "fneg" => {
                let (kind, value) = leading_type(rest);
                let Some((bits, _)) = bits_of(kind) else { return false };
                let (a, flipped) = (self.bits(kind, value), self.name());
                let sign = if bits == "i64" { i64::MIN } else { i64::from(i32::MIN) };
                self.put(format!("  {flipped} = xor {bits} {a}, {sign}"));
                let target = statement.target;
                self.put(format!("  {target} = bitcast {bits} {flipped} to {kind}"));
                true
            }
            "fcmp" => self.compare(statement, rest),
            "fptosi" | "fptoui" | "sitofp" | "uitofp" | "fpext" | "fptrunc" => {
                self.convert(statement, rest)
            }
            _ => false,
        }
    }

    /// The bits of a value, which may be a constant.
    fn bits(&mut self, kind: &str, value: &str) -> String {
        let name = self.name();
        let bits = bits_of(kind).map_or("i64", |(bits, _)| bits);
        self.put(format!("  {name} = bitcast {kind} {value} to {bits}"));
        name
    }

    /// Calls a function that returns bits.
    fn float_result(&mut self, kind: &str, bits: &str, call: &str, statement: &Statement<'_>) {
        self.needs_soft = true;
        let (result, target, after) = (self.name(), statement.target, &statement.after);
        self.put(format!("  {result} = call {call}{after}"));
        self.put(format!("  {target} = bitcast {bits} {result} to {kind}"));
    }

    fn compare(&mut self, statement: &Statement<'_>, rest: &str) -> bool {
        /// Bits of what `compare` finds: equal, less, greater, unordered.
        const EQUAL: u32 = 1;
        const LESS: u32 = 2;
        const GREATER: u32 = 4;
        const UNORDERED: u32 = 8;
        let Some((predicate, rest)) = rest.split_once(' ') else { return false };
        let (kind, operands) = leading_type(rest);
        let Some((bits, name)) = bits_of(kind) else { return false };
        let operands = split_arguments(operands);
        let [a, b] = operands.as_slice() else { return false };
        let mask = match predicate {
            "false" => 0,
            "ord" => EQUAL | LESS | GREATER,
            "uno" => UNORDERED,
            "true" => EQUAL | LESS | GREATER | UNORDERED,
            _ => {
                let (order, relation) = predicate.split_at(1);
                let relation = match relation {
                    "eq" => EQUAL,
                    "lt" => LESS,
                    "gt" => GREATER,
                    "le" => EQUAL | LESS,
                    "ge" => EQUAL | GREATER,
                    "ne" => LESS | GREATER,
                    _ => return false,
                };
                relation | if order == "u" { UNORDERED } else { 0 }
            }
        };
        self.needs_soft = true;
        let (a, b) = (self.bits(kind, a), self.bits(kind, b));
        let [found, common] = [self.name(), self.name()];
        let (target, after) = (statement.target, &statement.after);
        self.put(format!(
            "  {found} = call i32 @csd_{name}_compare({bits} {a}, {bits} {b}){after}"
        ));
        self.put(format!("  {common} = and i32 {found}, {mask}"));
        self.put(format!("  {target} = icmp ne i32 {common}, 0"));
        true
    }

    fn convert(&mut self, statement: &Statement<'_>, rest: &str) -> bool {
        let (from, rest) = leading_type(rest);
        let Some((value, to)) = rest.rsplit_once(" to ") else { return false };
        let (operation, target, after) = (statement.operation, statement.target, &statement.after);
        let width = |kind: &str| kind.strip_prefix('i').and_then(|n| n.parse::<u32>().ok());
        match (bits_of(from), bits_of(to), operation) {
            (Some((bits, name)), Some((to_bits, to_name)), "fpext" | "fptrunc") => {
                let a = self.bits(from, value);
                let call = format!("{to_bits} @csd_{name}_to_{to_name}({bits} {a})");
                self.float_result(to, to_bits, &call, statement);
                true
            }
            (None, Some((bits, name)), _) if width(from).is_some_and(|width| width <= 64) => {
                let (letter, extend) =
                    if operation == "sitofp" { ("i64", "sext") } else { ("u64", "zext") };
                let wide = if from == "i64" {
                    value.to_owned()
                } else {
                    let wide = self.name();
                    self.put(format!("  {wide} = {extend} {from} {value} to i64"));
                    wide
                };
                let call = format!("{bits} @csd_{letter}_to_{name}(i64 {wide})");
                self.float_result(to, bits, &call, statement);
                true
            }
            (Some((bits, name)), None, _) if width(to).is_some_and(|width| width <= 64) => {
                let letter = if operation == "fptosi" { "i64" } else { "u64" };
                self.needs_soft = true;
                let a = self.bits(from, value);
                let whole = if to == "i64" { target.to_owned() } else { self.name() };
                self.put(format!(
                    "  {whole} = call i64 @csd_{name}_to_{letter}({bits} {a}){after}"
                ));
                if to != "i64" {
                    self.put(format!("  {target} = trunc i64 {whole} to {to}"));
                }
                true
            }
            _ => false,
        }
    }

    /// LLVM's own functions on floating point.
    pub(super) fn float_intrinsic(
        &mut self,
        what: &str,
        kind: &str,
        values: &[(&str, &str)],
        statement: &Statement<'_>,
    ) -> bool {
        let Some((bits, name)) = bits_of(kind) else { return false };
        let what = match what {
            "fabs" | "copysign" | "sqrt" | "fmuladd" | "fma" | "floor" | "ceil" | "trunc"
            | "round" | "rint" => what,
            "nearbyint" | "roundeven" => "rint",
            "minnum" => "min",
            "maxnum" => "max",
            _ => return false,
        };
        let values: Vec<String> =
            values.iter().map(|(kind, value)| self.bits(kind, value)).collect();
        let call = match (what, values.as_slice()) {
            // It may be one operation or two: two, as on processors without one.
            ("fmuladd", [a, b, c]) => {
                self.needs_soft = true;
                let product = self.name();
                let after = &statement.after;
                self.put(format!(
                    "  {product} = call {bits} @csd_{name}_mul({bits} {a}, {bits} {b}){after}"
                ));
                format!("{bits} @csd_{name}_add({bits} {product}, {bits} {c})")
            }
            (_, values) => {
                let values: Vec<String> = values.iter().map(|v| format!("{bits} {v}")).collect();
                format!("{bits} @csd_{name}_{what}({})", values.join(", "))
            }
        };
        self.float_result(kind, bits, &call, statement);
        true
    }
}
