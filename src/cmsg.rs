//! Control messages out of bytes (`cmsg(3)`): where a packet was sent to, and where it came in.
//!
//! Pure and safe: no pointer, no cast, and no trust in the lengths that the bytes claim.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linux_raw_sys::net::{IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO};

/// The size of a word of the kernel's: control messages begin at multiples of it.
const WORD: usize = size_of::<usize>();
/// The size of a `cmsghdr`: length (a word), level and type.
const HEADER: usize = WORD + 8;
/// Room for the longest packet information, an `in6_pktinfo`, with its header.
pub(crate) const PACKET_INFO_SPACE: usize = HEADER + 24;

/// Where a packet was sent to, and the index of the interface that it came in on (`ip(7)`, `ipv6(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketInfo {
    pub(crate) destination: IpAddr,
    pub(crate) interface: u32,
}

impl PacketInfo {
    /// The packet information among these control messages, if it is there.
    pub(crate) fn find(control: &[u8]) -> Option<Self> {
        messages(control).find_map(|message| match (message.level, message.kind) {
            (IPPROTO_IP_LEVEL, IP_PKTINFO) => Self::v4(message.data),
            (IPPROTO_IPV6_LEVEL, IPV6_PKTINFO) => Self::v6(message.data),
            _ => None,
        })
    }

    /// `struct in_pktinfo`: interface, our own address, destination.
    fn v4(data: &[u8]) -> Option<Self> {
        let (interface, rest) = data.split_first_chunk::<4>()?;
        let (_own, rest) = rest.split_first_chunk::<4>()?;
        let destination = rest.first_chunk::<4>()?;
        Some(Self {
            destination: IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes(*destination))),
            interface: u32::from_ne_bytes(*interface),
        })
    }

    /// `struct in6_pktinfo`: destination, interface.
    fn v6(data: &[u8]) -> Option<Self> {
        let (destination, rest) = data.split_first_chunk::<16>()?;
        let interface = rest.first_chunk::<4>()?;
        Some(Self {
            destination: IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(*destination))),
            interface: u32::from_ne_bytes(*interface),
        })
    }
}

const IPPROTO_IP_LEVEL: u32 = IPPROTO_IP as u32;
const IPPROTO_IPV6_LEVEL: u32 = IPPROTO_IPV6 as u32;

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) level: u32,
    pub(crate) kind: u32,
    pub(crate) data: &'a [u8],
}

/// The control messages in these bytes. It ends where a header is cut off or claims a length that cannot be.
pub(crate) fn messages(control: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = control;
    core::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<WORD>()?;
        let (level, after) = after.split_first_chunk::<4>()?;
        let (kind, _) = after.split_first_chunk::<4>()?;
        let length = usize::from_ne_bytes(*length);
        let data = rest.get(HEADER..length)?;
        rest = length.checked_next_multiple_of(WORD).and_then(|next| rest.get(next..)).unwrap_or(&[]);
        Some(Message { level: u32::from_ne_bytes(*level), kind: u32::from_ne_bytes(*kind), data })
    })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn message(level: u32, kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(WORD), 0);
        bytes
    }

    fn v4_info(interface: u32) -> Vec<u8> {
        let mut data = interface.to_ne_bytes().to_vec();
        data.extend([127, 0, 0, 1, 239, 1, 2, 3]);
        message(0, 8, &data)
    }

    #[test]
    fn packet_information_of_both_families_is_read() {
        let expected = PacketInfo { destination: [239, 1, 2, 3].into(), interface: 7 };
        assert_eq!(PacketInfo::find(&v4_info(7)), Some(expected));

        let address = "ff02::4242".parse::<Ipv6Addr>().unwrap();
        let mut data = address.octets().to_vec();
        data.extend(9_u32.to_ne_bytes());
        let expected = PacketInfo { destination: address.into(), interface: 9 };
        assert_eq!(PacketInfo::find(&message(41, 50, &data)), Some(expected));
    }

    #[test]
    fn other_messages_before_it_are_passed_over() {
        let mut bytes = message(0, 2, &64_u32.to_ne_bytes());
        bytes.extend(message(1, 35, &[0; 16]));
        bytes.extend(v4_info(3));
        assert_eq!(messages(&bytes).count(), 3);
        assert_eq!(PacketInfo::find(&bytes).unwrap().interface, 3);
    }

    #[test]
    fn bytes_that_are_cut_off_anywhere_give_nothing_and_do_no_harm() {
        let whole = v4_info(3);
        let needed = HEADER + 12;
        for length in 0..whole.len() {
            assert_eq!(PacketInfo::find(&whole[..length]).is_some(), length >= needed, "cut at {length}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_end_the_list() {
        for claimed in [0, 1, HEADER - 1, usize::MAX, usize::MAX - 3] {
            let mut bytes = v4_info(3);
            bytes[..WORD].copy_from_slice(&claimed.to_ne_bytes());
            assert_eq!(messages(&bytes).count(), 0, "claimed {claimed}");
        }
    }
}
