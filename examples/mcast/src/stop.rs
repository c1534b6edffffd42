//! Why the program ends before its work is done.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::progress::hide;

pub(crate) enum Stop {
    /// The help of the command was asked for.
    Help,
    /// The command line is wrong.
    Misused(String),
    /// The crate returned an error.
    Refused(multicast::Error),
    /// Something else went wrong.
    Failed(String),
    /// `--timeout` is over.
    TimedOut,
    /// SIGINT, SIGTERM or SIGHUP came.
    Signal(u8),
    /// Standard output was closed.
    OutputClosed,
    /// Nothing at all was heard.
    NothingHeard,
    /// No answer came.
    Unanswered,
    /// The same, of what is not a question of time.
    Nothing(String),
    /// Less was heard than was asked for, or more was lost; or an alarm was raised.
    Missed(String),
    /// The doctor found a fault.
    Fault,
    /// The doctor cannot tell.
    Undecided,
}

const SIGPIPE: u8 = 13;

impl Stop {
    /// What went wrong, in words, if it should be printed. `command` is the one that was misused, or empty.
    pub(crate) fn reason(&self, command: &str) -> Option<String> {
        match self {
            Self::Misused(reason) if command.is_empty() => Some(format!("{reason}\nTry: mcast --help")),
            Self::Misused(reason) => Some(format!("{reason}\nTry: mcast {command} --help")),
            Self::Refused(error) => Some(error.to_string()),
            Self::Failed(reason) | Self::Missed(reason) | Self::Nothing(reason) => Some(reason.clone()),
            Self::TimedOut => Some("the time is up".to_owned()),
            Self::NothingHeard => Some("the time is up, and nothing was heard".to_owned()),
            Self::Unanswered => Some("nothing was answered".to_owned()),
            Self::Help | Self::Signal(_) | Self::OutputClosed | Self::Fault | Self::Undecided => None,
        }
    }

    /// The exit status. For signals and a closed output it is that of a program that does not catch them.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Help => ExitCode::SUCCESS,
            Self::Refused(_) | Self::Failed(_) | Self::TimedOut => ExitCode::from(1),
            Self::Misused(_) => ExitCode::from(2),
            Self::NothingHeard | Self::Unanswered | Self::Nothing(_) => ExitCode::from(3),
            Self::Missed(_) => ExitCode::from(4),
            Self::Fault => ExitCode::from(5),
            Self::Undecided => ExitCode::from(6),
            Self::Signal(signal) => ExitCode::from(128 | signal),
            Self::OutputClosed => ExitCode::from(128 | SIGPIPE),
        }
    }
}

impl From<multicast::Error> for Stop {
    fn from(error: multicast::Error) -> Self {
        Self::Refused(error)
    }
}

/// For `map_err`: adds what was tried.
pub(crate) fn failed<E: Display>(tried: &str) -> impl Fn(E) -> Stop {
    move |error| Stop::Failed(format!("{tried}: {error}"))
}

/// Prints to standard error. Errors of this are ignored; `eprintln!` would panic.
pub(crate) fn complain(reason: &dyn Display) {
    hide();
    let _ = writeln!(io::stderr(), "mcast: {reason}");
}
