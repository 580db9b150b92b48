//! How long a job holds its compute unit: who says it, and what it comes to.

use std::sync::Arc;

use compute::{RunTimeModel, Work};
use ebpf::CpuTime;
use nvme_spec::command::RunTime;
use simtime::Duration;

use super::ShellKind;
use crate::config::{Config, RemoteFallback};
use crate::work::Timing;

/// What was said when a program was loaded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProgramRunTime {
    pub(crate) run_time: RunTime,
    /// Factor of measured times in tenths, 0 = the drive's.
    pub(crate) scale_tenths: u16,
}

/// Where a job's cost comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CostSource {
    Declared(Duration),
    Instructions,
    Measured {
        /// In thousandths.
        scale: u64,
    },
    Remote,
}

impl CostSource {
    /// The time, if it is declared.
    pub(crate) fn declared(self) -> Option<Duration> {
        match self {
            Self::Declared(time) => Some(time),
            _ => None,
        }
    }

    /// The execution's word counts most, then the program's, then the drive's.
    pub(crate) fn choose(config: &Config, program: ProgramRunTime, execution: RunTime) -> Self {
        let said = declared(execution).or(declared(program.run_time));
        let as_declared = Self::Declared(said.unwrap_or(config.declared_time));
        let measured = Self::measured(config, program);
        let said = if execution == RunTime::Unsaid { program.run_time } else { execution };
        match (said, config.run_time) {
            (RunTime::Declared(_), _) | (RunTime::Unsaid, RunTimeModel::Declared) => as_declared,
            (RunTime::Measured, _) | (RunTime::Unsaid, RunTimeModel::Measured) => measured,
            (RunTime::Remote, _) | (RunTime::Unsaid, RunTimeModel::Remote) => Self::Remote,
            (RunTime::Instructions, _) | (RunTime::Unsaid, RunTimeModel::Instructions) => {
                Self::Instructions
            }
        }
    }

    fn measured(config: &Config, program: ProgramRunTime) -> Self {
        Self::Measured {
            scale: match program.scale_tenths {
                0 => config.run_time_scale_permille.into(),
                tenths => u64::from(tenths) * 100,
            },
        }
    }

    /// In place of a runtime server that says nothing; `None` if the execution is to fail then.
    pub(crate) fn fallback(config: &Config, program: ProgramRunTime) -> Option<Self> {
        Some(match config.runtime_server.fallback {
            RemoteFallback::Fail => return None,
            RemoteFallback::Instructions => Self::Instructions,
            RemoteFallback::Declared => {
                Self::Declared(declared(program.run_time).unwrap_or(config.declared_time))
            }
            RemoteFallback::Measured => Self::measured(config, program),
        })
    }

    /// What is to be found out for it of a run of the program in `object`.
    pub(crate) fn timing(self, config: &Config, object: &Arc<[u8]>) -> Timing {
        let samples = config.run_time_samples;
        match self {
            Self::Declared(_) | Self::Instructions => Timing::None,
            Self::Measured { .. } => Timing::Here { samples },
            Self::Remote => Timing::There {
                samples,
                object: Arc::clone(object),
                or_here: config.runtime_server.fallback == RemoteFallback::Measured,
            },
        }
    }

    /// Runs of a program that the shell runs, which measures its time always.
    pub(crate) fn samples(self, config: &Config) -> u32 {
        if matches!(self, Self::Measured { .. }) { config.run_time_samples } else { 1 }
    }

    /// The model's name.
    pub(crate) fn model(self) -> RunTimeModel {
        match self {
            Self::Declared(_) => RunTimeModel::Declared,
            Self::Instructions => RunTimeModel::Instructions,
            Self::Measured { .. } => RunTimeModel::Measured,
            Self::Remote => RunTimeModel::Remote,
        }
    }

    /// The cost of a job that did this work, in that processor time.
    pub(crate) fn cost(self, config: &Config, work: &Work, cpu_time: &CpuTime) -> Duration {
        let scaled = |scale: u64| {
            let ns = cpu_time.median.as_nanos().saturating_mul(scale.into()).div_ceil(1000);
            Duration::from_ns(u64::try_from(ns).unwrap_or(u64::MAX))
        };
        match self {
            Self::Declared(time) => time,
            Self::Instructions => config.cost.time_for(work),
            Self::Measured { scale } => scaled(scale),
            Self::Remote => scaled(1000),
        }
    }
}

impl ShellKind {
    /// Whether a program of this kind can take its run time from there.
    ///
    /// # Errors
    /// Why it cannot, for the diagnostics log.
    pub(super) fn check_run_time(self, run_time: RunTime) -> Result<(), &'static str> {
        match (self, run_time) {
            (Self::Native, RunTime::Instructions | RunTime::Remote) => Err(
                "the run time of a native program is declared or measured: its instructions are not counted, and no runtime server runs it",
            ),
            (Self::Wasm, RunTime::Remote) => Err(
                "the run time of a WebAssembly program is declared, measured or from its instructions: no runtime server runs it",
            ),
            _ => Ok(()),
        }
    }

    /// As [`CostSource::choose`]: what the drive or the program says counts as far as it can be, what the execution says must.
    ///
    /// # Errors
    /// As [`Self::check_run_time`].
    pub(super) fn choose(
        self,
        config: &Config,
        program: ProgramRunTime,
        execution: RunTime,
    ) -> Result<CostSource, &'static str> {
        self.check_run_time(execution)?;
        Ok(match (self, CostSource::choose(config, program, execution)) {
            (Self::Native, CostSource::Instructions | CostSource::Remote) => {
                CostSource::measured(config, program)
            }
            (Self::Wasm, CostSource::Remote) => CostSource::Instructions,
            (_, chosen) => chosen,
        })
    }
}

/// The time that is declared, if one is.
pub(super) fn declared(run_time: RunTime) -> Option<Duration> {
    match run_time {
        RunTime::Declared(ns @ 1..) => Some(Duration::from_ns(ns.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_special_word_counts() {
        use RunTime::{Declared, Instructions, Measured, Unsaid};
        let config = |run_time| Config { run_time, ..Config::default() };
        let declared = |ns| CostSource::Declared(Duration::from_ns(ns));
        let measured = |scale| CostSource::Measured { scale };
        for (drive, program, tenths, execution, expected) in [
            (RunTimeModel::Instructions, Unsaid, 0, Unsaid, CostSource::Instructions),
            (RunTimeModel::Declared, Unsaid, 0, Unsaid, declared(100_000)),
            (RunTimeModel::Measured, Unsaid, 0, Unsaid, measured(3000)),
            (RunTimeModel::Measured, Unsaid, 15, Unsaid, measured(1500)),
            (RunTimeModel::Instructions, Declared(7), 0, Unsaid, declared(7)),
            (RunTimeModel::Instructions, Declared(7), 0, Declared(5), declared(5)),
            (RunTimeModel::Instructions, Declared(7), 0, Declared(0), declared(7)),
            (RunTimeModel::Measured, Declared(7), 0, Instructions, CostSource::Instructions),
            (RunTimeModel::Declared, Instructions, 0, Unsaid, CostSource::Instructions),
            (RunTimeModel::Declared, Instructions, 0, Measured, measured(3000)),
        ] {
            let program = ProgramRunTime { run_time: program, scale_tenths: tenths };
            let chosen = CostSource::choose(&config(drive), program, execution);
            assert_eq!(chosen, expected, "{drive:?} {program:?} {execution:?}");
        }
    }

    #[test]
    fn a_measured_cost_is_the_median_times_the_scale() {
        let median = std::time::Duration::from_nanos(1001);
        let cpu_time = CpuTime { samples: 1, median, least: median, most: median };
        let cost = |scale| {
            let source = CostSource::Measured { scale };
            source.cost(&Config::default(), &Work::default(), &cpu_time).as_ns()
        };
        assert_eq!((cost(3000), cost(2500), cost(1)), (3003, 2503, 2));
    }
}
