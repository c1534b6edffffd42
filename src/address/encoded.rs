//! Socket addresses as bytes, as the kernel reads and writes them (`ip(7)`, `ipv6(7)`, `netlink(7)`).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use linux_raw_sys::net::{AF_INET, AF_INET6, AF_NETLINK};

/// A `sockaddr_in`, a `sockaddr_in6`, or a `sockaddr_nl`.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    bytes: [u8; Self::CAPACITY],
}

impl Address {
    /// The size of a `sockaddr_in6`, the longest of them.
    pub(crate) const CAPACITY: usize = 28;
    /// Family 0, `AF_UNSPEC`.
    pub(crate) const EMPTY: Self = Self { bytes: [0; Self::CAPACITY] };

    /// An address with port 0, for the `MCAST_*` options.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address, 0),
            IpAddr::V6(address) => Self::v6(address, 0, 0),
        }
    }

    /// Address, port, and for IPv6 the scope, for `bind` and `sendmsg`.
    // Inlined, so that of a known address the family is known, too: without it tiny-ask is 416 bytes larger, and tiny-send 312.
    #[inline(always)]
    pub(crate) fn to(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::v4(*address.ip(), address.port()),
            SocketAddr::V6(address) => Self::v6(*address.ip(), address.port(), address.scope_id()),
        }
    }

    // Inlined for the same reason.
    #[inline(always)]
    fn v4(address: Ipv4Addr, port: u16) -> Self {
        let mut bytes = [0; Self::CAPACITY];
        // One store for each field takes little code. Every program that sends contains it.
        [bytes[0], bytes[1]] = (AF_INET as u16).to_ne_bytes();
        [bytes[2], bytes[3]] = port.to_be_bytes();
        [bytes[4], bytes[5], bytes[6], bytes[7]] = address.octets();
        Self { bytes }
    }

    fn v6(address: Ipv6Addr, port: u16, scope: u32) -> Self {
        let mut bytes = [0; Self::CAPACITY];
        [bytes[0], bytes[1]] = (AF_INET6 as u16).to_ne_bytes();
        [bytes[2], bytes[3]] = port.to_be_bytes();
        put(&mut bytes, 8, &address.octets());
        [bytes[24], bytes[25], bytes[26], bytes[27]] = scope.to_ne_bytes();
        Self { bytes }
    }

    /// The same address of IPv6 with another scope.
    pub(crate) fn with_scope(mut self, scope: u32) -> Self {
        put(&mut self.bytes, 24, &scope.to_ne_bytes());
        self
    }

    /// A `sockaddr_nl`: family, port id 0 (the kernel chooses one), groups.
    pub(crate) fn of_netlink(groups: u32) -> Self {
        let mut bytes = [0; Self::CAPACITY];
        put(&mut bytes, 0, &(AF_NETLINK as u16).to_ne_bytes());
        put(&mut bytes, 8, &groups.to_ne_bytes());
        Self { bytes }
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; Self::CAPACITY] {
        &self.bytes
    }

    /// The bytes of an [internet address](Self::is_internet): a `sockaddr_in` or a `sockaddr_in6`.
    #[inline]
    pub(crate) const fn as_internet_bytes(&self) -> &[u8] {
        match self.bytes.first_chunk::<16>() {
            Some(bytes) if self.family() == AF_INET => bytes,
            _ => &self.bytes,
        }
    }

    /// The bytes, for the kernel to write to.
    #[inline]
    pub(crate) const fn as_mut_bytes(&mut self) -> &mut [u8; Self::CAPACITY] {
        &mut self.bytes
    }

    /// The first four bytes of a `sockaddr_nl` are family and padding, the next four the sender's port id: 0 is the kernel.
    pub(crate) const fn netlink_port(&self) -> u32 {
        let [_, _, _, _, a, b, c, d, ..] = self.bytes;
        u32::from_ne_bytes([a, b, c, d])
    }

    /// The address as a value; `None` if its family is neither IPv4 nor IPv6.
    #[inline]
    pub(crate) const fn decode(&self) -> Option<SocketAddr> {
        if self.is_internet() { Some(self.internet()) } else { None }
    }

    /// Whether it is an IPv4 or an IPv6 address.
    #[inline]
    pub(crate) const fn is_internet(&self) -> bool {
        matches!(self.family(), AF_INET | AF_INET6)
    }

    /// Whether it is an IPv4 address.
    #[inline]
    pub(crate) const fn is_ipv4(&self) -> bool {
        self.family() == AF_INET
    }

    const fn family(&self) -> u32 {
        let [low, high, ..] = self.bytes;
        u16::from_ne_bytes([low, high]) as u32
    }

    /// The value of an [internet address](Self::is_internet).
    #[inline]
    pub(crate) const fn internet(&self) -> SocketAddr {
        let [_, _, port_0, port_1, a, b, c, d, address @ .., s, t, u, v] = self.bytes;
        let port = u16::from_be_bytes([port_0, port_1]);
        if self.family() == AF_INET {
            return SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port));
        }
        let (flow, scope) = (u32::from_be_bytes([a, b, c, d]), u32::from_ne_bytes([s, t, u, v]));
        SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from_bits(u128::from_be_bytes(address)), port, flow, scope))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            Some(address) => address.fmt(f),
            None => f.write_str("no internet address"),
        }
    }
}

/// Copies `part` into `bytes` from `offset` on, as far as it fits.
pub(crate) fn put(bytes: &mut [u8], offset: usize, part: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(offset).zip(part) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_an_encoded_address_returns_the_same_address() {
        for text in ["239.1.2.3:5000", "0.0.0.0:0", "[ff02::4242%7]:4242", "[::1]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            let encoded = Address::to(&address);
            assert_eq!(encoded.decode(), Some(address), "{text}");
            assert_eq!(encoded.as_internet_bytes().len(), if address.is_ipv4() { 16 } else { 28 });
        }
    }

    #[test]
    fn fields_are_at_the_offsets_of_the_kernel_structures() {
        let address = Address::to(&"1.2.3.4:258".parse().unwrap());
        let family = (AF_INET as u16).to_ne_bytes();
        assert_eq!(address.as_bytes()[..8], [family[0], family[1], 1, 2, 1, 2, 3, 4]);
        let address = Address::of_netlink(0x0102_0304);
        assert_eq!(address.as_bytes()[4..8], [0; 4], "the kernel chooses the port id");
        assert_eq!(address.as_bytes()[8..12], 0x0102_0304_u32.to_ne_bytes());
    }

    #[test]
    fn addresses_of_other_families_are_not_decoded() {
        assert_eq!(Address::EMPTY.decode(), None);
        assert_eq!(Address::of_netlink(1).decode(), None);
    }
}
