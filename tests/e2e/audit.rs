//! Who did what is on record, over crashes, and what somebody else writes there is found: promise 12.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::net::UnixListener,
    path::PathBuf,
};

use orchestra_certs::Role;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    certificates::refusal_of_a_raw_client,
    harness::{Fleet, ROOT, Ran, eventually},
};

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
        let flags = [&["audit", "--json", "--outcome", "done"], flags].concat();
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

const POLICY: &str = r#"
[[rule]]
name = "web"
who = ["bob"]
may = ["operator"]
scores = ["hello"]
hosts = "w1"
"#;

impl Fleet {
    /// Every line of the audit, oldest first.
    fn audit(&self) -> Vec<Value> {
        let export = self.orc(&["audit", "export"]).exits(0).out;
        export.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    /// Waits for a line that has all of these fields.
    fn audit_line(&self, fields: &Value) -> Value {
        let fields = fields.as_object().expect("fields");
        let is_it = |line: &Value| fields.iter().all(|(key, value)| line[key] == *value);
        eventually(&format!("a line with {fields:?}"), || self.audit().into_iter().find(is_it))
    }

    fn store(&self) -> Connection {
        let path = self.dir().join("conductor/state/orchestra.db");
        let store = Connection::open(path).expect("the store is there");
        store.busy_timeout(std::time::Duration::from_secs(5)).expect("a timeout");
        store
    }
}

/// An afternoon: who asked for what, where, by which rule, and how it ended; what was refused, and by
/// whom; and which files said what. A conductor that is killed in between loses none of it.
#[test]
fn an_afternoon_is_on_record() {
    let exported = tempfile::tempdir().expect("a directory");
    let file = exported.path().join("audit.jsonl");
    let target = format!("\n[audit]\nexport = \"{}\"\n", file.display());
    let fleet = Fleet::new("w[1-2],db1")
        .policy(&[ROOT, POLICY].concat())
        .conductor_tables(&target)
        .players_off()
        .start();
    fleet.score("broken", "#!/bin/sh\nexit 3\n", "");
    fleet.start_players();
    fleet.certificate(Role::Audience, "bob");
    let bob = |program: &str, arguments: &[&str]| -> Ran {
        fleet.tool_as("audience", "bob", program, arguments).run()
    };
    let hello = bob("submitjob", &["hello", "-w", "w1"]).exits(0).id();
    fleet.wait_flow(hello).exits(0);
    bob("submitjob", &["hello", "-w", "@all"]).exits(6);
    let gate = fleet.submitjob(&["gate", "-w", "w2"]).exits(0).id();
    fleet.wait_state(gate, "running");
    fleet.orc(&["cancel", &gate.to_string(), "--reason", "wrong version"]).exits(0);
    fleet.wait_flow(gate).exits(5);
    let broken = fleet.submitjob(&["broken", "-w", "db1"]).exits(0).id();
    fleet.wait_flow(broken).exits(2);
    fleet.orc(&["ledger", "release", "db1", "--reason", "looked at it"]).exits(0);
    fleet.orc(&["drain", "db1", "--reason", "new disk"]).exits(0);
    fleet.orc(&["service", "apply", &fleet.service_file("w1", ""), "--wait"]).exits(0);
    let policy = fleet.dir().join("conductor/policy.toml");
    fs::write(&policy, "[[rule]]\nname = \"x\"\n").expect("a file");
    fleet.orc(&["conductor", "reload"]).exits(1);
    refusal_of_a_raw_client(&fleet, None);
    // What is refused is written a moment later.
    let stranger = json!({"by": "orchestra:stranger", "verb": "certificate-refused"});
    let stranger = fleet.audit_line(&stranger);
    assert_eq!(stranger["peer"], "127.0.0.1");
    fleet.conductor.kill();
    fs::write(&policy, [ROOT, &POLICY.replace("w1", "w[1-2]")].concat()).expect("a file");
    fleet.start_conductor();
    fleet.orc(&["undrain", "db1"]).exits(0);

    let done = |by: &str, verb: &str, rule: &str| json!({"by": by, "verb": verb, "outcome": "done", "rule": rule, "times": 1});
    let with = |mut fields: Value, key: &str, value: Value| {
        fields[key] = value;
        fields
    };
    let ended = |flow: u64, state: &str| {
        json!({"by": "orchestra:keeper", "verb": "flow-ended", "outcome": "happened", "flow": flow,
               "answer": state})
    };
    let verdict = |flow: u64, what: &str| json!({"verb": "verdict", "outcome": "happened", "flow": flow, "answer": what});
    let cancelled = with(done("alice", "cancel", "root"), "reason", json!("wrong version"));
    let drained = with(done("alice", "drain", "root"), "reason", json!("new disk"));
    for fields in [
        with(done("bob", "submit", "web"), "flow", json!(hello)),
        verdict(hello, "job 1.1: ok, 1 of 1 ok"),
        ended(hello, "ok"),
        json!({"by": "bob", "verb": "submit", "outcome": "denied", "hosts": "db1,w2",
               "answer": "may not submit hello: rule web allows it on other hosts"}),
        with(done("alice", "submit", "root"), "flow", json!(gate)),
        with(cancelled, "flow", json!(gate)),
        ended(gate, "cancelled"),
        verdict(broken, "job 1.1: failed, 0 of 1 ok"),
        ended(broken, "failed"),
        with(done("alice", "release-holds", "root"), "hosts", json!("db1")),
        with(drained, "hosts", json!("db1")),
        with(done("alice", "service-apply", "root"), "service", json!("web")),
        json!({"by": "alice", "verb": "reload", "outcome": "failed"}),
        with(done("alice", "undrain", "root"), "hosts", json!("db1")),
        json!({"verb": "certificate-came", "by": "bob"}),
    ] {
        fleet.audit_line(&fields);
    }
    let all = fleet.audit();
    let of = |verb: &str| all.iter().filter(|line| line["verb"] == verb).collect::<Vec<_>>();
    assert_eq!(of("conductor-started").len(), 2);
    assert_eq!(of("chain-began").len(), 1);
    // Each file once, with its hash; the policy a second time, with the one before.
    let policies: Vec<&str> = of("configured")
        .into_iter()
        .filter(|line| line["file"] == "policy.toml")
        .map(|line| line["answer"].as_str().expect("a text"))
        .collect();
    let first = policies[0].strip_prefix("new ").expect("it is new");
    assert!(
        policies.len() == 2 && policies[1].starts_with(&format!("{first} -> ")),
        "{policies:?}"
    );
    let files: Vec<&str> =
        of("configured").iter().map(|line| line["file"].as_str().expect("a name")).collect();
    for file in ["conductor.toml", "players", "tls.ca", "tls.cert"] {
        assert!(files.contains(&file), "{files:?}");
    }
    // Numbers have no gap, and nothing was changed.
    let numbers: Vec<u64> = all.iter().map(|line| line["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    fleet.orc(&["audit", "verify"]).exits(0).says("whole: ");
    // The same lines are exported, and a rotation loses none.
    let told = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.map(|line| line["number"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    eventually("all lines to be exported", || (told(&file).len() >= all.len()).then_some(()));
    let rotated = exported.path().join("old");
    fs::rename(&file, &rotated).expect("one directory");
    fleet.conductor.signal(Signal::HUP);
    eventually("a new file", || (!told(&file).is_empty()).then_some(()));
    let mut both = [told(&rotated), told(&file)].concat();
    // A conductor that was killed may have exported some lines twice.
    both.dedup();
    assert_eq!(both, (1..=both.len() as u64).collect::<Vec<_>>());
    // The end of an export is a mark, and so is the newest line.
    fleet.orc(&["audit", "verify", "--head", &file.display().to_string()]).exits(0);
}

/// Each line that somebody removes from the store, changes or cuts off is found, by a conductor that
/// runs, and by one that starts later.
#[test]
fn each_line_that_is_removed_changed_or_cut_is_found() {
    let fleet = Fleet::new("p1").start();
    let flow = fleet.submitjob(&["hello", "-w", "p1"]).exits(0).id();
    fleet.wait_flow(flow).exits(0);
    fleet.orc(&["drain", "p1", "--reason", "disk"]).exits(0);
    fleet.orc(&["undrain", "p1"]).exits(0);
    fleet.orc(&["audit", "verify"]).exits(0);
    let head = fleet.dir().join("head");
    let newest = fleet.orc(&["audit", "head"]).exits(0).out;
    fs::write(&head, &newest).expect("a file");
    let lines = fleet.audit();
    let last = lines.len() as i64;
    let links: Vec<String> =
        lines.iter().map(|line| line["link"].as_str().expect("a link").to_owned()).collect();
    let store = fleet.store();
    let is_found = |what: &str| {
        let ran = fleet.orc(&["audit", "verify"]);
        let found = ran.out.contains(what) || ran.err.contains(what);
        assert!(ran.code() != Some(0) && found, "{what}: {ran}");
    };
    let whole = || fleet.orc(&["audit", "verify"]).exits(0);
    store.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM audit").expect("a copy");
    let put_back = "INSERT OR REPLACE INTO audit SELECT * FROM temp.kept";
    for number in 1..=last {
        store.execute("DELETE FROM audit WHERE number = ?1", [number]).expect("it is there");
        is_found(&match number {
            _ if number == last => format!("lines {last} to {last} are missing at the end"),
            _ => format!("line {number} is missing"),
        });
        store.execute_batch(put_back).expect("it goes back");
        // Another line in its place, as whole as any.
        let other = if number == 1 { 2 } else { number - 1 };
        let swap = "UPDATE audit SET body = (SELECT body FROM temp.kept WHERE number = ?2) WHERE number = ?1";
        store.execute(swap, [number, other]).expect("it is there");
        is_found(&format!(
            "line {number}, or the link of the line before, is not what was written"
        ));
        store.execute_batch(put_back).expect("it goes back");
        // One byte.
        let damage = "UPDATE audit SET body =
                      CAST(substr(body, 1, 9) || x'ff' || substr(body, 11) AS BLOB) WHERE number = ?1";
        store.execute(damage, [number]).expect("it is there");
        is_found(&format!("record {number} in audit"));
        store.execute_batch(put_back).expect("it goes back");
        // It, and all after it, with what the store says of its end made to fit.
        store.execute("DELETE FROM audit WHERE number >= ?1", [number]).expect("they are there");
        store
            .execute("UPDATE meta SET value = ?1 WHERE key = 'last_audit'", [number - 1])
            .expect("the store says so");
        is_found("are missing at the end");
        store.execute_batch(put_back).expect("it goes back");
        store
            .execute("UPDATE meta SET value = ?1 WHERE key = 'last_audit'", [last])
            .expect("the store says so");
    }
    whole();
    // A tail that was cut while no conductor ran is found by who kept a mark.
    fleet.conductor.kill();
    store.execute("DELETE FROM audit WHERE number > ?1", [last - 3]).expect("they are there");
    let end = "UPDATE meta SET value = ?1 WHERE key = ?2";
    let link = orchestra_model::from_hex(&links[last as usize - 4]).expect("hexadecimal");
    store.execute(end, (last - 3, "last_audit")).expect("the store says so");
    store.execute(end, (link, "last_audit_link")).expect("the store says so");
    drop(store);
    fleet.start_conductor();
    let ran = fleet.orc(&["audit", "verify", "--head", &head.display().to_string()]).exits(2);
    assert!(ran.out.contains(&format!("line {last} is not the one that was there")), "{ran}");
}

/// Lines go to whoever listens at a socket, and wait while nobody does.
#[test]
fn lines_go_to_a_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit.sock");
    let target = format!("\n[audit]\nexport = \"unix:{}\"\n", path.display());
    let fleet = Fleet::new("p1").conductor_tables(&target).start();
    let status = || fleet.orc(&["conductor", "status", "--json"]).exits(0).json();
    eventually("the trouble to be told", || {
        let trouble = status()["conductor"]["audit_export_error"].clone();
        trouble.as_str().filter(|why| why.contains("audit.sock")).map(drop)
    });
    let listener = UnixListener::bind(&path).expect("a socket");
    let lines = BufReader::new(listener.accept().expect("a connection").0).lines();
    let first: Value = serde_json::from_str(&lines.map_while(Result::ok).next().expect("a line"))
        .expect("a line is JSON");
    assert_eq!((&first["number"], &first["verb"]), (&json!(1), &json!("chain-began")));
}
