//! Two ways: questions and answers.

use multicast::{Family, Group, ListenOptions, Outcome, Received};
use std::time::{Duration, Instant};

use super::Scenario;
use crate::run::{Heard, Run, heard, membership, on_lo};

pub const ALL: &[Scenario] = &[
    ("replies-v4", |run| replies(run, run.group(1), Family::V4)),
    ("replies-v6", |run| replies(run, run.group_v6(1), Family::V6)),
    ("listener-sends", listener_sends),
];

/// A question with answers on a port of its own, and a listener that answers.
fn replies(run: &mut Run, group: Group, family: Family) {
    let opened = run.retry(|| ListenOptions::new().answers().bind::<1500>(membership(group)));
    let Some(mut responder) = opened else { return };
    let Some(mut answerer) = run.retry(|| responder.sender(on_lo())) else { return };
    let opened = run.retry(|| on_lo().open_with_replies::<1500>(family));
    let Some((mut asker, mut replies)) = opened else { return };
    let Some(poller) = run.poller_for(&replies) else { return };
    for _ in 0..2 {
        run.send(&mut asker, group, &["who?"]);
        let end = Instant::now() + run.patience();
        let mut is_answered = false;
        while !is_answered && Instant::now() < end {
            let question = match responder.recv() {
                Ok(Received::Packet(packet)) => packet.head(),
                Ok(_) => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Err(error) => {
                    run.note(&error);
                    continue;
                }
            };
            let (mut failures, until) = (0, Instant::now() + run.sending_patience());
            while failures < 4 && Instant::now() < until {
                match answerer.reply(&responder.packet(question), b"me") {
                    Ok(Outcome::Sent) => {
                        is_answered = true;
                        break;
                    }
                    Ok(Outcome::Wait(time)) => std::thread::sleep(time),
                    Ok(Outcome::Blocked) => std::thread::sleep(Duration::from_millis(1)),
                    Err(error) => {
                        run.note(&error);
                        failures += 1;
                    }
                }
            }
        }
        if !is_answered {
            run.failed("the question was not answered");
        }
        run.expect(&["me"], &poller, || Ok(heard(&replies.recv()?)));
    }
}

/// The sender of a listener, which is dropped first and last.
fn listener_sends(run: &mut Run) {
    let group = run.group(1);
    let opened = run.retry(|| ListenOptions::new().bind::<1500>(membership(group)));
    let Some(mut listener) = opened else { return };
    let Some(poller) = run.poller_for(&listener) else { return };
    let Some(mut sender) = run.retry(|| listener.sender(on_lo())) else { return };
    run.send(&mut sender, group, &["one", "two"]);
    run.expect(&["one", "two"], &poller, || Ok(heard(&listener.recv()?)));
    drop(sender);
    let Some(mut sender) = run.retry(|| listener.sender(on_lo())) else { return };
    let opened = run.retry(|| ListenOptions::new().bind::<1500>(membership(group)));
    let Some(mut other) = opened else { return };
    drop(listener);
    run.send(&mut sender, group, &["three"]);
    let Some(poller) = run.poller_for(&other) else { return };
    run.expect(&["three"], &poller, || -> multicast::Result<Heard> { Ok(heard(&other.recv()?)) });
}
