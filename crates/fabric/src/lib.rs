//! What data crosses outside a drive: its link to the host, the switch that several drives share, and the way from one drive to
//! another.
//!
//! Each drive has a [`Port`]: one [`Link`] in each direction, between the drive and the switch. The switch is a link, too: all
//! traffic of its drives shares its bandwidth, whichever way it goes. Data for the host crosses the drive's link and the switch;
//! data for another drive crosses the one's link out, the switch, and the other's link in, and the host's side sees nothing of it.
//!
//! Data is cut through: each link on the way is taken from the same moment on, and the last byte arrives when the slowest has
//! sent it, and after the latencies of all. A link serves first come, first served.
//!
//! Ports of one switch may be used by drives in several threads.
#![forbid(unsafe_code)]

mod link;
mod port;

pub use link::{Link, LinkConfig};
pub use port::{Port, Switch};
