//! The skin for the gRPC protocol: its calls, the layers around the whole server, and how a
//! declined request looks on the wire. Only this room knows `tonic::Status`.

mod access;
mod answers;
mod audience;
mod bounds;
mod pages;
mod players;
mod policy;
mod requests;
mod server;
mod shared_outputs;
mod status;

pub(crate) use self::server::listen;
