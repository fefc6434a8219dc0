//! `getstatus`.

use std::process::Stdio;

use orchestra_model::{
    delivery::Outcome,
    ids::FlowId,
    start::{After, NeededEnd, Start, StartStatus},
    state::{FlowState, JobState, TaskState},
    time::Timestamp,
};
use serde_json::json;

use crate::{
    fake::{Fake, finished, ran},
    values::{failed, failed_tasks, flow, numbered, running, stalled, task},
};

const SUMMARY: &str = "\
42 deploy-42 failed after 3m12s, submitted by alice at 2025-11-21T08:00:00Z
  42.1 partial
    42.1.1 pkg1 (install-package) on db[1-10]: partial, 7 ok, 2 failed, 1 unreachable
  not ok:
  42.1.1 db[3,7] (2) failed: exit 3
  42.1.1 db9 (1) unreachable
";

#[test]
fn a_flow_is_summarised_with_its_failures_folded() {
    let fake = Fake::with(failed(), failed_tasks());
    for id in ["42", "last", "42.1", "42.1.1", "42/pkg1"] {
        fake.run(&format!("getstatus {id}")).is(2, SUMMARY, "");
    }
}

#[test]
fn what_a_flow_waits_for_before_it_begins_is_told() {
    let told = |state, ended| {
        let mut flow = flow(state, JobState::Pending, &[(TaskState::Waiting, 3)]);
        flow.slots[0][0].started_at = None;
        let after = Some(After { flow: FlowId(41), end: NeededEnd::Ok });
        let at = Some(Timestamp(2_110_867_200_000));
        flow.start = Some(StartStatus { start: Start { at, after }, ended });
        flow
    };
    let at = "not before 2036-11-21T08:00:00Z";
    for (ended, begins) in [
        (None, "begins once flow 41 is ok, "),
        (Some(FlowState::Ok), "begins after flow 41, which ended ok, "),
    ] {
        let fake = Fake::with(told(FlowState::Pending, ended), Vec::new());
        let ran = fake.run("getstatus 42");
        let line = format!("  {begins}{at}\n");
        assert!(ran.code == 7 && ran.stdout.contains(&line), "{line}: {ran:?}");
    }
    let mut failed = told(FlowState::Failed, Some(FlowState::Cancelled));
    failed.summary.ended_at = Some(failed.summary.submitted_at);
    let fake = Fake::with(failed, Vec::new());
    let ran = fake.run("getstatus 42");
    let line = format!("was to begin only after flow 41 is ok, which ended cancelled, {at}");
    assert!(ran.stdout.contains(&line), "{ran:?}");
    let answer = fake.run("getstatus 42 --json").json();
    let expected = json!({
        "at": "2036-11-21T08:00:00Z", "after": 41, "needs": "ok", "ended": "cancelled",
    });
    assert_eq!(answer["flow"]["start"], expected);
}

#[test]
fn the_state_is_the_exit_code() {
    use TaskState::{Cancelled, Ok, Unreachable};
    for (flow, code) in [
        (flow(FlowState::Ok, JobState::Ok, &[(Ok, 3)]), 0),
        (failed(), 2),
        (flow(FlowState::Failed, JobState::Partial, &[(Ok, 2), (Unreachable, 1)]), 4),
        (flow(FlowState::Cancelled, JobState::Cancelled, &[(Cancelled, 3)]), 5),
        (running(), 7),
        (flow(FlowState::Paused, JobState::Running, &[(TaskState::Waiting, 3)]), 7),
        (stalled(), 7),
    ] {
        let fake = Fake::with(flow, Vec::new());
        for form in
            ["getstatus 42", "getstatus 42.1.1", "getstatus 42 --json", "getstatus 42 --tasks"]
        {
            assert_eq!(fake.run(form).code, code, "{form}");
        }
    }
}

#[test]
fn what_only_a_person_can_end_is_said_with_what_ends_it() {
    let mut flow = stalled();
    flow.summary.ended_at = Some(flow.summary.submitted_at);
    flow.retry_of = Some(FlowId(41));
    let fake = Fake::with(flow, Vec::new());
    fake.run("getstatus 42").is(
        7,
        "42 deploy-42 stalled after 0ms, submitted by alice at 2025-11-21T08:00:00Z, runs what \
         flow 41 left\n  \
         web in cluster east of shop is full: db1 failed in 41.1.1\n  \
         more: orc explain 42; to end it: orc cancel 42\n  \
         42.1 running\n    \
         42.1.1 pkg1 (install-package) on db[1-3]: running, 2 waiting, 1 ok\n      \
         waiting: 2 for room in a cell\n",
        "",
    );
    let flow = fake.run("getstatus 42 --json").json()["flow"].clone();
    assert_eq!((&flow["state"], &flow["retry_of"]), (&json!("stalled"), &json!(41)));
    assert_eq!(flow["stalled"].as_array().unwrap().len(), 1);
    assert_eq!(flow["slots"][0]["jobs"][0]["waiting"], json!({"cell": 2}));
}

#[test]
fn tasks_are_lines() {
    let fake = Fake::with(failed(), failed_tasks());
    let ran = fake.run("getstatus 42 --tasks");
    assert_eq!(ran.stdout.lines().count(), 10);
    assert!(ran.stdout.starts_with("42.1.1@db1               ok          exit 0 2.5s\n"));
    fake.run("getstatus 42 --failed").is(
        2,
        "42.1.1@db3               failed      exit 3 2.5s\n\
         42.1.1@db7               failed      exit 3 2.5s\n\
         42.1.1@db9               unreachable\n",
        "",
    );
    fake.run("getstatus 42@db3").is(2, "42.1.1@db3               failed      exit 3 2.5s\n", "");
    fake.run("getstatus 42/pkg1@db1").is(
        0,
        "42.1.1@db1               ok          exit 0 2.5s\n",
        "",
    );
    fake.run("getstatus 42@db9").is(4, "42.1.1@db9               unreachable\n", "");
}

#[test]
fn outputs_are_gathered_or_told_line_by_line() {
    let fake = Fake::with(failed(), failed_tasks());
    fake.run("getstatus 42 -b").is(
        2,
        "---------------\ndb[1-2,4,6,8,10] (6)\n---------------\ninstalled pkg1 1.2\n\
         ---------------\ndb[3,7] (2): failed: exit 3\n---------------\nE: no such package\n\
         ---------------\ndb5 (1)\n---------------\ninstalled pkg1 1.1\n",
        "",
    );
    fake.run("getstatus 42 -L --failed").is(
        2,
        "db3: E: no such package\ndb7: E: no such package\n",
        "",
    );
    fake.run("getstatus 42/pkg1 --diff").is(
        2,
        "--- 42.1.1 db[1-2,4,6,8,10] (6)\n\
         +++ 42.1.1 db[3,7] (2): failed: exit 3\n-installed pkg1 1.2\n+E: no such package\n\
         +++ 42.1.1 db5 (1)\n-installed pkg1 1.2\n+installed pkg1 1.1\n",
        "",
    );
    fake.run("getstatus 42.1.1@db1 --response").is(0, "db1: version=1.1\n", "");
}

#[test]
fn json_is_one_document() {
    let fake = Fake::with(failed(), failed_tasks());
    let ran = fake.run("getstatus 42 --json");
    assert_eq!((ran.code, &*ran.stderr), (2, ""));
    let document = ran.json();
    assert_eq!(document["schema"], 1);
    let job = &document["flow"]["slots"][0]["jobs"][0];
    assert_eq!((&job["counts"]["ok"], &job["counts"]["lost"]), (&json!(7), &json!(0)));
    assert!(job.get("tasks").is_none());

    let document = fake.run("getstatus 42 --json --tasks").json();
    let tasks = document["flow"]["slots"][0]["jobs"][0]["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 10);
    assert_eq!(tasks[2]["stdout"]["head"], "E: no such package\n");
    assert_eq!(tasks[2]["response"], json!({"version": "1.3"}));
    assert_eq!(tasks[8]["stdout"], json!(null));

    fake.add(numbered(running(), 43), Vec::new());
    let document = fake.run("getstatus 42,43 --json --failed").json();
    assert_eq!(document["flows"].as_array().unwrap().len(), 2);
    assert_eq!(document["flows"][0]["slots"][0]["jobs"][0]["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(document["flows"][1]["id"], 43);
}

#[test]
fn without_an_id_the_newest_flows_are_told() {
    let fake = Fake::start();
    fake.run("getstatus").is(0, "", "no flows\n");
    fake.run("getstatus --json").is(0, "{\"schema\":1,\"flows\":[]}\n", "");
    fake.add(failed(), Vec::new());
    let listed = fake.run("getstatus");
    let words = |line: usize| listed.stdout.lines().nth(line).unwrap().split_whitespace();
    assert_eq!(words(0).collect::<String>(), "IDSTATESUBMITTEDTOOKENDEDNOT-OKBYNAME", "{listed:?}");
    let told: Vec<&str> = words(1).collect();
    assert_eq!(told[..3], ["42", "failed", "2025-11-21T08:00:00Z"], "{listed:?}");
    assert_eq!(told[4..], ["ago", "3m12s", "10/10", "3", "alice", "deploy-42"], "{listed:?}");
    // People read the time of their zone, programs UTC.
    let mut there = fake.command("getstatus", &[]);
    let there = ran(there.env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3"));
    assert!(there.stdout.contains(" 2025-11-21T09:00:00+01:00 "), "{there:?}");
    fake.add(numbered(running(), 43), Vec::new());
    let flows = fake.run("getstatus --json").json()["flows"].clone();
    assert_eq!((&flows[0]["id"], &flows[1]["id"]), (&json!(43), &json!(42)));
    assert!(flows[0].get("slots").is_none() && flows[0]["verdict"].is_null());
    fake.run("getstatus --tasks").fails(64, &["which flow?"]);
}

#[test]
fn what_is_not_there_is_said() {
    let fake = Fake::with(failed(), failed_tasks());
    fake.run("getstatus 7").fails(8, &["error: asking for flow 7: there is no such flow"]);
    fake.run("getstatus 42.3").fails(8, &["part of flow 42", "hint: getstatus 42"]);
    fake.run("getstatus 42/nobody").fails(8, &["part of flow 42"]);
    fake.run("getstatus 42@db77").fails(8, &["on db77: it has none there"]);
    fake.run("getstatus x").fails(64, &["hint: an id is"]);
}

#[test]
fn each_of_several_flows_is_told_whatever_is_with_the_others() {
    let fake = Fake::with(failed(), failed_tasks());
    let ok = flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]);
    fake.add(numbered(ok, 51), Vec::new());
    fake.add(numbered(running(), 52), Vec::new());
    let unknown = "error: asking for flows: no such flow: 7-9,999\n";
    let ran = fake.run("getstatus 7-9,42,999,51");
    assert_eq!((ran.code, ran.stderr.as_str()), (8, unknown));
    assert!(ran.stdout.contains("42 deploy-42 failed after"), "{ran:?}");
    assert!(ran.stdout.contains("51 deploy-42 ok after"), "{ran:?}");
    let ran = fake.run("getstatus 7-9,42,999,51 --json");
    assert_eq!((ran.code, ran.stderr.as_str()), (8, unknown));
    let ids: Vec<_> =
        ran.json()["flows"].as_array().unwrap().iter().map(|f| f["id"].clone()).collect();
    assert_eq!(ids, [json!(42), json!(51)]);
    // A part that is not there is in nobody's way either, and one alone leaves no half document.
    let ran = fake.run("getstatus 42.3,51");
    assert_eq!(ran.code, 8);
    assert!(ran.stderr.contains("part of flow 42") && ran.stdout.starts_with("51 "), "{ran:?}");
    let ran = fake.run("getstatus 42@db77,51");
    assert_eq!(ran.code, 8);
    assert!(ran.stderr.contains("on db77: it has none there"), "{ran:?}");
    let ran = fake.run("getstatus 7 --json");
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (8, &"unknown".into()));
    assert_eq!(ran.stderr, "error: asking for flow 7: there is no such flow\n");
    // Verdicts by their rank.
    assert_eq!(fake.run("getstatus 51,52").code, 7);
    assert_eq!(fake.run("getstatus 51,52,42").code, 2);
}

#[test]
fn a_large_listing_streams_and_a_reader_may_leave() {
    const TASKS: u32 = 100_000;
    let tasks: Vec<_> =
        (1..=TASKS).map(|n| task(n, TaskState::Ok, Some(Outcome::Exited(0)), "")).collect();
    let done = flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, TASKS)]);
    let fake = Fake::with(done, tasks);
    let ran = fake.run("getstatus 42 --tasks");
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, TASKS as usize));

    for words in [&["42", "--tasks"][..], &["42", "--tasks", "--json"]] {
        let mut command = fake.command("getstatus", words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The reader goes away without having read anything.
        drop(child.stdout.take());
        finished(child).is(0, "", "");
    }
}

#[test]
fn colour_is_for_whoever_asks() {
    let fake = Fake::with(failed(), failed_tasks());
    assert!(!fake.run("getstatus 42").stdout.contains('\x1b'));
    assert!(fake.run("getstatus 42 --color always").stdout.contains("\x1b[31mfailed\x1b[0m"));
}
