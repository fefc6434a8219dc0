//! What one connection carries.

mod counts;
mod out;

pub(super) use self::counts::{Stream, Streams};
pub(crate) use self::out::{EncodedJob, Frames, Goodbye, Header, Outbox};
