//! Documents that people write, in JSON, YAML or TOML: flow files, configurations of all programs,
//! groups, `.conf` files of scores, deployments, services. Only the players file, which is lines
//! of host sets and labels, is read elsewhere.
//!
//! A document is read in two steps. [`Format::parse`] makes one tree of whatever format it is,
//! within bounds of size and depth, and refuses keys that are given twice. [`Fields`] then takes
//! the tree apart by name and collects every problem with its place, and with its line where the
//! format is YAML or TOML, so that somebody who wrote five mistakes hears of five. What the fields
//! mean is for the callers to say; what several programs read is read here: deployments, in
//! [`deployment`], services, in [`service`], places, in [`place`], and what a score says of itself,
//! in [`score`].
//! [`settings()`] is for configurations.
//!
//! No IO: texts come in, and whoever read them bounded their size.

pub mod deployment;
mod fields;
mod format;
mod node;
pub mod place;
mod problems;
pub mod score;
pub mod service;
mod settings;
mod toml;
mod values;
mod yaml;

pub use fields::{Fields, Foreign};
pub use format::{Format, Malformed};
pub use node::{Key, Node};
pub use problems::Problems;
pub use settings::settings;
pub use values::{check_host_set, read_params};
