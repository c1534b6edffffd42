//! `mcast`: multicast from the command line, built on the core of the crate. `mcast --help` shows its usage.
//!
//! Start reading with `demo.rs`: a listener, a multicaster and one poller. `listen.rs` and `send.rs` are the two tools. The other
//! files are what every tool needs: arguments, input, output, signals and timeouts.

mod arguments;
mod decimal;
mod demo;
mod host;
mod input;
mod limits;
mod links;
mod listen;
mod output;
mod send;
mod standard;
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
  --ttl TTL           how far: 0 to 255, host, subnet, site, region, continent, unrestricted (default: subnet). With host, packets
                      leave all the same by an interface on which no program of this host has joined the group
  --interface IF      by name, index or address (default: the one that the routing table names). Or write it with the group:
                      [ff02::4242%eth0]:4242 or 239.1.2.3:5000%eth0
  --count N           send TEXT N times
  --rate PPS          send at most PPS packets per second; 0.5 is one in two seconds
  --give-up SECONDS   end with status 1 this long after the interface went, if it is not back (default: never)
  --no-loopback       no copies for listeners on this machine (no effect on lo)

Options of listen:
  --from GROUP:PORT   what to listen to (default: 224.0.42.42:4242)
  --interface IF      as above
  --filter REGEX      only packets that match from their first byte on; .*REGEX searches
  --mtu N             cut packets after N bytes, 1 to 65535 (default: 4096)
  --limit N           end after N printed packets
  --timeout SECONDS   end after this time, with status 1
  --give-up SECONDS   as above

Without TEXT, or with - for it, each line of standard input is sent when it is read, without its newline. A line that is too
long for UDP is reported and not sent. Write -- before a TEXT that begins with a dash.

In printed packets a backslash is \\\\, and a byte that is not printable ASCII is \\xNN. A packet that was cut ends with \\+N: N bytes
are missing.

An interface must exist when mcast starts. If it goes later, mcast says so, waits, and goes on when it is back.

listen prints its counters to standard error when it ends: received and printed; rejected by --filter; truncated, of those received;
dropped by the kernel, since its buffer was full; foreign, which are packets that came in and that it had not joined.

Exit status: 0 done, 1 failure or timeout, 2 wrong usage, 130 or 143 ended by SIGINT or SIGTERM (which stay ignored if they were
when mcast was started), 141 the reader of standard output is gone.
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
