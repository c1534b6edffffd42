//! Takes over a socket from a supervisor: socket activation, as of systemd (`sd_listen_fds(3)`).
//!
//! `activated [GROUP:PORT [INTERFACE]]` joins the group and prints what comes. If the supervisor passes a second socket, it sends the
//! word `started` from it first. It ends by Ctrl-C or `SIGTERM`.
//!
//! ```sh
//! systemd-socket-activate --datagram --listen=0.0.0.0:5000 activated 239.1.2.3:5000 eth0
//! ```
//!
//! The first descriptor has the number 3. To own it takes `unsafe`, since Rust cannot know that nobody else does. The crate `listenfd`
//! has checked that, and gives each only once.

use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use multicast::{Events, Group, Interest, Interface, Listener, Membership, Poller, Received, Sender, Token};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (group, interface): (Group, Interface) = (next("239.1.2.3:5000").parse()?, next("lo").parse()?);

    let mut passed = ListenFd::from_env();
    let Some(socket) = passed.take_udp_socket(0)? else {
        return Err(io::Error::other("no socket was passed: run it with systemd-socket-activate --datagram"));
    };
    // Only what was joined is received from here on.
    let mut listener = Listener::<1500>::try_from(OwnedFd::from(socket))?;
    // It does nothing if the supervisor has joined already.
    listener.join(&Membership::any(group).on(interface))?;
    if let Some(socket) = passed.take_udp_socket(1)? {
        let mut sender = Sender::try_from(OwnedFd::from(socket))?;
        println!("sending: {:?}", sender.send(b"started", group)?);
    }

    let (stop, poller, mut events) = (runtimes::stop()?, Poller::new()?, Events::<2>::new());
    poller.register(&listener, Token(0), Interest::READABLE)?;
    poller.register(&stop, Token(1), Interest::READABLE)?;
    println!("ready {}", std::process::id());
    loop {
        for event in poller.poll(&mut events, None)? {
            if event.token() == Token(1) {
                return Ok(());
            }
            loop {
                match listener.recv()? {
                    Received::Packet(packet) => println!("heard {}", packet.payload().escape_ascii()),
                    Received::Paused => continue,
                    Received::Empty => break,
                }
            }
        }
    }
}
