//! In async-io, the reactor of smol and async-std.
//!
//! The arguments are those of [`runtimes`].

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;

use async_io::{Async, Timer, block_on};
use futures_lite::future::yield_now;
use futures_lite::{FutureExt, StreamExt};
use multicast::{AsFd, Progress};
use runtimes::{Node, stop};

/// What the node has waited for.
enum Ready {
    Packets,
    Answers,
    Links,
    Room,
    Tick,
    Stop,
}

fn main() -> io::Result<()> {
    block_on(run(Node::open("async-io")?))
}

async fn run(mut node: Node) -> io::Result<()> {
    let (packets, answers, links) = (watch(&node.listener)?, watch(&node.replies)?, watch(&node.links)?);
    let (room, stop) = (watch(&node.caster)?, watch(&stop()?)?);
    let mut timer = Timer::interval(node.period());
    node.tick()?;
    loop {
        let progress = node.send()?;
        // `race`, not `or`: which of them is polled first changes, so that a flood on one does not keep the others waiting.
        let ready = async { packets.readable().await.map(|()| Ready::Packets) }
            .race(async { answers.readable().await.map(|()| Ready::Answers) })
            .race(async { links.readable().await.map(|()| Ready::Links) })
            .race(async { may_send(progress, &room).await.map(|()| Ready::Room) })
            .race(async { timer.next().await.map_or(Ok(Ready::Stop), |_| Ok(Ready::Tick)) })
            .race(async { stop.readable().await.map(|()| Ready::Stop) });
        // `readable` asks the kernel again each time, so after `Turn::More` it is ready at once.
        let _more = match ready.await? {
            Ready::Packets => node.receive()?,
            Ready::Answers => node.collect()?,
            Ready::Links => node.follow()?,
            Ready::Room => continue,
            Ready::Tick => {
                node.tick()?;
                continue;
            }
            Ready::Stop => break,
        };
    }
    node.end();
    Ok(())
}

/// A second descriptor of the same socket, for async-io to wait for. With the listener itself in the `Async`, receiving would need
/// `get_mut`, which is `unsafe`, or an `unsafe impl IoSafe`.
fn watch(source: &impl AsFd) -> io::Result<Async<OwnedFd>> {
    Async::new_nonblocking(source.as_fd().try_clone_to_owned()?)
}

/// Waits until it is worth while to send again.
async fn may_send(progress: Progress, caster: &Async<OwnedFd>) -> io::Result<()> {
    match progress {
        Progress::Sent(_) => yield_now().await,
        Progress::Blocked => caster.writable().await?,
        Progress::Wait(time) => drop(Timer::after(time).await),
        Progress::Done => pending().await,
    }
    Ok(())
}
