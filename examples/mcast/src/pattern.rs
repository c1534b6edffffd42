//! `--filter`: a regular expression that all sockets share.
//!
//! The time that a match takes grows with the packet times the pattern: seconds, for 60 kB and a huge pattern. Signals and the timeout do not
//! wait for it: long packets are matched by a thread of their own, and what was not decided at the end counts as not received.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lexopt::Parser;
use multicast::filter::{Always, Filter, Regex};
use multicast::{Events, Interest, Poller, Token};

use crate::limits::Limits;
use crate::options::text;
use crate::stop::Stop;

/// Packets of up to this many bytes are matched at once: a tenth of a second, at the very most.
const SHORT: usize = 4096;
const DECIDED: Token = Token(1);

pub(crate) fn parse(parser: &mut Parser) -> Result<Regex, Stop> {
    let pattern = text(parser, "--filter")?;
    Regex::new(&pattern).map_err(|error| Stop::misused(format!("--filter: {error}")))
}

/// The filter of all sockets.
#[derive(Clone)]
pub(crate) struct Pattern(Rc<Shared>);

struct Shared {
    limits: Rc<Limits>,
    regex: RefCell<Regex>,
    /// Made for the first long packet.
    helper: RefCell<Option<Helper>>,
    mtu: Cell<usize>,
    undecided: Cell<u64>,
}

impl Pattern {
    pub(crate) fn new(regex: Regex, limits: Rc<Limits>) -> Self {
        let (regex, helper) = (RefCell::new(regex), RefCell::new(None));
        Self(Rc::new(Shared { limits, regex, helper, mtu: Cell::new(0), undecided: Cell::new(0) }))
    }

    /// The filter of a socket: the pattern, or none.
    pub(crate) fn filter(pattern: Option<&Self>) -> Box<dyn Filter> {
        match pattern {
            Some(pattern) => Box::new(pattern.clone()),
            None => Box::new(Always),
        }
    }

    /// How many packets it rejected only because the program had to end.
    pub(crate) fn undecided(&self) -> u64 {
        self.0.undecided.get()
    }
}

impl Filter for Pattern {
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        let shared = &*self.0;
        // Nothing here is borrowed twice: a pattern calls nothing. If it were, a packet too many is better than one too few.
        let match_it = || shared.regex.try_borrow_mut().map_or(true, |mut regex| regex.accepts(payload, source));
        let decided = match shared.limits.check() {
            Err(_) => None,
            Ok(()) if payload.len() <= SHORT => return match_it(),
            Ok(()) => match shared.ask_helper(payload) {
                Ok(decided) => decided,
                // No more threads or descriptors: then it takes its time.
                Err(()) => return match_it(),
            },
        };
        decided.unwrap_or_else(|| {
            shared.undecided.set(shared.undecided.get().saturating_add(1));
            false
        })
    }

    fn prepare(&mut self, mtu: usize) {
        self.0.mtu.set(mtu);
        if let Ok(mut regex) = self.0.regex.try_borrow_mut() {
            regex.prepare(mtu.min(SHORT));
        }
    }
}

impl Shared {
    /// Whether the packet matches; `None` if the program must end before that is known.
    fn ask_helper(&self, payload: &[u8]) -> Result<Option<bool>, ()> {
        let mut helper = self.helper.try_borrow_mut().map_err(drop)?;
        if helper.is_none() {
            let regex = self.regex.try_borrow().map_err(drop)?.clone();
            *helper = Some(Helper::start(regex, self.mtu.get(), &self.limits)?);
        }
        helper.as_mut().ok_or(())?.decide(payload, &self.limits)
    }
}

/// A thread that matches one packet at a time.
struct Helper {
    payload: Arc<Mutex<Vec<u8>>>,
    /// One byte there for each packet, one byte back for each answer.
    bell: UnixStream,
    /// For the answers, and for signals.
    poller: Poller,
}

impl Helper {
    fn start(mut regex: Regex, mtu: usize, limits: &Limits) -> Result<Self, ()> {
        let payload = Arc::new(Mutex::new(Vec::new()));
        let (bell, mut theirs) = UnixStream::pair().map_err(drop)?;
        let poller = Poller::new().map_err(drop)?;
        limits.register(&poller).map_err(drop)?;
        poller.register(&bell, DECIDED, Interest::READABLE).map_err(drop)?;
        let shared = Arc::clone(&payload);
        let serve = move || {
            regex.prepare(mtu);
            let mut byte = [0];
            // Until the other end is closed.
            while theirs.read_exact(&mut byte).is_ok() {
                let is_match = {
                    let payload = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    // The source does not matter to a pattern.
                    regex.accepts(&payload, SocketAddr::from(([0, 0, 0, 0], 0)))
                };
                if theirs.write_all(&[u8::from(is_match)]).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().spawn(serve).map_err(drop)?;
        Ok(Self { payload, bell, poller })
    }

    fn decide(&mut self, payload: &[u8], limits: &Limits) -> Result<Option<bool>, ()> {
        {
            // The thread has no packet now: after one without an answer, no other is asked about.
            let mut shared = self.payload.try_lock().map_err(drop)?;
            shared.clear();
            shared.extend_from_slice(payload);
        }
        self.bell.write_all(&[0]).map_err(drop)?;
        let mut events = Events::<2>::new();
        let mut answer = [0];
        loop {
            let may_go_on = limits.wait(&self.poller, &mut events, None);
            if events.iter().any(|event| event.token() == DECIDED) {
                return self.bell.read_exact(&mut answer).map(|()| Some(answer == [1])).map_err(drop);
            }
            if may_go_on.is_err() {
                return Ok(None);
            }
        }
    }
}
