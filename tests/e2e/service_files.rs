//! Services of files on real players, and units that a restored store knows nothing of.

use std::fs;

use serde_json::json;

use crate::{
    harness::{Fleet, eventually},
    restored::copy_dir,
};

impl Fleet {
    /// Writes the conductor's file of service `web`, with further lines.
    fn write_service(&self, on: &str, further: &str) {
        let directory = self.dir().join("conductor/services.d");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(self.service_file(on, further), directory.join("web.yaml")).unwrap();
    }

    fn processes(&self) -> Vec<i32> {
        self.newest_runs().into_values().map(|(_, pid)| pid).collect()
    }
}

#[test]
fn a_service_of_a_file_follows_it_and_outlives_it() {
    let fleet = Fleet::new("p[1-2]").start();
    fleet.write_service("p[1-2]", "");
    let reloaded = fleet.orc(&["conductor", "reload"]).exits(0);
    assert!(reloaded.out.contains("services.d/web.yaml: service web, version 1\n"), "{reloaded}");
    let service = fleet.wait_ready(2);
    assert_eq!(service["owner"], "orchestra:files");
    fleet.write_service("p[1-2]", "params: {other: \"1\"}\n");
    fleet.orc(&["conductor", "reload"]).exits(0);
    let service = fleet.wait_ready(2);
    assert_eq!((&service["version"], &service["stable"]), (&json!(2), &json!(2)));
    // Whoever applies it is told whose it is; a plan tells what taking it over would change.
    let file = fleet.service_file("p1", "");
    fleet.orc(&["service", "apply", &file]).exits(1).complains("belongs to services.d/web.yaml");
    let planned = fleet.orc(&["service", "apply", &file, "--plan", "--take-over"]).exits(0);
    for line in [
        "web: version 3 would follow version 2\n",
        "it would be taken over from services.d/web.yaml\n",
        "update  p1 (1), from version 2\n",
        "leave   p2 (1), no longer wanted there\n",
    ] {
        assert!(planned.out.contains(line), "{planned}");
    }
    // The file goes, and the conductor with it: what runs runs on.
    fs::remove_dir_all(fleet.dir().join("conductor/services.d")).unwrap();
    fleet.orc(&["conductor", "reload"]).exits(1).complains("services.d is empty or not there");
    let gone = fleet.orc(&["conductor", "reload", "--allow-removal"]).exits(0);
    assert!(gone.out.contains("services.d/web.yaml: file gone, service web runs on"), "{gone}");
    fleet.crash_conductor();
    let service = fleet.wait_ready(2);
    assert_eq!(service["file"]["standing"], "gone");
    let runs = fleet.newest_runs();
    assert!(runs.values().all(|(run, _)| *run == 2), "one run a version: {runs:?}");
    fleet.orc(&["service", "remove", "web", "--yes"]).exits(0);
    eventually("nothing to be left", || fleet.score_processes().is_empty().then_some(()));
    fleet.no_run_was_doubled();
}

#[test]
fn what_a_restored_store_knows_nothing_of_is_ended_by_a_person() {
    let fleet = Fleet::new("p[1-2]").start();
    assert!(fleet.conductor.stop().success());
    let (state, copy) = (fleet.dir().join("conductor/state"), fleet.dir().join("copy"));
    copy_dir(&state, &copy);
    fleet.start_conductor();
    fleet.wait_attached(&["p1", "p2"]);
    let file = fleet.service_file("p[1-2]", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let before = fleet.processes();
    fleet.conductor.kill();
    fs::remove_dir_all(&state).unwrap();
    copy_dir(&copy, &state);
    fleet.start_conductor();
    fleet.wait_attached(&["p1", "p2"]);
    fleet.orc(&["conductor", "recover"]).exits(0);
    fleet.wait_attached(&["p1", "p2"]);
    let strangers = eventually("both to be told", || {
        let listed = fleet.orc(&["service", "list", "--strangers", "--json"]).exits(0).json();
        let strangers = listed["strangers"].as_array().unwrap().clone();
        (strangers.len() == 2).then_some(strangers)
    });
    assert_eq!((&strangers[0]["service"], &strangers[0]["known"]), (&json!("web"), &json!(false)));
    assert_eq!(fleet.processes(), before, "nothing was ended, and nothing began anew");
    fleet.orc(&["service", "stop-stranger", "web", "-w", "p1"]).exits(64);
    let stop = ["service", "stop-stranger", "web", "-w", "p1", "--yes", "--json"];
    let stopped = fleet.orc(&stop).exits(0).json();
    fleet.wait_flow(stopped["stopped"]["flow"].as_u64().unwrap()).exits(0);
    let left = || fleet.score_processes().into_iter().filter(|left| before.contains(&left.pid));
    eventually("one to be left", || (left().count() == 1).then_some(()));
    // The service comes anew where nobody is in its way, and is then given the other one.
    fleet.orc(&["service", "apply", &file]).exits(0);
    fleet.wait_ready(1);
    fleet.orc(&["service", "adopt", "web"]).exits(0);
    fleet.wait_ready(2);
    let left = fleet.orc(&["service", "list", "--strangers"]).exits(0);
    assert!(left.err.contains("no strangers"), "{left}");
    fleet.no_run_was_doubled();
}
