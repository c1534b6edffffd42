//! What `mcast watch` shows on a terminal.

use super::feed::Feed;
use super::stream::Stream;
use super::text::{micros, origin_name, seconds};
use super::watcher::Clock;
use crate::decimal::fixed;

/// The most important ones first: a narrow terminal cuts the others.
const HEAD: [&str; COLUMNS] = [
    "GROUP",
    "SOURCE",
    "STATE",
    "PACKETS/S",
    "BIT/S",
    "LOST",
    "CONTINUITY",
    "JITTER",
    "REORDERED",
    "PCR JITTER",
    "FORMAT",
    "INTERFACE",
];
const COLUMNS: usize = 12;

/// The rows of the table, the head first.
pub(super) fn rows(feeds: &[Feed], clock: &Clock) -> Vec<[String; COLUMNS]> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for feed in feeds {
        rows.extend(feed.streams.iter().map(|stream| row(feed, stream, clock)));
        if feed.streams.is_empty() {
            let mut row = [const { String::new() }; COLUMNS];
            let [group, _, state, .., interface] = &mut row;
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
        origin_name(feed, stream.origin),
        state,
        fixed(stream.rate.packets, 1),
        bits(stream.rate.bits),
        number(is_rtp, stream.rtp.counts.lost),
        number(is_transport, errors),
        time(stream.rtp.jitter(clock.clock_rate)),
        number(is_rtp, stream.rtp.counts.reordered),
        time(stream.transport.pcr_jitter().filter(|_| is_transport)),
        stream.format().to_owned(),
        feed.interface.clone(),
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
    use super::bits;

    #[test]
    fn rates_are_short() {
        assert_eq!([0.0, 9_999.0, 10_528_000.0, 5e10].map(bits), ["0", "9999", "10.5 M", "50.0 G"]);
    }
}
