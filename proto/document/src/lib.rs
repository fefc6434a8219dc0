//! Small documents that people write, in JSON, YAML or TOML: flow files, the audience's
//! configuration, deployments, services.
//!
//! A document is read in two steps. [`Format::parse`] makes one tree of whatever format it is,
//! within bounds of size and depth, and refuses keys that are given twice. [`Fields`] then takes
//! the tree apart by name and collects every problem with its place, so that somebody who wrote
//! five mistakes hears of five. What the fields mean is for the callers to say; what both the
//! conductor and the tools read is read here: deployments, in [`deployment`], and services, in
//! [`service`].
//!
//! No IO: texts come in, and whoever read them bounded their size.

pub mod deployment;
mod fields;
mod format;
mod node;
mod problems;
pub mod service;
mod values;
mod yaml;

pub use fields::{Fields, Foreign};
pub use format::{Format, Malformed};
pub use node::Node;
pub use problems::Problems;
pub use values::{check_host_set, read_params};
