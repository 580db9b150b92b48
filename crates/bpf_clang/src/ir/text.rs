//! The text of LLVM's intermediate language, as far as it has to be understood.

/// `%a = add nsw i32 %b, 1, !dbg !7`, in parts.
pub(super) struct Statement<'a> {
    /// `%a`; empty if it has no result.
    pub(super) target: &'a str,
    /// `add`
    pub(super) operation: &'a str,
    /// `nsw i32 %b, 1`
    pub(super) rest: &'a str,
    /// Where it is in the source: `, !dbg !7`.
    pub(super) after: String,
}

impl<'a> Statement<'a> {
    /// Parses a line; `scope` is where it is if it does not say so.
    pub(super) fn parse(line: &'a str, scope: Option<&str>) -> Self {
        let trimmed = line.trim();
        let (target, rest) = match trimmed.split_once(" = ") {
            Some((target, rest)) if target.starts_with('%') && !target.contains(' ') => {
                (target, rest)
            }
            _ => ("", trimmed),
        };
        let (operation, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let end = rest.find(", !").unwrap_or(rest.len());
        let (rest, attached) = rest.split_at(end);
        let after = match attached.split_once("!dbg !") {
            Some((_, number)) => {
                let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
                format!(", !dbg !{}", &number[..digits])
            }
            None => scope.unwrap_or_default().to_owned(),
        };
        Self { target, operation, rest, after }
    }
}

/// True for `entry:` and `12:   ; preds = %1`.
pub(super) fn is_label(line: &str) -> bool {
    let name = line.split(';').next().unwrap_or_default().trim_end();
    !line.starts_with(' ') && name.ends_with(':')
}

/// What follows words that may stand before a type.
pub(super) fn without_flags<'a>(text: &'a str, flags: &[&str]) -> &'a str {
    let mut text = text;
    while let Some((word, rest)) = text.split_once(' ') {
        if !flags.contains(&word) {
            break;
        }
        text = rest;
    }
    text
}

/// The parts between commas that are in no brackets.
pub(super) fn split_arguments(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin, mut quoted) = (Vec::new(), 0i32, 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    let last = text[begin..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

/// Where the bracket that opens at `open` is closed.
pub(super) fn closing(text: &str, open: usize) -> Option<usize> {
    let (mut depth, mut quoted) = (0i32, false);
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < open) {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The type that a text begins with, and the rest.
pub(super) fn leading_type(text: &str) -> (&str, &str) {
    let end = match text.chars().next() {
        Some('[' | '{' | '<') => closing(text, 0).map_or(text.len(), |at| at + 1),
        _ => text.find([' ', '(']).unwrap_or(text.len()),
    };
    // Pointers of older compilers.
    let stars = text[end..].len() - text[end..].trim_start_matches('*').len();
    let (kind, rest) = text.split_at(end + stars);
    (kind, rest.trim_start())
}

/// The type that a text ends with, and what is before it.
pub(super) fn trailing_type(text: &str) -> (&str, &str) {
    let text = text.trim_end();
    let begin = match text.chars().next_back() {
        Some(close @ ('}' | ']')) => {
            let open = if close == '}' { '{' } else { '[' };
            let mut depth = 0;
            let found = text.char_indices().rev().find(|(_, c)| {
                depth += i32::from(*c == close) - i32::from(*c == open);
                depth == 0
            });
            found.map_or(0, |(at, _)| at)
        }
        _ => text.rfind(' ').map_or(0, |at| at + 1),
    };
    (&text[begin..], &text[..begin])
}

/// True for the name of a structure's type, not of a pointer to it.
pub(super) fn ends_type(kind: &str) -> bool {
    kind.starts_with('%') && !kind.ends_with('*')
}

/// A type and a value, without the attributes between: `i64 noundef %x` is `("i64", "%x")`.
pub(super) fn typed_value(argument: &str) -> (&str, &str) {
    let (kind, rest) = leading_type(argument);
    // Constants may have blanks: what is not an attribute begins the value.
    let mut rest = rest;
    loop {
        let (word, after) = match rest.find([' ', '(']) {
            Some(at) if rest.as_bytes()[at] == b'(' => match closing(rest, at) {
                Some(end) => (&rest[..at], rest[end + 1..].trim_start()),
                None => break,
            },
            Some(at) => (&rest[..at], rest[at + 1..].trim_start()),
            None => break,
        };
        let is_attribute = matches!(
            word,
            "noundef"
                | "nonnull"
                | "noalias"
                | "nocapture"
                | "readonly"
                | "readnone"
                | "writeonly"
                | "signext"
                | "zeroext"
                | "writable"
                | "dead_on_unwind"
                | "returned"
                | "nofree"
                | "immarg"
                | "dereferenceable"
                | "dereferenceable_or_null"
                | "sret"
                | "byval"
                | "range"
                | "captures"
                | "initializes"
                | "inreg"
                | "noext"
                | "nest"
                | "dead_on_return"
        );
        if is_attribute {
            rest = after;
        } else if word == "align" {
            rest = after.split_once(' ').map_or("", |(_, value)| value).trim_start();
        } else {
            break;
        }
    }
    (kind, rest)
}

/// The type in `byval(TYPE)` or `sret(TYPE)` of an argument.
pub(super) fn attribute_type<'a>(argument: &'a str, attribute: &str) -> Option<&'a str> {
    let at = argument.find(&format!(" {attribute}("))? + 1 + attribute.len();
    Some(&argument[at + 1..closing(argument, at)?])
}

/// Attributes of functions without what they promise of memory: they may get results through it now.
pub(super) fn without_memory_effects(line: &str) -> String {
    let mut text = line.to_owned();
    while let Some(at) = text.find(" memory(") {
        let end = closing(&text, at + 7).map_or(text.len(), |end| end + 1);
        text.replace_range(at..end, "");
    }
    for word in
        ["readnone", "readonly", "writeonly", "argmemonly", "inaccessiblememonly", "speculatable"]
    {
        text = text.replace(&format!(" {word} "), " ");
    }
    // A group without attributes is none.
    text.replace("{ }", "{ \"csdrive\" }").replace("{  }", "{ \"csdrive\" }")
}
