//! A link that loses, duplicates, reorders, corrupts and delays packets: a relay between two taps. A plan from a seed says what
//! it does to each packet, so that a case knows exactly which packets must arrive.

use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::network::{Host, address};
use crate::trial::helper;

/// What the relay does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    Lose,
    Double,
    /// Forwards it after this many of the packets that follow it.
    Overtaken(usize),
    /// Flips one bit of its payload: this one, modulo their number.
    Corrupt(usize),
    Delay(Duration),
}

/// Pseudo-random numbers from a seed (SplitMix64, by Sebastiano Vigna, in the public domain).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// The numbers of the packets that arrive, in order, if none is delayed.
pub fn arrivals(plan: &[Fate]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut held: Vec<(usize, usize)> = Vec::new();
    for (number, fate) in plan.iter().enumerate() {
        match fate {
            Fate::Pass | Fate::Delay(_) => order.push(number),
            Fate::Double => order.extend([number; 2]),
            Fate::Lose | Fate::Corrupt(_) => {}
            Fate::Overtaken(by) => held.push((number + by, number)),
        }
        order.extend(held.extract_if(.., |(after, _)| *after == number).map(|(_, number)| number));
    }
    // No packet follows the last one.
    order.extend(held.into_iter().map(|(_, number)| number));
    order
}

/// A relay that runs until it is dropped.
pub struct Relay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Gives both hosts an `eth0` with the addresses of a cable in subnet 0, and forwards packets from the first to the second.
    /// Packets to this port follow the plan; their first four bytes are their number. All others pass. With `mended`, the
    /// checksum of corrupted packets is corrected.
    pub fn start(sender: &Host, receiver: &Host, port: u16, plan: Vec<Fate>, mended: bool) -> Self {
        let [from, to] = [sender, receiver].map(tap);
        for (number, host) in [(1, sender), (2, receiver)] {
            // Packets that the relay has not read yet wait in the tap: up to this many (default: 500).
            host.ip(&["link set eth0 txqueuelen 10000", "link set eth0 up"]);
            address(0, number, (host, "eth0"));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let its_stop = Arc::clone(&stop);
        let mut work = Work { from, to, port, plan, mended, overtaken: Vec::new(), delayed: Vec::new(), last: 0 };
        let carry = move || {
            while !its_stop.load(Ordering::Relaxed) {
                work.carry();
            }
        };
        let thread = helper().spawn(carry).unwrap();
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Creates a tap, and passes its descriptor to us: in Rust the call would need `unsafe`.
const TAP: &str = r#"
import fcntl, os, socket, struct
tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"eth0", 0x1002))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
socket.send_fds(socket.socket(fileno=0), [b"x"], [tap])
"#;

fn tap(host: &Host) -> File {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", TAP]).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    let output = host.within(|| python.output()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cannot create a tap (may this user open /dev/net/tun?): {said}");
    drop(python);
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0];
    recvmsg(&ours, &mut [std::io::IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::empty()).unwrap();
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    File::from(descriptors.next().unwrap().next().unwrap())
}

struct Work {
    from: File,
    to: File,
    port: u16,
    plan: Vec<Fate>,
    mended: bool,
    /// The overtaken packets, each with the number after which it is due.
    overtaken: Vec<(usize, Vec<u8>)>,
    delayed: Vec<(Instant, Vec<u8>)>,
    /// How many planned packets have come.
    last: usize,
}

impl Work {
    /// Forwards one frame, or a packet that is due, or waits for a short time.
    fn carry(&mut self) {
        for (_, frame) in self.delayed.extract_if(.., |(due, _)| *due <= Instant::now()).collect::<Vec<_>>() {
            self.emit(&frame);
        }
        let mut readable = [PollFd::new(&self.from, PollFlags::IN)];
        poll(&mut readable, Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 })).unwrap();
        let mut buffer = [0; 2000];
        // Nothing to read, or the host was removed.
        let Ok(length) = self.from.read(&mut buffer) else { return };
        self.decide(buffer[..length].to_vec());
    }

    fn decide(&mut self, mut frame: Vec<u8>) {
        let Some(udp) = udp_of(&frame, self.port) else { return self.emit(&frame) };
        let payload = udp + 8;
        let number = u32::from_be_bytes(frame[payload..payload + 4].try_into().unwrap()) as usize;
        assert_eq!(number, self.last, "the sender's own link loses");
        self.last += 1;
        match self.plan[number] {
            Fate::Pass => self.emit(&frame),
            Fate::Lose => {}
            Fate::Double => {
                self.emit(&frame);
                self.emit(&frame);
            }
            Fate::Overtaken(by) => self.overtaken.push((number + by, frame)),
            Fate::Corrupt(bit) => {
                let bit = bit % ((frame.len() - payload) * 8);
                corrupt(&mut frame, udp, payload + bit / 8, 1 << (bit % 8), self.mended);
                self.emit(&frame);
            }
            Fate::Delay(time) => self.delayed.push((Instant::now() + time, frame)),
        }
        let is_end = self.last == self.plan.len();
        for (_, frame) in self.overtaken.extract_if(.., |(after, _)| is_end || *after == number).collect::<Vec<_>>() {
            self.emit(&frame);
        }
    }

    fn emit(&mut self, frame: &[u8]) {
        self.to.write_all(frame).unwrap();
    }
}

/// The offset of the UDP header, if the frame has a packet to this port.
fn udp_of(frame: &[u8], port: u16) -> Option<usize> {
    let (udp, protocol) = match frame.get(12..14)? {
        [0x08, 0x00] => (14 + usize::from(frame.get(14)? & 15) * 4, *frame.get(23)?),
        [0x86, 0xdd] => (54, *frame.get(20)?),
        _ => return None,
    };
    (protocol == 17 && frame.get(udp + 2..udp + 4)? == port.to_be_bytes()).then_some(udp)
}

/// Flips bits of one byte; with `mended`, also corrects the checksum (RFC 1624).
fn corrupt(frame: &mut [u8], udp: usize, place: usize, bits: u8, mended: bool) {
    let word = udp + ((place - udp) & !1);
    let read = |frame: &[u8], at: usize| u32::from(frame[at]) << 8 | frame.get(at + 1).map_or(0, |byte| u32::from(*byte));
    let before = read(frame, word);
    frame[place] ^= bits;
    if mended {
        let after = read(frame, word);
        let mut sum = (!read(frame, udp + 6) & 0xffff) + (!before & 0xffff) + after;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        frame[udp + 6..udp + 8].copy_from_slice(&(!sum as u16).to_be_bytes());
    }
}
