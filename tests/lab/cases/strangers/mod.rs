//! What other hosts, other programs and the administrator do must not stop a listener or a sender.

mod links;
mod neighbours;
mod senders;

use crate::trial::Case;

pub fn cases() -> Vec<Case> {
    [senders::cases, neighbours::cases, links::cases].into_iter().flat_map(|cases| cases()).collect()
}
