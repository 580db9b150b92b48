//! Set Features and Get Features (Base 2.1, sections 5.1.25 and 5.1.11).

use nvme_spec::namespace::ALL_NSID;
use nvme_spec::{HostBehavior, InterruptVector, Status, Timestamp, fid, select};
use simtime::Instant;
use zerocopy::IntoBytes;

use crate::admin::keep_alive::KeepAlive;
use crate::command::{GetFeatures, SetFeatures};
use crate::controller::Controller;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::features::{COPY_FORMATS_ENABLED, Values};
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, Tag};
use crate::namespace::{NAMESPACES, NVM_NSID};

/// Supported capabilities (Base 2.1, Figure 197).
const SAVEABLE: u32 = 1 << 0;
const NAMESPACE_SPECIFIC: u32 = 1 << 1;
const CHANGEABLE: u32 = 1 << 2;

/// Features with a value for each namespace: here, for the NVM namespace.
pub(crate) fn is_namespace_specific(id: u8) -> bool {
    matches!(id, fid::ERROR_RECOVERY | fid::WRITE_PROTECTION)
}

impl Controller {
    /// True if the drive has the feature.
    pub(crate) fn has_feature(&self, id: u8) -> bool {
        match id {
            fid::VOLATILE_WRITE_CACHE => self.has_write_cache(),
            id => fid::ALL.contains(&id),
        }
    }

    /// Set Features whose value is in the command; the two that bring data wait for it.
    pub(crate) fn set_features(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        (command, pointer): (SetFeatures, DataPointer),
    ) -> Result<(), Status> {
        let SetFeatures { fid: id, save, nsid, value } = command;
        self.check_feature_namespace(id, nsid, true)?;
        if save && !Values::has(id) {
            return Err(Status::FEATURE_NOT_SAVEABLE.with_dnr());
        }
        let arrival = match id {
            fid::TIMESTAMP => Some((Arrival::SetTimestamp, size_of::<Timestamp>())),
            fid::HOST_BEHAVIOR => Some((Arrival::SetHostBehavior, size_of::<HostBehavior>())),
            _ => None,
        };
        if let Some((arrival, len)) = arrival {
            let segments = Segments::resolve(host, pointer, len as u64, Direction::FromHost)?;
            let arrival = Box::new(arrival);
            self.expect_data(now, tag, len as u64, Activity::Arriving { segments, arrival });
            return Ok(());
        }
        let result = self.set_value(now, id, save, value)?;
        self.complete(now, tag, Status::SUCCESS, result);
        Ok(())
    }

    fn set_value(&mut self, now: Instant, id: u8, save: bool, value: u32) -> Result<u64, Status> {
        let invalid = Status::INVALID_FIELD.with_dnr();
        match id {
            fid::NUMBER_OF_QUEUES => return self.set_queue_count(value),
            fid::POWER_MANAGEMENT => {
                // One power state (NPSS = 0); workload hints are kept.
                if value & !0xE0 != 0 {
                    return Err(invalid);
                }
                self.features.power = value;
            }
            fid::INTERRUPT_VECTOR => {
                let setting = InterruptVector::from_bits(value);
                self.interrupts.set_disabled(setting.iv(), setting.cd()).ok_or(invalid)?;
            }
            fid::KEEP_ALIVE => {
                self.features.keep_alive_ms = KeepAlive::granted_ms(value);
                self.keep_alive.set(now, &mut self.events, self.features.keep_alive_ms);
            }
            fid::COMMAND_SET_PROFILE => match value {
                0 => {}
                1..512 => return Err(Status::COMMAND_SET_COMBINATION_REJECTED.with_dnr()),
                _ => return Err(invalid),
            },
            fid::WRITE_PROTECTION => {
                // Neither until a power cycle nor permanent (NWPC).
                if value > 1 {
                    return Err(invalid);
                }
                let protect = value == 1;
                if std::mem::replace(&mut self.features.write_protected, protect) != protect {
                    self.namespace_changed(NVM_NSID);
                }
            }
            id => self.features.set(id, value, save).ok_or(invalid)?,
        }
        self.check_temperature();
        Ok(0)
    }

    /// The data of a Set Features command has arrived.
    pub(crate) fn feature_data_arrived(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        (segments, arrival): (&Segments, &Arrival),
    ) -> Result<(), Status> {
        if let Arrival::SetTimestamp = arrival {
            let mut timestamp = Timestamp::default();
            segments.read(host, timestamp.as_mut_bytes())?;
            self.features.set_timestamp(now, timestamp);
        } else {
            let mut behavior = HostBehavior::default();
            segments.read(host, behavior.as_mut_bytes())?;
            let HostBehavior { acre, etdas, lbafee, hdisns, cdfe, reserved6 } = behavior;
            let is_valid = [acre, etdas, lbafee, hdisns].into_iter().all(|flag| flag < 2)
                && cdfe.get() & !COPY_FORMATS_ENABLED == 0
                && reserved6.iter().all(|&byte| byte == 0);
            if !is_valid {
                return Err(Status::INVALID_FIELD.with_dnr());
            }
            self.features.host_behavior = behavior;
        }
        self.complete(now, tag, Status::SUCCESS, 0);
        Ok(())
    }

    /// Get Features.
    pub(crate) fn get_features(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        (command, pointer): (GetFeatures, DataPointer),
    ) -> Result<(), Status> {
        let GetFeatures { fid: id, select, nsid, selector } = command;
        self.check_feature_namespace(id, nsid, false)?;
        if select == select::CAPABILITIES {
            let bits = |set: bool, bit: u32| if set { bit } else { 0 };
            let capabilities = CHANGEABLE
                | bits(Values::has(id), SAVEABLE)
                | bits(is_namespace_specific(id), NAMESPACE_SPECIFIC);
            self.complete(now, tag, Status::SUCCESS, capabilities.into());
            return Ok(());
        }
        let is_current = select == select::CURRENT;
        match id {
            fid::TIMESTAMP => {
                let value =
                    if is_current { self.features.timestamp(now) } else { Timestamp::default() };
                return self.return_page(now, host, tag, value.as_bytes(), pointer);
            }
            fid::HOST_BEHAVIOR => {
                let current = self.features.host_behavior;
                let value = if is_current { current } else { HostBehavior::default() };
                return self.return_page(now, host, tag, value.as_bytes(), pointer);
            }
            _ => {}
        }
        let result = self.value(id, select, selector).ok_or(Status::INVALID_FIELD.with_dnr())?;
        self.complete(now, tag, Status::SUCCESS, result);
        Ok(())
    }

    fn value(&self, id: u8, select: u8, selector: u32) -> Option<u64> {
        // Values that cannot be saved have the factory's as their saved one.
        let current_or = |current: u64, factory: u64| {
            if select == select::CURRENT { current } else { factory }
        };
        Some(match id {
            fid::NUMBER_OF_QUEUES => self.queue_count(),
            fid::POWER_MANAGEMENT => current_or(self.features.power.into(), 0),
            fid::INTERRUPT_VECTOR => {
                let vector = InterruptVector::from_bits(selector).iv();
                let is_disabled = self.interrupts.is_disabled(vector)?;
                let setting = |cd| InterruptVector::new().with_iv(vector).with_cd(cd).into_bits();
                current_or(setting(is_disabled).into(), setting(false).into())
            }
            fid::KEEP_ALIVE => current_or(self.features.keep_alive_ms.into(), 0),
            fid::COMMAND_SET_PROFILE => 0,
            // Protection outlives resets: what is in force is what is saved.
            fid::WRITE_PROTECTION if select == select::DEFAULT => 0,
            fid::WRITE_PROTECTION => self.features.write_protected.into(),
            id => self.features.selected(select).get(id, selector)?.into(),
        })
    }

    /// Checks that a feature exists and that the namespace goes with it.
    fn check_feature_namespace(&self, id: u8, nsid: u32, is_set: bool) -> Result<(), Status> {
        if !self.has_feature(id) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let exists = NAMESPACES.iter().any(|(n, _)| *n == nsid);
        let verdict = match (is_namespace_specific(id), is_set) {
            (true, _) if nsid == NVM_NSID => Ok(()),
            (true, true) if nsid == ALL_NSID => Ok(()),
            // Neither memory nor programs have these features.
            (true, _) if exists => Err(Status::INVALID_FIELD),
            (true, _) => Err(Status::INVALID_NAMESPACE),
            (false, true) if matches!(nsid, 0 | ALL_NSID) => Ok(()),
            (false, true) if exists => Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC),
            (false, true) => Err(Status::INVALID_NAMESPACE),
            // Tools send the namespace they were given; it changes nothing.
            (false, false) => Ok(()),
        };
        verdict.map_err(Status::with_dnr)
    }
}
