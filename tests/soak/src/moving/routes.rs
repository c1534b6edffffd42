//! The route to a group changes its link ten times a second. A listener is a member at the other end of both links: each packet comes once.

use std::time::{Duration, Instant};

use multicast::{Bind, Group, Interface, Links, ListenOptions, Membership, Memberships, SendOptions};

use super::{Pair, ip};
use crate::gate::Gate;
use crate::host;
use crate::items::{Items, item};
use crate::ledger::{Ledger, Result};
use crate::senders::send_one;
use crate::stations::Station;

const BURST: usize = 150;
const PAIRS: [Pair; 2] = [Pair { a: "soakc", b: "soakd", number: 2 }, Pair { a: "soake", b: "soakf", number: 3 }];

fn set_route(place: usize) -> Result<()> {
    let Some(Pair { a, .. }) = PAIRS.get(place % 2) else { return Ok(()) };
    ip(&format!("route replace 239.78.0.0/16 dev {a}"))?;
    ip(&format!("-6 route replace multicast ff15:0:78::/48 dev {a} table local metric 1")).map(drop)
}

/// Changes both routes, ten times a second, until all is over.
pub fn switch(gate: &Gate, ledger: &Ledger) -> Result<()> {
    let mut place = 0;
    let mut next = Instant::now();
    loop {
        let Some(done) = gate.turn(|| match place {
            0 => PAIRS.iter().try_for_each(Pair::create).and_then(|()| set_route(0)),
            _ => set_route(place),
        }) else {
            return Ok(());
        };
        done?;
        ledger.sent("route changes", 2);
        place += 1;
        next += Duration::from_millis(100);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Sends by these routes until all is over.
pub fn send_on(gate: &Gate, ledger: &Ledger) -> Result<()> {
    let text = |error: multicast::Error| error.to_string();
    let groups = ["239.78.1.1:9003", "[ff15:0:78::1]:9004"];
    let kinds =
        [("route that changes, send", "route that changes"), ("v6 route that changes, send", "v6 route that changes")];
    // The other thread makes the links.
    while !gate.is_over() && gate.turn(|| ledger.seen("route changes") == 0) == Some(true) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut lanes, mut links) = (Vec::new(), Links::watch().map_err(text)?);
    for (group, kinds) in groups.into_iter().zip(kinds) {
        let group: Group = group.parse().map_err(text)?;
        let mut listener = ListenOptions::new().bind::<1500>(Bind::Later(group)).map_err(text)?;
        let mut book = Memberships::<2>::new();
        for pair in &PAIRS {
            let interface: Interface = pair.b.parse().map_err(text)?;
            book.join(Membership::any(group).on(interface), &mut listener).map_err(text)?;
        }
        if book.pending().next().is_some() {
            return Err(format!("{}: it is not joined", kinds.1));
        }
        let sender = SendOptions::new().open(group.family()).map_err(text)?;
        let caster = SendOptions::new().later().packets(group, Items { next: 0, left: 0 }).map_err(text)?;
        lanes.push((group, kinds, Station::new(kinds.1, listener, 1)?, sender, caster, 0_u64));
    }
    while let Some(done) = gate.turn(|| {
        host::begin_turn();
        for (group, kinds, station, sender, caster, next) in &mut lanes {
            // One half by a sender that asks the routing table for each packet, one by a multicaster that follows it.
            for number in *next..*next + BURST as u64 / 2 {
                send_one(sender, &item(number), *group).map_err(|error| format!("{}: {error}", kinds.0))?;
            }
            let followed = links.follow(caster).map_err(text)?;
            if let Some(error) = followed.failed {
                return Err(format!("{}: {error}", kinds.0));
            }
            *caster.items_mut() = Items { next: *next + BURST as u64 / 2, left: BURST / 2 };
            crate::senders::step_all(caster, BURST / 2).map_err(|error| format!("{}: {error}", kinds.0))?;
            *next += BURST as u64;
            station.sent += BURST as u64;
            ledger.sent(kinds.0, BURST as u64);
            let missing = station.missing();
            station.settle(*next, ledger)?;
            if station.missing() > missing {
                return Err(format!("{}: packets are missing", kinds.1));
            }
        }
        Ok(())
    }) {
        done?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
