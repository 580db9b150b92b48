//! `csdrive bench`: how fast csdrive itself is, as JSON or a table.

pub(crate) mod simulation;
