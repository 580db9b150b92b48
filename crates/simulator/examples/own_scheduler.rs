//! A scheduler of one's own, outside of the `compute` crate, in a simulated drive: the job that came last goes first.
//!
//! `cargo run -p simulator --example own_scheduler`

use std::collections::BTreeMap;
use std::error::Error;

use compute::{Affinity, GroupId, GroupSettings, JobId, JobInfo, Policy, UnitId};
use controller::{Config, Controller, Parts};
use simtime::{Duration, Instant};

/// Last come, first served.
#[derive(Debug, Default)]
struct LastFirst {
    /// By the order in which they came.
    waiting: BTreeMap<u64, (JobId, Affinity)>,
}

impl Policy for LastFirst {
    fn enqueue(&mut self, _now: Instant, job: &JobInfo) {
        self.waiting.insert(job.order, (job.job, job.affinity));
    }

    fn pick(&mut self, _now: Instant, unit: UnitId) -> Option<JobId> {
        let mut newest_first = self.waiting.iter().rev();
        let (&place, &(job, _)) = newest_first.find(|(_, (_, affinity))| affinity.allows(unit))?;
        self.waiting.remove(&place);
        Some(job)
    }

    fn left(&mut self, _group: GroupId, _ran: Duration) {}

    fn remove(&mut self, job: &JobInfo) -> bool {
        self.waiting.remove(&job.order).is_some()
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn time_slice(&self, _job: &JobInfo) -> Option<Duration> {
        None
    }

    fn set_group(&mut self, _group: GroupId, _settings: &GroupSettings) {}

    fn remove_group(&mut self, _group: GroupId) {}
}

/// Doubles 32-bit numbers; built from examples/programs/double.bpf.c.
const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");

/// The order in which five jobs end that come at once to one unit.
fn order() -> Result<Vec<usize>, Box<dyn Error>> {
    let mut config = Config::default();
    config.compute.units = 1;
    let parts = Parts { policy: Some(|_| Box::<LastFirst>::default()), ..Parts::default() };
    let mut drive = simulator::open_drive(Controller::with_parts(config, parts)?, 0, 64)?;
    drive.load_program(0, DOUBLE)?;
    let ranges = vec![(0, 4096), (4096, 4096)];
    let invocation = client::Invocation { ranges, ..Default::default() };
    let mut tickets = Vec::new();
    for _ in 0..5 {
        tickets.push(drive.start_execute(&invocation)?);
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        let ended = drive.wait()?.ticket;
        order.extend(tickets.iter().position(|ticket| *ticket == ended));
    }
    Ok(order)
}

fn main() -> Result<(), Box<dyn Error>> {
    // What every policy must do, on random jobs: panics with the rule that is broken.
    compute::conformance::check(|| Box::<LastFirst>::default());
    println!("the jobs end in this order: {:?}", order()?);
    Ok(())
}

#[test]
fn the_last_goes_first() {
    compute::conformance::check(|| Box::<LastFirst>::default());
    // The first found the unit idle.
    assert_eq!(order().unwrap(), [0, 4, 3, 2, 1]);
}
