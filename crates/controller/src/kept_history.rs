//! What hosts wrote, and what they were told, for whoever looks for crashes ([`history`]).

use std::collections::BTreeSet;

use history::{Change, Event, Range, What};
use nvme_spec::{Nsid, Status};
use simtime::Instant;

use crate::controller::Controller;
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::extent::Extent;
use crate::namespace::nvm::{NvmNamespace, visit_data};
use crate::subsystem::Subsystem;
use crate::turn::Turn;
use crate::waiting::{AdminArrival, Arrival};

/// Names what the drive does by itself: no command has this number.
const OWN: u64 = u64::MAX;

/// Longest text of a mark.
const MARK_BYTES_MAX: u64 = 4096;

/// Content at the beginning is told in pieces of so many bytes at most.
const CONTENT_BYTES: u64 = 256 << 10;

/// Events that nobody has taken.
#[derive(Debug, Default)]
pub(crate) struct KeptHistory {
    events: Vec<Event>,
    /// Commands that changed something and have not ended.
    under_way: BTreeSet<u64>,
}

impl KeptHistory {
    fn note(&mut self, at: Instant, what: What) {
        self.events.push(Event { at_ns: at.as_ns(), what });
    }

    pub(crate) fn begun(&mut self, at: Instant, tag: Tag, change: Change) {
        self.under_way.insert(tag.0);
        self.note(at, What::Begin { id: tag.0, change });
    }

    pub(crate) fn ended(&mut self, at: Instant, tag: Tag, is_success: bool) {
        if self.under_way.remove(&tag.0) {
            self.note(at, What::End { id: tag.0, is_success });
        }
    }

    /// What is under way has no end.
    pub(crate) fn abandoned(&mut self) {
        self.under_way.clear();
    }

    pub(crate) fn marked(&mut self, at: Instant, text: String) {
        self.note(at, What::Mark(text));
    }

    pub(crate) fn power_lost(&mut self, at: Instant) {
        self.note(at, What::PowerLost);
    }

    /// A namespace is there. No page of it is ever torn (`ssd`), so whole pages are atomic.
    fn created(&mut self, at: Instant, namespace: &NvmNamespace) {
        self.note(
            at,
            What::Namespace {
                nsid: namespace.nsid.0,
                bytes: namespace.bytes(),
                block_bytes: namespace.block_bytes,
                atomic_bytes: 1 << namespace.page_bits,
            },
        );
    }

    pub(crate) fn deleted(&mut self, at: Instant, nsid: Nsid) {
        self.note(at, What::Gone { nsid: nsid.0 });
    }

    /// The drive emptied a namespace for good.
    pub(crate) fn emptied(&mut self, at: Instant, namespace: &NvmNamespace) {
        let ranges = vec![Range { start: 0, len: namespace.bytes() }];
        let change = Change::Deallocate { nsid: namespace.nsid.0, ranges, is_durable: true };
        self.note(at, What::Begin { id: OWN, change });
        self.note(at, What::End { id: OWN, is_success: true });
    }
}

/// Extents as a history has them.
pub(crate) fn ranges(extents: &[Extent]) -> Vec<Range> {
    extents.iter().map(|extent| Range { start: extent.start, len: extent.len }).collect()
}

impl Subsystem {
    /// What all namespaces hold: how a history begins.
    fn beginning(&self, at: Instant) -> KeptHistory {
        let mut kept = KeptHistory::default();
        for namespace in self.namespaces.nvm_all() {
            kept.created(at, namespace);
            let mut rest = vec![Extent { start: 0, len: namespace.bytes() }];
            while let Some(extent) = rest.pop() {
                if !self.is_written(namespace, extent) {
                    continue;
                }
                if extent.len > CONTENT_BYTES {
                    let half = (extent.len / 2).next_multiple_of(CONTENT_BYTES);
                    let start = extent.start + half;
                    rest.push(Extent { start, len: extent.end() - start });
                    rest.push(Extent { len: half, ..extent });
                    continue;
                }
                let mut bytes = Vec::with_capacity(extent.len as usize);
                visit_data(namespace, &self.ssd, extent, |_, piece| bytes.extend(piece));
                // What was never written reads as zeroes, too.
                if bytes.iter().any(|byte| *byte != 0) {
                    let (nsid, start) = (namespace.nsid.0, extent.start);
                    kept.note(at, What::Content { nsid, start, bytes });
                }
            }
        }
        kept
    }

    /// A namespace was made, or its blocks are others from now on.
    pub(crate) fn note_namespace(&mut self, at: Instant, nsid: Nsid) {
        if let (Some(history), Some(namespace)) = (&mut self.history, self.namespaces.nvm(nsid)) {
            history.created(at, namespace);
        }
    }

    /// True if pages of these bytes were written, and not deallocated since.
    pub(crate) fn is_written(&self, namespace: &NvmNamespace, extent: Extent) -> bool {
        namespace.written_parts(extent).any(|(first, count)| {
            let mut pieces = namespace.placement.pieces(first, count);
            pieces.any(|(lpn, count)| self.ssd.mapped_among(lpn, count) > 0)
        })
    }
}

/// Mark (vendor): the host says how far it has come. Only a drive that keeps a history takes it.
pub(crate) fn mark(
    turn: &mut Turn<'_>,
    tag: Tag,
    len: u64,
    pointer: DataPointer,
) -> Result<(), Status> {
    if turn.subsystem.history.is_none() {
        return Err(Status::COMMAND_SEQUENCE_ERROR.with_dnr());
    }
    if !(1..=MARK_BYTES_MAX).contains(&len) {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    turn.fetch_data(tag, pointer, len, Arrival::Admin(AdminArrival::Mark { len }))
}

/// The text of a mark has arrived; it may end with zeroes.
pub(crate) fn mark_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
    len: u64,
) -> Result<(), Status> {
    let mut bytes = vec![0; len as usize];
    segments.read(&*turn.host, &mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    let is_line = |text: &String| !text.is_empty() && !text.contains(char::is_control);
    let text = String::from_utf8(bytes).ok().filter(is_line);
    let text = text.ok_or(Status::INVALID_FIELD.with_dnr())?;
    if let Some(history) = &mut turn.subsystem.history {
        history.marked(turn.now, text);
    }
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

/// Why a drive keeps no history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum NoHistory {
    #[error(
        "flash.keep_data = false: such a drive has no history of what is written; leave the key out"
    )]
    NoData,
    #[error("a history knows nothing of write pointers: leave out namespaces of kind zoned")]
    Zones,
    #[error(
        "a history begins with what is in flash, and there are writes that are not: flush them first"
    )]
    Unflushed,
}

impl Controller {
    /// From now on the drive keeps a history of what hosts write and what they are told; whoever asks for it takes it now and then
    /// ([`Self::take_history`]). It begins with what is in flash.
    ///
    /// # Errors
    /// If there can be none.
    pub fn keep_history(&mut self) -> Result<(), NoHistory> {
        let ssd = &self.subsystem.ssd;
        if !ssd.keeps_data() {
            return Err(NoHistory::NoData);
        }
        if self.subsystem.namespaces.has_zones() {
            return Err(NoHistory::Zones);
        }
        if ssd.buffered_pages() > 0 || ssd.backlog() > 0 {
            return Err(NoHistory::Unflushed);
        }
        self.subsystem.history = Some(self.subsystem.beginning(self.now));
        Ok(())
    }

    /// Takes what happened since the last time.
    pub fn take_history(&mut self) -> Vec<Event> {
        let kept = self.subsystem.history.as_mut();
        kept.map_or_else(Vec::new, |kept| std::mem::take(&mut kept.events))
    }
}
