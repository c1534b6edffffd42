//! What went wrong: what was tried, on what, and why.
//!
//! The whole crate uses one error type. It fits into 48 bytes, needs no heap in the core, and keeps the kernel's errno. People
//! read `join 239.1.2.3 on eth7: no such interface`; programs match on [`Error::kind`] or [`Error::raw_os_error`].

mod parts;
mod text;

use core::fmt;

pub use parts::ErrorKind;
pub(crate) use parts::{Errno, Excerpt, Object, Operation};

/// The result of this crate's functions. With a second parameter it is the standard one, so that a glob import does no harm.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What went wrong: what was tried, on what, and why.
///
/// `Display` prints one line for people, `OPERATION OBJECT: REASON`. [`kind`](Self::kind) and
/// [`raw_os_error`](Self::raw_os_error) are for programs. With the feature `std` it converts into a `std::io::Error` with the
/// same kind and sentence.
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
    /// `None` if operation and errno determine it: then `kind` looks it up, so the table is linked only into programs that call
    /// `kind`.
    kind: Option<ErrorKind>,
    /// 0 if the kernel did not report an error.
    errno: u16,
    /// The limit that was reached, 0 if it is not known; for an error of sending, how many packets were sent before.
    number: u32,
}

impl Error {
    /// The kind of the error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self.kind {
            Some(kind) => kind,
            None => text::kind_of(self.operation, &self.object, Errno(self.errno)),
        }
    }

    /// The kernel's error number (`errno(3)`); `None` if the error is from this crate.
    #[must_use]
    pub const fn raw_os_error(&self) -> Option<i32> {
        match self.errno {
            0 => None,
            errno => Some(errno as i32),
        }
    }

    /// How many packets `sendto` of the module `compat` had sent before this error; 0 for all other errors.
    #[must_use]
    pub const fn packets_sent(&self) -> usize {
        match self.operation {
            Operation::Send => self.number as usize,
            _ => 0,
        }
    }

    /// The same error, after this many packets were sent.
    #[cfg(feature = "std")]
    pub(crate) fn after_sending(self, packets: usize) -> Self {
        Self { number: packets.try_into().unwrap_or(u32::MAX), ..self }
    }

    /// An error of your own, for example to return from a handler. It prints as `sentence`.
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
        Self { object, operation, kind: Some(kind), errno: 0, number: 0 }
    }

    /// An error that the kernel reported; its kind follows from the errno.
    #[cold]
    pub(crate) const fn system(operation: Operation, object: Object, errno: Errno) -> Self {
        Self { object, operation, kind: None, errno: errno.0, number: 0 }
    }

    /// The same error about something else.
    pub(crate) fn about(self, object: Object) -> Self {
        Self { object, ..self }
    }

    /// Whether the kernel returns this errno for a source address that no interface has, among others.
    #[cold]
    pub(crate) const fn is_about_a_way(&self) -> bool {
        matches!(Errno(self.errno), Errno::UNREACHABLE | Errno::INVALID)
    }

    /// The same error, of a kind that does not follow from the errno.
    pub(crate) fn of_kind(self, kind: ErrorKind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// A limit of the kernel was reached; `limit` is its value.
    #[cold]
    pub(crate) const fn limit(operation: Operation, object: Object, kind: ErrorKind, errno: Errno, limit: u32) -> Self {
        Self { object, operation, kind: Some(kind), errno: errno.0, number: limit }
    }

    /// A pattern is not a regular expression; `message` says why.
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
        match (self.number, self.operation) {
            (0, _) => Ok(()),
            #[cfg(feature = "std")]
            (packets, Operation::Send) => write!(f, "; packets sent before: {packets}"),
            (limit, _) => write!(f, ", set to {limit}"),
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

/// For handlers that call `rustix` themselves and use `?`. The error prints as the meaning of the errno.
///
/// ```
/// # use multicast::{Error, ErrorKind};
/// let error = Error::from(rustix::io::Errno::ACCESS);
/// assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Denied, Some(13)));
/// ```
impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::system(Operation::Custom, Object::Nothing, errno.into())
    }
}

/// Keeps the whole sentence and the kind. The [`Error`] itself is inside, with its errno: a `std::io::Error` cannot hold both a
/// sentence and an errno itself.
///
/// Only an error that came from an errno alone, without a sentence, becomes that errno again.
///
/// ```
/// # use std::io;
/// # use multicast::{Error, Group, Interface, Listener, Membership};
/// # let group: Group = "239.1.2.3:5000".parse()?;
/// let nowhere = Membership::any(group).on("nosuch0".parse()?);
/// let error = io::Error::from(Listener::bind(nowhere).unwrap_err());
/// assert_eq!(error.to_string(), "join 239.1.2.3 on nosuch0: no such interface");
/// assert_eq!(error.kind(), io::ErrorKind::NotFound);
/// let inside: Option<&Error> = error.get_ref().and_then(|inside| inside.downcast_ref());
/// assert_eq!(inside.and_then(Error::raw_os_error), Some(19));
/// # Ok::<(), Error>(())
/// ```
#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let alone = error.raw_os_error().map(Self::from_raw_os_error);
        match (&error.object, error.operation, error.kind(), alone) {
            (Object::Nothing, Operation::Custom, _, Some(errno)) => errno,
            // std knows more kinds than this crate.
            (_, _, ErrorKind::System, Some(errno)) => Self::new(errno.kind(), error),
            (_, _, kind, _) => Self::new(text::io_kind(kind), error),
        }
    }
}

/// Keeps the errno if there is one, else the text. If the `std::io::Error` contains an [`Error`], that is returned unchanged. So
/// a handler that reads from a `std::net::UdpSocket` can use `?`.
#[cfg(feature = "std")]
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        // Errnos of the kernel are 1 to 4095.
        if let Some(errno) = error.raw_os_error().and_then(|errno| u16::try_from(errno).ok()) {
            return Self::system(Operation::Custom, Object::Nothing, Errno(errno));
        }
        error.downcast::<Self>().unwrap_or_else(|error| {
            let message = std::string::ToString::to_string(&error).into_boxed_str();
            Self::new(Operation::Custom, Object::Message(message), text::kind_of_io(error.kind()))
        })
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

        use linux_raw_sys::errno as linux;

        let refused = Error::from(io::Error::from_raw_os_error(linux::ECONNREFUSED as i32));
        assert_eq!(refused.raw_os_error(), Some(linux::ECONNREFUSED as i32));
        assert_eq!(refused.to_string(), "connection refused");
        let worded = Error::from(io::Error::new(io::ErrorKind::InvalidInput, "no such colour"));
        assert_eq!((worded.to_string().as_str(), worded.kind()), ("no such colour", ErrorKind::InvalidInput));
        let own = Error::custom(ErrorKind::NotRegistered, "gone");
        assert_eq!(Error::from(io::Error::from(own.clone())), own);
    }
}
