//! The doctor changes nothing, and what it sends stays on its host.

use super::{doctor, from, two_hosts};
use crate::network::Host;
use crate::peers::Kind::{self, LinkLocal, SiteLocal, V4};
use crate::programs::faulty;
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let sends = "somebody sends to the group";
    vec![
        case("doctor/nothing-leaves-ipv4", sends, |trial| nothing_leaves(trial, V4)),
        case("doctor/nothing-leaves-ipv6", sends, |trial| nothing_leaves(trial, SiteLocal)),
        case("doctor/nothing-leaves-ipv6-link-local", sends, |trial| nothing_leaves(trial, LinkLocal)),
        case("doctor/nothing-leaves-for-a-named-source", sends, nothing_leaves_for_a_source),
        case("doctor/nothing-is-changed", "an address is added meanwhile", nothing_is_changed),
    ]
}

/// Runs the doctor while the other host captures; there must be no packet to the port.
#[track_caller]
fn expect_nothing(trial: &Trial, kind: Kind, arguments: &[&str]) {
    let (host, other) = two_hosts();
    let mut wire = faulty(&other, &["wire", "5000"]);
    for arguments in arguments {
        let finding = doctor(&host, arguments);
        // It was sent, and heard on the host.
        finding.mentions("a looped packet to the group, TTL 0: heard");
    }
    if !trial.works() {
        host.send(kind.group(), &["from the host"]);
    }
    // The first packet on the wire is the one after the doctor.
    host.send(kind.group(), &["the end"]);
    assert_eq!(wire.says("saw "), "saw the end");
}

fn nothing_leaves(trial: &Trial, kind: Kind) {
    expect_nothing(trial, kind, &[&from(kind), &format!("--to {}%eth0", kind.group())]);
}

fn nothing_leaves_for_a_source(trial: &Trial) {
    expect_nothing(trial, V4, &["--from 10.0.0.9@239.1.0.1:5000%eth0", "--from fd00:0::9@[ff05::4242:1]:5000%eth0"]);
}

/// What an administrator sees of the host.
fn state(host: &Host) -> String {
    let commands = [
        "ip -d link",
        "ip addr",
        "ip maddr",
        "ip route show table all",
        "ip -6 route show table all",
        "ip rule",
        "ip neigh",
    ];
    let settings = "sysctl -a --pattern net.ipv[46].(conf|neigh|igmp|route)";
    let rules = "nft list ruleset";
    commands.iter().chain([&settings, &rules]).map(|command| host.run(command)).collect()
}

fn nothing_is_changed(trial: &Trial) {
    let (host, _other) = two_hosts();
    let before = state(&host);
    doctor(&host, &from(V4)).concludes("silence", 6);
    doctor(&host, &from(SiteLocal)).concludes("silence", 6);
    if !trial.works() {
        host.ip(&["addr add 10.9.9.9/24 dev eth0"]);
    }
    assert_eq!(state(&host), before);
}
