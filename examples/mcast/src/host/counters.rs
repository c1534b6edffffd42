//! The kernel's counters of this network namespace: `/proc/net/snmp`, `netstat`, `snmp6`, `dev_snmp6/IF`, `sockstat`, `sockstat6`
//! and `softnet_stat`.
//!
//! Fields are found by name: each kernel has its own set and order. A counter that this kernel does not have is `None`, never 0.

use super::text::{fields, hexadecimal, lines, name, number};

/// The counters at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// Names such as `Ip:InReceives`, `Ip6InReceives`, `FRAG:inuse`, and their values.
    all: Vec<(String, u64)>,
    /// Of one interface.
    of_interface: Vec<(String, u64)>,
    /// The interface that `of_interface` is about.
    interface: String,
}

impl Counters {
    /// Reads all that can be read. `interface` is the one whose own counters of IPv6 are wanted.
    pub(crate) fn read(interface: &str) -> Self {
        // What cannot be read is not in the list, and so it is unknown.
        let read = |path: &str| std::fs::read(path).unwrap_or_default();
        let mut all = parse_pairs(&read("/proc/net/snmp"));
        all.extend(parse_pairs(&read("/proc/net/netstat")));
        all.extend(parse_list(&read("/proc/net/snmp6")));
        all.extend(parse_sockstat(&read("/proc/net/sockstat")));
        all.extend(parse_sockstat(&read("/proc/net/sockstat6")));
        all.extend(parse_softnet(&read("/proc/net/softnet_stat")));
        let of_interface = match is_file_name(interface) {
            true => parse_list(&read(&format!("/proc/net/dev_snmp6/{interface}"))),
            false => Vec::new(),
        };
        Self { all, of_interface, interface: interface.to_owned() }
    }

    pub(crate) fn of(&self, counter: &str) -> Option<u64> {
        find(&self.all, counter)
    }

    /// Of the interface alone: counters of IPv6.
    pub(crate) fn of_interface(&self, counter: &str) -> Option<u64> {
        find(&self.of_interface, counter)
    }

    /// For tests of what is made of the counters.
    #[cfg(test)]
    pub(crate) fn made_up(all: &[(&str, u64)], of_interface: &[(&str, u64)]) -> Self {
        let owned = |list: &[(&str, u64)]| list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Self { all: owned(all), of_interface: owned(of_interface), interface: "eth0".to_owned() }
    }
}

/// The file in which a counter stands.
pub(crate) fn file_of(counter: &str) -> &'static str {
    match counter.split_once(':') {
        Some(("IpExt" | "TcpExt", _)) => "/proc/net/netstat",
        Some(("FRAG", _)) => "/proc/net/sockstat",
        Some(("FRAG6", _)) => "/proc/net/sockstat6",
        Some(("softnet", _)) => "/proc/net/softnet_stat",
        Some(_) => "/proc/net/snmp",
        None => "/proc/net/snmp6",
    }
}

fn find(list: &[(String, u64)], counter: &str) -> Option<u64> {
    list.iter().find_map(|(name, value)| (name == counter).then_some(*value))
}

/// An interface may be called anything but `.`, `..` and what has a slash; of another namespace's words nothing is certain.
fn is_file_name(interface: &str) -> bool {
    !interface.is_empty() && !interface.contains('/') && interface != "." && interface != ".."
}

/// Pairs of lines: `Ip: InReceives InDelivers` and `Ip: 5 5`. Negative values are left out; they are settings, not counters.
fn parse_pairs(table: &[u8]) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut lines = lines(table);
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (mut names, mut values) = (fields(names), fields(values));
        let (Some(prefix), Some(same)) = (names.next(), values.next()) else { continue };
        if prefix != same {
            continue;
        }
        for (field, value) in names.zip(values) {
            if let Some(value) = number(value) {
                found.push((format!("{}{}", name(prefix), name(field)), value));
            }
        }
    }
    found
}

/// Lines of a name and a value.
fn parse_list(table: &[u8]) -> Vec<(String, u64)> {
    let parse = |line| {
        let mut fields = fields(line);
        Some((name(fields.next()?), number(fields.next()?)?))
    };
    lines(table).filter_map(parse).collect()
}

/// Lines such as `FRAG: inuse 5 memory 640`.
fn parse_sockstat(table: &[u8]) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for line in lines(table) {
        let mut fields = fields(line);
        let Some(prefix) = fields.next() else { continue };
        while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
            if let Some(value) = number(value) {
                found.push((format!("{}{}", name(prefix), name(field)), value));
            }
        }
    }
    found
}

/// A line for each processor. The second number counts packets that it could not queue, the third one the turns that ended early.
fn parse_softnet(table: &[u8]) -> Vec<(String, u64)> {
    let (mut dropped, mut squeezed, mut is_there) = (0_u64, 0_u64, false);
    for line in lines(table) {
        let numbers = fields(line).skip(1).take(2).map_while(hexadecimal).collect::<Vec<_>>();
        if let [of_dropped, of_squeezed] = numbers[..] {
            dropped = dropped.saturating_add(of_dropped);
            squeezed = squeezed.saturating_add(of_squeezed);
            is_there = true;
        }
    }
    match is_there {
        true => vec![("softnet:dropped".to_owned(), dropped), ("softnet:squeezed".to_owned(), squeezed)],
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name_and_those_that_are_not_there_are_unknown() {
        let snmp = b"Ip: Forwarding DefaultTTL InReceives\nIp: 2 64 5\nTcp: CurrEstab MaxConn\nTcp: 200 -1\n";
        let mut all = parse_pairs(snmp);
        all.extend(parse_list(b"Ip6InReceives                   \t7\nIp6InMcastPkts 6\n"));
        all.extend(parse_sockstat(b"sockets: used 3\nFRAG: inuse 5 memory 640\n"));
        all.extend(parse_softnet(b"00275da9 00000002 0000000a 00000000\n0032104e 00000001 00000000 00000000\n"));
        let counters = Counters { all, ..Counters::default() };
        assert_eq!(counters.of("Ip:InReceives"), Some(5));
        assert_eq!(counters.of("Tcp:MaxConn"), None);
        assert_eq!(counters.of("Ip6InReceives"), Some(7));
        assert_eq!(counters.of("FRAG:inuse"), Some(5));
        assert_eq!(counters.of("softnet:dropped"), Some(3));
        assert_eq!(counters.of("softnet:squeezed"), Some(10));
        assert_eq!(counters.of("Ip:OutTransmits"), None);
    }

    #[test]
    fn no_table_is_too_strange() {
        for table in
            [&b""[..], b"\n\n", b"Ip: X Y\nUdp: - x\n", b"Ip:\nIp:\n", b"X\n", b"\xff \xfe\n\xfe 1", b"Ip: A\nIp: x\n"]
        {
            assert!(parse_pairs(table).is_empty(), "{table:?}");
            assert!(parse_softnet(table).is_empty(), "{table:?}");
        }
    }

    #[test]
    fn this_host_has_them() {
        let counters = Counters::read("lo");
        for counter in ["Ip:InReceives", "Udp:RcvbufErrors", "IpExt:InMcastPkts", "FRAG:inuse", "softnet:dropped"] {
            assert!(counters.of(counter).is_some(), "{counter}");
        }
        // Neither a path nor another interface's counters.
        assert!(Counters::read("../snmp6").of_interface("Ip6InReceives").is_none());
    }
}
