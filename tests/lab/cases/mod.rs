//! The cases, by group.

mod changes;
mod doctor;
mod documented;
mod hosts;
mod interfaces;
mod many;
mod protocols;
mod relayed;
mod routing;
mod snooping;
mod sources;
mod strangers;
mod tool;
mod wire;

use crate::trial::Case;

/// All cases, in their order.
pub fn all() -> impl Iterator<Item = Case> {
    let groups = [
        hosts::cases,
        wire::cases,
        routing::cases,
        interfaces::cases,
        sources::cases,
        changes::cases,
        documented::cases,
        relayed::cases,
        many::cases,
        snooping::cases,
        strangers::cases,
        doctor::cases,
        protocols::cases,
        tool::cases,
    ];
    groups.into_iter().flat_map(|cases| cases())
}
