//! Listeners of every kind in any order of events, against a model: what comes was sent to a group that was joined, on an interface on
//! which it was joined, and all of that comes. In a private network: see `make test`.

use std::collections::HashSet;
use std::net::UdpSocket;

use crate::common::link::{Pair, is_alone, named, route_groups_to_lo};
use crate::common::{unique_group, unique_v6_group};
use multicast::filter::Prefix;
use multicast::{
    Bind, COALESCING_BUFFER, CoalescingListener, ErrorKind, Group, ListenOptions, Listener, Membership, Progress, Received,
    Receiver, Result, SendOptions,
};

type Wanted = Prefix<&'static [u8]>;
const FILTERS: [Wanted; 3] = [Prefix(b""), Prefix(b"k"), Prefix(b"n")];
/// `net.core.optmem_max`: of guard and filter the kernel takes both, mostly, or one, or none.
const ROOM: [&str; 8] = ["20", "400", "1000", "131072", "131072", "131072", "131072", "131072"];

/// A listener of one of the three kinds.
enum Any {
    Own(Listener<64, Wanted>),
    Lent(Receiver<Wanted>),
    Coalescing(CoalescingListener<'static, Wanted>),
}

macro_rules! with {
    ($any:expr, $listener:ident => $call:expr) => {
        match $any {
            Any::Own($listener) => $call,
            Any::Lent($listener) => $call,
            Any::Coalescing($listener) => $call,
        }
    };
}

impl Any {
    fn bind(kind: usize, options: ListenOptions<Wanted>, place: Bind) -> Result<Self> {
        Ok(match kind {
            0 => Self::Own(options.bind(place)?),
            1 => Self::Lent(options.bind_receiver(place, 64)?),
            _ => Self::Coalescing(options.bind_coalescing(place, 64, Box::leak(Box::new([0; COALESCING_BUFFER])))?),
        })
    }

    fn with_filter(self, filter: Wanted) -> Result<Self> {
        Ok(match self {
            Self::Own(listener) => Self::Own(listener.with_filter(filter)?),
            Self::Lent(listener) => Self::Lent(listener.with_filter(filter)?),
            Self::Coalescing(listener) => Self::Coalescing(listener.with_filter(filter)?),
        })
    }

    /// All that is queued, by the loop of the documentation.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let (mut buffer, mut packets) = ([0; 64], Vec::new());
        loop {
            let received = match self {
                Self::Own(listener) => listener.recv(),
                Self::Lent(listener) => listener.recv_into(&mut buffer),
                Self::Coalescing(listener) => listener.recv(),
            };
            match received.unwrap() {
                Received::Packet(packet) => packets.push(packet.payload().to_vec()),
                Received::Paused => continue,
                Received::Empty => return packets,
            }
        }
    }
}

/// Numbers that look random, and are the same at each run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// What the model says of a packet that has arrived at the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Must,
    May,
    Never,
}

struct Arrival {
    payload: Vec<u8>,
    /// Group and interface.
    at: (usize, usize),
    was_joined: bool,
    due: Due,
}

fn scenario(seed: u64, pairs: &[Pair; 2]) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let family = dice.below(3);
    let group = || if family == 0 { unique_group() } else { unique_v6_group([2, 5][family - 1]) };
    let first = group();
    let groups = [(); 4].map(|()| Group::new(group().address(), first.port()).unwrap());
    // What is sent on an end comes in at its other end; a member at the end itself gets a copy.
    let names = [pairs[0].a.as_str(), &pairs[0].b, &pairs[1].a, &pairs[1].b, "lo"];
    let other_end = [Some(1), Some(0), Some(3), Some(2), None];
    let membership = |(group, interface): (usize, usize)| Membership::any(groups[group]).on(named(names[interface]));

    let begin = (0, dice.below(names.len()));
    let by_port = Bind::Port(first.port(), first.family());
    let place =
        dice.of(&[Bind::Group(membership(begin)), Bind::Later(groups[0]), Bind::Interface(membership(begin)), by_port]);
    let (runs_in_kernel, kind) = (dice.below(3) > 0, dice.below(3));
    let mut options = ListenOptions::new().filter(FILTERS[0]).kernel_filter(runs_in_kernel).reuse_port(dice.below(2) == 0);
    if dice.below(2) == 0 {
        options = options.metadata();
    }
    let said = format!("seed {seed}: {place:?}, kind {kind}, {options:?}");
    let mut stranger = ListenOptions::new().kernel_filter(false).bind::<64>(by_port).unwrap();
    for at in (0..groups.len()).flat_map(|group| (0..names.len()).map(move |interface| (group, interface))) {
        stranger.join(&membership(at)).unwrap();
    }
    let mut listener = Any::bind(kind, options, place).unwrap();
    // Where the socket's own address keeps strangers out, what was queued when a group was left may still come.
    let has_guard = place == by_port || (family != 0 && matches!(place, Bind::Later(_)));
    let mut joined: HashSet<_> =
        if matches!(place, Bind::Later(_)) || place == by_port { None } else { Some(begin) }.into_iter().collect();
    let loopback = if family == 0 { "127.0.0.1" } else { "::1" };
    let unicast = UdpSocket::bind((loopback, 0)).unwrap();
    let (mut filter, mut arrivals, mut count) = (FILTERS[0], Vec::<Arrival>::new(), 0);
    let limit = |bytes: &str| std::fs::write("/proc/sys/net/core/optmem_max", bytes).unwrap();

    for _ in 0..40 {
        let event = dice.below(8);
        // Few, so that what was joined is left again; nobody but the stranger joins the other groups.
        let at = (if place == by_port { dice.below(2) } else { 0 }, dice.below(3));
        match event {
            0..=2 => {
                for _ in 0..dice.below(12) {
                    count += 1;
                    let (group, from) = (dice.below(groups.len()), dice.below(names.len()));
                    let payload = format!("{}{count}, group {group} on {from}", dice.of(&["k", "n"])).into_bytes();
                    if dice.below(6) == 0 {
                        // Refused where nobody is bound to it.
                        let _ = unicast.send_to(b"k: unicast", (loopback, first.port()));
                        continue;
                    }
                    let mut caster =
                        SendOptions::new().interface(named(names[from])).packets(groups[group], [&payload]).unwrap();
                    assert_eq!(caster.step().unwrap(), Progress::Sent(1), "{said}");
                    for interface in [Some(from), other_end[from]].into_iter().flatten() {
                        let was_joined = joined.contains(&(group, interface));
                        let due = if was_joined && payload.starts_with(filter.0) { Due::Must } else { Due::Never };
                        arrivals.push(Arrival { payload: payload.clone(), at: (group, interface), was_joined, due });
                    }
                }
            }
            3 | 4 => {
                for packet in listener.drain() {
                    let find = |due| arrivals.iter().position(|arrival| arrival.payload == packet && arrival.due == due);
                    let found = find(Due::Must).or_else(|| find(Due::May));
                    let text = String::from_utf8_lossy(&packet);
                    arrivals.swap_remove(found.unwrap_or_else(|| panic!("came and should not: {text}; {said}")));
                }
                let missing = arrivals.drain(..).find(|arrival| arrival.due == Due::Must);
                let text = missing.map(|arrival| String::from_utf8_lossy(&arrival.payload).into_owned());
                assert_eq!(text, None, "did not come; {said}");
            }
            5 => {
                limit(dice.of(&ROOM));
                let result = with!(&mut listener, listener => listener.join(&membership(at)));
                limit("131072");
                match result {
                    Ok(()) => drop(joined.insert(at)),
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::LimitReached | ErrorKind::OneInterface), "{error}; {said}")
                    }
                }
            }
            6 => {
                limit(dice.of(&ROOM));
                with!(&mut listener, listener => listener.leave(&membership(at))).unwrap();
                limit("131072");
                joined.remove(&at);
                for arrival in arrivals.iter_mut().filter(|arrival| arrival.at == at && arrival.due == Due::Must) {
                    arrival.due = if has_guard { Due::Never } else { Due::May };
                }
            }
            _ => {
                filter = dice.of(&FILTERS);
                limit(dice.of(&ROOM));
                match dice.below(3) {
                    0 => drop(with!(&mut listener, listener => listener.replace_filter(filter)).unwrap()),
                    1 => with!(&mut listener, listener => *listener.filter_mut().unwrap() = filter),
                    _ => listener = listener.with_filter(filter).unwrap(),
                }
                limit("131072");
                for arrival in arrivals.iter_mut().filter(|arrival| !arrival.payload.starts_with(filter.0)) {
                    arrival.due = Due::Never;
                }
            }
        }
        // What was queued before a group was joined again, or before a filter, is judged by what holds when it is read.
        if event >= 5 {
            for arrival in arrivals.iter_mut().filter(|arrival| arrival.due == Due::Never) {
                let is_joined = joined.contains(&arrival.at) || (!has_guard && arrival.was_joined);
                if is_joined && arrival.payload.starts_with(filter.0) {
                    arrival.due = Due::May;
                }
            }
        }
    }
}

#[test]
fn in_any_order_of_events_what_was_joined_comes_and_nothing_else() {
    // The limits are those of the whole network namespace.
    if !is_alone("in_any_order_of_events_what_was_joined_comes_and_nothing_else") {
        return;
    }
    route_groups_to_lo();
    let pairs = [Pair::new(), Pair::new()];
    std::fs::write("/proc/sys/net/ipv4/igmp_max_memberships", "100").unwrap();
    for seed in 1..=150 {
        scenario(seed, &pairs);
    }
}
