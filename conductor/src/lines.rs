//! Players' lines: streams, which connections carry, and sessions, each of one player.

mod session;
mod stream;

pub use self::session::Patience;
pub(crate) use self::{
    session::Sessions,
    stream::{EncodedJob, Frames, Goodbye, Header, Outbox},
};
