//! Several threads with a listener each. In a private network: see `make runtimes`.

mod common;

use std::process::{Command, Stdio};

use common::{Running, send_all, unique_group, unique_v6_group};
use multicast::Group;

#[test]
fn each_of_four_threads_receives_every_packet_over_ipv4() {
    each_of_four_threads_receives_every_packet(unique_group());
}

#[test]
fn each_of_four_threads_receives_every_packet_over_ipv6() {
    each_of_four_threads_receives_every_packet(unique_v6_group());
}

fn each_of_four_threads_receives_every_packet(group: Group) {
    const PACKETS: usize = 40;
    let mut program = Command::new(env!("CARGO_BIN_EXE_threads"));
    let mut running = Running::start(program.args([&group.to_string(), "lo", "4"]), Stdio::null());
    common::wait_for_listeners(group, 4);
    send_all(group, (0..PACKETS).map(|number| number.to_string()));
    let mut lines: Vec<_> = (0..4 * PACKETS).map(|_| running.line("")).collect();
    // Each thread prints in the order of sending; the threads in any order.
    lines.sort_by_key(|line| line.split(':').next().map(str::to_owned));
    let expected: Vec<_> = (0..4).flat_map(|thread| (0..PACKETS).map(move |number| format!("{thread}: {number}"))).collect();
    assert_eq!(lines, expected);
    let ended = running.stop();
    assert_eq!(ended, [0, 1, 2, 3].map(|thread| format!("{thread} received {PACKETS}")));
}
