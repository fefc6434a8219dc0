//! The other verbs.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker,
    names::{HostName, ScoreName},
    record::Drain,
    score::{ScoreHash, ScoreOffer, ScoreSpec},
    state::TaskState,
    status::{ConductorStatus, PlayerStatus, TaskStatus},
    time::Timestamp,
};
use orchestra_proto::v1;
use prost::Message as _;
use serde_json::json;
use tonic::Status;

use crate::{
    fake::{Fake, bare, ran},
    values::{JOB, failed, failed_tasks, numbered, running, task, told_task},
};

pub(crate) fn player(host: &str, attached: bool, hash: u8) -> PlayerStatus {
    PlayerStatus {
        host: HostName::new(host).unwrap(),
        labels: BTreeMap::new(),
        attached,
        since: Some(Timestamp(1_763_712_000_000)),
        max_tasks: 4,
        in_flight: 0,
        jobs: Vec::new(),
        lost: None,
        version: "0.1.0".to_owned(),
        spool: None,
        certificate_ends: None,
        drained: None,
        quarantined: None,
        scores: vec![ScoreOffer {
            name: ScoreName::new("hello").unwrap(),
            hash: Some(ScoreHash([hash; 32])),
            spec: Ok(ScoreSpec::default()),
        }],
    }
}

#[test]
fn flows_can_be_narrowed() {
    let fake = Fake::with(failed(), Vec::new());
    fake.add(numbered(running(), 43), Vec::new());
    fake.add(numbered(running(), 44), Vec::new());
    let ids = |line: &str| -> Vec<u64> {
        let flows = fake.run(line).json()["flows"].clone();
        flows.as_array().unwrap().iter().map(|flow| flow["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("orc flows --json"), [44, 43, 42]);
    assert_eq!(ids("orc flows --json --alive -n 1"), [44]);
    assert_eq!(ids("orc flows --json --alive"), [44, 43]);
    assert_eq!(ids("orc flows --json --by alice -n 2"), [44, 43]);
    assert_eq!(ids("orc flows --json --by nobody"), [0; 0]);
    assert_eq!(ids("orc flows --json --name deploy --state failed,ok"), [42]);
    assert_eq!(ids("orc flows --json --since 2026-01-01T00:00:00Z"), [0; 0]);
    assert_eq!(ids("orc flows --json --until 2025-01-01T00:00:00Z"), [0; 0]);
    assert_eq!(ids("orc flows --json --score install-package --host db3"), [44, 43, 42]);
    assert_eq!(ids("orc flows --json --host db77"), [0; 0]);
    assert_eq!(ids("orc flows --json --alive --score restart-apache"), [0; 0]);
    fake.run("orc flows --state done").fails(64, &["there are pending, running"]);
    fake.run("orc flows --score a/b").fails(64, &["--score"]);
    let first = fake.run("orc flows --json -n 1").json()["flows"][0].clone();
    assert_eq!((&first["counts"]["running"], &first["counts"]["ok"]), (&json!(3), &json!(0)));
    // One that knows no conditions must not be believed to have looked at them.
    fake.tables().is_old = true;
    fake.run("orc flows --host db77").fails(1, &["too old for these conditions", "hint: update"]);
    assert_eq!(ids("orc flows --json --alive"), [44, 43]);
}

#[test]
fn players_and_scores_are_listed() {
    let fake = Fake::start();
    fake.tables().players =
        vec![player("fe1", true, 0xab), player("fe2", false, 0xab), player("fe3", true, 0xcd)];
    let folded = fake.run("orc players");
    assert_eq!(
        folded.stdout, "attached             fe[1,3] (2)\nabsent               fe2 (1)\n",
        "{folded:?}"
    );
    assert_eq!(fake.run("orc players -l").stdout.lines().count(), 3);
    fake.run("orc players --absent").without_ages().is(
        0,
        "fe2                      absent since 2025-11-21T08:00:00Z\n",
        "2 of 3 players are attached\n",
    );
    assert_eq!(fake.run("orc players fe1").stdout.lines().count(), 1);
    let players = fake.run("orc players --json --attached").json()["players"].clone();
    assert_eq!(players.as_array().unwrap().len(), 2);
    assert_eq!(players[0]["host"], "fe1");
    fake.run("orc scores").is(
        0,
        "hello                    abababababab fe[1-2] (2)\n\
         hello                    cdcdcdcdcdcd fe3 (1)\n",
        "",
    );
    let scores = fake.run("orc scores --json").json()["scores"].clone();
    assert_eq!(scores[0]["versions"][0]["hosts"], "fe[1-2]");
    assert_eq!(scores[0]["versions"][0]["spec"]["timeout_ms"], 600_000);
    fake.run("orc scores other").is(0, "", "no scores\n");
}

#[test]
fn drift_is_what_differs_or_is_missing() {
    let fake = Fake::start();
    let mut lacking = player("fe3", true, 0xab);
    lacking.scores[0].name = ScoreName::new("other").unwrap();
    fake.tables().players =
        vec![player("fe1", true, 0xab), player("fe2", true, 0xcd), lacking.clone()];
    let drift = "hello                    abababababab fe1 (1)\n\
                 hello                    cdcdcdcdcdcd fe2 (1)\n\
                 hello                    missing      fe3 (1)\n\
                 other                    abababababab fe3 (1)\n\
                 other                    missing      fe[1-2] (2)\n";
    fake.run("orc scores --drift").is(0, drift, "");
    let scores = fake.run("orc scores --drift --json").json()["scores"].clone();
    assert_eq!((&scores[0]["missing"], &scores[1]["missing"]), (&json!("fe3"), &json!("fe[1-2]")));
    fake.tables().players = vec![player("fe1", true, 0xab), player("fe2", true, 0xab)];
    fake.run("orc scores --drift").is(0, "", "no score differs\n");
}

#[test]
fn players_are_drained_with_a_reason() {
    let fake = Fake::start();
    let words = ["drain", "fe[1-2]", "--reason", "new disk"];
    let drained = "drained fe[1-2] (1)\n";
    ran(&mut fake.command("orc", &words)).is(
        0,
        drained,
        "2 tasks still run there and may finish\n",
    );
    assert_eq!(fake.tables().reasons, ["new disk"]);
    fake.run("orc drain fe1 --reason disk --json").is(
        0,
        "{\"schema\":1,\"drained\":{\"hosts\":\"fe1\",\"count\":1,\"in_flight\":2}}\n",
        "2 tasks still run there and may finish\n",
    );
    fake.run("orc drain fe9 --reason disk").is(
        0,
        "",
        "nothing changed: all of them were drained before\n",
    );
    fake.run("orc undrain fe1 fe2").is(0, "undrained fe1 fe2 (1)\n", "");
    fake.run("orc drain fe1").fails(64, &["--reason"]);
    // Who waits is told on whom, and leaves at the deadline.
    fake.tables().players = vec![PlayerStatus { in_flight: 2, ..player("fe1", true, 0xab) }];
    fake.run("orc drain fe1 --reason disk --wait --deadline 100ms").is(
        124,
        "drained fe1 (1)\n",
        "2 tasks still run on fe1 (1)\nthe waiting is over; they stay drained\n",
    );
    fake.tables().players = vec![player("fe1", true, 0xab)];
    fake.run("orc drain fe1 --reason disk --wait").is(
        0,
        "drained fe1 (1)\n",
        "nothing runs there any more\n",
    );
    fake.run("orc drain fe1 --reason disk --deadline 1h").fails(64, &["--wait"]);
    fake.run("orc drain a!a --reason x").fails(3, &["the host set is empty"]);

    let by = Asker::from_word("alice").unwrap();
    let drain = Drain { by, reason: "new disk".into(), since: Timestamp(1_763_712_000_000) };
    let drained = PlayerStatus { drained: Some(drain), ..player("fe1", true, 0xab) };
    fake.tables().players = vec![drained, player("fe2", true, 0xab)];
    fake.run("orc players --drained").without_ages().is(
        0,
        "fe1                      attached since 2025-11-21T08:00:00Z 0/4 tasks, version 0.1.0, \
         drained by alice since 2025-11-21T08:00:00Z: new disk\n",
        "2 of 2 players are attached, 1 is drained\n",
    );
    let players = fake.run("orc players --json").json()["players"].clone();
    assert_eq!(
        players[0]["drained"],
        json!({"by": "alice", "reason": "new disk", "since": "2025-11-21T08:00:00Z"})
    );
    assert_eq!(players[1]["drained"], json!(null));
}

#[test]
fn logs_keep_the_two_streams_apart() {
    let fake = Fake::with(failed(), failed_tasks());
    let output = |text: &'static str| v1::Output {
        head: text.into(),
        bytes: text.len() as u64,
        ..Default::default()
    };
    let log = |attempt, exit| v1::AttemptLog {
        job: Some(JOB.into()),
        host: "db3".to_owned(),
        attempt,
        late: false,
        end: v1::AttemptEnd {
            outcome: Some(v1::attempt_end::Outcome::Exited(exit)),
            started_at_ms: 1_763_712_000_000,
            ended_at_ms: 1_763_712_002_500,
            stdout: Some(output("out\n")),
            stderr: Some(output("err")),
            ..Default::default()
        }
        .encode_to_vec()
        .into(),
    };
    fake.tables().logs = vec![log(1, 3), log(2, 0)];
    fake.run("orc logs 42.1.1@db3").is(
        0,
        "out\nout\n",
        "42.1.1@db3#1 exit 3, started 2025-11-21T08:00:00Z, took 2.5s\nerr\n\
         42.1.1@db3#2 exit 0, started 2025-11-21T08:00:00Z, took 2.5s\nerr\n",
    );
    let attempts = fake.run("orc logs 42@db3 --json").json()["attempts"].clone();
    assert_eq!(attempts[0]["id"], "42.1.1@db3#1");
    assert_eq!(attempts[0]["duration_ms"], 2_500);
    fake.tables().logs.clear();
    fake.run("orc logs 42@db3").is(0, "", "no attempt has ended yet\n");
    fake.run("orc logs 42,43").fails(64, &["orc logs takes one task"]);
    fake.run("orc logs 42/web").fails(64, &["logs are of one host", "hint: orc logs 42/web@HOST"]);
    fake.run("orc logs 42 -w db1").fails(64, &["-w is for a flow or job that is followed"]);
    fake.run("orc logs 42@db3 --json").json();
    let refused = fake.run("orc logs 42@db3 -f --json");
    assert_eq!((refused.code, &refused.json()["error"]["kind"]), (64, &json!("usage")));
}

#[test]
fn what_runs_is_told_as_far_as_it_has_come_and_followed_to_its_end() {
    let attempt = |state| TaskStatus { attempt: 1, ..task(3, state, None, "") };
    let fake = Fake::with(running(), vec![attempt(TaskState::Running)]);
    let chunk = |text: &'static str, offset| v1::LogChunk {
        run: 1,
        bytes: text.into(),
        next: Some(v1::LogPlace { file: 1, offset }),
        ..Default::default()
    };
    fake.tables().log_reads = [vec![Ok(chunk("begun\n", 6))], vec![Ok(chunk("hm\n", 3))]].into();
    fake.run("orc logs 42@db3").is(0, "begun\n", "42.1.1@db3#1 runs\nhm\n");
    let asked = std::mem::take(&mut fake.tables().log_asked);
    let of = v1::LogOfAttempt { job: Some(JOB.into()), host: "db3".to_owned(), attempt: 1 };
    assert_eq!(asked[0].instance, Some(v1::read_logs_request::Instance::Attempt(of)));
    assert!(!asked[0].query.unwrap().follow);

    // The end brings what a lost connection has kept from being told, and nothing twice.
    let told = |task: &TaskStatus| v1::TaskPage { tasks: vec![task.into()], ..Default::default() };
    let ran = attempt(TaskState::Running);
    let ended = attempt(TaskState::Ok);
    let end = v1::AttemptEnd {
        outcome: Some(v1::attempt_end::Outcome::Exited(0)),
        ended_at_ms: 1_763_712_002_500,
        stdout: Some(v1::Output { head: "begun\nover\n".into(), bytes: 11, ..Default::default() }),
        stderr: Some(v1::Output { head: "hm\n".into(), bytes: 3, ..Default::default() }),
        ..Default::default()
    };
    let log = v1::AttemptLog {
        job: Some(JOB.into()),
        host: "db3".to_owned(),
        attempt: 1,
        late: false,
        end: end.encode_to_vec().into(),
    };
    let mut tables = fake.tables();
    tables.logs = vec![log];
    tables.logs_then = [0, 0].into();
    tables.task_lists = [vec![Ok(told(&ran))], vec![Ok(told(&ran))], vec![Ok(told(&ended))]].into();
    let gone = || vec![Err(Status::not_found("attempt 42.1.1#1 does not run on db3"))];
    tables.log_reads = [vec![Ok(chunk("begun\n", 6))], vec![Ok(chunk("hm\n", 3))], gone()].into();
    let event = || Ok(told_task(3, TaskState::Running, None));
    tables.watches = [vec![event(), event()]].into();
    drop(tables);
    fake.run("orc logs 42@db3 -f").is(
        0,
        "begun\nover\n",
        "42.1.1@db3#1 runs\nhm\n42.1.1@db3#1 exit 0\n",
    );
    let asked = fake.tables().log_asked.clone();
    assert!(asked[0].query.unwrap().follow);
    assert_eq!(asked[2].query.unwrap().from, Some(v1::LogPlace { file: 1, offset: 6 }));
}

/// Of an output that an end tells the first and the last of, the host is asked for the rest, and what it does not
/// have is told.
#[test]
fn the_whole_of_an_output_is_what_its_host_keeps() {
    let fake = Fake::with(failed(), failed_tasks());
    let end = v1::AttemptEnd {
        outcome: Some(v1::attempt_end::Outcome::Exited(0)),
        ended_at_ms: 1_763_712_002_500,
        stdout: Some(v1::Output {
            head: "one\n".into(),
            tail: "nine\n".into(),
            bytes: 40,
            truncated: true,
        }),
        stderr: Some(v1::Output { head: "hm\n".into(), bytes: 3, ..Default::default() }),
        ..Default::default()
    };
    fake.tables().logs = vec![v1::AttemptLog {
        job: Some(JOB.into()),
        host: "db3".to_owned(),
        attempt: 1,
        late: false,
        end: end.encode_to_vec().into(),
    }];
    let heading = "42.1.1@db3#1 exit 0\n";
    let hint = "hint: what was left out its host may still have: orc logs 42.1.1@db3 --whole\n";
    let short = "one\n[… 31 bytes left out …]\nnine\n";
    fake.run("orc logs 42@db3").is(0, short, &format!("{heading}hm\n{hint}"));

    let chunk = |text: &'static str, offset, gap| v1::LogChunk {
        run: 1,
        bytes: text.into(),
        gap,
        next: Some(v1::LogPlace { file: 1, offset }),
        ..Default::default()
    };
    let all = "one\n...\n....\n.....\n......\n........\nnine\n";
    assert_eq!(all.len(), 40);
    fake.tables().log_reads =
        [vec![Ok(chunk(&all[..10], 10, false)), Ok(chunk(&all[10..], 40, false))]].into();
    fake.tables().log_asked.clear();
    fake.run("orc logs 42@db3 --whole").is(0, all, &format!("{heading}hm\n"));
    let asked = std::mem::take(&mut fake.tables().log_asked);
    // Standard error is whole in the end, so nobody is asked for it.
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].query.unwrap().from, None);

    // Where the player went away in between, what was told is not told again, and what is missing is.
    let away = || Err(Status::unavailable("db3 is not attached"));
    fake.tables().log_reads = [vec![Ok(chunk(&all[..10], 10, false)), away()]].into();
    fake.run("orc logs 42@db3 --whole").is(
        1,
        "one\n...\n..\n[… 25 bytes left out …]\nnine\n",
        &format!("{heading}reading what 42.1.1@db3#1 writes: db3 is not attached\nhm\n"),
    );
    let gone = Err(Status::not_found("attempt 42.1.1#1 is over, and db3 keeps no more of it"));
    fake.tables().log_reads = [vec![gone]].into();
    fake.run("orc logs 42@db3 --whole").is(
        1,
        short,
        &format!(
            "{heading}reading what 42.1.1@db3#1 writes: attempt 42.1.1#1 is over, and db3 keeps no more of \
             it\nhm\n"
        ),
    );
    fake.run("orc logs 42 --whole").fails(64, &["--whole is for one task"]);
    let refused = fake.run("orc logs 42@db3 --whole --json");
    assert_eq!(refused.code, 64);
    assert!(refused.stdout.contains("as text"), "{}", refused.stdout);
    fake.run("orc logs web/1 --whole").fails(64, &["--whole is for a task"]);
}

#[test]
fn host_sets_need_a_conductor_only_for_groups() {
    let home = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let words = [&["hostset"][..], words].concat();
        ran(&mut bare("orc", &words, home.path()))
    };
    run(&["fe1,fe2", "fe3"]).is(0, "fe[1-3]\n", "");
    run(&["-e", "fe[08-10]!fe09"]).is(0, "fe08\nfe10\n", "");
    run(&["-c", "r[1-2]n[1-4]"]).is(0, "8\n", "");
    run(&["-c", "a!a"]).is(3, "0\n", "");
    run(&["--json", "a,b"]).is(
        0,
        "{\"schema\":1,\"hostset\":{\"folded\":\"a,b\",\"count\":2,\"hosts\":[\"a\",\"b\"],\"parts\":null}}\n",
        "",
    );
    run(&["--split", "3", "fe[1-8]"]).is(0, "fe[1-2]\nfe[3-5]\nfe[6-8]\n", "");
    run(&["--split", "1", "a"]).is(0, "a\n", "");
    run(&["--split", "3", "a,b"]).fails(3, &["splitting 2 hosts into 3 parts"]);
    let parts = run(&["--json", "--split", "2", "a,b,c"]).json()["hostset"]["parts"].clone();
    assert_eq!(parts, json!(["a", "b,c"]));
    assert_eq!(run(&["--pick", "3", "-c", "fe[1-100]"]).stdout, "3\n");
    let picked = run(&["--pick", "3", "-e", "fe[1-100]"]).stdout;
    let names: Vec<&str> = picked.lines().collect();
    assert!(names.len() == 3 && names.iter().all(|name| name.starts_with("fe")), "{names:?}");
    run(&["--pick", "2", "a,b"]).is(0, "a,b\n", "");
    run(&["--pick", "3", "a,b"]).fails(3, &["picking 3 of 2 hosts"]);
    run(&["a["]).fails(64, &["error: reading the host set"]);
    run(&["@web"]).fails(64, &["not configured"]);
    let fake = Fake::start();
    fake.run("orc hostset -e @web").is(0, "fe1\nfe2\nfe3\n", "");
    fake.run("orc hostset @db").fails(64, &["there is no such group"]);
}

/// A conductor that tells of troubles.
pub(crate) fn conductor() -> ConductorStatus {
    ConductorStatus {
        name: "conductor.cli.test".to_owned(),
        version: "0.1.0".to_owned(),
        pid: 7,
        started_at: Timestamp(1_763_712_000_000),
        store_id: "00ff".to_owned(),
        term: 2,
        players: 10,
        attached: 9,
        quarantined: 0,
        flows_alive: 1,
        deployments: 2,
        cells: 4,
        loaded_at: Timestamp(1_763_712_000_000),
        reload_error: Some("players:3: not a host name".to_owned()),
        revocation_error: None,
        audit_export_error: None,
        certificate_ends: None,
        certificates_ending: 0,
        now: None,
        stale_store: None,
        store_error: Some("no space".to_owned()),
        store_held_since: Some(Timestamp(1_763_712_000_000)),
    }
}

#[test]
fn the_conductor_is_asked_and_told() {
    let fake = Fake::start();
    fake.tables().status = Some(conductor());
    fake.run("orc conductor status").is(
        0,
        "conductor.cli.test version 0.1.0, pid 7, since 2025-11-21T08:00:00Z\n\
         players: 9 of 10 attached; flows that have not ended: 1\n\
         deployments: 2 with 4 cells\n\
         store: 00ff term 2\n\
         configuration: loaded 2025-11-21T08:00:00Z\n\
         the last reload changed nothing: players:3: not a host name\n\
         nothing is accepted since 2025-11-21T08:00:00Z: no space\n",
        "",
    );
    let status = fake.run("orc conductor status --json").json();
    assert_eq!(status["conductor"]["attached"], 9);
    assert_eq!(status["conductor"]["stale_store"], json!(null));
    fake.run("orc conductor reload").fails(1, &["9 of 10 players would be removed"]);
    fake.run("orc conductor reload --allow-removal").is(
        0,
        "reloaded: 1 players, 0 added, 9 removed; 2 deployments, 0 added, 1 changed, 1 removed\n",
        "",
    );
    fake.tables().file_outcomes = [("web", "applied"), ("api", "owns"), ("dns", "gone")]
        .map(|(service, change)| v1::FileOutcome {
            file: format!("services.d/{service}.yaml"),
            service: service.to_owned(),
            version: 7,
            change: change.to_owned(),
        })
        .into();
    fake.run("orc conductor reload --allow-removal --take-over").is(
        0,
        "reloaded: 1 players, 0 added, 9 removed; 2 deployments, 0 added, 1 changed, 1 removed\n\
         services.d/web.yaml: service web, version 7\n\
         services.d/api.yaml: service api belongs to it, version 7 as it is\n\
         services.d/dns.yaml: file gone, service dns runs on; to end it: orc service remove dns\n",
        "",
    );
    let reload = fake.run("orc conductor reload --allow-removal --json").json()["reload"].clone();
    assert_eq!(
        reload["services"][2],
        json!({"file": "services.d/dns.yaml", "service": "dns", "version": 7, "change": "gone"})
    );
    let asked: Vec<_> = fake.tables().reloads.iter().map(|it| it.take_over).collect();
    assert_eq!(asked, [false, false, true, false]);
    // A store about which nobody has a doubt takes a store's name and a word.
    fake.run("orc conductor recover").fails(1, &["nothing says that it is an old copy"]);
    fake.run("orc conductor recover --although-healthy").fails(64, &["--store"]);
    fake.run("orc conductor recover --store 00fe --although-healthy")
        .fails(64, &["another store is meant"]);
    fake.run("orc conductor recover --store 00ff --although-healthy").is(
        0,
        "recovered: term 3, the next flow is 1042\n",
        "",
    );
    fake.run("orc conductor recover --plan").is(
        0,
        "store 00ff counts as an old copy: player db1 has proof of order 9\n\
         a recovery would\n\
         - raise the term to 3 or more, and make a new proof key\n\
         - number the next flow 1000042, and leave out numbers of orders and attempts\n\
         - send 9 players away, to come back and tell their state anew\n\
         - make what may have run in the forgotten time lost, its hosts down\n\
         - leave those quarantined that cannot prove what they claim: 1\n",
        "",
    );
    let plan = fake.run("orc conductor recover --plan --json").json();
    assert_eq!(plan["recover"]["next_flow"], 1_000_042);
}

#[test]
fn players_are_released_from_quarantine() {
    let fake = Fake::with(failed(), Vec::new());
    let why = Some("it claims, without proof, order 77 of 3".to_owned());
    let liar = PlayerStatus { quarantined: why, ..player("fe1", true, 0xab) };
    fake.tables().players = vec![liar, player("fe2", true, 0xab)];
    fake.run("orc players --quarantined").without_ages().is(
        0,
        "fe1                      attached since 2025-11-21T08:00:00Z 0/4 tasks, version 0.1.0, \
         quarantined: it claims, without proof, order 77 of 3\n",
        "2 of 2 players are attached, 1 is quarantined\n",
    );
    let players = fake.run("orc players --json").json();
    assert_eq!(players["players"][0]["quarantined"], "it claims, without proof, order 77 of 3");
    assert_eq!(players["players"][1]["quarantined"], json!(null));
    fake.run("orc players release fe1").fails(64, &["--reason"]);
    fake.run("orc players release fe1 --reason looked").is(
        0,
        "released fe1 (1)\n",
        "tasks in flight to them that are lost: 2\n",
    );
    fake.run("orc players release fe9 --reason looked").is(
        0,
        "",
        "nothing changed: none of them is quarantined\n",
    );
    let released = fake.run("orc players release fe1 --reason looked --json").json();
    assert_eq!(released["released"]["lost"], 2);
}

#[test]
fn help_and_version_are_answers() {
    let home = tempfile::tempdir().unwrap();
    for program in ["submitjob", "getstatus", "orc"] {
        let help = ran(&mut bare(program, &["--help"], home.path()));
        assert_eq!((help.code, &*help.stderr), (0, ""));
        assert!(help.stdout.contains("Examples:"), "{help:?}");
        let version = ran(&mut bare(program, &["-V"], home.path()));
        assert_eq!(version.code, 0);
        assert!(version.stdout.starts_with(program), "{version:?}");
    }
    ran(&mut bare("orc", &["nonsense"], home.path())).fails(64, &["nonsense"]);
    let short = ran(&mut bare("orc", &["cancel", "42", "-h"], home.path()));
    short.is(
        0,
        "Cancel flows\n\nUsage: orc cancel [OPTIONS] [ID]...\n\n  \
           orc cancel last --reason 'wrong version'\n  \
           orc cancel --by alice --score restart-apache\n\n\
         orc cancel --help has all of it, and orc help host-sets, exit-codes, json, limits.\n",
        "",
    );
    let long = ran(&mut bare("orc", &["help", "cancel"], home.path()));
    assert_eq!(long.stdout, ran(&mut bare("orc", &["cancel", "--help"], home.path())).stdout);
    let codes = ran(&mut bare("orc", &["help", "exit-codes"], home.path()));
    assert!(codes.stdout.contains("\n   4  unreachable   not ok, and only because"), "{codes:?}");
    ran(&mut bare("orc", &["help", "nonsense"], home.path())).fails(64, &["hint: orc help"]);
}

#[test]
fn groups_are_listed() {
    let fake = Fake::start();
    let group = |name: &str, kind: v1::GroupKind, hosts: &str, count| v1::Group {
        name: name.to_owned(),
        kind: kind.into(),
        hosts: hosts.to_owned(),
        count,
    };
    fake.tables().groups = vec![
        group("all", v1::GroupKind::All, "db1,fe[1-3]", 4),
        group("web", v1::GroupKind::Group, "fe[1-3]", 3),
        group("front", v1::GroupKind::App, "fe1", 1),
        group("rack=r7", v1::GroupKind::Label, "db1", 1),
    ];
    fake.run("orc groups").is(
        0,
        "@all                     all   db1,fe[1-3] (4)\n\
         @web                     group fe[1-3] (3)\n\
         @front                   app   fe1 (1)\n\
         @rack=r7                 label db1 (1)\n",
        "",
    );
    let groups = fake.run("orc groups --json").json();
    assert_eq!(
        groups["groups"][3],
        json!({"name": "rack=r7", "kind": "label", "hosts": "db1", "count": 1})
    );
}
