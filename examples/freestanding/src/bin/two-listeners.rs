//! Like tiny-listen, with two listeners, each of its own group and with its own filter.
//!
//! It shows what a second listener adds to a program. `make size` checks that it stays small: the functions that create a listener
//! must be inlined in both places.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr};

use freestanding::{Arguments, Stream, exit, or_exit, print};
use multicast::filter::Prefix;
use multicast::{Events, Group, Interest, Interface, ListenOptions, Listener, Membership, Poller, Received, Token};

const NEWS: Group = Group::known(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), 5000).unwrap();
const SEARCHES: Group = Group::known(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 4)), 5000).unwrap();
const NEWS_PREFIX: &[u8] = b"NOTIFY ";
const SEARCHES_PREFIX: &[u8] = b"M-SEARCH ";
const COUNT: u32 = 3;

freestanding::program!(main);

fn main(_: Arguments) -> ! {
    let options = ListenOptions::new().reuse_port(false);
    let on_loopback = |group| Membership::any(group).on(Interface::LOOPBACK);
    let mut news = or_exit(options.filter(Prefix(NEWS_PREFIX)).bind::<1500>(on_loopback(NEWS)));
    let mut searches = or_exit(options.filter(Prefix(SEARCHES_PREFIX)).bind::<1500>(on_loopback(SEARCHES)));
    let (poller, mut events) = (or_exit(Poller::new()), Events::<2>::new());
    or_exit(poller.register(&news, Token(0), Interest::READABLE));
    or_exit(poller.register(&searches, Token(1), Interest::READABLE));
    let mut left = COUNT;
    loop {
        print_queued(&mut news, &mut left);
        print_queued(&mut searches, &mut left);
        or_exit(poller.poll(&mut events, None));
    }
}

fn print_queued(listener: &mut Listener<1500, Prefix<&[u8]>>, left: &mut u32) {
    loop {
        match or_exit(listener.recv()) {
            Received::Packet(packet) => {
                print(Stream::Output, packet.payload());
                print(Stream::Output, b"\n");
                *left -= 1;
                if *left == 0 {
                    exit(0);
                }
            }
            Received::Paused => {}
            Received::Empty => return,
        }
    }
}
