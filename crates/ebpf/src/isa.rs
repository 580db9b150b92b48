//! The instruction set (RFC 9669): opcodes, encodings, and the classes the cost model charges.

/// Instruction class, bits 2:0 of the opcode.
pub mod class {
    /// Non-standard loads: 64-bit immediates.
    pub const LD: u8 = 0;
    /// Load into register.
    pub const LDX: u8 = 1;
    /// Store immediate.
    pub const ST: u8 = 2;
    /// Store from register, atomics.
    pub const STX: u8 = 3;
    /// 32-bit arithmetic.
    pub const ALU: u8 = 4;
    /// 64-bit jumps.
    pub const JMP: u8 = 5;
    /// 32-bit jumps.
    pub const JMP32: u8 = 6;
    /// 64-bit arithmetic.
    pub const ALU64: u8 = 7;
}

/// Arithmetic operations, bits 7:4 of the opcode.
pub mod alu {
    #![expect(missing_docs, reason = "RFC 9669, section 4.1, Table 4")]
    pub const ADD: u8 = 0x00;
    pub const SUB: u8 = 0x10;
    pub const MUL: u8 = 0x20;
    pub const DIV: u8 = 0x30;
    pub const LSH: u8 = 0x60;
    pub const NEG: u8 = 0x80;
    pub const MOD: u8 = 0x90;
    pub const MOV: u8 = 0xB0;
    pub const END: u8 = 0xD0;
}

/// Jump operations, bits 7:4 of the opcode.
pub mod jump {
    #![expect(missing_docs, reason = "RFC 9669, section 4.3, Table 6")]
    pub const JA: u8 = 0x00;
    pub const JEQ: u8 = 0x10;
    pub const JNE: u8 = 0x50;
    pub const CALL: u8 = 0x80;
    pub const EXIT: u8 = 0x90;
    pub const JSLE: u8 = 0xD0;
}

/// Memory modes, bits 7:5 of the opcode.
pub mod mode {
    #![expect(missing_docs, reason = "RFC 9669, section 5, Table 10")]
    pub const IMM: u8 = 0x00;
    pub const MEM: u8 = 0x60;
    pub const MEMSX: u8 = 0x80;
    pub const ATOMIC: u8 = 0xC0;
}

/// Atomic operations, in the immediate of an atomic store.
pub mod atomic {
    #![expect(missing_docs, reason = "RFC 9669, section 5.3, Tables 12 and 13")]
    pub const ADD: i32 = 0x00;
    pub const OR: i32 = 0x40;
    pub const AND: i32 = 0x50;
    pub const XOR: i32 = 0xA0;
    pub const FETCH: i32 = 0x01;
    pub const XCHG: i32 = 0xE1;
    pub const CMPXCHG: i32 = 0xF1;
    pub const LOAD_ACQUIRE: i32 = 0x100;
    pub const STORE_RELEASE: i32 = 0x110;
}

/// The whole opcode of a 64-bit immediate load, the only instruction of two slots.
pub const LDDW: u8 = 0x18;
/// The whole opcode of a call.
pub const CALL: u8 = 0x85;
/// The whole opcode of a call of the helper whose number is in the destination register.
pub const CALL_REGISTER: u8 = 0x8D;
/// The whole opcode of an exit.
pub const EXIT: u8 = 0x95;
/// Source register value of a call to a function of the program.
pub const CALL_LOCAL: u8 = 1;
/// The read-only frame pointer.
pub const FRAME_POINTER: u8 = 10;
/// Bytes of stack of one call frame, at least.
pub const FRAME_SIZE: u64 = 512;
/// Call frames that every program has, the entry function's included.
pub const MIN_FRAMES: usize = 8;

/// One 8-byte instruction slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// Opcode.
    pub opcode: u8,
    /// Destination register.
    pub dst: u8,
    /// Source register.
    pub src: u8,
    /// Signed offset.
    pub offset: i16,
    /// Signed immediate.
    pub imm: i32,
}

impl Instruction {
    /// Bytes of one slot.
    pub const SIZE: usize = 8;

    /// Reads one slot, little endian.
    pub fn decode(bytes: [u8; 8]) -> Self {
        let [opcode, registers, o0, o1, i0, i1, i2, i3] = bytes;
        Self {
            opcode,
            dst: registers & 0xF,
            src: registers >> 4,
            offset: i16::from_le_bytes([o0, o1]),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    /// Writes one slot, little endian.
    pub fn encode(self) -> [u8; 8] {
        let [o0, o1] = self.offset.to_le_bytes();
        let [i0, i1, i2, i3] = self.imm.to_le_bytes();
        [self.opcode, self.src << 4 | self.dst, o0, o1, i0, i1, i2, i3]
    }

    /// Makes a load-acquire or store-release (clang 20 and newer, v4) the plain access that it is on a drive, whose programs
    /// see each other's memory only through jobs that come one after the other.
    pub fn lower_ordered(&mut self) {
        if self.class() != class::STX || self.mode() != mode::ATOMIC {
            return;
        }
        let class = match self.imm {
            atomic::LOAD_ACQUIRE => class::LDX,
            atomic::STORE_RELEASE => class::STX,
            _ => return,
        };
        self.opcode = self.opcode & 0x18 | mode::MEM | class;
        self.imm = 0;
    }

    /// The same instruction, with the register of a call in the place that RFC 9669 has for it: clang up to 18 had it in the immediate.
    #[must_use]
    pub fn with_register_called(self) -> Self {
        match self {
            Self { opcode: CALL_REGISTER, dst: 0, imm: 1..=9, .. } => {
                Self { dst: self.imm as u8, imm: 0, ..self }
            }
            _ => self,
        }
    }

    /// Class, bits 2:0.
    pub fn class(self) -> u8 {
        self.opcode & 7
    }

    /// Operation, bits 7:4 (arithmetic and jumps).
    pub fn operation(self) -> u8 {
        self.opcode & 0xF0
    }

    /// Memory mode, bits 7:5 (loads and stores).
    pub fn mode(self) -> u8 {
        self.opcode & 0xE0
    }

    /// True if the second operand is a register (arithmetic and jumps).
    pub fn uses_register(self) -> bool {
        self.opcode & 8 != 0
    }

    /// Bytes a load or store moves.
    pub fn access_size(self) -> u8 {
        match self.opcode & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        }
    }

    /// True for a call to a function of the program.
    pub fn is_local_call(self) -> bool {
        self.opcode == CALL && self.src == CALL_LOCAL
    }

    /// The jump's displacement in slots, if this is a jump with a target.
    pub fn jump_displacement(self) -> Option<i64> {
        match (self.class(), self.operation()) {
            (class::JMP, jump::CALL | jump::EXIT) => None,
            (class::JMP32, jump::JA) => Some(i64::from(self.imm)),
            (class::JMP | class::JMP32, _) => Some(i64::from(self.offset)),
            _ => None,
        }
    }

    /// What the cost model charges for this instruction.
    pub fn cost_class(self) -> InstructionClass {
        use InstructionClass as C;
        match (self.class(), self.operation(), self.mode()) {
            (class::ALU | class::ALU64, alu::MUL, _) => C::Multiply,
            (class::ALU | class::ALU64, alu::DIV | alu::MOD, _) => C::Divide,
            (class::ALU | class::ALU64, ..) | (class::LD, ..) => C::Alu,
            (class::LDX, ..) => C::Load,
            (class::STX, _, mode::ATOMIC) => C::Atomic,
            (class::ST | class::STX, ..) => C::Store,
            (class::JMP, jump::CALL, _) if self.src == CALL_LOCAL => C::Call,
            (class::JMP, jump::CALL, _) => C::Helper,
            (class::JMP, jump::EXIT, _) => C::Call,
            _ => C::Branch,
        }
    }
}

/// Instruction classes the cost model tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum InstructionClass {
    /// Arithmetic, logic, moves, byte swaps, 64-bit immediates.
    Alu,
    /// Multiplication.
    Multiply,
    /// Division and remainder.
    Divide,
    /// Loads.
    Load,
    /// Stores.
    Store,
    /// Atomic operations.
    Atomic,
    /// Jumps, taken or not.
    Branch,
    /// Calls of functions and exits.
    Call,
    /// Calls of helpers.
    Helper,
}

impl InstructionClass {
    /// Every class, in the order of [`crate::Counts::instructions`].
    pub const ALL: [Self; 9] = [
        Self::Alu,
        Self::Multiply,
        Self::Divide,
        Self::Load,
        Self::Store,
        Self::Atomic,
        Self::Branch,
        Self::Call,
        Self::Helper,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_decode_and_encode_are_inverse() {
        let bytes = [0x7B, 0x1A, 0xF8, 0xFF, 0x78, 0x56, 0x34, 0x92];
        let insn = Instruction::decode(bytes);
        assert_eq!((insn.dst, insn.src, insn.offset), (10, 1, -8));
        assert_eq!(insn.imm, 0x9234_5678_u32 as i32);
        assert_eq!(insn.encode(), bytes);
        assert_eq!((insn.access_size(), insn.cost_class()), (8, InstructionClass::Store));
    }
}
