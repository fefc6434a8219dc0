//! Placement: which players get instances of a service, as a function of what is known of players.
//!
//! A player can be *chosen* if it has the labels and the zone that are asked for, offers the score,
//! is attached, is not drained, has no instance of the service and as much left as one needs. Of
//! these the next instance goes to the zone with fewest instances of the service, there to the
//! player with the least reserved (`pack`: the most), and of equal ones to the one with the highest
//! rendezvous hash over service, ordinal and player. The same inputs choose the same players.
//!
//! [`Ground`] keeps players in the order of what is reserved on them, apart by labels and scores, so
//! that a choice looks at a few players and not at the fleet.

mod choose;
mod ground;
mod hash;

pub(crate) use hash::share_of_run;

pub use choose::{Chosen, Standing, choose, choose_another, surplus};
pub use ground::{Census, Ground, SameScore, Wish};
