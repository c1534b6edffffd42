//! Forged reports of the network find a conversation in which nothing is sent: each costs an event, and no loop spins. In a private
//! network: see `make test`.

use std::net::{IpAddr, UdpSocket};
use std::time::Instant;

use crate::common;
use crate::common::forger::{Forger, reports};
use crate::common::{QUIET, expect_packet, free_port, require_private_network, send_on_lo};
use multicast::{Bind, Events, Family, Interest, ListenOptions, Poller, Received, Sender, Token};

const fn lo_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "127.0.0.1",
        Family::V6 => "::1",
    }
}

fn port_of(sender: &Sender) -> u16 {
    sender.local_addr().unwrap().port()
}

/// Calls `read` after each event, until none has come for a while. Returns how many polls returned events.
fn wakes(poller: &Poller, mut read: impl FnMut(Token)) -> usize {
    let (mut events, mut wakes, begin) = (Events::<4>::new(), 0, Instant::now());
    loop {
        let tokens: Vec<_> = poller.poll(&mut events, QUIET / 8).unwrap().map(|event| event.token()).collect();
        if tokens.is_empty() {
            return wakes;
        }
        wakes += 1;
        assert!(begin.elapsed() < common::PATIENCE, "it spins: {wakes} wakes");
        tokens.into_iter().for_each(&mut read);
    }
}

fn read_all<const MTU: usize>(listener: &mut multicast::Listener<MTU>) {
    while listener.recv().unwrap() != Received::Empty {}
}

/// As many as the error queue has room for, and more: those are reported by an errno alone.
const COUNTS: [u32; 2] = [1, 500];

#[test]
fn a_loop_that_only_reads_answers_wakes_for_reports_and_does_not_spin() {
    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        for both in [false, true] {
            let (sender, mut replies) = send_on_lo().open_with_replies::<64>(family).unwrap();
            let poller = Poller::new().unwrap();
            poller.register(&replies, Token(0), Interest::READABLE).unwrap();
            if both {
                poller.register(&sender, Token(1), Interest::READABLE).unwrap();
            }
            for kind in reports(family) {
                for count in COUNTS {
                    forger.send(*kind, lo_of(family), port_of(&sender), count);
                    let wakes = wakes(&poller, |_| read_all(&mut replies));
                    assert!(wakes <= 1 + count as usize, "{family:?} {kind:?} {count}, both: {both}: {wakes}");
                }
            }
            assert!(replies.counters().foreign > 0);
            let peer = UdpSocket::bind((lo_of(family), 0)).unwrap();
            peer.send_to(b"answer", (lo_of(family), port_of(&sender))).unwrap();
            assert_eq!(expect_packet(&mut replies), b"answer");
        }
    }
}

#[test]
fn an_idle_sender_that_is_registered_alone_is_quiet_after_it_forgot_the_reports() {
    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        // Of its own, and of a listener by port.
        let (with_replies, replies) = send_on_lo().open_with_replies::<64>(family).unwrap();
        let mut by_port = ListenOptions::new().unicast().bind::<64>(Bind::Port(free_port(), family)).unwrap();
        let of_listener = by_port.sender(send_on_lo()).unwrap();
        for (mut sender, _kept) in [(with_replies, replies), (of_listener, by_port)] {
            let poller = Poller::new().unwrap();
            // No interest is needed for an error.
            poller.register(&sender, Token(0), Interest::READABLE).unwrap();
            for kind in reports(family) {
                for count in COUNTS {
                    forger.send(*kind, lo_of(family), port_of(&sender), count);
                    let wakes = wakes(&poller, |_| sender.forget_errors());
                    assert!(wakes <= 1 + count as usize, "{family:?} {kind:?} {count}: {wakes}");
                }
            }
            assert!(sender.network_reports() > 0);
        }
    }
}

#[test]
fn reports_of_a_socket_whose_buffer_is_full_of_answers_end_when_they_are_read() {
    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        #[cfg_attr(not(feature = "std"), expect(unused_mut))]
        let (mut sender, mut replies) = send_on_lo().open_with_replies::<64>(family).unwrap();
        let poller = Poller::new().unwrap();
        poller.register(&replies, Token(0), Interest::READABLE).unwrap();
        let lo: IpAddr = lo_of(family).parse().unwrap();
        let peer = UdpSocket::bind((lo, 0)).unwrap();
        for kind in reports(family) {
            for _ in 0..2000 {
                peer.send_to(&[0; 100], (lo, port_of(&sender))).unwrap();
            }
            #[cfg(feature = "std")]
            {
                forger.send(*kind, lo, port_of(&sender), 1);
                sender.forget_errors();
                assert_eq!(rustix::net::sockopt::socket_error(&sender), Ok(Ok(())), "{kind:?}");
            }
            forger.send(*kind, lo, port_of(&sender), 100);
            let before = replies.counters().received;
            let wakes = wakes(&poller, |_| read_all(&mut replies));
            assert!(replies.counters().received > before && wakes <= 2100, "{kind:?}: {wakes}");
        }
    }
}

/// The handle-based API: a listener that answers, and a live multicaster, which sends nothing.
#[cfg(feature = "std")]
#[test]
fn reports_neither_end_nor_spin_handlers_that_send_nothing() {
    use multicast::compat::{self, MulticastListener, Multicaster};
    use std::ops::ControlFlow;

    require_private_network();
    let mut forger = Forger::start();
    let groups = [common::unique_group(), common::unique_v6_group(5)];
    for group in groups {
        let poller = compat::Poller::new().unwrap();
        let options = compat::ListenOptions::new().group(group).interface(common::LO).poller(&poller);
        let quiet = |_: &[u8], _: std::net::SocketAddr| ControlFlow::Continue(());
        let listener = MulticastListener::new(quiet, options.unicast().answers(send_on_lo())).unwrap();
        let options = compat::SendOptions::new().group(group).interface(common::LO).poller(&poller);
        let live = Multicaster::live([""; 0], options).unwrap();
        for kind in reports(group.family()) {
            for count in COUNTS {
                forger.send(*kind, lo_of(group.family()), group.port(), count);
                let (mut calls, end) = (0, Instant::now() + QUIET / 4);
                while Instant::now() < end {
                    calls += poller.poll(end.saturating_duration_since(Instant::now())).unwrap();
                }
                assert!(calls <= 2 * (1 + count as usize), "{kind:?} {count}: {calls}");
                assert_eq!(poller.poll(std::time::Duration::ZERO).unwrap(), 0, "{kind:?} {count}");
            }
        }
        assert!(listener.is_registered() && live.handle().is_registered());
        let foreign = listener.with(|listener| listener.receiver().counters().foreign).unwrap().unwrap();
        assert!(foreign > 0, "{group}: this shows nothing");
    }
}

/// No sender was made, but the kernel was asked for reports.
#[cfg(feature = "std")]
#[test]
fn reports_find_a_listener_whose_sender_could_not_be_made() {
    require_private_network();
    // setsockopt of SO_PRIORITY at SOL_SOCKET: EPERM, as for 7 without privilege.
    let name = "reports_find_a_listener_whose_sender_could_not_be_made";
    if common::refusing::refusing(name, &["setsockopt:1:1=1:2=12"]).is_none() {
        return;
    }
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(free_port(), family)).unwrap();
        assert!(listener.sender(send_on_lo().priority(3)).is_err());
        let port = listener.local_addr().unwrap().port();
        for kind in reports(family) {
            forger.send(*kind, lo_of(family), port, 3);
            assert_eq!(listener.recv(), Ok(Received::Empty), "{kind:?}");
        }
    }
}

/// The other one may have been made before or after the listener.
#[cfg(feature = "std")]
#[test]
fn reports_find_a_listener_of_a_socket_that_somebody_else_sends_from() {
    use multicast::filter::{Always, Hops};
    use multicast::{Listener, OwnedFd};

    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        for sender_first in [true, false] {
            let socket = UdpSocket::bind((lo_of(family), 0)).unwrap();
            let port = socket.local_addr().unwrap().port();
            let sends = || Sender::try_from(OwnedFd::from(socket.try_clone().unwrap())).unwrap();
            let early = sender_first.then(sends);
            let plain = Listener::<64>::try_from(OwnedFd::from(socket.try_clone().unwrap())).unwrap();
            let _sender = early.unwrap_or_else(sends);
            let mut plain = plain.with_filter(Always).unwrap();
            for kind in reports(family) {
                forger.send(*kind, lo_of(family), port, 3);
                assert_eq!(plain.recv(), Ok(Received::Empty), "{kind:?}");
            }
            let mut by_hops = plain.with_filter(Hops(1..)).unwrap();
            for kind in reports(family) {
                forger.send(*kind, lo_of(family), port, 3);
                assert_eq!(by_hops.recv(), Ok(Received::Empty), "{kind:?}");
            }
        }
    }
}
