//! What ends the program from outside: signals, and the timeout.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use multicast::{Events, Interest, Poller, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::stop::{Stop, failed};

const SIGNAL: Token = Token(0);

pub(crate) struct Limits {
    /// The last signal; 0 is none.
    signal: Arc<AtomicUsize>,
    /// Readable from the first signal on. It is never read, so that each poll sees the signal.
    signalled: UnixStream,
    /// Its other end. If all copies were closed, as when all signals are ignored, `signalled` would be readable.
    _raise: UnixStream,
    started: Instant,
    timeout: Option<Duration>,
}

impl Limits {
    /// Starts to catch SIGINT, SIGTERM and SIGHUP (the terminal is gone), and starts the timeout. A signal that was ignored at the start
    /// stays ignored, as for every program: so `nohup` works, and the background jobs of a script outlive the SIGINT of a terminal.
    pub(crate) fn new(timeout: Option<Duration>) -> Result<Self, Stop> {
        let signal = Arc::new(AtomicUsize::new(0));
        let (signalled, raise) = UnixStream::pair().map_err(failed("open a pair of sockets for signals"))?;
        let ignored = ignored_signals();
        for number in [SIGHUP, SIGINT, SIGTERM] {
            if ignored >> (number - 1) & 1 == 1 {
                continue;
            }
            let raise = raise.try_clone().map_err(failed("open a socket for signals"))?;
            // Handlers run in the order of their registration: so the number is set before the socket wakes the poller.
            flag::register_usize(number, Arc::clone(&signal), number.unsigned_abs() as usize)
                .and_then(|_| low_level::pipe::register(number, raise))
                .map_err(failed("catch a signal"))?;
        }
        Ok(Self { signal, signalled, _raise: raise, started: Instant::now(), timeout })
    }

    /// Lets signals wake this poller. The caller may use the tokens from 1 on.
    pub(crate) fn register(&self, poller: &Poller) -> Result<(), Stop> {
        Ok(poller.register(&self.signalled, SIGNAL, Interest::READABLE)?)
    }

    /// Whether the program may continue.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        match self.signal.load(Ordering::Relaxed) {
            0 => {}
            signal => return Err(Stop::Signal(signal as u8)),
        }
        match self.time_left() {
            Some(Duration::ZERO) => Err(Stop::TimedOut),
            _ => Ok(()),
        }
    }

    /// Waits until something is ready, at most for `at_most`, and no longer than the program may continue. `events` has what is
    /// ready, also if the program must end.
    pub(crate) fn wait<const N: usize>(
        &self,
        poller: &Poller,
        events: &mut Events<N>,
        at_most: Option<Duration>,
    ) -> Result<(), Stop> {
        let time = match (self.time_left(), at_most) {
            (Some(left), Some(at_most)) => Some(left.min(at_most)),
            (left, at_most) => left.or(at_most),
        };
        poller.poll(events, time)?;
        self.check()
    }

    /// What the end of the time means, after so many packets of those that were wanted.
    pub(crate) fn verdict(&self, heard: u64, wanted: Option<u64>) -> Result<(), Stop> {
        match (heard, wanted) {
            (0, _) => Err(Stop::NothingHeard),
            (heard, Some(wanted)) if heard < wanted => {
                Err(Stop::missed(format!("the time is up: {heard} of {wanted} packets came")))
            }
            _ => Ok(()),
        }
    }

    fn time_left(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.saturating_sub(self.started.elapsed()))
    }
}

/// The signals that are ignored, the lowest bit for signal 1 (`SigIgn` in `proc_pid_status(5)`); none if `/proc` is not there.
fn ignored_signals() -> u64 {
    let Ok(status) = File::open("/proc/self/status") else { return 0 };
    // A line can be long: there may be thousands of groups.
    let mut lines = BufReader::with_capacity(1024, status).split(b'\n').map_while(Result::ok);
    let digits = lines.find_map(|line| line.strip_prefix(b"SigIgn:\t").map(<[u8]>::to_vec)).unwrap_or_default();
    digits.iter().fold(0, |mask, digit| mask << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or(0)))
}
