//! The reference: what a drive holds and what it answers, written as simply as possible and without
//! any notion of time.

use std::collections::BTreeMap;

use client::commands::{self, Execute, read_write};
use client::commands::{copy_source, memory_range};
use nvme_spec::command::{CopySourceMemory, DatasetRange, copy_format, program_type};
use nvme_spec::namespace::{ALL_NSID, MEMORY_NSID, NVM_NSID};
use nvme_spec::{
    CommandSet, HostBehavior, IdentifyNamespaceNvm, MemoryOpcode, NvmOpcode, Status,
    SubmissionEntry, cns, fid, lid, select,
};
use simtime::Prng;
use zerocopy::IntoBytes;

use crate::script::{CAPACITY, Command, Extent, Image, MEMORY, QUEUES, TRANSFER_MAX};

const PAGE: u64 = 4096;
const DOUBLE: &[u8] = include_bytes!("../../../../examples/programs/double.bpf.o");

/// What one byte range has become.
pub(crate) type Change = (u64, Vec<u8>);

/// What a command does when it succeeds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    pub(crate) blocks: Vec<Change>,
    /// Flash pages that hold something from now on, or nothing.
    pub(crate) pages: Vec<(u64, bool)>,
    pub(crate) memory: Vec<Change>,
    pub(crate) state: Option<StateChange>,
}

/// What a command changes besides data.
#[derive(Clone, Debug)]
pub(crate) enum StateChange {
    Piece { index: u16, image: Image, restart: bool, len: u32, total: u32 },
    Unload(u16),
    Activate(u16, bool),
    CreateSet(u16, Vec<Extent>),
    DeleteSet(u16),
    Feature { id: u8, value: u32, save: bool },
    CopyFormats(u16),
    Format(u64),
    Sanitize,
}

/// What is to be checked of the data that comes back.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    Nothing,
    Bytes(Vec<u8>),
    /// These bytes at these places.
    Fields(Vec<(usize, Vec<u8>)>),
}

/// A command with all that the reference knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) entry: SubmissionEntry,
    pub(crate) is_admin: bool,
    /// Bytes for the drive.
    pub(crate) send: Vec<u8>,
    /// Bytes from the drive.
    pub(crate) receive: u64,
    /// Status before the data pointer is looked at.
    pub(crate) early: Option<Status>,
    /// Statuses it may end with once its data is there; none = success.
    pub(crate) late: Vec<Status>,
    /// It may also succeed.
    pub(crate) may_succeed: bool,
    /// What it may end with because of a command that was submitted after it.
    pub(crate) raced: Option<Status>,
    pub(crate) expect: Expect,
    pub(crate) result: Option<u64>,
    pub(crate) effect: Effect,
    /// The effect is there although the status is an error.
    pub(crate) acts_in_error: bool,
    /// Nothing else may be under way.
    pub(crate) is_exclusive: bool,
    /// Bytes of blocks and of memory that it reads or writes, and whether it writes.
    pub(crate) blocks: Vec<(Extent, bool)>,
    pub(crate) memory: Vec<(Extent, bool)>,
    /// Program and set that it uses.
    pub(crate) uses: Option<(u16, u16)>,
}

impl Plan {
    fn new(entry: SubmissionEntry) -> Self {
        Self {
            entry,
            is_admin: false,
            send: Vec::new(),
            receive: 0,
            early: None,
            late: Vec::new(),
            may_succeed: false,
            raced: None,
            expect: Expect::Nothing,
            result: None,
            effect: Effect::default(),
            acts_in_error: false,
            is_exclusive: false,
            blocks: Vec::new(),
            memory: Vec::new(),
            uses: None,
        }
    }

    fn admin(entry: SubmissionEntry) -> Self {
        Self { is_admin: true, is_exclusive: true, ..Self::new(entry) }
    }

    /// An Asynchronous Event Request, one too many or not.
    pub(crate) fn event(entry: SubmissionEntry, is_too_many: bool) -> Self {
        let early = is_too_many.then_some(Status::EVENT_LIMIT_EXCEEDED);
        Self { is_admin: true, early, ..Self::new(entry) }
    }

    fn fails_late(&mut self, status: Status) {
        self.late.push(status);
        self.may_succeed = false;
    }

    fn verdict(mut self, verdict: Result<(), Status>) -> Self {
        self.early = verdict.err();
        self
    }
}

/// A program slot.
#[derive(Clone, Debug)]
struct Slot {
    image: Image,
    total: u32,
    received: u32,
    is_loaded: bool,
    is_active: bool,
}

/// Whether a flash page holds something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Written {
    No,
    Yes,
    Maybe,
}

/// The reference.
#[derive(Debug)]
pub(crate) struct Reference {
    has_write_cache: bool,
    pub(crate) block_bytes: u64,
    pub(crate) blocks: Vec<u8>,
    pub(crate) memory: Vec<u8>,
    pages: Vec<Written>,
    slots: BTreeMap<u16, Slot>,
    sets: BTreeMap<u16, Vec<Extent>>,
    current: BTreeMap<u8, u32>,
    saved: BTreeMap<u8, u32>,
    copy_formats: u16,
    write_protected: bool,
    /// A sanitize began that the runner has not waited for.
    pub(crate) was_sanitized: bool,
}

fn factory() -> BTreeMap<u8, u32> {
    BTreeMap::from([
        (fid::ARBITRATION, 3),
        (fid::TEMPERATURE_THRESHOLD, 343),
        (fid::ERROR_RECOVERY, 0),
        (fid::VOLATILE_WRITE_CACHE, 1),
        (fid::INTERRUPT_COALESCING, 0),
        (fid::WRITE_ATOMICITY, 0),
        (fid::ASYNC_EVENTS, 0),
        (fid::COPY_FORMATS, 0),
    ])
}

fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    Prng::new(seed).fill(&mut bytes);
    bytes
}

fn overlap(a: Extent, b: Extent) -> bool {
    a.0 < b.0 + b.1 && b.0 < a.0 + a.1
}

impl Reference {
    pub(crate) fn new(has_write_cache: bool) -> Self {
        Self {
            has_write_cache,
            block_bytes: 4096,
            blocks: vec![0; CAPACITY as usize],
            memory: vec![0; MEMORY as usize],
            pages: vec![Written::No; (CAPACITY / PAGE) as usize],
            slots: BTreeMap::new(),
            sets: BTreeMap::new(),
            current: factory(),
            saved: factory(),
            copy_formats: 0,
            write_protected: false,
            was_sanitized: false,
        }
    }

    /// For a test of the test: believes that the namespace is protected.
    pub(crate) fn pretend_write_protection(&mut self) {
        self.write_protected = true;
    }

    /// A controller reset.
    pub(crate) fn reset(&mut self) {
        self.current = self.saved.clone();
        self.copy_formats = 0;
    }

    pub(crate) fn is_dulbe(&self) -> bool {
        self.current[&fid::ERROR_RECOVERY] & 1 << 16 != 0
    }

    pub(crate) fn error_recovery(&self) -> u32 {
        self.current[&fid::ERROR_RECOVERY]
    }

    // Ranges.

    fn extent(&self, (first, count): Extent) -> Result<Extent, Status> {
        let len = count * self.block_bytes;
        if len > TRANSFER_MAX {
            return Err(Status::INVALID_FIELD);
        }
        self.in_namespace((first, count))
    }

    fn in_namespace(&self, (first, count): Extent) -> Result<Extent, Status> {
        match first.checked_add(count) {
            Some(end) if end <= CAPACITY / self.block_bytes => {
                Ok((first * self.block_bytes, count * self.block_bytes))
            }
            _ => Err(Status::LBA_OUT_OF_RANGE),
        }
    }

    fn in_memory((start, len): Extent) -> Result<Extent, Status> {
        match start.checked_add(len) {
            Some(end) if end <= MEMORY => Ok((start, len)),
            _ => Err(Status::INVALID_FIELD),
        }
    }

    fn words((start, len): Extent) -> Result<(), Status> {
        if start % 4 == 0 && len % 4 == 0 { Ok(()) } else { Err(Status::INVALID_FIELD) }
    }

    fn writable(&self) -> Result<(), Status> {
        if self.write_protected { Err(Status::WRITE_PROTECTED) } else { Ok(()) }
    }

    fn block_bytes_of(&self, (start, len): Extent) -> Vec<u8> {
        self.blocks[start as usize..(start + len) as usize].to_vec()
    }

    fn memory_bytes_of(&self, (start, len): Extent) -> Vec<u8> {
        self.memory[start as usize..(start + len) as usize].to_vec()
    }

    fn pages_of((start, len): Extent) -> std::ops::Range<u64> {
        if len == 0 { 0..0 } else { start / PAGE..(start + len - 1) / PAGE + 1 }
    }

    /// Statuses of reading blocks with DULBE in force; whether it may succeed too.
    fn unwritten(&self, extent: Extent) -> (Vec<Status>, bool) {
        if !self.is_dulbe() {
            return (Vec::new(), false);
        }
        let pages: Vec<Written> = Self::pages_of(extent).map(|p| self.pages[p as usize]).collect();
        if pages.contains(&Written::No) {
            (vec![Status::UNWRITTEN_BLOCK], false)
        } else if pages.contains(&Written::Maybe) {
            (vec![Status::UNWRITTEN_BLOCK], true)
        } else {
            (Vec::new(), false)
        }
    }

    fn writes(plan: &mut Plan, extent: Extent, bytes: Vec<u8>) {
        plan.effect.pages.extend(Self::pages_of(extent).map(|page| (page, true)));
        plan.effect.blocks.push((extent.0, bytes));
        plan.blocks.push((extent, true));
    }

    /// What the reference knows of a command; `seed` is for the data it brings.
    pub(crate) fn plan(&self, command: &Command, seed: u64) -> Plan {
        match command {
            Command::Flush { .. }
            | Command::Read { .. }
            | Command::Write { .. }
            | Command::Compare { .. }
            | Command::Verify { .. }
            | Command::WriteZeroes { .. }
            | Command::Deallocate { .. } => self.plan_nvm(command, seed),
            Command::Copy { target, sources, format } => self.plan_copy(*target, sources, *format),
            Command::MemoryRead { .. }
            | Command::MemoryWrite { .. }
            | Command::MemoryFill { .. } => self.plan_memory(command, seed),
            Command::MemoryCopy { target, sources, format, len_off } => {
                self.plan_memory_copy(*target, sources, *format, *len_off)
            }
            Command::Execute { index, set, ranges } => self.plan_execute(*index, *set, ranges),
            Command::UnknownNamespace { opcode } => {
                // One that a namespace could have, or one that none can.
                let (nsid, status) = match opcode % 2 {
                    0 => (9, Status::INVALID_FIELD),
                    _ => (129, Status::INVALID_NAMESPACE),
                };
                let entry =
                    SubmissionEntry { opcode: *opcode, nsid: nsid.into(), ..Default::default() };
                Plan::new(entry).verdict(Err(status))
            }
            other => self.plan_admin(other, seed),
        }
    }

    fn plan_nvm(&self, command: &Command, seed: u64) -> Plan {
        match command {
            Command::Flush { all } => {
                let mut entry = commands::flush();
                entry.nsid.set(if *all { ALL_NSID } else { NVM_NSID });
                Plan::new(entry)
            }
            Command::Read { blocks } => {
                let mut plan = Plan::new(read_write(NvmOpcode::READ, blocks.0, blocks.1 as u32));
                plan.receive = blocks.1 * self.block_bytes;
                let Ok(extent) = self.extent(*blocks) else {
                    return plan.verdict(self.extent(*blocks).map(drop));
                };
                (plan.late, plan.may_succeed) = self.unwritten(extent);
                plan.expect = Expect::Bytes(self.block_bytes_of(extent));
                plan.blocks.push((extent, false));
                plan
            }
            Command::Write { blocks, fua } => {
                let mut entry = read_write(NvmOpcode::WRITE, blocks.0, blocks.1 as u32);
                entry.cdw12.set(entry.cdw12.get() | u32::from(*fua) << 30);
                let mut plan = Plan::new(entry);
                plan.send = noise(seed, blocks.1 * self.block_bytes);
                match self.extent(*blocks).and_then(|e| self.writable().map(|()| e)) {
                    Ok(extent) => {
                        let bytes = plan.send.clone();
                        Self::writes(&mut plan, extent, bytes);
                    }
                    Err(status) => plan.early = Some(status),
                }
                plan
            }
            Command::Compare { blocks, different } => {
                let mut plan = Plan::new(read_write(NvmOpcode::COMPARE, blocks.0, blocks.1 as u32));
                plan.send = vec![0; (blocks.1 * self.block_bytes) as usize];
                let Ok(extent) = self.extent(*blocks) else {
                    return plan.verdict(self.extent(*blocks).map(drop));
                };
                plan.send = self.block_bytes_of(extent);
                (plan.late, plan.may_succeed) = self.unwritten(extent);
                if *different {
                    let at = (seed % extent.1) as usize;
                    plan.send[at] ^= 1;
                    if plan.late.is_empty() || plan.may_succeed {
                        plan.late.push(Status::COMPARE_FAILURE);
                    }
                    plan.may_succeed = false;
                }
                plan.blocks.push((extent, false));
                plan
            }
            Command::Verify { blocks } => {
                let mut plan = Plan::new(read_write(NvmOpcode::VERIFY, blocks.0, blocks.1 as u32));
                match self.in_namespace(*blocks) {
                    Ok(extent) => {
                        (plan.late, plan.may_succeed) = self.unwritten(extent);
                        plan.blocks.push((extent, false));
                    }
                    Err(status) => plan.early = Some(status),
                }
                plan
            }
            Command::WriteZeroes { blocks, deallocate } => {
                let entry = commands::write_zeroes(blocks.0, blocks.1 as u32, *deallocate);
                let mut plan = Plan::new(entry);
                match self.in_namespace(*blocks).and_then(|e| self.writable().map(|()| e)) {
                    Ok(extent) => {
                        Self::writes(&mut plan, extent, vec![0; extent.1 as usize]);
                        if *deallocate {
                            plan.effect.pages.extend(whole_pages(extent).map(|page| (page, false)));
                        }
                    }
                    Err(status) => plan.early = Some(status),
                }
                plan
            }
            Command::Deallocate { ranges } => self.plan_deallocate(ranges),
            other => unreachable!("{other:?} is not planned here"),
        }
    }

    fn plan_deallocate(&self, ranges: &[Extent]) -> Plan {
        let mut plan = Plan::new(commands::dataset_management(ranges.len(), true));
        let list: Vec<_> = ranges
            .iter()
            .map(|(first, count)| DatasetRange {
                nlb: (*count as u32).into(),
                slba: (*first).into(),
                ..Default::default()
            })
            .collect();
        plan.send = list.as_bytes().to_vec();
        plan.early = self.writable().err();
        let extents: Result<Vec<_>, _> = ranges.iter().map(|r| self.in_namespace(*r)).collect();
        match extents {
            Ok(extents) => {
                for extent in extents {
                    plan.blocks.push((extent, true));
                    for page in whole_pages(extent) {
                        plan.effect.pages.push((page, false));
                        plan.effect.blocks.push((page * PAGE, vec![0; PAGE as usize]));
                    }
                }
            }
            Err(status) => plan.late.push(status),
        }
        plan
    }

    /// Source entries as bytes.
    fn source_list(sources: &[Extent], format: u8) -> Vec<u8> {
        let mut list = Vec::new();
        for (start, count) in sources {
            if format == copy_format::MEMORY {
                let source = CopySourceMemory {
                    snsid: MEMORY_NSID.into(),
                    saddr: (*start).into(),
                    nbyte: (*count as u32).into(),
                    ..Default::default()
                };
                list.extend(source.as_bytes());
            } else {
                list.extend(copy_source(*start, *count).as_bytes());
                let wide =
                    matches!(format, copy_format::OWN_BLOCKS_WIDE | copy_format::BLOCKS_WIDE);
                list.extend(vec![0; if wide { 8 } else { 0 }]);
            }
        }
        list
    }

    /// The bytes of sources, with where they are.
    fn gather(
        &self,
        plan: &mut Plan,
        sources: &[Extent],
        format: u8,
    ) -> Result<(Vec<u8>, Vec<Extent>), Status> {
        let (mut bytes, mut extents) = (Vec::new(), Vec::new());
        for source in sources {
            if format == copy_format::MEMORY {
                let extent = Self::in_memory(*source)?;
                Self::words(extent)?;
                bytes.extend(self.memory_bytes_of(extent));
                plan.memory.push((extent, false));
                extents.push(extent);
            } else {
                let extent = self.in_namespace(*source)?;
                plan.blocks.push((extent, false));
                match self.unwritten(extent) {
                    (errors, false) if !errors.is_empty() => return Err(Status::UNWRITTEN_BLOCK),
                    (errors, in_doubt) => {
                        plan.late.extend(errors);
                        plan.may_succeed |= in_doubt;
                    }
                }
                bytes.extend(self.block_bytes_of(extent));
                extents.push(extent);
            }
        }
        Ok((bytes, extents))
    }

    fn plan_copy(&self, target: u64, sources: &[Extent], format: u8) -> Plan {
        let mut plan = Plan::new(commands::copy(target, sources.len(), format));
        plan.send = Self::source_list(sources, format);
        let enabled = u32::from(self.copy_formats) | self.current[&fid::COPY_FORMATS];
        let known = format < 2 || format < 5 && enabled & 1 << format != 0;
        plan.early = if known { self.writable().err() } else { Some(Status::INVALID_FIELD) };
        let done = self.gather(&mut plan, sources, format).and_then(|(bytes, extents)| {
            let len = bytes.len() as u64;
            if len == 0 || !len.is_multiple_of(self.block_bytes) {
                return Err(Status::INVALID_FIELD);
            }
            let extent = self.in_namespace((target, len / self.block_bytes))?;
            let shares =
                format != copy_format::MEMORY && extents.iter().any(|e| overlap(*e, extent));
            if shares { Err(Status::OVERLAPPING_IO_RANGE) } else { Ok((extent, bytes)) }
        });
        match done {
            Ok((extent, bytes)) => Self::writes(&mut plan, extent, bytes),
            Err(status) => plan.fails_late(status),
        }
        plan
    }

    fn plan_memory(&self, command: &Command, seed: u64) -> Plan {
        let (opcode, bytes) = match command {
            Command::MemoryRead { bytes } => (MemoryOpcode::READ, *bytes),
            Command::MemoryWrite { bytes } => (MemoryOpcode::WRITE, *bytes),
            Command::MemoryFill { bytes } => (MemoryOpcode::FILL, *bytes),
            other => unreachable!("{other:?} is not planned here"),
        };
        let mut plan = Plan::new(commands::memory(opcode, bytes.0, bytes.1 as u32));
        let checked = Self::words(bytes).and_then(|()| Self::in_memory(bytes));
        plan.early = checked.err();
        match opcode {
            MemoryOpcode::READ => plan.receive = bytes.1,
            MemoryOpcode::WRITE => plan.send = noise(seed, bytes.1),
            _ => {}
        }
        let Ok(extent) = checked else { return plan };
        match opcode {
            MemoryOpcode::READ => plan.expect = Expect::Bytes(self.memory_bytes_of(extent)),
            MemoryOpcode::WRITE => plan.effect.memory.push((extent.0, plan.send.clone())),
            _ => plan.effect.memory.push((extent.0, vec![0; extent.1 as usize])),
        }
        plan.memory.push((extent, opcode != MemoryOpcode::READ));
        plan
    }

    fn plan_memory_copy(&self, target: u64, sources: &[Extent], format: u8, len_off: u8) -> Plan {
        let unit = if format == copy_format::MEMORY { 1 } else { self.block_bytes };
        let len = sources.iter().map(|(_, n)| n * unit).sum::<u64>() + u64::from(len_off);
        let mut plan = Plan::new(commands::memory_copy(target, len, sources.len(), format));
        plan.send = Self::source_list(sources, format);
        let known = (2..5).contains(&format);
        let checked = Self::words((target, len))
            .and_then(|()| Self::in_memory((target, len)))
            .and_then(|extent| if known { Ok(extent) } else { Err(Status::INVALID_FIELD) });
        plan.early = checked.err();
        let done = self.gather(&mut plan, sources, format).and_then(|(bytes, extents)| {
            if bytes.len() as u64 != len {
                return Err(Status::INVALID_FIELD);
            }
            let shares = checked.is_ok()
                && format == copy_format::MEMORY
                && extents.iter().any(|e| overlap(*e, (target, len)));
            if shares { Err(Status::OVERLAPPING_IO_RANGE) } else { Ok(bytes) }
        });
        match done {
            Ok(bytes) if checked.is_ok() => {
                plan.effect.memory.push((target, bytes));
                plan.memory.push(((target, len), true));
            }
            Ok(_) => {}
            Err(status) => plan.fails_late(status),
        }
        plan
    }

    fn plan_execute(&self, index: u16, set: Option<u16>, ranges: &[Extent]) -> Plan {
        let inline = if set.is_some() { &[] } else { ranges };
        let list: Vec<_> = inline.iter().map(|(s, n)| memory_range(*s, *n as u32)).collect();
        let rsid = set.unwrap_or(0);
        let command = Execute {
            program_index: index,
            rsid,
            inline_ranges: list.len() as u32,
            data_len: 32 * list.len() as u32,
            ..Default::default()
        };
        let mut plan = Plan::new(command.entry());
        plan.send = list.as_bytes().to_vec();
        let slot = match self.slot(index) {
            Ok(slot) if slot.is_active => slot,
            Ok(_) => return plan.verdict(Err(Status::PROGRAM_NOT_ACTIVATED)),
            Err(status) => return plan.verdict(Err(status)),
        };
        let ranges = match (rsid, self.sets.get(&rsid)) {
            (0, _) => inline,
            (_, Some(ranges)) => ranges,
            _ => return plan.verdict(Err(Status::INVALID_MEMORY_RANGE_SET_ID)),
        };
        plan.uses = Some((index, rsid));
        if let Err(status) = Self::check_ranges(ranges) {
            plan.late.push(status);
            return plan;
        }
        plan.memory.extend(ranges.iter().map(|range| (*range, true)));
        plan.result = Some(0);
        if slot.image == Image::Double {
            self.double(&mut plan, ranges);
        }
        plan
    }

    /// What the program does: numbers of range 1, doubled, into range 0, as far as it reaches.
    fn double(&self, plan: &mut Plan, ranges: &[Extent]) {
        plan.acts_in_error = true;
        let [out, input, ..] = ranges else {
            plan.late.push(Status::PROGRAM_MEMORY_FAULT);
            return;
        };
        let count = input.1 / 4;
        let fits = count.min(out.1 / 4);
        let bytes = self.memory_bytes_of((input.0, 4 * fits));
        let doubled = bytes.chunks_exact(4).flat_map(|n| {
            let n = i32::from_le_bytes(n.try_into().expect("four bytes"));
            n.wrapping_mul(2).to_le_bytes()
        });
        plan.effect.memory.push((out.0, doubled.collect()));
        if fits < count {
            plan.late.push(Status::PROGRAM_MEMORY_FAULT);
        }
        plan.result = Some(count);
    }

    fn check_ranges(ranges: &[Extent]) -> Result<(), Status> {
        for (n, range) in ranges.iter().enumerate() {
            Self::in_memory(*range).map_err(|_| Status::INVALID_MEMORY_RANGE_SET)?;
            if ranges[..n].iter().any(|earlier| overlap(*earlier, *range)) {
                return Err(Status::OVERLAPPING_MEMORY_RANGES);
            }
        }
        Ok(())
    }

    fn slot(&self, index: u16) -> Result<&Slot, Status> {
        if index >= 1024 {
            return Err(Status::INVALID_PROGRAM_INDEX);
        }
        self.slots.get(&index).ok_or(Status::NO_PROGRAM)
    }

    fn plan_admin(&self, command: &Command, seed: u64) -> Plan {
        match command {
            Command::LoadPiece { index, image, offset, len } => {
                self.plan_load(*index, *image, *offset, *len)
            }
            Command::Unload { index } => {
                let mut plan = Plan::admin(commands::unload_program(*index));
                plan.effect.state = Some(StateChange::Unload(*index));
                let in_use = |slot: &Slot| match slot.is_active {
                    true => Err(Status::PROGRAM_IN_USE),
                    false => Ok(()),
                };
                plan.verdict(self.slot(*index).and_then(in_use))
            }
            Command::Activate { index, on } => {
                let mut plan = Plan::admin(commands::activate_program(*index, *on));
                plan.effect.state = Some(StateChange::Activate(*index, *on));
                let verdict = self.slot(*index).and_then(|slot| match (*on, slot.is_active) {
                    (true, false) if !slot.is_loaded => Err(Status::INVALID_PROGRAM_DATA),
                    (false, false) => Err(Status::PROGRAM_NOT_ACTIVATED),
                    _ => Ok(()),
                });
                plan.verdict(verdict)
            }
            Command::CreateSet { ranges } => {
                let mut plan = Plan::admin(commands::create_range_set(ranges.len() as u8));
                let list: Vec<_> =
                    ranges.iter().map(|(s, n)| memory_range(*s, *n as u32)).collect();
                plan.send = list.as_bytes().to_vec();
                plan.late.extend(Self::check_ranges(ranges).err());
                let id = (1..).find(|id| !self.sets.contains_key(id)).expect("few sets");
                plan.result = Some(id.into());
                plan.effect.state = Some(StateChange::CreateSet(id, ranges.clone()));
                plan
            }
            Command::DeleteSet { id } => {
                let mut plan = Plan::admin(commands::delete_range_set(*id));
                plan.effect.state = Some(StateChange::DeleteSet(*id));
                let known = self.sets.contains_key(id);
                plan.verdict(known.then_some(()).ok_or(Status::INVALID_MEMORY_RANGE_SET_ID))
            }
            Command::SetFeature { id, value, save } => self.plan_set_feature(*id, *value, *save),
            Command::GetFeature { id, select } => self.plan_get_feature(*id, *select),
            Command::EnableCopyFormats { formats } => {
                let entry = commands::set_feature(fid::HOST_BEHAVIOR, 0, 0, false);
                let mut plan = Plan::admin(entry);
                let behavior = HostBehavior { cdfe: (*formats).into(), ..Default::default() };
                plan.send = behavior.as_bytes().to_vec();
                if formats & !0b1_1100 != 0 {
                    plan.late.push(Status::INVALID_FIELD);
                }
                plan.effect.state = Some(StateChange::CopyFormats(*formats));
                plan
            }
            Command::Identify { cns, nsid } => self.plan_identify(*cns, *nsid),
            Command::GetLog { lid, nsid, offset, len } => self.plan_log(*lid, *nsid, *offset, *len),
            Command::SelfTest { code } => {
                let mut plan = Plan::admin(commands::self_test(0, *code));
                match code {
                    1 | 2 => {
                        // One that began before may be over or not.
                        plan.late.push(Status::SELF_TEST_IN_PROGRESS);
                        plan.may_succeed = true;
                    }
                    15 => {}
                    _ => plan.early = Some(Status::INVALID_FIELD),
                }
                plan
            }
            Command::Format { format, erase } => {
                let mut plan = Plan::admin(commands::format_nvm(NVM_NSID, *format, *erase));
                plan.effect.state = Some(StateChange::Format([512, 4096, 0][usize::from(*format)]));
                plan.early = match (*erase, *format) {
                    (3, _) => Some(Status::INVALID_FIELD),
                    (_, 2) => Some(Status::INVALID_FORMAT),
                    _ => self.writable().err(),
                };
                plan
            }
            Command::Sanitize { action } => {
                let mut plan = Plan::admin(commands::sanitize(*action, 1 + (seed % 3) as u8));
                plan.early = match action {
                    1 => None,
                    2..5 => {
                        plan.effect.state = Some(StateChange::Sanitize);
                        self.writable().err()
                    }
                    _ => Some(Status::INVALID_FIELD),
                };
                plan
            }
            Command::KeepAlive => Plan::admin(commands::keep_alive()),
            Command::UnknownOpcode { opcode } => {
                let entry = SubmissionEntry { opcode: *opcode, ..Default::default() };
                Plan::admin(entry).verdict(Err(Status::INVALID_OPCODE))
            }
            other => unreachable!("{other:?} is not planned here"),
        }
    }

    fn plan_load(&self, index: u16, image: Image, offset: u32, len: u32) -> Plan {
        let (kind, bytes): (u8, &[u8]) = match image {
            Image::Double => (program_type::EBPF, DOUBLE),
            Image::Declared => (program_type::DECLARED, &[0x10, 0x27, 0, 0, 0, 0, 0, 0]),
            Image::Garbage => (program_type::EBPF, &[0x55; 1000]),
        };
        let total = bytes.len() as u32;
        let len = if len == u32::MAX { total } else { len };
        let mut plan = Plan::admin(commands::load_program(index, kind, total, offset, len));
        let mut piece = bytes.get(offset as usize..).unwrap_or(&[]).to_vec();
        piece.resize(len as usize, 0);
        plan.send = piece;
        plan.early = if index >= 1024 {
            Some(Status::INVALID_PROGRAM_INDEX)
        } else if offset + len > total {
            Some(Status::PROGRAM_TOO_BIG)
        } else {
            None
        };
        let slot = self.slots.get(&index);
        let unfinished = slot.filter(|slot| !slot.is_loaded);
        let restart = offset == 0;
        let continues = match unfinished {
            _ if restart => true,
            Some(slot) => slot.image == image && slot.received == offset,
            None => false,
        };
        plan.effect.state = Some(StateChange::Piece { index, image, restart, len, total });
        if slot.is_some_and(|slot| slot.is_loaded) {
            plan.late.push(Status::PROGRAM_IN_USE);
        } else if !continues || offset + len == total && image == Image::Garbage {
            // What came before is dropped.
            plan.late.push(Status::INVALID_PROGRAM_DATA);
            plan.effect.state = Some(StateChange::Unload(index));
            plan.acts_in_error = true;
        }
        plan
    }

    fn plan_set_feature(&self, id: u8, value: u32, save: bool) -> Plan {
        let specific = matches!(id, fid::ERROR_RECOVERY | fid::WRITE_PROTECTION);
        let nsid = if specific { NVM_NSID } else { 0 };
        let mut plan = Plan::admin(commands::set_feature(id, nsid, value, save));
        plan.effect.state = Some(StateChange::Feature { id, value, save });
        match id {
            fid::TIMESTAMP => plan.send = u64::from(value).to_le_bytes().to_vec(),
            fid::HOST_BEHAVIOR => {
                plan.send = vec![0; 512];
                plan.effect.state = Some(StateChange::CopyFormats(0));
            }
            _ => {}
        }
        if id == fid::VOLATILE_WRITE_CACHE && !self.has_write_cache {
            return plan.verdict(Err(Status::INVALID_FIELD));
        }
        if save && !factory().contains_key(&id) {
            return plan.verdict(Err(Status::FEATURE_NOT_SAVEABLE));
        }
        plan.early = match (id, value) {
            (fid::VOLATILE_WRITE_CACHE | fid::WRITE_ATOMICITY | fid::WRITE_PROTECTION, 2..) => {
                Some(Status::INVALID_FIELD)
            }
            (fid::COPY_FORMATS, formats) if formats & !0b1_1100 != 0 => Some(Status::INVALID_FIELD),
            (fid::POWER_MANAGEMENT, 1..) => Some(Status::INVALID_FIELD),
            (fid::INTERRUPT_VECTOR, vector) if vector & 0xFFFF > u32::from(QUEUES) => {
                Some(Status::INVALID_FIELD)
            }
            (fid::COMMAND_SET_PROFILE, 1..) => Some(Status::COMMAND_SET_COMBINATION_REJECTED),
            _ => None,
        };
        if id == fid::NUMBER_OF_QUEUES {
            // It depends on whether there are I/O queues.
            plan.late.push(Status::COMMAND_SEQUENCE_ERROR);
            plan.may_succeed = true;
        }
        plan
    }

    fn plan_get_feature(&self, id: u8, select: u8) -> Plan {
        let specific = matches!(id, fid::ERROR_RECOVERY | fid::WRITE_PROTECTION);
        let nsid = if specific { NVM_NSID } else { 0 };
        let mut plan = Plan::admin(commands::get_feature(id, nsid, select, 0));
        plan.receive = match id {
            _ if select >= select::CAPABILITIES => 0,
            fid::TIMESTAMP => 8,
            fid::HOST_BEHAVIOR => 512,
            _ => 0,
        };
        let is_absent = id == fid::VOLATILE_WRITE_CACHE && !self.has_write_cache;
        if select > select::CAPABILITIES || is_absent {
            return plan.verdict(Err(Status::INVALID_FIELD));
        }
        let saveable = factory().contains_key(&id);
        plan.result = match select {
            select::CAPABILITIES => Some(4 | u64::from(saveable) | u64::from(specific) << 1),
            select::CURRENT if id == fid::WRITE_PROTECTION => Some(self.write_protected.into()),
            select::CURRENT => self.current.get(&id).map(|v| u64::from(*v)),
            select::DEFAULT => factory().get(&id).map(|v| u64::from(*v)),
            _ => self.saved.get(&id).map(|v| u64::from(*v)),
        };
        if id == fid::HOST_BEHAVIOR && select == select::CURRENT {
            plan.expect = Expect::Fields(vec![(4, self.copy_formats.to_le_bytes().to_vec())]);
        }
        plan
    }

    fn plan_identify(&self, cns: u8, nsid: u32) -> Plan {
        let mut plan = Plan::admin(commands::identify(cns, nsid, CommandSet::NVM));
        plan.receive = 4096;
        let exists = (1..4).contains(&nsid);
        // An identifier without a namespace is told so by zeroes.
        let valid = (1..=128).contains(&nsid).then_some(()).ok_or(Status::INVALID_NAMESPACE);
        let nvm_only = match nsid {
            NVM_NSID => Ok(()),
            _ if exists => Err(Status::INVALID_FIELD),
            _ => valid,
        };
        let any = match valid {
            Ok(()) if !exists => Err(Status::INVALID_FIELD),
            valid => valid,
        };
        let verdict = match cns {
            cns::NAMESPACE
            | cns::ALLOCATED_NAMESPACE
            | cns::ATTACHED_CONTROLLERS
            | cns::INDEPENDENT_NAMESPACE => valid,
            cns::CSI_NAMESPACE | cns::CSI_ALLOCATED_NAMESPACE => nvm_only,
            cns::CONTROLLER
            | cns::CONTROLLERS
            | cns::ENDURANCE_GROUPS
            | cns::ALLOCATED_NAMESPACES
            | cns::CSI_ALLOCATED_NAMESPACES
            | cns::ACTIVE_NAMESPACES
            | cns::CSI_CONTROLLER
            | cns::CSI_ACTIVE_NAMESPACES
            | cns::COMMAND_SETS => Ok(()),
            cns::NAMESPACE_DESCRIPTORS => any,
            _ => Err(Status::INVALID_FIELD),
        };
        let protected = u8::from(self.write_protected);
        if cns == cns::NAMESPACE && nsid == NVM_NSID {
            let blocks = CAPACITY / self.block_bytes;
            plan.expect = Expect::Fields(vec![
                (0, blocks.to_le_bytes().to_vec()),
                (26, vec![u8::from(self.block_bytes == 4096)]),
                (99, vec![protected]),
            ]);
            assert_eq!(core::mem::offset_of!(IdentifyNamespaceNvm, flbas), 26);
        } else if cns == cns::INDEPENDENT_NAMESPACE && nsid == NVM_NSID {
            plan.expect = Expect::Fields(vec![(8, vec![protected]), (14, vec![1])]);
        }
        plan.verdict(verdict)
    }

    fn plan_log(&self, id: u8, nsid: u32, offset: u64, len: u64) -> Plan {
        let mut plan = Plan::admin(commands::get_log(id, nsid, CommandSet::NVM, offset, len));
        plan.receive = len;
        let of_programs = matches!(
            id,
            lid::PROGRAM_LIST
                | lid::PROGRAM_TYPES
                | lid::RANGE_SETS
                | lid::PROGRAM_DIAGNOSTICS
                | lid::PROGRAM_TRACE
                | lid::JOB_GROUPS
        );
        let right_namespace = match of_programs {
            true => nsid == 3,
            false => matches!(nsid, 0..4 | ALL_NSID),
        };
        let ranges: usize = self.sets.values().map(Vec::len).sum();
        let page_len = match id {
            lid::SUPPORTED_PAGES | lid::FEATURE_EFFECTS => Some(1024),
            lid::SMART | lid::FIRMWARE_SLOT | lid::SANITIZE_STATUS => Some(512),
            // These hosts ask for no snapshot.
            lid::TELEMETRY_HOST | lid::TELEMETRY_CONTROLLER => Some(512),
            lid::ERROR | lid::CHANGED_NAMESPACES | lid::EFFECTS | lid::MANAGEMENT_EFFECTS => {
                Some(4096)
            }
            lid::SELF_TEST => Some(564),
            lid::REACHABILITY_GROUPS => Some(16 + 3 * 36),
            lid::REACHABILITY_ASSOCIATIONS => Some(16 + 2 * 40),
            lid::PROGRAM_LIST => Some(64 + 64 * 1024),
            lid::PROGRAM_TYPES => Some(96),
            // These hosts make no groups: there is the one of jobs of none.
            lid::JOB_GROUPS => Some(16 + 72),
            lid::DRIVE_COUNTERS => Some(240),
            // The drive is alone.
            lid::PEERS => Some(16),
            lid::ENDURANCE_GROUP => Some(512),
            // Two channels, four dies, two units.
            lid::DRIVE_PARTS => Some(48 + 8 * 8),
            lid::RANGE_SETS => Some(16 + 16 * self.sets.len() + 32 * ranges),
            _ => None,
        };
        plan.early = if len > TRANSFER_MAX {
            Some(Status::INVALID_FIELD)
        } else if !right_namespace {
            // An identifier that a namespace could have, or that is of another kind.
            Some(if nsid == 9 { Status::INVALID_FIELD } else { Status::INVALID_NAMESPACE })
        } else if !lid::ALL.contains(&id) {
            Some(Status::INVALID_LOG_PAGE)
        } else if id == lid::ENDURANCE_GROUP {
            // These hosts name no group.
            Some(Status::INVALID_FIELD)
        } else if page_len.is_some_and(|page| offset > page as u64) {
            Some(Status::INVALID_FIELD)
        } else {
            None
        };
        if page_len.is_none() && offset > 0 {
            // The text may be shorter.
            plan.late.push(Status::INVALID_FIELD);
            plan.may_succeed = true;
        }
        if offset == 0 && plan.early.is_none() {
            plan.expect = match id {
                lid::PROGRAM_LIST => Expect::Fields(self.program_list(len as usize)),
                lid::RANGE_SETS => {
                    Expect::Fields(vec![(0, (self.sets.len() as u32).to_le_bytes().to_vec())])
                }
                _ => Expect::Nothing,
            };
        }
        plan
    }

    /// Descriptors of the first slots, as far as a length reaches.
    fn program_list(&self, len: usize) -> Vec<(usize, Vec<u8>)> {
        let state = |index: u16| match self.slots.get(&index) {
            Some(slot) => 1 | u8::from(slot.is_active) << 2,
            None => 0,
        };
        let fields = (0..8).map(|index| (64 + 64 * usize::from(index), vec![state(index)]));
        fields.filter(|(at, _)| *at < len).collect()
    }

    // Effects.

    /// A command did what it does.
    pub(crate) fn apply(&mut self, effect: &Effect) {
        for (start, bytes) in &effect.blocks {
            self.blocks[*start as usize..*start as usize + bytes.len()].copy_from_slice(bytes);
        }
        for (page, is_written) in &effect.pages {
            self.pages[*page as usize] = if *is_written { Written::Yes } else { Written::No };
        }
        for (start, bytes) in &effect.memory {
            self.memory[*start as usize..*start as usize + bytes.len()].copy_from_slice(bytes);
        }
        if let Some(change) = &effect.state {
            self.change(change);
        }
    }

    fn change(&mut self, change: &StateChange) {
        match change {
            StateChange::Piece { index, image, restart, len, total } => {
                let received = match self.slots.get(index) {
                    Some(slot) if !restart => slot.received + len,
                    _ => *len,
                };
                let (image, total) = (*image, *total);
                let is_loaded = received == total;
                let slot = Slot { image, total, received, is_loaded, is_active: false };
                assert!(slot.received <= slot.total, "more pieces than program");
                self.slots.insert(*index, slot);
            }
            StateChange::Unload(index) => drop(self.slots.remove(index)),
            StateChange::Activate(index, on) => {
                self.slots.get_mut(index).expect("it was there").is_active = *on;
            }
            StateChange::CreateSet(id, ranges) => drop(self.sets.insert(*id, ranges.clone())),
            StateChange::DeleteSet(id) => drop(self.sets.remove(id)),
            StateChange::Feature { id, value, save } => self.set_feature(*id, *value, *save),
            StateChange::CopyFormats(formats) => self.copy_formats = *formats,
            StateChange::Format(block_bytes) => {
                self.block_bytes = *block_bytes;
                self.erase();
            }
            StateChange::Sanitize => {
                self.was_sanitized = true;
                self.erase();
                self.memory.fill(0);
            }
        }
    }

    fn erase(&mut self) {
        self.blocks.fill(0);
        self.pages.fill(Written::No);
    }

    fn set_feature(&mut self, id: u8, value: u32, save: bool) {
        if id == fid::WRITE_PROTECTION {
            self.write_protected = value == 1;
        } else if let Some(current) = self.current.get_mut(&id) {
            *current = value;
            if save {
                self.saved.insert(id, value);
            }
        }
    }

    /// A command may have done what it does or not: pages are in doubt. Data is for the caller to
    /// find out.
    pub(crate) fn doubt(&mut self, effect: &Effect) {
        for (page, _) in &effect.pages {
            self.pages[*page as usize] = Written::Maybe;
        }
    }
}

/// Pages that lie wholly in an extent.
fn whole_pages((start, len): Extent) -> std::ops::Range<u64> {
    let (first, end) = (start.div_ceil(PAGE), (start + len) / PAGE);
    first..end.max(first)
}

/// Fields of a structure as bytes, for messages.
pub(crate) fn check_fields(
    bytes: &[Option<u8>],
    fields: &[(usize, Vec<u8>)],
) -> Result<(), String> {
    for (at, expected) in fields {
        for (n, expected) in expected.iter().enumerate() {
            if let Some(Some(got)) = bytes.get(at + n)
                && got != expected
            {
                return Err(format!("byte {}: got {got:#x}, expected {expected:#x}", at + n));
            }
        }
    }
    Ok(())
}
