//! What steers and explains flows.

use orchestra_model::{
    flow::Scope,
    ids::{FlowId, JobId},
    names::{JobName, ScoreName},
    state::{FlowState, JobState, TaskState},
    status::{Counts, FlowStatus, JobStatus},
};
use orchestra_proto::v1;
use serde_json::json;
use tonic::Status;

use crate::{
    fake::Fake,
    values::{JOB, failed, flow, numbered, running, stalled, told_status},
};

#[test]
fn cancel_tells_the_state_and_fails_on_what_had_ended() {
    let fake = Fake::with(running(), Vec::new());
    fake.run("orc cancel 42").is(0, "42 cancelling\n", "");
    fake.run("orc cancel 42 --abandon").is(0, "42 cancelled\n", "");
    fake.run("orc cancel last --json").is(
        0,
        "{\"schema\":1,\"flows\":[{\"id\":42,\"state\":\"cancelling\"}]}\n",
        "",
    );
    let ok = flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]);
    fake.add(numbered(ok, 43), Vec::new());
    fake.run("orc cancel 43").fails(9, &["error: cancelling flow 43: it has ended already: ok"]);
    // What many share is said once.
    fake.run("orc cancel 1-200").is(
        8,
        "42 cancelling\n",
        "error: cancelling flows: no such flow: 1-41,44-200\n\
         error: cancelling flows: ended already: 43\n",
    );
    fake.run("orc cancel 42-43").is(
        9,
        "42 cancelling\n",
        "error: cancelling flows: ended already: 43\n",
    );
    fake.run("orc cancel 7").fails(8, &["error: cancelling flow 7: there is no such flow"]);
}

#[test]
fn flows_that_are_cancelled_may_be_chosen_by_conditions() {
    let fake = Fake::with(failed(), Vec::new());
    fake.add(numbered(running(), 43), Vec::new());
    fake.add(numbered(running(), 44), Vec::new());
    // Those that have ended are not among them.
    for conditions in ["--all", "--by alice", "--host db3 --score install-package --all"] {
        fake.run(&format!("orc cancel {conditions}")).is(0, "44 cancelling\n43 cancelling\n", "");
    }
    fake.run("orc cancel 43 --reason wrong").is(0, "43 cancelling\n", "");
    assert_eq!(fake.tables().reasons, ["wrong"]);
    fake.run("orc cancel 43 --reason=").fails(64, &["others will read it"]);
    fake.run("orc cancel --host db77").is(0, "", "no flow that has not ended is like that\n");
    let answer = fake.run("orc cancel --by nobody --json").json();
    assert_eq!(answer["flows"], json!([]));
    fake.run("orc cancel").fails(64, &["orc cancel: which flows?", "hint: orc cancel 42"]);
    fake.run("orc cancel 42 --by alice").fails(64, &["named, or chosen by conditions"]);
    // What an older conductor lists regardless of the conditions is left alone.
    fake.tables().is_old = true;
    fake.run("orc cancel --host db77").fails(1, &["too old for these conditions"]);
}

#[test]
fn flows_are_paused_and_go_on() {
    let fake = Fake::with(running(), Vec::new());
    fake.add(numbered(running(), 43), Vec::new());
    fake.run("orc pause 42-43").is(0, "42 paused\n43 paused\n", "");
    fake.run("orc resume last").is(0, "43 running\n", "");
    let answer = fake.run("orc resume 42,43 --json").json();
    assert_eq!(answer["flows"][1], json!({"id": 43, "state": "running"}));
    fake.run("orc pause 7").fails(8, &["error: pausing flow 7: there is no such flow"]);
    // One that is not there keeps no other from being paused.
    fake.run("orc pause 6,42,7").is(8, "42 paused\n", "error: pausing flows: no such flow: 6-7\n");
    fake.run("orc resume 42.1").fails(64, &["orc resume takes whole flows"]);
}

#[test]
fn a_canary_is_promoted_for_all_jobs_or_one() {
    let fake = Fake::with(running(), Vec::new());
    for line in ["orc promote 42", "orc promote last --job web", "orc promote 42/web"] {
        fake.run(line).is(0, "42 running\n", "");
    }
    let tables = fake.tables();
    let jobs: Vec<&str> = tables.promotes.iter().map(|asked| asked.job_name.as_str()).collect();
    assert_eq!(jobs, ["", "web", "web"]);
    drop(tables);
    fake.run("orc promote 42/nobody").fails(1, &["promoting flow 42: no such job has a canary"]);
    fake.run("orc promote 42.1.1").fails(64, &["orc promote takes a flow or one job of it"]);
}

#[test]
fn waiting_is_explained_down_to_a_task() {
    let fake = Fake::with(stalled(), Vec::new());
    let explanation = |job: Option<JobId>, hosts: &str, text: &str| v1::Explanation {
        job: job.map(Into::into),
        hosts: hosts.to_owned(),
        count: 0,
        reason: job.map(|_| "cell".to_owned()).unwrap_or_default(),
        dead: true,
        text: text.to_owned(),
        given_up_at_ms: 0,
    };
    fake.tables().explained.explanations = vec![
        explanation(None, "", "nothing goes on"),
        explanation(Some(JOB), "db[2-3]", "db1 is down since flow 41"),
    ];
    let said = "42 stalled\n  nothing goes on\n  42.1.1 db[2-3] (2): db1 is down since flow 41\n";
    fake.run("orc explain 42").is(0, said, "");
    let flow = fake.run("orc explain 42/pkg1@db2 --json").json()["flow"].clone();
    assert_eq!((&flow["id"], &flow["state"]), (&json!(42), &json!("stalled")));
    assert_eq!(
        flow["explanations"][1],
        json!({"job": "42.1.1", "hosts": "db[2-3]", "count": 2, "reason": "cell", "dead": true,
               "text": "db1 is down since flow 41", "given_up_at": null})
    );
    assert_eq!(flow["explanations"][0]["reason"], json!(null));
    fake.run("orc explain last.1.2").is(0, said, "");
    let tables = fake.tables();
    let asked = |n: usize| {
        let request = &tables.explains[n];
        (request.slot, request.job, request.job_name.as_str(), request.host.as_str())
    };
    assert_eq!((asked(0), asked(1)), ((0, 0, "", ""), (0, 0, "pkg1", "db2")));
    assert_eq!(asked(2), (1, 2, "", ""));
    drop(tables);
    fake.tables().explained.explanations.clear();
    fake.run("orc explain 42").is(0, "42 stalled\n", "nothing of it waits\n");
    fake.run("orc explain 42,43").fails(64, &["orc explain takes one id"]);
    fake.run("orc explain 7").fails(8, &["explaining flow 7: there is no such flow"]);
}

/// [`failed`] with another job that is not ok and one that is.
fn with_three_jobs() -> FlowStatus {
    let mut flow = failed();
    let job = |n: u16, name: &str, state: JobState| JobStatus {
        id: JobId { flow: FlowId(42), slot: 2, job: n },
        name: JobName::new(name).unwrap(),
        score: ScoreName::new(name).unwrap(),
        scope: Scope::All,
        state,
        targets: "fe1".to_owned(),
        counts: Counts::all_in(TaskState::Skipped, 1),
        ..flow.slots[0][0].clone()
    };
    let second = vec![job(1, "done", JobState::Ok), job(2, "web", JobState::Skipped)];
    flow.slots.push(second);
    flow
}

#[test]
fn a_living_flow_goes_on_itself() {
    let fake = Fake::with(stalled(), Vec::new());
    fake.tables().retried = 42;
    fake.run("orc retry last").is(0, "42\n", "3 tasks of flow 42 again\n");
    fake.run("orc retry 42/pkg1 -w db[1-2] --json").is(
        0,
        "{\"schema\":1,\"flow\":{\"id\":42,\"retry_of\":null,\"tasks\":3}}\n",
        "3 tasks of flow 42 again\n",
    );
    let tables = fake.tables();
    assert_eq!(tables.retries[0].request_id.len(), 16);
    assert_eq!((tables.retries[0].job_name.as_str(), tables.retries[0].hosts.as_str()), ("", ""));
    let second = &tables.retries[1];
    assert_eq!((second.job_name.as_str(), second.hosts.as_str()), ("pkg1", "db[1-2]"));
    drop(tables);
    fake.run("orc retry 42 --set v=2").fails(64, &["which has not ended: it still has its own"]);
    // Sent again it could mean a further attempt.
    fake.tables().refusals.push_back(Status::unavailable("the conductor is stopping"));
    fake.run("orc retry 42").fails(1, &["retrying flow 42: the conductor is stopping"]);
    assert_eq!(fake.tables().retries.len(), 3);
}

#[test]
fn an_ended_flow_is_followed_by_a_new_one_with_its_parameters_given_again() {
    let fake = Fake::with(with_three_jobs(), Vec::new());
    fake.tables().retried = 43;
    fake.tables().refusals.push_back(Status::unavailable("the store cannot be written"));
    fake.run("orc retry 42 --set pkg1/v=2 --set web.a=b").is(
        0,
        "43\n",
        "flow 43 runs what flow 42 left: 3 tasks\n",
    );
    fake.run("orc retry 42 --job web --set a=b").is(
        0,
        "43\n",
        "flow 43 runs what flow 42 left: 3 tasks\n",
    );
    let tables = fake.tables();
    let of = |n: usize| {
        let params = tables.retries[n].params.iter();
        params.map(|of| (of.slot, of.job, of.values.clone())).collect::<Vec<_>>()
    };
    let values = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    assert_eq!(of(0), [(1, 1, values("v", "2")), (2, 2, values("a", "b"))]);
    // That it may be lost is no matter: the same again is the same new flow.
    assert_eq!(tables.retries[0], tables.retries[1]);
    assert_eq!(of(2), [(2, 2, values("a", "b"))]);
    drop(tables);
    fake.run("orc retry 42 --set v=2")
        .fails(64, &["of which job? These are not ok: pkg1, web", "hint: --set JOB/KEY=VALUE"]);
    fake.run("orc retry 42 --set nobody/v=2").fails(64, &["it has no job nobody"]);
    fake.run("orc retry 42 --set web/FLOW=2").fails(64, &["Orchestra sets this one itself"]);
    fake.run("orc retry 42 -w db1").fails(64, &["which has ended: a new flow has all"]);
}

#[test]
fn a_retry_can_be_waited_for() {
    let fake = Fake::with(failed(), Vec::new());
    let ok = numbered(flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]), 43);
    fake.add(ok.clone(), Vec::new());
    fake.tables().retried = 43;
    fake.tables().watches.push_back(vec![Ok(told_status(&ok))]);
    let ran = fake.run("orc retry 42 --wait");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "43\n"), "{ran:?}");
    assert!(ran.stderr.ends_with("43 deploy-42 ok after 3m12s\n"), "{ran:?}");
}
