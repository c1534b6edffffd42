//! The options that all commands share, and the values of options.
//!
//! A command loops over its arguments with [`next`], and gives each option that it does not know to [`Common::take`].

use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use multicast::Interface;

use crate::decimal;
use crate::stop::Stop;
use crate::target::Target;

/// What all commands understand. A command that has no use for one of these refuses it: see [`Common::refuse`].
#[derive(Default)]
pub(crate) struct Common {
    /// Of `--from` and `--to`, in the order written.
    pub(crate) targets: Vec<Target>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) limit: Option<u64>,
    /// How long an outage of an interface may last.
    pub(crate) give_up: Option<Duration>,
}

impl Common {
    /// Takes an option that all commands have. `direction` is `from` or `to`, as the command calls its targets. An option that is
    /// neither is an error.
    #[inline(never)]
    pub(crate) fn take(&mut self, argument: Argument, direction: &str, parser: &mut Parser) -> Result<(), Stop> {
        let name = match argument {
            Argument::Option(name) => name,
            // Most often the option before it was forgotten.
            Argument::Value(value) if value.to_str().is_some_and(|text| Target::parse(text).is_ok()) => {
                let unexpected = format!("unexpected argument: {}", value.display());
                return Err(misused(&unexpected, &format_args!("write --{direction} before it")));
            }
            argument => return Err(unexpected(argument)),
        };
        match name.as_str() {
            "help" | "h" => return Err(Stop::Help),
            name if name == direction => {
                let option = format!("--{name}");
                self.targets.push(Target::parse(&text(parser, &option)?).map_err(|reason| misused(&option, &reason))?);
            }
            "interface" => self.interfaces.push(value(parser, "--interface")?),
            #[cfg(feature = "json")]
            "json" => self.json = true,
            "quiet" => self.quiet = true,
            "timeout" => self.timeout = Some(seconds(parser, "--timeout")?),
            "limit" => self.limit = Some(number(parser, "--limit")?),
            "give-up" => self.give_up = Some(seconds(parser, "--give-up")?),
            "from" | "to" | "group" | "port" => {
                let unknown = format!("no such option here: --{name}");
                return Err(misused(&unknown, &format_args!("write --{direction} GROUP:PORT")));
            }
            _ => return Err(unexpected(Argument::Option(name))),
        }
        Ok(())
    }

    /// Gives the usual group to a command that works without a target, and checks that no interface is named twice.
    #[inline(never)]
    pub(crate) fn complete(&mut self) -> Result<(), Stop> {
        if self.targets.is_empty() {
            self.targets.push(Target::usual());
        }
        self.check()
    }

    /// Checks that no interface is named twice.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        let is_written = self.targets.iter().any(|target| target.interface.is_some());
        if is_written && !self.interfaces.is_empty() {
            return Err(Stop::misused(
                "an interface is named twice, with % and by --interface: write one of them".to_owned(),
            ));
        }
        Ok(())
    }

    /// The interfaces for this target: the one that was written with it, or those of `--interface`, or the default.
    pub(crate) fn interfaces_of(&self, target: &Target) -> Vec<Interface> {
        match (target.interface, self.interfaces.as_slice()) {
            (Some(written), _) => vec![written],
            (None, []) => vec![Interface::Default],
            (None, named) => named.to_vec(),
        }
    }
}

/// An argument of the command line.
pub(crate) enum Argument {
    /// An option without its dashes.
    Option(String),
    /// What is no option.
    Value(OsString),
}

impl Argument {
    /// The name of an option; empty for a value.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Option(name) => name,
            Self::Value(_) => "",
        }
    }
}

#[inline(never)]
pub(crate) fn next(parser: &mut Parser) -> Result<Option<Argument>, Stop> {
    Ok(match parser.next().map_err(|error| Stop::misused(error.to_string()))? {
        Some(Arg::Long(name)) => Some(Argument::Option(name.to_owned())),
        Some(Arg::Short('h')) => Some(Argument::Option("help".to_owned())),
        Some(Arg::Value(value)) => Some(Argument::Value(value)),
        Some(Arg::Short(letter)) => return Err(Stop::misused(format!("no such option here: -{letter}"))),
        None => None,
    })
}

/// Refuses a TEXT that begins with a group if `--to` is nowhere: the text would go to the usual group, and nobody would see why.
pub(crate) fn expect_no_group(text: Option<&Vec<u8>>, common: &Common) -> Result<(), Stop> {
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    match text.filter(|text| common.targets.is_empty() && Target::parse(text).is_ok()) {
        Some(group) => Err(misused(
            &format!("TEXT begins with {group}"),
            &"write --to before it; to send it as text, name the group by --to",
        )),
        None => Ok(()),
    }
}

/// What to say of an argument that the command does not have.
#[inline(never)]
pub(crate) fn unexpected(argument: Argument) -> Stop {
    Stop::misused(match argument {
        Argument::Option(name) => format!("no such option here: --{name}"),
        Argument::Value(value) => format!("unexpected argument: {}", value.display()),
    })
}

fn misused(option: &str, reason: &dyn Display) -> Stop {
    Stop::misused(format!("{option}: {reason}"))
}

/// The value of an option that must be text.
#[inline(never)]
pub(crate) fn text(parser: &mut Parser, option: &str) -> Result<String, Stop> {
    let value = parser.value().map_err(|error| Stop::misused(error.to_string()))?;
    value.string().map_err(|error| misused(option, &error))
}

/// The value of an option, parsed by a type whose errors explain what is wrong.
pub(crate) fn value<T: FromStr<Err: Display>>(parser: &mut Parser, option: &str) -> Result<T, Stop> {
    text(parser, option)?.parse().map_err(|error| misused(option, &error))
}

pub(crate) fn number(parser: &mut Parser, option: &str) -> Result<u64, Stop> {
    let text = text(parser, option)?;
    text.parse().map_err(|_| Stop::misused(format!("{option} {text}: give a whole number, 0 or more")))
}

/// The value of an option that must lie between two numbers.
pub(crate) fn number_within(parser: &mut Parser, option: &str, least: u64, most: u64) -> Result<u64, Stop> {
    let number = number(parser, option)?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(Stop::misused(format!("{option} {number}: give {least} to {most}")))
}

/// The time between two units of `what` at this rate, for example `packets`.
pub(crate) fn rate(parser: &mut Parser, option: &str, what: &str) -> Result<Duration, Stop> {
    let text = text(parser, option)?;
    let rate = decimal::parse(&text).filter(|rate| *rate > 0.0);
    let interval = rate.map(|rate| decimal::seconds(rate.recip()));
    interval.ok_or_else(|| Stop::misused(format!("{option} {text}: give {what} a second, more than 0")))
}

pub(crate) fn seconds(parser: &mut Parser, option: &str) -> Result<Duration, Stop> {
    let text = text(parser, option)?;
    let time = decimal::parse(&text).map(decimal::seconds);
    time.ok_or_else(|| Stop::misused(format!("{option} {text}: give seconds, 0 or more")))
}
