//! Each answer in JSON: every verb that has `--json` gives one document, which is as the schema has it.

use std::{collections::BTreeSet, fs};

use audience_cli::orc::OrcArgs;
use clap::{Command, CommandFactory as _};
use orchestra_ca::new_publisher;
use orchestra_model::{
    AudienceName,
    state::{FlowState, JobState, TaskState},
};
use orchestra_proto::v1;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, Ran, ran},
    hostile::hostile,
    schema,
    values::{flow, numbered, running, told_status},
};

/// A line for each verb, in an order in which all of them are answered, in a directory with `site/`,
/// `web.yaml`, `shop.yaml` and the rest.
const LINES: &[&str] = &[
    "wait 41",
    "audit",
    "audit export",
    "audit head",
    "audit verify",
    "brake",
    "brake release web",
    "bundle publish site --name site --sign publisher/one.key --depot depot",
    "bundle list --depot depot",
    "bundle show site --entries --depot depot",
    "bundle sign site publisher/one.key --depot depot",
    "bundle verify --depot depot",
    "bundle unpack site new --depot depot",
    "bundle diff site@1 site@1 --depot depot",
    "bundle register site --depot depot",
    "bundle pin site --depot depot",
    "bundle unpin site --depot depot",
    "bundle gc --keep 1 --depot depot",
    "cancel 42",
    "conductor reload --allow-removal",
    "conductor status",
    "deployment check shop.yaml",
    "deployment list",
    "deployment show shop",
    "doctor",
    "drain db1 --reason disk",
    "undrain db1",
    "explain 42",
    "flows",
    "groups",
    "hostset db1",
    "import players",
    "ledger",
    "ledger release db1 --reason fine",
    "logs 42@db1",
    "pause 42",
    "resume 42",
    "promote 42",
    "places",
    "plan hello -w db1",
    "players",
    "players release db1 --reason fine",
    "policy check alice submit hello",
    "policy diff policy.toml",
    "policy list",
    "retry 42",
    "scores",
    "service adopt web",
    "service apply web.yaml",
    "service declare-dead web/1 --yes",
    "service diff web 6 7",
    "service endpoints web",
    "service history web",
    "service import portal.json --score run-portal",
    "service list",
    "service pause web",
    "service rebalance web",
    "service reload web",
    "service remove web --yes",
    "service restart web",
    "service resume web",
    "service revert web",
    "service scale web 3",
    "service show web",
    "service signal web HUP",
    "service start web",
    "service stop web --yes",
    "service stop-stranger web --yes",
    "service wait web",
    "top",
    "whoami",
    "zones",
];

/// What other tests have, because it wants a real store, a sandbox that runs, a bundle or a tree.
const ELSEWHERE: [&str; 4] = ["bundle where", "conductor recover", "sandbox ps", "tree"];

/// The verbs that answer in JSON, like `service show`.
fn verbs(command: &Command, before: &str, found: &mut BTreeSet<String>) {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("{before}{}", verb.get_name());
        let has_json = verb.get_arguments().any(|argument| argument.get_long() == Some("json"));
        if has_json && !verb.is_subcommand_required_set() {
            found.insert(name.clone());
        }
        verbs(verb, &format!("{name} "), found);
    }
}

#[test]
fn every_verb_answers_as_the_schema_has_it() {
    let mut left = BTreeSet::new();
    verbs(&OrcArgs::command(), "", &mut left);
    let fake = hostile();
    let plain = Fake::with(running(), Vec::new());
    let home = fake.home();
    fs::create_dir(home.join("site")).unwrap();
    fs::write(home.join("site/index.html"), "<h1>one</h1>").unwrap();
    for (name, text) in [
        ("players", "fe1\n"),
        ("shop.yaml", "shop: {apps: {web: fe1}, envs: {coast: {east: fe1}}}\n"),
        (
            "policy.toml",
            "[[rule]]\nname = \"root\"\nwho = [\"alice\"]\nmay = [\"admin\"]\nscores = [\"*\"]\n\
             services = [\"*\"]\nhosts = \"*\"\n",
        ),
        ("web.yaml", "service: web\nscore: serve\non: db1\n"),
        (
            "portal.json",
            "{\"deployment_layout\": {\"east\": {\"cpu\": 3, \"mem\": 500}}, \"task_configuration\": \
             {\"name\": \"portal\", \"command\": \"/opt/run\"}}",
        ),
    ] {
        fs::write(home.join(name), text).unwrap();
    }
    let ended = numbered(flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]), 41);
    fake.tables().watches = [vec![Ok(told_status(&ended))]].into();
    fake.add(ended, Vec::new());
    new_publisher(&home, &AudienceName::new("one").unwrap()).unwrap();
    let canonical = "shop: {apps: {web: fe1}, envs: {coast: {east: fe1}}, constraints: {coast: \
                     {concurrency: {web: 50%}}}}";
    fake.tables().deployments = vec![v1::Deployment {
        name: "shop".to_owned(),
        canonical: canonical.to_owned(),
        ..Default::default()
    }];
    let run = |line: &str| -> Ran {
        let words: Vec<&str> = line.split(' ').chain(["--json"]).collect();
        // Which flows it wants it reads out of their host sets, which are none there.
        let fake = if line == "flows" { &plain } else { &fake };
        ran(fake.command("orc", &words).current_dir(&home))
    };
    let mut wrong = Vec::new();
    for line in LINES {
        let verb = left.iter().filter(|verb| format!("{line} ").starts_with(&format!("{verb} ")));
        let verb = verb.max_by_key(|verb| verb.len()).cloned();
        left.remove(&verb.unwrap_or_default());
        let told = run(line);
        if ["audit export", "audit head"].contains(line) {
            // Lines for who keeps them elsewhere, each as in the answer of `audit`.
            let line: Value = serde_json::from_str(&told.stdout).unwrap();
            schema::check(&json!({"schema": 1, "audit": [line]}));
        } else {
            let is_error = !told.json()["error"].is_null();
            wrong.extend(is_error.then(|| format!("{line}: {}", told.stdout)));
        }
    }
    let none = run("sandbox ps --dir .");
    assert_eq!((none.code, &none.json()["error"]["kind"]), (1, &json!("broken")));
    left.retain(|verb| !ELSEWHERE.contains(&verb.as_str()));
    assert!(wrong.is_empty() && left.is_empty(), "{wrong:#?}\nnot tried: {left:?}");
}
