//! Tasks.

pub(crate) mod logs;
