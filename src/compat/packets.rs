//! The types that can be sent, as one packet or as many.

use core::iter::{Once, once};

/// The argument of [`sendto`](super::sendto): a value that is bytes is one packet, and an iterable of such values is many.
///
/// | given | sent |
/// |---|---|
/// | `"test"`, `String`, `&String` | one packet |
/// | `b"test"`, `&[u8]`, `Vec<u8>`, `[u8; 4]` | one packet |
/// | `["a", "b"]`, `vec!["a", "b"]`, `lines.iter()`, `text.lines()` | one packet an item |
///
/// `Kind` is [`One`] or [`Many`]. The compiler infers it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a packet nor an iterable of packets",
    note = "a packet is anything that is `AsRef<[u8]>`: `&str`, `String`, `&[u8]`, `Vec<u8>`"
)]
pub trait IntoPackets<Kind> {
    /// An iterator over the packets.
    type Packets: Iterator<Item: AsRef<[u8]>>;

    /// The packets.
    fn into_packets(self) -> Self::Packets;
}

/// The [`IntoPackets`] kind of a single packet.
#[derive(Debug)]
pub enum One {}

/// The [`IntoPackets`] kind of an iterable of packets.
#[derive(Debug)]
pub enum Many {}

impl<T: AsRef<[u8]>> IntoPackets<One> for T {
    type Packets = Once<T>;

    fn into_packets(self) -> Once<T> {
        once(self)
    }
}

impl<T: IntoIterator<Item: AsRef<[u8]>>> IntoPackets<Many> for T {
    type Packets = T::IntoIter;

    fn into_packets(self) -> T::IntoIter {
        self.into_iter()
    }
}
