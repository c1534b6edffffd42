//! The handle-based API: the kernel does not watch a descriptor, as at the limit `fs.epoll.max_user_watches`, or lets nobody watch the
//! interfaces.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::common::refusing::refusing;
use crate::common::{PATIENCE, unique_group, unique_v6_group};
use crate::compat_help::{GO_ON, Log, On, from, noting, pipe, to};
use multicast::compat::{Flags, MulticastListener, Multicaster, Poller, poll};
use multicast::{ErrorKind, Interface};

/// ENOSPC for EPOLL_CTL_ADD, and for this descriptor alone.
const REFUSED: i32 = 100;
const RULE: &str = "epoll_ctl:28:1=1:2=100";

/// Opens files, so that the next descriptor is the refused one.
fn fill_up() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        let file = File::open("/dev/null").unwrap();
        match file.as_raw_fd() {
            REFUSED => return files,
            _ => files.push(file),
        }
    }
}

/// Polls for some attempts, and expects no error.
fn expect_no_error(poller: &Poller) {
    let end = Instant::now() + Duration::from_millis(400);
    while Instant::now() < end {
        assert_eq!(poller.poll(Duration::from_millis(50)), Ok(0));
    }
}

#[test]
fn pushed_packets_stay_in_the_queue_while_the_kernel_does_not_watch_the_socket() {
    if refusing("pushed_packets_stay_in_the_queue_while_the_kernel_does_not_watch_the_socket", &[RULE]).is_none() {
        return;
    }
    let (poller, group) = (Poller::new().unwrap(), unique_group());
    // The first one opens the poller's watcher of interfaces.
    let first = Multicaster::live([""; 0], to(group).poller(&poller)).unwrap();
    let files = fill_up();
    let live = Multicaster::live([], to(group).poller(&poller)).unwrap();
    drop(files);
    live.push("one").unwrap();
    live.push("two").unwrap();
    let error = poller.poll(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert!(error.to_string().contains("fs.epoll.max_user_watches"), "{error}");
    live.push("three").unwrap();
    expect_no_error(&poller);
    assert!(live.handle().is_registered() && first.handle().is_registered());
    assert_eq!(live.queued(), 3);
    let caster = poller.unregister(live.handle()).unwrap().unwrap();
    assert!(caster.into_unsent().eq(["one", "two", "three"]));
}

#[test]
fn a_handler_stays_when_the_kernel_does_not_watch_its_descriptor_and_is_refused_when_it_is_new() {
    const NAME: &str = "a_handler_stays_when_the_kernel_does_not_watch_its_descriptor_and_is_refused_when_it_is_new";
    if refusing(NAME, &[RULE]).is_none() {
        return;
    }
    let poller = Poller::new().unwrap();
    let files = fill_up();
    let (here, _there) = pipe();
    drop(files);
    assert_eq!(here.as_raw_fd(), REFUSED);
    let twin = On::write(here.try_clone().unwrap(), |_| Ok(GO_ON));
    let idle = On { interest: Flags::NONE, ..On::write(here, |_| Ok(GO_ON)) };
    let handle = poller.register(idle, Flags::NONE).unwrap();
    assert_eq!(handle.with(|on| on.interest = Flags::WRITE).unwrap_err().kind(), ErrorKind::LimitReached);
    expect_no_error(&poller);
    assert!(handle.is_registered());
    // With a descriptor that the kernel watches, it goes on.
    assert_eq!(handle.with(|on| std::mem::replace(&mut on.stream, twin.stream)).map(|old| old.is_some()), Ok(true));
    assert_eq!(poller.poll(PATIENCE), Ok(1));
    let files = fill_up();
    let (here, _there) = pipe();
    drop(files);
    let new = poller.register(On::write(here, |_| Ok(GO_ON)), Flags::NONE);
    assert_eq!(new.map(drop).unwrap_err().kind(), ErrorKind::LimitReached);
}

/// As in a service with `RestrictAddressFamilies=AF_INET6`.
#[test]
fn without_netlink_multicasters_and_listeners_work_and_do_not_follow() {
    let name = "without_netlink_multicasters_and_listeners_work_and_do_not_follow";
    if refusing(name, &["socket:97:0=16", "socket:1:0=16"]).is_none() {
        return;
    }
    let (group, log) = (unique_v6_group(5), Log::new());
    let lo = Interface::Index(std::num::NonZeroU32::MIN);
    let listener = MulticastListener::new(noting(&log), from(group).interface(lo)).unwrap();
    let caster = Multicaster::new(["one", "two"], to(group).interface(lo)).unwrap();
    while log.len() < 2 {
        assert!(poll(PATIENCE).unwrap() > 0);
    }
    assert_eq!(log.take(), [b"one", b"two"]);
    assert!(listener.is_registered() && !caster.is_registered());
    // One that waits for its interface would wait for ever.
    let missing = from(group).interface("missing0".parse().unwrap());
    assert!(MulticastListener::new(noting(&log), missing).is_err());
}
