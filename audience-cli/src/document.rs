//! Small documents that people write: flow files and the audience's configuration, in JSON, YAML
//! or TOML.
//!
//! A document is read in two steps. [`Format::parse`] makes one tree of whatever format it is,
//! within bounds of size and depth, and refuses keys that are given twice. [`Fields`] then takes
//! the tree apart by name and collects every problem with its place, so that somebody who wrote
//! five mistakes hears of five. What the fields mean is for the callers to say.

mod fields;
mod format;
mod node;
mod yaml;

pub use fields::{Fields, Foreign, Problems, nearest};
pub use format::Format;
pub use node::Node;
