//! Submission queue entries of every command the drive knows, without data pointers.

use nvme_spec::command::{
    AbortCdw10, ActivationCdw10, CopyCdw12, CopySourceBlocks, CopySourceMemory, CopySourcePeer,
    CreateCqCdw11, CreateSqCdw11, DatasetCdw11, ExecuteCdw2, ExecuteCdw14, FeaturesCdw10,
    FormatCdw10, GetLogCdw10, IdentifyCdw10, IdentifyCdw11, JobGroupCdw10, JobGroupCdw11,
    LoadProgramCdw2, LoadProgramCdw10, MemoryCopyCdw12, MemoryRangeDescriptor, NamespaceCdw10,
    QueueCdw10, RangeSetCdw10, RangeSetCdw11, ReadWriteCdw12, RunTime, SanitizeCdw10,
    SelfTestCdw10, WriteZeroesCdw12, ZoneReceiveCdw13, ZoneSendCdw13,
};
use nvme_spec::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};
use nvme_spec::{
    AdminOpcode, CommandSet, MemoryOpcode, NvmOpcode, ProgramOpcode, SglDescriptor,
    SubmissionEntry, ZoneAction, ZoneOpcode, fid,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::queue::{CompletionQueueOptions, SubmissionQueueOptions};

fn entry(opcode: u8, nsid: u32) -> SubmissionEntry {
    SubmissionEntry { opcode, nsid: nsid.into(), ..Default::default() }
}

fn set_cdw10_11(entry: &mut SubmissionEntry, value: u64) {
    entry.cdw10.set(value as u32);
    entry.cdw11.set((value >> 32) as u32);
}

/// The same command with its data pointer.
pub fn with_data(mut entry: SubmissionEntry, (prp1, prp2): (u64, u64)) -> SubmissionEntry {
    entry.prp1.set(prp1);
    entry.prp2.set(prp2);
    entry
}

/// The same command with its data pointer as one SGL descriptor.
pub fn with_sgl(mut entry: SubmissionEntry, sgl: SglDescriptor) -> SubmissionEntry {
    let words = <[u64; 2]>::read_from_bytes(sgl.as_bytes()).expect("a descriptor is 16 bytes");
    entry.flags = entry.flags & 0x3F | 1 << 6;
    with_data(entry, (u64::from_le(words[0]), u64::from_le(words[1])))
}

/// Set Features of a value in dword 11.
pub fn set_feature(id: u8, nsid: u32, value: u32, save: bool) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::SET_FEATURES.0, nsid);
    e.cdw10.set(FeaturesCdw10::new().with_fid(id).with_sv(save).into_bits());
    e.cdw11.set(value);
    e
}

/// Get Features; `selector` is dword 11.
pub fn get_feature(id: u8, nsid: u32, select: u8, selector: u32) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::GET_FEATURES.0, nsid);
    e.cdw10.set(FeaturesCdw10::new().with_fid(id).with_sel(select).into_bits());
    e.cdw11.set(selector);
    e
}

/// Set Features: number of queues, true counts.
pub fn set_queue_count(pairs: u16) -> SubmissionEntry {
    let pairs_z = u32::from(pairs) - 1;
    set_feature(fid::NUMBER_OF_QUEUES, 0, pairs_z << 16 | pairs_z, false)
}

/// Create I/O Completion Queue, contiguous.
pub fn create_completion_queue(options: &CompletionQueueOptions, base: u64) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::CREATE_CQ.0, 0);
    let qsize_z = options.entries.wrapping_sub(1) as u16;
    e.cdw10.set(QueueCdw10::new().with_qid(options.id).with_qsize_z(qsize_z).into_bits());
    let vector = options.vector;
    let cdw11 = CreateCqCdw11::new().with_pc(true).with_ien(vector.is_some());
    e.cdw11.set(cdw11.with_iv(vector.unwrap_or(0)).into_bits());
    with_data(e, (base, 0))
}

/// Create I/O Submission Queue, contiguous.
pub fn create_submission_queue(options: &SubmissionQueueOptions, base: u64) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::CREATE_SQ.0, 0);
    let qsize_z = options.entries.wrapping_sub(1) as u16;
    e.cdw10.set(QueueCdw10::new().with_qid(options.id).with_qsize_z(qsize_z).into_bits());
    let cdw11 = CreateSqCdw11::new().with_pc(true).with_qprio(options.priority);
    e.cdw11.set(cdw11.with_cqid(options.completion_queue).into_bits());
    with_data(e, (base, 0))
}

fn delete_queue(opcode: AdminOpcode, qid: u16) -> SubmissionEntry {
    let mut e = entry(opcode.0, 0);
    e.cdw10.set(QueueCdw10::new().with_qid(qid).into_bits());
    e
}

/// Delete I/O Submission Queue.
pub fn delete_submission_queue(qid: u16) -> SubmissionEntry {
    delete_queue(AdminOpcode::DELETE_SQ, qid)
}

/// Delete I/O Completion Queue.
pub fn delete_completion_queue(qid: u16) -> SubmissionEntry {
    delete_queue(AdminOpcode::DELETE_CQ, qid)
}

/// Abort.
pub fn abort(sqid: u16, cid: u16) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::ABORT.0, 0);
    e.cdw10.set(AbortCdw10::new().with_sqid(sqid).with_cid(cid).into_bits());
    e
}

/// Asynchronous Event Request.
pub fn async_event_request() -> SubmissionEntry {
    entry(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0)
}

/// Keep Alive.
pub fn keep_alive() -> SubmissionEntry {
    entry(AdminOpcode::KEEP_ALIVE.0, 0)
}

/// Doorbell Buffer Config.
pub fn doorbell_buffers(shadow: u64, event_index: u64) -> SubmissionEntry {
    with_data(entry(AdminOpcode::DOORBELL_BUFFER_CONFIG.0, 0), (shadow, event_index))
}

/// Format NVM: LBA format index, secure erase settings.
pub fn format_nvm(nsid: u32, format: u8, erase: u8) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::FORMAT_NVM.0, nsid);
    e.cdw10.set(FormatCdw10::new().with_lbafl(format).with_ses(erase).into_bits());
    e
}

/// Namespace Management: creates an NVM namespace. Its data is a [`NamespaceSpecification`](nvme_spec::NamespaceSpecification) in
/// 4096 bytes.
pub fn create_namespace() -> SubmissionEntry {
    entry(AdminOpcode::NAMESPACE_MANAGEMENT.0, 0)
}

/// Namespace Management: deletes a namespace.
pub fn delete_namespace(nsid: u32) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::NAMESPACE_MANAGEMENT.0, nsid);
    e.cdw10.set(NamespaceCdw10::new().with_sel(1).into_bits());
    e
}

/// Namespace Attachment: attaches or detaches a namespace. Its data is a [`ControllerList`](nvme_spec::ControllerList).
pub fn attach_namespace(nsid: u32, attach: bool) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::NAMESPACE_ATTACHMENT.0, nsid);
    e.cdw10.set(NamespaceCdw10::new().with_sel((!attach).into()).into_bits());
    e
}

/// Sanitize: action, and passes of an overwrite.
pub fn sanitize(action: u8, passes: u8) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::SANITIZE.0, 0);
    e.cdw10.set(SanitizeCdw10::new().with_sanact(action).with_owpass(passes).into_bits());
    e
}

/// Device Self-test: 1 short, 2 extended, Fh abort.
pub fn self_test(nsid: u32, code: u8) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::SELF_TEST.0, nsid);
    e.cdw10.set(SelfTestCdw10::new().with_stc(code).into_bits());
    e
}

/// Identify.
pub fn identify(cns: u8, nsid: u32, csi: CommandSet) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::IDENTIFY.0, nsid);
    e.cdw10.set(IdentifyCdw10::new().with_cns(cns).into_bits());
    e.cdw11.set(IdentifyCdw11::new().with_csi(csi.0).into_bits());
    e
}

/// Get Log Page of `len` bytes, a multiple of four.
pub fn get_log(lid: u8, nsid: u32, csi: CommandSet, offset: u64, len: u64) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::GET_LOG_PAGE.0, nsid);
    let dwords_z = (len / 4 - 1) as u32;
    e.cdw10.set(GetLogCdw10::new().with_lid(lid).with_numdl(dwords_z as u16).into_bits());
    e.cdw11.set(dwords_z >> 16);
    e.cdw12.set(offset as u32);
    e.cdw13.set((offset >> 32) as u32);
    e.cdw14.set(u32::from(csi.0) << 24);
    e
}

/// NVM Read, Write, Compare or Verify of a true count of blocks.
pub fn read_write(opcode: NvmOpcode, first_block: u64, block_count: u32) -> SubmissionEntry {
    let mut e = entry(opcode.0, NVM_NSID);
    set_cdw10_11(&mut e, first_block);
    e.cdw12.set(ReadWriteCdw12::new().with_nlb_z((block_count - 1) as u16).into_bits());
    e
}

/// Zone Append of a true count of blocks to the zone that begins with a block. The block they were written to is the completion's result.
pub fn zone_append(zone: u64, block_count: u32) -> SubmissionEntry {
    let write = read_write(NvmOpcode::WRITE, zone, block_count);
    SubmissionEntry { opcode: ZoneOpcode::APPEND.0, ..write }
}

/// Zone Management Send for the zone that begins with a block, or for all of them.
pub fn zone_send(zone: u64, action: ZoneAction, is_all: bool) -> SubmissionEntry {
    let mut e = entry(ZoneOpcode::MANAGEMENT_SEND.0, NVM_NSID);
    set_cdw10_11(&mut e, zone);
    e.cdw13.set(ZoneSendCdw13::new().with_zsa(action.0).with_select_all(is_all).into_bits());
    e
}

/// Zone Management Receive: a report of zones from that of a block on, in so many bytes (a multiple of 4). The filter is one of
/// [`nvme_spec::zone_filter`].
pub fn zone_report(block: u64, len: u32, filter: u8, is_partial: bool) -> SubmissionEntry {
    let mut e = entry(ZoneOpcode::MANAGEMENT_RECEIVE.0, NVM_NSID);
    set_cdw10_11(&mut e, block);
    e.cdw12.set(len / 4 - 1);
    e.cdw13.set(ZoneReceiveCdw13::new().with_zrasf(filter).with_partial(is_partial).into_bits());
    e
}

/// Write Zeroes to a true count of blocks.
pub fn write_zeroes(first_block: u64, block_count: u32, deallocate: bool) -> SubmissionEntry {
    let mut e = entry(NvmOpcode::WRITE_ZEROES.0, NVM_NSID);
    set_cdw10_11(&mut e, first_block);
    let cdw12 = WriteZeroesCdw12::new().with_nlb_z((block_count - 1) as u16);
    e.cdw12.set(cdw12.with_deac(deallocate).into_bits());
    e
}

/// Dataset Management of a true count of ranges, with deallocation or without.
pub fn dataset_management(ranges: usize, deallocate: bool) -> SubmissionEntry {
    let mut e = entry(NvmOpcode::DATASET_MANAGEMENT.0, NVM_NSID);
    e.cdw10.set((ranges - 1) as u32);
    e.cdw11.set(DatasetCdw11::new().with_ad(deallocate).into_bits());
    e
}

/// Copy to blocks from `target` on, from a true count of source entries.
pub fn copy(target: u64, sources: usize, format: u8) -> SubmissionEntry {
    let mut e = entry(NvmOpcode::COPY.0, NVM_NSID);
    set_cdw10_11(&mut e, target);
    e.cdw12.set(CopyCdw12::new().with_nr_z((sources - 1) as u8).with_desfmt(format).into_bits());
    e
}

/// The two halves of a fused pair: to be enqueued one after the other and rung together.
pub fn fused(mut first: SubmissionEntry, mut second: SubmissionEntry) -> [SubmissionEntry; 2] {
    first.flags = first.flags & !3 | 1;
    second.flags = second.flags & !3 | 2;
    [first, second]
}

/// Flush of the NVM namespace.
pub fn flush() -> SubmissionEntry {
    entry(NvmOpcode::FLUSH.0, NVM_NSID)
}

/// Memory Read, Write or Fill.
pub fn memory(opcode: MemoryOpcode, start: u64, len: u32) -> SubmissionEntry {
    let mut e = entry(opcode.0, MEMORY_NSID);
    set_cdw10_11(&mut e, start);
    e.cdw12.set(len);
    e
}

/// Memory Copy of `len` bytes to `target` from a true count of source entries.
pub fn memory_copy(target: u64, len: u64, sources: usize, format: u8) -> SubmissionEntry {
    let mut e = entry(MemoryOpcode::COPY.0, MEMORY_NSID);
    e.cdw2.set(len as u32);
    e.cdw3.set((len >> 32) as u32);
    set_cdw10_11(&mut e, target);
    let cdw12 = MemoryCopyCdw12::new().with_nr_z((sources - 1) as u8).with_desfmt(format);
    e.cdw12.set(cdw12.into_bits());
    e
}

/// How long executions of a program that is loaded take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoadOptions {
    /// Where the time comes from, unless an execution says it.
    pub run_time: RunTime,
    /// Factor of measured times in tenths, 0 = the drive's.
    pub scale_tenths: u16,
}

impl LoadOptions {
    /// The same Load Program command with these options (vendor specific).
    pub fn apply(self, mut entry: SubmissionEntry) -> SubmissionEntry {
        let (model, declared_ns) = self.run_time.to_model();
        let cdw2 = LoadProgramCdw2::new().with_model(model).with_scale_tenths(self.scale_tenths);
        entry.cdw2.set(cdw2.into_bits());
        entry.cdw3.set(declared_ns);
        entry
    }
}

/// Load Program: a piece of `len` bytes at `offset` of a program of `total` bytes.
pub fn load_program(index: u16, kind: u8, total: u32, offset: u32, len: u32) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::LOAD_PROGRAM.0, COMPUTE_NSID);
    e.cdw10.set(LoadProgramCdw10::new().with_pind(index).with_ptype(kind).into_bits());
    e.cdw11.set(total);
    e.cdw14.set(len);
    e.cdw15.set(offset);
    e
}

/// Load Program, unload.
pub fn unload_program(index: u16) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::LOAD_PROGRAM.0, COMPUTE_NSID);
    e.cdw10.set(LoadProgramCdw10::new().with_pind(index).with_sel(true).into_bits());
    e
}

/// Program Activation Management.
pub fn activate_program(index: u16, activate: bool) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::PROGRAM_ACTIVATION.0, COMPUTE_NSID);
    e.cdw10.set(ActivationCdw10::new().with_pind(index).with_sel(activate.into()).into_bits());
    e
}

/// Memory Range Set Management, create.
pub fn create_range_set(count: u8) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::MEMORY_RANGE_SET.0, COMPUTE_NSID);
    e.cdw11.set(RangeSetCdw11::new().with_numr(count).into_bits());
    e
}

/// Memory Range Set Management, delete.
pub fn delete_range_set(rsid: u16) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::MEMORY_RANGE_SET.0, COMPUTE_NSID);
    e.cdw10.set(RangeSetCdw10::new().with_sel(1).with_rsid(rsid).into_bits());
    e
}

/// What the jobs of a group may claim, of which the drive's scheduler looks at some, and what limits them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupOptions {
    /// 1 to 1000: the share of unit time is in proportion to it.
    pub weight: u16,
    /// 1 to 9, the most urgent.
    pub priority: u8,
    /// Jobs are to be finished so many microseconds after they were submitted; 0 = no deadline.
    pub deadline_us: u32,
    /// Its jobs load and store so many kilobytes (1000 bytes) per second at most; 0 = no limit.
    pub bandwidth_kbps: u32,
    /// So many of its jobs are on units at a time at most, up to 4095; 0 = no limit.
    pub units_max: u16,
    /// Units that its jobs may use, a bit for each of the first 64; 0 = any.
    pub unit_mask: u64,
}

impl Default for GroupOptions {
    /// Those of the jobs of no group: weight 100, priority 5, no deadline, no limits.
    fn default() -> Self {
        Self {
            weight: 100,
            priority: 5,
            deadline_us: 0,
            bandwidth_kbps: 0,
            units_max: 0,
            unit_mask: 0,
        }
    }
}

/// Job Group Management (vendor): create a group.
pub fn create_group(options: &GroupOptions) -> SubmissionEntry {
    job_group(JobGroupCdw10::new(), options)
}

/// Job Group Management (vendor): delete a group.
pub fn delete_group(group: u16) -> SubmissionEntry {
    job_group(JobGroupCdw10::new().with_sel(1).with_group(group), &GroupOptions::default())
}

/// Job Group Management (vendor): give a group other options.
pub fn change_group(group: u16, options: &GroupOptions) -> SubmissionEntry {
    job_group(JobGroupCdw10::new().with_sel(2).with_group(group), options)
}

/// Mark (vendor): the host says how far it has come, in so many bytes of text.
pub fn mark(bytes: usize) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::MARK.0, 0);
    e.cdw10.set(bytes.div_ceil(4) as u32);
    e
}

fn job_group(cdw10: JobGroupCdw10, options: &GroupOptions) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::JOB_GROUP.0, COMPUTE_NSID);
    e.cdw10.set(cdw10.into_bits());
    let GroupOptions { weight, priority, .. } = *options;
    let cdw11 = JobGroupCdw11::new()
        .with_weight(weight)
        // A priority that has no bits is one that the drive refuses; more units than bits is no limit.
        .with_priority(priority.min(15))
        .with_units_max(options.units_max.min(4095));
    e.cdw11.set(cdw11.into_bits());
    e.cdw12.set(options.deadline_us);
    e.cdw13.set(options.bandwidth_kbps);
    e.cdw14.set(options.unit_mask as u32);
    e.cdw15.set((options.unit_mask >> 32) as u32);
    e
}

/// Execute Program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Execute {
    /// Program index.
    pub program_index: u16,
    /// Range set, 0 = none.
    pub rsid: u16,
    /// Range descriptors at the beginning of the data buffer.
    pub inline_ranges: u32,
    /// Bytes of the data buffer, range descriptors included.
    pub data_len: u32,
    /// First parameter.
    pub param1: i64,
    /// Second parameter.
    pub param2: i64,
    /// Job group, 0 = none.
    pub group: u8,
    /// Where its run time comes from (vendor specific).
    pub run_time: RunTime,
}

impl Execute {
    /// The submission queue entry.
    pub fn entry(&self) -> SubmissionEntry {
        let mut e = entry(ProgramOpcode::EXECUTE.0, COMPUTE_NSID);
        e.cdw2
            .set(ExecuteCdw2::new().with_pind(self.program_index).with_rsid(self.rsid).into_bits());
        e.cdw3.set(self.inline_ranges);
        e.cdw4.set(self.data_len);
        set_cdw10_11(&mut e, self.param1 as u64);
        e.cdw12.set(self.param2 as u32);
        e.cdw13.set((self.param2 as u64 >> 32) as u32);
        e.cdw14.set(ExecuteCdw14::new().with_group(self.group).into_bits());
        e.cdw15.set(self.run_time.to_execute());
        e
    }
}

/// The same command as a streaming execution (vendor specific) with chunks of so many blocks.
pub fn streaming(mut execute: SubmissionEntry, chunk_blocks: u32) -> SubmissionEntry {
    execute.opcode = ProgramOpcode::EXECUTE_STREAM.0;
    execute.cdw3.set(chunk_blocks);
    execute
}

/// A copy source entry (format 2h) for a true count of blocks.
pub fn copy_source(first_block: u64, count: u64) -> CopySourceBlocks {
    CopySourceBlocks {
        snsid: NVM_NSID.into(),
        slba: first_block.into(),
        nlb_z: ((count - 1) as u16).into(),
        ..Default::default()
    }
}

/// Blocks of one copy source entry (its NLB field has 16 bits).
pub(crate) const COPY_ENTRY_BLOCKS_MAX: u64 = 65_536;

/// Source entries that a count of blocks takes.
pub(crate) fn copy_sources_len(count: u64) -> u64 {
    count.div_ceil(COPY_ENTRY_BLOCKS_MAX)
}

/// As [`copy_source`], for any count: as many entries as that takes.
pub fn copy_sources(first_block: u64, count: u64) -> impl Iterator<Item = CopySourceBlocks> {
    (0..copy_sources_len(count)).map(move |n| {
        let at = n * COPY_ENTRY_BLOCKS_MAX;
        copy_source(first_block + at, (count - at).min(COPY_ENTRY_BLOCKS_MAX))
    })
}

/// A copy source entry (format 4h) for bytes of device memory.
pub fn copy_source_memory(start: u64, len: u32) -> CopySourceMemory {
    CopySourceMemory {
        snsid: MEMORY_NSID.into(),
        saddr: start.into(),
        nbyte: len.into(),
        ..Default::default()
    }
}

/// A copy source entry (format Fh, vendor) for bytes of device memory of another drive.
pub fn copy_source_peer(drive: u32, nsid: u32, start: u64, len: u32) -> CopySourcePeer {
    CopySourcePeer {
        snsid: nsid.into(),
        drive: drive.into(),
        saddr: start.into(),
        nbyte: len.into(),
        ..Default::default()
    }
}

/// A memory range descriptor.
pub fn memory_range(start: u64, len: u32) -> MemoryRangeDescriptor {
    MemoryRangeDescriptor {
        nsid: MEMORY_NSID.into(),
        length: len.into(),
        start: start.into(),
        ..Default::default()
    }
}
