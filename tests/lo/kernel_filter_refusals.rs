//! Filters if the kernel accepts no program, or does not change it: they run in this process, and no packet is lost.

use std::net::UdpSocket;
use std::process::Command;

use crate::common::refusing::refusing;
use crate::common::{assert_quiet, expect_packet, on_lo, send_all, unique_group};
use multicast::filter::kernel::{Instruction, MAX_INSTRUCTIONS};
use multicast::filter::{Or, Prefix, Suffix};
use multicast::{AsFd, Bind, ErrorKind, Family, ListenOptions, Listener};

#[test]
fn no_packet_is_lost_if_the_kernel_accepts_no_program() {
    // EPERM is the error of a security policy, ENOMEM that of net.core.optmem_max.
    let sets = ["setsockopt:1:1=1:2=26", "setsockopt:12:1=1:2=26"];
    if refusing("no_packet_is_lost_if_the_kernel_accepts_no_program", &sets).is_some() {
        for is_bound in [true, false] {
            let group = unique_group();
            let options = ListenOptions::new().filter(Or(Prefix("yes"), Suffix("yes")));
            let mut listener = if is_bound {
                options.bind::<16>(on_lo(group)).unwrap()
            } else {
                let mut opened = options.bind(Bind::Port(group.port(), Family::V4)).unwrap();
                opened.join(&on_lo(group)).unwrap();
                let unicast = UdpSocket::bind("127.0.0.1:0").unwrap();
                unicast.send_to(b"yes", ("127.0.0.1", group.port())).unwrap();
                opened
            };
            send_all(group, ["yes, take it", "no", "oh yes"]);
            assert_eq!(expect_packet(&mut listener), b"yes, take it");
            assert_eq!(expect_packet(&mut listener), b"oh yes");
            assert_quiet(&mut listener);
            let counters = listener.counters();
            assert_eq!((counters.rejected, counters.foreign), (1, u64::from(!is_bound)));
            assert!(!counters.kernel_refuses && counters.dropped == Some(0));
            let mut listener = listener.with_filter(Prefix("no")).unwrap();
            send_all(group, ["yes", "no"]);
            assert_eq!(expect_packet(&mut listener), b"no");
            assert_eq!(listener.counters().rejected, 2);
        }
    }
}

#[test]
fn with_kernel_filter_false_a_replaced_filter_runs_in_this_process() {
    let group = unique_group();
    let mut listener = ListenOptions::new().kernel_filter(false).filter(Prefix("one")).bind::<16>(on_lo(group)).unwrap();
    assert_eq!(listener.replace_filter(Prefix("two")).unwrap(), Prefix("one"));
    assert_eq!(listener.kernel_program(&mut [Instruction::ZERO; 64]).unwrap().0, []);
    send_all(group, ["one", "two"]);
    assert_eq!(expect_packet(&mut listener), b"two");
    let counters = listener.counters();
    assert_eq!((counters.rejected, counters.kernel_refuses), (1, false));
}

#[test]
fn a_filter_that_leaves_no_room_for_the_guard_loses_no_packet_and_admits_no_other() {
    // The filter uses the maximum number of instructions, so there is no room for the guard. Whether the kernel accepts the
    // filter alone depends on net.core.optmem_max.
    let long = vec![b'x'; 9000];
    let group = unique_group();
    let options = ListenOptions::new().max_instructions(MAX_INSTRUCTIONS).filter(Prefix(vec![b'x']));
    let mut listener = options.bind::<9000>(Bind::Port(group.port(), Family::V4)).unwrap();
    listener.join(&on_lo(group)).unwrap();
    let mut room = vec![Instruction::ZERO; MAX_INSTRUCTIONS];
    assert!(listener.kernel_program(&mut room).unwrap().to_string().contains("ifidx"), "there is a guard");
    listener.replace_filter(Prefix(long.clone())).unwrap();
    assert!(!listener.kernel_program(&mut room).unwrap().to_string().contains("ifidx"), "there is no guard");
    let unicast = UdpSocket::bind("127.0.0.1:0").unwrap();
    unicast.send_to(&long, ("127.0.0.1", group.port())).unwrap();
    send_all(group, [&long[..8999], &long[..]]);
    assert_eq!(expect_packet(&mut listener), long);
    assert_quiet(&mut listener);
    assert_eq!(listener.counters().foreign, 1);
    // With a short filter there is room for a guard again. The listener still checks packets itself.
    listener.replace_filter(Prefix(vec![b'y'])).unwrap();
    unicast.send_to(b"y", ("127.0.0.1", group.port())).unwrap();
    send_all(group, ["x", "y"]);
    assert_eq!(expect_packet(&mut listener), b"y");
    assert_quiet(&mut listener);
    assert_eq!(listener.counters().foreign, 2);
}

/// Locks the program of the socket that is its standard input (`SO_LOCK_FILTER`), so that it cannot be removed.
const LOCK: &str = "import socket; socket.socket(fileno=0).setsockopt(socket.SOL_SOCKET, 44, 1)";

#[test]
fn a_locked_program_stays_and_so_does_its_filter() {
    for is_bound in [true, false] {
        let group = unique_group();
        let options = ListenOptions::new().filter(Prefix("one"));
        let mut listener = if is_bound {
            options.bind::<16>(on_lo(group)).unwrap()
        } else {
            let mut opened = options.bind(Bind::Port(group.port(), Family::V4)).unwrap();
            opened.join(&on_lo(group)).unwrap();
            opened
        };
        lock_program(&listener);
        let error = listener.replace_filter(Prefix("two")).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Denied, Some(1)), "{error}");
        assert!(error.to_string().starts_with("set SO_DETACH_FILTER: not permitted"), "{error}");
        assert_eq!(*listener.filter(), Prefix("one"));
        send_all(group, ["two", "one"]);
        assert_eq!(expect_packet(&mut listener), b"one");
    }
}

fn lock_program<const MTU: usize, F>(listener: &Listener<MTU, F>) {
    let handle = listener.as_fd().try_clone_to_owned().unwrap();
    let status = Command::new("python3").args(["-c", LOCK]).stdin(handle).status();
    assert!(status.expect("python3 is needed for this test: install it").success());
}

/// The same after a group was left: the guard still passes that one, and no other.
#[test]
fn after_leaving_behind_a_locked_guard_the_listener_checks_and_joins_only_what_the_guard_passes() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<16>(Bind::Port(group.port(), Family::V4)).unwrap();
    let other = multicast::Group::new(unique_group().address(), group.port()).unwrap();
    listener.join(&on_lo(group)).unwrap();
    lock_program(&listener);
    listener.leave(&on_lo(group)).unwrap();
    let error = listener.join(&on_lo(other)).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Denied, Some(1)), "{error}");
    let mut another = ListenOptions::new().bind::<16>(on_lo(group)).unwrap();
    send_all(group, ["left"]);
    assert_eq!(expect_packet(&mut another), b"left");
    assert_quiet(&mut listener);
    listener.join(&on_lo(group)).unwrap();
    send_all(group, ["joined again"]);
    assert_eq!(expect_packet(&mut listener), b"joined again");
}

/// A guard that cannot be taken off would refuse what is joined now.
#[test]
fn a_join_behind_a_guard_that_somebody_locked_is_an_error() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<16>(Bind::Port(group.port(), Family::V4)).unwrap();
    let other = multicast::Group::new(unique_group().address(), group.port()).unwrap();
    listener.join(&on_lo(group)).unwrap();
    lock_program(&listener);
    let error = listener.join(&on_lo(other)).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Denied, Some(1)), "{error}");
    // What was joined before is still heard, and joining it again is no error.
    listener.join(&on_lo(group)).unwrap();
    send_all(other, ["other"]);
    send_all(group, ["one"]);
    assert_eq!(expect_packet(&mut listener), b"one");
    assert_quiet(&mut listener);
}

#[test]
fn a_filter_is_lent_for_changes_only_if_the_kernel_has_removed_its_program() {
    // SO_DETACH_FILTER, as after SO_LOCK_FILTER.
    if refusing("a_filter_is_lent_for_changes_only_if_the_kernel_has_removed_its_program", &["setsockopt:1:1=1:2=27"])
        .is_some()
    {
        let group = unique_group();
        let mut listener = ListenOptions::new().filter(Prefix("yes")).bind::<16>(on_lo(group)).unwrap();
        let error = listener.filter_mut().unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Denied, Some(1)));
        // Nothing has changed.
        send_all(group, ["no", "yes"]);
        assert_eq!(expect_packet(&mut listener), b"yes");
        assert!(listener.counters().kernel_refuses);
    }
}
