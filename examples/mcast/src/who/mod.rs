//! `mcast who`: which groups are joined on this host, and which programs hold them.

#[cfg(feature = "json")]
mod json;
mod text;
mod wanted;

use lexopt::Parser;
use wanted::{Wanted, wanted};

use crate::host::groups::{Joined, Mode, Source, sources};
use crate::host::holders::{Census, Certainty};
use crate::limits::Limits;
use crate::options::{self, Common};
use crate::output::Output;
use crate::stop::{Stop, complain};

pub(crate) const HELP: &str = "\
Lists which groups are joined on each interface of this host, and which programs hold them.

Usage: mcast who [--from TARGET].. [OPTION..]

  --from TARGET        [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable (default: all groups). With a port, only sockets on that
                       port; with a source, only memberships that take packets from it
  --interface IF       only on this interface, by name, index or address; repeatable (default: all)
  --json, --quiet: see mcast --help

After each membership come the sockets that hold it, each with its program, its dropped packets and its receive buffer:
  joined               the socket was asked, and has joined
  bound                the socket is bound to the group; if it was asked, it has not joined itself
  candidate            the socket takes all groups, and may have joined this one

Linux does not list which socket has joined which group. mcast asks the sockets themselves: as root (CAP_SYS_PTRACE) all of them, else
those of the same user, if the system allows that. Of the programs of others it knows the uid and the socket's inode, not the process.

The kernel itself joins a few groups, such as 224.0.0.1. A program in another network namespace, as in most containers, is not seen.

Exit status: 0; 3 if none of the targets is joined.

Example:
  mcast who --interface lo
";

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Common, Stop> {
    let mut common = Common::default();
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            // It asks once, and does not wait.
            "timeout" | "limit" | "give-up" => return Err(options::unexpected(argument)),
            _ => common.take(argument, "from", &mut parser)?,
        }
    }
    common.check()?;
    Ok(common)
}

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let common = parse(parser)?;
    let limits = Limits::new(None)?;
    let mut output = Output::new(&limits)?;
    let sources = sources().map_err(|reason| complain(&format_args!("{reason}: filter modes are unknown"))).ok();
    let memberships = wanted(&common, sources.as_deref())?;
    let asked: Vec<_> = memberships.iter().map(|wanted| wanted.joined.clone()).collect();
    let census = Census::take(&asked).map_err(Stop::failed)?;
    let mut total = Total { memberships: memberships.len(), sockets: 0, candidates: 0, strangers: 0 };
    let mut lines = Vec::new();
    for (place, Wanted { joined, ports }) in memberships.iter().enumerate() {
        let mut holders = census.holders(place, joined);
        holders.retain(|holder| ports.as_ref().is_none_or(|ports| ports.contains(&holder.socket.local.port())));
        for holder in &holders {
            total.sockets += 1;
            total.candidates += usize::from(holder.certainty == Certainty::Candidate);
            total.strangers += usize::from(holder.processes.is_empty());
        }
        let known = sources.as_ref().map(|sources| sources.iter().filter(|source| joined.has(source)).collect());
        let filter = FilterState::new(joined, known);
        #[cfg(feature = "json")]
        if common.json {
            output.object(&json::MembershipObject::new(joined, &filter, &holders), &limits)?;
            continue;
        }
        lines.clear();
        text::write(joined, &filter, &holders, &mut lines);
        output.write(&lines, &limits)?;
    }
    #[cfg(feature = "json")]
    if common.json {
        output.object(&json::TotalObject::new(&total), &limits)?;
    }
    if !common.quiet && !census.is_exact {
        total.explain();
    }
    if memberships.is_empty() && !common.targets.is_empty() {
        return Err(Stop::nothing("nobody on this host has joined".to_owned()));
    }
    Ok(())
}

/// From which sources a membership takes packets.
struct FilterState<'s> {
    mode: Mode,
    sources: Vec<&'s Source>,
}

impl<'s> FilterState<'s> {
    /// `sources` are those of this membership; `None` if they could not be read.
    fn new(joined: &Joined, sources: Option<Vec<&'s Source>>) -> Self {
        match sources {
            // The kernel joins from everybody.
            None if joined.is_of_the_kernel() => Self { mode: Mode::Exclude, sources: Vec::new() },
            None => Self { mode: Mode::Unknown, sources: Vec::new() },
            Some(sources) => Self { mode: joined.mode(sources.iter().copied()), sources },
        }
    }
}

/// What was printed. A socket counts once for each of its memberships.
struct Total {
    memberships: usize,
    sockets: usize,
    candidates: usize,
    /// Sockets of which the process is not known.
    strangers: usize,
}

impl Total {
    fn explain(&self) {
        if self.candidates > 0 {
            complain(&"candidates could not be asked whether they have joined; as root (CAP_SYS_PTRACE), mcast asks them");
        } else if self.strangers > 0 {
            complain(&"where only uid and inode are shown, run mcast as root (CAP_SYS_PTRACE) to see the program");
        }
    }
}
