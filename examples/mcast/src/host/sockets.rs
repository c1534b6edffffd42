//! The UDP sockets of this host, of all users: by netlink (`sock_diag(7)`), or where the kernel does not have that, from
//! `/proc/net/udp` and `udp6`, which tell less. And the raw ones, which routing programs join groups with. They show the network
//! namespace of this process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::diag;
use super::text::{fields, hexadecimal, lines, number, table, table_of_ipv6, words};

/// A socket that is bound to a port, or a raw one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) kind: Kind,
    pub(crate) local: SocketAddr,
    /// Unspecified, with port 0, if the socket is not connected.
    pub(crate) remote: SocketAddr,
    /// Its owner, as this process's user namespace names it.
    pub(crate) uid: u32,
    /// What `/proc/PID/fd` calls it. 0 if no process has it: it is the kernel's own, or about to be closed.
    pub(crate) inode: u64,
    /// Packets that its full buffer, or its filter, did not take.
    pub(crate) drops: u64,
    /// The memory that unread packets take.
    pub(crate) queued: u64,
    /// `None` if the kernel has no `sock_diag` for its kind.
    pub(crate) details: Option<Details>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Udp,
    /// With the number of its IP protocol.
    Raw(u16),
    /// Of another kind, or without a port.
    Other,
}

/// What `/proc` does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Details {
    /// The index of the interface that it is bound to (`SO_BINDTODEVICE`, or the scope of its address); 0 if it is not.
    pub(crate) interface: u32,
    /// How much memory unread packets may take (`SO_RCVBUF`).
    pub(crate) buffer: u32,
    /// Whether it takes the IPv4 groups that other sockets have joined (`IP_MULTICAST_ALL`). Known since Linux 5.10.
    pub(crate) takes_all_groups: Option<bool>,
    /// An IPv6 socket that takes no IPv4 packets.
    pub(crate) is_only_ipv6: bool,
}

/// All UDP sockets.
#[inline(never)]
pub(crate) fn sockets() -> Result<Vec<Socket>, String> {
    if let Ok(sockets) = diag::udp_sockets() {
        return Ok(sockets);
    }
    from_proc(Kind::Udp, "/proc/net/udp", "/proc/net/udp6")
}

/// All raw sockets. Their port is the number of their protocol there, and 0 here.
#[inline(never)]
pub(crate) fn raw_sockets() -> Result<Vec<Socket>, String> {
    let mut sockets = from_proc(Kind::Raw(0), "/proc/net/raw", "/proc/net/raw6")?;
    for socket in &mut sockets {
        socket.kind = Kind::Raw(socket.local.port());
        socket.local.set_port(0);
    }
    Ok(sockets)
}

fn from_proc(kind: Kind, ipv4: &str, ipv6: &str) -> Result<Vec<Socket>, String> {
    // Not the drops and the queue, which change with each packet.
    let key = |socket: &Socket| (socket.local, socket.remote, socket.inode);
    let mut sockets = table(ipv4, &|table| parse_ipv4(kind, table), key)?;
    sockets.extend(table_of_ipv6(ipv6, &|table| parse_ipv6(kind, table), key)?);
    Ok(sockets)
}

impl Socket {
    /// Whether it is bound to the group itself, and takes packets of it that come in here.
    pub(crate) fn is_bound_to(&self, group: IpAddr, interface: u32) -> bool {
        self.local.ip() == group && self.may_hear(interface)
    }

    /// Whether it is bound so that it takes packets of this group, and of others.
    pub(crate) fn is_wildcard_for(&self, group: IpAddr, interface: u32) -> bool {
        let is_only_ipv6 = self.details.as_ref().is_some_and(|details| details.is_only_ipv6);
        let fits = match group {
            // An IPv6 socket takes packets of IPv4, too, if it is not told otherwise. Raw ones do not.
            IpAddr::V4(_) => self.local.is_ipv4() || (self.kind == Kind::Udp && !is_only_ipv6),
            IpAddr::V6(_) => self.local.is_ipv6(),
        };
        self.local.ip().is_unspecified() && fits && self.may_hear(interface)
    }

    /// Whether it is not bound to another interface.
    fn may_hear(&self, interface: u32) -> bool {
        self.details.as_ref().is_none_or(|details| details.interface == 0 || details.interface == interface)
    }
}

fn parse_ipv4(kind: Kind, table: &[u8]) -> Vec<Socket> {
    parse(kind, table, &|field| Some(Ipv4Addr::from(words::<4>(field)?).into()))
}

fn parse_ipv6(kind: Kind, table: &[u8]) -> Vec<Socket> {
    parse(kind, table, &|field| Some(Ipv6Addr::from(words::<16>(field)?).into()))
}

/// The lines of all these files: `sl: local remote st tx:rx tr:when retransmits uid timeout inode ref pointer drops`.
fn parse(kind: Kind, table: &[u8], address: &dyn Fn(&[u8]) -> Option<IpAddr>) -> Vec<Socket> {
    let pair = |field: &[u8]| {
        let colon = field.iter().position(|byte| *byte == b':')?;
        Some((field.get(..colon)?.to_owned(), hexadecimal(field.get(colon.checked_add(1)?..)?)?))
    };
    let parse = |line| {
        let fields = fields(line).collect::<Vec<_>>();
        let field = |at: usize| fields.get(at).copied();
        let end = |at| {
            let (ip, port) = pair(field(at)?)?;
            Some(SocketAddr::new(address(&ip)?, u16::try_from(port).ok()?))
        };
        let (local, remote, (_, queued)) = (end(1)?, end(2)?, pair(field(4)?)?);
        let (uid, inode, drops) = (number(field(7)?)?, number(field(9)?)?, number(field(12)?)?);
        Some(Socket { kind, local, remote, uid, inode, drops, queued, details: None })
    };
    lines(table).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use rustix::net::{AddressFamily, SocketType};

    use super::*;

    #[test]
    fn sockets_of_both_families_are_read_in_the_byte_order_of_the_host() {
        let word = |bytes| format!("{:08X}", u32::from_ne_bytes(bytes));
        let v4 = format!(
            "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n  \
             712: {}:1388 {}:0035 07 00000000:0000A300 00:00000000 00000000  1000        0 4294967399 2 0000000000000000 17\n",
            word([239, 1, 2, 3]),
            word([10, 0, 0, 1])
        );
        let expected = Socket {
            kind: Kind::Udp,
            local: "239.1.2.3:5000".parse().unwrap(),
            remote: "10.0.0.1:53".parse().unwrap(),
            uid: 1000,
            inode: 4_294_967_399,
            drops: 17,
            queued: 0xa300,
            details: None,
        };
        assert_eq!(parse_ipv4(Kind::Udp, v4.as_bytes()), [expected]);
        let v6 = format!(
            "  sl  heading\n  1: {}{}{}{}:0001 {}:0000 07 0:0 0:0 0 0 0 5 2 0 0\n",
            word([0xff, 2, 0, 0]),
            word([0; 4]),
            word([0; 4]),
            word([0, 0, 0x42, 0x43]),
            "0".repeat(32)
        );
        let read = parse_ipv6(Kind::Udp, v6.as_bytes());
        assert_eq!(read.first().unwrap().local, "[ff02::4243]:1".parse().unwrap());
        assert!(read.first().unwrap().is_bound_to("ff02::4243".parse().unwrap(), 1));
    }

    #[test]
    fn no_table_is_too_strange() {
        let line = b"1: 00000000:0001 00000000:0000 07 0:0 0:0 0 0 0 5 2 0 0";
        assert_eq!(parse_ipv4(Kind::Udp, line).len(), 1);
        for cut in 0..line.len() {
            assert_eq!(parse_ipv4(Kind::Udp, line.get(..cut).unwrap()), [], "cut after {cut}");
        }
        for at in 0..line.len() {
            for byte in [0, b':', b'-', b'+', b'\n', 0xff] {
                let mut line = *line;
                *line.get_mut(at).unwrap() = byte;
                // Whatever comes of it: no panic, and nothing is made up.
                assert!(parse_ipv4(Kind::Udp, &line).len() <= 1);
                assert_eq!(parse_ipv6(Kind::Udp, &line), []);
            }
        }
    }

    fn own_inode(socket: &impl AsRawFd) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino()
    }

    #[test]
    fn a_socket_of_this_process_is_found_by_its_inode_in_proc_and_by_netlink() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let inode = own_inode(&socket);
        let read = parse_ipv4(Kind::Udp, &std::fs::read("/proc/net/udp").unwrap());
        let mut read = read.into_iter().find(|socket| socket.inode == inode).unwrap();
        assert_eq!(read.local, socket.local_addr().unwrap());
        assert_eq!(read.uid, rustix::process::getuid().as_raw());
        let asked = diag::udp_sockets().unwrap().into_iter().find(|socket| socket.inode == inode).unwrap();
        // The same, with the details.
        read.details.clone_from(&asked.details);
        assert_eq!(read, asked);
        let details = asked.details.unwrap();
        let buffer = rustix::net::sockopt::socket_recv_buffer_size(&socket).unwrap();
        assert_eq!((details.interface, details.buffer as usize), (0, buffer));
        assert_ne!(details.takes_all_groups, Some(false));
    }

    #[test]
    fn netlink_tells_the_interface_and_who_takes_no_foreign_groups_and_no_ipv4() {
        let v6 = rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None).unwrap();
        rustix::net::sockopt::set_ipv6_v6only(&v6, true).unwrap();
        rustix::net::bind(&v6, &"[::]:0".parse::<SocketAddr>().unwrap()).unwrap();
        let both = UdpSocket::bind("[::]:0").unwrap();
        let group = "239.1.2.3:5000".parse().unwrap();
        // It is pinned to its interface.
        let listener =
            multicast::Listener::bind(multicast::Membership::any(group).on(multicast::Interface::LOOPBACK)).unwrap();
        let sockets = diag::udp_sockets().unwrap();
        let details = |inode| {
            let found = sockets.iter().find(|socket: &&Socket| socket.inode == inode).unwrap();
            (found.clone(), found.details.clone().unwrap())
        };
        let (socket, only_v6) = details(own_inode(&v6));
        assert!(only_v6.is_only_ipv6);
        assert!(!socket.is_wildcard_for("239.1.2.3".parse().unwrap(), 1));
        let (socket, dual) = details(own_inode(&both));
        assert!(!dual.is_only_ipv6);
        assert!(socket.is_wildcard_for("239.1.2.3".parse().unwrap(), 1));
        let (socket, listening) = details(own_inode(&listener));
        assert!(socket.is_bound_to("239.1.2.3".parse().unwrap(), 1));
        assert_eq!(listening.interface, 1);
        assert_ne!(listening.takes_all_groups, Some(true));
    }

    #[test]
    fn which_sockets_take_a_group() {
        let bound_to = |local: &str, interface| Socket {
            kind: Kind::Udp,
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            uid: 0,
            inode: 1,
            drops: 0,
            queued: 0,
            details: Some(Details { interface, buffer: 0, takes_all_groups: None, is_only_ipv6: false }),
        };
        let socket = |local| bound_to(local, 0);
        let (v4, v6) = ("239.1.2.3".parse().unwrap(), "ff02::1".parse().unwrap());
        assert!(socket("0.0.0.0:1").is_wildcard_for(v4, 1) && !socket("0.0.0.0:1").is_wildcard_for(v6, 1));
        assert!(socket("[::]:1").is_wildcard_for(v4, 1) && socket("[::]:1").is_wildcard_for(v6, 1));
        assert!(!socket("239.1.2.3:1").is_wildcard_for(v4, 1) && socket("239.1.2.3:1").is_bound_to(v4, 1));
        assert!(!socket("127.0.0.1:1").is_wildcard_for(v4, 1) && !socket("239.1.2.4:1").is_bound_to(v4, 1));
        assert!(bound_to("[::]:1", 2).is_wildcard_for(v6, 2) && !bound_to("[::]:1", 2).is_wildcard_for(v6, 1));
        assert!(bound_to("[ff02::1]:1", 2).is_bound_to(v6, 2) && !bound_to("[ff02::1]:1", 2).is_bound_to(v6, 1));
        let raw = Socket { kind: Kind::Raw(58), ..socket("[::]:0") };
        assert!(raw.is_wildcard_for(v6, 1) && !raw.is_wildcard_for(v4, 1));
    }
}
