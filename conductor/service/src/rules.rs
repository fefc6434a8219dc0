//! What follows from an input.

mod absence;
pub(crate) mod advance;
mod age;
mod asked;
mod brakes;
mod drift;
mod files;
mod flows;
mod health;
mod leases;
mod links;
mod misfits;
mod moving;
mod panic;
mod placing;
mod rebalance;
mod recipes;
mod relief;
mod scale;
mod strangers;
mod surge;
mod together;
mod told;

pub(crate) use placing::COME_BACK;
