//! `csdrive bench`: measures csdrive itself.

pub(crate) mod data_path;
pub(crate) mod device;
pub(crate) mod engine;
pub(crate) mod guest;
pub(crate) mod simulation;
pub(crate) mod transport;
