//! How a membership is printed as JSON.

use serde::Serialize;

use super::{FilterState, Total};
use crate::host::groups::{Joined, Mode, Source};
use crate::host::holders::{Certainty, Holder};
use crate::host::sockets::Kind;
use crate::json::VERSION;

/// `kind` is `membership`.
#[derive(Serialize)]
pub(super) struct MembershipObject<'m> {
    version: u8,
    kind: &'static str,
    interface: &'m str,
    interface_index: u32,
    group_address: String,
    /// `include`: from the named sources alone; `exclude`: from all but the blocked ones; `unknown`: the figures fit both, or
    /// the sources could not be read.
    filter_mode: &'static str,
    sources: Vec<SourceObject>,
    /// How many sockets have joined, and the kernel itself.
    joins: u64,
    is_of_the_kernel: bool,
    holders: Vec<HolderObject<'m>>,
}

#[derive(Serialize)]
struct SourceObject {
    source_address: String,
    included_by_sockets: u64,
    excluded_by_sockets: u64,
}

#[derive(Serialize)]
struct HolderObject<'m> {
    /// `exact`: it was asked, and has joined; `bound` to the group; `candidate`: it takes all groups.
    certainty: &'static str,
    /// Null if it could not be asked.
    has_joined: Option<bool>,
    /// `udp`, `raw` or `other`.
    protocol: &'static str,
    /// Of a raw socket, the number of its protocol.
    protocol_number: Option<u16>,
    address: String,
    port: u16,
    uid: u32,
    inode: u64,
    /// Empty if they are not known.
    processes: Vec<ProcessObject<'m>>,
    dropped_packets: u64,
    queued_bytes: u64,
    /// Null if the kernel does not report it.
    buffer_bytes: Option<u32>,
    /// The interface that the socket is bound to; null if it is not, or if the kernel does not report it.
    bound_interface_index: Option<u32>,
}

#[derive(Serialize)]
struct ProcessObject<'m> {
    pid: u32,
    program: &'m str,
    descriptor: u32,
}

impl<'m> MembershipObject<'m> {
    pub(super) fn new(joined: &'m Joined, filter: &FilterState<'_>, holders: &[Holder<'m>]) -> Self {
        let source = |source: &&Source| SourceObject {
            source_address: source.source.to_string(),
            included_by_sockets: source.included,
            excluded_by_sockets: source.excluded,
        };
        Self {
            version: VERSION,
            kind: "membership",
            interface: &joined.interface,
            interface_index: joined.index,
            group_address: joined.group.to_string(),
            filter_mode: match filter.mode {
                Mode::Include => "include",
                Mode::Exclude => "exclude",
                Mode::Unknown => "unknown",
            },
            sources: filter.sources.iter().map(source).collect(),
            joins: joined.users,
            is_of_the_kernel: joined.is_of_the_kernel(),
            holders: holders.iter().map(HolderObject::new).collect(),
        }
    }
}

impl<'m> HolderObject<'m> {
    fn new(holder: &Holder<'m>) -> Self {
        let socket = holder.socket;
        let (certainty, has_joined) = match holder.certainty {
            Certainty::Exact => ("exact", Some(true)),
            Certainty::Bound { has_joined } => ("bound", has_joined),
            Certainty::Candidate => ("candidate", None),
        };
        let (protocol, protocol_number) = match socket.kind {
            Kind::Udp => ("udp", None),
            Kind::Raw(number) => ("raw", Some(number)),
            Kind::Other => ("other", None),
        };
        let processes = holder.processes.iter();
        Self {
            certainty,
            has_joined,
            protocol,
            protocol_number,
            address: socket.local.ip().to_string(),
            port: socket.local.port(),
            uid: socket.uid,
            inode: socket.inode,
            processes: processes
                .map(|process| ProcessObject { pid: process.pid, program: &process.program, descriptor: process.descriptor })
                .collect(),
            dropped_packets: socket.drops,
            queued_bytes: socket.queued,
            buffer_bytes: socket.details.as_ref().map(|details| details.buffer),
            bound_interface_index: socket.details.as_ref().map(|details| details.interface).filter(|index| *index > 0),
        }
    }
}

/// `kind` is `total`.
#[derive(Serialize)]
pub(super) struct TotalObject {
    version: u8,
    kind: &'static str,
    membership_count: usize,
    /// Each counts once for each of its memberships.
    holder_count: usize,
    candidate_count: usize,
    /// Of these holders the process is not known.
    unknown_holder_count: usize,
}

impl TotalObject {
    pub(super) fn new(total: &Total) -> Self {
        Self {
            version: VERSION,
            kind: "total",
            membership_count: total.memberships,
            holder_count: total.sockets,
            candidate_count: total.candidates,
            unknown_holder_count: total.strangers,
        }
    }
}
