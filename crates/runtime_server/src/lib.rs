//! A runtime server: a machine that says how long it takes for a program, for drives of `compute.run_time = remote`.
//!
//! ```text
//! drive's worker -> Client --- TCP: chunks that the server lacks, Run ---> Server -> ebpf::Program::measure
//!                          <-- result, counts, memory's hash, CPU time ---
//! ```
//!
//! The program runs on the drive's own machine, too: its result there is what counts, and what the server says must agree with
//! it ([`Client::end`]). The server's machine may be another architecture; programs are sandboxed there as here.
//!
//! * `wire`: messages, and how long each may be. `channel`: whole messages, authenticated. `cache`: chunks by their hash.
//! * Messages carry an HMAC of a key made of a shared secret and both sides' nonces, and are counted: who does not know the secret cannot
//!   speak, replay or change anything. They are not encrypted.
#![forbid(unsafe_code)]

mod cache;
mod channel;
mod client;
mod server;
mod wire;

pub use channel::{Secret, SecretError};
pub use client::{Answer, Client, ClientError, Job};
pub use server::{Event, Options, Server, Stopper};
pub use wire::{MESSAGE_BYTES_MAX, VERSION};
