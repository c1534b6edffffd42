//! From signs to a verdict: the first stage that loses packets. Pure functions; the first sign that fits decides.
//!
//! ```text
//! link -> join -> heard? -> reverse path -> buffer, checksum, fragments, source, interface, port -> before IP -> firewall -> group -> silence
//! ```

/// Fewer packets than this may be anything: on every network there are some that nobody on this host wants.
pub(super) const FEW: u64 = 3;

/// A stage of the way. A packet that gets past all of them is heard, or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Heard, or sent.
    Sound,
    Link,
    Carrier,
    Ipv6,
    /// Joining the group failed.
    Join,
    GroupLimit,
    ReversePath,
    Buffer,
    Checksum,
    Fragments,
    /// The packets come from another source than the named one.
    Source,
    /// They come in on another interface.
    Interface,
    /// The group comes, but no socket takes it.
    Port,
    /// Dropped before IP: tc, XDP, a netdev chain.
    BeforeIp,
    FirewallIn,
    /// IP receives packets for groups that nobody has joined.
    Group,
    /// A bridge of this host does not forward the group.
    Bridge,
    /// The reports of the membership do not leave.
    Reports,
    /// Nothing came. The fault, if there is one, is outside.
    Silence,
    /// Something came, and what it was cannot be told.
    Undecided,
    Route,
    SourceAddress,
    FirewallOut,
    /// IP sent it, and the device did not.
    Queue,
}

/// What is known of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkSign {
    Up,
    Down,
    NoCarrier,
    Missing,
    Unknown,
}

/// What became of the packet that the doctor sent to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopSign {
    Heard,
    /// Lost, and IP did not see it.
    LostBeforeIp,
    Lost,
    /// Not sent.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinSign {
    Joined,
    /// Joined, but a program that does not share the port keeps the doctor from hearing.
    Deaf,
    /// A limit of the kernel was reached.
    Limit,
    /// The interface has no address of the family.
    NoAddress,
    Failed,
}

/// What decides why nothing is heard. Counters are differences over the time in which the doctor was joined; `None` is unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    pub(super) is_ipv6: bool,
    pub(super) link: LinkSign,
    /// IPv6 is switched off on the interface.
    pub(super) ipv6_is_off: bool,
    pub(super) join: JoinSign,
    pub(super) heard: u64,
    /// Packets that full buffers of others on the port dropped.
    pub(super) drops: u64,
    /// Programs of this host named sources, and the heard packets come from none of them.
    pub(super) refused_by_others: bool,
    /// Programs of this host joined on other interfaces only, while the packets come in on this one.
    pub(super) joined_elsewhere: bool,
    pub(super) reverse_path: Option<u64>,
    /// The kernel says that it would refuse the named source, and takes a neighbour.
    pub(super) refused_by_route: bool,
    pub(super) checksum: Option<u64>,
    /// Datagrams that wait for fragments, or gave up.
    pub(super) fragments: Option<u64>,
    /// Packets of joined groups that no socket took.
    pub(super) ignored: Option<u64>,
    /// Frames that the device received.
    pub(super) rx: Option<u64>,
    /// Those of them that IP did not see.
    pub(super) unseen: Option<u64>,
    /// A queue for incoming packets has dropped some.
    pub(super) ingress: bool,
    /// An XDP program is attached, and nearly nothing of what the device receives gets to IP.
    pub(super) xdp_takes: bool,
    /// Frames that the device dropped: then what is missing may be among them.
    pub(super) rx_dropped: Option<u64>,
    /// Packets that IP received and did not deliver.
    pub(super) lost: Option<u64>,
    /// Of IPv4: those of joined groups.
    pub(super) multicast: Option<u64>,
    pub(super) looped: LoopSign,
    /// Packets from sources that were not named.
    pub(super) from_others: u64,
    /// The packets were heard on another interface.
    pub(super) is_elsewhere: bool,
    /// The interface is a port of something that takes all its packets.
    pub(super) is_port: bool,
    /// A bridge forwards the group to nobody here.
    pub(super) bridge_blocks: bool,
    pub(super) reports_blocked: bool,
}

impl Signs {
    pub(super) fn verdict(&self) -> Stage {
        let some = |count: Option<u64>| count.is_some_and(|count| count > 0);
        let many = |count: Option<u64>| count.is_some_and(|count| count >= FEW);
        if let Some(stage) = before_listening(self.link, self.ipv6_is_off, self.join) {
            return stage;
        }
        if self.heard > 0 {
            return match () {
                () if self.drops > 0 => Stage::Buffer,
                () if self.refused_by_others => Stage::Source,
                () if self.joined_elsewhere => Stage::Interface,
                () => Stage::Sound,
            };
        }
        match self.looped {
            _ if self.is_port => Stage::Bridge,
            _ if some(self.reverse_path) || self.refused_by_route => Stage::ReversePath,
            _ if self.drops > 0 => Stage::Buffer,
            _ if some(self.checksum) => Stage::Checksum,
            _ if some(self.fragments) => Stage::Fragments,
            _ if self.from_others > 0 => Stage::Source,
            _ if self.is_elsewhere => Stage::Interface,
            _ if some(self.ignored) => Stage::Port,
            LoopSign::LostBeforeIp => Stage::BeforeIp,
            LoopSign::Lost if many(self.unseen) && !many(self.lost) => Stage::BeforeIp,
            LoopSign::Lost => Stage::FirewallIn,
            _ if many(self.unseen) && (self.ingress || self.xdp_takes) => Stage::BeforeIp,
            _ if many(self.rx) && many(self.lost) => self.not_delivered(),
            _ if many(self.rx_dropped) => Stage::Undecided,
            _ if self.bridge_blocks => Stage::Bridge,
            _ if self.reports_blocked => Stage::Reports,
            // What comes in may be of the group, and be taken by the program that holds the port.
            _ if self.join == JoinSign::Deaf && many(self.rx) => Stage::Undecided,
            // Frames that IP does not count may be of ARP, LLDP or another VLAN.
            _ if many(self.unseen) || self.rx.is_none() => Stage::Undecided,
            _ => Stage::Silence,
        }
    }

    /// IP received packets and did not deliver them, and the looped one was not lost.
    fn not_delivered(&self) -> Stage {
        let is_of_joined = self.multicast.is_some_and(|multicast| multicast >= FEW);
        match (self.is_ipv6, self.looped) {
            // A rule on the sender's address passes the looped packet.
            (false, _) if is_of_joined => Stage::FirewallIn,
            (false, _) if self.multicast.is_some() => Stage::Group,
            // IPv6 counts all groups alike, so only the looped packet tells a firewall from another group.
            (true, LoopSign::Heard) => Stage::Group,
            _ => Stage::Undecided,
        }
    }
}

fn before_listening(link: LinkSign, ipv6_is_off: bool, join: JoinSign) -> Option<Stage> {
    Some(match (link, join) {
        (LinkSign::Down | LinkSign::Missing, _) => Stage::Link,
        (LinkSign::NoCarrier, _) => Stage::Carrier,
        _ if ipv6_is_off => Stage::Ipv6,
        (_, JoinSign::Limit) => Stage::GroupLimit,
        (_, JoinSign::NoAddress) => Stage::SourceAddress,
        (_, JoinSign::Failed) => Stage::Join,
        (_, JoinSign::Joined | JoinSign::Deaf) => return None,
    })
}

/// What became of the packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentSign {
    Sent,
    /// A firewall or a policy forbade it.
    Denied,
    NoRoute,
    NoAddress,
    QueueRefused,
    Unknown,
}

/// What decides whether packets leave. Counters are differences over the whole wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendSigns {
    pub(super) link: LinkSign,
    pub(super) ipv6_is_off: bool,
    pub(super) join: JoinSign,
    pub(super) sent: SentSign,
    /// Packets that this host wanted to send, and those of them that passed the output chains; IPv4 counts both.
    pub(super) wanted: Option<u64>,
    pub(super) passed: Option<u64>,
    /// Packets to groups that IP sent, and packets of all kinds that devices sent: of IPv6 by this one, of IPv4 by all, since IPv4 counts no
    /// other way.
    pub(super) multicast: Option<u64>,
    pub(super) tx: Option<u64>,
}

impl SendSigns {
    pub(super) fn verdict(&self) -> Stage {
        if let Some(stage) = before_listening(self.link, self.ipv6_is_off, JoinSign::Joined) {
            return stage;
        }
        match self.sent {
            SentSign::Denied => return Stage::FirewallOut,
            SentSign::NoRoute => return Stage::Route,
            SentSign::NoAddress => return Stage::SourceAddress,
            SentSign::QueueRefused => return Stage::Queue,
            SentSign::Sent | SentSign::Unknown => {}
        }
        let none = Some(0);
        match self.sent {
            _ if self.wanted.is_some_and(|wanted| wanted >= FEW) && self.passed == none => Stage::FirewallOut,
            _ if self.is_stuck() => Stage::Queue,
            SentSign::Sent => Stage::Sound,
            _ if self.join == JoinSign::NoAddress => Stage::SourceAddress,
            _ => Stage::Undecided,
        }
    }

    /// Less than half of what IP sent left: the figures of IP and of the devices are not read at the same moment.
    fn is_stuck(&self) -> bool {
        let (Some(multicast), Some(tx)) = (self.multicast, self.tx) else { return false };
        multicast >= FEW && tx.saturating_mul(2) < multicast
    }
}
