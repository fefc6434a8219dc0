//! Flows: submitting them, asking about them, steering them.

pub mod file;
pub(crate) mod ids;
pub mod limits;

pub(crate) mod explain;
pub(crate) mod list;
pub(crate) mod plan;
pub(crate) mod retry;
mod several;
pub(crate) mod status;
pub(crate) mod steer;
pub(crate) mod submit;
mod told;
pub(crate) mod wait;
