//! The handle-based API: who owns a handler, when it is dropped, and what the poller counts meanwhile.
#![cfg(feature = "std")]

mod common;
mod compat_help;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::PATIENCE;
use compat_help::readable_pipe;
use multicast::ErrorKind;
use multicast::compat::{Flags, Handler, Poller};

#[test]
fn a_handler_without_the_method_that_its_interest_calls_for_ends_with_an_error_that_names_it() {
    struct Lacking(UnixStream, Flags);
    impl AsFd for Lacking {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Handler for Lacking {
        fn interest(&self) -> Flags {
            self.1
        }
    }
    let poller = Poller::new().unwrap();
    for (interest, flags, method) in [
        (Flags::READ, Flags::NONE, "handle_read"),
        (Flags::WRITE, Flags::NONE, "handle_write"),
        (Flags::NONE, Flags::READ, "handle_read"),
        (Flags::NONE, Flags::WRITE, "handle_write"),
    ] {
        let (here, _there) = readable_pipe();
        let handle = poller.register(Lacking(here, interest), flags).unwrap();
        let error = poller.poll(PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("has no {method}: write one, or take")), "{error}");
        assert!(!handle.is_registered());
    }
    // One that waits for nothing needs none.
    let (here, _there) = readable_pipe();
    let handle = poller.register(Lacking(here, Flags::NONE), Flags::NONE).unwrap();
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    assert!(handle.is_registered());
}
