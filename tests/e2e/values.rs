//! What people and programs send: parameters, names, and values that would like to be more than
//! values.

use std::{
    fs,
    path::{Path, PathBuf},
};

use orchestra_model::limits;
use orchestra_proto::v1;
use prost::Message as _;
use tonic::{Code, Status};

use crate::harness::{Fleet, Process, Ran, eventually, processes_with};

#[test]
fn parameters_that_the_score_does_not_take_are_refused() {
    let fleet = Fleet::new("p1").players_off().start();
    let conf = "[params.package]\ntype = \"string\"\npattern = \"^[a-z0-9.+-]+$\"\nmax_length = 8\n\
                required = true\n[params.count]\ntype = \"integer\"\n[params.token]\nsensitive = true\n\
                max_length = 8\n[params.mode]\ntype = \"choice\"\nchoices = [\"fast\", \"safe\"]\n\
                [params.root]\ntype = \"path\"\n[params.peer]\ntype = \"host\"\n";
    fleet.score("strict", "#!/bin/sh\necho ran >>\"$ORC_SCORE_DIR/../ran\"\n", conf);
    fleet.start_players();
    let ran = fleet.dir().join("ran");
    let wrong = [
        (vec!["package=a", "pakage=b"], "pakage"),
        (vec![], "package: it must be given"),
        (vec!["package=UPPER"], "does not match the pattern"),
        (vec!["package=a\nb"], "does not match the pattern"),
        (vec!["package=far-too-long"], "at most 8"),
        (vec!["package=a", "count=7.5"], "whole number"),
        (vec!["package=a", "mode=quick"], "one of fast, safe"),
        (vec!["package=a", "root=/a/../b"], "absolute path"),
        (vec!["package=a", "peer=../x"], "host name"),
        (vec!["package=a", "token=hunter2-hunter2"], "at most 8"),
    ];
    let submissions: Vec<Vec<&str>> =
        wrong.iter().map(|(given, _)| [&["strict", "-w", "p1"], &given[..]].concat()).collect();
    for (arguments, (given, told)) in submissions.iter().zip(&wrong) {
        let refused = fleet.submitjob(arguments).exits(64).complains(told);
        assert!(!refused.err.contains("hunter2"), "{given:?}: {refused}");
    }
    // Whatever the conductor knows, the player has the last word.
    for (flow, (given, told)) in fleet.submit_unheard(&submissions).into_iter().zip(&wrong) {
        fleet.wait_flow(flow).exits(2);
        let task = fleet.task(flow);
        assert_eq!(task["state"], "refused", "{task}");
        let detail = task["detail"].as_str().unwrap();
        assert!(detail.contains(told), "{given:?}: {detail}");
        assert!(!task.to_string().contains("hunter2"), "{task}");
    }
    assert!(!ran.exists(), "a refused score ran");
    let good = [
        "strict",
        "package=pkg-1",
        "count=7",
        "mode=safe",
        "root=/srv",
        "peer=db1",
        "token=x",
        "-w",
        "p1",
        "--wait",
    ];
    fleet.submitjob(&good).exits(0);
    assert!(ran.exists());
    // No secret in any log.
    let logs = [fleet.player("p1").sitter.log(), fleet.conductor.log()].concat();
    assert!(!logs.contains("hunter2"), "{logs}");
}

#[test]
fn parameters_that_no_score_may_have_are_refused_before_anything_is_stored() {
    let fleet = Fleet::new("p1").start();
    let long = format!("k={}", "x".repeat(33_000));
    let many: Vec<String> = (0..300).map(|n| format!("k{n}=v")).collect();
    let many: Vec<&str> =
        ["hello", "-w", "p1"].into_iter().chain(many.iter().map(String::as_str)).collect();
    for arguments in [
        &["hello", "-w", "p1", "FLOW=1"][..],
        &["hello", "-w", "p1", "SCORE_DIR=/tmp"],
        &["hello", "-w", "p1", "SPOOL=x"],
        &["hello", "-w", "p1", "A-B=x"],
        &["hello", "-w", "p1", "BASH_FUNC_echo%%=() { :; }"],
        &["hello", "-w", "p1", "=x"],
        &["hello", "-w", "p1", &long],
        &many,
    ] {
        fleet.submitjob(arguments).exits(64);
    }
    assert_eq!(fleet.orc(&["flows"]).exits(0).out, "");
}

#[test]
fn no_name_field_takes_a_path_or_a_nul() {
    let fleet = Fleet::new("p1").start();
    let good = || v1::JobSpec {
        name: "job".to_owned(),
        score: "hello".to_owned(),
        targets: "p1".to_owned(),
        ..wire_job()
    };
    let mut specs = Vec::new();
    for evil in [
        "../hello",
        "..",
        ".",
        "",
        "a/b",
        "/bin/ls",
        "a\0b",
        "a\nb",
        "-rf",
        "a b",
        "é",
        &"x".repeat(300),
    ] {
        let evil = evil.to_owned();
        specs.push(flow_of(v1::JobSpec { score: evil.clone(), ..good() }));
        specs.push(flow_of(v1::JobSpec { name: evil.clone(), ..good() }));
        if !evil.is_empty() {
            specs.push(v1::FlowSpec { name: evil.clone(), ..flow_of(good()) });
        }
        specs.push(flow_of(v1::JobSpec { targets: evil.clone(), ..good() }));
        specs.push(flow_of(v1::JobSpec { targets: format!("@{evil}"), ..good() }));
    }
    let keys = ["../x", "a/b", "", "a\0b", "a=b", "1a", "FLOW", "TASK", "SPOOL", "a-b"];
    let params = keys.iter().map(|key| (*key, "v")).chain([("k", "a\0b")]);
    let params: Vec<Vec<v1::JobParams>> = params
        .map(|(key, value)| {
            let values = [(key.to_owned(), value.to_owned())].into_iter().collect();
            vec![v1::JobParams { slot: 1, job: 1, values }]
        })
        .chain(
            [(0, 1), (1, 0), (1, 2), (2, 1), (u32::MAX, 1)]
                .map(|(slot, job)| vec![v1::JobParams { slot, job, values: Default::default() }]),
        )
        .collect();
    fleet.call(async |mut api| {
        let submit = |n: usize, spec: &v1::FlowSpec, params| v1::SubmitRequest {
            request_id: [[0; 8], (n as u64).to_be_bytes()].concat().into(),
            spec: spec.encode_to_vec().into(),
            params,
            ..Default::default()
        };
        for (n, spec) in specs.iter().enumerate() {
            let answer = api.submit(submit(n, spec, Vec::new())).await;
            refused(answer.map(drop), &format!("{spec:?}"));
        }
        for (n, params) in params.into_iter().enumerate() {
            let what = format!("{params:?}");
            let answer = api.submit(submit(1_000 + n, &flow_of(good()), params)).await;
            refused(answer.map(drop), &what);
        }
        for garbage in [&b"\xff\xff\xff"[..], b"\x0a", &[0x0a; 10_000]] {
            let request = v1::SubmitRequest {
                request_id: vec![7; 16].into(),
                spec: garbage.to_vec().into(),
                ..Default::default()
            };
            refused(api.submit(request).await.map(drop), &format!("{garbage:?}"));
        }
        for id in [&[][..], &[1], &[1; 15], &[1; 17]] {
            let request = v1::SubmitRequest {
                request_id: id.to_vec().into(),
                ..submit(0, &flow_of(good()), Vec::new())
            };
            refused(api.submit(request).await.map(drop), &format!("request id {id:?}"));
        }
        // That connection still serves, and nothing was stored.
        let mut flows = api.list_flows(v1::ListFlowsRequest::default()).await.unwrap().into_inner();
        while let Some(page) = flows.message().await.unwrap() {
            assert_eq!(page.flows, []);
        }
    });
    assert!(fleet.conductor.is_running());
}

#[test]
fn no_name_in_a_question_takes_a_path_or_a_nul() {
    let fleet = Fleet::new("p1").start();
    let flow = fleet.run(&["hello", "-w", "p1"]);
    let which = || Some(v1::FlowRef { flow: Some(v1::flow_ref::Flow::Id(flow)) });
    fleet.call(async |mut api| {
        for evil in ["../p1", "a/b", "a\0b", "-", "a\u{7f}"] {
            let evil = evil.to_owned();
            let tasks =
                v1::ListTasksRequest { flow: which(), host: evil.clone(), ..Default::default() };
            refused_stream(api.list_tasks(tasks).await, &evil).await;
            let tasks = v1::ListTasksRequest {
                flow: which(),
                job_name: evil.clone(),
                ..Default::default()
            };
            refused_stream(api.list_tasks(tasks).await, &evil).await;
            let tasks = v1::ListTasksRequest {
                flow: which(),
                states: vec![evil.clone()],
                ..Default::default()
            };
            refused_stream(api.list_tasks(tasks).await, &evil).await;
            let logs =
                v1::GetLogsRequest { flow: which(), host: evil.clone(), ..Default::default() };
            refused_stream(api.get_logs(logs).await, &evil).await;
            let players = v1::ListPlayersRequest { hosts: evil.clone(), ..Default::default() };
            refused_stream(api.list_players(players).await, &evil).await;
            let hosts = v1::ResolveHostsRequest { hosts: evil.clone() };
            assert!(api.resolve_hosts(hosts).await.is_err(), "{evil:?}");
        }
    });
    for evil in ["../1", "1/../x", "1@../p1", "1.1.1@", "1/a/b"] {
        fleet.getstatus(&[evil]).exits(64);
    }
    assert!(fleet.conductor.is_running());
}

#[test]
fn no_name_in_a_command_takes_a_path_or_a_nul() {
    let fleet = Fleet::new("p1").start();
    let flow = fleet.run(&["hello", "-w", "p1"]);
    let which = || Some(v1::FlowRef { flow: Some(v1::flow_ref::Flow::Id(flow)) });
    fleet.call(async |mut api| {
        for evil in ["../p1", "a/b", "a\0b", "-", "a\u{7f}"] {
            let name = || evil.to_owned();
            let explain = v1::ExplainRequest { flow: which(), host: name(), ..Default::default() };
            refused(api.explain(explain).await.map(drop), evil);
            let explain =
                v1::ExplainRequest { flow: which(), job_name: name(), ..Default::default() };
            refused(api.explain(explain).await.map(drop), evil);
            let promote = v1::PromoteRequest { flow: which(), job_name: name() };
            refused(api.promote(promote).await.map(drop), evil);
            let retry = v1::RetryRequest {
                request_id: vec![7; 16].into(),
                flow: which(),
                job_name: name(),
                ..Default::default()
            };
            refused(api.retry(retry.clone()).await.map(drop), evil);
            let retry = v1::RetryRequest { job_name: String::new(), hosts: name(), ..retry };
            refused(api.retry(retry).await.map(drop), evil);
            let drain = v1::DrainRequest { hosts: name(), reason: "because".to_owned() };
            refused(api.drain(drain).await.map(drop), evil);
            let undrain = v1::UndrainRequest { hosts: name() };
            refused(api.undrain(undrain).await.map(drop), evil);
            let release = v1::ReleaseHoldsRequest { hosts: name(), reason: "because".to_owned() };
            refused(api.release_holds(release).await.map(drop), evil);
            let ledger = v1::ListLedgerRequest { deployment: name(), ..Default::default() };
            refused_stream(api.list_ledger(ledger).await, evil).await;
            let deployments = v1::ListDeploymentsRequest { name: name() };
            refused_stream(api.list_deployments(deployments).await, evil).await;
        }
        let endless = "x".repeat(limits::REASON_BYTES + 1);
        let drain = v1::DrainRequest { hosts: "p1".to_owned(), reason: endless };
        refused(api.drain(drain).await.map(drop), "an endless reason");
    });
    assert!(fleet.conductor.is_running());
}

#[test]
fn values_that_look_like_tricks_stay_values() {
    let fleet = Fleet::new("p1").players_off().start();
    // What the process was given, byte for byte, not what a shell made of it.
    fleet.score("environment", "#!/bin/sh\ncat /proc/$$/environ\n", "");
    fleet.start_players();
    let touched = fleet.dir().join("touched");
    let touch = format!("touch {}", touched.display());
    let tricks = [
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("; {touch}"),
        format!("'; {touch} #"),
        format!("\"; {touch} #"),
        format!("x\n{touch}\n"),
        format!("() {{ :;}}; {touch}"),
        "\u{1b}]0;title\u{7}".to_owned(),
        "%s%n%x".to_owned(),
        "../../../../etc/passwd".to_owned(),
        "=".to_owned(),
        String::new(),
    ];
    let mut arguments: Vec<String> =
        ["environment", "-w", "p1", "--wait"].map(str::to_owned).to_vec();
    arguments.extend(tricks.iter().enumerate().map(|(n, value)| format!("trick{n}={value}")));
    let names = ["PATH", "LD_PRELOAD", "IFS", "ENV", "BASH_ENV", "HOME", "path"];
    arguments.extend(names.iter().map(|name| format!("{name}=/tmp/evil")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let flow = fleet.submitjob(&arguments).exits(0).id();
    let task = fleet.task(flow);
    let environment = task["stdout"]["head"].as_str().unwrap();
    let mut found: Vec<&str> = environment.split_terminator('\0').collect();
    found.sort_unstable();

    let scores = fleet.dir().join("scores");
    let mut expected: Vec<String> =
        tricks.iter().enumerate().map(|(n, value)| format!("ORC_trick{n}={value}")).collect();
    expected.extend(names.iter().map(|name| format!("ORC_{name}=/tmp/evil")));
    expected.extend([
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "LANG=C.UTF-8".to_owned(),
        format!("ORC_FLOW={flow}"),
        "ORC_JOB=environment".to_owned(),
        format!("ORC_TASK={flow}.1.1"),
        "ORC_ATTEMPT=1".to_owned(),
        "ORC_PLAYER=p1".to_owned(),
        "ORC_SCORE=environment".to_owned(),
        format!("ORC_SCORE_DIR={}", scores.display()),
        "ORC_AUDIENCE=alice".to_owned(),
    ]);
    let known = |line: &&str| line.starts_with("HOME=") || line.starts_with("ORC_SPOOL=");
    let others: Vec<&str> = found.iter().filter(|line| !known(line)).copied().collect();
    expected.sort_unstable();
    assert_eq!(others, expected);
    assert_eq!(found.len(), expected.len() + 2, "{found:?}: HOME and ORC_SPOOL are missing");
    assert!(!touched.exists());
    // Nor do they reach a terminal.
    let shown = fleet.getstatus(&[&flow.to_string(), "--tasks"]).exits(0);
    assert!(!shown.out.contains('\u{1b}'), "{shown}");
}

#[test]
fn values_are_on_no_disk_once_nobody_needs_them() {
    const SECRET: &str = "hunter2-is-no-word-of-this-fleet";
    let fleet = Fleet::new("p1").start();
    let token = format!("token={SECRET}");
    let flow = fleet.submitjob(&["work", "seconds=1", &token, "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    // Never on the player's.
    assert_eq!(files_with(&fleet.dir().join("players"), SECRET), Vec::<PathBuf>::new());
    fleet.wait_flow(flow).exits(0);
    // What is asked for does not tell it either.
    let told = fleet.getstatus(&[&flow.to_string(), "--tasks", "--json"]).exits(0);
    assert!(!told.out.contains(SECRET), "{told}");
    // The store's log is tidied from time to time, and when the conductor stops.
    let only_the_log = |path: &PathBuf| path.ends_with("orchestra.db-wal");
    assert!(files_with(fleet.dir(), SECRET).iter().all(only_the_log));
    assert!(fleet.conductor.stop().success());
    assert_eq!(files_with(fleet.dir(), SECRET), Vec::<PathBuf>::new());
}

/// What is sensitive stands in no answer, list, error, log, record, argument or core, and a while after
/// nobody needs it on no disk, while everything runs on and after a crash.
#[test]
fn a_secret_is_told_nowhere_and_is_soon_on_no_disk() {
    const SECRET: &str = "swordfish-is-no-word-of-this-fleet-either";
    let exported = tempfile::tempdir().expect("a directory");
    let export = exported.path().join("audit.jsonl").display().to_string();
    let tables = format!("\n[audit]\nexport = \"{export}\"\n");
    let fleet = Fleet::new("p1").conductor_tables(&tables).start();
    let file = exported.path().join("token");
    fs::write(&file, SECRET).expect("a file");
    // What a person types is theirs; what our programs make of it is in nobody's arguments.
    let token = format!("token=@file:{}", file.display());
    let flow = fleet.submitjob(&["gate", &token, "-w", "p1"]).exits(0).id();
    let id = flow.to_string();
    fleet.wait_state(flow, "running");
    let is_argument = |process: &Process| process.arguments.iter().any(|it| it.contains(SECRET));
    assert!(!processes_with(SECRET).iter().any(is_argument));
    let is_silent =
        |ran: Ran| assert!(!format!("{}{}", ran.out, ran.err).contains(SECRET), "{ran}");
    let ask_all = || {
        for arguments in [
            &["flows", "--json"][..],
            &["explain", &id],
            &["players", "--json"],
            &["scores", "--json"],
            &["audit", "export"],
            &["logs", &format!("{id}@p1")],
            &["conductor", "status", "--json"],
            &["ledger", "--json"],
        ] {
            is_silent(fleet.orc(arguments));
        }
        is_silent(fleet.getstatus(&[&id, "--tasks", "--json"]));
        is_silent(fleet.getstatus(&[&id, "--jsonl"]));
    };
    ask_all();
    is_silent(fleet.orc(&["plan", "gate", &token, "-w", "p1"]));
    // Refused for another reason, and for what it is.
    is_silent(fleet.submitjob(&["gate", &token, "-w", "p9"]));
    let nul = exported.path().join("nul");
    fs::write(&nul, format!("{SECRET}\0")).expect("a file");
    is_silent(fleet.submitjob(&["gate", &format!("token=@file:{}", nul.display()), "-w", "p1"]));
    fleet.crash_conductor();
    fleet.start_players();
    fleet.go("p1");
    fleet.wait_flow(flow).exits(0);
    is_silent(fleet.orc(&["retry", &id]));
    ask_all();
    fs::remove_file(&file).expect("it is there");
    fs::remove_file(&nul).expect("it is there");
    // Store, its log and free pages, spools, logs, and what was exported.
    eventually("nothing of it to be on a disk", || {
        let found = [files_with(fleet.dir(), SECRET), files_with(exported.path(), SECRET)].concat();
        found.is_empty().then_some(())
    });
}

/// Every file below a directory that holds a text.
fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(files_with(&path, text));
        } else if kind.is_file() {
            // It may be gone: files come and go here.
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

async fn refused_stream<T>(
    answer: Result<tonic::Response<tonic::Streaming<T>>, Status>,
    what: &str,
) {
    let first = match answer {
        Err(status) => Err(status),
        Ok(stream) => stream.into_inner().message().await.map(drop),
    };
    refused(first, what);
}

fn refused(answer: Result<(), Status>, what: &str) {
    let status = answer.err().unwrap_or_else(|| panic!("{what:?} was taken"));
    let code = status.code();
    assert!(matches!(code, Code::InvalidArgument | Code::FailedPrecondition), "{what:?}: {status}");
}

/// A job as the wire spells the defaults.
fn wire_job() -> v1::JobSpec {
    use orchestra_model::{
        flow::JobSpec,
        names::{JobName, ScoreName},
    };
    let name = JobName::new("job").unwrap();
    (&JobSpec::new(name, ScoreName::new("hello").unwrap(), "p1".to_owned())).into()
}

fn flow_of(job: v1::JobSpec) -> v1::FlowSpec {
    v1::FlowSpec { name: String::new(), start: None, slots: vec![v1::SlotSpec { jobs: vec![job] }] }
}
