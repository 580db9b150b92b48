//! The computational storage drive as an NVMe controller: registers, queues, commands, and a subsystem of
//! namespaces over the models.
//!
//! ```text
//! doorbell -> queue -> command::decode -> namespace (validate, resolve, act) -> complete -> queue
//!                                            |         |          |
//!                                           ssd     memory     compute + WorkItem (ebpf)
//! ```
//!
//! Who owns what: a [`Controller`] has its queues and a `Session` (registers, features, commands in flight); the
//! `Subsystem` has the namespaces, the models, the events and the logs. A `Turn` lends both, with the time and the host's
//! memory, to whoever deals with a command. Namespaces and admin modules take a `Turn` and never see the controller.
//!
//! A pure state machine with the models' verbs: [`Controller::register_write`] is how the host
//! submits, [`Controller::advance`] runs what is due, [`Controller::next_event`] says when to come
//! back. It never blocks, reads no clock, starts no thread. What it wants done outside (interrupts,
//! running a program) it leaves in its [`Outbox`].
//!
//! Specification: NVM Express Base 2.1 and NVM Command Set 1.2; Subsystem Local Memory and
//! Computational Programs as `docs/conformance.md` records them.
//!
//! Not here: metadata and protection information, reservations, directives, firmware
//! update, controller memory buffers. They are not advertised, and answer Invalid Opcode or
//! Invalid Field.
#![forbid(unsafe_code)]

mod admin;
mod arbiter;
mod async_event;
mod attachments;
mod background;
mod command;
mod completion;
mod config;
mod controller;
mod data_pointer;
mod dispatch;
mod doorbell;
mod event;
mod extent;
mod features;
mod femu;
mod fetch;
mod host_memory;
mod inflight;
mod interrupt;
mod kept_history;
mod lifecycle;
mod logs;
mod namespace;
mod native;
mod own_memory;
mod parts;
mod peers;
mod placement;
mod queue;
mod queues;
mod registers;
mod reminder;
mod saved_state;
mod session;
mod shell_program;
mod statistics;
mod subsystem;
mod transfer;
mod turn;
mod waiting;
mod wasm;
mod work;

pub mod limits;

pub use admin::PCI_VENDOR;
pub use command::check_entry;
pub use compute::RunTimeModel;
pub use config::{
    Config, ConfigError, Dialect, FreezeConfig, MemoryBacking, NamespaceConfig, NamespaceKind,
    RemoteFallback, RuntimeServerConfig, StorageConfig, ZonedConfig,
};
pub use controller::Controller;
pub use ebpf::{Counts, CpuTime, Engine, Invocation, Observer, Outcome, Worker};
pub use fabric::{LinkConfig, Switch};
pub use host_memory::{HostMemory, HostMemoryError};
pub use kept_history::NoHistory;
pub use namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};
pub use native::{NativeConfig, NativeLoadError, NativePrograms, NativeSource};
pub use parts::{NewPolicy, Parts, ProgramLoaders};
pub use peers::Peers;
pub use saved_state::remembered_namespaces;
pub use shell_program::{ShellFault, ShellFaultKind, ShellOutcome, ShellProgram};
pub use ssd::SyncWork;
pub use statistics::{Lateness, Statistics};
pub use wasm::{WasmConfig, WasmPrograms};
pub use work::{NewRemoteRuntime, Outbox, RemoteRuntime, WorkDone, WorkItem};
