//! How answers look: text for people, JSON for programs. Nothing here asks or decides anything.

pub mod absence;
pub mod deployment;
mod diff;
pub mod end;
pub mod explain;
pub mod flow;
pub mod groups;
pub mod json;
pub mod ledger;
pub mod output;
pub mod plan;
pub mod players;
pub mod progress;
pub mod scores;
mod style;
pub mod task;

pub(crate) use style::colour_at_start;
pub use style::{Page, Style, elapsed, one_line, when, when_about};
