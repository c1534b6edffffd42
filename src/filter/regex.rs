//! Regular expressions over bytes.

use core::net::SocketAddr;

use super::Filter;
use crate::error::{Error, Result};

/// Accepts packets that match a regular expression from their first byte on.
#[derive(Clone, Debug)]
pub struct Regex {
    compiled: regex_lite::Regex,
}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`ErrorKind::Pattern`](crate::ErrorKind::Pattern).
    pub fn new(pattern: &str) -> Result<Self> {
        let compiled =
            regex_lite::Regex::new(pattern).map_err(|error| Error::pattern(std::string::ToString::to_string(&error)))?;
        Ok(Self { compiled })
    }
}

impl Filter for Regex {
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        core::str::from_utf8(payload).is_ok_and(|text| self.compiled.is_match(text))
    }
}
