//! The interface: is it up, and does it take the group?

use std::net::IpAddr;

use super::super::case::{Case, Direction};
use super::super::evidence::setting_of;
use super::super::report::{Check, Status, shown};
use super::super::tree::{LinkSign, Stage};
use crate::host::links::{DORMANT, DUPLICATE, LOOPBACK, Link, MULTICAST, TENTATIVE};

fn flags(case: &Case, check: Check) -> Check {
    let index = case.place.index;
    let flags = |link: Option<&Link>| shown(link.map(|link| format!("{:#x}", link.flags)));
    check.saw(format!("RTM_GETLINK {} flags", case.place.name), flags(case.start.link(index)), flags(case.end.link(index)))
}

pub(super) fn link(case: &Case, _: Stage) -> Check {
    let name = &case.place.name;
    let check = flags(case, Check::new("link"));
    match case.link_sign() {
        LinkSign::Missing if name == "default" => {
            check.is(Status::Fail, "No interface is named, and no route leads to the group: name the interface.")
        }
        LinkSign::Missing => {
            let links = case.end.links.as_ref().map_or(&[][..], Vec::as_slice);
            let names = links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ");
            check.is(Status::Fail, format!("There is no interface {name}: name one of {names}."))
        }
        LinkSign::Down => check.is(Status::Fail, format!("{name} is down: ip link set {name} up.")),
        LinkSign::Unknown => {
            check.is(Status::Unknown, "The kernel does not list its interfaces: run it outside of the sandbox.")
        }
        LinkSign::Up | LinkSign::NoCarrier => check.is(Status::Ok, format!("{name} is up.")),
    }
}

pub(super) fn carrier(case: &Case, _: Stage) -> Check {
    let name = &case.place.name;
    let Some(link) = case.link() else {
        return Check::new("carrier").is(Status::Unknown, format!("Nothing is known of {name}."));
    };
    let index = link.index;
    let carrier = |link: Option<&Link>| {
        let [carrier, state] = link.map_or([None, None], |link| [link.carrier.map(u8::from), link.state]);
        format!("{}, state {}", shown(carrier), shown(state))
    };
    let before = carrier(case.start.link(index));
    let check = Check::new("carrier").saw(format!("RTM_GETLINK {name} carrier"), before, carrier(Some(link)));
    match (case.link_sign(), link.carrier) {
        (LinkSign::Down, _) => check.is(Status::Unknown, "A link that is down has no carrier; look again when it is up."),
        (LinkSign::NoCarrier, _) if link.state == Some(DORMANT) => {
            check.is(Status::Fail, format!("{name} waits for something (dormant): look at its authentication."))
        }
        (LinkSign::NoCarrier, _) => {
            check.is(Status::Fail, format!("{name} has no carrier: look at the cable, the port, or the other end."))
        }
        (_, None) => check.is(Status::Unknown, "The kernel does not tell the carrier."),
        (_, Some(_)) => check.is(Status::Ok, format!("{name} has a carrier.")),
    }
}

pub(super) fn multicast_flag(case: &Case, _: Stage) -> Check {
    let name = &case.place.name;
    let check = flags(case, Check::new("multicast-flag"));
    match case.link() {
        None => check.is(Status::Unknown, format!("Nothing is known of {name}.")),
        Some(link) if link.flags & LOOPBACK != 0 => {
            check.is(Status::Ok, format!("{name} carries multicast without the flag."))
        }
        Some(link) if link.flags & MULTICAST == 0 => check.is(
            Status::Warn,
            format!("IFF_MULTICAST is missing, so many programs leave {name} out: ip link set {name} multicast on."),
        ),
        Some(_) => check.is(Status::Ok, "The interface is marked for multicast."),
    }
}

pub(super) fn ipv6(case: &Case, stage: Stage) -> Check {
    let check = Check::new("ipv6");
    let name = &case.place.name;
    if !case.is_ipv6() {
        return check.is(Status::Ok, "The group is one of IPv4.");
    }
    let disabled = setting_of("ipv6", name, "disable_ipv6");
    let check = check
        .sees(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), shown(disabled.as_ref()))
        .counts_here(case.whole(), "Ip6InDiscards");
    if case.ipv6_is_off() {
        let status = if stage == Stage::Ipv6 { Status::Fail } else { Status::Warn };
        return check.is(status, format!("IPv6 is switched off on {name}: sysctl net.ipv6.conf.{name}.disable_ipv6=0."));
    }
    let Ok(addresses) = &case.end.addresses else {
        return check.is(Status::Unknown, "The kernel does not list its addresses.");
    };
    let own: Vec<_> = addresses.iter().filter(|own| own.index == case.place.index && own.address.is_ipv6()).collect();
    let list = own.iter().map(|own| format!("{}/{} flags {:#x}", own.address, own.prefix, own.flags)).collect::<Vec<_>>();
    let check = check.sees(format!("RTM_GETADDR {name}"), if list.is_empty() { "none".to_owned() } else { list.join(", ") });
    let is_ready = |flags: u32| flags & (TENTATIVE | DUPLICATE) == 0;
    let is_local = |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let is_loopback = case.link().is_some_and(|link| link.flags & LOOPBACK != 0);
    let blamed = if stage == Stage::Ipv6 || stage == Stage::SourceAddress { Status::Fail } else { Status::Warn };
    if own.iter().any(|own| is_ready(own.flags) && (is_local(own.address) || is_loopback)) {
        return check.is(Status::Ok, "IPv6 is on, and the link-local address is ready.");
    }
    if let Some(duplicate) = own.iter().find(|own| own.flags & DUPLICATE != 0) {
        return check.is(blamed, format!("Another host has the address {}: change one of them.", duplicate.address));
    }
    if own.iter().any(|own| own.flags & TENTATIVE != 0) {
        return check.is(blamed, "The address is not checked yet (tentative): wait a second, then look again.");
    }
    match disabled {
        None => check.is(Status::Unknown, "The kernel does not tell whether IPv6 is on: it may have none."),
        Some(_) => check.is(blamed, format!("{name} has no link-local address: give it one, or switch IPv6 off and on.")),
    }
}

pub(super) fn mac_filter(case: &Case, _: Stage) -> Check {
    let wanted = hardware_address(case.address());
    let digits: String = wanted.iter().map(|byte| format!("{byte:02x}")).collect();
    let users = |list: &Result<Vec<crate::host::groups::HardwareAddress>, String>| {
        let found = list.as_ref().ok()?.iter().find(|known| known.index == case.place.index && known.address == wanted);
        Some(found.map_or(0, |known| known.users))
    };
    let (before, after) = (users(&case.start.hardware), users(&case.end.hardware));
    let check = Check::new("mac-filter").saw(
        format!("/proc/net/dev_mcast {} {digits}", case.place.name),
        shown(before),
        shown(after),
    );
    let Some(link) = case.link() else { return check.is(Status::Unknown, "There is no such interface.") };
    let takes_more = [link.promiscuity, link.all_multicast].iter().flatten().any(|users| *users > 0);
    let more = format!("{}, allmulti {}", shown(link.promiscuity), shown(link.all_multicast));
    let check = check.sees("RTM_GETLINK promiscuity", more);
    match after {
        None => check.is(Status::Unknown, "The filter of the device cannot be read."),
        _ if link.flags & LOOPBACK != 0 => check.is(Status::Ok, "lo has no filter."),
        Some(1..) => check.is(Status::Ok, "The device was told to take the address, which 32 groups share in IPv4."),
        Some(0) if case.joined.is_err() => {
            check.is(Status::Unknown, "The doctor is not joined, so the address need not be there.")
        }
        Some(0) if takes_more => check.is(Status::Ok, "The address is not in the filter, but the device takes all of them."),
        Some(0) => check.is(
            Status::Warn,
            format!(
                "Joined, but the device was not told: look at its driver, or ip link set {} allmulticast on.",
                link.name
            ),
        ),
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

pub(super) fn device_drops(case: &Case, _: Stage) -> Check {
    let (name, index) = (&case.place.name, case.place.index);
    let whole = case.whole();
    let (Some(before), Some(after)) = (case.start.traffic(index), case.end.traffic(index)) else {
        return Check::new("device-drops").is(Status::Unknown, format!("The kernel tells no counters of {name}."));
    };
    let figures = match case.order.direction {
        Direction::From => vec![
            ("rx_dropped", before.rx_dropped, after.rx_dropped),
            ("rx_missed_errors", before.rx_missed, after.rx_missed),
            ("rx_fifo_errors", before.rx_fifo, after.rx_fifo),
            ("rx_errors", before.rx_errors, after.rx_errors),
        ],
        Direction::To => {
            vec![("tx_dropped", before.tx_dropped, after.tx_dropped), ("tx_errors", before.tx_errors, after.tx_errors)]
        }
    };
    let mut check = Check::new("device-drops");
    for (figure, before, after) in &figures {
        check = check.saw(format!("RTM_GETLINK {name} {figure}"), before, after);
    }
    let grows = figures.iter().any(|(_, before, after)| after > before);
    if case.order.direction == Direction::To {
        return match grows {
            true => check.is(Status::Warn, format!("{name} drops packets that should leave: look at its queue and driver.")),
            false => check.is(Status::Ok, format!("{name} dropped nothing.")),
        };
    }
    let check = check.counts(whole, "softnet:dropped").counts(whole, "softnet:squeezed");
    match (grows, whole.grown("softnet:dropped")) {
        (true, _) => check.is(Status::Warn, format!("{name} drops packets: enlarge its ring (ethtool -G {name} rx N).")),
        (_, Some(1..)) => {
            check.is(Status::Warn, "A processor drops packets of some interface: raise net.core.netdev_max_backlog.")
        }
        (false, None) => check.is(Status::Unknown, "The queues of the processors cannot be read."),
        (false, Some(0)) => check.is(Status::Ok, format!("Neither {name} nor a processor dropped anything.")),
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
