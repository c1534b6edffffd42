//! The size of a run.

use crate::Outcome;

const HELP: &str = "\
usage: bench [--quick | --test] [CASES...]

  --quick    smaller pieces of work: under two minutes
  --test     runs every case once and checks that it works; its figures mean nothing
  CASES      only these groups of cases: drain, coalesced, burst, send, round-trip, registered, compat, rate,
             filters, flood, floor, adjacent, live, question, link
";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Full,
    Quick,
    Test,
}

#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    groups: Vec<String>,
    /// Given to the program when it runs itself in a private network: which network it was started in.
    pub(crate) outside: Option<String>,
}

impl Options {
    pub(crate) fn parse() -> Outcome<Self> {
        use lexopt::prelude::{Long, Short, Value};

        let mut options = Self::default();
        let mut words = lexopt::Parser::from_env();
        while let Some(word) = words.next()? {
            match word {
                Long("quick") => options.mode = Mode::Quick,
                Long("test") => options.mode = Mode::Test,
                Long("outside") => options.outside = Some(words.value()?.into_string().map_err(|_| "not a network")?),
                Short('h') | Long("help") => {
                    print!("{HELP}");
                    std::process::exit(0);
                }
                Value(group) => options.groups.push(group.into_string().map_err(|_| HELP)?),
                other => return Err(format!("{}\n{HELP}", other.unexpected()).into()),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|wanted| wanted == group)
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often the processes of a case are started.
    pub(crate) repetitions: usize,
    /// How many turns each of them has each time.
    pub(crate) rounds: usize,
    /// How many packets a turn has, if the receive buffer holds them.
    pub(crate) packets: u64,
    pub(crate) round_trips: u64,
    /// How many packets come at a steady rate, in all repetitions.
    pub(crate) steady_packets: u64,
    /// How many packets a flood has.
    pub(crate) flood_packets: u64,
    /// A packet that is missing is an error.
    pub(crate) strict: bool,
}

impl Plan {
    pub(crate) const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Full => Self {
                repetitions: 11,
                rounds: 5,
                packets: 2048,
                round_trips: 1000,
                steady_packets: 1_000_000,
                flood_packets: 1_000_000,
                strict: false,
            },
            Mode::Quick => Self {
                repetitions: 7,
                rounds: 3,
                packets: 1024,
                round_trips: 500,
                steady_packets: 70_000,
                flood_packets: 50_000,
                strict: false,
            },
            Mode::Test => Self {
                repetitions: 1,
                rounds: 1,
                packets: 64,
                round_trips: 10,
                steady_packets: 2000,
                flood_packets: 2000,
                strict: true,
            },
        }
    }
}
