//! `orc service list` and `show`.

use orchestra_model::{
    ByteSize,
    names::ServiceName,
    score::ScoreHash,
    service::{
        Cause, Change, Exhausted, FileStanding, Goal, InstanceAbsence, InstanceStatus, Replaceable,
        Replacing, ReplacingWait, RunEnd, ServiceFile, UnitState, Unready,
    },
    time::Timestamp,
};
use serde_json::json;

use super::{AT, absent, alice, changing, host, hosts, instance, ready, unwell, usage, with};
use crate::fake::Fake;

#[test]
fn services_are_listed_by_one_word_each() {
    let fake = Fake::start();
    let named = |name: &str, mut status: orchestra_model::service::ServiceStatus| {
        status.record.name = ServiceName::new(name).unwrap();
        status
    };
    let mut paused = named("paused", ready(3));
    paused.record.paused_by = Some(alice());
    let mut stopped = named("stopped", ready(0));
    (stopped.record.goal, stopped.record.hosts) = (Goal::Stopped, hosts(1..=3));
    let gave_up = unwell(3, UnitState::GaveUp, Unready::GaveUp);
    let backing_off = unwell(2, UnitState::BackingOff, Unready::NotReady);
    fake.tables().services = vec![
        named("changing", changing(with(10, vec![backing_off.clone()]))),
        named("degraded", with(3, vec![backing_off])),
        named("away", with(3, vec![absent(1)])),
        paused,
        named("ready", ready(10_000)),
        stopped,
        named("stuck", with(3, vec![gave_up])),
    ];
    fake.run("orc service list").is(
        0,
        "NAME                     VERSION GOAL           READY STATE      FLOW\n\
         changing                       7 running         9/10 changing   43\n\
         degraded                       7 running          2/3 degraded   -\n\
         away                           7 running          2/3 degraded   -\n\
         paused                         7 running          3/3 paused     -\n\
         ready                          7 running  10000/10000 ready      -\n\
         stopped                        7 stopped          0/3 stopped    -\n\
         stuck                          7 running          2/3 stuck      -\n",
        "",
    );
    let services = fake.run("orc service list --json").json()["services"].clone();
    assert_eq!(
        services[0],
        json!({"name": "changing", "version": 7, "score": "serve-web", "goal": "running",
               "score_hash": "ab".repeat(32), "drifted": 0,
               "state": "changing", "ready": 9, "wanted": 10, "stable": 7, "owner": "alice", "file": null,
               "hosts": "db[1-10]", "paused_by": null, "flow": 43, "trouble": null, "waiting": [],
               "suspicion": null})
    );
    let unhealthy = fake.run("orc service list --unhealthy --json").json()["services"].clone();
    let names = unhealthy.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["degraded", "away", "stuck"]);
    fake.tables().services.clear();
    fake.run("orc service list").is(0, "", "no services\n");
    fake.run("orc service list --unhealthy").is(0, "", "no service is unhealthy\n");
}

#[test]
fn one_that_is_well_is_short() {
    let fake = Fake::start();
    fake.tables().services = vec![ready(10)];
    fake.run("orc service show web").is(
        0,
        "web version 7: ready, ready on 10 of 10 hosts\n\
         goal: running, stable: version 7\n\
         score: serve-web, owner: alice\n\
         hosts: db[1-10] (10)\n\
         instances: 10\n  \
           db[1-10] (10) ready, version 7, since 2025-11-21T08:00:00Z, run 1\n\
         events:\n  \
           2025-11-21T08:00:00Z update, version 7, by alice, flow 42\n  \
           2025-11-21T08:01:00Z update, version 7, flow 42 ok\n",
        "",
    );
    fake.run("orc service show other")
        .fails(8, &["there is no service other", "hint: orc service list"]);
}

#[test]
fn what_is_wrong_comes_first() {
    let fake = Fake::start();
    let mut backing_off = unwell(2, UnitState::BackingOff, Unready::NotReady);
    backing_off.report.as_mut().unwrap().since = Timestamp(AT.0 + 5_000);
    let alike = unwell(4, UnitState::BackingOff, Unready::NotReady);
    let gave_up = unwell(3, UnitState::GaveUp, Unready::GaveUp);
    let mut status = changing(with(10, vec![backing_off, alike, gave_up, absent(1)]));
    status.record.hosts = hosts(1..=12);
    status.unplaced = hosts(11..=12);
    status.given_up = hosts(3..=3);
    status.trouble = Some("group web\nis gone".to_owned());
    status.record.paused_by = Some(alice());
    status.record.pending =
        Some(Change { hosts: Some(hosts(1..=2)), ..Change::new(Cause::Restart, alice()) });
    status.record.stable = None;
    status.record.living.as_mut().unwrap().superseded = true;
    status.record.events.clear();
    fake.tables().services = vec![status];
    fake.run("orc service show web").is(
        0,
        "web version 7: paused, ready on 6 of 12 hosts\n\
         trouble: group web\\nis gone\n\
         given up: db3 (1); to try again: orc service resume web\n\
         no instance yet: db[11-12] (2)\n\
         paused by alice: nothing voluntary is done; to go on: orc service resume web\n\
         goal: running, stable: none yet\n\
         score: serve-web, owner: alice\n\
         hosts: db[1-12] (12)\n\
         asked for: restart by alice on db[1-2] (2), no flow was made for it yet\n\
         flow: 43, update to version 7 by alice, which ends: something newer is wanted (orc explain 43)\n\
         instances: 10\n  \
           db3 web/3 gave-up, version 7, since 2025-11-21T08:00:00Z, run 12, restarts 11, last \
         end: exited 3\n  \
           db1 web/1 untold, not attached\n  \
           db[2,4] (2) backing-off, version 7, since 2025-11-21T08:00:00Z to \
         2025-11-21T08:00:05Z, run 12, restarts 11, last end: exited 3\n  \
           db[5-10] (6) ready, version 7, since 2025-11-21T08:00:00Z, run 1\n",
        "",
    );
}

#[test]
fn the_file_of_a_service_is_told_and_that_it_is_gone() {
    let fake = Fake::start();
    let filed = |standing| {
        let mut status = ready(3);
        let (name, content) = ("services.d/web.yaml".into(), [0; 32]);
        status.record.file = Some(ServiceFile { name, content, standing });
        status
    };
    for (standing, line) in [
        (FileStanding::InForce, "file: services.d/web.yaml\n"),
        (
            FileStanding::Gone,
            "file gone: services.d/web.yaml; it runs on as it was; to end it: orc service remove \
             web\n",
        ),
        (
            FileStanding::TakenOver,
            "taken over from services.d/web.yaml, which counts for nothing; to give it back: orc \
             conductor reload --take-over\n",
        ),
    ] {
        fake.tables().services = vec![filed(standing)];
        let shown = fake.run("orc service show web");
        assert!(shown.stdout.contains(line), "{}", shown.stdout);
        let listed = fake.run("orc service list").stdout;
        let is_gone = standing == FileStanding::Gone;
        assert_eq!(listed.contains(" - (file gone: services.d/web.yaml)\n"), is_gone, "{listed}");
        let told = fake.run("orc service show web --json").json()["service"].clone();
        let file = json!({"name": "services.d/web.yaml", "standing": standing.as_str()});
        assert_eq!(told["file"], file);
    }
}

#[test]
fn what_is_unhealthy_is_told_with_its_reason() {
    let fake = Fake::start();
    let mut sick = unwell(2, UnitState::Unhealthy, Unready::NotReady);
    sick.report.as_mut().unwrap().trouble = Some("HTTP status\n503".to_owned());
    fake.tables().services = vec![with(2, vec![sick])];
    let shown = fake.run("orc service show web");
    assert!(shown.stdout.contains("db2 web/2 unhealthy: HTTP status\\n503, version 7"));
    let service = fake.run("orc service show web --json").json()["service"].clone();
    assert_eq!(service["instances"][1]["trouble"], "HTTP status\n503");
}

#[test]
fn what_instances_use_and_had_when_it_was_not_enough_is_told() {
    let fake = Fake::start();
    let mut of_db1 = instance(1);
    of_db1.usage = Some(usage(1, 100));
    let mut of_db2 = instance(2);
    of_db2.usage = Some(usage(2, 480));
    let killed = |n, peak: u64| {
        let mut unwell = unwell(n, UnitState::BackingOff, Unready::NotReady);
        let (limit, peak) = (Some(ByteSize(64 << 20)), Some(ByteSize(peak << 20)));
        unwell.report.as_mut().unwrap().last_end =
            Some(RunEnd::OutOfMemory(Exhausted { limit, peak }));
        unwell
    };
    fake.tables().services = vec![with(4, vec![of_db1, of_db2, killed(3, 63), killed(4, 64)])];
    let shown = fake.run("orc service show web").stdout;
    for line in [
        "db[3-4] (2) backing-off, version 7, since 2025-11-21T08:00:00Z, run 12, restarts 11, last \
         end: out of memory: it had 64.0MiB, with a limit of 64MiB\n",
        "db[1-2] (2) ready, version 7, since 2025-11-21T08:00:00Z, run 1, uses cpu 0.1 to 0.48 \
         (highest 0.5), memory 30.0MiB (peak 40.0MiB), 1 of 2 held back by resources.cpu, 0.5, for \
         95% of the last minute\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let service = fake.run("orc service show web --json").json()["service"].clone();
    assert_eq!(
        service["instances"][1]["usage"],
        json!({"age_ms": 4000, "cpu_millicores": 480, "cpu_highest_millicores": 500,
               "cpu_limit_millicores": 500, "throttled_permille": 950, "memory_bytes": 30 << 20,
               "memory_peak_bytes": 40 << 20, "memory_limit_bytes": 64_u64 << 20, "processes": 3})
    );
    let end = &service["instances"][2]["last_end"];
    assert_eq!(
        (&end["how"], &end["memory_limit_bytes"]),
        (&json!("out-of-memory"), &json!(64 << 20))
    );
    assert_eq!(end["memory_peak_bytes"], 63 << 20);
}

#[test]
fn programs_are_told_all_of_it() {
    let fake = Fake::start();
    fake.tables().services = vec![with(2, vec![unwell(2, UnitState::GaveUp, Unready::GaveUp)])];
    let service = fake.run("orc service show web --json").json()["service"].clone();
    assert_eq!(
        service["instances"][1],
        json!({"id": "web/2", "host": "db2", "ordinal": 2, "placement": 2, "attached": true,
               "state": "gave-up", "version": 7, "since": "2025-11-21T08:00:00Z", "run": 12,
               "restarts": 11, "last_end": {"how": "exited", "exit": 3, "signal": null,
               "detail": null, "memory_limit_bytes": null, "memory_peak_bytes": null},
               "trouble": null, "turns": 0, "flapping": false,
               "score_hash": "ab".repeat(32), "drifted": false,
               "unready": "gave-up", "usage": null, "replaceable": null, "absence": null})
    );
    assert_eq!(
        service["events"][1],
        json!({"at": "2025-11-21T08:01:00Z", "cause": "update", "by": "alice", "version": 7,
               "flow": 42, "ended": "ok", "note": null})
    );
    assert_eq!((&service["state"], &service["living"]), (&json!("stuck"), &json!(null)));
}

#[test]
fn runs_of_another_score_are_told_and_what_to_do() {
    let fake = Fake::start();
    let mut status = ready(3);
    for n in [0, 2] {
        status.instances[n].drifted = Some(true);
        status.instances[n].report.as_mut().unwrap().score_hash = Some(ScoreHash([0xcd; 32]));
    }
    fake.tables().services = vec![status];
    let text = fake.run("orc service show web").stdout;
    let drifted = "drifted: db[1,3] (2): another serve-web runs there than its version's \
                   (abababababab); to take what is installed: orc service restart web\n";
    assert!(text.contains(drifted), "{text}");
    assert!(text.contains("  db[1,3] (2) ready, drifted, version 7"), "{text}");
    let listed = fake.run("orc service list").stdout;
    assert!(listed.ends_with(" - (drifted: 2)\n"), "{listed}");
    let told = fake.run("orc service show web --json").json()["service"].clone();
    assert_eq!((&told["drifted"], &told["score_hash"]), (&json!(2), &json!("ab".repeat(32))));
    assert_eq!(told["instances"][0]["drifted"], json!(true));
}

#[test]
fn ten_thousand_instances_stay_readable() {
    let fake = Fake::start();
    let mut status = ready(10_000);
    // Each of a hundred ends in its own way.
    for instance in status.instances.iter_mut().take(100) {
        instance.unready = Some(Unready::NotReady);
        let why = format!("no space for {}", instance.host);
        let report = instance.report.as_mut().unwrap();
        (report.state, report.last_end) = (UnitState::BackingOff, Some(RunEnd::NotSpawned(why)));
    }
    fake.tables().services = vec![status];
    let text = fake.run("orc service show web").stdout;
    assert!(text.lines().count() < 60, "{text}");
    assert!(text.contains("  and 9960 more, of other kinds (--json tells all)\n"), "{text}");
    let told = fake.run("orc service show web --json").json();
    assert_eq!(told["service"]["instances"].as_array().unwrap().len(), 10_000);
}

#[test]
fn when_an_instance_may_be_replaced_is_told_where_its_player_is_away() {
    let fake = Fake::start();
    let away = |n, replaceable| InstanceStatus { replaceable: Some(replaceable), ..absent(n) };
    let at = Timestamp(AT.0 + 12_750);
    let status = with(
        4,
        vec![
            away(1, Replaceable::At(at)),
            away(2, Replaceable::OnProof),
            away(3, Replaceable::Now),
        ],
    );
    fake.tables().services = vec![status];
    let shown = fake.run("orc service show web").stdout;
    for line in [
        "db1 web/1 untold, not attached, may be replaced at 2025-11-21T08:00:12Z\n",
        "db2 web/2 untold, not attached, waiting-proof: it may be replaced when its player is back, \
         or once it is declared dead (orc service declare-dead)\n",
        "db3 web/3 untold, not attached, may be replaced\n",
    ] {
        assert!(shown.contains(line), "{line}{shown}");
    }
    let service = fake.run("orc service show web --json").json()["service"].take();
    let told = |n: usize| service["instances"][n]["replaceable"].clone();
    assert_eq!((told(1), told(2)), ("on-proof".into(), "now".into()));
    assert!(told(0).as_str().unwrap().starts_with("2025-11-21T08:00:12"), "{}", told(0));
    assert!(told(3).is_null());
}

#[test]
fn what_becomes_of_an_instance_is_told_where_its_player_is_away() {
    let fake = Fake::start();
    let away = |n, replacing| InstanceStatus {
        absence: Some(InstanceAbsence { since: AT, replacing }),
        ..absent(n)
    };
    let at = |ms| Some(Replacing::At(Timestamp(AT.0 + ms)));
    let status = with(
        8,
        vec![
            away(1, at(300_100)),
            away(2, at(300_900)),
            away(3, Some(Replacing::Waits(ReplacingWait::Room))),
            away(4, Some(Replacing::By(host(9)))),
            away(5, Some(Replacing::Never)),
            away(6, None),
            away(7, Some(Replacing::Waits(ReplacingWait::Paused))),
        ],
    );
    fake.tables().services = vec![status];
    let shown = fake.run("orc service show web").stdout;
    let away = "untold, not attached since 2025-11-21T08:00:00Z";
    for line in [
        format!("db[1-2] (2) {away}, replaced at 2025-11-21T08:05:00Z unless it is back\n"),
        format!("db3 web/3 {away}, to be replaced, once another player has room\n"),
        format!("db4 web/4 {away}, replaced on db9, ended here when it is back\n"),
        format!("db5 web/5 {away}, never replaced\n"),
        format!("db6 web/6 {away}\n"),
        format!("db7 web/7 {away}, to be replaced, once the service is resumed\n"),
    ] {
        assert!(shown.contains(&line), "{line}{shown}");
    }
    let service = fake.run("orc service show web --json").json()["service"].take();
    let told = |n: usize| service["instances"][n]["absence"].clone();
    let since = "2025-11-21T08:00:00Z";
    let replacing = json!({"state": "waits", "at": null, "waits": "room", "by": null});
    assert_eq!(told(2), json!({"since": since, "replacing": replacing}));
    assert_eq!(told(3)["replacing"]["by"], "db9");
    assert_eq!(
        (&told(4)["replacing"]["state"], &told(5)["replacing"]),
        (&json!("never"), &json!(null))
    );
    assert!(told(7).is_null());
}
