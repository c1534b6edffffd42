//! `mcast test`, with peers in Python that speak its packets, on `lo`.

use std::time::Duration;

use crate::common::{Python, unique_group, wait_until};
use crate::mcast::{mcast as command, shell};
use crate::programs::{Ended, Running, run, wait_for_member};
use multicast::Group;

/// The layout of a packet, and sockets on `lo`.
const PEER: &str = r#"
import socket, struct, sys, time
def packet(kind, number, stream=7, sent=None, size=0):
    sent = time.time_ns() if sent is None else sent
    return (b"mcts" + struct.pack(">BBHQQQ", 1, kind, 0, stream, number, sent)).ljust(size, b"\0")
def read(bytes):
    version, kind, zero, stream, number, sent = struct.unpack_from(">BBHQQQ", bytes, 4)
    assert bytes[:4] == b"mcts" and version == 1 and zero == 0
    return kind, stream, number, sent
def place(text):
    address, port = text.split(":")
    return address, int(port)
def sender():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    return s
def member(group):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind(group)
    join = socket.inet_aton(group[0]) + socket.inet_aton("127.0.0.1")
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
    return s
groups = [place(group) for group in sys.argv[1:]]
"#;

fn peer(program: &str, groups: &[Group]) -> Python {
    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
    Python::start(&format!("{PEER}{program}"), &groups.iter().map(String::as_str).collect::<Vec<_>>())
}

/// `mcast test receive` on `lo`. It is a member of the group when this returns.
fn receive(group: Group, arguments: &[&str]) -> Running {
    let on_lo = ["test", "receive", "--interface", "lo", "--from", &group.to_string()].map(str::to_owned);
    let running = Running::start(&mut command(on_lo.iter().map(String::as_str).chain(arguments.iter().copied())));
    wait_for_member(group);
    running
}

/// `mcast test send` on `lo`, to its end.
fn send(group: Group, arguments: &[&str]) -> Ended {
    let to = group.to_string();
    let on_lo = ["test", "send", "--interface", "lo", "--to", &to];
    run(&mut command(on_lo.into_iter().chain(arguments.iter().copied())))
}

/// The number after this key in a line of JSON.
#[track_caller]
fn number(line: &str, key: &str) -> u64 {
    let (_, after) = line.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key} in {line}"));
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{key} is no number in {line}"))
}

/// Some numbers of the last line, the total.
#[track_caller]
fn totals<const N: usize>(ended: &Ended, keys: [&str; N]) -> [u64; N] {
    let last = ended.lines.last().unwrap();
    assert!(last.contains("\"kind\":\"total\""), "{ended:?}");
    keys.map(|key| number(last, key))
}

#[test]
fn the_example_of_its_help_works() {
    let help = run(&mut command(["test", "--help"])).expect(0).quietly();
    let example: Vec<_> = help.lines.iter().skip_while(|line| *line != "Example:").skip(1).map(String::as_str).collect();
    let script = format!("mcast() {{ \"$0\" \"$@\"; }}\n{}\nwait $!", example.join("\n"));
    let ended = run(&mut shell(&script, &[])).expect(0).saying("mcast: received ");
    assert!(ended.lines.iter().any(|line| line.starts_with("sent 100 packets to 239.1.2.3:5000 on lo in ")), "{ended:?}");
    assert!(ended.lines.iter().any(|line| line.starts_with("total 239.1.2.3:5000%lo 127.0.0.1:")), "{ended:?}");
}

/// Drops, doubles and swaps known packets on the way from the first group to the second.
const BAD_NETWORK: &str = r#"
source, sink = member(groups[0]), sender()
print("ready")
held = None
while True:
    bytes = source.recv(65535)
    kind, stream, number, sent = read(bytes)
    if kind == 1 and number in (0, 10, 20, 21, 399):
        continue
    if kind == 1 and number in (50, 70):
        held = bytes
        continue
    for copy in range(3 if kind == 1 and number == 30 else 2 if number == 40 else 1):
        sink.sendto(bytes, groups[1])
    if held and number in (51, 73):
        sink.sendto(held, groups[1])
        held = None
"#;

#[test]
fn what_a_bad_network_does_is_counted_exactly() {
    let (near, far) = (unique_group(), unique_group());
    let mut network = peer(BAD_NETWORK, &[near, far]);
    assert_eq!(network.line(), "ready");
    let receiver = receive(far, &["--once", "--timeout", "20", "--json"]);
    let sent = send(near, &["--count", "400", "--rate", "1000", "--json"]).expect(0).quietly();
    assert_eq!(totals(&sent, ["sent_packets"]), [400]);
    let ended = receiver.end_within(Duration::from_secs(30)).expect(0).saying("dropped 0, others 0, beyond 0");
    let keys =
        ["sent_packets", "received_packets", "lost_packets", "reordered_packets", "duplicate_packets", "skipped_packets"];
    assert_eq!(totals(&ended, keys), [400, 395, 5, 2, 3, 0]);
    // The clock is the same.
    let stream = ended.lines.iter().find(|line| line.contains("\"kind\":\"stream\"")).unwrap();
    assert!(stream.contains("\"clocks_agree\":true") && number(stream, "latency_max_us") > 0, "{stream}");
    assert!(number(stream, "latency_min_us") <= number(stream, "latency_avg_us"), "{stream}");
    assert!(ended.lines.iter().any(|line| line.contains("\"kind\":\"report\"")) || ended.time < Duration::from_secs(1));
}

#[test]
fn the_status_tells_whether_more_was_lost_than_allowed() {
    for (allowed, code) in [("1.24", 4), ("1.25", 0)] {
        let (near, far) = (unique_group(), unique_group());
        let mut network = peer(BAD_NETWORK, &[near, far]);
        assert_eq!(network.line(), "ready");
        let receiver = receive(far, &["--once", "--timeout", "20", "--max-loss", allowed]);
        send(near, &["--count", "400", "--rate", "2000"]).expect(0).quietly();
        let ended = receiver.end_within(Duration::from_secs(30)).expect(code);
        assert_eq!(ended.errors.contains("lost 5 of 400 (1.250 %): --max-loss allows 1.24 %"), code == 4, "{ended:?}");
        assert!(ended.lines.last().unwrap().contains("sent 400, received 395, lost 5 (1.250 %), "), "{ended:?}");
    }
}

#[test]
fn the_status_tells_whether_a_packet_took_too_long() {
    // One takes half a second.
    let late = r#"
s = sender()
for number in range(10):
    s.sendto(packet(1, number, sent=time.time_ns() - 500_000_000 * (number == 7)), groups[0])
s.sendto(packet(2, 10), groups[0])
print("sent")
"#;
    for (allowed, code) in [("400", 4), ("9000", 0)] {
        let group = unique_group();
        let receiver = receive(group, &["--once", "--timeout", "20", "--max-latency", allowed]);
        assert_eq!(peer(late, &[group]).line(), "sent");
        let ended = receiver.end_within(Duration::from_secs(30)).expect(code);
        assert_eq!(ended.errors.contains(" ms: --max-latency allows 400 ms"), code == 4, "{ended:?}");
    }
}

#[test]
fn clocks_that_do_not_agree_give_no_latency_and_no_verdict() {
    for apart in ["3600", "-3600", "-0.25"] {
        let group = unique_group();
        let program = format!(
            r#"
s = sender()
for number in range(50):
    s.sendto(packet(1, number, sent=time.time_ns() - int({apart} * 1e9)), groups[0])
    time.sleep(0.001)
s.sendto(packet(2, 50), groups[0])
print("sent")
"#
        );
        let receiver = receive(group, &["--once", "--timeout", "20", "--max-latency", "1000"]);
        assert_eq!(peer(&program, &[group]).line(), "sent");
        let ended = receiver.end_within(Duration::from_secs(30)).expect(1).saying("the clocks do not agree");
        let total = ended.lines.last().unwrap();
        assert!(total.ends_with("ms, latency unknown: the clocks do not agree"), "{ended:?}");
        // The jitter needs no such clocks: the packets came a millisecond apart, and so they were sent.
        let jitter = total.split_once("jitter ").unwrap().1.split_once(" ms").unwrap().0;
        assert!(jitter.split_once('.').unwrap().0.parse::<u64>().unwrap() < 1000, "{total}");
    }
}

#[test]
fn strangers_do_not_disturb_and_a_restarted_sender_is_told_apart() {
    let group = unique_group();
    let receiver = receive(group, &["--once", "--timeout", "20", "--json"]);
    let program = r#"
s, stranger = sender(), sender()
for stream, count in (1, 20), (2, 30):
    for number in range(count):
        s.sendto(packet(1, number, stream, size=1000), groups[0])
        for bytes in b"", b"mcts", b"\xff" * 1400, packet(9, number), packet(1, 1 << 60, stream)[:31]:
            stranger.sendto(bytes, groups[0])
        # From its own address, and impossible.
        if number > 0:
            s.sendto(packet(1, 1 << 60, stream), groups[0])
            s.sendto(packet(2, 0, stream), groups[0])
    # Too old to be of the second one.
    if stream == 2:
        s.sendto(packet(1, 19, 1), groups[0])
    s.sendto(packet(2, count, stream), groups[0])
print("sent")
"#;
    assert_eq!(peer(program, &[group]).line(), "sent");
    let ended = receiver.end_within(Duration::from_secs(30)).expect(0);
    let keys = ["sent_packets", "received_packets", "lost_packets", "duplicate_packets", "other_packets"];
    assert_eq!(totals(&ended, keys), [50, 50, 0, 0, 50 * 5 + 48 * 2 + 1]);
    let streams: Vec<_> = ended.lines.iter().filter(|line| line.contains("\"kind\":\"stream\"")).collect();
    assert!(streams.len() == 1 && number(streams[0], "restarts") == 1, "{streams:?}");
}

#[test]
fn a_late_listener_does_not_count_as_lost_what_was_sent_before() {
    let group = unique_group();
    let receiver = receive(group, &["--once", "--timeout", "20"]);
    let program = r#"
s = sender()
for number in range(1000, 1100):
    if number != 1050:
        s.sendto(packet(1, number), groups[0])
s.sendto(packet(2, 1100), groups[0])
print("sent")
"#;
    assert_eq!(peer(program, &[group]).line(), "sent");
    let ended = receiver.end_within(Duration::from_secs(30)).expect(0);
    let total = ended.lines.last().unwrap();
    assert!(total.contains("sent 1100, received 99, lost 1 (1.000 %), "), "{total}");
    assert!(total.contains("sent before the first that was heard 1000, "), "{total}");
}

#[test]
fn all_packets_can_be_lost() {
    let group = unique_group();
    for (arguments, code) in [(&["--once"][..], 0), (&["--once", "--max-loss", "99.9"], 4)] {
        let receiver = receive(group, &[&["--timeout", "20"], arguments].concat());
        assert_eq!(
            peer("s = sender(); s.sendto(packet(0, 0), groups[0]); s.sendto(packet(2, 9), groups[0]); print(1)", &[group])
                .line(),
            "1"
        );
        let ended = receiver.end_within(Duration::from_secs(30)).expect(code).saying("mcast: received 0, dropped 0, ");
        assert!(ended.lines.last().unwrap().contains(" sent 9, received 0, lost 9 (100.000 %), "), "{ended:?}");
    }
}

#[test]
fn python_reads_what_the_sender_writes() {
    let group = unique_group();
    let program = r#"
s = member(groups[0])
print("ready")
kinds, before = [], None
while True:
    bytes = s.recv(65535)
    kind, stream, number, sent = read(bytes)
    assert len(bytes) == 1316 and before in (None, stream) and abs(time.time_ns() - sent) < 60e9
    kinds.append((kind, number))
    before = stream
    if kind == 2 and kinds.count((2, 70)) == 5:
        break
assert kinds == [(0, 0)] * 3 + [(1, number) for number in range(70)] + [(2, 70)] * 5, kinds
print("as documented")
"#;
    let mut python = peer(program, &[group]);
    assert_eq!(python.line(), "ready");
    // Batches and single packets.
    let twice = group.to_string();
    let ended = send(group, &["--to", &twice, "--count", "70", "--rate", "20000", "--size", "1316"]).expect(0).quietly();
    assert!(ended.lines[0].starts_with(&format!("sent 70 packets to {group} on lo in ")), "{ended:?}");
    assert_eq!(python.line(), "as documented");
}

#[test]
fn a_sender_that_is_stopped_tells_how_many_it_has_sent() {
    let group = unique_group();
    let receiver = receive(group, &["--once", "--timeout", "20", "--json"]);
    let to = group.to_string();
    let sender =
        Running::start(&mut command(["test", "send", "--interface", "lo", "--to", &to, "--rate", "5000", "--json"]));
    std::thread::sleep(Duration::from_millis(500));
    sender.signal("INT");
    let sent = sender.end().expect(130).quietly();
    let ended = receiver.end_within(Duration::from_secs(30)).expect(0);
    let [total] = totals(&sent, ["sent_packets"]);
    assert!(total > 0);
    assert_eq!(totals(&ended, ["sent_packets", "received_packets", "lost_packets"]), [total, total, 0]);
}

#[test]
fn nothing_and_too_little_have_a_status_of_their_own() {
    let group = unique_group();
    receive(group, &["--timeout", "0.2"]).end().expect(3).saying("nothing was heard");
    let receiver = receive(group, &["--timeout", "3", "--limit", "1000"]);
    send(group, &["--count", "10", "--rate", "1000"]).expect(0);
    receiver.end().expect(4).saying("of 1000 packets came");
    let receiver = receive(group, &["--timeout", "20", "--limit", "5"]);
    send(group, &["--count", "10", "--rate", "1000"]).expect(0);
    receiver.end().expect(0);
}

/// Runs `mcast test receive` on a terminal of 100 columns and 10 rows, and prints what it draws, escaped.
const TERMINAL: &str = r#"
import fcntl, os, pty, struct, sys, termios
group, program, *arguments = sys.argv[1:]
process, terminal = pty.fork()
if process == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 100, 0, 0))
    os.execv(program, [program, *arguments])
while True:
    try:
        print(ascii(os.read(terminal, 65536).decode()))
    except OSError:
        break
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"#;

#[test]
fn on_a_terminal_a_table_replaces_the_one_before() {
    let group = unique_group();
    let from = group.to_string();
    let receive =
        ["test", "receive", "--interface", "lo", "--from", &from, "--once", "--timeout", "30", "--interval", "0.1"];
    let arguments: Vec<_> = [&from, env!("CARGO_BIN_EXE_mcast")].into_iter().chain(receive).collect();
    let mut terminal = Python::start(TERMINAL, &arguments);
    wait_for_member(group);
    send(group, &["--count", "100", "--rate", "100"]).expect(0);
    let mut drawn = String::new();
    let status = loop {
        match terminal.line() {
            line if line.starts_with('\'') => drawn += &line,
            status => break status,
        }
    };
    assert_eq!(status, "0", "{drawn}");
    // The head and one stream.
    assert!(drawn.contains("GROUP ") && drawn.contains(" PACKETS/S ") && drawn.contains(r"\x1b[2A"), "{drawn}");
    assert!(drawn.contains(&format!("{group}%lo")) && drawn.contains("total ") && !drawn.contains("rate "), "{drawn}");
}

#[test]
fn wrong_usage_is_explained() {
    for (arguments, words) in [
        (&["test"][..], "write send or receive after test"),
        (&["test", "both"], "unexpected argument: both"),
        (&["test", "send", "--size", "31"], "--size 31: give 32 to 65507"),
        (&["test", "send", "--rate", "0"], "--rate 0: give packets a second, more than 0"),
        (&["test", "receive", "--max-loss", "101"], "--max-loss 101: give percent, 0 to 100"),
        (&["test", "receive", "--max-latency", "-1"], "--max-latency -1: give milliseconds, 0 or more"),
        (&["test", "receive", "--interval", "0"], "--interval 0: give seconds, more than 0"),
        (&["test", "receive", "--rate", "1"], "no such option here: --rate"),
    ] {
        run(&mut command(arguments.iter().copied())).expect(2).saying(words);
    }
}

/// The rate is not asserted: it is what a busy machine gives. The sum is.
#[test]
fn at_100_000_packets_a_second_for_5_seconds_each_is_received_or_counted_as_lost() {
    let group = unique_group();
    let receiver = receive(group, &["--once", "--timeout", "100", "--json"]);
    let to = group.to_string();
    let arguments = ["test", "send", "--interface", "lo", "--to", &to, "--rate", "100000", "--timeout", "5", "--json"];
    let sent = Running::start(&mut command(arguments)).end_within(Duration::from_secs(60)).expect(0);
    let ended = receiver.end_within(Duration::from_secs(110)).expect(0);
    let [total] = totals(&sent, ["sent_packets"]);
    let [told, received, lost, skipped] =
        totals(&ended, ["sent_packets", "received_packets", "lost_packets", "skipped_packets"]);
    assert!(total > 1000, "{sent:?}");
    assert_eq!((told, received + lost, skipped), (total, total, 0), "{ended:?}");
}

#[test]
fn what_the_kernel_drops_is_counted_as_lost() {
    let group = unique_group();
    let receiver = receive(group, &["--once", "--timeout", "100", "--json", "--buffer", "20000"]);
    // It does not read while it is stopped.
    receiver.signal("STOP");
    let to = group.to_string();
    let arguments = ["test", "send", "--interface", "lo", "--to", &to, "--count", "60000", "--rate", "20000", "--json"];
    let sender = Running::start(&mut command(arguments));
    wait_until("the kernel drops", || drops(group) > 0);
    receiver.signal("CONT");
    let sent = sender.end_within(Duration::from_secs(100)).expect(0);
    let ended = receiver.end_within(Duration::from_secs(110)).expect(0);
    let [total] = totals(&sent, ["sent_packets"]);
    let [told, received, lost, skipped, dropped] =
        totals(&ended, ["sent_packets", "received_packets", "lost_packets", "skipped_packets", "dropped_packets"]);
    assert_eq!((total, told, skipped), (60_000, 60_000, 0), "{ended:?}");
    assert!(lost > 0 && received + lost == told, "{ended:?}");
    // What was dropped is lost, or told the beginning or the end. On a busy machine, packets are also lost before the socket.
    assert!(dropped > 0 && dropped <= lost + 8, "{ended:?}");
}

/// How many packets the kernel has dropped at the sockets of the group (`proc_net_udp(5)`).
fn drops(group: Group) -> u64 {
    let port = format!(":{:04X}", group.port());
    let list = std::fs::read_to_string("/proc/net/udp").unwrap();
    let of_port = list.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)));
    of_port.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}
