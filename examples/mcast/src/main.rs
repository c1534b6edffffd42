//! `mcast`: multicast from the command line, built on the core of the crate. `mcast --help` lists its commands.
//!
//! Start reading with `demo.rs`: a listener, a sender and one poller. Each command is a file or a folder with its name, and a feature of
//! the package. The other files are what commands share:
//!
//! | file | has |
//! |---|---|
//! | `options`, `target`, `decimal` | the command line |
//! | `places`, `receivers`, `senders` | sockets that follow their interfaces |
//! | `input`, `output`, `standard`, `interfaces` | standard input and output; the names of interfaces |
//! | `limits`, `outage`, `stop` | what ends a command: signals, times, links that are gone, errors |

#![allow(dead_code)]

mod decimal;
mod demo;
#[cfg(feature = "doctor")]
mod doctor;
#[cfg(feature = "doctor")]
mod host;
#[cfg(feature = "send")]
mod input;
#[cfg(feature = "listen")]
mod interfaces;
mod limits;
#[cfg(feature = "listen")]
mod listen;
mod options;
mod outage;
mod output;
mod places;
mod receivers;
#[cfg(feature = "send")]
mod send;
mod senders;
mod standard;
mod stop;
mod target;

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
    #[cfg(feature = "doctor")]
    Command { name: "doctor", summary: "find out why nothing arrives", help: doctor::HELP, run: doctor::run },
    Command { name: "demo", summary: "send and receive a few packets on lo", help: demo::HELP, run: demo::run },
];

/// Before and after the list of commands.
const USAGE: [&str; 2] = [
    "\
Multicast UDP from the command line.

Usage: mcast COMMAND [OPTION..]
       mcast help COMMAND

",
    "
Targets (--from, --to): [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF]
  239.1.2.3:5000              one group; without a port 4242
  239.1.2.0/30:5000           four groups; so are 239.1.2.0+4:5000 and [ff02::70+4]:5000
  10.0.0.1@232.1.2.3:5000     only from this source (source-specific multicast)
  [ff02::77]:5000%eth0        on this interface; as --interface eth0

Options of all commands:
  --interface IF       by name, index or address, or all; repeatable (default: the one that the routing table names)
  --json               one JSON object a line, the last one with the totals
  --quiet              print nothing to standard error but errors
  --timeout SECONDS    end after this time
  --limit N            end after N packets
  --give-up SECONDS    end with status 1 this long after an interface went, if it is not back (default: never)

Exit status: 0 done; 1 failure; 2 wrong usage; 3 nothing at all heard or answered; 4 less than asked for, more lost than allowed,
or an alarm; 5 the doctor found a fault; 6 the doctor could not tell; 130 or 143 ended by SIGINT or SIGTERM (which stay ignored if
they were when mcast was started); 141 the reader of standard output is gone.
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
        None => Err(Stop::Misused(format!("a command is missing: {}", names()))),
    }
}

fn named(name: &std::ffi::OsStr) -> Result<&'static Command, Stop> {
    let command = COMMANDS.iter().find(|command| name == command.name);
    command.ok_or_else(|| Stop::Misused(format!("no such command: {}; there are {}", name.display(), names())))
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
