//! A link that loses, duplicates, reorders, corrupts and delays packets. Exactly the packets of its plan arrive, the listener's
//! counters agree, and the listener never returns a corrupted packet.

use std::time::{Duration, Instant};

use multicast::{ListenOptions, Listener, Membership, Progress, SendOptions};

use crate::common::next_within;
use crate::network::{Host, interface};
use crate::peers::{Kind, PATIENCE, QUIET};
use crate::relay::{Fate, Random, Relay, arrivals};
use crate::trial::{Case, Trial};

/// How many packets are sent.
const COUNT: usize = 500;
const DELAY: Duration = Duration::from_millis(40);

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let perfect = "the link is perfect";
    let mended = "corrupted packets get a checksum that fits";
    vec![
        case("relay/loses-ipv4", perfect, |trial| relayed(trial, Kind::V4, 1, |_| Fate::Lose)),
        case("relay/loses-ipv6", perfect, |trial| relayed(trial, Kind::SiteLocal, 2, |_| Fate::Lose)),
        case("relay/doubles-ipv4", perfect, |trial| relayed(trial, Kind::V4, 3, |_| Fate::Double)),
        case("relay/doubles-ipv6", perfect, |trial| relayed(trial, Kind::LinkLocal, 4, |_| Fate::Double)),
        case("relay/reorders-ipv4", perfect, |trial| relayed(trial, Kind::V4, 5, overtaken)),
        case("relay/reorders-ipv6", perfect, |trial| relayed(trial, Kind::SiteLocal, 6, overtaken)),
        case("relay/corrupts-ipv4", mended, |trial| relayed(trial, Kind::V4, 7, corrupted)),
        case("relay/corrupts-ipv6-link-local", mended, |trial| relayed(trial, Kind::LinkLocal, 8, corrupted)),
        case("relay/corrupts-ipv6", mended, |trial| relayed(trial, Kind::SiteLocal, 9, corrupted)),
        case("relay/delays-ipv4", perfect, |trial| delays(trial, Kind::V4)),
        case("relay/delays-ipv6", perfect, |trial| delays(trial, Kind::SiteLocal)),
        case("relay/all-at-once-ipv4", mended, |trial| relayed(trial, Kind::V4, 10, anything)),
        case("relay/all-at-once-ipv6-link-local", mended, |trial| relayed(trial, Kind::LinkLocal, 11, anything)),
        case("relay/all-at-once-ipv6", mended, |trial| relayed(trial, Kind::SiteLocal, 12, anything)),
    ]
}

fn overtaken(random: &mut Random) -> Fate {
    Fate::Overtaken(1 + random.below(20))
}

fn corrupted(random: &mut Random) -> Fate {
    Fate::Corrupt(random.below(1 << 16))
}

fn anything(random: &mut Random) -> Fate {
    match random.below(4) {
        0 => Fate::Lose,
        1 => Fate::Double,
        2 => overtaken(random),
        _ => corrupted(random),
    }
}

/// The packet with this number. Long and short ones, which the kernel checks in different places; each with different bytes.
fn packet(seed: u64, number: usize) -> Vec<u8> {
    let mut random = Random(seed << 32 | number as u64);
    let length = if random.below(2) == 0 { 4 + random.below(60) } else { 100 + random.below(1300) };
    let mut bytes = (number as u32).to_be_bytes().to_vec();
    bytes.resize_with(length, || random.next() as u8);
    bytes
}

/// One in three packets does not just pass.
fn plan_of(seed: u64, fate: fn(&mut Random) -> Fate) -> Vec<Fate> {
    let mut random = Random(seed);
    (0..COUNT).map(|_| if random.below(3) == 0 { fate(&mut random) } else { Fate::Pass }).collect()
}

/// A sender, a receiver that listens, and the link between them.
struct Link {
    sender: Host,
    receiver: Host,
    listener: Listener<2000>,
    _relay: Relay,
}

impl Link {
    /// The link follows the plan, or, in a proof, does something else.
    fn new(kind: Kind, executed: Vec<Fate>, mended: bool) -> Self {
        let (sender, receiver) = (Host::new("sender"), Host::new("receiver"));
        let relay = Relay::start(&sender, &receiver, kind.group().port(), executed, mended);
        let membership = Membership::any(kind.group()).on(interface(0));
        let listener = receiver.within(|| ListenOptions::new().receive_buffer(1 << 22).bind(membership).unwrap());
        Self { sender, receiver, listener, _relay: relay }
    }

    /// How many datagrams the receiver's kernel has dropped because of their checksum.
    fn checksum_errors(&self, kind: Kind) -> usize {
        self.receiver.within(|| match kind {
            Kind::V4 => {
                let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
                let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
                let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
                let mut pairs = names.split(' ').zip(values.split(' '));
                pairs.find(|(name, _)| *name == "InCsumErrors").unwrap().1.parse().unwrap()
            }
            _ => {
                let text = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
                let line = text.lines().find(|line| line.starts_with("Udp6InCsumErrors")).unwrap();
                line.split_whitespace().nth(1).unwrap().parse().unwrap()
            }
        })
    }

    fn send(&self, kind: Kind, packets: Vec<Vec<u8>>) {
        self.sender.within(|| {
            let mut caster = SendOptions::new().interface(interface(0)).packets(kind.group(), packets).unwrap();
            while caster.step().unwrap() != Progress::Done {}
        });
    }
}

fn relayed(trial: &Trial, kind: Kind, seed: u64, fate: fn(&mut Random) -> Fate) {
    let plan = plan_of(seed, fate);
    let corrupted = plan.iter().filter(|fate| matches!(fate, Fate::Corrupt(_))).count();
    let expected = arrivals(&plan);
    // In a proof the link is perfect, unless the case is about checksums.
    let executed = if trial.works() || corrupted > 0 { plan } else { vec![Fate::Pass; COUNT] };
    let mut link = Link::new(kind, executed, !trial.works());
    link.send(kind, (0..COUNT).map(|number| packet(seed, number)).collect());
    let mut heard = Vec::new();
    while let Some(bytes) = next_within(&mut link.listener, if heard.len() < expected.len() { PATIENCE } else { QUIET }) {
        let number = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert!(bytes == packet(seed, number), "the listener returned a corrupted packet");
        heard.push(number);
    }
    assert!(heard == expected, "{} came, {} were expected, or in another order", heard.len(), expected.len());
    // The ledger: all that came is counted as received, and all that was dropped for its checksum is known.
    let counters = link.listener.counters();
    assert_eq!(
        (counters.received, counters.rejected, counters.truncated, counters.foreign),
        (expected.len() as u64, 0, 0, 0)
    );
    assert_eq!(link.checksum_errors(kind), corrupted);
    // Only those that were found corrupted when they were read: the others were never queued.
    assert!(counters.dropped.unwrap() <= corrupted as u64, "{counters:?}");
}

fn delays(trial: &Trial, kind: Kind) {
    let mut random = Random(99);
    let plan: Vec<Fate> = (0..100).map(|_| if random.below(2) == 0 { Fate::Delay(DELAY) } else { Fate::Pass }).collect();
    let mut link = Link::new(kind, trial.pick(plan.clone(), vec![Fate::Pass; plan.len()]), false);
    let start = Instant::now();
    link.send(kind, (0..plan.len()).map(|number| packet(99, number)).collect());
    let mut heard = vec![0; plan.len()];
    for _ in 0..plan.len() {
        let bytes = next_within(&mut link.listener, PATIENCE).expect("a packet is lost");
        let number = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert!(bytes == packet(99, number));
        assert!(plan[number] == Fate::Pass || start.elapsed() >= DELAY, "{number} was not delayed");
        heard[number] += 1;
    }
    assert_eq!(heard, vec![1; plan.len()], "each once");
    assert_eq!(next_within(&mut link.listener, QUIET), None);
}
