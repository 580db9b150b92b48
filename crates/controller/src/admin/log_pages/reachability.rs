//! Which namespaces reach each other: flash and device memory for fast copies, device memory and
//! programs for executions (Base 2.1, section 8.1.20). It never changes.

use nvme_spec::{ReachabilityAssociation, ReachabilityGroup, ReachabilityHeader};
use zerocopy::IntoBytes;

use crate::namespace::{COMPUTE_NSID, MEMORY_NSID, NAMESPACES, NVM_NSID};

/// Reachable, without a statement on speed.
const REACHABLE: u8 = 1;
/// Reachable, and copies are fast.
const FAST_COPY: u8 = 2;

/// Groups that reach each other, and how.
const ASSOCIATIONS: [([u32; 2], u8); 2] =
    [([NVM_NSID, MEMORY_NSID], FAST_COPY), ([MEMORY_NSID, COMPUTE_NSID], REACHABLE)];

/// The group of a namespace (RGRPID): each is alone in the group of its number.
pub(crate) fn group_of(nsid: u32) -> u32 {
    nsid
}

/// Reachability groups log; without the namespaces if only the groups are asked for.
pub(super) fn groups(groups_only: bool) -> Vec<u8> {
    let count = NAMESPACES.len() as u16;
    let mut page =
        ReachabilityHeader { count: count.into(), ..Default::default() }.as_bytes().to_vec();
    for (nsid, _) in NAMESPACES {
        let nnid = u32::from(!groups_only);
        let rgid = group_of(nsid);
        let group =
            ReachabilityGroup { rgid: rgid.into(), nnid: nnid.into(), ..Default::default() };
        page.extend(group.as_bytes());
        if !groups_only {
            page.extend(nsid.to_le_bytes());
        }
    }
    page
}

/// Reachability associations log; without the groups if only the associations are asked for.
pub(super) fn associations(associations_only: bool) -> Vec<u8> {
    let count = ASSOCIATIONS.len() as u16;
    let mut page =
        ReachabilityHeader { count: count.into(), ..Default::default() }.as_bytes().to_vec();
    for (n, (namespaces, rac)) in ASSOCIATIONS.into_iter().enumerate() {
        let nrid = if associations_only { 0 } else { namespaces.len() as u32 };
        let association = ReachabilityAssociation {
            rasid: (n as u32 + 1).into(),
            nrid: nrid.into(),
            rac,
            ..Default::default()
        };
        page.extend(association.as_bytes());
        if !associations_only {
            page.extend(namespaces.into_iter().flat_map(|nsid| group_of(nsid).to_le_bytes()));
        }
    }
    page
}
