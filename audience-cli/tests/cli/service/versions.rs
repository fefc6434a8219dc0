//! `orc service history`, `diff`, and `show --spec`.

use orchestra_model::Quantity::{Count, Percent};
use serde_json::json;

use super::{ready, version};
use crate::fake::Fake;

fn fake() -> Fake {
    let fake = Fake::start();
    fake.tables().services = vec![ready(3)];
    let mut failed = version(6, Count(2), &["port"]);
    failed.reverted = true;
    fake.tables().versions = vec![version(5, Count(1), &[]), failed, version(7, Percent(25), &[])];
    fake
}

#[test]
fn versions_are_listed_with_what_each_changed() {
    let fake = fake();
    fake.run("orc service history web").is(
        0,
        "    5 2025-11-21T08:00:00Z alice\n    \
             6 2025-11-21T08:00:00Z alice, reverted: params.port, update.parallel\n    \
             7 2025-11-21T08:00:00Z alice, wanted, stable: update.parallel\n",
        "",
    );
    let versions = fake.run("orc service history web --json").json()["versions"].clone();
    assert_eq!(
        versions[1],
        json!({"version": 6, "by": "alice", "at": "2025-11-21T08:00:00Z", "wanted": false,
               "stable": false, "reverted": true, "changed": ["params.port", "update.parallel"]})
    );
    fake.run("orc service history other").fails(8, &["there is no service other"]);
}

#[test]
fn two_versions_differ_field_by_field() {
    let fake = fake();
    let said = "params.port: changed, its value is not told\nupdate.parallel: 1 → 2\n";
    fake.run("orc service diff web 5 6").is(0, said, "");
    // The value may have changed in between; what is wanted is the default.
    let said = "params.port: changed, its value is not told\nupdate.parallel: 1 → 25%\n";
    fake.run("orc service diff web 5").is(0, said, "");
    fake.run("orc service diff web 7 6").is(0, "update.parallel: 25% → 2\n", "");
    fake.run("orc service diff web 7").is(0, "", "versions 7 and 7 do not differ\n");
    assert_eq!(
        fake.run("orc service diff web 6 7 --json").json()["diff"],
        json!({"from": 6, "to": 7, "fields": [
            {"field": "update.parallel", "how": "changed", "before": "2", "after": "25%"}]})
    );
    fake.run("orc service diff web 4 7")
        .fails(8, &["version 4 of service web: it is not kept", "orc service history web"]);
}

#[test]
fn a_spec_is_a_file_without_its_secrets() {
    let fake = fake();
    let ran = fake.run("orc service show web --spec");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("service: web\nscore: serve-web\nparams:\n  port: null\n"));
    assert!(ran.stdout.contains("update:\n  parallel: 25%\n"), "{ran:?}");
    assert_eq!(ran.stderr, "the values of parameters are not told\n");
    let spec = fake.run("orc service show web --spec --json").json()["spec"].clone();
    assert_eq!((&spec["params"], &spec["on"]), (&json!({"port": null}), &json!("@web")));
    assert_eq!(spec["restart"]["attempts"], "unlimited");
}
