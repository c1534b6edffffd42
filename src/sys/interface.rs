//! Questions about interfaces that any socket can ask (`netdevice(7)`).

use core::net::Ipv4Addr;

use linux_raw_sys::general as number;
use linux_raw_sys::ioctl::{SIOCGIFADDR, SIOCGIFFLAGS, SIOCGIFINDEX, SIOCGIFNAME};
use linux_raw_sys::net::{IFNAMSIZ, net_device_flags};

use super::call::call;
use super::fd::Fd;
use crate::address::put;
use crate::error::Errno;

/// `ioctl(2)`, `SIOCGIFINDEX` (`netdevice(7)`): the index of the interface of this name. `fd` may be any socket.
pub(crate) fn interface_index(fd: &Fd, name: &[u8; IFNAMSIZ as usize]) -> Result<u32, Errno> {
    let mut request = [0; INTERFACE_REQUEST];
    put(&mut request, 0, name);
    ask_for_interface(fd, SIOCGIFINDEX, &mut request)?;
    let index = request.get(IFNAMSIZ as usize..).and_then(|union| union.first_chunk());
    Ok(u32::from_ne_bytes(*index.ok_or(Errno::PROTOCOL)?))
}

/// `ioctl(2)`, `SIOCGIFNAME` (`netdevice(7)`): the name of the interface of this index, as the beginning of an `ifreq`. `fd` may be
/// any socket.
pub(crate) fn interface_name(fd: &Fd, index: u32) -> Result<[u8; INTERFACE_REQUEST], Errno> {
    let mut request = [0; INTERFACE_REQUEST];
    [request[16], request[17], request[18], request[19]] = index.to_ne_bytes();
    ask_for_interface(fd, SIOCGIFNAME, &mut request)?;
    Ok(request)
}

/// `ioctl(2)`, `SIOCGIFADDR` (`netdevice(7)`): the first IPv4 address of the interface of this index, in the kernel's order. `fd` may be
/// any socket.
pub(crate) fn interface_address(fd: &Fd, index: u32) -> Result<Ipv4Addr, Errno> {
    let mut request = interface_name(fd, index)?;
    // No family: else the kernel would look for this address.
    [request[16], request[17]] = [0; 2];
    ask_for_interface(fd, SIOCGIFADDR, &mut request)?;
    // A `sockaddr_in`: family, port, address.
    let address =
        request.get(IFNAMSIZ as usize..).and_then(|union| union.get(4..)).and_then(|address| address.first_chunk());
    Ok(Ipv4Addr::from(*address.ok_or(Errno::PROTOCOL)?))
}

/// `ioctl(2)`, `SIOCGIFFLAGS` (`netdevice(7)`): whether the interface of this index is switched on. `fd` may be any socket.
pub(crate) fn is_interface_up(fd: &Fd, index: u32) -> Result<bool, Errno> {
    let mut request = interface_name(fd, index)?;
    ask_for_interface(fd, SIOCGIFFLAGS, &mut request)?;
    let flags = request.get(IFNAMSIZ as usize..).and_then(|union| union.first_chunk());
    Ok(u16::from_ne_bytes(*flags.ok_or(Errno::PROTOCOL)?) & net_device_flags::IFF_UP as u16 != 0)
}

/// The size of a `struct ifreq`, a name and a union of what is asked for: it is 32 or 40 bytes.
const INTERFACE_REQUEST: usize = 40;

/// `ioctl(2)` with a `struct ifreq` (`netdevice(7)`): one of the requests that read from it and write to it.
fn ask_for_interface(fd: &Fd, question: u32, request: &mut [u8; INTERFACE_REQUEST]) -> Result<(), Errno> {
    // SAFETY: `argp` points to as many bytes as a `struct ifreq` has, which may be written; the kernel keeps no pointer.
    unsafe { call(number::__NR_ioctl, [fd.word(), question as usize, request.as_mut_ptr() as usize, 0, 0, 0]).map(drop) }
}
