//! Which namespaces reach each other: flash and device memory for fast copies, device memory and
//! programs for executions (Base 2.1, section 8.1.20).

use nvme_spec::{CommandSet, ReachabilityAssociation, ReachabilityGroup, ReachabilityHeader};
use zerocopy::IntoBytes;

use crate::namespace::{Namespaces, by_set};

/// Reachable, without a statement on speed.
const REACHABLE: u8 = 1;
/// Reachable, and copies are fast.
const FAST_COPY: u8 = 2;

/// Kinds of namespaces that reach each other, and how.
const ASSOCIATIONS: [([CommandSet; 2], u8); 3] = [
    ([CommandSet::NVM, CommandSet::MEMORY], FAST_COPY),
    ([CommandSet::MEMORY, CommandSet::PROGRAMS], REACHABLE),
    ([CommandSet::ZONED, CommandSet::MEMORY], FAST_COPY),
];

/// The group of a namespace (RGRPID): all of a kind are in one.
pub(crate) fn group_of(set: CommandSet) -> u32 {
    match set {
        CommandSet::NVM => 1,
        CommandSet::MEMORY => 2,
        CommandSet::ZONED => 4,
        _ => 3,
    }
}

fn header(count: usize) -> Vec<u8> {
    let count = (count as u16).into();
    ReachabilityHeader { count, ..Default::default() }.as_bytes().to_vec()
}

/// Reachability groups log; without the namespaces if only the groups are asked for.
pub(super) fn groups(namespaces: &Namespaces, groups_only: bool) -> Vec<u8> {
    let kinds = by_set(namespaces);
    let mut page = header(kinds.len());
    for (set, nsids) in kinds {
        let listed = if groups_only { &[][..] } else { &nsids };
        let (rgid, nnid) = (group_of(set).into(), (listed.len() as u32).into());
        page.extend(ReachabilityGroup { rgid, nnid, ..Default::default() }.as_bytes());
        page.extend(listed.iter().flat_map(|nsid| nsid.0.to_le_bytes()));
    }
    page
}

/// Reachability associations log; without the groups if only the associations are asked for.
pub(super) fn associations(namespaces: &Namespaces, associations_only: bool) -> Vec<u8> {
    let kinds = by_set(namespaces);
    let exist = |(sets, _): &([CommandSet; 2], u8)| sets.iter().all(|set| kinds.contains_key(set));
    let associations: Vec<_> = ASSOCIATIONS.into_iter().filter(exist).collect();
    let mut page = header(associations.len());
    for (n, (sets, rac)) in associations.into_iter().enumerate() {
        let listed = if associations_only { &[][..] } else { &sets };
        let association = ReachabilityAssociation {
            rasid: (n as u32 + 1).into(),
            nrid: (listed.len() as u32).into(),
            rac,
            ..Default::default()
        };
        page.extend(association.as_bytes());
        page.extend(listed.iter().flat_map(|set| group_of(*set).to_le_bytes()));
    }
    page
}
