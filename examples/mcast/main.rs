//! `mcast`: multicast from the command line, built on the core of the crate. `mcast --help` tells how to use it.
//!
//! `demo.rs` is the place to begin reading: a listener, a multicaster and one poller. `listen.rs` and `send.rs` are the two
//! tools; the other files are what every tool needs: arguments, lines in, lines out, signals and time-outs.

mod arguments;
mod demo;
mod input;
mod limits;
mod listen;
mod output;
mod send;
mod stop;

use std::process::ExitCode;

use arguments::Command;
use stop::{Stop, complain};

const USAGE: &str = "\
Sends and receives multicast UDP packets.

Usage:
  mcast send [OPTION..] [TEXT.. | -]   send TEXT as one packet, or each line of standard input as one
  mcast listen [OPTION..]              print each packet that comes: ADDRESS:PORT PAYLOAD
  mcast demo                           send and receive a few packets on lo

Options of send:
  --to GROUP:PORT     where to; 224.0.42.42:4242 if not given, [ff02::4242]:4242 for IPv6
  --ttl TTL           how far: 0 to 255, host, subnet (if not given), site, region, continent, unrestricted
  --interface IF      by name, index or address; if not given, the one that the routing table names
  --count N           send TEXT N times
  --rate PPS          send so many packets a second at most, 0.5 for one in two seconds
  --no-loopback       no copies for listeners on this machine (on lo itself it changes nothing)

Options of listen:
  --from GROUP:PORT   what to listen to; 224.0.42.42:4242 if not given
  --interface IF      as above
  --filter REGEX      only packets that match from their first byte on; .*REGEX searches
  --mtu N             cut packets after N bytes, 1 to 65535; 4096 if not given
  --limit N           end after N printed packets
  --timeout SECONDS   end after this time in any case

Without TEXT, or with - for it, each line of standard input is sent when it is read, without its newline. A line that is too
long for UDP is reported and left out. Write -- before a TEXT that begins with a dash.

In printed packets a backslash is \\\\, and a byte that is no printable ASCII is \\xNN.

Exit status: 0 done, 1 failure or time-out, 2 wrong usage, 130 or 143 ended by SIGINT or SIGTERM (with the counters on standard
error), 141 nobody reads standard output any more.
";

fn main() -> ExitCode {
    let ended = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => output::print(USAGE),
        Ok(Command::Version) => output::print(concat!("mcast ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Send(order)) => send::run(order),
        Ok(Command::Listen(order)) => listen::run(order),
        Ok(Command::Demo) => demo::run(),
        Err(reason) => Err(Stop::Misused(reason)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            if let Some(reason) = stop.reason() {
                complain(&reason);
            }
            stop.exit_code()
        }
    }
}
