//! The texts of errors: operations, objects, and reasons with their remedies.

use core::fmt;
use core::net::SocketAddr;

use linux_raw_sys::errno as linux;

use super::parts::{Errno, ErrorKind, Object, Operation};
use crate::address::Interface;

pub(super) const fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::ParseGroup => "parse group",
        Operation::ParseInterface => "parse interface",
        Operation::ParseTtl => "parse ttl",
        Operation::ParseSubnet => "parse subnet",
        #[cfg(feature = "regex")]
        Operation::ParsePattern => "parse pattern",
        Operation::Open => "open",
        Operation::Bind => "bind",
        Operation::Join => "join",
        Operation::Leave => "leave",
        Operation::Block => "block a source of",
        Operation::Unblock => "unblock a source of",
        Operation::Watch => "watch the interfaces",
        Operation::Configure => "set",
        Operation::Resolve => "find",
        Operation::Send => "send",
        Operation::Receive => "receive",
        Operation::Count => "read the counters",
        Operation::Read => "read",
        Operation::Poll => "poll",
        Operation::Register => "register",
        Operation::Reregister => "reregister",
        Operation::Unregister => "unregister",
        Operation::Wake => "wake the poller",
        Operation::Custom => "",
    }
}

pub(super) fn object(object: &Object, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match object {
        Object::Nothing => Ok(()),
        Object::Named(noun) => write!(f, " {noun}"),
        Object::Text(text) => match text.as_str() {
            "" => f.write_str(" an empty text"),
            kept => write!(f, " {}{}", kept.escape_debug(), if text.is_cut() { "..." } else { "" }),
        },
        Object::Address(address) => write!(f, " {address}"),
        Object::Group(group) | Object::OtherPort { group, .. } => write!(f, " {group}"),
        // The kernel allows control characters in a name. They must not reach a terminal.
        Object::Interface(name) => write!(f, " {}", name.as_str().escape_debug()),
        Object::Membership { group, interface: Interface::Name(name) } => {
            write!(f, " {group} on {}", name.as_str().escape_debug())
        }
        Object::Membership { group, interface } => write!(f, " {group} on {interface}"),
        Object::Packet { length, to } => write!(f, " {length} bytes to {to}"),
        Object::On(Interface::Name(name)) => write!(f, " on {}", name.as_str().escape_debug()),
        Object::On(interface) => write!(f, " on {interface}"),
        Object::Number(number) => write!(f, " {number}"),
        Object::From(source) => write!(f, " from {source}"),
        Object::Port(0) => f.write_str(" a free port"),
        Object::Port(port) => write!(f, " port {port}"),
        #[cfg(feature = "std")]
        Object::Message(_) => Ok(()),
    }
}

/// The whole text of an error from outside this crate: its sentence, or else the meaning of the errno.
pub(super) fn custom(object: &Object, kind: ErrorKind, errno: Errno, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match object {
        Object::Named(sentence) => f.write_str(sentence),
        #[cfg(feature = "std")]
        Object::Message(sentence) => f.write_str(sentence),
        _ => reason(kind, Operation::Custom, object, errno, f),
    }
}

pub(super) fn reason(
    kind: ErrorKind,
    operation: Operation,
    object: &Object,
    errno: Errno,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let text = match kind {
        ErrorKind::Syntax => syntax(operation, object),
        ErrorKind::NotMulticast => "not a multicast address (IPv4: 224.0.0.0 to 239.255.255.255, IPv6: ff00::/8)",
        ErrorKind::PortZero => "port 0 is not valid: give 1 to 65535",
        ErrorKind::OutOfRange => match operation {
            Operation::ParseSubnet => "too many bits: give 0 to 32 (IPv6: 0 to 128)",
            Operation::ParseGroup => "port out of range: give 1 to 65535",
            _ => "out of range: give 0 to 255",
        },
        ErrorKind::NoSuchInterface => match object {
            Object::Membership { interface: Interface::All, .. } => {
                "no interface is up and supports multicast (lo and ports of a bridge do not count): name one"
            }
            Object::Membership { interface: Interface::Address(address), .. } | Object::On(Interface::Address(address))
                if address.is_unspecified() =>
            {
                "no interface has this address: write default, all, or a name"
            }
            Object::Membership { interface, .. } | Object::On(interface) => no_such(interface),
            _ => "no such interface",
        },
        ErrorKind::InterfaceNeeded if matches!(operation, Operation::Leave | Operation::Block | Operation::Unblock) => {
            "the route has moved, and the group is joined on several other interfaces: name an interface, such as eth0"
        }
        ErrorKind::InterfaceNeeded if matches!(object, Object::Packet { to, .. } if !to.ip().is_multicast()) => {
            "a link-local address may exist on every link: name an interface, such as eth0"
        }
        ErrorKind::InterfaceNeeded => "a link-local group exists on every link: name an interface, such as eth0",
        ErrorKind::NoAddress => "the interface has no address of this family: add one, or try again later",
        ErrorKind::FamilyMismatch => "IPv4 and IPv6 cannot be mixed: use one listener or sender per family",
        ErrorKind::BoundToGroup => "this listener is bound to one group: to receive several groups, use Bind::Port",
        ErrorKind::PortMismatch => match object {
            Object::OtherPort { port, .. } => {
                return write!(f, "this listener is bound to port {port}: use one listener per port");
            }
            _ => "this listener is bound to another port: use one listener per port",
        },
        ErrorKind::SourceLimitReached => match object {
            Object::Membership { group, .. } if group.is_ipv6() => {
                "source limit of the group reached (net.ipv6.mld_max_msf, net.core.optmem_max)"
            }
            _ => "source limit of the group reached (net.ipv4.igmp_max_msf)",
        },
        ErrorKind::MixedSources => {
            "a listener joins a group on an interface from any source or from named ones: leave the group first, or use two listeners"
        }
        ErrorKind::SourcesOnOneInterface => {
            "one IPv6 listener cannot tell sources apart on two interfaces: use two listeners, each bound to its interface (Bind::Interface)"
        }
        ErrorKind::NotJoined => "the group is not joined on this interface",
        ErrorKind::OneInterface => match operation {
            Operation::Send => {
                "packets leave on one interface, and this is none or another one: use one sender per interface"
            }
            Operation::Bind => "Bind::Interface takes one interface: name it",
            _ => {
                "this listener stays on its interface (Bind::Interface), and this is another one: leave the group first, or use Bind::Group"
            }
        },
        ErrorKind::LimitReached => limit(operation, object, errno),
        ErrorKind::TooLong => match object {
            _ if errno == Errno::NO_BUFFERS => "longer than the send buffer (SendOptions::send_buffer, net.core.wmem_max)",
            Object::Packet { length, to } if *length <= longest(to) => "longer than the path MTU, and fragmentation is off",
            Object::Packet { to, .. } if to.is_ipv6() => "too long for UDP: at most 65527 bytes",
            _ => "too long for UDP: at most 65507 bytes",
        },
        ErrorKind::AlreadyRegistered => "already registered: use reregister",
        ErrorKind::NotRegistered => "not registered: register it first",
        ErrorKind::NotPollable => {
            "regular files and directories cannot be polled, since they are always ready: read them without a poller"
        }
        ErrorKind::ReservedToken => "this token is reserved for the waker: choose another one",
        ErrorKind::NotUdp => "not a UDP socket",
        // No other call of these operations returns this errno.
        ErrorKind::Unsupported if errno == Errno::NO_FAMILY && asks_netlink(operation) => {
            "AF_NETLINK is not allowed here (RestrictAddressFamilies of systemd, or seccomp): allow it, or name an interface"
        }
        ErrorKind::Unsupported => "this kernel does not support it",
        ErrorKind::AddressInUse => {
            "another socket holds the port (ss -ulnpe shows it): a socket shares with SO_REUSEADDR if both have it, with SO_REUSEPORT if \
             both have it and belong to one user"
        }
        ErrorKind::Denied => denied(object, errno),
        ErrorKind::Unreachable => unreachable(object, errno),
        ErrorKind::QueueRefused => {
            "refused at every try by the interface's queue, a traffic shaper, or an egress filter (tc -s qdisc, nft list ruleset)"
        }
        ErrorKind::Transient => "no memory or buffer space at the moment: try again later",
        ErrorKind::Pattern => match object {
            #[cfg(feature = "regex")]
            Object::Message(message) => message,
            _ => "not a regular expression",
        },
        ErrorKind::InvalidInput => "invalid input",
        ErrorKind::Zero => "must be at least 1",
        ErrorKind::System => match described(operation, object, errno) {
            Some(text) => text,
            None => return write!(f, "os error {}", errno.0),
        },
    };
    f.write_str(text)
}

/// Whether the operation may ask the kernel for interfaces, addresses or routes over netlink.
const fn asks_netlink(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Join
            | Operation::Leave
            | Operation::Block
            | Operation::Unblock
            | Operation::Bind
            | Operation::Watch
            | Operation::Send
    )
}

/// The longest UDP payload (RFC 768): the length of an IPv4 packet includes its header, that of an IPv6 packet does not.
const fn longest(to: &SocketAddr) -> u32 {
    if to.is_ipv6() { 65_527 } else { 65_507 }
}

/// What to write instead of a text that could not be parsed.
fn syntax(operation: Operation, object: &Object) -> &'static str {
    let written = if let Object::Text(text) = object { text.as_str() } else { "" };
    match operation {
        Operation::ParseGroup if written.contains('%') => {
            "a group has no interface: write it without % and what follows, and name the interface separately"
        }
        Operation::ParseGroup => "write ADDRESS:PORT, such as 239.1.2.3:5000 or [ff02::4242]:4242",
        Operation::ParseInterface if written.contains('%') => "write only the name of the interface, which follows the %",
        Operation::ParseInterface if written.contains('/') => {
            "a name has no /: write one that ip link shows, or an address without the length of its prefix"
        }
        Operation::ParseInterface if written.contains(':') => {
            "a name has no colon, and eth0:1 is the label of an address: write eth0, or that address"
        }
        Operation::ParseInterface => {
            "write a name of 1 to 15 bytes (of alternative names only such are supported), an index of 1 or more, an address, default, or all"
        }
        Operation::ParseSubnet => "write an address and a prefix length, such as 192.0.2.0/24, or a single address",
        _ => "write 0 to 255, or host, subnet, site, region, continent, unrestricted",
    }
}

fn no_such(interface: &Interface) -> &'static str {
    match interface {
        Interface::Index(_) => "no such interface (digits are an index, never a name: ip link shows the index of each)",
        // The kernel gives no interface such a name.
        Interface::Name(name) if name.as_str().contains('%') => "no such interface: write its name without %",
        _ => "no such interface",
    }
}

/// For a packet, one errno has several causes. For a route that was asked for, it says what the route is.
const fn unreachable(object: &Object, errno: Errno) -> &'static str {
    match (object, errno.0 as u32) {
        (Object::Membership { interface: Interface::Default, .. }, linux::EINVAL) => {
            "its route is a blackhole (ip route get): name an interface, or change the route"
        }
        (Object::Membership { interface: Interface::Default, .. }, linux::EHOSTUNREACH) => {
            "its route is of the type unreachable (ip route get): name an interface, or change the route"
        }
        (Object::Membership { interface: Interface::Default, .. }, _) => {
            "unreachable: there is no route: name an interface, or add a route"
        }
        (Object::From(_), _) => "no interface has this source address, or there is no route from it",
        (Object::Packet { to, .. }, _) if to.ip().is_unspecified() => {
            "this address names no host: give that of a host or a group"
        }
        (Object::Membership { .. } | Object::On(_), _) => "unreachable: the interface is down, or there is no route over it",
        _ => "unreachable: the interface is down, it or its address is gone, or there is no route",
    }
}

const fn denied(object: &Object, errno: Errno) -> &'static str {
    match (object, errno.0 as u32) {
        (Object::Membership { interface: Interface::Default, .. }, linux::EACCES) => {
            "its route is of the type prohibit (ip route get): name an interface, or change the route"
        }
        (Object::Packet { .. }, linux::EACCES) => {
            "not permitted (a prohibit route, a broadcast address, or a security policy)"
        }
        (Object::Packet { .. }, _) => "not permitted (a firewall on the way out, or a security policy)",
        _ => "not permitted (a firewall, a security policy, or a missing privilege)",
    }
}

fn limit(operation: Operation, object: &Object, errno: Errno) -> &'static str {
    match (operation, object) {
        // This case is first, since joining also opens a descriptor, to find the interface.
        _ if matches!(u32::from(errno.0), linux::EMFILE | linux::ENFILE) => "too many open file descriptors (ulimit -n)",
        (Operation::Join, Object::Membership { group, .. }) if group.is_ipv4() => {
            "group limit reached (net.ipv4.igmp_max_memberships)"
        }
        (Operation::Join, _) => "group limit reached (net.core.optmem_max)",
        (Operation::Open, _) | (_, Object::Port(0)) => "no port is free (net.ipv4.ip_local_port_range)",
        (Operation::Register, _) => "too many descriptors are being polled (fs.epoll.max_user_watches)",
        _ => "no space left",
    }
}

const fn described(operation: Operation, object: &Object, errno: Errno) -> Option<&'static str> {
    Some(match errno.0 as u32 {
        linux::EINVAL if matches!(object, Object::Packet { .. }) => "invalid argument, or a blackhole route (ip route get)",
        linux::EINVAL if matches!(operation, Operation::Register) => "a poller cannot wait for itself",
        linux::EINTR => "interrupted by a signal, again and again",
        linux::EBADF => "not an open file descriptor",
        linux::EINVAL => "invalid argument",
        linux::EIO => "input or output error",
        linux::ENODEV => "no such device",
        linux::EADDRNOTAVAIL => "address not available",
        linux::EPROTO => "cannot read the kernel's answer",
        linux::ECONNREFUSED => "connection refused",
        linux::ELOOP => "pollers would wait for each other in a loop, or be nested too deeply",
        _ => return None,
    })
}

/// The kind of an errno. If one errno has two meanings, the operation decides, or what it was done to.
pub(super) const fn kind_of(operation: Operation, object: &Object, errno: Errno) -> ErrorKind {
    match (operation, errno.0 as u32) {
        // Of a route that was asked for: it is a blackhole.
        (Operation::Join | Operation::Send, linux::EINVAL)
            if matches!(object, Object::Membership { interface: Interface::Default, .. }) =>
        {
            ErrorKind::Unreachable
        }
        (Operation::Join, linux::ENOBUFS | linux::ENOMEM) => ErrorKind::LimitReached,
        (Operation::Register, linux::EEXIST) => ErrorKind::AlreadyRegistered,
        (Operation::Reregister | Operation::Unregister, linux::ENOENT) => ErrorKind::NotRegistered,
        (Operation::Register, linux::EPERM) => ErrorKind::NotPollable,
        (_, linux::ENOSPC | linux::EMFILE | linux::ENFILE) => ErrorKind::LimitReached,
        // Of a port that the kernel was to choose.
        (Operation::Open, linux::EADDRINUSE) => ErrorKind::LimitReached,
        (Operation::Bind, linux::EADDRINUSE) if matches!(object, Object::Port(0)) => ErrorKind::LimitReached,
        (_, linux::EINVAL) if matches!(object, Object::From(_)) => ErrorKind::Unreachable,
        (
            Operation::Bind | Operation::Join | Operation::Leave | Operation::Resolve | Operation::Send,
            linux::ENODEV | linux::ENXIO,
        ) => ErrorKind::NoSuchInterface,
        // The group was checked before, so the interface has no IPv6, for example because its MTU is less than 1,280.
        (Operation::Join, linux::EINVAL) | (Operation::Send, linux::EADDRNOTAVAIL) => ErrorKind::NoAddress,
        (_, linux::EMSGSIZE) => ErrorKind::TooLong,
        (_, linux::EAGAIN | linux::ENOBUFS | linux::ENOMEM) => ErrorKind::Transient,
        (_, linux::ENETUNREACH | linux::EHOSTUNREACH | linux::ENETDOWN) => ErrorKind::Unreachable,
        (_, linux::EPERM | linux::EACCES) => ErrorKind::Denied,
        (_, linux::EADDRINUSE) => ErrorKind::AddressInUse,
        (_, linux::ENOPROTOOPT | linux::ENOSYS | linux::EAFNOSUPPORT | linux::EOPNOTSUPP) => ErrorKind::Unsupported,
        (_, linux::ENOTSOCK) => ErrorKind::NotUdp,
        _ => ErrorKind::System,
    }
}

/// The kind of a `std` error without an errno.
#[cfg(feature = "std")]
pub(super) const fn kind_of_io(kind: std::io::ErrorKind) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match kind {
        Io::InvalidInput => ErrorKind::InvalidInput,
        Io::WouldBlock => ErrorKind::Transient,
        Io::PermissionDenied => ErrorKind::Denied,
        Io::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::System,
    }
}

#[cfg(feature = "std")]
pub(super) const fn io_kind(kind: ErrorKind) -> std::io::ErrorKind {
    use std::io::ErrorKind as Io;
    match kind {
        ErrorKind::NoSuchInterface | ErrorKind::NotRegistered => Io::NotFound,
        ErrorKind::AlreadyRegistered => Io::AlreadyExists,
        ErrorKind::NoAddress => Io::AddrNotAvailable,
        ErrorKind::AddressInUse => Io::AddrInUse,
        ErrorKind::Transient => Io::WouldBlock,
        ErrorKind::QueueRefused => Io::TimedOut,
        ErrorKind::Unreachable => Io::NetworkUnreachable,
        ErrorKind::Denied => Io::PermissionDenied,
        ErrorKind::Unsupported => Io::Unsupported,
        ErrorKind::LimitReached | ErrorKind::SourceLimitReached => Io::QuotaExceeded,
        ErrorKind::System => Io::Other,
        _ => Io::InvalidInput,
    }
}
