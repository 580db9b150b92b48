//! Flash drive model: a page-mapped translation layer over NAND timing, with page data.
//!
//! ```text
//! submit(Request) -> Ssd -- map, frontiers, GC --> blocks
//!                     |---- transactions --------> nand (dies, channels) -- time --> Done
//!                     '---- bytes ---------------> store (by logical page)
//! ```
//!
//! A pure state machine: it is given the time, never reads a clock, and a run is a function of the
//! requests. Unwritten pages read as zeroes and cost no flash time; pages still in the write buffer
//! cost none either. Memory grows with what was written, not with the capacity.
//!
//! Not here: wear levelling beyond first-in-first-out reuse of erased blocks, read disturb,
//! retention, bad blocks, caching of the map itself.
#![forbid(unsafe_code)]

mod blocks;
mod config;
mod drive;
mod mapping;
mod nand;
mod plane_set;
mod store;

pub use config::{Config, ConfigError, Geometry};
pub use drive::{Done, Request, RequestKind, Ssd, Statistics};
pub use mapping::{Lpn, PageMap, Ppa};
pub use nand::{DieRecord, Operation};
pub use store::PageStore;
