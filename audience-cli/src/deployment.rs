//! Deployments.

pub(crate) mod list;
