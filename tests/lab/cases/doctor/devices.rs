//! Devices that are no plain Ethernet, or that keep packets from IP: VLANs, XDP, tun, macvlan, GRO, what a device counts as dropped.

use super::{doctor, from, program, two_hosts};
use crate::network::{Host, address, cable, wait_until_up};
use crate::peers::Kind::{self, SiteLocal, V4};
use crate::programs::faulty;
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let none = "there is no such fault";
    vec![
        case("doctor/another-vlan-ipv4", none, |trial| another_vlan(trial, V4)),
        case("doctor/another-vlan-ipv6", none, |trial| another_vlan(trial, SiteLocal)),
        case("doctor/xdp-drops-in-the-driver-ipv4", none, |trial| xdp_drops(trial, V4, "native")),
        case("doctor/xdp-drops-in-the-driver-ipv6", none, |trial| xdp_drops(trial, SiteLocal, "native")),
        case("doctor/xdp-drops-behind-the-driver", none, |trial| xdp_drops(trial, V4, "generic")),
        case("doctor/xdp-that-passes-is-no-fault", "it drops", xdp_passes),
        case("doctor/xdp-and-silence-is-not-ok", "there is no program", xdp_and_silence),
        case("doctor/frames-that-nobody-takes", none, lldp),
        case("doctor/a-tunnel-has-no-mac-filter", "the device is an Ethernet", tunnel),
        case("doctor/gro-is-off-on-a-fast-stream", "it is on", gro),
        case("doctor/a-container-with-a-macvlan-hears", "it is a cable of its own", macvlan),
        case("doctor/a-macvlan-does-not-hear-the-host-below", "another host sends", macvlan_and_the_host_below),
        case("doctor/a-macvlan-on-the-interface", none, macvlan_above),
    ]
}

/// The frames come to the interface, and no interface of the host is for their VLAN.
fn another_vlan(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let _sender = program(&other, trial.pick("tagged", "stream"), kind);
    let finding = doctor(&host, &from(kind));
    finding.concludes("unknown", 6);
    finding.says("unknown", "before-ip");
    finding.mentions("are for another VLAN or another host: compare the VLANs.");
}

fn xdp_drops(trial: &Trial, kind: Kind, mode: &str) {
    let (host, other) = two_hosts();
    let _program = trial.works().then(|| faulty(&host, &["xdp", "eth0", "drop", mode]));
    let _sender = program(&other, "stream", kind);
    let finding = doctor(&host, &from(kind));
    finding.blames("before-ip");
    finding.mentions("an XDP program drops them before IP");
}

fn xdp_passes(trial: &Trial) {
    let (host, other) = two_hosts();
    let _program = faulty(&host, &["xdp", "eth0", trial.pick("pass", "drop"), "native"]);
    let _sender = program(&other, "stream", V4);
    let finding = doctor(&host, &from(V4));
    finding.concludes("sound", 0);
    finding.says("warn", "before-ip");
}

/// Nothing comes: whether the program would drop it cannot be seen.
fn xdp_and_silence(trial: &Trial) {
    let (host, _other) = two_hosts();
    let _program = trial.works().then(|| faulty(&host, &["xdp", "eth0", "drop", "native"]));
    let finding = doctor(&host, &from(V4));
    finding.concludes("silence", 6);
    finding.says("warn", "before-ip");
}

/// The kernel counts frames of a protocol that nobody takes as dropped.
fn lldp(trial: &Trial) {
    let (host, other) = two_hosts();
    let _sender = trial.works().then(|| faulty(&other, &["lldp", "eth0"]));
    let finding = doctor(&host, &from(V4));
    finding.concludes("unknown", 6);
    finding.says("warn", "device-drops");
    finding.mentions("of a protocol that nobody takes here, as LLDP");
}

/// Its packets have no hardware addresses.
fn tunnel(trial: &Trial) {
    let (host, other) = two_hosts();
    let (_sender, place) = match trial.works() {
        true => (faulty(&host, &["tunnel", "239.1.0.1", "5000", "tun0"]), "tun0"),
        false => (program(&other, "stream", V4), "eth0"),
    };
    let finding = doctor(&host, &format!("--from 239.1.0.1:5000%{place}"));
    finding.concludes("sound", 0);
    finding.says("ok", "mac-filter");
    finding.mentions("has no hardware addresses");
}

fn gro(trial: &Trial) {
    let (host, other) = two_hosts();
    if !trial.works() {
        drop(faulty(&host, &["gro", "eth0"]));
    }
    let _sender = program(&other, "flood", V4);
    let finding = doctor(&host, &from(V4));
    finding.concludes("sound", 0);
    finding.says("warn", "gro");
    finding.mentions("ethtool -K eth0 gro on");
}

/// A container whose interface is a macvlan on the host's.
fn container(host: &Host) -> Host {
    let container = Host::new("container");
    host.ip(&[&format!("link add mv0 link eth0 netns {} type macvlan mode bridge", container.name())]);
    container.ip(&["link set mv0 name eth0", "link set eth0 up"]);
    wait_until_up((&container, "eth0"));
    address(0, 3, (&container, "eth0"));
    container
}

fn macvlan(trial: &Trial) {
    let (host, other) = two_hosts();
    let container = match trial.works() {
        true => container(&host),
        false => {
            let container = Host::new("container");
            cable(1, (&container, "eth0"), (&other, "eth1"));
            container
        }
    };
    let group = V4.group().address().to_string();
    let _sender = faulty(&other, &["stream", &group, "5000", trial.pick("eth0", "eth1")]);
    let finding = doctor(&container, &from(V4));
    finding.concludes("sound", 0);
    finding.says("warn", "containers");
    finding.mentions("A macvlan does not hear the host below it");
}

fn macvlan_and_the_host_below(trial: &Trial) {
    let (host, other) = two_hosts();
    let container = container(&host);
    let _sender = program(trial.pick(&host, &other), "stream", V4);
    let finding = doctor(&container, &from(V4));
    finding.concludes("silence", 6);
    finding.says("warn", "containers");
}

fn macvlan_above(trial: &Trial) {
    let (host, other) = two_hosts();
    if trial.works() {
        host.ip(&["link add mv0 link eth0 type macvlan mode bridge", "link set mv0 up"]);
    }
    let _sender = program(&other, "stream", V4);
    let finding = doctor(&host, &from(V4));
    finding.concludes("sound", 0);
    finding.says("warn", "containers");
    finding.mentions("mv0 on it do not hear each other");
}
