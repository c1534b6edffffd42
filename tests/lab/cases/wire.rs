//! What is on the wire when we join and leave: IGMPv3 (RFC 3376) and MLDv2 (RFC 3810), as tshark reads it at the other end.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use multicast::{Listener, Membership};

use crate::cases::hosts::two_hosts;
use crate::network::{Host, interface};
use crate::peers::{Kind, PATIENCE, Tshark, join};
use crate::trial::{Case, Trial};

use Record::{AllowNew, BlockOld, IsExclude, IsInclude, ToExclude, ToInclude};

pub fn cases() -> Vec<Case> {
    let both = |name: [&'static str; 2], off: &'static str, run: [fn(&Trial); 2]| {
        [0, 1].map(|family| Case { name: name[family], off, run: run[family] })
    };
    [
        both(
            ["wire/igmp-join-and-leave", "wire/mld-join-and-leave"],
            "we do not leave",
            [|trial| join_and_leave(trial, Kind::V4), |trial| join_and_leave(trial, Kind::SiteLocal)],
        ),
        both(
            ["wire/igmp-closing-leaves", "wire/mld-closing-leaves"],
            "the listener is kept",
            [|trial| closing_leaves(trial, Kind::V4), |trial| closing_leaves(trial, Kind::LinkLocal)],
        ),
        both(
            ["wire/igmp-source-lists", "wire/mld-source-lists"],
            "any source is joined instead of one",
            [|trial| source_lists(trial, Kind::V4), |trial| source_lists(trial, Kind::SiteLocal)],
        ),
        both(
            ["wire/igmp-block-and-unblock", "wire/mld-block-and-unblock"],
            "no source is blocked",
            [|trial| block_and_unblock(trial, Kind::V4), |trial| block_and_unblock(trial, Kind::SiteLocal)],
        ),
        both(
            ["wire/igmp-queries-are-answered", "wire/mld-queries-are-answered"],
            "no query is sent",
            [|trial| queries_are_answered(trial, Kind::V4), |trial| queries_are_answered(trial, Kind::SiteLocal)],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The types of group records: RFC 3376, section 4.2.12, and RFC 3810, section 5.2.12, use the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    IsInclude = 1,
    IsExclude = 2,
    ToInclude = 3,
    ToExclude = 4,
    AllowNew = 5,
    BlockOld = 6,
}

/// A host that sends reports, and another that captures them.
struct Wire {
    reporter: Host,
    reader: Host,
    capture: Tshark,
    kind: Kind,
}

impl Wire {
    fn new(kind: Kind) -> Self {
        let (reporter, reader) = two_hosts();
        // When it gets a link-local address, Linux reports all groups, and again within a second, with those joined since.
        let settled = Instant::now() + Duration::from_millis(1_500);
        let fields: &[&str] = match kind {
            Kind::V4 => &["ip.dst", "ip.ttl", "ip.opt.ra", "igmp.type", "igmp.record_type", "igmp.maddr", "igmp.saddr"],
            _ => &[
                "ipv6.dst",
                "ipv6.hlim",
                "ipv6.opt.router_alert",
                "icmpv6.type",
                "icmpv6.mldr.mar.record_type",
                "icmpv6.mldr.mar.multicast_address",
                "icmpv6.mldr.mar.source_address",
            ],
        };
        let filter = match kind {
            Kind::V4 => "igmp and src host 10.0.0.1",
            // MLD follows a hop-by-hop option.
            _ => "ip6 proto 0 and src host fe80::1",
        };
        let capture = Tshark::start(&reader, &reporter, filter, fields);
        std::thread::sleep(settled.saturating_duration_since(Instant::now()));
        Self { reporter, reader, capture, kind }
    }

    /// The next report of our group: the type and the sources of its record. Its other fields must be as in the RFC.
    fn report(&self) -> (u8, Vec<IpAddr>) {
        let group = self.kind.group().address().to_string();
        let end = Instant::now() + PATIENCE;
        loop {
            let fields = self.capture.next(end.saturating_duration_since(Instant::now())).expect("no report came");
            // A report of several groups has several types and groups, but only sources of our group: the others have none.
            let Some(place) = fields[5].split(',').position(|address| address == group) else { continue };
            let (to, kind) = if self.kind == Kind::V4 { ("224.0.0.22", "0x22") } else { ("ff02::16", "143") };
            assert_eq!((&*fields[0], &*fields[1], &*fields[3]), (to, "1", kind), "destination, hop limit, type");
            assert!(matches!(&*fields[2], "0" | "0x0000"), "router alert: {:?}", fields[2]);
            let kind = fields[4].split(',').nth(place).unwrap();
            let sources = fields[6].split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
            return (kind.parse().unwrap(), sources.collect());
        }
    }

    /// A report of a change is sent twice (the robustness variable), at most one second apart (RFC 3376, sections 5.1 and 8.11;
    /// RFC 3810, sections 6.1 and 9.11). An answer to a query is sent once.
    #[track_caller]
    fn expect(&self, record: Record, sources: &[IpAddr]) {
        let times = if matches!(record, IsInclude | IsExclude) { 1 } else { 2 };
        for _ in 0..times {
            let (kind, mut found) = self.report();
            found.sort();
            assert_eq!((kind, &*found), (record as u8, sources), "{record:?} was expected");
        }
    }

    fn any(&self) -> Membership {
        Membership::any(self.kind.group()).on(interface(0))
    }

    fn from(&self, source: IpAddr) -> Membership {
        Membership::source(self.kind.group(), source).on(interface(0))
    }

    /// Two possible addresses of sources.
    fn sources(&self) -> [IpAddr; 2] {
        [7, 8].map(|number| self.kind.address(0, number))
    }

    fn change(
        &self,
        listener: &mut Listener<65_535>,
        change: impl FnOnce(&mut Listener<65_535>) -> multicast::Result<()> + Send,
    ) {
        self.reporter.within(|| change(listener).unwrap());
    }
}

fn join_and_leave(trial: &Trial, kind: Kind) {
    let wire = Wire::new(kind);
    let any = wire.any();
    let mut listener = join(&wire.reporter, any);
    wire.expect(ToExclude, &[]);
    if trial.works() {
        wire.change(&mut listener, |listener| listener.leave(&any));
    }
    wire.expect(ToInclude, &[]);
    wire.change(&mut listener, |listener| listener.join(&any));
    wire.expect(ToExclude, &[]);
}

fn closing_leaves(trial: &Trial, kind: Kind) {
    let wire = Wire::new(kind);
    let mut listener = Some(join(&wire.reporter, wire.any()));
    wire.expect(ToExclude, &[]);
    if trial.works() {
        listener = None;
    }
    wire.expect(ToInclude, &[]);
    drop(listener);
}

fn source_lists(trial: &Trial, kind: Kind) {
    let wire = Wire::new(kind);
    let [first, second] = wire.sources();
    let [from_first, from_second] = [first, second].map(|source| wire.from(source));
    let mut listener = join(&wire.reporter, trial.pick(from_first, wire.any()));
    wire.expect(AllowNew, &[first]);
    wire.change(&mut listener, |listener| listener.join(&from_second));
    wire.expect(AllowNew, &[second]);
    wire.change(&mut listener, |listener| listener.leave(&from_first));
    wire.expect(BlockOld, &[first]);
    wire.change(&mut listener, |listener| listener.leave(&from_second));
    wire.expect(BlockOld, &[second]);
}

fn block_and_unblock(trial: &Trial, kind: Kind) {
    let wire = Wire::new(kind);
    let (any, [first, second]) = (wire.any(), wire.sources());
    let mut listener = join(&wire.reporter, any);
    wire.expect(ToExclude, &[]);
    if trial.works() {
        wire.change(&mut listener, |listener| listener.block(&any, first));
    }
    wire.expect(BlockOld, &[first]);
    wire.change(&mut listener, |listener| listener.block(&any, second));
    wire.expect(BlockOld, &[second]);
    wire.change(&mut listener, |listener| listener.unblock(&any, first));
    wire.expect(AllowNew, &[first]);
}

/// Sends a general query, as a router does.
const QUERY: &str = r#"
import socket, struct, sys
index = socket.if_nametoindex("eth0")
if sys.argv[1] == "4":
    # Type, time to answer (0.1 s), checksum, group, robustness, interval, number of sources (RFC 3376, section 4.1).
    body = lambda checksum: struct.pack("!BBH4sBBH", 0x11, 1, checksum, bytes(4), 2, 125, 0)
    total = sum(struct.unpack("!6H", body(0)))
    total = (total & 0xffff) + (total >> 16)
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 2)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x94\x04\x00\x00")  # router alert
    s.sendto(body(~total & 0xffff), ("224.0.0.1", 0))
else:
    # Type, code, checksum (the kernel's), time to answer (100 ms), reserved, group, ... (RFC 3810, section 5.1).
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, b"\x00\x00\x05\x02\x00\x00\x01\x00")  # router alert
    s.bind(("fe80::2", 0, 0, index))
    s.sendto(struct.pack("!BBHHH16sBBH", 130, 0, 0, 100, 0, bytes(16), 2, 125, 0), ("ff02::1", 0, 0, index))
"#;

fn queries_are_answered(trial: &Trial, kind: Kind) {
    let wire = Wire::new(kind);
    let ask = || {
        if trial.works() {
            let family = if kind == Kind::V4 { "4" } else { "6" };
            let mut python = std::process::Command::new("python3");
            python.args(["-c", QUERY, family]);
            assert!(wire.reader.within(|| python.status()).unwrap().success(), "python could not ask");
        }
    };
    let listener = join(&wire.reporter, wire.any());
    wire.expect(ToExclude, &[]);
    ask();
    wire.expect(IsExclude, &[]);
    drop(listener);
    wire.expect(ToInclude, &[]);

    let sources = wire.sources();
    let mut listener = join(&wire.reporter, wire.from(sources[0]));
    wire.expect(AllowNew, &sources[..1]);
    let from_second = wire.from(sources[1]);
    wire.change(&mut listener, |listener| listener.join(&from_second));
    wire.expect(AllowNew, &sources[1..]);
    ask();
    wire.expect(IsInclude, &sources);
}
