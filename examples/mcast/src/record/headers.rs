//! IP and UDP headers, built again for a packet of which a socket told payload and metadata.
//!
//! What a socket does not tell is left at its plainest: no options, no fragments, identification and flow label 0.

use std::net::{IpAddr, SocketAddr};

/// A packet as a socket tells it.
pub(crate) struct Datagram<'a> {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// As it was received.
    pub(crate) hop_limit: u8,
    pub(crate) traffic_class: u8,
    pub(crate) payload: &'a [u8],
}

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const V4_HEADER: usize = 20;
/// "Don't fragment", as a packet with identification 0 should have it (RFC 6864).
const WHOLE: u16 = 0x4000;

impl Datagram<'_> {
    /// Adds it to `out`, as it was on the wire behind the link's header. Returns false, and adds nothing, for what no packet can be:
    /// addresses of two families, or a payload that is longer than UDP allows.
    #[must_use]
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> bool {
        let Ok(length) = u16::try_from(self.payload.len().saturating_add(UDP_HEADER)) else { return false };
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let Some(total) = length.checked_add(V4_HEADER as u16) else { return false };
                let mut header = Vec::with_capacity(V4_HEADER);
                header.extend([0x45, self.traffic_class]);
                // The zeros are the identification, and below the checksum, which the first two bytes of the addresses follow.
                for field in [total, 0, WHOLE, u16::from_be_bytes([self.hop_limit, UDP]), 0] {
                    header.extend(field.to_be_bytes());
                }
                header.extend(source.octets());
                header.extend(destination.octets());
                let checksum = folded(sum(&header)).to_be_bytes();
                for (byte, sum) in header.iter_mut().skip(10).zip(checksum) {
                    *byte = sum;
                }
                out.extend(header);
                self.write_udp(length, sum(&source.octets()).saturating_add(sum(&destination.octets())), out);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let class = u32::from(self.traffic_class) << 20;
                out.extend((0x6000_0000 | class).to_be_bytes());
                out.extend(length.to_be_bytes());
                out.extend([UDP, self.hop_limit]);
                out.extend(source.octets());
                out.extend(destination.octets());
                self.write_udp(length, sum(&source.octets()).saturating_add(sum(&destination.octets())), out);
            }
            _ => return false,
        }
        true
    }

    /// `addresses`: the sum of both, which the checksum covers as well.
    fn write_udp(&self, length: u16, addresses: u64, out: &mut Vec<u8>) {
        let (from, to) = (self.source.port(), self.destination.port());
        let numbers = [from, to, length, length, UDP.into()].map(u64::from).iter().sum::<u64>();
        let checksum = match folded(numbers.saturating_add(addresses).saturating_add(sum(self.payload))) {
            // 0 means that there is no checksum.
            0 => u16::MAX,
            checksum => checksum,
        };
        for field in [from, to, length, checksum] {
            out.extend(field.to_be_bytes());
        }
        out.extend(self.payload);
    }
}

/// The sum of the bytes as numbers of two bytes (RFC 1071); the last one may lack its second byte.
fn sum(bytes: &[u8]) -> u64 {
    let numbers = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        [high] => u16::from_be_bytes([*high, 0]),
        _ => 0,
    });
    numbers.map(u64::from).sum()
}

/// The checksum: the one's complement of the one's complement sum.
fn folded(mut sum: u64) -> u16 {
    while let carry @ 1.. = sum >> 16 {
        sum = (sum & 0xffff).saturating_add(carry);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(source: &str, destination: &str, payload: &[u8]) -> Option<Vec<u8>> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let mut out = Vec::new();
        let datagram = Datagram { source, destination, hop_limit: 7, traffic_class: 0xb8, payload };
        datagram.write(&mut out).then_some(out)
    }

    #[test]
    fn a_packet_of_ipv4_has_the_bytes_that_scapy_builds() {
        // bytes(IP(src="10.0.0.1", dst="239.1.2.3", ttl=7, tos=0xb8, id=0, flags="DF")/UDP(sport=1000, dport=5000)/b"abc")
        let expected = "45b8001f00004000071178110a000001ef01020303e81388000b2900616263";
        assert_eq!(hex(&written("10.0.0.1:1000", "239.1.2.3:5000", b"abc").unwrap()), expected);
    }

    #[test]
    fn a_packet_of_ipv6_has_the_bytes_that_scapy_builds() {
        // bytes(IPv6(src="fe80::1", dst="ff02::4242", hlim=7, tc=0xb8)/UDP(sport=1000, dport=5000)/b"abcd")
        let expected =
            "6b800000000c1107fe800000000000000000000000000001ff02000000000000000000000000424203e81388000ce3d861626364";
        assert_eq!(hex(&written("[fe80::1]:1000", "[ff02::4242]:5000", b"abcd").unwrap()), expected);
    }

    #[test]
    fn a_checksum_of_0_is_written_as_ffff() {
        let packet = written("10.0.0.1:1000", "239.1.2.3:5000", b"").unwrap();
        let checksum = u16::from_be_bytes([packet[26], packet[27]]);
        // With its own checksum as payload, a packet sums up to nothing; its length is in the sum twice.
        let payload = (u32::from(checksum) + 0xffff - 4) % 0xffff;
        let packet = written("10.0.0.1:1000", "239.1.2.3:5000", &(payload as u16).to_be_bytes()).unwrap();
        assert_eq!(packet[26..28], [0xff, 0xff]);
    }

    #[test]
    fn the_longest_packets_fit_and_longer_ones_are_refused() {
        assert_eq!(written("10.0.0.1:1", "239.1.2.3:2", &[1; 65_507]).unwrap().len(), 65_535);
        assert_eq!(written("10.0.0.1:1", "239.1.2.3:2", &[1; 65_508]), None);
        assert_eq!(written("[::1]:1", "[ff02::1]:2", &[1; 65_527]).unwrap().len(), 65_575);
        assert_eq!(written("[::1]:1", "[ff02::1]:2", &[1; 65_528]), None);
        assert_eq!(written("[::1]:1", "239.1.2.3:2", b""), None);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
