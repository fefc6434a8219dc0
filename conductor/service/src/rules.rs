//! What follows from an input.

pub(crate) mod advance;
mod asked;
mod flows;
mod links;
mod told;
