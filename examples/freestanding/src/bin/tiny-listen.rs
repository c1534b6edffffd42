//! Joins one group, waits, prints the payloads that begin with a prefix, one per line, and ends after some. The kernel drops all
//! others, so the process does not wake up for them.
//!
//! Group, interface and prefix are fixed at compile time, as in the firmware of a device.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr};

use freestanding::{Arguments, Stream, exit, or_exit, print};
use multicast::filter::Prefix;
use multicast::{Events, Group, Interest, Interface, ListenOptions, Membership, Poller, Received, Token};

const GROUP: Group = Group::known(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), 5000).unwrap();
const PREFIX: &[u8] = b"NOTIFY ";
const COUNT: u32 = 3;

freestanding::program!(main);

fn main(_: Arguments) -> ! {
    let options = ListenOptions::new().reuse_port(false).filter(Prefix(PREFIX));
    let mut listener = or_exit(options.bind::<1500>(Membership::any(GROUP).on(Interface::LOOPBACK)));
    let (poller, mut events) = (or_exit(Poller::new()), Events::<1>::new());
    or_exit(poller.register(&listener, Token(0), Interest::READABLE));
    let mut left = COUNT;
    loop {
        match or_exit(listener.recv()) {
            Received::Packet(packet) => {
                print(Stream::Output, packet.payload());
                print(Stream::Output, b"\n");
                left -= 1;
                if left == 0 {
                    exit(0);
                }
            }
            Received::Paused => {}
            Received::Empty => {
                or_exit(poller.poll(&mut events, None));
            }
        }
    }
}
