//! Why an instance is not where or as it is to be: `orc explain` of services, and `orc service show`.

use orchestra_model::{
    FlowState, HostName, JobState,
    ids::FlowId,
    service::{
        Hindered, InstanceAbsence, Obstacle, Replacing, ReplacingWait, ServiceStatus, UnitState,
        Unready, Waiting,
    },
};
use orchestra_proto::v1;
use serde_json::json;

use super::{AT, absent, hosts, unwell, with};
use crate::{fake::Fake, values};

/// Ten instances: db1 is away, db2 starts by itself, a flow is to come to db3 and db4, and no other
/// player has room for db5.
fn hindered() -> ServiceStatus {
    let mut away = absent(1);
    let at = orchestra_model::Timestamp(AT.0 + 60_000);
    away.absence = Some(InstanceAbsence { since: AT, replacing: Some(Replacing::At(at)) });
    let starting = unwell(2, UnitState::Starting, Unready::NotReady);
    let mut status = with(10, vec![away, starting]);
    let room = Waiting {
        count: 1,
        players: 12,
        taken: 10,
        full: 2,
        short_of_memory: 2,
        need: orchestra_model::service::Need { memory: "1GiB".parse().unwrap(), cpu: 0 },
        ..Waiting::default()
    };
    let one = |of: std::ops::RangeInclusive<u32>, by| Hindered { hosts: hosts(of), by };
    status.hindered = vec![
        one(1..=1, Obstacle::Absent),
        one(5..=5, Obstacle::Room(Box::new(room))),
        one(3..=4, Obstacle::Flow(FlowId(42))),
        one(2..=2, Obstacle::Itself),
    ];
    status
}

fn explanation(hosts: &str, text: &str) -> v1::Explanation {
    v1::Explanation {
        job: None,
        hosts: hosts.to_owned(),
        count: 0,
        reason: "cell".to_owned(),
        dead: false,
        text: text.to_owned(),
        given_up_at_ms: 0,
    }
}

#[test]
fn an_instance_is_explained_down_to_the_cell_that_its_flow_waits_for() {
    let fake = Fake::with(values::flow(FlowState::Running, JobState::Running, &[]), Vec::new());
    let mut tables = fake.tables();
    tables.services = vec![hindered()];
    tables.explained.explanations = vec![
        explanation("db[3,7]", "service/web is full: db1 holds it"),
        explanation("db9", "nothing of these"),
    ];
    drop(tables);
    let first = "web version 7: degraded, ready on 8 of 10\n";
    let away = "  db1 (1): not attached since 2025-11-21T08:00:00Z, replaced at \
                2025-11-21T08:01:00Z unless it is back\n";
    let room = "  db5 (1): it is to leave, and no other player has room: of 12 players 10 have an \
                instance, 2 have not 1GiB left\n";
    let cell = "service/web is full: db1 holds it\n";
    let flow = "  db[3-4] (2): flow 42 is to change it\n";
    let itself = "  db2 (1): its player goes on with it by itself\n";
    let all = format!("{first}{away}{room}{flow}    db3 (1): {cell}{itself}");
    fake.run("orc explain web").is(0, all.as_str(), "");
    let one = format!("{first}  db3 (1): flow 42 is to change it\n    {cell}");
    fake.run("orc explain web/3").is(0, one.as_str(), "");
    assert_eq!(fake.tables().explains.last().unwrap().host, "db3", "its flow is asked of it alone");
    fake.run("orc explain web@db1").is(0, format!("{first}{away}").as_str(), "");
    let well = "nothing of it is in another place or state than it is to be\n";
    fake.run("orc explain web@db8").is(0, first, well);
    fake.tables().services[0].uncleaned = hosts(11..=12);
    let left = format!("{first}  db[11-12] (2): not cleaned up yet\n");
    let told = fake.run("orc explain web").stdout;
    assert!(told.starts_with(&left), "{told}");
    fake.run("orc explain web@db77")
        .fails(8, &["service web: it has none like that", "hint: orc service show web"]);
    fake.run("orc explain web/x").fails(64, &["one instance is named by its number, or its host"]);
    fake.run("orc explain other").fails(8, &["there is no service other"]);
    let told = fake.run("orc explain web --json").json()["service_explained"].clone();
    assert_eq!((&told["name"], &told["state"]), (&json!("web"), &json!("degraded")));
    assert_eq!(told["hindered"][1]["room"]["short_of_memory"], 2);
    assert_eq!(told["hindered"][2]["explanations"][0]["hosts"], "db3");
    assert_eq!(
        told["hindered"][3],
        json!({"hosts": "db2", "count": 1, "by": "itself", "waits": null, "room": null,
               "text": "its player goes on with it by itself", "flow": null, "successor": null,
               "predecessor": null, "explanations": null})
    );
}

#[test]
fn a_service_shows_what_no_other_line_tells() {
    let fake = Fake::start();
    let mut status = hindered();
    status.record.events.clear();
    fake.tables().services = vec![status];
    fake.run("orc service show web").is(
        0,
        "web version 7: degraded, ready on 8 of 10 hosts\n\
         db5 (1): it is to leave, and no other player has room: of 12 players 10 have an instance, 2 \
         have not 1GiB left\n\
         db[3-4] (2): flow 42 is to change it (orc explain web)\n\
         goal: running, stable: version 7\n\
         score: serve-web, owner: alice\n\
         hosts: db[1-10] (10)\n\
         instances: 10\n  \
           db1 web/1 untold, not attached since 2025-11-21T08:00:00Z, replaced at \
         2025-11-21T08:01:00Z unless it is back\n  \
           db2 web/2 starting, version 7, since 2025-11-21T08:00:00Z, run 12, restarts 11, last \
         end: exited 3\n  \
           db[3-10] (8) ready, version 7, since 2025-11-21T08:00:00Z, run 1\n",
        "",
    );
    let told = fake.run("orc service show web --json").json()["service"]["hindered"].clone();
    assert_eq!(told[2]["explanations"], json!(null), "nobody has asked the flow");
}

#[test]
fn each_obstacle_is_told_in_words_of_its_own() {
    let fake = Fake::start();
    let mut said = std::collections::BTreeSet::new();
    for by in [
        Obstacle::Replacing(ReplacingWait::FleetDisrupted),
        Obstacle::Starting,
        Obstacle::Drained,
        Obstacle::TooOld,
        Obstacle::Stranger,
        Obstacle::Linked,
        Obstacle::Successor(HostName::new("db2").unwrap()),
        Obstacle::Predecessor(HostName::new("db2").unwrap()),
        Obstacle::GivenUp,
        Obstacle::Paused,
        Obstacle::NoFlow,
        Obstacle::Suspicious,
        Obstacle::Flapping,
        Obstacle::Unhealthy,
        Obstacle::GaveUp,
        Obstacle::Misfit(orchestra_model::Millis(20_000)),
        Obstacle::Lease,
    ] {
        let mut status = with(10, vec![]);
        status.hindered = vec![Hindered { hosts: hosts(3..=3), by }];
        fake.tables().services = vec![status];
        let told = fake.run("orc explain web --json").json()["service_explained"].clone();
        let text = told["hindered"][0]["text"].as_str().unwrap().to_owned();
        assert!(said.insert(text.clone()), "{text}");
    }
}
