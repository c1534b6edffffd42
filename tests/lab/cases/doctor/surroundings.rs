//! What is not among the thirteen: sending, links, bridges, addresses, and a network that is silent.

use std::process::Command;

use super::{doctor, from, program, two_hosts};
use crate::network::{Host, address, bare_cable, cable};
use crate::peers::Kind::{self, SiteLocal, V4};
use crate::programs::faulty;
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let none = "there is no such fault";
    vec![
        case("doctor/silence-ipv4", "somebody sends", |trial| silence(trial, V4)),
        case("doctor/silence-ipv6", "somebody sends", |trial| silence(trial, SiteLocal)),
        case("doctor/sending-is-sound-ipv4", "a firewall forbids it", |trial| sending(trial, V4)),
        case("doctor/sending-is-sound-ipv6", "a firewall forbids it", |trial| sending(trial, SiteLocal)),
        case("doctor/firewall-output-ipv4", none, |trial| output(trial, V4)),
        case("doctor/firewall-output-ipv6", none, |trial| output(trial, SiteLocal)),
        case("doctor/tc-drops-on-the-way-out-ipv4", none, |trial| tc_output(trial, V4)),
        case("doctor/tc-drops-on-the-way-out-ipv6", none, |trial| tc_output(trial, SiteLocal)),
        case("doctor/no-source-address-ipv4", none, |trial| no_address(trial, V4)),
        case("doctor/no-source-address-ipv6", none, |trial| no_address(trial, SiteLocal)),
        case("doctor/ipv6-is-off", none, ipv6_off),
        case("doctor/reports-do-not-leave-ipv4", none, |trial| reports(trial, V4)),
        case("doctor/reports-do-not-leave-ipv6", none, |trial| reports(trial, SiteLocal)),
        case("doctor/no-carrier", none, no_carrier),
        case("doctor/a-port-of-a-bridge", none, port_of_a_bridge),
        case("doctor/a-bridge-hears", "the bridge is no bridge of the sender", a_bridge_hears),
        case("doctor/no-such-interface", none, no_such_interface),
        case("doctor/no-route-names-an-interface", none, no_route),
        case("doctor/the-port-is-held-by-one-program-ipv4", none, |trial| held_port(trial, V4)),
        case("doctor/the-port-is-held-by-one-program-ipv6", none, |trial| held_port(trial, SiteLocal)),
        case("doctor/a-fault-beside-a-program-that-holds-the-port", none, fault_beside_a_holder),
        case("doctor/two-programs-on-one-port", none, two_programs),
    ]
}

fn silence(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let _sender = (!trial.works()).then(|| program(&other, "stream", kind));
    let finding = doctor(&host, &from(kind));
    finding.concludes("silence", 6);
    finding.says("unknown", "switch");
    finding.mentions("look outside");
    assert!(!finding.text.contains("FAIL"), "{}", finding.text);
}

fn to(kind: Kind) -> String {
    format!("--to {}%eth0", kind.group())
}

fn forbid(host: &Host, rule: &str) {
    host.run("nft add table inet t");
    host.run("nft add chain inet t c { type filter hook output priority 0 ; }");
    host.run(&format!("nft add rule inet t c {rule} drop"));
}

fn sending(trial: &Trial, kind: Kind) {
    let (host, _other) = two_hosts();
    if !trial.works() {
        forbid(&host, "udp dport 5000");
    }
    let finding = doctor(&host, &to(kind));
    finding.concludes("sound", 0);
    finding.says("ok", "firewall-out");
}

fn output(trial: &Trial, kind: Kind) {
    let (host, _other) = two_hosts();
    if trial.works() {
        forbid(&host, "udp dport 5000");
    }
    doctor(&host, &to(kind)).blames("firewall-out");
}

/// Other packets leave: reports, and what finds neighbours.
fn tc_output(trial: &Trial, kind: Kind) {
    let (host, _other) = two_hosts();
    if trial.works() {
        host.run("tc qdisc add dev eth0 clsact");
        // Drops what is UDP: the protocol is byte 23 of a frame of IPv4, and byte 20 of IPv6.
        let program = format!("4,48 0 0 {},21 0 1 17,6 0 0 2,6 0 0 0,", if kind == V4 { 23 } else { 20 });
        let arguments = ["filter", "add", "dev", "eth0", "egress", "bpf", "da", "bytecode", &program];
        assert!(host.within(|| Command::new("tc").args(arguments).status()).unwrap().success());
    }
    let _sender = program(&host, "stream", kind);
    let finding = doctor(&host, &to(kind));
    finding.blames("queue");
    finding.mentions("IP sends, and eth0 does not: look at tc qdisc, tc filter");
}

fn no_address(trial: &Trial, kind: Kind) {
    let (host, other) = (Host::new("host"), Host::new("other"));
    bare_cable((&host, "eth0"), (&other, "eth0"));
    if !trial.works() {
        address(0, 1, (&host, "eth0"));
    }
    doctor(&host, &to(kind)).blames("source-address");
}

fn ipv6_off(trial: &Trial) {
    let (host, other) = two_hosts();
    if trial.works() {
        host.set("net/ipv6/conf/eth0/disable_ipv6", "1");
    }
    let _sender = program(&other, "stream", SiteLocal);
    doctor(&host, &from(SiteLocal)).blames("ipv6");
}

/// A switch that snoops then sends nothing; here nobody sends at all.
fn reports(trial: &Trial, kind: Kind) {
    let (host, _other) = two_hosts();
    if trial.works() {
        forbid(&host, "meta l4proto igmp");
        host.run("nft add rule inet t c icmpv6 type 143 drop");
    }
    let finding = doctor(&host, &from(kind));
    finding.blames("reports");
    finding.mentions(if kind == V4 { "IGMP" } else { "MLD" });
}

fn no_carrier(trial: &Trial) {
    let (host, other) = two_hosts();
    if trial.works() {
        other.ip(&["link set eth0 down"]);
    }
    doctor(&host, &from(V4)).blames("carrier");
}

/// What comes in on a port of a bridge is the bridge's.
fn port_of_a_bridge(trial: &Trial) {
    let (host, other) = two_hosts();
    host.ip(&["link add br0 type bridge mcast_snooping 0", "link set br0 up"]);
    if trial.works() {
        host.ip(&["link set eth0 master br0"]);
    }
    let _sender = program(&other, "stream", V4);
    let finding = doctor(&host, &from(V4));
    finding.blames("containers");
    finding.mentions("join on br0");
}

fn a_bridge_hears(trial: &Trial) {
    let (host, other) = two_hosts();
    host.ip(&["link add br0 type bridge mcast_snooping 1", "link set br0 up", "addr add 10.0.9.1/24 dev br0"]);
    if trial.works() {
        host.ip(&["link set eth0 master br0"]);
        let forwards = || host.run("ip -d link show dev eth0").contains("state forwarding");
        crate::common::wait_until("the port forwards", forwards);
    }
    let _sender = program(&other, "stream", V4);
    let finding = doctor(&host, "--from 239.1.0.1:5000%br0");
    finding.concludes("sound", 0);
    finding.says("ok", "bridge");
}

fn no_such_interface(trial: &Trial) {
    let (host, _other) = two_hosts();
    let finding = doctor(&host, trial.pick("--from 239.1.0.1:5000%eth7", "--from 239.1.0.1:5000%eth0"));
    finding.blames("link");
    finding.mentions("name one of lo, eth0");
}

fn no_route(trial: &Trial) {
    let (host, _other) = two_hosts();
    if !trial.works() {
        host.ip(&["route add 224.0.0.0/4 dev eth0"]);
    }
    let finding = doctor(&host, "--from 239.1.0.1:5000");
    finding.blames("link");
    finding.says("FAIL", "join-without-route");
}

/// Starts a program that has the port for itself, or shares it.
fn holder(host: &Host, kind: Kind, options: &str) -> crate::programs::Program {
    let any = if kind == V4 { "0.0.0.0" } else { "::" };
    let mut holder = crate::programs::stranger(host, &["neighbour", any, "5000", options]);
    holder.says("begins");
    holder
}

/// Beside a program that does not share the port nobody can listen: then the doctor does not say that all is well.
fn held_port(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let _holder = holder(&host, kind, trial.pick("NONE", "SO_REUSEADDR"));
    let _sender = program(&other, "stream", kind);
    let finding = doctor(&host, &from(kind));
    finding.concludes("unknown", 6);
    finding.mentions("does not share it");
}

/// The counters tell all the same.
fn fault_beside_a_holder(trial: &Trial) {
    let (host, other) = two_hosts();
    let _holder = holder(&host, V4, "NONE");
    let _sender = faulty(&other, &["stream", "239.1.0.1", trial.pick("5001", "5000"), "eth0"]);
    doctor(&host, &from(V4)).blames("port");
}

fn two_programs(trial: &Trial) {
    let (host, other) = two_hosts();
    cable(1, (&host, "eth1"), (&other, "eth1"));
    let one = faulty(&host, &["hoard", "239.1.0.1", "5000", "eth0"]);
    let other_one = trial.works().then(|| faulty(&host, &["hoard", "239.1.0.1", "5000", "eth0"]));
    let finding = doctor(&host, &from(V4));
    finding.says("warn", "unicast");
    drop((one, other_one));
}
