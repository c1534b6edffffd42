//! Which memberships of this host the command line asks for.

use multicast::Interface;

use crate::host::groups::{Joined, Mode, Source, joined};
use crate::options::Common;
use crate::stop::Stop;
use crate::target::Target;

/// A membership that was asked for.
pub(super) struct Wanted {
    pub(super) joined: Joined,
    /// The ports of its sockets that were asked for; `None` for all.
    pub(super) ports: Option<Vec<u16>>,
}

/// All memberships that were asked for, by interface and group. Without `sources`, which are not known then, also those that may not hear the
/// source that was asked for.
#[inline(never)]
pub(super) fn wanted(common: &Common, sources: Option<&[Source]>) -> Result<Vec<Wanted>, Stop> {
    let mut choices = Vec::new();
    if common.targets.is_empty() {
        choices.push(Choice { target: None, interfaces: indexes(&common.interfaces)? });
    }
    for target in &common.targets {
        let written = target.interface.as_slice();
        let interfaces = indexes(if written.is_empty() { &common.interfaces } else { written })?;
        choices.push(Choice { target: Some(*target), interfaces });
    }
    let mut memberships = joined().map_err(Stop::failed)?;
    memberships.sort_by_key(|joined| (joined.index, joined.group));
    // If the kernel's table changes while it is read, a line may come twice.
    memberships.dedup_by_key(|joined| (joined.index, joined.group));
    Ok(memberships.into_iter().filter_map(|joined| choose(&choices, joined, sources)).collect())
}

/// The interfaces' indexes; `None` for all.
fn indexes(interfaces: &[Interface]) -> Result<Option<Vec<u32>>, Stop> {
    if interfaces.is_empty() || interfaces.contains(&Interface::All) {
        return Ok(None);
    }
    let indexes = interfaces.iter().map(|interface| interface.index().map(|index| index.get()));
    Ok(Some(indexes.collect::<multicast::Result<_>>()?))
}

/// What one target asks for, or the whole command line without one.
struct Choice {
    target: Option<Target>,
    /// `None` for all.
    interfaces: Option<Vec<u32>>,
}

#[inline(never)]
fn choose(choices: &[Choice], joined: Joined, sources: Option<&[Source]>) -> Option<Wanted> {
    let mut ports = Vec::new();
    let mut is_any_port = false;
    for choice in choices.iter().filter(|choice| choice.takes(&joined, sources)) {
        match choice.target.and_then(|target| target.port()) {
            Some(port) => ports.push(port),
            None => is_any_port = true,
        }
    }
    let is_wanted = is_any_port || !ports.is_empty();
    is_wanted.then(|| Wanted { joined, ports: (!is_any_port).then_some(ports) })
}

impl Choice {
    fn takes(&self, joined: &Joined, sources: Option<&[Source]>) -> bool {
        let is_here = self.interfaces.as_ref().is_none_or(|indexes| indexes.contains(&joined.index));
        is_here
            && self.target.is_none_or(|target| {
                target.contains(joined.group)
                    && target.source.zip(sources).is_none_or(|(source, sources)| hears(joined, source, sources))
            })
    }
}

/// Whether the membership takes packets from this source, as far as is known.
fn hears(joined: &Joined, source: std::net::IpAddr, sources: &[Source]) -> bool {
    match sources.iter().find(|named| joined.has(named) && named.source == source) {
        // Nobody named it, and all who joined blocked it.
        Some(named) => named.included > 0 || named.excluded < joined.users,
        None => joined.mode(sources) != Mode::Include,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined_on(index: u32, group: &str) -> Joined {
        Joined { index, interface: format!("a{index}"), group: group.parse().unwrap(), users: 1, version: None }
    }

    fn choice(target: &str, interfaces: Option<&[u32]>) -> Choice {
        Choice { target: Some(Target::parse(target).unwrap()), interfaces: interfaces.map(<[u32]>::to_vec) }
    }

    #[test]
    fn a_target_asks_for_its_groups_ports_and_interfaces() {
        let choices = [choice("239.1.2.0/30:5000", Some(&[1])), choice("239.1.2.1:6000", None), choice("ff02::77+2", None)];
        let ports = |joined| choose(&choices, joined, Some(&[])).map(|wanted| wanted.ports);
        assert_eq!(ports(joined_on(1, "239.1.2.3")), Some(Some(vec![5000])));
        assert_eq!(ports(joined_on(2, "239.1.2.3")), None);
        assert_eq!(ports(joined_on(1, "239.1.2.4")), None);
        assert_eq!(ports(joined_on(1, "239.1.2.1")), Some(Some(vec![5000, 6000])));
        assert_eq!(ports(joined_on(2, "239.1.2.1")), Some(Some(vec![6000])));
        // Without a port: sockets on any.
        assert_eq!(ports(joined_on(3, "ff02::78")), Some(None));
        assert_eq!(ports(joined_on(3, "ff02::79")), None);
        let all = [Choice { target: None, interfaces: None }];
        assert!(choose(&all, joined_on(9, "224.0.0.1"), None).is_some());
    }

    #[test]
    fn a_source_asks_for_memberships_that_hear_it() {
        let (wanted, other) = ("10.0.0.1", "10.0.0.2");
        let named = |source: &str, included, excluded| Source {
            index: 1,
            group: "239.1.2.3".parse().unwrap(),
            source: source.parse().unwrap(),
            included,
            excluded,
        };
        let is_chosen = |sources: &[Source]| {
            choose(&[choice("10.0.0.1@239.1.2.3", None)], joined_on(1, "239.1.2.3"), Some(sources)).is_some()
        };
        assert!(is_chosen(&[]));
        assert!(is_chosen(&[named(wanted, 1, 0)]));
        assert!(!is_chosen(&[named(other, 1, 0)]));
        assert!(!is_chosen(&[named(wanted, 0, 1)]));
        assert!(is_chosen(&[named(other, 0, 1)]));
    }
}
