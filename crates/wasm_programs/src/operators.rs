//! What each operator of WebAssembly counts as.
//!
//! An operator that a compiler makes an instruction of counts as one; what only names a value or a place (constants, locals, the
//! beginnings and ends of blocks) counts as none. So counts are comparable with those of eBPF programs.

use ebpf::isa::InstructionClass;
use wasmparser::Operator;
use wasmtime::OperatorCost;

/// Fuel for each instruction: the budget of a run is so many times smaller than its fuel, and a byte that an instruction like
/// `memory.copy` touches takes 1.
pub(crate) const FUEL_PER_INSTRUCTION: u64 = ebpf::BYTES_PER_BUDGET_UNIT;

/// What an operator does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Weight {
    pub(crate) class: InstructionClass,
    /// Bytes that it loads and stores.
    pub(crate) loads: u8,
    pub(crate) stores: u8,
}

/// The weight of the operator of this name; `None` if it counts as no instruction.
fn weight_of_name(name: &str) -> Option<Weight> {
    use InstructionClass::{Alu, Branch, Call, Divide, Load, Multiply, Store};
    let free = [
        "Nop",
        "Block",
        "Loop",
        "End",
        "Else",
        "Drop",
        "LocalGet",
        "LocalSet",
        "LocalTee",
        "RefNull",
        "RefFunc",
        "TypedSelect",
    ];
    if free.contains(&name) || name.ends_with("Const") {
        return if name == "TypedSelect" { Some(plain(Alu)) } else { None };
    }
    if let Some((of, rest)) = name.split_once("Load").or(name.split_once("Store")) {
        let bytes = access_bytes(of, rest);
        return Some(if name.contains("Load") {
            Weight { class: Load, loads: bytes, stores: 0 }
        } else {
            Weight { class: Store, loads: 0, stores: bytes }
        });
    }
    let is_float = name.starts_with('F');
    let class = match name {
        "GlobalGet" => Load,
        "GlobalSet" => Store,
        "If" | "Return" | "Unreachable" => Branch,
        _ if name.starts_with("Br") => Branch,
        _ if name.contains("Call") => Call,
        _ if name.starts_with("Memory") || name.starts_with("Table") => Call,
        _ if name.ends_with("Drop") => Alu,
        _ if name.contains("Div") || name.contains("Rem") || name.contains("Sqrt") => Divide,
        _ if name.contains("Mul") || name.contains("Dot") || name.contains("madd") => Multiply,
        // Latencies of floating point are those of a multiplication.
        _ if is_float && (name.ends_with("Add") || name.ends_with("Sub")) => Multiply,
        _ if name.contains("Convert") || name.contains("Trunc") => Multiply,
        _ if name.contains("Promote") || name.contains("Demote") => Multiply,
        _ => Alu,
    };
    Some(plain(class))
}

fn plain(class: InstructionClass) -> Weight {
    Weight { class, loads: 0, stores: 0 }
}

/// Bytes of a memory access, of its type and what its name says after `Load` or `Store`: `I64Load32U`, `V128Load8x8S`.
fn access_bytes(of: &str, rest: &str) -> u8 {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let bits = digits(rest);
    match bits.parse::<u8>() {
        // Eight of 8 bits, four of 16, two of 32.
        Ok(_) if rest[bits.len()..].starts_with('x') => 8,
        Ok(bits) => bits / 8,
        Err(_) => match digits(&of[1..]).as_str() {
            "32" => 4,
            "64" => 8,
            _ => 16,
        },
    }
}

macro_rules! define_weights {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
        /// The weight of an operator; `None` if it counts as no instruction.
        pub(crate) fn weight(operator: &Operator<'_>) -> Option<Weight> {
            match operator {
                $( Operator::$op { .. } => weight_of_name(stringify!($op)), )*
                _ => Some(plain(InstructionClass::Alu)),
            }
        }

        /// What Wasmtime takes fuel for: nothing but `nop`, of which code that counts puts in one for each instruction, because code
        /// that counts shall cost nothing itself; and bytes that an operator touches beyond that.
        pub(crate) fn fuel() -> OperatorCost {
            let mut cost = OperatorCost::new();
            $( cost.$op = 0; )*
            cost.Nop = FUEL_PER_INSTRUCTION as u8;
            // What is copied is loaded and stored.
            cost.variable.memory_copy_per_byte = 2;
            cost.variable.memory_init_per_byte = 2;
            cost.variable.memory_fill_per_byte = 1;
            cost.variable.table_copy_per_element = 16;
            cost.variable.table_init_per_element = 16;
            cost.variable.table_fill_per_element = 8;
            cost.variable.table_grow_per_element = 8;
            cost
        }
    };
}

wasmparser::for_each_operator!(define_weights);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_have_the_classes_and_bytes_that_their_names_say() {
        use InstructionClass::{Alu, Branch, Call, Divide, Load, Multiply, Store};
        for (name, class, loads, stores) in [
            ("I32Add", Alu, 0, 0),
            ("I64Mul", Multiply, 0, 0),
            ("I64RemU", Divide, 0, 0),
            ("F64Add", Multiply, 0, 0),
            ("F32x4Sub", Multiply, 0, 0),
            ("F64Sqrt", Divide, 0, 0),
            ("I32TruncSatF64U", Multiply, 0, 0),
            ("F64Lt", Alu, 0, 0),
            ("I32Load", Load, 4, 0),
            ("I64Load", Load, 8, 0),
            ("I64Load32U", Load, 4, 0),
            ("I32Load8S", Load, 1, 0),
            ("V128Load", Load, 16, 0),
            ("V128Load16x4U", Load, 8, 0),
            ("V128Load64Zero", Load, 8, 0),
            ("V128Load8Lane", Load, 1, 0),
            ("F64Store", Store, 0, 8),
            ("I64Store16", Store, 0, 2),
            ("V128Store32Lane", Store, 0, 4),
            ("BrTable", Branch, 0, 0),
            ("If", Branch, 0, 0),
            ("CallIndirect", Call, 0, 0),
            ("ReturnCall", Call, 0, 0),
            ("MemoryCopy", Call, 0, 0),
            ("Select", Alu, 0, 0),
            ("TypedSelect", Alu, 0, 0),
            ("GlobalGet", Load, 0, 0),
        ] {
            assert_eq!(weight_of_name(name), Some(Weight { class, loads, stores }), "{name}");
        }
        for name in ["LocalGet", "I32Const", "V128Const", "End", "Loop", "Drop"] {
            assert_eq!(weight_of_name(name), None, "{name}");
        }
    }
}
