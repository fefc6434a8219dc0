//! `orc brake`, and what other views tell of a brake.

use orchestra_model::{
    names::{HostName, LabelValue},
    service::{AbsenceBrake, FleetZones, Suspicion, UnitState, Unready, ZoneStatus},
    time::Timestamp,
};
use orchestra_proto::v1;
use serde_json::json;
use v1::change_service_request::Verb;

use super::{AT, alice, ready, unwell, with};
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
    let brake = json!({"on": "service/web", "service": "web", "suspicion": suspicion,
                       "absence": null});
    assert_eq!(told, json!([brake]));
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

/// Six of ten players of the east are away, and six of twelve of all.
fn disrupted() -> FleetZones {
    let brake = |of, released_by| Some(AbsenceBrake { at: AT, absent: 6, of, released_by });
    let zone = |zone: Option<&str>, players, attached, absent, brake| ZoneStatus {
        zone: zone.map(|zone| LabelValue::new(zone).unwrap()),
        players,
        attached,
        absent,
        brake,
    };
    FleetZones {
        zones: vec![
            zone(None, 1, 0, 0, None),
            zone(Some("east"), 10, 4, 6, brake(10, None)),
            zone(Some("west"), 8, 2, 6, brake(8, Some(alice()))),
        ],
        brake: brake(10, None),
    }
}

#[test]
fn zones_are_told_with_who_is_away_and_what_is_held_back() {
    let fake = Fake::start();
    fake.tables().zones = disrupted();
    fake.run("orc zones").is(
        0,
        "fleet: 6 of 10 players are away: no instance is replaced\n\
         ZONE                      PLAYERS ATTACHED   ABSENT  BRAKE\n\
         -                               1        0        0  -\n\
         east                           10        4        6  6 of 10 players are away\n\
         west                            8        2        6  released by alice\n",
        "",
    );
    let told = fake.run("orc zones --json").json()["zones"].clone();
    assert_eq!(
        told[1],
        json!({"zone": "east", "players": 10, "attached": 4, "absent": 6,
               "brake": {"since": "2025-11-21T08:00:00Z", "why": "6 of 10 players are away",
                         "absent": 6, "of": 10, "released_by": null}})
    );
    assert_eq!((&told[0]["zone"], &told[0]["brake"]), (&json!(null), &json!(null)));
    assert_eq!(told[2]["brake"]["released_by"], "alice");
}

#[test]
fn brakes_of_players_are_told_beside_those_of_services_and_released() {
    let fake = Fake::start();
    fake.tables().zones = disrupted();
    fake.tables().services = vec![suspicious()];
    fake.run("orc brake").is(
        0,
        "BRAKE                    SINCE                WHY\n\
         fleet                    2025-11-21T08:00:00Z 6 of 10 players are away: no instance is \
         replaced\n\
         zone/east                2025-11-21T08:00:00Z 6 of 10 players are away: its instances are \
         replaced one by one, 10s apart\n\
         service/web              2025-11-21T08:00:00Z 7 of 10 checks failed together: no unit is \
         restarted or withdrawn for its health\n",
        "",
    );
    let told = fake.run("orc brake --json").json()["brakes"].clone();
    assert_eq!((&told[1]["on"], &told[1]["absence"]["of"]), (&json!("zone/east"), &json!(10)));
    for on in ["fleet", "zone/east", "zone/"] {
        let released = format!("{on}: instances are replaced as usual\n");
        fake.run(&format!("orc brake release {on}")).is(0, &released, "");
    }
    let told = fake.run("orc brake release zone/west --json").json();
    assert_eq!(told["fleet_brake_released"], json!({"on": "zone/west"}));
    assert_eq!(fake.tables().released_brakes, ["fleet", "zone/east", "zone/", "zone/west"]);
    fake.run("orc brake release zone/a:b").fails(64, &["zone/a:b"]);
}
