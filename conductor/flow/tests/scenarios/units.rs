//! What flows learn of services: tasks about units, holds for units that are not well, and who of
//! those that hold may go on where more do than the limit.

use std::sync::Arc;

use orchestra_flow::{Answer, Input, Rejection, ReplyId, ReplyTo, answer};
use orchestra_model::{
    Deployments, FlowState, HostSet, JobId, Quantity, WaitReason,
    delivery::Outcome,
    deployment::ServiceCell,
    service::{Unready, Wanted},
};

use crate::world::{
    bare::{Bare, End},
    *,
};

/// One cell of these hosts, of which so many may be busy or down.
fn limited(hosts: &str, limit: u32) -> Arc<Deployments> {
    let limit = Some(Quantity::Count(limit));
    deployment(&[("app", hosts, limit)], &[("all", hosts)], &[])
}

fn world(hosts: &str, limit: u32) -> World {
    let mut world = World::new(hosts);
    world.deploy(limited(hosts, limit));
    world
}

/// Players that take one attempt at a time.
fn narrow(fleet: &str) -> Bare {
    let mut bare = Bare::absent(fleet, Arc::default());
    bare.max_tasks = 1;
    for name in &hosts(fleet) {
        bare.attach(name);
    }
    bare
}

/// The hosts to which orders of a job are out.
fn sent(bare: &Bare, job: JobId) -> String {
    bare.engine.audit().unwrap();
    let hosts = bare.running_of(job).into_iter().map(|(host, _)| host);
    HostSet::from_names(hosts).to_string()
}

// ---- tasks about units ----

#[test]
fn a_task_about_a_unit_takes_no_place_and_waits_for_none() {
    let mut bare = narrow("h1");
    let first = bare.submit_one(job("h1"));
    let second = bare.submit_one(job("h1"));
    let unit = bare.submit_one(job("h1").unit("web", Wanted::Running));
    let other = bare.submit_one(job("h1").unit("cache", Wanted::Running));
    assert_eq!([first, second, unit, other].map(|job| sent(&bare, job)), ["h1", "", "h1", "h1"]);
    let (host, key) = bare.running_of(first)[0].clone();
    bare.end(&host, key, End::Ok);
    assert_eq!(sent(&bare, second), "h1", "what is asked of units takes no place");
    let third = bare.submit_one(job("h1"));
    let (host, key) = bare.running_of(unit)[0].clone();
    bare.end(&host, key, End::Ok);
    assert_eq!(sent(&bare, third), "", "nor does it give any back");
}

#[test]
fn what_its_score_asks_of_the_player_does_not_concern_a_unit() {
    let mut bare = narrow("h[1-3]");
    for (host, score) in [("h1", "alone"), ("h2", "single"), ("h3", "alone")] {
        let attempt = bare.submit_one(job(host).score(score));
        let unit = bare.submit_one(job(host).score(score).unit("web", Wanted::Running));
        assert_eq!((sent(&bare, attempt), sent(&bare, unit)), (host.into(), host.into()));
    }
    // A unit of an exclusive score keeps nobody out.
    let mut bare = narrow("h1");
    bare.submit_one(job("h1").score("alone").unit("web", Wanted::Running));
    let attempt = bare.submit_one(job("h1").score("alone"));
    assert_eq!(sent(&bare, attempt), "h1");
}

#[test]
fn what_waits_to_be_alone_holds_back_attempts_and_no_units() {
    let mut bare = Bare::new("h1", Arc::default());
    bare.submit_one(job("h1"));
    let alone = bare.submit_one(job("h1").score("alone"));
    let behind = bare.submit_one(job("h1"));
    let unit = bare.submit_one(job("h1").unit("web", Wanted::Running));
    assert_eq!([alone, behind, unit].map(|job| sent(&bare, job)), ["", "", "h1"]);
}

#[test]
fn a_task_about_a_unit_changes_its_host_whatever_its_score_says() {
    let mut world = world("h[1-2]", 1);
    let look = world.submit(flow([vec![job("h1").score("look")]]));
    assert_eq!(world.holders(), "");
    let unit = world.submit(flow([vec![job("h1").score("look").unit("web", Wanted::Running)]]));
    assert_eq!(world.holders(), "h1");
    let other = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.states(other, 1, 1), "waiting");
    world.ok("h1", look);
    world.ok("h1", unit);
    assert_eq!(world.states(other, 1, 1), "running");
    let free = world.submit(flow([vec![job("h1").unthrottled().unit("web", Wanted::Running)]]));
    assert_eq!((world.states(free, 1, 1).as_str(), world.holders().as_str()), ("running", "h2"));
}

#[test]
fn stopping_a_unit_passes_the_gate_of_a_drain_and_no_other_gate() {
    for (wanted, passes) in [
        (Wanted::Running, false),
        (Wanted::Restarted, false),
        (Wanted::Stopped, true),
        (Wanted::Gone, true),
    ] {
        let mut world = world("h[1-2]", 2);
        world.drain_players("h1");
        let id = world.submit(flow([vec![job("h1").unit("web", wanted)]]));
        let expected = if passes { "running" } else { "waiting" };
        assert_eq!(world.states(id, 1, 1), expected, "{wanted:?}");
        world.detach("h2");
        let absent = world.submit(flow([vec![job("h2").unit("web", wanted)]]));
        let reason = world.tasks(absent, 1, 1)[0].reason;
        assert_eq!(reason, Some(WaitReason::PlayerAbsent), "{wanted:?}");
        world.undrain_players("h1");
        assert_eq!(world.states(id, 1, 1), "running", "{wanted:?}");
    }
    let mut world = world("h[1-3]", 1);
    world.drain_players("h[1-3]");
    let stop = job("h[1-3]").unit("web", Wanted::Stopped).parallel(2);
    let id = world.submit(flow([vec![stop]]));
    assert_eq!(world.states(id, 1, 1), "running waiting waiting", "cells hold as ever");
    world.pause(id);
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok waiting waiting");
    world.resume(id);
    assert_eq!(world.states(id, 1, 1), "ok running waiting");
}

#[test]
fn windows_canaries_and_sequences_hold_for_units() {
    let mut world = World::new("be1,fe[1-3]");
    let apps = [("backend", "be1", None), ("frontend", "fe[1-3]", None)];
    world.deploy(deployment(&apps, &[("all", "be1,fe[1-3]")], &["backend", "frontend"]));
    let back = job("be1").unit("db", Wanted::Restarted);
    let front = job("fe[1-3]").unit("web", Wanted::Running).canary(1).bake(10).parallel(1);
    let id = world.submit(flow([vec![back, front]]));
    assert_eq!(world.states(id, 1, 2), "waiting waiting waiting");
    world.ok("be1", id);
    assert_eq!(world.states(id, 1, 2), "running waiting waiting");
    world.ok("fe1", id);
    assert_eq!(world.states(id, 1, 2), "ok waiting waiting");
    world.pass(10);
    assert_eq!(world.states(id, 1, 2), "ok running waiting");
}

#[test]
fn who_will_take_no_order_about_a_unit_now_is_asked_again_in_a_while() {
    let mut world = world("h1", 1);
    world.player("h1").stopping = true;
    let id = world.submit(flow([vec![job("h1").unit("web", Wanted::Running)]]));
    let attempts = world.tasks(id, 1, 1)[0].attempt;
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::PlayerBusy));
    assert!(world.why(id, 1, 1, "h1").contains("is asked again in a while"));
    world.pass(1);
    assert_eq!(world.tasks(id, 1, 1)[0].attempt, attempts + 1, "once a second");
    world.player("h1").stopping = false;
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "running");
}

#[test]
fn a_unit_is_waited_for_until_its_deadline_its_grace_and_ten_minutes_are_over() {
    let mut world = world("h1", 1);
    let id = world.submit(flow([vec![job("h1").unit("web", Wanted::Running)]]));
    world.detach("h1");
    // 60 s, 30 s and 10 min.
    world.pass(689);
    assert_eq!(world.state(id), FlowState::Running);
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "lost");
    // After a restart of the conductor as well.
    world.attach("h1");
    let id = world.submit(flow([vec![job("h1").unit("web", Wanted::Running)]]));
    world.detach("h1");
    world.pass(600);
    world.restart();
    world.pass(89);
    assert_eq!(world.state(id), FlowState::Running);
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "lost");
}

#[test]
fn a_job_about_units_names_an_instance_for_each_of_its_hosts() {
    let mut world = World::new("h[1-3]");
    let two = job("h[1-2]").unit("web", Wanted::Running);
    let three = orchestra_model::flow::JobSpec { targets: "h[1-3]".into(), ..two };
    let told = rejection(world.try_submit(flow([vec![three]]))).to_string();
    assert_eq!(told, "job h12: it names 2 instances for 3 hosts");
}

#[test]
fn what_was_asked_of_units_gets_no_further_attempt() {
    let mut world = World::new("h[1-3]");
    let both = || vec![job("h[1-2]").unit("web", Wanted::Running).success(1), job("h3").success(0)];
    let id = world.submit(flow([both()]));
    world.fail("h1", id);
    let refused = Answer::Rejected(Rejection::NotForRetries(service("web")));
    assert_eq!(world.retry(id), refused);
    let told = rejection(world.retry(id)).advice().to_string();
    assert!(told.contains("<restart web>"), "{told}");
    world.ok("h2", id);
    world.fail("h3", id);
    let mut submission = world.submission(flow([vec![job("h1").unit("web", Wanted::Running)]]));
    submission.retry_of = Some(id);
    assert_eq!(world.ask(submitted(submission)), refused);
}

// ---- what is left behind ----

#[test]
fn however_a_task_about_a_unit_ends_its_host_is_as_the_unit_is_told_to_be() {
    for outcome in [
        Outcome::Exited(1),
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::Lost("the sitter was killed".to_owned()),
    ] {
        let mut world = world("h[1-2]", 1);
        let id = world.submit(flow([vec![job("h1").unit("web", Wanted::Running)]]));
        let next = world.submit(flow([vec![job("h2")]]));
        world.end("h1", id, &outcome);
        assert_eq!(world.state(id), FlowState::Failed);
        assert_eq!(world.states(next, 1, 1), "running", "{outcome:?}");
        assert!(world.disk.holds.is_empty());
        let id = world.submit(flow([vec![job("h1").unit("web", Wanted::Restarted)]]));
        world.ok("h2", next);
        let next = world.submit(flow([vec![job("h2")]]));
        world.tell_units("h1", &[("web", Unready::NotReady)]);
        world.end("h1", id, &outcome);
        assert_eq!(
            (world.states(next, 1, 1).as_str(), world.holders().as_str()),
            ("waiting", "h1")
        );
        world.tell_units("h1", &[]);
        assert_eq!(world.states(next, 1, 1), "running");
    }
}

#[test]
fn a_task_about_a_unit_that_was_lost_leaves_nothing() {
    let mut world = world("h1", 1);
    let id = world.submit(flow([vec![job("h1").unit("web", Wanted::Running)]]));
    world.detach("h1");
    world.pass(690);
    assert_eq!((world.states(id, 1, 1).as_str(), world.holders().as_str()), ("lost", ""));
}

#[test]
fn a_unit_that_is_as_wanted_ends_what_an_attempt_left() {
    let mut world = world("h[1-2]", 1);
    let broken = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", broken);
    assert_eq!(world.down(), "h1");
    let unit = world.submit(flow([vec![job("h1").unit("web", Wanted::Running)]]));
    world.ok("h1", unit);
    assert_eq!(world.holders(), "");
    assert!(world.disk.holds.is_empty());
}

#[test]
fn a_success_ends_nothing_that_is_told_of_units() {
    let mut world = world("h[1-2]", 1);
    world.tell_units("h1", &[("web", Unready::NotReady), ("cache", Unready::NotReady)]);
    let broken = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", broken);
    let mended = world.submit(flow([vec![job("h1")]]));
    world.ok("h1", mended);
    assert_eq!((world.holders().as_str(), world.down().as_str()), ("h1", ""));
    world.tell_units("h1", &[("web", Unready::NotReady)]);
    assert_eq!(world.holders(), "h1", "for as long as one of them is not well");
    world.tell_units("h1", &[]);
    assert_eq!(world.holders(), "");
}

#[test]
fn a_host_whose_units_are_not_well_holds_all_of_its_cells() {
    let mut world = World::new("h[1-3]");
    let one = Some(Quantity::Count(1));
    let deployed = deployments([
        named_deployment("site", &[("app", "h[1-2]", one)], &[("all", "h[1-2]")], &[]),
        named_deployment("rack", &[("app", "h1,h3", one)], &[("all", "h1,h3")], &[]),
    ]);
    world.deploy(deployed);
    world.tell_units("h1", &[("web", Unready::Untold)]);
    let id = world.submit(flow([vec![job("h[2-3]")]]));
    assert_eq!(world.states(id, 1, 1), "waiting waiting");
    world.tell_units("h1", &[]);
    assert_eq!(world.states(id, 1, 1), "running running");
}

#[test]
fn a_service_that_no_file_names_is_protected_by_its_own_cell() {
    let mut world = World::new("h[1-3]");
    let cell = ServiceCell { hosts: hosts("h[1-3]"), limit: Quantity::Count(1) };
    let deployed = Deployments::default().with_services([(service("web"), cell)]).unwrap();
    world.deploy(Arc::new(deployed));
    world.tell_units("h2", &[("web", Unready::NotReady)]);
    let id = world.submit(flow([vec![job("h1")]]));
    assert_eq!(
        world.why(id, 1, 1, "h1"),
        "service/web is full, 1 of 1: held by h2 (web is not ready, holds for 0s)"
    );
    world.tell_units("h2", &[]);
    assert_eq!(world.states(id, 1, 1), "running");
    let status = world.engine.cell_status(0, 9);
    assert_eq!((status.len(), status[0].key.to_string().as_str()), (1, "service/web"));
    assert_eq!(status[0].holders[0].host, host("h1"));
}

#[test]
fn units_are_told_anew_after_a_restart_before_anybody_comes_back() {
    let mut world = world("h[1-2]", 1);
    world.tell_units("h1", &[("web", Unready::NotReady)]);
    let id = world.submit(flow([vec![job("h2")]]));
    world.restart();
    assert_eq!(world.holders(), "", "it is not stored");
    world.tell_units("h1", &[("web", Unready::Untold)]);
    world.attach("h1");
    world.attach("h2");
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.tell_units("h1", &[]);
    assert_eq!(world.states(id, 1, 1), "running");
}

// ---- who can help ----

#[test]
fn only_a_unit_that_gave_up_makes_a_cell_dead() {
    for (unready, state) in [
        (Unready::NotReady, FlowState::Running),
        (Unready::Untold, FlowState::Running),
        (Unready::GaveUp, FlowState::Stalled),
    ] {
        let mut world = world("h[1-2]", 1);
        world.tell_units("h1", &[("web", unready)]);
        let id = world.submit(flow([vec![job("h2")]]));
        assert_eq!(world.state(id), state, "{unready:?}");
        // With what an attempt left, it is as dead as the unit.
        let broken = world.submit(flow([vec![job("h1")]]));
        world.fail("h1", broken);
        assert_eq!(world.state(id), state, "{unready:?}");
        world.tell_units("h1", &[("cache", Unready::NotReady), ("web", unready)]);
        assert_eq!(world.state(id), FlowState::Running, "{unready:?}");
        world.tell_units("h1", &[("web", unready)]);
        assert_eq!(world.state(id), state, "{unready:?}");
        world.tell_units("h1", &[]);
        assert_eq!(world.state(id), FlowState::Stalled, "the attempt is left");
    }
}

#[test]
fn who_waits_for_a_unit_that_gave_up_is_told_what_helps() {
    let mut world = world("h[1-3]", 2);
    world.tell_units("h1", &[("web", Unready::GaveUp)]);
    let broken = world.submit(flow([vec![job("h2")]]));
    world.fail("h2", broken);
    let id = world.submit(flow([vec![job("h3")]]));
    assert_eq!(
        world.why(id, 1, 1, "h3"),
        format!(
            "app in cluster all of site is full, 2 of 2: held by h1 (web gave up, holds for 0s), h2 \
             (failed in {broken}.1.1, holds for 0s); nothing there goes on by itself: mend the hosts \
             and <retry> their flow, <restart web>, or <release cells of h[1-2]>"
        )
    );
    let holder = world.engine.holders().next().unwrap();
    assert_eq!(holder.units, [unwell("web", Unready::GaveUp)]);
    assert!(holder.jobs.is_empty() && holder.down.is_none());
}

#[test]
fn a_release_ends_what_attempts_left_and_a_unit_that_gave_up_until_its_next_run() {
    let mut world = world("h[1-2]", 1);
    let released = |world: &mut World| match world.release("h[1-2]") {
        Answer::ReleasedHolds(answer::ReleasedHolds { hosts }) => hosts.to_string(),
        answer => panic!("{answer:?}"),
    };
    let both = [("cache", Unready::NotReady), ("web", Unready::GaveUp)];
    let broken = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", broken);
    world.tell_units("h1", &both);
    assert_eq!(released(&mut world), "h1");
    assert!(world.disk.holds.is_empty());
    assert_eq!(world.engine.holders().next().unwrap().units, [unwell("cache", Unready::NotReady)]);
    assert_eq!(
        released(&mut world),
        "",
        "one that may come to be well is not a person's to release"
    );
    world.tell_units("h1", &[("web", Unready::GaveUp)]);
    assert_eq!(world.holders(), "", "it is the same giving up");
    world.tell_units("h1", &[("web", Unready::NotReady)]);
    assert_eq!(world.holders(), "h1");
    world.tell_units("h1", &[("web", Unready::GaveUp)]);
    assert_eq!(world.holders(), "h1", "it is another");
    let id = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.state(id), FlowState::Stalled);
    assert_eq!(released(&mut world), "h1");
    assert_eq!(world.states(id, 1, 1), "running");
}

#[test]
fn a_host_that_holds_for_a_unit_shares_its_hold_with_what_is_sent_there() {
    let mut world = world("h[1-2]", 1);
    world.tell_units("h1", &[("web", Unready::NotReady)]);
    let waiting = world.submit(flow([vec![job("h2")]]));
    let mend = world.submit(flow([vec![job("h1")]]));
    assert_eq!(world.states(mend, 1, 1), "running");
    world.tell_units("h1", &[]);
    assert_eq!(world.states(waiting, 1, 1), "waiting", "the change goes on");
    world.ok("h1", mend);
    assert_eq!(world.states(waiting, 1, 1), "running");
}

// ---- more hosts down than the limit ----

/// Tells of these hosts that `web` is not ready there.
fn fall(world: &mut World, fallen: &str) {
    for host in &hosts(fallen) {
        world.tell_units(host.as_str(), &[("web", Unready::NotReady)]);
    }
}

#[test]
fn of_hosts_that_are_down_as_many_go_on_at_once_as_the_limit() {
    let mut world = world("h[1-5]", 2);
    fall(&mut world, "h[1-4]");
    let id = world.submit(flow([vec![job("h[1-5]").unit("web", Wanted::Running)]]));
    assert_eq!(world.states(id, 1, 1), "running running waiting waiting waiting");
    assert_eq!(world.tasks(id, 1, 1)[2].reason, Some(WaitReason::Cell));
    assert_eq!(world.state(id), FlowState::Running);
    assert_eq!(
        world.why(id, 1, 1, "h3"),
        format!(
            "app in cluster all of site is above its limit, held by 4 of 2, and something starts on \
             those once it runs on fewer than 2: now on h1 (runs {id}.1.1, web is not ready, holds \
             for 0s), h2 (runs {id}.1.1, web is not ready, holds for 0s)"
        )
    );
    let waiting = world.engine.cell_status(0, 1)[0].waiting.clone();
    assert_eq!(waiting, [(id, 3)].into());
    world.fail("h1", id);
    world.retry(id);
    assert_eq!(world.state(id), FlowState::Doomed, "one at a time ends, and nothing new starts");
    world.ok("h2", id);
    // Another flow, which tolerates failures.
    let id = world.submit(flow([vec![job("h[1-5]").unit("web", Wanted::Running).success(0)]]));
    assert_eq!(world.states(id, 1, 1), "running running waiting waiting waiting");
    world.fail("h1", id);
    assert_eq!(world.states(id, 1, 1), "failed running running waiting waiting");
    world.tell_units("h2", &[]);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "failed ok running running waiting");
    world.tell_units("h3", &[]);
    world.ok("h3", id);
    assert_eq!(world.states(id, 1, 1), "failed ok ok running waiting", "h1 and h4 hold");
    world.tell_units("h1", &[]);
    assert_eq!(world.states(id, 1, 1), "failed ok ok running running");
}

#[test]
fn within_its_limit_a_cell_lets_every_host_that_is_down_go_on() {
    let mut world = world("h[1-4]", 3);
    fall(&mut world, "h[1-3]");
    let id = world.submit(flow([vec![job("h[1-4]")]]));
    assert_eq!(world.states(id, 1, 1), "running running running waiting");
}

#[test]
fn a_host_goes_on_when_it_may_in_all_of_its_cells() {
    let mut world = World::new("h[1-4]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployments([
        named_deployment("site", &[("app", "h[1-3]", one)], &[("all", "h[1-3]")], &[]),
        named_deployment("rack", &[("app", "h[3-4]", one)], &[("all", "h[3-4]")], &[]),
    ]));
    fall(&mut world, "h[1-4]");
    let first = world.submit(flow([vec![job("h1,h4")]]));
    assert_eq!(world.states(first, 1, 1), "running running");
    let both = world.submit(flow([vec![job("h3")]]));
    let site = world.submit(flow([vec![job("h2")]]));
    world.ok("h1", first);
    assert_eq!(world.states(both, 1, 1), "waiting", "its rack has another in motion");
    assert_eq!(world.states(site, 1, 1), "running", "and does not keep others back");
    world.ok("h4", first);
    assert_eq!(world.states(both, 1, 1), "waiting");
    world.ok("h2", site);
    assert_eq!(world.states(both, 1, 1), "running");
}

#[test]
fn a_host_in_motion_takes_further_tasks() {
    let mut world = world("h[1-3]", 1);
    fall(&mut world, "h[1-3]");
    let first = world.submit(flow([vec![job("h[1-2]")]]));
    let second = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.states(first, 1, 1), "running waiting");
    let third = world.submit(flow([vec![job("h1")]]));
    assert_eq!(world.states(third, 1, 1), "running");
    world.ok("h1", first);
    assert_eq!(world.states(first, 1, 1), "ok waiting", "h1 still is");
    world.ok("h1", third);
    assert_eq!(world.states(first, 1, 1), "ok running");
    assert_eq!(world.states(second, 1, 1), "running");
}

#[test]
fn a_host_that_comes_up_while_it_waits_to_go_on_waits_for_room_like_others() {
    let mut world = world("h[1-3]", 1);
    fall(&mut world, "h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    assert_eq!(world.states(id, 1, 1), "running waiting");
    world.tell_units("h2", &[]);
    assert!(world.why(id, 1, 1, "h2").contains("is full, 1 of 1"));
    world.tell_units("h1", &[]);
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok running");
}

#[test]
fn a_host_that_comes_down_while_it_waits_for_room_waits_for_those_in_motion() {
    let mut world = world("h[1-3]", 1);
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    assert_eq!(world.states(id, 1, 1), "running waiting");
    fall(&mut world, "h2");
    assert!(world.why(id, 1, 1, "h2").contains("is above its limit, held by 2 of 1"));
    world.fail("h1", id);
    let id = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.states(id, 1, 1), "running", "h1 is down, and not in motion");
}

#[test]
fn a_host_that_was_down_for_a_while_waits_for_the_same_dead_cell_as_before() {
    let mut world = world("h[1-2]", 1);
    world.tell_units("h2", &[("web", Unready::GaveUp)]);
    let id = world.submit(flow([vec![job("h1")]]));
    assert_eq!(world.state(id), FlowState::Stalled);
    world.player("h1").stopping = true;
    fall(&mut world, "h1");
    assert_eq!(world.state(id), FlowState::Running, "it shares the hold, but is refused");
    world.tell_units("h1", &[]);
    assert_eq!(world.state(id), FlowState::Stalled);
    world.pass(1);
    assert_eq!(world.state(id), FlowState::Stalled);
}

#[test]
fn a_reload_that_raises_the_limit_lets_more_hosts_go_on() {
    let mut world = world("h[1-4]", 1);
    fall(&mut world, "h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]")]]));
    assert_eq!(world.states(id, 1, 1), "running waiting waiting waiting");
    world.deploy(limited("h[1-4]", 3));
    assert_eq!(world.states(id, 1, 1), "running running running waiting");
    world.deploy(limited("h[1-4]", 1));
    world.ok("h1", id);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "ok ok running waiting");
    world.ok("h3", id);
    assert_eq!(world.states(id, 1, 1), "ok ok ok running");
}

#[test]
fn a_reload_that_lowers_the_limit_lets_hosts_that_failed_go_on_one_by_one() {
    let mut world = world("h[1-3]", 3);
    let id = world.submit(flow([vec![job("h[1-3]").retries(1).success(0)]]));
    world.deploy(limited("h[1-3]", 1));
    world.fail("h1", id);
    world.fail("h2", id);
    assert_eq!(world.states(id, 1, 1), "waiting waiting running");
    world.fail("h3", id);
    assert_eq!(world.states(id, 1, 1).matches("running").count(), 1);
    assert_eq!(world.holders(), "h[1-3]");
}

// ---- plans ----

#[test]
fn a_plan_counts_tasks_about_units_and_hosts_that_hold_for_them() {
    let mut world = world("h[1-4]", 2);
    world.tell_units("h4", &[("web", Unready::GaveUp)]);
    let unit = || flow([vec![job("h[1-3]").unit("web", Wanted::Running)]]);
    assert_eq!(world.waves(unit()), ["h13:h1", "h13:h2", "h13:h3"]);
    world.tell_units("h3", &[("web", Unready::NotReady)]);
    let plan = world.plan(unit());
    assert_eq!(plan.waves.len(), 1, "h3 holds already, and there is no room for the others");
    assert_eq!(plan.stuck.len(), 1);
    assert!(plan.awaited.is_empty(), "nothing runs there");
}

#[test]
fn a_plan_waits_for_what_runs_on_hosts_whose_units_are_not_well() {
    let mut world = world("h[1-3]", 1);
    let running = world.submit(flow([vec![job("h1")]]));
    world.tell_units("h1", &[("web", Unready::NotReady)]);
    let plan = world.plan(flow([vec![job("h2")]]));
    assert!(plan.waves.is_empty() && plan.stuck.len() == 1, "{plan:?}");
    world.tell_units("h1", &[]);
    let plan = world.plan(flow([vec![job("h2")]]));
    assert_eq!((plan.waves.len(), plan.awaited.len()), (1, 1));
    world.ok("h1", running);
}

#[test]
fn a_player_that_was_removed_holds_for_its_units_until_they_are_gone() {
    let mut world = world("h[1-2]", 1);
    world.tell_units("h1", &[("web", Unready::NotReady)]);
    world.load("h2");
    world.tell_units("h1", &[("web", Unready::Untold)]);
    let id = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.states(id, 1, 1), "waiting");
    let player = world.engine.roster().known(&host("h1")).unwrap();
    world.input(Input::UnitsTold { player, unwell: Vec::new() });
    world.work();
    assert_eq!(world.states(id, 1, 1), "running");
    let reply = ReplyTo::new(ReplyId(0));
    world.ask(Input::ReleaseRequested { reply, hosts: hosts("h1") });
}
