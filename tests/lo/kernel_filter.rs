//! Filters in the real kernel: it decides as the interpreter of the tests does, and the listener returns what the filter accepts.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::bpf::{Bytes, Program, Sent, Tree, World, noise, run};
use crate::common::{
    OnePacket, PATIENCE, assert_quiet, expect_packet, next_within, on_lo, send_all, send_on_lo, unique_group,
};
use multicast::filter::kernel::{Fit, Instruction};
use multicast::filter::{Always, Filter, Length, Never, Not, Port, Prefix, Source, Suffix, by};
use multicast::{
    Bind, COALESCING_BUFFER, ErrorKind, Events, Family, Group, Interest, ListenOptions, Listener, OwnedFd, Poller, Received,
    Receiver, Token,
};

const NOTHING: [Instruction; 512] = [Instruction::ZERO; 512];

/// A socket that sends to the group on `lo`, with the address that it sends from.
fn sender(group: Group) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::from(OwnedFd::from(send_on_lo().packets(group, [""; 0]).unwrap()));
    // The socket gets its port with the first packet, which has no receiver.
    socket.send_to(b"", SocketAddr::from(group)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port))
}

#[test]
fn the_kernel_decides_as_the_interpreter_and_the_filter_decides_the_rest() {
    const FILTERS: u64 = 1500;
    const PACKETS: usize = 8;
    let group = unique_group();
    let senders = [sender(group), sender(group)];
    let world =
        World { sources: senders.iter().map(|sender| sender.1).collect(), destination: group.address(), ..World::v4() };
    let (mut accepted_in_all, mut refused_by_kernel, mut refused_here, mut exact) = (0, 0, 0, 0);
    for seed in 0..FILTERS {
        let noise = noise(seed, 600);
        let mut bytes = Bytes(&noise);
        let mut tree = Tree::grow(&mut bytes, &world, 3);
        let mtu = bytes.choose(&[1, 3, 8, 100, 1500]);
        let program = Program::of(&tree, 64, mtu, Family::V4);
        let mut receiver = ListenOptions::new().filter(tree.clone()).bind_receiver(on_lo(group), mtu).unwrap();
        let packets: Vec<Sent> = (0..PACKETS).map(|_| world.packet(&mut bytes)).collect();
        for packet in &packets {
            let sender = senders.iter().find(|sender| sender.1 == packet.source).unwrap();
            sender.0.set_multicast_ttl_v4(packet.hop_limit.into()).unwrap();
            sender.0.send_to(&packet.payload, SocketAddr::from(group)).unwrap();
        }
        let seen = |packet: &Sent| packet.payload[..packet.payload.len().min(mtu)].to_vec();
        let accepted: Vec<_> = packets
            .iter()
            .filter(|packet| tree.accepts_with_hop_limit(&seen(packet), packet.source, packet.hop_limit))
            .map(|packet| (seen(packet), packet.source))
            .collect();
        let passed = packets.iter().filter(|packet| run(&program.instructions, packet) != 0).count();
        let mut received = Vec::new();
        let mut buffer = vec![0; mtu];
        while let Received::Packet(packet) = receiver.recv_into(&mut buffer).unwrap() {
            received.push((packet.payload().to_vec(), packet.source()));
        }
        let counters = receiver.counters();
        assert_eq!(received, accepted, "{tree:?}, mtu {mtu}\n{program}");
        assert_eq!(counters.dropped, Some((PACKETS - passed) as u64), "{tree:?}, mtu {mtu}, {packets:?}\n{program}");
        assert_eq!(counters.received + counters.rejected, passed as u64);
        accepted_in_all += accepted.len();
        refused_by_kernel += PACKETS - passed;
        refused_here += passed - accepted.len();
        exact += usize::from(program.fit == Fit::Exact);
    }
    // Each case must occur often enough.
    let counts = [accepted_in_all, refused_by_kernel, refused_here, exact];
    assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
}

/// The number of packets that a filter's program passes: the filter itself rejects all, so they count as rejected.
fn rejected_of<F: Filter>(filter: F, payloads: &[&[u8]]) -> u64 {
    let group = unique_group();
    let mut listener = ListenOptions::new().filter(filter).bind::<1500>(on_lo(group)).unwrap();
    send_all(group, payloads);
    assert_eq!(next_within(&mut listener, Duration::ZERO), None);
    listener.counters().rejected
}

#[test]
fn packets_refused_by_the_kernel_do_not_wake_the_process() {
    let group = unique_group();
    let mut listener = ListenOptions::new().filter(Prefix(b"wanted")).bind::<64>(on_lo(group)).unwrap();
    let poller = Poller::new().unwrap();
    poller.register(&listener, Token(1), Interest::READABLE.edge()).unwrap();
    let mut events = Events::<4>::new();
    send_all(group, vec!["unwanted"; 1000]);
    assert_eq!(poller.poll(&mut events, Duration::from_millis(50)).unwrap().count(), 0);
    assert_eq!(listener.counters().dropped, Some(1000));
    send_all(group, ["wanted"]);
    assert_eq!(poller.poll(&mut events, PATIENCE).unwrap().count(), 1);
    assert_eq!(expect_packet(&mut listener), b"wanted");
}

#[test]
fn closures_run_in_this_process() {
    assert_eq!(rejected_of(by(|_, _| false), &[b"a", b"b"]), 2);
    assert_eq!(rejected_of(Not(by(|_, _| true)), &[b"a", b"b"]), 2);
    assert_eq!(rejected_of(Never, &[b"a", b"b"]), 0);
}

#[test]
fn the_program_can_be_read_and_printed() {
    let group = unique_group();
    let filter = Prefix(b"NOTI");
    let bound = ListenOptions::new().filter(filter).bind::<64>(on_lo(group)).unwrap();
    let mut buffer = NOTHING;
    let program = bound.kernel_program(&mut buffer).unwrap();
    assert_eq!(program.0, Program::of(&filter, 64, 64, Family::V4).instructions);
    assert!(program.to_string().contains("jeq #0x4e4f5449 jt 2 jf 3"));
    assert_eq!(bound.kernel_program(&mut [Instruction::ZERO; 3]).unwrap_err().kind(), ErrorKind::InvalidInput);

    let none = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    assert_eq!(none.kernel_program(&mut buffer).unwrap().0, []);
    assert!(!none.counters().kernel_refuses);
    let off = ListenOptions::new().filter(filter).kernel_filter(false).bind::<64>(on_lo(group)).unwrap();
    assert_eq!(off.kernel_program(&mut buffer).unwrap().0, []);

    // The guard precedes it: its mark, an entry of four instructions for the group, and a `ret #0`.
    let mut opened = ListenOptions::new().filter(filter).bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
    assert_eq!(opened.kernel_program(&mut buffer).unwrap().0.len(), 2 + 4);
    opened.join(&on_lo(group)).unwrap();
    let text = opened.kernel_program(&mut buffer).unwrap().to_string();
    assert_eq!(text.lines().count(), 4 + 2 + 4, "{text}");
    assert!(text.contains("ld [net + 16]") && text.contains("ld #ifidx\n(004) jeq #0x1 jt 6 jf 5"), "{text}");
    opened.leave(&on_lo(group)).unwrap();
    assert_eq!(opened.kernel_program(&mut buffer).unwrap().0.len(), 2 + 4);
}

#[test]
fn long_filters_use_the_instructions_that_they_may_have() {
    let group = unique_group();
    let long = [b'x'; 1200];
    let mut other = long;
    other[1100] = b'y';
    let options = ListenOptions::new().filter(Prefix(long)).max_instructions(1024);
    let mut bound = options.bind::<1500>(on_lo(group)).unwrap();
    let mut opened = options.bind::<1500>(Bind::Port(group.port(), Family::V4)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    send_all(group, [&other[..], &long[..]]);
    for listener in [&mut bound, &mut opened] {
        assert_eq!(expect_packet(listener), long);
        assert_eq!((listener.counters().rejected, listener.counters().dropped), (0, Some(1)));
    }
    // A long program can be changed like a short one.
    opened.leave(&on_lo(group)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    let old = opened.replace_filter(Prefix(other)).unwrap();
    assert_eq!(old, Prefix(long));
    send_all(group, [&long[..], &other[..]]);
    assert_eq!(expect_packet(&mut opened), other);
    assert_eq!(opened.counters().rejected, 0);
}

#[test]
fn a_filter_is_replaced_at_run_time() {
    let group = unique_group();
    for is_bound in [true, false] {
        let options = ListenOptions::new().filter(Prefix("one"));
        let mut listener: Listener<16, _> = if is_bound {
            options.bind(on_lo(group)).unwrap()
        } else {
            let mut opened = options.bind(Bind::Port(group.port(), Family::V4)).unwrap();
            opened.join(&on_lo(group)).unwrap();
            opened
        };
        send_all(group, ["one, queued", "two, refused"]);
        assert_eq!(listener.replace_filter(Prefix("two")).unwrap(), Prefix("one"));
        send_all(group, ["one", "two"]);
        // The new filter also checks queued packets.
        assert_eq!(expect_packet(&mut listener), b"two");
        let counters = listener.counters();
        assert_eq!((counters.rejected, counters.dropped), (1, Some(2)));

        let mut listener = listener.with_filter(Length(4..)).unwrap();
        send_all(group, ["two", "three"]);
        assert_eq!(expect_packet(&mut listener), b"three");
        let mut listener = listener.with_filter(Always).unwrap();
        send_all(group, ["two"]);
        assert_eq!(expect_packet(&mut listener), b"two");
        let mut buffer = NOTHING;
        let left = listener.kernel_program(&mut buffer).unwrap().0.len();
        assert_eq!(left, if is_bound { 0 } else { 4 + 2 + 2 }, "the guard alone");
        // The program is attached again.
        let mut listener = listener.with_filter(Suffix("!")).unwrap();
        send_all(group, ["no", "yes!"]);
        assert_eq!(expect_packet(&mut listener), b"yes!");
        assert_eq!(listener.counters().rejected, 1);
    }
}

#[test]
fn a_filter_that_was_changed_in_place_runs_in_this_process() {
    let group = unique_group();
    let mut listener = ListenOptions::new().filter(Prefix("one")).bind::<16>(on_lo(group)).unwrap();
    listener.filter_mut().unwrap().0 = "two";
    send_all(group, ["one", "two"]);
    assert_eq!(expect_packet(&mut listener), b"two");
    assert_eq!(listener.counters().rejected, 1);
    // It runs in the kernel again after `replace_filter`.
    let filter = *listener.filter();
    listener.replace_filter(filter).unwrap();
    send_all(group, ["one", "two"]);
    assert_eq!(expect_packet(&mut listener), b"two");
    assert_eq!(listener.counters().rejected, 1);
}

#[test]
fn the_program_never_cuts_a_packet() {
    let group = unique_group();
    let mut listener = ListenOptions::new().filter(Prefix("x")).bind::<16>(on_lo(group)).unwrap();
    send_all(group, [vec![b'x'; 60_000]]);
    let packet = listener.recv().unwrap().packet().unwrap();
    assert_eq!((packet.wire_length(), packet.payload().len()), (60_000, 16));
}

#[test]
fn a_buffer_shorter_than_the_mtu_of_the_kernels_filter_is_refused() {
    let group = unique_group();
    let mut receiver = ListenOptions::new().filter(Not(Suffix("cd"))).bind_receiver(on_lo(group), 4).unwrap();
    send_all(group, ["abc", "abcdef"]);
    let error = receiver.recv_into(&mut [0; 3]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("shorter than the mtu"), "{error}");
    // No packet was lost. A longer buffer may hold more bytes than the filter sees.
    let mut buffer = [0; 64];
    assert_eq!(receiver.recv_into(&mut buffer).unwrap().packet().unwrap().payload(), b"abc");
    assert_eq!(receiver.recv_into(&mut buffer).unwrap(), Received::Empty);
    send_all(group, ["abcX", "abcXef"]);
    assert_eq!(receiver.recv_into(&mut buffer).unwrap().packet().unwrap().payload(), b"abcX");
    assert_eq!(receiver.recv_into(&mut buffer).unwrap().packet().unwrap().payload(), b"abcXef");
}

#[test]
fn the_kernel_filters_by_sender() {
    let group = unique_group();
    let [(first, address), (second, _)] = [sender(group), sender(group)];
    let ours = Source("127.0.0.0/8".parse().unwrap());
    let filter = ours.and(Port(address.port()));
    let mut listener = ListenOptions::new().filter(filter).bind::<16>(on_lo(group)).unwrap();
    let mut others = ListenOptions::new().filter(filter.not()).bind::<16>(on_lo(group)).unwrap();
    for _ in 0..3 {
        first.send_to(b"first", SocketAddr::from(group)).unwrap();
        second.send_to(b"second", SocketAddr::from(group)).unwrap();
    }
    for (listener, expected) in [(&mut others as &mut dyn Next, b"second".as_slice()), (&mut listener, b"first")] {
        assert_eq!([listener.next(), listener.next(), listener.next()], [(); 3].map(|()| Some(expected.to_vec())));
        assert_eq!(listener.next(), None);
    }
    assert_eq!((listener.counters().rejected, others.counters().rejected), (0, 0));
}

/// Listeners with different filters, in one list.
trait Next {
    fn next(&mut self) -> Option<Vec<u8>>;
}

impl<F: Filter> Next for Listener<16, F> {
    fn next(&mut self) -> Option<Vec<u8>> {
        next_within(self, Duration::ZERO)
    }
}

#[test]
fn packets_that_were_sent_in_one_batch_are_filtered_one_by_one() {
    let group = unique_group();
    let mut listener = ListenOptions::new().filter(Prefix("yes")).bind::<16>(on_lo(group)).unwrap();
    let packets = ["no 1", "yes2", "no 3", "yes4", "no 5", "no 6", "yes7"];
    let mut caster = send_on_lo().batches::<8, _>(group, packets).unwrap();
    assert_eq!(caster.step().unwrap(), multicast::Progress::Sent(7));
    for expected in ["yes2", "yes4", "yes7"] {
        assert_eq!(expect_packet(&mut listener), expected.as_bytes());
    }
    assert_eq!(listener.counters().dropped, Some(4));
    // A coalescing listener has no filter in the kernel, which would decide about a coalesced datagram by its first packet.
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    let mut listener =
        ListenOptions::new().filter(Prefix("yes")).bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut caster = send_on_lo().batches::<8, _>(group, packets).unwrap();
    assert_eq!(caster.step().unwrap(), multicast::Progress::Sent(7));
    for expected in ["yes2", "yes4", "yes7"] {
        assert_eq!(listener.recv().unwrap().packet().unwrap().payload(), expected.as_bytes());
    }
    assert_eq!((listener.counters().rejected, listener.counters().kernel_refuses), (4, false));
}

#[test]
fn all_wanted_packets_are_received_during_a_flood() {
    const UNWANTED: usize = 1_000_000;
    let group = unique_group();
    let mut listener = ListenOptions::new().filter(Prefix("wanted")).bind::<64>(on_lo(group)).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (sent, received) = std::thread::scope(|threads| {
        // The flood is limited in count and time, and only on `lo`.
        threads.spawn(|| {
            let end = std::time::Instant::now() + Duration::from_secs(60);
            send_all(group, std::iter::repeat_n([b'u'; 64], UNWANTED).take_while(|_| std::time::Instant::now() < end));
            is_over.store(true, std::sync::atomic::Ordering::Release);
        });
        let trickle = threads.spawn(|| {
            let mut sent = 0_u32;
            while !is_over.load(std::sync::atomic::Ordering::Acquire) {
                send_all(group, [format!("wanted {sent}")]);
                sent += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            sent
        });
        let mut received = 0_u32;
        while !trickle.is_finished() {
            if let Some(payload) = next_within(&mut listener, Duration::from_millis(200)) {
                assert_eq!(payload, format!("wanted {received}").as_bytes());
                received += 1;
            }
        }
        while next_within(&mut listener, Duration::ZERO).is_some() {
            received += 1;
        }
        (trickle.join().unwrap(), received)
    });
    assert_eq!(received, sent);
    assert!(sent >= 10, "{sent}");
    let counters = listener.counters();
    assert_eq!((counters.rejected, counters.received), (0, u64::from(sent)));
    assert!(counters.dropped.unwrap() >= 100_000, "{counters:?}");
}

#[test]
fn the_socket_of_a_converted_receiver_has_no_program() {
    let group = unique_group();
    let mut opened = ListenOptions::new().filter(Prefix("one")).bind::<16>(Bind::Port(group.port(), Family::V4)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    let mut receiver = Receiver::try_from(OwnedFd::from(opened)).unwrap();
    assert_eq!(receiver.kernel_program(&mut [Instruction::ZERO; 64]).unwrap().0, []);
    send_all(group, ["two"]);
    let mut buffer = [0; 16];
    assert_eq!(receiver.recv_into(&mut buffer).unwrap().packet().unwrap().payload(), b"two");
}

#[test]
fn two_descriptors_of_one_socket_share_the_guard() {
    use multicast::AsFd;
    let group = unique_group();
    let second = Group::new(unique_group().address(), group.port()).unwrap();
    let mut opened = ListenOptions::new().bind::<16>(Bind::Port(group.port(), Family::V4)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    let mut other = Listener::<16>::try_from(opened.as_fd().try_clone_to_owned().unwrap()).unwrap();
    other.join(&on_lo(second)).unwrap();
    send_all(second, ["second"]);
    assert_eq!(expect_packet(&mut opened), b"second");
    send_all(group, ["first"]);
    assert_eq!(expect_packet(&mut other), b"first");
    other.leave(&on_lo(second)).unwrap();
    send_all(second, ["left"]);
    assert_quiet(&mut opened);
}
