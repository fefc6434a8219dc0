//! The conductor itself.

pub(crate) mod status;
