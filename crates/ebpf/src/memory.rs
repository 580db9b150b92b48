//! Memory a program may touch: device memory shared between jobs ([`SharedMemory`]), and the
//! window of one run ([`Window`]).

mod reservation;
mod shared;
mod window;

pub(crate) use reservation::RUNTIME_AREA;
pub use shared::SharedMemory;
pub(crate) use window::Bounds;
pub use window::{GUARD, SegmentKind, Window};

/// Page size that window and device memory are mapped with. Hosts with larger pages are refused
/// when the first window is made.
pub const PAGE: u64 = 4096;
