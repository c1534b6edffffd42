//! With a pair of Unix sockets in place of the kernel: an unnamed one has the address that the kernel has, port 0.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::vec::Vec;

use super::*;

/// One message: its type, its flags, and its body.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

fn link(index: u32) -> Vec<u8> {
    let mut body = [0; 4].to_vec();
    body.extend(index.to_ne_bytes());
    body.extend([0; 8]);
    message(16, 0, &body)
}

fn done() -> Vec<u8> {
    message(3, 0, &[0; 4])
}

fn read(socket: UnixDatagram, room: usize) -> (Result<(), Errno>, Vec<u32>) {
    let mut found = Vec::new();
    let mut buffer = std::vec![0; room];
    let result = read_answer(&Fd::from(OwnedFd::from(socket)), &mut buffer, &mut |message| {
        if let Some(Answer::Link { interface, .. }) = message.link() {
            found.push(interface);
        }
        false
    });
    (result, found)
}

#[test]
fn only_the_kernel_is_believed() {
    let place = |name| std::env::temp_dir().join(std::format!("multicast-{}-{name}", std::process::id()));
    let (at, from) = (place("asks"), place("forges"));
    let (ours, unnamed) = (UnixDatagram::bind(&at).unwrap(), UnixDatagram::unbound().unwrap());
    // Where the kernel's address has its port, 0, this one has letters of its path.
    let stranger = UnixDatagram::bind(&from).unwrap();
    stranger.send_to(&link(7), &at).unwrap();
    unnamed.send_to(&[link(3), done()].concat(), &at).unwrap();
    for path in [at, from] {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(read(ours, 8192), (Ok(()), [3].to_vec()));
}

#[test]
fn a_list_that_changed_while_it_was_written_is_no_answer() {
    const INTERRUPTED: u16 = 0x10;
    let (ours, kernel) = UnixDatagram::pair().unwrap();
    let mut changed = link(4);
    changed[6..8].copy_from_slice(&INTERRUPTED.to_ne_bytes());
    kernel.send(&[link(3), changed, done()].concat()).unwrap();
    assert_eq!(read(ours, 8192), (Err(Errno::INTERRUPTED), [3].to_vec()));
}

#[test]
fn a_list_that_changed_is_asked_for_again_ten_times_at_most() {
    for (failures, expected) in [(1, Ok(())), (9, Ok(())), (1000, Err(Errno::INTERRUPTED))] {
        let mut asked = 0;
        let result = again_if_interrupted(&mut || {
            asked += 1;
            if asked > failures { Ok(()) } else { Err(Errno::INTERRUPTED) }
        });
        assert_eq!((result, asked), (expected, (failures + 1).min(10)));
    }
    let mut asked = 0;
    let refused = again_if_interrupted(&mut || {
        asked += 1;
        Err(Errno::NO_MEMORY)
    });
    assert_eq!((refused, asked), (Err(Errno::NO_MEMORY), 1));
}

#[test]
fn a_piece_that_is_cut_is_told() {
    let (ours, kernel) = UnixDatagram::pair().unwrap();
    kernel.send(&[link(3), link(4), link(5)].concat()).unwrap();
    kernel.send(&done()).unwrap();
    assert_eq!(read(ours, 64), (Err(Errno::TOO_LONG), [3, 4].to_vec()));
}
