//! What happens at a point in time, besides the events of the models.

/// Names a command in flight to the models; stale after the command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag(pub(crate) u64);

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The data a command waits for has arrived.
    Arrived(Tag),
    /// A page of the input of a run that may begin early is in device memory: which command copies it, which page it is.
    InputArrived { copy: Tag, page: u32 },
    /// A command's completion is due.
    Complete(Tag),
    // Of each of the following few are under way, whatever a host does: what is due later by the
    // time it happens is pushed again then, not when the host moves it.
    /// A coalesced interrupt waited long enough.
    Interrupt(u16),
    /// A namespace has been formatted.
    Formatted,
    /// A sanitize operation is over.
    Sanitized,
    /// A self-test is over.
    SelfTested,
    /// The next command can be taken.
    FrontEndFree,
    /// The host was silent for the keep alive time-out.
    KeepAlive,
}
