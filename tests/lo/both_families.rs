//! The example `both_families`: IPv4 and IPv6 in one poller, with answers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;

use crate::common;
use crate::common::{send_on_lo, unique_group, unique_v6_group};
use crate::programs::{Running, example, wait_for_member};
use multicast::{Outcome, Received};

#[test]
fn a_question_of_each_family_is_answered_from_the_port_that_was_asked() {
    let groups = [unique_group(), unique_v6_group(5)];
    let program = &mut Command::new(example("both_families"));
    let running = Running::start(program.args(groups.map(|group| group.to_string())));
    groups.into_iter().for_each(wait_for_member);
    for group in groups {
        let own = if group.address().is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        // We ask.
        let (mut sender, mut replies) = send_on_lo().open_with_replies::<1500>(group.family()).unwrap();
        assert_eq!(sender.send(b"ping", group).unwrap(), Outcome::Sent);
        assert_eq!(running.line(), format!("answered {own}"));
        let Received::Packet(answer) = replies.recv().unwrap() else { panic!("no answer") };
        assert_eq!((answer.payload(), answer.source()), (&b"pong ping"[..], SocketAddr::new(own, group.port())));
        // A socket of the standard library asks the address itself: a listener of one group takes no unicast, so it gets no answer.
        let stranger = UdpSocket::bind((own, 0)).unwrap();
        stranger.send_to(b"to you", (own, group.port())).unwrap();
        stranger.set_read_timeout(Some(common::QUIET)).unwrap();
        assert!(stranger.recv_from(&mut [0; 10]).is_err());
    }
    assert_eq!(running.line_within(common::QUIET), None);
}
