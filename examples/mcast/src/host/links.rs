//! The interfaces of this network namespace, as `RTM_GETLINK`, `RTM_GETADDR`, `RTM_GETQDISC` and `RTM_GETMDB` tell them
//! (`rtnetlink(7)`). Not from `/sys`, which shows the namespace that mounted it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linux_raw_sys::net::{AF_BRIDGE, net_device_flags};
use linux_raw_sys::netlink::{self as raw, ifaddrmsg, ifinfomsg, tcmsg};
use rustix::io::Errno;

use super::netlink::{Ask, Attributes, Netlink, i32_at, u16_at, u32_at, u64_at};

pub(crate) const UP: u32 = net_device_flags::IFF_UP as u32;
pub(crate) const LOOPBACK: u32 = net_device_flags::IFF_LOOPBACK as u32;
pub(crate) const MULTICAST: u32 = net_device_flags::IFF_MULTICAST as u32;

/// `operstate` (`IF_OPER_*`, RFC 2863).
pub(crate) const DORMANT: u8 = 5;

/// Flags of an address (`IFA_F_*`).
pub(crate) const TENTATIVE: u32 = 0x40;
pub(crate) const DUPLICATE: u32 = 0x08;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// What kind of hardware it is, or acts like.
    pub(crate) hardware: Hardware,
    /// `IFF_UP` and others.
    pub(crate) flags: u32,
    pub(crate) mtu: Option<u32>,
    pub(crate) carrier: Option<bool>,
    pub(crate) state: Option<u8>,
    /// How many users want all packets, and all multicast ones.
    pub(crate) promiscuity: Option<u32>,
    pub(crate) all_multicast: Option<u32>,
    /// The bridge, bond or routing domain that it belongs to.
    pub(crate) master: Option<u32>,
    /// The other end of a veth, or the interface below a macvlan or VLAN; `None` if there is none or it is in another namespace.
    pub(crate) below: Option<u32>,
    /// `veth`, `bridge`, `macvlan`; empty for plain hardware.
    pub(crate) kind: String,
    /// What kind of master it is a port of.
    pub(crate) port_of: String,
    pub(crate) has_xdp: bool,
    pub(crate) bridge: Option<Bridge>,
    pub(crate) traffic: Option<Traffic>,
}

/// `ARPHRD_*`, as far as it matters for the addresses of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hardware {
    /// Ethernet, and what has the same addresses.
    Ethernet,
    /// It has no addresses, so nothing can be filtered by them: tun, PPP, tunnels.
    NoAddresses,
    #[default]
    Other,
}

impl Hardware {
    fn of(number: u16) -> Self {
        match number {
            // Ethernet, IEEE 802, loopback, FDDI.
            1 | 6 | 772 | 774 => Self::Ethernet,
            // PPP, raw IP, tunnels (IPIP, IPv6, SIT), none (tun, WireGuard).
            512 | 519 | 768 | 769 | 776 | 0xfffe => Self::NoAddresses,
            _ => Self::Other,
        }
    }
}

/// What a bridge does with multicast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) snoops: Option<bool>,
    /// Whether it asks for members itself.
    pub(crate) is_querier: Option<bool>,
    /// Whether it knows a querier, itself or another: of IPv4, of IPv6.
    pub(crate) hears_querier: [bool; 2],
}

/// Packets through a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) rx_packets: u64,
    pub(crate) tx_packets: u64,
    pub(crate) rx_errors: u64,
    pub(crate) tx_errors: u64,
    pub(crate) rx_dropped: u64,
    pub(crate) tx_dropped: u64,
    pub(crate) multicast: u64,
    pub(crate) rx_fifo: u64,
    pub(crate) rx_missed: u64,
    /// Frames for another VLAN or another host's address, which IP does not take. Older kernels do not count them.
    pub(crate) rx_other_host: Option<u64>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) flags: u32,
}

/// A queue discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) index: u32,
    /// `clsact` and `ingress` hold what looks at packets before IP does.
    pub(crate) kind: String,
    pub(crate) drops: Option<u64>,
}

/// A group that a bridge forwards to a port. The port is the bridge itself where the host is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    pub(crate) bridge: u32,
    pub(crate) port: u32,
    pub(crate) group: IpAddr,
}

pub(crate) fn links(netlink: &mut Netlink) -> Result<Vec<Link>, Errno> {
    let messages = netlink.ask(raw::RTM_GETLINK as u16, Ask::All, &[0; size_of::<ifinfomsg>()])?;
    let of_kind = messages.iter().filter(|message| message.kind == raw::RTM_NEWLINK as u16);
    Ok(of_kind.filter_map(|message| link(&message.body, message.attributes(size_of::<ifinfomsg>()))).collect())
}

fn link(fixed: &[u8], attributes: Attributes<'_>) -> Option<Link> {
    // Family and padding, type, index, flags.
    let (index, flags) = (u32_at(fixed, 4)?, u32_at(fixed, 8)?);
    let byte = |kind| attributes.find(kind).and_then(|value| value.first().copied());
    let info = attributes.inside(raw::IFLA_LINKINFO as u16);
    let kind = info.and_then(|info| info.text(raw::IFLA_INFO_KIND as u16)).unwrap_or_default();
    let data = info.and_then(|info| info.inside(raw::IFLA_INFO_DATA as u16));
    let is_elsewhere = attributes.find(raw::IFLA_LINK_NETNSID as u16).is_some();
    Some(Link {
        index,
        name: attributes.text(raw::IFLA_IFNAME as u16)?,
        hardware: Hardware::of(u16_at(fixed, 2)?),
        flags,
        mtu: attributes.number(raw::IFLA_MTU as u16),
        carrier: byte(raw::IFLA_CARRIER as u16).map(|carrier| carrier != 0),
        state: byte(raw::IFLA_OPERSTATE as u16),
        promiscuity: attributes.number(raw::IFLA_PROMISCUITY as u16),
        all_multicast: attributes.number(raw::IFLA_ALLMULTI as u16),
        master: attributes.number(raw::IFLA_MASTER as u16),
        below: attributes.number(raw::IFLA_LINK as u16).filter(|below| !is_elsewhere && *below != index),
        port_of: info.and_then(|info| info.text(raw::IFLA_INFO_SLAVE_KIND as u16)).unwrap_or_default(),
        has_xdp: attributes
            .inside(raw::IFLA_XDP as u16)
            .and_then(|xdp| xdp.find(raw::IFLA_XDP_ATTACHED as u16)?.first().copied())
            .is_some_and(|attached| attached != 0),
        bridge: data.filter(|_| kind == "bridge").map(bridge),
        traffic: attributes.find(raw::IFLA_STATS64 as u16).and_then(traffic),
        kind,
    })
}

fn bridge(data: Attributes<'_>) -> Bridge {
    // `BRIDGE_QUERIER_*`: the address of the querier of IPv4, and of IPv6.
    const ADDRESS: [u16; 2] = [1, 5];
    let flag = |kind| data.find(kind).and_then(|value| value.first()).map(|value| *value != 0);
    let querier = data.inside(raw::IFLA_BR_MCAST_QUERIER_STATE as u16);
    Bridge {
        snoops: flag(raw::IFLA_BR_MCAST_SNOOPING as u16),
        is_querier: flag(raw::IFLA_BR_MCAST_QUERIER as u16),
        hears_querier: ADDRESS.map(|kind| querier.is_some_and(|querier| querier.find(kind).is_some())),
    }
}

/// `struct rtnl_link_stats64`: numbers of eight bytes.
fn traffic(stats: &[u8]) -> Option<Traffic> {
    let number = |at: usize| u64_at(stats, at.checked_mul(8)?);
    Some(Traffic {
        rx_packets: number(0)?,
        tx_packets: number(1)?,
        rx_errors: number(4)?,
        tx_errors: number(5)?,
        rx_dropped: number(6)?,
        tx_dropped: number(7)?,
        multicast: number(8)?,
        rx_fifo: number(14)?,
        rx_missed: number(15)?,
        rx_other_host: number(24),
    })
}

/// The addresses of all interfaces.
pub(crate) fn addresses(netlink: &mut Netlink) -> Result<Vec<Address>, Errno> {
    let messages = netlink.ask(raw::RTM_GETADDR as u16, Ask::All, &[0; size_of::<ifaddrmsg>()])?;
    let parse = |message: &super::netlink::Message| {
        let attributes = message.attributes(size_of::<ifaddrmsg>());
        // IPv6 has no `IFA_LOCAL`, except on links of two ends.
        let value = attributes.find(raw::IFA_LOCAL as u16).or_else(|| attributes.find(raw::IFA_ADDRESS as u16))?;
        // The byte has room for eight flags; the attribute has all of them.
        let few = u32::from(*message.body.get(2)?);
        let flags = attributes.number(raw::IFA_FLAGS as u16).unwrap_or(few);
        Some(Address { index: u32_at(&message.body, 4)?, address: address(value)?, prefix: *message.body.get(1)?, flags })
    };
    let of_kind = messages.iter().filter(|message| message.kind == raw::RTM_NEWADDR as u16);
    Ok(of_kind.filter_map(parse).collect())
}

/// An address by its length.
pub(crate) fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
        16 => value.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into()),
        _ => None,
    }
}

/// The queues of all interfaces, also those for packets that come in.
pub(crate) fn queues(netlink: &mut Netlink) -> Result<Vec<Queue>, Errno> {
    // `TCA_STATS_QUEUE`: the third number counts packets that were dropped.
    const QUEUE: u16 = 3;
    let messages = netlink.ask(raw::RTM_GETQDISC as u16, Ask::All, &[0; size_of::<tcmsg>()])?;
    let parse = |message: &super::netlink::Message| {
        let attributes = message.attributes(size_of::<tcmsg>());
        let stats = attributes.inside(raw::TCA_STATS2 as u16).and_then(|stats| stats.find(QUEUE));
        let drops = stats.and_then(|stats| u32_at(stats, 8)).map(u64::from);
        let index = u32::try_from(i32_at(&message.body, 4)?).ok()?;
        Some(Queue { index, kind: attributes.text(raw::TCA_KIND as u16)?, drops })
    };
    let of_kind = messages.iter().filter(|message| message.kind == raw::RTM_NEWQDISC as u16);
    Ok(of_kind.filter_map(parse).collect())
}

/// The groups that bridges of this host forward, and to which ports.
pub(crate) fn forwarded(netlink: &mut Netlink) -> Result<Vec<Forwarded>, Errno> {
    // `struct br_port_msg`: family, padding, the bridge's index. `MDBA_MDB`, `MDBA_MDB_ENTRY` and `MDBA_MDB_ENTRY_INFO` are all 1.
    const FIXED: usize = 8;
    const INNER: u16 = 1;
    let mut question = [0; FIXED];
    question[0] = AF_BRIDGE as u8;
    let messages = match netlink.ask(raw::RTM_GETMDB as u16, Ask::All, &question) {
        // A kernel without bridges.
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        messages => messages?,
    };
    let mut found = Vec::new();
    for message in &messages {
        let Some(bridge) = u32_at(&message.body, 4) else { continue };
        let lists = message.attributes(FIXED).filter(|(kind, _)| *kind == INNER).map(|(_, value)| Attributes(value));
        for entry in lists.flatten().filter(|(kind, _)| *kind == INNER) {
            let infos = Attributes(entry.1).filter(|(kind, _)| *kind == INNER);
            found.extend(infos.filter_map(|(_, info)| entry_of_bridge(bridge, info)));
        }
    }
    Ok(found)
}

/// `struct br_mdb_entry`: port, state and flags, VLAN, address in 16 bytes, protocol.
fn entry_of_bridge(bridge: u32, info: &[u8]) -> Option<Forwarded> {
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    let group = match u16_at(info, 24).map(u16::from_be)? {
        IPV4 => address(info.get(8..12)?)?,
        IPV6 => address(info.get(8..24)?)?,
        _ => return None,
    };
    Some(Forwarded { bridge, port: u32_at(info, 0)?, group })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::push_attribute;

    #[test]
    fn a_bridge_tells_its_snooping_and_its_queriers() {
        let mut querier = Vec::new();
        push_attribute(&mut querier, 5, &[0xfe; 16]);
        let mut data = Vec::new();
        push_attribute(&mut data, raw::IFLA_BR_MCAST_SNOOPING as u16, &[1]);
        push_attribute(&mut data, raw::IFLA_BR_MCAST_QUERIER as u16, &[0]);
        push_attribute(&mut data, raw::IFLA_BR_MCAST_QUERIER_STATE as u16, &querier);
        let mut info = Vec::new();
        push_attribute(&mut info, raw::IFLA_INFO_KIND as u16, b"bridge\0");
        push_attribute(&mut info, raw::IFLA_INFO_DATA as u16, &data);
        let mut attributes = Vec::new();
        push_attribute(&mut attributes, raw::IFLA_IFNAME as u16, b"br0\0");
        push_attribute(&mut attributes, raw::IFLA_LINKINFO as u16, &info);
        let mut fixed = [0; size_of::<ifinfomsg>()];
        fixed[4] = u8::from(cfg!(target_endian = "little")) * 7;
        fixed[7] = u8::from(cfg!(target_endian = "big")) * 7;
        let link = link(&fixed, Attributes(&attributes)).unwrap();
        assert_eq!((link.index, link.name.as_str(), link.kind.as_str()), (7, "br0", "bridge"));
        let expected = Bridge { snoops: Some(true), is_querier: Some(false), hears_querier: [false, true] };
        assert_eq!(link.bridge, Some(expected));
        // Not told is not zero.
        assert_eq!((link.mtu, link.carrier, link.traffic), (None, None, None));
    }

    #[test]
    fn an_entry_of_a_bridge_has_a_port_and_a_group() {
        let mut info = [0; 28];
        info[..4].copy_from_slice(&9_u32.to_ne_bytes());
        info[8..12].copy_from_slice(&[239, 1, 2, 3]);
        info[24..26].copy_from_slice(&0x0800_u16.to_be_bytes());
        let expected = Forwarded { bridge: 4, port: 9, group: "239.1.2.3".parse().unwrap() };
        assert_eq!(entry_of_bridge(4, &info), Some(expected));
        info[24..26].copy_from_slice(&[0, 0]);
        assert_eq!(entry_of_bridge(4, &info), None);
        assert_eq!(entry_of_bridge(4, &info[..20]), None);
    }

    #[test]
    fn this_host_has_lo() {
        let mut netlink = Netlink::route().unwrap();
        let links = links(&mut netlink).unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(lo.hardware, Hardware::Ethernet);
        assert!(lo.flags & LOOPBACK != 0 && lo.traffic.is_some() && lo.mtu.is_some(), "{lo:?}");
        queues(&mut netlink).unwrap();
        addresses(&mut netlink).unwrap();
        forwarded(&mut netlink).unwrap();
    }
}
