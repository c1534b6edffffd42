//! `mcast test`: numbered and stamped packets, and what the network does to them.
//!
//! | file | has |
//! |---|---|
//! | `packet`, `numbers` | the layout of a packet, and how packets are made |
//! | `send`, `casters` | `mcast test send`, and its sockets |
//! | `window`, `latency`, `stream`, `streams` | statistics: without sockets, and in bounded memory |
//! | `receive`, `text`, `json` | `mcast test receive`, and how it prints |

mod casters;
#[cfg(feature = "json")]
mod json;
mod latency;
mod numbers;
mod packet;
mod receive;
mod send;
mod stream;
mod streams;
mod text;
mod window;

use lexopt::Parser;

use crate::options::{self, Argument};
use crate::stop::Stop;

pub(crate) const HELP: &str = "\
Tests a network with numbered and stamped packets: what is lost, reordered, duplicated, and how long it takes.

Usage: mcast test send [--to TARGET].. [OPTION..]
       mcast test receive [--from TARGET].. [OPTION..]

Options of test send, which tells the total at its end, so that the loss of the last packets is known, too:
  --to TARGET          [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable (default: 224.0.42.42:4242)
  --count N            end after N packets (default: when it is stopped)
  --rate PPS           packets per second (default: 100)
  --size N             the payload of each packet: 32 to 65507 bytes (default: 64)
  --ttl TTL, --no-loopback: as of mcast send
  --timeout SECONDS    end after this time, with status 0
  --interface, --json, --quiet, --give-up: see mcast --help

Options of test receive, which prints a line a second for each group and source, or a table on a terminal:
  --from TARGET        as above
  --once               end when each sender that was heard has told its end
  --max-loss PERCENT   status 4 if more of the expected packets of a source are lost
  --max-latency MS     status 4 if a packet took longer; status 1 if the clocks do not agree
  --interval SECONDS   the time from one report to the next (default: 1)
  --buffer BYTES       the receive buffer to ask for (default: 67108864)
  --limit N            end after N packets; status 4 if --timeout comes first
  --timeout SECONDS    end after this time; status 3 if nothing was heard
  --interface, --json, --quiet, --give-up: see mcast --help

A packet is lost if its number is missing, and reordered if a higher one came before it (RFC 4737); a duplicate is counted apart. The
jitter is that of RFC 3550. The latency needs clocks that agree: if a packet comes before it was sent, or more than 10 seconds after,
it says so instead. At the end, sent is received plus lost, plus those that were sent before the receiver heard the first one.

At its end test receive prints counters to standard error: received; dropped by the kernel, since its buffer was full, which are among
the lost ones; others, which are no packets of mcast test send; beyond, which are packets of more than 64 sources of a group.

Example:
  mcast test receive --from 239.1.2.3:5000 --interface lo --once --timeout 10 --max-loss 0 &
  mcast test send --to 239.1.2.3:5000 --interface lo --count 100
";

#[inline(never)]
pub(crate) fn run(mut parser: Parser) -> Result<(), Stop> {
    match options::next(&mut parser)? {
        Some(Argument::Option(name)) if name == "help" => Err(Stop::Help),
        Some(Argument::Value(what)) if what == "send" => send::run(parser),
        Some(Argument::Value(what)) if what == "receive" => receive::run(parser),
        Some(argument) => Err(options::unexpected(argument)),
        None => Err(Stop::misused("write send or receive after test".to_owned())),
    }
}
