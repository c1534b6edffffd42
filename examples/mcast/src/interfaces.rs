//! The names of interfaces.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// Names of interfaces that were asked for. An interface may be renamed: each is asked for again after a second.
#[derive(Default)]
pub(crate) struct Names {
    known: Vec<(NonZeroU32, String, Instant)>,
}

impl Names {
    const GOOD_FOR: Duration = Duration::from_secs(1);

    /// The name of the interface with this index, or the index if there is no such interface any more.
    pub(crate) fn of(&mut self, index: NonZeroU32) -> &str {
        let now = Instant::now();
        self.known.retain(|(_, _, asked)| now.saturating_duration_since(*asked) < Self::GOOD_FOR);
        let place = self.known.iter().position(|(known, _, _)| *known == index).unwrap_or_else(|| {
            let name = ask(index).unwrap_or_else(|| index.to_string());
            self.known.push((index, name, now));
            self.known.len().saturating_sub(1)
        });
        self.known.get(place).map_or("", |(_, name, _)| name)
    }
}

fn ask(index: NonZeroU32) -> Option<String> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    netdevice::index_to_name(socket, index.get()).ok()
}
