//! "tcpdump sees it, I do not": where packets get lost on this host, and which counter tells.
//!
//! `tcpdump` shows what the network interface received. Between there and a socket, the kernel may discard a packet for reasons that
//! no socket is told, so [`Counters`](crate::Counters) cannot contain them, and the ledger does not add up. This page says what to
//! read instead. No privilege is needed for it; to change a setting is the administrator's.
//!
//! # Where it stops
//! Read the counters twice, a few packets apart, and compare (`nstat` prints the differences since its last call; add `-az` to see those
//! that are 0). They count for the whole network namespace, so other traffic moves them, too. Those of IPv4 are in `/proc/net/snmp` and
//! `/proc/net/netstat`, those of IPv6 in `/proc/net/snmp6`, those of an interface in `ip -s link`, those of a socket in
//! `/proc/net/udp` and `udp6` (column `drops`).
//!
//! ```text
//! interface   ip -s link: RX packets
//!    |           does not grow: the packet did not come (see the last two sections)
//! IP          IpInReceives, Ip6InReceives
//!    |           does not grow: discarded before IP: tc, a netdev chain of nft, XDP
//! group       IpExtInMcastPkts (IPv6: Ip6InMcastPkts grows before the group is looked at)
//!    |           does not grow: not joined on this interface, or the source address is refused
//! firewall    IpInDelivers, Ip6InDelivers
//!    |           does not grow: a firewall in the chain `input`. Of IPv6: or not joined here
//! UDP         UdpInCsumErrors, Udp6InCsumErrors: a wrong checksum
//!    |        UdpIgnoredMulti, Udp6IgnoredMulti: no socket takes it: another port, or the sources that it named
//! socket      UdpRcvbufErrors, Udp6RcvbufErrors: its buffer is full; here: Counters::dropped
//! listener    Counters::foreign, Counters::rejected
//! ```
//!
//! # The causes
//! Measured on Linux 6.18 with five packets each. "InReceives alone" means that `IpInReceives` grows, and none of the counters below it.
//!
//! | cause | what grows | what to do |
//! |---|---|---|
//! | **Reverse path filter**: the route back to the sender does not lead over this interface. IPv4 only | `TcpExtIPReversePathFilter` | add the route, or set `net.ipv4.conf.IF.rp_filter` to 2 or 0; the larger value of `all` and `IF` holds |
//! | **Own packets on another interface**: the source is an address of this host, as when two of its interfaces are on one switch. IPv4 only | InReceives alone | `net.ipv4.conf.IF.accept_local=1`; packets that this host sends are looped back to it on the interface that they leave by |
//! | **Source 0.0.0.0**: the sender has no address yet. Linux takes it for groups of 224.0.0.0/24 only | InReceives alone | give the sender an address; a sender of this crate refuses to send so ([`NoAddress`](crate::ErrorKind::NoAddress)) |
//! | **Not joined on this interface**, but on another | InReceives alone; IPv6: `Ip6InMcastPkts` | name the interface; `/proc/net/igmp` and `igmp6` show what is joined where |
//! | **Firewall** in the chain `input`, also one that passes only what is `established`, as an answer to a group never is | `IpExtInMcastPkts`, and not `IpInDelivers`; IPv6: `Ip6InMcastPkts`, and not `Ip6InDelivers` | allow UDP to the group's port |
//! | **Wrong checksum**, mostly of a sender whose device should have computed it | `UdpInCsumErrors`, `Udp6InCsumErrors` | at the sender: `ethtool -K IF tx off` |
//! | **IPv6 with checksum 0**, which only tunnels may send | `Udp6IgnoredMulti`, and not `Udp6InCsumErrors` | mend the sender |
//! | **Lost fragments** of a long packet | `IpReasmReqds`, and not `IpReasmOKs`; `IpReasmTimeout` after 30 seconds | packets of at most MTU - 28 bytes (IPv6: MTU - 48) |
//!
//! The three causes of "InReceives alone" cannot be told apart by counters. With `net.ipv4.conf.IF.log_martians=1`, the kernel's log
//! (`dmesg`) names packets that were refused for their source.
//!
//! # What the switch or router decides by IGMP
//! - **A network that speaks IGMPv2 and named sources.** An IGMPv2 report has no sources. `/proc/net/igmp` shows `V2` for the interface
//!   as long as a querier of that version is heard (or `force_igmp_version` is set), and then the host reports the group alone. The
//!   host still passes only the sources that you named (`/proc/net/mcfilter`), but routers send those of everybody; and for groups of
//!   232.0.0.0/8 they ignore such reports, so nothing comes. Remedy: a querier of IGMPv3.
//! - **232.0.0.0/8 joined from any source.** This range is for named sources only (RFC 4607). Linux joins it without an error, and
//!   hears a sender on the same link; but routers ignore the report, so nothing comes from behind one. Use
//!   [`Membership::source`](crate::Membership::source). No counter tells: `RX packets` does not grow.
//! - **A firewall that stops reports** (IGMP is IP protocol 2; MLD is ICMPv6): a snooping switch then sends nothing to this port, or stops
//!   after some minutes.
//!
//! # What never leaves, and what leaves all the same
//! - **macvlan between a host and its container.** A macvlan interface and the interface below it do not hear each other, in
//!   either direction (measured in mode `bridge`): the sender's `IpExtOutMcastPkts` grows, and at the other nothing. Both hear the network. Give the
//!   host a macvlan interface of its own, or use a bridge.
//! - **A TTL of 0.** It stays on this host only if a socket of this host has joined the group on the interface that it leaves by.
//!   Otherwise it leaves, and hosts on that link receive it ([`Ttl::HOST`](crate::Ttl::HOST)).
