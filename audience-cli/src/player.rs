//! Players.

pub(crate) mod drain;
pub(crate) mod list;
