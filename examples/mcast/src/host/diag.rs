//! UDP sockets by netlink (`sock_diag(7)`): what `/proc/net/udp` tells, and more.
//!
//! The structures and numbers are those of `linux/inet_diag.h`, `linux/sock_diag.h`, which the generated bindings do not have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use linux_raw_sys::net::{AF_INET, AF_INET6, IPPROTO_UDP};
use rustix::io::Errno;

use super::netlink::{Ask, Message, Netlink, u32_at};
use super::sockets::{Details, Kind, Socket};

/// `SOCK_DIAG_BY_FAMILY`, of questions and of answers.
const BY_FAMILY: u16 = 20;
/// The size of `struct inet_diag_req_v2`.
const QUESTION: usize = 56;
/// The size of `struct inet_diag_msg`, and what is where in it.
const ANSWER: usize = 72;
const PORTS_AT: usize = 4;
const LOCAL_AT: usize = 8;
const REMOTE_AT: usize = 24;
const INTERFACE_AT: usize = 40;
const QUEUED_AT: usize = 56;
const UID_AT: usize = 64;
const INODE_AT: usize = 68;

/// `INET_DIAG_SKMEMINFO`: words of 32 bits, of which these are the receive buffer and the dropped packets.
const MEMORY: u16 = 7;
const BUFFER_AT: usize = 4;
const DROPS_AT: usize = 32;
/// `INET_DIAG_SKV6ONLY`: one byte.
const ONLY_IPV6: u16 = 11;
/// `INET_DIAG_SOCKOPT`: bits, of which this is `IP_MULTICAST_ALL`. The kernel declares them from the first to the last, so that their
/// place depends on the byte order.
const OPTIONS: u16 = 22;
const TAKES_ALL_GROUPS: u8 = if cfg!(target_endian = "big") { 1 << 1 } else { 1 << 6 };

/// All UDP sockets of both families.
#[inline(never)]
pub(super) fn udp_sockets() -> Result<Vec<Socket>, Errno> {
    let mut netlink = Netlink::sockets()?;
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut question = [0; QUESTION];
        // Family, protocol, a bit for each attribute that is wanted, and all states.
        let head = [family as u8, IPPROTO_UDP as u8, 1 << (MEMORY - 1), 0, 0xff, 0xff, 0xff, 0xff];
        question.iter_mut().zip(head).for_each(|(byte, value)| *byte = value);
        let answers = netlink.ask(BY_FAMILY, Ask::All, &question)?;
        sockets.extend(answers.iter().filter(|answer| answer.kind == BY_FAMILY).filter_map(socket));
    }
    Ok(sockets)
}

/// The socket of one answer; `None` if it is cut off.
fn socket(answer: &Message) -> Option<Socket> {
    let body = &*answer.body;
    let number = |at| u32_at(body, at);
    let attributes = answer.attributes(ANSWER);
    let memory = attributes.find(MEMORY)?;
    let details = Details {
        interface: number(INTERFACE_AT)?,
        buffer: u32_at(memory, BUFFER_AT)?,
        takes_all_groups: attributes.find(OPTIONS).and_then(<[u8]>::first).map(|bits| bits & TAKES_ALL_GROUPS != 0),
        is_only_ipv6: attributes.find(ONLY_IPV6).and_then(<[u8]>::first).is_some_and(|only| *only != 0),
    };
    Some(Socket {
        kind: Kind::Udp,
        local: end(body, LOCAL_AT, PORTS_AT)?,
        remote: end(body, REMOTE_AT, PORTS_AT + 2)?,
        uid: number(UID_AT)?,
        inode: number(INODE_AT)?.into(),
        drops: u32_at(memory, DROPS_AT)?.into(),
        queued: number(QUEUED_AT)?.into(),
        details: Some(details),
    })
}

/// An address and a port, each in the byte order of the network.
fn end(body: &[u8], address_at: usize, port_at: usize) -> Option<SocketAddr> {
    let address = body.get(address_at..)?.first_chunk::<16>()?;
    let ip = match u32::from(*body.first()?) {
        AF_INET => IpAddr::from(Ipv4Addr::from(*address.first_chunk::<4>()?)),
        AF_INET6 => Ipv6Addr::from(*address).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*body.get(port_at..)?.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::super::netlink::push_attribute;
    use super::*;

    #[test]
    fn an_answer_is_read_and_a_cut_one_is_none() {
        let mut body = vec![0; ANSWER];
        let mut put = |at: usize, bytes: &[u8]| body.splice(at..at + bytes.len(), bytes.iter().copied()).for_each(drop);
        put(0, &[AF_INET as u8]);
        put(PORTS_AT, &[0x13, 0x88, 0, 53]);
        put(LOCAL_AT, &[239, 1, 2, 3]);
        put(REMOTE_AT, &[10, 0, 0, 1]);
        put(INTERFACE_AT, &3_u32.to_ne_bytes());
        put(QUEUED_AT, &768_u32.to_ne_bytes());
        put(UID_AT, &1000_u32.to_ne_bytes());
        put(INODE_AT, &99_u32.to_ne_bytes());
        let mut memory = [0; 36];
        memory[4..8].copy_from_slice(&212_992_u32.to_ne_bytes());
        memory[32..].copy_from_slice(&17_u32.to_ne_bytes());
        push_attribute(&mut body, MEMORY, &memory);
        push_attribute(&mut body, OPTIONS, &[TAKES_ALL_GROUPS, 0]);
        let message = |length| Message { kind: BY_FAMILY, body: body.get(..length).unwrap().into() };
        let details = Details { interface: 3, buffer: 212_992, takes_all_groups: Some(true), is_only_ipv6: false };
        let expected = Socket {
            kind: Kind::Udp,
            local: "239.1.2.3:5000".parse().unwrap(),
            remote: "10.0.0.1:53".parse().unwrap(),
            uid: 1000,
            inode: 99,
            drops: 17,
            queued: 768,
            details: Some(details),
        };
        assert_eq!(socket(&message(body.len())), Some(expected));
        for length in 0..ANSWER + 40 {
            assert_eq!(socket(&message(length)), None, "{length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_answer_of_any_bytes_is_a_socket_or_none(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let read = socket(&Message { kind: BY_FAMILY, body: body.clone().into() });
            // Never without the memory's figures, which come last.
            proptest::prop_assert!(read.is_none() || body.len() >= ANSWER + 40);
        }
    }
}
