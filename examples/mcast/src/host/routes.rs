//! What the kernel would do with a packet: `RTM_GETROUTE` (`rtnetlink(7)`). No packet is needed for it, and none is sent.

use std::net::IpAddr;

use linux_raw_sys::net::{AF_INET, AF_INET6};
use linux_raw_sys::netlink::{self as raw, rtattr_type_t, rtmsg};
use rustix::io::Errno;

use super::links::address;
use super::netlink::{Ask, Netlink, push_attribute};

/// Types of routes (`RTN_*`).
pub(crate) const LOCAL: u8 = 2;
pub(crate) const MULTICAST: u8 = 5;

/// The way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) kind: u8,
    pub(crate) interface: Option<u32>,
    /// The address that a sender gets.
    pub(crate) source: Option<IpAddr>,
}

/// By which interface would a packet to this address leave?
pub(crate) fn outwards(netlink: &mut Netlink, to: IpAddr, interface: Option<u32>) -> Result<Way, Errno> {
    let mut question = question(to);
    if let Some(index) = interface {
        push_attribute(&mut question, rtattr_type_t::RTA_OIF as u16, &index.to_ne_bytes());
    }
    ask(netlink, &question)
}

/// Would a packet be taken that comes in by this interface? `EINVAL` or `EXDEV` if it would be dropped.
pub(crate) fn inwards(netlink: &mut Netlink, to: IpAddr, from: IpAddr, interface: u32) -> Result<Way, Errno> {
    let mut question = question(to);
    // The length of the source's prefix.
    if let Some(length) = question.get_mut(2) {
        *length = bits(from);
    }
    push_attribute(&mut question, rtattr_type_t::RTA_SRC as u16, &octets(from));
    push_attribute(&mut question, rtattr_type_t::RTA_IIF as u16, &interface.to_ne_bytes());
    ask(netlink, &question)
}

fn question(to: IpAddr) -> Vec<u8> {
    let family = if to.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut question = vec![0; size_of::<rtmsg>()];
    // Family, and the length of the destination's prefix.
    for (byte, value) in question.iter_mut().zip([family as u8, bits(to)]) {
        *byte = value;
    }
    push_attribute(&mut question, rtattr_type_t::RTA_DST as u16, &octets(to));
    question
}

fn ask(netlink: &mut Netlink, question: &[u8]) -> Result<Way, Errno> {
    let messages = netlink.ask(raw::RTM_GETROUTE as u16, Ask::One, question)?;
    let route = messages.iter().find(|message| message.kind == raw::RTM_NEWROUTE as u16).ok_or(Errno::NODATA)?;
    let attributes = route.attributes(size_of::<rtmsg>());
    Ok(Way {
        // Family, three lengths and the type of service, table, protocol, scope, type.
        kind: route.body.get(7).copied().ok_or(Errno::NODATA)?,
        interface: attributes.number(rtattr_type_t::RTA_OIF as u16),
        source: attributes.find(rtattr_type_t::RTA_PREFSRC as u16).and_then(address),
    })
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_about_its_own_address() {
        let mut netlink = Netlink::route().unwrap();
        let way = outwards(&mut netlink, "127.0.0.1".parse().unwrap(), None).unwrap();
        assert_eq!((way.kind, way.interface), (LOCAL, Some(1)));
        // A packet from outside that says it comes from here is refused.
        let refused = inwards(&mut netlink, "127.0.0.1".parse().unwrap(), "0.0.0.1".parse().unwrap(), 1);
        assert!(refused.is_err(), "{refused:?}");
    }
}
