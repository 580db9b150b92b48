//! Log pages of the compute namespace: programs, program types, memory range sets, job groups.

use nvme_spec::command::{MemoryRangeDescriptor, program_type};
use nvme_spec::{
    JobGroupEntry, JobGroupsHeader, ProgramDescriptor, ProgramListHeader, ProgramTypeDescriptor,
    ProgramTypesHeader, RangeSetEntry, RangeSetsHeader,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::limits::PROGRAM_SLOTS;
use crate::namespace::MEMORY_NSID;
use crate::namespace::compute::{ComputeNamespace, is_in_use};

/// Program list: a descriptor for every slot.
pub(super) fn programs(compute: &ComputeNamespace) -> Vec<u8> {
    let mut header = ProgramListHeader::new_zeroed();
    header.numd = u32::from(PROGRAM_SLOTS).into();
    let mut page = header.as_bytes().to_vec();
    for index in 0..PROGRAM_SLOTS {
        let slot = compute.slots.get(&index);
        let descriptor = slot.map(|slot| ProgramDescriptor {
            // Downloaded; activated; identifier type.
            state: 1 | u8::from(slot.active) << 2 | slot.identifier_type << 3,
            ptype: slot.program_type,
            pid: slot.identifier.into(),
            ..Default::default()
        });
        page.extend(descriptor.unwrap_or_default().as_bytes());
    }
    page
}

/// Downloadable program types.
pub(super) fn types() -> Vec<u8> {
    let types = [(program_type::EBPF, "eBPF"), (program_type::DECLARED, "declared time")];
    let mut header = ProgramTypesHeader::new_zeroed();
    header.numd = (types.len() as u32).into();
    let mut page = header.as_bytes().to_vec();
    for (ptype, name) in types {
        let mut descriptor = ProgramTypeDescriptor::new_zeroed();
        descriptor.ptype = ptype;
        descriptor.specific[..name.len()].copy_from_slice(name.as_bytes());
        page.extend(descriptor.as_bytes());
    }
    page
}

/// Memory range sets with their ranges, by identifier.
pub(super) fn range_sets(compute: &ComputeNamespace) -> Vec<u8> {
    let mut header = RangeSetsHeader::new_zeroed();
    header.sets = (compute.sets.len() as u32).into();
    let mut page = header.as_bytes().to_vec();
    for (id, set) in &compute.sets {
        let mut entry = RangeSetEntry::new_zeroed();
        entry.rsid = (*id).into();
        entry.state = u8::from(is_in_use(set));
        entry.numr = set.len() as u8;
        page.extend(entry.as_bytes());
        for range in set.iter() {
            let descriptor = MemoryRangeDescriptor {
                nsid: MEMORY_NSID.into(),
                length: (range.len as u32).into(),
                start: range.offset.into(),
                ..Default::default()
            };
            page.extend(descriptor.as_bytes());
        }
    }
    page
}

/// Job groups, and what their jobs did.
pub(super) fn groups(engine: &compute::Engine) -> Vec<u8> {
    let entries: Vec<JobGroupEntry> = engine
        .groups()
        .map(|group| JobGroupEntry {
            id: u16::from(group.group.0).into(),
            weight: group.weight.into(),
            jobs: group.jobs.into(),
            finished: group.finished.into(),
            ran_ns: group.ran.as_ns().into(),
            reserved24: [0; 8],
        })
        .collect();
    let mut header = JobGroupsHeader::new_zeroed();
    header.groups = (entries.len() as u32).into();
    [header.as_bytes(), entries.as_bytes()].concat()
}
