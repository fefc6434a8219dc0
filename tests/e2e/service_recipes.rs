//! What is done on hosts before the first run of a version and after the last.

use std::fs;

use crate::harness::{Fleet, eventually};

/// Applies the service `web` on both players, prepared by a score with these parameters. Returns the
/// flow.
fn apply(fleet: &Fleet, params: &str) {
    let path = fleet.dir().join("recipes.yaml");
    let text = format!(
        "service: web\nscore: serve\non: 'p[1-2]'\nprepare: {{score: work, params: {params}}}\n\
         cleanup: {{score: work, params: {{seconds: 0}}}}\n\
         update: {{parallel: 2, healthy_for: 100ms, deadline: 1m}}\n"
    );
    fs::write(&path, text).expect("a file");
    fleet.orc(&["service", "apply", &path.display().to_string()]).exits(0);
}

/// The version of each instance that is ready.
fn ready(fleet: &Fleet) -> Vec<u64> {
    let service = fleet.service();
    let all = service["instances"].as_array().cloned().unwrap_or_default();
    let ready = all.iter().filter(|it| it["state"] == "ready");
    ready.filter_map(|it| it["version"].as_u64()).collect()
}

/// The first words of the record's lines about a host, in order.
fn story(fleet: &Fleet, host: &str) -> Vec<String> {
    let lines = fleet.record.lines();
    lines.iter().filter(|line| line.host() == host).map(|line| line.what.clone()).collect()
}

#[test]
fn a_host_is_prepared_before_a_version_and_cleaned_up_after_the_service() {
    let fleet = Fleet::new("p[1-2]").start();
    apply(&fleet, "{seconds: 1}");
    eventually("a host to be prepared", || (!fleet.record.of("start").is_empty()).then_some(()));
    fleet.crash_conductor();
    eventually("both to be ready", || (ready(&fleet) == [1, 1]).then_some(()));
    for host in ["p1", "p2"] {
        assert_eq!(
            story(&fleet, host),
            ["start", "end", "run"],
            "prepared once, and before it ran"
        );
    }

    eventually("the version to be stable", || (fleet.service()["stable"] == 1).then_some(()));
    // One that cannot be prepared takes nothing away.
    apply(&fleet, "{exit: 1}");
    eventually("it to go back", || (fleet.service()["version"] == 1).then_some(()));
    assert_eq!(fleet.record.of("run").len(), 2);
    assert_eq!(ready(&fleet), [1, 1]);

    fleet.orc(&["service", "remove", "web", "--yes"]).exits(0);
    eventually("both to be cleaned up", || {
        let is_clean =
            |host| story(&fleet, host).ends_with(&["down", "start", "end"].map(String::from));
        ["p1", "p2"].into_iter().all(is_clean).then_some(())
    });
    fleet.record.nothing_started_twice();
    fleet.no_run_was_doubled();
}

/// The host of the one instance, once it is ready there and nowhere else.
fn only_host(fleet: &Fleet) -> Option<String> {
    let service = fleet.service();
    let all = service["instances"].as_array()?;
    let [one] = &all[..] else { return None };
    (one["state"] == "ready").then(|| one["host"].as_str().map(str::to_owned))?
}

#[test]
fn a_host_that_takes_long_to_clean_up_keeps_nothing_from_moving() {
    let fleet = Fleet::new("p[1-3]").start();
    let path = fleet.dir().join("moving.yaml");
    let text = "service: web\nscore: serve\nplace: {count: 1}\n\
                cleanup: {score: work, params: {seconds: 1000}}\nupdate: {healthy_for: 100ms}\n";
    fs::write(&path, text).expect("a file");
    fleet.orc(&["service", "apply", &path.display().to_string()]).exits(0);
    let first = eventually("it to be ready", || only_host(&fleet));
    fleet.orc(&["drain", &first, "--reason", "it has to go"]).exits(0);
    let second = eventually("it to move", || only_host(&fleet).filter(|host| *host != first));
    let cleanings = |host: &str| story(&fleet, host).iter().filter(|it| *it == "start").count();
    eventually("the first to be cleaned up", || (cleanings(&first) == 1).then_some(()));
    fleet.orc(&["drain", &second, "--reason", "it has to go, too"]).exits(0);
    eventually("it to move on", || {
        only_host(&fleet).filter(|host| *host != first && *host != second)
    });
    // Whatever was wrong in between, it made room for; then it goes on.
    eventually("the first to be cleaned up again", || (cleanings(&first) > 1).then_some(()));
    eventually("both to be told", || {
        let left = fleet.service()["uncleaned"].as_str().map(str::to_owned)?;
        [&first, &second].into_iter().all(|host| left.contains(&host[1..])).then_some(())
    });
    fleet.no_run_was_doubled();
}
