//! Sends some packets to one group, and ends when the last of them is in the kernel.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr};

use freestanding::Arguments;
use multicast::{Events, Group, Interest, Interface, Poller, Progress, Result, SendOptions, Token, Ttl};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const PORT: u16 = 5000;
const INTERFACE: Interface = Interface::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
const PACKETS: [&[u8]; 4] = [b"NOTIFY one", b"M-SEARCH *", b"NOTIFY two", b"NOTIFY three"];

freestanding::program!(main);

fn main(_: Arguments) -> u8 {
    u8::from(send().is_err())
}

fn send() -> Result<()> {
    let group = Group::new(ADDRESS, PORT)?;
    let mut caster = SendOptions::new().ttl(Ttl::HOST).interface(INTERFACE).packets(group, PACKETS)?;
    let (poller, mut events) = (Poller::new()?, Events::<1>::new());
    // One-shot, so that it does not end the other waits.
    let writable = Interest::WRITABLE.oneshot();
    poller.register(&caster, Token(0), writable)?;
    loop {
        match caster.step()? {
            Progress::Done => return Ok(()),
            Progress::Wait(time) => drop(poller.poll(&mut events, time)?),
            Progress::Blocked => {
                poller.reregister(&caster, Token(0), writable)?;
                poller.poll(&mut events, None)?;
            }
            _ => {}
        }
    }
}
