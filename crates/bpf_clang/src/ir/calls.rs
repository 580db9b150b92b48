//! Functions and calls: what passes through memory, and what the drive's helpers do.

use super::text::{
    Statement, attribute_type, closing, leading_type, split_arguments, trailing_type, typed_value,
};
use super::{Function, RESULT, Rewriter, Wrapper, is_wide};

/// Arguments that are in registers.
const REGISTERS: usize = 5;
/// The parameter that says where arguments are that vary.
const VARYING: &str = "%csd.varying";
/// Copies of fewer bytes are made in place.
const COPIED_IN_PLACE: u64 = 256;

/// `<head> <result> <callee>(<arguments>)<tail>`
struct Signature<'a> {
    head: &'a str,
    result: &'a str,
    callee: &'a str,
    arguments: Vec<&'a str>,
    /// How many arguments come before those that vary, in a call.
    fixed: Option<usize>,
    tail: &'a str,
}

impl<'a> Signature<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut at = 0;
        let callee_at = loop {
            let word = text[at..].split(' ').next()?;
            if word.starts_with(['@', '%']) && word.contains('(') {
                break at;
            }
            // A call of an address: a helper's.
            if word == "inttoptr" {
                return None;
            }
            at += word.len() + 1;
            if at >= text.len() {
                return None;
            }
        };
        let open = callee_at + text[callee_at..].find('(')?;
        let close = closing(text, open)?;
        let mut before = text[..callee_at].trim_end();
        // The type of a function with variable arguments stands before its name.
        let mut fixed = None;
        if before.ends_with(')') {
            let open = before.rfind(" (")? + 1;
            let parameters = split_arguments(&before[open + 1..before.len() - 1]);
            fixed = (parameters.last() == Some(&"...")).then(|| parameters.len() - 1);
            before = &before[..open];
        }
        let (result, head) = trailing_type(before);
        Some(Self {
            fixed,
            head,
            result,
            callee: &text[callee_at..open],
            arguments: split_arguments(&text[open + 1..close]),
            tail: &text[close + 1..],
        })
    }

    fn has_variable_arguments(&self) -> bool {
        self.arguments.last() == Some(&"...")
    }
}

/// Registers that an argument takes.
fn registers(argument: &str) -> usize {
    let (kind, _) = leading_type(argument);
    match kind.as_bytes() {
        b"i128" => 2,
        [b'[', ..] => kind[1..].split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(1),
        [b'{', ..] => split_arguments(&kind[1..kind.len() - 1]).len(),
        _ => 1,
    }
}

/// How many arguments stay where they are; the rest goes through memory.
fn kept(arguments: &[&str], has_result: bool) -> usize {
    let taken = |arguments: &[&str]| {
        usize::from(has_result) + arguments.iter().map(|a| registers(a)).sum::<usize>()
    };
    if taken(arguments) <= REGISTERS {
        return arguments.len();
    }
    (0..arguments.len()).rev().find(|&n| taken(&arguments[..n]) < REGISTERS).unwrap_or(0)
}

impl Rewriter {
    /// Begins a function: what it gets through memory, it takes from there.
    pub(super) fn begin_function(&mut self, line: &str) -> Function {
        let mut function = Function { head: line.to_owned(), ..Function::default() };
        let Some(signature) = Signature::parse(line) else { return function };
        let has_variable_arguments = signature.has_variable_arguments();
        let Signature { head, result, callee, mut arguments, tail, .. } = signature;
        let varying = format!("{} {VARYING}", self.pointer("i64"));
        if has_variable_arguments {
            arguments.pop();
            arguments.push(&varying);
        }
        let has_result = is_wide(result);
        let mut parameters = Vec::new();
        if has_result {
            parameters.push(format!("{} {RESULT}", self.pointer(result)));
            function.returns = Some(result.to_owned());
        }
        let kept = kept(&arguments, has_result);
        for argument in &arguments[..kept] {
            let (kind, name) = typed_value(argument);
            match attribute_type(argument, "byval") {
                Some(of) => {
                    parameters.push(format!("{kind} {name}.csd.given"));
                    self.copy_given(&mut function, of, name, &format!("{name}.csd.given"));
                }
                None => parameters.push(format!("{kind} {name}").trim_end().to_owned()),
            }
        }
        let rest = &arguments[kept..];
        if !rest.is_empty() {
            let kinds: Vec<&str> = rest.iter().map(|a| typed_value(a).0).collect();
            let all = format!("{{ {} }}", kinds.join(", "));
            let pointer = self.pointer(&all);
            parameters.push(format!("{pointer} %csd.more"));
            for (n, argument) in rest.iter().enumerate() {
                let (kind, name) = typed_value(argument);
                let at = self.name();
                function.entry.push(format!(
                    "  {at} = getelementptr {all}, {pointer} %csd.more, i32 0, i32 {n}"
                ));
                let from = self.pointer(kind);
                let of = attribute_type(argument, "byval");
                let given =
                    if of.is_some() { format!("{name}.csd.given") } else { name.to_owned() };
                function.entry.push(format!("  {given} = load {kind}, {from} {at}"));
                if let Some(of) = of {
                    self.copy_given(&mut function, of, name, &given);
                }
            }
        }
        let head = if has_result { without_result_attributes(head) } else { head.to_owned() };
        let result = if has_result { "void" } else { result };
        function.head = format!("{head}{result} {callee}({}){tail}", parameters.join(", "));
        function
    }

    /// A structure by value is the function's own.
    fn copy_given(&mut self, function: &mut Function, of: &str, name: &str, given: &str) {
        let size = self.size_of(of);
        function.entry.push(format!("  {name} = alloca {of}, align 8"));
        let (to, from) = if self.dialect.has_opaque_pointers {
            (format!("ptr {name}"), format!("ptr {given}"))
        } else {
            let [a, b] = [self.name(), self.name()];
            function.entry.push(format!("  {a} = bitcast {of}* {name} to i8*"));
            function.entry.push(format!("  {b} = bitcast {of}* {given} to i8*"));
            (format!("i8* {a}"), format!("i8* {b}"))
        };
        let helper = self.helper(1001, "i8*, i8*, i64");
        let result = self.pointer("i8");
        let unused = self.name();
        function
            .entry
            .push(format!("  {unused} = call {result} {helper}({to}, {from}, i64 {size})"));
    }

    /// A helper of the drive, as a function to call.
    fn helper(&self, number: u32, parameters: &str) -> String {
        if self.dialect.has_opaque_pointers {
            format!("inttoptr (i64 {number} to ptr)")
        } else {
            format!("inttoptr (i64 {number} to i8* ({parameters})*)")
        }
    }

    /// A result through memory.
    pub(super) fn ret(&mut self, statement: &Statement<'_>) -> bool {
        let returns = self.function.as_ref().and_then(|function| function.returns.clone());
        let (Some(kind), "ret") = (returns, statement.operation) else { return false };
        let (_, value) = leading_type(statement.rest);
        let (pointer, after) = (self.pointer(&kind), &statement.after);
        self.put(format!("  store {kind} {value}, {pointer} {RESULT}, align 8"));
        self.put(format!("  ret void{after}"));
        true
    }

    /// Calls of functions, and of LLVM's own that the target does not have.
    pub(super) fn call(&mut self, statement: &Statement<'_>) -> bool {
        let rest = match statement.operation {
            "call" => statement.rest,
            "tail" | "notail" | "musttail" => match statement.rest.strip_prefix("call ") {
                Some(rest) => rest,
                None => return false,
            },
            _ => return false,
        };
        let Some(signature) = Signature::parse(rest) else { return false };
        if signature.callee.starts_with("@llvm.") {
            return self.intrinsic(&signature, statement);
        }
        let Signature { head, result, callee, mut arguments, fixed, tail } = signature;
        let varying =
            fixed.map(|fixed| self.pass_varying(&arguments[fixed.min(arguments.len())..]));
        if let (Some(fixed), Some(varying)) = (fixed, &varying) {
            arguments.truncate(fixed);
            arguments.push(varying);
        }
        let has_result = is_wide(result);
        let kept = kept(&arguments, has_result);
        let has_memory = arguments
            .iter()
            .any(|a| ["sret", "byval"].iter().any(|what| attribute_type(a, what).is_some()));
        if !has_result && kept == arguments.len() && !has_memory && varying.is_none() {
            return false;
        }
        let mut given: Vec<String> = Vec::new();
        let slot = self.name();
        if has_result {
            self.at_entry(format!("  {slot} = alloca {result}, align 16"));
            given.push(format!("{} {slot}", self.pointer(result)));
        }
        given.extend(arguments[..kept].iter().map(|argument| {
            let (kind, value) = typed_value(argument);
            format!("{kind} {value}")
        }));
        let rest = &arguments[kept..];
        if !rest.is_empty() {
            let kinds: Vec<&str> = rest.iter().map(|a| typed_value(a).0).collect();
            let all = format!("{{ {} }}", kinds.join(", "));
            let (more, pointer) = (self.name(), self.pointer(&all));
            self.at_entry(format!("  {more} = alloca {all}, align 16"));
            for (n, argument) in rest.iter().enumerate() {
                let (kind, value) = typed_value(argument);
                let (at, to) = (self.name(), self.pointer(kind));
                self.put(format!("  {at} = getelementptr {all}, {pointer} {more}, i32 0, i32 {n}"));
                self.put(format!("  store {kind} {value}, {to} {at}"));
            }
            given.push(format!("{pointer} {more}"));
        }
        let (target, after, given) = (statement.target, &statement.after, given.join(", "));
        if has_result {
            let head = without_result_attributes(head);
            self.put(format!("  call {head}void {callee}({given}){tail}{after}"));
            if !target.is_empty() {
                let pointer = self.pointer(result);
                self.put(format!("  {target} = load {result}, {pointer} {slot}, align 8"));
            }
        } else {
            let assign = if target.is_empty() { String::new() } else { format!("{target} = ") };
            self.put(format!("  {assign}call {head}{result} {callee}({given}){tail}{after}"));
        }
        true
    }

    /// Puts arguments that vary into memory, each in words of its own; returns the argument that says where.
    fn pass_varying(&mut self, arguments: &[&str]) -> String {
        let pointer = self.pointer("i64");
        let slots = self.name();
        let arguments: Vec<String> =
            arguments.iter().map(|argument| self.as_varying(argument)).collect();
        let words: Vec<usize> = arguments.iter().map(|argument| registers(argument)).collect();
        let all = format!("[{} x i64]", words.iter().sum::<usize>().max(1));
        self.at_entry(format!("  {slots} = alloca {all}, align 16"));
        let mut word = 0;
        for (argument, words) in arguments.iter().zip(words) {
            let (kind, value) = typed_value(argument);
            let (at, all_pointer) = (self.name(), self.pointer(&all));
            self.put(format!(
                "  {at} = getelementptr {all}, {all_pointer} {slots}, i32 0, i32 {word}"
            ));
            let to = self.pointer(kind);
            let place = if self.dialect.has_opaque_pointers {
                at
            } else {
                let place = self.name();
                self.put(format!("  {place} = bitcast i64* {at} to {to}"));
                place
            };
            self.put(format!("  store {kind} {value}, {to} {place}, align 8"));
            word += words;
        }
        if self.dialect.has_opaque_pointers {
            return format!("{pointer} {slots}");
        }
        let first = self.name();
        self.put(format!("  {first} = bitcast {all}* {slots} to i64*"));
        format!("{pointer} {first}")
    }

    /// A structure that varies is a copy that the caller made: its address is passed.
    fn as_varying(&mut self, argument: &str) -> String {
        let (kind, value) = typed_value(argument);
        if let Some(of) = attribute_type(argument, "byval") {
            let copy = self.name();
            self.at_entry(format!("  {copy} = alloca {of}, align 8"));
            let whole = self.name();
            self.put(format!("  {whole} = load {of}, {kind} {value}, align 1"));
            self.put(format!("  store {of} {whole}, {kind} {copy}, align 8"));
            return format!("{kind} {copy}");
        }
        if kind.starts_with('[') {
            let copy = self.name();
            let pointer = self.pointer(kind);
            self.at_entry(format!("  {copy} = alloca {kind}, align 8"));
            self.put(format!("  store {kind} {value}, {pointer} {copy}, align 8"));
            return format!("{pointer} {copy}");
        }
        argument.to_owned()
    }

    /// `va_arg`: takes the next of the arguments that vary.
    pub(super) fn next_varying(&mut self, statement: &Statement<'_>) -> bool {
        if statement.operation != "va_arg" {
            return false;
        }
        let parts = split_arguments(statement.rest);
        let [list, kind] = parts.as_slice() else { return false };
        let (list_kind, list) = typed_value(list);
        let element = self.pointer("i8");
        let [place, next] = [self.name(), self.name()];
        let bytes = 8 * registers(kind);
        self.put(format!("  {place} = load {element}, {list_kind} {list}, align 8"));
        self.put(format!("  {next} = getelementptr i8, {element} {place}, i64 {bytes}"));
        self.put(format!("  store {element} {next}, {list_kind} {list}, align 8"));
        let from = self.pointer(kind);
        let place = if self.dialect.has_opaque_pointers {
            place
        } else {
            let typed = self.name();
            self.put(format!("  {typed} = bitcast i8* {place} to {from}"));
            typed
        };
        self.put(format!("  {} = load {kind}, {from} {place}, align 8", statement.target));
        true
    }

    /// A list of arguments that vary begins at the first of them, or where another one is.
    fn begin_varying(&mut self, list: (&str, &str), other: Option<(&str, &str)>) {
        let ((kind, list), element) = (list, self.pointer("i8"));
        let place = |rewriter: &mut Self, kind: &str, list: &str| {
            if rewriter.dialect.has_opaque_pointers {
                return ("ptr".to_owned(), list.to_owned());
            }
            let place = rewriter.name();
            rewriter.put(format!("  {place} = bitcast {kind} {list} to i8**"));
            ("i8**".to_owned(), place)
        };
        let first = match other {
            Some((kind, other)) => {
                let (kind, other) = place(self, kind, other);
                let first = self.name();
                self.put(format!("  {first} = load {element}, {kind} {other}, align 8"));
                first
            }
            None if self.dialect.has_opaque_pointers => VARYING.to_owned(),
            None => {
                let first = self.name();
                self.put(format!("  {first} = bitcast i64* {VARYING} to i8*"));
                first
            }
        };
        let (kind, list) = place(self, kind, list);
        self.put(format!("  store {element} {first}, {kind} {list}, align 8"));
    }

    fn intrinsic(&mut self, signature: &Signature<'_>, statement: &Statement<'_>) -> bool {
        let name = signature.callee.trim_start_matches("@llvm.");
        let (target, after) = (statement.target, &statement.after);
        let values: Vec<(&str, &str)> =
            signature.arguments.iter().map(|argument| typed_value(argument)).collect();
        let kind = name.split('.').next().unwrap_or_default();
        match (kind, values.as_slice()) {
            ("memcpy" | "memmove", [(to_kind, to), (from_kind, from), (count_kind, count), ..]) => {
                if count.parse::<u64>().is_ok_and(|count| count <= COPIED_IN_PLACE) {
                    return false;
                }
                let count = self.wide(count_kind, count);
                let helper = self.helper(1001, "i8*, i8*, i64");
                let unused = self.name();
                self.put(format!(
                    "  {unused} = call {to_kind} {helper}({to_kind} {to}, {from_kind} {from}, i64 {count}){after}"
                ));
                true
            }
            ("memset", [(to_kind, to), (_, byte), (count_kind, count), ..]) => {
                if count.parse::<u64>().is_ok_and(|count| count <= COPIED_IN_PLACE) {
                    return false;
                }
                let count = self.wide(count_kind, count);
                let value = self.name();
                self.put(format!("  {value} = zext i8 {byte} to i32"));
                let helper = self.helper(1002, "i8*, i32, i64");
                let unused = self.name();
                self.put(format!(
                    "  {unused} = call {to_kind} {helper}({to_kind} {to}, i32 {value}, i64 {count}){after}"
                ));
                true
            }
            ("umul" | "smul", [(_, a), (_, b)]) if name.ends_with("with.overflow.i64") => {
                let is_signed = kind == "smul";
                self.wrappers.insert(Wrapper::Overflow(is_signed));
                self.put(format!(
                    "  {target} = call {{ i64, i1 }} @csd.{kind}o(i64 {a}, i64 {b}){after}"
                ));
                true
            }
            // An older target cannot count in 32 bits, and dies of a count that says nothing of zero.
            ("ctlz" | "cttz", [(of, a), ..]) if !self.dialect.has_signed_division => {
                let Some(width) = of.strip_prefix('i').and_then(|n| n.parse::<u32>().ok()) else {
                    return false;
                };
                if width > 64 {
                    return false;
                }
                self.needs_soft = true;
                let wide = self.wide(of, a);
                let wide = if kind == "cttz" && width < 64 {
                    let marked = self.name();
                    self.put(format!("  {marked} = or i64 {wide}, {}", 1u64 << width));
                    marked
                } else {
                    wide
                };
                let [count, less] = [self.name(), self.name()];
                self.put(format!("  {count} = call i64 @csd_i64_{kind}(i64 {wide}){after}"));
                let more = if kind == "ctlz" { 64 - width } else { 0 };
                if width == 64 {
                    self.put(format!("  {target} = add i64 {count}, 0"));
                } else {
                    self.put(format!("  {less} = sub i64 {count}, {more}"));
                    self.put(format!("  {target} = trunc i64 {less} to {of}"));
                }
                true
            }
            ("ctpop", [("i32", a), ..]) if !self.dialect.has_signed_division => {
                self.wrappers.insert(Wrapper::CountOnes);
                self.put(format!("  {target} = call i32 @csd.ctpop.i32(i32 {a}){after}"));
                true
            }
            ("va_start", [list, ..]) => {
                self.begin_varying(*list, None);
                true
            }
            ("va_copy", [list, other]) => {
                self.begin_varying(*list, Some(*other));
                true
            }
            ("va_end", _) => true,
            ("stacksave", _) => {
                self.has_arena = true;
                let (at, word) = (self.name(), self.pointer("i64"));
                self.put(format!("  {at} = load i64, {word} @csd.arena.next"));
                let pointer = self.pointer("i8");
                self.put(format!("  {target} = inttoptr i64 {at} to {pointer}"));
                true
            }
            ("stackrestore", [(pointer, value)]) => {
                self.has_arena = true;
                let (at, word) = (self.name(), self.pointer("i64"));
                self.put(format!("  {at} = ptrtoint {pointer} {value} to i64"));
                self.put(format!("  store i64 {at}, {word} @csd.arena.next"));
                true
            }
            _ => self.float_intrinsic(kind, signature.result, &values, statement),
        }
    }

    /// A count of 64 bits.
    pub(super) fn wide(&mut self, kind: &str, value: &str) -> String {
        if kind == "i64" {
            return value.to_owned();
        }
        let wide = self.name();
        self.put(format!("  {wide} = zext {kind} {value} to i64"));
        wide
    }
}

/// What stands before a type, without what is said of a result.
fn without_result_attributes(head: &str) -> String {
    let mut text = head.to_owned();
    while let Some(at) = text.find("range(") {
        let end = closing(&text, at + 5).map_or(text.len(), |end| end + 1);
        text.replace_range(at..end, "");
    }
    let words = text.split_whitespace();
    let kept = words.filter(|word| !matches!(*word, "noundef" | "zeroext" | "signext" | "nonnull"));
    let mut text = kept.collect::<Vec<_>>().join(" ");
    if !text.is_empty() {
        text.push(' ');
    }
    text
}
