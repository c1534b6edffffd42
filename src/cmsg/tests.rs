use core::time::Duration;
use std::vec;
use std::vec::Vec;

use super::*;

const LAYOUTS: [Layout; 4] = [
    Layout { word: 4, big_endian: false },
    Layout { word: 4, big_endian: true },
    Layout { word: 8, big_endian: false },
    Layout { word: 8, big_endian: true },
];

/// A number as a processor of this layout writes it.
fn bytes(layout: Layout, number: u64, size: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes()[..size].to_vec();
    if layout.big_endian {
        bytes.reverse();
    }
    bytes
}

fn message(layout: Layout, level: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut message = bytes(layout, (layout.header() + data.len()) as u64, layout.word);
    message.extend(bytes(layout, level.into(), 4));
    message.extend(bytes(layout, kind.into(), 4));
    message.extend(data);
    message.resize(message.len().next_multiple_of(layout.word), 0);
    message
}

fn v4_info(layout: Layout, interface: u32) -> Vec<u8> {
    let mut data = bytes(layout, interface.into(), 4);
    data.extend([127, 0, 0, 1, 239, 1, 2, 3]);
    message(layout, 0, 8, &data)
}

#[test]
fn all_that_comes_with_an_ipv4_packet_is_read_in_every_layout() {
    for layout in LAYOUTS {
        let mut control = v4_info(layout, 7);
        control.extend(message(layout, 0, 2, &bytes(layout, 33, 4)));
        control.extend(message(layout, 0, 1, &[0xb9]));
        let mut time = bytes(layout, 1_700_000_000, 8);
        time.extend(bytes(layout, 123_456_789, 8));
        control.extend(message(layout, linux::SOL_SOCKET, 64, &time));
        control.extend(message(layout, 17, 104, &bytes(layout, 1400, 4)));
        let expected = Metadata {
            destination: Some([239, 1, 2, 3].into()),
            interface: NonZeroU32::new(7),
            hop_limit: Some(33),
            traffic_class: Some(0xb9),
            received: Stamp::new(1_700_000_000_123_456_789),
            is_to_us: false,
        };
        assert_eq!(Arrival::read(&control, layout), Arrival { metadata: expected, segment: Some(1400) }, "{layout:?}");
    }
}

#[test]
fn all_that_comes_with_an_ipv6_packet_is_read_in_every_layout() {
    let address = "ff02::4242".parse::<Ipv6Addr>().unwrap();
    for layout in LAYOUTS {
        let mut info = address.octets().to_vec();
        info.extend(bytes(layout, 9, 4));
        let mut control = message(layout, 41, 50, &info);
        control.extend(message(layout, 41, 52, &bytes(layout, 255, 4)));
        control.extend(message(layout, 41, 67, &bytes(layout, 0x2e, 4)));
        let metadata = Arrival::read(&control, layout).metadata;
        assert_eq!(metadata.destination, Some(address.into()));
        assert_eq!(metadata.interface, NonZeroU32::new(9));
        assert_eq!((metadata.hop_limit, metadata.traffic_class), (Some(255), Some(0x2e)));
        assert_eq!(metadata.received_at(), None);
    }
}

#[test]
fn a_time_stamp_of_short_words_is_read_and_one_that_cannot_be_is_absent() {
    let layout = Layout { word: 4, big_endian: true };
    let stamp = |seconds, nanoseconds| {
        let mut time = bytes(layout, seconds, 4);
        time.extend(bytes(layout, nanoseconds, 4));
        Arrival::read(&message(layout, linux::SOL_SOCKET, 35, &time), layout).metadata.received_at()
    };
    assert_eq!(stamp(1_700_000_000, 5), Some(Duration::new(1_700_000_000, 5)));
    assert_eq!(stamp(1_700_000_000, 1_000_000_000), None);
}

#[test]
fn unknown_messages_are_passed_over() {
    for layout in LAYOUTS {
        let mut control = message(layout, 0, 99, &[1, 2, 3]);
        control.extend(message(layout, 99, 8, &[0; 40]));
        control.extend(v4_info(layout, 3));
        assert_eq!(messages(&control, layout).count(), 3);
        assert_eq!(Arrival::read(&control, layout).metadata.interface, NonZeroU32::new(3));
    }
}

#[test]
fn bytes_that_are_cut_off_anywhere_give_what_is_whole_and_do_no_harm() {
    for layout in LAYOUTS {
        let whole = v4_info(layout, 3);
        let needed = layout.header() + 12;
        for length in 0..whole.len() {
            let found = Arrival::read(&whole[..length], layout).metadata.destination.is_some();
            assert_eq!(found, length >= needed, "cut at {length}, {layout:?}");
        }
    }
}

#[test]
fn data_that_is_too_short_for_its_type_stays_absent() {
    let layout = Layout::NATIVE;
    for (level, kind) in [(0, 8), (0, 2), (0, 1), (41, 50), (41, 52), (41, 67), (linux::SOL_SOCKET, 35), (17, 104)] {
        let arrival = Arrival::read(&message(layout, level, kind, &[]), layout);
        assert_eq!(arrival, Arrival::default(), "{level}, {kind}");
    }
}

#[test]
fn lengths_that_cannot_be_end_the_list() {
    for layout in LAYOUTS {
        let high = if layout.word == 8 { u64::MAX } else { u32::MAX.into() };
        for claimed in [0, 1, layout.header() as u64 - 1, high, high - 3] {
            let mut control = v4_info(layout, 3);
            control[..layout.word].copy_from_slice(&bytes(layout, claimed, layout.word));
            assert_eq!(messages(&control, layout).count(), 0, "claimed {claimed}, {layout:?}");
        }
    }
}

#[test]
fn all_that_we_ask_for_fits_into_the_room_for_it() {
    let layout = Layout::NATIVE;
    let sizes = [20, 4, 4, 16, 4];
    let needed: usize = sizes.iter().map(|size| message(layout, 0, 0, &vec![0; *size]).len()).sum();
    assert_eq!(needed, SPACE);
}

#[test]
fn a_packet_is_to_us_if_its_destination_is_one_of_our_addresses() {
    for layout in LAYOUTS {
        let info = |ours: [u8; 4], to: [u8; 4]| {
            let data = [bytes(layout, 3, 4), ours.to_vec(), to.to_vec()].concat();
            Arrival::read(&message(layout, 0, 8, &data), layout).metadata.is_to_us
        };
        assert!(info([10, 0, 0, 1], [10, 0, 0, 1]));
        assert!(!info([10, 0, 0, 1], [10, 0, 0, 255]), "broadcast");
        assert!(!info([10, 0, 0, 1], [224, 0, 0, 251]), "multicast");
        let info = |to: &str| {
            let data = [to.parse::<Ipv6Addr>().unwrap().octets().to_vec(), bytes(layout, 3, 4)].concat();
            Arrival::read(&message(layout, 41, 50, &data), layout).metadata.is_to_us
        };
        assert!(info("fe80::1"));
        assert!(!info("ff02::fb"));
        let cut = message(layout, 0, 8, &bytes(layout, 3, 4));
        assert!(!Arrival::read(&cut, layout).metadata.is_to_us, "cut off");
    }
}

#[test]
fn the_way_of_an_outgoing_packet_is_read_back_in_every_layout() {
    let (v4, v6): (IpAddr, IpAddr) = ([10, 0, 0, 9].into(), "fe80::9".parse().unwrap());
    for layout in LAYOUTS {
        for (to_ipv4, source, level, kind, length, interface_at, source_at) in
            [(true, v4, 0, 8, 12, 0, 4), (false, v6, 41, 50, 20, 16, 0)]
        {
            for given in [None, Some(source)] {
                let way = Way { interface: 0x0102_0304, source: given };
                let outgoing = Outgoing::packet_info(way, to_ipv4, layout);
                let [only] = messages(outgoing.as_bytes(), layout).collect::<Vec<_>>()[..] else { panic!("{layout:?}") };
                assert_eq!((only.level, only.kind, only.data.len()), (level, kind, length), "{layout:?}");
                assert_eq!(only.data[interface_at..interface_at + 4], bytes(layout, 0x0102_0304, 4));
                let octets = match source {
                    IpAddr::V4(source) => source.octets().to_vec(),
                    IpAddr::V6(source) => source.octets().to_vec(),
                };
                let written = &only.data[source_at..source_at + octets.len()];
                assert_eq!(written, if given.is_some() { &octets[..] } else { &[0; 16][..octets.len()] });
                assert_eq!(outgoing.as_bytes().len() % layout.word, 0);
            }
        }
    }
}

#[test]
fn a_source_of_the_other_family_is_not_written() {
    let way = Way { interface: 1, source: Some("fe80::9".parse().unwrap()) };
    let outgoing = Outgoing::packet_info(way, true, Layout::NATIVE);
    assert!(outgoing.as_bytes()[Layout::NATIVE.header() + 4..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_queued_error_names_its_origin() {
    for layout in LAYOUTS {
        for (level, kind) in [(0, 11), (41, 25)] {
            let origin = |origin: u8| {
                let mut error = bytes(layout, 111, 4);
                error.extend([origin, 3, 3, 0]);
                error.extend([0; 8 + 16]);
                Origin::read(&message(layout, level, kind, &error), layout)
            };
            assert_eq!(
                [0, 1, 2, 3, 4].map(origin),
                [
                    Some(Origin::Local),
                    Some(Origin::Local),
                    Some(Origin::Network),
                    Some(Origin::Network),
                    Some(Origin::Local),
                ]
            );
        }
        assert_eq!(Origin::read(&message(layout, 0, 11, &bytes(layout, 111, 4)), layout), None, "cut off");
        assert_eq!(Origin::read(&message(layout, 0, 8, &[2; 16]), layout), None, "another message");
    }
}

#[test]
fn the_packet_information_alone_reads_as_among_others() {
    for layout in LAYOUTS {
        let mut v6 = Ipv6Addr::LOCALHOST.octets().to_vec();
        v6.extend(bytes(layout, 9, 4));
        for control in [v4_info(layout, 7), message(layout, 41, 50, &v6)] {
            let alone = Metadata::of_packet_info(&control, layout);
            assert!(alone.interface.is_some() && alone.destination.is_some(), "{layout:?}");
            assert_eq!(alone, Arrival::read(&control, layout).metadata, "{layout:?}");
            for length in 0..control.len() - 4 {
                assert_eq!(Metadata::of_packet_info(&control[..length], layout), Metadata::default(), "{layout:?}");
            }
        }
        assert_eq!(Metadata::of_packet_info(&message(layout, 0, 2, &[9; 12]), layout), Metadata::default());
    }
}
