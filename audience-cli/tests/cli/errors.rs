//! What a program is told with `--json` where there is no answer: one document, never half of one.

use std::fmt::Write as _;

use orchestra_model::state::{FlowState, JobState, TaskState};
use orchestra_proto::v1;
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    fake::{Fake, Ran, snapshot, unknown_hosts},
    values::{failed, failed_tasks, flow, numbered, running, told_status},
};

/// A refusal that says why in a word for programs.
fn refusal(code: Code, reason: &'static str, text: &str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("orchestra-reason", reason.parse().unwrap());
    Status::with_metadata(code, text, metadata)
}

/// Adds what a command says to the tale of all of them.
#[track_caller]
fn tell(tale: &mut String, command: &str, ran: &Ran) {
    let document = ran.json();
    assert_eq!(document["error"]["exit"], ran.code, "{ran:?}");
    let _ = write!(tale, "$ {command}\n{}\n{}\n", ran.code, ran.stdout.trim_end());
}

#[test]
fn every_failure_is_a_document_with_its_kind_and_its_hint() {
    let fake = Fake::with(running(), Vec::new());
    fake.add(numbered(flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]), 41), Vec::new());
    let mut tale = String::new();
    const ID: &str = "--request-id 00ff00ff00ff00ff00ff00ff00ff00ff";
    let refused = [
        unknown_hosts(),
        refusal(Code::Unavailable, "held", "held, not yet taken: no space"),
        refusal(Code::FailedPrecondition, "plan-changed", "the plan has changed"),
        Status::permission_denied("policy rule 3 denies it"),
        Status::internal("something is wrong"),
    ];
    for status in refused {
        fake.tables().refusals.push_back(status);
        let command = format!("submitjob hello -w db1 {ID} --json");
        tell(&mut tale, &command, &fake.run(&command));
    }
    for command in [
        "getstatus 7 --json",
        "getstatus --what --json",
        "submitjob hello --json",
        "orc cancel 41 --json",
        "orc wait 42 --wait-timeout 1ms --json",
    ] {
        tell(&mut tale, command, &fake.run(command));
    }
    let words = ["flows", "--json", "--connect-timeout", "1ms"];
    let mut away = fake.command("orc", &words);
    let away = crate::fake::ran(away.env("ORCHESTRA_CONDUCTOR", "127.0.0.1:1"));
    tell(&mut tale, &format!("orc {}", words.join(" ")), &away);
    snapshot("errors.txt", &tale);
}

#[test]
fn a_list_that_breaks_off_is_no_half_document() {
    let fake = Fake::with(failed(), failed_tasks());
    fake.tables().task_lists.push_back(vec![
        Ok(v1::TaskPage {
            tasks: failed_tasks().iter().map(Into::into).take(3).collect(),
            ..Default::default()
        }),
        Err(Status::internal("the disk is broken")),
    ]);
    let ran = fake.run("getstatus 42 --tasks --json");
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (1, &"broken".into()));
    // So it is where others are named beside it: what is told of them is asked for again.
    fake.tables().task_lists.push_back(vec![Err(Status::internal("the disk is broken"))]);
    let ran = fake.run("getstatus 42,42 --tasks --json");
    assert_eq!((ran.code, &ran.json()["error"]["exit"]), (1, &1.into()));
}

#[test]
fn run_and_show_in_one_command() {
    let fake = Fake::with(failed(), failed_tasks());
    let tale = || [told_status(&running()), told_status(&failed())].map(Ok).into();
    fake.tables().watches.push_back(tale());
    let ran = fake.run("submitjob install-package -w db[1-10] -W -b");
    assert!(ran.stderr.starts_with("42 submitted\n"), "{ran:?}");
    assert_eq!((ran.code, &*ran.stdout), (2, &*fake.run("getstatus 42 -b").stdout));
    for how in ["-L", "--diff"] {
        fake.tables().watches.push_back(tale());
        let ran = fake.run(&format!("orc wait 42 {how}"));
        assert_eq!((ran.code, ran.stdout), (2, fake.run(&format!("getstatus 42 {how}")).stdout));
    }
    fake.tables().watches.push_back(tale());
    let document = fake.run("submitjob install-package -w db[1-10] -W -b --json").json();
    assert_eq!(document["flow"]["slots"][0]["jobs"][0]["tasks"][0]["id"], "42.1.1@db1");
    fake.run("submitjob hello -w db1 -b").fails(64, &["hint: add --wait"]);
    fake.run("getstatus 42 --failed --hosts").is(2, "db[3,7,9]\n", "");
}

#[test]
fn completions_work_in_a_real_bash_and_pages_are_written() {
    let fake = Fake::start();
    let script = "source <(\"$0\" completions bash) && complete -p orc submitjob getstatus && \
                  COMP_WORDS=(orc expl) COMP_CWORD=1 && _orc orc expl orc && echo \"${COMPREPLY[@]}\"";
    let bash = std::process::Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_orc")])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&bash.stdout);
    assert!(bash.status.success(), "{bash:?}");
    assert!(told.contains("_submitjob") && told.ends_with("\nexplain\n"), "{told}");
    for (shell, begins) in [("zsh", "#compdef submitjob"), ("fish", "complete -c submitjob")] {
        let ran = fake.run(&format!("orc completions {shell}"));
        assert!(ran.code == 0 && ran.stdout.contains(begins), "{shell}");
        assert!(ran.stdout.contains("wait-timeout"), "{shell}");
    }
    // A file of zsh's begins with the name of its program, and is for that one.
    let of_orc = fake.run("orc completions zsh orc").stdout;
    assert!(of_orc.starts_with("#compdef orc\n") && !of_orc.contains("#compdef submitjob"));
    fake.run("orc completions zsh conductor").fails(64, &["conductor"]);
    let home = fake.home();
    assert_eq!(fake.run(&format!("orc man {}", home.display())).code, 0);
    let page = std::fs::read_to_string(home.join("orc-explain.1")).unwrap();
    assert!(page.contains("Tell why a flow, a job or a task is where it is"), "{page}");
    assert!(home.join("submitjob.1").exists() && home.join("getstatus.1").exists());
    fake.run("orc man /nowhere/at/all").fails(1, &["writing man pages into /nowhere/at/all"]);
}
