//! What a command listens to, or where it sends: `[SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF]`.
//!
//! In IPv6, brackets hold the address, and with it the range: `[SOURCE@][ADDRESS+COUNT]:PORT%IF`. `[ff02::77%eth0]:5000` is the same as
//! `[ff02::77]:5000%eth0`. The source needs no brackets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use multicast::{Group, Interface};

/// The most groups of one target.
const MOST: u32 = 65_536;

/// One target: a group, or several with consecutive addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) source: Option<IpAddr>,
    /// The first address. It is a multicast address, unless [`parse_any`] made it.
    first: IpAddr,
    count: u32,
    /// `None` if no port was written.
    port: Option<u16>,
    pub(crate) interface: Option<Interface>,
}

impl Target {
    /// The group that is used where none is named.
    pub(crate) fn usual() -> Self {
        let group = Group::DEFAULT;
        Self { source: None, first: group.address(), count: 1, port: Some(group.port()), interface: None }
    }

    /// Parses a target whose addresses are groups.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let target = Self::parse_any(text)?;
        if let Some(address) = target.addresses().find(|address| !address.is_multicast()) {
            let why = if target.count == 1 { "" } else { ", and all of a range must be one" };
            return Err(format!("{text}: {address} is not a multicast address{why}"));
        }
        Ok(target)
    }

    /// Parses a target that may also be a unicast address.
    pub(crate) fn parse_any(text: &str) -> Result<Self, String> {
        let (source, rest) = match text.split_once('@') {
            Some((source, rest)) => {
                let parsed = source.strip_prefix('[').and_then(|source| source.strip_suffix(']')).unwrap_or(source).parse();
                let address: IpAddr = parsed.map_err(|_| format!("{text}: {source:?} before the @ is not an address"))?;
                (Some(address), rest)
            }
            None => (None, text),
        };
        let (place, interface) = without_interface(text, rest)?;
        let (range, port) = split_port(text, &place)?;
        let (first, count) = parse_range(text, range)?;
        if source.is_some_and(|source| source.is_ipv4() != first.is_ipv4()) {
            return Err(format!("{text}: the source is of the other IP version than the group"));
        }
        Ok(Self { source, first, count, port, interface })
    }

    /// All addresses of the range.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let first = self.first;
        // The range was checked when it was parsed: it does not wrap.
        (0..self.count).map(move |offset| match first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits().wrapping_add(offset))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits().wrapping_add(u128::from(offset)))),
        })
    }

    /// All groups of the range, on the port that was written, or else on the one of the usual group.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group> + use<> {
        let port = self.port_or_usual();
        self.addresses().filter_map(move |address| Group::new(address, port).ok())
    }

    /// The first address with the port, for a target that is no range.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.first, self.port_or_usual())
    }

    /// Whether this address is one of the range.
    #[cfg(any(feature = "replay", feature = "who"))]
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let offset = match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => address.to_bits().checked_sub(first.to_bits()).map(u128::from),
            (IpAddr::V6(first), IpAddr::V6(address)) => address.to_bits().checked_sub(first.to_bits()),
            _ => None,
        };
        offset.is_some_and(|offset| offset < self.count.into())
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    fn port_or_usual(&self) -> u16 {
        self.port.unwrap_or(Group::DEFAULT.port())
    }
}

/// Takes `%IF` out, which stands at the end or in the brackets.
fn without_interface(text: &str, rest: &str) -> Result<(String, Option<Interface>), String> {
    let Some((before, after)) = rest.split_once('%') else { return Ok((rest.to_owned(), None)) };
    let end = after.find(']').unwrap_or(after.len());
    let (name, tail) = after.split_at(end);
    if tail.contains('%') {
        return Err(format!("{text}: an interface is named twice"));
    }
    let interface = name.parse().map_err(|error| format!("{text}: {error}"))?;
    Ok((format!("{before}{tail}"), Some(interface)))
}

/// The range without its brackets, and the port.
fn split_port<'t>(text: &str, place: &'t str) -> Result<(&'t str, Option<u16>), String> {
    let (range, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (range, after) = rest.split_once(']').ok_or_else(|| format!("{text}: the ] is missing"))?;
            match after.strip_prefix(':') {
                Some(port) => (range, Some(port)),
                None if after.is_empty() => (range, None),
                None => return Err(format!("{text}: after the ] write :PORT, or nothing")),
            }
        }
        // Two colons without brackets: an IPv6 address without a port.
        None if place.matches(':').count() > 1 => (place, None),
        None => match place.split_once(':') {
            Some((range, port)) => (range, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        None => None,
        Some("0") => return Err(format!("{text}: port 0 is not a port to send to or listen on: give 1 to 65535")),
        Some(port) => {
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let number = port.parse().ok().filter(|_| is_number);
            Some(number.ok_or_else(|| format!("{text}: port {port:?}: give 1 to 65535"))?)
        }
    };
    Ok((range, port))
}

/// The first address of a range, and how many there are.
fn parse_range(text: &str, range: &str) -> Result<(IpAddr, u32), String> {
    let (address, length) = match (range.split_once('/'), range.split_once('+')) {
        (Some((address, length)), _) => (address, Some((length, true))),
        (None, Some((address, count))) => (address, Some((count, false))),
        (None, None) => (range, None),
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("{text}: write ADDRESS:PORT, for IPv6 [ADDRESS]:PORT; {address:?} is not an address"))?;
    let Some((number, is_prefix)) = length else { return Ok((address, 1)) };
    let number: u32 = number.parse().map_err(|_| format!("{text}: {number:?} is not a number"))?;
    let too_many = || format!("{text}: a range has at most {MOST} groups");
    if is_prefix {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let host =
            u32::checked_sub(bits, number).ok_or_else(|| format!("{text}: /{number}: a prefix has 0 to {bits} bits"))?;
        let count = 1_u32.checked_shl(host).filter(|count| *count <= MOST).ok_or_else(too_many)?;
        return Ok((masked(address, count), count));
    }
    match number {
        0 => Err(format!("{text}: +0 is no group: give +1 or more")),
        1..=MOST if !wraps(address, number) => Ok((address, number)),
        1..=MOST => Err(format!("{text}: the range goes beyond the last address")),
        _ => Err(too_many()),
    }
}

/// The address without its last bits; `count` is a power of two.
fn masked(address: IpAddr, count: u32) -> IpAddr {
    let host = count.saturating_sub(1);
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !host)),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(host))),
    }
}

fn wraps(first: IpAddr, count: u32) -> bool {
    let last = count.saturating_sub(1);
    match first {
        IpAddr::V4(first) => first.to_bits().checked_add(last).is_none(),
        IpAddr::V6(first) => first.to_bits().checked_add(u128::from(last)).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let target = Target::parse(text).unwrap();
        let groups: Vec<_> = target.groups().map(|group| group.to_string()).collect();
        let source = target.source.map_or(String::new(), |source| format!("{source}@"));
        let interface = target.interface.map_or(String::new(), |interface| format!("%{interface}"));
        format!("{source}{}{interface}", groups.join(","))
    }

    #[test]
    fn every_written_form_is_understood() {
        for (text, expected) in [
            ("239.1.2.3", "239.1.2.3:4242"),
            ("239.1.2.3:5000", "239.1.2.3:5000"),
            ("239.1.2.3:5000%eth0", "239.1.2.3:5000%eth0"),
            ("239.1.2.3%eth0", "239.1.2.3:4242%eth0"),
            ("10.0.0.1@232.1.2.3:5000", "10.0.0.1@232.1.2.3:5000"),
            ("239.1.2.254+3:5000", "239.1.2.254:5000,239.1.2.255:5000,239.1.3.0:5000"),
            ("239.1.2.7/31:5000", "239.1.2.6:5000,239.1.2.7:5000"),
            ("ff02::77", "[ff02::77]:4242"),
            ("ff02::77%a0", "[ff02::77]:4242%a0"),
            ("[ff02::77]", "[ff02::77]:4242"),
            ("[ff02::77]:5000%a0", "[ff02::77]:5000%a0"),
            ("[ff02::77%a0]:5000", "[ff02::77]:5000%a0"),
            ("fd00::1@[ff3e::77+2]:5000%a0", "fd00::1@[ff3e::77]:5000,[ff3e::78]:5000%a0"),
            ("[fd00::1]@[ff3e::76/127]:5000", "fd00::1@[ff3e::76]:5000,[ff3e::77]:5000"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(Target::parse("239.1.0.0/16:5").unwrap().groups().count(), 65_536);
        assert_eq!(Target::parse_any("10.0.0.1:5000").unwrap().address().to_string(), "10.0.0.1:5000");
    }

    #[cfg(feature = "replay")]
    #[test]
    fn a_range_contains_its_addresses_alone() {
        let contains = |text, address: &str| Target::parse(text).unwrap().contains(address.parse().unwrap());
        assert!(contains("239.1.2.3:5000", "239.1.2.3") && !contains("239.1.2.3:5000", "239.1.2.4"));
        assert!(contains("239.1.2.0/24", "239.1.2.0") && contains("239.1.2.0/24", "239.1.2.255"));
        assert!(!contains("239.1.2.0/24", "239.1.1.255") && !contains("239.1.2.0/24", "239.1.3.0"));
        assert!(contains("[ff02::70+2]", "ff02::71") && !contains("[ff02::70+2]", "ff02::72"));
        assert!(!contains("[ff02::70+2]", "239.1.2.3") && !contains("239.1.2.3", "ff02::70"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("", "write ADDRESS:PORT"),
            ("nowhere", "write ADDRESS:PORT"),
            ("10.0.0.1:5000", "10.0.0.1 is not a multicast address"),
            ("239.255.255.255+2:5000", "240.0.0.0 is not a multicast address, and all of a range"),
            ("239.1.2.3:0", "port 0"),
            ("239.1.2.3:65536", "give 1 to 65535"),
            ("239.1.2.3:+5", "give 1 to 65535"),
            ("239.1.2.3:", "give 1 to 65535"),
            ("[ff02::77:5000", "the ] is missing"),
            ("[ff02::77]5000", "after the ] write :PORT"),
            ("239.0.0.0/8:5", "at most 65536 groups"),
            ("239.0.0.0/33:5", "a prefix has 0 to 32 bits"),
            ("[ff02::/0]:5", "at most 65536 groups"),
            ("239.0.0.0+65537:5", "at most 65536 groups"),
            ("239.0.0.0+0:5", "+0 is no group"),
            ("239.0.0.0+x:5", "is not a number"),
            ("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff+2]:5", "beyond the last address"),
            ("fd00::1@239.1.2.3:5", "the other IP version"),
            ("host@239.1.2.3:5", "before the @ is not an address"),
            ("[ff02::77%a]:5%b", "named twice"),
            ("239.1.2.3:5%", "write a name"),
        ] {
            let reason = Target::parse(text).unwrap_err();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }
}
