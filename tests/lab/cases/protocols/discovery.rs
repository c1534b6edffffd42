//! WS-Discovery with wsdd, and KNXnet/IP with knxd and xknx.

use super::{AWAY, joined, ours};
use crate::cases::hosts::two_hosts;
use crate::network::Host;
use crate::programs::{Program, example, installed, python};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, off: AWAY, run };
    vec![
        case("protocols/wsd-we-find-wsdd", we_find_wsdd),
        case("protocols/wsd-wsdd-finds-us", wsdd_finds_us),
        case("protocols/knx-we-find-knxd", we_find_knxd),
        case("protocols/knx-xknx-finds-us", xknx_finds_us),
    ]
}

const WSD: &str = "239.255.255.250:3702";

/// On this host; as a searcher only, it is not found itself.
fn wsdd(host: &Host, options: &[&str]) -> Program {
    let common = ["-u", "/usr/sbin/wsdd", "-i", "eth0", "-4", "-v", "-s", "-n", "lab"];
    installed(host, "/usr/bin/python3", &[&common, options].concat())
}

fn we_find_wsdd(trial: &Trial) {
    let (a, b) = two_hosts();
    let uuid = "11111111-2222-4333-8444-555555555555";
    let _wsdd = wsdd(&a, &["-U", uuid]);
    joined(&a, WSD);
    let mut probe = example(&b, "wsd", &["probe", ours(trial)]);
    probe.says("Sent");
    probe.says(&format!("10.0.0.1:3702: urn:uuid:{uuid}"));
}

fn wsdd_finds_us(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut device = example(&a, "wsd", &["serve", ours(trial)]);
    device.says("hello Sent");
    let mut wsdd = wsdd(&b, &["-D", "-o"]);
    device.says("Probe, answer Sent");
    // Only after our answer it knows where to ask for details. There is no such server here.
    let heard = wsdd.says("\"ProbeMatches ");
    assert!(heard.contains("10.0.0.1:3702"), "{heard}");
    device.close_input();
    device.says("bye Sent");
    wsdd.says("\"Bye ");
}

fn we_find_knxd(trial: &Trial) {
    let (a, b) = two_hosts();
    let options = "-e 1.1.1 -E 1.1.2:4 -n lab -I eth0 -D -T -R -S -b dummy:";
    let _knxd = installed(&a, "knxd", &options.split(' ').collect::<Vec<_>>());
    joined(&a, "224.0.23.12:3671");
    let mut search = example(&b, "knx", &["search", ours(trial)]);
    // The port that the search named is the port that it came from, so the answer arrived.
    let search_named = search.says("search that names 10.0.0.2:");
    assert!(!search_named.contains(":0:") && search_named.ends_with("Sent"), "{search_named}");
    search.says("10.0.0.1:3671: 1.1.1 lab");
}

fn xknx_finds_us(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut gateway = example(&a, "knx", &["serve", ours(trial), "our gateway"]);
    gateway.says("listening");
    let mut xknx = python(&b, "knx_peer.py", &["10.0.0.2"]);
    xknx.says("gateway 1.1.250 - our gateway @ 10.0.0.1:3671");
}
