//! Whether a device coalesces incoming packets (GRO), as the family `ethtool` of generic netlink tells it. No privilege is needed.

use rustix::io::Errno;

use super::netlink::{Ask, Attributes, Netlink, push_attribute, u16_at};

/// The controller of generic netlink (`GENL_ID_CTRL`), and its question for a family (`CTRL_CMD_GETFAMILY`).
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `ETHTOOL_MSG_FEATURES_GET`, and its attributes.
const GET_FEATURES: u8 = 11;
const HEADER: u16 = 1;
/// `NLA_F_NESTED`: the kernel wants it of attributes that contain others.
const NESTED: u16 = 0x8000;
const DEVICE_INDEX: u16 = 1;
const ACTIVE: u16 = 4;
/// Of a set of bits (`ETHTOOL_A_BITSET_*`): those that are set, each with its name.
const BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;
/// `struct genlmsghdr`: command, version, two bytes.
const FIXED: usize = 4;

/// Whether the device coalesces incoming packets.
pub(crate) fn coalesces(index: u32) -> Result<bool, Errno> {
    let mut netlink = Netlink::generic()?;
    let mut question = vec![GET_FAMILY, 1, 0, 0];
    push_attribute(&mut question, FAMILY_NAME, b"ethtool\0");
    let answer = netlink.ask(CONTROLLER, Ask::One, &question)?;
    let family =
        answer.first().and_then(|answer| u16_at(answer.attributes(FIXED).find(FAMILY_ID)?, 0)).ok_or(Errno::NODATA)?;
    let mut device = Vec::new();
    push_attribute(&mut device, DEVICE_INDEX, &index.to_ne_bytes());
    let mut question = vec![GET_FEATURES, 1, 0, 0];
    push_attribute(&mut question, HEADER | NESTED, &device);
    let answer = netlink.ask(family, Ask::One, &question)?;
    let active = answer.first().and_then(|answer| answer.attributes(FIXED).inside(ACTIVE)).ok_or(Errno::NODATA)?;
    let bits = active.inside(BITS).ok_or(Errno::NODATA)?;
    Ok(has_bit(bits, "rx-gro"))
}

fn has_bit(mut bits: Attributes<'_>, name: &str) -> bool {
    bits.any(|(kind, bit)| kind == BIT && Attributes(bit).text(BIT_NAME).as_deref() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_found_by_its_name() {
        let mut bits = Vec::new();
        for name in [&b"rx-checksum\0"[..], b"rx-gro\0"] {
            let mut bit = Vec::new();
            push_attribute(&mut bit, BIT_NAME, name);
            push_attribute(&mut bits, BIT, &bit);
        }
        assert!(has_bit(Attributes(&bits), "rx-gro"));
        assert!(!has_bit(Attributes(&bits), "rx-gro-hw"));
    }

    #[test]
    fn the_kernel_tells_it_of_lo_and_nothing_of_a_device_that_is_not_there() {
        let lo = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
        assert!(coalesces(lo.trim().parse().unwrap()).is_ok());
        assert_eq!(coalesces(2_000_000_000), Err(Errno::NODEV));
    }
}
