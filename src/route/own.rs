//! What a program writes about itself into its messages: the index of an interface, and its own address there.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;

use super::netlink::Question;
use super::{any_socket, ask_for_route, by_address, by_name, each_address, is_gone};
use crate::address::is_link_local;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::{Family, Interface};

impl Interface {
    /// The current index of this interface (`if_nametoindex(3)`). An index is returned as it is, whether or not it is in use.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchInterface`]; [`ErrorKind::InterfaceNeeded`] for [`Interface::Default`], which may be another one for each
    /// group; [`ErrorKind::OneInterface`] for [`Interface::All`].
    #[doc(alias = "if_nametoindex")]
    pub fn index(self) -> Result<NonZeroU32> {
        let found = match self {
            Self::Index(index) => Ok(Some(index)),
            Self::Name(name) => by_name(&name, true).map(Some),
            Self::Address(address) => by_address(address),
            Self::Default => {
                let text = "find the interface: the default one depends on the group: name an interface, such as eth0";
                return Err(Error::custom(ErrorKind::InterfaceNeeded, text));
            }
            Self::All => {
                return Err(Error::custom(
                    ErrorKind::OneInterface,
                    "find the interface: `all` is not one: name one, such as eth0",
                ));
            }
        };
        match found {
            Ok(Some(index)) => Ok(index),
            Ok(None) => Err(Error::new(Operation::Resolve, self.object(), ErrorKind::NoSuchInterface)),
            Err(errno) => Err(Error::system(Operation::Resolve, self.object(), errno)),
        }
    }

    /// An address of this machine on this interface, as protocols such as KNX, SAP and SSDP write it into their messages
    /// (`rtnetlink(7)`). It asks the kernel at each call: call it again when the addresses change
    /// ([`Change::Address`](crate::Change::Address)).
    ///
    /// If there are several, it is the one that the kernel takes as the source of packets which leave on this interface, to groups of
    /// any size: for IPv6 one that is valid beyond the link (RFC 6724), or else the link-local one. [`Interface::Address`] of this family
    /// is the answer itself, if an interface has it.
    ///
    /// ```no_run
    /// # use multicast::{Family, Interface};
    /// let eth0: Interface = "eth0".parse()?;
    /// println!("LOCATION: http://{}/description.xml", eth0.address(Family::V4)?);
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`index`](Self::index); [`ErrorKind::NoAddress`] if the interface has no address of this family.
    #[doc(alias = "getifaddrs")]
    pub fn address(self, family: Family) -> Result<IpAddr> {
        let index = self.index()?;
        match self {
            Self::Address(address) if address.is_ipv4() == (family == Family::V4) => Ok(address),
            _ => match own_address(family, index) {
                Ok(Some(address)) => Ok(address),
                Ok(None) => {
                    let is_gone = any_socket(family == Family::V4).is_ok_and(|socket| is_gone(&socket, index));
                    let kind = if is_gone { ErrorKind::NoSuchInterface } else { ErrorKind::NoAddress };
                    Err(Error::new(Operation::Resolve, self.object(), kind))
                }
                Err(errno) => Err(Error::system(Operation::Resolve, self.object(), errno)),
            },
        }
    }

    const fn object(self) -> Object {
        match self {
            Self::Name(name) => Object::Interface(name),
            Self::Address(address) => Object::Address(address),
            Self::Index(index) => Object::Number(index.get() as i64),
            Self::Default | Self::All => Object::Nothing,
        }
    }
}

fn own_address(family: Family, interface: NonZeroU32) -> core::result::Result<Option<IpAddr>, Errno> {
    // Groups of global scope.
    let everywhere = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(224, 0, 1, 0)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1)),
    };
    // There may be no route, as on `lo` or while the interface is down: then any address will do. But the kernel may also choose one of
    // another interface.
    let chosen = ask_for_route(&Question::route(everywhere, Some(interface))).ok().and_then(|route| route.source);
    let is_wanted: [&dyn Fn(IpAddr) -> bool; 3] =
        [&|address| Some(address) == chosen, &|address| !is_link_local(address), &|_| true];
    for is_wanted in is_wanted {
        let mut found = None;
        each_address(family == Family::V4, &mut |index, its| {
            if index == interface && is_wanted(its) {
                found = found.or(Some(its));
            }
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
