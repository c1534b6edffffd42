//! The groups that are joined on each interface of this host, by anyone: `/proc/net/igmp`, `igmp6`, `mcfilter`, `mcfilter6` and
//! `dev_mcast`. They show the network namespace of this process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use multicast::filter::{Always, Filter};
use multicast::{Bind, Family, Group, Interface, ListenOptions, Membership};

use super::text::{bytes, fields, hexadecimal, lines, name, number, table, table_of_ipv6, words};
use crate::receivers;

/// How often a list is read that another program changes.
const TRIES: u32 = 20;

/// A group that is joined on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) index: u32,
    /// The interface's name. Not all names are UTF-8: the index tells interfaces apart.
    pub(crate) interface: String,
    pub(crate) group: IpAddr,
    /// How many sockets have joined, and the kernel itself, which joins some groups.
    pub(crate) users: u64,
    /// The version of IGMP that is spoken on the interface: lower than 3 where an older querier was heard.
    pub(crate) version: Option<u8>,
}

/// A source that sockets have named when they joined a group, or have blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) index: u32,
    pub(crate) group: IpAddr,
    pub(crate) source: IpAddr,
    /// How many sockets want the group from this source.
    pub(crate) included: u64,
    /// How many sockets want the group, but not from this source.
    pub(crate) excluded: u64,
}

/// An address in the multicast filter of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HardwareAddress {
    pub(crate) index: u32,
    pub(crate) interface: String,
    /// How many groups and programs want it: several groups share one.
    pub(crate) users: u64,
    /// In hexadecimal digits. On Ethernet it has six bytes.
    pub(crate) address: Vec<u8>,
}

/// From which sources a host asks its routers for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// From all but blocked ones: at least one socket has joined without naming sources.
    Exclude,
    /// From the named ones alone.
    Include,
    /// The figures fit both.
    Unknown,
}

/// All groups that are joined on this host.
#[inline(never)]
pub(crate) fn joined() -> Result<Vec<Joined>, String> {
    let key = |joined: &Joined| (joined.index, joined.group, joined.users);
    let mut joined = table("/proc/net/igmp", &parse_igmp, key)?;
    joined.extend(table_of_ipv6("/proc/net/igmp6", &parse_igmp6, key)?);
    Ok(joined)
}

/// All sources that were named or blocked on this host.
#[inline(never)]
pub(crate) fn sources() -> Result<Vec<Source>, String> {
    let ipv4 = || table("/proc/net/mcfilter", &parse_mcfilter, Source::clone);
    let mut sources = complete(Family::V4, Ipv4Addr::new(232, 255, 66, 77).into(), Ipv4Addr::LOCALHOST.into(), &ipv4)?;
    if std::fs::exists("/proc/net/mcfilter6").unwrap_or(true) {
        let ipv6 = || table("/proc/net/mcfilter6", &parse_mcfilter6, Source::clone);
        let group = Ipv6Addr::new(0xff31, 0, 0, 0, 0, 0, 0x8066, 0x77);
        sources.extend(complete(Family::V6, group.into(), Ipv6Addr::LOCALHOST.into(), &ipv6)?);
    }
    Ok(sources)
}

/// What `list` returns, read so that nothing is missing.
///
/// Linux begins its list with the first interface whose latest group has sources, and leaves out all before: most often there is no such
/// interface, and the list is empty. `lo` is the first interface of all. So this joins a group of its own there, from a source, for as long as
/// it reads. On `lo` nobody else notices, and no report leaves.
#[inline(never)]
fn complete(
    family: Family,
    group: IpAddr,
    source: IpAddr,
    list: &dyn Fn() -> Result<Vec<Source>, String>,
) -> Result<Vec<Source>, String> {
    let failed = |error| format!("read the sources of groups: {error}");
    let options = ListenOptions::new().filter(Box::new(Always) as Box<dyn Filter>);
    let mut socket = receivers::bind(options, Bind::Port(0, family), 1).map_err(failed)?;
    let port = socket.local_addr().map_err(failed)?.port();
    let mark = Membership::source(Group::new(group, port).map_err(failed)?, source).on(Interface::LOOPBACK);
    for _ in 0..TRIES {
        socket.join(&mark).map_err(failed)?;
        let mut sources = list()?;
        let found = sources.len();
        // The same group may be another process's that reads the list.
        sources.retain(|listed| listed.group != group);
        if sources.len() < found {
            return Ok(sources);
        }
        // Another program has joined on `lo` since.
        socket.leave(&mark).map_err(failed)?;
    }
    Err("read the sources of groups: the groups of lo change all the time; try again later".to_owned())
}

/// The multicast filters of all devices.
pub(crate) fn hardware_addresses() -> Result<Vec<HardwareAddress>, String> {
    table("/proc/net/dev_mcast", &parse_dev_mcast, HardwareAddress::clone)
}

impl Joined {
    /// Whether the source was named or blocked for this membership.
    pub(crate) fn has(&self, source: &Source) -> bool {
        source.index == self.index && source.group == self.group
    }

    /// The mode, from the membership's own sources. The kernel does not print it.
    pub(crate) fn mode<'s>(&self, sources: impl IntoIterator<Item = &'s Source>) -> Mode {
        let (mut most, mut sum) = (0, 0_u64);
        for source in sources.into_iter().filter(|source| self.has(source)) {
            if source.excluded > 0 {
                return Mode::Exclude;
            }
            most = source.included.max(most);
            sum = sum.saturating_add(source.included);
        }
        // A socket counts once for each source that it named.
        if most >= self.users && most > 0 {
            Mode::Include
        } else if sum < self.users {
            Mode::Exclude
        } else {
            Mode::Unknown
        }
    }
}

fn parse_igmp(table: &[u8]) -> Vec<Joined> {
    let mut joined = Vec::new();
    // The interface of the groups that follow.
    let mut on: Option<(u32, String, Option<u8>)> = None;
    // The first line is a heading.
    for line in lines(table).skip(1) {
        if line.first() != Some(&b'\t') {
            on = parse_igmp_interface(line);
            continue;
        }
        let mut fields = fields(line);
        let group = fields.next().and_then(words::<4>).map(Ipv4Addr::from);
        let users = fields.next().and_then(number);
        if let (Some((index, interface, version)), Some(group), Some(users)) = (&on, group, users) {
            let (index, interface, version) = (*index, interface.clone(), *version);
            joined.push(Joined { index, interface, group: group.into(), users, version });
        }
    }
    joined
}

/// `4<tab>eth0      :     1      V3`
fn parse_igmp_interface(line: &[u8]) -> Option<(u32, String, Option<u8>)> {
    // A name has no colon, and its end is padded.
    let colon = line.iter().rposition(|byte| *byte == b':')?;
    let (before, after) = line.split_at_checked(colon)?;
    let mut before = fields(before);
    let (index, interface) = (number(before.next()?)?, name(before.next()?));
    let version = fields(after).last().and_then(|field| field.strip_prefix(b"V")).and_then(number);
    Some((index, interface, version))
}

fn parse_igmp6(table: &[u8]) -> Vec<Joined> {
    let parse = |line| {
        let mut fields = fields(line);
        let (index, interface) = (number(fields.next()?)?, name(fields.next()?));
        let group = Ipv6Addr::from(bytes::<16>(fields.next()?)?).into();
        Some(Joined { index, interface, group, users: number(fields.next()?)?, version: None })
    };
    lines(table).filter_map(parse).collect()
}

fn parse_mcfilter(table: &[u8]) -> Vec<Source> {
    let address = |field: &[u8]| {
        let number = u32::try_from(hexadecimal(field.strip_prefix(b"0x")?)?).ok()?;
        Some(Ipv4Addr::from_bits(number).into())
    };
    parse_sources(table, &address)
}

fn parse_mcfilter6(table: &[u8]) -> Vec<Source> {
    parse_sources(table, &|field| Some(Ipv6Addr::from(bytes::<16>(field)?).into()))
}

/// The lines of both files. The interface's name is cut after six bytes there, so it is not read.
fn parse_sources(table: &[u8], address: &dyn Fn(&[u8]) -> Option<IpAddr>) -> Vec<Source> {
    let parse = |line| {
        let mut fields = fields(line);
        let index = number(fields.next()?)?;
        fields.next()?;
        let (group, source) = (address(fields.next()?)?, address(fields.next()?)?);
        let (included, excluded) = (number(fields.next()?)?, number(fields.next()?)?);
        Some(Source { index, group, source, included, excluded })
    };
    lines(table).filter_map(parse).collect()
}

fn parse_dev_mcast(table: &[u8]) -> Vec<HardwareAddress> {
    let parse = |line| {
        let mut fields = fields(line);
        let (index, interface) = (number(fields.next()?)?, name(fields.next()?));
        let users = number(fields.next()?)?;
        fields.next()?;
        // A device without addresses has an empty one.
        let digits = fields.next().unwrap_or_default();
        let byte = |digits: &[u8]| bytes::<1>(digits).map(|[byte]| byte);
        let address = digits.chunks(2).map(byte).collect::<Option<_>>()?;
        Some(HardwareAddress { index, interface, users, address })
    };
    lines(table).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// An IPv4 address as the kernel prints it where this test runs, also on a big-endian host.
    fn printed(address: [u8; 4]) -> String {
        format!("{:08X}", u32::from_ne_bytes(address))
    }

    #[test]
    fn groups_of_ipv4_are_read_in_the_byte_order_of_the_host() {
        let table = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t{}     1 0:00000000\t\t0\n\
             70000\tlonger-than-ten: 2 V2\n\t\t\t\t{}    12 1:00000010\t\t1\n\t\t\t\t{}     1 0:00000000\t\t0\n",
            printed([224, 0, 0, 1]),
            printed([239, 1, 2, 3]),
            printed([224, 0, 0, 251])
        );
        let joined = |index, interface: &str, group: &str, users, version| {
            let (interface, group) = (interface.to_owned(), group.parse().unwrap());
            Joined { index, interface, group, users, version: Some(version) }
        };
        let expected = [
            joined(1, "lo", "224.0.0.1", 1, 3),
            joined(70_000, "longer-than-ten", "239.1.2.3", 12, 2),
            joined(70_000, "longer-than-ten", "224.0.0.251", 1, 2),
        ];
        assert_eq!(parse_igmp(table.as_bytes()), expected);
    }

    #[test]
    fn groups_of_ipv6_are_read() {
        let table = b"1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
            12   eth0            ff0200000000000000000001ff000002     7 00000004 0\n";
        let joined = |index, interface: &str, group: &str, users| {
            let (interface, group) = (interface.to_owned(), group.parse().unwrap());
            Joined { index, interface, group, users, version: None }
        };
        assert_eq!(parse_igmp6(table), [joined(1, "lo", "ff02::1", 1), joined(12, "eth0", "ff02::1:ff00:2", 7)]);
    }

    #[test]
    fn sources_of_both_families_are_read() {
        let v4 = b"Idx Device        MCA        SRC    INC    EXC\n  3 longer 0xef010203 0x0a000001      2      1\n";
        let v6 = b"Idx Device                Multicast Address                   Source Address    INC    EXC\n  \
            3 longer ff020000000000000000000000004242 fe800000000000000000000000000001      1      0\n";
        let source = |group: &str, source: &str, included, excluded| {
            let (group, source) = (group.parse().unwrap(), source.parse().unwrap());
            Source { index: 3, group, source, included, excluded }
        };
        assert_eq!(parse_mcfilter(v4), [source("239.1.2.3", "10.0.0.1", 2, 1)]);
        assert_eq!(parse_mcfilter6(v6), [source("ff02::4242", "fe80::1", 1, 0)]);
    }

    #[test]
    fn addresses_of_devices_are_read() {
        let table = b"4    eth0            1     0     01005e000001\n5    tun0            2     0     \n";
        let expected = [
            HardwareAddress { index: 4, interface: "eth0".to_owned(), users: 1, address: vec![1, 0, 0x5e, 0, 0, 1] },
            HardwareAddress { index: 5, interface: "tun0".to_owned(), users: 2, address: vec![] },
        ];
        assert_eq!(parse_dev_mcast(table), expected);
    }

    #[test]
    fn the_mode_follows_from_the_figures_or_is_unknown() {
        let group = "239.1.2.3".parse().unwrap();
        let mode = |users, counts: &[(u64, u64)]| {
            let source = |(at, (included, excluded)): (usize, &(u64, u64))| {
                let source = Ipv4Addr::from_bits(at as u32).into();
                Source { index: 1, group, source, included: *included, excluded: *excluded }
            };
            let mut sources = counts.iter().enumerate().map(source).collect::<Vec<_>>();
            // Of another interface: no part of it.
            sources.push(Source { index: 2, group, source: group, included: 9, excluded: 9 });
            Joined { index: 1, interface: String::new(), group, users, version: None }.mode(&sources)
        };
        assert_eq!(mode(1, &[]), Mode::Exclude);
        assert_eq!(mode(1, &[(1, 0), (1, 0)]), Mode::Include);
        assert_eq!(mode(2, &[(2, 0), (1, 0)]), Mode::Include);
        // One socket named the source, the other none.
        assert_eq!(mode(2, &[(1, 0)]), Mode::Exclude);
        assert_eq!(mode(1, &[(0, 1)]), Mode::Exclude);
        // Two sockets with a source each, or one with both and one that named none.
        assert_eq!(mode(2, &[(1, 0), (1, 0)]), Mode::Unknown);
    }

    #[test]
    fn no_table_is_too_strange() {
        let tables: [&[u8]; 8] = [
            b"",
            b"\n\n\n",
            b"\n\t\t\t\t010000E0 1 0:00000000 0\n",
            b"\n1\tlo: x V3\n\t+10000E0 1\n\t\t\t\t010000E01 1\n\t010000E0\n\t010000E0 99999999999999999999\n",
            b"\n:\n\x00:\n-1 x: V\n99999999999 y: 1 V999\n",
            b"1 lo 0x+f 0x1 1 1\n1 lo 0x 0x 1 1\n1 lo 0x1ffffffff 0x1 1 1\n",
            b"1 lo ff02 1\n1 lo \xff\xfe 1 1\n1 lo 1 0 0\n1 lo 1 0 zz\n",
            &[b'\t'; 4000],
        ];
        for table in tables {
            assert_eq!(parse_igmp(table), [], "{table:?}");
            assert_eq!(parse_igmp6(table), [], "{table:?}");
            assert_eq!(parse_mcfilter(table), [], "{table:?}");
            assert_eq!(parse_mcfilter6(table), [], "{table:?}");
            assert_eq!(parse_dev_mcast(table), [], "{table:?}");
        }
    }

    #[test]
    fn sources_are_read_also_if_groups_without_sources_were_joined_later() {
        let mut socket = ListenOptions::new().bind_receiver(Bind::Port(0, Family::V4), 1).unwrap();
        let port = socket.local_addr().unwrap().port();
        let group = |last| Group::new(Ipv4Addr::new(239, 76, std::process::id() as u8, last), port).unwrap();
        let source = "10.1.2.3".parse().unwrap();
        socket.join(&Membership::source(group(1), source).on(Interface::LOOPBACK)).unwrap();
        socket.join(&Membership::any(group(2)).on(Interface::LOOPBACK)).unwrap();
        let listed = sources().unwrap();
        let of = |group: Group| listed.iter().filter(|source| source.group == group.address()).collect::<Vec<_>>();
        let expected = Source { index: 1, group: group(1).address(), source, included: 1, excluded: 0 };
        assert_eq!(of(group(1)), [&expected]);
        assert!(of(group(2)).is_empty());
        assert!(!listed.iter().any(|source| source.group.to_string() == "232.255.66.77"));
    }

    #[test]
    fn a_group_that_a_socket_joined_is_in_the_list_of_this_host() {
        let group = Ipv4Addr::new(239, 75, std::process::id() as u8, 1);
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        let found: Vec<_> = joined().unwrap().into_iter().filter(|joined| joined.group == group).collect();
        let [Joined { index: 1, users: 1, version: Some(1..=3), interface, .. }] = &*found else { panic!("{found:?}") };
        assert_eq!(interface, "lo");
        socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        assert!(!joined().unwrap().iter().any(|joined| joined.group == group));
        hardware_addresses().unwrap();
    }

    proptest! {
        /// The lines of all tables, with some bytes changed to any others.
        #[test]
        fn a_damaged_table_is_read_as_far_as_it_goes(changes in vec((0..600_usize, any::<u8>()), 0..40)) {
            let whole = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     1      V3\n\
                \t\t\t\t010000E0     1 0:00000000\t\t0\n3 longer 0xef010203 0x0a000001      2      1\n\
                12   eth0            ff0200000000000000000001ff000002     7 00000004 0\n\
                3 longer ff020000000000000000000000004242 fe800000000000000000000000000001      1      0\n\
                4    eth0            1     0     01005e000001\n";
            let mut table = whole.repeat(2).into_bytes();
            for (at, byte) in changes {
                if let Some(place) = table.get_mut(at) {
                    *place = byte;
                }
            }
            // Each row is one of a line.
            let lines = lines(&table).count();
            prop_assert!(parse_igmp(&table).len() <= lines && parse_igmp6(&table).len() <= lines);
            prop_assert!(parse_mcfilter(&table).len() + parse_mcfilter6(&table).len() <= lines);
            prop_assert!(parse_dev_mcast(&table).len() <= lines);
        }
    }
}
