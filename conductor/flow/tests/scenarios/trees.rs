//! Trees: a task starts when a host that is ok can serve it, and never waits beside one that can.

mod random;

use orchestra_flow::{Answer, Command, Effect, Input, Rejection, ReplyId, ReplyTo};
use orchestra_model::{
    FlowId, FlowState, HostName, TaskState, WaitReason,
    delivery::{Order, Outcome},
    record::{Op, Record},
    tree::{Orphans, Parent},
};

use crate::world::*;

/// Who serves each task of the only job, by its record: `h2<h1` for h2 that h1 serves, `h1<` for one
/// that nobody does.
fn served(world: &World, flow: FlowId) -> String {
    let tasks = world.tasks(flow, 1, 1).into_iter();
    let bound = tasks.filter_map(|task| Some(format!("{}<{}", task.host?, task.parent?)));
    bound.collect::<Vec<_>>().join(" ")
}

/// The orders that were ever sent to a host, oldest first.
fn orders(world: &World, name: &str) -> Vec<Order> {
    let sent = world.asked.iter().filter_map(|effect| match effect {
        Effect::Send { player, command: Command::Order(order), .. } => {
            (world.engine.roster().host(*player).as_str() == name).then(|| order.clone())
        }
        _ => None,
    });
    sent.collect()
}

fn host_of(parent: &Parent) -> &str {
    parent.host().map_or("", HostName::as_str)
}

#[test]
fn a_child_starts_when_its_parent_is_ok() {
    let mut world = World::new("h[1-5]");
    let id = world.submit(flow([vec![job("h[1-5]").tree(2)]]));
    assert_eq!(world.states(id, 1, 1), "running waiting waiting waiting waiting");
    assert_eq!(world.tasks(id, 1, 1)[1].reason, Some(WaitReason::Parent));
    world.ok("h1", id);
    assert_eq!(world.running_hosts(id), "h[2-3]");
    world.ok("h2", id);
    assert_eq!(served(&world, id), "h1< h2<h1 h3<h1 h4<h2 h5<h2");
    for name in ["h3", "h4", "h5"] {
        world.ok(name, id);
    }
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn a_score_is_told_its_place() {
    let mut world = World::new("b1,h[1-6]");
    let id = world.submit(flow([vec![job("h[1-6]").tree(2).rooted("b1")]]));
    world.ok("h1", id);
    world.ok("h2", id);
    let place = orders(&world, "h3").pop().unwrap().tree.unwrap();
    assert_eq!((host_of(&place.parent), place.depth), ("h1", 2));
    let names =
        |hosts: &[HostName]| hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&place.ancestors), "h1 b1");
    assert_eq!((names(&place.root), names(&place.children)), ("b1".into(), String::new()));
    let first = orders(&world, "h1").pop().unwrap().tree.unwrap();
    assert_eq!((host_of(&first.parent), first.depth), ("b1", 1));
    assert_eq!(names(&first.children), "h3 h4");
    // Without a tree nothing is told.
    let flat = world.submit(flow([vec![job("h5")]]));
    assert_eq!(flat.0, id.0 + 1);
    assert!(orders(&world, "h5").iter().any(|order| order.tree.is_none()));
}

#[test]
fn no_child_waits_for_its_planned_parent_beside_another_host_that_can_serve_it() {
    let mut world = World::new("h[1-7]");
    let id = world.submit(flow([vec![job("h[1-7]").tree(2)]]));
    world.ok("h1", id);
    world.ok("h3", id);
    // h2 still runs. h4 and h5 are to be its children.
    assert_eq!(served(&world, id), "h1< h2<h1 h3<h1 h4<h1 h5<h3 h6<h3");
    assert_eq!(world.tasks(id, 1, 1)[6].reason, Some(WaitReason::Parent), "all places are taken");
}

#[test]
fn children_of_a_host_that_failed_are_adopted() {
    let mut world = World::new("h[1-5]");
    let id = world.submit(flow([vec![job("h[1-5]").tree(2).success(1)]]));
    world.ok("h1", id);
    world.fail("h2", id);
    assert_eq!(world.running_hosts(id), "h[3-4]");
    assert_eq!(served(&world, id), "h1< h2<h1 h3<h1 h4<h1");
    world.ok("h3", id);
    assert_eq!(served(&world, id), "h1< h2<h1 h3<h1 h4<h1 h5<h1");
}

#[test]
fn if_the_entry_fails_the_next_host_enters_at_once() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").tree(2).success(1)]]));
    world.fail("h1", id);
    assert_eq!(served(&world, id), "h1< h2<");
    world.ok("h2", id);
    assert_eq!(served(&world, id), "h1< h2< h3<h2");
}

#[test]
fn hosts_that_are_absent_or_drained_are_passed_over() {
    let mut world = World::absent("h[1-4]");
    for name in ["h2", "h3", "h4"] {
        world.attach(name);
    }
    let hosts = hosts("h2");
    let reply = ReplyTo::new(ReplyId(0));
    world.input(Input::DrainRequested { reply, hosts, by: audience(), reason: "disk".into() });
    let id = world.submit(flow([vec![job("h[1-4]").tree(1)]]));
    assert_eq!(served(&world, id), "h3<");
    let reasons: Vec<_> = world.tasks(id, 1, 1).iter().map(|task| task.reason).collect();
    let expected = [
        WaitReason::PlayerAbsent,
        WaitReason::PlayerDrained,
        WaitReason::Window,
        WaitReason::Parent,
    ];
    assert_eq!(
        (reasons[0], reasons[1], reasons[3]),
        (Some(expected[0]), Some(expected[1]), Some(expected[3]))
    );
    world.ok("h3", id);
    assert_eq!(served(&world, id), "h3< h4<h3");
    // Who comes late hangs where it can.
    world.ok("h4", id);
    world.attach("h1");
    assert_eq!(served(&world, id), "h1<h3 h3< h4<h3");
}

#[test]
fn a_server_that_is_drained_or_goes_away_serves_nobody_new() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").tree(1).success(1)]]));
    world.ok("h1", id);
    world.detach("h1");
    world.fail("h2", id);
    // Nobody serves and nothing runs, so the next one enters.
    assert_eq!(served(&world, id), "h1< h2<h1 h3<");
}

#[test]
fn each_group_is_entered_once_and_then_served_by_its_own() {
    let mut world = World::new("e[1-3],w[1-3]");
    let spec = job("e[1-3],w[1-3]").tree(2).grouped(&["e[1-3]", "w[1-3]"]);
    let id = world.submit(flow([vec![spec]]));
    assert_eq!(world.running_hosts(id), "e1");
    world.ok("e1", id);
    assert_eq!(served(&world, id), "e1< e2<e1 w1<e1");
    world.ok("e2", id);
    assert_eq!(served(&world, id), "e1< e2<e1 e3<e1 w1<e1", "w is entered");
    world.ok("w1", id);
    assert_eq!(served(&world, id), "e1< e2<e1 e3<e1 w1<e1 w2<w1 w3<w1");
}

#[test]
fn the_root_serves_and_is_no_target() {
    let mut world = World::new("b1,h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").tree(2).rooted("b1")]]));
    assert_eq!(served(&world, id), "h1<b1 h2<b1");
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Doomed);
    for (root, word) in [("b1,h2", "leave them out of targets"), ("x9", "unknown host")] {
        let answer = world.try_submit(flow([vec![job("h[1-3]").tree(2).rooted(root)]]));
        let Answer::Rejected(why) = answer else { panic!("{root}: {answer:?}") };
        assert!(why.to_string().contains(word), "{why}");
        let is_either = matches!(why, Rejection::RootIsTarget(..) | Rejection::UnknownHosts(..));
        assert!(is_either, "{why:?}");
    }
}

#[test]
fn where_the_root_is_away_one_host_tries_it_all_the_same() {
    let mut world = World::absent("b1,h[1-3]");
    for name in ["h1", "h2", "h3"] {
        world.attach(name);
    }
    let id = world.submit(flow([vec![job("h[1-3]").tree(2).rooted("b1").success(1)]]));
    assert_eq!(served(&world, id), "h1<b1");
    world.fail("h1", id);
    assert_eq!(served(&world, id), "h1<b1 h2<b1");
    world.attach("b1");
    assert_eq!(served(&world, id), "h1<b1 h2<b1 h3<b1");
}

#[test]
fn a_generation_begins_when_the_one_before_is_final() {
    let mut world = World::new("h[1-7]");
    let id = world.submit(flow([vec![job("h[1-7]").tree(2).by_generation().success(1)]]));
    world.ok("h1", id);
    world.ok("h2", id);
    assert_eq!(world.running_hosts(id), "h3", "h4 waits for h3 too");
    let told = world.engine.explain(id, None, Some(&host("h4"))).unwrap();
    assert!(told[0].text.to_string().contains("h3"), "{}", told[0].text);
    world.fail("h3", id);
    assert_eq!(world.running_hosts(id), "h[4-7]");
}

#[test]
fn orphans_may_be_skipped_with_all_that_hang_below_them() {
    let mut world = World::new("h[1-7]");
    let spec = job("h[1-7]").tree(2).orphans(Orphans::Skip).success(1);
    let id = world.submit(flow([vec![spec]]));
    world.ok("h1", id);
    world.fail("h2", id);
    assert_eq!(world.states(id, 1, 1), "ok failed running skipped skipped running waiting");
    let detail = world.tasks(id, 1, 1)[3].detail.clone().unwrap();
    assert!(detail.contains("h2"), "{detail}");
    world.ok("h3", id);
    world.ok("h6", id);
    world.ok("h7", id);
    assert_eq!(world.job_state(id, 1, 1), orchestra_model::JobState::Ok);
}

#[test]
fn a_crash_anywhere_leaves_no_orphan_that_is_to_be_skipped() {
    let build = || {
        let mut world = World::new("h[1-7]");
        let spec = job("h[1-7]").tree(2).orphans(Orphans::Skip).success(1);
        let id = world.submit(flow([vec![spec]]));
        world.ok("h1", id);
        world
    };
    World::crash_at_each_point(
        build,
        |world| world.fail("h2", FlowId(1)),
        |world, kept| {
            let states = world.states(FlowId(1), 1, 1);
            assert!(states.contains("failed running skipped skipped"), "{kept}: {states}");
        },
    );
}

#[test]
fn an_order_that_is_sent_again_names_the_same_parent() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").tree(1)]]));
    world.ok("h1", id);
    let first = orders(&world, "h2").pop().unwrap();
    // The order is on disk; neither it nor the player's word came through.
    world.immediate = false;
    world.ok("h2", id);
    let asked = world.asked_to_write().len();
    world.immediate = true;
    world.crash_keeping(asked);
    for name in ["h1", "h2", "h3", "h4"] {
        world.attach(name);
    }
    let again = orders(&world, "h3");
    assert!(again.len() >= 2, "{again:?}");
    assert!(again.iter().all(|order| order.tree == again[0].tree && order.key == again[0].key));
    assert_eq!(host_of(&again[0].tree.as_ref().unwrap().parent), "h2");
    assert_eq!(first.tree.unwrap().depth, 1);
    assert_eq!(served(&world, id), "h1< h2<h1 h3<h2 h4<h1");
}

#[test]
fn a_binding_is_on_disk_before_its_order_leaves() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").tree(1)]]));
    world.asked.clear();
    world.ok("h1", id);
    let is_binding = |effect: &Effect| match effect {
        Effect::Persist(Op::Put(Record::Task(task))) => {
            task.host == host("h2") && task.parent == Some(Parent::Host(host("h1")))
        }
        _ => false,
    };
    let is_order =
        |effect: &Effect| matches!(effect, Effect::Send { command: Command::Order(_), .. });
    let bound = world.asked.iter().position(is_binding);
    let sent = world.asked.iter().position(is_order);
    assert!(bound.is_some() && bound < sent, "{bound:?} {sent:?}");
}

#[test]
fn after_a_start_nobody_enters_before_servers_had_time_to_come_back() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").tree(1)]]));
    world.ok("h1", id);
    world.ok("h2", id);
    world.fail("h3", id);
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").tree(1).retries(3)]]));
    world.ok("h1", id);
    world.detach("h2");
    world.restart();
    world.attach("h3");
    assert_eq!(world.states(id, 1, 1), "ok sent waiting", "h1 is expected, and h2");
    world.attach("h2");
    world.fail("h2", id);
    assert_eq!(world.states(id, 1, 1), "ok waiting waiting", "h1 is expected");
    assert_eq!(world.state(id), FlowState::Running);
    let told = world.engine.explain(id, None, Some(&host("h3"))).unwrap();
    assert!(told[0].text.to_string().contains("time to come back"), "{}", told[0].text);
    world.pass(50);
    assert!(world.states(id, 1, 1).starts_with("ok running"), "{}", world.states(id, 1, 1));
    assert_eq!(served(&world, id), "h1< h2<");
}

#[test]
fn a_retry_may_get_another_parent() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").tree(1).retries(1)]]));
    world.ok("h1", id);
    world.detach("h1");
    world.end("h2", id, &Outcome::Exited(1));
    assert_eq!(served(&world, id), "h1< h2<", "h2 comes first again");
    world.attach("h1");
    assert_eq!(served(&world, id), "h1< h2< h3<h1");
    assert_eq!(orders(&world, "h2").len(), 2);
}

#[test]
fn the_canary_is_served_first_and_serves_first() {
    let mut world = World::new("h[1-5]");
    let id = world.submit(flow([vec![job("h[1-5]").tree(2).canary(2)]]));
    assert_eq!(world.running_hosts(id), "h1");
    world.ok("h1", id);
    assert_eq!(world.running_hosts(id), "h2");
    world.ok("h2", id);
    assert_eq!(world.tasks(id, 1, 1)[2].reason, Some(WaitReason::Canary));
    world.promote(id);
    assert_eq!(served(&world, id), "h1< h2<h1 h3<h1 h4<h2 h5<h2");
}

#[test]
fn the_window_holds_for_a_tree_as_for_any_job() {
    let mut world = World::new("h[1-9]");
    let id = world.submit(flow([vec![job("h[1-9]").tree(8).parallel(3)]]));
    world.ok("h1", id);
    assert_eq!(world.running_hosts(id), "h[2-4]");
    world.ok("h2", id);
    assert_eq!(world.running_hosts(id), "h[3-5]");
}

#[test]
fn a_removed_server_serves_nobody_and_its_task_stays_ok() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").tree(1).success(1)]]));
    world.ok("h1", id);
    world.load("h[2-3]");
    world.fail("h2", id);
    assert_eq!(world.states(id, 1, 1), "ok failed running");
    assert_eq!(served(&world, id), "h1< h2<h1 h3<");
    assert_eq!(world.tasks(id, 1, 1)[0].state, TaskState::Ok);
}

#[test]
fn who_waits_is_told_for_whom() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").tree(2)]]));
    let told = world.engine.explain(id, None, None).unwrap();
    let waits = told.iter().find(|told| told.reason == Some(WaitReason::Parent)).unwrap();
    assert_eq!(waits.hosts.to_string(), "h[2-4]");
    assert!(waits.text.to_string().contains("h1 (1) are under way"), "{}", waits.text);
    let told = world.engine.explain(id, None, Some(&host("h4"))).unwrap();
    let text = told[0].text.to_string();
    assert!(text.contains("h2, which is waiting, is planned to serve it"), "{text}");
    let counts = world.status(id).unwrap().slots[0][0].waiting.clone();
    assert_eq!(counts.get(&WaitReason::Parent), Some(&3));
}

#[test]
fn a_plan_tells_who_would_serve_whom() {
    let mut world = World::new("b1,h[1-6]");
    let submission = world.submission(flow([vec![job("h[1-6]").tree(2).rooted("b1")]]));
    let forecast = world.engine.overlay(submission).run().unwrap();
    let serving: Vec<String> = forecast
        .serving
        .iter()
        .map(|serving| format!("{}>{}", serving.parent, serving.children))
        .collect();
    assert_eq!(serving, ["b1>h[1-2]", "h1>h[3-4]", "h2>h[5-6]"]);
    assert_eq!(forecast.waves.len(), 2);
}

#[test]
fn pausing_and_cancelling_leave_nobody_behind() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").tree(1)]]));
    world.pause(id);
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok waiting waiting waiting");
    world.resume(id);
    assert_eq!(served(&world, id), "h1< h2<h1");
    world.cancel(id);
    assert_eq!(world.states(id, 1, 1), "ok cancelled cancelled cancelled");
}
