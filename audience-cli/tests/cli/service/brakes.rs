//! `orc brake`, and what other views tell of a brake.

use orchestra_model::{
    names::HostName,
    service::{Suspicion, UnitState, Unready},
    time::Timestamp,
};
use orchestra_proto::v1;
use serde_json::json;
use v1::change_service_request::Verb;

use super::{AT, ready, unwell, with};
use crate::fake::Fake;

/// Seven of ten turned unhealthy together.
fn suspicious() -> orchestra_model::service::ServiceStatus {
    let unhealthy = |n| unwell(n, UnitState::Unhealthy, Unready::NotReady);
    let mut status = with(10, (1..=7).map(unhealthy).collect());
    let tried = Some((HostName::new("db1").unwrap(), Timestamp(AT.0 + 300_000)));
    status.record.judged.suspicion = Some(Suspicion { at: AT, failed: 7, of: 10, tried });
    status
}

#[test]
fn what_is_braked_is_told_everywhere() {
    let fake = Fake::start();
    fake.run("orc brake").is(0, "", "no brake is engaged\n");
    fake.tables().services = vec![ready(3), suspicious()];
    fake.run("orc brake").is(
        0,
        "BRAKE                    SINCE                WHY\n\
         service/web              2025-11-21T08:00:00Z 7 of 10 checks failed together: no unit is \
         restarted or withdrawn for its health\n",
        "",
    );
    let told = fake.run("orc brake --json").json()["brakes"].clone();
    let suspicion = json!({"since": "2025-11-21T08:00:00Z", "why": "7 of 10 checks failed together",
                           "failed": 7, "of": 10, "tried": "db1",
                           "tried_at": "2025-11-21T08:05:00Z"});
    assert_eq!(told, json!([{"on": "service/web", "service": "web", "suspicion": suspicion}]));
    fake.tables().services.remove(0);
    let listed = fake.run("orc service list --unhealthy --json").json()["services"].clone();
    assert_eq!((&listed[0]["state"], &listed[0]["suspicion"]), (&json!("suspicious"), &suspicion));
    let shown = fake.run("orc service show web");
    assert!(
        shown.stdout.starts_with(
            "web version 7: suspicious, ready on 3 of 10 hosts\n\
             suspicious: 7 of 10 checks failed together: no unit is restarted or withdrawn for its \
             health; to believe them: orc brake release web\n\
             restarted to find out whether that helps: db1, 2025-11-21T08:05:00Z\n"
        ),
        "{}",
        shown.stdout
    );
}

#[test]
fn a_brake_is_released() {
    let fake = Fake::start();
    fake.tables().service_changed =
        v1::ServiceChanged { name: "web".to_owned(), version: 7, flow: 42, ..Default::default() };
    fake.run("orc brake release web").is(
        0,
        "brake released web version 7, flow 42\n",
        "to follow it: orc wait 42\n",
    );
    let asked = fake.tables().service_changes.clone();
    assert_eq!(asked[0].verb, Some(Verb::ReleaseBrake(v1::Empty {})));
}
