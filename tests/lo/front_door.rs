//! How listeners are created: all combinations of the three `bind` methods and the four places; and loops over a listener. On
//! `lo`.

use crate::common;
use crate::common::{OnePacket, PATIENCE, expect_packet, on_lo, send_all, unique_group, unique_v6_group};
use multicast::filter::Prefix;
use multicast::{
    Bind, COALESCING_BUFFER, ErrorKind, Events, Group, Head, Interest, Interface, ListenOptions, Listener, ListeningSocket,
    Membership, Packet, Poller, Received, Result, Token,
};

fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

/// The places, and whether a listener with this place must still join.
fn places(group: Group) -> [(Bind, bool); 4] {
    [
        (Bind::Group(on_lo(group)), false),
        (Bind::Later(group), true),
        (Bind::Interface(on_lo(group)), false),
        (Bind::Port(group.port(), group.family()), true),
    ]
}

fn join_if<B>(joins: bool, group: Group, listener: &mut ListeningSocket<B>) {
    if joins {
        listener.join(&on_lo(group)).unwrap();
    }
}

#[test]
fn each_bind_method_works_with_each_place_and_family() {
    for group in groups() {
        for (place, joins) in places(group) {
            let mut listener = ListenOptions::new().bind::<64>(place).unwrap();
            join_if(joins, group, &mut listener);
            send_all(group, ["own buffer"]);
            assert_eq!(expect_packet(&mut listener), b"own buffer", "{place:?}");
            drop(listener);

            let mut receiver = ListenOptions::new().metadata().bind_receiver(place, 64).unwrap();
            join_if(joins, group, &mut receiver);
            send_all(group, ["a buffer of mine"]);
            let mut buffer = [0; 64];
            let packet = receiver.recv_into(&mut buffer).unwrap().packet().expect("a packet");
            assert_eq!(packet.payload(), b"a buffer of mine", "{place:?}");
            assert_eq!(packet.metadata().unwrap().destination, Some(group.address()), "{place:?}");
            drop(receiver);

            let mut buffer = Box::new([0; COALESCING_BUFFER]);
            let mut coalescing = ListenOptions::new().bind_coalescing(place, 5, &mut buffer).unwrap();
            join_if(joins, group, &mut coalescing);
            send_all(group, ["many", "at a time"]);
            let next = || coalescing.recv().unwrap().packet().map(|packet| packet.payload().to_vec());
            let packets: Vec<_> = std::iter::from_fn(next).collect();
            assert_eq!(packets, [&b"many"[..], b"at a "], "{place:?}");
        }
    }
}

#[test]
fn binding_to_all_interfaces_is_an_error_that_names_group_and_interface() {
    for group in groups() {
        let everywhere = Bind::Interface(Membership::any(group).on(Interface::All));
        let error = ListenOptions::new().bind::<64>(everywhere).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OneInterface);
        let text = error.to_string();
        assert!(text.contains(&group.address().to_string()) && text.contains("all"), "{text}");
        let mut buffer = Box::new([0; COALESCING_BUFFER]);
        assert_eq!(
            ListenOptions::new().bind_coalescing(everywhere, 64, &mut buffer).unwrap_err().kind(),
            ErrorKind::OneInterface
        );
        assert_eq!(ListenOptions::new().bind_receiver(everywhere, 64).unwrap_err().kind(), ErrorKind::OneInterface);
    }
}

#[test]
fn an_mtu_that_no_packet_has_is_an_error() {
    let place = on_lo(unique_group());
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    for mtu in [0, 65_536, usize::MAX] {
        for error in [
            ListenOptions::new().bind_receiver(place, mtu).unwrap_err(),
            ListenOptions::new().bind_coalescing(place, mtu, &mut buffer).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::OutOfRange);
            assert_eq!(error.to_string(), "bind: the mtu is out of range: give 1 to 65535 bytes");
        }
    }
    assert!(ListenOptions::new().bind_receiver(place, 65_535).is_ok());
}

#[test]
fn listener_bind_has_the_default_buffer() {
    let group = unique_group();
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    send_all(group, [vec![7; 4096], vec![7; 4097]]);
    assert!(!listener.recv().unwrap().packet().unwrap().is_truncated());
    assert!(listener.recv().unwrap().packet().unwrap().is_truncated());
}

/// A listener of a link-local group is bound to the group, too, so it takes no unicast to the port.
#[test]
fn a_listener_of_a_link_local_group_is_bound_to_it_and_leaves_unicast_to_others() {
    let group = unique_v6_group(2);
    let neighbour = std::net::UdpSocket::bind(("::1", group.port())).unwrap();
    neighbour.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut listeners = [
        ListenOptions::new().bind::<64>(on_lo(group)).unwrap(),
        ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap(),
        ListenOptions::new().kernel_filter(false).bind::<64>(on_lo(group)).unwrap(),
    ];
    listeners[1].join(&on_lo(group)).unwrap();
    for listener in &listeners {
        assert_eq!(
            (listener.local_addr().unwrap().ip(), listener.local_addr().unwrap().port()),
            (group.address(), group.port())
        );
    }
    let sender = std::net::UdpSocket::bind("[::1]:0").unwrap();
    for _ in 0..5 {
        sender.send_to(b"unicast", ("::1", group.port())).unwrap();
        assert_eq!(neighbour.recv(&mut [0; 16]).unwrap(), 7);
    }
    send_all(group, ["to the group"]);
    for listener in &mut listeners {
        assert_eq!(expect_packet(listener), b"to the group");
        assert_eq!(listener.recv().unwrap(), Received::Empty);
        assert_eq!(listener.counters().foreign, 0);
    }
}

/// The kernel asks for a scope of more groups than those of ff02::/16: interface-local ones, and those with flags.
#[test]
fn groups_of_every_scope_and_flag_are_bound_to_their_address() {
    for scope in [0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0x0e, 0x11, 0x12, 0x15, 0x32, 0x35, 0x72] {
        let group = unique_v6_group(scope);
        let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
        assert_eq!(listener.local_addr().unwrap(), std::net::SocketAddr::from(group));
        send_all(group, ["hello"]);
        assert_eq!(expect_packet(&mut listener), b"hello", "{group}");
    }
}

#[test]
fn a_program_has_at_most_max_instructions() {
    let group = unique_group();
    let long = Prefix([7_u8; 400]);
    for (asked, least, most) in [(0, 0, 2), (64, 40, 64), (65, 40, 65), (2048, 200, 210), (1 << 20, 200, 210)] {
        let options = ListenOptions::new().filter(long).max_instructions(asked);
        let mut listener = options.bind::<500>(on_lo(group)).unwrap();
        let mut buffer = [multicast::filter::kernel::Instruction::ZERO; 4096];
        let length = listener.kernel_program(&mut buffer).unwrap().0.len();
        assert!((least..=most).contains(&length), "asked for {asked}: {length}");
        send_all(group, [vec![7; 399], vec![7; 400]]);
        assert_eq!(expect_packet(&mut listener), [7; 400]);
    }
}

/// Waits until a packet comes, and returns it: what the documentation of `Head` shows.
fn next_packet<'l>(listener: &'l mut Listener<64>, poller: &Poller, events: &mut Events<1>) -> Result<Packet<'l>> {
    let head = loop {
        match listener.recv()? {
            Received::Packet(packet) => break packet.head(),
            Received::Paused => continue,
            Received::Empty => {
                poller.poll(events, PATIENCE)?;
            }
        }
    };
    Ok(listener.packet(head))
}

#[test]
fn a_function_can_wait_for_a_packet_and_return_it() {
    let group = unique_group();
    let mut listener = ListenOptions::new().metadata().bind::<64>(on_lo(group)).unwrap();
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&listener, Token(0), Interest::READABLE.edge()).unwrap();
    let sender = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        send_all(group, [&b"first"[..], &[b'x'; 100]]);
    });
    let packet = next_packet(&mut listener, &poller, &mut events).unwrap();
    assert_eq!((packet.payload(), packet.wire_length(), packet.is_truncated()), (&b"first"[..], 5, false));
    assert_eq!(packet.metadata().unwrap().destination, Some(group.address()));
    assert!(packet.source().ip().is_loopback());
    sender.join().unwrap();
    let packet = next_packet(&mut listener, &poller, &mut events).unwrap();
    assert_eq!((packet.payload(), packet.wire_length(), packet.is_truncated()), (&[b'x'; 64][..], 100, true));
}

#[test]
fn a_head_finds_its_packet_in_every_kind_of_buffer() {
    let group = unique_group();
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    let mut coalescing = ListenOptions::new().bind_coalescing(on_lo(group), 3, &mut buffer).unwrap();
    let mut receiver = ListenOptions::new().bind_receiver(on_lo(group), 64).unwrap();
    let mut caster = common::send_on_lo().batches::<4, _>(group, ["aaaa", "bbbb", "cc"]).unwrap();
    caster.step().unwrap();
    for (expected, length) in [(&b"aaa"[..], 4), (b"bbb", 4), (b"cc", 2)] {
        let head: Head = coalescing.recv().unwrap().packet().unwrap().head();
        let packet = coalescing.packet(head);
        assert_eq!((packet.payload(), packet.wire_length()), (expected, length));
    }
    let mut mine = [0; 64];
    let head = receiver.recv_into(&mut mine).unwrap().packet().unwrap().head();
    assert_eq!(head.packet(&mine, None).payload(), b"aaaa");
    assert_eq!(head.packet(&mine[..2], None).payload(), b"aa", "not beyond the end of the buffer");
    assert_eq!(head.packet(&[], None).wire_length(), 4);
}

/// A head is good until the next call to `recv`, and so is what came with its packet.
#[test]
fn the_packet_of_a_head_has_its_metadata_after_its_group_was_left() {
    for group in groups() {
        for (place, joins) in places(group) {
            let mut listener = ListenOptions::new().metadata().bind::<64>(place).unwrap();
            join_if(joins, group, &mut listener);
            send_all(group, ["one"]);
            let packet = listener.recv().unwrap().packet().unwrap();
            let (head, metadata) = (packet.head(), *packet.metadata().unwrap());
            assert!(metadata.interface.is_some());
            listener.leave(&on_lo(group)).unwrap();
            assert_eq!(listener.packet(head).metadata(), Some(&metadata), "{place:?}");
        }
    }
}

/// 64 rejected packets end one call. A wanted packet is queued after them, and an edge-triggered poller does not report it again.
#[test]
fn the_documented_loop_works_with_an_edge_triggered_poller() {
    let group = unique_group();
    let options = ListenOptions::new().kernel_filter(false).receive_buffer(1 << 20).filter(Prefix(b"wanted"));
    let mut listener = options.bind::<64>(on_lo(group)).unwrap();
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&listener, Token(0), Interest::READABLE.edge()).unwrap();
    let refused = std::iter::repeat_n("other", 200);
    send_all(group, refused.chain(["wanted"]));
    let mut heard = Vec::new();
    for _event in poller.poll(&mut events, PATIENCE).unwrap() {
        loop {
            match listener.recv().unwrap() {
                Received::Packet(packet) => heard.push(packet.payload().to_vec()),
                Received::Paused => continue,
                Received::Empty => break,
            }
        }
    }
    assert_eq!(heard, [b"wanted"]);
    assert_eq!(listener.counters().rejected, 200);
}

#[cfg(feature = "std")]
#[test]
fn listeners_have_the_descriptor_traits_that_runtimes_need() {
    use std::os::fd::{AsFd, AsRawFd, IntoRawFd};

    // The traits that a runtime's wrapper requires.
    fn wrapped<T: AsRawFd + AsFd + IntoRawFd>(listener: T) -> T {
        assert_eq!(listener.as_raw_fd(), listener.as_fd().as_raw_fd());
        listener
    }
    let group = unique_group();
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    wrapped(ListenOptions::new().bind_coalescing(on_lo(group), 64, &mut buffer).unwrap());
    wrapped(ListenOptions::new().bind_receiver(on_lo(group), 64).unwrap());
    let listener = wrapped(ListenOptions::new().bind::<64>(on_lo(group)).unwrap());
    let raw = listener.as_raw_fd();
    assert_eq!(listener.into_raw_fd(), raw);
    // The descriptor is open, and belongs to the test now.
    let path = format!("/proc/self/fd/{raw}");
    assert!(std::fs::read_link(&path).unwrap().to_string_lossy().starts_with("socket:"));
}
