//! `mcast`: multicast from the command line, built on the core of the crate. `mcast --help` shows its usage.
//!
//! Start reading with `demo.rs`: a listener, a multicaster and one poller. `listen.rs` and `send.rs` are the two tools. The other
//! files are what every tool needs: arguments, input, output, signals and timeouts.

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
  --to GROUP:PORT     where to send (default: 224.0.42.42:4242; for IPv6 for example [ff02::4242]:4242)
  --ttl TTL           how far: 0 to 255, host, subnet, site, region, continent, unrestricted (default: subnet)
  --interface IF      by name, index or address (default: the one that the routing table names)
  --count N           send TEXT N times
  --rate PPS          send at most PPS packets per second; 0.5 is one in two seconds
  --no-loopback       no copies for listeners on this machine (no effect on lo)

Options of listen:
  --from GROUP:PORT   what to listen to (default: 224.0.42.42:4242)
  --interface IF      as above
  --filter REGEX      only packets that match from their first byte on; .*REGEX searches
  --mtu N             cut packets after N bytes, 1 to 65535 (default: 4096)
  --limit N           end after N printed packets
  --timeout SECONDS   end after this time, with status 1

Without TEXT, or with - for it, each line of standard input is sent when it is read, without its newline. A line that is too
long for UDP is reported and not sent. Write -- before a TEXT that begins with a dash.

In printed packets a backslash is \\\\, and a byte that is not printable ASCII is \\xNN.

Exit status: 0 done, 1 failure or timeout, 2 wrong usage, 130 or 143 ended by SIGINT or SIGTERM (with the counters on standard
error), 141 standard output was closed.
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
