//! `mcast watch`, whose counters a real Prometheus reads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::joined;
use crate::cases::hosts::two_hosts;
use crate::network::Host;
use crate::programs::{Program, debian_python, installed, mcast};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    vec![Case {
        name: "protocols/prometheus-reads-what-was-lost",
        off: "the sender leaves nothing out",
        run: prometheus_reads_what_was_lost,
    }]
}

/// Longer than some rounds of reading.
const PATIENCE: Duration = Duration::from_secs(15);

fn prometheus(host: &Host) -> Program {
    let path = format!("/run/prometheus-{}", host.name());
    let config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n\
                  scrape_configs: [{job_name: mcast, static_configs: [{targets: ['127.0.0.1:9105']}]}]\n";
    std::fs::write(format!("{path}.yml"), config).unwrap();
    let mut prometheus = installed(
        host,
        "prometheus",
        &[
            &format!("--config.file={path}.yml"),
            &format!("--storage.tsdb.path={path}"),
            "--web.listen-address=127.0.0.1:9090",
        ],
    );
    prometheus.says("Server is ready to receive web requests");
    prometheus
}

/// What Prometheus on this host answers to a query whose characters are escaped for a URL.
fn ask(host: &Host, query: &str) -> String {
    host.within(|| {
        let mut connection = TcpStream::connect("127.0.0.1:9090").unwrap();
        write!(connection, "GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    })
}

/// Waits until the answer contains this.
fn expect(host: &Host, query: &str, words: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = ask(host, query);
        if answer.contains(words) {
            return answer;
        }
        assert!(Instant::now() < end, "{query}: no {words} in {answer}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn prometheus_reads_what_was_lost(trial: &Trial) {
    let (a, b) = two_hosts();
    let group = "239.1.1.1:5004";
    let mut watching = mcast(&b, &["watch", "--from", group, "--interface", "eth0", "--metrics", "9105", "--alarm-loss"]);
    watching.says("the counters are at http://127.0.0.1:9105/metrics");
    joined(&b, group);
    let _prometheus = prometheus(&b);
    let mut sender = debian_python(&a, "rtp_sender.py", &["10.0.0.1", "239.1.1.1", "5004", trial.pick("10", "0"), "100"]);
    sender.says("left out");
    // Each tenth of the packets from the 11th on, but for the last one.
    let answer = expect(&b, "mcast_rtp_lost_packets_total", ",\"8\"]");
    for label in [r#""group":"239.1.1.1:5004""#, r#""interface":"eth0""#, r#""source":"10.0.0.1:"#] {
        assert!(answer.contains(label), "{answer}");
    }
    expect(&b, "mcast_rtp_received_packets_total", ",\"92\"]");
    expect(&b, "mcast_alarms_total%7Balarm%3D%22loss%22%7D", ",\"1\"]");
    assert!(ask(&b, "up").contains(",\"1\"]"), "it could not be read");
}
