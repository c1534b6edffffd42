//! Metadata of packets over a link, compared with what tshark prints for the same packets.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::common;
use crate::common::link::{Pair, index_of, named};
use crate::common::segments::Sender;
use crate::common::{PATIENCE, is_installed, unique_group, unique_v6_group};
use multicast::{
    Events, Group, Interest, ListenOptions, Listener, Membership, Poller, Progress, Received, SendOptions, Token, Ttl,
};

/// tshark on an interface. It prints the headers of UDP packets to a port. It ends when this is dropped, or after a minute.
struct Tshark {
    child: Child,
    lines: Receiver<String>,
}

/// One packet, in tshark's format.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    length: usize,
    interface: String,
    destination: String,
    hops: u8,
    class: u8,
    time: Duration,
}

impl Tshark {
    /// Starts it, and sends with `sender` until it prints a packet.
    fn on(interface: &str, port: u16, sender: &mut Sender) -> Self {
        let fields =
            "udp.length frame.interface_name frame.time_epoch ip.dst ipv6.dst ip.ttl ipv6.hlim ip.dsfield ipv6.tclass";
        let mut child = Command::new("tshark")
            .args(["-n", "-l", "-i", interface, "-a", "duration:60", "-f", &format!("udp dst port {port}"), "-T", "fields"])
            .args(fields.split(' ').flat_map(|field| ["-e", field]))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = common::lines_of(child.stdout.take().unwrap());
        let tshark = Self { child, lines };
        common::wait_until_mut("tshark captures", || {
            sender.send(b"");
            tshark.lines.try_recv().is_ok()
        });
        tshark
    }

    /// The next packet with this many bytes of payload.
    fn next(&self, payload: usize) -> Seen {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("tshark sees the packet");
            let seen = Seen::read(&line).unwrap_or_else(|| panic!("not a packet: '{line}'"));
            if seen.length == payload {
                return seen;
            }
        }
    }
}

impl Drop for Tshark {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Seen {
    /// Fields between tabs. The fields of the other family are empty.
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split('\t').collect();
        let [length, interface, time, to_v4, to_v6, ttl, hop_limit, tos, class] = words[..] else { return None };
        let (seconds, nanoseconds) = time.split_once('.')?;
        let class = format!("{tos}{class}");
        Some(Self {
            // The length in the UDP header includes the header.
            length: length.parse::<usize>().ok()?.checked_sub(8)?,
            interface: interface.into(),
            destination: format!("{to_v4}{to_v6}"),
            hops: format!("{ttl}{hop_limit}").parse().ok()?,
            class: u32::from_str_radix(class.strip_prefix("0x")?, 16).ok()?.try_into().ok()?,
            time: Duration::new(seconds.parse().ok()?, nanoseconds.parse().ok()?),
        })
    }
}

/// The next packet's metadata in the same format.
fn told(listener: &mut Listener<256>, interface: &str) -> Seen {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(listener, Token(0), Interest::READABLE).unwrap();
    assert_eq!(poller.poll(&mut events, PATIENCE).unwrap().count(), 1);
    let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
    let metadata = packet.metadata().expect("it was asked for");
    assert_eq!(metadata.interface, Some(index_of(interface)));
    Seen {
        length: packet.wire_length(),
        interface: interface.into(),
        destination: metadata.destination.unwrap().to_string(),
        hops: metadata.hop_limit.unwrap(),
        class: metadata.traffic_class.unwrap(),
        time: metadata.received_at().unwrap(),
    }
}

fn listener(group: Group, interface: &str) -> Listener<256> {
    ListenOptions::new().metadata().bind(Membership::any(group).on(named(interface))).unwrap()
}

#[test]
fn metadata_is_what_tshark_sees_on_the_wire() {
    if !is_installed("tshark") {
        return;
    }
    let pair = Pair::new();
    for group in [unique_group(), unique_v6_group(5)] {
        let mut sender = Sender::to(&group.address().to_string(), group.port(), &pair.a, &pair.addresses[0].to_string());
        let tshark = Tshark::on(&pair.b, group.port(), &mut sender);
        let mut listener = listener(group, &pair.b);
        for (payload, (hops, class)) in (100..).zip([(1, 0), (255, 0xfc), (33, 0xb9), (64, 0x02)]) {
            sender.mark(hops, class);
            sender.send(&vec![b'x'; payload]);
            let seen = tshark.next(payload);
            assert_eq!((seen.hops, seen.class), (hops, class), "the sender did not do what it was told");
            // The kernel uses one time stamp for both, so they are equal to the nanosecond.
            assert_eq!(told(&mut listener, &pair.b), seen);
        }
    }
}

#[test]
fn tshark_sees_our_batch_as_single_packets() {
    if !is_installed("tshark") {
        return;
    }
    let pair = Pair::new();
    // A virtual link passes batches on whole. With this feature off they are cut, as on a real link.
    common::link::run(&format!("ip link set {} gso_max_segs 1", pair.a));
    let group = unique_group();
    let mut sender = Sender::to(&group.address().to_string(), group.port(), &pair.a, &pair.addresses[0].to_string());
    let mut listener = listener(group, &pair.b);
    let tshark = Tshark::on(&pair.b, group.port(), &mut sender);
    while let Received::Packet(_) = listener.recv().unwrap() {}
    let options = SendOptions::new().interface(named(&pair.a)).ttl(Ttl::REGION).traffic_class(0xb8);
    let packets = [[b'x'; 200].as_slice(), &[b'y'; 200], &[b'z'; 150]];
    assert_eq!(options.batches::<8, _>(group, packets).unwrap().step().unwrap(), Progress::Sent(3));
    for packet in packets {
        let seen = tshark.next(packet.len());
        assert_eq!((seen.hops, seen.class), (64, 0xb8));
        assert_eq!(told(&mut listener, &pair.b), seen);
    }
}
