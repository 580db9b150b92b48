//! Flash drive model: from a host's pages to bytes on dies, in time.
//!
//! ```text
//! read, write, flush -> Ssd
//!   cache      newest bytes of pages that are not in flash yet (destage: when they go there; epochs: what flushes wait for)
//!   mapping    logical page -> cache slot or physical page
//!   frontier   where host writes go, by stream; batch: pages that one operation programs
//!   blocks     free, open and closed blocks; collection, victims: which are collected, and how
//!   array      dies and channels in time -> Done
//!   reliability  bit errors, and reads that are tried again
//!   store      bytes by physical page, with a record beside each (durability: what waits until they are durable)
//! ```
//!
//! A pure state machine: it is given the time, never reads a clock, and a run is a function of the requests. Bytes move with
//! the model: they can be read as soon as they are written, and are in the store when the modelled program operation ends. So a
//! loss of power ([`Ssd::power_cut`]) is what it is on a real drive: the cache is gone, and the map is found again from the records
//! in the store. Memory grows with what was written, not with the capacity.
//! A store that was there before the drive is what the drive holds ([`Ssd::with_store`]).
//!
//! Not here: caching of the map itself.
#![forbid(unsafe_code)]

pub mod conformance;
pub mod faulty;

mod address;
mod array;
mod batch;
mod blocks;
mod cache;
mod collection;
mod config;
mod destage;
mod drive;
mod durability;
mod epochs;
mod frontier;
mod mapping;
mod plane_set;
mod precondition;
mod read_cache;
mod recovery;
mod reliability;
mod request;
mod store;
mod victims;

pub use address::{BlockId, Lpn, Ppa};
pub use config::{
    CellType, Config, ConfigError, DieOrder, FilledBy, Geometry, Isolation, MAP_PAGE_ENTRIES,
    MultiPlaneReads, PageTimes, Placement, SECTOR_BYTES, STREAMS_MAX, Suspend, UnwrittenReads,
    WearLeveling, ZONE_STREAMS_MAX,
};
pub use drive::Ssd;
pub use mapping::{Location, PageMap};
pub use precondition::steady_write_amplification;
pub use recovery::Recovery;
pub use reliability::BitErrors;
pub use request::{Done, Hint, Medium, RequestId, Span, Spare, Statistics, Wear};
pub use store::{
    Backend, DaxPolicy, Discarded, MediaError, MemoryStore, NotProgrammed, Oob, Page, Store,
    StoredPage, SyncPolicy, SyncWork, UsedBlock,
};
pub use victims::{
    CHOICES, Choices, CostBenefit, Greedy, VictimPolicy, VictimPolicyKind, WINDOW_BLOCKS, Window,
};
