//! The thirteen situations: twelve faults, and a sound host.

use std::process::Command;

use super::{Finding, doctor, doctor_with_privilege, from, program, two_hosts};
use crate::network::{Host, cable};
use crate::peers::Kind::{self, LinkLocal, SiteLocal, V4};
use crate::programs::faulty;
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let none = "there is no such fault";
    vec![
        case("doctor/a-sound-host-ipv4", "nobody sends", |trial| sound(trial, V4)),
        case("doctor/a-sound-host-ipv6", "nobody sends", |trial| sound(trial, SiteLocal)),
        case("doctor/a-sound-host-ipv6-link-local", "nobody sends", |trial| sound(trial, LinkLocal)),
        case("doctor/reverse-path-filter", none, reverse_path),
        case("doctor/reverse-path-filter-by-the-source-alone", none, reverse_path_without_a_packet),
        case("doctor/firewall-input-ipv4", none, |trial| firewall(trial, V4, "input")),
        case("doctor/firewall-input-ipv6", none, |trial| firewall(trial, SiteLocal, "input")),
        case("doctor/firewall-prerouting-ipv4", none, |trial| firewall(trial, V4, "prerouting")),
        case("doctor/firewall-prerouting-ipv6", none, |trial| firewall(trial, SiteLocal, "prerouting")),
        case("doctor/with-privilege-the-chains-are-shown", "without privilege", with_privilege),
        case("doctor/firewall-on-the-senders-address", none, firewall_on_the_sender),
        case("doctor/conntrack-policy-ipv4", none, |trial| conntrack(trial, V4)),
        case("doctor/conntrack-policy-ipv6", none, |trial| conntrack(trial, SiteLocal)),
        case("doctor/tc-drop-ipv4", none, |trial| tc(trial, V4)),
        case("doctor/tc-drop-ipv6", none, |trial| tc(trial, SiteLocal)),
        case("doctor/netdev-drop-ipv4", none, |trial| netdev(trial, V4)),
        case("doctor/netdev-drop-ipv6", none, |trial| netdev(trial, SiteLocal)),
        case("doctor/full-buffer-ipv4", "the program's buffer is not small", |trial| full_buffer(trial, V4)),
        case("doctor/full-buffer-ipv6", "the program's buffer is not small", |trial| full_buffer(trial, SiteLocal)),
        case("doctor/wrong-checksum-ipv4", none, |trial| sender(trial, V4, "checksum", "checksum")),
        case("doctor/wrong-checksum-ipv6", none, |trial| sender(trial, SiteLocal, "checksum", "checksum")),
        case("doctor/lost-fragments-ipv4", none, |trial| sender(trial, V4, "fragments", "fragments")),
        case("doctor/lost-fragments-ipv6", none, |trial| sender(trial, SiteLocal, "fragments", "fragments")),
        case("doctor/wrong-port-ipv4", none, |trial| wrong_port(trial, V4)),
        case("doctor/wrong-port-ipv6", none, |trial| wrong_port(trial, SiteLocal)),
        case("doctor/wrong-group-ipv4", none, |trial| wrong_group(trial, V4)),
        case("doctor/wrong-group-ipv6", none, |trial| wrong_group(trial, SiteLocal)),
        case("doctor/other-source-ipv4", none, |trial| other_source(trial, V4)),
        case("doctor/other-source-ipv6", none, |trial| other_source(trial, SiteLocal)),
        case("doctor/a-program-names-another-source-ipv4", none, |trial| named_by_a_program(trial, V4)),
        case("doctor/a-program-names-another-source-ipv6", none, |trial| named_by_a_program(trial, SiteLocal)),
        case("doctor/other-interface-ipv4", none, |trial| other_interface(trial, V4)),
        case("doctor/other-interface-ipv6", none, |trial| other_interface(trial, SiteLocal)),
        case("doctor/a-program-joined-elsewhere", none, joined_elsewhere),
        case("doctor/link-down-ipv4", none, |trial| link_down(trial, V4)),
        case("doctor/link-down-ipv6", none, |trial| link_down(trial, SiteLocal)),
    ]
}

fn sound(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let _sender = trial.works().then(|| program(&other, "stream", kind));
    let finding = doctor(&host, &from(kind));
    finding.concludes("sound", 0);
    assert!(!finding.text.contains("FAIL"), "{}", finding.text);
}

/// The sender's address is none that the host would answer by this interface.
fn strange_sender(trial: &Trial, host: &Host, other: &Host) {
    other.ip(&["addr add 192.168.77.1/32 dev eth0"]);
    if trial.works() {
        host.set("net/ipv4/conf/eth0/rp_filter", "1");
    } else {
        host.set("net/ipv4/conf/all/rp_filter", "0");
        host.set("net/ipv4/conf/eth0/rp_filter", "0");
    }
}

fn reverse_path(trial: &Trial) {
    let (host, other) = two_hosts();
    strange_sender(trial, &host, &other);
    let _sender = faulty(&other, &["stream", "239.1.0.1", "5000", "eth0", "192.168.77.1"]);
    doctor(&host, &from(V4)).blames("rp_filter");
}

/// Nothing comes, but the kernel tells what it would do.
fn reverse_path_without_a_packet(trial: &Trial) {
    let (host, other) = two_hosts();
    strange_sender(trial, &host, &other);
    doctor(&host, "--from 192.168.77.1@239.1.0.1:5000%eth0").blames("rp_filter");
}

fn rules(host: &Host, lines: &[&str]) {
    for line in lines {
        host.run(&format!("nft {line}"));
    }
}

fn firewall(trial: &Trial, kind: Kind, hook: &str) {
    let (host, other) = two_hosts();
    if trial.works() {
        rules(&host, &["add table inet t", &format!("add chain inet t c {{ type filter hook {hook} priority 0 ; }}")]);
        rules(&host, &["add rule inet t c udp dport 5000 drop"]);
    }
    let _sender = program(&other, "stream", kind);
    doctor(&host, &from(kind)).blames("firewall-in");
}

/// Who may read the rules sees where to look.
fn with_privilege(trial: &Trial) {
    let (host, other) = two_hosts();
    rules(&host, &["add table inet t", "add chain inet t c { type filter hook input priority 0 ; policy drop ; }"]);
    let _sender = program(&other, "stream", V4);
    let finding = if trial.works() { doctor_with_privilege(&host, &from(V4)) } else { doctor(&host, &from(V4)) };
    finding.blames("firewall-in");
    finding.mentions("nft chain t c: policy drop, 0 rules");
}

/// A packet of the host to itself passes such a rule.
fn firewall_on_the_sender(trial: &Trial) {
    let (host, other) = two_hosts();
    if trial.works() {
        rules(&host, &["add table inet t", "add chain inet t c { type filter hook input priority 0 ; }"]);
        rules(&host, &["add rule inet t c ip saddr 10.0.0.2 drop"]);
    }
    let _sender = program(&other, "stream", V4);
    let finding = doctor(&host, &from(V4));
    finding.blames("firewall-in");
    finding.mentions("by their sender");
}

fn conntrack(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    if trial.works() {
        rules(&host, &["add table inet t", "add chain inet t c { type filter hook input priority 0 ; policy drop ; }"]);
        rules(&host, &["add rule inet t c ct state established,related accept"]);
        rules(&host, &["add rule inet t c meta l4proto { icmpv6, igmp } accept"]);
    }
    let _sender = program(&other, "stream", kind);
    let finding = doctor(&host, &from(kind));
    finding.blames("firewall-in");
    finding.says("FAIL", "conntrack");
    finding.mentions("conntrack is in use");
}

fn tc(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    if trial.works() {
        host.run("tc qdisc add dev eth0 clsact");
        // A program of one instruction: it returns 2, which is TC_ACT_SHOT.
        let arguments = ["filter", "add", "dev", "eth0", "ingress", "bpf", "da", "bytecode", "1,6 0 0 2,"];
        assert!(host.within(|| Command::new("tc").args(arguments).status()).unwrap().success());
    }
    let _sender = program(&other, "stream", kind);
    let finding = doctor(&host, &from(kind));
    finding.blames("before-ip");
    finding.mentions("a tc rule");
}

fn netdev(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    if trial.works() {
        rules(&host, &["add table netdev t", "add chain netdev t c { type filter hook ingress device eth0 priority 0 ; }"]);
        rules(&host, &["add rule netdev t c udp dport 5000 drop"]);
    }
    let _sender = program(&other, "stream", kind);
    doctor(&host, &from(kind)).blames("before-ip");
}

/// The doctor hears, and another program in the group does not keep up.
fn full_buffer(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let group = kind.group().address().to_string();
    let _reader = match trial.works() {
        true => program(&host, "hoard", kind),
        false => crate::programs::stranger(&host, &["member", &group, "5000", "eth0"]),
    };
    let _sender = program(&other, "fast", kind);
    let finding = doctor(&host, &from(kind));
    finding.blames("receive-buffer");
    finding.mentions("uid 0, inode ");
}

fn sender(trial: &Trial, kind: Kind, fault: &str, stage: &str) {
    let (host, other) = two_hosts();
    let _sender = program(&other, trial.pick(fault, "stream"), kind);
    doctor(&host, &from(kind)).blames(stage);
}

fn wrong_port(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let group = kind.group().address().to_string();
    let _sender = faulty(&other, &["stream", &group, trial.pick("5001", "5000"), "eth0"]);
    doctor(&host, &from(kind)).blames("port");
}

fn wrong_group(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let group = trial.pick(kind.group_of(2), kind.group()).address().to_string();
    let _sender = faulty(&other, &["stream", &group, "5000", "eth0"]);
    doctor(&host, &from(kind)).blames("group");
}

/// The group of this kind from a source, as an argument.
fn from_source(kind: Kind, number: u8) -> String {
    format!("--from {}@{}%eth0", kind.address(0, number), kind.group())
}

fn other_source(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let _sender = program(&other, "stream", kind);
    let finding = doctor(&host, &from_source(kind, trial.pick(9, 2)));
    finding.blames("source-lists");
    finding.mentions(&format!("The packets come from {}", kind.address(0, 2)));
}

fn named_by_a_program(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let group = kind.group().address().to_string();
    let source = kind.address(0, trial.pick(9, 2)).to_string();
    let _program = faulty(&host, &["hoard", &group, "5000", "eth0", &source]);
    let _sender = program(&other, "stream", kind);
    let finding = doctor(&host, &from(kind));
    // With the right source it is only its small buffer.
    finding.blames("source-lists");
}

fn other_interface(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    cable(1, (&host, "eth1"), (&other, "eth1"));
    let group = kind.group().address().to_string();
    let _sender = faulty(&other, &["stream", &group, "5000", trial.pick("eth1", "eth0")]);
    let finding: Finding = doctor(&host, &from(kind));
    finding.blames("joined-here");
    finding.mentions("come in on eth1");
}

/// The packets come in on eth0; a program listens on eth1.
fn joined_elsewhere(trial: &Trial) {
    let (host, other) = two_hosts();
    cable(1, (&host, "eth1"), (&other, "eth1"));
    let mut member = crate::programs::stranger(&host, &["member", "239.1.0.1", "5000", trial.pick("eth1", "eth0")]);
    member.says("begins");
    let _sender = program(&other, "stream", V4);
    doctor(&host, &from(V4)).blames("joined-here");
}

fn link_down(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    if trial.works() {
        host.ip(&["link set eth0 down"]);
    }
    let _sender = (!trial.works()).then(|| program(&other, "stream", kind));
    doctor(&host, &from(kind)).blames("link");
}
