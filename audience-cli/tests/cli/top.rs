//! `orc top`.

use orchestra_model::{
    HostName,
    time::Millis,
    vitals::{HighestShares, HostUsage, HostVitals, Permille},
};
use serde_json::json;

use crate::{fake::Fake, service::usage};

fn host(n: u32, units: &[u32]) -> HostUsage {
    HostUsage {
        host: HostName::new(&format!("db{n}")).unwrap(),
        attached: true,
        age: Some(Millis(4_000)),
        now: HostVitals { cpu: Some(Permille(125)), cores: Some(2), ..HostVitals::default() },
        highest: HighestShares::default(),
        highest_of_day: HighestShares::default(),
        units: units.iter().map(|cpu| usage(n, *cpu)).collect(),
    }
}

#[test]
fn units_that_use_most_come_first_once_where_nobody_looks_on() {
    let fake = Fake::start();
    fake.tables().vitals = vec![host(1, &[100]), host(2, &[250])];
    fake.run("orc top db[1-2] --limit 1").is(
        0,
        "INSTANCE                 HOST                     CPU HIGHEST    MEMORY      PEAK     LIMIT PROCS\n\
         web/2                    db2                     0.25     0.5   30.0MiB   40.0MiB   64.0MiB     3\n",
        "1 of 2 units (--limit 0 tells all); 2 of 2 players are attached\n",
    );
    let units = fake.run("orc top --json").json()["units"].clone();
    assert_eq!(units.as_array().unwrap().len(), 2);
    assert_eq!((&units[0]["id"], &units[0]["host"]), (&json!("web/2"), &json!("db2")));
    assert_eq!((&units[0]["cpu_millicores"], &units[0]["attached"]), (&json!(250), &json!(true)));
    let asked: Vec<_> = fake.tables().vitals_asked.drain(..).collect();
    assert_eq!((&*asked[0].hosts, asked[0].units), ("db[1-2]", true));
    assert_eq!((&*asked[1].hosts, asked[1].units), ("", true));
    fake.run("orc top --service other").is(
        0,
        "",
        "no unit has told what it uses; 2 of 2 players are attached\n",
    );
}

#[test]
fn players_are_told_without_their_units() {
    let fake = Fake::start();
    fake.tables().vitals = vec![HostUsage { age: None, ..host(1, &[]) }, host(2, &[])];
    let ran = fake.run("orc top --players");
    assert!(ran.stdout.contains("\ndb2 ") && !ran.stdout.contains("db1"), "{ran:?}");
    assert_eq!(
        ran.stderr,
        "2 of 2 players are attached, 1 of them has told nothing of itself yet\n"
    );
    assert!(!fake.tables().vitals_asked[0].units);
    let players = fake.run("orc top --players --json").json()["players"].clone();
    assert_eq!((&players[0]["host"], &players[0]["cpu_permille"]), (&json!("db1"), &json!(125)));
    assert_eq!((&players[0]["age_ms"], &players[0]["memory"]), (&json!(null), &json!(null)));
    assert_eq!(fake.run("orc top --players --service web").code, 64);
}
