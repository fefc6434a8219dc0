use clap::{CommandFactory as _, Parser as _};
use orchestra_model::{
    flow::{OnDoomed, Scope, SequenceOnFailure},
    quantity::Quantity,
};

use super::*;
use crate::{client::Wanted, error::Failure, exit::Exit, input::Inputs};

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

/// What it is to submit.
fn wanted(command: &Submit) -> &Wanted {
    match &command.task {
        Task::Submit(wanted) => wanted,
        Task::Ask(request) => panic!("it only asks for {request}"),
    }
}

#[test]
fn a_request_id_goes_with_a_submission_or_asks_for_one() {
    const ID: &str = "00ff00ff00ff00ff00ff00ff00ff00ff";
    let command = submit(&["--request-id", ID]).unwrap();
    assert!(matches!(command.task, Task::Ask(id) if id.to_string() == ID));
    let command = submit(&["hello", "-w", "db1", "--request-id", ID]).unwrap();
    assert_eq!(wanted(&command).request.unwrap().to_string(), ID);
    for wrong in
        [&["--request-id", "00ff"][..], &["--request-id", ID, "--plan"], &["-w", "db1"], &[]]
    {
        assert!(submit(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn defaults_are_those_of_a_flow_file() {
    let command = submit(&["hello", "--one-of", "@web"]).unwrap();
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
        let failure = submit(words).unwrap_err();
        assert_eq!(failure.exit, exit, "{words:?}");
        assert!(failure.render().contains(said), "{words:?}: {}", failure.render());
    }
}

fn orc(words: &[&str]) -> Result<Verb, Failure> {
    let words = std::iter::once("orc").chain(words.iter().copied());
    Ok(OrcArgs::try_parse_from(words).map_err(|e| Failure::usage(e.to_string()))?.verb)
}

fn retry(words: &[&str]) -> Result<Retry, Failure> {
    match orc(&[&["retry"], words].concat())? {
        Verb::Asking(Asking::Retry(args)) => {
            args.validate(&mut Inputs::new(&mut &b"fe1\nfe2\n"[..]))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retry_is_narrowed_by_its_id_or_by_flags() {
    let whole = retry(&["last"]).unwrap();
    assert_eq!((whole.flow, whole.job, whole.hosts.as_str()), (None, None, ""));
    for words in [
        &["42/web@fe3"][..],
        &["42/web", "-w", "fe3"],
        &["42@fe3", "--job", "web"],
        &["42", "--job", "web", "-w", "fe3"],
    ] {
        let narrowed = retry(words).unwrap();
        let job = narrowed.job.as_ref().map(orchestra_model::JobName::as_str);
        assert_eq!((job, narrowed.hosts.as_str()), (Some("web"), "fe3"), "{words:?}");
    }
    assert_eq!(retry(&["42", "-w", "-"]).unwrap().hosts, "fe1\nfe2");
    let set = retry(&["42", "--set", "a=1", "--set", "web.b=2", "--set", "we.b/c=3"]).unwrap().set;
    assert_eq!(set.everywhere["a"].0, "1");
    let of = |job: &str| &set.of_job[&orchestra_model::JobName::new(job).unwrap()];
    assert_eq!((&*of("web")["b"].0, &*of("we.b")["c"].0), ("2", "3"));
    for (words, said) in [
        (&["42.1"][..], "orc retry takes a flow"),
        (&["42,43"], "orc retry takes a flow"),
        (&["42/web", "--job", "web"], "orc retry takes a flow"),
        (&["42@fe3", "-w", "fe4"], "given twice"),
        (&["42", "--set", "a"], "expected KEY=VALUE"),
        (&["42", "--jsonl"], "add --wait"),
        (&["42", "-w", "fe["], "host set"),
    ] {
        let text = retry(words).unwrap_err().render();
        assert!(text.contains(said), "{words:?}: {text}");
    }
}

#[test]
fn reasons_are_given_and_bounded() {
    let long = "x".repeat(1_001);
    for verb in [&["drain", "fe1"][..], &["ledger", "release", "fe1"]] {
        let with = |reason: &[&str]| orc(&[verb, reason].concat());
        assert!(with(&["--reason", "disk"]).is_ok());
        for bad in [&[][..], &["--reason", " "], &["--reason", &long]] {
            assert_eq!(with(bad).unwrap_err().exit, Exit::Usage, "{verb:?} {bad:?}");
        }
    }
    assert!(orc(&["ledger", "--all", "release", "fe1", "--reason", "x"]).is_err());
}

#[test]
fn help_fits_a_screen_and_ends_with_two_examples() {
    let mut commands = vec![SubmitArgs::command(), StatusArgs::command(), OrcArgs::command()];
    while let Some(mut command) = commands.pop() {
        command = command.term_width(100);
        let help = command.render_help().to_string();
        assert!(help.lines().count() <= 50, "{} lines:\n{help}", help.lines().count());
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
        commands.extend(shown);
        // The sandbox's own verbs are few and short.
        let name = command.get_name();
        if ["sandbox", "start", "stop", "status", "ps", "reload", "recover", "run"].contains(&name)
        {
            continue;
        }
        let examples = help.split("Examples:\n").nth(1).map_or(0, |text| text.lines().count());
        assert_eq!(examples, 2, "{help}");
    }
}
