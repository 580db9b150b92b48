//! Virtual time for the models: [`Instant`], [`Duration`], an [`EventQueue`] that breaks ties by
//! insertion order, and a seeded [`Prng`].
//!
//! Everything is an integer number of nanoseconds. Rates become durations by rounding up, so a
//! modelled transfer is never faster than its link.
#![forbid(unsafe_code)]

mod event_queue;
mod prng;
mod time;

pub use event_queue::EventQueue;
pub use prng::Prng;
pub use time::{Bandwidth, Duration, Frequency, Instant};
