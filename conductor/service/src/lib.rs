//! What services are to be, and which flows bring them there: everything that decides, and nothing
//! that does.
//!
//! [`Services`] is told what somebody asked for, what players tell of their units, and how flows ended
//! ([`Input`]); it answers with what is to be done ([`Effect`]), in order. Like the flow scheduler it
//! reads no clock, draws no chance and does no IO. Whoever drives it carries out effects that are
//! [`Effect::Submit`] or [`Effect::Cancel`] at once, by the scheduler, so that what either of the two
//! persists lies in one batch; answers wait for that batch to be on disk.
//!
//! `Input`, `Effect`, `ReplyId`, `Reply` and `Rejection` are what they are in the other engines.
//!
//! It is driven by levels, not by edges. *Desired* is a service's version, goal and host set; *actual*
//! is what players tell of their units. Each event marks the hosts where the two differ
//! (`tables`), and a service that has no living flow gets one for all of them
//! (`rules::advance`): with the cause that somebody asked for, else as a repair. So whatever is
//! asked while a flow lives, and whatever a crash cut short, is found again as a difference. Where
//! there is none, nothing is done at all.
//!
//! A host that a flow did not bring where it was wanted is given up, until its player attaches anew or
//! somebody asks for something: else a score that cannot start would be ordered for ever.
//!
//! A unit counts as down unless its player, attached, tells that it is ready; its host then holds its
//! cells ([`Effect::Unwell`]). Of a unit that was never told of, nothing is known to be missing.

mod effect;
mod input;
mod rules;
mod services;
mod tables;
mod views;

pub use effect::{Effect, UnitFlow};
pub use input::{
    Ask, FileConflict, FiledService, Input, Leaving, Rejection, Reply, ReplyId, Taken,
};
pub use services::{RecoveredService, Services};
