//! Asks a group, and prints each answer that comes within a second, one per line.
//!
//! Group, interface and question are fixed at compile time, as in the firmware of a device.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use freestanding::{Arguments, Stream, exit, or_exit, print};
use multicast::{Events, Family, Group, Interest, Interface, Outcome, Poller, Received, SendOptions, Token, Ttl};

const GROUP: Group = Group::known(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), 5000).unwrap();
const INTERFACE: Interface = Interface::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
const QUESTION: &[u8] = b"M-SEARCH *";
const PATIENCE: Duration = Duration::from_secs(1);

freestanding::program!(main);

fn main(_: Arguments) -> ! {
    let options = SendOptions::new().ttl(Ttl::HOST).interface(INTERFACE);
    let (mut sender, mut replies) = or_exit(options.open_with_replies::<1500>(Family::V4));
    let (poller, mut events) = (or_exit(Poller::new()), Events::<1>::new());
    or_exit(poller.register(&replies, Token(0), Interest::READABLE));
    if or_exit(sender.send(QUESTION, GROUP)) != Outcome::Sent {
        exit(1);
    }
    loop {
        match or_exit(replies.recv()) {
            Received::Packet(answer) => {
                print(Stream::Output, answer.payload());
                print(Stream::Output, b"\n");
            }
            Received::Paused => {}
            Received::Empty => {
                if or_exit(poller.poll(&mut events, PATIENCE)).next().is_none() {
                    exit(0);
                }
            }
        }
    }
}
