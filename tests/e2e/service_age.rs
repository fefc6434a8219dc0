//! Runs that are as old as their service lets them become.

use std::fs;

use crate::harness::{Fleet, eventually};

#[test]
fn old_runs_are_followed_by_new_ones_again_and_again() {
    let fleet = Fleet::new("p[1-2]").start();
    let path = fleet.dir().join("aging.yaml");
    let text = "service: web\nscore: serve\non: 'p[1-2]'\nmax_age: 1s\n\
                update: {healthy_for: 100ms, deadline: 1m}\n";
    fs::write(&path, text).expect("a file");
    fleet.orc(&["service", "apply", &path.display().to_string()]).exits(0);
    // No new run begins but for age, since nothing ends by itself.
    eventually("a third run on each host", || {
        let service = fleet.service();
        let all = service["instances"].as_array()?;
        let third = all.iter().filter(|it| it["run"].as_u64() >= Some(3));
        (third.count() == 2).then_some(())
    });
    let service = fleet.service();
    let events = service["events"].as_array().expect("events");
    let of_age = events.iter().filter(|it| it["cause"] == "age");
    assert!(of_age.clone().count() > 1, "{service}");
    assert!(of_age.clone().all(|it| it["by"] == "orchestra:keeper"), "{service}");
    let all = service["instances"].as_array().expect("instances");
    assert!(
        all.iter().all(|it| it["restarts"] == 0),
        "the rule's counts are left alone: {service}"
    );
    fleet.no_run_was_doubled();
}
