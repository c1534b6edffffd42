//! The examination: a look, a wait, a join, a wait, a look; then the questions that are left if nothing was heard.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use multicast::{ErrorKind, Interface};
use rustix::io::Errno;

use super::case::{Case, Direction, Order, Place, Ways};
use super::ears::{Ear, Heard, Looped, listen, send_looped, wait};
use super::evidence::{Snapshot, Told};
use super::tree::FEW;
use crate::host::features;
use crate::host::groups;
use crate::host::links::{self, LOOPBACK, UP};
use crate::host::netlink::Netlink;
use crate::host::owners::Owners;
use crate::host::routes::{self, Way};
use crate::host::rules;
use crate::limits::Limits;
use crate::stop::Stop;

/// On how many other interfaces the doctor looks for the group.
const ELSEWHERE: usize = 16;

/// Examines the host.
#[inline(never)]
pub(super) fn examine(order: Order, limits: &Limits) -> Result<Case, Stop> {
    let mut netlink = Netlink::route().map_err(|error| format!("netlink: {error}"));
    let group = order.group;
    let place = locate(&order, &mut netlink)?;
    let half = order.time / 2;
    let is_ipv6 = group.address().is_ipv6();

    let start = Snapshot::take(&mut netlink, &place.name, is_ipv6);
    // Before the join: the reports that it sends may mend what is broken.
    wait(limits, half)?;
    let join = Snapshot::take(&mut netlink, &place.name, is_ipv6);
    let mut ears = Vec::new();
    let mut own = Vec::new();
    let mut deaf = None;
    let mut joined = Ear::open(group, order.source, place.index).map(|ear| keep(ear, &mut ears, &mut own));
    if let Err(error) = &joined
        && error.kind() == ErrorKind::AddressInUse
    {
        deaf = Some(error.clone());
        joined = Ear::beside(group, place.index).map(|ear| keep(ear, &mut ears, &mut own));
    }
    let joined_then = Snapshot::take(&mut netlink, &place.name, is_ipv6);
    listen(&mut ears, limits, half, None)?;
    let end = Snapshot::take(&mut netlink, &place.name, is_ipv6);
    let heard = ears.first().map(|ear| ear.heard.clone()).unwrap_or_default();
    // While it is a member.
    let ways = ask_ways(&mut netlink, &order, &place, &end, &heard);

    let owners = Owners::look();
    let coalesces = features::coalesces(place.index).map_err(|error| error.to_string());
    let mut case = Case {
        order,
        place,
        start,
        join,
        listen: joined_then,
        end,
        joined,
        deaf,
        heard,
        own,
        looped: None,
        others: None,
        elsewhere: Vec::new(),
        sources: Ok(Vec::new()),
        ways,
        owners,
        chains: rules::chains(),
        coalesces,
    };
    let is_to = case.order.direction == Direction::To;
    if is_to || case.heard.packets == 0 {
        ask_on(&mut case, &mut ears, &mut netlink, limits)?;
    }
    // Without those of the doctor. Last, since reading them takes a group on `lo`, whose reports move the counters.
    drop(ears);
    case.sources = groups::sources();
    Ok(case)
}

/// The questions that are left if nothing was heard.
#[inline(never)]
fn ask_on(case: &mut Case, ears: &mut Vec<Ear>, netlink: &mut Told<Netlink>, limits: &Limits) -> Result<(), Stop> {
    let (group, index) = (case.order.group, case.place.index);
    let quarter = (case.order.time / 4).max(Duration::from_millis(300));
    if case.deaf.is_some() && case.order.direction == Direction::From {
        return Ok(());
    }
    // The packet stays here only if the host takes the group from any source. The same membership hears whether others send.
    let mut everybody = Vec::new();
    let from_any = case.order.source.is_some() && case.deaf.is_none();
    let ears = if from_any {
        let opened = Ear::open(group, None, index).map(|ear| keep(ear, &mut everybody, &mut case.own));
        case.joined = case.joined.clone().and(opened);
        &mut everybody
    } else {
        ears
    };
    let before = Snapshot::take(netlink, &case.place.name, group.address().is_ipv6());
    let looped = match &case.joined {
        Ok(()) => send_looped(ears, group, limits)?,
        Err(error) => Looped::NotTried(error.to_string()),
    };
    let after = Snapshot::take(netlink, &case.place.name, group.address().is_ipv6());
    case.looped = Some((before, looped, after));
    if case.order.direction == Direction::To {
        return Ok(());
    }
    if from_any && !ears.is_empty() {
        listen(ears, limits, quarter, None)?;
        case.others = ears.first().map(|ear| ear.heard.clone());
    }
    let mut elsewhere = Vec::new();
    for index in busy_interfaces(case) {
        // An interface on which joining fails is not where the group comes in.
        let _ = Ear::open(group, case.order.source, index).map(|ear| keep(ear, &mut elsewhere, &mut case.own));
    }
    if !elsewhere.is_empty() {
        listen(&mut elsewhere, limits, quarter, None)?;
        case.elsewhere = elsewhere.iter().map(|ear| (ear.index, ear.heard.clone())).collect();
    }
    Ok(())
}

/// Adds it to those that listen, and its socket to those of the doctor itself.
fn keep(ear: Ear, ears: &mut Vec<Ear>, own: &mut Vec<u64>) {
    own.extend(std::fs::metadata(format!("/proc/self/fd/{}", ear.as_raw_fd())).map(|file| file.ino()));
    ears.push(ear);
}

/// The other interfaces on which packets have come in.
fn busy_interfaces(case: &Case) -> Vec<u32> {
    let Ok(links) = &case.end.links else { return Vec::new() };
    let is_busy = |index| case.listening().traffic(index, |traffic| traffic.rx_packets).is_some_and(|rx| rx >= FEW);
    let others = links.iter().filter(|link| link.index != case.place.index && link.port_of != "bridge");
    let usable = others.filter(|link| link.flags & UP != 0 && link.flags & LOOPBACK == 0 && is_busy(link.index));
    usable.map(|link| link.index).take(ELSEWHERE).collect()
}

/// Finds the interface. Index 0 if there is none: that is a finding, not an error.
#[inline(never)]
fn locate(order: &Order, netlink: &mut Told<Netlink>) -> Result<Place, Stop> {
    let netlink = netlink.as_mut().map_err(|error| Stop::failed(format!("the interfaces cannot be listed: {error}")))?;
    let unreadable = |error: Errno| Stop::failed(format!("the interfaces cannot be listed: {error}"));
    let links = links::links(netlink).map_err(unreadable)?;
    let by_index = |index: u32, unknown: String| {
        let found = links.iter().find(|link| link.index == index);
        found.map_or(Place { index: 0, name: unknown }, |link| Place { index: link.index, name: link.name.clone() })
    };
    Ok(match order.interface {
        Interface::Default => match routes::outwards(netlink, order.group.address(), None) {
            Ok(Way { interface: Some(index), .. }) => by_index(index, "default".to_owned()),
            _ => Place { index: 0, name: "default".to_owned() },
        },
        Interface::Index(index) => by_index(index.get(), index.to_string()),
        Interface::Name(name) => match links.iter().find(|link| link.name == name.as_str()) {
            Some(link) => Place { index: link.index, name: link.name.clone() },
            // It may be an alternative name.
            None => by_index(index_of(name.as_str()), name.to_string()),
        },
        Interface::Address(address) => {
            let addresses = links::addresses(netlink).map_err(unreadable)?;
            let found = addresses.iter().find(|known| known.address == address);
            by_index(found.map_or(0, |known| known.index), address.to_string())
        }
        _ => return Err(Stop::misused("the doctor examines one interface: name one, not all".to_owned())),
    })
}

fn index_of(name: &str) -> u32 {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None);
    socket.and_then(|socket| rustix::net::netdevice::name_to_index(socket, name)).unwrap_or(0)
}

/// Asks what the kernel would do with packets to the group, and from its sender.
#[inline(never)]
fn ask_ways(netlink: &mut Told<Netlink>, order: &Order, place: &Place, now: &Snapshot, heard: &Heard) -> Ways {
    let Ok(netlink) = netlink else { return Ways::default() };
    let (group, index) = (order.group.address(), place.index);
    let mut ways = Ways {
        unnamed: Some(routes::outwards(netlink, group, None)),
        out: (index != 0).then(|| routes::outwards(netlink, group, Some(index))),
        sender: None,
        neighbour: None,
    };
    // IPv6 has no filter of this kind, and its answer does not depend on memberships.
    if group.is_ipv6() || index == 0 {
        return ways;
    }
    let sender = order.source.or(heard.senders.first().copied());
    ways.sender = sender.map(|sender| routes::inwards(netlink, group, sender, index));
    ways.neighbour = neighbour(now, index).map(|neighbour| routes::inwards(netlink, group, neighbour, index));
    ways
}

/// An address of the interface's own network that is not its own.
fn neighbour(now: &Snapshot, index: u32) -> Option<IpAddr> {
    let addresses = now.addresses.as_ref().ok()?;
    let own = addresses.iter().find(|known| known.index == index && known.address.is_ipv4() && known.prefix <= 30)?;
    let IpAddr::V4(address) = own.address else { return None };
    let host = u32::MAX.checked_shr(own.prefix.into())?;
    let number = address.to_bits() & host;
    // Neither the network's own address, 0, nor the broadcast address, the last one.
    let other = if number == 1 { 2 } else { 1 };
    Some(Ipv4Addr::from_bits((address.to_bits() & !host) | other).into())
}
