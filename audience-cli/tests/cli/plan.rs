//! Plans, and submitting only what was planned.

use orchestra_model::{
    hostset::HostSet,
    ledger::{Forecast, Holder, ScoreSurvey, Serving},
    names::{HostName, JobName, ScoreName},
    quantity::Quantity,
    score::ScoreHash,
    thresholds::ResolvedLimit,
    time::Timestamp,
    tree::Parent,
};
use orchestra_proto::{Planned, Reason};
use serde_json::json;
use tonic::Status;

use crate::{fake::Fake, values::JOB};

fn hosts(text: &str) -> HostSet {
    HostSet::parse_plain(text).unwrap()
}

fn job(name: &str) -> JobName {
    JobName::new(name).unwrap()
}

fn limit(of: &str, limit: &str, asked: Option<Quantity>, comes_to: u32) -> ResolvedLimit {
    ResolvedLimit { job: job(of), limit: limit.to_owned(), asked, comes_to, of: 9 }
}

fn serving(parent: Parent, children: &str) -> Serving {
    Serving { job: job("web"), parent, children: hosts(children) }
}

fn planned() -> Planned {
    let holder = |host: &str| Holder {
        host: HostName::new(host).unwrap(),
        jobs: vec![JOB],
        since: Timestamp(1_763_712_000_000),
        down: None,
        units: Vec::new(),
        absence: None,
    };
    Planned {
        forecast: Forecast {
            begins: Some("begins when flow 41, which is running, has ended ok".to_owned()),
            waves: vec![
                vec![(job("be"), hosts("be1")), (job("web"), hosts("fe9"))],
                vec![(job("web"), hosts("fe[1-3]"))],
            ],
            stuck: vec![(job("web"), hosts("fe[4-5]"), "fe6 is down since flow 41".into())],
            awaited: vec![holder("be2"), holder("be3")],
            absent: hosts("fe3"),
            drained: hosts("fe2"),
            free: hosts("fe9"),
            serving: vec![
                serving(Parent::Nobody, "fe1"),
                serving(Parent::Host(HostName::new("fe1").unwrap()), "fe[2-3]"),
            ],
        },
        scores: vec![ScoreSurvey {
            job: job("web"),
            score: ScoreName::new("restart").unwrap(),
            versions: [
                (ScoreHash([0xab; 32]), hosts("fe1")),
                (ScoreHash([0xcd; 32]), hosts("fe2")),
            ]
            .into(),
            missing: hosts("fe4"),
            unheard: hosts("fe3"),
        }],
        digest: "00ff".repeat(16),
        refusal: None,
        limits: vec![
            limit("web", "success", None, 8),
            limit("web", "max_failures", Some(Quantity::Percent(15)), 1),
        ],
        remarks: vec!["job be: no host has to succeed".to_owned()],
    }
}

const TEXT: &str = "\
begins when flow 41, which is running, has ended ok
wave 1: be be1 (1); web fe9 (1)
wave 2: web fe[1-3] (3)
web tree:
  first: fe1 (1)
    fe1 serves fe[2-3] (2)
web: success is 8 of 9, max_failures 15% is 1 of 9
warning: job be: no host has to succeed
web fe[4-5] (2) would never start: fe6 is down since flow 41
waits at first for: be[2-3] (2) busy in 42.1.1, since 2025-11-21T08:00:00Z
not attached: fe3 (1), waited for as long as that takes
drained: fe2 (1)
held back by no limit: fe9 (1)
web: score restart is abababababab on fe1 (1)
web: score restart is cdcdcdcdcdcd on fe2 (1)
web: score restart is missing on fe4 (1)
web: score restart is not known yet of fe3 (1)
";

#[test]
fn a_plan_is_told_by_both_programs_and_nothing_is_submitted() {
    let fake = Fake::start();
    fake.tables().planned = planned();
    let text = format!("{TEXT}digest: {}\n", "00ff".repeat(16));
    fake.run("orc plan restart v=1 -w fe[1-9] --require-same-score").is(0, &text, "");
    fake.run("submitjob restart v=1 -w fe[1-9] --require-same-score --plan").is(0, &text, "");
    fake.run("orc plan restart -w fe1 --digest").is(0, &format!("{}\n", "00ff".repeat(16)), "");
    let tables = fake.tables();
    assert!(tables.submitted.is_empty());
    assert_eq!(tables.plans[0], tables.plans[1]);
    assert!(tables.plans[0].require_same_score);
    assert_eq!(tables.plans[0].params[0].values["v"], "1");
    drop(tables);
    let plan = fake.run("orc plan restart -w fe1 --json").json()["plan"].clone();
    assert_eq!(plan["waves"][0][1], json!({"job": "web", "hosts": "fe9", "count": 1}));
    assert_eq!(plan["stuck"][0]["count"], 2);
    assert_eq!(plan["awaited"][1]["host"], "be3");
    assert_eq!(
        plan["serving"][1],
        json!({"job": "web", "parent": "fe1", "children": "fe[2-3]", "count": 2})
    );
    assert_eq!(plan["serving"][0]["parent"], json!(null));
    assert_eq!(
        plan["limits"][1],
        json!({"job": "web", "limit": "max_failures", "asked": "15%", "comes_to": 1, "of": 9})
    );
    assert_eq!(plan["limits"][0]["asked"], json!(null));
    assert_eq!(plan["remarks"], json!(["job be: no host has to succeed"]));
    assert_eq!(plan["scores"][0]["versions"][0]["hosts"], "fe1");
    assert_eq!((&plan["absent"], &plan["refusal"]), (&json!("fe3"), &json!(null)));
}

#[test]
fn a_plan_that_would_be_refused_is_a_failure() {
    let fake = Fake::start();
    let refusal = Some("job web: the score differs".to_owned());
    fake.tables().planned = Planned { refusal, digest: String::new(), ..planned() };
    let error = "error: submitted now, it would be refused: job web: the score differs\n";
    fake.run("orc plan restart -w fe1").is(1, "", error);
    fake.run("orc plan restart -w fe1 --digest").is(1, "", error);
    let ran = fake.run("orc plan restart -w fe1 --json");
    assert_eq!((ran.code, &ran.json()["plan"]["digest"]), (1, &json!(null)));
}

#[test]
fn a_submission_names_its_conditions_and_its_warnings_are_told() {
    let fake = Fake::start();
    fake.tables().warnings = vec!["fe3 is not attached".to_owned(), "fe4 lacks hello".to_owned()];
    fake.run("submitjob hello -w fe[1-4] --if-plan 00FF --require-same-score").is(
        0,
        "42\n",
        "warning: fe3 is not attached\nwarning: fe4 lacks hello\n",
    );
    let tables = fake.tables();
    assert_eq!(tables.submitted[0].if_plan, "00ff");
    assert!(tables.submitted[0].require_same_score);
    drop(tables);
    let changed = Status::failed_precondition("the plan is no longer the same");
    fake.tables().refusals.push_back(Reason::PlanChanged.beside(changed));
    fake.run("submitjob hello -w fe1 --if-plan 00ff")
        .fails(10, &["error: submitting the flow: the plan is no longer the same"]);
    let held = Status::unavailable("held, not yet taken: no space");
    fake.tables().refusals.push_back(Reason::Held.beside(held));
    fake.run("submitjob hello -w fe1").fails(12, &["held, not yet taken"]);
}
