//! An outbox whose packets leave in batches, on a link that changes. In a private network: see `make test`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::common;
use crate::common::link::{Pair, named, run};
use crate::common::{OnePacket, unique_group, unique_v6_group};
use multicast::{Group, ListenOptions, Listener, Membership, Multicaster, Outbox, Progress, SendOptions};

type Caster = Multicaster<Outbox<Vec<u8>, 64>, 64>;

/// The lengths of packets: none, small, just within the MTU and just beyond it, many fragments, the longest of IPv4.
const LENGTHS: [usize; 10] = [0, 0, 1, 100, 100, 1400, 1400, 1473, 8000, 65_507];

/// A random number below this one (xorshift).
fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below as u64) as usize
}

/// Fills the outbox with runs of packets of one length. Returns what it took.
fn fill(caster: &mut Caster, state: &mut u64) -> VecDeque<Vec<u8>> {
    let mut pushed = VecDeque::new();
    while !caster.items().is_full() {
        let (length, run) = (LENGTHS[random(state, LENGTHS.len())], 1 + random(state, 6));
        for _ in 0..run {
            let packet = vec![random(state, 256) as u8; length];
            if caster.items_mut().push(packet.clone()).is_ok() {
                pushed.push_back(packet);
            }
        }
    }
    pushed
}

/// Sends everything, and compares what arrives with what was pushed.
fn exchange(caster: &mut Caster, listener: &mut Listener<65_535>, mut pushed: VecDeque<Vec<u8>>) {
    let mut compare = |pushed: &mut VecDeque<Vec<u8>>| {
        while let Some(packet) = listener.recv().unwrap().packet() {
            let wanted = pushed.pop_front().expect("no packet more than was pushed");
            assert!(packet.payload() == wanted, "{} bytes instead of {}", packet.payload().len(), wanted.len());
        }
    };
    loop {
        match caster.step().unwrap() {
            Progress::Sent(_) => compare(&mut pushed),
            Progress::Done => break,
            Progress::Wait(time) => std::thread::sleep(time),
            Progress::Blocked => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    common::wait_until_mut("everything has arrived", || {
        compare(&mut pushed);
        pushed.is_empty()
    });
}

#[test]
fn packets_of_any_length_arrive_once_and_in_order_while_the_mtu_changes() {
    let pair = Pair::new();
    let mut state = u64::from(std::process::id()) << 1 | 1;
    println!("seed {state}");
    let groups: [Group; 2] = [unique_group(), unique_v6_group(5)];
    for group in groups {
        let listening = ListenOptions::new().receive_buffer(16 << 20);
        let mut listener = listening.bind::<65_535>(Membership::any(group).on(named(&pair.b))).unwrap();
        let options = SendOptions::new().interface(named(&pair.a));
        let mut caster: Caster = options.batches(group, Outbox::new()).unwrap();
        for mtu in [9000, 1280, 1500, 65_535, 1400, 1500] {
            for end in [&pair.a, &pair.b] {
                run(&format!("ip link set {end} mtu {mtu}"));
            }
            for _ in 0..4 {
                let pushed = fill(&mut caster, &mut state);
                exchange(&mut caster, &mut listener, pushed);
            }
        }
    }
}
