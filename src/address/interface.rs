//! Network interfaces, as a user names them.

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU32;

/// A network interface, as the user names it. The kernel is asked which one that is when a membership is joined, or a
/// multicaster is made.
///
/// Parsed and printed as: digits for an index, an IP address for an address, `default`, `all`, anything else for a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interface {
    /// The one that the routing table names for the group.
    #[default]
    Default,
    /// For listening: every interface that is up and capable of multicast (`IFF_MULTICAST`, which `lo` is not). A packet comes once
    /// for each of them that it arrives on. Sending takes one multicaster an interface.
    All,
    /// The one of this index (`if_nametoindex(3)`, `ip link`).
    Index(NonZeroU32),
    /// The one of this name.
    Name(Name),
    /// The one that has this address.
    Address(IpAddr),
}

impl Interface {
    /// The loopback interface, `lo`: packets do not leave the machine.
    pub const LOOPBACK: Self = Self::Name(Name::LOOPBACK);
}

impl From<Name> for Interface {
    fn from(name: Name) -> Self {
        Self::Name(name)
    }
}

impl From<NonZeroU32> for Interface {
    fn from(index: NonZeroU32) -> Self {
        Self::Index(index)
    }
}

impl From<IpAddr> for Interface {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::All => f.write_str("all"),
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The name of an interface, as the kernel allows it: 1 to 15 bytes, no blank, no `/`, no `:`, and neither `.` nor `..`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// The name, and zeros behind it: at least one, as C wants it (`IFNAMSIZ` is 16).
    bytes: [u8; Self::CAPACITY],
}

impl Name {
    const CAPACITY: usize = linux_raw_sys::net::IFNAMSIZ as usize;
    const LOOPBACK: Self = Self { bytes: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0" };

    /// The interface of this name, whether there is one or not; `None` where the kernel would not let an interface be called so.
    pub(crate) fn known(name: &str) -> Option<Self> {
        Self::checked(name.as_bytes(), |_| true)
    }

    /// The same of ASCII, as arguments and configuration have it; `None` where it is none, or no name. It needs less code than
    /// [`new`](Self::new), which counts in a program of a few kilobytes.
    #[must_use]
    pub fn from_ascii(name: &[u8]) -> Option<Self> {
        Self::checked(name, |byte| byte.is_ascii())
    }

    /// The rule of the kernel's `dev_valid_name()`, whose `isspace()` takes Latin-1's no-break space for a blank too.
    fn checked(name: &[u8], is_allowed: impl Fn(&u8) -> bool) -> Option<Self> {
        let mut bytes = [0; Self::CAPACITY];
        if matches!(name, b"" | b"." | b"..") || name.len() >= bytes.len() {
            return None;
        }
        for (to, from) in bytes.iter_mut().zip(name) {
            if !is_allowed(from) || matches!(from, 0 | b'/' | b':' | b' ' | 0x09..=0x0d | 0xa0) {
                return None;
            }
            *to = *from;
        }
        Some(Self { bytes })
    }

    /// A name as the kernel writes it, with zeros behind it or not; `None` where it is none, or not UTF-8.
    pub(crate) fn from_c_bytes(name: &[u8]) -> Option<Self> {
        let name = name.split(|byte| *byte == 0).next()?;
        core::str::from_utf8(name).ok().and_then(Self::known)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(Self::CAPACITY);
        self.bytes.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// The name with at least one zero behind it.
    pub(crate) const fn as_c_bytes(&self) -> &[u8; Self::CAPACITY] {
        &self.bytes
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
