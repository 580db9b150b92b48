//! What follows when the flash has finished a page of a command.

use nvme_spec::{Nsid, Status};
use records::{LinkPath, Stage};
use ssd::{Done, MediaError};

use super::NvmNamespace;
use super::data::{compare_data, send_data};
use super::waiting::{Check, FusedWrite, NvmWait, Target};
use crate::event::Tag;
use crate::placement;
use crate::transfer::{Crossed, record_crossing};
use crate::turn::Turn;
use crate::waiting::Waiting;

/// The status of a command whose flash operation failed.
pub(crate) fn media_status(error: MediaError) -> Status {
    match error {
        MediaError::Uncorrectable | MediaError::Misplaced { .. } => Status::UNRECOVERED_READ_ERROR,
        MediaError::ProgramFailed | MediaError::NotDurable => Status::WRITE_FAULT,
    }
}

/// The namespace of a command in flight.
#[inline]
fn namespace(turn: &Turn<'_>, nsid: Nsid) -> NvmNamespace {
    let namespace = turn.subsystem.namespaces.nvm(nsid);
    namespace.expect("a namespace outlives its commands").clone()
}

/// The flash model finished a page, or a flush, of a command that waits for the NVM namespace.
#[inline]
pub(crate) fn page_done(turn: &mut Turn<'_>, tag: Tag, done: &Done) {
    let now = turn.now;
    let Some(command) = turn.session.inflight.get_mut(tag) else { return };
    let (nsid, status) = (command.kind.nsid, command.status);
    let recorded_as = command.recorded_as(tag);
    let Waiting::Nvm(waiting) = &mut command.waiting else {
        unreachable!("flash finished a page for a command that waits for something else")
    };
    debug_assert_eq!(done.at, now, "pages are done when they are");
    match waiting {
        NvmWait::Reading { start, len, segments, pages_left, link_end } => {
            *pages_left -= 1;
            // Every page crosses the link as soon as it is read; the last may be short.
            let page_bytes = 1u64 << turn.subsystem.page_bits;
            let sent = *len - (*len).saturating_sub(page_bytes);
            *len -= sent;
            let arrived = turn.session.port.to_host(now, sent);
            *link_end = arrived.max(*link_end);
            let (is_last, end) = (*pages_left == 0, *link_end);
            let crossed = Crossed { asked: now, arrived };
            let records = &mut turn.subsystem.records;
            record_crossing(records, recorded_as, LinkPath::ToHost, sent, crossed);
            if !is_last {
                return;
            }
            let mut status = status;
            if status.is_success() {
                let namespace = turn.subsystem.namespaces.nvm(nsid);
                let namespace = namespace.expect("a namespace outlives its commands");
                let sent = send_data(namespace, &turn.subsystem.ssd, turn.host, *start, segments);
                status = sent.err().unwrap_or(status);
            }
            command.end_stage(now, Stage::FlashRead);
            command.end_stage(end, Stage::Transfer);
            turn.finish_at(end, tag, status);
        }
        NvmWait::Writing { pages_left, result, earliest } => {
            *pages_left -= 1;
            if *pages_left == 0 {
                let (result, end) = (*result, now.max(*earliest));
                command.end_stage(now, Stage::FlashWrite);
                match result {
                    0 => turn.finish_at(end, tag, status),
                    _ => turn.complete_at(end, tag, status, result),
                }
            }
        }
        NvmWait::Checking(check) => {
            check.pages_left -= 1;
            if check.pages_left == 0 {
                namespace(turn, nsid).blocks_checked(turn, tag);
            }
        }
        NvmWait::Copying { pages_left, .. } => {
            *pages_left -= 1;
            if *pages_left == 0 {
                namespace(turn, nsid).blocks_copied(turn, tag);
            }
        }
        NvmWait::Updating { identifiers } => {
            let identifiers = std::mem::take(identifiers);
            placement::flushed(turn, tag, nsid, &identifiers, status);
        }
        NvmWait::AwaitingCompare => unreachable!("half a pair asked nothing of the flash"),
    }
}

impl NvmNamespace {
    /// The blocks to check have been read.
    fn blocks_checked(&self, turn: &mut Turn<'_>, tag: Tag) {
        let now = turn.now;
        let Some(command) = turn.command(tag) else { return };
        let Waiting::Nvm(NvmWait::Checking(check)) = command.take_waiting() else {
            unreachable!("only a check waits for pages to check")
        };
        command.end_stage(now, Stage::FlashRead);
        let Check { extent, compare, write, .. } = *check;
        let status = match compare {
            _ if !command.status.is_success() => command.status,
            None => Status::SUCCESS,
            Some(with) => {
                match compare_data(self, &turn.subsystem.ssd, turn.host, extent.start, &with) {
                    Ok(true) => Status::SUCCESS,
                    Ok(false) => Status::COMPARE_FAILURE.with_dnr(),
                    Err(status) => status,
                }
            }
        };
        turn.complete(tag, status, 0);
        let Some(FusedWrite { tag: write, segments, fua, stream }) = write else { return };
        if turn.command(write).is_none() {
            return; // aborted meanwhile
        }
        let written = match status {
            Status::SUCCESS => {
                let target = Target { extent, fua, stream, is_append: false };
                self.write_data(turn, write, &segments, target)
            }
            _ => Err(Status::ABORTED_FAILED_FUSED),
        };
        if let Err(status) = written {
            turn.complete(write, status, 0);
        }
    }
}
