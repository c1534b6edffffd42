//! The command line.

use std::ffi::OsString;
use std::fmt::Display;
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};
use multicast::filter::{Always, Filter, Regex};
use multicast::{Group, Interface, Membership, SendOptions};

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
}

pub(crate) enum Payload {
    Text { packet: Vec<u8>, count: u64 },
    Lines,
}

pub(crate) struct Listen {
    pub(crate) membership: Membership,
    pub(crate) filter: Box<dyn Filter>,
    pub(crate) mtu: usize,
    pub(crate) limit: Option<u64>,
    pub(crate) timeout: Option<Duration>,
}

/// The command, or what is wrong with it.
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

fn parse_send(mut parser: Parser) -> Result<Command, String> {
    let mut to = Group::DEFAULT;
    let mut options = SendOptions::new();
    let (mut count, mut interval) = (None, None);
    let mut texts = Vec::new();
    while let Some(argument) = next(&mut parser)? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("to") => to = value(&mut parser, "--to")?,
            Long("ttl") => options = options.ttl(value(&mut parser, "--ttl")?),
            Long("interface") => options = options.interface(value(&mut parser, "--interface")?),
            Long("count") => count = Some(number(&mut parser, "--count")?),
            Long("rate") => interval = Some(rate(&mut parser)?),
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
        (texts, count) => Payload::Text { packet: texts.join(&b' '), count: count.unwrap_or(1) },
    };
    Ok(Command::Send(Send { to, options, payload, interval }))
}

fn parse_listen(mut parser: Parser) -> Result<Command, String> {
    let (mut from, mut interface) = (Group::DEFAULT, Interface::Default);
    let mut filter: Box<dyn Filter> = Box::new(Always);
    // The default.
    let mut mtu = 4096;
    let (mut limit, mut timeout) = (None, None);
    while let Some(argument) = next(&mut parser)? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("from") => from = value(&mut parser, "--from")?,
            Long("interface") => interface = value(&mut parser, "--interface")?,
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
            Long("timeout") => timeout = Some(seconds(&mut parser)?),
            argument => return Err(argument.unexpected().to_string()),
        }
    }
    let membership = Membership::any(from).on(interface);
    Ok(Command::Listen(Listen { membership, filter, mtu, limit, timeout }))
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
    text(parser, option)?.parse().map_err(|error| format!("{option}: {error}"))
}

fn number(parser: &mut Parser, option: &str) -> Result<u64, String> {
    let text = text(parser, option)?;
    text.parse().map_err(|_| format!("{option} {text}: give a whole number, 0 or more"))
}

/// The time between two packets at this rate.
fn rate(parser: &mut Parser) -> Result<Duration, String> {
    let text = text(parser, "--rate")?;
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    let interval = rate.and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok());
    interval.ok_or_else(|| format!("--rate {text}: give packets a second, more than 0"))
}

fn seconds(parser: &mut Parser) -> Result<Duration, String> {
    let text = text(parser, "--timeout")?;
    let time = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("--timeout {text}: give seconds, 0 or more"))
}
