use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use linux_raw_sys::general::{__NR_getpid, __NR_read};
use linux_raw_sys::net::MSG_TRUNC;

use super::by_library::syscall as by_the_library;
use super::*;

/// Checks both ways, on processors that have two.
fn each_way(number: u32, arguments: impl Fn() -> [usize; 6], check: impl Fn(Result<usize, Errno>)) {
    // SAFETY: the tests below pass what the calls take.
    unsafe {
        check(call(number, arguments()));
        check(checked(by_the_library(number, arguments())));
    }
}

#[test]
fn a_call_returns_what_the_kernel_returned() {
    each_way(__NR_getpid, || [0; 6], |returned| assert_eq!(returned, Ok(std::process::id() as usize)));
}

#[test]
fn a_refused_call_returns_the_errno() {
    let closed = || [u32::MAX as usize, 0, 0, 0, 0, 0];
    each_way(__NR_read, closed, |returned| assert_eq!(returned, Err(Errno(linux_raw_sys::errno::EBADF as u16))));
}

#[test]
fn all_six_arguments_arrive() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut buffer, mut source, mut length) = ([0_u8; 4], [0_u8; 28], 28_u32);
    let port = sender.local_addr().unwrap().port().to_be_bytes();
    let (buffer_at, source_at, length_at) = (buffer.as_mut_ptr(), source.as_mut_ptr(), &raw mut length);
    let arguments = || {
        sender.send_to(b"abcdef", receiver.local_addr().unwrap()).unwrap();
        let fd = receiver.as_raw_fd() as usize;
        [fd, buffer_at as usize, 4, MSG_TRUNC as usize, source_at as usize, length_at as usize]
    };
    each_way(linux_raw_sys::general::__NR_recvfrom, arguments, |returned| {
        assert_eq!(returned, Ok(6), "the true length, because of the flag");
        // SAFETY: the three are local variables, which nothing else uses at the same time.
        unsafe {
            assert_eq!(buffer_at.cast::<[u8; 4]>().replace([0; 4]), *b"abcd");
            assert_eq!(source_at.cast::<[u8; 28]>().replace([0; 28])[2..4], port);
            assert_eq!(length_at.replace(28), 16);
        }
    });
}
