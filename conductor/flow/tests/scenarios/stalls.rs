//! A flow is `stalled` when only a person can help, at once and no sooner; and it says who can.

use orchestra_model::{FlowId, FlowState, Quantity};

use crate::world::*;

fn one_of(fleet: &str) -> World {
    let mut world = World::new(fleet);
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("app", fleet, one)], &[("all", fleet)], &[]));
    world
}

/// Leaves a host down.
fn break_host(world: &mut World, name: &str) -> FlowId {
    let id = world.submit(flow([vec![job(name).named("broken")]]));
    world.fail(name, id);
    id
}

#[test]
fn a_cell_that_is_busy_is_not_dead() {
    let mut world = one_of("h[1-3]");
    let busy = world.submit(flow([vec![job("h1")]]));
    let id = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.state(id), FlowState::Running);
    world.fail("h1", busy);
    assert_eq!(world.state(id), FlowState::Stalled);
    let why = world.stalled(id);
    assert!(why[0].contains("app in cluster all of site is full, 1 of 1"), "{why:?}");
    assert!(why[0].contains("h1 (failed in 1.1.1"), "{why:?}");
}

#[test]
fn work_that_waits_on_the_host_that_is_down_is_hope() {
    let mut world = one_of("h[1-3]");
    break_host(&mut world, "h1");
    let id = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.state(id), FlowState::Stalled);
    world.detach("h1");
    let hope = world.submit(flow([vec![job("h1")]]));
    assert_eq!(world.state(id), FlowState::Running, "it waits for h1, and that for its player");
    assert_eq!(world.state(hope), FlowState::Running);
    world.cancel(hope);
    assert_eq!(world.state(id), FlowState::Stalled);
    let hope = world.submit(flow([vec![job("h1")]]));
    world.attach("h1");
    assert_eq!(world.states(hope, 1, 1), "running");
    assert_eq!(world.state(id), FlowState::Running);
    world.ok("h1", hope);
    assert_eq!(world.states(id, 1, 1), "running");
}

#[test]
fn as_long_as_anything_of_it_goes_on_it_is_not() {
    let mut world = one_of("h[1-3],x[1-2]");
    world.deploy(deployment(
        &[("app", "h[1-3]", Some(Quantity::Count(1)))],
        &[("all", "h[1-3]")],
        &[],
    ));
    break_host(&mut world, "h1");
    let id = world.submit(flow([vec![job("h2"), job("x1"), job("x2").give_up_after(60)]]));
    assert_eq!(world.state(id), FlowState::Running);
    world.ok("x1", id);
    assert_eq!(world.state(id), FlowState::Running);
    world.ok("x2", id);
    assert_eq!(world.state(id), FlowState::Stalled);
    world.pause(id);
    assert_eq!(world.state(id), FlowState::Paused, "a pause is a person's own doing");
    world.resume(id);
    assert_eq!(world.state(id), FlowState::Stalled);
}

#[test]
fn a_player_that_is_away_is_waited_for_and_not_stalled() {
    let mut world = one_of("h[1-3]");
    break_host(&mut world, "h1");
    world.detach("h2");
    let id = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.state(id), FlowState::Running);
    world.attach("h2");
    assert_eq!(world.state(id), FlowState::Stalled);
    world.detach("h2");
    assert_eq!(world.state(id), FlowState::Running);
    world.restart_and_return();
    assert_eq!(world.state(id), FlowState::Running);
    world.attach("h2");
    assert_eq!(world.state(id), FlowState::Stalled);
}

#[test]
fn a_look_and_an_unthrottled_job_are_never_stalled_by_cells() {
    let mut world = one_of("h[1-3]");
    break_host(&mut world, "h1");
    let look = world.submit(flow([vec![job("h2").score("look")]]));
    let free = world.submit(flow([vec![job("h3").unthrottled()]]));
    assert_eq!(world.states(look, 1, 1), "running");
    assert_eq!(world.states(free, 1, 1), "running");
}

#[test]
fn of_two_cells_the_one_that_is_dead_stalls_also_when_the_other_moves() {
    let mut world = World::new("h[1-4]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployments([
        named_deployment("left", &[("app", "h[1-2]", one)], &[("all", "h[1-4]")], &[]),
        named_deployment("right", &[("app", "h[2-3]", one)], &[("all", "h[1-4]")], &[]),
    ]));
    let left = world.submit(flow([vec![job("h1")]]));
    let right = world.submit(flow([vec![job("h3")]]));
    let id = world.submit(flow([vec![job("h2")]]));
    world.fail("h3", right);
    world.ok("h1", left);
    // It takes both of its cells or none.
    assert_eq!(world.states(id, 1, 1), "waiting");
    assert_eq!(world.state(id), FlowState::Stalled);
    assert_eq!(world.holders(), "h3");
    let other = world.submit(flow([vec![job("h1")]]));
    assert_eq!(world.states(other, 1, 1), "running", "nobody keeps a cell that waits for another");
    world.release("h3");
    world.fail("h1", other);
    assert_eq!(world.state(id), FlowState::Stalled);
    world.release("h1");
    assert_eq!(world.states(id, 1, 1), "running");
}

#[test]
fn a_one_of_job_is_stalled_when_all_its_players_are() {
    let mut world = one_of("h[1-3]");
    let free = Some(Quantity::Count(1));
    world.deploy(deployment(
        &[("app", "h[1-2]", free), ("other", "h3", free)],
        &[("all", "h[1-3]")],
        &[],
    ));
    break_host(&mut world, "h1");
    let busy = world.submit(flow([vec![job("h3").score("alone")]]));
    let id = world.submit(flow([vec![job("h[2-3]").one_of()]]));
    assert_eq!(world.state(id), FlowState::Running, "h3 will be free");
    world.ok("h3", busy);
    assert_eq!(world.running_hosts(id), "h3");
    let id = world.submit(flow([vec![job("h2").one_of()]]));
    assert_eq!(world.state(id), FlowState::Stalled);
    let why = world.stalled(id);
    assert!(why[0].contains("h1 (failed in"), "{why:?}");
}

#[test]
fn a_one_of_job_waits_for_nobody_who_was_removed() {
    let mut world = one_of("h[1-3]");
    break_host(&mut world, "h1");
    let id = world.submit(flow([vec![job("h[2-3]").one_of()]]));
    world.load("h[1-2]");
    assert_eq!(world.state(id), FlowState::Stalled);
}

#[test]
fn a_job_that_is_doomed_beside_one_that_waits_in_vain_hides_nothing() {
    let mut world = one_of("h[1-3],x1");
    world.deploy(deployment(
        &[("app", "h[1-3]", Some(Quantity::Count(1)))],
        &[("all", "h[1-3]")],
        &[],
    ));
    break_host(&mut world, "h1");
    let id = world.submit(flow([vec![job("h2"), job("x1")]]));
    world.fail("x1", id);
    assert_eq!(world.state(id), FlowState::Stalled);
    assert!(!world.status(id).unwrap().stalled.is_empty());
    world.release("h1");
    assert_eq!(world.state(id), FlowState::Doomed);
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn a_canary_behind_what_it_holds_back_says_so() {
    let mut world = World::new("h[1-2]");
    world.deploy(deployment(
        &[("first", "h2", None), ("second", "h1", None)],
        &[("all", "h[1-2]")],
        &["first", "second"],
    ));
    let id = world.submit(flow([vec![job("h[1-2]").canary(1).bake(1)]]));
    assert_eq!(world.state(id), FlowState::Stalled);
    let why = world.stalled(id).join("\n");
    assert!(why.contains("comes after first in cluster all of site"), "{why}");
    assert!(why.contains("<promote"), "{why}");
    world.promote(id);
    assert_eq!(world.running_hosts(id), "h2");
}

#[test]
fn it_says_so_once_and_again_only_when_it_has_changed() {
    let mut world = one_of("h[1-4]");
    break_host(&mut world, "h1");
    let id = world.submit(flow([vec![job("h[2-4]")]]));
    let said = |world: &World| {
        let says = |event: &&orchestra_model::status::Event| matches!(event, orchestra_model::status::Event::Flow { flow, .. } if *flow == id);
        world.events.iter().filter(says).count()
    };
    let before = said(&world);
    for _ in 0..3 {
        let look = world.submit(flow([vec![job("h[1-4]").score("look")]]));
        for name in ["h1", "h2", "h3", "h4"] {
            world.ok(name, look);
        }
    }
    assert_eq!(world.state(id), FlowState::Stalled);
    assert_eq!(said(&world), before);
}

#[test]
fn a_host_that_is_removed_while_it_is_down_gives_no_hope() {
    let mut world = one_of("h[1-3]");
    break_host(&mut world, "h1");
    let hope = world.submit(flow([vec![job("h1")], vec![job("h3").named("then")]]));
    let id = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.state(id), FlowState::Running);
    world.load("h[2-3]");
    assert_eq!(world.state(hope), FlowState::Failed, "sent to a player that was removed: lost");
    assert_eq!(world.state(id), FlowState::Stalled);
    world.restart_and_return();
    assert_eq!(world.state(id), FlowState::Stalled);
    world.release("h1");
    assert_eq!(world.states(id, 1, 1), "running");
}
