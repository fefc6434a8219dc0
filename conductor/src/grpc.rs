//! The conductor as its protocol has it: the calls, the layers around the whole server, and how what
//! is declined looks on the wire. Nobody else knows a status.

mod access;
mod audience;
mod bounds;
mod players;
mod server;
mod status;

pub(crate) use self::{bounds::Turn, server::listen};
