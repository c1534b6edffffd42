//! `--filter`: a regular expression that all sockets share.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use lexopt::Parser;
use multicast::filter::{Filter, Regex};

use crate::options::text;
use crate::stop::Stop;

#[derive(Clone)]
pub(crate) struct Pattern(Rc<RefCell<Regex>>);

pub(crate) fn parse(parser: &mut Parser) -> Result<Pattern, Stop> {
    let pattern = text(parser, "--filter")?;
    let parsed = Regex::new(&pattern).map_err(|error| Stop::Misused(format!("--filter: {error}")))?;
    Ok(Pattern(Rc::new(RefCell::new(parsed))))
}

impl Filter for Pattern {
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        // Never borrowed twice: a pattern calls nothing. If it were, a packet too many is better than one too few.
        self.0.try_borrow_mut().map_or(true, |mut pattern| pattern.accepts(payload, source))
    }

    fn prepare(&mut self, mtu: usize) {
        if let Ok(mut pattern) = self.0.try_borrow_mut() {
            pattern.prepare(mtu);
        }
    }
}
