//! Where a command listens: each group on each interface, with its sources.

use std::net::IpAddr;

use multicast::{Group, Interface, Membership};

use crate::options::Common;
use crate::stop::Stop;

/// One socket's worth of listening: a group on an interface, or on all of them.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) group: Group,
    pub(crate) interface: Interface,
    /// Only packets from these; from anybody if there is none.
    pub(crate) sources: Vec<IpAddr>,
}

impl Place {
    pub(crate) fn memberships(&self) -> impl Iterator<Item = Membership> {
        let any = self.sources.is_empty().then(|| Membership::any(self.group));
        let from = self.sources.iter().map(|source| Membership::source(self.group, *source));
        any.into_iter().chain(from).map(|membership| membership.on(self.interface))
    }
}

/// The places of all targets. Several sources of one group on one interface are one place.
pub(crate) fn places(common: &Common) -> Result<Vec<Place>, Stop> {
    let mut places: Vec<Place> = Vec::new();
    // Groups of one target are all different: only those of targets before can be the same.
    let mut before = 0;
    for target in &common.targets {
        for interface in common.interfaces_of(target) {
            for group in target.groups() {
                let known = places.get_mut(..before).unwrap_or_default();
                let same = known.iter_mut().find(|place| place.group == group && place.interface == interface);
                match (same, target.source) {
                    (None, source) => places.push(Place { group, interface, sources: source.into_iter().collect() }),
                    (Some(place), Some(source)) if !place.sources.is_empty() => {
                        if !place.sources.contains(&source) {
                            place.sources.push(source);
                        }
                    }
                    (Some(place), None) if place.sources.is_empty() => {}
                    (Some(_), _) => {
                        return Err(Stop::misused(format!("{group} is named with a source and without one: choose")));
                    }
                }
            }
        }
        before = places.len();
    }
    Ok(places)
}
