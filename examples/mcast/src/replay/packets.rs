//! From the bytes of a captured packet to its UDP payload.

use std::net::{IpAddr, SocketAddr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::capture::Frame;

/// What a packet of a capture is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Udp {
        source: SocketAddr,
        destination: SocketAddr,
        payload: &'a [u8],
    },
    /// A part of a datagram. Its other parts are other packets of the capture.
    Fragment,
    /// The capture does not have all of it.
    Cut,
    /// Neither IP nor UDP.
    Other,
    /// Of this kind of link (a LINKTYPE_ number), of which nothing is known here.
    UnknownLink(u32),
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

impl<'a> Content<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Self {
        let (ether_type, bytes) = match network(frame) {
            Ok(Some(found)) => found,
            Ok(None) => return Self::Other,
            Err(unknown) => return Self::UnknownLink(unknown),
        };
        let packet = LaxSlicedPacket::from_ether_type(ether_type.into(), bytes);
        let (addresses, payload) = match &packet.net {
            Some(LaxNetSlice::Ipv4(packet)) => {
                let header = packet.header();
                let addresses: [IpAddr; 2] = [header.source_addr().into(), header.destination_addr().into()];
                (addresses, packet.payload())
            }
            Some(LaxNetSlice::Ipv6(packet)) => {
                let header = packet.header();
                let addresses: [IpAddr; 2] = [header.source_addr().into(), header.destination_addr().into()];
                (addresses, packet.payload())
            }
            _ => return Self::Other,
        };
        if payload.fragmented {
            return Self::Fragment;
        }
        let Some(TransportSlice::Udp(udp)) = &packet.transport else { return Self::Other };
        // A length of 0 has a packet whose length its network card was to fill in.
        let is_whole = udp.length() == 0 || usize::from(udp.length()) == udp.slice().len();
        if payload.incomplete || !is_whole || (frame.is_cut && udp.length() == 0) {
            return Self::Cut;
        }
        let [source, destination] = addresses;
        Self::Udp {
            source: SocketAddr::new(source, udp.source_port()),
            destination: SocketAddr::new(destination, udp.destination_port()),
            payload: udp.payload(),
        }
    }
}

/// The part of the frame behind the link's own header, and what it is: an EtherType. `Ok(None)`: it is too short, or no IP.
/// An error is a kind of link that is not known.
fn network<'a>(frame: &Frame<'a>) -> Result<Option<(u16, &'a [u8])>, u32> {
    let bytes = frame.bytes;
    let behind = |kind: usize, header: usize| {
        let kind = u16::from_be_bytes(*bytes.get(kind..)?.first_chunk()?);
        Some((kind, bytes.get(header..)?))
    };
    Ok(match frame.link_type {
        // Ethernet.
        1 => behind(12, 14),
        // Raw IP: its number in files, and those that some systems write instead of it; for one version of IP alone.
        12 | 14 | 101 | 228 | 229 => ip(bytes),
        // Loopback of BSD, which says the family in an order of bytes and by a number that depend on the system.
        0 | 108 => bytes.get(4..).and_then(ip),
        // Linux "cooked", as from the interface `any`.
        113 => behind(14, 16),
        276 => behind(0, 20),
        unknown => return Err(unknown),
    })
}

/// By its version.
fn ip(bytes: &[u8]) -> Option<(u16, &[u8])> {
    match bytes.first()? >> 4 {
        4 => Some((IPV4, bytes)),
        6 => Some((IPV6, bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::headers::Datagram;

    const FROM: &str = "10.0.0.1:1000";
    const TO: &str = "239.1.2.3:5000";
    const FROM_V6: &str = "[fd00::1]:1000";
    const TO_V6: &str = "[ff02::4242]:5000";

    fn raw(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let mut bytes = Vec::new();
        assert!(Datagram { source, destination, hop_limit: 1, traffic_class: 0, payload }.write(&mut bytes));
        bytes
    }

    fn of(link_type: u32, bytes: &[u8]) -> Content<'_> {
        Content::of(&Frame { time: None, link_type, bytes, is_cut: false })
    }

    fn udp<'a>(source: &str, destination: &str, payload: &'a [u8]) -> Content<'a> {
        Content::Udp { source: source.parse().unwrap(), destination: destination.parse().unwrap(), payload }
    }

    #[test]
    fn each_kind_of_link_gives_the_same_packet() {
        let (v4, v6) = (raw(FROM, TO, b"four"), raw(FROM_V6, TO_V6, b"six"));
        let headers: [(u32, Vec<u8>, Vec<u8>); 8] = [
            (101, vec![], vec![]),
            (1, [&[0; 12][..], &[8, 0]].concat(), [&[0; 12][..], &[0x86, 0xdd]].concat()),
            // A VLAN tag, and two.
            (1, [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0]].concat(), [&[0; 12][..], &[0x81, 0, 0, 5, 0x86, 0xdd]].concat()),
            (
                1,
                [&[0; 12][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat(),
                [&[0; 12][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x86, 0xdd]].concat(),
            ),
            (113, [&[0; 14][..], &[8, 0]].concat(), [&[0; 14][..], &[0x86, 0xdd]].concat()),
            (276, [&[8, 0][..], &[0; 18]].concat(), [&[0x86, 0xdd][..], &[0; 18]].concat()),
            (0, vec![2, 0, 0, 0], vec![30, 0, 0, 0]),
            (108, vec![0, 0, 0, 2], vec![0, 0, 0, 24]),
        ];
        for (link, before_v4, before_v6) in headers {
            // An Ethernet frame is padded.
            assert_eq!(of(link, &[&before_v4[..], &v4, &[0; 9]].concat()), udp(FROM, TO, b"four"), "{link} {before_v4:?}");
            assert_eq!(of(link, &[&before_v6[..], &v6, &[0; 9]].concat()), udp(FROM_V6, TO_V6, b"six"), "{link}");
        }
    }

    #[test]
    fn fragments_are_told_from_whole_packets() {
        let mut first = raw(FROM, TO, b"four");
        first[6] = 0x20;
        assert_eq!(of(101, &first), Content::Fragment);
        let mut last = raw(FROM, TO, b"four");
        [last[6], last[7]] = [0, 9];
        assert_eq!(of(101, &last), Content::Fragment);
        // A fragment header before UDP: the next header, offset 0 with more to come, an identification.
        let mut v6 = raw(FROM_V6, TO_V6, b"six");
        v6[6] = 44;
        v6[5] += 8;
        v6.splice(40..40, [17, 0, 0, 1, 0, 0, 0, 7]);
        assert_eq!(of(101, &v6), Content::Fragment);
        // Without more to come it is whole.
        v6[43] = 0;
        assert_eq!(of(101, &v6), udp(FROM_V6, TO_V6, b"six"));
    }

    #[test]
    fn options_before_udp_are_passed_over() {
        let mut v4 = raw(FROM, TO, b"four");
        v4[0] = 0x46;
        v4[3] += 4;
        // Router alert.
        v4.splice(20..20, [0x94, 4, 0, 0]);
        assert_eq!(of(101, &v4), udp(FROM, TO, b"four"));
        let mut v6 = raw(FROM_V6, TO_V6, b"six");
        v6[6] = 0;
        v6[5] += 8;
        v6.splice(40..40, [17, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!(of(101, &v6), udp(FROM_V6, TO_V6, b"six"));
    }

    #[test]
    fn a_packet_that_is_cut_is_never_taken_for_a_shorter_one() {
        for packet in [raw(FROM, TO, b"a payload"), raw(FROM_V6, TO_V6, b"a payload")] {
            for length in 0..packet.len() {
                let content = of(101, &packet[..length]);
                assert!(matches!(content, Content::Cut | Content::Other), "{length}: {content:?}");
            }
        }
    }

    #[test]
    fn lengths_that_a_network_card_was_to_fill_in_are_those_of_the_frame() {
        let mut packet = raw(FROM, TO, b"long");
        [packet[2], packet[3], packet[24], packet[25]] = [0; 4];
        assert_eq!(of(101, &packet), udp(FROM, TO, b"long"));
        assert_eq!(Content::of(&Frame { time: None, link_type: 101, bytes: &packet, is_cut: true }), Content::Cut);
    }

    #[test]
    fn what_is_no_udp_is_other() {
        let mut tcp = raw(FROM, TO, b"no udp, but as long as a header of tcp");
        tcp[9] = 6;
        assert_eq!(of(101, &tcp), Content::Other);
        let arp = [&[0; 12][..], &[8, 6], &[0; 28]].concat();
        assert_eq!(of(1, &arp), Content::Other);
        assert_eq!(of(127, &arp), Content::UnknownLink(127));
        assert_eq!(of(101, b""), Content::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_something(link in 0_usize..7, changes in prop::collection::vec((0_usize..80, any::<u8>()), 0..10),
                                   length in 0_usize..80, is_v6: bool, is_cut: bool) {
            let link_type = [101, 1, 113, 276, 0, 108, 12][link];
            let header = [0, 14, 16, 20, 4, 4, 0][link];
            let mut bytes = vec![0; header];
            let (kind, ip) = if is_v6 { ([0x86, 0xdd], raw(FROM_V6, TO_V6, b"123456")) } else { ([8, 0], raw(FROM, TO, b"123456")) };
            if header >= 14 {
                let at = if link_type == 276 { 0 } else { header - 2 };
                bytes[at..at + 2].copy_from_slice(&kind);
            }
            bytes.extend(ip);
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(length);
            let content = Content::of(&Frame { time: None, link_type, bytes: &bytes, is_cut });
            if let Content::Udp { payload, .. } = content {
                prop_assert!(payload.len() <= bytes.len());
            }
        }
    }
}
