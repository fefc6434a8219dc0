use clap::{CommandFactory as _, Parser as _};
use orchestra_model::{flow::Scope, quantity::Quantity};

use super::*;
use crate::{error::Failure, exit::Exit, input::Inputs};

fn submit_with(words: &[&str], mut stdin: &[u8]) -> Result<Submit, Failure> {
    let words = std::iter::once("submitjob").chain(words.iter().copied());
    let args = SubmitArgs::try_parse_from(words).map_err(|e| Failure::usage(e.to_string()))?;
    args.validate(&mut Inputs::new(&mut stdin))
}

fn submit(words: &[&str]) -> Result<Submit, Failure> {
    submit_with(words, b"")
}

#[test]
fn the_definitions_are_sound() {
    SubmitArgs::command().debug_assert();
    StatusArgs::command().debug_assert();
    OrcArgs::command().debug_assert();
}

#[test]
fn a_single_job_is_a_flow_of_one_slot_with_one_job() {
    let command = submit(&[
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
        "--name",
        "deploy-42",
        "-W",
        "--wait-timeout",
        "10m",
    ])
    .unwrap();
    let spec = &command.submission.spec;
    assert_eq!(spec.name.as_ref().unwrap().as_str(), "deploy-42");
    let job = &spec.slots[0].jobs[0];
    assert_eq!(job.name.as_str(), "install-package");
    assert_eq!(job.targets, "db[1-10]!db3!db[5-6]");
    assert_eq!((job.scope, job.parallel), (Scope::All, Quantity::Percent(50)));
    assert_eq!((job.success, job.max_failures), (Quantity::Count(8), Some(Quantity::Count(1))));
    assert_eq!(job.timeout, Some(Millis::minutes(90)));
    assert_eq!(job.give_up_after, Some(Millis::minutes(5)));
    assert_eq!(job.stragglers, orchestra_model::flow::Stragglers::Wait);
    assert_eq!((job.lost_after, job.retries), (Some(Millis(604_800_000)), 2));
    let (slot, number, params) = &command.submission.params[0];
    assert_eq!((*slot, *number), (1, 1));
    assert_eq!((params.get("package"), params.get("url")), (Some("x"), Some("a=b")));
    assert_eq!(command.wait.unwrap().wait_timeout, Some(Millis::minutes(10)));
}

#[test]
fn defaults_are_those_of_a_flow_file() {
    let command = submit(&["hello", "--one-of", "@web"]).unwrap();
    assert_eq!(command.submission.spec.name.as_ref().unwrap().as_str(), "hello");
    let job = &command.submission.spec.slots[0].jobs[0];
    let expected = orchestra_model::flow::JobSpec {
        scope: Scope::One,
        ..orchestra_model::flow::JobSpec::new(job.name.clone(), job.score.clone(), "@web")
    };
    assert_eq!(*job, expected);
    assert!(command.submission.params.is_empty() && command.wait.is_none());
}

#[test]
fn hosts_and_values_come_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    let token = format!("token=@file:{}", path.display());
    let words = ["hello", &token, "-w", "-"];
    let command = submit_with(&words, b"# all\ndb1\ndb2 # old\n").unwrap();
    assert_eq!(command.submission.spec.slots[0].jobs[0].targets, "db1\ndb2");
    assert_eq!(command.submission.params[0].2.get("token"), Some("s3cret"));
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
        (&["hello", "-w", "a", "--set", "k=v"], Exit::Usage, "--set changes"),
        (&["hello", "--flow", "x.yaml"], Exit::Usage, "cannot be used with"),
        (&["--flow", "x.yaml", "--parallel", "5"], Exit::Usage, "cannot be used with"),
        (&["--flow", "/nonexistent/x.yaml"], Exit::Usage, "reading the flow from"),
    ] {
        let failure = submit(words).unwrap_err();
        assert_eq!(failure.exit, exit, "{words:?}");
        assert!(failure.render().contains(said), "{words:?}: {}", failure.render());
    }
}

#[test]
fn help_fits_a_screen_and_ends_with_two_examples() {
    for (command, example) in [
        (SubmitArgs::command(), "submitjob --flow deploy.yaml"),
        (StatusArgs::command(), "getstatus 42.1.1 --failed -b"),
        (OrcArgs::command(), "orc logs 42.1.1@db3"),
    ] {
        let help = command.term_width(100).render_help().to_string();
        assert!(help.lines().count() <= 50, "{} lines:\n{help}", help.lines().count());
        assert!(help.contains("Examples:\n") && help.contains(example), "{help}");
    }
}
