//! Native programs: functions of shared objects, each run of which is a process that can reach nothing but the memory of
//! its job.
//!
//! ```text
//! drive's thread or worker          worker process, one at a time       run: a child of it
//! Program::run -> Process -socket-> worker::main: libraries loaded  fork-> memory mapped, limits, system calls
//!      job file: what to run,                    waits, kills              refused; then the object is loaded
//!      report <--------------------------------------------------------- and its function called
//! ```
//!
//! * The worker is this executable, started again ([`worker_main`]): it shares no memory with the drive. It loads the
//!   libraries that the object needs, which are the system's, and runs no code of the object.
//! * A run maps the pages of its ranges, and closes all files. From then on it can use a few system calls (`sandbox`):
//!   no file, no socket, no process, no other process's memory. Only then is the object loaded, since that runs code of it.
//! * Whatever a run does, it ends: by returning, by a signal, or killed by the worker when its time is over. The worker
//!   tells how. A worker that does not answer is killed, and replaced.
//! * What a run leaves in its process is gone with it: globals are fresh for every run.
//!
//! A program is trusted with one thing: the time that it says it took.
#![deny(unsafe_code)]

mod job;
mod library;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod machine;
mod process;
mod program;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod run;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod sandbox;
mod system_calls;
mod worker;

pub use program::Programs;
pub use worker::{WORKER_ARGUMENT, main as worker_main};
