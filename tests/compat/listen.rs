//! The handle-based API: `listen` returns packets one by one, and `listen_with` passes them to a function.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, send_all, unique_group};
use crate::compat_help::{BREAK, GO_ON, Log, On, cpu_time, drain, from, readable_pipe, to};
use multicast::compat::{
    Flags, ListenOptions, Multicaster, Packets, Poller, SendOptions, listen_with, poll, register, run, sendto_with,
};
use multicast::filter::{Filter, Prefix};
use multicast::{ErrorKind, Result};

/// The payload of the next packet, without waiting.
fn next<F: Filter + 'static>(packets: &mut Packets<F>) -> Option<Vec<u8>> {
    packets.next().unwrap().map(|packet| packet.payload().to_vec())
}

#[test]
fn the_example_of_the_python_api() -> Result<()> {
    let group = unique_group();
    let mut listener = Packets::new(from(group))?;
    sendto_with("test", to(group))?;
    poll(PATIENCE)?;
    assert_eq!(listener.next()?.unwrap().payload(), b"test");
    Ok(())
}

#[test]
fn next_returns_no_packet_without_a_poll() {
    let group = unique_group();
    let mut packets = Packets::new(from(group)).unwrap();
    send_all(group, ["test"]);
    assert_eq!(next(&mut packets), None);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(next(&mut packets), Some(b"test".to_vec()));
}

#[test]
fn one_poll_grants_one_packet_and_nothing_is_lost() {
    let group = unique_group();
    let mut packets = Packets::new(from(group)).unwrap();
    send_all(group, ["one", "two", "three"]);
    for expected in ["one", "two", "three"] {
        assert_eq!(next(&mut packets), None);
        assert_eq!(poll(PATIENCE).unwrap(), 1);
        assert_eq!(next(&mut packets), Some(expected.into()));
        assert_eq!(next(&mut packets), None);
    }
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
}

#[test]
fn several_polls_grant_one_packet_until_it_is_taken() {
    let group = unique_group();
    let mut packets = Packets::new(from(group)).unwrap();
    send_all(group, ["one", "two"]);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
    assert_eq!(next(&mut packets), Some(b"one".to_vec()));
    assert_eq!(next(&mut packets), None);
}

#[test]
fn a_packet_that_waits_to_be_taken_uses_no_processor() {
    let group = unique_group();
    let mut packets = Packets::new(from(group)).unwrap();
    send_all(group, ["one", "two"]);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    let (start, cpu) = (Instant::now(), cpu_time());
    assert_eq!(poll(Duration::from_millis(100)).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert!(cpu_time() - cpu < Duration::from_millis(20));
    assert_eq!(next(&mut packets), Some(b"one".to_vec()));
}

#[test]
fn after_rejected_packets_the_next_poll_waits_again() {
    let group = unique_group();
    let mut packets = Packets::new(from(group).filter(Prefix("good"))).unwrap();
    send_all(group, ["bad", "bad", "good"]);
    poll(PATIENCE).unwrap();
    assert_eq!(next(&mut packets), Some(b"good".to_vec()));

    send_all(group, ["bad"]);
    poll(PATIENCE).unwrap();
    assert_eq!(next(&mut packets), None, "only rejected packets arrived");
    send_all(group, ["good again"]);
    assert_eq!(poll(PATIENCE).unwrap(), 1, "the next poll waits again");
    assert_eq!(next(&mut packets), Some(b"good again".to_vec()));
    let counters = packets.with(|receiver| receiver.counters()).unwrap().unwrap();
    assert_eq!((counters.rejected, counters.dropped), (0, Some(3)), "the kernel rejected them");

    let mut packets = Packets::new(from(group).filter(Prefix("good")).core(|core| core.kernel_filter(false))).unwrap();
    send_all(group, ["bad", "bad"]);
    poll(PATIENCE).unwrap();
    assert_eq!(next(&mut packets), None, "only rejected packets arrived");
    let counters = packets.with(|receiver| receiver.counters()).unwrap().unwrap();
    assert_eq!((counters.rejected, counters.dropped), (2, Some(0)), "they were rejected in this process");
}

#[test]
fn a_long_packet_is_cut_at_the_mtu() {
    let group = unique_group();
    let mut packets = Packets::new(from(group).mtu(5)).unwrap();
    send_all(group, ["123456789"]);
    poll(PATIENCE).unwrap();
    let packet = packets.next().unwrap().unwrap();
    assert_eq!((packet.payload(), packet.is_truncated(), packet.wire_length()), (&b"12345"[..], true, 9));

    let mut longest = Packets::new(from(group).mtu(65_535)).unwrap();
    send_all(group, [vec![7; 65_507]]);
    while longest.with(|receiver| receiver.counters()).unwrap().unwrap().received == 0 {
        poll(PATIENCE).unwrap();
        if let Some(packet) = longest.next().unwrap() {
            assert_eq!(packet.payload().len(), 65_507);
        }
    }
}

#[test]
fn an_mtu_out_of_range_is_refused() {
    for mtu in [0, 65_536, usize::MAX] {
        let error = Packets::new(from(unique_group()).mtu(mtu)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert_eq!(error.to_string(), "bind: the mtu is out of range: give 1 to 65535 bytes");
    }
}

#[test]
fn packets_end_after_the_limit() {
    let group = unique_group();
    let mut packets = Packets::new(from(group).limit(1)).unwrap();
    send_all(group, ["one", "two"]);
    poll(PATIENCE).unwrap();
    assert_eq!(next(&mut packets), Some(b"one".to_vec()));
    // It has left its poller, which now has no handlers.
    run(None, Duration::ZERO).unwrap();
    assert_eq!(next(&mut packets), None);
    let mut none = Packets::new(from(group).limit(0)).unwrap();
    run(None, Duration::ZERO).unwrap();
    assert_eq!(next(&mut none), None);
}

#[test]
fn the_receiver_is_lent_until_listening_ends() {
    let group = unique_group();
    let mut packets = Packets::new(from(group).limit(2)).unwrap();
    let received = |packets: &Packets| packets.with(|receiver| receiver.counters().received).unwrap();
    assert_eq!(received(&packets), Some(0));
    send_all(group, ["one", "two"]);
    poll(PATIENCE).unwrap();
    // `with` neither uses up the packet that a poll has granted nor grants another one.
    assert_eq!(received(&packets), Some(0));
    assert_eq!(next(&mut packets), Some(b"one".to_vec()));
    assert_eq!((received(&packets), next(&mut packets)), (Some(1), None));
    poll(PATIENCE).unwrap();
    assert_eq!(next(&mut packets), Some(b"two".to_vec()));
    assert_eq!(received(&packets), None, "it has ended");
}

#[test]
fn packets_have_metadata_if_it_was_asked_for() {
    let group = unique_group();
    let mut with = Packets::new(from(group).core(|core| core.metadata())).unwrap();
    let mut without = Packets::new(from(group)).unwrap();
    send_all(group, ["one", "two"]);
    assert_eq!(poll(PATIENCE).unwrap(), 2);
    let packet = with.next().unwrap().unwrap();
    let metadata = packet.metadata().unwrap();
    assert_eq!((packet.payload(), metadata.destination), (&b"one"[..], Some(group.address())));
    assert!(metadata.interface.is_some() && metadata.received_at().is_some());
    assert_eq!(without.next().unwrap().unwrap().metadata(), None);
}

/// `core` gives access to all options of the core, before or after the other methods.
#[test]
fn core_changes_the_options_of_the_core() {
    let group = unique_group();
    let filter = |packet: &[u8], _: std::net::SocketAddr| packet != b"bad";
    let before = from(group).core(|core| core.receive_buffer(1 << 16)).filter(Prefix("good")).mtu(100);
    let behind = from(group).filter(Prefix("good")).mtu(100).core(|core| core.receive_buffer(1 << 16));
    assert_eq!(format!("{before:?}"), format!("{behind:?}"));
    let granted = |packets: &Packets<_>| packets.with(|receiver| receiver.receive_buffer().unwrap()).unwrap().unwrap();
    assert_eq!(granted(&Packets::new(before).unwrap()), 2 << 16);
    // It can also set the filter.
    let options = from(group).core(|core| core.filter(multicast::filter::by(filter)));
    let mut packets = Packets::new(options).unwrap();
    send_all(group, ["bad", "good"]);
    poll(PATIENCE).unwrap();
    assert_eq!(next(&mut packets), Some(b"good".to_vec()));
}

#[test]
fn default_options_equal_new_options() {
    assert_eq!(format!("{:?}", ListenOptions::default()), format!("{:?}", ListenOptions::new()));
    assert_eq!(format!("{:?}", SendOptions::default()), format!("{:?}", SendOptions::new()));
}

#[test]
fn dropped_packets_leave_their_poller() {
    let packets = Packets::new(from(unique_group())).unwrap();
    drop(packets);
    run(None, Duration::ZERO).unwrap();
}

#[test]
fn listen_with_returns_when_its_handler_breaks() {
    let group = unique_group();
    Multicaster::new(["one", "two", "three"], to(group)).unwrap();
    // The handler borrows from the test.
    let mut seen = Vec::new();
    listen_with(
        |packet, source| {
            assert!(source.ip().is_ipv4());
            seen.push(packet.to_vec());
            if seen.len() == 2 { BREAK } else { GO_ON }
        },
        from(group),
    )
    .unwrap();
    assert_eq!(seen, [b"one", b"two"]);
}

#[test]
fn listen_with_returns_after_exactly_the_limit() {
    let group = unique_group();
    for limit in [0, 1, 5, 100] {
        Multicaster::new((0..200).map(|i| i.to_string()), to(group)).unwrap();
        let mut count = 0;
        listen_with(
            |packet, _| {
                assert_eq!(packet, count.to_string().as_bytes());
                count += 1;
                ControlFlow::Continue(())
            },
            from(group).limit(limit),
        )
        .unwrap();
        assert_eq!(count, limit);
        run(None, Duration::ZERO).unwrap();
    }
}

#[test]
fn rejected_packets_do_not_count_for_the_limit() {
    let group = unique_group();
    Multicaster::new((0..100).map(|i| i.to_string()), to(group)).unwrap();
    let mut seen = Vec::new();
    listen_with(
        |packet, _| {
            seen.push(packet.to_vec());
            GO_ON
        },
        from(group).filter_fn(|packet, _| packet.ends_with(b"7")).limit(3),
    )
    .unwrap();
    assert_eq!(seen, [&b"7"[..], b"17", b"27"]);
}

#[test]
fn listen_with_serves_the_other_handlers() {
    let group = unique_group();
    let (here, _there) = readable_pipe();
    let log = Log::new();
    let note = log.clone();
    register(
        On::read(here, move |stream| {
            note.add(drain(stream));
            sendto_with("from a handler", to(group))?;
            Ok(GO_ON)
        }),
        Flags::NONE,
    )
    .unwrap();
    listen_with(|packet, _| if packet == b"from a handler" { BREAK } else { GO_ON }, from(group)).unwrap();
    assert_eq!(log.take(), [1]);
}

#[test]
fn listen_with_returns_the_error_of_another_handler() {
    let poller = Poller::new().unwrap();
    let (here, _there) = readable_pipe();
    poller.register(On::read(here, |_| Err(std::io::Error::other("not its day").into())), Flags::NONE).unwrap();
    let error = listen_with(|_, _| GO_ON, from(unique_group()).poller(&poller)).unwrap_err();
    assert_eq!(error.to_string(), "not its day");
    poller.run(None, Duration::ZERO).unwrap();
}

#[cfg(feature = "regex")]
#[test]
fn a_pattern_filters_and_a_bad_one_is_an_error() {
    let group = unique_group();
    let mut packets = Packets::new(from(group).pattern("[a-c]+$").unwrap()).unwrap();
    send_all(group, ["xyz", "abc"]);
    poll(PATIENCE).unwrap();
    assert_eq!(next(&mut packets), Some(b"abc".to_vec()));
    assert_eq!(from(group).pattern("(").unwrap_err().kind(), ErrorKind::Pattern);
}

#[test]
fn next_says_whether_its_poller_or_only_its_place_there_is_gone() {
    let (poller, group) = (Poller::new().unwrap(), unique_group());
    let mut packets = Packets::new(from(group).poller(&poller)).unwrap();
    let filter = |_: &[u8], _: std::net::SocketAddr| -> bool { panic!("on purpose") };
    let mut panicking = Packets::new(from(group).poller(&poller).filter_fn(filter)).unwrap();
    send_all(group, ["x"]);
    assert_eq!(poller.poll(PATIENCE), Ok(2));
    // A panic removes its listener from the poller.
    let take = std::panic::AssertUnwindSafe(|| panicking.next().map(drop));
    assert!(std::panic::catch_unwind(take).is_err());
    let text = |result: Result<Option<multicast::Packet<'_>>>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotRegistered);
        error.to_string()
    };
    assert_eq!(text(panicking.next()), "take a packet: its poller does not have the listener any more");
    assert_eq!(next(&mut packets), Some(b"x".to_vec()));
    drop(poller);
    assert_eq!(text(packets.next()), "take a packet: its poller is gone");
}
