//! `submitjob --wait` and `orc wait`.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use orchestra_model::state::{FlowState, JobState, TaskState};
use orchestra_proto::v1;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tonic::Status;

use crate::{
    fake::Fake,
    values::{
        failed, failed_tasks, flow, numbered, running, stalled, told_flow, told_job, told_status,
        told_task,
    },
};

const TALE: &str = "\
42.1.1 pkg1 running (3 hosts)
42 deploy-42 running
42.1.1 db3 (1) failed: exit 3
42.1.1 pkg1 doomed: 2 running, 1 failed
42 deploy-42 doomed
42.1.1 pkg1 partial: 7 ok, 2 failed, 1 unreachable
42 deploy-42 failed after 3m12s
  42.1.1 db[3,7] (2) failed: exit 3
  42.1.1 db9 (1) unreachable
";

fn tale() -> Vec<Result<orchestra_proto::v1::WatchEvent, Status>> {
    [
        told_status(&running()),
        told_task(1, TaskState::Ok, Some(0)),
        told_task(3, TaskState::Failed, Some(3)),
        told_job(JobState::Doomed, &[(TaskState::Running, 2), (TaskState::Failed, 1)]),
        told_flow(FlowState::Doomed),
        told_task(7, TaskState::Failed, Some(3)),
        told_task(9, TaskState::Unreachable, None),
        told_status(&failed()),
    ]
    .map(Ok)
    .into()
}

#[test]
fn waiting_tells_each_change_and_ends_with_the_failures() {
    let fake = Fake::with(failed(), failed_tasks());
    fake.tables().watches.push_back(tale());
    fake.run("submitjob install-package -w db[1-10] --wait").is(2, "42\n", TALE);
    fake.tables().watches.push_back(tale());
    fake.run("orc wait last").is(2, "", TALE);
}

#[test]
fn the_verdict_is_the_exit_code() {
    use TaskState::{Cancelled, Ok, Unreachable};
    for (flow, code) in [
        (flow(FlowState::Ok, JobState::Ok, &[(Ok, 3)]), 0),
        (failed(), 2),
        (flow(FlowState::Failed, JobState::Partial, &[(Ok, 2), (Unreachable, 1)]), 4),
        (flow(FlowState::Cancelled, JobState::Cancelled, &[(Cancelled, 3)]), 5),
    ] {
        let fake = Fake::with(flow, Vec::new());
        assert_eq!(fake.run("orc wait 42").code, code);
        assert_eq!(fake.run("submitjob hello -w db1 -W").code, code);
    }
}

#[test]
fn a_lost_connection_is_no_verdict() {
    let fake = Fake::with(failed(), failed_tasks());
    let mut first = tale();
    first.truncate(3);
    first.push(Err(Status::unavailable("the conductor is stopping")));
    // Ended without a word, then an outage in the middle, then what happened meanwhile.
    fake.tables().watches.extend([first, Vec::new(), vec![Ok(told_status(&failed()))]]);
    let ran = fake.run("orc wait 42");
    assert_eq!(
        ran.stderr,
        "42.1.1 pkg1 running (3 hosts)\n\
         42 deploy-42 running\n\
         42.1.1 db3 (1) failed: exit 3\n\
         waiting for flow 42: the conductor is stopping; trying again\n\
         waiting for flow 42: the conductor ended the stream; trying again\n\
         42.1.1 pkg1 partial: 7 ok, 2 failed, 1 unreachable\n\
         42 deploy-42 failed after 3m12s\n\
         \x20 42.1.1 db[3,7] (2) failed: exit 3\n\
         \x20 42.1.1 db9 (1) unreachable\n"
    );
    assert_eq!(ran.code, 2);
    assert_eq!(fake.tables().watched.len(), 3);
}

/// The event with the cursor that says that everything up to this change was told.
fn at(change: u64, event: v1::WatchEvent) -> Result<v1::WatchEvent, Status> {
    let cursor = Some(v1::Cursor { store: vec![7; 16].into(), term: 3, change });
    Ok(v1::WatchEvent { cursor, ..event })
}

#[test]
fn what_was_missed_is_asked_for_and_told_once() {
    let fake = Fake::with(failed(), failed_tasks());
    let anew = |n, state, exit| Ok(told_task(n, state, exit));
    let tales = [
        vec![
            at(0, told_status(&running())),
            at(1, told_task(1, TaskState::Ok, Some(0))),
            at(2, told_task(3, TaskState::Failed, Some(3))),
            // It fell behind, and the connection is lost while it is caught up.
            anew(7, TaskState::Failed, Some(3)),
            Err(Status::unavailable("the conductor is stopping")),
        ],
        vec![
            anew(3, TaskState::Failed, Some(3)),
            anew(7, TaskState::Failed, Some(3)),
            anew(9, TaskState::Unreachable, None),
            at(9, told_status(&failed())),
        ],
    ];
    fake.tables().watches.extend(tales);
    let ran = fake.run("orc wait 42 --jsonl");
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let hosts: Vec<&str> = lines.iter().filter_map(|line| line["host"].as_str()).collect();
    assert_eq!(hosts, ["db1", "db3", "db7", "db9"], "{ran:?}");
    assert_eq!(lines.last().unwrap()["event"], "status");
    assert_eq!(ran.code, 2);
    let watched = std::mem::take(&mut fake.tables().watched);
    assert_eq!(watched[0].since, Some(v1::Cursor::default()), "a program is told everything");
    let since = watched[1].since.as_ref().map(|cursor| (cursor.term, cursor.change));
    assert_eq!(since, Some((3, 2)));
    assert!(watched.iter().all(|watched| watched.every_end && watched.snapshots));

    // A person who comes later is told what happens from now on; who submitted, everything.
    fake.run("orc wait 42");
    fake.run("submitjob hello -w db1 --wait");
    let watched = std::mem::take(&mut fake.tables().watched);
    assert_eq!((&watched[0].since, watched[0].every_end), (&None, false));
    assert_eq!((&watched[1].since, watched[1].every_end), (&Some(v1::Cursor::default()), false));
}

#[test]
fn that_the_store_was_restored_is_told() {
    let fake = Fake::with(failed(), failed_tasks());
    let restored = v1::WatchEvent {
        event: Some(v1::watch_event::Event::Restored(v1::StoreRestored {})),
        cursor: None,
    };
    let tale = || vec![Ok(restored.clone()), at(9, told_status(&failed()))];
    fake.tables().watches.push_back(tale());
    let ran = fake.run("orc wait 42");
    assert!(ran.stderr.starts_with("the conductor's store was restored from a copy"), "{ran:?}");
    fake.tables().watches.push_back(tale());
    let ran = fake.run("orc wait 42 --jsonl");
    assert!(ran.stdout.starts_with("{\"schema\":1,\"event\":\"restored\"}\n"), "{ran:?}");
}

#[test]
fn flows_that_are_waited_for_may_be_chosen_by_conditions() {
    let fake = Fake::with(failed(), Vec::new());
    for id in [43, 44] {
        fake.add(numbered(running(), id), Vec::new());
        let ok = numbered(flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]), id);
        fake.tables().watches.push_back(vec![Ok(told_status(&ok))]);
    }
    let ran = fake.run("orc wait --score install-package");
    assert_eq!((ran.code, &*ran.stdout), (0, ""), "{ran:?}");
    fake.run("orc wait --by nobody").is(0, "", "no flow that has not ended is like that\n");
    let refused = fake.run("orc wait --all --json");
    assert_eq!((refused.code, &refused.json()["error"]["kind"]), (64, &json!("usage")));
    fake.run("orc wait").fails(64, &["orc wait: which flows?"]);
}

#[test]
fn a_flow_that_stalls_is_waited_for_and_told_with_what_helps() {
    let fake = Fake::with(stalled(), Vec::new());
    let ok = flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]);
    let tale = || {
        [
            told_status(&running()),
            // What the event does not tell is asked for.
            told_flow(FlowState::Stalled),
            told_status(&stalled()),
            told_flow(FlowState::Running),
            told_status(&ok),
        ]
        .map(Ok)
        .into()
    };
    fake.tables().watches.push_back(tale());
    let said = "\
42.1.1 pkg1 running (3 hosts)
42 deploy-42 running
42 deploy-42 stalled
  web in cluster east of shop is full: db1 failed in 41.1.1
  more: orc explain 42; to end it: orc cancel 42
42 deploy-42 running
42.1.1 pkg1 ok: 3 ok
42 deploy-42 ok after 3m12s
";
    fake.run("orc wait 42").is(0, "", said);
    fake.tables().watches.push_back(tale());
    let ran = fake.run("orc wait 42 --jsonl");
    let stalled: Vec<&str> =
        ran.stdout.lines().filter(|line| line.contains(r#""stalled":["web"#)).collect();
    // One that was asked for, one that came.
    assert_eq!(stalled.len(), 2, "{ran:?}");
    // It lives, so whoever waits goes on waiting.
    fake.run("orc wait 42 --wait-timeout 200ms").fails(124, &["flow 42 still goes on"]);
}

#[test]
fn waiting_ends_with_its_timeout_and_the_flow_goes_on() {
    let fake = Fake::with(running(), Vec::new());
    fake.run("submitjob hello -w db1 --wait --wait-timeout 2s").is(
        124,
        "42\n",
        "42.1.1 pkg1 running (3 hosts)\n42 deploy-42 running\n\
         flow 42 still goes on; to wait for it again: orc wait 42\n",
    );
    // Also while the conductor is away.
    fake.tables().watches.push_back(vec![Err(Status::unavailable("gone"))]);
    assert_eq!(fake.run("orc wait 42 --wait-timeout 200ms").code, 124);
}

#[test]
fn ctrl_c_detaches() {
    let fake = Fake::with(running(), Vec::new());
    let mut command = fake.command("submitjob", &["hello", "-w", "db1", "-W"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("42 deploy-42 running") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0);
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    line.clear();
    stderr.read_to_string(&mut line).unwrap();
    assert_eq!(line, "flow 42 goes on; to wait for it again: orc wait 42\n");
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn several_flows_are_waited_for_together() {
    let fake = Fake::with(failed(), failed_tasks());
    let ok = flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]);
    for id in [43, 44] {
        fake.add(numbered(ok.clone(), id), Vec::new());
    }
    assert_eq!(fake.run("orc wait 43-44").code, 0);
    let ran = fake.run("orc wait 42,43-44");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("\n44 deploy-42 ok after 3m12s\n"), "{ran:?}");
}

#[test]
fn each_of_several_flows_is_waited_for() {
    let fake = Fake::with(failed(), failed_tasks());
    let ok = flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]);
    fake.add(numbered(ok.clone(), 44), Vec::new());
    let ran = fake.run("orc wait 7-8,999,44");
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            8,
            "44.1.1 pkg1 ok: 3 ok\n44 deploy-42 ok after 3m12s\n\
             error: waiting for flows: no such flow: 7-8,999\n"
        )
    );
    // Those that time leaves no room for have ended, or have not.
    fake.add(numbered(running(), 43), Vec::new());
    let ran = fake.run("orc wait 43,44,42 --wait-timeout 300ms");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("flow 43 still goes on"), "{ran:?}");
    assert!(ran.stderr.contains("44 deploy-42 ok after 3m12s"), "{ran:?}");
    assert_eq!(fake.run("orc wait 43,44 --wait-timeout 300ms").code, 124);
}

#[test]
fn programs_wait_too() {
    let fake = Fake::with(failed(), failed_tasks());
    fake.tables().watches.push_back(tale());
    let ran = fake.run("submitjob hello -w db1 --wait --json");
    assert_eq!(ran.json()["flow"]["verdict"], "failed");
    assert!(ran.stderr.starts_with("42 submitted\n"), "{ran:?}");

    fake.tables().watches.push_back(tale());
    let ran = fake.run("orc wait 42 --jsonl");
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["status", "task", "task", "job", "flow", "task", "task", "status"]);
    assert!(lines.iter().all(|line| line["schema"] == 1));
    assert_eq!(lines[2]["id"], "42.1.1@db3");
    assert_eq!(ran.code, 2);
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let fake = Fake::start();
    fake.run("orc wait 42").fails(8, &["error: waiting for flow 42: there is no such flow"]);
    fake.run("orc wait 42.1").fails(64, &["orc wait takes whole flows"]);
    fake.run("orc wait nonsense").fails(64, &["hint: an id is 42, last"]);
}
