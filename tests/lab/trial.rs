//! A case, and the parameters of its run.

use std::thread::{self, Builder};

/// One case: what must hold, and a way to switch off the mechanism that makes it hold.
pub struct Case {
    /// Its group, and what it shows: `hosts/python-hears-us`.
    pub name: &'static str,
    /// What a proof switches off, from outside the crate.
    pub off: &'static str,
    /// Runs the case; panics if something does not hold.
    pub run: fn(&Trial),
}

/// A thread of the same case. It inherits the name of this thread, so that its panics are reported with the case.
pub fn helper() -> Builder {
    Builder::new().name(thread::current().name().unwrap_or_default().to_owned())
}

/// The parameters of a case's run.
pub struct Trial {
    is_proof: bool,
}

impl Trial {
    pub const fn new(is_proof: bool) -> Self {
        Self { is_proof }
    }

    /// Whether the mechanism that the case tests works. If not, the case switches it off, and runs in the same way otherwise.
    pub const fn works(&self) -> bool {
        !self.is_proof
    }

    /// The first value if the mechanism works, else the second.
    pub fn pick<T>(&self, working: T, switched_off: T) -> T {
        if self.works() { working } else { switched_off }
    }
}
