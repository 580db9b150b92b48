//! Identifiers of the wire as types: a queue is no command, and a command no namespace.

/// Namespace identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nsid(pub u32);

impl Nsid {
    /// No namespace.
    pub const NONE: Self = Self(0);
    /// All namespaces, where a command allows it.
    pub const ALL: Self = Self(u32::MAX);
}

impl core::fmt::Display for Nsid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Submission queue identifier; 0 = the admin queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SqId(pub u16);

/// Completion queue identifier; 0 = the admin queue's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CqId(pub u16);

/// Command identifier, unique among the commands of a submission queue that are not complete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cid(pub u16);

impl SqId {
    /// The admin submission queue.
    pub const ADMIN: Self = Self(0);

    /// True for the admin queue.
    pub const fn is_admin(self) -> bool {
        self.0 == 0
    }
}

impl CqId {
    /// The admin completion queue.
    pub const ADMIN: Self = Self(0);

    /// True for the admin queue's.
    pub const fn is_admin(self) -> bool {
        self.0 == 0
    }
}
