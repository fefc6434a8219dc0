//! The conductor as its protocol has it: the calls, the layers around the whole server, and how what
//! is declined looks on the wire. Nobody else knows a status.

mod access;
mod answers;
mod audience;
mod bounds;
mod pages;
mod players;
mod requests;
mod server;
mod status;

pub(crate) use self::server::listen;
