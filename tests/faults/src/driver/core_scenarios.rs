//! One way: listeners and senders of all kinds.

use multicast::filter::{Always, Filter, Prefix};
use multicast::{
    Bind, COALESCING_BUFFER, Family, Group, Links, ListenOptions, Membership, Memberships, Multicaster, Outbox, OwnedFd,
    Progress, Receiver,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::Scenario;
use crate::run::{Run, heard, membership, on_lo};

pub const ALL: &[Scenario] = &[
    ("group-v4", |run| group(run, run.group(1), Bind::from(membership(run.group(1))))),
    ("group-v6", |run| group(run, run.group_v6(1), Bind::from(membership(run.group_v6(1))))),
    ("interface-v4", |run| group(run, run.group(1), Bind::Interface(membership(run.group(1))))),
    ("interface-v6", |run| group(run, run.group_v6(1), Bind::Interface(membership(run.group_v6(1))))),
    ("port-v4", |run| port(run, Run::group, Family::V4)),
    ("port-v6", |run| port(run, Run::group_v6, Family::V6)),
    ("own-buffer", own_buffer),
    ("metadata", metadata),
    ("filter", filter),
    ("coalescing", coalescing),
    ("sources", sources),
    ("leave-and-join", leave_and_join),
    ("book-v4", |run| book(run, run.group(1))),
    ("book-v6", |run| book(run, run.group_v6(1))),
    ("multicaster", |run| multicaster::<1>(run)),
    ("batches", |run| multicaster::<8>(run)),
    ("outbox", outbox),
    ("rate", rate),
    ("adoption", adoption),
];

const PACKETS: [&str; 3] = ["one", "two", "three"];

fn receiver<F: Filter>(run: &mut Run, place: Bind, options: impl Fn() -> ListenOptions<F>) -> Option<Receiver<F>> {
    run.retry(|| options().bind_receiver(place, 1500))
}

/// Sends and receives twice: the second round shows what a failure in the first one left.
fn group(run: &mut Run, group: Group, place: Bind) {
    let Some(mut receiver) = receiver(run, place, ListenOptions::new) else { return };
    let Some(mut sender) = run.sender(group) else { return };
    for _ in 0..2 {
        run.send(&mut sender, group, &PACKETS);
        run.expect_at(&mut receiver, &PACKETS);
    }
}

/// Two groups of a port, and what strangers send to it.
fn port(run: &mut Run, groups: fn(&Run, u8) -> Group, family: Family) {
    let [first, second, strange] = [1, 2, 3].map(|place| groups(run, place));
    let Some(mut receiver) = receiver(run, Bind::Port(run.port(), family), ListenOptions::new) else { return };
    for group in [first, second] {
        run.retry(|| receiver.join(&membership(group)));
    }
    let Some(mut sender) = run.sender(first) else { return };
    for _ in 0..2 {
        run.send(&mut sender, first, &["one"]);
        run.send(&mut sender, strange, &["a stranger"]);
        run.send(&mut sender, second, &["two"]);
        if family == Family::V4 {
            let unicast = SocketAddr::from((Ipv4Addr::LOCALHOST, run.port()));
            run.send(&mut sender, unicast, &["unicast"]);
        }
        run.send(&mut sender, first, &["three"]);
        run.expect_at(&mut receiver, &PACKETS);
    }
}

fn own_buffer(run: &mut Run) {
    let group = run.group(1);
    let Some(mut listener) = run.retry(|| ListenOptions::new().bind::<1500>(membership(group))) else { return };
    let Some(mut sender) = run.sender(group) else { return };
    let Some(poller) = run.poller_for(&listener) else { return };
    run.send(&mut sender, group, &PACKETS);
    run.expect(&PACKETS, &poller, || Ok(heard(&listener.recv()?)));
}

/// Each packet has its metadata.
fn metadata(run: &mut Run) {
    let group = run.group(1);
    let place = Bind::from(membership(group));
    let Some(mut receiver) = receiver(run, place, || ListenOptions::new().metadata()) else { return };
    let Some(mut sender) = run.sender(group) else { return };
    let Some(poller) = run.poller_for(&receiver) else { return };
    run.send(&mut sender, group, &PACKETS);
    let (mut buffer, mut without) = ([0; 1500], 0);
    run.expect(&PACKETS, &poller, || {
        let received = receiver.recv_into(&mut buffer)?;
        if let multicast::Received::Packet(packet) = &received {
            let known = packet.metadata().copied().unwrap_or_default();
            let is_whole =
                known.destination == Some(group.address()) && known.interface.is_some() && known.hop_limit == Some(1);
            without += u32::from(!is_whole);
        }
        Ok(heard(&received))
    });
    // The kernel may refuse an option: then opening reports it, or the field is missing, which the type says.
    if without > 0 && run.errors.is_empty() {
        run.bad(format!("{without} packets without metadata, and no error"));
    }
}

fn filter(run: &mut Run) {
    let group = run.group(1);
    let place = Bind::from(membership(group));
    let Some(mut receiver) = receiver(run, place, || ListenOptions::new().filter(Prefix(b"t"))) else { return };
    let Some(mut sender) = run.sender(group) else { return };
    for _ in 0..2 {
        run.send(&mut sender, group, &PACKETS);
        run.expect_at(&mut receiver, &["two", "three"]);
    }
    if run.retry(|| receiver.replace_filter(Prefix(b"o"))).is_some() {
        run.send(&mut sender, group, &PACKETS);
        run.expect_at(&mut receiver, &["one"]);
    }
}

/// A coalescing listener, and batches that the kernel coalesces on lo.
fn coalescing(run: &mut Run) {
    let group = run.group(1);
    let mut buffers = [(); 3].map(|()| Box::new([0; COALESCING_BUFFER]));
    let mut opened = None;
    for buffer in &mut buffers {
        match ListenOptions::new().bind_coalescing(membership(group), 1500, buffer) {
            Ok(listener) => {
                opened = Some(listener);
                break;
            }
            Err(error) => run.note(&error),
        }
    }
    let Some(mut listener) = opened else { return run.failed("it does not open after one failure") };
    let Some(poller) = run.poller_for(&listener) else { return };
    let packets: Vec<String> = (10..42).map(|number| format!("packet {number}")).collect();
    let packets: Vec<&str> = packets.iter().map(String::as_str).collect();
    for _ in 0..2 {
        let opened = run.retry(|| on_lo().batches::<16, _>(group, packets.clone()));
        let Some(mut caster) = opened else { return };
        step(run, &mut caster);
        run.expect(&packets, &poller, || Ok(heard(&listener.recv()?)));
    }
}

/// Only one source, which is blocked and unblocked.
fn sources(run: &mut Run) {
    let group = run.group(1);
    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let from = Membership::source(group, source).on(membership(group).interface());
    let Some(mut only) = receiver(run, Bind::from(from), ListenOptions::new) else { return };
    let Some(mut any) = receiver(run, Bind::from(membership(group)), ListenOptions::new) else { return };
    let Some(mut sender) = run.sender(group) else { return };
    run.send(&mut sender, group, &["one"]);
    run.expect_at(&mut only, &["one"]);
    run.expect_at(&mut any, &["one"]);
    if run.retry(|| any.block(&membership(group), source)).is_none() {
        return;
    }
    run.send(&mut sender, group, &["two"]);
    run.expect_at(&mut only, &["two"]);
    run.expect_at(&mut any, &[]);
    run.retry(|| any.unblock(&membership(group), source));
    run.send(&mut sender, group, &["three"]);
    run.expect_at(&mut only, &["three"]);
    run.expect_at(&mut any, &["three"]);
}

fn leave_and_join(run: &mut Run) {
    let group = run.group(1);
    let Some(mut receiver) = receiver(run, Bind::from(membership(group)), ListenOptions::new) else { return };
    let Some(mut sender) = run.sender(group) else { return };
    for _ in 0..2 {
        run.send(&mut sender, group, &["one"]);
        run.expect_at(&mut receiver, &["one"]);
        // After a failure it may have left: that it then is no member is what was asked for.
        let mut left = receiver.leave(&membership(group));
        for _ in 0..2 {
            left = left.or_else(|error| {
                run.note(&error);
                match receiver.leave(&membership(group)) {
                    Err(error) if error.kind() == multicast::ErrorKind::NotJoined => Ok(()),
                    left => left,
                }
            });
        }
        if left.is_err() {
            return run.failed("it cannot leave after one failure");
        }
        run.send(&mut sender, group, &["nobody is there"]);
        run.expect_at(&mut receiver, &[]);
        run.retry(|| receiver.join(&membership(group)));
    }
    run.send(&mut sender, group, &["two"]);
    run.expect_at(&mut receiver, &["two"]);
}

/// A book and the links, which are read until they are quiet.
fn book(run: &mut Run, group: Group) {
    let lo = "lo".parse().unwrap();
    let Some(mut links) = run.retry(Links::watch) else { return };
    let Some(mut receiver) = receiver(run, Bind::Later(group), ListenOptions::new) else { return };
    let mut book = Memberships::<2>::new();
    run.retry(|| book.join(Membership::any(group).on(lo), &mut receiver).map(drop));
    let opened = run.retry(|| multicast::SendOptions::new().interface(lo).later().open(group.family()));
    let Some(mut sender) = opened else { return };
    for _ in 0..2 {
        // As a loop that is called again after a failure, and whenever the links are readable.
        for _ in 0..4 {
            match links.follow(&mut (book.with(&mut receiver), &mut sender)) {
                Ok(followed) => {
                    if let Some(error) = followed.failed {
                        run.note(&error);
                    }
                }
                Err(error) => run.note(&error),
            }
        }
        if book.pending().next().is_some() {
            run.failed("it waits for lo, which is there");
        }
        run.send(&mut sender, group, &PACKETS);
        run.expect_at(&mut receiver, &PACKETS);
    }
    run.retry(|| book.leave(&Membership::any(group).on(lo), &mut receiver).map(drop));
}

fn step<I, const BATCH: usize>(run: &mut Run, caster: &mut Multicaster<I, BATCH>)
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    let (mut failures, end) = (0, Instant::now() + run.sending_patience());
    while Instant::now() < end {
        match caster.step() {
            Ok(Progress::Done) => return,
            Ok(Progress::Sent(_)) => {}
            Ok(Progress::Wait(time)) if time > Duration::from_secs(1) => {
                run.bad(format!("it waits for {time:?}"));
                return;
            }
            Ok(Progress::Wait(time)) => std::thread::sleep(time),
            Ok(Progress::Blocked) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => {
                run.note(&error);
                failures += 1;
                if failures > 3 {
                    break;
                }
            }
        }
    }
    run.failed("it does not send all after one failure");
}

fn multicaster<const BATCH: usize>(run: &mut Run) {
    let group = run.group(1);
    let Some(mut receiver) = receiver(run, Bind::from(membership(group)), ListenOptions::new) else { return };
    let packets = ["1", "2", "3", "44", "5", "6", "7", "8", "9", "10"];
    let Some(mut caster) = run.retry(|| on_lo().batches::<BATCH, _>(group, packets)) else { return };
    step(run, &mut caster);
    run.expect_at(&mut receiver, &packets);
}

fn outbox(run: &mut Run) {
    let group = run.group(1);
    let Some(mut receiver) = receiver(run, Bind::from(membership(group)), ListenOptions::new) else { return };
    let opened = run.retry(|| on_lo().batches::<4, _>(group, Outbox::<&str, 8>::new()));
    let Some(mut caster) = opened else { return };
    for _ in 0..2 {
        for packet in PACKETS {
            if caster.items_mut().push(packet).is_err() {
                run.failed("there is no room");
            }
        }
        step(run, &mut caster);
        run.expect_at(&mut receiver, &PACKETS);
        if run.has_failed() {
            // The queue still has packets of this round.
            return;
        }
    }
}

/// A rate that is higher than what is sent: whatever the clock says, no wait is longer than that of one packet.
fn rate(run: &mut Run) {
    let group = run.group(1);
    let Some(mut receiver) = receiver(run, Bind::from(membership(group)), ListenOptions::new) else { return };
    let opened = run.retry(|| on_lo().rate(500, 2).batches::<4, _>(group, PACKETS));
    let Some(mut caster) = opened else { return };
    step(run, &mut caster);
    run.expect_at(&mut receiver, &PACKETS);
}

/// The descriptor of a listener and of a sender becomes one again.
fn adoption(run: &mut Run) {
    let group = run.group(1);
    let Some(receiver) = receiver(run, Bind::from(membership(group)), || ListenOptions::new().filter(Always)) else {
        return;
    };
    let (Some(sender), descriptor) = (run.sender(group), OwnedFd::from(receiver)) else { return };
    // A failed adoption closes the descriptor: this program keeps another one.
    let mut adopted = None;
    for _ in 0..3 {
        match rustix::io::dup(&descriptor).map_err(multicast::Error::from).and_then(Receiver::try_from) {
            Ok(receiver) => {
                adopted = Some(receiver);
                break;
            }
            Err(error) => run.note(&error),
        }
    }
    let Some(mut receiver) = adopted else { return run.failed("it cannot be adopted after one failure") };
    drop(descriptor);
    let descriptor = OwnedFd::from(sender);
    let mut adopted = None;
    for _ in 0..3 {
        match rustix::io::dup(&descriptor).map_err(multicast::Error::from).and_then(multicast::Sender::try_from) {
            Ok(sender) => {
                adopted = Some(sender);
                break;
            }
            Err(error) => run.note(&error),
        }
    }
    let Some(mut sender) = adopted else { return run.failed("the sender cannot be adopted after one failure") };
    drop(descriptor);
    run.retry(|| receiver.join(&membership(group)));
    run.send(&mut sender, group, &PACKETS);
    run.expect_at(&mut receiver, &PACKETS);
}
