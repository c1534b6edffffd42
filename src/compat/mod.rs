//! The handle-based API: objects with callbacks, and a default poller for each thread that calls them.
//!
//! ```no_run
//! use std::time::Duration;
//! use multicast::compat::{listen, poll, sendto};
//!
//! let mut listener = listen()?;
//! sendto("test")?;
//! poll(Duration::ZERO)?;
//! println!("{:?}", listener.next()?);
//! # Ok::<(), multicast::Error>(())
//! ```
//!
//! It follows an API for Python, with the same names where Rust allows them:
//!
//! | Python API | this module |
//! |---|---|
//! | `_defaultPoller` | [`default_poller`], one for each thread |
//! | `sendto(packets, ip, port, ttl)` | [`sendto`], [`sendto_with`] |
//! | `Multicaster(ip, port, ttl)` | [`Multicaster::new`] |
//! | `listen()`, `next()` | [`listen`](fn@listen), [`Packets::new`], [`Packets::next`] |
//! | `listen(packet_handler, ip, port, mtu, limit)` | [`listen_with`] |
//! | `MulticastListener(filter, ip, port, mtu)` | [`MulticastListener::new`] |
//! | `handle_packet(packet, addr)` | [`PacketHandler::handle_packet`]; to answer: [`PacketHandler::handle`] |
//! | `ip`, `port`, `ttl`, `mtu`, `filter`, `limit` | [`SendOptions`], [`ListenOptions`] |
//! | `register(fd, flags)`, `unregister(fd)` | [`register`], [`unregister`], [`Flags`] |
//! | `handle_read()`, `handle_write()` | [`Handler`] |
//! | `poll(timeout)`, `loop(timeout, interval)`, `polling` | [`poll`], [`run`], [`polling`] |
//! | `polling = False` | [`stop`](fn@stop); a [`Stopper`] from another thread |
//! | `Poller()` | [`Poller`], and `.poller(&poller)` of the options |
//!
//! # What to know
//! - A poller owns its handlers. [`register`] returns a [`Handle`], which is cheap to clone; dropping it does not unregister the
//!   handler.
//! - A handler may call everything in this module: send, register, unregister itself or others, poll, run, stop.
//! - [`poll`] or [`run`] returns the first error at once. The next call serves the handlers that are still waiting.
//! - No error removes a listener or a multicaster, since what causes it may pass: a link that is down, a limit, a firewall, a route, no
//!   descriptor. They stay with their memberships and packets, and try again after 100 ms, then after twice the time before, up to a
//!   second, until it succeeds. The error is returned once, and again only if it is of another kind or if they succeeded meanwhile. So
//!   `while let Err(error) = run(None, Duration::ZERO) { eprintln!("{error}") }` reports all and loses nothing.
//! - A handler of your own is removed when it returns an error, unless it [stays](Handler::stays_after_error). After a caught panic,
//!   the handler that panicked is removed, of whatever type.
//! - Listeners stay members of their groups when interfaces change, and multicasters follow their interface. Listeners and live
//!   multicasters may be created before their interface exists. Their poller watches the interfaces: that takes one netlink socket and
//!   8 KiB for each poller, unless it has only listeners that name their interface by index.
//! - Everything stays in its thread, except [`Stopper`].
//! - No memory is allocated for a packet.
//! - What the [core's options](crate::ListenOptions) can do, the options of this module can do with `.core(..)`.
//!
//! The core's [`Poller`](crate::Poller), [`Listener`](crate::Listener) and [`Multicaster`](crate::Multicaster) do the same
//! without a heap and without callbacks. `Poller`, `Multicaster`, `ListenOptions` and `SendOptions` are names of the crate and of
//! this module. A program that uses both imports one of them by name, and writes `compat::` before the other:
//!
//! ```no_run
//! use multicast::{Group, Poller, compat};
//!
//! let options = compat::ListenOptions::new().group(Group::DEFAULT);
//! let (core_poller, poller) = (Poller::new()?, compat::Poller::new()?);
//! # Ok::<(), multicast::Error>(())
//! ```

mod dispatch;
mod handle;
mod handler;
mod listen;
mod listener;
mod live;
mod multicaster;
mod options;
mod packets;
mod poller;
mod receiver;
mod registry;
mod retry;
mod slot;
mod stop;
mod table;
mod turn;

use core::net::SocketAddr;
use core::ops::ControlFlow;
use core::time::Duration;

pub use handle::Handle;
pub use handler::{Flags, Handler};
pub use listen::Packets;
pub use listener::{Answer, MulticastListener, PacketHandler};
pub use live::{Live, Queue};
pub use multicaster::Multicaster;
pub use options::{ListenOptions, SendOptions};
pub use packets::{IntoPackets, Many, One};
pub use poller::{Poller, default_poller};
pub use stop::Stopper;

#[cfg(doc)]
use crate::Error;
use crate::Result;
use crate::filter::Filter;

/// Sends one packet or many to the group 224.0.42.42, port 4242, with TTL 1. [`IntoPackets`] says what is one packet and what is
/// many.
///
/// # Errors
/// As [`sendto_with`].
pub fn sendto<K>(packets: impl IntoPackets<K>) -> Result<()> {
    sendto_with(packets, SendOptions::new())
}

/// Sends one packet or many with options, for example to another group.
///
/// It returns when the kernel has taken the last packet. While the kernel has no room, it waits only for its own socket: no
/// handler of any poller is called.
///
/// # Errors
/// As [`SendOptions::packets`](crate::SendOptions::packets) and [`Multicaster::step`](crate::Multicaster::step) of the core. The
/// packets before the one that failed are sent, the others are not. [`Error::packets_sent`] says how many that are, so that you can send
/// the rest, if you lend the packets:
///
/// ```no_run
/// use multicast::compat::{SendOptions, sendto_with};
///
/// let packets = ["one", "two", "three"];
/// if let Err(error) = sendto_with(packets, SendOptions::new()) {
///     let failed = error.packets_sent();
///     eprintln!("packet {failed}: {error}");
///     // Try again, or skip the one that failed.
///     sendto_with(&packets[failed..], SendOptions::new())?;
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// A [`Multicaster`] waits instead, and keeps its packets.
pub fn sendto_with<K>(packets: impl IntoPackets<K>, options: SendOptions) -> Result<()> {
    multicaster::sendto_with(packets, options)
}

/// Listens to the group 224.0.42.42, port 4242, and receives one packet for each poll.
///
/// For other groups see [`Packets::new`].
///
/// # Errors
/// As [`Packets::new`].
pub fn listen() -> Result<Packets> {
    Packets::new(ListenOptions::new())
}

/// Listens, and calls `handler` with each packet and its sender, until `handler` breaks or got [`limit`](ListenOptions::limit)
/// packets. It polls meanwhile, so that the poller's other handlers are served.
///
/// `handler` may borrow from its caller; the filter of the options may not, since the poller owns it.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use multicast::compat::{ListenOptions, listen_with};
///
/// let mut bytes = 0;
/// listen_with(
///     |packet, _source| {
///         bytes += packet.len();
///         if bytes > 1_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
///     },
///     ListenOptions::new().limit(100),
/// )?;
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// # Errors
/// As [`Packets::new`]; what the kernel reports of the socket; and the first error of another handler, as [`poll`]. It goes on if it cannot
/// follow a change of interfaces, for example because of a limit, and tries again: to be told of that, use a [`MulticastListener`].
pub fn listen_with<F: Filter + 'static>(
    handler: impl FnMut(&[u8], SocketAddr) -> ControlFlow<()>,
    options: ListenOptions<F>,
) -> Result<()> {
    listen::listen_with(handler, options)
}

/// [`Poller::register`] on the default poller.
///
/// # Errors
/// As there, and as [`default_poller`].
pub fn register<T: Handler>(handler: T, flags: Flags) -> Result<Handle<T>> {
    default_poller()?.register(handler, flags)
}

/// [`Poller::unregister`] on the default poller.
///
/// # Errors
/// As there, and as [`default_poller`].
pub fn unregister<T: Handler>(handle: &Handle<T>) -> Result<Option<T>> {
    default_poller()?.unregister(handle)
}

/// [`Poller::rearm`] on the default poller.
///
/// # Errors
/// As there, and as [`default_poller`].
pub fn rearm<T: Handler>(handle: &Handle<T>) -> Result<()> {
    default_poller()?.rearm(handle)
}

/// [`Poller::poll`] on the default poller.
///
/// # Errors
/// As there, and as [`default_poller`].
pub fn poll(timeout: impl Into<Option<Duration>>) -> Result<usize> {
    default_poller()?.poll(timeout)
}

/// [`Poller::run`] on the default poller.
///
/// # Errors
/// As there, and as [`default_poller`].
#[doc(alias = "loop")]
pub fn run(timeout: impl Into<Option<Duration>>, interval: Duration) -> Result<()> {
    default_poller()?.run(timeout, interval)
}

/// [`Poller::polling`] on the default poller; false if there is none.
#[must_use]
pub fn polling() -> bool {
    default_poller().is_ok_and(|poller| poller.polling())
}

/// [`Poller::stop`] on the default poller.
///
/// # Errors
/// As [`default_poller`].
pub fn stop() -> Result<()> {
    default_poller()?.stop();
    Ok(())
}

/// [`Poller::stopper`] on the default poller.
///
/// # Errors
/// As there, and as [`default_poller`].
pub fn stopper() -> Result<Stopper> {
    default_poller()?.stopper()
}
