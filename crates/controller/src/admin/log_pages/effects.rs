//! Commands and features supported, and their effects (Base 2.1, Figures 210 and 269).

use nvme_spec::{
    AdminOpcode, CommandSet, EffectsLog, FeatureEffectsLog, FemuAdminOpcode, FemuOpcode,
    MemoryOpcode, NvmOpcode, ProgramOpcode, Status, ZoneOpcode, fid,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::admin::features::is_namespace_specific;
use crate::config::{Config, Dialect};

/// I/O commands report no scope (CSP 0): Linux up to at least 6.12 logs "unusual effects" for any other.
const READS: u32 = EffectsLog::SUPPORTED;
const WRITES: u32 = READS | EffectsLog::CHANGES_CONTENT;

fn admin_effects(opcode: AdminOpcode) -> u32 {
    let effects = match opcode {
        AdminOpcode::FORMAT_NVM => {
            EffectsLog::CHANGES_CONTENT
                | EffectsLog::CHANGES_NAMESPACE
                | EffectsLog::EXCLUSIVE_IN_NAMESPACE
                | EffectsLog::SCOPE_NAMESPACE
        }
        AdminOpcode::SANITIZE => {
            EffectsLog::CHANGES_CONTENT | EffectsLog::EXCLUSIVE | EffectsLog::SCOPE_SUBSYSTEM
        }
        AdminOpcode::NAMESPACE_MANAGEMENT | AdminOpcode::NAMESPACE_ATTACHMENT => {
            EffectsLog::CHANGES_INVENTORY | EffectsLog::SCOPE_SUBSYSTEM
        }
        AdminOpcode::LOAD_PROGRAM
        | AdminOpcode::PROGRAM_ACTIVATION
        | AdminOpcode::MEMORY_RANGE_SET
        | AdminOpcode::JOB_GROUP => EffectsLog::SCOPE_NAMESPACE,
        _ => EffectsLog::SCOPE_CONTROLLER,
    };
    effects | EffectsLog::SUPPORTED
}

fn nvm_effects(opcode: NvmOpcode) -> u32 {
    match opcode {
        NvmOpcode::WRITE
        | NvmOpcode::WRITE_ZEROES
        | NvmOpcode::DATASET_MANAGEMENT
        | NvmOpcode::COPY => WRITES,
        _ => READS,
    }
}

fn is_of_placement(opcode: NvmOpcode) -> bool {
    matches!(opcode, NvmOpcode::IO_MANAGEMENT_RECEIVE | NvmOpcode::IO_MANAGEMENT_SEND)
}

fn memory_effects(opcode: MemoryOpcode) -> u32 {
    if opcode == MemoryOpcode::READ { READS } else { WRITES }
}

fn zone_effects(opcode: ZoneOpcode) -> u32 {
    if opcode == ZoneOpcode::MANAGEMENT_RECEIVE { READS } else { WRITES }
}

fn nvm_commands(config: &Config) -> Vec<(u8, u32)> {
    let is_there = |o: &&NvmOpcode| config.placement || !is_of_placement(**o);
    NvmOpcode::ALL.iter().filter(is_there).map(|o| (o.0, nvm_effects(*o))).collect()
}

/// Commands supported and effects, for one I/O command set.
pub(super) fn commands(
    csi: CommandSet,
    config: &Config,
    has_zones: bool,
) -> Result<Vec<u8>, Status> {
    let mut log = EffectsLog::default();
    for opcode in AdminOpcode::ALL {
        log.admin[usize::from(opcode.0)].set(admin_effects(*opcode));
    }
    let is_femu = config.dialect == Dialect::Femu;
    for opcode in FemuAdminOpcode::ALL.iter().filter(|_| is_femu) {
        log.admin[usize::from(opcode.0)].set(EffectsLog::SUPPORTED | EffectsLog::SCOPE_CONTROLLER);
    }
    let mut io: Vec<(u8, u32)> = match csi {
        CommandSet::NVM => nvm_commands(config),
        // A drive without zones has none of these commands. `nvme effects-log` asks for them too wherever there is more than one
        // set, and fails as a whole if that is refused.
        CommandSet::ZONED if !has_zones => Vec::new(),
        CommandSet::ZONED => {
            let zoned = ZoneOpcode::ALL.iter().map(|o| (o.0, zone_effects(*o)));
            nvm_commands(config).into_iter().chain(zoned).collect()
        }
        CommandSet::MEMORY => MemoryOpcode::ALL.iter().map(|o| (o.0, memory_effects(*o))).collect(),
        CommandSet::PROGRAMS => ProgramOpcode::ALL.iter().map(|o| (o.0, WRITES)).collect(),
        _ => return Err(Status::INVALID_FIELD.with_dnr()),
    };
    if is_femu && csi == CommandSet::NVM {
        // None changes blocks.
        io.extend(FemuOpcode::ALL.iter().map(|o| (o.0, READS)));
    }
    for (opcode, effect) in io {
        log.io[usize::from(opcode)].set(effect);
    }
    Ok(log.as_bytes().to_vec())
}

/// Feature identifiers supported and effects.
pub(super) fn features(has: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut log = FeatureEffectsLog::new_zeroed();
    for &id in fid::ALL.iter().chain(&fid::OF_PLACEMENT).filter(|&&id| has(id)) {
        let scope = if is_namespace_specific(id) {
            EffectsLog::SCOPE_NAMESPACE
        } else {
            EffectsLog::SCOPE_CONTROLLER
        };
        let changes = match id {
            fid::WRITE_PROTECTION => EffectsLog::CHANGES_NAMESPACE,
            fid::HOST_BEHAVIOR => EffectsLog::CHANGES_CONTROLLER,
            _ => 0,
        };
        log[usize::from(id)].set(EffectsLog::SUPPORTED | scope | changes);
    }
    log.as_bytes().to_vec()
}
