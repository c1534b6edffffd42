//! What `mcast watch` shows on a terminal.

use super::feed::Feed;
use super::stream::Stream;
use super::text::{micros, origin_name, seconds};
use super::watcher::Clock;
use crate::decimal::fixed;
use crate::table;
pub(super) use crate::table::is_possible;

const HEAD: [&str; COLUMNS] = [
    "GROUP",
    "INTERFACE",
    "SOURCE",
    "STATE",
    "FORMAT",
    "PACKETS/S",
    "BIT/S",
    "LOST",
    "REORDERED",
    "JITTER",
    "CONTINUITY",
    "PCR JITTER",
];
const COLUMNS: usize = 12;

/// Draws the table. The last one stays.
#[inline(never)]
pub(super) fn draw(feeds: &[Feed], clock: &Clock, is_last: bool) {
    table::draw(&rows(feeds, clock), is_last);
}

fn rows(feeds: &[Feed], clock: &Clock) -> Vec<[String; COLUMNS]> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for feed in feeds {
        rows.extend(feed.streams.iter().map(|stream| row(feed, stream, clock)));
        if feed.streams.is_empty() {
            let mut row = [const { String::new() }; COLUMNS];
            let [group, interface, _, state, ..] = &mut row;
            feed.group.clone_into(group);
            feed.interface.clone_into(interface);
            *state = format!("silent {} s", seconds(feed.silence(clock.now())));
            rows.push(row);
        }
    }
    rows
}

fn row(feed: &Feed, stream: &Stream, clock: &Clock) -> [String; COLUMNS] {
    let silence = clock.now().saturating_sub(stream.heard);
    let state = match (stream.is_gone, stream.alarmed) {
        (true, _) => format!("gone {} s", seconds(silence)),
        (false, Some(_)) => "losing".to_owned(),
        (false, None) => "heard".to_owned(),
    };
    let (is_rtp, is_transport) = (stream.rtp.is_known(), stream.transport.is_known());
    let number = |is_known: bool, number: u64| if is_known { number.to_string() } else { "-".to_owned() };
    let time = |jitter: Option<(u64, u64)>| jitter.map_or("-".to_owned(), |(now, _)| format!("{} us", micros(now)));
    let errors = stream.transport.counts.continuity_errors;
    [
        feed.group.clone(),
        feed.interface.clone(),
        origin_name(feed, stream.origin),
        state,
        stream.format().to_owned(),
        fixed(stream.rate.packets, 1),
        bits(stream.rate.bits),
        number(is_rtp, stream.rtp.counts.lost),
        number(is_rtp, stream.rtp.counts.reordered),
        time(stream.rtp.jitter(clock.clock_rate)),
        number(is_transport, errors),
        time(stream.transport.pcr_jitter().filter(|_| is_transport)),
    ]
}

/// Bits a second, with three or more digits.
fn bits(rate: f64) -> String {
    match rate {
        1e10.. => fixed(rate / 1e9, 1) + " G",
        1e7.. => fixed(rate / 1e6, 1) + " M",
        1e4.. => fixed(rate / 1e3, 1) + " k",
        _ => fixed(rate, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        assert_eq!([0.0, 9_999.0, 10_528_000.0, 5e10].map(bits), ["0", "9999", "10.5 M", "50.0 G"]);
    }
}
