//! Scores.

pub(crate) mod list;
