//! What somebody who waits sees on a terminal, by the real programs on a pty.

use orchestra_model::{
    state::{FlowState, JobState, TaskState},
    status::{CanaryStatus, TaskStatus},
};
use rustix::process::Signal;

use crate::{
    fake::{Fake, Terminal},
    values::{failed, failed_tasks, flow, running, told_status},
};

fn with_last_lines(tasks: Vec<TaskStatus>) -> Vec<TaskStatus> {
    let line = |mut task: TaskStatus| {
        task.last_line = (task.state == TaskState::Failed).then(|| "Connection refused".into());
        task
    };
    tasks.into_iter().map(line).collect()
}

#[test]
fn a_block_shows_what_goes_on_and_is_gone_at_the_end() {
    let mut present = running();
    present.slots[0][0].counts = failed().slots[0][0].counts;
    let fake = Fake::with(present.clone(), with_last_lines(failed_tasks()));
    let Some(terminal) = Terminal::start(fake.command("orc", &["wait", "42"]), (80, 24)) else {
        return;
    };
    let screen = terminal.shows("failed: exit 3: Connection refused");
    let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
    assert!(lines[0].starts_with("42 deploy-42 running "), "{screen}");
    assert!(lines[0].ends_with(" 10 of 10 tasks"), "{screen}");
    assert_eq!(
        lines[1..],
        [
            "  42.1.1 pkg1 ██████████████████████████xxxxxxx--- 7 ok, 2 failed, 1 unreachable",
            "    db[3,7] (2) failed: exit 3: Connection refused",
            "    db9 (1) unreachable",
        ]
    );

    // It is asked again by itself, also where no event tells.
    present.slots[0][0].canary = Some(CanaryStatus { tasks: 7, ok: 7, until: None });
    fake.add(present.clone(), Vec::new());
    terminal.shows("canary: 7 of 7 ok; to go on: orc promote 42 --job pkg1");

    // Narrower, what does not fit is broken or cut; nothing of the wide one remains.
    terminal.resize(40, 12);
    let screen =
        terminal.shows("    canary: 7 of 7 ok; to go on: orc\n      promote 42 --job pkg1");
    assert!(screen.starts_with("42 deploy-42 running"), "{screen}");
    assert_eq!(screen.matches("canary").count(), 1, "{screen}");

    terminal.signal(Signal::INT);
    let screen = terminal.shows("orc wait 42");
    assert!(screen.starts_with("flow 42 goes on"), "{screen}");
    // The second Ctrl-C is not coming.
    assert_eq!(terminal.finish(), 7);
}

#[test]
fn what_remains_is_a_summary() {
    let fake = Fake::with(failed(), with_last_lines(failed_tasks()));
    let tale = [told_status(&running()), told_status(&failed())];
    fake.tables().watches.push_back(tale.map(Ok).into());
    let submitting = fake.command("submitjob", &["install-package", "-w", "db[1-10]", "-W"]);
    let Some(terminal) = Terminal::start(submitting, (80, 24)) else {
        return;
    };
    let screen = terminal.shows("  42.1.1 db9 (1) unreachable");
    assert_eq!(
        screen,
        "42\n\
         42 deploy-42 failed after 3m12s: 7 ok, 2 failed, 1 unreachable\n\
         \x20 42.1.1 db[3,7] (2) failed: exit 3: Connection refused\n\
         \x20 42.1.1 db9 (1) unreachable"
    );
    assert_eq!(terminal.finish(), 2);
}

#[test]
fn a_flow_is_watched_and_then_told() {
    let ok = flow(FlowState::Ok, JobState::Ok, &[(TaskState::Ok, 3)]);
    let fake = Fake::with(ok, Vec::new());
    let Some(terminal) = Terminal::start(fake.command("getstatus", &["--watch"]), (80, 24)) else {
        return;
    };
    let screen = terminal.shows("on db[1-3]: ok, 3 ok");
    assert!(screen.starts_with("42 deploy-42 ok after 3m12s, submitted by alice"), "{screen}");
    assert_eq!(terminal.finish(), 0);
    // A program that reads it gets one document, and lines on standard error meanwhile.
    let ran = fake.run("getstatus 42 --watch --json");
    assert_eq!((ran.code, &ran.json()["flow"]["state"]), (0, &"ok".into()));
}

/// A terminal that cannot be drawn on gets lines.
#[test]
fn a_dumb_terminal_gets_lines() {
    let fake = Fake::with(failed(), failed_tasks());
    let mut command = fake.command("sh", &[]);
    command.args(["-c", "TERM=dumb exec \"$0\" wait 42", env!("CARGO_BIN_EXE_orc")]);
    let Some(terminal) = Terminal::start(command, (80, 24)) else {
        return;
    };
    let screen = terminal.shows("42 deploy-42 failed after 3m12s");
    assert!(screen.starts_with("42.1.1 pkg1 partial: 7 ok"), "{screen}");
    assert_eq!(terminal.finish(), 2);
}
