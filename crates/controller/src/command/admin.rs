//! Admin commands (Base 2.1, section 5).

use nvme_spec::command::{
    AbortCdw10, ActivationCdw10, CreateCqCdw11, CreateSqCdw11, FeaturesCdw10, FormatCdw10,
    GetLogCdw10, GetLogCdw14, IdentifyCdw10, IdentifyCdw11, JobGroupCdw10, JobGroupCdw11,
    LoadProgramCdw2, LoadProgramCdw10, NamespaceCdw10, NamespaceManagementCdw11, QueueCdw10,
    RangeSetCdw10, RangeSetCdw11, RunTime, SanitizeCdw10, SelfTestCdw10,
};
use nvme_spec::{
    AdminOpcode, Cid, CommandSet, CqId, Nsid, PAGE_SIZE, SqId, Status, SubmissionEntry,
};

/// Identify.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identify {
    pub(crate) cns: u8,
    /// Controller from which on a list of controllers begins (CNTID).
    pub(crate) controller: u16,
    pub(crate) csi: CommandSet,
    pub(crate) nsid: Nsid,
}

/// Get Log Page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GetLog {
    pub(crate) lid: u8,
    /// Log specific parameter.
    pub(crate) lsp: u8,
    /// Log specific identifier.
    pub(crate) lsi: u16,
    /// The event that led here stays reported.
    pub(crate) retain_event: bool,
    pub(crate) csi: CommandSet,
    pub(crate) nsid: Nsid,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Set Features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetFeatures {
    pub(crate) fid: u8,
    pub(crate) save: bool,
    pub(crate) nsid: Nsid,
    pub(crate) value: u32,
    /// Dword 12.
    pub(crate) more: u32,
}

/// Get Features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GetFeatures {
    pub(crate) fid: u8,
    pub(crate) select: u8,
    pub(crate) nsid: Nsid,
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
    pub(crate) nsid: Nsid,
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
    /// Vendor: how the run time of its executions is found, from dwords 2 and 3.
    pub(crate) run_time: RunTime,
    /// Vendor: factor of measured times in tenths, from dword 2; 0 = the drive's.
    pub(crate) scale_tenths: u16,
}

/// What a Job Group Management command does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupAction {
    Create(GroupFields),
    Delete { group: u16 },
    Change(u16, GroupFields),
}

/// What a group is to have, not checked yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupFields {
    pub(crate) weight: u16,
    /// 0 = the default.
    pub(crate) priority: u8,
    /// 0 = none.
    pub(crate) deadline_us: u32,
    /// 0 = no limit.
    pub(crate) units_max: u16,
    /// 0 = no limit.
    pub(crate) bandwidth_kbps: u32,
    /// 0 = any.
    pub(crate) unit_mask: u64,
}

/// Create I/O Submission Queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreateSq {
    pub(crate) sqid: SqId,
    pub(crate) entries: u32,
    pub(crate) base: u64,
    pub(crate) cqid: CqId,
    pub(crate) priority: u8,
}

/// Create I/O Completion Queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreateCq {
    pub(crate) cqid: CqId,
    pub(crate) entries: u32,
    pub(crate) base: u64,
    pub(crate) vector: Option<u16>,
}

/// Namespace Management and Namespace Attachment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NamespaceAction {
    Create { set: CommandSet },
    Delete,
    Attach,
    Detach,
}

/// What a program management command asks of the programs namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProgramAction {
    Load(LoadProgram),
    Unload { program_index: u16 },
    Activate { program_index: u16, activate: bool },
    CreateRangeSet { count: u8 },
    DeleteRangeSet { rsid: u16 },
    Group(GroupAction),
}

/// An admin command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AdminCommand {
    Identify(Identify),
    GetLog(GetLog),
    CreateCq(CreateCq),
    CreateSq(CreateSq),
    DeleteCq { cqid: CqId },
    DeleteSq { sqid: SqId },
    Abort { sqid: SqId, cid: Cid },
    SetFeatures(SetFeatures),
    GetFeatures(GetFeatures),
    AsyncEventRequest,
    KeepAlive,
    DoorbellBuffers { shadow: u64, event_index: u64 },
    Format(Format),
    Sanitize { action: SanitizeAction, cdw10: u32 },
    SelfTest { nsid: Nsid, test: SelfTest },
    Programs { nsid: Nsid, action: ProgramAction },
    Namespaces { nsid: Nsid, action: NamespaceAction },
    Mark { len: u64 },
}

impl AdminCommand {
    pub(crate) fn decode(entry: &SubmissionEntry) -> Result<Self, Status> {
        let invalid = Status::INVALID_FIELD.with_dnr();
        let (cdw10, cdw11) = (entry.cdw10.get(), entry.cdw11.get());
        let nsid = Nsid(entry.nsid.get());
        match AdminOpcode(entry.opcode) {
            AdminOpcode::IDENTIFY => {
                let fields = IdentifyCdw10::from_bits(cdw10);
                let (cns, controller) = (fields.cns(), fields.cntid());
                let csi = CommandSet(IdentifyCdw11::from_bits(cdw11).csi());
                Ok(Self::Identify(Identify { cns, controller, csi, nsid }))
            }
            AdminOpcode::GET_LOG_PAGE => decode_get_log(entry),
            AdminOpcode::CREATE_CQ => {
                let (queue, flags) =
                    (QueueCdw10::from_bits(cdw10), CreateCqCdw11::from_bits(cdw11));
                let base = contiguous_base(flags.pc(), entry.prp1.get())?;
                let vector = flags.ien().then(|| flags.iv());
                let entries = u32::from(queue.qsize_z()) + 1;
                let cqid = CqId(queue.qid());
                Ok(Self::CreateCq(CreateCq { cqid, entries, base, vector }))
            }
            AdminOpcode::CREATE_SQ => {
                let (queue, flags) =
                    (QueueCdw10::from_bits(cdw10), CreateSqCdw11::from_bits(cdw11));
                let base = contiguous_base(flags.pc(), entry.prp1.get())?;
                let entries = u32::from(queue.qsize_z()) + 1;
                let (sqid, cqid) = (SqId(queue.qid()), CqId(flags.cqid()));
                let priority = flags.qprio();
                Ok(Self::CreateSq(CreateSq { sqid, entries, base, cqid, priority }))
            }
            AdminOpcode::DELETE_CQ => {
                Ok(Self::DeleteCq { cqid: CqId(QueueCdw10::from_bits(cdw10).qid()) })
            }
            AdminOpcode::DELETE_SQ => {
                Ok(Self::DeleteSq { sqid: SqId(QueueCdw10::from_bits(cdw10).qid()) })
            }
            AdminOpcode::ABORT => {
                let named = AbortCdw10::from_bits(cdw10);
                Ok(Self::Abort { sqid: SqId(named.sqid()), cid: Cid(named.cid()) })
            }
            AdminOpcode::SET_FEATURES => {
                let feature = FeaturesCdw10::from_bits(cdw10);
                let (fid, save, value) = (feature.fid(), feature.sv(), cdw11);
                let more = entry.cdw12.get();
                Ok(Self::SetFeatures(SetFeatures { fid, save, nsid, value, more }))
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
            AdminOpcode::LOAD_PROGRAM => Ok(Self::Programs { nsid, action: decode_load(entry)? }),
            AdminOpcode::PROGRAM_ACTIVATION
            | AdminOpcode::MEMORY_RANGE_SET
            | AdminOpcode::JOB_GROUP => {
                let action = decode_program_action(entry)?;
                Ok(Self::Programs { nsid, action })
            }
            AdminOpcode::NAMESPACE_MANAGEMENT => {
                let set = CommandSet(NamespaceManagementCdw11::from_bits(cdw11).csi());
                let action = match NamespaceCdw10::from_bits(cdw10).sel() {
                    0 => NamespaceAction::Create { set },
                    1 => NamespaceAction::Delete,
                    _ => return Err(invalid),
                };
                Ok(Self::Namespaces { nsid, action })
            }
            AdminOpcode::NAMESPACE_ATTACHMENT => {
                let action = match NamespaceCdw10::from_bits(cdw10).sel() {
                    0 => NamespaceAction::Attach,
                    1 => NamespaceAction::Detach,
                    _ => return Err(invalid),
                };
                Ok(Self::Namespaces { nsid, action })
            }
            // Dword 10 counts dwords (Base 2.1, section 4.4).
            AdminOpcode::MARK => Ok(Self::Mark { len: u64::from(cdw10) * 4 }),
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

fn decode_format(nsid: Nsid, fields: FormatCdw10) -> Result<AdminCommand, Status> {
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
        lsi: (entry.cdw11.get() >> 16) as u16,
        retain_event: cdw10.rae(),
        csi: CommandSet(cdw14.csi()),
        nsid: Nsid(entry.nsid.get()),
        offset,
        len: dwords * 4,
    }))
}

fn decode_load(entry: &SubmissionEntry) -> Result<ProgramAction, Status> {
    let cdw10 = LoadProgramCdw10::from_bits(entry.cdw10.get());
    if cdw10.sel() {
        return Ok(ProgramAction::Unload { program_index: cdw10.pind() });
    }
    let cdw2 = LoadProgramCdw2::from_bits(entry.cdw2.get());
    let run_time = RunTime::of_model(cdw2.model(), entry.cdw3.get());
    Ok(ProgramAction::Load(LoadProgram {
        program_index: cdw10.pind(),
        program_type: cdw10.ptype(),
        identifier_type: cdw10.pit(),
        identifier: entry.cdw12_13(),
        program_bytes: entry.cdw11.get(),
        offset: entry.cdw15.get(),
        len: entry.cdw14.get(),
        run_time: run_time.ok_or(Status::INVALID_FIELD.with_dnr())?,
        scale_tenths: cdw2.scale_tenths(),
    }))
}

fn decode_program_action(entry: &SubmissionEntry) -> Result<ProgramAction, Status> {
    let invalid = Status::INVALID_FIELD.with_dnr();
    let (cdw10, cdw11) = (entry.cdw10.get(), entry.cdw11.get());
    match AdminOpcode(entry.opcode) {
        AdminOpcode::PROGRAM_ACTIVATION => {
            let fields = ActivationCdw10::from_bits(cdw10);
            let activate = match fields.sel() {
                0 => false,
                1 => true,
                _ => return Err(invalid),
            };
            Ok(ProgramAction::Activate { program_index: fields.pind(), activate })
        }
        AdminOpcode::MEMORY_RANGE_SET => {
            let fields = RangeSetCdw10::from_bits(cdw10);
            match fields.sel() {
                0 => {
                    let count = RangeSetCdw11::from_bits(cdw11).numr();
                    Ok(ProgramAction::CreateRangeSet { count })
                }
                1 => Ok(ProgramAction::DeleteRangeSet { rsid: fields.rsid() }),
                _ => Err(invalid),
            }
        }
        _ => {
            let fields = JobGroupCdw10::from_bits(cdw10);
            let (group, cdw11) = (fields.group(), JobGroupCdw11::from_bits(cdw11));
            let to = GroupFields {
                weight: cdw11.weight(),
                priority: cdw11.priority(),
                deadline_us: entry.cdw12.get(),
                units_max: cdw11.units_max(),
                bandwidth_kbps: entry.cdw13.get(),
                unit_mask: u64::from(entry.cdw15.get()) << 32 | u64::from(entry.cdw14.get()),
            };
            Ok(ProgramAction::Group(match fields.sel() {
                0 => GroupAction::Create(to),
                1 => GroupAction::Delete { group },
                2 => GroupAction::Change(group, to),
                _ => return Err(invalid),
            }))
        }
    }
}
