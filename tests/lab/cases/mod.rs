//! The cases, by group.

mod hosts;
mod wire;

use crate::trial::Case;

/// All of them, in their order.
pub fn all() -> impl Iterator<Item = Case> {
    [hosts::cases(), wire::cases()].into_iter().flatten()
}
