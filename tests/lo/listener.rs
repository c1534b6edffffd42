//! Listeners on `lo`: what `recv` returns, filters, counters, buffers, and the end of a listener.

use std::net::{Ipv4Addr, SocketAddr};

use crate::common::{
    LO, OnePacket, assert_quiet, expect_packet, free_port, lo_is_in, next_within, on_lo, send_all, send_on_lo, unique_group,
};
use multicast::filter::{Always, Filter, Prefix, by};
use multicast::{Bind, Family, Group, ListenOptions, Listener, Membership, Progress, Received};

#[test]
fn an_empty_queue_returns_empty() {
    let mut listener = Listener::bind(on_lo(unique_group())).unwrap();
    assert_eq!(listener.recv().unwrap(), Received::Empty);
    assert_eq!(listener.recv().unwrap().packet(), None);
    assert_eq!(listener.counters().received, 0);
}

#[test]
fn a_packet_comes_with_its_payload_its_source_and_its_length() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    let mut caster = send_on_lo().packets(group, ["hello"]).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    let port = caster.local_addr().unwrap().port();
    let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
    assert_eq!(packet.payload(), b"hello");
    assert_eq!(packet.source(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    assert_eq!(packet.wire_length(), 5);
    assert!(!packet.is_truncated());
    assert_eq!(listener.recv().unwrap(), Received::Empty);
}

#[test]
fn a_packet_longer_than_the_buffer_is_cut_and_marked_as_truncated() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<4>(on_lo(group)).unwrap();
    send_all(group, ["1234", "12345", "1"]);
    let mut seen = Vec::new();
    while let Received::Packet(packet) = listener.recv().unwrap() {
        seen.push((packet.payload().to_vec(), packet.wire_length(), packet.is_truncated()));
    }
    assert_eq!(seen, [(b"1234".to_vec(), 4, false), (b"1234".to_vec(), 5, true), (b"1".to_vec(), 1, false)]);
    let counters = listener.counters();
    assert_eq!((counters.received, counters.truncated), (3, 1));
}

#[test]
fn a_datagram_without_payload_is_a_packet() {
    let group = unique_group();
    let port = group.port();
    let mut bound = ListenOptions::new().bind::<1>(on_lo(group)).unwrap();
    let mut opened = ListenOptions::new().bind::<1>(Bind::Port(port, Family::V4)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    send_all(group, [b""]);
    for listener in [&mut bound, &mut opened] {
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
        assert_eq!((packet.payload(), packet.wire_length(), packet.is_truncated()), (&b""[..], 0, false));
    }
}

#[test]
fn the_longest_datagram_arrives_whole_and_is_cut_to_the_byte() {
    let group = unique_group();
    let payload: Vec<u8> = (0..65_507_u32).map(|at| (at % 253) as u8).collect();
    let mut whole = ListenOptions::new().bind::<65_535>(on_lo(group)).unwrap();
    let mut cut = ListenOptions::new().bind::<65_506>(on_lo(group)).unwrap();
    send_all(group, [&payload]);
    let Received::Packet(packet) = whole.recv().unwrap() else { panic!("no packet") };
    assert!(packet.payload() == payload && !packet.is_truncated());
    let Received::Packet(packet) = cut.recv().unwrap() else { panic!("no packet") };
    assert!(packet.payload() == &payload[..65_506] && packet.is_truncated());
    assert_eq!(packet.wire_length(), 65_507);
}

#[test]
fn a_receiver_reads_into_any_buffer() {
    let group = unique_group();
    let mut receiver = ListenOptions::new().bind_receiver(on_lo(group), 8).unwrap();
    send_all(group, ["first", "second", "third"]);
    let mut large = [0; 64];
    assert_eq!(receiver.recv_into(&mut large).unwrap().packet().unwrap().payload(), b"first");
    let packet = receiver.recv_into(&mut large[..2]).unwrap().packet().unwrap();
    assert_eq!((packet.payload(), packet.wire_length()), (&b"se"[..], 6));
    // An empty buffer is allowed: the packet is received, and its payload is lost.
    let packet = receiver.recv_into(&mut []).unwrap().packet().unwrap();
    assert_eq!((packet.payload(), packet.wire_length(), packet.is_truncated()), (&b""[..], 5, true));
    assert_eq!(receiver.counters().truncated, 2);
}

/// Sends five packets. Returns those that the filter accepted, and how many it rejected, here or in the kernel.
fn through<F: Filter>(filter: F) -> (Vec<Vec<u8>>, u64) {
    let group = unique_group();
    let mut listener = ListenOptions::new().filter(filter).bind::<8>(on_lo(group)).unwrap();
    send_all(group, ["NOTIFY 1", "M-SEARCH", "NOTIFY 2", "", "NOT"]);
    let mut seen = Vec::new();
    while let Received::Packet(packet) = listener.recv().unwrap() {
        seen.push(packet.payload().to_vec());
    }
    assert_eq!(listener.counters().received, seen.len() as u64);
    let counters = listener.counters();
    (seen, counters.rejected + counters.dropped.unwrap())
}

#[test]
fn filters_count_the_packets_that_they_reject() {
    let notify = vec![b"NOTIFY 1".to_vec(), b"NOTIFY 2".to_vec()];
    assert_eq!(through(Prefix(b"NOTIFY ")), (notify.clone(), 3));
    assert_eq!(through(by(|payload, _| payload.starts_with(b"NOTIFY "))), (notify, 3));
    assert_eq!(through(by(|payload, _| payload.is_empty())), (vec![Vec::new()], 4));
    let (all, rejected) = through(Always);
    assert_eq!((all.len(), rejected), (5, 0));
    assert_eq!(through(Prefix("")).0, all);
}

#[cfg(feature = "regex")]
#[test]
fn a_pattern_filters_and_a_bad_one_is_refused() {
    use multicast::filter::Regex;

    let group = unique_group();
    let mut listener = ListenOptions::new().filter(Regex::new(r"temp=\d+$").unwrap()).bind::<64>(on_lo(group)).unwrap();
    send_all(group, ["temp=x", "temp=21", "temp=21 C"]);
    assert_eq!(expect_packet(&mut listener), b"temp=21");
    assert_quiet(&mut listener);
    let error = Regex::new("(").unwrap_err();
    assert_eq!(error.kind(), multicast::ErrorKind::Pattern);
    assert!(error.to_string().starts_with("parse pattern: "), "{error}");
}

#[test]
fn a_closure_sees_the_sender_and_the_payload_cut_at_the_buffer() {
    let group = unique_group();
    let mut wanted = send_on_lo().packets(group, ["wanted, and long"]).unwrap();
    // The kernel chooses the port with the first packet, which is sent before the listener exists.
    let mut first = send_on_lo().packets(group, ["early", "from the other port"]).unwrap();
    assert_eq!(first.step().unwrap(), Progress::Sent(1));
    let refused = first.local_addr().unwrap().port();
    let mut seen = Vec::new();
    let options = ListenOptions::new().filter(by(|payload, source| {
        seen.push((payload.to_vec(), source.ip()));
        source.port() != refused
    }));
    let mut listener = options.bind::<6>(on_lo(group)).unwrap();
    assert_eq!(first.step().unwrap(), Progress::Sent(1));
    assert_eq!(wanted.step().unwrap(), Progress::Sent(1));
    assert_eq!(expect_packet(&mut listener), b"wanted");
    assert_eq!(listener.recv().unwrap(), Received::Empty);
    let counters = listener.counters();
    assert_eq!((counters.received, counters.rejected, counters.truncated), (1, 1, 2));
    drop(listener);
    let lo = Ipv4Addr::LOCALHOST.into();
    assert_eq!(seen, [(b"from t".to_vec(), lo), (b"wanted".to_vec(), lo)]);
}

#[test]
fn a_filter_is_prepared_once_and_can_be_changed() {
    struct Counting {
        prepared: Vec<usize>,
        open: bool,
    }
    impl Filter for Counting {
        fn accepts(&mut self, _payload: &[u8], _source: SocketAddr) -> bool {
            self.open
        }
        fn prepare(&mut self, mtu: usize) {
            self.prepared.push(mtu);
        }
    }
    let group = unique_group();
    // A filter may also be borrowed.
    let mut filter = Counting { prepared: Vec::new(), open: true };
    let mut listener = ListenOptions::new().filter(&mut filter).bind::<55>(on_lo(group)).unwrap();
    send_all(group, ["to a lent filter"]);
    assert_eq!(expect_packet(&mut listener), b"to a lent filter");
    drop(listener);
    assert_eq!(filter.prepared, [55]);

    let filter = Counting { prepared: Vec::new(), open: false };
    let mut listener = ListenOptions::new().filter(filter).bind::<77>(on_lo(group)).unwrap();
    assert_eq!(listener.filter().prepared, [77]);
    send_all(group, ["refused"]);
    assert_eq!(listener.recv().unwrap(), Received::Empty);
    listener.filter_mut().unwrap().open = true;
    send_all(group, ["accepted"]);
    assert_eq!(expect_packet(&mut listener), b"accepted");
}

#[test]
fn the_granted_receive_buffer_is_reported() {
    let group = unique_group();
    let plain = Listener::bind(on_lo(group)).unwrap();
    let small = ListenOptions::new().receive_buffer(8192).bind::<64>(on_lo(group)).unwrap();
    let tiny = ListenOptions::new().receive_buffer(0).bind::<64>(on_lo(group)).unwrap();
    let default: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_default").unwrap().trim().parse().unwrap();
    assert_eq!(plain.receive_buffer().unwrap(), default);
    assert_eq!(small.receive_buffer().unwrap(), 2 * 8192);
    // The kernel's minimum is about 2,300 bytes.
    assert!((1000..8192).contains(&tiny.receive_buffer().unwrap()));
    // A size beyond the kernel's range grants the maximum: it is neither an error nor a small number after an overflow.
    let huge = ListenOptions::new().receive_buffer(usize::MAX).bind::<64>(on_lo(group)).unwrap();
    assert!(huge.receive_buffer().unwrap() >= default);
}

#[test]
fn the_local_address_is_the_group_or_the_wildcard() {
    let group = unique_group();
    let bound = Listener::bind(on_lo(group)).unwrap();
    assert_eq!(bound.local_addr().unwrap(), SocketAddr::from(group));
    let opened = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
    assert_eq!(opened.local_addr().unwrap(), SocketAddr::from((Ipv4Addr::UNSPECIFIED, group.port())));
}

#[test]
fn port_0_lets_the_kernel_choose_one() {
    let mut listener = ListenOptions::new().bind::<64>(Bind::Port(0, Family::V4)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_ne!(port, 0);
    let group = Group::new(unique_group().address(), port).unwrap();
    listener.join(&on_lo(group)).unwrap();
    send_all(group, ["to the chosen port"]);
    assert_eq!(expect_packet(&mut listener), b"to the chosen port");
}

#[test]
fn dropping_a_listener_leaves_its_groups_and_frees_its_port() {
    let group = unique_group();
    assert!(!lo_is_in(group));
    let listener = Listener::bind(on_lo(group)).unwrap();
    assert!(lo_is_in(group));
    drop(listener);
    assert!(!lo_is_in(group));
    // This bind does not share the port: it would fail if the port were still in use.
    std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, group.port())).unwrap();
}

#[test]
fn a_listener_whose_join_fails_keeps_no_socket_open() {
    let group = unique_group();
    Listener::bind(Membership::any(group).on("nosuch0".parse().unwrap())).unwrap_err();
    std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, group.port())).unwrap();
}

#[test]
fn a_listener_keeps_working_after_it_was_moved() {
    let group = unique_group();
    let listener = ListenOptions::new().bind::<16>(on_lo(group)).unwrap();
    send_all(group, ["before"]);
    let mut boxed = Box::new(listener);
    assert_eq!(boxed.recv().unwrap().packet().unwrap().payload(), b"before");
    send_all(group, ["in a thread"]);
    let mut back = std::thread::spawn(move || {
        assert_eq!(expect_packet(&mut *boxed), b"in a thread");
        *boxed
    })
    .join()
    .unwrap();
    let mut kept = vec![];
    send_all(group, ["in a vector"]);
    assert_eq!(expect_packet(&mut back), b"in a vector");
    kept.push(back);
    assert_quiet(&mut kept[0]);
    assert_eq!(kept[0].counters().received, 3);
}

#[test]
fn listeners_share_a_port_and_each_receives_its_own_group() {
    let port = free_port();
    let groups = [unique_group(), unique_group()].map(|group| Group::new(group.address(), port).unwrap());
    let mut first = ListenOptions::new().bind::<16>(on_lo(groups[0])).unwrap();
    let mut second = ListenOptions::new().bind::<16>(on_lo(groups[1])).unwrap();
    let mut both = ListenOptions::new().bind::<16>(Bind::Port(port, Family::V4)).unwrap();
    for group in groups {
        both.join(&Membership::any(group).on(LO)).unwrap();
    }
    send_all(groups[0], ["one"]);
    send_all(groups[1], ["two"]);
    assert_eq!([expect_packet(&mut first), expect_packet(&mut second)], [b"one", b"two"]);
    assert_eq!([expect_packet(&mut both), expect_packet(&mut both)], [b"one", b"two"]);
    assert_quiet(&mut first);
    assert_eq!(next_within(&mut second, std::time::Duration::ZERO), None);
    assert_eq!(both.recv().unwrap(), Received::Empty);
}
