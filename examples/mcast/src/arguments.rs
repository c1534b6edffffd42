//! The command line.

use std::ffi::OsString;
use std::fmt::Display;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};
use multicast::filter::{Always, Filter, Regex};
use multicast::{Group, Interface, Membership, SendOptions};

use crate::decimal;

pub(crate) enum Command {
    Help,
    Version,
    Send(Send),
    Listen(Listen),
    Demo,
}

pub(crate) struct Send {
    pub(crate) to: Group,
    pub(crate) options: SendOptions,
    pub(crate) payload: Payload,
    /// The time between two packets.
    pub(crate) interval: Option<Duration>,
    /// How long an outage of the interface may last.
    pub(crate) give_up: Option<Duration>,
}

pub(crate) enum Payload {
    Text { packet: Rc<[u8]>, count: u64 },
    Lines,
}

pub(crate) struct Listen {
    pub(crate) membership: Membership,
    pub(crate) filter: Box<dyn Filter>,
    pub(crate) mtu: usize,
    pub(crate) limit: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    /// How long an outage of the interface may last.
    pub(crate) give_up: Option<Duration>,
}

/// The command, or what is wrong with it.
#[inline(never)]
pub(crate) fn parse(mut parser: Parser) -> Result<Command, String> {
    match next(&mut parser)? {
        Some(Long("help") | Short('h')) => Ok(Command::Help),
        Some(Long("version") | Short('V')) => Ok(Command::Version),
        Some(Value(command)) => match command.to_str() {
            Some("send") => parse_send(parser),
            Some("listen") => parse_listen(parser),
            Some("demo") => parse_demo(parser),
            _ => Err(format!("no such command: {}", command.display())),
        },
        Some(option) => Err(option.unexpected().to_string()),
        None => Err("a command is missing: send, listen or demo".to_owned()),
    }
}

#[inline(never)]
fn parse_send(mut parser: Parser) -> Result<Command, String> {
    let (mut to, mut interface) = (Target::default(), None);
    let mut options = SendOptions::new();
    let (mut count, mut interval, mut give_up) = (None, None, None);
    let mut texts = Vec::new();
    while let Some(argument) = next(&mut parser)? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("to") => to = target(&mut parser, "--to")?,
            Long("ttl") => options = options.ttl(value(&mut parser, "--ttl")?),
            Long("interface") => interface = Some(value(&mut parser, "--interface")?),
            Long("count") => count = Some(number(&mut parser, "--count")?),
            Long("rate") => interval = Some(rate(&mut parser)?),
            Long("give-up") => give_up = Some(seconds(&mut parser, "--give-up")?),
            Long("no-loopback") => options = options.loopback(false),
            Value(text) => texts.push(text.into_vec()),
            option => return Err(option.unexpected().to_string()),
        }
    }
    let payload = match (texts.as_slice(), count) {
        ([], None) => Payload::Lines,
        ([dash], None) if dash == b"-" => Payload::Lines,
        ([], Some(_)) => return Err("--count repeats TEXT, and there is none".to_owned()),
        ([dash], Some(_)) if dash == b"-" => {
            return Err("--count repeats TEXT: it does not go with standard input".to_owned());
        }
        (texts, count) => Payload::Text { packet: texts.join(&b' ').into(), count: count.unwrap_or(1) },
    };
    let options = options.interface(to.interface(interface)?);
    Ok(Command::Send(Send { to: to.group, options, payload, interval, give_up }))
}

#[inline(never)]
fn parse_listen(mut parser: Parser) -> Result<Command, String> {
    let (mut from, mut interface) = (Target::default(), None);
    let mut filter: Box<dyn Filter> = Box::new(Always);
    // The default.
    let mut mtu = 4096;
    let (mut limit, mut timeout, mut give_up) = (None, None, None);
    while let Some(argument) = next(&mut parser)? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("from") => from = target(&mut parser, "--from")?,
            Long("interface") => interface = Some(value(&mut parser, "--interface")?),
            Long("filter") => {
                let pattern = text(&mut parser, "--filter")?;
                filter = Box::new(Regex::new(&pattern).map_err(|error| format!("--filter: {error}"))?);
            }
            Long("mtu") => {
                mtu = match number(&mut parser, "--mtu")? {
                    mtu @ 1..=65_535 => mtu as usize,
                    mtu => return Err(format!("--mtu {mtu}: give 1 to 65535")),
                }
            }
            Long("limit") => limit = Some(number(&mut parser, "--limit")?),
            Long("timeout") => timeout = Some(seconds(&mut parser, "--timeout")?),
            Long("give-up") => give_up = Some(seconds(&mut parser, "--give-up")?),
            argument => return Err(argument.unexpected().to_string()),
        }
    }
    let membership = Membership::any(from.group).on(from.interface(interface)?);
    Ok(Command::Listen(Listen { membership, filter, mtu, limit, timeout, give_up }))
}

fn parse_demo(mut parser: Parser) -> Result<Command, String> {
    match next(&mut parser)? {
        None => Ok(Command::Demo),
        Some(Long("help") | Short('h')) => Ok(Command::Help),
        Some(argument) => Err(argument.unexpected().to_string()),
    }
}

fn next(parser: &mut Parser) -> Result<Option<lexopt::Arg<'_>>, String> {
    parser.next().map_err(|error| error.to_string())
}

/// The value of an option that must be text.
fn text(parser: &mut Parser, option: &str) -> Result<String, String> {
    let value: OsString = parser.value().map_err(|error| error.to_string())?;
    value.string().map_err(|error| format!("{option}: {error}"))
}

/// The value of an option, parsed by a type whose errors explain what is wrong.
fn value<T: FromStr<Err: Display>>(parser: &mut Parser, option: &str) -> Result<T, String> {
    parsed(&text(parser, option)?, option)
}

fn parsed<T: FromStr<Err: Display>>(text: &str, option: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{option}: {error}"))
}

/// A group, and the interface that was written with it: `[ff02::1%eth0]:5000`, or `239.1.2.3:5000%eth0`.
#[derive(Default)]
struct Target {
    group: Group,
    interface: Option<Interface>,
}

impl Target {
    /// The interface that was written with it, or else this one.
    fn interface(&self, named: Option<Interface>) -> Result<Interface, String> {
        match (self.interface, named) {
            (Some(_), Some(_)) => Err("an interface is named twice: with % and by --interface".to_owned()),
            (written, named) => Ok(written.or(named).unwrap_or_default()),
        }
    }
}

fn target(parser: &mut Parser, option: &str) -> Result<Target, String> {
    let text = text(parser, option)?;
    let Some((before, after)) = text.split_once('%') else {
        return Ok(Target { group: parsed(&text, option)?, interface: None });
    };
    // In the brackets, as a scope, or at the end.
    let end = after.find(']').unwrap_or(after.len());
    let (interface, rest) = after.split_at(end);
    Ok(Target { group: parsed(&format!("{before}{rest}"), option)?, interface: Some(parsed(interface, option)?) })
}

fn number(parser: &mut Parser, option: &str) -> Result<u64, String> {
    let text = text(parser, option)?;
    text.parse().map_err(|_| format!("{option} {text}: give a whole number, 0 or more"))
}

/// The time between two packets at this rate.
fn rate(parser: &mut Parser) -> Result<Duration, String> {
    let text = text(parser, "--rate")?;
    let rate = decimal::parse(&text).filter(|rate| *rate > 0.0);
    let interval = rate.map(|rate| decimal::seconds(rate.recip()));
    interval.ok_or_else(|| format!("--rate {text}: give packets a second, more than 0"))
}

fn seconds(parser: &mut Parser, option: &str) -> Result<Duration, String> {
    let text = text(parser, option)?;
    let time = decimal::parse(&text).map(decimal::seconds);
    time.ok_or_else(|| format!("{option} {text}: give seconds, 0 or more"))
}
