//! The cases, one file for each group.

mod adjacent;
mod burst;
mod coalesced;
mod compat;
mod drain;
mod filters;
mod flood;
mod floor;
mod link;
mod live;
mod question;
mod rate;
mod registered;
mod round_trip;
mod send;

use std::cell::RefCell;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use rustix::net::sockopt;

use crate::Outcome;
use crate::machine::Machine;
use crate::measure::{Sample, Series};
use crate::plan::Plan;
use crate::worker::{Answer, Filler, Job, Peer, Worker};
use crate::workshop::Program;

/// The size of packets for most peers and goals.
const SMALL: usize = 64;
const SIZES: [usize; 3] = [SMALL, 512, 1400];

/// The receive buffer that every peer asks for, and the most that a packet takes of it beside its payload.
const RECEIVE_BUFFER: usize = 4 << 20;
const BOOKKEEPING: usize = 1100;

pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Bench) -> Outcome<Vec<Series>>,
}

pub(crate) const GROUPS: &[Group] = &[
    Group { name: "drain", run: drain::run },
    Group { name: "coalesced", run: coalesced::run },
    Group { name: "burst", run: burst::run },
    Group { name: "send", run: send::run },
    Group { name: "round-trip", run: round_trip::run },
    Group { name: "registered", run: registered::run },
    Group { name: "compat", run: compat::run },
    Group { name: "rate", run: rate::run },
    Group { name: "filters", run: filters::run },
    Group { name: "flood", run: flood::run },
    Group { name: "floor", run: floor::run },
    Group { name: "adjacent", run: adjacent::run },
    Group { name: "live", run: live::run },
    Group { name: "question", run: question::run },
    Group { name: "link", run: link::run },
];

/// Shared by all cases.
pub(crate) struct Bench {
    plan: Plan,
    sender_cpu: usize,
    receiver_cpu: usize,
    filler: RefCell<Filler>,
    /// The tasks and ways of the Rust peers, as their program lists them.
    ways: Vec<String>,
    /// The receive buffer that the kernel grants.
    granted: usize,
}

impl Bench {
    pub(crate) fn new(plan: Plan, machine: &Machine) -> Outcome<Self> {
        let mut words = Program::Release.command()?.into_iter();
        let list = Command::new(words.next().ok_or("no program")?).args(words).arg("list").output()?;
        Ok(Self {
            plan,
            sender_cpu: machine.sender_cpu,
            receiver_cpu: machine.receiver_cpu,
            filler: RefCell::new(Filler::start(machine.sender_cpu)?),
            ways: String::from_utf8(list.stdout)?.lines().map(str::to_owned).collect(),
            granted: granted()?,
        })
    }

    /// Those of the peers that exist: some ways of the measured crate are not written yet.
    fn present(&self, task: &str, peers: &[Peer]) -> Vec<Peer> {
        let is_written = |peer: &Peer| match peer.program {
            Program::Release | Program::Z => self.ways.contains(&format!("{task} {}", peer.way)),
            Program::C | Program::Python => true,
        };
        peers.iter().filter(|peer| is_written(peer)).copied().collect()
    }

    /// A receiver in a group that no other uses.
    fn receiver(&self, task: &'static str, peer: &Peer, size: usize, number: usize) -> Outcome<(Worker, Ipv4Addr)> {
        let group = crate::network::new_group();
        let job = Job { task, cpu: self.receiver_cpu, group, size, number };
        Ok((Worker::start(peer, &job)?, group))
    }

    fn fill(&self, group: Ipv4Addr, size: usize, packets: u64, coalesced: bool) -> Outcome<()> {
        self.filler.borrow_mut().fill(group, size, packets, coalesced)
    }

    /// The plan of cases whose goals are within the noise of the others: nearly twice as many repetitions.
    const fn precise(&self) -> Plan {
        Plan { repetitions: 2 * self.plan.repetitions - 1, ..self.plan }
    }

    /// How many packets of this size a turn has: at most as many as the receive buffer holds.
    fn packets(&self, size: usize) -> u64 {
        self.plan.packets.min(self.capacity(size))
    }

    /// The same for peers with many packets per call: more.
    fn many_packets(&self, size: usize) -> u64 {
        (4 * self.plan.packets).min(self.capacity(size))
    }

    /// How many packets of this size the receive buffer holds at least.
    fn capacity(&self, size: usize) -> u64 {
        (self.granted / (size + BOOKKEEPING)) as u64
    }

    /// The sample of an answer. No packets at all are an error, and in a test each missing packet is.
    fn sample(&self, worker: &Worker, answer: &Answer, expected: u64, size: usize) -> Outcome<Sample> {
        let complete = answer.packets == expected && answer.bytes == expected * size as u64;
        if answer.packets == 0 || (self.plan.strict && !complete) {
            let Answer { packets, bytes, .. } = answer;
            return Err(format!("{}: {packets} packets, {bytes} bytes, of {expected} packets", worker.called()).into());
        }
        Ok(Sample::of(answer, expected))
    }
}

/// The receive buffer that the kernel grants to all peers.
fn granted() -> Outcome<usize> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    Ok(sockopt::socket_recv_buffer_size(&socket)?)
}

/// A Rust peer, named after its way.
const fn rust(program: Program, way: &'static str) -> Peer {
    Peer { name: way, program, way }
}

const fn c(name: &'static str, way: &'static str) -> Peer {
    Peer { name, program: Program::C, way }
}

/// Python has one way for each task, so the name of the way does not matter.
const PYTHON: Peer = Peer { name: "python", program: Program::Python, way: "plain" };

/// The suffix that distinguishes the cases of the two profiles.
fn suffix(program: Program) -> &'static str {
    if program == Program::Z { "-z" } else { "" }
}
