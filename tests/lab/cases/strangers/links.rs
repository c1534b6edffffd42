//! Strangers and links: bridges of containers, IPv6 that is switched off and on, rules that move a route, an index that comes again.

use multicast::{Bind, Interface, Links, ListenOptions, Listener, Membership, Memberships};

use crate::network::{Host, address, bare_cable, cable, interface, named, wait_until_up};
use crate::peers::{Kind, PATIENCE, QUIET, hear_exactly};
use crate::programs::stranger;
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let unapplied = "changes are not applied";
    vec![
        case("strangers/ports-of-a-bridge-take-no-membership", "no bridge owns the ports", container_host),
        case("strangers/an-mtu-below-1280-and-back", unapplied, ipv6_destroyed),
        case("strangers/a-policy-rule-moves-the-default", unapplied, policy_rule),
        case("strangers/an-index-that-comes-again-ipv4", unapplied, |trial| same_index(trial, Kind::V4)),
        case("strangers/an-index-that-comes-again-ipv6", unapplied, |trial| same_index(trial, Kind::SiteLocal)),
    ]
}

/// A listener that is bound to its group, and its book.
struct Follower {
    listener: Listener<64>,
    links: Links,
    book: Memberships<1>,
}

impl Follower {
    fn new(host: &Host, membership: Membership) -> Self {
        host.within(|| {
            let links = Links::watch().unwrap();
            let mut listener = ListenOptions::new().bind(Bind::Later(membership.group())).unwrap();
            let mut book = Memberships::new();
            book.join(membership, &mut listener).unwrap();
            Self { listener, links, book }
        })
    }

    /// Applies what has changed, or not.
    fn follow(&mut self, trial: &Trial, host: &Host) {
        host.within(|| {
            // Each change is queued when the command that made it returns, except for what the kernel does some time later.
            std::thread::sleep(QUIET);
            while let Some(change) = self.links.next().unwrap() {
                if trial.works() {
                    self.book.apply(&change, &mut self.listener).unwrap();
                }
            }
        });
    }
}

/// A host with 22 containers: more ports of its bridge than a socket may have groups. Ports deliver nothing; the bridge does.
fn container_host(trial: &Trial) {
    const CONTAINERS: u8 = 22;
    let (host, lan, container) = (Host::new("host"), Host::new("lan"), Host::new("container"));
    host.ip(&["link add br0 type bridge mcast_snooping 0", "link set br0 up", "addr add 10.0.7.1/24 dev br0"]);
    for number in 0..CONTAINERS {
        bare_cable((&host, &format!("port{number}")), (&container, &format!("eth{number}")));
        if trial.works() {
            host.ip(&[&format!("link set port{number} master br0")]);
        }
    }
    address(7, 2, (&container, "eth0"));
    cable(0, (&host, "eth0"), (&lan, "eth0"));
    let mut follower = Follower::new(&host, Membership::any(Kind::V4.group()).on(Interface::All));
    crate::common::wait_until("the port forwards", || host.run("ip -d link show dev port0").contains("state forwarding"));
    lan.send(Kind::V4.group(), &["from the lan"]);
    assert_eq!(crate::peers::hear(&mut follower.listener), b"from the lan");
    container.send(Kind::V4.group(), &["from a container"]);
    hear_exactly(&mut follower.listener, &["from a container"]);
}

/// With an MTU below 1280 an interface has no IPv6, and the kernel forgets who has joined there.
fn ipv6_destroyed(trial: &Trial) {
    let (host, other) = (Host::new("host"), Host::new("other"));
    cable(0, (&host, "eth0"), (&other, "eth0"));
    let group = Kind::SiteLocal.group();
    let mut follower = Follower::new(&host, Membership::any(group).on(interface(0)));
    other.send(group, &["before"]);
    hear_exactly(&mut follower.listener, &["before"]);
    host.ip(&["link set eth0 mtu 1200", "link set eth0 mtu 1500"]);
    host.ip(&["addr add fd00:0::1/64 dev eth0 nodad", "addr add fe80::1/64 dev eth0 nodad"]);
    follower.follow(trial, &host);
    other.send(group, &["after"]);
    hear_exactly(&mut follower.listener, &["after"]);
}

/// A VPN moves traffic by a rule alone; no route changes.
fn policy_rule(trial: &Trial) {
    let (host, lan, vpn) = (Host::new("host"), Host::new("lan"), Host::new("vpn"));
    cable(0, (&host, "eth0"), (&lan, "eth0"));
    cable(1, (&host, "eth1"), (&vpn, "eth0"));
    host.ip(&["route add default via 10.0.0.2", "route add default via 10.0.1.2 table 100"]);
    let group = Kind::V4.group();
    let mut follower = Follower::new(&host, Membership::any(group).on(Interface::Default));
    lan.send(group, &["from the lan"]);
    hear_exactly(&mut follower.listener, &["from the lan"]);
    // What the kernel still reports of the links.
    follower.follow(trial, &host);
    host.ip(&["rule add to 239.0.0.0/8 lookup 100"]);
    follower.follow(trial, &host);
    vpn.send(group, &["from the vpn"]);
    hear_exactly(&mut follower.listener, &["from the vpn"]);
}

/// The interface of a listener is deleted, and another one gets its index. Somebody else joins the group there.
fn same_index(trial: &Trial, kind: Kind) {
    let (host, other) = (Host::new("host"), Host::new("other"));
    let plug_in = |name: &str| {
        host.ip(&[&format!("link add {name} index 77 type veth peer name eth0 netns {}", other.name())]);
        host.ip(&[&format!("link set {name} up")]);
        other.ip(&["link set eth0 up"]);
        wait_until_up((&host, name));
        wait_until_up((&other, "eth0"));
        address(0, 1, (&host, name));
        address(0, 2, (&other, "eth0"));
    };
    plug_in("eth0");
    let group = kind.group();
    let mut follower = Follower::new(&host, Membership::any(group).on(named("eth0")));
    other.send(group, &["before"]);
    hear_exactly(&mut follower.listener, &["before"]);
    host.ip(&["link delete eth0"]);
    plug_in("eth9");
    follower.follow(trial, &host);
    let mut member = stranger(&host, &["member", &group.address().to_string(), &group.port().to_string(), "eth9"]);
    member.says("begins");
    other.send(group, &["for others"]);
    assert!(member.says_within("got 1.", PATIENCE).is_some(), "the packet did not come at all");
    hear_exactly(&mut follower.listener, &[]);
}
