//! No descriptor is left (`RLIMIT_NOFILE`): each step of sending and answering says so, leaks nothing, and works again afterwards. In
//! private networks: see `make test`.

mod common;

use std::fs::{read_dir, read_link};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use common::link::{is_alone, run};
use common::{LO, expect_packet, on_lo, unique_group, unique_v6_group};
use multicast::{
    Bind, Destination, Error, ErrorKind, Family, Group, Interface, ListenOptions, Listener, Outcome, Received, Result,
    SendOptions,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The numbers of the open descriptors.
fn open() -> Vec<u64> {
    let list = read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    // Without the one that reads the list.
    let others = list.filter(|entry| !read_link(entry.path()).unwrap().ends_with("fd"));
    let mut numbers: Vec<u64> = others.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// Runs the step with room for no further descriptor, for one, and so on, until it succeeds.
fn with_ever_more_descriptors<T>(what: &str, mut step: impl FnMut() -> Result<T>) -> T {
    let before = open();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // The limit is on the number, and a new descriptor has the lowest that is free.
    let free = (0..).filter(|number| !before.contains(number));
    for (more, limit) in free.take(8).enumerate() {
        setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).unwrap();
        let result = step();
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
        match result {
            Ok(done) => {
                assert!(more > 0, "{what} needs no descriptor, so this shows nothing");
                return done;
            }
            Err(error) => {
                says_so(what, &error);
                assert_eq!(open(), before, "{what} leaks a descriptor, with room for {more}");
            }
        }
    }
    panic!("{what} fails still");
}

fn says_so(what: &str, error: &Error) {
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::LimitReached, Some(24)), "{what}: {error}");
    assert!(error.to_string().ends_with("too many open file descriptors (ulimit -n)"), "{what}: {error}");
}

/// A lonely process, in which no other test opens descriptors. In its network, `lo` carries multicast.
fn alone(test: &str) -> bool {
    let is_alone = is_alone(test);
    if is_alone {
        run("ip route add 224.0.0.0/4 dev lo src 127.0.0.1");
        run("ip -6 route add local ff00::/8 dev lo table local metric 1");
    }
    is_alone
}

fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(5), unique_v6_group(2)]
}

/// The ways to name `lo`.
fn names() -> [Interface; 4] {
    let addresses = [[127, 0, 0, 1].into(), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16])].map(Interface::Address);
    [LO, std::num::NonZeroU32::MIN.into(), addresses[0], addresses[1]]
}

#[test]
fn a_sender_is_opened_or_says_that_no_descriptor_is_left() {
    if !alone("a_sender_is_opened_or_says_that_no_descriptor_is_left") {
        return;
    }
    for group in groups() {
        for interface in names() {
            let what = format!("{interface} for {group}");
            let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
            let options = SendOptions::new().interface(interface);
            let mut sender = with_ever_more_descriptors(&what, || options.open(group.family()));
            assert_eq!(sender.send(b"open", group).unwrap(), Outcome::Sent);
            assert_eq!(expect_packet(&mut listener), b"open", "{what}");
            let mut caster = with_ever_more_descriptors(&what, || options.packets(group, ["packets"]));
            assert_eq!(caster.step().unwrap(), multicast::Progress::Sent(1));
            assert_eq!(expect_packet(&mut listener), b"packets", "{what}");
            let (mut sender, mut replies) =
                with_ever_more_descriptors(&what, || options.open_with_replies::<64>(group.family()));
            assert_eq!(sender.send(b"with replies", group).unwrap(), Outcome::Sent);
            assert_eq!(expect_packet(&mut listener), b"with replies", "{what}");
            answered(group.family(), sender.local_addr().unwrap().port(), &mut replies);
        }
    }
}

/// Whether an answer comes to the replies on this port.
fn answered(family: Family, port: u16, replies: &mut Listener<64>) {
    let lo = if family == Family::V4 { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]) };
    UdpSocket::bind((lo, 0)).unwrap().send_to(b"answer", SocketAddr::new(lo, port)).unwrap();
    assert_eq!(expect_packet(replies), b"answer");
}

#[test]
fn a_sender_of_a_listener_is_made_or_says_that_no_descriptor_is_left_and_the_listener_goes_on() {
    if !alone("a_sender_of_a_listener_is_made_or_says_that_no_descriptor_is_left_and_the_listener_goes_on") {
        return;
    }
    for group in groups() {
        let mut neighbour = SendOptions::new().interface(LO).open(group.family()).unwrap();
        for interface in names() {
            let mut by_port = ListenOptions::new().unicast().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
            by_port.join(&on_lo(group)).unwrap();
            let by_group = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
            for mut listener in [by_port, by_group] {
                let what = format!("{interface} for {group}");
                let options = SendOptions::new().interface(interface);
                let mut sender = with_ever_more_descriptors(&what, || {
                    let made = listener.sender(options);
                    if made.is_err() {
                        // It is as it was, and has no sender.
                        assert_eq!(neighbour.send(b"between", group).unwrap(), Outcome::Sent);
                        assert!(matches!(listener.recv(), Ok(Received::Packet(packet)) if packet.payload() == b"between"));
                    }
                    made
                });
                assert_eq!(sender.send(b"sent", group).unwrap(), Outcome::Sent);
                assert_eq!(expect_packet(&mut listener), b"sent", "{what}");
            }
        }
    }
}

#[test]
fn a_reply_leaves_or_says_that_no_descriptor_is_left() {
    if !alone("a_reply_leaves_or_says_that_no_descriptor_is_left") {
        return;
    }
    // A source that is link-local in IPv6 needs no question.
    for group in [unique_group(), unique_v6_group(5)] {
        let mut device = ListenOptions::new().answers().bind::<64>(on_lo(group)).unwrap();
        let mut sender = device.sender(SendOptions::new().interface(LO)).unwrap();
        let options = SendOptions::new().interface(LO);
        let (mut asker, mut replies) = options.open_with_replies::<64>(group.family()).unwrap();
        assert_eq!(asker.send(b"question", group).unwrap(), Outcome::Sent);
        let Received::Packet(question) = device.recv().unwrap() else { panic!("no question came") };
        let outcome = with_ever_more_descriptors("a reply", || sender.reply(&question, b"answer"));
        assert_eq!(outcome, Outcome::Sent);
        assert_eq!(expect_packet(&mut replies), b"answer");
        common::assert_quiet(&mut replies);
        let later = with_ever_more_descriptors("an answer", || Destination::answering(&question));
        assert_eq!(sender.send(b"later", later).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut replies), b"later");
    }
}

#[test]
fn a_destination_is_made_or_says_that_no_descriptor_is_left() {
    if !alone("a_destination_is_made_or_says_that_no_descriptor_is_left") {
        return;
    }
    for group in groups() {
        let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
        let mut sender = SendOptions::new().open(group.family()).unwrap();
        for interface in names() {
            // An IPv6 packet needs an index alone.
            if matches!(interface, Interface::Index(_)) && group.family() == Family::V6 {
                continue;
            }
            let to = with_ever_more_descriptors("a destination", || Destination::from(group).on(interface));
            assert_eq!(sender.send(b"there", to).unwrap(), Outcome::Sent);
            assert_eq!(expect_packet(&mut listener), b"there", "{interface} for {group}");
        }
        with_ever_more_descriptors("an own address", || LO.address(group.family()));
        with_ever_more_descriptors("an index", || LO.index());
    }
}
