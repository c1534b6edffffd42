//! CoAP, with libcoap: a request to a group, and the answers of all its members.

use super::{AWAY, joined, ours};
use crate::cases::hosts::two_hosts;
use crate::network::{Host, switch};
use crate::programs::{Program, example, installed};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, off: AWAY, run };
    vec![
        case("protocols/coap-we-ask-two-of-libcoap-ipv4", |trial| we_ask(trial, V4)),
        case("protocols/coap-we-ask-two-of-libcoap-ipv6", |trial| we_ask(trial, V6)),
        case("protocols/coap-libcoap-asks-us-ipv4", |trial| libcoap_asks_us(trial, V4)),
        case("protocols/coap-libcoap-asks-us-ipv6", |trial| libcoap_asks_us(trial, V6)),
    ]
}

/// Two servers in one group: each answers from its own address, after the second for which we ask.
fn we_ask(trial: &Trial, (group, with_interface, sources): Family) {
    let (a, b, c) = (Host::new("a"), Host::new("b"), Host::new("c"));
    let _switch = switch("mcast_snooping 0", &[&a, &b, &c]);
    for host in [&a, &b] {
        host.ip(&["route add 224.0.0.0/4 dev eth0"]);
    }
    let serve = |host| installed(host, "coap-server-notls", &["-r", "-g", with_interface, "-v", "6"]);
    let _servers: [Program; 2] = [&a, &b].map(serve);
    for host in [&a, &b] {
        joined(host, &format!("{group}:5683"));
    }
    let mut asking = example(&c, "coap", &["get", ours(trial), &format!("{group}:5683"), "async?1"]);
    let mut answers = [(); 2].map(|()| asking.says(": 2.05 done"));
    answers.sort();
    for (answer, source) in answers.iter().zip(sources) {
        assert!(answer.starts_with(source), "{answers:?}");
    }
}

fn libcoap_asks_us(trial: &Trial, (group, with_interface, _): Family) {
    let (a, b) = two_hosts();
    let mut server = example(&a, "coap", &["serve", ours(trial), &format!("{group}:5683"), "lamp", "good day"]);
    server.says("listening");
    let host = if group.starts_with('[') { format!("[{with_interface}]") } else { with_interface.to_owned() };
    let mut asking = installed(&b, "coap-client-notls", &["-m", "get", "-N", "-B", "1", &format!("coap://{host}/lamp")]);
    asking.says("good day");
}

/// A group as it is written, the same for libcoap, and the sources of the answers.
type Family = (&'static str, &'static str, [&'static str; 2]);
const V4: Family = ("224.0.1.187", "224.0.1.187", ["10.0.0.1:5683", "10.0.0.2:5683"]);
const V6: Family = ("[ff02::fd]", "ff02::fd%eth0", ["[fe80::1%", "[fe80::2%"]);
