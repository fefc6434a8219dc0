//! The conductor as its protocol has it: the calls, and the layers around the whole server.

mod access;
mod bounds;

pub(crate) use self::{
    access::AccessLayer,
    bounds::{BoundsLayer, Turn},
};
