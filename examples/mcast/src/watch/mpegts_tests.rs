//! Tests of the reader of MPEG-TS.

use super::*;

/// A transport packet with this counter and a payload of this byte.
fn packet(pid: u16, continuity: u8, byte: u8) -> [u8; PACKET] {
    let mut packet = [byte; PACKET];
    let [high, low] = pid.to_be_bytes();
    [packet[0], packet[1], packet[2], packet[3]] = [SYNC, high, low, 0x10 | continuity & 0x0f];
    packet
}

/// The same with an adaptation field of 7 bytes, with these flags and this PCR.
fn packet_with_field(pid: u16, continuity: u8, flags: u8, pcr: u64) -> [u8; PACKET] {
    let mut packet = packet(pid, continuity, 0xaa);
    packet[3] |= 0x20;
    (packet[4], packet[5]) = (7, flags);
    let (base, extension) = (pcr / 300, pcr % 300);
    packet[6..10].copy_from_slice(&u32::try_from(base >> 1).unwrap().to_be_bytes());
    packet[10] = ((base & 1) as u8) << 7 | 0x7e | (extension >> 8) as u8;
    packet[11] = extension as u8;
    packet
}

/// Without payload: the field fills the packet.
fn packet_without_payload(pid: u16, continuity: u8) -> [u8; PACKET] {
    let mut packet = packet(pid, continuity, 0xff);
    packet[3] = 0x20 | continuity;
    (packet[4], packet[5]) = (183, 0);
    packet
}

/// A stream that is known, with the PIDs 0 (counter 0) and 0x100 (counter 3).
fn known() -> Transport {
    let mut transport = Transport::default();
    let first = [packet(0, 0, 1), packet(0x100, 0, 1), packet(0x100, 1, 1), packet(0x100, 2, 1), packet(0x100, 3, 1)];
    transport.read(&first.concat(), 0);
    assert!(transport.is_known());
    assert_eq!(transport.counts, Counts { packets: 5, ..Counts::default() });
    transport
}

/// The continuity errors of a known stream, and the repetitions, after these packets.
fn errors_after(packets: &[[u8; PACKET]]) -> (u64, u64) {
    let mut transport = known();
    transport.read(&packets.concat(), 0);
    (transport.counts.continuity_errors, transport.counts.repeated)
}

#[test]
fn five_packets_in_a_row_are_a_stream_in_one_datagram_or_in_five() {
    let mut transport = Transport::default();
    for continuity in 0..5 {
        assert!(!transport.is_known());
        transport.read(&packet(0x100, continuity, 1), 0);
    }
    assert!(transport.is_known());
    assert_eq!(transport.counts.packets, 5);
    known();
}

#[test]
fn other_protocols_are_no_stream() {
    let mut transport = Transport::default();
    for _ in 0..10 {
        // Texts that begin with a G, of the length of a packet, and with none of the three bits in the fourth byte.
        transport.read(&packet(0, 0, b'.').map(|byte| byte & 0xcf), 0);
        for _ in 0..4 {
            transport.read(&packet(0x100, 0, 1), 0);
        }
        transport.read(b"GET / HTTP/1.1", 0);
        transport.read(&[0x47; 187], 0);
        transport.read(&[], 0);
    }
    assert!(!transport.is_known() && transport.pids.is_empty());
    assert_eq!(transport.counts, Counts::default());
}

#[test]
fn a_counter_goes_on_by_one_and_wraps() {
    let packets: Vec<_> = (4..100).map(|number| packet(0x100, number % 16, number)).collect();
    assert_eq!(errors_after(&packets), (0, 0));
}

#[test]
fn each_place_where_packets_are_missing_is_one_error_of_its_pid() {
    let packets = [packet(0x100, 5, 1), packet(0x100, 6, 1), packet(0, 1, 1), packet(0x100, 15, 1), packet(0, 2, 1)];
    let mut transport = known();
    transport.read(&packets.concat(), 0);
    assert_eq!(transport.counts.continuity_errors, 2);
    let errors: Vec<_> = transport.pids().iter().map(|pid| (pid.pid, pid.packets, pid.continuity_errors)).collect();
    assert_eq!(errors, [(0, 3, 0), (0x100, 7, 2)]);
}

#[test]
fn a_disturbance_explains_one_error_of_each_pid() {
    let mut transport = known();
    transport.disturb();
    let packets = [packet(0x100, 5, 1), packet(0x100, 7, 1), packet(0, 1, 1)];
    transport.read(&packets.concat(), 0);
    // PID 0 went on: so its next error is explained by the next disturbance only.
    transport.read(&packet(0, 9, 1), 0);
    assert_eq!((transport.counts.continuity_errors, transport.counts.explained_errors), (3, 1));
    transport.disturb();
    transport.read(&[packet(0, 12, 1), packet(0x100, 9, 1)].concat(), 0);
    assert_eq!((transport.counts.continuity_errors, transport.counts.explained_errors), (5, 3));
}

#[test]
fn a_packet_may_be_repeated_once() {
    let again = packet(0x100, 4, 9);
    assert_eq!(errors_after(&[again, again, packet(0x100, 5, 1)]), (0, 1));
    assert_eq!(errors_after(&[again, again, again, packet(0x100, 5, 1)]), (1, 1));
}

#[test]
fn another_packet_with_the_same_counter_is_no_repetition() {
    // 16 packets are missing.
    assert_eq!(errors_after(&[packet(0x100, 4, 9), packet(0x100, 4, 8)]), (1, 0));
}

#[test]
fn a_repetition_may_have_another_pcr() {
    let (first, second) = (packet_with_field(0x100, 4, 0x10, 2_700_000), packet_with_field(0x100, 4, 0x10, 2_710_000));
    assert_eq!(errors_after(&[first, second, packet(0x100, 5, 1)]), (0, 1));
}

#[test]
fn packets_without_payload_do_not_count_on() {
    let without = packet_without_payload(0x100, 3);
    assert_eq!(errors_after(&[without, without, without, packet(0x100, 4, 1)]), (0, 0));
    assert_eq!(errors_after(&[packet_without_payload(0x100, 4)]), (1, 0));
}

#[test]
fn an_announced_discontinuity_is_no_error() {
    assert_eq!(errors_after(&[packet_with_field(0x100, 12, 0x80, 0), packet(0x100, 13, 1)]), (0, 0));
    assert_eq!(errors_after(&[packet_with_field(0x100, 12, 0x00, 0)]), (1, 0));
}

#[test]
fn stuffing_has_no_counter() {
    let mut transport = known();
    for continuity in [0, 0, 9, 3] {
        transport.read(&packet(STUFFING, continuity, 0xff), 0);
    }
    assert_eq!(transport.counts, Counts { packets: 9, stuffing: 4, ..Counts::default() });
}

#[test]
fn a_packet_that_is_marked_as_damaged_is_not_read() {
    let mut damaged = packet(0x100, 9, 1);
    damaged[1] |= 0x80;
    let mut transport = known();
    transport.read(&[damaged, packet(0x100, 4, 1)].concat(), 0);
    assert_eq!(transport.counts, Counts { packets: 7, marked_errors: 1, ..Counts::default() });
}

#[test]
fn lost_synchronisation_is_counted() {
    let mut transport = known();
    let mut off = packet(0x100, 4, 1);
    off[0] = 0;
    transport.read(&off, 0);
    transport.read(&packet(0x100, 4, 1)[..100], 0);
    transport.read(&[packet(0x100, 4, 1).as_slice(), b"rest"].concat(), 0);
    transport.read(b"", 0);
    assert_eq!(transport.counts, Counts { packets: 6, sync_errors: 4, ..Counts::default() });
}

#[test]
fn the_pcr_is_measured_against_the_arrivals_over_its_wrap() {
    let mut transport = Transport::default();
    let start = u64::try_from(PCR_WRAP).unwrap() - 27_000_000;
    for count in 0..2_000_u64 {
        // 40 ms apart; each second one is 1 ms late.
        let pcr = (start + count * 1_080_000) % u64::try_from(PCR_WRAP).unwrap();
        let arrival = count * 40_000_000 + (count % 2) * 1_000_000;
        transport.read(&packet_with_field(0x100, (count % 16) as u8, 0x10, pcr), arrival);
    }
    let (now, highest) = transport.pcr_jitter().unwrap();
    assert!((999_000..=1_000_000).contains(&now), "{now}");
    assert!((now..=1_000_000).contains(&highest), "{highest}");
    assert_eq!(transport.counts.continuity_errors, 0);
}

#[test]
fn a_pcr_that_begins_again_is_no_jitter() {
    let mut transport = known();
    for (continuity, pcr, arrival) in [(4, 27_000_000 * 60, 1_000), (5, 27_000_000 * 60 + 27_000, 1_001_000)] {
        transport.read(&packet_with_field(0x100, continuity, 0x10, pcr), arrival);
    }
    // Not announced, and announced.
    transport.read(&packet_with_field(0x100, 6, 0x10, 0), 2_001_000);
    transport.read(&packet_with_field(0x100, 7, 0x90, 27_000_000), 3_001_000);
    assert_eq!(transport.pcr_jitter(), Some((0, 0)));
    assert_eq!(known().pcr_jitter(), None);
}

#[test]
fn a_field_that_is_longer_than_the_packet_says_nothing() {
    let mut broken = packet_with_field(0x100, 4, 0x90, 27_000_000);
    broken[4] = 183;
    let mut transport = known();
    transport.read(&broken, 0);
    assert_eq!(transport.pcr_jitter(), None);
}

#[test]
fn strangers_cannot_use_up_the_memory_with_pids() {
    let mut transport = known();
    for pid in 0..0x1fff {
        transport.read(&packet(pid, 4, 1), 1);
    }
    assert_eq!(transport.pids().len(), MAX_PIDS);
    assert_eq!(transport.counts.beyond, u64::from(0x1fff_u16) - MAX_PIDS as u64);
    assert!(transport.pids().is_sorted_by_key(|pid| pid.pid));
    // When the others have been silent for a minute, there is room.
    transport.read(&packet(0x1ffe, 4, 1), STALE + 2);
    assert!(transport.pids().iter().any(|pid| pid.pid == 0x1ffe));
    assert_eq!(transport.pids().len(), MAX_PIDS);
}

#[test]
fn no_bytes_break_it() {
    let mut transport = known();
    let mut state = 1_u64;
    for round in 0..20_000_usize {
        let mut bytes = [0; PACKET * 3 + 1];
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 33) as u8;
        }
        for start in [0, PACKET, 2 * PACKET] {
            bytes[start] = SYNC;
        }
        transport.read(&bytes[..PACKET * 3 + round % 2], state);
    }
    assert!(transport.pids().len() <= MAX_PIDS);
    assert_eq!(transport.counts.packets, 5 + 60_000);
}
