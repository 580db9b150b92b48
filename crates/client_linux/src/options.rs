//! What one who opens a drive may choose.

/// How to open a drive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenOptions {
    /// Commands under way at a time.
    pub depth: u16,
    /// Look for completions again and again instead of waiting for interrupts: faster, and takes a core. The kernel's
    /// driver must have queues for it.
    pub is_polled: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { depth: 256, is_polled: false }
    }
}
