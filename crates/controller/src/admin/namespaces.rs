//! Namespace Management and Namespace Attachment (Base 2.1, sections 5.1.20 and 5.1.21): NVM namespaces come and go at run
//! time. Device memory and programs are the drive's for ever.

use nvme_spec::{CommandSet, ControllerList, IDENTIFY_SIZE, NamespaceSpecification, Nsid, Status};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::identify::CONTROLLER_ID;
use super::operations::{check_erasable, end_users};
use crate::command::NamespaceAction;
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::namespace::nvm::LBA_FORMATS;
use crate::namespace::{Namespace, check_nsid};
use crate::placement::Handles;
use crate::turn::Turn;
use crate::waiting::{AdminArrival, Arrival};

/// Begins a command. All but a deletion bring data.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    action: NamespaceAction,
    pointer: DataPointer,
) -> Result<(), Status> {
    match action {
        NamespaceAction::Create { set } if set != CommandSet::NVM => {
            return Err(Status::COMMAND_SET_NOT_SUPPORTED.with_dnr());
        }
        NamespaceAction::Create { .. } => {}
        NamespaceAction::Delete => {
            delete(turn, nsid)?;
            turn.complete(tag, Status::SUCCESS, 0);
            return Ok(());
        }
        NamespaceAction::Attach | NamespaceAction::Detach => drop(nvm_ids(turn, nsid)?),
    }
    let arrival = Arrival::Admin(AdminArrival::Namespaces(action));
    turn.fetch_data(tag, pointer, IDENTIFY_SIZE as u64, arrival)
}

/// Goes on with a command whose data has arrived.
pub(crate) fn arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    segments: &Segments,
    action: NamespaceAction,
) -> Result<(), Status> {
    // One may have begun while the data came.
    turn.check_no_sanitize()?;
    let mut list = ControllerList::new_zeroed();
    segments.read(&*turn.host, list.as_mut_bytes())?;
    let mut result = 0;
    match action {
        NamespaceAction::Create { .. } => {
            let (specification, _) =
                NamespaceSpecification::read_from_prefix(list.as_bytes()).expect("it is shorter");
            result = create(turn, &specification)?.0.into();
        }
        NamespaceAction::Attach => attach(turn, nsid, &list)?,
        NamespaceAction::Detach => detach(turn, nsid, &list)?,
        NamespaceAction::Delete => unreachable!("a deletion brings no data"),
    }
    turn.subsystem.save_durably(turn.now, &turn.session.attached)?;
    turn.complete(tag, Status::SUCCESS, result);
    Ok(())
}

/// The NVM namespaces that a command names: one, or all.
fn nvm_ids(turn: &Turn<'_>, nsid: Nsid) -> Result<Vec<Nsid>, Status> {
    if nsid == Nsid::ALL {
        return Ok(turn.subsystem.namespaces.nvm_all().map(|namespace| namespace.nsid).collect());
    }
    check_nsid(nsid)?;
    match turn.subsystem.namespaces.get(nsid) {
        Some(Namespace::Nvm(_)) => Ok(vec![nsid]),
        // Memory and programs neither come nor go.
        Some(_) => Err(Status::INVALID_NAMESPACE.with_dnr()),
        None => Err(Status::INVALID_FIELD.with_dnr()),
    }
}

/// Creates a namespace, attached to no controller.
fn create(turn: &mut Turn<'_>, specification: &NamespaceSpecification) -> Result<Nsid, Status> {
    let invalid = Status::INVALID_FIELD.with_dnr();
    let NamespaceSpecification { nsze, ncap, flbas, dps, nmic, .. } = specification;
    // Bits 6:5 of FLBAS are bits 5:4 of the format; bit 4 is for metadata, which no format has.
    let format = usize::from(flbas & 0xF | (flbas & 0x60) >> 1);
    let block_bytes = *LBA_FORMATS.get(format).ok_or(Status::INVALID_FORMAT.with_dnr())?;
    // No protection information, no sharing between controllers, no groups and no sets of namespaces.
    let is_plain = *dps == 0
        && nmic & 1 == 0
        && specification.anagrpid.get() == 0
        && specification.nvmsetid.get() <= 1
        && specification.endgid.get() <= 1
        && specification.lbstm.get() == 0;
    if !is_plain || nsze.get() == 0 {
        return Err(invalid);
    }
    if nsze.get() != ncap.get() {
        return Err(Status::THIN_PROVISIONING_NOT_SUPPORTED.with_dnr());
    }
    let bytes = nsze.get().checked_mul(u64::from(block_bytes));
    let bytes = bytes.ok_or(Status::NAMESPACE_INSUFFICIENT_CAPACITY)?;
    let count = usize::from(specification.nphndls.get());
    let list = specification.placement_handles.get(..count).ok_or(invalid)?;
    let list: Vec<u16> = list.iter().map(|handle| handle.get()).collect();
    let config = &turn.subsystem.config;
    let handles = match (list.is_empty(), config.placement) {
        (true, _) => None,
        (false, false) => return Err(invalid),
        (false, true) => {
            let handles = Handles::of_list(&list, config.flash.hint_streams, true);
            Some(handles.ok_or(Status::INVALID_PLACEMENT_HANDLE_LIST.with_dnr())?)
        }
    };
    let nsid = turn.subsystem.namespaces.create_nvm(bytes, block_bytes, handles)?;
    turn.subsystem.note_namespace(turn.now, nsid);
    Ok(nsid)
}

/// Deletes namespaces with what they hold; those that are attached are detached first.
fn delete(turn: &mut Turn<'_>, nsid: Nsid) -> Result<(), Status> {
    let nsids = nvm_ids(turn, nsid)?;
    check_erasable(turn, &nsids)?;
    end_users(turn, &nsids, Status::INVALID_NAMESPACE.with_dnr());
    for nsid in nsids {
        turn.subsystem.empty(turn.now, nsid);
        turn.subsystem.namespaces.delete_nvm(nsid);
        if let Some(history) = &mut turn.subsystem.history {
            history.deleted(turn.now, nsid);
        }
        turn.subsystem.background.namespace_removed(turn.now, nsid);
        if turn.session.attached.remove(nsid) {
            turn.session.namespace_changed(nsid);
        }
    }
    turn.subsystem.make_durable()?;
    turn.subsystem.save_durably(turn.now, &turn.session.attached)
}

/// Checks that a list names the one controller.
fn check_list(list: &ControllerList) -> Result<(), Status> {
    if list.count.get() != 1 || list.ids[0].get() != CONTROLLER_ID {
        return Err(Status::CONTROLLER_LIST_INVALID.with_dnr());
    }
    Ok(())
}

/// Attaches namespaces; of all, those that are not attached.
fn attach(turn: &mut Turn<'_>, nsid: Nsid, list: &ControllerList) -> Result<(), Status> {
    check_list(list)?;
    let nsids = nvm_ids(turn, nsid)?;
    if nsid != Nsid::ALL && turn.session.attached.contains(nsid) {
        return Err(Status::NAMESPACE_ALREADY_ATTACHED.with_dnr());
    }
    for nsid in nsids {
        if turn.session.attached.insert(nsid) {
            turn.session.namespace_changed(nsid);
        }
    }
    Ok(())
}

/// Detaches namespaces; of all, those that are attached.
fn detach(turn: &mut Turn<'_>, nsid: Nsid, list: &ControllerList) -> Result<(), Status> {
    check_list(list)?;
    let mut nsids = nvm_ids(turn, nsid)?;
    if nsid != Nsid::ALL && !turn.session.attached.contains(nsid) {
        return Err(Status::NAMESPACE_NOT_ATTACHED.with_dnr());
    }
    nsids.retain(|nsid| turn.session.attached.contains(*nsid));
    if turn.subsystem.namespaces.nvm_all().any(|n| nsids.contains(&n.nsid) && n.is_formatting) {
        return Err(Status::FORMAT_IN_PROGRESS);
    }
    end_users(turn, &nsids, Status::INVALID_NAMESPACE.with_dnr());
    for nsid in nsids {
        turn.session.attached.remove(nsid);
        turn.session.namespace_changed(nsid);
    }
    Ok(())
}
