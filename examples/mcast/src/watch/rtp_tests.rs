//! Tests of the reader of RTP.

use super::*;

const MILLISECOND: u64 = 1_000_000;

/// A packet of 12 bytes and this payload.
fn packet(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let fixed = [&[0x80, payload_type][..], &sequence.to_be_bytes(), &timestamp.to_be_bytes(), &ssrc.to_be_bytes()];
    [fixed.concat(), payload.to_vec()].concat()
}

/// Reads packets of one sender, 20 ms apart in both clocks.
fn read(rtp: &mut Rtp, numbers: impl IntoIterator<Item = u16>, ssrc: u32) {
    for number in numbers {
        let arrival = u64::from(number) * 20 * MILLISECOND;
        rtp.read(&packet(0, number, u32::from(number) * 160, ssrc, b"sound"), arrival, None);
    }
}

#[test]
fn a_header_is_read_with_all_that_it_can_have() {
    // Padding, extension, two contributing sources, marker.
    let bytes = [
        &[0xb2, 0x80 | 33, 0x12, 0x34, 0, 1, 2, 3, 0xaa, 0xbb, 0xcc, 0xdd][..],
        &[1; 8],
        &[0xbe, 0xde, 0, 1, 9, 9, 9, 9],
        b"payload",
        &[0, 0, 3],
    ]
    .concat();
    let header = parse(&bytes).unwrap();
    assert_eq!(
        header,
        Header { payload_type: 33, sequence: 0x1234, timestamp: 0x0001_0203, ssrc: 0xaabb_ccdd, payload: b"payload" }
    );
    for cut in 0..28 {
        assert_eq!(parse(&bytes[..cut]), None, "{cut} bytes");
    }
}

#[test]
fn what_contradicts_itself_is_not_rtp() {
    let good = packet(33, 1, 1, 1, b"..");
    assert!(parse(&good).is_some());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        parse(&bytes).is_none()
    };
    assert!(with(0, 0x40), "version 1");
    assert!(with(0, 0xc0), "version 3");
    assert!(with(0, 0x81), "a contributing source that is not there");
    assert!(with(0, 0x90), "an extension that is not there");
    assert!(with(0, 0xa0), "more padding than there is");
    for payload_type in 72..=76 {
        assert!(with(1, 0x80 | payload_type), "RTCP");
    }
    assert!(parse(&packet(33, 1, 1, 1, b"")).is_some(), "a packet may be empty");
    let mut unpadded = packet(33, 1, 1, 1, &[0]);
    unpadded[0] = 0xa0;
    assert_eq!(parse(&unpadded), None, "no padding at all");
}

#[test]
fn clock_rates_are_those_of_rfc_3551() {
    assert_eq!(
        [0, 8, 9, 6, 10, 16, 17, 33].map(clock_rate).map(Option::unwrap_or_default),
        [8_000, 8_000, 8_000, 16_000, 44_100, 11_025, 22_050, 90_000]
    );
    assert_eq!([1, 2, 19, 30, 35, 96, 127].map(clock_rate), [None; 7]);
}

#[test]
fn four_packets_in_sequence_are_rtp_and_all_of_them_count() {
    let mut rtp = Rtp::default();
    read(&mut rtp, 1..=3, 7);
    assert!(!rtp.is_known());
    read(&mut rtp, [4], 7);
    assert_eq!((rtp.is_known(), rtp.counts.received, rtp.identity()), (true, 4, Some((7, 0))));
    read(&mut rtp, [6, 7, 8], 7);
    rtp.finish();
    assert_eq!((rtp.counts.received, rtp.counts.lost, rtp.counts.gaps), (7, 1, 1));
}

#[test]
fn a_stream_that_comes_twice_is_rtp_with_duplicates() {
    let mut rtp = Rtp::default();
    read(&mut rtp, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 7);
    assert_eq!((rtp.counts.received, rtp.counts.duplicates, rtp.counts.lost), (5, 2, 0));
}

#[test]
fn other_protocols_are_not_rtp() {
    let mut rtp = Rtp::default();
    let mut state = 1_u64;
    for _ in 0..100_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut noise = packet(33, (state >> 20) as u16, (state >> 10) as u32, (state >> 32) as u32, b"noise");
        rtp.read(&noise, 0, None);
        // Packets that are all the same, or count in another place.
        noise[2..12].fill(0);
        rtp.read(&noise, 0, None);
        noise[7] = state as u8;
        rtp.read(&noise, 0, None);
    }
    assert!(!rtp.is_known() && rtp.senders.len() <= MAX_SSRCS);
    assert_eq!(rtp.counts, Counts::default());
}

#[test]
fn jitter_is_that_of_the_arrivals() {
    let mut rtp = Rtp::default();
    for number in 0..2_000_u16 {
        // Each second packet is 2 ms late: each difference is 2 ms.
        let arrival = u64::from(number) * 20 * MILLISECOND + u64::from(number % 2) * 2 * MILLISECOND;
        // The timestamp wraps.
        let timestamp = (u32::from(number) * 1_800).wrapping_sub(90_000);
        rtp.read(&packet(33, number, timestamp, 1, b""), arrival, None);
    }
    let (now, highest) = rtp.jitter(None).unwrap();
    assert!((1_999_000..=2_000_000).contains(&now) && highest >= now, "{now} {highest}");
}

#[test]
fn jitter_of_dynamic_payload_types_needs_a_clock_rate() {
    let mut rtp = Rtp::default();
    for number in 0..100_u16 {
        let packet = packet(96, number, u32::from(number) * 48, 1, b"");
        rtp.read(&packet, u64::from(number) * MILLISECOND, Some(48_000));
    }
    assert_eq!((rtp.jitter(None), rtp.jitter(Some(48_000))), (None, Some((0, 0))));
}

#[test]
fn a_new_ssrc_is_a_change_and_two_that_alternate_are_one() {
    let mut rtp = Rtp::default();
    for number in 0..100 {
        read(&mut rtp, [number], 1);
        read(&mut rtp, [number], 2);
    }
    rtp.finish();
    assert_eq!((rtp.ssrc_changes, rtp.counts.received, rtp.counts.lost), (1, 200, 0));
}

#[test]
fn strangers_cannot_take_the_place_of_a_known_ssrc() {
    let mut rtp = Rtp::default();
    read(&mut rtp, 0..10, 1);
    for ssrc in 100..200 {
        read(&mut rtp, [10, 11], ssrc);
    }
    read(&mut rtp, 10..20, 1);
    rtp.finish();
    assert_eq!((rtp.counts.received, rtp.counts.lost, rtp.ssrc_changes), (20, 0, 0));
    // Those that pass the probation keep their places, until they are silent: what is beyond is counted.
    for ssrc in 100..110 {
        read(&mut rtp, 20..24, ssrc);
    }
    assert_eq!((rtp.senders.len(), rtp.ssrc_changes, rtp.beyond), (MAX_SSRCS, 7, 12));
    read(&mut rtp, 2_000..2_004, 300);
    assert_eq!((rtp.senders.len(), rtp.ssrc_changes, rtp.identity()), (MAX_SSRCS, 8, Some((300, 0))));
}
