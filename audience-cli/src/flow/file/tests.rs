use std::collections::BTreeMap;

use orchestra_client::Exit;
use orchestra_model::{
    flow::{JobSpec, OnDoomed, Scope, SequenceOnFailure, Stragglers},
    names::JobName,
    quantity::Quantity,
    time::Millis,
    tree::{Advance, Orphans, TreeSpec},
};

use super::*;
use crate::error::Render as _;

const YAML: &str = "\
name: deploy-42
slots:
  - jobs:
      - {name: pkg1, score: install-package, params: {package: pkg1}, targets: 'db[1-10]', success: 80%}
      - {name: pkg2, score: install-package, params: {package: pkg2, n: 5, dry: true}, targets: [api1, 'api[2-6]']}
  - jobs:
      - name: web
        score: restart-apache
        targets: fe[1-100]
        scope: one
        parallel: 50%
        timeout: 10m
        give_up_after: 1h30m
        stragglers: wait
        lost_after: 1d
        retries: 2
        retry_delay: 30s
  - jobs:
      - {name: rest, score: restart-apache, targets: 'fe[101-200]', max_failures: 3, quorum: 80%, canary: 2, bake: 5m, on_doomed: cancel, sequence_on_failure: continue, unthrottled: true}
";

const JSON: &str = r#"{
  "name": "deploy-42",
  "slots": [
    {"jobs": [
      {"name": "pkg1", "score": "install-package", "params": {"package": "pkg1"},
       "targets": "db[1-10]", "success": "80%"},
      {"name": "pkg2", "score": "install-package",
       "params": {"package": "pkg2", "n": 5, "dry": true}, "targets": ["api1", "api[2-6]"]}
    ]},
    {"jobs": [
      {"name": "web", "score": "restart-apache", "targets": "fe[1-100]", "scope": "one",
       "parallel": "50%", "timeout": "10m", "give_up_after": "1h30m",
       "stragglers": "wait", "lost_after": "1d", "retries": 2, "retry_delay": "30s"}
    ]},
    {"jobs": [
      {"name": "rest", "score": "restart-apache", "targets": "fe[101-200]", "max_failures": 3, "quorum": "80%",
       "canary": 2, "bake": "5m", "on_doomed": "cancel", "sequence_on_failure": "continue",
       "unthrottled": true}
    ]}
  ]
}"#;

const TOML: &str = r#"
name = "deploy-42"
[[slots]]
[[slots.jobs]]
name = "pkg1"
score = "install-package"
params = {package = "pkg1"}
targets = "db[1-10]"
success = "80%"
[[slots.jobs]]
name = "pkg2"
score = "install-package"
targets = ["api1", "api[2-6]"]
params.package = "pkg2"
params.n = 5
params.dry = true
[[slots]]
[[slots.jobs]]
name = "web"
score = "restart-apache"
targets = "fe[1-100]"
scope = "one"
parallel = "50%"
timeout = "10m"
give_up_after = "1h30m"
stragglers = "wait"
lost_after = "1d"
retries = 2
retry_delay = "30s"
[[slots]]
[[slots.jobs]]
name = "rest"
score = "restart-apache"
targets = "fe[101-200]"
max_failures = 3
quorum = "80%"
canary = 2
bake = "5m"
on_doomed = "cancel"
sequence_on_failure = "continue"
unthrottled = true
"#;

fn read_with(text: &str, format: Format, overrides: &Overrides) -> Result<FlowToSubmit, Failure> {
    read(text, format, "the flow file x", overrides)
}

fn yaml(text: &str) -> Result<FlowToSubmit, Failure> {
    read_with(text, Format::Yaml, &Overrides::default())
}

fn jobs(submission: &FlowToSubmit) -> Vec<&JobSpec> {
    submission.spec.slots.iter().flat_map(|slot| &slot.jobs).collect()
}

#[test]
fn the_three_formats_are_one_schema() {
    let read = |(format, text)| read_with(text, format, &Overrides::default()).unwrap();
    let all = [(Format::Yaml, YAML), (Format::Json, JSON), (Format::Toml, TOML)].map(read);
    let submission = &all[0];
    for other in &all {
        assert_eq!(other.spec, submission.spec);
        assert_eq!(other.params, submission.params);
    }
    assert_eq!(submission.spec.name.as_ref().unwrap().as_str(), "deploy-42");
    let jobs = jobs(submission);
    assert_eq!(jobs[0].success, Some(Quantity::Percent(80)));
    assert_eq!(jobs[1].targets, "api1,api[2-6]");
    let web = jobs[2];
    assert_eq!((web.scope, web.stragglers, web.retries), (Scope::One, Stragglers::Wait, 2));
    assert_eq!((web.parallel, web.success), (Quantity::Percent(50), None));
    assert_eq!(web.timeout, Some(Millis::minutes(10)));
    assert_eq!(web.give_up_after, Some(Millis::minutes(90)));
    assert_eq!(web.lost_after, Some(Millis(86_400_000)));
    assert_eq!(web.retry_delay, Millis::seconds(30));
    let rest = jobs[3];
    assert_eq!(rest.max_failures, Some(Quantity::Count(3)));
    assert_eq!((rest.quorum, rest.canary), (Quantity::Percent(80), Some(Quantity::Count(2))));
    assert_eq!((rest.bake, rest.on_doomed), (Some(Millis::minutes(5)), OnDoomed::Cancel));
    assert_eq!(rest.sequence_on_failure, SequenceOnFailure::Continue);
    assert!(rest.unthrottled && !web.unthrottled);
    let (slot, job, params) = &submission.params[1];
    assert_eq!((*slot, *job), (1, 2));
    assert_eq!((params.get("n"), params.get("dry")), (Some("5"), Some("true")));
    assert_eq!(submission.params.len(), 2);
}

#[test]
fn samples_are_sound() {
    for text in [
        include_str!("../../../../demo/roadrunner.yaml"),
        include_str!("../../../../demo/shop.yaml"),
    ] {
        yaml(text).unwrap();
    }
}

#[test]
fn unnamed_jobs_are_named_after_their_score() {
    let submission = yaml(
        "slots:\n\
         - jobs: [{score: a, targets: x}, {score: a, targets: x}, {score: b, targets: x}]\n\
         - jobs: [{score: a, targets: x}, {name: a-2, score: c, targets: x}]\n",
    )
    .unwrap();
    let names: Vec<&str> = jobs(&submission).iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["a", "a-3", "b", "a-4", "a-2"]);
}

#[test]
fn every_problem_is_told_with_its_place() {
    let failure = yaml(
        "nmae: x\n\
         slots:\n\
         - slot_id: 1\n\
         \x20 jobs:\n\
         \x20 - {score: ../x, targets: 'a[', paralell: 5, quorum: 80, unconstrained: true}\n\
         \x20 - {cmd: rm, hosts: [a], success_constraint: 80%, job_id: 5}\n\
         - jobs:\n\
         \x20 - {score: a, targets: x, timeout: 5, scope: some, stragglers: never, retries: -1}\n\
         \x20 - {score: b, targets: [x, 'y&z'], params: {1x: a, v: 1.10, l: [1], FLOW: a}}\n",
    )
    .unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    let text = failure.render();
    for line in [
        "error: reading the flow file x as YAML: 20 problems",
        "  line 1: unknown field \"nmae\"; did you mean name?",
        "  line 3: slot 1: unknown field \"slot_id\"; slots are numbered by their place",
        "  line 5: slot 1, job 1: score: score name \"../x\": it starts with a letter or digit",
        "  line 5: slot 1, job 1: unknown field \"paralell\"; did you mean parallel?",
        "  line 5: slot 1, job 1: unknown field \"unconstrained\"; here it is called unthrottled",
        "  slot 1, job 2: score is missing",
        "  slot 1, job 2: targets is missing",
        "  line 6: slot 1, job 2: unknown field \"cmd\"; commands are not sent; name an installed score",
        "  line 6: slot 1, job 2: unknown field \"hosts\"; here it is called targets",
        "  line 6: slot 1, job 2: unknown field \"success_constraint\"; here it is called success",
        "  line 6: slot 1, job 2: unknown field \"job_id\"; here it is called name",
        "  line 8: slot 2, job 1: scope: \"some\": it is all or one",
        "  line 8: slot 2, job 1: stragglers: it is give-up or wait",
        "  line 8: slot 2, job 1: retries: expected a whole number from 0 on",
        "  line 9: slot 2, job 2: targets: the members of a list are joined; write an expression with &, \
         ^ or ! as one text",
        "  slot 2, job 2, params: v: quote this number, so that it reaches the score as it is written",
        "  slot 2, job 2, params: l: a value is text, a whole number, true or false",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}\n--\n{text}");
    }
    assert!(text.contains("slot 1, job 1: targets: host set \"a[\""), "{text}");
    assert!(text.contains("slot 2, job 1: timeout: \"5\": expected a duration like"), "{text}");
}

#[test]
fn gates_have_their_words_and_bounds() {
    let told = |fields: &str| {
        let text = format!("slots: [{{jobs: [{{score: a, targets: x, {fields}}}]}}]");
        yaml(&text).err().map(|failure| failure.render()).unwrap_or_default()
    };
    for (fields, said) in [
        ("on_doomed: kill", "slot 1, job 1: on_doomed: it is finish or cancel"),
        ("sequence_on_failure: stop", "sequence_on_failure: it is wait or continue"),
        ("unthrottled: 1", "unthrottled: expected true or false, found a number"),
        ("unthrotled: true", "unknown field \"unthrotled\"; did you mean unthrottled?"),
        ("canery: 1", "did you mean canary?"),
        ("quorum: 101%", "quorum: \"101%\": expected"),
        ("canary: 0", "job a: canary is 0"),
        ("canary: 1, scope: one", "job a: canary makes no sense"),
        ("bake: 5m", "job a: bake without canary"),
        ("canary: 1, bake: 5", "bake: \"5\": expected a duration like"),
        ("retry_delay: 5s", "job a: retry_delay without retries"),
        ("retries: 1, retry_delay: 11000d", "retry_delay: \"11000d\": expected a duration"),
        ("retries: 1001", "job a: retries is above 1000"),
        ("require_same_score: true", "say it when submitting: submitjob --require-same-score"),
        ("constraints: []", "orc deployment list"),
    ] {
        assert!(told(fields).contains(said), "{fields}: {}", told(fields));
    }
    assert_eq!(told("canary: 10%, bake: 0s, retries: 1, retry_delay: 0s, quorum: 0"), "");
}

#[test]
fn a_tree_has_its_keys_and_bounds() {
    let job = |tree: &str| {
        let text = format!("slots: [{{jobs: [{{score: a, targets: x, tree: {tree}}}]}}]");
        yaml(&text).map(|flow| flow.spec.slots[0].jobs[0].tree.as_deref().cloned().unwrap())
    };
    assert_eq!(job("{}").unwrap(), TreeSpec::default());
    let whole =
        "{branches: 4, by: [site, rack], root: 'b1,b2', advance: generation, orphans: skip}";
    let expected = TreeSpec {
        branches: 4,
        by: vec!["site".into(), "rack".into()],
        root: Some("b1,b2".to_owned()),
        advance: Advance::Generation,
        orphans: Orphans::Skip,
    };
    assert_eq!(job(whole).unwrap(), expected);
    for (tree, said) in [
        ("4", "tree: expected"),
        ("{branches: 0}", "slot 1, job 1.tree: branches: 0: expected a whole number from 1 to 64"),
        ("{branches: 65}", "slot 1, job 1.tree: branches: 65: expected a whole number"),
        ("{advance: level}", "advance: it is host or generation"),
        ("{orphans: drop}", "orphans: it is adopt, root or skip"),
        ("{branch: 2}", "did you mean branches?"),
        ("{by: [a, a]}", "job a: tree.by names a label twice"),
    ] {
        let told = job(tree).unwrap_err().render();
        assert!(told.contains(said), "{tree}: {told}");
    }
    let one = yaml("slots: [{jobs: [{score: a, targets: x, scope: one, tree: {}}]}]");
    assert!(one.unwrap_err().render().contains("job a: tree makes no sense"));
}

#[test]
fn a_key_that_is_none_is_told() {
    let job =
        |params: &str| format!("slots: [{{jobs: [{{score: a, targets: x, params: {params}}}]}}]");
    for params in ["{1x: a}", "{FLOW: a}", "{k: \"a\\0b\"}", "[a]", "{k: null}"] {
        let text = yaml(&job(params)).unwrap_err().render();
        assert!(text.contains("slot 1, job 1, params"), "{params}: {text}");
    }
    assert!(yaml(&job("{k: ''}")).is_ok());
}

#[test]
fn what_no_single_field_can_tell_is_checked() {
    for (text, said) in [
        ("slots: []", "the flow has no slots"),
        ("name: x", "slots is missing"),
        ("[]", "expected a table of fields, found a list"),
        ("", "expected a table of fields, found nothing"),
        ("slots: [{jobs: []}]", "slot 1 has no jobs"),
        ("slots: [{}]", "slot 1: jobs is missing"),
        ("slots: [5]", "slot 1: expected a table of fields, found a number"),
        ("jobs: [{score: a}]", "jobs are in slots"),
        ("job_flow: []", "here it is called slots"),
        ("slots: [{jobs: [{concurrency: 5}]}]", "\"concurrency\"; here it is called parallel"),
        (
            "slots: [{jobs: [{name: a, score: a, targets: x}, {name: a, score: a, targets: x}]}]",
            "two jobs are named a",
        ),
        ("slots: [{jobs: [{score: a, targets: x, parallel: 0}]}]", "parallel is 0"),
        ("slots: [{jobs: [{score: a, targets: ''}]}]", "it names no hosts"),
        ("slots: [{jobs: [{score: a, targets: x, name: }]}]", "name: it is empty"),
        ("slots: [{jobs: [{score: a, score: b, targets: x}]}]", "the key \"score\" is given twice"),
    ] {
        let failure = yaml(text).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{text}");
        assert!(failure.render().contains(said), "{text}: {}", failure.render());
    }
}

#[test]
fn bounds_hold_before_work_is_done() {
    let slots = "- jobs: [{score: a, targets: x}]\n".repeat(1_001);
    let text = yaml(&format!("slots:\n{slots}")).unwrap_err().render();
    assert!(text.contains("1001 slots with 1001 jobs"), "{text}");
    let jobs = "    - {score: a, targets: x}\n".repeat(10_000);
    let submission = yaml(&format!("slots:\n  - jobs:\n{jobs}")).unwrap();
    assert_eq!(submission.spec.slots[0].jobs[9_999].name.as_str(), "a-10000");
}

#[test]
fn the_command_line_wins_over_the_file() {
    let secret = |pairs: &[(&str, &str)]| -> BTreeMap<String, Secret> {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), Secret((*value).to_owned()));
        pairs.iter().map(pair).collect()
    };
    let mut overrides = Overrides {
        name: Some(FlowName::new("mine").unwrap()),
        start: StartFlags::default(),
        everywhere: secret(&[("package", "all"), ("new", "1")]),
        of_job: [(JobName::new("pkg2").unwrap(), secret(&[("package", "two")]))].into(),
    };
    let submission = read_with(YAML, Format::Yaml, &overrides).unwrap();
    assert_eq!(submission.spec.name.as_ref().unwrap().as_str(), "mine");
    let package: Vec<Option<&str>> =
        submission.params.iter().map(|(_, _, params)| params.get("package")).collect();
    assert_eq!(package, [Some("all"), Some("two"), Some("all"), Some("all")]);
    assert!(submission.params.iter().all(|(_, _, params)| params.get("new") == Some("1")));

    overrides.of_job.insert(JobName::new("nobody").unwrap(), secret(&[("k", "v")]));
    let text = read_with(YAML, Format::Yaml, &overrides).unwrap_err().render();
    assert!(text.contains("no job of the flow is named nobody"), "{text}");
}

#[test]
fn secrets_do_not_show_in_messages() {
    let text = "slots: [{jobs: [{score: a, targets: x, params: {k: hunter2, l: [hunter2]}}]}]";
    let failure = yaml(text).unwrap_err();
    assert!(!format!("{failure:?}{}", failure.render()).contains("hunter2"));
}
