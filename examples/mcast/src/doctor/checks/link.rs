//! The interface: is it up, and does it take the group?

use std::net::IpAddr;

use super::super::case::{Case, Direction};
use super::super::evidence::{Snapshot, Told, setting_of};
use super::super::report::{Check, Status, listed, shown};
use super::super::tree::{LinkSign, Stage};
use super::blamed;
use crate::host::groups::HardwareAddress;
use crate::host::links::{DORMANT, DUPLICATE, Hardware, LOOPBACK, Link, MULTICAST, TENTATIVE};

fn flags(case: &Case, check: &mut Check) {
    let flags = |snapshot: &Snapshot| {
        let link = snapshot.link(case.place.index);
        link.map_or_else(|| "unknown".to_owned(), |link| format!("{:#x}", link.flags))
    };
    check.saw("RTM_GETLINK {if} flags", &flags(&case.start), &flags(&case.end));
}

pub(super) fn link(case: &Case, _: Stage, check: &mut Check) {
    flags(case, check);
    match case.link_sign() {
        LinkSign::Missing if case.place.name == "default" => {
            check.is(Status::Fail, "No interface is named, and no route leads to the group: name the interface.");
        }
        LinkSign::Missing => {
            let links = case.end.links.as_ref().map_or(&[][..], Vec::as_slice);
            let names: Vec<_> = links.iter().map(|link| link.name.clone()).collect();
            check.is_of(Status::Fail, "There is no interface {if}: name one of {}.", &listed(&names));
        }
        LinkSign::Down => check.is(Status::Fail, "{if} is down: ip link set {if} up."),
        LinkSign::Unknown => {
            check.is(Status::Unknown, "The kernel does not list its interfaces: run it outside of the sandbox.")
        }
        LinkSign::Up | LinkSign::NoCarrier => check.is(Status::Ok, "{if} is up."),
    }
}

pub(super) fn carrier(case: &Case, _: Stage, check: &mut Check) {
    let Some(link) = case.link() else { return check.is(Status::Unknown, "Nothing is known of {if}.") };
    let carrier = |link: Option<&Link>| {
        let carrier = link.and_then(|link| link.carrier).map(u64::from);
        let state = link.and_then(|link| link.state).map(u64::from);
        [shown(carrier), shown(state)].join(", state ")
    };
    check.saw("RTM_GETLINK {if} carrier", &carrier(case.start.link(link.index)), &carrier(Some(link)));
    match (case.link_sign(), link.carrier) {
        (LinkSign::Down, _) => check.is(Status::Unknown, "A link that is down has no carrier; look again when it is up."),
        (LinkSign::NoCarrier, _) if link.state == Some(DORMANT) => {
            check.is(Status::Fail, "{if} waits for something (dormant): look at its authentication.");
        }
        (LinkSign::NoCarrier, _) => {
            check.is(Status::Fail, "{if} has no carrier: look at the cable, the port, or the other end.");
        }
        (_, None) => check.is(Status::Unknown, "The kernel does not tell the carrier."),
        (_, Some(_)) => check.is(Status::Ok, "{if} has a carrier."),
    }
}

pub(super) fn multicast_flag(case: &Case, _: Stage, check: &mut Check) {
    flags(case, check);
    match case.link() {
        None => check.is(Status::Unknown, "Nothing is known of {if}."),
        Some(link) if link.flags & LOOPBACK != 0 => check.is(Status::Ok, "{if} carries multicast without the flag."),
        Some(link) if link.flags & MULTICAST == 0 => check
            .is(Status::Warn, "IFF_MULTICAST is missing, so many programs leave {if} out: ip link set {if} multicast on."),
        Some(_) => check.is(Status::Ok, "The interface is marked for multicast."),
    }
}

pub(super) fn ipv6(case: &Case, stage: Stage, check: &mut Check) {
    if !case.is_ipv6() {
        return check.is(Status::Ok, "The group is one of IPv4.");
    }
    let disabled = setting_of("ipv6", &case.place.name, "disable_ipv6");
    check.sees_setting("net/ipv6/conf/{if}/disable_ipv6", disabled.as_deref());
    check.counts_here(case.whole(), "Ip6InDiscards");
    if case.ipv6_is_off() {
        return check
            .is(blamed(stage == Stage::Ipv6), "IPv6 is switched off on {if}: sysctl net.ipv6.conf.{if}.disable_ipv6=0.");
    }
    let Ok(addresses) = &case.end.addresses else {
        return check.is(Status::Unknown, "The kernel does not list its addresses.");
    };
    let own: Vec<_> = addresses.iter().filter(|own| own.index == case.place.index && own.address.is_ipv6()).collect();
    for own in &own {
        check.sees("RTM_GETADDR {if}", &format_args!("{}/{} flags {:#x}", own.address, own.prefix, own.flags));
    }
    let is_local = |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let is_loopback = case.link().is_some_and(|link| link.flags & LOOPBACK != 0);
    let status = blamed(stage == Stage::Ipv6 || stage == Stage::SourceAddress);
    if own.iter().any(|own| own.flags & (TENTATIVE | DUPLICATE) == 0 && (is_local(own.address) || is_loopback)) {
        return check.is(Status::Ok, "IPv6 is on, and the link-local address is ready.");
    }
    if let Some(duplicate) = own.iter().find(|own| own.flags & DUPLICATE != 0) {
        return check.is_of(status, "Another host has the address {}: change one of them.", &duplicate.address);
    }
    if own.iter().any(|own| own.flags & TENTATIVE != 0) {
        return check.is(status, "The address is not checked yet (tentative): wait a second, then look again.");
    }
    match disabled {
        None => check.is(Status::Unknown, "The kernel does not tell whether IPv6 is on: it may have none."),
        Some(_) => check.is(status, "{if} has no link-local address: give it one, or switch IPv6 off and on."),
    }
}

pub(super) fn mac_filter(case: &Case, _: Stage, check: &mut Check) {
    let wanted = hardware_address(case.address());
    let users = |list: &Told<Vec<HardwareAddress>>| {
        let found = list.as_ref().ok()?.iter().find(|known| known.index == case.place.index && known.address == wanted);
        Some(found.map_or(0, |known| known.users))
    };
    let after = users(&case.end.hardware);
    let digits: Vec<_> = wanted.iter().map(|byte| format!("{byte:02x}")).collect();
    check.saw_number(&["/proc/net/dev_mcast {if} ", &digits.concat()].concat(), users(&case.start.hardware), after);
    let Some(link) = case.link() else { return check.is(Status::Unknown, "Nothing is known of {if}.") };
    for (figure, users) in [("promiscuity", link.promiscuity), ("allmulti", link.all_multicast)] {
        check.sees(&["RTM_GETLINK {if} ", figure].concat(), &shown(users.map(u64::from)));
    }
    let takes_more = [link.promiscuity, link.all_multicast].iter().flatten().any(|users| *users > 0);
    match after {
        None => check.is(Status::Unknown, "The filter of the device cannot be read."),
        _ if link.flags & LOOPBACK != 0 => check.is(Status::Ok, "lo has no filter."),
        _ if link.hardware == Hardware::NoAddresses => {
            check.is(Status::Ok, "{if} has no hardware addresses, so nothing is filtered by them.")
        }
        Some(0) if link.hardware == Hardware::Other => {
            check.is(Status::Unknown, "Which address the group has on hardware of this kind is not known here.")
        }
        Some(1..) => check.is(Status::Ok, "The device was told to take the address, which 32 groups share in IPv4."),
        Some(0) if case.joined.is_err() => {
            check.is(Status::Unknown, "The doctor is not joined, so the address need not be there.")
        }
        Some(0) if takes_more => check.is(Status::Ok, "The address is not in the filter, but the device takes all of them."),
        Some(0) => {
            check.is(
                Status::Warn,
                "Joined, but the device was not told: look at its driver, or ip link set {if} allmulticast on.",
            );
        }
    }
}

/// The address on Ethernet: RFC 1112, section 6.4, and RFC 2464, section 7.
fn hardware_address(group: IpAddr) -> Vec<u8> {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            vec![0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            vec![0x33, 0x33, a, b, c, d]
        }
    }
}

pub(super) fn device_drops(case: &Case, _: Stage, check: &mut Check) {
    let (index, whole) = (case.place.index, case.whole());
    let (Some(before), Some(after)) = (case.start.traffic(index), case.end.traffic(index)) else {
        return check.is(Status::Unknown, "The kernel tells no counters of {if}.");
    };
    if case.order.direction == Direction::To {
        check.carries(case, "tx_dropped", |traffic| traffic.tx_dropped);
        check.carries(case, "tx_errors", |traffic| traffic.tx_errors);
        return match after.tx_dropped > before.tx_dropped || after.tx_errors > before.tx_errors {
            true => check.is(Status::Warn, "{if} drops packets that should leave: look at its queue and driver."),
            false => check.is(Status::Ok, "{if} dropped nothing."),
        };
    }
    check.carries(case, "rx_dropped", |traffic| traffic.rx_dropped);
    check.carries(case, "rx_missed_errors", |traffic| traffic.rx_missed);
    check.carries(case, "rx_fifo_errors", |traffic| traffic.rx_fifo);
    check.carries(case, "rx_errors", |traffic| traffic.rx_errors);
    check.counts(whole, "softnet:dropped");
    check.counts(whole, "softnet:squeezed");
    let grows = after.rx_missed > before.rx_missed || after.rx_fifo > before.rx_fifo || after.rx_errors > before.rx_errors;
    match (grows, whole.grown("softnet:dropped")) {
        (true, _) => check.is(Status::Warn, "{if} drops packets: enlarge its ring (ethtool -G {if} rx N)."),
        (_, Some(1..)) => {
            check.is(Status::Warn, "A processor drops packets of some interface: raise net.core.netdev_max_backlog.")
        }
        // The kernel counts a frame there as well that no protocol takes.
        _ if after.rx_dropped > before.rx_dropped => check.is(
            Status::Warn,
            "{if} counts dropped frames: of a protocol that nobody takes here, as LLDP, or since the driver had no room (ethtool -S {if}).",
        ),
        (false, None) => check.is(Status::Unknown, "The queues of the processors cannot be read."),
        (false, Some(0)) => check.is(Status::Ok, "Neither {if} nor a processor dropped anything meanwhile."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_addresses_on_ethernet() {
        // The upper bit of the second byte is not in it: 32 groups share one.
        for group in ["239.129.2.3", "224.1.2.3"] {
            assert_eq!(hardware_address(group.parse().unwrap()), [0x01, 0x00, 0x5e, 1, 2, 3]);
        }
        assert_eq!(hardware_address("ff02::1:ff00:42".parse().unwrap()), [0x33, 0x33, 0xff, 0, 0, 0x42]);
    }
}
