//! The example in the help of each command works.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::common::require_private_network;
use crate::mcast::mcast as command;
use crate::programs::{Running, run};

/// What an example needs around it, and what then must be seen. A command that is not listed needs nothing, and ends with status 0.
const EXAMPLES: &[Example] = &[
    Example { command: "listen", around: TALKER, says: " hello", ends: &[0] },
    Example { command: "send", around: LISTENER, says: "peer heard hello", ends: &[0] },
    Example { command: "ask", around: ANSWERER, says: ":5000 here", ends: &[0] },
    Example { command: "answer", around: ASKER, says: "peer heard HELLO", ends: &[0] },
    Example { command: "record", around: TALKER, says: " packets, ", ends: &[0] },
    Example { command: "replay", around: RECORDING, says: "239.1.2.3:5000", ends: &[0] },
    Example { command: "relay", around: "", says: "relayed 1 of 1 packets", ends: &[0] },
    Example { command: "watch", around: TALKER, says: "239.1.2.3:5000", ends: &[0] },
    Example { command: "ping", around: "", says: "asked 3, answered 3, lost 0 ", ends: &[0] },
    Example { command: "pong", around: "", says: "asked 3, answered 3, lost 0 ", ends: &[0] },
    Example { command: "test", around: "", says: "sent 100, received 100, lost 0 ", ends: &[0] },
    Example { command: "who", around: HOLDER, says: "239.1.2.3", ends: &[0] },
    Example { command: "doctor", around: "", says: "verdict: ", ends: &[0] },
    Example { command: "demo", around: "", says: "demo: sent 7, received 5, rejected 2, lost 0", ends: &[0] },
];

struct Example {
    command: &'static str,
    /// A shell script that runs before it, in the same directory. It may leave a peer running, whose number is in `$peer`.
    around: &'static str,
    /// What it must print, or its peer.
    says: &'static str,
    /// The statuses that are right.
    ends: &'static [i32],
}

/// Sends until it is killed, for ten seconds at most.
const TALKER: &str = r#"mkfifo ready
python3 -u -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
open("ready", "w").close()
for _ in range(200):
    s.sendto(b"hello", ("239.1.2.3", 5000))
    time.sleep(0.05)' & peer=$!
cat ready
"#;

/// Prints what comes first.
const LISTENER: &str = r#"mkfifo ready
python3 -u -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("239.1.2.3", 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton("127.0.0.1"))
open("ready", "w").close()
s.settimeout(10)
print("peer heard", s.recv(100).decode())' & listener=$!
cat ready
"#;

/// Has joined.
const HOLDER: &str = r#"mkfifo ready
python3 -u -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("239.1.2.3", 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton("127.0.0.1"))
open("ready", "w").close()
time.sleep(10)' & peer=$!
cat ready
"#;

/// Answers once.
const ANSWERER: &str = r#"mkfifo ready
python3 -u -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton("127.0.0.1"))
open("ready", "w").close()
s.settimeout(10)
s.sendto(b"here", s.recvfrom(100)[1])' & listener=$!
cat ready
"#;

/// Asks until there is an answer.
const ASKER: &str = r#"mkfifo ready
python3 -u -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.1)
open("ready", "w").close()
for _ in range(100):
    s.sendto(b"hello", ("239.1.2.3", 5000))
    try:
        print("peer heard", s.recv(100).decode())
        break
    except OSError:
        pass' & listener=$!
cat ready
"#;

/// Makes the file of the example.
const RECORDING: &str = r#"python3 -u -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(100):
    s.sendto(b"hello", ("239.1.2.3", 5000))
    time.sleep(0.05)' & peer=$!
mcast record --from 239.1.2.3:5000 --interface lo --limit 3 --quiet recording.pcapng
kill $peer; wait $peer || true; peer=
"#;

/// In a network namespace of its own: sets up the network, runs what is around the example and the example itself, both from files, and
/// waits for what it left in the background.
const SCRIPT: &str = r#"set -e
ip link set lo up
ip route add 224.0.0.0/4 dev lo src 127.0.0.1
ip -6 route add local ff00::/8 dev lo table local metric 1 2>/dev/null || true
. ./around
around=$!
. ./example
if [ "$!" != "$around" ]; then wait $!; fi
if [ -n "$peer" ]; then kill $peer; fi
if [ -n "$listener" ]; then wait $listener; fi
"#;

/// An empty directory with `mcast` in its `bin`. It is deleted with this.
struct Directory(PathBuf);

impl Directory {
    /// Its name has no colon: it will be a part of `PATH`.
    fn new(command: &str) -> Self {
        let path = std::env::temp_dir().join(format!("multicast-example-{}-{command}", std::process::id()));
        std::fs::create_dir_all(path.join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_mcast"), path.join("bin/mcast")).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = run(&mut command(["--help"])).expect(0).lines;
    let listed = help.iter().skip_while(|line| !line.starts_with("       mcast help COMMAND")).skip(2);
    let listed = listed.take_while(|line| !line.is_empty());
    listed.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// The lines below `Example:`, which end the help of the command.
fn example_of(name: &str) -> Vec<String> {
    let help = run(&mut command(["help", name])).expect(0).lines;
    let mut after = help.into_iter().skip_while(|line| line != "Example:");
    assert!(after.next().is_some(), "the help of {name} has no example");
    after
        .map(|line| line.strip_prefix("  ").unwrap_or_else(|| panic!("{name}: {line:?} is no example")).to_owned())
        .collect()
}

#[test]
fn each_command_has_an_example_that_works() {
    require_private_network();
    let names = commands();
    assert!(names.iter().any(|name| name == "listen") && names.len() > 1, "{names:?}");
    let started: Vec<_> = names
        .into_iter()
        .map(|name| {
            let lines = example_of(&name);
            assert!(lines.iter().any(|line| line.contains(&format!("mcast {name}"))), "{name}: {lines:?}");
            let directory = Directory::new(&name);
            let known = EXAMPLES.iter().find(|example| example.command == name);
            let around = known.map_or("", |example| example.around);
            std::fs::write(directory.0.join("around"), format!("peer= listener=\n{around}")).unwrap();
            std::fs::write(directory.0.join("example"), lines.join("\n") + "\n").unwrap();
            let path = format!("{}:{}", directory.0.join("bin").display(), std::env::var("PATH").unwrap());
            let mut shell = Command::new("unshare");
            shell.args(["-n", "timeout", "-k", "1", "20", "sh", "-c", SCRIPT]);
            let mut running = Running::start(shell.env("PATH", path).current_dir(&directory.0));
            drop(running.input.take());
            (name, known, directory, running)
        })
        .collect();
    let mut failed = Vec::new();
    for (name, known, _directory, running) in started {
        let ended = running.end_within(Duration::from_secs(30));
        let said = format!("{}\n{}", ended.lines.join("\n"), ended.errors);
        let (says, ends) = known.map_or(("", &[0][..]), |example| (example.says, example.ends));
        if !ended.status.code().is_some_and(|status| ends.contains(&status)) || !said.contains(says) {
            failed.push(format!("{name}: {ended:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
