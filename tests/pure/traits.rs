//! Traits and sizes of the public types: which can move to other threads, be copied, and be printed.
//!
//! The compiler checks most of this: if a type loses a trait, or gains one that it must not have, this file does not compile.

use core::error::Error as StdError;
use core::fmt::{Debug, Display};
use core::hash::Hash;
use core::iter::{Empty, FusedIterator};
use core::net::{IpAddr, SocketAddr};
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::str::FromStr;

use multicast::filter::kernel::{Assembler, Fit, Instruction, Listing};
use multicast::filter::{
    Always, And, At, By, Contains, Hops, Length, Masked, Never, Not, Or, Port, Prefix, Source, Subnet, Suffix,
};
use multicast::{
    AsFd, COALESCING_BUFFER, Counters, Error, ErrorKind, Event, Events, Family, Group, Interest, Interface, Iter, Links,
    ListenOptions, Listener, Membership, Multicaster, Name, Outbox, OwnedFd, Packet, Poller, Progress, Received, Receiver,
    SendOptions, Token, Ttl, Waker,
};

type Closure = fn(&[u8], SocketAddr) -> bool;
type Caster = Multicaster<Empty<&'static [u8]>>;

/// Asserts at compile time that each type has all of the traits.
macro_rules! assert_are {
    ($traits:path $(, $more:path)*: $($kind:ty),* $(,)?) => {
        const _: () = {
            const fn are<T: ?Sized + $traits $(+ $more)*>() {}
            $(are::<$kind>();)*
        };
    };
}

/// Asserts at compile time that none of the types has the trait: if one has it, there are two candidates for `of`, and the
/// compiler cannot choose.
macro_rules! assert_are_not {
    ($name:path: $($kind:ty),* $(,)?) => {
        const _: () = {
            trait Answer<Marker> {
                fn of() {}
            }
            impl<T: ?Sized> Answer<()> for T {}
            struct HasIt;
            impl<T: ?Sized + $name> Answer<HasIt> for T {}
            $(let _ = <$kind as Answer<_>>::of;)*
        };
    };
}

// Every type can be moved to another thread and be shared, also after a caught panic.
assert_are!(Send, Sync, Unpin, UnwindSafe, RefUnwindSafe:
    Group, Family, Interface, Name, Ttl, Membership, Packet<'_>, Received<'_>, Error, ErrorKind, Counters, Receiver, Listener,
    Listener<1500, Prefix<&'static [u8]>>, ListenOptions, Caster, SendOptions, Progress, Poller, Events<16>, Event, Iter<'_>,
    Token, Interest, Waker, Always, Prefix<&'static [u8]>, By<Closure>, Outbox<&'static [u8], 16>,
);

// Filters and their programs are plain values.
assert_are!(Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug, Copy, Clone:
    Always, Never, Prefix<&'static [u8]>, Suffix<&'static str>, Contains<[u8; 4]>, At<[u8; 2]>, Masked<[u8; 2], [u8; 2]>,
    Length<core::ops::RangeTo<usize>>, Hops<core::ops::RangeToInclusive<u8>>, Source, Port, Subnet, And<Always, Never>, Or<Always, Never>, Not<Port>, By<Closure>,
    Instruction, Listing<'static>, Fit,
);
assert_are!(Send, Sync, Unpin, Debug: Assembler<'_>);
assert_are!(PartialEq, Eq, Hash, FromStr<Err = Error>, Display: Subnet);
assert_are!(From<IpAddr>, From<core::net::Ipv4Addr>, From<core::net::Ipv6Addr>: Subnet);
assert_are!(Display: Listing<'static>);

// A listener with a filter that must stay in its thread stays there, too; so does a multicaster with its iterator.
assert_are_not!(Send: Listener<16, Prefix<std::rc::Rc<[u8]>>>, Multicaster<std::vec::IntoIter<std::rc::Rc<[u8]>>>);
assert_are_not!(Sync: Listener<16, Prefix<std::rc::Rc<[u8]>>>, Multicaster<std::vec::IntoIter<std::rc::Rc<[u8]>>>);

assert_are!(Debug:
    Group, Family, Interface, Name, Ttl, Membership, Packet<'_>, Received<'_>, Error, ErrorKind, Counters, Receiver, Listener,
    Listener<1500, Prefix<&'static [u8]>>, ListenOptions, Caster, SendOptions, Progress, Poller, Events<16>, Event, Iter<'_>,
    Token, Interest, Waker, Always, Prefix<&'static [u8]>, By<Closure>,
);

// Plain values are `Copy`. Types that own a descriptor are not even `Clone`; a waker has `try_clone`, which can fail.
assert_are!(Copy, Clone, PartialEq:
    Group, Family, Interface, Name, Ttl, Membership, Packet<'_>, Received<'_>, ErrorKind, Counters, SendOptions, Progress, Event,
    Token, Interest, Always, Prefix<&'static [u8]>,
);
assert_are!(Copy, Clone: ListenOptions, By<Closure>);
assert_are!(Clone, PartialEq, Eq: Error);
assert_are!(Clone: Iter<'_>);
assert_are_not!(Clone: Receiver, Listener, Caster, Poller, Waker, Events<16>);
assert_are_not!(Copy: Error, Iter<'_>);

assert_are!(Eq, Hash: Group, Family, Interface, Name, Ttl, Membership, ErrorKind, Token, Interest);
assert_are!(Ord: Group, Ttl, Token);
assert_are!(Default: Group, Interface, Ttl, Counters, ListenOptions, SendOptions, Events<16>, Always);
assert_are!(Display: Group, Interface, Name, Ttl, Membership, Error);
assert_are!(FromStr<Err = Error>: Group, Interface, Name, Ttl);
assert_are!(StdError, From<rustix::io::Errno>: Error);
assert_are!(AsFd: Poller, Receiver, Listener, Caster, Links);
assert_are!(Into<OwnedFd>: Poller, Receiver, Listener, Caster, Links);
assert_are!(TryFrom<OwnedFd, Error = Error>: Receiver, Listener);
assert_are!(Iterator<Item = Event>, FusedIterator: Iter<'_>);
assert_are!(IntoIterator<Item = Event>: &Events<16>);
assert_are!(ExactSizeIterator, Default, Debug: Outbox<u8, 16>);
assert_are_not!(FusedIterator: Outbox<u8, 16>);
assert_are!(Into<SocketAddr>, TryFrom<SocketAddr, Error = Error>: Group);
assert_are!(From<Name>, From<core::num::NonZeroU32>, From<IpAddr>: Interface);
assert_are!(From<u8>: Ttl);
assert_are!(TryFrom<i8, Error = Error>, TryFrom<i16, Error = Error>, TryFrom<i32, Error = Error>, TryFrom<i64, Error = Error>,
    TryFrom<i128, Error = Error>, TryFrom<isize, Error = Error>, TryFrom<u16, Error = Error>, TryFrom<u32, Error = Error>,
    TryFrom<u64, Error = Error>, TryFrom<u128, Error = Error>, TryFrom<usize, Error = Error>: Ttl);

/// Compiles only if a `match` of a user needs no `_`.
const fn is_to_be_called_again(progress: Progress) -> bool {
    match progress {
        Progress::Sent(_) | Progress::Blocked | Progress::Wait(_) => true,
        Progress::Done => false,
    }
}

#[test]
fn progress_says_whether_to_call_again() {
    let group = "239.77.1.5:10080".parse().unwrap();
    let mut caster = SendOptions::new().interface(Interface::LOOPBACK).packets(group, ["x"]).unwrap();
    assert!(is_to_be_called_again(caster.step().unwrap()));
    assert!(!is_to_be_called_again(caster.step().unwrap()));
}

#[test]
fn default_options_equal_new_options() {
    assert_eq!(SendOptions::default(), SendOptions::new());
}

#[test]
fn sizes_stay_small() {
    assert!(size_of::<Error>() <= 48, "{}", size_of::<Error>());
    assert!(size_of::<multicast::Result<()>>() <= 48, "{}", size_of::<multicast::Result<()>>());
    assert!(size_of::<Packet<'_>>() <= 64, "{}", size_of::<Packet<'_>>());
    assert!(size_of::<Received<'_>>() <= 64, "{}", size_of::<Received<'_>>());
    assert!(size_of::<Listener<1500>>() <= 1600, "{}", size_of::<Listener<1500>>());
    assert!(size_of::<Poller>() <= 16, "{}", size_of::<Poller>());
    assert!(size_of::<Events<16>>() <= 272, "{}", size_of::<Events<16>>());
    assert!(size_of::<Waker>() <= 4, "{}", size_of::<Waker>());
}

#[test]
fn events_can_move_to_another_thread_and_back() {
    let poller = Poller::new().unwrap();
    poller.waker().unwrap().wake().unwrap();
    let mut events = Events::<2>::new();
    std::thread::scope(|threads| {
        threads.spawn(|| poller.poll(&mut events, core::time::Duration::ZERO).map(|_| ()).unwrap());
    });
    assert!(events.woken());
}

#[cfg(feature = "std")]
mod with_std {
    use std::io;
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    assert_are!(Into<io::Error>, From<io::Error>: Error);
    // The traits that async runtimes require.
    assert_are!(AsRawFd, IntoRawFd: Poller, Links, Caster);
    assert_are!(AsFd: std::net::UdpSocket, std::fs::File, OwnedFd);

    /// Asserts that both traits return the same descriptor, and that it stays open after its owner is gone.
    fn assert_agree(owner: impl AsFd + IntoRawFd + AsRawFd) {
        let fd = owner.as_fd().as_raw_fd();
        assert_eq!((owner.as_raw_fd(), owner.into_raw_fd()), (fd, fd));
        assert!(std::fs::exists(format!("/proc/self/fd/{fd}")).unwrap(), "it is open");
    }

    #[test]
    fn as_raw_fd_and_as_fd_return_the_same_descriptor() {
        assert_agree(Poller::new().unwrap());
        assert_agree(Links::watch().unwrap());
        let group = "239.77.1.4:10079".parse().unwrap();
        assert_agree(SendOptions::new().interface(Interface::LOOPBACK).packets(group, ["x"]).unwrap());
    }

    #[test]
    fn an_error_without_errno_keeps_kind_and_sentence_as_an_io_error() {
        let error = "10.0.0.1:5000".parse::<Group>().unwrap_err();
        let sentence = error.to_string();
        assert_eq!(error.raw_os_error(), None);
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(error.raw_os_error(), None);
        assert_eq!(error.to_string(), sentence);
        // The whole error is still inside.
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).expect("our error");
        assert_eq!(inner.kind(), ErrorKind::NotMulticast);
    }

    #[test]
    fn an_error_of_the_kernel_keeps_kind_sentence_and_errno_as_an_io_error() {
        let poller = Poller::new().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = poller.unregister(&socket).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotRegistered);
        let errno = error.raw_os_error().expect("the kernel's");
        let error = io::Error::from(error);
        assert_eq!(error.to_string(), "unregister a file descriptor: not registered: register it first");
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).expect("our error");
        assert_eq!(inner.raw_os_error(), Some(errno));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_text_that_cannot_be_parsed_is_invalid_input_as_an_io_error() {
        for (error, expected) in [
            ("a/b".parse::<Interface>().unwrap_err(), io::ErrorKind::InvalidInput),
            ("256".parse::<Ttl>().unwrap_err(), io::ErrorKind::InvalidInput),
            ("224.0.0.1:0".parse::<Group>().unwrap_err(), io::ErrorKind::InvalidInput),
        ] {
            assert_eq!(io::Error::from(error).kind(), expected);
        }
    }
}

#[cfg(feature = "regex")]
mod with_regex {
    use multicast::filter::Regex;

    use super::*;

    assert_are!(Send, Sync, Unpin, Debug, Clone: Regex);
    assert_are!(Send, Sync, Debug: Listener<1500, Regex>);
}

#[test]
fn an_error_prints_for_people_and_for_programmers() {
    let error = "x".parse::<Ttl>().unwrap_err();
    let text = "parse ttl x: write 0 to 255, or host, subnet, site, region, continent, unrestricted";
    assert_eq!(error.to_string(), text);
    assert_eq!(format!("{error:?}"), format!("Error {{ kind: Syntax, errno: None, text: \"{text}\" }}"));
    assert!(StdError::source(&error).is_none());
}

#[test]
fn owners_of_sockets_print_the_descriptor_but_not_the_buffer() {
    use rustix::fd::AsRawFd;

    let membership = Membership::any("239.77.1.2:10077".parse().unwrap()).on(Interface::LOOPBACK);
    let listener = ListenOptions::new().bind::<64>(membership).unwrap();
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    let coalescing = ListenOptions::new().bind_coalescing(membership, COALESCING_BUFFER, &mut buffer).unwrap();
    let caster = SendOptions::default().interface(Interface::LOOPBACK).packets(membership.group(), ["x"]).unwrap();
    let links = Links::watch().unwrap();
    for (printed, name, fd) in [
        (format!("{listener:?}"), "ListeningSocket {", listener.as_fd().as_raw_fd()),
        (format!("{coalescing:?}"), "ListeningSocket {", coalescing.as_fd().as_raw_fd()),
        (format!("{caster:?}"), "Multicaster {", caster.as_fd().as_raw_fd()),
        (format!("{links:?}"), "Links {", links.as_fd().as_raw_fd()),
    ] {
        assert!(printed.starts_with(name) && printed.contains(&format!(": {fd}")), "{fd}: {printed}");
        assert!(printed.ends_with(".. }") && printed.len() < 500, "{printed}");
    }
}

#[test]
fn a_packet_prints_its_sender_and_events_begin_empty() {
    let group: Group = "239.77.1.3:10078".parse().unwrap();
    let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(Interface::LOOPBACK)).unwrap();
    let mut caster = SendOptions::default().interface(Interface::LOOPBACK).packets(group, ["x"]).unwrap();
    caster.step().unwrap();
    let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
    let printed = format!("{packet:?}");
    assert!(printed.contains(&format!("source: {}", packet.source())) && printed.contains("payload: [120]"), "{printed}");
    let events = Events::<4>::default();
    assert_eq!((events.iter().count(), events.woken()), (0, false));
    assert_eq!(format!("{events:?}"), "Events { woken: false, events: [] }");
}
