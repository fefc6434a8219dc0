//! Who did what is on record, over crashes: promise 12.

use serde_json::{Value, json};

use crate::harness::{Fleet, eventually};

#[test]
fn every_verb_is_on_record_with_who_asked_and_what_came_of_it() {
    let fleet = Fleet::new("p[1-2]").start();
    let flow = fleet.submitjob(&["gate", "-w", "@all"]).exits(0).id();
    let id = flow.to_string();
    eventually("both to run", || {
        fleet.states(flow).values().all(|state| state == "running").then_some(())
    });
    fleet.orc(&["pause", &id]).exits(0);
    fleet.orc(&["resume", &id]).exits(0);
    fleet.orc(&["drain", "p2", "--reason", "new disk"]).exits(0);
    // Rejected: nothing was done.
    fleet.orc(&["promote", &id]);
    // What was answered survives a crash, and so does its line.
    fleet.crash_conductor();
    fleet.start_players();
    fleet.orc(&["undrain", "p2"]).exits(0);
    fleet.orc(&["conductor", "reload"]).exits(0);
    fleet.orc(&["cancel", &id, "--reason", "wrong version"]).exits(0);
    let lines = |flags: &[&str]| {
        let flags = [&["audit", "--json"], flags].concat();
        let audit: Value = fleet.orc(&flags).exits(0).json()["audit"].clone();
        let line = |line: &Value| {
            (line["verb"].as_str().unwrap().to_owned(), line["flow"].clone(), line["hosts"].clone())
        };
        audit.as_array().unwrap().iter().rev().map(line).collect::<Vec<_>>()
    };
    let of_flow = |verb: &str| (verb.to_owned(), json!(flow), Value::Null);
    let of_p2 = |verb: &str| (verb.to_owned(), Value::Null, json!("p2"));
    let all = [
        of_flow("submit"),
        of_flow("pause"),
        of_flow("resume"),
        of_p2("drain"),
        of_p2("undrain"),
        ("reload".to_owned(), Value::Null, Value::Null),
        of_flow("cancel"),
    ];
    assert_eq!(lines(&[]), all);
    assert_eq!(lines(&["--host", "p2"]), [&all[..5], &all[6..]].concat());
    assert_eq!(lines(&["--host", "p1", "--verb", "drain"]), []);
    assert_eq!(lines(&["--by", "nobody"]), []);
    assert_eq!(lines(&["-n", "2"]), all[5..]);
    assert_eq!(lines(&["--since", "1h"]), all);
    fleet.orc(&["audit", "--verb", "drain"]).exits(0).says("alice drain p2").says("(new disk)");
    fleet.orc(&["audit", "--verb", "cancel"]).exits(0).says("(wrong version)");
    fleet.orc(&["wait", &id]).exits(5);
    fleet.getstatus(&[&id]).says("cancelled by alice (wrong version)");
    fleet.orc(&["explain", &id]).says("alice cancelled it (wrong version)");
}
