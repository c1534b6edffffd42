//! With one end of a pair of Unix sockets in place of the kernel: its address is read as port 0, as the kernel's is.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::vec::Vec;

use linux_raw_sys::netlink::{RTM_GETADDR, RTM_GETLINK, RTM_GETSTATS};

use super::*;

/// Links, and the kernel at the other end.
fn pair() -> (Links, UnixDatagram) {
    let (ours, kernel) = UnixDatagram::pair().unwrap();
    for end in [&ours, &kernel] {
        end.set_nonblocking(true).unwrap();
    }
    (Links::on(Fd::from(OwnedFd::from(ours)), Asked::Nothing), kernel)
}

/// The types of the questions that were asked.
fn asked(kernel: &UnixDatagram) -> Vec<u32> {
    let mut question = [0; 64];
    core::iter::from_fn(|| {
        let length = kernel.recv(&mut question).ok()?;
        (length > 0).then(|| u16::from_ne_bytes([question[4], question[5]]).into())
    })
    .collect()
}

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes
}

fn done() -> Vec<u8> {
    message(3, &[0; 4])
}

/// A link of this index, padded to this length.
fn link(index: u32, length: usize) -> Vec<u8> {
    let mut body = [0; 4].to_vec();
    body.extend(index.to_ne_bytes());
    body.resize(length - 16, 0);
    message(16, &body)
}

fn told(links: &mut Links) -> Vec<u32> {
    core::iter::from_fn(|| match links.next().unwrap()? {
        Change::Link(link) => Some(link.index.get()),
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn a_list_that_fails_does_not_stop_the_next_ones() {
    let (mut links, kernel) = pair();
    links.ask(Asked::Links).unwrap();
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
    for next in [&[RTM_GETADDR as u32][..], &[RTM_GETADDR as u32], &[]] {
        // EIO
        kernel.send(&message(2, &(-5_i32).to_ne_bytes())).unwrap();
        assert_eq!(links.next().unwrap_err().raw_os_error(), Some(5));
        assert_eq!(asked(&kernel), next);
    }
}

/// There was no room for it beside the changes that are queued (ENOBUFS).
#[test]
fn lists_are_asked_for_again_if_one_failed_for_a_moment() {
    let (mut links, kernel) = pair();
    let no_room = message(2, &(-105_i32).to_ne_bytes());
    links.ask(Asked::Links).unwrap();
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
    // What is queued before and behind it is read first.
    kernel.send(&link(3, 32)).unwrap();
    kernel.send(&no_room).unwrap();
    kernel.send(&link(4, 32)).unwrap();
    assert_eq!(told(&mut links), [3, 4]);
    assert_eq!(asked(&kernel), [RTM_GETADDR as u32]);
    kernel.send(&done()).unwrap();
    kernel.send(&no_room).unwrap();
    assert_eq!(told(&mut links), []);
    assert_eq!(asked(&kernel), [RTM_GETADDR as u32, RTM_GETLINK as u32]);
    // If it lasts, that is an error, and nothing comes by itself: the next call asks.
    for _ in 0..3 {
        kernel.send(&no_room).unwrap();
        assert_eq!(links.next().unwrap_err().raw_os_error(), Some(105));
        assert_eq!(asked(&kernel), []);
        assert_eq!(links.next(), Ok(None));
        assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
    }
    for next in [&[RTM_GETADDR as u32][..], &[RTM_GETADDR as u32], &[]] {
        kernel.send(&[link(3, 32), done()].concat()).unwrap();
        assert_eq!(told(&mut links), [3]);
        assert_eq!(asked(&kernel), next);
    }
}

/// The kernel says that there was no room, writes the list when there is, and refuses the next one meanwhile (EBUSY).
#[test]
fn a_list_that_comes_after_it_failed_does_not_confuse_the_next_ones() {
    let (mut links, kernel) = pair();
    links.ask(Asked::Links).unwrap();
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
    kernel.send(&message(2, &(-105_i32).to_ne_bytes())).unwrap();
    assert_eq!(links.next(), Ok(None));
    assert_eq!(asked(&kernel), [RTM_GETADDR as u32]);
    kernel.send(&message(2, &(-16_i32).to_ne_bytes())).unwrap();
    kernel.send(&link(3, 32)).unwrap();
    assert_eq!(told(&mut links), [3]);
    assert_eq!(asked(&kernel), []);
    kernel.send(&done()).unwrap();
    assert_eq!(told(&mut links), []);
    // The list that was refused is missing, so all are asked for again, when the last one has ended.
    assert_eq!(asked(&kernel), [RTM_GETADDR as u32]);
    kernel.send(&done()).unwrap();
    assert_eq!(told(&mut links), []);
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
}

/// `NLM_F_DUMP_INTR`: entries may be missing.
#[test]
fn lists_that_changed_while_they_were_written_are_asked_for_again() {
    const INTERRUPTED: u8 = 0x10;
    let (mut links, kernel) = pair();
    links.ask(Asked::Links).unwrap();
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
    let mut changed = link(4, 32);
    changed[6] = INTERRUPTED;
    kernel.send(&[link(3, 32), changed, done()].concat()).unwrap();
    assert_eq!(told(&mut links), [3, 4]);
    // From the first one on, once.
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
    kernel.send(&done()).unwrap();
    assert_eq!(told(&mut links), []);
    assert_eq!(asked(&kernel), [RTM_GETADDR as u32]);
}

/// As the answers of the kernel alone: see `route::asking`.
#[test]
fn only_the_kernel_is_believed() {
    let place = |name| std::env::temp_dir().join(std::format!("multicast-links-{}-{name}", std::process::id()));
    let (at, from) = (place("watches"), place("forges"));
    let (ours, kernel) = (UnixDatagram::bind(&at).unwrap(), UnixDatagram::unbound().unwrap());
    // Where the kernel's address has its port, 0, this one has letters of its path.
    let stranger = UnixDatagram::bind(&from).unwrap();
    ours.set_nonblocking(true).unwrap();
    stranger.send_to(&link(7, 32), &at).unwrap();
    kernel.send_to(&link(3, 32), &at).unwrap();
    for path in [at, from] {
        std::fs::remove_file(path).unwrap();
    }
    let mut links = Links::on(Fd::from(OwnedFd::from(ours)), Asked::Nothing);
    assert_eq!(told(&mut links), [3]);
}

#[test]
fn a_question_that_was_not_sent_is_sent_later_and_the_lists_are_completed() {
    let (mut links, kernel) = pair();
    // The queue of the kernel is full.
    let full = core::iter::repeat_with(|| rustix::net::send(&links.socket, b"", SendFlags::empty()));
    assert!(full.take(100_000).any(|sent| sent.is_err()));
    assert!(links.refresh().is_err());
    assert!(links.next().is_err());
    while kernel.recv(&mut [0]).is_ok() {}
    assert_eq!(links.next(), Ok(None));
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
    // Later ones are asked, too.
    for next in [&[RTM_GETADDR as u32][..], &[RTM_GETADDR as u32], &[]] {
        kernel.send(&[link(3, 32), done()].concat()).unwrap();
        assert_eq!(told(&mut links), [3]);
        assert_eq!(asked(&kernel), next);
    }
    links.refresh().unwrap();
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
}

/// The other interfaces are asked about one by one. Here there is only `lo`.
#[test]
fn interfaces_behind_an_answer_that_is_cut_off_are_asked_for_again() {
    let (mut links, kernel) = pair();
    links.ask(Asked::Links).unwrap();
    assert_eq!(asked(&kernel), [RTM_GETLINK as u32]);
    kernel.send(&[link(7, 9_000), link(8, 32)].concat()).unwrap();
    kernel.send(&done()).unwrap();
    assert_eq!(told(&mut links), [7]);
    assert_eq!(asked(&kernel), [RTM_GETSTATS as u32]);
    let counters = message(92, &[[0; 4], 1_u32.to_ne_bytes(), [0; 4]].concat());
    kernel.send(&[counters, done()].concat()).unwrap();
    assert_eq!(told(&mut links), [1]);
    assert_eq!(asked(&kernel), [RTM_GETADDR as u32]);
    // Or the kernel itself says that one did not fit (EMSGSIZE).
    kernel.send(&done()).unwrap();
    kernel.send(&done()).unwrap();
    assert_eq!(told(&mut links), []);
    links.refresh().unwrap();
    asked(&kernel);
    kernel.send(&[link(7, 32), message(3, &(-90_i32).to_ne_bytes())].concat()).unwrap();
    assert_eq!(told(&mut links), [7]);
    assert_eq!(asked(&kernel), [RTM_GETSTATS as u32]);
    kernel.send(&done()).unwrap();
    assert_eq!(told(&mut links), []);
    assert_eq!(asked(&kernel), [RTM_GETADDR as u32]);
    // A report of one change is short enough, or what is needed of it is.
    kernel.send(&link(9, 9_000)).unwrap();
    kernel.send(&done()).unwrap();
    assert_eq!(told(&mut links), [9]);
    assert_eq!(asked(&kernel), [RTM_GETADDR as u32]);
}
