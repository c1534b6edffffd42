//! In mio, which is edge-triggered: one event when a descriptor becomes ready, and none while it stays ready.
//!
//! The arguments are those of [`runtimes`].

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use multicast::Progress;
use runtimes::{Node, Turn, at_most, stop};

const PACKETS: Token = Token(0);
const ANSWERS: Token = Token(1);
const LINKS: Token = Token(2);
const ROOM: Token = Token(3);
const STOP: Token = Token(4);

fn main() -> io::Result<()> {
    let (mut node, stop) = (Node::open("mio")?, stop()?);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
    let sources = [
        (PACKETS, node.listener.as_raw_fd()),
        (ANSWERS, node.replies.as_raw_fd()),
        (LINKS, node.links.as_raw_fd()),
        (STOP, stop.as_raw_fd()),
    ];
    for (token, fd) in sources {
        poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
    }
    let room = node.caster.as_raw_fd();

    // Which of the three sources may have more to read: no other event comes for it.
    let mut more = [true; 3];
    let (mut tick, mut blocked, mut ended) = (Instant::now(), false, false);
    while !ended {
        let progress = node.send()?;
        // Registered only while it is blocked: otherwise each packet that leaves would be an event.
        if progress == Progress::Blocked && !blocked {
            poll.registry().register(&mut SourceFd(&room), ROOM, Interest::WRITABLE)?;
            blocked = true;
        }
        let time = if more == [false; 3] { at_most(progress, tick) } else { Duration::ZERO };
        match poll.poll(&mut events, Some(time)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                ROOM => {
                    poll.registry().deregister(&mut SourceFd(&room))?;
                    blocked = false;
                }
                STOP => ended = true,
                Token(source) => more[source] = true,
            }
        }
        let more_after = |turn| turn == Turn::More;
        more[0] = more[0] && more_after(node.receive()?);
        more[1] = more[1] && more_after(node.collect()?);
        more[2] = more[2] && more_after(node.follow()?);
        if tick <= Instant::now() {
            node.tick()?;
            tick += node.period();
        }
    }
    node.end();
    Ok(())
}
