//! Values of the features (Base 2.1, section 5.1.25): in force, saved, and of the factory.

use nvme_spec::{
    Arbitration, AsyncEvents, HostBehavior, InterruptCoalescing, TemperatureThreshold, Timestamp,
    fid,
};
use simtime::Instant;

use crate::limits::ARBITRATION_BURST_LOG2;

/// A warm drive, in kelvin (WCTEMP), and the factory's over temperature threshold.
pub(crate) const WARNING_TEMPERATURE_K: u16 = 343;

/// A room temperature drive, in kelvin.
pub(crate) const TEMPERATURE_K: u16 = 308;

/// Values of the controller that can be saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Values {
    pub(crate) arbitration: Arbitration,
    /// Over and under temperature thresholds, kelvin.
    pub(crate) temperature_k: [u16; 2],
    pub(crate) write_cache: bool,
    pub(crate) coalescing: InterruptCoalescing,
    /// Write Atomicity Normal, DN: the host does not need AWUN. The model keeps it anyway.
    pub(crate) atomicity_waived: bool,
    pub(crate) async_events: AsyncEvents,
    /// Vendor: copy descriptor formats that are enabled, as CDFE has them. Linux does not let programs set that.
    pub(crate) copy_formats: u16,
}

/// A value, and what a reset restores of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Saved<T> {
    pub(crate) current: T,
    pub(crate) saved: T,
}

impl<T: Copy + Default> Saved<T> {
    pub(crate) fn set(&mut self, value: T, save: bool) {
        self.current = value;
        if save {
            self.saved = value;
        }
    }

    /// A controller reset.
    pub(crate) fn reset(&mut self) {
        self.current = self.saved;
    }

    /// The value a selector of Get Features names.
    pub(crate) fn selected(&self, select: u8) -> T {
        match select {
            nvme_spec::select::DEFAULT => T::default(),
            nvme_spec::select::SAVED => self.saved,
            _ => self.current,
        }
    }
}

/// Copy descriptor formats that a host may enable: 2h, 3h and 4h (bits of CDFE).
pub(crate) const COPY_FORMATS_ENABLED: u16 = 0b1_1100;

impl Default for Values {
    fn default() -> Self {
        Self {
            arbitration: Arbitration::new().with_ab(ARBITRATION_BURST_LOG2),
            temperature_k: [WARNING_TEMPERATURE_K, 0],
            write_cache: true,
            coalescing: InterruptCoalescing::new(),
            atomicity_waived: false,
            async_events: AsyncEvents::new(),
            copy_formats: 0,
        }
    }
}

impl Values {
    /// True for the features kept here.
    pub(crate) fn has(id: u8) -> bool {
        matches!(
            id,
            fid::ARBITRATION
                | fid::TEMPERATURE_THRESHOLD
                | fid::VOLATILE_WRITE_CACHE
                | fid::INTERRUPT_COALESCING
                | fid::WRITE_ATOMICITY
                | fid::ASYNC_EVENTS
                | fid::COPY_FORMATS
        )
    }

    /// A value as dword 0 of Get Features; `selector` is its dword 11. `None` if the selector
    /// names nothing.
    pub(crate) fn get(&self, id: u8, selector: u32) -> Option<u32> {
        Some(match id {
            fid::ARBITRATION => self.arbitration.into_bits(),
            fid::TEMPERATURE_THRESHOLD => {
                let which = TemperatureThreshold::from_bits(selector);
                let sensors = which.tmpsel() == 0 && which.tmpthh() == 0;
                let value = self.temperature_k.get(usize::from(which.thsel()));
                u32::from(*value.filter(|_| sensors)?)
            }
            fid::VOLATILE_WRITE_CACHE => self.write_cache.into(),
            fid::INTERRUPT_COALESCING => self.coalescing.into_bits(),
            fid::WRITE_ATOMICITY => self.atomicity_waived.into(),
            fid::ASYNC_EVENTS => self.async_events.into_bits(),
            fid::COPY_FORMATS => self.copy_formats.into(),
            _ => return None,
        })
    }

    /// Takes dword 11 of Set Features; `None` if it asks for what the drive does not have.
    pub(crate) fn set(&mut self, id: u8, value: u32) -> Option<()> {
        let flag = |value: u32| (value < 2).then_some(value == 1);
        match id {
            fid::ARBITRATION => {
                self.arbitration = Arbitration::from_bits(value & !0xF8);
            }
            fid::TEMPERATURE_THRESHOLD => {
                let new = TemperatureThreshold::from_bits(value);
                // One sensor: the composite temperature; no hysteresis.
                if !matches!(new.tmpsel(), 0 | 0xF) || new.tmpthh() != 0 {
                    return None;
                }
                *self.temperature_k.get_mut(usize::from(new.thsel()))? = new.tmpth();
            }
            fid::VOLATILE_WRITE_CACHE => self.write_cache = flag(value)?,
            fid::INTERRUPT_COALESCING => {
                let new = InterruptCoalescing::from_bits(value);
                self.coalescing =
                    InterruptCoalescing::new().with_thr_z(new.thr_z()).with_time(new.time());
            }
            fid::WRITE_ATOMICITY => self.atomicity_waived = flag(value)?,
            fid::ASYNC_EVENTS => {
                // Only what OAES and the SMART log have.
                let new = AsyncEvents::from_bits(value & 0x11F);
                if new.into_bits() != value {
                    return None;
                }
                self.async_events = new;
            }
            fid::COPY_FORMATS => {
                let new = u16::try_from(value).ok()?;
                self.copy_formats = (new & !COPY_FORMATS_ENABLED == 0).then_some(new)?;
            }
            _ => return None,
        }
        Some(())
    }
}

/// All features.
#[derive(Debug)]
pub(crate) struct Features {
    /// In force.
    pub(crate) current: Values,
    /// What a reset restores.
    saved: Values,
    pub(crate) host_behavior: HostBehavior,
    /// Power state and workload hint; there is one state.
    pub(crate) power: u32,
    /// Keep alive time-out, 0 = none.
    pub(crate) keep_alive_ms: u32,
    timestamp_ms: u64,
    timestamp_origin: u8,
    timestamp_at: Instant,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            current: Values::default(),
            saved: Values::default(),
            host_behavior: HostBehavior::default(),
            power: 0,
            keep_alive_ms: 0,
            timestamp_ms: 0,
            timestamp_origin: 0,
            timestamp_at: Instant::ZERO,
        }
    }
}

impl Features {
    /// A controller reset.
    pub(crate) fn reset(&mut self, now: Instant) {
        *self =
            Self { current: self.saved, saved: self.saved, timestamp_at: now, ..Self::default() };
    }

    /// The values a selector of Get Features names.
    pub(crate) fn selected(&self, select: u8) -> Values {
        match select {
            nvme_spec::select::DEFAULT => Values::default(),
            nvme_spec::select::SAVED => self.saved,
            _ => self.current,
        }
    }

    /// Sets a value, and saves it if asked to. `None` if the drive does not have it.
    pub(crate) fn set(&mut self, id: u8, value: u32, save: bool) -> Option<()> {
        self.current.set(id, value)?;
        if save {
            self.saved.set(id, value)?;
        }
        Some(())
    }

    /// True if the temperature is beyond a threshold.
    pub(crate) fn is_temperature_critical(&self) -> bool {
        let [over, under] = self.current.temperature_k;
        TEMPERATURE_K >= over || TEMPERATURE_K <= under
    }

    /// True if copies of this format are enabled.
    pub(crate) fn has_copy_format(&self, format: u8) -> bool {
        let enabled = self.host_behavior.cdfe.get() | self.current.copy_formats;
        enabled & 1 << format != 0
    }

    /// The host says what time it is.
    pub(crate) fn set_timestamp(&mut self, now: Instant, timestamp: Timestamp) {
        (self.timestamp_ms, self.timestamp_origin) = (timestamp.ms(), 1);
        self.timestamp_at = now;
    }

    /// What time it is.
    pub(crate) fn timestamp(&self, now: Instant) -> Timestamp {
        let passed = now.since(self.timestamp_at).as_ns() / 1_000_000;
        Timestamp::new(self.timestamp_ms.wrapping_add(passed), self.timestamp_origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_values_survive_a_reset_and_others_do_not() {
        let mut features = Features::default();
        features.set(fid::WRITE_ATOMICITY, 1, true).unwrap();
        features.set(fid::ARBITRATION, 5, false).unwrap();
        assert_eq!(features.selected(0).get(fid::ARBITRATION, 0), Some(5));
        features.reset(Instant::ZERO);
        assert_eq!(features.selected(0).get(fid::ARBITRATION, 0), Some(3));
        for select in [0, 2] {
            assert_eq!(features.selected(select).get(fid::WRITE_ATOMICITY, 0), Some(1));
        }
        assert_eq!(features.selected(1).get(fid::WRITE_ATOMICITY, 0), Some(0));
    }

    #[test]
    fn what_the_drive_does_not_have_is_refused_whole() {
        let mut features = Features::default();
        for (id, value) in [
            (fid::VOLATILE_WRITE_CACHE, 2),
            (fid::TEMPERATURE_THRESHOLD, 1 << 16),
            (fid::TEMPERATURE_THRESHOLD, 2 << 20),
            (fid::ASYNC_EVENTS, 1 << 9),
            (fid::COPY_FORMATS, 1 << 5),
            (fid::COPY_FORMATS, 1 << 20),
            (0x7F, 0),
        ] {
            assert_eq!(features.set(id, value, true), None, "{id:#x} {value:#x}");
        }
        assert_eq!(features.current, Values::default());
    }
}
