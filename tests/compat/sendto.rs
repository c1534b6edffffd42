//! The handle-based API: `sendto`, and which values are one packet or many.

// These tests use all forms that a user may write, even needless ones.
#![allow(clippy::needless_borrows_for_generic_args, clippy::useless_vec)]

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use crate::common;
use crate::common::{assert_quiet, expect_packet, on_lo, unique_group};
use crate::compat_help::{On, readable_pipe, to};
use multicast::compat::{Flags, IntoPackets, SendOptions, register, sendto_with};
use multicast::{ErrorKind, Listener, Ttl};

/// The packets that `sendto` would send.
fn packets<K>(given: impl IntoPackets<K>) -> Vec<Vec<u8>> {
    given.into_packets().map(|packet| packet.as_ref().to_vec()).collect()
}

#[test]
fn text_and_bytes_are_one_packet() {
    let string = String::from("test");
    let bytes = b"test".to_vec();
    let one = [b"test".to_vec()];
    assert_eq!(packets("test"), one);
    assert_eq!(packets(string.clone()), one);
    assert_eq!(packets(&string), one);
    assert_eq!(packets(string.as_bytes()), one);
    assert_eq!(packets(&string[..]), one);
    assert_eq!(packets(b"test"), one);
    assert_eq!(packets(*b"test"), one);
    assert_eq!(packets(&b"test"[..]), one);
    assert_eq!(packets(bytes.clone()), one);
    assert_eq!(packets(&bytes), one);
    assert_eq!(packets(bytes.clone().into_boxed_slice()), one);
    assert_eq!(packets(Cow::Borrowed(&bytes[..])), one);
    assert_eq!(packets(vec![116_u8, 101, 115, 116]), one);
    assert_eq!(packets(format!("te{}", "st")), one);
}

#[test]
fn an_empty_text_is_one_empty_packet_and_an_empty_list_is_none() {
    assert_eq!(packets(""), [b""]);
    assert_eq!(packets(b""), [b""]);
    assert!(packets(Vec::<&str>::new()).is_empty());
    assert!(packets::<_>([""; 0]).is_empty());
}

#[test]
fn each_item_of_an_iterable_is_one_packet() {
    let many = [b"a".to_vec(), b"b".to_vec()];
    let lines = vec![String::from("a"), String::from("b")];
    assert_eq!(packets(["a", "b"]), many);
    assert_eq!(packets(&["a", "b"]), many);
    assert_eq!(packets(vec!["a", "b"]), many);
    assert_eq!(packets(&vec!["a", "b"]), many);
    assert_eq!(packets(lines.iter()), many);
    assert_eq!(packets(&lines), many);
    assert_eq!(packets(lines.clone()), many);
    assert_eq!(packets(&lines[..]), many);
    assert_eq!(packets([b"a".as_slice(), b"b"]), many);
    assert_eq!(packets([b"a", b"b"]), many);
    assert_eq!(packets([vec![b'a'], vec![b'b']]), many);
    assert_eq!(packets("a\nb".lines()), many);
    assert_eq!(packets("a b".split(' ').map(str::to_owned)), many);
    assert_eq!(packets((0..2).map(|n| [b'a' + n])), many);
    assert_eq!(packets(Some("a").into_iter().chain(["b"])), many);
    assert_eq!(packets(VecDeque::from(["a", "b"])), many);
    assert_eq!(packets(BTreeSet::from(["b", "a"])), many);
    assert_eq!(packets(b"ab".chunks(1)), many);
    assert_eq!(packets(["a"]), [b"a"]);
    assert_eq!(packets([b"x".as_slice()]), [b"x"]);
}

#[test]
fn sendto_sends_one_packet_or_many_in_their_order() {
    let group = unique_group();
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    sendto_with("test", to(group)).unwrap();
    assert_eq!(expect_packet(&mut listener), b"test");
    sendto_with(["one", "", "three"], to(group)).unwrap();
    assert_eq!(expect_packet(&mut listener), b"one");
    assert_eq!(expect_packet(&mut listener), b"");
    assert_eq!(expect_packet(&mut listener), b"three");
    assert_quiet(&mut listener);
}

#[test]
fn sendto_calls_no_handler() {
    let group = unique_group();
    let (here, _there) = readable_pipe();
    register(On::read(here, |_| panic!("called")), Flags::NONE).unwrap();
    sendto_with((0..1_000).map(|i| i.to_string()), to(group).core(|core| core.send_buffer(1))).unwrap();
}

#[test]
fn sendto_needs_no_poller() {
    sendto_with("test", to(unique_group())).unwrap();
}

#[test]
fn packets_before_one_that_is_too_long_are_sent() {
    let group = unique_group();
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    let long = vec![0; 65_508];
    let error = sendto_with([&b"before"[..], &long, b"behind"], to(group)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLong);
    let text = format!("send 65508 bytes to {group}: too long for UDP: at most 65507 bytes; packets sent before: 1");
    assert_eq!((error.to_string(), error.packets_sent()), (text, 1));
    assert_eq!(expect_packet(&mut listener), b"before");
    assert_quiet(&mut listener);
    let first = sendto_with(vec![0; 65_508], to(group)).unwrap_err();
    let text = format!("send 65508 bytes to {group}: too long for UDP: at most 65507 bytes");
    assert_eq!((first.to_string(), first.packets_sent()), (text, 0));
}

#[test]
fn invalid_options_are_errors_that_name_them() {
    let text = |result: multicast::Result<SendOptions>| result.unwrap_err().to_string();
    assert_eq!(text(SendOptions::new().ip("239.1.2")), "parse ip: write an address alone, as 239.1.2.3 or ff02::4242");
    assert_eq!(
        text(SendOptions::new().ip("239.1.2.3:5000")),
        "parse ip: write an address alone, as 239.1.2.3 or ff02::4242"
    );
    assert!(text(SendOptions::new().ip("10.0.0.1")).starts_with("parse group 10.0.0.1: not a multicast address"));
    assert!(text(SendOptions::new().port(0)).contains("port 0 is not valid"));
    let nowhere = SendOptions::new().interface("no-such-link".parse().unwrap());
    assert_eq!(sendto_with("x", nowhere).unwrap_err().kind(), ErrorKind::NoSuchInterface);
}

#[test]
fn the_options_for_the_keyword_arguments_of_the_python_api() {
    let group = unique_group();
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    let options = SendOptions::default()
        .ip(&group.address().to_string())
        .and_then(|options| options.port(group.port()))
        .unwrap()
        .ttl(Ttl::HOST)
        .core(|core| core.traffic_class(0x20).loopback(true))
        .interface(common::LO);
    sendto_with("test", options).unwrap();
    assert_eq!(expect_packet(&mut listener), b"test");
}
