//! `plan`: what a submission would do were every task to succeed at once, in waves.

use orchestra_flow::Rejection;
use orchestra_model::{FlowState, Quantity};

use crate::world::*;

fn wiki() -> World {
    let mut world = World::new("fe[1-6],be[1-4],x1");
    world.deploy(deployment(
        &[
            ("frontend", "fe[1-6]", Some(Quantity::Percent(50))),
            ("backend", "be[1-4]", Some(Quantity::Count(1))),
        ],
        &[("east", "fe[1-3],be[1-2]"), ("west", "fe[4-6],be[3-4]")],
        &["backend", "frontend"],
    ));
    world
}

#[test]
fn hosts_act_in_waves_and_nothing_happens() {
    let mut world = wiki();
    let written = world.disk.written;
    let spec = flow([
        vec![job("fe[1-6]").named("web"), job("be[1-4]").named("api")],
        vec![job("x1").named("then")],
    ]);
    assert_eq!(
        world.waves(spec),
        ["api:be[1,3]", "api:be[2,4]", "web:fe[1,4]", "web:fe[2,5]", "web:fe[3,6]", "then:x1",]
    );
    assert_eq!(world.disk.written, written);
    assert_eq!(world.starts.len(), 0);
    assert_eq!(world.engine.alive_count(), 0);
}

#[test]
fn the_window_the_canary_and_one_of_show() {
    let mut world = wiki();
    let spec = flow([vec![job("x1,fe[1-2],be3").named("all").unthrottled().parallel(2)]]);
    assert_eq!(world.waves(spec), ["all:be3,fe1", "all:fe2,x1"]);
    let spec = flow([vec![job("fe[1-6]").named("web").unthrottled().canary(2)]]);
    assert_eq!(world.waves(spec), ["web:fe[1-2]", "web:fe[3-6]"]);
    let spec = flow([vec![job("fe[1-6]").named("web").unthrottled().canary(2).bake(600)]]);
    assert_eq!(world.waves(spec), ["web:fe[1-2]", "web:fe[3-6]"]);
    let spec = flow([vec![job("fe[1-6]").named("one").one_of()]]);
    assert_eq!(world.waves(spec), ["one:fe1"]);
}

#[test]
fn a_look_is_not_held_back() {
    let mut world = wiki();
    let spec = flow([vec![job("fe[1-6],be[1-4]").named("look").score("look")]]);
    assert_eq!(world.waves(spec), ["look:be[1-4],fe[1-6]"]);
}

#[test]
fn who_is_away_or_drained_or_in_no_app_is_told() {
    let mut world = wiki();
    world.detach("fe2");
    world.drain_players("fe3");
    let forecast = world.plan(flow([vec![job("fe[1-3],x1")]]));
    assert_eq!(forecast.absent, hosts("fe2"));
    assert_eq!(forecast.drained, hosts("fe3"));
    assert_eq!(forecast.free, hosts("x1"));
    assert_eq!(forecast.waves.len(), 3, "they take part: the plan is about limits");
    assert!(forecast.stuck.is_empty());
}

#[test]
fn it_waits_for_what_runs_and_names_it() {
    let mut world = wiki();
    world.submit(flow([vec![job("fe2")]]));
    world.submit(flow([vec![job("be4")]]));
    let forecast = world.plan(flow([vec![job("fe[1,4]")]]));
    let awaited: Vec<&str> = forecast.awaited.iter().map(|holder| holder.host.as_str()).collect();
    assert_eq!(awaited, ["fe2"]);
    assert_eq!(forecast.waves.len(), 2);
    assert!(forecast.stuck.is_empty());
}

#[test]
fn what_would_never_start_is_told_with_its_reason() {
    let mut world = wiki();
    let broken = world.submit(flow([vec![job("fe2")]]));
    world.fail("fe2", broken);
    let forecast = world.plan(flow([vec![job("fe[1,4]").named("web")]]));
    assert_eq!(forecast.waves.len(), 1, "west goes on");
    let (name, stuck, why) = &forecast.stuck[0];
    let why = why.to_string();
    assert_eq!((name.as_str(), stuck), ("web", &hosts("fe1")));
    assert!(why.contains("frontend in cluster east of site is full, 1 of 1"), "{why}");
    assert!(why.contains("fe2 (failed in 1.1.1"), "{why}");
    // A host that is down may act itself, and that mends it.
    let mended = flow([vec![job("fe[1-2]").named("web")]]);
    assert_eq!(world.waves(mended), ["web:fe2", "web:fe1"]);
}

#[test]
fn a_canary_that_waits_for_a_cell_is_still_first() {
    let mut world = wiki();
    world.submit(flow([vec![job("fe2")]]));
    let forecast = world.plan(flow([vec![job("fe[1-6]").named("web").canary(1)]]));
    let first = &forecast.waves[0];
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].1, hosts("fe1"));
    assert_eq!(forecast.awaited.len(), 1);
    // The others wait for it, and share two cells.
    assert_eq!(forecast.waves.len(), 4);
}

#[test]
fn it_fails_as_the_submission_would() {
    let mut world = wiki();
    let submission = world.submission(flow([vec![job("nowhere")]]));
    let failed = world.engine.overlay(submission).run();
    assert!(matches!(failed, Err(Rejection::UnknownHosts(..))), "{failed:?}");
    world.deploy(deployment(
        &[("a", "fe[1-2]", None), ("b", "fe[2-3]", None)],
        &[("all", "fe[1-6]")],
        &["a", "b"],
    ));
    let submission = world.submission(flow([vec![job("fe[1-3]")]]));
    let failed = world.engine.overlay(submission).run();
    assert!(matches!(failed, Err(Rejection::Conflicts { slot: 1, .. })), "{failed:?}");
}

#[test]
fn what_it_says_is_what_happens_when_all_goes_well() {
    let mut world = wiki();
    let spec = flow([
        vec![job("fe[1-6]").named("web").parallel(3), job("be[1-4]").named("api")],
        vec![job("fe[1-6]").named("look").score("look").parallel(4)],
    ]);
    let waves = world.waves(spec.clone());
    let id = world.submit(spec);
    let mut seen = Vec::new();
    while world.state(id) == FlowState::Running {
        let mut wave: Vec<(orchestra_model::HostName, _)> = Vec::new();
        for name in world.attached() {
            wave.extend(world.running(name.as_str(), id).into_iter().map(|k| (name.clone(), k)));
        }
        let told = |(job, word): (u16, &str), slot: u16| {
            let of = wave.iter().filter(|(_, key)| (key.job.slot, key.job.job) == (slot, job));
            let hosts: orchestra_model::HostSet = of.map(|(name, _)| name.clone()).collect();
            (!hosts.is_empty()).then(|| format!("{word}:{hosts}"))
        };
        let jobs = [told((1, "web"), 1), told((2, "api"), 1), told((1, "look"), 2)];
        seen.push(jobs.into_iter().flatten().collect::<Vec<String>>().join(" "));
        for (name, key) in wave {
            let ok = orchestra_model::delivery::Outcome::Exited(0);
            world.player(name.as_str()).end(key, &ok);
            world.drain(name.as_str());
        }
        // All of the wave have ended before the engine hears of any.
        world.flow_through();
        world.work();
    }
    assert_eq!(seen, waves);
}
