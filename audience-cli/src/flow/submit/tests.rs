use clap::Parser as _;
use orchestra_model::{
    flow::{OnDoomed, Scope, SequenceOnFailure},
    quantity::Quantity,
    tree::{Advance, Orphans, TreeSpec},
};

use super::*;
use crate::error::Render as _;

fn submit_with(words: &[&str], mut stdin: &[u8]) -> Result<Order, Failure> {
    let words = std::iter::once("submitjob").chain(words.iter().copied());
    let args = SubmitArgs::try_parse_from(words).map_err(|e| Failure::usage(e.to_string()))?;
    args.submit.verb.validate(&mut Inputs::new(&mut stdin))
}

fn submitted(words: &[&str]) -> Result<Order, Failure> {
    submit_with(words, b"")
}

#[test]
fn a_single_job_is_a_flow_of_one_slot_with_one_job() {
    let command = submitted(&[
        "install-package",
        "package=x",
        "url=a=b",
        "-w",
        "db[1-10]",
        "-x",
        "db3",
        "-x",
        "db[5-6]",
        "--parallel",
        "50%",
        "--success",
        "8",
        "--max-failures",
        "1",
        "--timeout",
        "1h30m",
        "--give-up-after",
        "5m",
        "--stragglers",
        "wait",
        "--lost-after",
        "7d",
        "--retries",
        "2",
        "--retry-delay",
        "30s",
        "--quorum",
        "80%",
        "--canary",
        "2",
        "--bake",
        "5m",
        "--on-doomed",
        "cancel",
        "--sequence-on-failure",
        "continue",
        "--unthrottled",
        "--require-same-score",
        "--if-plan",
        "00FF",
        "--name",
        "deploy-42",
        "-W",
        "--wait-timeout",
        "10m",
    ])
    .unwrap();
    let spec = &wanted(&command).submission.spec;
    assert_eq!(spec.name.as_ref().unwrap().as_str(), "deploy-42");
    let job = &spec.slots[0].jobs[0];
    assert_eq!(job.name.as_str(), "install-package");
    assert_eq!(job.targets, "db[1-10]!db3!db[5-6]");
    assert_eq!((job.scope, job.parallel), (Scope::All, Quantity::Percent(50)));
    assert_eq!(
        (job.success, job.max_failures),
        (Some(Quantity::Count(8)), Some(Quantity::Count(1)))
    );
    assert_eq!(job.timeout, Some(Millis::minutes(90)));
    assert_eq!(job.give_up_after, Some(Millis::minutes(5)));
    assert_eq!(job.stragglers, orchestra_model::flow::Stragglers::Wait);
    assert_eq!((job.lost_after, job.retries), (Some(Millis(604_800_000)), 2));
    assert_eq!((job.retry_delay, job.quorum), (Millis::seconds(30), Quantity::Percent(80)));
    assert_eq!((job.canary, job.bake), (Some(Quantity::Count(2)), Some(Millis::minutes(5))));
    assert_eq!(job.on_doomed, OnDoomed::Cancel);
    assert_eq!(job.sequence_on_failure, SequenceOnFailure::Continue);
    assert!(job.unthrottled && wanted(&command).require_same_score && !command.plan);
    assert_eq!(wanted(&command).if_plan.as_deref(), Some("00ff"));
    let (slot, number, params) = &wanted(&command).submission.params[0];
    assert_eq!((*slot, *number), (1, 1));
    assert_eq!((params.get("package"), params.get("url")), (Some("x"), Some("a=b")));
    assert_eq!(command.wait.unwrap().wait_timeout, Some(Millis::minutes(10)));
}

#[test]
fn a_tree_is_asked_for_by_its_branches() {
    let words = "pull -w @web --tree 4 --tree-by site,rack --tree-root b1";
    let words: Vec<&str> = words.split_whitespace().collect();
    let command = submitted(&words).unwrap();
    let tree = wanted(&command).submission.spec.slots[0].jobs[0].tree.clone().unwrap();
    let expected = TreeSpec {
        branches: 4,
        by: vec!["site".into(), "rack".into()],
        root: Some("b1".to_owned()),
        advance: Advance::Host,
        orphans: Orphans::Adopt,
    };
    assert_eq!(*tree, expected);
    for wrong in ["--tree 0", "--tree 65", "--tree-by site", "--tree-root b1"] {
        let words: Vec<&str> = "pull -w @web".split(' ').chain(wrong.split(' ')).collect();
        assert!(submitted(&words).is_err(), "{wrong}");
    }
    assert!(submitted(&["pull", "--one-of", "@web", "--tree", "2"]).is_err());
}

/// What it is to submit.
fn wanted(command: &Order) -> &ConditionalSubmission {
    match &command.task {
        Task::Submit(wanted) => wanted,
        Task::Ask(request) => panic!("it only asks for {request}"),
    }
}

#[test]
fn a_request_id_goes_with_a_submission_or_asks_for_one() {
    const ID: &str = "00ff00ff00ff00ff00ff00ff00ff00ff";
    let command = submitted(&["--request-id", ID]).unwrap();
    assert!(matches!(command.task, Task::Ask(id) if id.to_string() == ID));
    let command = submitted(&["hello", "-w", "db1", "--request-id", ID]).unwrap();
    assert_eq!(wanted(&command).request.unwrap().to_string(), ID);
    for wrong in
        [&["--request-id", "00ff"][..], &["--request-id", ID, "--plan"], &["-w", "db1"], &[]]
    {
        assert!(submitted(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn defaults_are_those_of_a_flow_file() {
    let command = submitted(&["hello", "--one-of", "@web"]).unwrap();
    assert_eq!(wanted(&command).submission.spec.name.as_ref().unwrap().as_str(), "hello");
    let job = &wanted(&command).submission.spec.slots[0].jobs[0];
    let expected = orchestra_model::flow::JobSpec {
        scope: Scope::One,
        ..orchestra_model::flow::JobSpec::new(job.name.clone(), job.score.clone(), "@web")
    };
    assert_eq!(*job, expected);
    assert!(wanted(&command).submission.params.is_empty() && command.wait.is_none());
}

#[test]
fn hosts_and_values_come_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    let token = format!("token=@file:{}", path.display());
    let words = ["hello", &token, "-w", "-"];
    let command = submit_with(&words, b"# all\ndb1\ndb2 # old\n").unwrap();
    assert_eq!(wanted(&command).submission.spec.slots[0].jobs[0].targets, "db1\ndb2");
    assert_eq!(wanted(&command).submission.params[0].2.get("token"), Some("s3cret"));
    assert!(!format!("{command:?}").contains("s3cret"));
}

#[test]
fn what_is_wrong_is_refused_with_its_code() {
    for (words, exit, said) in [
        (&["hello"][..], Exit::Usage, "--all-of"),
        (&["hello", "-w", "a", "--one-of", "b"], Exit::Usage, "cannot be used with"),
        (&["hello", "db1", "-w", "a"], Exit::Usage, "expected KEY=VALUE"),
        (&["hello", "k=1", "k=2", "-w", "a"], Exit::Usage, "given twice"),
        (&["hello", "FLOW=1", "-w", "a"], Exit::Usage, "Orchestra sets this one itself"),
        (&["../hello", "-w", "a"], Exit::Usage, "score name"),
        (&["hello", "-w", "a["], Exit::Usage, "host set"),
        (&["hello", "-w", ""], Exit::Hosts, "the host set is empty"),
        (&["hello", "-w", "a", "-x", "a"], Exit::Hosts, "the host set is empty"),
        (&["hello", "-w", "a", "--parallel", "0"], Exit::Usage, "parallel is 0"),
        (&["hello", "-w", "a", "--timeout", "5"], Exit::Usage, "duration"),
        (&["hello", "-w", "a", "--success", "101%"], Exit::Usage, "percent"),
        (&["hello", "-w", "a", "--jsonl"], Exit::Usage, "add --wait"),
        (&["hello", "-w", "a", "--bake", "5m"], Exit::Usage, "bake without canary"),
        (&["hello", "-w", "a", "--retry-delay", "5s"], Exit::Usage, "retry_delay without retries"),
        (&["hello", "-w", "a", "--on-doomed", "kill"], Exit::Usage, "it is finish or cancel"),
        (&["hello", "-w", "a", "--plan", "--wait"], Exit::Usage, "cannot be used with"),
        (&["hello", "-w", "a", "--if-plan", ""], Exit::Usage, "hexadecimal digits"),
        (&["--flow", "x.yaml", "--unthrottled"], Exit::Usage, "cannot be used with"),
        (&["hello", "-w", "a", "--set", "k=v"], Exit::Usage, "--set changes"),
        (&["hello", "--flow", "x.yaml"], Exit::Usage, "cannot be used with"),
        (&["--flow", "x.yaml", "--parallel", "5"], Exit::Usage, "cannot be used with"),
        (&["--flow", "/nonexistent/x.yaml"], Exit::Usage, "reading the flow from"),
    ] {
        let failure = submitted(words).unwrap_err();
        assert_eq!(failure.exit, exit, "{words:?}");
        assert!(failure.render().contains(said), "{words:?}: {}", failure.render());
    }
}
