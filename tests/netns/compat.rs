//! The handle-based API without arguments, and on slow links. Only in a private network.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use crate::common;
use crate::common::link::{Pair, named};
use crate::common::{PATIENCE, unique_group};
use crate::compat_help;
use crate::compat_help::{BREAK, GO_ON, Log, On, cpu_time, readable_pipe};
use multicast::compat::{
    Flags, ListenOptions, MulticastListener, Multicaster, PacketHandler, Packets, SendOptions, listen, listen_with, poll,
    register, run, sendto, sendto_with,
};
use multicast::{Group, Interface, Listener, Membership, Result};

/// Every listener receives all packets of the default group, so the tests that use it run one after the other.
fn default_group() -> std::sync::MutexGuard<'static, ()> {
    static GROUP: std::sync::Mutex<()> = std::sync::Mutex::new(());
    common::require_private_network();
    GROUP.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn the_listen_example_of_the_python_api_word_for_word() -> Result<()> {
    let _group = default_group();
    let mut listener = listen()?;
    sendto("test")?;
    poll(PATIENCE)?;
    assert_eq!(listener.next()?.unwrap().payload(), b"test");
    Ok(())
}

#[test]
fn the_listener_example_of_the_python_api_word_for_word() -> Result<()> {
    let _group = default_group();
    struct Printer(Log<String>);
    impl PacketHandler for Printer {
        fn handle_packet(&mut self, packet: &[u8], _addr: SocketAddr) -> ControlFlow<()> {
            self.0.add(String::from_utf8_lossy(packet).into_owned());
            ControlFlow::Break(()) // Stop listening
        }
    }
    let printed = Log::new();
    MulticastListener::new(Printer(printed.clone()), ListenOptions::new().filter_fn(|_packet, _addr| true))?;
    sendto("test")?;
    poll(PATIENCE)?;
    assert_eq!(printed.take(), ["test"]);
    Ok(())
}

#[test]
fn the_defaults_are_those_of_the_python_api() {
    let _group = default_group();
    let mut listener = Listener::bind(Membership::any("224.0.42.42:4242".parse().unwrap())).unwrap();
    sendto("test").unwrap();
    assert_eq!(common::expect_packet(&mut listener), b"test");
    sendto(["one", "two"]).unwrap();
    assert_eq!(common::expect_packet(&mut listener), b"one");
    assert_eq!(common::expect_packet(&mut listener), b"two");

    Multicaster::new(["a", "b"], SendOptions::new()).unwrap();
    let mut seen = Vec::new();
    let note = |packet: &[u8], _: SocketAddr| {
        seen.push(packet.to_vec());
        GO_ON
    };
    listen_with(note, ListenOptions::new().limit(2)).unwrap();
    assert_eq!(seen, [b"a", b"b"]);

    let mut packets = listen().unwrap();
    sendto(vec![7; 5_000]).unwrap();
    poll(PATIENCE).unwrap();
    let packet = packets.next().unwrap().unwrap();
    assert_eq!((packet.payload().len(), packet.wire_length()), (4_096, 5_000));
}

/// A link of one megabit per second, whose queue holds `queue` bytes.
fn slow_link(queue: u32) -> (Pair, Interface, Interface) {
    let pair = Pair::new();
    // Neighbour discovery would use a part of the queue.
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", pair.a), "1").unwrap();
    pair.throttle(1_000_000, queue);
    let (near, far) = (named(&pair.a), named(&pair.b));
    (pair, near, far)
}

/// Packets of 1,000 bytes that begin with their number.
fn numbered(count: u16) -> impl Iterator<Item = Vec<u8>> + Clone {
    (0..count).map(|number| {
        let mut packet = vec![0; 1_000];
        packet[..2].copy_from_slice(&number.to_be_bytes());
        packet
    })
}

/// Listens at the far end in another thread, and checks the numbers that arrive.
fn expect_numbered(group: Group, far: Interface, count: u16) -> thread::JoinHandle<()> {
    let mut listener = Listener::bind(Membership::any(group).on(far)).unwrap();
    thread::spawn(move || {
        for packet in numbered(count) {
            assert_eq!(common::expect_packet(&mut listener)[..2], packet[..2]);
        }
        common::assert_quiet(&mut listener);
    })
}

#[test]
fn sendto_waits_for_a_full_send_buffer_and_calls_no_handler() {
    let (_pair, near, far) = slow_link(1_000_000);
    let group = unique_group();
    let receiver = expect_numbered(group, far, 60);
    let (here, _there) = readable_pipe();
    register(On::read(here, |_| panic!("called")), Flags::NONE).unwrap();
    let (start, cpu) = (Instant::now(), cpu_time());
    sendto_with(numbered(60), SendOptions::new().group(group).interface(near).core(|core| core.send_buffer(1))).unwrap();
    // At least 57 packets of 1,042 bytes have left, at one megabit per second.
    assert!(start.elapsed() > Duration::from_millis(300), "{:?}", start.elapsed());
    assert!(cpu_time() - cpu < Duration::from_millis(100), "{:?}", cpu_time() - cpu);
    receiver.join().unwrap();
}

#[test]
fn a_multicaster_waits_for_a_full_send_buffer() {
    let (_pair, near, far) = slow_link(1_000_000);
    let group = unique_group();
    let receiver = expect_numbered(group, far, 60);
    Multicaster::new(numbered(60), SendOptions::new().group(group).interface(near).core(|core| core.send_buffer(1)))
        .unwrap();
    let cpu = cpu_time();
    run(None, Duration::ZERO).unwrap();
    assert!(cpu_time() - cpu < Duration::from_millis(100), "{:?}", cpu_time() - cpu);
    receiver.join().unwrap();
}

/// The kernel then returns ENOBUFS, and no event reports that there is room again.
#[test]
fn a_multicaster_waits_for_a_full_queue_of_the_device_without_spinning() {
    let (_pair, near, far) = slow_link(5_000);
    let group = unique_group();
    let receiver = expect_numbered(group, far, 60);
    let handle = Multicaster::new(numbered(60), SendOptions::new().group(group).interface(near)).unwrap();
    let (start, cpu) = (Instant::now(), cpu_time());
    run(None, Duration::ZERO).unwrap();
    assert!(!handle.is_registered());
    assert!(start.elapsed() > Duration::from_millis(300), "{:?}", start.elapsed());
    assert!(cpu_time() - cpu < Duration::from_millis(100), "{:?}", cpu_time() - cpu);
    receiver.join().unwrap();
}

#[test]
fn sendto_waits_for_a_full_queue_of_the_device() {
    let (_pair, near, far) = slow_link(5_000);
    let group = unique_group();
    let receiver = expect_numbered(group, far, 60);
    sendto_with(numbered(60), SendOptions::new().group(group).interface(near)).unwrap();
    receiver.join().unwrap();
}

/// A listener receives packets while a multicaster of the same poller waits.
#[test]
fn a_waiting_multicaster_does_not_delay_other_handlers() {
    let (_pair, near, _far) = slow_link(5_000);
    let caster = Multicaster::new(numbered(1_000), SendOptions::new().group(unique_group()).interface(near)).unwrap();
    poll(PATIENCE).unwrap();
    let group = unique_group();
    let handler = |_: &[u8], _: SocketAddr| BREAK;
    let listener = MulticastListener::new(handler, compat_help::from(group)).unwrap();
    sendto_with("test", compat_help::to(group)).unwrap();
    poll(PATIENCE).unwrap();
    assert!(caster.is_registered() && !listener.is_registered());
}

#[test]
fn copies_for_this_machine_can_be_turned_off() {
    let (_pair, near, _far) = slow_link(1_000_000);
    let group = unique_group();
    let mut here = Packets::new(ListenOptions::new().group(group).interface(near)).unwrap();
    let options = SendOptions::new().group(group).interface(near);
    sendto_with("not here", options.clone().core(|core| core.loopback(false))).unwrap();
    sendto_with("here", options).unwrap();
    poll(PATIENCE).unwrap();
    assert_eq!(here.next().unwrap().unwrap().payload(), b"here");
}

#[test]
fn ipv6_groups_work() {
    common::require_private_network();
    for scope in [2, 5] {
        let (group, log) = (common::unique_v6_group(scope), Log::new());
        let note = log.clone();
        let handler = move |packet: &[u8], source: SocketAddr| {
            note.add((packet.to_vec(), source.is_ipv6()));
            BREAK
        };
        MulticastListener::new(handler, compat_help::from(group)).unwrap();
        sendto_with("test", compat_help::to(group)).unwrap();
        run(None, Duration::ZERO).unwrap();
        assert_eq!(log.take(), [(b"test".to_vec(), true)]);
    }
}
