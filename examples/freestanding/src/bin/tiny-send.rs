//! Sends some packets to one group, and ends when the kernel has the last one.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr};

use freestanding::{Arguments, exit, or_exit};
use multicast::{Events, Group, Interest, Interface, Poller, Progress, SendOptions, Token, Ttl};

const GROUP: Group = Group::known(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), 5000).unwrap();
const INTERFACE: Interface = Interface::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
static PACKETS: [&[u8]; 4] = [b"NOTIFY one", b"M-SEARCH *", b"NOTIFY two", b"NOTIFY three"];

freestanding::program!(main);

fn main(_: Arguments) -> ! {
    let options = SendOptions::new().ttl(Ttl::HOST).interface(INTERFACE);
    let mut caster = or_exit(options.packets(GROUP, &PACKETS));
    let (poller, mut events) = (or_exit(Poller::new()), Events::<1>::new());
    // One-shot, so that it does not end other waits.
    let writable = Interest::WRITABLE.oneshot();
    or_exit(poller.register(&caster, Token(0), writable));
    loop {
        match or_exit(caster.step()) {
            Progress::Done => exit(0),
            Progress::Wait(time) => drop(or_exit(poller.poll(&mut events, time))),
            Progress::Blocked => {
                or_exit(poller.reregister(&caster, Token(0), writable));
                or_exit(poller.poll(&mut events, None));
            }
            Progress::Sent(_) => {}
        }
    }
}
