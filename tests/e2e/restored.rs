//! Disks that forget: a spool that is wiped, a store that is restored from a copy.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::harness::{Fleet, eventually};

#[test]
fn what_ran_under_a_wiped_spool_is_lost_and_never_runs_again() {
    let fleet = Fleet::new("p1").start();
    let flow = fleet.submitjob(&["work", "seconds=1", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let player = fleet.player("p1");
    player.sitter.kill();
    fs::remove_dir_all(player.spool()).unwrap();
    player.sitter.start();
    fleet.wait_flow(flow).exits(2);
    let task = fleet.task(flow);
    assert_eq!(task["state"], "lost", "{task}");
    assert!(task["detail"].as_str().unwrap().contains("another spool"), "{task}");

    // The new spool works, and nothing of the old one comes back.
    let next = fleet.run(&["work", "seconds=0", "-w", "p1"]);
    assert_eq!(fleet.task(next)["state"], "ok");
    eventually("the first score to end by itself", || {
        (fleet.record.of("end").len() == 2).then_some(())
    });
    assert_eq!(fleet.record.count("start").into_values().collect::<Vec<_>>(), [1, 1]);
    assert_eq!(fleet.task(flow)["state"], "lost");
}

#[test]
fn a_spool_wiped_before_the_order_came_runs_it_at_most_once() {
    let fleet = Fleet::new("p1").start();
    let player = fleet.player("p1");
    player.sitter.kill();
    fleet.wait_detached("p1");
    let flow = fleet.submitjob(&["work", "seconds=0", "-w", "p1"]).exits(0).id();
    fs::remove_dir_all(player.spool()).unwrap();
    player.sitter.start();
    // It was never sent, so that the wiped spool says nothing about it.
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.record.count("start").into_values().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_store_restored_from_a_copy_sends_nothing_until_it_is_recovered() {
    let fleet = Fleet::new("p[1-2]").start();
    let old = fleet.run(&["work", "seconds=0", "-w", "@all"]);
    assert!(fleet.conductor.stop().success());
    let (state, copy) = (fleet.dir().join("conductor/state"), fleet.dir().join("copy"));
    copy_dir(&state, &copy);
    fleet.start_conductor();
    fleet.wait_attached(&["p1", "p2"]);

    // One flow that ends, and one that still runs, when the store forgets both.
    let forgotten = fleet.run(&["work", "seconds=0", "-w", "@all"]);
    let running = fleet.submitjob(&["work", "seconds=4", "-w", "p1"]).exits(0).id();
    eventually("its start", || (fleet.record.of("start").len() == 5).then_some(()));
    fleet.conductor.kill();
    fs::remove_dir_all(&state).unwrap();
    copy_dir(&copy, &state);
    fleet.start_conductor();
    fleet.wait_attached(&["p1", "p2"]);

    let status = fleet.orc(&["conductor", "status"]).exits(0);
    let status = status.says("nothing is sent").says("orc conductor recover");
    assert!(status.out.contains("p1") || status.out.contains("p2"), "{status}");
    fleet.getstatus(&[&old.to_string()]).exits(0);
    fleet.getstatus(&[&forgotten.to_string()]).exits(8).complains("no flow");
    // The number is given again, and what is known by it must not be mixed up.
    let during = fleet.submitjob(&["work", "seconds=0", "-w", "@all"]).exits(0).id();
    assert_eq!(during, forgotten);
    for task in fleet.tasks(during) {
        assert_eq!((&task["state"], &task["reason"]), (&json!("waiting"), &json!("stale-store")));
    }

    let recovered = fleet.orc(&["conductor", "recover", "--json"]).exits(0).json();
    let after = |value: &Value| value.as_u64().unwrap();
    assert!(after(&recovered["recover"]["next_flow"]) > running, "{recovered}");
    let status = fleet.orc(&["conductor", "status"]).exits(0);
    assert!(!status.out.contains("nothing is sent"), "{status}");
    // It waited while nobody knew what had run: that is said, not guessed.
    fleet.wait_flow(during).exits(2);
    // The first that is lost dooms the job, so that the other may be skipped.
    let states: Vec<String> = fleet.states(during).into_values().collect();
    assert!(states.iter().all(|state| state == "lost" || state == "skipped"), "{states:?}");
    assert!(states.contains(&"lost".to_owned()), "{states:?}");
    let next = fleet.run(&["work", "seconds=0", "-w", "@all"]);
    assert!(next > running, "flow {next} follows {running}");
    fleet.getstatus(&[&next.to_string()]).exits(0);
    eventually("the forgotten score to end", || (fleet.record.of("end").len() == 7).then_some(()));
    fleet.record.nothing_started_twice();
    assert_eq!(fleet.record.of("start").len(), 7);
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
