//! What would happen, and who has what: `plan`, `--if-plan`, the refusals before anything is
//! stored, and `scores --drift`.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Fleet, eventually, set_mode};

/// Backends before frontends, one and two at a time.
const SHOP: &str = "\
shop:
  apps: {backend: 'be[1-2]', frontend: 'fe[1-4]'}
  envs: {cluster: {east: 'be[1-2],fe[1-4]'}}
  constraints:
    cluster:
      concurrency: {backend: 1, frontend: 50%}
      sequence: [[backend, frontend]]
";

fn roll() -> Value {
    json!({"slots": [{"jobs": [
        {"name": "back", "score": "gate", "targets": "@backend"},
        {"name": "front", "score": "gate", "targets": "@frontend"},
    ]}]})
}

#[test]
fn a_plan_shows_the_waves_and_is_a_condition_to_submit_by() {
    let fleet = Fleet::new("be[1-2],fe[1-4],lone").deployment(SHOP).start();
    let file = fleet.flow_file(&roll());
    let plan = || fleet.orc(&["plan", "--flow", &file]).exits(0);
    let shown = plan();
    let places: Vec<Option<usize>> =
        ["be1", "be2", "fe[1-2]", "fe[3-4]"].iter().map(|hosts| shown.out.find(hosts)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{shown}");
    fleet.submitjob(&["--flow", &file, "--plan"]).exits(0).says(&shown.out);
    let document = fleet.orc(&["plan", "--flow", &file, "--json"]).exits(0).json();
    assert_eq!(document["plan"]["waves"].as_array().unwrap().len(), 4, "{document}");
    // Hosts in no app are held back by nothing, which is worth a word.
    fleet.orc(&["plan", "gate", "-w", "lone"]).exits(0).says("lone");
    // Nothing was stored.
    let flows = fleet.orc(&["flows", "--json"]).exits(0).json();
    assert_eq!(flows["flows"], json!([]));

    let digest =
        || fleet.orc(&["plan", "--flow", &file, "--digest"]).exits(0).out.trim().to_owned();
    let before = digest();
    assert_eq!(document["plan"]["digest"], before.as_str());
    // Players that come and go do not count.
    fleet.player("fe4").sitter.kill();
    fleet.wait_detached("fe4");
    assert_eq!(digest(), before);
    plan().says("fe4");
    fleet.player("fe4").sitter.start();
    fleet.wait_attached(&["fe4"]);
    // Limits do.
    fleet.write_deployment(&SHOP.replace("50%", "1"));
    fleet.orc(&["conductor", "reload"]).exits(0);
    assert_ne!(digest(), before);
    let refused = fleet.submitjob(&["--flow", &file, "--if-plan", &before]);
    assert_ne!(refused.code(), Some(0), "{refused}");
    fleet.write_deployment(SHOP);
    fleet.orc(&["conductor", "reload"]).exits(0);
    let flow = fleet.submitjob(&["--flow", &file, "--if-plan", &before]).exits(0).id();

    // What a later plan would wait for: whoever holds it now.
    eventually("be1 to run", || fleet.record.busy().contains("be1").then_some(()));
    plan().says("be1").says(&flow.to_string());
    let explained = fleet.orc(&["explain", &format!("{flow}@be2")]).exits(0);
    let sentence = explained.out.clone();
    for part in ["be1", "backend", "east", "1"] {
        assert!(sentence.contains(part), "no {part:?} in {sentence}");
    }
    fleet.orc(&["explain", &format!("{flow}@fe1")]).exits(0).says("be[1-2]");
    fleet.go("be[1-2],fe[1-4]");
    fleet.wait_flow(flow).exits(0);
}

#[test]
fn what_no_target_could_accept_is_refused_before_it_is_stored() {
    let fleet = Fleet::new("p[1-2]").players_off().start();
    fleet.score("strict", "#!/bin/sh\n", "[params.count]\ntype = \"integer\"\n");
    fleet.start_players();
    for (arguments, told) in [
        (["wrok", "-w", "@all"], "wrok"),
        (["strict", "cuont=1", "--all-of=@all"], "cuont"),
        (["strict", "count=many", "--all-of=@all"], "count"),
    ] {
        let refused = fleet.submitjob(&arguments).complains(told);
        assert!(![Some(0), Some(1)].contains(&refused.code()), "{refused}");
    }
    let flows = fleet.orc(&["flows", "--json"]).exits(0).json();
    assert_eq!(flows["flows"], json!([]));
}

#[test]
fn scores_that_differ_from_host_to_host_are_seen() {
    let fleet = Fleet::new("p[1-3]").players_off().start();
    let scores = fleet.dir().join("old-scores");
    fs::create_dir(&scores).unwrap();
    for (name, text) in [("hello", "#!/bin/sh\necho hello of old\n"), ("work", WORK)] {
        fs::write(scores.join(name), text).unwrap();
        set_mode(&scores.join(name), 0o755);
    }
    set_mode(&scores, 0o755);
    fleet.player("p3").set("scores_dir", &format!("{scores:?}"));
    fleet.start_players();
    let drift = fleet.orc(&["scores", "--drift"]).exits(0).says("hello").says("p[1-2]").says("p3");
    // What is alike everywhere is no drift; what is missing somewhere is.
    assert!(!drift.out.contains("work"), "{drift}");
    drift.says("chatter");
    let same = ["hello", "-w", "@all", "--require-same-score"];
    let refused = fleet.submitjob(&same).complains("p3");
    assert_ne!(refused.code(), Some(0));
    // Without the condition it runs, and somebody is told.
    fleet.submitjob(&["hello", "-w", "@all", "--wait"]).exits(0).complains("p3");
    fleet.submitjob(&["hello", "-w", "p[1-2]", "--require-same-score", "--wait"]).exits(0);
    fleet.submitjob(&["chatter", "-w", "@all"]).exits(0).complains("p3");
}

const WORK: &str = include_str!("scores/work");
