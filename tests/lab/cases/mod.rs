//! The cases, by group.

mod hosts;
mod interfaces;
mod routing;
mod sources;
mod wire;

use crate::trial::Case;

/// All of them, in their order.
pub fn all() -> impl Iterator<Item = Case> {
    [hosts::cases(), wire::cases(), routing::cases(), interfaces::cases(), sources::cases()].into_iter().flatten()
}
