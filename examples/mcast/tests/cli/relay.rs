//! `mcast relay`, on `lo`: between groups, and between groups and unicast.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, QUIET, free_port, send_on_lo, send_with, unique_group, unique_v6_group};
use crate::mcast::{example, listen, mcast as command, shell};
use crate::programs::{Ended, Running, run, wait_for_member};
use multicast::{Group, Ttl};

fn relay(from: Group, more: &[&str]) -> Running {
    let from_text = format!("{from}%lo");
    let running = Running::start(&mut command(["relay", "--from", &from_text].iter().chain(more)));
    wait_for_member(from);
    running
}

/// Sends with a TTL that lets the relay pass it on.
fn send<P: IntoIterator<Item: AsRef<[u8]>>>(group: Group, packets: P) {
    send_with(send_on_lo().ttl(Ttl::new(9)), group, packets);
}

fn on_lo(group: Group) -> String {
    format!("{group}%lo")
}

/// A socket of the standard library on an address of this machine.
fn server() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[track_caller]
fn end(relay: Running) -> Ended {
    relay.signal("TERM");
    relay.end().expect(143)
}

#[test]
fn the_example_of_its_help_works() {
    run(&mut shell(&example("relay"), &[])).expect(0).saying("relayed 1 of ");
}

#[test]
fn all_payloads_are_passed_on_from_group_to_group() {
    let (from, to) = (unique_group(), unique_v6_group(5));
    let listener = listen(to, &["--mtu", "65535", "--format", "hex"]);
    let relay = relay(from, &["--to", &on_lo(to), "--limit", "5"]);
    for payload in crate::common::peer::payloads() {
        send(from, [&payload]);
        assert_eq!(listener.payload(), crate::common::peer::hex(&payload));
    }
    relay.end().expect(0).saying("relayed 5 of 5 packets; dropped 0");
}

#[test]
fn what_comes_with_ttl_1_stays_and_the_relay_says_so_once() {
    let (from, to) = (unique_group(), unique_group());
    let listener = listen(to, &[]);
    let relay = relay(from, &["--to", &on_lo(to)]);
    send_with(send_on_lo(), from, ["one", "two"]);
    assert_eq!(listener.line_within(QUIET), None);
    let ended = end(relay).saying("relayed 0 of 2 packets; dropped 0, stayed (TTL 1) 2");
    assert_eq!(ended.errors.matches("its sender must use a higher one (mcast send --ttl 2)").count(), 1, "{ended:?}");
}

#[test]
fn the_rate_drops_what_is_too_much() {
    let (from, to) = (unique_group(), unique_group());
    let listener = listen(to, &[]);
    let relay = relay(from, &["--to", &on_lo(to), "--rate", "20", "--json"]);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1000) {
        send(from, ["packet"; 10]);
        std::thread::sleep(Duration::from_millis(10));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let total = end(relay).saying(", over --rate ").lines.concat();
    listener.signal("TERM");
    let passed = listener.end().expect(143).lines.len();
    // After a pause, a tenth of a second is caught up at once.
    assert!((2..=(seconds * 20.0) as usize + 3).contains(&passed), "{passed} in {seconds} s");
    assert!(total.contains(&format!(r#""relayed_packets":{passed},"#)), "{total}");
}

#[test]
fn packets_go_to_unicast_and_from_there_to_a_group_again() {
    let (from, to) = (unique_group(), unique_group());
    let tunnel = format!("127.0.0.1:{}", free_port());
    let listener = listen(to, &["--metadata"]);
    let far = Running::start(&mut command(["relay", "--from", &tunnel, "--to", &on_lo(to), "--ttl", "99"]));
    let port: u16 = tunnel.rsplit(':').next().unwrap().parse().unwrap();
    crate::common::wait_until("the far relay has its socket", || crate::common::is_bound(port));
    let near = relay(from, &["--to", &tunnel]);
    send(from, ["through the tunnel"]);
    let line = listener.line();
    // 9, less one for each relay.
    assert!(line.contains(" ttl 7 ") && line.ends_with("through the tunnel"), "{line}");
    end(near).saying("relayed 1 of 1 packets");
    end(far).saying("relayed 1 of 1 packets");
}

#[test]
fn an_answer_goes_to_the_one_who_asked() {
    let from = unique_group();
    let server = server();
    let relay = relay(from, &["--to", &server.local_addr().unwrap().to_string(), "--pair", "--json"]);
    let mut buffer = [0; 100];
    let askers: Vec<_> = (0..3)
        .map(|number| {
            let (mut sender, replies) = send_on_lo().ttl(Ttl::new(9)).open_with_replies::<100>(from.family()).unwrap();
            assert_eq!(sender.send(&[number], from).unwrap(), multicast::Outcome::Sent);
            (sender, replies)
        })
        .collect();
    // Answered in another order, and one of them twice.
    let mut questions: Vec<_> =
        askers.iter().map(|_| server.recv_from(&mut buffer).map(|(_, way)| (buffer[0], way)).unwrap()).collect();
    questions.sort();
    let ports: std::collections::BTreeSet<_> = questions.iter().map(|(_, way)| way.port()).collect();
    assert_eq!(ports.len(), 3, "each asker has a port of its own");
    for number in [2, 0, 1, 0] {
        let (question, way) = questions[number];
        server.send_to(&[question, 100], way).unwrap();
    }
    for ((_, mut replies), (number, answers)) in askers.into_iter().zip([(0, 2), (1, 1), (2, 1)]) {
        for _ in 0..answers {
            assert_eq!(crate::common::expect_packet(&mut replies), [number, 100]);
        }
        crate::common::assert_quiet(&mut replies);
    }
    let total = end(relay).saying("askers 3, forgotten 0, answers 4, refused 0").lines.concat();
    assert!(total.contains(r#""pairs":{"askers":3,"forgotten_askers":0,"answers":4,"refused_packets":0}"#), "{total}");
}

#[test]
fn the_table_of_askers_is_bounded_and_the_last_ones_are_answered() {
    let from = unique_group();
    let server = server();
    let relay = relay(from, &["--to", &server.local_addr().unwrap().to_string(), "--pair"]);
    let mut buffer = [0; 100];
    // All stay open, so that none gets the port of another.
    let (mut askers, mut way) = (Vec::new(), None);
    for _ in 0..140 {
        let (mut sender, replies) = send_on_lo().ttl(Ttl::new(9)).open_with_replies::<100>(from.family()).unwrap();
        assert_eq!(sender.send(b"?", from).unwrap(), multicast::Outcome::Sent);
        way = Some(server.recv_from(&mut buffer).unwrap().1);
        askers.push((sender, replies));
    }
    server.send_to(b"!", way.unwrap()).unwrap();
    assert_eq!(crate::common::expect_packet(&mut askers.last_mut().unwrap().1), b"!");
    end(relay).saying("askers 140, forgotten 12, answers 1, refused 0");
}

#[test]
fn a_server_that_is_not_there_does_not_end_the_relay() {
    let from = unique_group();
    // A port that nobody has: the kernel reports it to the sender.
    let nobody = format!("127.0.0.1:{}", free_port());
    for more in [&["--to", nobody.as_str()][..], &["--to", &nobody, "--pair"]] {
        let relay = relay(from, more);
        for _ in 0..5 {
            send(from, ["question"]);
            std::thread::sleep(Duration::from_millis(20));
        }
        end(relay).saying("relayed 5 of 5 packets");
    }
}

#[test]
fn the_end_of_the_time_tells_nothing_relayed_from_too_little() {
    let (from, to) = (unique_group(), unique_group());
    let to = on_lo(to);
    relay(from, &["--to", &to, "--timeout", "0.3"]).end().expect(3).saying("nothing was heard");
    for (more, code) in
        [(&["--to", to.as_str(), "--timeout", "1"][..], 0), (&["--to", &to, "--timeout", "1", "--limit", "9"], 4)]
    {
        let relay = relay(from, more);
        send(from, ["one"]);
        relay.end().expect(code).saying("relayed 1 of 1");
    }
}

#[test]
fn wrong_options_are_usage_errors() {
    let wrong = |arguments: &[&str], reason: &str| {
        run(&mut command(["relay"].iter().chain(arguments))).expect(2).saying(reason).saying("relay --help");
    };
    let from = ["--from", "239.1.2.3:5000%lo"];
    let to = ["--to", "239.1.2.4:5000%lo"];
    wrong(&[], "name what to pass on: --from GROUP:PORT");
    wrong(&from, "say where packets go");
    wrong(&["--from", "10.0.0.1"], "for unicast, write ADDRESS:PORT of this machine");
    wrong(&["--to", "239.1.2.3:5000"], "--to: 239.1.2.3:5000: say on which interface: 239.1.2.3:5000%IF");
    wrong(&["--to", "239.1.2.0/24:5000%lo"], "name one group; to keep the groups, give --to-interface IF");
    wrong(&["--to", "10.0.0.1@239.1.2.3:5000%lo"], "write no SOURCE@");
    wrong(&["--to", "10.0.0.1:5000%lo"], "the routing table says where unicast leaves: write no %IF");
    wrong(&["--to", "[fe80::1]:5000"], "say on which interface: [fe80::1]:5000%IF");
    wrong(&["--ttl", "0"], "--ttl 0: nothing would leave");
    wrong(&["--rate", "0"], "--rate 0: give packets a second, more than 0");
    wrong(&[&from[..], &to, &to, &["--pair"]].concat(), "--pair needs one --to");
    wrong(&[&["--interface", "lo", "--from", "127.0.0.1:5000"][..], &to].concat(), "--interface is for groups");
    wrong(&["--from", "127.0.0.1:5000", "--to-interface", "lo"], "--to-interface keeps the group, and unicast has none");
    let no_link = ["--to", "239.1.2.4:5000%nosuch0"];
    run(&mut command(["relay"].iter().chain(&from).chain(&no_link))).expect(1).saying("nosuch0: no such interface");
}
