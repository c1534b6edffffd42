//! The examples of protocols go on, and end, whatever strangers send. In a private network: see `make test`.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::common;
use crate::common::link::{Pair, run};
use crate::common::{PATIENCE, Python, lines_of, require_private_network};
use crate::programs::example;

/// Sends each line of its input from port 0, and from port 9999: group, port, payload in hexadecimal digits. Prints the first answer.
const ASKER: &str = r#"
import socket, struct, sys
name, address = sys.argv[1], sys.argv[2]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 17)
usual = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
usual.bind((address, 9999))
for s in (raw, usual):
    s.setsockopt(0, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), socket.inet_aton(address), socket.if_nametoindex(name)))
    s.setsockopt(0, socket.IP_MULTICAST_TTL, 255)
print("ready")
for line in sys.stdin:
    group, port, payload = line.split()
    payload = bytes.fromhex(payload)
    raw.sendto(struct.pack("!HHHH", 0, int(port), 8 + len(payload), 0) + payload, (group, 0))
    usual.sendto(payload, (group, int(port)))
    print("sent")
"#;

struct Example(Child);

impl Example {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(example(arguments[0]));
        command.args(&arguments[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().expect("the examples are built: cargo build --examples"))
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_device_answers_the_next_question_after_one_from_port_0() {
    let pair = Pair::new();
    let peer = pair.addresses[1].to_string();
    let mut asker = Python::start(ASKER, &[&pair.b, &peer]);
    assert_eq!(asker.line(), "ready");
    let probe =
        "<E><a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action><a:MessageID>1</a:MessageID></E>";
    let named = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x01x\x05local\0\0\x01\x80\x01";
    let search = b"\x06\x10\x02\x01\0\x0e\x08\x01\0\0\0\0\0\0";
    for (arguments, group, question) in [
        (&["ssdp", "serve", &pair.a, "x", "y"][..], "239.255.255.250 1900", &b"M-SEARCH * HTTP/1.1\r\nST: x\r\n\r\n"[..]),
        (&["wsd", "serve", &pair.a], "239.255.255.250 3702", probe.as_bytes()),
        (&["coap", "serve", &pair.a, "224.0.1.187:5683", "x", "y"], "224.0.1.187 5683", b"\x50\x01\0\x01\xb1x"),
        (&["knx", "serve", &pair.a, "x"], "224.0.23.12 3671", search),
        (&["mdns", "serve", "4", "x.local", &pair.a], "224.0.0.251 5353", named),
    ] {
        let mut example = Example::start(arguments);
        let lines = lines_of(example.0.stdout.take().unwrap());
        let line = || lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{arguments:?} has ended"));
        let ready = line();
        assert!(ready == "listening" || ready.starts_with("hello"), "{ready}");
        asker.say(&format!("{group} {}", common::peer::hex(question)));
        assert_eq!(asker.line(), "sent");
        for wanted in [":0", ":9999"] {
            let said = line();
            assert!(said.starts_with(&format!("{peer}{wanted}")), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn a_search_ends_in_time_although_answers_never_stop() {
    require_private_network();
    let mut example = Example::start(&["ssdp", "search", "lo", "x"]);
    let mut output = BufReader::new(example.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "Sent\n");
    let its = format!("pid={},", example.0.id());
    let port = run("ss -Hulnp").lines().find(|line| line.contains(&its)).map(port_of).unwrap();
    // It takes longer to read than to send.
    let answer = "A:\r\n".repeat(350);
    let (is_over, end) = (AtomicBool::new(false), Instant::now() + 2 * PATIENCE);
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        for _ in 0..8 {
            scope.spawn(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                while !is_over.load(Ordering::Relaxed) && Instant::now() < end {
                    let _ = socket.send_to(answer.as_bytes(), ("127.0.0.1", port));
                }
            });
        }
        common::wait_until_mut("the search has ended", || example.0.try_wait().unwrap().is_some());
        is_over.store(true, Ordering::Relaxed);
    });
}

fn port_of(line: &str) -> u16 {
    let local = line.split_whitespace().nth(3).unwrap();
    local.rsplit(':').next().unwrap().parse().unwrap()
}
