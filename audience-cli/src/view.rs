//! How answers look: text for people, JSON for programs. Nothing here asks or decides anything.

pub(crate) mod absence;
pub(crate) mod audit;
pub(crate) mod bundle;
mod conductor;
pub(crate) mod deployment;
pub(crate) mod doctor;
pub(crate) mod flow;
pub(crate) mod hosts;
pub(crate) mod import;
pub(crate) mod json;
pub(crate) mod ledger;
pub(crate) mod live;
mod output;
pub(crate) mod place;
pub(crate) mod player;
pub(crate) mod policy;
#[cfg(test)]
mod samples;
pub(crate) mod score;
pub(crate) mod service;
mod style;
pub(crate) mod task;
pub(crate) mod top;
pub(crate) mod vitals;

pub(crate) use output::{Each, Listing, Output};
pub(crate) use style::colour_at_start;
pub(crate) use style::{
    Page, Style, ago, elapsed, one_line, read_coming_moment, read_moment, when, when_about,
};
