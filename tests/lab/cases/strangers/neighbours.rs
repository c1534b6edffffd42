//! Strangers on the same port of the same host: who gets unicast, who gets which group, who can start and restart.

use multicast::{Bind, Family, ListenOptions, Listener, Membership};

use crate::network::{Host, cable, interface};
use crate::peers::{Kind, hear_exactly, listen};
use crate::programs::{Program, stranger};
use crate::trial::{Case, Trial};

/// How many packets each listener must get, and how many a neighbour.
const COUNT: usize = 40;

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let by_port = "we listen by port";
    let everywhere = "each of our listeners joins both interfaces";
    vec![
        case("strangers/unicast-stays-with-a-neighbour-ipv4", by_port, |trial| unicast(trial, Kind::V4)),
        case("strangers/unicast-stays-with-a-neighbour-ipv6-link-local", by_port, |trial| unicast(trial, Kind::LinkLocal)),
        case("strangers/unicast-stays-with-a-neighbour-ipv6", by_port, |trial| unicast(trial, Kind::SiteLocal)),
        case("strangers/two-listeners-on-two-interfaces-ipv4", everywhere, |trial| two_interfaces(trial, Kind::V4)),
        case("strangers/two-listeners-on-two-interfaces-ipv6-link-local", everywhere, |trial| {
            two_interfaces(trial, Kind::LinkLocal)
        }),
        case("strangers/two-listeners-on-two-interfaces-ipv6", everywhere, |trial| two_interfaces(trial, Kind::SiteLocal)),
        case("strangers/a-neighbour-with-reuseport-alone-restarts", "a plain program holds the port", restarts),
    ]
}

fn two_hosts() -> (Host, Host) {
    let (host, other) = (Host::new("host"), Host::new("other"));
    cable(0, (&host, "eth0"), (&other, "eth0"));
    (host, other)
}

fn neighbour(host: &Host, address: &str, port: u16, options: &str) -> Program {
    stranger(host, &["neighbour", address, &port.to_string(), options])
}

const fn wildcard(kind: Kind) -> &'static str {
    match kind {
        Kind::V4 => "0.0.0.0",
        Kind::LinkLocal | Kind::SiteLocal => "::",
    }
}

/// A neighbour on the wildcard address, started before us, gets all its unicast. Unicast goes to one socket of those on the port.
fn unicast(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    let group = kind.group();
    let mut before = neighbour(&host, wildcard(kind), group.port(), "SO_REUSEADDR");
    before.says("begins");
    let membership = Membership::any(group).on(interface(0));
    let mut ours: Listener<64> = host.within(|| {
        if trial.works() {
            return ListenOptions::new().bind(membership).unwrap();
        }
        let mut by_port = ListenOptions::new().bind(Bind::Port(group.port(), group.family())).unwrap();
        by_port.join(&membership).unwrap();
        by_port
    });
    let address = match group.family() {
        Family::V4 => "10.0.0.1",
        Family::V6 => "fd00:0::1",
    };
    let mut client = stranger(&other, &["unicast", address, &group.port().to_string(), &COUNT.to_string()]);
    client.says("sent");
    before.says(&format!("got {COUNT}."));
    other.send(group, &["to the group"]);
    hear_exactly(&mut ours, &["to the group"]);
}

/// Two of ours, for one group, each on an interface of its own, beside a neighbour that is bound to the group: each gets exactly
/// its own packets, although the sockets share address and port.
fn two_interfaces(trial: &Trial, kind: Kind) {
    let (host, other) = two_hosts();
    cable(1, (&host, "eth1"), (&other, "eth1"));
    let group = kind.group();
    let on = |number| listen(&host, group, interface(number));
    let (mut first, mut second) = (on(0), on(1));
    if !trial.works() {
        host.within(|| {
            first.join(&Membership::any(group).on(interface(1))).unwrap();
            second.join(&Membership::any(group).on(interface(0))).unwrap();
        });
    }
    let words = |number: u8| -> Vec<String> { (0..COUNT).map(|count| format!("{count} on {number}")).collect() };
    let (on_first, on_second) = (words(0), words(1));
    for (one, two) in on_first.iter().zip(&on_second) {
        for (number, word) in [(0, one), (1, two)] {
            other.send_with(multicast::SendOptions::new().interface(interface(number)), group, &[word]);
        }
    }
    for (listener, words) in [(&mut first, on_first), (&mut second, on_second)] {
        hear_exactly(listener, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// A program that sets SO_REUSEPORT alone starts before, beside and after us, as another instance of itself does.
fn restarts(trial: &Trial) {
    let (host, other) = two_hosts();
    let group = Kind::V4.group();
    let start = |address: &str, options| {
        let mut program = neighbour(&host, address, group.port(), options);
        program.says("begins");
        program
    };
    let _plain = (!trial.works()).then(|| start(&group.address().to_string(), "SO_REUSEADDR"));
    let first = start("0.0.0.0", "SO_REUSEPORT");
    let mut ours = listen(&host, group, interface(0));
    let second = start("0.0.0.0", "SO_REUSEPORT");
    drop((first, second));
    let _third = start("0.0.0.0", "SO_REUSEPORT");
    other.send(group, &["hello"]);
    hear_exactly(&mut ours, &["hello"]);
}
