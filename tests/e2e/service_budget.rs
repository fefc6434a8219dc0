//! A service's budget, whoever wants something of its hosts, by what the service itself has recorded.

use crate::harness::{Fleet, eventually};

/// Drains, a rollout and somebody's job share one budget.
#[test]
fn two_drains_a_rollout_and_a_job_at_once_stay_within_the_budget() {
    let fleet = Fleet::new("p[1-6]").start();
    let first = fleet.service_file("p[1-6]", "budget: 2\n");
    fleet.orc(&["service", "apply", &first, "--wait"]).exits(0);
    let all_up = fleet.record.lines().len();
    let second = fleet.service_file("p[1-6]", "budget: 2\nparams: {other: \"1\"}\n");
    let job = fleet.submitjob(&["work", "seconds=0.2", "-w", "@all"]).exits(0).id();
    fleet.orc(&["service", "apply", &second]).exits(0);
    for host in ["p1", "p4"] {
        fleet.orc(&["drain", host, "--reason", "a rack is moved"]).exits(0);
    }
    let others = fleet.submitjob(&["work", "seconds=0.2", "-w", "p[2-3,5-6]"]).exits(0).id();
    fleet.wait_flow(others).exits(0);
    for host in ["p4", "p1"] {
        fleet.orc(&["undrain", host]).exits(0);
    }
    fleet.wait_flow(job).exits(0);
    eventually("version 2 on all hosts", || {
        let service = fleet.service();
        let instances = service["instances"].as_array()?;
        let is_new = instances.iter().all(|it| it["version"] == 2 && it["state"] == "ready");
        (is_new && service["living"].is_null()).then_some(())
    });
    let most = fleet.record.most_without_service(all_up);
    assert_eq!(most, 2, "{:#?}", fleet.record.lines());
    fleet.record.nothing_started_twice();
    fleet.no_run_was_doubled();
}

/// A version that cannot run takes no more hosts than one at a time may be taken from it.
#[test]
fn three_bad_versions_in_a_row_never_leave_less_than_all_but_one() {
    let fleet = Fleet::new("p[1-4]").start();
    let file = |further: &str| {
        let path = fleet.dir().join("web.yaml");
        let text = format!(
            "service: web\nscore: serve\non: \"p[1-4]\"\n\
             update: {{healthy_for: 300ms, deadline: 20s}}\n{further}"
        );
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    fleet.orc(&["service", "apply", &file(""), "--wait"]).exits(0);
    let all_up = fleet.record.lines().len();
    for version in 1..=3 {
        let params = format!("params: {{exit: \"{version}\"}}\nrestart: {{attempts: 1}}\n");
        fleet.orc(&["service", "apply", &file(&params), "--wait"]).exits(2);
        let service = fleet.wait_ready(4);
        assert_eq!((&service["version"], &service["stable"]), (&1.into(), &1.into()));
    }
    assert_eq!(fleet.record.most_without_service(all_up), 1, "{:#?}", fleet.record.lines());
    fleet.no_run_was_doubled();
}
