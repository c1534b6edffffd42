//! The UDP sockets of this host, of all users: `/proc/net/udp` and `udp6`. They show the network namespace of this process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::text::{fields, hexadecimal, lines, number, read, read_ipv6, words};

/// A UDP socket that is bound to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
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
}

/// All UDP sockets.
pub(crate) fn sockets() -> Result<Vec<Socket>, String> {
    let mut sockets = parse_udp(&read("/proc/net/udp")?);
    sockets.extend(parse_udp6(&read_ipv6("/proc/net/udp6")?));
    Ok(sockets)
}

impl Socket {
    /// Whether it is bound to the group itself.
    pub(crate) fn is_bound_to(&self, group: IpAddr) -> bool {
        self.local.ip() == group
    }

    /// Whether it is bound so that it takes packets of this group, and of others.
    pub(crate) fn is_wildcard_for(&self, group: IpAddr) -> bool {
        // An IPv6 socket takes packets of IPv4, too, if it is not told otherwise.
        self.local.ip().is_unspecified() && (self.local.is_ipv6() || group.is_ipv4())
    }
}

fn parse_udp(table: &[u8]) -> Vec<Socket> {
    parse(table, |field| Some(Ipv4Addr::from(words::<4>(field)?).into()))
}

fn parse_udp6(table: &[u8]) -> Vec<Socket> {
    parse(table, |field| Some(Ipv6Addr::from(words::<16>(field)?).into()))
}

/// The lines of both files: `sl: local remote st tx:rx tr:when retransmits uid timeout inode ref pointer drops`.
fn parse(table: &[u8], address: impl Fn(&[u8]) -> Option<IpAddr>) -> Vec<Socket> {
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
        Some(Socket { local, remote, uid, inode, drops, queued })
    };
    lines(table).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::unix::fs::MetadataExt;

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
            local: "239.1.2.3:5000".parse().unwrap(),
            remote: "10.0.0.1:53".parse().unwrap(),
            uid: 1000,
            inode: 4_294_967_399,
            drops: 17,
            queued: 0xa300,
        };
        assert_eq!(parse_udp(v4.as_bytes()), [expected]);
        let v6 = format!(
            "  sl  heading\n  1: {}{}{}{}:0001 {}:0000 07 0:0 0:0 0 0 0 5 2 0 0\n",
            word([0xff, 2, 0, 0]),
            word([0; 4]),
            word([0; 4]),
            word([0, 0, 0x42, 0x43]),
            "0".repeat(32)
        );
        let read = parse_udp6(v6.as_bytes());
        assert_eq!(read.first().unwrap().local, "[ff02::4243]:1".parse().unwrap());
        assert!(read.first().unwrap().is_bound_to("ff02::4243".parse().unwrap()));
    }

    #[test]
    fn no_table_is_too_strange() {
        let line = b"1: 00000000:0001 00000000:0000 07 0:0 0:0 0 0 0 5 2 0 0";
        assert_eq!(parse_udp(line).len(), 1);
        for cut in 0..line.len() {
            assert_eq!(parse_udp(line.get(..cut).unwrap()), [], "cut after {cut}");
        }
        for at in 0..line.len() {
            for byte in [0, b':', b'-', b'+', b'\n', 0xff] {
                let mut line = *line;
                *line.get_mut(at).unwrap() = byte;
                // Whatever comes of it: no panic, and nothing is made up.
                assert!(parse_udp(&line).len() <= 1);
                assert_eq!(parse_udp6(&line), []);
            }
        }
    }

    #[test]
    fn a_socket_of_this_process_is_found_by_its_inode() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket))).unwrap().ino();
        let found = sockets().unwrap().into_iter().find(|socket| socket.inode == inode).unwrap();
        assert_eq!(found.local, socket.local_addr().unwrap());
        assert_eq!(found.uid, rustix::process::getuid().as_raw());
    }

    #[test]
    fn which_sockets_take_a_group() {
        let socket = |local: &str| Socket {
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            uid: 0,
            inode: 1,
            drops: 0,
            queued: 0,
        };
        let (v4, v6) = ("239.1.2.3".parse().unwrap(), "ff02::1".parse().unwrap());
        assert!(socket("0.0.0.0:1").is_wildcard_for(v4) && !socket("0.0.0.0:1").is_wildcard_for(v6));
        assert!(socket("[::]:1").is_wildcard_for(v4) && socket("[::]:1").is_wildcard_for(v6));
        assert!(!socket("239.1.2.3:1").is_wildcard_for(v4) && socket("239.1.2.3:1").is_bound_to(v4));
        assert!(!socket("127.0.0.1:1").is_wildcard_for(v4) && !socket("239.1.2.4:1").is_bound_to(v4));
    }
}
