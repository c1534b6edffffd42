//! A switch with snooping: it forwards a group only to ports that report it, and it sends queries all the time. A membership must
//! survive these queries.

use std::time::{Duration, Instant};

use multicast::Membership;

use crate::common::{next_within, wait_until};
use crate::network::{Host, interface, switch};
use crate::peers::{Kind, PATIENCE, hear_exactly, hear_nothing, join, listen};
use crate::trial::{Case, Trial};

/// A query comes every second, and a port is removed 2.5 seconds after its last answer. (`ip-link(8)` counts in hundredths.)
const QUERY_INTERVAL: Duration = Duration::from_secs(1);
const OPTIONS: &str = "mcast_snooping 1 mcast_igmp_version 3 mcast_mld_version 2 mcast_query_interval 100 \
    mcast_query_response_interval 20 mcast_membership_interval 250 mcast_startup_query_interval 100 mcast_startup_query_count 2 \
    mcast_last_member_interval 20";

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let silent = "the listener's answers are dropped by a firewall";
    vec![
        case("snooping/outlives-five-queries-ipv4", silent, |trial| outlives_queries(trial, Kind::V4)),
        case("snooping/outlives-five-queries-ipv6-link-local", silent, |trial| outlives_queries(trial, Kind::LinkLocal)),
        case("snooping/outlives-five-queries-ipv6", silent, |trial| outlives_queries(trial, Kind::SiteLocal)),
        case("snooping/a-source-outlives-five-queries", silent, a_source_outlives_queries),
        case("snooping/leaving-stops-the-traffic", "the listener is kept", leaving_stops_the_traffic),
        case("snooping/nothing-for-those-who-did-not-join", "the bystander joined, too", nothing_for_a_bystander),
    ]
}

/// A sender, a listener and a bystander at a switch that already forwards by reports.
struct Segment {
    switch: Host,
    sender: Host,
    listener: Host,
    bystander: Host,
}

impl Segment {
    fn new() -> Self {
        let (sender, listener, bystander) = (Host::new("sender"), Host::new("listener"), Host::new("bystander"));
        let switch = switch(OPTIONS, &[&sender, &listener, &bystander]);
        // IPv6 hosts ignore a querier without an address.
        switch.ip(&["addr add 10.0.0.100/24 dev bridge", "addr add fe80::100/64 dev bridge nodad"]);
        // After the intervals are set, since the switch forwards to all ports for one of them from now on.
        switch.ip(&["link set bridge type bridge mcast_querier 1"]);
        std::thread::sleep(QUERY_INTERVAL / 2);
        Self { switch, sender, listener, bystander }
    }

    /// Whether the switch forwards the group to the listener's port.
    fn forwards(&self, kind: Kind) -> bool {
        self.forwards_to("port1", kind)
    }

    fn forwards_to(&self, port: &str, kind: Kind) -> bool {
        let group = kind.group().address().to_string();
        self.switch.run("bridge mdb show dev bridge").lines().any(|line| line.contains(port) && line.contains(&group))
    }
}

/// Drops all outgoing reports of memberships.
fn silence(host: &Host) {
    for command in [
        "nft add table inet lab",
        "nft add chain inet lab out { type filter hook output priority 0 ; }",
        "nft add rule inet lab out meta l4proto igmp drop",
        "nft add rule inet lab out icmpv6 type 143 drop",
    ] {
        host.run(command);
    }
}

fn outlives_queries(trial: &Trial, kind: Kind) {
    let net = Segment::new();
    let mut listener = listen(&net.listener, kind.group(), interface(0));
    wait_until("the switch knows the group", || net.forwards(kind));
    if !trial.works() {
        silence(&net.listener);
    }
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < QUERY_INTERVAL * 11 / 2 {
        sent += 1;
        net.sender.send(kind.group(), &[sent.to_string()]);
        let heard =
            next_within(&mut listener, PATIENCE / 5).unwrap_or_else(|| panic!("forgotten after {:?}", start.elapsed()));
        assert_eq!(heard, sent.to_string().into_bytes());
        std::thread::sleep(QUERY_INTERVAL / 4);
    }
    assert!(net.forwards(kind));
}

/// The switch also learns the source, and answers must name it.
fn a_source_outlives_queries(trial: &Trial) {
    let net = Segment::new();
    for kind in [Kind::V4, Kind::SiteLocal] {
        let membership = Membership::source(kind.group(), kind.address(0, 1)).on(interface(0));
        let mut listener = join(&net.listener, membership);
        wait_until("the switch knows the group", || net.forwards(kind));
        if !trial.works() {
            silence(&net.listener);
        }
        std::thread::sleep(QUERY_INTERVAL * 11 / 2);
        net.sender.send(kind.group(), &["still here"]);
        net.bystander.send(kind.group(), &["from another source"]);
        hear_exactly(&mut listener, &["still here"]);
    }
}

/// The switch removes the port, so that no more traffic uses the link.
fn leaving_stops_the_traffic(trial: &Trial) {
    let net = Segment::new();
    for kind in Kind::ALL {
        let mut listener = Some(listen(&net.listener, kind.group(), interface(0)));
        wait_until("the switch knows the group", || net.forwards(kind));
        if trial.works() {
            listener = None;
        }
        let end = Instant::now() + QUERY_INTERVAL * 2;
        while net.forwards(kind) {
            assert!(Instant::now() < end, "the switch still forwards");
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(listener);
    }
}

/// The kernel counts what arrives at the bystander's interface.
fn nothing_for_a_bystander(trial: &Trial) {
    let net = Segment::new();
    let kind = Kind::V4;
    let mut listener = listen(&net.listener, kind.group(), interface(0));
    wait_until("the switch knows the group", || net.forwards(kind));
    let mut nosy = (!trial.works()).then(|| {
        let nosy = listen(&net.bystander, kind.group(), interface(0));
        wait_until("the switch knows the group", || net.forwards_to("port2", kind));
        nosy
    });
    let received = || -> u64 {
        net.bystander.within(|| {
            let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            let line = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        })
    };
    let before = received();
    let packets = vec![[b'x'; 1400]; 50];
    net.sender.send(kind.group(), &packets);
    for _ in 0..packets.len() {
        assert!(next_within(&mut listener, PATIENCE).is_some());
    }
    let bytes = received() - before;
    assert!(bytes < 10_000, "{bytes} bytes came to a host that did not join");
    hear_nothing(&mut listener);
    drop(nosy.take());
}
