//! `mcast who` with several links and several hosts.

use std::process::Command;

use serde_json::Value;

use crate::common::link::Pair;
use crate::common::{Python, unique_group, unique_v6_group};
use crate::mcast::mcast as command;
use crate::programs::run;
use multicast::Group;

/// Joins a group on an interface, with a socket that is bound to the group there, to all addresses, or not at all. Prints its inode.
const PEER: &str = r#"
import os, socket, struct, sys
group, port, interface, bound = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
family = socket.AF_INET6 if ":" in group else socket.AF_INET
index = socket.if_nametoindex(interface)
s = socket.socket(family, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if bound == "group":
    s.bind((group, port, 0, index) if family == socket.AF_INET6 else (group, port))
elif bound == "any":
    s.bind(("", port))
if family == socket.AF_INET6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(family, group) + struct.pack("@I", index))
else:
    s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, struct.pack("@4s4si", socket.inet_aton(group), bytes(4), index))
print(os.fstat(s.fileno()).st_ino)
input()
"#;

struct Peer {
    program: Python,
    inode: u64,
}

impl Peer {
    fn start(group: Group, interface: &str, bound: &str) -> Self {
        Self::ready(Python::start(PEER, &[&group.address().to_string(), &group.port().to_string(), interface, bound]))
    }

    fn ready(mut program: Python) -> Self {
        let inode = program.line().parse().unwrap();
        Self { program, inode }
    }
}

/// The memberships in this group, as these arguments show them, and the inodes of their holders with their certainty.
fn memberships(who: &mut Command) -> Vec<(String, Vec<(u64, String)>)> {
    let objects = run(who).expect(0).lines.into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let mut shown = Vec::new();
    for object in objects.filter(|object| object["kind"] == "membership") {
        let holder = |holder: &Value| (holder["inode"].as_u64().unwrap(), holder["certainty"].as_str().unwrap().to_owned());
        let holders = object["holders"].as_array().unwrap().iter().map(holder).collect();
        shown.push((object["interface"].as_str().unwrap().to_owned(), holders));
    }
    shown.sort();
    shown
}

fn who(group: Group, arguments: &[&str]) -> Command {
    let mut command = command(["who", "--json", "--from", &group.to_string()]);
    command.args(arguments);
    command
}

#[test]
fn a_group_on_two_links_has_two_memberships_each_with_its_own_holder() {
    let link = Pair::new();
    for group in [unique_group(), unique_v6_group(2)] {
        let (on_a, on_b) = (Peer::start(group, &link.a, "any"), Peer::start(group, &link.b, "any"));
        let exact = |inode| vec![(inode, "exact".to_owned())];
        let both = [(link.a.clone(), exact(on_a.inode)), (link.b.clone(), exact(on_b.inode))];
        assert_eq!(memberships(&mut who(group, &[])), both);
        assert_eq!(memberships(&mut who(group, &["--interface", &link.a])), both[..1]);
        assert_eq!(memberships(&mut who(group, &["--interface", &link.b])), both[1..]);
        assert_eq!(memberships(&mut who(group, &["--interface", &link.a, "--interface", &link.b])), both);
    }
    // By address.
    let group = unique_group();
    let on_b = Peer::start(group, &link.b, "any");
    let address = link.addresses[1].to_string();
    let expected = [(link.b.clone(), vec![(on_b.inode, "exact".to_owned())])];
    assert_eq!(memberships(&mut who(group, &["--interface", &address])), expected);
}

#[test]
fn a_socket_that_is_bound_to_a_group_on_one_link_is_no_holder_on_another() {
    let link = Pair::new();
    let group = unique_v6_group(2);
    let (on_a, on_b) = (Peer::start(group, &link.a, "group"), Peer::start(group, &link.b, "any"));
    // As another user, so that no socket is asked.
    let copy = std::env::temp_dir().join(format!("mcast-who-link-{}", std::process::id()));
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_mcast")).arg(&copy).status().unwrap().success());
    let mut by_nobody = Command::new("setpriv");
    by_nobody.args(["--reuid", "65534", "--clear-groups", "--"]).arg(&copy);
    by_nobody.args(["who", "--json", "--from", &group.to_string()]);
    let shown = memberships(&mut by_nobody);
    std::fs::remove_file(&copy).unwrap();
    let candidate = (on_b.inode, "candidate".to_owned());
    let expected =
        [(link.a.clone(), vec![(on_a.inode, "bound".to_owned()), candidate.clone()]), (link.b.clone(), vec![candidate])];
    assert_eq!(shown, expected);
}

#[test]
fn programs_on_another_host_are_not_shown_although_their_interfaces_have_the_same_numbers() {
    let group = unique_group();
    let here = Peer::start(group, "lo", "any");
    let there = ["nothing", "any", "group"].map(|bound| {
        let arguments = [&group.address().to_string(), &group.port().to_string(), "lo", bound];
        Peer::ready(Python::start_on_another_host(PEER, &arguments))
    });
    let shown = memberships(&mut command(["who", "--json", "--from", &group.address().to_string()]));
    assert_eq!(shown, [("lo".to_owned(), vec![(here.inode, "exact".to_owned())])]);
    // On their own host they are.
    for peer in &there {
        let mut enter = Command::new("nsenter");
        enter.args(["--net", "--target", &peer.program.id().to_string(), env!("CARGO_BIN_EXE_mcast"), "who", "--json"]);
        let shown = memberships(enter.args(["--from", &group.address().to_string()]));
        assert_eq!(shown, [("lo".to_owned(), vec![(peer.inode, "exact".to_owned())])]);
    }
}
