//! Routers and queriers: the TTL, the table of a router, the version of IGMP and MLD.

use super::{doctor, from, program, two_hosts};
use crate::cases::routing::Row;
use crate::network::{Host, switch};
use crate::peers::Kind::{self, SiteLocal, V4};
use crate::programs::faulty;
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    vec![
        case("doctor/a-ttl-of-1-passes-no-router-ipv4", "the TTL is 5", |trial| ttl_of_1(trial, V4)),
        case("doctor/a-ttl-of-1-passes-no-router-ipv6", "the TTL is 5", |trial| ttl_of_1(trial, SiteLocal)),
        case("doctor/beyond-a-router-a-small-ttl-is-silence", "the TTL is 5", beyond_a_router),
        case("doctor/a-router-routes-the-group-ipv4", "it routes another group", |trial| routed(trial, V4)),
        case("doctor/a-router-routes-the-group-ipv6", "it routes another group", |trial| routed(trial, SiteLocal)),
        case("doctor/a-router-passes-the-group-on-nowhere-ipv4", "it does", |trial| not_routed(trial, V4)),
        case("doctor/a-router-passes-the-group-on-nowhere-ipv6", "it does", |trial| not_routed(trial, SiteLocal)),
        case("doctor/the-group-comes-to-a-router-by-the-wrong-interface", "by the right one", wrong_interface),
        case("doctor/igmp-2-is-forced", "IGMPv3 is spoken", |trial| forced(trial, V4)),
        case("doctor/mld-1-is-forced", "MLDv2 is spoken", |trial| forced(trial, SiteLocal)),
        case("doctor/a-querier-of-igmp-2", "it asks by IGMPv3", querier),
        case("doctor/a-querier-of-mld", "there is none", querier_of_ipv6),
    ]
}

fn ttl_of_1(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let _sender = program(&other, trial.pick("near", "stream"), kind);
    let finding = doctor(&host, &from(kind));
    finding.concludes("sound", 0);
    finding.says("warn", "ttl");
}

/// The router passes nothing on whose TTL is 1, and the receiver cannot see why.
fn beyond_a_router(trial: &Trial) {
    let row = Row::new(1);
    let _sender = program(&row.sender, trial.pick("near", "stream"), V4);
    let finding = doctor(&row.receiver, &from(V4));
    finding.concludes("silence", 6);
    finding.says("unknown", "ttl");
    finding.mentions("beyond a router the sender needs more than 1");
}

/// The doctor on the router, of this group.
fn on_the_router(row: &Row, group: multicast::Group) -> super::Finding {
    let address = group.address().to_string();
    let _sender = faulty(&row.sender, &["stream", &address, "5000", "eth0"]);
    doctor(&row.router, &format!("--from {group}%eth0"))
}

fn routed(trial: &Trial, kind: Kind) {
    let finding = on_the_router(&Row::new(1), trial.pick(kind.group(), kind.group_of(2)));
    finding.concludes("sound", 0);
    finding.says("ok", "multicast-router");
}

/// For a group that it has no rule for, the daemon makes an entry that leads nowhere.
fn not_routed(trial: &Trial, kind: Kind) {
    let finding = on_the_router(&Row::new(1), trial.pick(kind.group_of(2), kind.group()));
    finding.concludes("sound", 0);
    finding.says("warn", "multicast-router");
    finding.mentions("sends it out by no interface");
}

/// As when the route to the source leads elsewhere: an entry is for one interface.
fn wrong_interface(trial: &Trial) {
    let row = Row::new(1);
    let (sender, interface) = trial.pick((&row.receiver, "eth1"), (&row.sender, "eth0"));
    if trial.works() {
        row.receiver.ip(&["addr add 10.0.0.1/32 dev eth0"]);
    }
    let _sender = faulty(sender, &["stream", "239.1.0.1", "5000", "eth0", "10.0.0.1"]);
    let finding = doctor(&row.router, &format!("--from 239.1.0.1:5000%{interface}"));
    finding.says("warn", "multicast-router");
    finding.mentions("comes in by another interface than its entry says");
}

/// The group of this kind from the source that sends.
fn from_the_source(kind: Kind) -> String {
    format!("--from {}@{}%eth0", kind.address(0, 2), kind.group())
}

fn forced(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let (setting, low) = match kind {
        V4 => ("net/ipv4/conf/eth0/force_igmp_version", "2"),
        _ => ("net/ipv6/conf/eth0/force_mld_version", "1"),
    };
    host.set(setting, trial.pick(low, "0"));
    let _sender = program(&other, "stream", kind);
    let finding = doctor(&host, &from_the_source(kind));
    finding.concludes("sound", 0);
    finding.says("warn", "igmp-version");
    finding.mentions(&format!("Version {low} is forced, which names no sources"));
}

/// A host and a sender on a switch that asks for members every second.
fn asked(options: &str) -> (Host, Host, Host) {
    let (host, other) = (Host::new("host"), Host::new("other"));
    let often = "mcast_query_interval 100 mcast_query_response_interval 50 mcast_startup_query_interval 50";
    let switch = switch(&format!("mcast_snooping 1 {often} {options}"), &[&host, &other]);
    // IPv6 hosts ignore a querier without an address.
    switch.ip(&["addr add fe80::100/64 dev bridge nodad"]);
    (host, other, switch)
}

fn querier(trial: &Trial) {
    let version = trial.pick("2", "3");
    let (host, other, _switch) = asked(&format!("mcast_querier 1 mcast_igmp_version {version}"));
    let _sender = program(&other, "stream", V4);
    let finding = doctor(&host, &format!("--from 10.0.0.2@{}%eth0", V4.group()));
    finding.concludes("sound", 0);
    finding.says("ok", "querier");
    finding.says("warn", "igmp-version");
    finding.mentions("A querier of version 2 was heard, so no sources are named");
}

fn querier_of_ipv6(trial: &Trial) {
    let (host, other, _switch) = asked(trial.pick("mcast_querier 1", "mcast_querier 0"));
    let _sender = program(&other, "stream", SiteLocal);
    let finding = doctor(&host, &from(SiteLocal));
    finding.concludes("sound", 0);
    finding.says("ok", "querier");
}
