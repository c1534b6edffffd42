//! `Links::follow` applies changes to all followers. In a private network: see `make test`.

use crate::common;
use crate::common::link::{Pair, named, run};
use crate::common::{assert_quiet, expect_packet, unique_group, unique_v6_group};
use multicast::{
    Bind, ErrorKind, Family, Group, Interest, Links, ListenOptions, Listener, Membership, Memberships, Poller, SendOptions,
    Token,
};

fn later(group: Group) -> Listener<64> {
    ListenOptions::new().bind(Bind::Later(group)).unwrap()
}

fn send(from: &str, group: Group, text: &str) {
    common::send_with(SendOptions::new().interface(named(from)), group, [text]);
}

#[test]
fn one_call_keeps_listeners_of_several_kinds_joined() {
    let (pair, group, other) = (Pair::planned(), unique_group(), unique_v6_group(2));
    let mut links = Links::watch().unwrap();
    let (mut first, mut buffer) = (later(group), [0; 64]);
    let mut second = ListenOptions::new().bind_receiver(Bind::Port(other.port(), Family::V6), buffer.len()).unwrap();
    let (mut book, mut another) = (Memberships::<1>::new(), Memberships::<2>::new());
    book.join(Membership::any(group).on(named(&pair.b)), &mut first).unwrap();
    another.join(Membership::any(other).on(named(&pair.b)), &mut second).unwrap();
    let before = links.follow(&mut (book.with(&mut first), another.with(&mut second))).unwrap();
    assert_eq!((before.applied.joined, before.applied.pending, before.more, &before.failed), (0, 2, false, &None));

    pair.create();
    let mut joined = 0;
    let after = loop {
        let followed = links.follow(&mut (book.with(&mut first), another.with(&mut second))).unwrap();
        assert_eq!(followed.failed, None);
        joined += followed.applied.joined;
        if !followed.more {
            break followed;
        }
    };
    assert_eq!((joined, after.applied.pending), (2, 0));
    send(&pair.a, group, "to the first");
    assert_eq!(expect_packet(&mut first), b"to the first");
    send(&pair.a, other, "to the second");
    let packet = loop {
        if let multicast::Received::Packet(packet) = second.recv_into(&mut buffer).unwrap() {
            break packet.payload().to_vec();
        }
    };
    assert_eq!(packet, b"to the second");
}

#[test]
fn slices_and_arrays_can_follow() {
    let (pair, groups) = (Pair::new(), [unique_group(), unique_group()]);
    let mut links = Links::watch().unwrap();
    let mut listeners = groups.map(later);
    let mut books = [const { Memberships::<1>::new() }; 2];
    for ((book, listener), group) in books.iter_mut().zip(&mut listeners).zip(groups) {
        book.join(Membership::any(group).on(named(&pair.b)), listener).unwrap();
    }
    pair.replace();
    let mut members: Vec<_> = books.iter_mut().zip(&mut listeners).map(|(book, listener)| book.with(listener)).collect();
    let (mut joined, mut left) = (0, 0);
    loop {
        let followed = links.follow(&mut members[..]).unwrap();
        (joined, left) = (joined + followed.applied.joined, left + followed.applied.left);
        if !followed.more {
            break;
        }
    }
    assert_eq!((joined, left), (2, 2));
    drop(members);
    let [one, two] = &mut books;
    let [first, second] = &mut listeners;
    assert_eq!(links.follow(&mut [one.with(first)]).unwrap().applied.pending, 0);
    assert_eq!(links.follow(&mut [two.with(second)]).unwrap().applied.pending, 0);
    for (listener, group) in listeners.iter_mut().zip(groups) {
        send(&pair.a, group, "still here");
        assert_eq!(expect_packet(listener), b"still here");
        assert_quiet(listener);
    }
}

/// An IPv4 socket has at most 20 memberships, and the first listener has used them up. Its error does not keep the second one
/// from joining.
#[test]
fn an_error_of_one_follower_does_not_stop_the_others() {
    let (pair, group, other) = (Pair::planned(), unique_group(), unique_group());
    let mut links = Links::watch().unwrap();
    let mut full = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
    for number in 1..=20 {
        let one = Group::new([239, 254, 2, number], group.port()).unwrap();
        full.join(&Membership::any(one).on(multicast::Interface::LOOPBACK)).unwrap();
    }
    let mut second = later(other);
    let (mut book, mut another) = (Memberships::<1>::new(), Memberships::<1>::new());
    book.join(Membership::any(group).on(named(&pair.b)), &mut full).unwrap();
    another.join(Membership::any(other).on(named(&pair.b)), &mut second).unwrap();
    pair.create();
    let (mut kinds, mut joined) = (Vec::new(), 0);
    loop {
        let followed = links.follow(&mut (book.with(&mut full), another.with(&mut second))).unwrap();
        kinds.extend(followed.failed.map(|error| error.kind()));
        joined += followed.applied.joined;
        if !followed.more {
            break;
        }
    }
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == ErrorKind::LimitReached), "{kinds:?}");
    assert_eq!(joined, 1);
    send(&pair.a, other, "heard");
    assert_eq!(expect_packet(&mut second), b"heard");
}

#[test]
fn follow_ends_after_64_reads_and_returns_more() {
    let pair = Pair::new();
    let mut links = Links::watch().unwrap();
    let (group, poller) = (unique_group(), Poller::new().unwrap());
    let (mut listener, mut book) = (later(group), Memberships::<1>::new());
    book.join(Membership::any(group).on(named(&pair.b)), &mut listener).unwrap();
    while links.follow(&mut book.with(&mut listener)).unwrap().more {}
    poller.register(&links, Token(0), Interest::READABLE.edge()).unwrap();
    // 100 changes, each of which needs one read.
    let batch: String = (0..100).map(|number| format!("addr add 10.99.{number}.1/32 dev {}\n", pair.b)).collect();
    let file = std::env::temp_dir().join(format!("multicast-follow-{}", std::process::id()));
    std::fs::write(&file, batch).unwrap();
    run(&format!("ip -batch {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    let first = links.follow(&mut book.with(&mut listener)).unwrap();
    assert!(first.more);
    // No new edge comes for queued changes: only `more` reports them.
    while links.follow(&mut book.with(&mut listener)).unwrap().more {}
    assert_eq!(links.next().unwrap(), None);
    send(&pair.a, group, "still here");
    assert_eq!(expect_packet(&mut listener), b"still here");
}
