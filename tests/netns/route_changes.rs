//! Changes of routes: the kernel is asked once what they mean for a group, for all listeners of the group. In a private network: see
//! `make test`.

use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::link::{Pair, index_of, is_alone, named, run};
use crate::common::{assert_quiet, expect_packet, send_with, unique_group, unique_v6_group};
use crate::compat_help::{Log, pipe};
use multicast::compat::{Flags, Handler, ListenOptions, MulticastListener, Poller};
use multicast::{Bind, Change, Group, Interface, Listener, Membership, Memberships, Result, SendOptions};

/// Makes packets to this group leave on this interface.
fn route(group: Group, interface: &str) {
    let address = group.address();
    if address.is_ipv4() {
        run(&format!("ip route replace {address} dev {interface}"));
    } else {
        run(&format!("ip -6 route flush table local {address}"));
        run(&format!("ip -6 route add multicast {address} dev {interface} table local metric 1"));
    }
}

fn members(interface: &str, group: Group) -> usize {
    let list = run(&format!("ip maddr show dev {interface}"));
    let line = list.lines().find(|line| line.split_whitespace().any(|word| word == group.address().to_string()));
    line.map_or(0, |line| line.split_once("users ").map_or(1, |(_, users)| users.trim().parse().unwrap()))
}

fn to(group: Group, interface: &str) -> Change {
    Change::RouteTo { group: group.address(), interface: NonZeroU32::new(index_of(interface).get()) }
}

#[test]
fn a_change_of_a_route_that_was_asked_about_for_one_group_moves_its_listeners_alone() {
    if !is_alone("a_change_of_a_route_that_was_asked_about_for_one_group_moves_its_listeners_alone") {
        return;
    }
    let (one, two) = (Pair::new(), Pair::new());
    for (group, other) in [(unique_group(), unique_group()), (unique_v6_group(5), unique_v6_group(5))] {
        route(group, &one.b);
        route(other, &one.b);
        let followers = [(group, Interface::Default), (group, named(&one.b)), (other, Interface::Default)];
        let mut followers = followers.map(|(group, interface)| {
            let mut listener: Listener<64> = multicast::ListenOptions::new().bind(Bind::Later(group)).unwrap();
            let mut book = Memberships::<1>::new();
            book.join(Membership::any(group).on(interface), &mut listener).unwrap();
            (book, listener)
        });
        route(group, &two.b);
        route(other, &two.b);
        let change = Change::Route.for_group(group);
        assert_eq!(change, to(group, &two.b));
        assert_eq!(change.for_group(other), change, "it is asked about already");
        let moved = followers.each_mut().map(|(book, listener)| book.apply(&change, listener).unwrap());
        assert_eq!(moved.map(|moved| (moved.left, moved.joined)), [(1, 1), (0, 0), (0, 0)]);
        send_with(SendOptions::new().interface(named(&two.a)).loopback(false), group, ["moved"]);
        assert_eq!(expect_packet(&mut followers[0].1), b"moved");
        assert_quiet(&mut followers[1].1);
        // The interface is gone, and with it the route.
        run(&format!("ip link delete {}", two.a));
        if group.address().is_ipv4() {
            let change = Change::Route.for_group(group);
            assert_eq!(change, Change::RouteTo { group: group.address(), interface: None });
            let (book, listener) = &mut followers[0];
            let applied = book.apply(&change, listener).unwrap();
            assert_eq!((applied.left, applied.pending), (1, 1));
        }
        two.create();
    }
    // Nobody can tell: each asks, and gets the error.
    assert_eq!(Change::Route.for_group(unique_v6_group(2)), Change::Route);
    assert_eq!(Change::Overrun.for_group(unique_group()), Change::Overrun);
}

/// Notes what a change of routes means for its group, and then calls a function.
struct Follower {
    stream: UnixStream,
    group: Group,
    seen: Log<Change>,
    then: Rc<dyn Fn()>,
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Handler for Follower {
    fn interest(&self) -> Flags {
        Flags::NONE
    }

    fn follows(&self) -> bool {
        true
    }

    fn route_to(&self) -> Option<Group> {
        Some(self.group)
    }

    fn follow(&mut self, change: &Change) -> Result<()> {
        if matches!(change, Change::Route | Change::RouteTo { .. }) {
            self.seen.add(*change);
            (self.then)();
        }
        Ok(())
    }
}

fn follow(poller: &Poller, group: Group, then: impl Fn() + 'static) -> Log<Change> {
    let seen = Log::new();
    let follower = Follower { stream: pipe().0, group, seen: seen.clone(), then: Rc::new(then) };
    poller.register(follower, Flags::NONE).unwrap();
    seen
}

fn poll(poller: &Poller) {
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
}

#[test]
fn one_question_serves_all_handlers_of_a_group_and_a_later_change_is_asked_about_again() {
    if !is_alone("one_question_serves_all_handlers_of_a_group_and_a_later_change_is_asked_about_again") {
        return;
    }
    let (one, two, poller) = (Pair::new(), Pair::new(), Poller::new().unwrap());
    let (group, other) = (unique_group(), unique_group());
    let second = two.b.clone();
    let first = follow(&poller, group, move || route(group, &second));
    let (later, elsewhere) = (follow(&poller, group, || {}), follow(&poller, other, || {}));
    poll(&poller);
    for log in [&first, &later, &elsewhere] {
        log.take();
    }
    route(other, &one.b);
    route(group, &one.b);
    poll(&poller);
    // The route has moved before the second one followed: it got the answer to the same question.
    assert_eq!((first.take(), later.take()), (vec![to(group, &one.b)], vec![to(group, &one.b)]));
    assert_eq!(elsewhere.take(), [to(other, &one.b)]);
    poll(&poller);
    assert_eq!((first.take(), later.take()), (vec![to(group, &two.b)], vec![to(group, &two.b)]));
}

#[test]
fn a_handler_that_polls_while_it_follows_does_not_make_others_follow_an_older_answer() {
    if !is_alone("a_handler_that_polls_while_it_follows_does_not_make_others_follow_an_older_answer") {
        return;
    }
    let (one, two, poller) = (Pair::new(), Pair::new(), Poller::new().unwrap());
    let group = unique_group();
    let (nested, second, is_first) = (poller.clone(), two.b.clone(), std::cell::Cell::new(false));
    let is_first = Rc::new(is_first);
    let armed = Rc::clone(&is_first);
    let _first = follow(&poller, group, move || {
        if armed.take() {
            route(group, &second);
            poll(&nested);
        }
    });
    let later = follow(&poller, group, || {});
    poll(&poller);
    later.take();
    is_first.set(true);
    route(group, &one.b);
    poll(&poller);
    assert_eq!(later.take(), [to(group, &two.b); 2]);
}

#[test]
fn listeners_on_the_default_interface_follow_the_route_to_their_own_group() {
    if !is_alone("listeners_on_the_default_interface_follow_the_route_to_their_own_group") {
        return;
    }
    let (one, two, poller) = (Pair::new(), Pair::new(), Poller::new().unwrap());
    for (group, other) in [(unique_group(), unique_group()), (unique_v6_group(5), unique_v6_group(5))] {
        route(group, &one.b);
        route(other, &one.b);
        let log = Log::new();
        let _listeners = [group, group, group, other].map(|group| {
            let options = ListenOptions::new().group(group).poller(&poller);
            MulticastListener::new(crate::compat_help::noting(&log), options).unwrap()
        });
        poll(&poller);
        assert_eq!([members(&one.b, group), members(&one.b, other)], [3, 1]);
        for interface in [&two.b, &one.b, &two.b] {
            route(group, interface);
            poll(&poller);
            assert_eq!([members(interface, group), members(&one.b, other)], [3, 1], "{group}");
        }
        assert_eq!(members(&one.b, group), 0);
        send_with(SendOptions::new().interface(named(&two.a)).loopback(false), group, ["x"]);
        while log.len() < 3 {
            poller.poll(crate::common::PATIENCE).unwrap();
        }
    }
}
