//! Plain values that all other modules may use: groups, interfaces and their names, and socket addresses as bytes.
//!
//! Nothing here can fail with an [`Error`](crate::Error), because errors contain these values. The functions that parse them, and
//! the constructors that return an error, are in `group`.

mod encoded;
mod group;
mod interface;

pub(crate) use encoded::{Address, put};
pub(crate) use group::is_link_local;
pub use group::{Family, Group};
pub use interface::{Interface, Name};
