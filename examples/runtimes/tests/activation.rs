//! Sockets that a supervisor has opened. In a private network: see `make runtimes`.

mod common;

use std::net::UdpSocket;
use std::process::{Command, Stdio};

use common::{Running, is_joined, send_all, unique_group};
use multicast::{Group, Interface, Listener, Membership, Received};
use rustix::process::{Pid, Signal, kill_process};

const ACTIVATED: &str = env!("CARGO_BIN_EXE_activated");

/// Passes sockets: systemd's own tool, where it is installed, and a few lines of Python that do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Supervisor {
    Systemd,
    Python,
}

fn supervisors() -> impl Iterator<Item = Supervisor> {
    let mut version = Command::new("systemd-socket-activate");
    let is_there = version.arg("--version").stdout(Stdio::null()).status().is_ok();
    is_there.then_some(Supervisor::Systemd).into_iter().chain([Supervisor::Python])
}

/// The program, which starts when a packet comes to one of these addresses.
fn supervised(by: Supervisor, addresses: &[String], group: Group) -> Running {
    const PYTHON: &str = "
import os, socket, select, sys
addresses, command = sys.argv[1].split(','), sys.argv[2:]
sockets = []
for address in addresses:
    host, port = address.split(':')
    sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sockets[-1].bind((host, int(port)))
print('Listening on', addresses, flush=True)
select.select(sockets, [], [])
for number, one in enumerate(sockets):
    os.dup2(one.fileno(), 10 + number)
for number in range(len(sockets)):
    os.dup2(10 + number, 3 + number, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))
os.execv(command[0], command)
";
    let group = group.to_string();
    let mut command = match by {
        Supervisor::Systemd => {
            let mut command = Command::new("systemd-socket-activate");
            command.arg("--datagram").args(addresses.iter().map(|address| format!("--listen={address}")));
            command
        }
        Supervisor::Python => {
            let mut command = Command::new("python3");
            command.args(["-c", PYTHON, &addresses.join(",")]);
            command
        }
    };
    let mut running = Running::start(command.args([ACTIVATED, &group, "lo"]), Stdio::null());
    running.line("Listening on");
    running
}

#[test]
fn a_packet_starts_the_program_which_joins_on_the_socket_that_it_was_passed() {
    supervisors().for_each(a_packet_starts_the_program);
}

fn a_packet_starts_the_program(by: Supervisor) {
    let group = unique_group();
    let mut running = supervised(by, &[format!("0.0.0.0:{}", group.port())], group);
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.send_to(b"wake up", ("127.0.0.1", group.port())).unwrap();
    running.line("ready");
    // What woke it was not sent to the group, so it is refused.
    assert!(is_joined(group));
    send_all(group, ["one", "two"]);
    assert_eq!(["one", "two"], [running.line("heard "), running.line("heard ")][..]);
    running.stop();
    assert!(!is_joined(group));
}

/// A port that is bound to the group, as `ListenDatagram=239.1.2.3:5000` binds it. Another program has joined it, so packets start it.
/// The socket of the supervisor has joined nothing: what came in was sent to others, who have joined.
#[test]
fn what_came_before_the_join_is_refused_and_the_program_sends_from_a_second_socket() {
    supervisors().for_each(what_came_before_is_refused);
}

fn what_came_before_is_refused(by: Supervisor) {
    let group = unique_group();
    let mut other = Listener::bind(Membership::any(group).on(Interface::LOOPBACK)).unwrap();
    let mut running = supervised(by, &[group.to_string(), format!("127.0.0.1:{}", group.port())], group);
    send_all(group, ["first"]);
    assert_eq!(running.line("sending: "), "Sent");
    assert_eq!(running.line("heard "), "started");
    send_all(group, ["second"]);
    assert_eq!(running.line("heard "), "second");
    running.stop();
    let mut packets = Vec::new();
    while let Received::Packet(packet) = other.recv().unwrap() {
        packets.push((packet.payload().to_vec(), packet.source().port()));
    }
    assert_eq!(packets[1], (b"started".to_vec(), group.port()));
}

#[test]
fn packets_wait_while_the_program_is_started_again() {
    let group = unique_group();
    let (mut supervisor, text) = (Command::new(env!("CARGO_BIN_EXE_supervisor")), group.to_string());
    let mut running = Running::start(supervisor.args([&text, "lo", "3", ACTIVATED, &text, "lo"]), Stdio::null());
    for round in 0..3 {
        let program = running.line("ready ").parse().unwrap();
        if round > 0 {
            assert_eq!(running.line("heard "), format!("between {}", round - 1));
        }
        send_all(group, [format!("in time {round}")]);
        assert_eq!(running.line("heard "), format!("in time {round}"));
        // It reads nothing more: it stops, and then it finds the signal first.
        let program = Pid::from_raw(program).unwrap();
        kill_process(program, Signal::STOP).unwrap();
        kill_process(program, Signal::KILL).unwrap();
        running.line("ended: ");
        if round < 2 {
            send_all(group, [format!("between {round}")]);
        }
    }
    assert!(running.line_within(common::PATIENCE).is_none());
    assert!(!is_joined(group));
}
