//! The handle-based API: what passes ends no listener and no multicaster. It is reported once, and tried again. In a private network:
//! see `make test`.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common;
use crate::common::link::{Pair, is_alone, named, run};
use crate::common::{PATIENCE, assert_quiet, expect_packet, unique_group};
use crate::compat_help;
use crate::compat_help::{GO_ON, Log, noting};
use multicast::compat::{
    Handle, ListenOptions, MulticastListener, Multicaster, Poller, SendOptions, listen_with, sendto_with,
};
use multicast::{ErrorKind, Group, Interface, Listener, Membership};

/// Longer than several attempts.
const A_WHILE: Duration = Duration::from_millis(400);

fn from(group: Group, interface: Interface, poller: &Poller) -> ListenOptions {
    ListenOptions::new().group(group).interface(interface).poller(poller)
}

fn to(group: Group, interface: Interface, poller: &Poller) -> SendOptions {
    SendOptions::new().group(group).interface(interface).poller(poller)
}

fn send(from: &str, group: Group, text: &str) {
    let options = multicast::SendOptions::new().interface(named(from)).loopback(false);
    common::send_with(options, group, [text]);
}

/// Polls for this time, and returns the kinds of the errors.
fn errors_within(poller: &Poller, time: Duration) -> Vec<ErrorKind> {
    let end = Instant::now() + time;
    let mut errors = Vec::new();
    while Instant::now() < end {
        if let Err(error) = poller.poll(end.saturating_duration_since(Instant::now())) {
            errors.push(error.kind());
        }
    }
    errors
}

/// Polls until this is so; errors do not matter.
#[track_caller]
fn poll_until(poller: &Poller, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen");
        let _ = poller.poll(Duration::from_millis(20));
    }
}

/// The first error within the usual time.
#[track_caller]
fn first_error(poller: &Poller) -> multicast::Error {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Err(error) = poller.poll(Duration::from_millis(20)) {
            return error;
        }
        assert!(Instant::now() < end, "there was no error");
    }
}

/// A listener at the other end of the pair.
fn far_listener(pair: &Pair, group: Group) -> Listener {
    Listener::bind(Membership::any(group).on(named(&pair.b))).unwrap()
}

#[track_caller]
fn expect_all(listener: &mut Listener, texts: &[&str]) {
    for text in texts {
        assert_eq!(expect_packet(listener), text.as_bytes());
    }
    assert_quiet(listener);
}

#[test]
fn a_multicaster_waits_while_its_interface_is_down_and_sends_all() {
    let (pair, group, poller) = (Pair::new(), unique_group(), Poller::new().unwrap());
    let mut listener = far_listener(&pair, group);
    let caster = Multicaster::new(["one", "two", "three"], to(group, named(&pair.a), &poller)).unwrap();
    run(&format!("ip link set {} down", pair.a));
    assert_eq!(first_error(&poller).kind(), ErrorKind::Unreachable);
    assert!(caster.is_registered());
    assert_eq!(errors_within(&poller, A_WHILE), [], "it is returned once");
    run(&format!("ip link set {} up", pair.a));
    poll_until(&poller, || !caster.is_registered());
    expect_all(&mut listener, &["one", "two", "three"]);
}

#[test]
fn a_multicaster_waits_while_a_firewall_forbids_and_tries_without_spinning() {
    let (pair, group, poller) = (Pair::new(), unique_group(), Poller::new().unwrap());
    let mut listener = far_listener(&pair, group);
    let items = Rc::new(Cell::new(0));
    let pulled = Rc::clone(&items);
    let packets = (0..100).map(move |number: u8| {
        pulled.set(pulled.get() + 1);
        [number]
    });
    let caster = Multicaster::new(packets, to(group, named(&pair.a), &poller)).unwrap();
    run("nft add table inet compat_test");
    run("nft add chain inet compat_test out { type filter hook output priority 0 ; }");
    run(&format!("nft add rule inet compat_test out ip daddr {} drop", group.address()));
    assert_eq!(first_error(&poller).kind(), ErrorKind::Denied);
    let cpu = compat_help::cpu_time();
    assert_eq!(errors_within(&poller, A_WHILE), []);
    assert!(compat_help::cpu_time() - cpu < A_WHILE / 10);
    assert!(caster.is_registered() && items.get() == 1, "the item waits");
    run("nft delete table inet compat_test");
    poll_until(&poller, || !caster.is_registered());
    for number in 0..100 {
        assert_eq!(expect_packet(&mut listener), [number]);
    }
    assert_quiet(&mut listener);
}

#[test]
fn multicasters_follow_their_interface_when_it_is_created_again() {
    let (pair, group, poller) = (Pair::new(), unique_group(), Poller::new().unwrap());
    let items = ["one", "two"];
    let caster = Multicaster::new(items, to(group, named(&pair.a), &poller)).unwrap();
    let live = Multicaster::live([], to(group, named(&pair.a), &poller)).unwrap();
    for text in ["three", "four"] {
        pair.delete();
        live.push(text).unwrap();
        first_error(&poller);
        assert_eq!(
            live.queued() + usize::from(live.handle().with(|live| live.core().pending().is_some()).unwrap().unwrap()),
            1
        );
        pair.create();
        let mut listener = far_listener(&pair, group);
        poll_until(&poller, || !caster.is_registered() && live.queued() == 0 && is_sent(&live));
        let mut heard: Vec<_> = if text == "three" { items.to_vec() } else { Vec::new() };
        let count = heard.len() + 1;
        heard.push(text);
        let mut arrived: Vec<_> = (0..count).map(|_| expect_packet(&mut listener)).collect();
        arrived.sort_unstable();
        heard.sort_unstable();
        assert!(arrived.iter().eq(heard.iter().map(|text| text.as_bytes())), "{arrived:?}");
        assert_quiet(&mut listener);
    }
}

#[test]
fn an_error_of_sendto_says_how_many_were_sent_so_that_the_rest_can_be() {
    let (pair, group) = (Pair::new(), unique_group());
    let mut listener = far_listener(&pair, group);
    let options = SendOptions::new().group(group).interface(named(&pair.a));
    let texts: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    // The link goes down when this one is to be sent.
    let packets = texts.iter().inspect(|text| {
        if *text == "12" {
            run(&format!("ip link set {} down", pair.a));
        }
    });
    let error = sendto_with(packets, options.clone()).unwrap_err();
    assert_eq!((error.kind(), error.packets_sent()), (ErrorKind::Unreachable, 12));
    run(&format!("ip link set {} up", pair.a));
    pair.wait_until_up();
    sendto_with(&texts[error.packets_sent()..], options).unwrap();
    for text in &texts {
        assert_eq!(expect_packet(&mut listener), text.as_bytes());
    }
    assert_quiet(&mut listener);
}

/// Whether nothing is left of what was pulled.
fn is_sent<T: AsRef<[u8]> + 'static>(live: &multicast::compat::Live<T>) -> bool {
    live.handle().with(|caster| caster.core().pending().is_none()).unwrap().unwrap()
}

#[test]
fn a_live_multicaster_may_be_made_before_its_interface_exists() {
    let (pair, group, poller) = (Pair::planned(), unique_group(), Poller::new().unwrap());
    let live = Multicaster::live(["one"], to(group, named(&pair.a), &poller)).unwrap();
    assert_eq!(first_error(&poller).kind(), ErrorKind::NoSuchInterface);
    pair.create();
    let mut listener = far_listener(&pair, group);
    poll_until(&poller, || live.queued() == 0 && is_sent(&live));
    expect_all(&mut listener, &["one"]);
}

#[test]
fn the_queue_of_a_failing_live_multicaster_fills_refuses_and_is_sent_later() {
    let (pair, group, poller) = (Pair::new(), unique_group(), Poller::new().unwrap());
    let mut listener = far_listener(&pair, group);
    let live = Multicaster::live([], to(group, named(&pair.a), &poller).queue(3)).unwrap();
    run(&format!("ip link set {} down", pair.a));
    live.push("one").unwrap();
    assert_eq!(first_error(&poller).kind(), ErrorKind::Unreachable);
    // The first one was pulled, so there is room for three.
    for text in ["two", "three", "four"] {
        live.push(text).unwrap();
        assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0, "a push does not end the pause");
    }
    assert_eq!(live.push("five"), Err("five"));
    assert_eq!(errors_within(&poller, A_WHILE), []);
    assert_eq!(live.queued(), 3);
    run(&format!("ip link set {} up", pair.a));
    poll_until(&poller, || live.queued() == 0 && is_sent(&live));
    expect_all(&mut listener, &["one", "two", "three", "four"]);
    // After a success, the next error is returned again.
    run(&format!("ip link set {} down", pair.a));
    live.push("six").unwrap();
    assert_eq!(first_error(&poller).kind(), ErrorKind::Unreachable);
}

#[test]
fn a_listener_on_the_default_route_survives_a_prohibit_route() {
    if !is_alone("a_listener_on_the_default_route_survives_a_prohibit_route") {
        return;
    }
    let (pair, group, poller, log) = (Pair::new(), unique_group(), Poller::new().unwrap(), Log::new());
    run(&format!("ip route add 224.0.0.0/4 dev {} metric 10", pair.b));
    let listener = MulticastListener::new(noting(&log), from(group, Interface::Default, &poller)).unwrap();
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    for round in 1..=2 {
        run("ip route add prohibit 224.0.0.0/4 metric 5");
        let errors = errors_within(&poller, A_WHILE);
        assert!(listener.is_registered());
        assert!(errors.is_empty() || errors == [ErrorKind::Denied], "returned once, if at all: {errors:?}");
        send(&pair.a, group, "meanwhile");
        poll_until(&poller, || log.len() == 1);
        run("ip route del prohibit 224.0.0.0/4 metric 5");
        assert_eq!(errors_within(&poller, A_WHILE), [], "{round}");
        send(&pair.a, group, "after");
        poll_until(&poller, || log.len() == 2);
        log.take();
    }
}

/// Alone in its namespace, since the limit would affect other tests.
#[test]
fn listeners_that_cannot_join_again_are_reported_kept_and_join_by_themselves_later() {
    if !is_alone("listeners_that_cannot_join_again_are_reported_kept_and_join_by_themselves_later") {
        return;
    }
    let (pair, poller, log) = (Pair::new(), Poller::new().unwrap(), Log::new());
    let group = unique_group();
    let listeners = [(); 2].map(|()| MulticastListener::new(noting(&log), from(group, named(&pair.b), &poller)).unwrap());
    pair.delete();
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    std::fs::write("/proc/sys/net/ipv4/igmp_max_memberships", "0").unwrap();
    pair.create();
    let error = first_error(&poller);
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert!(error.to_string().contains("net.ipv4.igmp_max_memberships"), "{error}");
    let others = errors_within(&poller, A_WHILE);
    assert!(others.len() <= 1, "one for each listener: {others:?}");
    assert!(listeners.iter().all(Handle::is_registered));
    // Nothing tells that the limit has changed.
    std::fs::write("/proc/sys/net/ipv4/igmp_max_memberships", "20").unwrap();
    let is_member = || run(&format!("ip maddr show dev {}", pair.b)).contains(&group.address().to_string());
    poll_until(&poller, is_member);
    assert_eq!(errors_within(&poller, Duration::from_millis(1_200)), []);
    send(&pair.a, group, "x");
    poll_until(&poller, || log.len() == 2);
}

/// One more than the kernel allows a socket.
#[test]
fn the_21st_interface_ends_no_listener() {
    if !is_alone("the_21st_interface_ends_no_listener") {
        return;
    }
    let (pair, group, poller, log) = (Pair::new(), unique_group(), Poller::new().unwrap(), Log::new());
    let listener = MulticastListener::new(noting(&log), from(group, Interface::All, &poller)).unwrap();
    let others: Vec<_> = (0..10).map(|_| Pair::bare()).collect();
    assert_eq!(first_error(&poller).kind(), ErrorKind::LimitReached);
    assert!(listener.is_registered());
    for _ in 0..3 {
        send(&pair.a, group, "x");
        poll_until(&poller, || log.len() == 1);
        log.take();
    }
    drop(others);
    let _ = errors_within(&poller, A_WHILE);
    send(&pair.a, group, "y");
    poll_until(&poller, || log.take() == [b"y"]);
}

/// A shell that was started before the descriptors were used up.
struct Shell(std::process::Child);

impl Shell {
    fn start() -> Self {
        Self(Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn run(&mut self, command: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{command} && echo done").unwrap();
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "{command}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Opens files until the process may open no more. They are closed with the list.
fn use_up_descriptors() -> Vec<std::fs::File> {
    let limit = rustix::process::Rlimit { current: Some(200), maximum: Some(200) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

#[test]
fn without_a_descriptor_for_a_question_listeners_stay_and_ask_again() {
    if !is_alone("without_a_descriptor_for_a_question_listeners_stay_and_ask_again") {
        return;
    }
    let (pair, group, poller, log) = (Pair::new(), unique_group(), Poller::new().unwrap(), Log::new());
    run(&format!("ip route add 224.0.0.0/4 dev {} metric 10", pair.b));
    let by_route = MulticastListener::new(noting(&log), from(group, Interface::Default, &poller)).unwrap();
    let on_all = MulticastListener::new(noting(&log), from(group, Interface::All, &poller)).unwrap();
    let caster = Multicaster::live([""; 0], to(group, Interface::Default, &poller)).unwrap();
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    let mut shell = Shell::start();
    let files = use_up_descriptors();
    // Of no concern to any of them.
    shell.run("ip link add other0 type veth peer name other1 && ip link set other0 up && ip link set other1 up");
    let error = first_error(&poller);
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert!(error.to_string().contains("open file descriptors"), "{error}");
    let _ = errors_within(&poller, A_WHILE);
    assert_eq!(errors_within(&poller, A_WHILE), [], "each is reported once");
    drop(files);
    assert!(by_route.is_registered() && on_all.is_registered() && caster.handle().is_registered());
    // Asked again, `All` joins on the new ones, too.
    poll_until(&poller, || run("ip maddr show dev other0").contains(&group.address().to_string()));
    send(&pair.a, group, "x");
    poll_until(&poller, || log.len() == 2);
}

/// One whose names do not fit into one answer, so that the kernel is asked about each interface.
#[test]
fn interfaces_that_cannot_be_asked_about_for_a_moment_are_reported_once_and_end_nothing() {
    if !is_alone("interfaces_that_cannot_be_asked_about_for_a_moment_are_reported_once_and_end_nothing") {
        return;
    }
    let (pair, group, poller, log) = (Pair::new(), unique_group(), Poller::new().unwrap(), Log::new());
    let mut batch = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = batch.stdin.take().unwrap();
    for number in 0..90 {
        writeln!(lines, "link property add dev {} altname {number:0>120}", pair.a).unwrap();
    }
    drop(lines);
    assert!(batch.wait().unwrap().success());
    let listener = MulticastListener::new(noting(&log), from(group, named(&pair.b), &poller)).unwrap();
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    let device = pair.b.clone();
    std::thread::scope(|scope| {
        let (go_on, waits) = std::sync::mpsc::channel();
        let listening = scope.spawn(move || {
            let wait = |packet: &[u8], _: SocketAddr| {
                if packet == b"wait" {
                    let _ = waits.recv();
                }
                GO_ON
            };
            listen_with(wait, ListenOptions::new().group(group).interface(named(&device)).limit(2))
        });
        common::wait_until("both have joined", || {
            run(&format!("ip maddr show dev {}", pair.b)).contains(&format!("{} users 2", group.address()))
        });
        send(&pair.a, group, "wait");
        // More changes than are kept: the lists are asked for again.
        common::link::flood(&pair.b);
        let files = use_up_descriptors();
        go_on.send(()).unwrap();
        let error = first_error(&poller);
        assert_eq!(error.kind(), ErrorKind::LimitReached);
        assert!(error.to_string().starts_with("watch the interfaces: too many open file descriptors"), "{error}");
        let cpu_time = || Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)).unwrap();
        let before = cpu_time();
        assert_eq!(errors_within(&poller, A_WHILE), [], "it is reported once");
        assert!(cpu_time() - before < A_WHILE / 4, "it does not spin");
        drop(files);
        send(&pair.a, group, "x");
        assert_eq!(listening.join().unwrap(), Ok(()));
    });
    assert!(listener.is_registered());
    poll_until(&poller, || log.len() == 2);
}

#[test]
fn listen_with_goes_on_when_it_cannot_join_for_a_moment() {
    if !is_alone("listen_with_goes_on_when_it_cannot_join_for_a_moment") {
        return;
    }
    let (pair, group) = (Pair::new(), unique_group());
    let limit = |number: &str| std::fs::write("/proc/sys/net/ipv4/igmp_max_memberships", number).unwrap();
    let is_member = || run(&format!("ip maddr show dev {}", pair.b)).contains(&group.address().to_string());
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| {
            let mut heard = Vec::new();
            let note = |packet: &[u8], _: SocketAddr| {
                heard.push(packet.to_vec());
                GO_ON
            };
            let listened = listen_with(note, ListenOptions::new().group(group).interface(named(&pair.b)).limit(1));
            (listened, heard)
        });
        common::wait_until("it has joined", is_member);
        // A witness in this thread: it gets the same error.
        let poller = Poller::new().unwrap();
        let witness = MulticastListener::new(noting(&Log::new()), from(group, named(&pair.b), &poller)).unwrap();
        pair.delete();
        limit("0");
        pair.create();
        assert_eq!(first_error(&poller).kind(), ErrorKind::LimitReached);
        poller.unregister(&witness).unwrap();
        limit("20");
        common::wait_until("it has joined again, or ended", || is_member() || listening.is_finished());
        send(&pair.a, group, "x");
        let (listened, heard) = listening.join().unwrap();
        assert_eq!((listened, heard), (Ok(()), vec![b"x".to_vec()]));
    });
}

/// Routes change all the time, much faster than 100 listeners can ask about each change.
#[test]
fn a_poll_ends_while_changes_go_on() {
    if !is_alone("a_poll_ends_while_changes_go_on") {
        return;
    }
    let (pair, group, poller) = (Pair::new(), unique_group(), Poller::new().unwrap());
    run(&format!("ip route add 224.0.0.0/4 dev {} metric 10", pair.b));
    for _ in 0..100 {
        MulticastListener::new(noting(&Log::new()), from(group, Interface::Default, &poller)).unwrap();
    }
    let mut batch = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = batch.stdin.take().unwrap();
    let device = pair.b.clone();
    let writing = std::thread::spawn(move || {
        for number in 0..60_000 {
            let (high, low) = (number / 250, number % 250 + 1);
            writeln!(lines, "route add 238.250.{high}.{low}/32 dev {device}").unwrap();
        }
    });
    let mut longest = Duration::ZERO;
    while batch.try_wait().unwrap().is_none() {
        let cpu = compat_help::cpu_time();
        assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
        longest = longest.max(compat_help::cpu_time() - cpu);
    }
    writing.join().unwrap();
    // 1,000 reads and 100 questions take some 10 ms without optimisation; all changes for all listeners, some seconds.
    assert!(longest < Duration::from_millis(100), "{longest:?} of processor time in one poll");
}
