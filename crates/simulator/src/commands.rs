//! Submission queue entries of every command the drive knows, without data pointers.

use controller::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};
use nvme_spec::command::{
    ActivationCdw10, CreateCqCdw11, CreateSqCdw11, ExecuteCdw2, FeaturesCdw10, GetLogCdw10,
    IdentifyCdw10, IdentifyCdw11, LoadProgramCdw10, MemoryCopyCdw12, QueueCdw10, RangeSetCdw10,
    RangeSetCdw11, ReadWriteCdw12,
};
use nvme_spec::{AdminOpcode, CommandSet, MemoryOpcode, NvmOpcode, ProgramOpcode, SubmissionEntry};

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

/// Set Features: number of queues, true counts.
pub fn set_queue_count(pairs: u16) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::SET_FEATURES.0, 0);
    e.cdw10.set(FeaturesCdw10::new().with_fid(7).into_bits());
    let pairs_z = u32::from(pairs) - 1;
    e.cdw11.set(pairs_z << 16 | pairs_z);
    e
}

/// Create I/O Completion Queue, contiguous, with interrupts on the vector of its number.
pub fn create_cq(qid: u16, entries: u32, base: u64) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::CREATE_CQ.0, 0);
    let qsize_z = (entries - 1) as u16;
    e.cdw10.set(QueueCdw10::new().with_qid(qid).with_qsize_z(qsize_z).into_bits());
    e.cdw11.set(CreateCqCdw11::new().with_pc(true).with_ien(true).with_iv(qid).into_bits());
    with_data(e, (base, 0))
}

/// Create I/O Submission Queue, contiguous, completing to the queue of the same number.
pub fn create_sq(qid: u16, entries: u32, base: u64) -> SubmissionEntry {
    let mut e = entry(AdminOpcode::CREATE_SQ.0, 0);
    let qsize_z = (entries - 1) as u16;
    e.cdw10.set(QueueCdw10::new().with_qid(qid).with_qsize_z(qsize_z).into_bits());
    e.cdw11.set(CreateSqCdw11::new().with_pc(true).with_cqid(qid).into_bits());
    with_data(e, (base, 0))
}

/// Delete I/O Submission or Completion Queue.
pub fn delete_queue(opcode: AdminOpcode, qid: u16) -> SubmissionEntry {
    let mut e = entry(opcode.0, 0);
    e.cdw10.set(QueueCdw10::new().with_qid(qid).into_bits());
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

/// NVM Read or Write of a true count of blocks.
pub fn read_write(opcode: NvmOpcode, first_block: u64, block_count: u32) -> SubmissionEntry {
    let mut e = entry(opcode.0, NVM_NSID);
    set_cdw10_11(&mut e, first_block);
    e.cdw12.set(ReadWriteCdw12::new().with_nlb_z((block_count - 1) as u16).into_bits());
    e
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
        e
    }
}
