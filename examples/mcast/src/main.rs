//! `mcast`: multicast from the command line, built on the core of the crate. `mcast --help` lists its commands.
//!
//! Start reading with `demo.rs`: a listener, a sender and one poller. Each command is a file or a folder with its name, and a feature of
//! the package. The other files are what commands share:
//!
//! | file | has |
//! |---|---|
//! | `options`, `target`, `decimal` | the command line |
//! | `places`, `receivers`, `senders` | sockets that follow their interfaces |
//! | `figures`, `table` | what is printed of losses and times, and bounds for it |
//! | `input`, `output`, `standard`, `progress` | standard streams, the terminal |
//! | `host` | what the kernel tells about this host |
//! | `format`, `hex`, `interfaces` | how packets are printed and written; the names of interfaces |
//! | `json` | what all JSON objects have in common |
//! | `limits`, `outage`, `stop` | what ends a command: signals, times, links that are gone, errors |

// A part of the commands needs a part of what they share.
#![cfg_attr(not(feature = "default"), allow(dead_code, unused_imports))]

#[cfg(feature = "answer")]
mod answer;
#[cfg(feature = "ask")]
mod ask;
mod decimal;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "doctor")]
mod doctor;
#[cfg(any(feature = "ping", feature = "test"))]
mod figures;
#[cfg(any(feature = "answer", feature = "ask", feature = "listen"))]
mod format;
#[cfg(any(feature = "answer", feature = "ask", feature = "send"))]
mod hex;
#[cfg(any(feature = "doctor", feature = "who"))]
mod host;
#[cfg(any(feature = "ask", feature = "send"))]
mod input;
mod interfaces;
#[cfg(feature = "json")]
mod json;
mod limits;
#[cfg(feature = "listen")]
mod listen;
mod options;
mod outage;
mod output;
#[cfg(all(feature = "filter", any(feature = "answer", feature = "listen")))]
mod pattern;
#[cfg(feature = "ping")]
mod ping;
mod places;
mod progress;
mod receivers;
#[cfg(feature = "record")]
mod record;
#[cfg(feature = "relay")]
mod relay;
#[cfg(feature = "replay")]
mod replay;
#[cfg(feature = "send")]
mod send;
mod senders;
mod standard;
mod stop;
#[cfg(any(feature = "test", feature = "watch"))]
mod table;
mod target;
#[cfg(feature = "test")]
mod test;
#[cfg(feature = "watch")]
mod watch;
#[cfg(feature = "who")]
mod who;

use std::process::ExitCode;

use lexopt::Parser;
use options::Argument;
use stop::{Stop, complain};

struct Command {
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(Parser) -> Result<(), Stop>,
}

const COMMANDS: &[Command] = &[
    #[cfg(feature = "listen")]
    Command { name: "listen", summary: "print each packet that comes", help: listen::HELP, run: listen::run },
    #[cfg(feature = "send")]
    Command { name: "send", summary: "send a text, lines, or a file", help: send::HELP, run: send::run },
    #[cfg(feature = "ask")]
    Command { name: "ask", summary: "ask a group, and print the answers", help: ask::HELP, run: ask::run },
    #[cfg(feature = "answer")]
    Command { name: "answer", summary: "answer what a group is asked", help: answer::HELP, run: answer::run },
    #[cfg(feature = "record")]
    Command { name: "record", summary: "record packets in a file", help: record::HELP, run: record::run },
    #[cfg(feature = "relay")]
    Command { name: "relay", summary: "pass packets on, and answers back", help: relay::HELP, run: relay::run },
    #[cfg(feature = "replay")]
    Command { name: "replay", summary: "send the packets of a file", help: replay::HELP, run: replay::run },
    #[cfg(feature = "watch")]
    Command { name: "watch", summary: "watch streams, and raise alarms", help: watch::HELP, run: watch::run },
    #[cfg(feature = "ping")]
    Command { name: "ping", summary: "ask who answers to a group, and how fast", help: ping::PING, run: ping::ping },
    #[cfg(feature = "ping")]
    Command { name: "pong", summary: "answer to ping", help: ping::PONG, run: ping::pong },
    #[cfg(feature = "test")]
    Command { name: "test", summary: "measure loss, order, jitter and latency", help: test::HELP, run: test::run },
    #[cfg(feature = "who")]
    Command { name: "who", summary: "list joined groups, and the programs behind them", help: who::HELP, run: who::run },
    #[cfg(feature = "doctor")]
    Command { name: "doctor", summary: "find out why nothing arrives, or leaves", help: doctor::HELP, run: doctor::run },
    #[cfg(feature = "demo")]
    Command { name: "demo", summary: "send and receive a few packets on lo", help: demo::HELP, run: demo::run },
];

/// Before and after the list of commands.
const USAGE: [&str; 2] = [
    "\
Multicast UDP from the command line.

Usage: mcast COMMAND [OPTION..]
       mcast --version
       mcast help COMMAND

",
    "
Targets (--from, --to): [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF]
  239.1.2.3:5000              one group; without a port 4242
  239.1.2.0/30:5000           four groups; so are 239.1.2.0+4:5000 and [ff02::70+4]:5000
  10.0.0.1@232.1.2.3:5000     only from this source (source-specific multicast)
  [ff02::77]:5000%eth0        on this interface; as --interface eth0

Options of most commands (mcast help COMMAND says which it takes):
  --interface IF       by name, index or address, or all; repeatable (default: the one that the routing table names)
  --json               one JSON object a line, the last one with the totals
  --quiet              print nothing to standard error but errors
  --timeout SECONDS    end after this time; here and elsewhere, SECONDS can have a fraction: 0.5
  --limit N            end after N packets
  --give-up SECONDS    end with status 1 this long after an interface went, if it is not back (default: never)

Exit status:
  0                    done
  1                    failure
  2                    wrong usage
  3                    nothing at all heard or answered
  4                    less than asked for, more lost than allowed, or an alarm
  5                    the doctor found a fault
  6                    the doctor could not tell
  129, 130, 143        ended by SIGHUP, SIGINT or SIGTERM (which stay ignored if they were when mcast was started)
  141                  the reader of standard output is gone

Examples:
  mcast listen --from 239.1.2.3:5000 --interface eth0
  mcast send --to 239.1.2.3:5000 --interface eth0 hello
  mcast doctor --from 239.1.2.3:5000 --interface eth0
",
];

fn main() -> ExitCode {
    let mut parser = Parser::from_env();
    let (command, ended) = match chosen(&mut parser) {
        Ok(Some(command)) => (Some(command), (command.run)(parser)),
        Ok(None) => (None, Ok(())),
        Err(stop) => (None, Err(stop)),
    };
    let ended = match ended {
        Err(Stop::Help) => output::print(&command.map_or_else(usage, |command| command.help.to_owned())),
        ended => ended,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            if let Some(reason) = stop.reason(command.map_or("", |command| command.name)) {
                complain(&reason);
            }
            stop.exit_code()
        }
    }
}

/// The command to run; `None` if all is done.
#[inline(never)]
fn chosen(parser: &mut Parser) -> Result<Option<&'static Command>, Stop> {
    match options::next(parser)? {
        Some(Argument::Option(name)) if name == "help" => Err(Stop::Help),
        Some(Argument::Option(name)) if name == "version" => {
            output::print(concat!("mcast ", env!("CARGO_PKG_VERSION"), "\n"))?;
            Ok(None)
        }
        Some(Argument::Value(name)) if name == "help" => match options::next(parser)? {
            None => Err(Stop::Help),
            Some(Argument::Value(name)) => {
                output::print(named(&name)?.help)?;
                Ok(None)
            }
            Some(option) => Err(options::unexpected(option)),
        },
        Some(Argument::Value(name)) => named(&name).map(Some),
        Some(option) => Err(options::unexpected(option)),
        None => Err(Stop::misused(format!("a command is missing: {}", names()))),
    }
}

fn named(name: &std::ffi::OsStr) -> Result<&'static Command, Stop> {
    let command = COMMANDS.iter().find(|command| name == command.name);
    command.ok_or_else(|| Stop::misused(format!("no such command: {}; there are {}", name.display(), names())))
}

fn names() -> String {
    let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
    names.join(", ")
}

fn usage() -> String {
    let [before, after] = USAGE;
    let commands: String = COMMANDS.iter().map(|Command { name, summary, .. }| format!("  {name:<9} {summary}\n")).collect();
    format!("{before}{commands}{after}")
}
