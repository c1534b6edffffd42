//! `mcast ping` and `mcast pong`: who answers to a group, how fast, and what is lost on which way.
//!
//! | file | has |
//! |---|---|
//! | `packet` | the layout of questions and answers |
//! | `ask`, `routes`, `tally` | `mcast ping`, its sockets, and what it counts |
//! | `answer`, `manners` | `mcast pong`, and which questions it answers |
//! | `text`, `json` | how both print |

mod answer;
mod ask;
#[cfg(feature = "json")]
mod json;
mod manners;
mod packet;
mod routes;
mod tally;
mod text;

pub(crate) use answer::run as pong;
pub(crate) use ask::run as ping;

pub(crate) const PING: &str = "\
Asks a group who is there. Each mcast pong answers by unicast and by multicast: the round trips stand side by side.

Usage: mcast ping [--to TARGET].. [OPTION..]

It prints a line for each answer: the group, who answered, unicast or multicast, the number of the question, the time of the round trip.
Instead of the time it prints LOST if a responder that has answered before does not answer in time.

  --to TARGET          [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable (default: 224.0.42.42:4242)
  --count N            end after N questions (default: when it is stopped)
  --interval SECONDS   the time from one question to the next, 0.02 or more (default: 1)
  --wait SECONDS       how long an answer may take (default: 1)
  --ttl TTL            as of mcast send
  --max-loss PERCENT   status 4 if more answers of a responder are lost on a way
  --limit N            end after N answers; status 4 if --timeout comes first
  --timeout SECONDS    end after this time; status 3 if nobody answered
  --interface, --json, --quiet, --give-up: see mcast --help

The loss of a responder counts from its first answer on. At the end, ping tells apart what was lost: questions on the way there, answers
by unicast or by multicast on the way back; unknown are those behind the last answer.

Example:
  mcast pong --from 239.1.2.3:5000 --interface lo --limit 3 --timeout 10 &
  sleep 1; mcast ping --to 239.1.2.3:5000 --interface lo --count 3
";

pub(crate) const PONG: &str = "\
Answers to mcast ping, by unicast and by multicast, and prints a line for each question.

Usage: mcast pong [--from TARGET].. [OPTION..]

  --from TARGET        [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable (default: 224.0.42.42:4242)
  --ttl TTL            of answers by multicast, as of mcast send (default: subnet)
  --limit N            end after N questions; status 4 if --timeout comes first
  --timeout SECONDS    end after this time; status 3 if nobody asked
  --interface, --json, --quiet, --give-up: see mcast --help

Both answers together are no longer than the question. It answers each question once, at most 50 a second of one address, and 1,000 of
all: so it cannot be used to flood others.

Example:
  mcast pong --from 239.1.2.3:5000 --interface lo --limit 3 --timeout 10 &
  sleep 1; mcast ping --to 239.1.2.3:5000 --interface lo --count 3
";
