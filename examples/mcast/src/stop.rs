//! Why the program ends before its work is done.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::progress::{PIECE, has_room, hide};

/// As small as two numbers, with what it says in memory of its own: nearly every function returns one, and each `?` copies it.
pub(crate) enum Stop {
    /// The help of the command was asked for.
    Help,
    /// The command line is wrong.
    Misused(Box<Reason>),
    /// The crate returned an error.
    Refused(Box<multicast::Error>),
    /// Something else went wrong.
    Failed(Box<Reason>),
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
    Nothing(Box<Reason>),
    /// Less was heard than was asked for, or more was lost; or an alarm was raised.
    Missed(Box<Reason>),
    /// The doctor found a fault.
    Fault,
    /// The doctor cannot tell.
    Undecided,
}

/// What went wrong, in words.
pub(crate) struct Reason(String);

impl Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

const SIGPIPE: u8 = 13;

impl Stop {
    #[inline(never)]
    pub(crate) fn misused(reason: String) -> Self {
        Self::Misused(Box::new(Reason(reason)))
    }

    #[inline(never)]
    pub(crate) fn failed(reason: String) -> Self {
        Self::Failed(Box::new(Reason(reason)))
    }

    #[inline(never)]
    pub(crate) fn nothing(reason: String) -> Self {
        Self::Nothing(Box::new(Reason(reason)))
    }

    #[inline(never)]
    pub(crate) fn missed(reason: String) -> Self {
        Self::Missed(Box::new(Reason(reason)))
    }

    /// What went wrong, in words, if it should be printed. `command` is the one that was misused, or empty.
    pub(crate) fn reason(&self, command: &str) -> Option<String> {
        match self {
            Self::Misused(reason) if command.is_empty() => Some(format!("{reason}\nTry: mcast --help")),
            Self::Misused(reason) => Some(format!("{reason}\nTry: mcast {command} --help")),
            Self::Refused(error) => Some(error.to_string()),
            Self::Failed(reason) | Self::Missed(reason) | Self::Nothing(reason) => Some(reason.0.clone()),
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
    #[inline(never)]
    fn from(error: multicast::Error) -> Self {
        Self::Refused(Box::new(error))
    }
}

/// For `map_err`: adds what was tried.
pub(crate) fn failed<E: Display>(tried: &str) -> impl Fn(E) -> Stop {
    move |error| Stop::failed(format!("{tried}: {error}"))
}

/// How long a message waits for room in standard error, for example in a pipe that nobody reads.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many messages had no room since the last one that had.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Prints to standard error. Errors of this are ignored; `eprintln!` would panic. If nobody reads it, the command goes on, and can be
/// ended: the next message that has room says how many are lost.
pub(crate) fn complain(reason: &dyn Display) {
    let lost = LOST.load(Ordering::Relaxed);
    // One wait is enough until somebody reads again.
    if !has_room(if lost == 0 { PATIENCE } else { Duration::ZERO }) {
        LOST.store(lost.saturating_add(1), Ordering::Relaxed);
        return;
    }
    LOST.store(0, Ordering::Relaxed);
    hide();
    let before = if lost == 0 { String::new() } else { format!("mcast: {lost} messages are lost: nobody read them\n") };
    let text = format!("{before}mcast: {reason}\n");
    for piece in text.as_bytes().chunks(PIECE) {
        if !has_room(PATIENCE) || io::stderr().write_all(piece).is_err() {
            return;
        }
    }
}
