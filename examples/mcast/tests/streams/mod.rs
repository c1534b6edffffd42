//! What the tests of `mcast watch` share: the program on `lo`, its JSON, and a sender that is `ffmpeg`, with losses that a test knows.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use multicast::Group;
use serde_json::Value;

use crate::common::{Python, wait_until};
use crate::mcast::mcast;
use crate::programs::{Ended, Running, wait_for_member};

/// `mcast watch` of a group on `lo`, with more arguments. It is a member of the group when this returns.
pub fn watch(group: Group, arguments: &[&str]) -> Running {
    let from = group.to_string();
    let mut command = mcast(["watch", "--interface", "lo", "--from", &from]);
    command.args(arguments);
    let running = Running::start(&mut command);
    wait_for_member(group);
    running
}

/// The objects that it printed and that were not taken, of this kind.
pub fn objects(ended: &Ended, kind: &str) -> Vec<Value> {
    let objects = ended.lines.iter().map(|line| serde_json::from_str::<Value>(line).expect(line));
    objects.inspect(|object| assert_eq!(object["version"], 2)).filter(|object| object["kind"] == kind).collect()
}

/// The total, which is the last object.
pub fn total(ended: &Ended) -> Value {
    let last = serde_json::from_str::<Value>(ended.lines.last().expect("a total")).unwrap();
    assert_eq!(last["kind"], "total", "{last}");
    last
}

/// The only source in the total.
pub fn only_source(ended: &Ended) -> Value {
    let total = total(ended);
    let [group] = total["groups"].as_array().unwrap().as_slice() else { panic!("one group: {total}") };
    let [source] = group["sources"].as_array().unwrap().as_slice() else { panic!("one source: {total}") };
    source.clone()
}

/// The next object of a running program that has this kind.
pub fn next_object(running: &Running, kind: &str) -> Value {
    loop {
        let object: Value = serde_json::from_str(&running.line()).unwrap();
        if object["kind"] == kind {
            return object;
        }
    }
}

/// Waits until nothing is left in the receive buffer of the group's socket, according to the kernel's list. A signal ends the program
/// also if packets wait there.
pub fn wait_until_read(group: Group) {
    let (list, local) =
        (if group.address().is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" }, format!(":{:04X}", group.port()));
    wait_until("all packets are read", || {
        let list = std::fs::read_to_string(list).unwrap();
        let mut sockets = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        sockets.any(|words| words[1].ends_with(&local) && words[4].ends_with(":00000000"))
    });
}

/// These fields of an object, as an array.
pub fn pick<const N: usize>(object: &Value, keys: [&str; N]) -> Value {
    keys.iter().map(|key| object[*key].clone()).collect()
}

/// A packet of RTP with 20 ms of silence.
pub fn rtp(ssrc: u32, number: u16) -> Vec<u8> {
    let timestamp = u32::from(number) * 160;
    let fixed = [&[0x80, 0][..], &number.to_be_bytes(), &timestamp.to_be_bytes(), &ssrc.to_be_bytes()].concat();
    [fixed, vec![0xff; 160]].concat()
}

/// Seven packets of MPEG-TS with one PID: the first has this counter.
pub fn cells(pid: u16, continuity: u8) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let cell = |cell: u8| [&[0x47, high, low, 0x10 | (continuity.wrapping_add(cell) & 0x0f)][..], &[cell; 184]].concat();
    (0..7).flat_map(cell).collect()
}

/// Sends to a group on `lo` what comes to its own port, but for each packet whose number, from 0 on, is `rest` after division by
/// `divisor`, and that is not among the first 30. It writes what it sends into a file.
const RELAY: &str = r#"
import select, socket, sys
group, port, divisor, rest, path = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
incoming = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
incoming.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
incoming.bind(("127.0.0.1", 0))
outgoing = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
outgoing.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
print(incoming.getsockname()[1])
number = sent = lost = waiting = 0
with open(path, "wb") as file:
    while True:
        ready = select.select([incoming, sys.stdin], [], [])[0]
        if incoming in ready:
            packet = incoming.recv(65536)
            if number >= 30 and number % divisor == rest:
                waiting += 1
            else:
                # Only what is followed by another packet is missed.
                lost, waiting = lost + waiting, 0
                outgoing.sendto(packet, (group, port))
                file.write(packet)
                sent += 1
            number += 1
        elif sys.stdin in ready:
            break
print(sent, lost)
"#;

/// A relay on the way, which loses packets.
pub struct Relay {
    python: Python,
    pub port: u16,
    /// What it sent.
    pub file: PathBuf,
}

impl Relay {
    /// Loses each packet whose number is `rest` after division by `divisor`.
    pub fn losing(group: Group, divisor: u32, rest: u32) -> Self {
        let file = std::env::temp_dir().join(format!("mcast-watch-{}.ts", group.port()));
        let arguments = [group.address().to_string(), group.port().to_string(), divisor.to_string(), rest.to_string()];
        let arguments = arguments.iter().map(String::as_str).chain([file.to_str().unwrap()]);
        let mut python = Python::start(RELAY, &arguments.collect::<Vec<_>>());
        let port = python.line().parse().unwrap();
        Self { python, port, file }
    }

    /// How many packets it sent, and how many were missed by a receiver.
    pub fn end(&mut self) -> (u64, u64) {
        self.python.say("");
        let line = self.python.line();
        let (sent, lost) = line.split_once(' ').unwrap();
        (sent.parse().unwrap(), lost.parse().unwrap())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// `ffmpeg`, which sends a film of this many seconds. It is ended when this is dropped.
pub struct Ffmpeg(Child);

impl Ffmpeg {
    pub fn sending(seconds: u32, format: &str, to: &str) -> Self {
        let picture = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-f", "lavfi", "-i", "sine"];
        let coding = ["-c:v", "mpeg2video", "-b:v", "2M", "-c:a", "mp2"];
        let child = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error"])
            .args(picture)
            .args(["-t", &seconds.to_string()])
            .args(coding)
            .args(["-f", format, to])
            .stdin(Stdio::null())
            .spawn();
        Self(child.expect("ffmpeg is needed for the tests against other senders: install it"))
    }

    /// Waits until it has sent everything.
    pub fn end(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
