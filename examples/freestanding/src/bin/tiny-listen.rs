//! Joins one group, waits, prints the payloads that begin with one prefix, a line each, and ends after some.
//!
//! Group, interface and prefix are known when it is built, as in the firmware of a device that has one job.
#![no_std]
#![no_main]

use core::net::Ipv4Addr;

use freestanding::{Arguments, Stream, print};
use multicast::filter::Prefix;
use multicast::{Events, Group, Interest, Interface, ListenOptions, Membership, Poller, Received, Result, Token};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const PORT: u16 = 5000;
const INTERFACE: Interface = Interface::LOOPBACK;
const PREFIX: &[u8] = b"NOTIFY ";
const COUNT: u32 = 3;

freestanding::program!(main);

fn main(_: Arguments) -> u8 {
    u8::from(listen().is_err())
}

fn listen() -> Result<()> {
    let membership = Membership::any(Group::new(ADDRESS, PORT)?).on(INTERFACE);
    let mut listener = ListenOptions::new().reuse_port(false).filter(Prefix(PREFIX)).bind::<1500>(membership)?;
    let (poller, mut events) = (Poller::new()?, Events::<1>::new());
    poller.register(&listener, Token(0), Interest::READABLE)?;
    let mut left = COUNT;
    loop {
        poller.poll(&mut events, None)?;
        while let Received::Packet(packet) = listener.recv()? {
            print(Stream::Output, packet.payload());
            print(Stream::Output, b"\n");
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(());
            }
        }
    }
}
