//! Log pages of a programs namespace: programs, program types, memory range sets, job groups.

use std::num::NonZeroU16;

use nvme_spec::command::{MemoryRangeDescriptor, program_type};
use nvme_spec::{
    JobGroupEntry, JobGroupsHeader, ProgramDescriptor, ProgramListHeader, ProgramTypeDescriptor,
    ProgramTypesHeader, RangeSetEntry, RangeSetsHeader,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::limits::PROGRAM_SLOTS;
use crate::namespace::programs::{ProgramsNamespace, is_in_use};
use crate::subsystem::Subsystem;

/// Program list: a descriptor for every slot.
pub(super) fn programs(namespace: &ProgramsNamespace) -> Vec<u8> {
    let mut header = ProgramListHeader::new_zeroed();
    header.numd = u32::from(PROGRAM_SLOTS).into();
    let mut page = header.as_bytes().to_vec();
    for index in 0..PROGRAM_SLOTS {
        let slot = namespace.slots.get(&index);
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
pub(super) fn types(subsystem: &Subsystem) -> Vec<u8> {
    let native = &subsystem.config.native;
    let mut types = vec![(program_type::EBPF, "eBPF"), (program_type::DECLARED, "declared time")];
    if native.upload {
        types.push((program_type::NATIVE, "native"));
    }
    if !native.directory.is_empty() {
        types.push((program_type::NATIVE_FILE, "native, by name"));
    }
    if subsystem.programs.wasm.is_some() {
        types.push((program_type::WASM, "WebAssembly"));
    }
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
pub(super) fn range_sets(namespace: &ProgramsNamespace) -> Vec<u8> {
    let mut header = RangeSetsHeader::new_zeroed();
    header.sets = (namespace.sets.len() as u32).into();
    let mut page = header.as_bytes().to_vec();
    for (id, set) in &namespace.sets {
        let mut entry = RangeSetEntry::new_zeroed();
        entry.rsid = (*id).into();
        entry.state = u8::from(is_in_use(set));
        entry.numr = set.ranges.len() as u8;
        page.extend(entry.as_bytes());
        for (range, nsid) in set.ranges.iter().zip(&set.nsids) {
            let descriptor = MemoryRangeDescriptor {
                nsid: nsid.0.into(),
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
            weight: group.settings.weight.into(),
            jobs: group.jobs.into(),
            finished: group.finished.into(),
            ran_ns: group.ran.as_ns().into(),
            missed: group.missed.into(),
            deadline_us: group
                .settings
                .deadline
                .map_or(0, |deadline| (deadline.as_ns() / 1000) as u32)
                .into(),
            priority: group.settings.priority,
            reserved37: 0,
            units_max: group.settings.units_max.map_or(0, NonZeroU16::get).into(),
            bandwidth_kbps: ((group.settings.bandwidth.bytes_per_s() / 1000) as u32).into(),
            reserved44: [0; 4],
            unit_mask: group.settings.affinity.bits().into(),
            throttled_ns: group.throttled.as_ns().into(),
            met: group.met.into(),
        })
        .collect();
    let mut header = JobGroupsHeader::new_zeroed();
    header.groups = (entries.len() as u32).into();
    header.entry_bytes = (size_of::<JobGroupEntry>() as u32).into();
    [header.as_bytes(), entries.as_bytes()].concat()
}
