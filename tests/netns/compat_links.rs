//! The handle-based API: listeners stay members of their groups when interfaces change. In a private network: see `make test`.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::common;
use crate::common::link::{Pair, index_of, is_alone, named, run};
use crate::common::{PATIENCE, unique_group, unique_v6_group};
use crate::compat_help::{GO_ON, Later, Log, noting};
use multicast::compat::{Handle, ListenOptions, MulticastListener, Packets, Poller, listen_with};
use multicast::{ErrorKind, Group, Interface, SendOptions};

fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

fn options(group: Group, interface: Interface, poller: &Poller) -> ListenOptions {
    ListenOptions::new().group(group).interface(interface).poller(poller)
}

fn send(from: &str, group: Group, text: &str) {
    common::send_with(SendOptions::new().interface(named(from)).loopback(false), group, [text]);
}

/// Polls without waiting, so that changes are applied.
fn settle(poller: &Poller) {
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
}

/// How many descriptors this process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_listener_receives_again_after_its_interface_was_created_again() {
    for group in groups() {
        let (pair, log, poller) = (Pair::new(), Log::new(), Poller::new().unwrap());
        MulticastListener::new(noting(&log), options(group, named(&pair.b), &poller)).unwrap();
        for _ in 0..22 {
            pair.replace();
            settle(&poller);
            send(&pair.a, group, "x");
            assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
            assert_eq!(log.take(), [b"x".to_vec()], "{group}");
        }
    }
}

#[test]
fn packets_are_received_again_after_their_interface_was_created_again() {
    for group in groups() {
        let (pair, poller) = (Pair::new(), Poller::new().unwrap());
        let mut packets = Packets::new(options(group, named(&pair.b), &poller)).unwrap();
        for _ in 0..22 {
            pair.replace();
            settle(&poller);
            assert_eq!(packets.next().unwrap(), None);
            send(&pair.a, group, "x");
            assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
            assert_eq!(packets.next().unwrap().unwrap().payload(), b"x", "{group}");
        }
    }
}

#[test]
fn packets_on_an_interface_that_was_left_are_refused() {
    let (pair, other) = (Pair::new(), Pair::new());
    for group in [unique_v6_group(2), unique_v6_group(5)] {
        let poller = Poller::new().unwrap();
        let mut packets = Packets::new(options(group, named(&pair.b), &poller)).unwrap();
        send(&pair.a, group, "before");
        poller.poll(PATIENCE).unwrap();
        assert_eq!(packets.next().unwrap().unwrap().payload(), b"before");
        // Another interface gets its name. Another process is a member on the first one.
        for command in ["NAME down", "NAME name spare0", "spare0 up"] {
            run(&format!("ip link set {}", command.replace("NAME", &pair.b)));
        }
        let (from, to) = (&other.b, &pair.b);
        run(&format!("ip link set {from} down"));
        run(&format!("ip link set {from} name {to}"));
        run(&format!("ip link set {to} up"));
        for end in [&pair.a, &other.a] {
            common::wait_until("the link is up", || run(&format!("ip -o link show dev {end}")).contains("state UP"));
        }
        settle(&poller);
        let mut peer = common::peer::Receiver::join(group, "spare0");
        send(&pair.a, group, "by what was left");
        assert_eq!(peer.next().payload, b"by what was left");
        send(&other.a, group, "by what has the name");
        poller.poll(PATIENCE).unwrap();
        assert_eq!(packets.next().unwrap().unwrap().payload(), b"by what has the name", "{group}");
        for (from, to) in [(&pair.b, &other.b), (&"spare0".to_owned(), &pair.b)] {
            run(&format!("ip link set {from} down"));
            run(&format!("ip link set {from} name {to}"));
            run(&format!("ip link set {to} up"));
        }
        for (pair, v6) in [(&pair, pair.v6_addresses()), (&other, other.v6_addresses())] {
            run(&format!("ip -6 addr add {}/64 dev {} nodad", v6[1], pair.b));
            pair.wait_until_up();
        }
    }
}

#[test]
fn listening_may_begin_before_the_interface_exists() {
    for group in groups() {
        let (pair, log, poller) = (Pair::planned(), Log::new(), Poller::new().unwrap());
        let listener = MulticastListener::new(noting(&log), options(group, named(&pair.b), &poller)).unwrap();
        let mut packets = Packets::new(options(group, named(&pair.b), &poller)).unwrap();
        assert!(listener.with(|listener| listener.is_waiting()).unwrap().unwrap() && packets.is_waiting());
        settle(&poller);
        pair.create();
        settle(&poller);
        assert!(!listener.with(|listener| listener.is_waiting()).unwrap().unwrap() && !packets.is_waiting());
        send(&pair.a, group, "at last");
        while log.len() == 0 {
            assert!(poller.poll(PATIENCE).unwrap() > 0);
        }
        assert_eq!(packets.next().unwrap().unwrap().payload(), b"at last");
        assert_eq!(log.take(), [b"at last".to_vec()]);
    }
}

#[test]
fn listen_with_receives_again_after_its_interface_appears() {
    let (pair, group) = (Pair::planned(), unique_group());
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| {
            let mut heard = Vec::new();
            let note = |packet: &[u8], _: SocketAddr| {
                heard.push(packet.to_vec());
                GO_ON
            };
            listen_with(note, ListenOptions::new().group(group).interface(named(&pair.b)).limit(2)).unwrap();
            heard
        });
        for text in ["one", "two"] {
            if text == "one" {
                pair.create()
            } else {
                pair.replace()
            }
            let member = || run(&format!("ip maddr show dev {}", pair.b)).contains(&group.address().to_string());
            common::wait_until("it has joined", member);
            send(&pair.a, group, text);
        }
        assert_eq!(listening.join().unwrap(), [b"one".to_vec(), b"two".to_vec()]);
    });
}

#[test]
fn an_index_must_be_that_of_an_existing_interface() {
    let pair = Pair::new();
    let poller = Poller::new().unwrap();
    let index = Interface::Index(index_of(&pair.b));
    let group = unique_group();
    let handler = |_: &[u8], _: SocketAddr| GO_ON;
    let listener = MulticastListener::new(handler, options(group, index, &poller)).unwrap();
    poller.unregister(&listener).unwrap();
    pair.delete();
    let error = MulticastListener::new(handler, options(group, index, &poller)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    assert_eq!(Packets::new(options(group, index, &poller)).unwrap_err().kind(), ErrorKind::NoSuchInterface);
}

/// The kernel would take the old membership for one on the new interface, on which nobody has joined.
#[test]
fn a_listener_by_index_joins_on_the_next_interface_that_has_the_index() {
    for group in groups() {
        let (pair, next, log, poller) = (Pair::new(), Pair::planned(), Log::new(), Poller::new().unwrap());
        let index = index_of(&pair.b);
        let listener = MulticastListener::new(noting(&log), options(group, Interface::Index(index), &poller)).unwrap();
        let mut packets = Packets::new(options(group, Interface::Index(index), &poller)).unwrap();
        for round in 0..2 {
            if round == 0 {
                pair.delete()
            } else {
                next.delete()
            }
            settle(&poller);
            assert!(listener.with(|listener| listener.is_waiting()).unwrap().unwrap() && packets.is_waiting());
            run(&format!("ip link add {} index {index} type veth peer name {}", next.b, next.a));
            next.set_up();
            next.give_addresses();
            settle(&poller);
            assert!(run(&format!("ip maddr show dev {}", next.b)).contains(&group.address().to_string()), "{group}");
            send(&next.a, group, "x");
            while log.len() == 0 || packets.next().unwrap().is_none() {
                poller.poll(PATIENCE).unwrap();
            }
            assert_eq!(log.take(), [b"x".to_vec()], "{group}");
        }
    }
}

/// Changes of interfaces are not reported to the caller: `poll` waits until its timeout.
#[test]
fn a_poll_neither_returns_for_a_change_nor_counts_it() {
    let (pair, poller) = (Pair::new(), Poller::new().unwrap());
    MulticastListener::new(noting(&Log::new()), options(unique_group(), named(&pair.b), &poller)).unwrap();
    let wait = Duration::from_millis(300);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5 {
                pair.replace();
            }
        });
        let start = Instant::now();
        assert_eq!(poller.poll(wait).unwrap(), 0);
        assert!(start.elapsed() >= wait, "{:?}", start.elapsed());
    });
}

#[test]
fn a_loop_ends_with_its_last_handler_even_if_interfaces_are_watched() {
    let (pair, group, poller) = (Pair::new(), unique_group(), Poller::new().unwrap());
    MulticastListener::new(|_: &[u8], _: SocketAddr| GO_ON, options(group, named(&pair.b), &poller).limit(1)).unwrap();
    send(&pair.a, group, "x");
    poller.run(None, Duration::ZERO).unwrap();
    let mut packets = Packets::new(options(group, named(&pair.b), &poller).limit(1)).unwrap();
    send(&pair.a, group, "y");
    poller.poll(PATIENCE).unwrap();
    assert!(packets.next().unwrap().is_some());
    poller.run(None, Duration::ZERO).unwrap();
}

#[test]
fn two_pollers_do_not_mix() {
    let (pair, group) = (Pair::new(), unique_group());
    let [first, second] = [(); 2].map(|()| Poller::new().unwrap());
    let [one, two] = [Log::new(), Log::new()];
    MulticastListener::new(noting(&one), options(group, named(&pair.b), &first)).unwrap();
    MulticastListener::new(noting(&two), options(group, named(&pair.b), &second)).unwrap();
    pair.replace();
    settle(&first);
    send(&pair.a, group, "to the first alone");
    assert_eq!(first.poll(PATIENCE).unwrap(), 1);
    // The second poller applies the change when it is polled. Its listener has lost packets from before.
    settle(&second);
    send(&pair.a, group, "to both");
    for poller in [&first, &second] {
        assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    }
    assert_eq!(one.take(), [b"to the first alone".to_vec(), b"to both".to_vec()]);
    assert_eq!(two.take(), [b"to both".to_vec()]);
}

/// Interfaces change while a handler runs and polls: the change is applied to it when its call is over.
#[test]
fn changes_are_applied_to_a_running_listener_afterwards() {
    let (group, poller, heard) = (unique_group(), Poller::new().unwrap(), Log::new());
    let pair = std::rc::Rc::new(Pair::new());
    let later = Later::new();
    let handler = {
        let (heard, later) = (heard.clone(), later.clone());
        move |packet: &[u8], _: SocketAddr| -> ControlFlow<()> {
            heard.add(packet.to_vec());
            if packet == b"first" {
                later.call();
            }
            GO_ON
        }
    };
    let listener: Handle<_> = MulticastListener::new(handler, options(group, named(&pair.b), &poller)).unwrap();
    {
        let (pair, poller) = (pair.clone(), poller.clone());
        later.set(move || {
            pair.replace();
            settle(&poller);
        });
    }
    send(&pair.a, group, "first");
    assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    assert!(listener.is_registered());
    send(&pair.a, group, "second");
    assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    assert_eq!(heard.take(), [b"first".to_vec(), b"second".to_vec()]);
    later.set(|| ());
}

/// Alone in its process, since other tests open descriptors at the same time.
#[test]
fn a_poller_has_one_watcher_until_its_last_listener_leaves() {
    if !is_alone("a_poller_has_one_watcher_until_its_last_listener_leaves") {
        return;
    }
    let pair = Pair::new();
    let poller = Poller::new().unwrap();
    let handler = |_: &[u8], _: SocketAddr| GO_ON;
    let before = descriptors();
    let by_index = Interface::Index(index_of(&pair.b));
    let listeners = [named(&pair.b), named(&pair.b), by_index]
        .map(|interface| MulticastListener::new(handler, options(unique_group(), interface, &poller)).unwrap());
    assert_eq!(descriptors(), before + 3 + 1, "one for all");
    let packets = Packets::new(options(unique_group(), named(&pair.b), &poller)).unwrap();
    assert_eq!(descriptors(), before + 4 + 1, "packets have one, too");
    settle(&poller);
    drop(packets);
    for listener in &listeners {
        poller.unregister(listener).unwrap();
    }
    pair.replace();
    settle(&poller);
    assert_eq!(descriptors(), before, "no listener is left");
    // The next listener needs a watcher again.
    MulticastListener::new(handler, options(unique_group(), named(&pair.b), &poller)).unwrap();
    assert_eq!(descriptors(), before + 2);
}
