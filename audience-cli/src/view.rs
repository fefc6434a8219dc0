//! How answers look: text for people, JSON for programs. Nothing here asks or decides anything.

pub mod deployment;
mod diff;
pub mod flow;
pub mod json;
pub mod output;
pub mod players;
pub mod progress;
mod style;
pub mod task;

pub use style::{Style, elapsed, when, when_about};
