//! The example `custom_poller`: four sources, one poller.

use std::process::Command;

use crate::common::{send_all, unique_group};
use crate::programs::{Running, example, wait_for_member};

#[test]
fn tokens_distinguish_two_groups_a_timer_and_standard_input() {
    let groups = [unique_group(), unique_group()];
    let program = &mut Command::new(example("custom_poller"));
    let mut running = Running::start(program.args(groups.map(|group| group.to_string())));
    groups.into_iter().for_each(wait_for_member);
    send_all(groups[0], ["first"]);
    assert_eq!(running.line(), "listener 0: first");
    send_all(groups[1], ["sec\nond"]);
    assert_eq!(running.line(), r"listener 1: sec\nond");
    assert_eq!(running.line(), "second 1");
    assert_eq!(running.line(), "second 2");
    running.say(b"counters, please\n");
    let asked = running.line();
    assert!(asked.starts_with("listener 0: ") && asked.contains("received: 1"), "{asked}");
    drop(running.input.take());
    running.end().expect(0).quietly();
}
