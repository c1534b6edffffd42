//! Three hosts in a row, with a multicast router in the middle (smcroute): which packets it forwards, by time to live.

use std::io::Write;

use multicast::{Membership, SendOptions, Ttl};

use crate::common::wait_until_mut;
use crate::network::{Host, cable, interface};
use crate::peers::{Kind, Process, complaints, hear_exactly, hear_nothing, join, listen, peer};
use crate::trial::{Case, Trial};

/// The scopes by name.
const SCOPES: [(&str, Ttl); 6] = [
    ("host", Ttl::HOST),
    ("subnet", Ttl::SUBNET),
    ("site", Ttl::SITE),
    ("region", Ttl::REGION),
    ("continent", Ttl::CONTINENT),
    ("unrestricted", Ttl::UNRESTRICTED),
];

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let raised = "the sender's TTL is 32 instead of 1";
    let lowered = "the sender's TTL is 1 instead of 32";
    let open = "the router has no threshold";
    vec![
        case("routing/ttl-1-stays-ipv4", raised, |trial| the_default_stays(trial, Kind::V4)),
        case("routing/ttl-1-stays-ipv6", raised, |trial| the_default_stays(trial, Kind::SiteLocal)),
        case("routing/ttl-32-crosses-ipv4", lowered, |trial| a_site_crosses(trial, Kind::V4)),
        case("routing/ttl-32-crosses-ipv6", lowered, |trial| a_site_crosses(trial, Kind::SiteLocal)),
        case("routing/threshold-of-a-site", open, |trial| thresholds(trial, 32, &["region", "continent", "unrestricted"])),
        case("routing/threshold-of-a-region", open, |trial| thresholds(trial, 64, &["continent", "unrestricted"])),
        case("routing/threshold-of-a-continent", open, |trial| thresholds(trial, 128, &["unrestricted"])),
        case("routing/no-threshold-ipv4", lowered, |trial| no_threshold(trial, Kind::V4)),
        case("routing/no-threshold-ipv6", lowered, |trial| no_threshold(trial, Kind::SiteLocal)),
        case("routing/a-source-across", "the other source is joined", a_source_across),
        case("routing/link-local-stays", "a wider group is used", link_local_stays),
    ]
}

/// A sender, a router that forwards the lab's groups, and a receiver. The router's daemon runs until this is dropped.
pub(super) struct Row {
    _daemon: Process,
    pub(super) sender: Host,
    pub(super) router: Host,
    pub(super) receiver: Host,
}

impl Row {
    /// The router forwards IPv4 packets whose TTL is above the threshold when they come in; this is the kernel's rule.
    pub(super) fn new(threshold: u8) -> Self {
        let (sender, router, receiver) = (Host::new("sender"), Host::new("router"), Host::new("receiver"));
        cable(0, (&sender, "eth0"), (&router, "eth0"));
        cable(1, (&receiver, "eth0"), (&router, "eth1"));
        // For the way back.
        receiver.ip(&["route add default via 10.0.1.2", "route add default via fd00:1::2"]);
        router.set("net/ipv4/ip_forward", "1");
        router.set("net/ipv6/conf/all/forwarding", "1");
        let [v4, v6, narrow] = [Kind::V4, Kind::SiteLocal, Kind::LinkLocal].map(|kind| kind.group().address());
        let config = format!(
            "phyint eth0 enable ttl-threshold {threshold}\n\
             phyint eth1 enable ttl-threshold {threshold}\n\
             mroute from eth0 source 10.0.0.1 group {v4} to eth1\n\
             mroute from eth0 source fd00:0::1 group {v6} to eth1\n\
             mroute from eth0 source fe80::1 group {narrow} to eth1\n"
        );
        let (name, path) = (router.name(), format!("/run/{}.conf", router.name()));
        std::fs::File::create(&path).unwrap().write_all(config.as_bytes()).unwrap();
        let mut daemon = Process::start(&router, &format!("smcrouted -n -N -i {name} -f {path}"));
        let has_routes = |family: &str, count| router.run(&format!("ip {family} mroute show")).lines().count() >= count;
        wait_until_mut("the router has its routes", || {
            let ended = daemon.0.try_wait().unwrap().is_some();
            assert!(!ended, "smcrouted: {}", complaints(&mut daemon));
            has_routes("-4", 1) && has_routes("-6", 2)
        });
        Self { _daemon: daemon, sender, router, receiver }
    }

    fn send(&self, kind: Kind, ttl: Ttl, payload: &str) {
        self.sender.send_with(SendOptions::new().interface(interface(0)).ttl(ttl), kind.group(), &[payload]);
    }
}

fn the_default_stays(trial: &Trial, kind: Kind) {
    let row = Row::new(1);
    let mut listener = listen(&row.receiver, kind.group(), interface(0));
    // Without the option: 1 is the default.
    match trial.works() {
        true => row.sender.send(kind.group(), &["stays"]),
        false => row.send(kind, Ttl::SITE, "stays"),
    }
    hear_nothing(&mut listener);
    // It would have come: the router forwards.
    row.send(kind, Ttl::new(2), "crosses");
    hear_exactly(&mut listener, &["crosses"]);
}

fn a_site_crosses(trial: &Trial, kind: Kind) {
    let row = Row::new(1);
    let mut listener = listen(&row.receiver, kind.group(), interface(0));
    let mut python = row.receiver.within(|| peer::Receiver::join(kind.group(), "eth0"));
    row.send(kind, trial.pick(Ttl::SITE, Ttl::SUBNET), "crosses");
    hear_exactly(&mut listener, &["crosses"]);
    let seen = python.next();
    // The router subtracted one.
    assert_eq!((seen.hops, seen.source), (31, kind.address(0, 1).to_string()));
}

fn thresholds(trial: &Trial, threshold: u8, expected: &[&str]) {
    row_of_scopes(&Row::new(trial.pick(threshold, 1)), Kind::V4, None, expected);
}

fn no_threshold(trial: &Trial, kind: Kind) {
    let expected = ["site", "region", "continent", "unrestricted"];
    row_of_scopes(&Row::new(1), kind, trial.pick(None, Some(Ttl::SUBNET)), &expected);
}

/// Sends one packet with each scope, or one scope for all, and checks which of them cross.
fn row_of_scopes(row: &Row, kind: Kind, ttl_of_all: Option<Ttl>, expected: &[&str]) {
    let mut listener = listen(&row.receiver, kind.group(), interface(0));
    for (name, ttl) in SCOPES {
        row.send(kind, ttl_of_all.unwrap_or(ttl), name);
    }
    hear_exactly(&mut listener, expected);
}

fn a_source_across(trial: &Trial) {
    let row = Row::new(1);
    for kind in [Kind::V4, Kind::SiteLocal] {
        let [sender, other] = [1, 7].map(|number| kind.address(0, number));
        let membership = |source| Membership::source(kind.group(), source).on(interface(0));
        let mut listener = join(&row.receiver, membership(trial.pick(sender, other)));
        let mut deaf = join(&row.receiver, membership(other));
        row.send(kind, Ttl::SITE, "from the sender");
        hear_exactly(&mut listener, &["from the sender"]);
        hear_nothing(&mut deaf);
    }
}

/// With any hop limit, and although the router has a route for it.
fn link_local_stays(trial: &Trial) {
    let row = Row::new(1);
    let kind = trial.pick(Kind::LinkLocal, Kind::SiteLocal);
    let mut listener = listen(&row.receiver, kind.group(), interface(0));
    row.send(kind, Ttl::UNRESTRICTED, "stays");
    hear_nothing(&mut listener);
}
