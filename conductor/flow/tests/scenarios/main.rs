//! Named scenarios, one a rule of `docs/promises.md` or `docs/flows.md`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../world/mod.rs"]
mod world;

mod absence;
mod canaries;
mod cancels;
mod cells;
mod delivery;
mod deployments;
mod drains;
mod explains;
mod follows;
mod further_attempts;
mod gates;
mod holds;
mod ledgers;
mod limits;
mod one_of;
mod pauses;
mod plans;
mod quarantine;
mod quorums;
mod recovery;
mod retries;
mod rosters;
mod sequences;
mod stale;
mod stalls;
mod starts;
mod submission;
mod trees;
mod units;
mod verdicts;
mod windows;

use orchestra_model::FlowId;

use crate::world::{JobExt as _, World, flow, job};

/// A fleet of two whose h2 takes one task at once. The first flow keeps it; of the second, on both
/// hosts, as many are ok as it asks for, so that its task on h2 is a straggler.
fn straggler() -> (World, FlowId, FlowId) {
    let mut world = World::new("h[1-2]");
    world.player("h2").takes(1);
    world.attach("h2");
    let busy = world.submit(flow([vec![job("h2")]]));
    let id = world.submit(flow([vec![job("h[1-2]").success(1)]]));
    world.ok("h1", id);
    (world, busy, id)
}
