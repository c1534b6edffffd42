//! Queues that refuse packets (`ENOBUFS`), for a while or for ever: how long a sender tries, and how many copies listeners on this
//! machine get. In a private network: see `make test`.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::link::{Pair, named, run};
use crate::common::{PATIENCE, QUIET, is_installed, next_within, unique_group, unique_v6_group};
use multicast::{
    AsFd, Error, ErrorKind, Family, Group, ListenOptions, Listener, Membership, Multicaster, Outcome, Progress, SendOptions,
    Sender,
};
use rustix::net::sockopt::{ip_multicast_loop, ipv6_multicast_loop};

/// The limit of these tests, the shortest one.
const LIMIT: Duration = Duration::from_secs(1);

/// What keeps the packets of a test from leaving, for ever.
#[derive(Clone, Copy, Debug)]
enum Dead {
    /// A shaper whose bucket is smaller than the packet.
    Shaper,
    /// A queue without room.
    NoRoom,
    /// A filter behind the queue.
    Filter,
}

impl Dead {
    /// All that can be made here.
    fn all() -> impl Iterator<Item = Self> {
        let filter = is_installed("nft").then_some(Self::Filter);
        [Self::Shaper, Self::NoRoom].into_iter().chain(filter)
    }

    fn begin(self, pair: &Pair) {
        let a = &pair.a;
        match self {
            Self::Shaper => run(&format!("tc qdisc add dev {a} root tbf rate 8mbit burst 900 limit 100000")),
            Self::NoRoom => run(&format!("tc qdisc add dev {a} root pfifo limit 0")),
            Self::Filter => {
                let hook = format!("type filter hook egress device {a} priority 0; policy accept;");
                let udp = "meta l4proto udp drop;";
                let rules = format!("table netdev {a} {{ chain out {{ {hook} {udp} }}; }}");
                let status = std::process::Command::new("nft").arg(rules).status().unwrap();
                assert!(status.success());
                String::new()
            }
        };
    }

    fn end(self, pair: &Pair) {
        match self {
            Self::Filter => run(&format!("nft delete table netdev {}", pair.a)),
            _ => run(&format!("tc qdisc del dev {} root", pair.a)),
        };
    }
}

/// A link whose one end sends to the group, a listener on this machine that gets copies, and one at the other end.
struct Scene {
    pair: Pair,
    group: Group,
    here: Listener<2000>,
    there: Listener<2000>,
}

impl Scene {
    fn new(family: Family) -> Self {
        let pair = Pair::new();
        let group = match family {
            Family::V4 => unique_group(),
            Family::V6 => unique_v6_group(5),
        };
        let listen = |end: &str| ListenOptions::new().bind(Membership::any(group).on(named(end))).unwrap();
        let (here, there) = (listen(&pair.a), listen(&pair.b));
        Self { pair, group, here, there }
    }

    fn options(&self) -> SendOptions {
        SendOptions::new().interface(named(&self.pair.a)).give_up_after(LIMIT)
    }

    fn sender(&self) -> Sender {
        self.options().open(self.group.family()).unwrap()
    }

    /// The packets that this machine got since the last call, by their first bytes.
    fn copies(&mut self) -> Vec<u8> {
        firsts(&mut self.here)
    }

    fn arrived(&mut self) -> Vec<u8> {
        firsts(&mut self.there)
    }
}

fn firsts(listener: &mut Listener<2000>) -> Vec<u8> {
    core::iter::from_fn(|| next_within(listener, QUIET)).map(|packet| packet[0]).collect()
}

/// A packet that no dead queue takes.
fn packet(first: u8) -> Vec<u8> {
    vec![first; 1000]
}

fn makes_copies(socket: &impl AsFd, family: Family) -> bool {
    match family {
        Family::V4 => ip_multicast_loop(socket).unwrap(),
        Family::V6 => ipv6_multicast_loop(socket).unwrap(),
    }
}

/// Steps until a packet was sent, or the error. Waits as it is told, but at most as long as a test may last.
fn until_sent<I: Iterator<Item: AsRef<[u8]>>, const BATCH: usize>(
    caster: &mut Multicaster<I, BATCH>,
) -> Result<usize, Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        match caster.step()? {
            Progress::Sent(count) => return Ok(count),
            Progress::Done => return Ok(0),
            Progress::Wait(time) => sleep(time),
            Progress::Blocked => sleep(Duration::from_millis(1)),
        }
        assert!(Instant::now() < end, "it never ends");
    }
}

/// As [`until_sent`], with a sender.
fn send(sender: &mut Sender, payload: &[u8], to: impl Into<SocketAddr>) -> Result<(), Error> {
    let (to, end) = (to.into(), Instant::now() + PATIENCE);
    loop {
        match sender.send(payload, to)? {
            Outcome::Sent => return Ok(()),
            Outcome::Wait(time) => sleep(time),
            Outcome::Blocked => sleep(Duration::from_millis(1)),
        }
        assert!(Instant::now() < end, "it never ends");
    }
}

fn assert_refused(result: Result<impl core::fmt::Debug, Error>, begin: Instant) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::QueueRefused, Some(105)));
    // A tick of the sender's clock is up to 70 milliseconds long.
    assert!(begin.elapsed() >= LIMIT - Duration::from_millis(70), "{:?}", begin.elapsed());
    for word in ["1000 bytes", "queue", "shaper", "egress filter"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_sender_whose_packet_is_never_taken_gives_up_after_one_local_copy() {
    for family in [Family::V4, Family::V6] {
        let mut scene = Scene::new(family);
        for dead in Dead::all() {
            let (mut sender, group) = (scene.sender(), scene.group);
            dead.begin(&scene.pair);
            let begin = Instant::now();
            assert_refused(send(&mut sender, &packet(1), group), begin);
            assert_eq!((scene.copies(), scene.arrived()), (vec![1], vec![]), "{dead:?} {family:?}");
            assert!(makes_copies(&sender, family), "copies are for the next packet again");
            dead.end(&scene.pair);
            send(&mut sender, &packet(2), group).unwrap();
            assert_eq!((scene.copies(), scene.arrived()), (vec![2], vec![2]), "{dead:?} {family:?}");
        }
    }
}

#[test]
fn a_multicaster_whose_packet_is_never_taken_gives_up_after_one_local_copy() {
    for family in [Family::V4, Family::V6] {
        let mut scene = Scene::new(family);
        for dead in Dead::all() {
            let mut caster = scene.options().packets(scene.group, [packet(1), packet(2)]).unwrap();
            dead.begin(&scene.pair);
            let begin = Instant::now();
            assert_refused(until_sent(&mut caster), begin);
            assert_eq!((scene.copies(), scene.arrived()), (vec![1], vec![]), "{dead:?} {family:?}");
            assert_eq!(caster.discard(), Some(packet(1)));
            dead.end(&scene.pair);
            assert_eq!(until_sent(&mut caster).unwrap(), 1);
            assert_eq!((scene.copies(), scene.arrived()), (vec![2], vec![2]), "{dead:?} {family:?}");
            assert!(makes_copies(&caster, family));
        }
    }
}

#[test]
fn each_packet_of_a_batch_that_is_never_taken_is_copied_once() {
    for family in [Family::V4, Family::V6] {
        let mut scene = Scene::new(family);
        for dead in Dead::all() {
            let packets: Vec<_> = (1..=6).map(packet).collect();
            let mut caster = scene.options().batches::<4, _>(scene.group, packets).unwrap();
            dead.begin(&scene.pair);
            let begin = Instant::now();
            assert_refused(until_sent(&mut caster), begin);
            assert_eq!((scene.copies(), scene.arrived()), (vec![1, 2, 3, 4], vec![]), "{dead:?} {family:?}");
            assert!(makes_copies(&caster, family));
            dead.end(&scene.pair);
            let sent: usize = core::iter::from_fn(|| Some(until_sent(&mut caster).unwrap()).filter(|sent| *sent > 0)).sum();
            assert_eq!((sent, scene.arrived()), (6, vec![1, 2, 3, 4, 5, 6]), "{dead:?} {family:?}");
            scene.copies();
        }
    }
}

#[test]
fn a_queue_that_takes_the_batch_later_has_copied_each_packet_once() {
    for family in [Family::V4, Family::V6] {
        let mut scene = Scene::new(family);
        for dead in Dead::all() {
            let packets: Vec<_> = (1..=9).map(packet).collect();
            let mut caster = scene.options().batches::<4, _>(scene.group, packets).unwrap();
            dead.begin(&scene.pair);
            for _ in 0..4 {
                let Progress::Wait(time) = caster.step().unwrap() else { panic!("{dead:?} took it") };
                sleep(time);
            }
            dead.end(&scene.pair);
            let sent: usize = core::iter::from_fn(|| Some(until_sent(&mut caster).unwrap()).filter(|sent| *sent > 0)).sum();
            let all: Vec<u8> = (1..=9).collect();
            assert_eq!((sent, scene.copies(), scene.arrived()), (9, all.clone(), all), "{dead:?} {family:?}");
            assert!(makes_copies(&caster, family));
        }
    }
}

#[test]
fn the_waits_become_longer_up_to_ten_milliseconds() {
    let scene = Scene::new(Family::V4);
    Dead::NoRoom.begin(&scene.pair);
    let (mut sender, group) = (scene.sender(), scene.group);
    let mut waits = || {
        let outcomes = core::iter::repeat_with(|| sender.send(&packet(1), group).unwrap());
        outcomes
            .map(|outcome| if let Outcome::Wait(time) = outcome { time.as_millis() } else { 0 })
            .take(7)
            .collect::<Vec<_>>()
    };
    assert_eq!(waits(), [1, 2, 4, 8, 10, 10, 10]);
    Dead::NoRoom.end(&scene.pair);
    assert_eq!(waits(), [0; 7]);
    Dead::NoRoom.begin(&scene.pair);
    assert_eq!(waits(), [1, 2, 4, 8, 10, 10, 10], "they begin again");
}

#[test]
fn another_packet_after_a_refused_one_reaches_local_listeners() {
    for family in [Family::V4, Family::V6] {
        let mut scene = Scene::new(family);
        let (mut sender, group) = (scene.sender(), scene.group);
        Dead::NoRoom.begin(&scene.pair);
        for first in [1, 1, 1, 2, 2, 1, 3] {
            assert!(matches!(sender.send(&packet(first), group).unwrap(), Outcome::Wait(_)));
        }
        Dead::NoRoom.end(&scene.pair);
        assert_eq!(sender.send(&packet(4), group).unwrap(), Outcome::Sent);
        assert_eq!((scene.copies(), scene.arrived()), (vec![1, 2, 1, 3, 4], vec![4]));
    }
}

#[test]
fn packets_that_are_tried_in_turn_are_given_up_as_one_is() {
    let scene = Scene::new(Family::V4);
    let (mut sender, group) = (scene.sender(), scene.group);
    Dead::NoRoom.begin(&scene.pair);
    let begin = Instant::now();
    let error = loop {
        let tried = [1, 2, 3].map(|first| sender.send(&packet(first), group));
        if let Some(error) = tried.into_iter().find_map(Result::err) {
            break error;
        }
        assert!(begin.elapsed() < PATIENCE, "it never ends");
        sleep(Duration::from_millis(10));
    };
    assert_eq!(error.kind(), ErrorKind::QueueRefused);
}

#[test]
fn a_packet_that_is_tried_long_after_another_was_given_up_has_its_whole_time() {
    let scene = Scene::new(Family::V4);
    let (mut sender, group) = (scene.sender(), scene.group);
    Dead::NoRoom.begin(&scene.pair);
    for _ in 0..8 {
        assert!(matches!(sender.send(&packet(1), group).unwrap(), Outcome::Wait(_)));
    }
    // Longer than the limit and what is left for packets in turn.
    sleep(2 * LIMIT + Duration::from_millis(200));
    let begin = Instant::now();
    assert_refused(send(&mut sender, &packet(2), group), begin);
}

#[test]
fn a_sender_of_a_multicaster_sends_between_the_tries_of_its_packet() {
    for family in [Family::V4, Family::V6] {
        let mut scene = Scene::new(family);
        let group = scene.group;
        let mut caster = scene.options().packets(group, [packet(1), packet(2)]).unwrap();
        // Takes short packets alone.
        Dead::Shaper.begin(&scene.pair);
        let begin = Instant::now();
        let mut short = 100;
        let refused = loop {
            match caster.step() {
                Ok(Progress::Wait(time)) => sleep(time),
                other => break other,
            }
            assert!(begin.elapsed() < PATIENCE, "what is sent between keeps it from ending");
            if short < 110 {
                assert_eq!(caster.sender().send(&[short], group).unwrap(), Outcome::Sent);
                short += 1;
            }
        };
        assert_refused(refused, begin);
        let between: Vec<u8> = (100..110).collect();
        assert_eq!(scene.arrived(), between);
        assert_eq!(scene.copies(), [vec![1], between].concat(), "each once");
        // And a multicaster takes over from a packet of its sender.
        assert_eq!(caster.discard(), Some(packet(1)));
        assert!(matches!(caster.sender().send(&packet(3), group).unwrap(), Outcome::Wait(_)));
        assert!(matches!(caster.step().unwrap(), Progress::Wait(_)));
        assert_eq!(scene.copies(), [3, 2]);
    }
}

#[test]
fn a_discarded_packet_leaves_the_next_one_its_copy() {
    if !is_installed("nft") {
        return;
    }
    let mut scene = Scene::new(Family::V4);
    let mut single = scene.options().packets(scene.group, [1, 2].map(packet)).unwrap();
    let mut batch = scene.options().batches::<2, _>(scene.group, [3, 4, 5].map(packet)).unwrap();
    Dead::Filter.begin(&scene.pair);
    assert!(matches!(single.step().unwrap(), Progress::Wait(_)));
    assert!(matches!(batch.step().unwrap(), Progress::Wait(_)));
    drop((single.discard(), batch.discard()));
    Dead::Filter.end(&scene.pair);
    assert_eq!(single.step().unwrap(), Progress::Sent(1));
    while batch.step().unwrap() != Progress::Done {}
    assert_eq!((scene.copies(), scene.arrived()), (vec![1, 3, 4, 2, 5], vec![2, 4, 5]));
}

#[test]
fn copies_that_the_options_turn_off_stay_off() {
    for family in [Family::V4, Family::V6] {
        let mut scene = Scene::new(family);
        let group = scene.group;
        let options = scene.options().loopback(false);
        let mut sender = options.open(family).unwrap();
        let mut caster = options.batches::<4, _>(group, (1..=8).map(packet).collect::<Vec<_>>()).unwrap();
        Dead::NoRoom.begin(&scene.pair);
        assert!(matches!(sender.send(&packet(9), group).unwrap(), Outcome::Wait(_)));
        assert!(matches!(caster.step().unwrap(), Progress::Wait(_)));
        Dead::NoRoom.end(&scene.pair);
        assert_eq!(sender.send(&packet(9), group).unwrap(), Outcome::Sent);
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        let batches = [3, 4].map(Progress::Sent);
        assert_eq!(
            [(); 2].map(|()| caster.step().unwrap()),
            batches,
            "the first of them is sent alone, and then batches again"
        );
        assert!(!makes_copies(&sender, family) && !makes_copies(&caster, family));
        assert_eq!((scene.copies(), scene.arrived()), (vec![], vec![9, 1, 2, 3, 4, 5, 6, 7, 8]));
    }
}

#[test]
fn a_packet_longer_than_the_send_buffer_is_an_error_at_the_second_try() {
    for family in [Family::V4, Family::V6] {
        let mut scene = Scene::new(family);
        let group = scene.group;
        // The smallest one.
        let options = scene.options().send_buffer(0);
        let mut sender = options.open(family).unwrap();
        // The second try shows that no packet before it is in the way.
        assert_eq!(sender.send(&[0; 9000], group).unwrap(), Outcome::Wait(Duration::from_millis(1)));
        let error = sender.send(&[0; 9000], group).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::TooLong, Some(105)));
        let said = "longer than the send buffer (SendOptions::send_buffer, net.core.wmem_max)";
        assert_eq!(error.to_string(), format!("send 9000 bytes to {}: {said}", SocketAddr::from(group)));
        let mut caster = options.packets(group, [vec![0; 9000], packet(1)]).unwrap();
        assert_eq!(caster.step().unwrap(), Progress::Wait(Duration::from_millis(1)));
        assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::TooLong);
        caster.discard();
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        assert_eq!((scene.copies(), scene.arrived()), (vec![1], vec![1]));
    }
}

#[test]
fn a_packet_that_waits_for_room_in_the_send_buffer_is_copied_when_it_leaves() {
    let mut scene = Scene::new(Family::V4);
    scene.pair.throttle(100_000, 100_000);
    let group = scene.group;
    // The smallest send buffer holds this long packet alone, and not beside another one.
    let long = vec![9; 5000];
    let options = scene.options().send_buffer(0);
    let listen = |end: &str| ListenOptions::new().bind::<8000>(Membership::any(group).on(named(end))).unwrap();
    let (mut here, mut there) = (listen(&scene.pair.a), listen(&scene.pair.b));
    let mut sender = options.open(Family::V4).unwrap();
    let mut waits = 0;
    // The bucket holds the first three.
    for first in 1..=6 {
        send(&mut sender, &packet(first), group).unwrap();
    }
    while let outcome @ (Outcome::Wait(_) | Outcome::Blocked) = sender.send(&long, group).unwrap() {
        waits += u32::from(outcome != Outcome::Blocked);
        sleep(Duration::from_millis(1));
    }
    assert!(waits > 0, "the test does not test");
    for listener in [&mut here, &mut there] {
        let seen: Vec<u8> =
            core::iter::from_fn(|| next_within(listener, Duration::from_secs(1))).map(|packet| packet[0]).collect();
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 9]);
    }
    drop(scene.copies());
}

#[test]
fn a_queue_that_drains_slowly_is_waited_for_longer_than_the_limit() {
    let mut scene = Scene::new(Family::V4);
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", scene.pair.a), "1").unwrap();
    // 142 bytes on the wire take 140 milliseconds. The queue holds 28 of them, of which 11 must leave to make room for the long one.
    run(&format!("tc qdisc add dev {} root tbf rate 8kbit burst 2000 limit 4000", scene.pair.a));
    let (mut sender, group) = (scene.sender(), scene.group);
    let mut short = 0;
    while sender.send(&[0; 100], group).unwrap() == Outcome::Sent {
        short += 1;
    }
    scene.copies();
    let begin = Instant::now();
    send(&mut sender, &[1; 1400], group).unwrap();
    assert!(begin.elapsed() > LIMIT, "the test does not test");
    assert_eq!(scene.copies(), [1]);
    assert!(short > 20, "{short}");
}

/// How many packets of 1,000 bytes cross a link of 1 Mbit per second, whose queue holds three of them.
const CROSSING: u32 = 300;

fn numbered() -> impl Iterator<Item = Vec<u8>> + 'static {
    (0..CROSSING).map(|number| [&number.to_be_bytes()[..], &[0; 996]].concat())
}

/// Sends all of them with `send`. Each must arrive once, there and on this machine.
fn assert_all_cross(send: impl FnOnce(SendOptions, Group)) {
    let pair = Pair::new();
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", pair.a), "1").unwrap();
    pair.throttle(1_000_000, 4000);
    let group = unique_group();
    let [here, there] = [&pair.a, &pair.b].map(|end| {
        let options = ListenOptions::new().receive_buffer(8 << 20);
        options.bind::<2000>(Membership::any(group).on(named(end))).unwrap()
    });
    send(SendOptions::new().interface(named(&pair.a)), group);
    let numbers = |mut listener: Listener<2000>| -> Vec<u32> {
        let packets = core::iter::from_fn(|| next_within(&mut listener, QUIET));
        packets.map(|packet| u32::from_be_bytes(packet[..4].try_into().unwrap())).collect()
    };
    let all: Vec<u32> = (0..CROSSING).collect();
    assert_eq!(numbers(there), all);
    assert_eq!(numbers(here), all, "copies");
    assert!(pair.queue_counters().1 > 10, "the test does not test");
}

#[test]
fn what_a_sender_sends_through_a_shaper_arrives_once_here_and_there() {
    assert_all_cross(|options, group| {
        let mut sender = options.open(Family::V4).unwrap();
        numbered().for_each(|packet| send(&mut sender, &packet, group).unwrap());
    });
}

#[test]
fn what_a_multicaster_sends_through_a_shaper_arrives_once_here_and_there() {
    assert_all_cross(|options, group| {
        let mut caster = options.packets(group, numbered()).unwrap();
        while until_sent(&mut caster).unwrap() > 0 {}
    });
}

#[cfg(feature = "std")]
#[test]
fn what_compat_sends_through_a_shaper_arrives_once_here_and_there() {
    use multicast::compat;

    for with_poller in [false, true] {
        assert_all_cross(|core, group| {
            let options = compat::SendOptions::new().group(group).core(|_| core);
            if with_poller {
                let poller = compat::Poller::new().unwrap();
                compat::Multicaster::new(numbered(), options.poller(&poller)).unwrap();
                poller.run(None, Duration::ZERO).unwrap();
            } else {
                compat::sendto_with(numbered(), options).unwrap();
            }
        });
    }
}
