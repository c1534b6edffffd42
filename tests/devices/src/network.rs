//! The network of the self-test: `lo`, and a pair of virtual Ethernet interfaces, set up by rtnetlink (`rtnetlink(7)`,
//! `veth(4)`).

use std::ffi::CString;
use std::fs::{File, create_dir_all, write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount as mount_at};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::Outcome;

/// The pair: what leaves one comes in at the other.
pub const ENDS: [&str; 2] = ["va", "vb"];
/// Their addresses.
pub const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 8, 1), Ipv4Addr::new(10, 9, 8, 2)];

/// From `linux/rtnetlink.h`, `linux/netlink.h`, `linux/if_link.h`, `linux/if_addr.h`, `linux/veth.h`.
mod number {
    pub const NEW_LINK: u16 = 16;
    pub const DELETE_LINK: u16 = 17;
    pub const NEW_ADDRESS: u16 = 20;
    pub const NEW_ROUTE: u16 = 24;
    pub const REQUEST_AND_ACKNOWLEDGE: u16 = 0x0005;
    pub const CREATE: u16 = 0x0600;
    pub const LINK_NAME: u16 = 3;
    pub const LINK_INFO: u16 = 18;
    pub const INFO_KIND: u16 = 1;
    pub const INFO_DATA: u16 = 2;
    pub const VETH_PEER: u16 = 1;
    pub const ADDRESS_PEER: u16 = 1;
    pub const ADDRESS_LOCAL: u16 = 2;
    pub const NO_DUPLICATE_DETECTION: u8 = 2;
    pub const ROUTE_TO: u16 = 1;
    pub const ROUTE_INTERFACE: u16 = 4;
    pub const ROUTE_SOURCE: u16 = 7;
    pub const UP: u32 = 1;
}

pub fn mount(kind: &str, folder: &str) -> Outcome {
    create_dir_all(folder)?;
    Ok(mount_at(kind, folder, kind, MountFlags::empty(), None::<&std::ffi::CStr>)?)
}

/// Loads a kernel module, if the file exists.
pub fn load(path: &str) -> Outcome {
    if Path::new(path).exists() {
        rustix::system::finit_module(File::open(path)?, &CString::default(), 0)?;
    }
    Ok(())
}

/// Sets up `lo` with a route for multicast, and the pair.
pub fn make() -> Outcome {
    up("lo")?;
    let route = [[2, 4, 0, 0, 254, 3, 253, 1].as_slice(), &[0; 4]].concat();
    let mut body = route;
    attribute(&mut body, number::ROUTE_TO, &[224, 0, 0, 0]);
    attribute(&mut body, number::ROUTE_INTERFACE, &name_index("lo")?.to_ne_bytes());
    attribute(&mut body, number::ROUTE_SOURCE, &[127, 0, 0, 1]);
    ask(number::NEW_ROUTE, number::CREATE, &body)?;
    make_pair()
}

/// Creates the pair, both ends up, with addresses of both families.
pub fn make_pair() -> Outcome {
    let [a, b] = ENDS;
    let mut peer = vec![0; 16];
    attribute(&mut peer, number::LINK_NAME, &name_bytes(b));
    let (mut data, mut info, mut body) = (Vec::new(), Vec::new(), vec![0; 16]);
    attribute(&mut data, number::VETH_PEER, &peer);
    attribute(&mut info, number::INFO_KIND, b"veth");
    attribute(&mut info, number::INFO_DATA, &data);
    attribute(&mut body, number::LINK_NAME, &name_bytes(a));
    attribute(&mut body, number::LINK_INFO, &info);
    ask(number::NEW_LINK, number::CREATE, &body)?;
    for (end, address) in ENDS.into_iter().zip(ADDRESSES) {
        // Both ends are on one machine, so every packet comes from one of our own addresses.
        write(format!("/proc/sys/net/ipv4/conf/{end}/accept_local"), "1")?;
        write(format!("/proc/sys/net/ipv4/conf/{end}/rp_filter"), "0")?;
        write(format!("/proc/sys/net/ipv6/conf/{end}/accept_dad"), "0")?;
        up(end)?;
        add_address(end, address.into(), 24)?;
        let [.., host] = address.octets();
        add_address(end, format!("fd09:8::{host}").parse()?, 64)?;
    }
    Ok(())
}

pub fn delete_pair() -> Outcome {
    let mut body = vec![0; 16];
    attribute(&mut body, number::LINK_NAME, &name_bytes(ENDS[0]));
    Ok(ask(number::DELETE_LINK, 0, &body)?)
}

fn up(name: &str) -> Outcome {
    let mut body = vec![0; 4];
    body.extend(name_index(name)?.to_ne_bytes());
    body.extend(number::UP.to_ne_bytes());
    body.extend(number::UP.to_ne_bytes());
    Ok(ask(number::NEW_LINK, 0, &body)?)
}

fn add_address(name: &str, address: IpAddr, prefix: u8) -> Outcome {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    };
    let mut body = vec![family, prefix, number::NO_DUPLICATE_DETECTION, 0];
    body.extend(name_index(name)?.to_ne_bytes());
    attribute(&mut body, number::ADDRESS_LOCAL, &bytes);
    attribute(&mut body, number::ADDRESS_PEER, &bytes);
    Ok(ask(number::NEW_ADDRESS, number::CREATE, &body)?)
}

pub fn name_index(name: &str) -> Result<u32, Errno> {
    name_to_index(&netlink()?, name)
}

fn name_bytes(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn netlink() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
}

/// Sends one request to the kernel, and waits for the answer.
fn ask(kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
    let socket = netlink()?;
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((number::REQUEST_AND_ACKNOWLEDGE | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 4096];
    recv(&socket, &mut answer, RecvFlags::empty())?;
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(-errno)),
    }
}
