//! `csdrive bench`: measures csdrive itself.

mod crowd;
pub(crate) mod data_path;
pub(crate) mod device;
pub(crate) mod engine;
pub(crate) mod guest;
pub(crate) mod records;
pub(crate) mod scale;
pub(crate) mod schedulers;
pub(crate) mod simulation;
pub(crate) mod streaming;
pub(crate) mod suite;
pub(crate) mod transport;
