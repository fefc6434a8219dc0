//! Services on real players: kept running whatever is killed, brought to a version, and taken away.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Chance, Fleet, eventually};

impl Fleet {
    /// Writes the file of service `web`, on these hosts, with further lines.
    pub(crate) fn service_file(&self, on: &str, further: &str) -> String {
        self.file_of("web", on, further)
    }

    /// Writes the file of a service of this name that lives and records, as [`Fleet::service_file`] does.
    fn file_of(&self, name: &str, on: &str, further: &str) -> String {
        let path = self.dir().join(format!("{name}.yaml"));
        let text = format!(
            "service: {name}\nscore: serve\non: \"{on}\"\n\
             update: {{parallel: 100%, healthy_for: 300ms, deadline: 20s}}\n{further}"
        );
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    pub(crate) fn service(&self) -> Value {
        self.orc(&["service", "show", "web", "--json"]).exits(0).json()["service"].take()
    }

    /// Waits until so many instances are ready and no flow changes the service.
    pub(crate) fn wait_ready(&self, count: u64) -> Value {
        eventually("the service to be ready", || {
            let service = self.service();
            let is_done = service["ready"] == count && service["living"].is_null();
            is_done.then_some(service)
        })
    }

    /// The newest run that each player recorded: its number and its process.
    pub(crate) fn newest_runs(&self) -> BTreeMap<String, (u32, i32)> {
        let runs = self.record.of("run").into_iter();
        runs.map(|line| (line.host().to_owned(), (line.attempt, line.pid))).collect()
    }

    /// Fails if a run began while the one before it lived, or a number came twice.
    pub(crate) fn no_run_was_doubled(&self) {
        assert_eq!(self.record.of("doubled"), []);
        let mut seen = BTreeMap::new();
        for line in self.record.of("run") {
            let before = seen.insert((line.task.clone(), line.attempt), line.clone());
            assert_eq!(before, None, "{line:?} came twice");
        }
    }
}

pub(crate) fn kill(pid: i32) {
    let pid = Pid::from_raw(pid).expect("a process number");
    // It may have ended by itself.
    let _ = kill_process(pid, Signal::KILL);
}

#[test]
fn a_service_runs_on_whoever_is_killed() {
    let mut chance = Chance::new(7);
    let fleet = Fleet::new("p[1-3]").start();
    let file = fleet.service_file("p[1-3]", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    for _ in 0..20 {
        let player = fleet.player(&format!("p{}", 1 + chance.below(3)));
        match chance.below(4) {
            0 => player.kill_agent(),
            1 => {
                player.sitter.kill();
                chance.delay(Duration::from_millis(100));
                player.sitter.start();
            }
            2 => fleet.crash_conductor(),
            _ => {
                let runs = fleet.newest_runs().into_values();
                runs.for_each(|(_, pid)| kill(pid));
            }
        }
        chance.delay(Duration::from_millis(150));
    }
    fleet.wait_attached(&["p1", "p2", "p3"]);
    // What is killed last is seen to come back.
    let before = fleet.newest_runs();
    before.values().for_each(|(_, pid)| kill(*pid));
    eventually("a further run everywhere", || {
        let now = fleet.newest_runs();
        now.iter().all(|(host, (run, _))| *run > before[host].0).then_some(())
    });
    let service = fleet.wait_ready(3);
    assert_eq!(service["version"], 1);
    fleet.no_run_was_doubled();
}

#[test]
fn a_service_needs_no_conductor_to_be_restarted() {
    let fleet = Fleet::new("p1").start();
    let file = fleet.service_file("p1", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    fleet.conductor.kill();
    for _ in 0..5 {
        let (run, pid) = fleet.newest_runs()["p1"];
        kill(pid);
        eventually("the next run", || (fleet.newest_runs()["p1"].0 > run).then_some(()));
    }
    fleet.start_conductor();
    let service = fleet.wait_ready(1);
    assert_eq!(service["instances"][0]["restarts"], 5);
    fleet.no_run_was_doubled();
}

#[test]
fn a_version_follows_another_and_one_that_fails_is_taken_back() {
    let fleet = Fleet::new("p[1-2]").start();
    let first = fleet.service_file("p[1-2]", "");
    fleet.orc(&["service", "apply", &first, "--wait"]).exits(0);
    let second = fleet.service_file("p[1-2]", "params: {other: \"1\"}\n");
    fleet.orc(&["service", "apply", &second, "--wait"]).exits(0);
    let again = fleet.orc(&["service", "apply", &second]).exits(0);
    assert!(again.out.starts_with("unchanged"), "{again}");
    let rule = "params: {exit: \"3\"}\nrestart: {attempts: 1}\n";
    let third = fleet.service_file("p[1-2]", rule);
    fleet.orc(&["service", "apply", &third, "--wait"]).exits(2);
    let service = fleet.wait_ready(2);
    assert_eq!((&service["version"], &service["stable"]), (&2.into(), &2.into()));
    let versions: Vec<String> = fleet.record.of("run").into_iter().map(|line| line.rest).collect();
    assert!(versions.contains(&"3".to_owned()), "it was tried: {versions:?}");
    fleet.no_run_was_doubled();
}

#[test]
fn services_that_are_applied_at_once_come_in_the_order_of_their_deployment() {
    let deployment = "\
shop:
  apps: {backend: 'p[1-2]', frontend: 'p[3-4]'}
  envs: {cluster: {east: 'p[1-4]'}}
  constraints: {cluster: {sequence: [[backend, frontend]]}}
";
    let fleet = Fleet::new("p[1-4]").deployment(deployment).start();
    let files = |further: &str| {
        [fleet.file_of("web", "@frontend", further), fleet.file_of("db", "@backend", further)]
    };
    let apply = |[web, db]: &[String; 2]| fleet.orc(&["service", "apply", web, db, "--wait"]);
    apply(&files("")).exits(0).says("web version 1").says("db version 1");
    // Each service's hosts in the order in which they began.
    let begun = || -> Vec<bool> {
        let runs = fleet.record.of("run").into_iter();
        runs.map(|line| ["p1", "p2"].contains(&line.host())).collect()
    };
    assert_eq!(begun(), [true, true, false, false]);
    let flows = fleet.orc(&["flows", "--json"]).exits(0).json()["flows"].take();
    assert_eq!(flows.as_array().map(Vec::len), Some(1), "{flows}");
    apply(&files("params: {other: \"1\"}\n")).exits(0);
    assert_eq!(begun()[4..], [true, true, false, false]);
    // A backend that does not become ready takes the frontends back with it, which it never came to.
    let [_, bad] = files("params: {exit: \"3\"}\nrestart: {attempts: 1}\n");
    let web = fleet.file_of("web", "@frontend", "params: {other: \"2\"}\n");
    apply(&[web, bad]).exits(2);
    let ready = |name: &str| {
        eventually("both to be as before", || {
            let told = fleet.orc(&["service", "show", name, "--json"]).exits(0).json();
            let service = &told["service"];
            let is_back = service["version"] == 2 && service["ready"] == 2;
            (is_back && service["living"].is_null()).then_some(())
        });
    };
    ready("web");
    ready("db");
    fleet.no_run_was_doubled();
}

#[test]
fn runs_are_told_of_other_parameters_and_get_signals() {
    let fleet = Fleet::new("p[1-2]").start();
    let told = |port| format!("params: {{port: \"{port}\"}}\nreload: {{signal: HUP}}\n");
    let file = fleet.service_file("p[1-2]", &told(80));
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let before = fleet.newest_runs();
    let heard = |kind: &'static str, rest: &'static str, count: usize| {
        eventually(kind, || {
            let lines = fleet.record.of(kind);
            (lines.iter().filter(|line| line.rest == rest).count() == count).then_some(())
        });
    };
    let file = fleet.service_file("p[1-2]", &told(81));
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    heard("reload", "2 81", 2);
    fleet.orc(&["service", "reload", "web", "-w", "p1"]).exits(0);
    heard("reload", "2 81", 3);
    fleet.wait_ready(2);
    fleet.orc(&["service", "signal", "web", "USR1"]).exits(0);
    heard("usr1", "", 2);
    fleet.orc(&["service", "signal", "web", "KILL"]).exits(64);
    let service = fleet.wait_ready(2);
    assert_eq!(service["version"], 2);
    assert_eq!(fleet.newest_runs(), before, "each run went on through all of it");
}

#[test]
fn what_does_not_start_by_itself_waits_for_somebody() {
    let fleet = Fleet::new("p1").start();
    let path = fleet.dir().join("web-front.yaml");
    let text = "service: web-front\nscore: serve\non: p1\nauto_start: false\n\
                update: {healthy_for: 0s}\n";
    std::fs::write(&path, text).unwrap();
    fleet.orc(&["service", "apply", path.to_str().unwrap(), "--wait"]).exits(2);
    assert_eq!(fleet.record.of("run"), []);
    fleet.orc(&["service", "start", "web-front"]).exits(0);
    fleet.orc(&["service", "wait", "web-front"]).exits(0);
    // It is ready once it has started, which is before it has said anything.
    eventually("what it says", || {
        let said = fleet.orc(&["logs", "web-front/1"]).exits(0).out;
        (said == "run 1 says hello\n").then_some(())
    });
    assert_eq!(fleet.record.of("run").len(), 1);
}

#[test]
fn what_is_stopped_or_removed_leaves_nothing_behind() {
    let fleet = Fleet::new("p[1-2]").start();
    let file = fleet.service_file("p[1-2]", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    fleet.orc(&["service", "stop", "web", "--yes"]).exits(0);
    fleet.wait_no_score_runs();
    eventually("all to be stopped", || {
        let service = fleet.service();
        let instances = service["instances"].as_array()?;
        instances.iter().all(|instance| instance["state"] == "stopped").then_some(())
    });
    fleet.orc(&["service", "start", "web"]).exits(0);
    fleet.wait_ready(2);
    fleet.orc(&["service", "remove", "web", "--yes"]).exits(0);
    fleet.wait_no_score_runs();
    eventually("it to be gone", || {
        let gone = fleet.orc(&["service", "show", "web", "--json"]).exits(0).json();
        gone["service"]["instances"].as_array()?.is_empty().then_some(())
    });
    fleet.no_run_was_doubled();
}

#[test]
fn a_linked_service_runs_beside_the_other_and_ends_before_it() {
    let fleet = Fleet::new("p[1-2]").start();
    let web = fleet.service_file("p[1-2]", "");
    let beside = fleet.dir().join("beside.yaml");
    let text = "service: beside\nscore: serve\nlinked_to: web\n\
                update: {parallel: 100%, healthy_for: 0s, deadline: 20s}\n";
    fs::write(&beside, text).expect("a file");
    let beside = beside.display().to_string();
    fleet.orc(&["service", "apply", &beside]).exits(8).complains("web");
    fleet.orc(&["service", "apply", &web, "--wait"]).exits(0);
    fleet.orc(&["service", "apply", &beside, "--wait"]).exits(0);
    let instances = || {
        let shown = fleet.orc(&["service", "show", "beside", "--json"]).exits(0).json();
        shown["service"]["instances"].as_array().cloned().unwrap_or_default()
    };
    let all = |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        eventually(what, || {
            let instances = instances();
            (instances.len() == 2 && instances.iter().all(is_so)).then_some(())
        });
    };
    all("one beside each", &|it| it["state"] == "ready");
    // A new version of the other one is a new run of what is linked to it.
    let runs: Vec<Value> = instances().into_iter().map(|it| it["run"].clone()).collect();
    assert_eq!(runs, [1, 1]);
    let web = fleet.service_file("p[1-2]", "params: {other: \"1\"}\n");
    fleet.orc(&["service", "apply", &web, "--wait"]).exits(0);
    all("a further run beside each", &|it| it["run"] == 2 && it["state"] == "ready");
    all("why the one before ended", &|it| it["last_end"]["how"] == "linked");
    fleet.orc(&["service", "remove", "web", "--yes"]).exits(1).complains("beside");
    fleet.orc(&["service", "stop", "web", "--yes"]).exits(0);
    fleet.wait_no_score_runs();
    all("both to be stopped", &|it| it["state"] == "stopped");
    assert_eq!(fleet.record.of("doubled"), []);
}

#[test]
fn a_log_is_followed_over_kills_of_service_sitter_and_conductor() {
    let fleet = Fleet::new("p1").start();
    let file = fleet.service_file("p1", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let logs = |flags: &[&str]| fleet.orc(&[&["logs", "web/1"], flags].concat()).exits(0);
    let followed = fleet.tool("orc", &["logs", "web/1", "-f"]).start();
    let saw = |lines: &str| {
        let what = format!("{lines:?} but {:?}", followed.so_far("err"));
        eventually(&what, || (followed.so_far("out") == lines).then_some(()));
    };
    saw("run 1 says hello\n");
    kill(fleet.newest_runs()["p1"].1);
    saw("run 1 says hello\nrun 2 says hello\n");
    fleet.wait_ready(1);
    let player = fleet.player("p1");
    player.sitter.kill();
    kill(fleet.newest_runs()["p1"].1);
    player.sitter.start();
    // The next sitter leaves a number out if it has not seen the end.
    let third = eventually("a third run", || {
        let run = fleet.newest_runs()["p1"].0;
        (run > 2).then_some(run)
    });
    assert!([3, 4].contains(&third), "run {third}");
    let three = format!("run 1 says hello\nrun 2 says hello\nrun {third} says hello\n");
    saw(&three);
    fleet.crash_conductor();
    fleet.wait_ready(1);
    kill(fleet.newest_runs()["p1"].1);
    let fourth = third + 1;
    saw(&format!("{three}run {fourth} says hello\n"));
    assert_eq!(logs(&[]).out, format!("run {fourth} says hello\n"));
    assert_eq!(logs(&["--previous"]).out, format!("run {third} says hello\n"));
    assert_eq!(logs(&["--run", "1"]).out, "run 1 says hello\n");
    assert_eq!(logs(&["--run", "2", "--stderr"]).out, "run 2 complains\n");
    assert_eq!(logs(&["--all", "--tail", "1"]).out, format!("run {fourth} says hello\n"));
    let line = logs(&["--run", &third.to_string(), "--json"]).json();
    let said = format!("run {third} says hello").into();
    assert_eq!((&line["line"], &line["run"]), (&said, &third.into()));
    fleet.orc(&["logs", "web@p1"]).exits(0).says(&format!("run {fourth} says hello"));
    fleet.orc(&["logs", "web/2"]).exits(8).complains("there is no instance web/2");
}

#[test]
fn what_services_use_is_told() {
    let fleet = Fleet::new("p[1-2]").start();
    let file = fleet.service_file("p[1-2]", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let is_told = |unit: &Value| unit["cpu_millicores"].is_u64() && unit["memory_bytes"].is_u64();
    let units = eventually("what both units use", || {
        let answer = fleet.orc(&["top", "--json"]).exits(0).json();
        let units = answer["units"].as_array()?.clone();
        (units.len() == 2 && units.iter().all(is_told)).then_some(units)
    });
    for unit in &units {
        assert_eq!((&unit["service"], &unit["attached"]), (&"web".into(), &true.into()));
        assert!(unit["memory_bytes"].as_u64() > Some(64 << 10), "{unit}");
        assert!(unit["processes"].as_u64() >= Some(1), "{unit}");
    }
    let players = fleet.orc(&["top", "--players", "--json"]).exits(0).json();
    assert!(players["players"][0]["memory"]["used_bytes"].is_u64(), "{players}");
    let text = fleet.orc(&["top", "p1"]).exits(0).out;
    assert!(text.starts_with("INSTANCE ") && text.lines().count() == 2, "{text}");
    let service = fleet.service();
    assert!(
        service["instances"]
            .as_array()
            .is_some_and(|it| { it.iter().all(|instance| is_told(&instance["usage"])) }),
        "{service}"
    );
    let shown = fleet.orc(&["service", "show", "web"]).exits(0).out;
    assert!(shown.contains(", uses cpu ") && shown.contains(", memory "), "{shown}");
    // Of a player that is away the last is told.
    fleet.player("p2").sitter.kill();
    eventually("p2 to be away", || {
        let answer = fleet.orc(&["top", "p2", "--players", "--json"]).exits(0).json();
        (answer["players"][0]["attached"] == false).then_some(())
    });
    fleet.conductor.kill();
    fleet.start_conductor();
    let answer = fleet.orc(&["top", "p2", "--players", "--json"]).exits(0).json();
    assert!(answer["players"][0]["age_ms"].is_null(), "nothing of it is stored: {answer}");
}
