//! Set Features and Get Features (Base 2.1, sections 5.1.25 and 5.1.11). The number of queues is the queues' business:
//! `admin.rs`.

use nvme_spec::{
    ErrorRecovery, HostBehavior, InterruptVector, Nsid, Status, Timestamp, fdp_event, fid, select,
};
use zerocopy::IntoBytes;

use crate::admin::identify::ENDURANCE_GROUP;
use crate::admin::keep_alive::KeepAlive;
use crate::command::{GetFeatures, SetFeatures};
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::features::{COPY_FORMATS_ENABLED, Values};
use crate::namespace::Namespace;
use crate::placement;
use crate::subsystem::Subsystem;
use crate::turn::Turn;
use crate::waiting::{AdminArrival, Arrival};

/// Supported capabilities (Base 2.1, Figure 197).
const SAVEABLE: u32 = 1 << 0;
const NAMESPACE_SPECIFIC: u32 = 1 << 1;
const CHANGEABLE: u32 = 1 << 2;

/// Features with a value for each NVM namespace.
pub(crate) fn is_namespace_specific(id: u8) -> bool {
    matches!(id, fid::ERROR_RECOVERY | fid::WRITE_PROTECTION | fid::PLACEMENT_EVENTS)
}

/// True if a feature's value can be saved.
fn is_saveable(id: u8) -> bool {
    Values::has(id) || id == fid::ERROR_RECOVERY
}

impl Subsystem {
    /// True if the drive has the feature.
    pub(crate) fn has_feature(&self, id: u8) -> bool {
        match id {
            fid::VOLATILE_WRITE_CACHE => self.has_write_cache(),
            fid::PLACEMENT | fid::PLACEMENT_EVENTS => self.config.placement,
            id => fid::ALL.contains(&id),
        }
    }
}

/// Set Features whose value is in the command; the two that bring data wait for it.
pub(crate) fn set(
    turn: &mut Turn<'_>,
    tag: Tag,
    SetFeatures { fid: id, save, nsid, value, more }: SetFeatures,
    pointer: DataPointer,
) -> Result<(), Status> {
    if save && !is_saveable(id) {
        return Err(Status::FEATURE_NOT_SAVEABLE.with_dnr());
    }
    let data = match id {
        // It is as the drive was made.
        fid::PLACEMENT => return Err(Status::FEATURE_NOT_CHANGEABLE.with_dnr()),
        fid::PLACEMENT_EVENTS => {
            let (handle, count) = (value as u16, usize::from((value >> 16) as u8));
            if count == 0 || nsid == Nsid::ALL {
                return Err(Status::INVALID_FIELD.with_dnr());
            }
            let enable = more & 1 != 0;
            Some((AdminArrival::PlacementEvents { handle, count, enable }, count))
        }
        fid::TIMESTAMP => Some((AdminArrival::Timestamp, size_of::<Timestamp>())),
        fid::HOST_BEHAVIOR => Some((AdminArrival::HostBehavior, size_of::<HostBehavior>())),
        _ => None,
    };
    if let Some((arrival, len)) = data {
        return turn.fetch_data(tag, pointer, len as u64, Arrival::Admin(arrival));
    }
    if is_namespace_specific(id) {
        set_of_namespaces(turn, id, nsid, value, save)?;
    } else {
        set_value(turn, id, value, save)?;
    }
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

fn set_value(turn: &mut Turn<'_>, id: u8, value: u32, save: bool) -> Result<(), Status> {
    let invalid = Status::INVALID_FIELD.with_dnr();
    let session = &mut *turn.session;
    match id {
        fid::POWER_MANAGEMENT => {
            // One power state (NPSS = 0); workload hints are kept.
            if value & !0xE0 != 0 {
                return Err(invalid);
            }
            session.features.power = value;
        }
        fid::INTERRUPT_VECTOR => {
            let setting = InterruptVector::from_bits(value);
            session.interrupts.set_disabled(setting.iv(), setting.cd()).ok_or(invalid)?;
        }
        fid::KEEP_ALIVE => {
            let granted = KeepAlive::granted_ms(value);
            session.features.keep_alive_ms = granted;
            session.keep_alive.set(turn.now, &mut turn.subsystem.events, granted);
        }
        fid::COMMAND_SET_PROFILE => match value {
            0 => {}
            1..512 => return Err(Status::COMMAND_SET_COMBINATION_REJECTED.with_dnr()),
            _ => return Err(invalid),
        },
        id => session.features.set(id, value, save).ok_or(invalid)?,
    }
    session.check_temperature();
    Ok(())
}

/// Sets a feature of an NVM namespace, or of all that are attached.
fn set_of_namespaces(
    turn: &mut Turn<'_>,
    id: u8,
    nsid: Nsid,
    value: u32,
    save: bool,
) -> Result<(), Status> {
    // Protection: neither until a power cycle nor permanent (NWPC).
    if id == fid::WRITE_PROTECTION && value > 1 {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let session = &mut *turn.session;
    for namespace in turn.subsystem.namespaces.nvm_all_mut() {
        let is_attached = session.attached.contains(namespace.nsid);
        if !is_attached || (nsid != Nsid::ALL && nsid != namespace.nsid) {
            continue;
        }
        if id == fid::WRITE_PROTECTION {
            let protect = value == 1;
            if std::mem::replace(&mut namespace.is_protected, protect) != protect {
                session.namespace_changed(namespace.nsid);
            }
        } else {
            let new = ErrorRecovery::from_bits(value);
            let new = ErrorRecovery::new().with_tler(new.tler()).with_dulbe(new.dulbe());
            namespace.error_recovery.set(new, save);
        }
    }
    if id == fid::WRITE_PROTECTION {
        turn.subsystem.save_durably(turn.now, &turn.session.attached)?;
    }
    Ok(())
}

/// Types of events of data placement have arrived.
pub(crate) fn placement_events_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    (nsid, handle): (Nsid, u16),
    segments: &Segments,
    (count, enable): (usize, bool),
) -> Result<(), Status> {
    let invalid = Status::INVALID_FIELD.with_dnr();
    let mut kinds = vec![0; count];
    segments.read(&*turn.host, &mut kinds)?;
    let namespace = turn.subsystem.namespaces.nvm(nsid).ok_or(invalid)?;
    let stream = namespace.handles.stream(handle).ok_or(invalid)?;
    if !kinds.iter().all(|kind| fdp_event::ALL.contains(kind)) {
        return Err(invalid);
    }
    turn.subsystem.placement_events.set(stream, &kinds, enable);
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

/// The data of a Set Features command has arrived.
pub(crate) fn timestamp_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
) -> Result<(), Status> {
    let mut timestamp = Timestamp::default();
    segments.read(&*turn.host, timestamp.as_mut_bytes())?;
    turn.session.features.set_timestamp(turn.now, timestamp);
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

/// The data of a Set Features command has arrived.
pub(crate) fn host_behavior_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
) -> Result<(), Status> {
    let mut behavior = HostBehavior::default();
    segments.read(&*turn.host, behavior.as_mut_bytes())?;
    let HostBehavior { acre, etdas, lbafee, hdisns, cdfe, reserved6 } = behavior;
    let is_valid = [acre, etdas, lbafee, hdisns].into_iter().all(|flag| flag < 2)
        && cdfe.get() & !COPY_FORMATS_ENABLED == 0
        && reserved6.iter().all(|&byte| byte == 0);
    if !is_valid {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    turn.session.features.host_behavior = behavior;
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

/// What a feature can (Get Features, select 3h).
pub(crate) fn capabilities(id: u8) -> u32 {
    let bits = |set: bool, bit: u32| if set { bit } else { 0 };
    bits(id != fid::PLACEMENT, CHANGEABLE)
        | bits(is_saveable(id), SAVEABLE)
        | bits(is_namespace_specific(id), NAMESPACE_SPECIFIC)
}

/// Get Features.
pub(crate) fn get(
    turn: &mut Turn<'_>,
    tag: Tag,
    command: GetFeatures,
    pointer: DataPointer,
) -> Result<(), Status> {
    let is_current = command.select == select::CURRENT;
    let features = &turn.session.features;
    match command.fid {
        fid::TIMESTAMP => {
            let value =
                if is_current { features.timestamp(turn.now) } else { Timestamp::default() };
            turn.return_page(tag, value.as_bytes(), pointer)
        }
        fid::PLACEMENT_EVENTS => {
            let (handle, count) = (command.selector as u16, (command.selector >> 16) as u8);
            let (page, result) =
                placement::events_feature(turn, command.nsid, handle, count.into())?;
            turn.return_page_and(tag, &page, pointer, result)
        }
        fid::HOST_BEHAVIOR => {
            let current = features.host_behavior;
            let value = if is_current { current } else { HostBehavior::default() };
            turn.return_page(tag, value.as_bytes(), pointer)
        }
        _ => {
            let result = value(turn, &command).ok_or(Status::INVALID_FIELD.with_dnr())?;
            turn.complete(tag, Status::SUCCESS, result);
            Ok(())
        }
    }
}

fn value(turn: &Turn<'_>, command: &GetFeatures) -> Option<u64> {
    let GetFeatures { fid: id, select, nsid, selector } = *command;
    let session = &turn.session;
    // Values that cannot be saved have the factory's as their saved one.
    let current_or = |current: u64, factory: u64| {
        if select == select::CURRENT { current } else { factory }
    };
    Some(match id {
        fid::POWER_MANAGEMENT => current_or(session.features.power.into(), 0),
        fid::INTERRUPT_VECTOR => {
            let vector = InterruptVector::from_bits(selector).iv();
            let is_disabled = session.interrupts.is_disabled(vector)?;
            let setting = |cd| InterruptVector::new().with_iv(vector).with_cd(cd).into_bits();
            current_or(setting(is_disabled).into(), setting(false).into())
        }
        fid::KEEP_ALIVE => current_or(session.features.keep_alive_ms.into(), 0),
        fid::COMMAND_SET_PROFILE => 0,
        // Enabled, by the first configuration.
        fid::PLACEMENT => (selector as u16 == ENDURANCE_GROUP).then_some(1)?,
        fid::ERROR_RECOVERY => {
            let namespace = turn.subsystem.namespaces.nvm(nsid)?;
            namespace.error_recovery.selected(select).into_bits().into()
        }
        // Protection outlives resets: what is in force is what is saved.
        fid::WRITE_PROTECTION if select == select::DEFAULT => 0,
        fid::WRITE_PROTECTION => turn.subsystem.namespaces.nvm(nsid)?.is_protected.into(),
        id => session.features.selected(select).get(id, selector)?.into(),
    })
}

/// Checks that a feature exists and that the namespace goes with it.
pub(crate) fn check_namespace(
    turn: &Turn<'_>,
    id: u8,
    nsid: Nsid,
    is_set: bool,
) -> Result<(), Status> {
    if !turn.subsystem.has_feature(id) {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    match (is_namespace_specific(id), is_set) {
        (true, true) if nsid == Nsid::ALL => Ok(()),
        (true, _) => match turn.active(nsid)? {
            Namespace::Nvm(_) => Ok(()),
            // Neither memory nor programs have these features.
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        },
        (false, true) if matches!(nsid, Nsid::NONE | Nsid::ALL) => Ok(()),
        (false, true) => {
            turn.active(nsid)?;
            Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC.with_dnr())
        }
        // Tools send the namespace they were given; it changes nothing.
        (false, false) => Ok(()),
    }
}
