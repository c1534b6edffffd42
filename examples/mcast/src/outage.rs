//! What happens when an interface goes: it is said once, the command waits, and it is said when the interface is back.

use std::fmt::Display;
use std::time::{Duration, Instant};

use multicast::{Change, ErrorKind, Interface, Link, Links};

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

/// The outages of all interfaces of a command.
pub(crate) struct Outages {
    ways: Vec<Way>,
    give_up: Option<Duration>,
    /// What to say at the end of one.
    over: &'static str,
}

struct Way {
    interface: Interface,
    /// Whether the named interface is up; true if that is not known.
    is_up: bool,
    /// When packets could no longer go or come.
    since: Option<Instant>,
}

impl Outages {
    /// There is none yet. `give_up` is how long one may last.
    pub(crate) fn none_yet(give_up: Option<Duration>, over: &'static str) -> Self {
        Self { ways: Vec::new(), give_up, over }
    }

    pub(crate) fn add(&mut self, interface: Interface) {
        if !self.ways.iter().any(|way| way.interface == interface) {
            self.ways.push(Way { interface, is_up: true, since: None });
        }
    }

    pub(crate) fn interfaces(&self) -> Vec<Interface> {
        self.ways.iter().map(|way| way.interface).collect()
    }

    /// Keeps whether the interface is up.
    pub(crate) fn apply(&mut self, change: &Change) {
        if let Change::Link(link) = change {
            for way in self.ways.iter_mut().filter(|way| is_named(link, way.interface)) {
                way.is_up = link.is_up && link.is_running;
            }
        }
    }

    /// Whether an outage of this interface lasts. `reason` is why packets cannot come; none if it is not known that they cannot.
    pub(crate) fn check(&mut self, interface: Interface, reason: Option<&multicast::Error>) -> Result<bool, Stop> {
        let Some(way) = self.ways.iter().find(|way| way.interface == interface) else { return Ok(false) };
        match (reason, way.is_up) {
            (Some(reason), _) => self.lasts(interface, reason).map(|()| true),
            (None, false) => self.lasts(interface, &format_args!("{interface} is down")).map(|()| true),
            (None, true) => {
                self.is_over(interface);
                Ok(false)
            }
        }
    }

    /// It lasts, for this reason.
    pub(crate) fn lasts(&mut self, interface: Interface, reason: &dyn Display) -> Result<(), Stop> {
        let Some(way) = self.ways.iter_mut().find(|way| way.interface == interface) else { return Ok(()) };
        if way.since.is_none() {
            complain(&format_args!("{reason}: waiting for it"));
        }
        let lasted = way.since.get_or_insert_with(Instant::now).elapsed();
        match self.give_up {
            Some(give_up) if lasted >= give_up => Err(Stop::failed(format!("{reason}: not back in the time of --give-up"))),
            _ => Ok(()),
        }
    }

    /// It is over, or there was none.
    pub(crate) fn is_over(&mut self, interface: Interface) {
        let is_one_of_several = self.ways.len() > 1;
        let Some(way) = self.ways.iter_mut().find(|way| way.interface == interface) else { return };
        if way.since.take().is_some() {
            if is_one_of_several {
                complain(&format_args!("{} on {interface}", self.over));
            } else {
                complain(&self.over);
            }
        }
    }

    /// How long to wait at most before [`lasts`](Self::lasts) must be called again.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let give_up = self.give_up?;
        let since = self.ways.iter().filter_map(|way| way.since).min()?;
        Some(give_up.saturating_sub(since.elapsed()))
    }
}

/// Whether the interface is named by name or index, and is this one.
fn is_named(link: &Link, interface: Interface) -> bool {
    match interface {
        Interface::Name(name) => link.name == Some(name),
        Interface::Index(index) => link.index == index,
        _ => false,
    }
}
