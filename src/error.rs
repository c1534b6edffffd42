//! What went wrong: what was tried, on what, and why.
//!
//! One type serves the whole crate. It fits into 48 bytes, needs no heap in the core, and keeps the kernel's errno, so that a
//! person reads `join 239.1.2.3 on eth7: no such interface` and a program matches on [`Error::kind`] or
//! [`Error::raw_os_error`].

mod text;

use core::fmt;
use core::net::IpAddr;

use linux_raw_sys::errno as linux;

use crate::address::{Group, Interface, Name};

/// The result of this crate's functions.
pub type Result<T> = core::result::Result<T, Error>;

/// An error number of the kernel, 1 to 4095.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u16);

impl Errno {
    pub(crate) const INTERRUPTED: Self = Self(linux::EINTR as u16);
    pub(crate) const WOULD_BLOCK: Self = Self(linux::EAGAIN as u16);
    pub(crate) const NO_BUFFERS: Self = Self(linux::ENOBUFS as u16);
    pub(crate) const IN_USE: Self = Self(linux::EADDRINUSE as u16);
    pub(crate) const NOT_AVAILABLE: Self = Self(linux::EADDRNOTAVAIL as u16);
    pub(crate) const NO_MEMORY: Self = Self(linux::ENOMEM as u16);
    pub(crate) const INVALID: Self = Self(linux::EINVAL as u16);
    pub(crate) const IO: Self = Self(linux::EIO as u16);
    pub(crate) const NO_ENTRY: Self = Self(linux::ENOENT as u16);
    pub(crate) const NO_OPTION: Self = Self(linux::ENOPROTOOPT as u16);
    pub(crate) const TOO_LONG: Self = Self(linux::EMSGSIZE as u16);
    pub(crate) const PROTOCOL: Self = Self(linux::EPROTO as u16);
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        // rustix holds what the kernel returned, 1 to 4095: the cast keeps it whole.
        Self(errno.raw_os_error() as u16)
    }
}

/// The kind of an [`Error`], for programs that decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text could not be parsed; the message says what to write instead.
    Syntax,
    /// An address is not a multicast address: 224.0.0.0 to 239.255.255.255, or ff00::/8.
    NotMulticast,
    /// Port 0, on which nothing can be sent or received.
    PortZero,
    /// A number past its range, as a TTL of 256.
    OutOfRange,
    /// There is no interface of that name, index or address (any more).
    NoSuchInterface,
    /// An interface must be named: an IPv6 link-local group exists once on every link.
    InterfaceNeeded,
    /// The interface has no address of the group's family (yet), so that packets would leave without a source.
    NoAddress,
    /// IPv4 and IPv6 were mixed.
    FamilyMismatch,
    /// The listener is bound to one group and cannot hear another one.
    BoundToGroup,
    /// The listener is bound to another port than the group's.
    PortMismatch,
    /// A limit of the kernel was reached; the message names the setting that raises it.
    LimitReached,
    /// A limit of the kernel on the sources of one group was reached; the message names the setting that raises it.
    SourceLimitReached,
    /// A group cannot be joined both from any source and from named ones by one listener on one interface.
    MixedSources,
    /// The group is not joined on the interface.
    NotJoined,
    /// Packets leave on one interface, and a listener that is bound to its interface hears that one: [`Interface::All`], and for such
    /// a listener any other interface, makes no sense.
    OneInterface,
    /// A packet is longer than UDP, or than the path, can carry.
    TooLong,
    /// The kernel is short of room for now: the same call may succeed later.
    Transient,
    /// There is no way to the group: no route, or the interface is down or gone.
    Unreachable,
    /// The kernel or a firewall does not allow it.
    Denied,
    /// Another socket holds the address without sharing it.
    AddressInUse,
    /// This kernel does not know the option or the protocol.
    Unsupported,
    /// The file descriptor is registered already.
    AlreadyRegistered,
    /// The file descriptor is not registered.
    NotRegistered,
    /// This kind of file cannot be waited for: regular files and folders are always ready.
    NotPollable,
    /// The token is the one that the poller keeps for its waker.
    ReservedToken,
    /// The file descriptor is no UDP socket.
    NotUdp,
    /// The pattern is no regular expression of the supported syntax.
    Pattern,
    /// A number that must be 1 at least is 0.
    Zero,
    /// What was asked for makes no sense in this state; the message says why.
    InvalidInput,
    /// Anything else that the kernel said; [`Error::raw_os_error`] tells what.
    System,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ParseGroup,
    ParseInterface,
    ParseTtl,
    ParseSubnet,
    #[cfg(feature = "regex")]
    ParsePattern,
    Open,
    Bind,
    Join,
    Leave,
    Block,
    Unblock,
    Watch,
    Configure,
    Resolve,
    Send,
    Receive,
    Count,
    Poll,
    Register,
    Reregister,
    Unregister,
    Wake,
    /// What a user of the crate did: the object says it all.
    Custom,
}

/// What it was done to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Object {
    Nothing,
    /// The noun that the sentence needs, as "socket".
    Named(&'static str),
    Text(Excerpt),
    Address(IpAddr),
    Group(Group),
    Interface(Name),
    Membership {
        group: IpAddr,
        interface: Interface,
    },
    Packet {
        length: u32,
        group: Group,
    },
    Number(i64),
    Port(u16),
    #[cfg(feature = "std")]
    Message(std::boxed::Box<str>),
}

/// What went wrong: what was tried, on what, and why.
///
/// `Display` gives one line for people, `OPERATION OBJECT: REASON`. [`kind`](Self::kind) and
/// [`raw_os_error`](Self::raw_os_error) are for programs. With the feature `std` it turns into a `std::io::Error` of the same
/// kind and errno.
///
/// ```
/// # use multicast::{ErrorKind, Group};
/// let error = "10.0.0.1:5000".parse::<Group>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotMulticast);
/// assert!(error.to_string().starts_with("parse group 10.0.0.1:5000: not a multicast address"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    object: Object,
    operation: Operation,
    /// `None` where it follows from operation and errno: it is worked out when somebody asks, and programs that never do need not
    /// have the table.
    kind: Option<ErrorKind>,
    /// 0 where the kernel said nothing.
    errno: u16,
    /// The limit that was reached, 0 where it is not known.
    limit: u32,
}

impl Error {
    /// Which kind of error it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self.kind {
            Some(kind) => kind,
            None => text::kind_of(self.operation, Errno(self.errno)),
        }
    }

    /// The kernel's error number (`errno(3)`), or `None` where the crate itself refused.
    #[must_use]
    pub const fn raw_os_error(&self) -> Option<i32> {
        match self.errno {
            0 => None,
            errno => Some(errno as i32),
        }
    }

    /// An error of the caller's own, as a handler returns it: `sentence` is all that it prints.
    ///
    /// ```
    /// # use multicast::{Error, ErrorKind};
    /// let error = Error::custom(ErrorKind::InvalidInput, "read the packet: its checksum is wrong");
    /// assert_eq!(error.to_string(), "read the packet: its checksum is wrong");
    /// ```
    #[must_use]
    pub const fn custom(kind: ErrorKind, sentence: &'static str) -> Self {
        Self::new(Operation::Custom, Object::Named(sentence), kind)
    }

    pub(crate) const fn new(operation: Operation, object: Object, kind: ErrorKind) -> Self {
        Self { object, operation, kind: Some(kind), errno: 0, limit: 0 }
    }

    /// An error that the kernel reported; its kind follows from the errno.
    #[cold]
    pub(crate) const fn system(operation: Operation, object: Object, errno: Errno) -> Self {
        Self { object, operation, kind: None, errno: errno.0, limit: 0 }
    }

    /// A limit of the kernel that was reached, with what it is set to.
    #[cold]
    pub(crate) const fn limit(operation: Operation, object: Object, kind: ErrorKind, errno: Errno, limit: u32) -> Self {
        Self { object, operation, kind: Some(kind), errno: errno.0, limit }
    }

    /// A pattern that is no regular expression, with the sentence that says why.
    #[cfg(feature = "regex")]
    #[cold]
    pub(crate) fn pattern(message: std::string::String) -> Self {
        Self::new(Operation::ParsePattern, Object::Message(message.into_boxed_str()), ErrorKind::Pattern)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.operation, Operation::Custom) {
            return text::custom(&self.object, self.kind(), Errno(self.errno), f);
        }
        f.write_str(text::verb(self.operation))?;
        text::object(&self.object, f)?;
        f.write_str(": ")?;
        text::reason(self.kind(), self.operation, &self.object, Errno(self.errno), f)?;
        match self.limit {
            0 => Ok(()),
            limit => write!(f, ", set to {limit}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("errno", &self.raw_os_error())
            .field("text", &format_args!("\"{self}\""))
            .finish()
    }
}

impl core::error::Error for Error {}

/// Keeps the kind, and the errno where the kernel gave one. The sentence stays with errors that have no errno; for the others
/// `std::io::Error` prints its own.
#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::from_raw_os_error(errno),
            None => Self::new(text::io_kind(error.kind()), error),
        }
    }
}

/// Keeps the errno where there is one, else the text; an [`Error`] inside comes out again as it was. So a handler that reads from a
/// `std::net::UdpSocket` can use `?`.
#[cfg(feature = "std")]
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        // The kernel's are 1 to 4095.
        if let Some(errno) = error.raw_os_error().and_then(|errno| u16::try_from(errno).ok()) {
            return Self::system(Operation::Custom, Object::Nothing, Errno(errno));
        }
        error.downcast::<Self>().unwrap_or_else(|error| {
            let message = std::string::ToString::to_string(&error).into_boxed_str();
            Self::new(Operation::Custom, Object::Message(message), text::kind_of_io(error.kind()))
        })
    }
}

/// The beginning of a text that a user gave, kept without a heap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Excerpt {
    bytes: [u8; Self::CAPACITY],
    length: u8,
    is_cut: bool,
}

impl Excerpt {
    const CAPACITY: usize = 34;

    /// As much of `text` as fits, cut between characters.
    pub(crate) fn new(text: &str) -> Self {
        let mut kept = text;
        while kept.len() > Self::CAPACITY {
            let mut rest = kept.chars();
            rest.next_back();
            kept = rest.as_str();
        }
        let mut bytes = [0; Self::CAPACITY];
        for (to, from) in bytes.iter_mut().zip(kept.bytes()) {
            *to = from;
        }
        Self { bytes, length: kept.len() as u8, is_cut: kept.len() < text.len() }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.length)).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fits_into_48_bytes() {
        assert!(size_of::<Error>() <= 48, "{}", size_of::<Error>());
    }

    #[cfg(feature = "std")]
    #[test]
    fn an_error_of_std_keeps_its_errno_or_its_text() {
        use std::io;
        use std::string::ToString;

        let refused = Error::from(io::Error::from_raw_os_error(linux::ECONNREFUSED as i32));
        assert_eq!(refused.raw_os_error(), Some(linux::ECONNREFUSED as i32));
        assert_eq!(refused.to_string(), "connection refused");
        let worded = Error::from(io::Error::new(io::ErrorKind::InvalidInput, "no such colour"));
        assert_eq!((worded.to_string().as_str(), worded.kind()), ("no such colour", ErrorKind::InvalidInput));
        let own = Error::custom(ErrorKind::NotRegistered, "gone");
        assert_eq!(Error::from(io::Error::from(own.clone())), own);
    }

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        let long = "é".repeat(40);
        assert_eq!(Excerpt::new(&long).as_str(), "é".repeat(17));
        assert_eq!(Excerpt::new("eth0").as_str(), "eth0");
        assert_eq!(Excerpt::new("").as_str(), "");
    }
}
