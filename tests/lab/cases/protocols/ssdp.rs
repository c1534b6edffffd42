//! SSDP: searching and being found, with node-ssdp and with GNOME's library.

use super::{AWAY, joined, ours};
use crate::cases::hosts::two_hosts;
use crate::network::Host;
use crate::programs::{Program, debian_python, example, node};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, off: AWAY, run };
    vec![
        case("protocols/ssdp-we-find-node", |trial| we_find(trial, "node", node_device)),
        case("protocols/ssdp-we-find-gssdp", |trial| we_find(trial, "gssdp", gssdp_device)),
        case("protocols/ssdp-node-finds-us", node_finds_us),
        case("protocols/ssdp-gssdp-finds-us-and-hears-us-go", gssdp_finds_us),
        case("protocols/ssdp-we-hear-node-come-and-go", we_hear_node),
    ]
}

const TARGET: &str = "urn:example:device:lamp:1";
const GROUP: &str = "239.255.255.250:1900";

fn node_device(host: &Host) -> Program {
    node(host, "ssdp_peer.js", &["serve", TARGET, "10.0.0.1"])
}

fn gssdp_device(host: &Host) -> Program {
    debian_python(host, "gssdp_peer.py", &["serve", TARGET, "10.0.0.1"])
}

fn we_find(trial: &Trial, name: &str, device: fn(&Host) -> Program) {
    let (a, b) = two_hosts();
    let mut device = device(&a);
    device.says("ready");
    joined(&a, GROUP);
    let mut search = example(&b, "ssdp", &["search", ours(trial), TARGET]);
    search.says("Sent");
    search.says(&format!("10.0.0.1:1900: uuid:of-{name}::{TARGET} at http://10.0.0.1/device.xml"));
}

fn our_device(trial: &Trial, host: &Host) -> Program {
    let mut device = example(host, "ssdp", &["serve", ours(trial), TARGET, "http://10.0.0.1/ours.xml"]);
    device.says("listening");
    device
}

/// node-ssdp is bound to its own address here, so it finds us by the answer alone: from the port that it asked.
fn node_finds_us(trial: &Trial) {
    let (a, b) = two_hosts();
    let _device = our_device(trial, &a);
    let mut search = node(&b, "ssdp_peer.js", &["search", TARGET]);
    search.says(&format!("answer 200 {TARGET} at http://10.0.0.1/ours.xml from 10.0.0.1 1900"));
}

fn gssdp_finds_us(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut device = our_device(trial, &a);
    let mut search = debian_python(&b, "gssdp_peer.py", &["search", TARGET]);
    // It came after our announcement, so it found us by the answer.
    let found = search.says("available uuid:");
    assert!(found.ends_with(&format!("::{TARGET} http://10.0.0.1/ours.xml")), "{found}");
    device.close_input();
    search.says("unavailable uuid:");
}

fn we_hear_node(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut listening = example(&b, "ssdp", &["listen", ours(trial)]);
    listening.says("listening");
    let mut device = node_device(&a);
    let usn = format!("uuid:of-node::{TARGET}");
    listening.says(&format!("ssdp:alive {usn}"));
    device.close_input();
    listening.says(&format!("ssdp:byebye {usn}"));
}
