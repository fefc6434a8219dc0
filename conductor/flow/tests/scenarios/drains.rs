//! Drains: what runs on a drained player finishes, nothing new starts there, what waits says so.

use orchestra_flow::{Answer, Rejection, answer};
use orchestra_model::{FlowState, Quantity, WaitReason};

use crate::world::*;

#[test]
fn what_runs_finishes_and_nothing_new_starts() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]")], vec![job("h[1-2]").named("then")]]));
    assert_eq!(
        world.drain_players("h1"),
        Answer::Drained(answer::Drained { hosts: hosts("h1"), in_flight: 1 })
    );
    world.ok("h1", id);
    world.ok("h2", id);
    assert_eq!(world.states(id, 2, 1), "waiting running");
    assert_eq!(world.tasks(id, 2, 1)[0].reason, Some(WaitReason::PlayerDrained));
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Running, "undrain helps: it is not stalled");
    assert_eq!(
        world.undrain_players("h1"),
        Answer::Drained(answer::Drained { hosts: hosts("h1"), in_flight: 0 })
    );
    assert_eq!(world.states(id, 2, 1), "running ok");
}

#[test]
fn it_is_remembered_with_its_reason() {
    let mut world = World::new("h[1-2]");
    world.drain_players("h1");
    world.restart_and_return();
    let player = world.engine.roster().member(&host("h1")).unwrap();
    let drain = world.engine.roster().drained(player).unwrap().clone();
    assert_eq!((drain.by, &*drain.reason), (audience(), "a disk is changed"));
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    assert_eq!(world.states(id, 1, 1), "waiting running");
    world.undrain_players("h1");
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 1), "running running");
}

#[test]
fn only_news_is_told_and_unknown_hosts_are_refused() {
    let mut world = World::new("h[1-3]");
    world.drain_players("h1");
    assert_eq!(
        world.drain_players("h[1-2]"),
        Answer::Drained(answer::Drained { hosts: hosts("h2"), in_flight: 0 })
    );
    let unknown = rejection(world.drain_players("h3,x1"));
    assert_eq!(unknown, Rejection::UnknownPlayers(hosts("x1")));
    assert_eq!(
        world.undrain_players("h[1-3]"),
        Answer::Drained(answer::Drained { hosts: hosts("h[1-2]"), in_flight: 0 })
    );
}

#[test]
fn a_further_attempt_waits_too_and_its_cell_with_it() {
    let mut world = World::new("h[1-2]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-2]", one)], &[("all", "h[1-2]")], &[]));
    let id = world.submit(flow([vec![job("h[1-2]").retries(1)]]));
    world.drain_players("h1");
    world.fail("h1", id);
    assert_eq!(world.states(id, 1, 1), "waiting waiting");
    assert_eq!(world.state(id), FlowState::Running);
    world.restart_and_return();
    assert_eq!(world.state(id), FlowState::Running);
    world.undrain_players("h1");
    assert_eq!(world.states(id, 1, 1), "running waiting");
}

#[test]
fn a_drained_player_takes_no_room_in_the_window_or_in_a_cell() {
    let mut world = World::new("h[1-3]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-3]", one)], &[("all", "h[1-3]")], &[]));
    world.drain_players("h1");
    let id = world.submit(flow([vec![job("h[1-3]").parallel(1)]]));
    assert_eq!(world.states(id, 1, 1), "waiting running waiting");
}

#[test]
fn one_that_waits_in_a_cells_queue_lets_others_go_first_when_it_is_drained() {
    let mut world = World::new("h[1-3]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-3]", one)], &[("all", "h[1-3]")], &[]));
    let id = world.submit(flow([vec![job("h[1-3]")]]));
    world.drain_players("h2");
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok waiting running");
    world.undrain_players("h2");
    world.ok("h3", id);
    assert_eq!(world.states(id, 1, 1), "ok running ok");
}

#[test]
fn one_of_goes_elsewhere() {
    let mut world = World::new("h[1-2]");
    world.drain_players("h1");
    let id = world.submit(flow([vec![job("h[1-2]").one_of()]]));
    assert_eq!(world.running_hosts(id), "h2");
    world.drain_players("h2");
    let id = world.submit(flow([vec![job("h[1-2]").one_of()]]));
    assert_eq!(world.states(id, 1, 1), "waiting");
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::PlayerDrained));
    world.undrain_players("h1");
    assert_eq!(world.running_hosts(id), "h1");
}

#[test]
fn a_removed_player_that_comes_back_is_still_drained() {
    let mut world = World::new("h[1-2]");
    world.drain_players("h1");
    world.load("h2");
    world.load("h[1-2]");
    world.attach("h1");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    assert_eq!(world.states(id, 1, 1), "waiting running");
}
