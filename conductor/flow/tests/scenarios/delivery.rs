//! What is said twice, late, or never.

use orchestra_flow::{Command, Input};
use orchestra_model::{
    FlowId, FlowState, JobId, Millis, Timestamp,
    delivery::{AttemptKey, OrderNumber, Outcome, Report},
};

use crate::world::*;

const FLOW: FlowId = FlowId(1);
const JOB: JobId = JobId { flow: FLOW, slot: 1, job: 1 };

/// A flow whose order to h1 waits on the wire.
fn ordered() -> World {
    let mut world = World::new("h1");
    world.immediate = false;
    let submission = world.submission(flow([vec![job("h1")]]));
    world.input(submitted(submission));
    world.perform();
    world
}

fn orders(world: &mut World) -> Vec<(u64, u32)> {
    let orders = commands(world, "h1").into_iter();
    orders
        .filter_map(|command| match command {
            Command::Order(order) => Some((order.number.0, order.key.attempt)),
            _ => None,
        })
        .collect()
}

#[test]
fn an_order_that_never_came_is_sent_again_unchanged() {
    let mut world = ordered();
    assert_eq!(orders(&mut world), [(1, 1)]);
    world.detach("h1");
    world.perform();
    world.dial("h1");
    world.perform();
    assert_eq!(orders(&mut world), [(1, 1)]);
    world.flow_through();
    world.perform();
    assert_eq!(world.states(FLOW, 1, 1), "running");
}

#[test]
fn an_order_that_came_is_not_sent_again() {
    let mut world = ordered();
    world.deliver_down("h1");
    // It runs; that it started got lost with the connection.
    world.detach("h1");
    world.perform();
    assert_eq!(world.states(FLOW, 1, 1), "sent");
    world.dial("h1");
    world.perform();
    assert_eq!(orders(&mut world), []);
    assert_eq!(world.states(FLOW, 1, 1), "running");
}

#[test]
fn an_end_that_was_not_heard_is_awaited() {
    let mut world = ordered();
    world.deliver_down("h1");
    let key = world.running("h1", FLOW)[0];
    world.player("h1").end(key, &Outcome::Exited(0));
    world.drain("h1");
    world.detach("h1");
    world.perform();
    world.dial("h1");
    world.perform();
    assert_eq!(orders(&mut world), []);
    assert_eq!(world.states(FLOW, 1, 1), "sent", "its report follows");
    world.immediate = true;
    world.flow_through();
    assert_eq!(world.state(FLOW), FlowState::Ok);
    assert!(world.player("h1").settled().is_empty());
}

#[test]
fn what_the_player_has_no_trace_of_is_lost() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").retries(2)]]));
    let key = world.running("h1", id)[0];
    // Somebody else acknowledged its end.
    world.detach("h1");
    world.player("h1").end(key, &Outcome::Exited(0));
    world.drain("h1");
    let term = orchestra_model::delivery::Term(0);
    let forget = orchestra_spool::Input::Acknowledged { term, key, order: None };
    world.player("h1").spool.handle(forget);
    world.drain("h1");
    world.attach("h1");
    assert_eq!(world.states(id, 1, 1), "lost");
    assert_eq!(world.starts.len(), 1);
}

#[test]
fn a_wiped_spool_loses_what_was_out() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").retries(2).success(1).max_failures(1)]]));
    world.detach("h1");
    world.player("h1").wipe();
    world.attach("h1");
    assert_eq!(world.states(id, 1, 1), "lost running");
    // It is usable again.
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Ok);
    let next = world.submit(flow([vec![job("h1")]]));
    world.ok("h1", next);
    assert_eq!(world.state(next), FlowState::Ok);
}

#[test]
fn a_wiped_spool_is_not_taken_for_the_old_one_after_a_crash_at_any_point() {
    for kept in 0.. {
        let mut world = World::new("h1");
        let id = world.submit(flow([vec![job("h1"), job("h1").named("b")]]));
        world.detach("h1");
        world.player("h1").wipe();
        world.immediate = false;
        world.dial("h1");
        let asked = world.asked_to_write().len();
        world.immediate = true;
        world.crash_keeping(kept);
        world.attach("h1");
        assert_eq!(world.states(id, 1, 1), "lost", "{kept} of {asked}");
        assert_eq!(world.states(id, 1, 2), "lost");
        if kept > asked {
            break;
        }
    }
}

#[test]
fn an_order_to_a_wiped_spool_is_lost_even_if_it_never_came() {
    let mut world = ordered();
    world.detach("h1");
    world.player("h1").wipe();
    world.immediate = true;
    world.attach("h1");
    assert_eq!(world.states(FLOW, 1, 1), "lost");
    assert!(world.starts.is_empty());
}

#[test]
fn a_spool_that_went_back_loses_what_was_out() {
    for restart in [false, true] {
        let mut world = World::new("h1");
        let older = world.player("h1").journal.clone();
        let first = world.submit(flow([vec![job("h1").retries(1)]]));
        world.fail("h1", first);
        let id = world.submit(flow([vec![job("h1")]]));
        assert_eq!(world.running("h1", id).len(), 1);
        // The host's disk is rolled back to before all that.
        world.detach("h1");
        if restart {
            world.restart();
        }
        world.player("h1").roll_back(older);
        world.attach("h1");
        assert_eq!(world.states(first, 1, 1), "lost");
        assert_eq!(world.states(id, 1, 1), "lost");
    }
}

#[test]
fn reports_of_an_older_session_change_nothing() {
    let mut world = ordered();
    world.deliver_down("h1");
    let key = world.running("h1", FLOW)[0];
    world.player("h1").end(key, &Outcome::Exited(0));
    world.drain("h1");
    let late = world.player("h1").waiting_reports();
    world.detach("h1");
    world.perform();
    for report in late {
        world.report("h1", report);
    }
    assert_eq!(world.states(FLOW, 1, 1), "sent");
    assert!(world.pending.is_empty());
}

#[test]
fn an_end_said_twice_counts_once_and_stays_an_end() {
    for ended in [false, true] {
        let mut world = World::new("h[1-2]");
        let id = world.submit(flow([vec![job("h1"), job("h2")]]));
        let key = world.running("h1", id)[0];
        world.player("h1").end(key, &Outcome::Exited(0));
        world.drain("h1");
        let said = world.player("h1").waiting_reports();
        world.flow_through();
        if ended {
            world.ok("h2", id);
        }
        for report in said {
            world.report("h1", report);
        }
        world.flow_through();
        assert!(!world.disk.end(key.job, "h1", 1).unwrap().late);
        assert_eq!(world.states(id, 1, 1), "ok");
    }
}

#[test]
fn an_earlier_attempts_end_said_twice_does_not_touch_the_next() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").retries(1)]]));
    let key = world.running("h1", id)[0];
    world.player("h1").end(key, &Outcome::Exited(1));
    world.drain("h1");
    let said = world.player("h1").waiting_reports();
    world.flow_through();
    for report in said {
        world.report("h1", report);
    }
    assert_eq!(world.states(id, 1, 1), "running");
    assert!(!world.disk.end(key.job, "h1", 1).unwrap().late);
}

#[test]
fn what_nobody_awaits_is_acknowledged_all_the_same() {
    let mut world = World::new("h1");
    let session = world.player("h1").session().unwrap();
    let stranger = AttemptKey {
        store: world::disk::STORE,
        job: JobId { flow: FlowId(1), slot: 0, job: 0 },
        attempt: 7,
    };
    let order = orchestra_model::delivery::OrderNumber(0);
    let at = world.now;
    world.immediate = false;
    let refusal = orchestra_model::delivery::Refusal::UnknownScore;
    for report in [
        Report::Refused { key: stranger, order, refusal },
        Report::Started { key: stranger, order, at },
    ] {
        world.report("h1", world::player::Up { session, report });
    }
    assert_eq!(world.pending.len(), 1);
    world.perform();
    assert_eq!(commands(&mut world, "h1"), [Command::Acknowledge(stranger)]);
}

#[test]
fn a_crash_between_record_and_order_sends_the_order_once() {
    let mut world = World::new("h1");
    world.immediate = false;
    let submission = world.submission(flow([vec![job("h1")]]));
    world.input(submitted(submission));
    let asked = world.asked_to_write().len();
    world.immediate = true;
    world.crash_keeping(asked);
    assert_eq!(world.states(FLOW, 1, 1), "sent");
    world.attach("h1");
    assert_eq!(world.running("h1", FLOW).len(), 1);
    assert_eq!(world.disk.task(JOB, 0).unwrap().order.0, 1);
}

#[test]
fn orders_are_never_renumbered() {
    let mut world = World::new("h1");
    world.player("h1").takes(8);
    world.attach("h1");
    for n in 1..=6_u64 {
        let id = world.submit(flow([vec![job("h1")]]));
        let record = world.disk.task(JobId { flow: id, ..JOB }, 0).unwrap();
        assert_eq!(record.order.0, n);
        world.restart_and_return();
        assert_eq!(world.running("h1", id).len(), 1);
    }
    assert_eq!(world.disk.player("h1").last_order.0, 6);
}

#[test]
fn only_the_newest_session_counts() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    let older = world.player("h1").session().unwrap();
    world.dial("h1");
    assert_eq!(world.closed, [orchestra_flow::CloseReason::Superseded]);
    let player = world.engine.roster().member(&host("h1")).unwrap();
    world.input(Input::PlayerDetached { player, session: older });
    assert!(world.engine.roster().session(player).is_some());
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

use crate::world;

#[test]
fn times_that_cannot_be_are_not_believed() {
    for (told, believed) in [
        (Timestamp(u64::MAX), Timestamp(1_001_000)),
        (Timestamp(1_001_001), Timestamp(1_001_000)),
        (Timestamp(1_000_500), Timestamp(1_000_500)),
        (Timestamp(999_999), Timestamp(1_000_000)),
        (Timestamp(0), Timestamp(1_000_000)),
    ] {
        let mut world = ordered();
        let player = world.engine.roster().member(&host("h1")).unwrap();
        let session = world.player("h1").session().unwrap();
        let key = AttemptKey { store: crate::world::disk::STORE, job: JOB, attempt: 1 };
        let order = OrderNumber(1);
        let report = Box::new(Report::Started { key, order, at: told });
        world.now = world.now.after(Millis::seconds(1));
        world.input(Input::Reported { player, session, report });
        assert_eq!(world.tasks(FLOW, 1, 1)[0].started_at, Some(believed), "{told:?}");
    }
}
