//! Admin commands (Base 2.1, section 5).

use nvme_spec::command::{
    ActivationCdw10, CreateCqCdw11, CreateSqCdw11, FeaturesCdw10, GetLogCdw10, GetLogCdw14,
    IdentifyCdw10, IdentifyCdw11, LoadProgramCdw10, QueueCdw10, RangeSetCdw10, RangeSetCdw11,
};
use nvme_spec::{AdminOpcode, CommandSet, PAGE_SIZE, Status, SubmissionEntry};

/// Identify.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identify {
    pub(crate) cns: u8,
    pub(crate) csi: CommandSet,
    pub(crate) nsid: u32,
}

/// Get Log Page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GetLog {
    pub(crate) lid: u8,
    pub(crate) csi: CommandSet,
    pub(crate) nsid: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Load Program: one piece of a program's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadProgram {
    pub(crate) program_index: u16,
    pub(crate) program_type: u8,
    pub(crate) identifier_type: u8,
    pub(crate) identifier: u64,
    pub(crate) program_bytes: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
    /// Vendor: declared run time, from dword 3.
    pub(crate) declared_ns: u32,
}

/// An admin command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AdminCommand {
    Identify(Identify),
    GetLog(GetLog),
    CreateCq { qid: u16, entries: u32, base: u64, vector: Option<u16> },
    CreateSq { qid: u16, entries: u32, base: u64, cqid: u16 },
    DeleteCq { qid: u16 },
    DeleteSq { qid: u16 },
    SetFeatures { fid: u8, save: bool, value: u32 },
    GetFeatures { fid: u8, select: u8 },
    LoadProgram { nsid: u32, load: LoadProgram },
    UnloadProgram { nsid: u32, program_index: u16 },
    Activate { nsid: u32, program_index: u16, activate: bool },
    CreateRangeSet { nsid: u32, count: u8 },
    DeleteRangeSet { nsid: u32, rsid: u16 },
}

impl AdminCommand {
    pub(crate) fn decode(entry: &SubmissionEntry) -> Result<Self, Status> {
        let invalid = Status::INVALID_FIELD.with_dnr();
        let (cdw10, cdw11) = (entry.cdw10.get(), entry.cdw11.get());
        let nsid = entry.nsid.get();
        match AdminOpcode(entry.opcode) {
            AdminOpcode::IDENTIFY => {
                let cns = IdentifyCdw10::from_bits(cdw10).cns();
                let csi = CommandSet(IdentifyCdw11::from_bits(cdw11).csi());
                Ok(Self::Identify(Identify { cns, csi, nsid }))
            }
            AdminOpcode::GET_LOG_PAGE => decode_get_log(entry),
            AdminOpcode::CREATE_CQ => {
                let (queue, flags) =
                    (QueueCdw10::from_bits(cdw10), CreateCqCdw11::from_bits(cdw11));
                let base = contiguous_base(flags.pc(), entry.prp1.get())?;
                let vector = flags.ien().then(|| flags.iv());
                let entries = u32::from(queue.qsize_z()) + 1;
                Ok(Self::CreateCq { qid: queue.qid(), entries, base, vector })
            }
            AdminOpcode::CREATE_SQ => {
                let (queue, flags) =
                    (QueueCdw10::from_bits(cdw10), CreateSqCdw11::from_bits(cdw11));
                let base = contiguous_base(flags.pc(), entry.prp1.get())?;
                let entries = u32::from(queue.qsize_z()) + 1;
                Ok(Self::CreateSq { qid: queue.qid(), entries, base, cqid: flags.cqid() })
            }
            AdminOpcode::DELETE_CQ => {
                Ok(Self::DeleteCq { qid: QueueCdw10::from_bits(cdw10).qid() })
            }
            AdminOpcode::DELETE_SQ => {
                Ok(Self::DeleteSq { qid: QueueCdw10::from_bits(cdw10).qid() })
            }
            AdminOpcode::SET_FEATURES => {
                let feature = FeaturesCdw10::from_bits(cdw10);
                Ok(Self::SetFeatures { fid: feature.fid(), save: feature.sv(), value: cdw11 })
            }
            AdminOpcode::GET_FEATURES => {
                let feature = FeaturesCdw10::from_bits(cdw10);
                Ok(Self::GetFeatures { fid: feature.fid(), select: feature.sel() })
            }
            AdminOpcode::LOAD_PROGRAM => Ok(decode_load(entry)),
            AdminOpcode::PROGRAM_ACTIVATION => {
                let fields = ActivationCdw10::from_bits(cdw10);
                let activate = match fields.sel() {
                    0 => false,
                    1 => true,
                    _ => return Err(invalid),
                };
                Ok(Self::Activate { nsid, program_index: fields.pind(), activate })
            }
            AdminOpcode::MEMORY_RANGE_SET => {
                let fields = RangeSetCdw10::from_bits(cdw10);
                match fields.sel() {
                    0 => {
                        let count = RangeSetCdw11::from_bits(cdw11).numr();
                        Ok(Self::CreateRangeSet { nsid, count })
                    }
                    1 => Ok(Self::DeleteRangeSet { nsid, rsid: fields.rsid() }),
                    _ => Err(invalid),
                }
            }
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        }
    }
}

/// Queues must be physically contiguous (CAP.CQR) and page aligned.
fn contiguous_base(contiguous: bool, prp1: u64) -> Result<u64, Status> {
    if !contiguous {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    if !prp1.is_multiple_of(PAGE_SIZE) {
        return Err(Status::INVALID_PRP_OFFSET.with_dnr());
    }
    Ok(prp1)
}

fn decode_get_log(entry: &SubmissionEntry) -> Result<AdminCommand, Status> {
    let cdw10 = GetLogCdw10::from_bits(entry.cdw10.get());
    let cdw14 = GetLogCdw14::from_bits(entry.cdw14.get());
    let dwords = (u64::from(entry.cdw11.get() & 0xFFFF) << 16 | u64::from(cdw10.numdl())) + 1;
    let offset = entry.cdw12_13();
    if !offset.is_multiple_of(4) || cdw14.ot() {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    Ok(AdminCommand::GetLog(GetLog {
        lid: cdw10.lid(),
        csi: CommandSet(cdw14.csi()),
        nsid: entry.nsid.get(),
        offset,
        len: dwords * 4,
    }))
}

fn decode_load(entry: &SubmissionEntry) -> AdminCommand {
    let cdw10 = LoadProgramCdw10::from_bits(entry.cdw10.get());
    let nsid = entry.nsid.get();
    if cdw10.sel() {
        return AdminCommand::UnloadProgram { nsid, program_index: cdw10.pind() };
    }
    let load = LoadProgram {
        program_index: cdw10.pind(),
        program_type: cdw10.ptype(),
        identifier_type: cdw10.pit(),
        identifier: entry.cdw12_13(),
        program_bytes: entry.cdw11.get(),
        offset: entry.cdw15.get(),
        len: entry.cdw14.get(),
        declared_ns: entry.cdw3.get(),
    };
    AdminCommand::LoadProgram { nsid, load }
}
