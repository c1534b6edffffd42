use proptest::prelude::*;

use super::*;
use crate::record::pcapng;

const ETHERNET: u16 = 1;

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let long = |number: u32| if order == Order::Little { number.to_le_bytes() } else { number.to_be_bytes() };
    let padded = body.len().next_multiple_of(4);
    let length = long(padded as u32 + 12);
    let mut bytes = [long(kind), length].concat();
    bytes.extend(body);
    bytes.resize(8 + padded, 0);
    bytes.extend(length);
    bytes
}

fn big_section() -> Vec<u8> {
    let bytes = [0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    block(Order::Big, SECTION, &bytes)
}

fn big_interface(options: &[u8]) -> Vec<u8> {
    block(Order::Big, INTERFACE, &[&ETHERNET.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0], options].concat())
}

/// Time, link type, bytes, and whether it is cut.
type Seen = (Option<i128>, u32, Vec<u8>, bool);

/// Everything in it, given in pieces of this length.
fn all_of(file: &[u8], piece: usize) -> (Vec<Seen>, Option<Fault>) {
    let mut capture = Capture::default();
    let mut pieces = file.chunks(piece);
    let mut frames = Vec::new();
    loop {
        match capture.next() {
            Ok(Step::Frame(Frame { time, link_type, bytes, is_cut })) => {
                frames.push((time, link_type, bytes.to_vec(), is_cut));
            }
            Ok(Step::More) => match pieces.next() {
                Some(piece) => capture.push(piece),
                None => capture.end(),
            },
            Ok(Step::End) => return (frames, None),
            Err(fault) => return (frames, Some(fault)),
        }
    }
}

fn our_file() -> Vec<u8> {
    let mut file = Vec::new();
    pcapng::section(&mut file);
    pcapng::interface(&mut file, "lo");
    pcapng::packet(&mut file, 0, 1_700_000_000_123_456_789, b"one");
    pcapng::interface(&mut file, "eth0");
    pcapng::packet(&mut file, 1, 5, &[]);
    pcapng::statistics(&mut file, 1, 6, 2, Some(3));
    file
}

#[test]
fn what_we_write_is_read_however_it_is_cut_into_pieces() {
    let file = our_file();
    for piece in [1, 2, 3, 7, 100, 1000] {
        let (frames, fault) = all_of(&file, piece);
        assert_eq!(fault, None);
        let expected = [(Some(1_700_000_000_123_456_789), 101, b"one".to_vec(), false), (Some(5), 101, vec![], false)];
        assert_eq!(frames, expected);
    }
}

#[test]
fn a_file_that_ends_in_a_block_gives_what_is_before_it() {
    let file = our_file();
    let ends = [file.len() - 1, file.len() - 40, file.len() - 100];
    for end in ends {
        let (frames, fault) = all_of(&file[..end], 4096);
        assert!(matches!(fault, Some(Fault::CutShort(_))), "{fault:?}");
        assert!(frames.len() <= 2);
    }
    assert_eq!(all_of(&file[..file.len() - 1], 4096).0.len(), 2);
    assert_eq!(all_of(b"", 1), (vec![], Some(Fault::NoCapture)));
    assert_eq!(all_of(b"\x0a\x0d\x0d", 1), (vec![], Some(Fault::NoCapture)));
    assert_eq!(all_of(b"a text", 1), (vec![], Some(Fault::NoCapture)));
}

#[test]
fn a_file_of_a_big_endian_machine_is_read() {
    let options = [0, 9, 0, 1, 9, 0, 0, 0, 0, 14, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    let packet = [&[0; 4][..], &[0, 0, 0, 0, 0, 0, 0, 7], &[0, 0, 0, 3, 0, 0, 0, 9], b"abc"].concat();
    let file = [big_section(), big_interface(&options), block(Order::Big, PACKET, &packet)].concat();
    assert_eq!(all_of(&file, 4096), (vec![(Some(2_000_000_007), 1, b"abc".to_vec(), true)], None));
}

#[test]
fn old_and_simple_packets_are_read() {
    let old = [&[0, 0, 0, 5][..], &[0; 4], &[0, 0, 0, 1], &[0, 0, 0, 1, 0, 0, 0, 1], b"x"].concat();
    let simple = [&[0, 0, 0, 2][..], b"yz"].concat();
    let file = [
        big_section(),
        big_interface(&[]),
        block(Order::Big, OLD_PACKET, &old),
        // A block that nobody knows.
        block(Order::Big, 0x1234, &[0; 300]),
        block(Order::Big, SIMPLE_PACKET, &simple),
    ]
    .concat();
    let expected = vec![(Some(1000), 1, b"x".to_vec(), false), (None, 1, b"yz".to_vec(), false)];
    assert_eq!(all_of(&file, 4096), (expected.clone(), None));
    assert_eq!(all_of(&file, 5), (expected, None));
}

#[test]
fn each_section_has_interfaces_of_its_own() {
    let packet = [&[0; 4][..], &[0; 8], &[0; 8]].concat();
    let file = [big_section(), big_interface(&[]), our_file(), big_section(), block(Order::Big, PACKET, &packet)].concat();
    let (frames, fault) = all_of(&file, 4096);
    assert_eq!(frames.len(), 2);
    assert!(matches!(fault, Some(Fault::Malformed(what, _)) if what.contains("not described")), "{fault:?}");
}

#[test]
fn lengths_that_lie_are_faults() {
    let faulty = |at: usize, bytes: &[u8]| {
        let mut file = our_file();
        // The first packet's block.
        let start = file.windows(4).position(|kind| kind == [6, 0, 0, 0]).unwrap();
        file[start + at..start + at + bytes.len()].copy_from_slice(bytes);
        let (frames, fault) = all_of(&file, 4096);
        assert_eq!(frames, []);
        match fault {
            Some(Fault::Malformed(what, at)) => {
                assert_eq!(at, start as u64);
                what
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(faulty(4, &[8, 0, 0, 0]).contains("length that no block has"));
    assert!(faulty(4, &[37, 0, 0, 0]).contains("length that no block has"));
    assert!(faulty(4, &[0xfc, 255, 255, 255]).contains("longer than any"));
    assert!(faulty(4, &[32, 0, 0, 0]).contains("two lengths differ"));
    assert!(faulty(20, &[255, 255, 255, 255]).contains("longer than its block"));
    assert!(faulty(8, &[1, 0, 0, 0]).contains("not described"));
}

#[test]
fn a_block_that_does_not_matter_is_not_kept_however_long_it_is() {
    let mut capture = Capture::default();
    capture.push(&our_file());
    capture.push(&[0x34, 0x12, 0, 0, 0, 0, 0, 0x80]);
    capture.push(&[0; 4]);
    for _ in 0..1000 {
        while let Step::Frame(_) = capture.next().unwrap() {}
        capture.push(&[0; 10_000]);
    }
    assert!(capture.bytes.capacity() < 100_000, "{}", capture.bytes.capacity());
}

#[test]
fn pcap_files_of_both_orders_and_units_are_read() {
    for (magic, order, fraction, header) in [
        (0xa1b2_c3d4_u32, Order::Little, 1000, 16),
        (0xa1b2_c3d4, Order::Big, 1000, 16),
        (0xa1b2_3c4d, Order::Little, 1, 16),
        (0xa1b2_3c4d, Order::Big, 1, 16),
        (0xa1b2_cd34, Order::Little, 1000, 24),
    ] {
        let long = |number: u32| if order == Order::Little { number.to_le_bytes() } else { number.to_be_bytes() };
        let version = if order == Order::Little { [2, 0, 4, 0] } else { [0, 2, 0, 4] };
        let mut file = [&long(magic)[..], &version, &[0; 8], &long(65_535), &long(0x1000_0001)].concat();
        for (length, bytes) in [(3, &b"abc"[..]), (900, b"de")] {
            file.extend([long(10), long(20), long(bytes.len() as u32), long(length)].concat());
            file.resize(file.len() + header - 16, 0);
            file.extend(bytes);
        }
        let time = Some(10_000_000_000 + 20 * fraction);
        let expected = vec![(time, 1, b"abc".to_vec(), false), (time, 1, b"de".to_vec(), true)];
        assert_eq!(all_of(&file, 4096), (expected.clone(), None), "{magic:x} {order:?}");
        assert_eq!(all_of(&file, 1), (expected, None));
        let (frames, fault) = all_of(&file[..file.len() - 1], 4096);
        assert_eq!(frames.len(), 1);
        assert!(matches!(fault, Some(Fault::CutShort(_))));
    }
}

proptest! {
    /// Bytes that are a capture, but for some that were changed. It must end, and not panic.
    #[test]
    fn a_damaged_capture_ends(changes in prop::collection::vec((0_usize..400, any::<u8>()), 0..12), piece in 1_usize..500) {
        let mut file = our_file();
        file.extend(big_section());
        file.extend(big_interface(&[0, 9, 0, 1, 9, 0, 0, 0, 0, 14, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]));
        file.extend(block(Order::Big, PACKET, &[0; 20]));
        file.extend(block(Order::Big, SIMPLE_PACKET, &[0; 8]));
        file.extend(block(Order::Big, OLD_PACKET, &[0; 24]));
        for (at, byte) in changes {
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
        }
        let (frames, _) = all_of(&file, piece);
        prop_assert!(frames.len() <= 5);
    }

    #[test]
    fn any_bytes_end(kind in 0_usize..8, bytes in prop::collection::vec(any::<u8>(), 0..600), piece in 1_usize..700) {
        let begin: &[u8] = match kind {
            0 => b"\x0a\x0d\x0d\x0a",
            1 => &big_section(),
            2 => &[big_section(), big_interface(&[])].concat(),
            3 => b"\xd4\xc3\xb2\xa1\x02\0\x04\0",
            4 => b"\xa1\xb2\x3c\x4d\0\x02\0\x04",
            5 => b"\x34\xcd\xb2\xa1\x02\0\x04\0",
            6 => &our_file(),
            _ => &[],
        };
        let (frames, _) = all_of(&[begin, &bytes].concat(), piece);
        prop_assert!(frames.len() <= 2 + bytes.len());
    }
}
