//! Where the drive begins to win: the same two ways, on drives that differ in one thing.
//!
//! Each probe is a simulation of a drive with the same flash, on which the program only takes its time. What comes of it for the drive as
//! it is must be what the demo measured.

use anyhow::{Context, Result};
use client::{LoadOptions, ProgramImage};
use compute::{CostTable, Work};
use controller::{Config, Controller, Parts};
use simtime::{Bandwidth, Duration};
use ssd::Ssd;

use super::host::{HostCores, at_clock, share};
use super::watch::Watch;
use super::ways::{CHUNK_ROWS, NEEDED, OnDevice, Stored, on_device, on_host};
use crate::lineitem::{COLUMNS, column};

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) config: &'a Config,
    /// As it was before the first answer.
    pub(super) flash: &'a Ssd,
    pub(super) stored: &'a Stored,
    /// What the program does for all rows.
    pub(super) work: Work,
    pub(super) cores: &'a HostCores,
}

/// Where the drive wins. Nothing: it wins, or loses, with all that was tried.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Frontier {
    /// With units of this clock or faster.
    pub(super) clock: Edge,
    /// With a host link of this bandwidth or slower.
    pub(super) link: Edge,
    /// If it returns this share of the rows or less, instead of their sum.
    pub(super) selectivity: Edge,
}

/// Where the better way changes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Edge {
    /// At this value.
    At(f64),
    /// The drive wins with all that was tried.
    Always,
    /// It never does.
    Never,
}

/// How long each way takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Times {
    pub(super) device: Duration,
    pub(super) host: Duration,
}

/// What a probe changes.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Change {
    /// Clock of the units, and bandwidth of the host link if it is another: times what they are.
    clock: f64,
    link: Option<f64>,
    /// Share of the rows that are returned.
    selectivity: f64,
}

const NONE: Change = Change { clock: 1.0, link: None, selectivity: 0.0 };

/// In place of a link without limit: what slower ones are fractions of.
const FAST_LINK: u64 = 16_000_000_000;

/// Clock and link are tried from a sixteenth to sixteen times what they are.
const RANGE: f64 = 16.0;
/// Halvings of a range: what is found is exact to a thousandth of it.
const STEPS: u32 = 11;
/// More rows are not simulated: it goes on as it began.
pub(super) const ROWS_MAX: u64 = 256 * CHUNK_ROWS;

impl Question<'_> {
    /// How long each way takes with the drive as it is.
    pub(super) fn as_it_is(&self) -> Result<Times> {
        self.probe(NONE)
    }

    /// Finds where the drive begins to win.
    pub(super) fn frontier(&self) -> Result<Frontier> {
        let by = |change: &dyn Fn(f64) -> Change, low: f64, high: f64| {
            search(low, high, &mut |value| {
                let times = self.probe(change(value))?;
                Ok(times.device < times.host)
            })
        };
        let logarithmic = (-RANGE.log2(), RANGE.log2());
        let clock = by(&|v| Change { clock: v.exp2(), ..NONE }, logarithmic.1, logarithmic.0)?;
        let link = by(&|v| Change { link: Some(v.exp2()), ..NONE }, logarithmic.0, logarithmic.1)?;
        let selectivity = by(&|v| Change { selectivity: v, ..NONE }, 0.0, 1.0)?;
        let hz = self.config.cost.clock.hz() as f64;
        let bandwidth = self.link_bytes_per_s() as f64;
        // What is found there is no more than nothing.
        let selectivity = match selectivity {
            Edge::At(share) if share < 0.001 => Edge::Never,
            edge => edge,
        };
        Ok(Frontier {
            clock: clock.map(|v| hz * v.exp2()),
            link: link.map(|v| bandwidth * v.exp2()),
            selectivity,
        })
    }

    /// What links are fractions of.
    fn link_bytes_per_s(&self) -> u64 {
        match self.config.host_link.bandwidth.bytes_per_s() {
            0 => FAST_LINK,
            rate => rate,
        }
    }

    fn probe(&self, change: Change) -> Result<Times> {
        let rows = self.stored.rows.min(ROWS_MAX);
        let stored = Stored { rows, ..*self.stored };
        let mut config = self.config.clone();
        if let Some(factor) = change.link {
            let rate = (self.link_bytes_per_s() as f64 * factor) as u64;
            config.host_link.bandwidth = Bandwidth::from_bytes_per_s(rate.max(1));
        }
        let table: CostTable = at_clock(&self.config.cost, change.clock);
        let time = table.time_for(&self.work);
        let widths: u64 = NEEDED.iter().map(|name| COLUMNS[column(name)].width as u64).sum();
        let how = OnDevice {
            chunk_time: Some(share(time, CHUNK_ROWS, self.stored.rows)),
            returned: (CHUNK_ROWS as f64 * widths as f64 * change.selectivity) as u64,
        };
        let flash = Some(self.flash.fork().context("flash that can be forked")?);
        let drive = Controller::with_parts(config, Parts { flash, ..Parts::default() })?;
        let mut session = simulator::open_drive(drive, 0, 1024)?;
        let image = ProgramImage::Declared(1u64.to_le_bytes());
        session.download_program_with(0, image, LoadOptions::default())?;
        session.activate_program(0, true)?;
        let begin = session.transport.driver.port.now();
        on_device(&mut session, &stored, how, &mut Watch::off(), true)?;
        let device = session.transport.driver.port.now().since(begin);
        while session.transport.driver.port.step() {}
        let begin = session.transport.driver.port.now();
        let mut cores = self.cores.clone();
        let host = on_host(&mut session, &stored, &mut cores, &mut Watch::off(), true)?;
        Ok(Times { device, host: host.ended.since(begin) })
    }
}

impl Edge {
    fn map(self, of: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::At(value) => Self::At(of(value)),
            edge => edge,
        }
    }
}

/// Between a value where the drive should win and one where it should lose: where that changes.
fn search(wins: f64, loses: f64, is_won: &mut dyn FnMut(f64) -> Result<bool>) -> Result<Edge> {
    let (mut wins, mut loses) = (wins, loses);
    if !is_won(wins)? {
        return Ok(Edge::Never);
    }
    if is_won(loses)? {
        return Ok(Edge::Always);
    }
    for _ in 0..STEPS {
        let middle = f64::midpoint(wins, loses);
        *(if is_won(middle)? { &mut wins } else { &mut loses }) = middle;
    }
    Ok(Edge::At(wins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_found_between_winning_and_losing() {
        let mut below = |value: f64| Ok(value < 3.3);
        let Edge::At(at) = search(0.0, 10.0, &mut below).unwrap() else { panic!("there is one") };
        assert!((3.29..3.3).contains(&at), "{at}");
        assert_eq!(search(0.0, 3.0, &mut below).unwrap(), Edge::Always);
        assert_eq!(search(4.0, 10.0, &mut below).unwrap(), Edge::Never);
    }
}
