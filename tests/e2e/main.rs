//! The real programs, over loopback and mutual TLS: what a crash, a wrong certificate, a hostile
//! score or a full pipe does to a fleet of real processes.
//!
//! Each module is a theme, each test a promise. Every test has its own fleet in its own directory
//! ([`harness::Fleet`]), so that all of them run side by side, and several runs of all of them too.
//! Tests wait for conditions, never for time. How often a score ran is counted by the scores
//! themselves, in a file of their own, never by what the daemons say.
//!
//! Delays that a test draws as a fault come from a seed, which is printed:
//! `ORCHESTRA_SEED=N cargo test -p orchestra-tests --test e2e NAME` draws them again.

#![cfg(test)]

mod harness;

mod absent;
mod audit;
mod bundles;
mod certificates;
mod conductor_crashes;
mod daemons;
mod deliveries;
mod disk_full;
mod exits;
mod forecast;
mod holds;
mod idle;
mod impostor;
mod kills;
mod output;
mod peers;
mod places;
mod player_crashes;
mod policy;
mod relays;
mod reload;
mod restored;
mod rollout;
mod scores;
mod service_absence;
mod service_age;
mod service_alone;
mod service_budget;
mod service_files;
mod service_health;
mod service_leases;
mod service_moves;
mod service_outages;
mod service_recipes;
mod services;
mod smoke;
mod strays;
mod streams;
mod users;
mod values;
mod wiki;
