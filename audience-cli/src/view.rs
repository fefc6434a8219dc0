//! How answers look: text for people, JSON for programs. Nothing here asks or decides anything.

pub mod absence;
mod conductor;
pub mod deployment;
pub mod flow;
pub mod hosts;
pub mod json;
pub mod ledger;
mod output;
pub mod player;
pub mod score;
mod style;
pub mod task;

pub(crate) use output::{Listing, Output};
pub(crate) use style::colour_at_start;
pub use style::{Page, Style, elapsed, one_line, when, when_about};
