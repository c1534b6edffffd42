//! `mcast doctor`: why nothing arrives, or why nothing leaves.
//!
//! Two looks at the counters of the machine around a wait for packets. It changes nothing: its memberships end with it, and the one
//! packet that it sends does not leave the host.
//!
//! | file | has |
//! |---|---|
//! | `look` | the examination, step by step |
//! | `evidence`, `case` | what the machine said, and all that is known of one case |
//! | `ears` | joining, listening, and the packet to itself |
//! | `signs`, `tree` | the figures that decide, and the verdict: pure functions |
//! | `checks` | each stage, with evidence and advice |
//! | `report` | how both are printed |

mod case;
mod checks;
mod ears;
mod evidence;
mod look;
mod report;
mod signs;
#[cfg(test)]
mod tests;
mod tree;
mod verdict;

use std::time::Duration;

use lexopt::Parser;

use crate::limits::Limits;
use crate::options::{self, Common, seconds};
use crate::output::Output;
use crate::stop::Stop;
use crate::target::Target;
use case::{Case, Direction, Order};
use report::{Check, Status, Verdict};

pub(crate) const HELP: &str = "\
Finds out why packets of a group do not arrive, or do not leave.

Usage: mcast doctor --from TARGET [OPTION..]
       mcast doctor --to TARGET [OPTION..]

  --from TARGET        [SOURCE@]GROUP[:PORT][%IF]: why does nothing arrive?
  --to TARGET          GROUP[:PORT][%IF]: why does nothing leave?
  --seconds SECONDS    how long to look (default: 5)
  --interface IF       by name, index or address (default: the one that the routing table names)
  --verbose            print the checks that are ok, too
  --json               one JSON object for each check, with `check`, `status`, `evidence`, `advice`; the last one has `verdict`
  --quiet              print the verdict alone

Let the sender send while it looks. It reads the counters of this host, waits for half the time, joins the group, waits for the other
half, and reads the counters again. If it heard nothing, it asks on, for up to half as long again: it sends one packet with TTL 0 to
the group, which does not leave the host since it has joined, and it listens to other sources and on other interfaces. Programs of
this host that have joined may receive that packet. Nothing else is sent, and nothing is changed. (To read the named sources, it
joins a group of its own on lo for a moment.)

A check is ok, warn, FAIL or unknown. It prints a sentence of advice, and below it what it saw (where, before -> after); those that are
ok are counted. The last line is the verdict: it names the first stage that loses packets. No privilege is needed; where it would show
more, the check says which.

Status: 0 packets were heard (--to: could be sent), and nothing is wrong; 5 a fault was found; 6 it cannot be told, as when nothing
comes to this host at all.

Example:
  mcast doctor --to 239.1.2.3:5000 --interface lo --seconds 1
";

struct Arguments {
    order: Order,
    json: bool,
    print: Print,
}

/// What is printed beside the verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Print {
    Nothing,
    /// All but what is ok.
    Findings,
    Everything,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Arguments, Stop> {
    let mut common = Common::default();
    let mut targets = Vec::new();
    let mut time = Duration::from_secs(5);
    let mut is_verbose = false;
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "from" => targets.push((Direction::From, target(&mut parser, "--from")?)),
            "to" => targets.push((Direction::To, target(&mut parser, "--to")?)),
            "seconds" => time = wait(&mut parser)?,
            "verbose" => is_verbose = true,
            "limit" | "timeout" | "give-up" => return Err(options::unexpected(argument)),
            _ => common.take(argument, "from", &mut parser)?,
        }
    }
    let [(direction, target)] = targets[..] else {
        return Err(Stop::misused("name one group: --from GROUP:PORT, or --to GROUP:PORT".to_owned()));
    };
    let mut groups = target.groups();
    let (Some(group), None) = (groups.next(), groups.next()) else {
        return Err(Stop::misused("the doctor examines one group, not a range: name one of them".to_owned()));
    };
    if direction == Direction::To && target.source.is_some() {
        return Err(Stop::misused("--to takes no source: name the interface to send by".to_owned()));
    }
    common.targets.push(target);
    common.complete()?;
    let [interface] = common.interfaces_of(&target)[..] else {
        return Err(Stop::misused("the doctor examines one interface: name one".to_owned()));
    };
    let order = Order { direction, group, source: target.source, interface, time };
    let print = match (common.quiet, is_verbose) {
        (true, true) => return Err(Stop::misused("--quiet prints less, --verbose more: give one of them".to_owned())),
        (true, false) => Print::Nothing,
        (false, false) => Print::Findings,
        (false, true) => Print::Everything,
    };
    Ok(Arguments { order, json: common.json, print })
}

fn target(parser: &mut Parser, option: &str) -> Result<Target, Stop> {
    let text = options::text(parser, option)?;
    Target::parse(&text).map_err(|reason| Stop::misused(format!("{option}: {reason}")))
}

fn wait(parser: &mut Parser) -> Result<Duration, Stop> {
    /// A packet a second must have a chance to come; and nobody waits for longer than a day.
    const RANGE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(86_400)];
    let time = seconds(parser, "--seconds")?;
    let [least, most] = RANGE;
    if time < least || time > most {
        return Err(Stop::misused("--seconds: give 0.2 to 86400".to_owned()));
    }
    Ok(time)
}

pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let Arguments { order, json, print } = parse(parser)?;
    let limits = Limits::new(None)?;
    let mut output = Output::new(&limits)?;
    let case = look::examine(order, &limits)?;
    let (checks, verdict) = verdict::of(&case);
    #[cfg(feature = "json")]
    if json {
        let checks = if print == Print::Nothing { &[] } else { &checks[..] };
        objects(&mut output, &limits, &case, checks, &verdict)?;
        return ended(&verdict);
    }
    let _ = json;
    output.write(lines(&checks, &verdict, print).as_bytes(), &limits)?;
    ended(&verdict)
}

fn ended(verdict: &Verdict) -> Result<(), Stop> {
    match verdict.status {
        Status::Ok | Status::Warn => Ok(()),
        Status::Fail => Err(Stop::Fault),
        Status::Unknown => Err(Stop::Undecided),
    }
}

/// Each check as an object, then the verdict.
#[cfg(feature = "json")]
#[inline(never)]
fn objects(output: &mut Output, limits: &Limits, case: &Case, checks: &[Check], verdict: &Verdict) -> Result<(), Stop> {
    for check in checks {
        output.object(&report::CheckObject::new(check), limits)?;
    }
    output.object(&report::VerdictObject::new(verdict, case), limits)
}

/// The checks and the verdict for a reader. The verdict is last: that is what a terminal shows when the rest has scrolled away.
#[inline(never)]
fn lines(checks: &[Check], verdict: &Verdict, print: Print) -> String {
    let mut text = String::new();
    let is_printed = |check: &&Check| match print {
        Print::Nothing => false,
        Print::Findings => check.status != Status::Ok,
        Print::Everything => true,
    };
    for check in checks.iter().filter(is_printed) {
        check.write(&mut text);
    }
    if print == Print::Findings {
        let ok = checks.iter().filter(|check| check.status == Status::Ok).count();
        text.push_str(&format!("ok      {ok} of {} checks: --verbose prints them\n", checks.len()));
    }
    verdict.write(&mut text);
    text
}
