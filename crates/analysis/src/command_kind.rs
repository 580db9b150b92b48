//! What tells commands of one name apart from others.

use nvme_spec::{CommandSet, command_name};
use records::CommandRecord;

/// Admin commands by opcode, I/O commands by command set and opcode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CommandKind {
    /// Of the admin queue.
    pub is_admin: bool,
    /// Command set (CSI); 0 of admin commands, which are of none.
    pub csi: u8,
    /// Opcode.
    pub opcode: u8,
}

impl CommandKind {
    /// That of a record.
    pub fn of(record: &CommandRecord) -> Self {
        let is_admin = record.sqid == 0;
        let csi = if is_admin { 0 } else { record.csi };
        Self { is_admin, csi, opcode: record.opcode }
    }

    /// As the specification calls it, or its opcode.
    pub fn name(self) -> String {
        let name = command_name(u16::from(!self.is_admin), CommandSet(self.csi), self.opcode);
        name.map_or_else(|| format!("unknown {:02X}h", self.opcode), str::to_owned)
    }
}
