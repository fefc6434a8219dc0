//! Sets of hosts.

pub(crate) mod groups;
pub(crate) mod hostset;
