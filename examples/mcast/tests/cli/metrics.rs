//! `mcast watch --metrics`: the counters over HTTP, as clients of others read them, and what clients cannot do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::common::{Python, send_all, unique_group};
use crate::mcast::mcast as command;
use crate::programs::{Running, run};
use crate::streams::{next_object, rtp, total, wait_until_read, watch};

/// Reads the address, and prints status, content type and text of each answer.
const CLIENT: &str = "
import sys, urllib.request
for line in sys.stdin:
    answer = urllib.request.urlopen(line.strip())
    print(answer.status, answer.headers['Content-Type'])
    for line in answer.read().decode().splitlines():
        print(line)
";

/// The address that it says that its counters are at.
fn address(watching: &Running) -> String {
    watching.wait_until_it_says("/metrics\n");
    let said = watching.said();
    let line = said.lines().find(|line| line.contains("http://")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

fn socket_address(address: &str) -> SocketAddr {
    address.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().parse().unwrap()
}

/// The lines that Python reads.
fn read(python: &mut Python, address: &str) -> Vec<String> {
    python.say(address);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "# EOF") {
        lines.push(python.line());
    }
    lines
}

#[test]
fn python_reads_the_counters_of_a_stream() {
    let group = unique_group();
    let watching = watch(group, &["--json", "--metrics", "0"]);
    let address = address(&watching);
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    let mut python = Python::start(CLIENT, &[]);
    let before = read(&mut python, &address);
    assert_eq!(before[0], "200 application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(before.contains(&format!("mcast_group_packets_total{{group=\"{group}\",interface=\"lo\"}} 0")), "{before:?}");
    send_all(group, (0..20).chain(21..100).map(|number| rtp(1, number)));
    let source = next_object(&watching, "source")["source"].as_str().unwrap().to_owned();
    let labels = format!("{{group=\"{group}\",interface=\"lo\",source=\"{source}\"}}");
    // The text is made once a second.
    let wanted = format!("mcast_rtp_lost_packets_total{labels} 1");
    crate::common::wait_until_mut("the loss is counted", || read(&mut python, &address).contains(&wanted));
    let after = read(&mut python, &address);
    assert!(after.contains(&format!("mcast_rtp_received_packets_total{labels} 99")), "{after:?}");
    watching.signal("TERM");
    watching.end().expect(143);
}

#[test]
fn clients_that_are_slow_or_hostile_do_not_stop_the_watching() {
    let group = unique_group();
    let watching = watch(group, &["--json", "--metrics", "127.0.0.1:0", "--limit", "500"]);
    let server = socket_address(&address(&watching));
    let mut clients = Vec::new();
    for number in 0..40 {
        let mut client = TcpStream::connect(server).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // Some say nothing, some half a request, some something else, and some never read the answer.
        let _ = match number % 4 {
            0 => Ok(()),
            1 => client.write_all(b"GET /metrics HTT"),
            2 => client.write_all(&[0xff; 30_000]),
            _ => client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n"),
        };
        clients.push(client);
        send_all(group, (0..10).map(|count| rtp(1, number * 10 + count)));
        wait_until_read(group);
    }
    send_all(group, (0..100).map(|count| rtp(1, 400 + count)));
    let ended = watching.end().expect(0);
    assert_eq!(total(&ended)["received_packets"], 500);
    assert_eq!(total(&ended)["dropped_packets"], 0);
    let mut answer = Vec::new();
    let _ = clients[3].read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
}

#[test]
fn an_address_that_is_taken_is_an_error_with_its_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let group = unique_group().to_string();
    let ended = run(&mut command(["watch", "--interface", "lo", "--from", &group, "--metrics", &address]));
    ended.expect(1).saying(&format!("--metrics {address}: Address already in use"));
}
