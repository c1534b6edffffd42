//! What happens when the interface goes: it is said once, the program waits, and it is said when the interface is back.

use std::fmt::Display;
use std::time::{Duration, Instant};

use multicast::{ErrorKind, Links};

use crate::stop::{Stop, complain};

/// The links, unless they cannot be watched, as in a sandbox without netlink: then the program works without.
///
/// It lends them: they contain a buffer of 8 KiB, and each move would make the stack larger by that.
pub(crate) fn watched(links: &mut multicast::Result<Links>) -> Result<Option<&mut Links>, Stop> {
    match links {
        Ok(links) => Ok(Some(links)),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            complain(&format_args!("{error}: an interface that goes and comes again is not followed"));
            Ok(None)
        }
        Err(error) => Err(error.clone().into()),
    }
}

/// The time from when packets could no longer go or come.
pub(crate) struct Outage {
    since: Option<Instant>,
    give_up: Option<Duration>,
    /// What to say at its end.
    over: &'static str,
}

impl Outage {
    /// There is none yet. `give_up` is how long one may last.
    pub(crate) fn none_yet(give_up: Option<Duration>, over: &'static str) -> Self {
        Self { since: None, give_up, over }
    }

    /// It lasts, for this reason.
    pub(crate) fn lasts(&mut self, reason: &dyn Display) -> Result<(), Stop> {
        if self.since.is_none() {
            complain(&format_args!("{reason}: waiting for it"));
        }
        let lasted = self.since.get_or_insert_with(Instant::now).elapsed();
        match self.give_up {
            Some(give_up) if lasted >= give_up => Err(Stop::Failed(reason.to_string())),
            _ => Ok(()),
        }
    }

    /// It is over, or there was none.
    pub(crate) fn is_over(&mut self) {
        if self.since.take().is_some() {
            complain(&self.over);
        }
    }

    /// How long to wait at most before [`lasts`](Self::lasts) must be called again.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let (since, give_up) = (self.since?, self.give_up?);
        Some(give_up.saturating_sub(since.elapsed()))
    }
}
