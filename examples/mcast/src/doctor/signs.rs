//! From what is known of a case to the signs that decide.

use multicast::ErrorKind;

use super::case::Case;
use super::checks::takes_all;
use super::ears::Looped;
use super::evidence::{Snapshot, setting_of};
use super::tree::{FEW, JoinSign, LinkSign, LoopSign, SendSigns, SentSign, Signs};
use crate::host::groups::Mode;
use crate::host::links::{DORMANT, LOOPBACK, UP};
use crate::host::sockets::Socket;

impl Case {
    #[inline(never)]
    pub(super) fn signs(&self) -> Signs {
        let index = self.place.index;
        let span = self.listening();
        let rx = span.traffic(index, |traffic| traffic.rx_packets);
        Signs {
            is_ipv6: self.is_ipv6(),
            link: self.link_sign(),
            ipv6_is_off: self.ipv6_is_off(),
            join: self.join_sign(),
            heard: self.heard.packets,
            drops: self.full_buffers().iter().map(|(_, drops)| drops).fold(0, |sum, drops| sum.saturating_add(*drops)),
            refused_by_others: self.refused_by_others().unwrap_or(false),
            joined_elsewhere: self.joined_elsewhere(),
            reverse_path: if self.is_ipv6() { None } else { self.excess("TcpExt:IPReversePathFilter") },
            refused_by_route: self.refused_by_route(),
            checksum: self.excess(self.counter("Udp:InCsumErrors", "Udp6InCsumErrors")),
            fragments: self.fragments(),
            ignored: self.excess(self.counter("Udp:IgnoredMulti", "Udp6IgnoredMulti")),
            rx,
            unseen: self.unseen(rx),
            ingress: self.ingress_drops().is_some_and(|drops| drops >= FEW),
            xdp_takes: self.xdp_takes(rx),
            rx_dropped: span.traffic(index, |traffic| traffic.rx_dropped),
            lost: self.lost(),
            multicast: self.multicast_of_joined(),
            looped: self.loop_sign(),
            from_others: self.others.as_ref().map_or(0, |heard| heard.packets),
            is_elsewhere: self.elsewhere.iter().any(|(_, heard)| heard.packets > 0),
            is_port: self.link().is_some_and(takes_all),
            bridge_blocks: self.bridge_blocks(),
            reports_blocked: self.reports_leave() == Some(false),
        }
    }

    #[inline(never)]
    pub(super) fn send_signs(&self) -> SendSigns {
        let whole = self.whole();
        let (wanted, passed) = if self.is_ipv6() {
            // IPv6 counts requests before the output chains, and discards after.
            (whole.grown_here("Ip6OutDiscards"), whole.grown_here("Ip6OutMcastPkts"))
        } else {
            (whole.grown("Ip:OutRequests"), whole.grown("Ip:OutTransmits").or_else(|| whole.grown("IpExt:OutMcastPkts")))
        };
        SendSigns {
            link: self.link_sign(),
            ipv6_is_off: self.ipv6_is_off(),
            join: self.join_sign(),
            sent: self.sent_sign(),
            wanted,
            passed,
            multicast: if self.is_ipv6() { whole.grown_here("Ip6OutMcastPkts") } else { whole.grown("IpExt:OutMcastPkts") },
            tx: if self.is_ipv6() { self.sent_by(|index| index == self.place.index) } else { self.sent_by(|_| true) },
        }
    }

    /// How many packets these interfaces sent over the whole time.
    pub(super) fn sent_by(&self, is_one: impl Fn(u32) -> bool) -> Option<u64> {
        let links = self.end.links.as_ref().ok()?.iter().filter(|link| is_one(link.index));
        let sent = |index| self.whole().traffic(index, |traffic| traffic.tx_packets);
        links.filter_map(|link| sent(link.index)).reduce(u64::saturating_add)
    }

    /// The name of a counter in the family of the case.
    pub(super) fn counter(&self, ipv4: &'static str, ipv6: &'static str) -> &'static str {
        if self.is_ipv6() { ipv6 } else { ipv4 }
    }

    /// How much a counter has grown while the doctor listened, without what it grows anyway: what grew before the doctor joined cannot
    /// be due to the group if nobody else had joined it.
    pub(super) fn excess(&self, counter: &str) -> Option<u64> {
        let listening = self.listening().grown(counter)?;
        match self.was_joined() {
            Some(false) => Some(listening.saturating_sub(self.quiet().grown(counter)?)),
            _ => Some(listening),
        }
    }

    pub(super) fn link_sign(&self) -> LinkSign {
        let Ok(links) = &self.end.links else { return LinkSign::Unknown };
        match links.iter().find(|link| link.index == self.place.index) {
            None => LinkSign::Missing,
            Some(link) if link.flags & UP == 0 => LinkSign::Down,
            Some(link) if link.carrier == Some(false) || link.state == Some(DORMANT) => LinkSign::NoCarrier,
            Some(_) => LinkSign::Up,
        }
    }

    pub(super) fn ipv6_is_off(&self) -> bool {
        self.is_ipv6() && setting_of("ipv6", &self.place.name, "disable_ipv6").is_some_and(|value| value != "0")
    }

    fn join_sign(&self) -> JoinSign {
        match self.join_kind() {
            None if self.deaf.is_some() => JoinSign::Deaf,
            None => JoinSign::Joined,
            Some(ErrorKind::LimitReached | ErrorKind::SourceLimitReached) => JoinSign::Limit,
            Some(ErrorKind::NoAddress) => JoinSign::NoAddress,
            Some(_) => JoinSign::Failed,
        }
    }

    /// The sockets of others on the port whose buffer was full, and how many packets each has dropped.
    pub(super) fn full_buffers(&self) -> Vec<(Socket, u64)> {
        let whole = self.whole();
        // What a socket's own filter rejects counts as drops, too, but not here.
        let full = [whole.grown("Udp:RcvbufErrors"), whole.grown("Udp6RcvbufErrors")];
        if full.iter().all(|grown| *grown == Some(0)) {
            return Vec::new();
        }
        whole.drops().into_iter().filter(|(socket, _)| self.takes_the_group(socket)).collect()
    }

    /// Whether programs of this host named sources, and none of them is a sender that was heard; `None` if they named none, or
    /// nothing was heard.
    pub(super) fn refused_by_others(&self) -> Option<bool> {
        let (Ok(joined), Ok(sources)) = (&self.start.joined, &self.sources) else { return None };
        let group = joined.iter().find(|joined| joined.group == self.address() && joined.index == self.place.index)?;
        let senders = &self.heard.senders;
        if group.mode(sources) != Mode::Include || senders.is_empty() {
            return None;
        }
        let is_named =
            |sender| sources.iter().any(|source| group.has(source) && source.source == sender && source.included > 0);
        Some(!senders.iter().any(|sender| is_named(*sender)))
    }

    fn joined_elsewhere(&self) -> bool {
        let is_taken = self.takers().is_ok_and(|takers| !takers.is_empty());
        let is_elsewhere =
            self.joined_by_others().is_ok_and(|indexes| !indexes.is_empty() && !indexes.contains(&self.place.index));
        is_taken && is_elsewhere
    }

    /// The kernel refuses the sender, and takes a neighbour: so it is not that nobody is joined. With named sources, a neighbour would be
    /// refused, too, but the named one would not.
    pub(super) fn refused_by_route(&self) -> bool {
        let is_refused = matches!(&self.ways.sender, Some(Err(errno)) if matches!(*errno, rustix::io::Errno::INVAL | rustix::io::Errno::XDEV));
        is_refused && (self.order.source.is_some() || matches!(self.ways.neighbour, Some(Ok(_))))
    }

    fn fragments(&self) -> Option<u64> {
        let span = self.listening();
        let asked = span.grown(self.counter("Ip:ReasmReqds", "Ip6ReasmReqds"))?;
        let done = span.grown(self.counter("Ip:ReasmOKs", "Ip6ReasmOKs"))?;
        let given_up = span.grown(self.counter("Ip:ReasmFails", "Ip6ReasmFails")).unwrap_or(0);
        let waiting = span.grown(self.counter("FRAG:inuse", "FRAG6:inuse")).unwrap_or(0);
        Some(if done == 0 { asked } else { given_up.max(waiting) })
    }

    /// Frames that the device received, and that IP did not. Never too many: the counter of IPv4 includes other interfaces.
    fn unseen(&self, rx: Option<u64>) -> Option<u64> {
        let span = self.listening();
        // Without IPv6 there is no such counter, and there are no such packets.
        let ipv6 = span.grown_here("Ip6InReceives").unwrap_or(0);
        Some(rx?.saturating_sub(span.grown("Ip:InReceives")?).saturating_sub(ipv6))
    }

    /// Frames that came in while the doctor listened, and that are for another VLAN or another host.
    pub(super) fn for_others(&self) -> Option<u64> {
        let of = |snapshot: &Snapshot| snapshot.traffic(self.place.index)?.rx_other_host;
        Some(of(&self.end)?.saturating_sub(of(&self.listen)?))
    }

    /// Whether an XDP program takes what comes in: so many frames that they are not of ARP or LLDP alone, and IP sees nearly none.
    fn xdp_takes(&self, rx: Option<u64>) -> bool {
        const PER_SECOND: u64 = 5;
        let (Some(rx), Some(unseen)) = (rx, self.unseen(rx)) else { return false };
        let unseen = unseen.saturating_sub(self.for_others().unwrap_or(0));
        let milliseconds = u64::try_from((self.order.time / 2).as_millis()).unwrap_or(u64::MAX);
        let is_much = unseen.saturating_mul(1_000) >= PER_SECOND.saturating_mul(milliseconds);
        let is_nearly_all = unseen.saturating_mul(10) >= rx.saturating_mul(9);
        self.link().is_some_and(|link| link.has_xdp) && is_much && is_nearly_all
    }

    pub(super) fn ingress_drops(&self) -> Option<u64> {
        let span = self.listening();
        let (before, after) = (span.before.ingress_drops(self.place.index)?, span.after.ingress_drops(self.place.index)?);
        Some(after.saturating_sub(before))
    }

    /// Packets that IP received, and neither delivered nor forwarded, for a reason that no other counter names.
    pub(super) fn lost(&self) -> Option<u64> {
        let span = self.listening();
        let of = |name: &str| match self.is_ipv6() {
            true => span.grown_here(&format!("Ip6{name}")),
            false => span.grown(&format!("Ip:{name}")),
        };
        let fragments = of("ReasmReqds").unwrap_or(0).saturating_sub(of("ReasmOKs").unwrap_or(0));
        let known = ["InDelivers", "InHdrErrors", "InAddrErrors", "InDiscards", "InUnknownProtos"];
        let forwarded = of(if self.is_ipv6() { "OutForwDatagrams" } else { "ForwDatagrams" });
        of("InDelivers")?;
        let known = known.iter().filter_map(|name| of(name)).chain(forwarded).fold(fragments, u64::saturating_add);
        let lost = of("InReceives")?.saturating_sub(known);
        // IPv6 counts packets to groups, whether they are joined or not.
        Some(if self.is_ipv6() { lost.min(of("InMcastPkts")?) } else { lost })
    }

    /// Of IPv4: packets of joined groups. `None` if they may be of another group than ours.
    fn multicast_of_joined(&self) -> Option<u64> {
        if self.is_ipv6() {
            return None;
        }
        let grown = self.excess("IpExt:InMcastPkts")?;
        let others =
            self.end.joined.as_ref().ok()?.iter().filter(|joined| joined.group.is_ipv4() && joined.group != self.address());
        // All hosts are members of this one.
        let others = others.filter(|joined| joined.group.to_string() != "224.0.0.1").count();
        (self.was_joined() == Some(false) || others == 0 || grown < FEW).then_some(grown)
    }

    /// Whether a processor dropped packets while the packet to itself was under way: a full queue drops those of everybody.
    pub(super) fn is_overloaded(&self) -> bool {
        self.loop_span().is_some_and(|span| span.grown("softnet:dropped") != Some(0))
    }

    fn loop_sign(&self) -> LoopSign {
        match (self.looped(), self.loop_span()) {
            _ if self.heard.packets > 0 => LoopSign::Heard,
            (Some(Looped::Heard), _) => LoopSign::Heard,
            (Some(Looped::Lost), Some(_)) if self.is_overloaded() => LoopSign::Unknown,
            (Some(Looped::Lost), Some(span)) => {
                let received = match self.is_ipv6() {
                    true => span.grown_here("Ip6InReceives"),
                    false => span.grown("Ip:InReceives"),
                };
                if received == Some(0) { LoopSign::LostBeforeIp } else { LoopSign::Lost }
            }
            _ => LoopSign::Unknown,
        }
    }

    /// Whether a bridge of this host keeps the group away.
    pub(super) fn bridge_blocks(&self) -> bool {
        let Some(link) = self.link() else { return false };
        let Some(bridge) = &link.bridge else { return false };
        let hears_querier = bridge.hears_querier.get(usize::from(self.is_ipv6())) == Some(&true);
        let is_forwarded = self
            .end
            .forwarded
            .as_ref()
            .map(|forwarded| forwarded.iter().any(|entry| entry.bridge == link.index && entry.group == self.address()));
        bridge.snoops == Some(true) && (hears_querier || bridge.is_querier == Some(true)) && is_forwarded == Ok(false)
    }

    /// Whether the reports of the doctor's own membership left this host; `None` if that cannot be told.
    pub(super) fn reports_leave(&self) -> Option<bool> {
        let is_new = self.was_joined() == Some(false) && self.joined.is_ok();
        let is_loopback = self.link().is_none_or(|link| link.flags & LOOPBACK != 0);
        if !is_new || is_loopback {
            return None;
        }
        let (quiet, span) = (self.quiet(), self.reporting());
        if self.is_ipv6() {
            let reports =
                span.grown_here("Icmp6OutMLDv2Reports")?.saturating_add(span.grown_here("Icmp6OutGroupMembResponses")?);
            let refused = span.grown_here("Ip6OutDiscards")?;
            return (reports > 0).then_some(true).or((refused > 0).then_some(false));
        }
        let left = span.grown("IpExt:OutMcastPkts")?;
        // Somebody else sends to groups, too.
        if quiet.grown("IpExt:OutMcastPkts")? > 0 {
            return None;
        }
        let transmitted = span.grown("Ip:OutTransmits").unwrap_or(left);
        let is_blocked = span.grown("Ip:OutRequests")? > 0 && transmitted == 0;
        (left > 0).then_some(true).or(is_blocked.then_some(false))
    }

    fn sent_sign(&self) -> SentSign {
        match self.looped() {
            Some(Looped::Heard | Looped::Lost) => SentSign::Sent,
            Some(Looped::Refused(error)) => match error.kind() {
                ErrorKind::Denied => SentSign::Denied,
                ErrorKind::Unreachable => SentSign::NoRoute,
                ErrorKind::NoAddress => SentSign::NoAddress,
                ErrorKind::QueueRefused => SentSign::QueueRefused,
                _ => SentSign::Unknown,
            },
            Some(Looped::NotTried(_)) | None => SentSign::Unknown,
        }
    }
}
