//! The documented API: what becomes of a listener that cannot be joined again. Apart from other tests, whose limits it would change. In
//! a private network: see `make test`.
#![cfg(feature = "std")]

mod common;
mod compat_help;

use std::net::SocketAddr;
use std::time::Duration;

use common::link::{Pair, named};
use common::{PATIENCE, unique_group, unique_v6_group};
use compat_help::{GO_ON, Log, noting};
use multicast::compat::{ListenOptions, MulticastListener, Poller};
use multicast::{ErrorKind, Group, SendOptions};

const LIMIT: &str = "/proc/sys/net/ipv4/igmp_max_memberships";

fn send(from: &str, group: Group) {
    SendOptions::new().interface(named(from)).loopback(false).packets(group, ["x"]).unwrap().step().unwrap();
}

/// As with any handler that fails: it ends alone, and its error comes out of the poll.
#[test]
fn its_error_comes_out_of_the_poll_and_the_others_go_on() {
    let (pair, poller, log) = (Pair::new(), Poller::new().unwrap(), Log::new());
    let options = |group| ListenOptions::new().group(group).interface(named(&pair.b)).poller(&poller);
    let handler = |_: &[u8], _: SocketAddr| GO_ON;
    let doomed = [(); 2].map(|()| MulticastListener::new(handler, options(unique_group())).unwrap());
    let group = unique_v6_group(5);
    let other = MulticastListener::new(noting(&log), options(group)).unwrap();
    pair.delete();
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    let limit = std::fs::read_to_string(LIMIT).unwrap();
    std::fs::write(LIMIT, "0").unwrap();
    pair.create();
    let error = poller.poll(Duration::ZERO).unwrap_err();
    std::fs::write(LIMIT, limit).unwrap();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert!(error.to_string().contains("net.ipv4.igmp_max_memberships"), "{error}");
    assert!(!doomed[0].is_registered() && !doomed[1].is_registered() && other.is_registered());
    send(&pair.a, group);
    assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    assert_eq!(log.take(), [b"x".to_vec()]);
}
