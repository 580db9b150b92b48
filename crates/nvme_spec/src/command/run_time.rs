//! How an execution's run time is found: vendor specific, in Load Program and Execute Program.

use bitfield_struct::bitfield;

/// Load Program, dword 2: vendor. Dword 3 is a declared run time in nanoseconds.
#[bitfield(u32)]
pub struct LoadProgramCdw2 {
    /// Run-time model: 0 = the drive's, or declared if dword 3 is not 0; then as [`RunTime`] counts them.
    #[bits(4)]
    pub model: u8,
    #[bits(12)]
    __: u16,
    /// Factor of measured times in tenths, 0 = the drive's (where CEMU has it).
    pub scale_tenths: u16,
}

/// How an execution's run time is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RunTime {
    /// As the program or else the drive says.
    #[default]
    Unsaid,
    /// So many nanoseconds; 0 = as the program or else the drive declares.
    Declared(u32),
    /// From executed instructions and bytes touched.
    Instructions,
    /// The processor time that the host of the drive took, times a factor.
    Measured,
    /// The processor time that a runtime server took.
    Remote,
}

/// Execute dword 15 from here on is no time but a model.
const MODELS: u32 = 0xFFFF_FFF0;

impl RunTime {
    /// From Execute dword 15; `None` if it means nothing.
    pub fn of_execute(dword: u32) -> Option<Self> {
        match dword {
            0 => Some(Self::Unsaid),
            MODELS.. => {
                Self::of_model((dword - MODELS) as u8, 0).filter(|time| *time != Self::Unsaid)
            }
            ns => Some(Self::Declared(ns)),
        }
    }

    /// Execute dword 15. The longest declared time is 4.29 s.
    pub fn to_execute(self) -> u32 {
        match self {
            Self::Unsaid => 0,
            Self::Declared(0) => MODELS + 1,
            Self::Declared(ns) => ns.min(MODELS - 1),
            Self::Instructions => MODELS + 2,
            Self::Measured => MODELS + 3,
            Self::Remote => MODELS + 4,
        }
    }

    /// From Load dwords 2 (the model) and 3 (the declared time); `None` if there is no such model.
    pub fn of_model(model: u8, declared_ns: u32) -> Option<Self> {
        match model {
            0 if declared_ns == 0 => Some(Self::Unsaid),
            0 | 1 => Some(Self::Declared(declared_ns)),
            2 => Some(Self::Instructions),
            3 => Some(Self::Measured),
            4 => Some(Self::Remote),
            _ => None,
        }
    }

    /// The model and the declared time, for Load dwords 2 and 3.
    pub fn to_model(self) -> (u8, u32) {
        match self {
            Self::Unsaid => (0, 0),
            Self::Declared(ns) => (1, ns),
            Self::Instructions => (2, 0),
            Self::Measured => (3, 0),
            Self::Remote => (4, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_times_survive_both_forms() {
        use RunTime::{Declared, Instructions, Measured, Remote, Unsaid};
        for time in [
            Unsaid,
            Declared(0),
            Declared(1),
            Declared(4_000_000_000),
            Instructions,
            Measured,
            Remote,
        ] {
            assert_eq!(RunTime::of_execute(time.to_execute()), Some(time));
            let (model, ns) = time.to_model();
            assert_eq!(RunTime::of_model(model, ns), Some(time));
        }
        assert_eq!(RunTime::of_execute(0xFFFF_FFF0), None);
        assert_eq!(RunTime::of_execute(0xFFFF_FFFF), None);
        assert_eq!(RunTime::of_model(9, 0), None);
        assert_eq!(RunTime::of_model(0, 5), Some(Declared(5)));
    }
}
