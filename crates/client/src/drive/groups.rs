//! Job groups: executions that share the drive's compute units by weight, or are more urgent than others.

use nvme_spec::{JobGroupEntry, JobGroupsHeader, lid};
use zerocopy::FromBytes;

use super::{Drive, DriveResult};
use crate::commands::{self, GroupOptions};
use crate::transport::{Data, Lane, Submit};

/// A job group, and what its jobs did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupInfo {
    /// Its identifier; 0 = the jobs of no group.
    pub id: u8,
    /// What its jobs may claim.
    pub options: GroupOptions,
    /// Jobs that run or wait.
    pub jobs: u32,
    /// Jobs that finished.
    pub finished: u64,
    /// Unit time that its jobs had, in nanoseconds.
    pub ran_ns: u64,
    /// Jobs that finished after their deadline.
    pub missed: u64,
    /// Jobs that finished within it.
    pub met: u64,
    /// Time that its limits kept its jobs from the scheduler, of all jobs together, in nanoseconds.
    pub throttled_ns: u64,
}

const NAME: &str = "Job Group Management";

impl<T: Submit> Drive<T> {
    /// Creates a job group; gives its identifier. Groups stay until they are deleted. Jobs of no group are a group of their
    /// own, with the default options.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn create_group(&mut self, options: &GroupOptions) -> DriveResult<u8> {
        let done = self.run(
            NAME,
            Lane::Admin,
            self.of_programs(commands::create_group(options)),
            Data::None,
        )?;
        Ok(done.result as u8)
    }

    /// Gives a group other options; 0 names the jobs of no group. What its jobs may claim, and the units that they may use, count for
    /// jobs that come later.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn change_group(&mut self, id: u8, options: &GroupOptions) -> DriveResult<()> {
        let entry = self.of_programs(commands::change_group(id.into(), options));
        self.run(NAME, Lane::Admin, entry, Data::None).map(drop)
    }

    /// Deletes a group that has no jobs.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn delete_group(&mut self, id: u8) -> DriveResult<()> {
        self.run(NAME, Lane::Admin, self.of_programs(commands::delete_group(id.into())), Data::None)
            .map(drop)
    }

    /// The job groups of the drive, those of no group first.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn groups(&mut self) -> DriveResult<Vec<GroupInfo>> {
        const HEADER: usize = size_of::<JobGroupsHeader>();
        const ENTRY: usize = size_of::<JobGroupEntry>();
        let page = self.log(lid::JOB_GROUPS, self.geometry.namespaces.programs, HEADER as u64)?;
        let (head, _) = JobGroupsHeader::read_from_prefix(&page).expect("it was asked for");
        let len = u64::from(head.groups.get()) * ENTRY as u64;
        let list =
            self.log_at(lid::JOB_GROUPS, self.geometry.namespaces.programs, HEADER as u64, len)?;
        let (entries, _) = list.as_chunks::<ENTRY>();
        let info = |bytes: &[u8; ENTRY]| {
            let entry = JobGroupEntry::read_from_bytes(bytes).expect("as long as that");
            GroupInfo {
                id: entry.id.get() as u8,
                options: GroupOptions {
                    weight: entry.weight.get(),
                    priority: entry.priority,
                    deadline_us: entry.deadline_us.get(),
                    bandwidth_kbps: entry.bandwidth_kbps.get(),
                    units_max: entry.units_max.get(),
                    unit_mask: entry.unit_mask.get(),
                },
                jobs: entry.jobs.get(),
                finished: entry.finished.get(),
                ran_ns: entry.ran_ns.get(),
                missed: entry.missed.get(),
                met: entry.met.get(),
                throttled_ns: entry.throttled_ns.get(),
            }
        };
        Ok(entries.iter().map(info).collect())
    }
}
