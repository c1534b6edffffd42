//! The documented API: handles, handlers that are called back, and a default poller for each thread.
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
//! | the document | here |
//! |---|---|
//! | `_defaultPoller` | [`default_poller`], one for each thread |
//! | `sendto(packets, ip, port, ttl)` | [`sendto`], [`sendto_with`] |
//! | `Multicaster(ip, port, ttl)` | [`Multicaster::new`] |
//! | `listen()`, `next()` | [`listen`](fn@listen), [`Packets::new`], [`Packets::next`] |
//! | `listen(packet_handler, ip, port, mtu, limit)` | [`listen_with`] |
//! | `MulticastListener(filter, ip, port, mtu)` | [`MulticastListener::new`] |
//! | `handle_packet(packet, addr)` | [`PacketHandler::handle_packet`] |
//! | `ip`, `port`, `ttl`, `mtu`, `filter`, `limit` | [`SendOptions`], [`ListenOptions`] |
//! | `register(fd, flags)`, `unregister(fd)` | [`register`], [`unregister`], [`Flags`] |
//! | `handle_read()`, `handle_write()` | [`Handler`] |
//! | `poll(timeout)`, `loop(timeout, interval)`, `polling` | [`poll`], [`run`], [`polling`] |
//! | `polling = False` | [`stop`](fn@stop); a [`Stopper`] from another thread |
//! | `Poller()` | [`Poller`], and `.poller(&poller)` of the options |
//!
//! # What to know
//! - A poller owns its handlers. What [`register`] gives is a [`Handle`]: cheap to clone, and dropping it changes nothing.
//! - A handler may call anything here from inside: send, register, unregister itself or others, poll, run, stop.
//! - A handler's error ends that handler alone, and comes out of [`poll`] or [`run`] at once. What the others missed comes at the
//!   next call. So does a panic, for who catches it.
//! - Listeners stay members of their groups by themselves, and may be made before their interface is there: their poller watches the
//!   interfaces (one netlink socket and 8 KiB for each poller that has listeners, unless all of these name their interface by index).
//! - Everything stays in its thread, but for [`Stopper`].
//! - Nothing is allocated for a packet.
//!
//! The core's [`Poller`](crate::Poller), [`Listener`](crate::Listener) and [`Multicaster`](crate::Multicaster) do the same without a
//! heap and without callbacks.

mod dispatch;
mod handler;
mod listen;
mod listener;
mod multicaster;
mod options;
mod packets;
mod poller;
mod stop;
mod table;
mod turn;
mod watch;

use core::net::SocketAddr;
use core::ops::ControlFlow;
use core::time::Duration;

pub use handler::{Flags, Handle, Handler};
pub use listen::Packets;
pub use listener::{MulticastListener, PacketHandler};
pub use multicaster::Multicaster;
pub use options::{ListenOptions, SendOptions};
pub use packets::{IntoPackets, Many, One};
pub use poller::{Poller, default_poller};
pub use stop::Stopper;

use crate::Result;
use crate::filter::Filter;

/// Sends one packet or many to the document's group, 224.0.42.42, port 4242, with TTL 1: see [`IntoPackets`].
///
/// # Errors
/// As [`sendto_with`].
pub fn sendto<K>(packets: impl IntoPackets<K>) -> Result<()> {
    sendto_with(packets, SendOptions::new())
}

/// The same to another group, or in another way.
///
/// It returns when the last packet is in the kernel, and waits where the kernel has no room: on its own socket alone. No handler of
/// any poller is called meanwhile.
///
/// # Errors
/// As [`SendOptions::packets`](crate::SendOptions::packets) and [`Multicaster::step`](crate::Multicaster::step) of the core. The
/// packets before the one that failed are sent, those after it are not.
pub fn sendto_with<K>(packets: impl IntoPackets<K>, options: SendOptions) -> Result<()> {
    multicaster::sendto_with(packets, options)
}

/// Listens to the document's group, 224.0.42.42, port 4242: packets one by one, one for each poll.
///
/// For other groups see [`Packets::new`].
///
/// # Errors
/// As [`Packets::new`].
pub fn listen() -> Result<Packets> {
    Packets::new(ListenOptions::new())
}

/// Listens, and calls `handler` with each packet and its sender, until it breaks or [`limit`](ListenOptions::limit) packets were
/// handed to it. Meanwhile it polls, so that other handlers of the poller are served.
///
/// `handler` may borrow from its caller.
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
/// As [`Packets::new`]; what the kernel reports of the socket; and the first error of another handler, as [`poll`].
pub fn listen_with<F: Filter>(
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

/// [`Poller::run`] on the default poller: the document's `loop`.
///
/// # Errors
/// As there, and as [`default_poller`].
#[doc(alias = "loop")]
pub fn run(timeout: impl Into<Option<Duration>>, interval: Duration) -> Result<()> {
    default_poller()?.run(timeout, interval)
}

/// [`Poller::polling`] on the default poller; false where there is none.
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
