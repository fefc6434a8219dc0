//! The ledger, and the deployments in force.

use orchestra_model::{
    deployment::{AppCell, CellKey},
    ids::FlowId,
    ledger::{CellStatus, Holder},
    names::{AppName, DeploymentName, EnvType, EnvValue, HostName, ServiceName},
    service::{Unready, UnwellUnit},
    state::TaskState,
    time::Timestamp,
};
use orchestra_proto::v1;
use serde_json::json;

use crate::{
    fake::{Fake, ran},
    values::JOB,
};

fn cell(app: &str, limit: Option<u32>, holders: Vec<Holder>) -> CellStatus {
    CellStatus {
        key: CellKey::App(AppCell {
            deployment: DeploymentName::new("shop").unwrap(),
            env_type: EnvType::new("cluster").unwrap(),
            env_value: EnvValue::new("east").unwrap(),
            app: AppName::new(app).unwrap(),
        }),
        hosts: 6,
        limit,
        holders,
        waiting: Default::default(),
    }
}

fn holder(host: &str, down: Option<TaskState>, seconds: u64) -> Holder {
    Holder {
        host: HostName::new(host).unwrap(),
        jobs: vec![JOB],
        since: Timestamp(1_763_712_000_000 + seconds * 1_000),
        down,
        units: Vec::new(),
        absence: None,
    }
}

#[test]
fn cells_are_shown_with_who_holds_them_and_who_waits() {
    let fake = Fake::start();
    fake.run("orc ledger").is(0, "", "no cell is held or waited for\n");
    fake.run("orc ledger --all").is(0, "", "no cells: no deployment limits anything\n");
    let failed = Some(TaskState::Failed);
    let held = vec![holder("fe2", failed, 9), holder("fe1", failed, 5), holder("fe3", None, 60)];
    let mut frontend = cell("frontend", Some(3), held);
    frontend.waiting = [(FlowId(42), 2), (FlowId(43), 1)].into();
    let over = vec![holder("db1", None, 0), holder("db2", None, 0)];
    fake.tables().cells =
        vec![frontend, cell("db", Some(1), over), cell("cache", None, Vec::new())];
    let hint = "a host that is down holds its cells until a disruptive task succeeds there, or: \
                orc ledger release HOSTS --reason WHY\n";
    let busy = "\
frontend in cluster east of shop: 3 of 3 held (6 hosts)
  fe3 (1) busy in 42.1.1, since 2025-11-21T08:01:00Z
  fe[1-2] (2) failed in 42.1.1, since 2025-11-21T08:00:05Z
  waiting: 2 of flow 42, 1 of flow 43
db in cluster east of shop: 2 of 1 held (6 hosts)
  db[1-2] (2) busy in 42.1.1, since 2025-11-21T08:00:00Z
";
    fake.run("orc ledger").is(0, busy, hint);
    let all = format!("{busy}cache in cluster east of shop: 0 busy, no limit (6 hosts)\n");
    fake.run("orc ledger --all --deployment shop").is(0, &all, hint);
    fake.run("orc ledger --deployment other").is(0, "", "no cell is held or waited for\n");
    let cells = fake.run("orc ledger --json").json()["cells"].clone();
    assert_eq!(cells.as_array().unwrap().len(), 2);
    assert_eq!((&cells[0]["app"], &cells[0]["limit"]), (&json!("frontend"), &json!(3)));
    assert_eq!(cells[0]["waiting"], json!({"42": 2, "43": 1}));
    assert_eq!(
        cells[0]["holders"][0],
        json!({"host": "fe2", "jobs": ["42.1.1"], "since": "2025-11-21T08:00:09Z",
               "down": "failed", "units": [], "absent": null})
    );
    assert_eq!(cells[0]["holders"][2]["down"], json!(null));
}

#[test]
fn a_cell_of_a_service_tells_its_name_and_which_units_are_not_well() {
    let fake = Fake::start();
    let unwell = |service: &str, unready| UnwellUnit {
        service: ServiceName::new(service).unwrap(),
        unready,
    };
    let alone = |host, units| Holder { jobs: Vec::new(), units, ..holder(host, None, 0) };
    let held = vec![
        alone("db3", vec![unwell("web", Unready::NotReady)]),
        Holder {
            units: vec![unwell("web", Unready::Untold)],
            ..holder("db4", Some(TaskState::Failed), 0)
        },
        alone("db5", vec![unwell("cache", Unready::GaveUp), unwell("web", Unready::NotReady)]),
    ];
    let key = CellKey::Service(ServiceName::new("web").unwrap());
    fake.tables().cells = vec![CellStatus { key, ..cell("web", Some(1), held) }];
    fake.run("orc ledger").is(
        0,
        "\
service/web: 3 of 1 held (6 hosts)
  db5 (1) cache gave up, web is not ready, since 2025-11-21T08:00:00Z
  db3 (1) web is not ready, since 2025-11-21T08:00:00Z
  db4 (1) failed in 42.1.1, web is not heard of, since 2025-11-21T08:00:00Z
",
        "a host that is down holds its cells until a disruptive task succeeds there, or: orc ledger \
         release HOSTS --reason WHY\n",
    );
    let cells = fake.run("orc ledger --json").json()["cells"].clone();
    assert_eq!((&cells[0]["service"], &cells[0]["app"]), (&json!("web"), &json!(null)));
    assert_eq!(
        cells[0]["holders"][2]["units"],
        json!([
            {"service": "cache", "unready": "gave-up"},
            {"service": "web", "unready": "not-ready"},
        ])
    );
}

#[test]
fn holds_are_released_with_a_reason() {
    let fake = Fake::start();
    let words = ["ledger", "release", "fe[1-2]", "--reason", "mended by hand"];
    ran(&mut fake.command("orc", &words)).is(0, "released fe[1-2] (1)\n", "");
    assert_eq!(fake.tables().reasons, ["mended by hand"]);
    fake.run("orc ledger release fe1 --reason x --json").is(
        0,
        "{\"schema\":1,\"released\":{\"hosts\":\"fe1\",\"count\":1}}\n",
        "",
    );
    fake.run("orc ledger release fe9 --reason x").is(
        0,
        "",
        "nothing changed: none of them counts as down\n",
    );
    fake.run("orc ledger release fe1").fails(64, &["--reason"]);
}

#[test]
fn deployments_in_force_are_listed_and_shown() {
    let fake = Fake::start();
    fake.run("orc deployment list").is(0, "", "no deployments\n");
    let canonical = "shop:\n  apps:\n    web: fe[1-4]\n  envs:\n    cluster:\n      east: fe[1-4]\n  \
                     constraints:\n    cluster:\n      concurrency:\n        web: 50%\n";
    fake.tables().deployments = vec![v1::Deployment {
        name: "shop".to_owned(),
        apps: 1,
        envs: 1,
        cells: 1,
        hosts: 4,
        canonical: canonical.to_owned(),
    }];
    fake.run("orc deployment list").is(
        0,
        " APPS  ENVS CELLS   HOSTS NAME\n    1     1     1       4 shop\n",
        "",
    );
    fake.run("orc deployment list --json").is(
        0,
        "{\"schema\":1,\"deployments\":[{\"name\":\"shop\",\"app_count\":1,\"env_count\":1,\
         \"cell_count\":1,\"host_count\":4}]}\n",
        "",
    );
    fake.run("orc deployment show shop").is(0, canonical, "");
    let shown = fake.run("orc deployment show shop --json").json()["deployments"][0].clone();
    assert_eq!(shown["apps"], json!({"web": "fe[1-4]"}));
    assert_eq!((&shown["cells"][0]["limit"], &shown["unthrottled"]), (&json!(2), &json!(null)));
    fake.run("orc deployment show other").fails(8, &["there is none", "hint: orc deployment list"]);
    fake.run("orc deployment show ../x").fails(64, &["deployment name"]);
}
