//! The cases, one function each.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

use multicast::compat::{self, MulticastListener, Packets};
use multicast::filter::kernel::Instruction;
use multicast::filter::{Filter, Prefix};
use multicast::{
    Bind, COALESCING_BUFFER, ErrorKind, Events, Family, Group, Interest, Interface, Links, ListenOptions, Listener,
    Membership, Memberships, Multicaster, Poller, Progress, Received, SendOptions, Token, Ttl,
};

use crate::Outcome;
use crate::network::{self, ADDRESSES, ENDS};

/// The name of a case, and its function.
pub type Case = (&'static str, fn() -> Outcome);

pub const ALL: [Case; 22] = [
    ("receive-ipv4-on-lo", || receive(Group::new([239, 9, 0, 1], 5001)?, "lo", "lo")),
    ("receive-ipv4-over-a-link", || receive(Group::new([239, 9, 0, 2], 5002)?, ENDS[0], ENDS[1])),
    ("receive-ipv6-over-a-link", || receive("[ff15::9:3]:5003".parse()?, ENDS[0], ENDS[1])),
    ("receive-ipv6-link-local", || receive("[ff12::9:4]:5004".parse()?, ENDS[0], ENDS[1])),
    ("truncated-and-empty", truncated_and_empty),
    ("poller-keeps-time-and-wakes", poller_keeps_time_and_wakes),
    ("filter-and-ledger", filter_and_ledger),
    ("filter-in-the-kernel-wakes-nobody", || in_the_kernel(new_group()?, "lo", "lo")),
    ("guard-and-filter-in-the-kernel-ipv6", || in_the_kernel("[ff15::9:6]:5006".parse()?, ENDS[0], ENDS[1])),
    ("bound-to-its-interface-ipv6", bound_to_its_interface),
    ("drops-are-counted", drops_are_counted),
    ("coalescing", coalescing),
    ("metadata-ipv4", || metadata(new_group()?, ADDRESSES[0].into())),
    ("metadata-ipv6", || metadata("[ff15::9:5]:5005".parse()?, "fd09:8::1".parse()?)),
    ("groups-of-a-port", groups_of_a_port),
    ("sources", sources),
    ("all-interfaces", all_interfaces),
    ("rejoin-after-the-link-is-made-again", rejoin),
    ("limits-are-named", limits_are_named),
    ("compat-generator", compat_generator),
    ("compat-handlers", compat_handlers),
    ("regular-expression", regular_expression),
];

/// How long to wait for what must come: emulated processors are slow.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for what must not come, after something that must come has come.
const SILENCE: Duration = Duration::from_millis(50);

fn new_group() -> multicast::Result<Group> {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Group::new([239, 9, 9, count], 6000 + u16::from(count))
}

fn named(name: &str) -> Interface {
    name.parse().unwrap_or_default()
}

fn same<T: PartialEq + Debug>(got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("{got:?}, not {expected:?}").into()) }
}

/// Sends all packets, and waits when it must.
fn send_all<I, const BATCH: usize>(caster: &mut Multicaster<I, BATCH>) -> Outcome
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match caster.step()? {
            Progress::Done => return Ok(()),
            Progress::Sent(_) => {}
            Progress::Wait(time) => std::thread::sleep(time),
            Progress::Blocked => std::thread::yield_now(),
        }
        if Instant::now() > deadline {
            return Err("it cannot be sent".into());
        }
    }
}

fn send(group: Group, interface: &str, packets: &[&str]) -> Outcome {
    send_all(&mut SendOptions::new().interface(named(interface)).packets(group, packets)?)
}

/// The payloads of this many packets, and of any that follow within a short time.
fn collect<const MTU: usize, F: Filter>(
    listener: &mut Listener<MTU, F>,
    count: usize,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let (poller, mut events) = (Poller::new()?, Events::<4>::new());
    poller.register(listener, Token(1), Interest::READABLE)?;
    let (mut got, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        let time = if got.len() < count { deadline.saturating_duration_since(Instant::now()) } else { SILENCE };
        poller.poll(&mut events, time)?;
        let before = got.len();
        while let Received::Packet(packet) = listener.recv()? {
            got.push(String::from_utf8_lossy(packet.payload()).into_owned());
        }
        if got.len() == before && (got.len() >= count || Instant::now() >= deadline) {
            return Ok(got);
        }
    }
}

fn receive(group: Group, from: &str, at: &str) -> Outcome {
    let mut listener = ListenOptions::new().bind::<1500>(Membership::any(group).on(named(at)))?;
    send(group, from, &["one", "two", "three"])?;
    same(collect(&mut listener, 3)?, ["one", "two", "three"].map(String::from).into())
}

/// Waits until the link carries packets: it drops them for some time after its ends are up.
pub fn link_is_up() -> Outcome {
    let group = Group::new([239, 9, 0, 0], 5000)?;
    let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(named(ENDS[1])))?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        send(group, ENDS[0], &["is anybody there?"])?;
        std::thread::sleep(Duration::from_millis(2));
        if matches!(listener.recv()?, Received::Packet(_)) {
            return Ok(());
        }
    }
    Err("the link carries nothing".into())
}

fn truncated_and_empty() -> Outcome {
    let group = new_group()?;
    let mut listener = ListenOptions::new().bind::<8>(Membership::any(group).on(named("lo")))?;
    send(group, "lo", &["123456789", ""])?;
    let Received::Packet(packet) = listener.recv()? else { return Err("no packet".into()) };
    same((packet.payload(), packet.wire_length(), packet.is_truncated()), (b"12345678".as_slice(), 9, true))?;
    let Received::Packet(packet) = listener.recv()? else { return Err("no second packet".into()) };
    same((packet.payload(), packet.is_truncated()), (b"".as_slice(), false))?;
    same(listener.recv()?, Received::Empty)
}

fn poller_keeps_time_and_wakes() -> Outcome {
    let (poller, mut events) = (Poller::new()?, Events::<4>::new());
    for microseconds in [300, 1_500, 20_000] {
        let (time, start) = (Duration::from_micros(microseconds), Instant::now());
        same(poller.poll(&mut events, time)?.count(), 0)?;
        let took = start.elapsed();
        if took < time || took > time + Duration::from_millis(500) {
            return Err(format!("{took:?} for {time:?}").into());
        }
    }
    let waker = poller.waker()?;
    let waking = std::thread::spawn(move || waker.wake());
    same(poller.poll(&mut events, PATIENCE)?.count(), 0)?;
    waking.join().map_err(|_| "the thread failed")??;
    same(events.woken(), true)
}

fn filter_and_ledger() -> Outcome {
    let group = new_group()?;
    let membership = Membership::any(group).on(named("lo"));
    let mut listener = ListenOptions::new().filter(Prefix(b"NOTIFY ")).bind::<1500>(membership)?;
    let packets: Vec<String> =
        (0..100).map(|n| if n % 4 == 0 { format!("NOTIFY {n}") } else { format!("SEARCH {n}") }).collect();
    send_all(&mut SendOptions::new().interface(named("lo")).packets(group, &packets)?)?;
    let expected: Vec<String> = packets.into_iter().filter(|packet| packet.starts_with("NOTIFY ")).collect();
    same(collect(&mut listener, expected.len())?, expected)?;
    let counters = listener.counters();
    // Refused by the kernel or by us, but none is missing.
    same((counters.received, counters.rejected + counters.dropped.unwrap_or(0)), (25, 75))
}

fn in_the_kernel(group: Group, from: &str, at: &str) -> Outcome {
    let membership = Membership::any(group).on(named(at));
    let mut listener = ListenOptions::new().filter(Prefix(b"NOTIFY ")).bind::<1500>(membership)?;
    if listener.kernel_program(&mut [Instruction::ZERO; 256])?.to_string().is_empty() {
        return Err("the kernel has no program".into());
    }
    send(group, from, &["SEARCH"; 50])?;
    let (poller, mut events) = (Poller::new()?, Events::<4>::new());
    poller.register(&listener, Token(1), Interest::READABLE)?;
    same(poller.poll(&mut events, SILENCE)?.count(), 0)?;
    send(group, from, &["NOTIFY at last"])?;
    same(collect(&mut listener, 1)?, vec!["NOTIFY at last".into()])?;
    same(listener.counters().rejected, 0)
}

fn drops_are_counted() -> Outcome {
    let group = new_group()?;
    let membership = Membership::any(group).on(named("lo"));
    let mut listener = ListenOptions::new().receive_buffer(4096).bind::<1500>(membership)?;
    send_all(&mut SendOptions::new().interface(named("lo")).packets(group, [[7; 100]; 200])?)?;
    let received = collect(&mut listener, 1)?.len() as u64;
    let dropped = listener.counters().dropped.ok_or("the kernel does not tell")?;
    if dropped == 0 {
        return Err("nothing was dropped: the case shows nothing".into());
    }
    same(received + dropped, 200)
}

fn coalescing() -> Outcome {
    let group = new_group()?;
    let mut buffer = vec![0; COALESCING_BUFFER];
    let buffer = buffer.as_mut_slice().try_into()?;
    let mut listener =
        ListenOptions::new().bind_coalescing(Membership::any(group).on(named("lo")), COALESCING_BUFFER, buffer)?;
    let packets: Vec<Vec<u8>> = (0..40).map(|n| vec![n; 500]).collect();
    send_all(&mut SendOptions::new().interface(named("lo")).batches::<16, _>(group, &packets)?)?;
    let (mut got, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while got.len() < packets.len() && Instant::now() < deadline {
        if let Received::Packet(packet) = listener.recv()? {
            got.push(packet.payload().to_vec());
        }
    }
    same(got == packets, true)
}

fn metadata(group: Group, source: IpAddr) -> Outcome {
    let membership = Membership::any(group).on(named(ENDS[1]));
    let mut listener = ListenOptions::new().metadata().bind::<1500>(membership)?;
    let options = SendOptions::new().interface(named(ENDS[0])).ttl(Ttl::new(7)).traffic_class(0xb8);
    send_all(&mut options.packets(group, ["told"])?)?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let Received::Packet(packet) = listener.recv()? else { continue };
        let metadata = packet.metadata().ok_or("no metadata")?;
        same(packet.source().ip(), source)?;
        same(metadata.destination, Some(group.address()))?;
        same(metadata.interface.map(|index| index.get()), Some(network::name_index(ENDS[1])?))?;
        same((metadata.hop_limit, metadata.traffic_class), (Some(7), Some(0xb8)))?;
        let stamp = SystemTime::UNIX_EPOCH + metadata.received_at().ok_or("no time stamp")?;
        let age = SystemTime::now().duration_since(stamp)?;
        return same(age < PATIENCE, true);
    }
    Err("no packet".into())
}

fn groups_of_a_port() -> Outcome {
    let group = |last| Group::new([239, 9, 7, last], 7000);
    let member = |last| Ok::<_, multicast::Error>(Membership::any(group(last)?).on(named("lo")));
    let mut listener = ListenOptions::new().bind::<1500>(Bind::Port(7000, Family::V4))?;
    let _other = ListenOptions::new().bind::<1500>(member(3)?)?;
    listener.join(&member(1)?)?;
    listener.join(&member(2)?)?;
    for (last, packet) in [(1, "first"), (3, "another's"), (2, "second")] {
        send(group(last)?, "lo", &[packet])?;
    }
    same(collect(&mut listener, 2)?, vec!["first".into(), "second".into()])?;
    listener.leave(&member(1)?)?;
    send(group(1)?, "lo", &["left"])?;
    send(group(2)?, "lo", &["last"])?;
    same(collect(&mut listener, 1)?, vec!["last".into()])
}

fn sources() -> Outcome {
    let group = new_group()?;
    let at = named(ENDS[1]);
    let mut listener = ListenOptions::new().bind::<1500>(Membership::source(group, ADDRESSES[0].into()).on(at))?;
    let mut stranger = ListenOptions::new().bind::<1500>(Membership::source(group, [10, 9, 8, 77].into()).on(at))?;
    send(group, ENDS[0], &["from the source"])?;
    same(collect(&mut listener, 1)?, vec!["from the source".into()])?;
    same(collect(&mut stranger, 0)?, Vec::new())?;
    let other = new_group()?;
    let any = Membership::any(other).on(at);
    let mut listener = ListenOptions::new().bind::<1500>(any)?;
    listener.block(&any, ADDRESSES[0].into())?;
    send(other, ENDS[0], &["blocked"])?;
    same(collect(&mut listener, 0)?, Vec::new())?;
    listener.unblock(&any, ADDRESSES[0].into())?;
    send(other, ENDS[0], &["heard again"])?;
    same(collect(&mut listener, 1)?, vec!["heard again".into()])
}

fn all_interfaces() -> Outcome {
    let group = new_group()?;
    let mut listener = ListenOptions::new().bind::<1500>(Membership::any(group).on(Interface::All))?;
    // One copy comes over the link, and one from our own end of it.
    send(group, ENDS[0], &["copied"])?;
    same(collect(&mut listener, 2)?, vec!["copied".into(), "copied".into()])
}

fn bound_to_its_interface() -> Outcome {
    let group: Group = "[ff15::9:7]:5007".parse()?;
    let there = Membership::any(group).on(named(ENDS[0]));
    let mut other = ListenOptions::new().bind::<1500>(there)?;
    let mut listener = ListenOptions::new().bind::<1500>(Bind::Interface(Membership::any(group).on(named(ENDS[1]))))?;
    // A copy comes in at each end, and to IPv6 a listener that joined at one is a member at both.
    send(group, ENDS[0], &["once"])?;
    same(collect(&mut other, 1)?, vec!["once".into()])?;
    same(collect(&mut listener, 1)?, vec!["once".into()])?;
    same(listener.join(&there).map_err(|error| error.kind()), Err(ErrorKind::OneInterface))
}

fn rejoin() -> Outcome {
    let group = new_group()?;
    let membership = Membership::any(group).on(named(ENDS[1]));
    let mut links = Links::watch()?;
    let mut listener = ListenOptions::new().bind::<1500>(membership)?;
    let mut book = Memberships::<1>::new();
    book.join(membership, &mut listener)?;
    network::delete_pair()?;
    network::make_pair()?;
    link_is_up()?;
    while let Some(change) = links.next()? {
        book.apply(&change, &mut listener)?;
    }
    send(group, ENDS[0], &["joined again"])?;
    same(collect(&mut listener, 1)?, vec!["joined again".into()])
}

fn limits_are_named() -> Outcome {
    let mut listener = ListenOptions::new().bind::<1500>(Bind::Port(7001, Family::V4))?;
    for last in 0..=200 {
        let membership = Membership::any(Group::new([239, 9, 6, last], 7001)?).on(named("lo"));
        if let Err(error) = listener.join(&membership) {
            same(error.kind(), ErrorKind::LimitReached)?;
            return same(error.to_string().contains("igmp_max_memberships"), true);
        }
    }
    Err("there is no limit".into())
}

fn compat_generator() -> Outcome {
    let group = new_group()?;
    let mut listener = Packets::new(compat::ListenOptions::new().group(group).interface(named("lo")))?;
    compat::sendto_with("test", compat::SendOptions::new().group(group).interface(named("lo")))?;
    compat::poll(PATIENCE)?;
    let packet = listener.next()?.ok_or("no packet")?;
    same(packet.payload(), b"test")
}

fn compat_handlers() -> Outcome {
    let group = new_group()?;
    let (sender, got) = std::sync::mpsc::channel();
    let handler = move |packet: &[u8], _: SocketAddr| {
        let _ = sender.send(packet.to_vec());
        if packet == b"last" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    MulticastListener::new(handler, compat::ListenOptions::new().group(group).interface(named("lo")))?;
    let options = compat::SendOptions::new().group(group).interface(named("lo"));
    compat::Multicaster::new(["first", "last"], options)?;
    compat::run(None, Duration::ZERO)?;
    same(got.try_iter().collect::<Vec<_>>(), vec![b"first".to_vec(), b"last".to_vec()])
}

fn regular_expression() -> Outcome {
    let group = new_group()?;
    let membership = Membership::any(group).on(named("lo"));
    let mut listener = ListenOptions::new().filter(multicast::filter::Regex::new(r"temp=\d+")?).bind::<1500>(membership)?;
    send(group, "lo", &["temp=x", "temp=21", "hum=4"])?;
    same(collect(&mut listener, 1)?, vec!["temp=21".into()])
}
