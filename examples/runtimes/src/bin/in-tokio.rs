//! In tokio, on one thread, or with `--multi-thread` as a task that moves between threads.
//!
//! The other arguments are those of [`runtimes`].

use std::future::pending;
use std::io;

use multicast::{AsFd, Progress};
use runtimes::{Node, Turn};
use tokio::io::Interest;
use tokio::net::{UdpSocket, UnixStream};
use tokio::runtime::Builder;

fn main() -> io::Result<()> {
    let on_many = std::env::args().any(|argument| argument == "--multi-thread");
    let mut builder = if on_many { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let node = Node::open(if on_many { "tokio-multi" } else { "tokio" })?;
    builder.enable_all().build()?.block_on(async { tokio::spawn(run(node)).await? })
}

async fn run(mut node: Node) -> io::Result<()> {
    let (packets, answers, links) = (watch(&node.listener)?, watch(&node.replies)?, watch(&node.links)?);
    let stop = UnixStream::from_std(runtimes::stop()?)?;
    let mut timer = tokio::time::interval(node.period());
    loop {
        let progress = node.send()?;
        tokio::select! {
            ready = packets.readable() => turn(ready, &packets, || node.receive())?,
            ready = answers.readable() => turn(ready, &answers, || node.collect())?,
            ready = links.readable() => turn(ready, &links, || node.follow())?,
            ready = may_send(progress, &node.caster) => ready?,
            _ = timer.tick() => node.tick()?,
            ready = stop.readable() => {
                ready?;
                break;
            }
        }
    }
    node.end();
    Ok(())
}

/// A second descriptor of the same socket, for tokio to wait for: so the first one stays free to be borrowed mutably.
///
/// Since tokio 1.54 each safe way to make an `AsyncFd` is deprecated, and the other one is `unsafe`. A type of `tokio::net` that owns
/// its descriptor waits as well, also for descriptors of other kinds, as long as it is only asked whether they are ready.
fn watch(source: &impl AsFd) -> io::Result<UdpSocket> {
    UdpSocket::from_std(source.as_fd().try_clone_to_owned()?.into())
}

/// tokio is edge-triggered, and remembers that a socket is ready until a call on it would block. So after `Turn::More` it is still ready.
fn turn(ready: io::Result<()>, socket: &UdpSocket, call: impl FnOnce() -> io::Result<Turn>) -> io::Result<()> {
    ready?;
    match socket.try_io(Interest::READABLE, || call()?.or_would_block()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}

/// Waits until it is worth while to send again.
async fn may_send(progress: Progress, caster: &impl AsFd) -> io::Result<()> {
    match progress {
        Progress::Sent(_) => tokio::task::yield_now().await,
        // Registered only now: otherwise each packet that leaves would wake the runtime.
        Progress::Blocked => watch(caster)?.writable().await?,
        Progress::Wait(time) => tokio::time::sleep(time).await,
        Progress::Done => pending().await,
    }
    Ok(())
}
