//! The search: what it tries, what it finds.

mod bugs;
mod host;
mod meaning;
