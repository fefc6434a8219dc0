//! Placed services whose players are away: what is replaced, what waits, and what comes back.

use std::fs;

use serde_json::Value;

use crate::{
    harness::{Fleet, eventually},
    services::kill,
};

/// A service of so many instances that are replaced after this time, by the file `placed.yaml`.
fn placed(fleet: &Fleet, count: u64, replace_after: &str) {
    let path = fleet.dir().join("placed.yaml");
    let text = format!(
        "service: web\nscore: serve\nplace: {{count: {count}}}\n\
         absent: {{replace_after: {replace_after}}}\n\
         update: {{parallel: 100%, healthy_for: 300ms, deadline: 20s}}\n"
    );
    fs::write(&path, text).expect("a file");
    fleet.orc(&["service", "apply", &path.display().to_string(), "--wait"]).exits(0);
}

/// The hosts of instances, with their placements, that are wanted where they are.
fn where_it_is(fleet: &Fleet) -> Vec<(String, u64)> {
    let service = fleet.service();
    let instances = service["instances"].as_array().expect("instances");
    let replaced = |it: &&Value| it["absence"]["replacing"]["state"] == "by";
    let told = |it: &Value| {
        let host = it["host"].as_str().expect("a host").to_owned();
        (host, it["placement"].as_u64().expect("a placement"))
    };
    instances.iter().filter(|it| !replaced(it)).map(told).collect()
}

#[test]
fn an_instance_of_a_host_that_is_lost_is_ready_elsewhere_and_ends_where_it_comes_back() {
    let fleet = Fleet::new("p[1-3]").start();
    placed(&fleet, 1, "0s");
    let [(lost, first)] = &where_it_is(&fleet)[..] else { panic!("{:?}", fleet.service()) };
    let (_, pid) = fleet.newest_runs()[lost];
    fleet.player(lost).sitter.kill();
    let next = eventually("a replacement that is ready", || {
        let now = where_it_is(&fleet);
        let moved = now.iter().find(|(host, placement)| host != lost && placement > first)?.clone();
        (fleet.service()["ready"] == 1).then_some(moved.0)
    });
    let lives = || fs::exists(format!("/proc/{pid}/stat")).expect("a file system");
    assert!(lives(), "nobody is there to end it");
    let shown = fleet.orc(&["service", "show", "web"]).exits(0).out;
    assert!(shown.contains(&format!("replaced on {next}, ended here when it is back")), "{shown}");
    fleet.player(lost).sitter.start();
    eventually("the end of what came back", || (!lives()).then_some(()));
    eventually("one instance", || {
        (fleet.service()["instances"].as_array()?.len() == 1).then_some(())
    });
    fleet.wait_ready(1);
    let shown = fleet.orc(&["service", "show", "web"]).exits(0).out;
    assert!(shown.contains(&format!("{lost} is back: its instance was replaced")), "{shown}");
    fleet.no_run_was_doubled();
}

#[test]
fn while_most_players_are_cut_off_nothing_moves_and_then_all_is_as_before() {
    let fleet = Fleet::new("p[1-5]").start();
    placed(&fleet, 3, "5s");
    let before = where_it_is(&fleet);
    let runs = fleet.newest_runs();
    for (host, _) in &before {
        fleet.player(host).sitter.kill();
    }
    let waits = |why: &'static str| {
        let service = fleet.service();
        let all = service["instances"].as_array()?.clone();
        all.iter().all(|it| it["absence"]["replacing"]["waits"] == why).then_some(all.len())
    };
    assert_eq!(eventually("to be told why", || waits("fleet-disrupted")), 3);
    assert_eq!(where_it_is(&fleet), before, "nothing moves");
    let told = fleet.orc(&["brake"]).exits(0).out;
    assert!(told.contains("3 of 5 players are away: no instance is replaced"), "{told}");
    let zones = fleet.orc(&["zones", "--json"]).exits(0).json()["zones"].take();
    assert_eq!((&zones[0]["players"], &zones[0]["absent"]), (&5.into(), &3.into()), "{zones}");
    // A conductor that is killed finds the brake engaged, and moves nothing either.
    fleet.crash_conductor();
    let others: Vec<String> = (1..=5).map(|n| format!("p{n}")).collect();
    let there: Vec<&String> =
        others.iter().filter(|it| before.iter().all(|(host, _)| host != *it)).collect();
    fleet.wait_attached(&there);
    let told = fleet.orc(&["brake"]).exits(0).out;
    assert!(told.contains("fleet"), "{told}");
    for (host, _) in &before {
        fleet.player(host).sitter.start();
    }
    fleet.wait_attached(&others);
    fleet.wait_ready(3);
    assert_eq!(where_it_is(&fleet), before, "all is as before");
    assert_eq!(fleet.newest_runs(), runs, "nothing was even restarted");
    eventually("the end of the brake", || {
        let told = fleet.orc(&["brake", "--json"]).exits(0).json()["brakes"].take();
        (told == serde_json::json!([])).then_some(())
    });
    for (_, pid) in runs.into_values() {
        kill(pid);
    }
    fleet.no_run_was_doubled();
}
