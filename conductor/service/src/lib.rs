//! The services' engine: what services are to be, and which flows bring them there. It decides
//! everything and does nothing.
//!
//! [`Services`] takes what was asked, what players tell of their units, and how flows ended
//! ([`Input`]). It gives what is to be done ([`Effect`]), in order. Like the flow engine it reads
//! no clock, draws no chance and does no IO. The driver carries out [`Effect::Submit`] and
//! [`Effect::Cancel`] at once, by the flow engine, so that the records of both engines are in one
//! batch. Answers wait until that batch is on disk.
//!
//! `Input`, `Effect`, `ReplyId`, `Reply` and `Rejection` have the same roles in the other engines.
//!
//! The engine follows states, not events. *Desired* is a service's version, goal and host set;
//! *actual* is what players tell of their units. Each event marks the hosts where the two differ
//! (`tables`), and a service without a living flow gets one for all of these hosts
//! (`rules::advance`): with the cause that was asked for, else as a repair. So what is asked while
//! a flow lives, and what a crash cut short, is found again as a difference. Without a difference
//! nothing is done.
//!
//! A host that a flow did not bring to what is wanted is given up until its player attaches anew,
//! or until somebody asks for something. Otherwise a score that cannot start would be ordered for
//! ever.
//!
//! Units that are unhealthy are a difference too, if their service says that they are restarted then
//! (`rules::health`).
//!
//! Where a service is wanted is said by its host set, or, if it is *placed*, by the engine: it chooses
//! players ([`placement`]) and remembers them as the service's hosts, so that all else is the same
//! for both (`rules::placing`).
//!
//! A unit counts as down unless its player is attached and tells that it is ready. While it counts
//! as down its host holds its cells ([`Effect::Unwell`]). A unit that was never told does not count
//! as down.

mod effect;
mod input;
pub mod placement;
mod rules;
mod services;
mod tables;
mod views;

pub use effect::{Effect, FlowService, Released, UnitFlow};
pub use input::{
    AppliedService, Ask, FileConflict, FiledService, Input, Leaving, Rejection, Reply, ReplyId,
    Taken,
};
pub use services::{RecoveredService, Services};
