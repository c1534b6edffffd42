//! Parses interfaces and their names.

use core::str::FromStr;

use super::{Interface, Name};
use crate::error::{Error, ErrorKind, Excerpt, Object, Operation, Result};

impl FromStr for Interface {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || Error::new(Operation::ParseInterface, Object::Text(Excerpt::new(text)), ErrorKind::Syntax);
        if text == "default" {
            return Ok(Self::Default);
        }
        if text == "all" {
            return Ok(Self::All);
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Index).map_err(|_| refused());
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        Name::new(text).map(Self::Name)
    }
}

impl Name {
    /// A name, whether or not an interface has it.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] if the kernel does not allow the name.
    pub fn new(name: &str) -> Result<Self> {
        Self::known(name)
            .ok_or_else(|| Error::new(Operation::ParseInterface, Object::Text(Excerpt::new(name)), ErrorKind::Syntax))
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}
