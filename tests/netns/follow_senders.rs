//! Senders follow their interface: `Links::follow`. In a private network: see `make test`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::common;
use crate::common::link::{Pair, index_of, is_alone, named, run};
use crate::common::{assert_quiet, expect_packet, unique_group, unique_v6_group};
use multicast::{
    Bind, Destination, Error, ErrorKind, Events, Family, Follow, Followed, Group, Interest, Interface, Links, ListenOptions,
    Listener, Membership, Memberships, Outbox, Outcome, Poller, Progress, Received, SendOptions, Sender, Token,
};

/// A listener that hears the group on this interface only.
fn hears(group: Group, on: &str) -> Listener<64> {
    ListenOptions::new().bind(Membership::any(group).on(named(on))).unwrap()
}

/// Follows all changes that are queued. Returns the sum of what was set again, and the last answer.
fn catch_up<T: Follow + ?Sized>(links: &mut Links, followers: &mut T) -> (usize, Followed) {
    let mut renewed = 0;
    loop {
        let followed = links.follow(followers).unwrap();
        assert_eq!(followed.failed, None);
        renewed += followed.renewed;
        if !followed.more {
            return (renewed, followed);
        }
    }
}

/// Follows until nothing waits any more, as a program does: whenever `links` is readable.
fn follow_until<T: Follow + ?Sized>(links: &mut Links, followers: &mut T, pending: usize) -> usize {
    let poller = Poller::new().unwrap();
    poller.register(&*links, Token(0), Interest::READABLE).unwrap();
    let (mut events, end, mut renewed) = (Events::<1>::new(), Instant::now() + common::PATIENCE, 0);
    loop {
        let (more, followed) = catch_up(links, followers);
        renewed += more;
        if followed.applied.pending == pending {
            return renewed;
        }
        assert!(Instant::now() < end, "{followed:?}");
        poller.poll(&mut events, Duration::from_millis(100)).unwrap();
    }
}

/// The next packet, which must arrive: what it says, and its source address.
fn heard(listener: &mut Listener<64>) -> (String, IpAddr) {
    let end = Instant::now() + common::PATIENCE;
    loop {
        if let Received::Packet(packet) = listener.recv().unwrap() {
            return (String::from_utf8(packet.payload().to_vec()).unwrap(), packet.source().ip());
        }
        assert!(Instant::now() < end, "no packet");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn from(text: &str, address: impl Into<IpAddr>) -> (String, IpAddr) {
    (text.to_owned(), address.into())
}

fn is_sent(outcome: multicast::Result<Outcome>) -> bool {
    outcome.unwrap() == Outcome::Sent
}

/// The kernel reports a deleted interface in one way or the other, depending on the family.
fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::NoSuchInterface)
}

/// How many packets have left on this interface, of whatever protocol.
fn packets_sent(interface: &str) -> u64 {
    let list = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = list.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':')).unwrap();
    line.split_whitespace().nth(9).unwrap().parse().unwrap()
}

fn no_ipv6_on(interface: &str) {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1").unwrap();
}

#[test]
fn senders_are_set_anew_when_their_link_is_created_again() {
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let pair = Pair::new();
        let mut links = Links::watch().unwrap();
        let options = SendOptions::new().interface(named(&pair.a));
        let mut sender = options.open(group.family()).unwrap();
        let mut caster = options.packets(group, ["one", "two"]).unwrap();
        let (mut book, mut listener) =
            (Memberships::<1>::new(), ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap());
        book.join(Membership::any(group).on(named(&pair.b)), &mut listener).unwrap();
        let (port, other) = (caster.local_addr().unwrap(), sender.local_addr().unwrap());
        // Nothing has changed yet.
        let (renewed, _) = catch_up(&mut links, &mut (book.with(&mut listener), &mut sender, &mut caster));
        assert_eq!(renewed, 0);
        common::step_one(&mut caster);
        assert_eq!(expect_packet(&mut listener), b"one");

        pair.replace();
        for _ in 0..2 {
            assert!(is_gone(&caster.step().unwrap_err()));
            assert!(is_gone(&sender.send(b"lost", group).unwrap_err()));
        }
        let (renewed, followed) = catch_up(&mut links, &mut (book.with(&mut listener), &mut sender, &mut caster));
        assert_eq!((renewed, followed.applied.pending, followed.applied.left), (2, 0, 1));
        // The item stayed, and it is the same socket.
        assert_eq!(caster.pending(), Some(&"two"));
        assert_eq!((caster.local_addr().unwrap(), sender.local_addr().unwrap()), (port, other));
        common::step_one(&mut caster);
        assert!(is_sent(sender.send(b"three", group)));
        let own: IpAddr = if group.address().is_ipv4() { pair.addresses[0].into() } else { pair.v6_addresses()[0].into() };
        assert_eq!(heard(&mut listener), from("two", own), "{group}");
        assert_eq!(heard(&mut listener), from("three", own), "{group}");
        assert_eq!(caster.step().unwrap(), Progress::Done);
        assert_quiet(&mut listener);
    }
}

#[test]
fn a_sender_that_was_opened_later_waits_for_link_and_address() {
    let (pair, group) = (Pair::planned(), unique_group());
    let mut links = Links::watch().unwrap();
    let options = SendOptions::new().interface(named(&pair.a)).later();
    let mut sender = options.open(Family::V4).unwrap();
    let mut caster = options.batches::<4, _>(group, ["1", "2", "3", "4"]).unwrap();
    let (renewed, followed) = catch_up(&mut links, &mut (&mut sender, &mut caster));
    assert_eq!((renewed, followed.applied.pending), (0, 2));
    assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::NoSuchInterface);
    assert_eq!(sender.send(b"x", group).unwrap_err().kind(), ErrorKind::NoSuchInterface);

    pair.create_bare();
    let (renewed, followed) = catch_up(&mut links, &mut (&mut sender, &mut caster));
    assert_eq!((renewed, followed.applied.pending), (0, 2));
    assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::NoAddress);
    assert_eq!(sender.send(b"x", group).unwrap_err().kind(), ErrorKind::NoAddress);

    pair.give_addresses();
    let mut listener = hears(group, &pair.b);
    let (renewed, followed) = catch_up(&mut links, &mut (&mut sender, &mut caster));
    assert_eq!((renewed, followed.applied.pending), (2, 0));
    while caster.step().unwrap() != Progress::Done {}
    assert!(is_sent(sender.send(b"5", group)));
    for text in ["1", "2", "3", "4", "5"] {
        assert_eq!(heard(&mut listener), from(text, pair.addresses[0]));
    }
    assert_quiet(&mut listener);
}

#[test]
fn a_changed_address_is_the_new_source() {
    let (pair, group) = (Pair::new(), unique_group());
    let mut links = Links::watch().unwrap();
    let mut listener = hears(group, &pair.b);
    let index = Interface::Index(index_of(&pair.a));
    let mut senders =
        [named(&pair.a), index].map(|interface| SendOptions::new().interface(interface).open(Family::V4).unwrap());
    let mut named_by_old =
        SendOptions::new().interface(Interface::Address(pair.addresses[0].into())).open(Family::V4).unwrap();
    assert_eq!(catch_up(&mut links, &mut (&mut senders[..], &mut named_by_old)).0, 0);

    let [a, b, c, _] = pair.addresses[0].octets();
    let new = Ipv4Addr::new(a, b, c, 77);
    run(&format!("ip addr del {}/24 dev {}", pair.addresses[0], pair.a));
    run(&format!("ip addr add {new}/24 dev {}", pair.a));
    let (renewed, followed) = catch_up(&mut links, &mut (&mut senders[..], &mut named_by_old));
    assert_eq!((renewed, followed.applied.pending), (2, 1));
    for sender in &mut senders {
        assert!(is_sent(sender.send(b"new", group)));
        assert_eq!(heard(&mut listener), from("new", new));
    }
    // The one that is named by the old address waits for it.
    assert_eq!(named_by_old.send(b"old", group).unwrap_err().kind(), ErrorKind::NoSuchInterface);
    run(&format!("ip addr add {}/24 dev {}", pair.addresses[0], pair.a));
    let (renewed, followed) = catch_up(&mut links, &mut (&mut senders[..], &mut named_by_old));
    assert_eq!(followed.applied.pending, 0);
    assert!(renewed >= 1);
    assert!(is_sent(named_by_old.send(b"old", group)));
    assert_eq!(heard(&mut listener), from("old", pair.addresses[0]));
    assert_quiet(&mut listener);
}

#[test]
fn a_sender_that_is_named_by_address_follows_it_to_another_interface() {
    let (one, two, group) = (Pair::new(), Pair::new(), unique_group());
    let address = Ipv4Addr::new(10, 250, one.addresses[0].octets()[2], 9);
    let mut links = Links::watch().unwrap();
    let (mut first, mut second) = (hears(group, &one.b), hears(group, &two.b));
    run(&format!("ip addr add {address}/32 dev {}", one.a));
    let options = SendOptions::new().interface(Interface::Address(address.into()));
    let mut caster = options.packets(group, Outbox::<&str, 4>::new()).unwrap();
    assert_eq!(catch_up(&mut links, &mut caster).0, 0);
    for round in 0..2 {
        let (listener, other) = if round == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
        caster.items_mut().push("here").unwrap();
        common::step_one(&mut caster);
        assert_eq!(heard(listener), from("here", address));
        assert_quiet(other);
        if round == 0 {
            run(&format!("ip addr del {address}/32 dev {}", one.a));
            run(&format!("ip addr add {address}/32 dev {}", two.a));
            assert_eq!(catch_up(&mut links, &mut caster).0, 1);
        }
    }
}

#[test]
fn a_multicaster_on_the_default_interface_follows_the_route() {
    const TEST: &str = "a_multicaster_on_the_default_interface_follows_the_route";
    if !is_alone(TEST) {
        return;
    }
    let (one, two) = (Pair::new(), Pair::new());
    for group in [unique_group(), unique_v6_group(5)] {
        let (tool, net) = match group.family() {
            Family::V4 => ("ip", format!("{}/32", group.address())),
            Family::V6 => ("ip -6", format!("multicast {}/128", group.address())),
        };
        let table = if group.address().is_ipv6() { "table local metric 1 " } else { "" };
        let route = |verb: &str, dev: &str| run(format!("{tool} route {verb} {net} dev {dev} {table}").trim_end());
        route("add", &one.a);
        let mut links = Links::watch().unwrap();
        let (mut first, mut second) = (hears(group, &one.b), hears(group, &two.b));
        let mut caster = SendOptions::new().packets(group, ["1", "2", "3"]).unwrap();
        let mut plain = SendOptions::new().open(group.family()).unwrap();
        assert_eq!(catch_up(&mut links, &mut [&mut caster]).0, 0);
        common::step_one(&mut caster);
        assert_eq!(heard(&mut first).0, "1");

        route("del", &one.a);
        route("add", &two.a);
        let (renewed, followed) = catch_up(&mut links, &mut (&mut caster, &mut plain));
        assert_eq!((renewed, followed.applied.pending), (1, 0), "{group}");
        common::step_one(&mut caster);
        assert_eq!(heard(&mut second).0, "2");
        assert!(is_sent(plain.send(b"plain", group)));
        assert_eq!(heard(&mut second).0, "plain");
        assert_quiet(&mut first);
        route("del", &two.a);
    }
}

#[test]
fn without_a_route_a_multicaster_on_the_default_interface_waits() {
    const TEST: &str = "without_a_route_a_multicaster_on_the_default_interface_waits";
    if !is_alone(TEST) {
        return;
    }
    let (pair, group) = (Pair::new(), unique_group());
    // When the link goes down, the kernel reports the end of its IPv6 routes, and not that of its IPv4 routes.
    [&pair.a, &pair.b].into_iter().for_each(|end| no_ipv6_on(end));
    let mut links = Links::watch().unwrap();
    let mut caster = SendOptions::new().later().packets(group, ["1"]).unwrap();
    assert_eq!(catch_up(&mut links, &mut caster).1.applied.pending, 1);
    assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::Unreachable);
    run(&format!("ip route add {}/32 dev {}", group.address(), pair.a));
    let (renewed, followed) = catch_up(&mut links, &mut caster);
    assert_eq!((renewed, followed.applied.pending), (1, 0));
    let mut listener = hears(group, &pair.b);
    common::step_one(&mut caster);
    assert_eq!(heard(&mut listener), from("1", pair.addresses[0]));
    // Gone again.
    run(&format!("ip link set {} down", pair.a));
    assert_eq!(catch_up(&mut links, &mut caster).1.applied.pending, 1);
}

/// The whole life of an interface next to another one, which has all that is needed to send. Every packet is sent in every state.
#[test]
fn nothing_ever_leaves_on_another_interface() {
    const TEST: &str = "nothing_ever_leaves_on_another_interface";
    if !is_alone(TEST) {
        return;
    }
    let (pair, other) = (Pair::planned(), Pair::new());
    no_ipv6_on(&other.a);
    run(&format!("ip route add default dev {}", other.a));
    let group = unique_group();
    let mut links = Links::watch().unwrap();
    let mut elsewhere = hears(group, &other.b);
    let options = SendOptions::new().interface(named(&pair.a)).later();
    let (mut sender, mut caster) =
        (options.open(Family::V4).unwrap(), options.packets(group, Outbox::<&str, 8>::new()).unwrap());
    caster.items_mut().push("item").unwrap();
    let before = packets_sent(&other.a);
    let from_other = Destination::from(group).from_address(other.addresses[0].into());
    let mut sent = 0;
    let mut send_all = |sender: &mut Sender, caster: &mut multicast::Multicaster<Outbox<&'static str, 8>>| {
        sent += u32::from(matches!(sender.send(b"plain", group), Ok(Outcome::Sent)));
        if caster.step().is_ok_and(|progress| progress == Progress::Sent(1)) {
            sent += 1;
            caster.items_mut().push("item").unwrap();
        }
        let waits = sender.send(b"source only", from_other).is_err();
        (std::mem::take(&mut sent), waits)
    };
    assert_eq!(send_all(&mut sender, &mut caster), (0, true));
    for _ in 0..2 {
        pair.create_bare();
        assert_eq!(send_all(&mut sender, &mut caster), (0, true));
        assert_eq!(follow_until(&mut links, &mut (&mut sender, &mut caster), 2), 0);
        assert_eq!(send_all(&mut sender, &mut caster), (0, true));
        pair.give_addresses();
        assert_eq!(follow_until(&mut links, &mut (&mut sender, &mut caster), 0), 2);
        let mut listener = hears(group, &pair.b);
        assert_eq!(send_all(&mut sender, &mut caster), (2, false));
        assert_eq!(heard(&mut listener), from("plain", pair.addresses[0]));
        assert_eq!(heard(&mut listener), from("item", pair.addresses[0]));
        // The source that was asked for, but not its interface.
        assert_eq!(heard(&mut listener), from("source only", other.addresses[0]));
        run(&format!("ip addr flush dev {}", pair.a));
        follow_until(&mut links, &mut (&mut sender, &mut caster), 2);
        assert_eq!(send_all(&mut sender, &mut caster), (0, true));
        run(&format!("ip addr add {}/24 dev {}", pair.addresses[0], pair.a));
        follow_until(&mut links, &mut (&mut sender, &mut caster), 0);
        assert_eq!(send_all(&mut sender, &mut caster).0, 2);
        run(&format!("ip link set {} down", pair.a));
        assert_eq!(send_all(&mut sender, &mut caster).0, 0);
        follow_until(&mut links, &mut (&mut sender, &mut caster), 2);
        assert_eq!(send_all(&mut sender, &mut caster), (0, true));
        pair.delete();
        assert_eq!(send_all(&mut sender, &mut caster), (0, true));
        assert_eq!(catch_up(&mut links, &mut (&mut sender, &mut caster)).0, 0);
        assert_eq!(send_all(&mut sender, &mut caster), (0, true));
    }
    // Another destination, which names its way, is not held back.
    assert_eq!(packets_sent(&other.a), before);
    assert!(is_sent(sender.send(b"named", Destination::from(group).on(named(&other.a)).unwrap())));
    assert_eq!(heard(&mut elsewhere), from("named", other.addresses[0]));
    assert_quiet(&mut elsewhere);
    assert_eq!(packets_sent(&other.a), before + 1);
}

#[test]
fn a_link_that_was_switched_off_is_used_again() {
    let (pair, group) = (Pair::new(), unique_group());
    let mut links = Links::watch().unwrap();
    let mut listener = hears(group, &pair.b);
    let mut caster = SendOptions::new().interface(named(&pair.a)).packets(group, ["1"]).unwrap();
    run(&format!("ip link set {} down", pair.a));
    assert_eq!(catch_up(&mut links, &mut caster), {
        let mut waits = Followed::default();
        waits.applied.pending = 1;
        (0, waits)
    });
    assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::Unreachable);
    run(&format!("ip link set {} up", pair.a));
    pair.wait_until_up();
    assert_eq!(follow_until(&mut links, &mut caster, 0), 1);
    common::step_one(&mut caster);
    assert_eq!(heard(&mut listener), from("1", pair.addresses[0]));
}

/// A renamed interface is another one for those who named it.
#[test]
fn a_sender_follows_the_name_and_not_the_link() {
    let (one, two, group) = (Pair::new(), Pair::new(), unique_group());
    let mut links = Links::watch().unwrap();
    let (mut first, mut second) = (hears(group, &one.b), hears(group, &two.b));
    let mut sender = SendOptions::new().interface(named(&one.a)).open(Family::V4).unwrap();
    assert_eq!(catch_up(&mut links, &mut sender).0, 0);
    let spare = format!("{}s", one.a);
    for (link, name) in [(&one.a, &spare), (&two.a, &one.a)] {
        run(&format!("ip link set {link} down"));
        run(&format!("ip link set {link} name {name}"));
        run(&format!("ip link set {name} up"));
        if name == &spare {
            assert_eq!(catch_up(&mut links, &mut sender).1.applied.pending, 1);
            assert_eq!(sender.send(b"nobody", group).unwrap_err().kind(), ErrorKind::NoSuchInterface);
        }
    }
    assert_eq!(follow_until(&mut links, &mut sender, 0), 1);
    common::wait_until("the link is up", || run(&format!("ip -o link show dev {}", one.a)).contains("state UP"));
    assert!(is_sent(sender.send(b"here", group)));
    assert_eq!(heard(&mut second), from("here", two.addresses[0]));
    assert_quiet(&mut first);
    run(&format!("ip link delete {spare}"));
}

/// The question of where to send cannot be asked: that is no answer, so the sender keeps what it has.
#[test]
fn when_no_descriptor_is_left_the_sender_stays_as_it_was() {
    const TEST: &str = "when_no_descriptor_is_left_the_sender_stays_as_it_was";
    if !is_alone(TEST) {
        return;
    }
    let (pair, group) = (Pair::new(), unique_group());
    let mut links = Links::watch().unwrap();
    let mut listener = hears(group, &pair.b);
    let mut sender = SendOptions::new().interface(named(&pair.a)).open(Family::V4).unwrap();
    assert_eq!(catch_up(&mut links, &mut sender).0, 0);
    let [a, b, c, _] = pair.addresses[0].octets();
    let new = Ipv4Addr::new(a, b, c, 77);
    run(&format!("ip addr add {new}/24 dev {}", pair.a));
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    let followed = links.follow(&mut sender).unwrap();
    drop(files);
    assert_eq!(followed.failed.map(|error| error.kind()), Some(ErrorKind::LimitReached));
    assert_eq!((followed.renewed, followed.applied.pending), (0, 1));
    assert!(is_sent(sender.send(b"as before", group)));
    assert_eq!(heard(&mut listener), from("as before", pair.addresses[0]));
    // The next change is followed. The kernel deletes the second address together with the first.
    run(&format!("ip addr del {}/24 dev {}", pair.addresses[0], pair.a));
    run(&format!("ip addr add {new}/24 dev {}", pair.a));
    assert_eq!(follow_until(&mut links, &mut sender, 0), 1);
    assert!(is_sent(sender.send(b"new", group)));
    assert_eq!(heard(&mut listener), from("new", new));
}

/// The link was created again at that moment, and nothing changes afterwards.
#[test]
fn followers_that_failed_for_want_of_a_descriptor_are_tried_again_without_a_change() {
    if !is_alone("followers_that_failed_for_want_of_a_descriptor_are_tried_again_without_a_change") {
        return;
    }
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let pair = Pair::new();
        let mut links = Links::watch().unwrap();
        let options = SendOptions::new().interface(named(&pair.a));
        let mut sender = options.open(group.family()).unwrap();
        let mut caster = options.packets(group, ["caster"]).unwrap();
        let (mut book, mut listener) =
            (Memberships::<1>::new(), ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap());
        book.join(Membership::any(group).on(named(&pair.b)), &mut listener).unwrap();
        let _ = catch_up(&mut links, &mut (book.with(&mut listener), &mut sender, &mut caster));
        pair.replace();
        let mut files = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            files.push(file);
        }
        // The second call has no change to read. It tries again, and says so.
        let failed = [(); 2].map(|()| {
            let followed = links.follow(&mut (book.with(&mut listener), &mut sender, &mut caster)).unwrap();
            (followed.failed.map(|error| error.kind()), followed.applied.pending > 0, followed.more)
        });
        drop(files);
        assert_eq!(failed, [(Some(ErrorKind::LimitReached), true, false); 2], "{group}");
        let followed = links.follow(&mut (book.with(&mut listener), &mut sender, &mut caster)).unwrap();
        assert_eq!((&followed.failed, followed.renewed, followed.applied.pending), (&None, 2, 0), "{group}");
        assert!(is_sent(sender.send(b"sender", group)));
        common::step_one(&mut caster);
        assert_eq!([(); 2].map(|()| expect_packet(&mut listener)), [&b"sender"[..], b"caster"]);
        // It is tried no more.
        let followed = links.follow(&mut (book.with(&mut listener), &mut sender, &mut caster)).unwrap();
        assert_eq!(followed, Followed::default());
    }
}

#[test]
fn a_batch_that_was_too_long_for_one_link_is_tried_on_the_next() {
    let (pair, group) = (Pair::new(), unique_group());
    let mut links = Links::watch().unwrap();
    let options = SendOptions::new().interface(named(&pair.a));
    let mut caster = options.batches::<4, _>(group, std::iter::repeat_n([7; 60], 12)).unwrap();
    run(&format!("ip link set {} mtu 68", pair.a));
    // Segments are not fragmented: from now on, packets leave one by one.
    assert_eq!(caster.step().unwrap(), Progress::Sent(4));
    common::step_one(&mut caster);
    pair.replace();
    assert_eq!(catch_up(&mut links, &mut caster).0, 1);
    let mut listener = hears(group, &pair.b);
    // The three that were pulled before, and four more.
    assert_eq!(caster.step().unwrap(), Progress::Sent(3));
    assert_eq!(caster.step().unwrap(), Progress::Sent(4));
    for _ in 0..7 {
        assert_eq!(expect_packet(&mut listener), [7; 60]);
    }
    assert_quiet(&mut listener);
}

#[test]
fn the_sender_of_a_listener_follows_the_route_to_its_group() {
    const TEST: &str = "the_sender_of_a_listener_follows_the_route_to_its_group";
    if !is_alone(TEST) {
        return;
    }
    let (one, two, group) = (Pair::new(), Pair::new(), unique_group());
    let route = |verb: &str, dev: &str| run(&format!("ip route {verb} {}/32 dev {dev}", group.address()));
    let (mut first, mut second) = (hears(group, &one.b), hears(group, &two.b));
    let mut own = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
    let mut sender = own.sender(SendOptions::new().later()).unwrap();
    let mut links = Links::watch().unwrap();
    assert_eq!(catch_up(&mut links, &mut sender).1.applied.pending, 1);
    for (dev, address) in [(&one.a, one.addresses[0]), (&two.a, two.addresses[0])] {
        route("add", dev);
        assert_eq!(follow_until(&mut links, &mut sender, 0), 1);
        assert!(is_sent(sender.send(b"routed", group)));
        let listener = if dev == &one.a { &mut first } else { &mut second };
        assert_eq!(heard(listener), from("routed", address));
        route("del", dev);
        assert_eq!(catch_up(&mut links, &mut sender).1.applied.pending, 1);
    }
    assert_quiet(&mut first);
    assert_quiet(&mut second);
}

/// The kernel lets packets of such a socket leave on its interface alone, which does not come back.
#[test]
fn the_sender_of_a_listener_that_is_bound_to_an_interface_cannot_be_set_to_another() {
    let (pair, group) = (Pair::new(), unique_group());
    let mut links = Links::watch().unwrap();
    let own = Membership::any(group).on(named(&pair.a));
    let mut bound = ListenOptions::new().bind::<64>(Bind::Interface(own)).unwrap();
    let mut listener = hears(group, &pair.b);
    let mut sender = bound.sender(SendOptions::new().interface(named(&pair.a))).unwrap();
    assert_eq!(catch_up(&mut links, &mut sender).0, 0);
    assert!(is_sent(sender.send(b"on its interface", group)));
    assert_eq!(heard(&mut listener), from("on its interface", pair.addresses[0]));
    pair.replace();
    let followed = links.follow(&mut sender).unwrap();
    assert_eq!((followed.renewed, followed.more), (0, false));
    let error = followed.failed.unwrap();
    assert_eq!((error.kind(), error.to_string().contains(&pair.a)), (ErrorKind::OneInterface, true), "{error}");
    assert!(is_gone(&sender.send(b"nowhere", group).unwrap_err()));
}

/// Another link, one end of which gets this index.
fn create_with_index(index: u32) -> Pair {
    let other = Pair::planned();
    run(&format!("ip link add {} index {index} type veth peer name {}", other.a, other.b));
    for end in [&other.a, &other.b] {
        run(&format!("ip link set {end} addrgenmode none"));
        run(&format!("ip link set {end} up"));
    }
    other.give_addresses();
    other.wait_until_up();
    other
}

#[test]
fn nothing_leaves_on_another_interface_that_gets_the_index() {
    if !is_alone("nothing_leaves_on_another_interface_that_gets_the_index") {
        return;
    }
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let pair = Pair::new();
        let mut links = Links::watch().unwrap();
        let options = SendOptions::new().interface(named(&pair.a));
        let mut sender = options.open(group.family()).unwrap();
        let mut caster = options.packets(group, ["one", "two"]).unwrap();
        let index = index_of(&pair.a).get();
        pair.delete();
        let other = create_with_index(index);
        let mut there = hears(group, &other.b);
        let _ = catch_up(&mut links, &mut (&mut sender, &mut caster));
        for _ in 0..2 {
            assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::NoSuchInterface, "{group}");
            assert_eq!(sender.send(b"three", group).unwrap_err().kind(), ErrorKind::NoSuchInterface, "{group}");
            // Also when a change of the other one is reported.
            run(&format!("ip link set {} mtu 1400", other.a));
            let _ = catch_up(&mut links, &mut (&mut sender, &mut caster));
        }
        assert_quiet(&mut there);
        // The one that is named comes back, under another index.
        pair.create();
        let _ = catch_up(&mut links, &mut (&mut sender, &mut caster));
        let mut back = hears(group, &pair.b);
        assert_eq!(caster.step().unwrap(), Progress::Sent(1), "{group}");
        assert!(is_sent(sender.send(b"three", group)));
        assert_eq!([(); 2].map(|()| expect_packet(&mut back)), [&b"one"[..], b"three"]);
        assert_quiet(&mut there);
    }
}
