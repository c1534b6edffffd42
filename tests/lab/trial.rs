//! What a case is, and how one is tried.

use std::thread::{self, Builder};

/// One case: what must hold, and a way to switch off what makes it hold.
pub struct Case {
    /// Its group and what it shows: `hosts/python-hears-us`.
    pub name: &'static str,
    /// What a proof switches off, from outside the product.
    pub off: &'static str,
    /// It panics where something does not hold.
    pub run: fn(&Trial),
}

/// A thread that belongs to the case of this one: what panics there is reported with it, by its name.
pub fn helper() -> Builder {
    Builder::new().name(thread::current().name().unwrap_or_default().to_owned())
}

/// What a case is told.
pub struct Trial {
    is_proof: bool,
}

impl Trial {
    pub const fn new(is_proof: bool) -> Self {
        Self { is_proof }
    }

    /// Whether the mechanism that the case tests is to work; if not, the case switches it off, and goes on as if nothing was.
    pub const fn works(&self) -> bool {
        !self.is_proof
    }

    /// One of two, by whether the mechanism is to work.
    pub fn pick<T>(&self, working: T, switched_off: T) -> T {
        if self.works() { working } else { switched_off }
    }
}
