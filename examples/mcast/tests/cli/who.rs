//! `mcast who`, with memberships of Python programs on `lo`.

use std::net::IpAddr;
use std::process::Command;

use serde_json::Value;

use crate::common::{Python, send_all, unique_group, unique_v6_group};
use crate::mcast::mcast as command;
use crate::programs::run;
use multicast::Group;

/// Opens a socket as told, prints its inode and port, and waits. Arguments: what to bind to, the port, and what to do: `join`, `none`,
/// or the one source to join from.
const PEER: &str = r#"
import os, socket, struct, sys
group, address, port, way = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
family = socket.AF_INET6 if ":" in group else socket.AF_INET
level = socket.IPPROTO_IPV6 if family == socket.AF_INET6 else socket.IPPROTO_IP
lo = socket.if_nametoindex("lo")
def storage(ip):
    if family == socket.AF_INET6:
        return struct.pack("@HHI16sI", family, 0, 0, socket.inet_pton(family, ip), 0).ljust(128, b"\0")
    return struct.pack("@HH4s", family, 0, socket.inet_aton(ip)).ljust(128, b"\0")
if address == "raw":
    s = socket.socket(family, socket.SOCK_RAW, 112)
else:
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address == "group":
        s.bind((group, port, 0, lo) if family == socket.AF_INET6 else (group, port))
    elif address == "any":
        s.bind(("", port))
pad = struct.calcsize("@P")
MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP = 42, 46
if way == "join":
    s.setsockopt(level, MCAST_JOIN_GROUP, struct.pack("@I", lo).ljust(pad, b"\0") + storage(group))
elif way != "none":
    s.setsockopt(level, MCAST_JOIN_SOURCE_GROUP, struct.pack("@I", lo).ljust(pad, b"\0") + storage(group) + storage(way))
print(os.fstat(s.fileno()).st_ino)
print(0 if address == "raw" else s.getsockname()[1])
input()
"#;

struct Peer {
    program: Python,
    inode: u64,
    port: u64,
}

impl Peer {
    fn start(group: Group, address: &str, way: &str) -> Self {
        let (group, port) = (group.address().to_string(), group.port().to_string());
        let mut program = Python::start(PEER, &[&group, address, if address == "group" { &port } else { "0" }, way]);
        let (inode, port) = (program.line().parse().unwrap(), program.line().parse().unwrap());
        Self { program, inode, port }
    }

    /// What `who` prints of its process.
    fn is(&self, holder: &Value) -> bool {
        let program = std::fs::read_to_string(format!("/proc/{}/comm", self.program.id())).unwrap();
        let process = &holder["processes"][0];
        process["pid"] == self.program.id() && process["program"] == program.trim_end() && holder["inode"] == self.inode
    }
}

/// The objects that it prints.
fn objects(command: &mut Command) -> Vec<Value> {
    let ended = run(command).expect(0);
    ended.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The membership of this group on `lo`, as `who` prints it with these arguments.
fn membership(command: &mut Command, group: Group) -> Value {
    let mut found = objects(command);
    let total = found.pop().unwrap();
    assert_eq!((&total["kind"], &total["membership_count"]), (&"total".into(), &found.len().into()));
    found.retain(|object| object["group_address"] == group.address().to_string() && object["interface"] == "lo");
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn who(group: Group) -> Command {
    command(["who", "--json", "--from", &group.address().to_string()])
}

/// The same by another user. It must reach the program: its folder may be private.
struct AsNobody(std::path::PathBuf);

impl AsNobody {
    fn new() -> Self {
        let copy = std::env::temp_dir().join(format!("mcast-who-{}-{:?}", std::process::id(), std::thread::current().id()));
        // By a process of its own: a child of another test may still have a descriptor that was opened for writing here, and then the
        // copy could not be run.
        assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_mcast")).arg(&copy).status().unwrap().success());
        Self(copy)
    }

    fn who(&self, group: Group) -> Command {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid", "65534", "--clear-groups", "--"]).arg(&self.0);
        setpriv.args(["who", "--json", "--from", &group.address().to_string()]);
        setpriv
    }
}

impl Drop for AsNobody {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn holders(membership: &Value) -> &[Value] {
    membership["holders"].as_array().unwrap()
}

#[test]
fn a_python_program_is_shown_with_name_pid_port_and_drops() {
    let group = unique_group();
    let peer = Peer::start(group, "group", "join");
    // It does not read them, and its buffer holds a few hundred.
    send_all(group, ["packet"; 2000]);
    let membership = membership(&mut who(group), group);
    assert_eq!((&membership["version"], &membership["kind"]), (&2.into(), &"membership".into()));
    assert_eq!((&membership["filter_mode"], &membership["joins"]), (&"exclude".into(), &1.into()));
    let [holder] = holders(&membership) else { panic!("{membership}") };
    assert!(peer.is(holder), "{holder}");
    assert_eq!((&holder["certainty"], &holder["has_joined"]), (&"exact".into(), &true.into()));
    assert_eq!(holder["address"], group.address().to_string());
    assert_eq!(holder["port"], group.port());
    let [dropped, queued, buffer] =
        ["dropped_packets", "queued_bytes", "buffer_bytes"].map(|key| holder[key].as_u64().unwrap());
    assert!(dropped > 0 && dropped < 2000 && queued > 0 && queued <= buffer + 65_536, "{holder}");
}

#[test]
fn root_sees_which_wildcard_socket_has_joined_and_another_user_sees_candidates() {
    for group in [unique_group(), unique_v6_group(5)] {
        let joined = Peer::start(group, "any", "join");
        let bound = Peer::start(group, "group", "join");
        let other = Peer::start(group, "any", "none");
        let by_root = membership(&mut who(group), group);
        assert_eq!(by_root["joins"], 2);
        assert_eq!(holders(&by_root).len(), 2, "{by_root}");
        for peer in [&joined, &bound] {
            let holder = holders(&by_root).iter().find(|holder| peer.is(holder)).unwrap();
            assert_eq!((&holder["certainty"], &holder["port"]), (&"exact".into(), &peer.port.into()));
        }

        let nobody = AsNobody::new();
        let by_nobody = membership(&mut nobody.who(group), group);
        for (peer, certainty) in [(&joined, "candidate"), (&bound, "bound"), (&other, "candidate")] {
            let holder = holders(&by_nobody).iter().find(|holder| holder["inode"] == peer.inode).unwrap();
            assert_eq!(holder["certainty"], certainty);
            assert_eq!(holder["uid"], 0);
            // Not guessed.
            assert_eq!((&holder["has_joined"], &holder["processes"]), (&Value::Null, &Value::Array(vec![])));
        }
        let ended = run(&mut nobody.who(group)).expect(0).saying("as root (CAP_SYS_PTRACE)");
        assert!(!ended.lines.join("").contains(&joined.program.id().to_string()), "{ended:?}");
        run(nobody.who(group).arg("--quiet")).expect(0).quietly();
    }
}

#[test]
fn a_socket_that_is_bound_and_has_not_joined_is_told_apart() {
    let group = unique_group();
    let _joined = Peer::start(group, "any", "join");
    let bound = Peer::start(group, "group", "none");
    let membership = membership(&mut who(group), group);
    let holder = holders(&membership).iter().find(|holder| bound.is(holder)).unwrap();
    assert_eq!((&holder["certainty"], &holder["has_joined"]), (&"bound".into(), &false.into()));
}

#[test]
fn sources_and_the_filter_mode_are_shown() {
    let group = unique_group();
    let named = Peer::start(group, "group", "127.0.0.1");
    // After this the kernel's own list of sources is empty: it begins with the latest group.
    let _later = Peer::start(unique_group(), "group", "join");
    let first = membership(&mut who(group), group);
    assert_eq!(first["filter_mode"], "include");
    assert_eq!(first["sources"][0]["source_address"], "127.0.0.1");
    assert_eq!(first["sources"][0]["included_by_sockets"], 1);
    assert!(named.is(&holders(&first)[0]));
    // Who asks for a source sees what hears it.
    let from = |source: &str| command(["who", "--json", "--from", &format!("{source}@{}", group.address())]);
    membership(&mut from("127.0.0.1"), group);
    run(&mut from("127.0.0.2")).expect(3).saying("nobody on this host has joined");
    let _all = Peer::start(group, "any", "join");
    let second = membership(&mut who(group), group);
    assert_eq!((&second["filter_mode"], &second["joins"]), (&"exclude".into(), &2.into()));
    membership(&mut from("127.0.0.2"), group);
}

#[test]
fn raw_sockets_and_sockets_without_a_port_are_found() {
    let group = unique_group();
    let raw = Peer::start(group, "raw", "join");
    let unbound = Peer::start(group, "nothing", "join");
    let membership = membership(&mut who(group), group);
    assert_eq!(holders(&membership).len(), 2, "{membership}");
    for (peer, protocol) in [(&raw, "raw"), (&unbound, "other")] {
        let holder = holders(&membership).iter().find(|holder| peer.is(holder)).unwrap();
        assert_eq!((&holder["certainty"], &holder["protocol"]), (&"exact".into(), &protocol.into()));
        assert_eq!((&holder["uid"], &holder["port"]), (&0.into(), &0.into()));
    }
}

#[test]
fn a_port_a_range_and_an_interface_choose() {
    let group = unique_group();
    let peer = Peer::start(group, "group", "join");
    let IpAddr::V4(address) = group.address() else { panic!() };
    let before = std::net::Ipv4Addr::from_bits(address.to_bits() - 1);
    let shown = |from: &str, more: &[&str]| {
        let mut who = command(["who", "--json", "--from", from]);
        membership(who.args(more), group)
    };
    assert!(peer.is(&holders(&shown(&format!("{before}+3"), &[]))[0]));
    assert!(peer.is(&holders(&shown(&group.to_string(), &["--interface", "lo"]))[0]));
    assert!(peer.is(&holders(&shown(&format!("{address}%lo"), &[]))[0]));
    assert!(peer.is(&holders(&shown(&address.to_string(), &["--interface", "all"]))[0]));
    let other_port = if group.port() == 1 { 2 } else { 1 };
    assert!(holders(&shown(&format!("{address}:{other_port}"), &[])).is_empty());
    run(&mut command(["who", "--from", &format!("{before}")])).expect(3).saying("nobody on this host has joined");
    run(&mut command(["who", "--interface", "nosuch0"])).expect(1).saying("nosuch0: no such interface");
    run(&mut command(["who", "--timeout", "1"])).expect(2).saying("no such option here: --timeout");
    run(&mut command(["who", "--from", "10.0.0.1"])).expect(2).saying("is not a multicast address");
}

#[test]
fn without_a_target_all_memberships_are_shown_the_kernels_own_too() {
    let group = unique_group();
    let peer = Peer::start(group, "group", "join");
    // The example of the help.
    let help = run(&mut command(["help", "who"])).expect(0).lines;
    let example = help.last().unwrap().trim().strip_prefix("mcast ").unwrap();
    assert_eq!(example, "who --interface lo");
    let ended = run(&mut command(example.split(' '))).expect(0);
    let place =
        ended.lines.iter().position(|line| *line == format!("{} on lo from all sources: joined once", group.address()));
    let line = &ended.lines[place.unwrap() + 1];
    let program = format!(" (pid {}), dropped 0, queued 0 of ", peer.program.id());
    assert!(line.starts_with(&format!("  joined: udp {group}, uid 0, python3")) && line.contains(&program), "{line}");
    assert!(ended.lines.contains(&"224.0.0.1 on lo from all sources: the kernel itself".to_owned()), "{ended:?}");
}

#[test]
fn a_program_of_the_same_user_is_shown_without_privilege() {
    let group = unique_group();
    let nobody = AsNobody::new();
    let mut listen = Command::new("setpriv");
    listen.args(["--reuid", "65534", "--clear-groups", "--"]).arg(&nobody.0);
    let listen = crate::programs::Running::start(listen.args([
        "listen",
        "--interface",
        "lo",
        "--from",
        &group.to_string(),
        "--timeout",
        "20",
    ]));
    crate::programs::wait_for_member(group);
    let membership = membership(&mut nobody.who(group), group);
    let [holder] = holders(&membership) else { panic!("{membership}") };
    assert_eq!(holder["uid"], 65_534);
    assert_eq!(holder["port"], group.port());
    let program = holder["processes"][0]["program"].as_str().unwrap();
    assert!(program.starts_with("mcast-who-"), "{holder}");
    // Whether it may be asked is a setting of the system (kernel.yama.ptrace_scope).
    assert!(["bound", "exact"].contains(&holder["certainty"].as_str().unwrap()), "{holder}");
    listen.signal("TERM");
    listen.end().expect(143);
}
