//! `orc service apply --plan` and `orc service list --strangers`.

use std::fs;

use orchestra_model::{
    quantity::Quantity,
    service::{Replacing, Stranger},
};
use orchestra_proto::v1;
use serde_json::json;

use super::{host, instance, version};
use crate::fake::{Fake, Ran};

fn step(step: &str, hosts: &str, from: u64, first: bool) -> v1::PlannedHosts {
    v1::PlannedHosts { step: step.to_owned(), from, first, hosts: hosts.to_owned() }
}

fn plan(fake: &Fake, flags: &str) -> Ran {
    let file = fake.home().join("web.yaml");
    fs::write(&file, "service: web\nscore: serve-web\non: '@web'\n").unwrap();
    fake.run(&format!("orc service apply {} --plan{flags}", file.display()))
}

/// Two instances for which there is no room.
pub(super) fn waiting() -> v1::Waiting {
    v1::Waiting {
        count: 2,
        zone: "east".to_owned(),
        players: 10,
        elsewhere: 4,
        full: 6,
        memory_bytes: 1 << 30,
        ..v1::Waiting::default()
    }
}

#[test]
fn a_plan_is_told_host_by_host_and_nothing_is_applied() {
    let fake = Fake::start();
    fake.tables().service_plan = v1::ServicePlan {
        versions: vec![version(6, Quantity::Count(1), &[]), version(7, Quantity::Percent(25), &[])],
        unchanged: false,
        taken_from: "services.d/web.yaml".to_owned(),
        superseded: 41,
        paused_by: "bob".to_owned(),
        steps: vec![
            step("start", "db9", 0, false),
            step("update", "db[1-3]", 6, false),
            step("update", "db4", 5, true),
            step("leave", "db10", 6, false),
            step("absent", "db5", 0, false),
            step("stranger", "db6", 0, false),
        ],
        waiting: vec![waiting()],
        other_score: "db[1,9]".to_owned(),
        prepare: "db[1-3]".to_owned(),
        absent: vec![v1::PlannedAbsence {
            hosts: "db5".to_owned(),
            replacing: Some((&Replacing::Never).into()),
        }],
    };
    plan(&fake, " --take-over").is(
        0,
        "web: version 7 would follow version 6\n\
         update.parallel: 1 → 25%\n\
         it would be taken over from services.d/web.yaml\n\
         flow 41, which changes it now, would be cancelled first\n\
         paused by bob: nothing would be done; to go on: orc service resume web\n\
         prepare  db[1-3] (3), before anything changes\n\
         start     db9 (1), no run is there\n\
         update    db[1-3] (3), from version 6\n\
         update    db4 (1), from version 5, first: not ready\n\
         leave     db10 (1), no longer wanted there\n\
         absent    db5 (1), when its player is back\n\
         stranger  db6 (1), left alone: orc service list --strangers\n\
         away: db5 (1), never replaced\n\
         2 of zone east wait for room: of 10 players 4 are of another zone or lack a label, 6 have \
         not 1GiB left\n\
         another score: db[1,9] (2): what is installed there is not what most of its hosts hold\n\
         in waves: 1 not ready, then 4, 1 at once, and 1 that leave\n",
        "nothing was done\n",
    );
    assert!(fake.tables().applied.is_empty());
    assert!(fake.tables().planned_services[0].take_over);
    let told = plan(&fake, " --json").json()["plan"].clone();
    assert_eq!((&told["before"], &told["after"]), (&json!(6), &json!(7)));
    assert_eq!(told["changed"], json!(["update.parallel"]));
    assert_eq!(told["other_score"], "db[1,9]");
    assert_eq!(told["prepare"], "db[1-3]");
    assert_eq!(
        told["steps"][2],
        json!({"step": "update", "hosts": "db4", "count": 1, "from": 5, "first": true})
    );
    assert_eq!(
        told["waiting"],
        json!([{"count": 2, "zone": "east", "players": 10, "elsewhere": 4, "taken": 0, "absent": 0,
                "drained": 0, "too_old": 0, "without_score": 0, "full": 6,
                "short_of_memory": 0, "short_of_cpu": 0,
                "memory_bytes": 1 << 30, "cpu_millicores": 0}])
    );
    let never = json!({"state": "never", "at": null, "waits": null, "by": null});
    assert_eq!(told["away"], json!([{"hosts": "db5", "count": 1, "replacing": never}]));
    assert_eq!(
        told["in_waves"],
        json!([
            {"wave": "not-ready", "count": 1, "at_once": 1, "bake_ms": null},
            {"wave": "others", "count": 4, "at_once": 1, "bake_ms": null},
            {"wave": "leave", "count": 1, "at_once": 1, "bake_ms": null},
        ])
    );
    plan(&fake, " --wait").fails(64, &["--wait"]);
}

#[test]
fn a_plan_tells_the_canary_and_how_long_the_others_wait() {
    let fake = Fake::start();
    let mut after = version(1, Quantity::Percent(25), &[]);
    let steps = vec![step("start", "db[1-9]", 0, false)];
    let rule = after.spec.as_mut().unwrap().update.as_mut().unwrap();
    rule.canary = Some(Quantity::Count(1).into());
    let new = v1::ServicePlan { versions: vec![after], steps, ..Default::default() };
    fake.tables().service_plan = new;
    let ran = plan(&fake, "");
    assert!(
        ran.stdout.ends_with("in waves: 1 as canary, until orc promote, then 8, 2 at once\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_plan_of_what_is_new_and_of_what_is_so_already() {
    let fake = Fake::start();
    let steps = vec![step("start", "db[1-3]", 0, false)];
    let versions = vec![version(1, Quantity::Count(1), &[])];
    let new = v1::ServicePlan { versions, steps, ..Default::default() };
    fake.tables().service_plan = new.clone();
    plan(&fake, "").is(
        0,
        "web: version 1 would be the first\nstart  db[1-3] (3), no run is there\n\
         in waves: 3, 1 at once\n",
        "nothing was done\n",
    );
    let steps = vec![step("keep", "db[1-3]", 1, false)];
    fake.tables().service_plan = v1::ServicePlan { unchanged: true, steps, ..new };
    plan(&fake, "").is(
        0,
        "web: nothing differs from version 1\nkeep  db[1-3] (3), as it is\n",
        "nothing was done\n",
    );
    let why = "service web belongs to services.d/web.yaml of the conductor";
    fake.tables().refusals = [tonic::Status::failed_precondition(why)].into();
    plan(&fake, "").fails(1, &["error: planning service web: service web belongs to services.d"]);
}

#[test]
fn strangers_are_listed_with_what_to_do() {
    let fake = Fake::start();
    fake.run("orc service list --strangers").is(0, "", "no strangers\n");
    let stranger = |n, is_known| {
        let report = instance(n).report.unwrap();
        Stranger { host: host(n), report, is_known }
    };
    fake.tables().strangers = vec![stranger(1, true), stranger(2, false)];
    fake.run("orc service list --strangers").is(
        0,
        "HOST                     INSTANCE                 VERSION STATE           SINCE\n\
         db1                      web/1                          7 ready           2025-11-21T08:00:00Z\n\
         db2                      web/2                          7 ready           2025-11-21T08:00:00Z (no such service)\n",
        "to take them over: orc service adopt NAME; to end them: orc service stop-stranger NAME\n",
    );
    let told = fake.run("orc service list --strangers --json").json()["strangers"].clone();
    assert_eq!(
        told[1],
        json!({"host": "db2", "service": "web", "known": false, "id": "web/2", "placement": 2,
               "version": 7, "state": "ready", "since": "2025-11-21T08:00:00Z", "run": 1})
    );
}
