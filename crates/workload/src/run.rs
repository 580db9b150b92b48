//! A workload from its beginning to its end: drives are prepared, the host works, drives are left as they were.

use std::ops::ControlFlow;

use analysis::DriveReport;
use records::CounterRecord;

use crate::Error;
use crate::host::{Host, Progress};
use crate::plan::Plan;
use crate::prepare::{Prepared, prepare, take_away};
use crate::report::Report;
use crate::rig::Rig;
use crate::summary::report;

/// Runs a workload.
///
/// # Errors
/// If it does not fit the drives, or a command fails.
pub fn run<R: Rig>(
    plan: &Plan,
    rig: &mut R,
    tell: &mut dyn FnMut(Progress),
) -> Result<Report, Error> {
    let mut always = |progress| {
        tell(progress);
        ControlFlow::Continue(())
    };
    run_until(plan, rig, &mut always)
}

/// As [`run`], for simulated drives: it may be stopped, and then comes to nothing.
///
/// # Errors
/// If it does not fit the drives, a command fails, or it was stopped.
pub fn run_until<R: Rig>(
    plan: &Plan,
    rig: &mut R,
    tell: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, Error> {
    let drives = rig.count();
    let prepared = prepare_all(plan, rig, &mut |progress| {
        let _ = tell(progress);
    })?;
    rig.begin();
    let mut host = Host::new(plan, rig, prepared.into_iter().flatten().collect());
    let done = host.work(tell);
    let windows = host.windows();
    let Host { prepared, counts, groups, before, after, .. } = host;
    rig.end();
    for number in 0..drives {
        let of: Vec<&Prepared> = prepared.iter().filter(|one| one.drive == number).collect();
        match take_away(rig.drive(number), &of) {
            Ok(()) => {}
            // What the run came to counts more.
            Err(_) if done.is_err() => {}
            Err(error) => return Err(error.into()),
        }
    }
    done?;
    let snapshots = before.into_iter().zip(after).enumerate();
    let drives = snapshots.filter_map(|(number, (before, after))| {
        let (before, after) = (CounterRecord::from(&before?), CounterRecord::from(&after?));
        Some(DriveReport::between(rig.name(number), &before, &after))
    });
    let drives = drives.collect();
    Ok(report::<R>(plan, &counts, &windows, &prepared, &groups, drives))
}

/// Checks that a workload fits drives, which are left as they were but for what it writes to them before it begins.
///
/// # Errors
/// If it does not.
pub fn check<R: Rig>(plan: &Plan, rig: &mut R) -> Result<(), Error> {
    for (number, of_drive) in prepare_all(plan, rig, &mut |_| {})?.iter().enumerate() {
        take_away(rig.drive(number), &of_drive.iter().collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Prepares all drives. If one cannot be, all are left as they were.
fn prepare_all<R: Rig>(
    plan: &Plan,
    rig: &mut R,
    tell: &mut dyn FnMut(Progress),
) -> Result<Vec<Vec<Prepared>>, Error> {
    if plan.drive_count() != rig.count() {
        return Err(Error::Drives { wanted: plan.drive_count(), there: rig.count() });
    }
    let mut own = Vec::new();
    if plan.uses_peers() {
        for number in 0..rig.count() {
            own.push(rig.drive(number).peers()?.into_iter().find(|peer| peer.is_own));
        }
    }
    let mut prepared: Vec<Vec<Prepared>> = Vec::new();
    for number in 0..rig.count() {
        let mut of_drive = Vec::new();
        let mut say = |text| tell(Progress::Preparing(text));
        let done = prepare(plan, number, &own, rig.drive(number), &mut of_drive, &mut say);
        prepared.push(of_drive);
        if let Err(error) = done {
            // Why that failed counts more than whether this does.
            for (number, of_drive) in prepared.iter().enumerate() {
                let _ = take_away(rig.drive(number), &of_drive.iter().collect::<Vec<_>>());
            }
            return Err(error);
        }
    }
    Ok(prepared)
}
