//! Admin commands (Base 2.1, section 5).

use nvme_spec::command::{
    AbortCdw10, ActivationCdw10, CreateCqCdw11, CreateSqCdw11, FeaturesCdw10, FormatCdw10,
    GetLogCdw10, GetLogCdw14, IdentifyCdw10, IdentifyCdw11, JobGroupCdw10, JobGroupCdw11,
    LoadProgramCdw10, QueueCdw10, RangeSetCdw10, RangeSetCdw11, SanitizeCdw10, SelfTestCdw10,
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
    /// Log specific parameter.
    pub(crate) lsp: u8,
    /// The event that led here stays reported.
    pub(crate) retain_event: bool,
    pub(crate) csi: CommandSet,
    pub(crate) nsid: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Set Features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetFeatures {
    pub(crate) fid: u8,
    pub(crate) save: bool,
    pub(crate) nsid: u32,
    pub(crate) value: u32,
}

/// Get Features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GetFeatures {
    pub(crate) fid: u8,
    pub(crate) select: u8,
    pub(crate) nsid: u32,
    pub(crate) selector: u32,
}

/// How a format erases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Erase {
    Nothing,
    UserData,
    Cryptographic,
}

/// Format NVM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) nsid: u32,
    pub(crate) format: u8,
    pub(crate) erase: Erase,
}

/// What a Sanitize command starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SanitizeAction {
    ExitFailureMode,
    BlockErase,
    Overwrite { passes: u8 },
    CryptoErase,
}

/// What a Device Self-test command does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SelfTest {
    Start { is_extended: bool },
    Abort,
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

/// What a Job Group Management command does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupAction {
    Create { weight: u16 },
    Delete { group: u16 },
    Change { group: u16, weight: u16 },
}

/// Create I/O Submission Queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreateSq {
    pub(crate) qid: u16,
    pub(crate) entries: u32,
    pub(crate) base: u64,
    pub(crate) cqid: u16,
    pub(crate) priority: u8,
}

/// An admin command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AdminCommand {
    Identify(Identify),
    GetLog(GetLog),
    CreateCq { qid: u16, entries: u32, base: u64, vector: Option<u16> },
    CreateSq(CreateSq),
    DeleteCq { qid: u16 },
    DeleteSq { qid: u16 },
    Abort { sqid: u16, cid: u16 },
    SetFeatures(SetFeatures),
    GetFeatures(GetFeatures),
    AsyncEventRequest,
    KeepAlive,
    DoorbellBuffers { shadow: u64, event_index: u64 },
    Format(Format),
    Sanitize { action: SanitizeAction, cdw10: u32 },
    SelfTest { nsid: u32, test: SelfTest },
    LoadProgram { nsid: u32, load: LoadProgram },
    UnloadProgram { nsid: u32, program_index: u16 },
    Activate { nsid: u32, program_index: u16, activate: bool },
    CreateRangeSet { nsid: u32, count: u8 },
    DeleteRangeSet { nsid: u32, rsid: u16 },
    JobGroup { nsid: u32, action: GroupAction },
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
                let (qid, cqid, priority) = (queue.qid(), flags.cqid(), flags.qprio());
                Ok(Self::CreateSq(CreateSq { qid, entries, base, cqid, priority }))
            }
            AdminOpcode::DELETE_CQ => {
                Ok(Self::DeleteCq { qid: QueueCdw10::from_bits(cdw10).qid() })
            }
            AdminOpcode::DELETE_SQ => {
                Ok(Self::DeleteSq { qid: QueueCdw10::from_bits(cdw10).qid() })
            }
            AdminOpcode::ABORT => {
                let named = AbortCdw10::from_bits(cdw10);
                Ok(Self::Abort { sqid: named.sqid(), cid: named.cid() })
            }
            AdminOpcode::SET_FEATURES => {
                let feature = FeaturesCdw10::from_bits(cdw10);
                let (fid, save, value) = (feature.fid(), feature.sv(), cdw11);
                Ok(Self::SetFeatures(SetFeatures { fid, save, nsid, value }))
            }
            AdminOpcode::GET_FEATURES => {
                let feature = FeaturesCdw10::from_bits(cdw10);
                let (fid, select, selector) = (feature.fid(), feature.sel(), cdw11);
                if select > nvme_spec::select::CAPABILITIES {
                    return Err(invalid);
                }
                Ok(Self::GetFeatures(GetFeatures { fid, select, nsid, selector }))
            }
            AdminOpcode::ASYNC_EVENT_REQUEST => Ok(Self::AsyncEventRequest),
            AdminOpcode::KEEP_ALIVE => Ok(Self::KeepAlive),
            AdminOpcode::DOORBELL_BUFFER_CONFIG => {
                let (shadow, event_index) = (entry.prp1.get(), entry.prp2.get());
                let is_page = |address: u64| address != 0 && address.is_multiple_of(PAGE_SIZE);
                if !is_page(shadow) || !is_page(event_index) {
                    return Err(invalid);
                }
                Ok(Self::DoorbellBuffers { shadow, event_index })
            }
            AdminOpcode::FORMAT_NVM => decode_format(nsid, FormatCdw10::from_bits(cdw10)),
            AdminOpcode::SANITIZE => {
                let action = decode_sanitize(SanitizeCdw10::from_bits(cdw10))?;
                Ok(Self::Sanitize { action, cdw10 })
            }
            AdminOpcode::SELF_TEST => {
                let test = match SelfTestCdw10::from_bits(cdw10).stc() {
                    1 => SelfTest::Start { is_extended: false },
                    2 => SelfTest::Start { is_extended: true },
                    0xF => SelfTest::Abort,
                    _ => return Err(invalid),
                };
                Ok(Self::SelfTest { nsid, test })
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
            AdminOpcode::JOB_GROUP => {
                let fields = JobGroupCdw10::from_bits(cdw10);
                let (group, weight) = (fields.group(), JobGroupCdw11::from_bits(cdw11).weight());
                let action = match fields.sel() {
                    0 => GroupAction::Create { weight },
                    1 => GroupAction::Delete { group },
                    2 => GroupAction::Change { group, weight },
                    _ => return Err(invalid),
                };
                Ok(Self::JobGroup { nsid, action })
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

fn decode_format(nsid: u32, fields: FormatCdw10) -> Result<AdminCommand, Status> {
    // Formats here have neither metadata nor protection information.
    if fields.mset() || fields.pi() != 0 || fields.pil() {
        return Err(Status::INVALID_FORMAT.with_dnr());
    }
    let erase = match fields.ses() {
        0 => Erase::Nothing,
        1 => Erase::UserData,
        2 => Erase::Cryptographic,
        _ => return Err(Status::INVALID_FIELD.with_dnr()),
    };
    let format = fields.lbafu() << 4 | fields.lbafl();
    Ok(AdminCommand::Format(Format { nsid, format, erase }))
}

/// Data is always deallocated afterwards (SANICAP.NDI), and there is no media verification state.
fn decode_sanitize(fields: SanitizeCdw10) -> Result<SanitizeAction, Status> {
    if fields.ndas() || fields.emvs() {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    match fields.sanact() {
        1 => Ok(SanitizeAction::ExitFailureMode),
        2 => Ok(SanitizeAction::BlockErase),
        3 => {
            let passes = if fields.owpass() == 0 { 16 } else { fields.owpass() };
            Ok(SanitizeAction::Overwrite { passes })
        }
        4 => Ok(SanitizeAction::CryptoErase),
        _ => Err(Status::INVALID_FIELD.with_dnr()),
    }
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
        lsp: cdw10.lsp(),
        retain_event: cdw10.rae(),
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
