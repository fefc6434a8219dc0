//! `orc service wait`, and `apply --wait`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use orchestra_model::{
    ServiceName,
    ids::FlowId,
    service::{Goal, RunEnd, ServiceStatus, ServiceVersion, UnitState, Unready},
    state::{FlowState, JobState, TaskState},
};
use orchestra_proto::v1;
use rustix::process::{Pid, Signal, kill_process};

use super::{absent, alice, changing, hosts, ready, unwell, with};
use crate::{
    fake::{Fake, finished},
    values::{flow, numbered, told_status},
};

fn fake(then: impl IntoIterator<Item = ServiceStatus>) -> Fake {
    let fake = Fake::start();
    let mut all = then.into_iter();
    fake.tables().services = all.next().into_iter().collect();
    fake.tables().services_then.extend(all);
    fake
}

#[test]
fn what_is_ready_is_not_waited_for() {
    let fake = fake([ready(3)]);
    fake.run("orc service wait web").is(0, "", "web version 7 is ready on db[1-3] (3)\n");
    fake.run("orc service wait web --version 7").is(
        0,
        "",
        "web version 7 is ready on db[1-3] (3)\n",
    );
    let told = fake.run("orc service wait web --json").json();
    assert_eq!(told["service"]["state"], "ready");
    fake.run("orc service wait web --version 8")
        .fails(8, &["there is no version 8, the last is 7"]);
    fake.run("orc service wait other").fails(8, &["there is no service other"]);
}

/// Flow 43, ended.
fn ended(state: FlowState, job: JobState, task: TaskState) -> orchestra_model::status::FlowStatus {
    let mut flow = numbered(flow(state, job, &[(task, 3)]), 43);
    flow.summary.name = None;
    flow
}

#[test]
fn a_flow_is_followed_to_its_end() {
    let fake = fake([changing(with(3, vec![absent(1)])), ready(3)]);
    let flow = ended(FlowState::Ok, JobState::Ok, TaskState::Ok);
    fake.add(flow.clone(), Vec::new());
    fake.tables().watches.push_back(vec![Ok(told_status(&flow))]);
    let ran = fake.run("orc service wait web");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stderr.ends_with("web version 7 is ready on db[1-3] (3)\n"), "{ran:?}");
    assert_eq!(fake.tables().watched.len(), 1);
}

#[test]
fn what_has_done_what_it_was_to_do_is_not_waited_for() {
    let mut done = unwell(2, UnitState::Ended, Unready::GaveUp);
    done.unready = None;
    done.report.as_mut().unwrap().last_end = Some(RunEnd::Exited(0));
    let fake = fake([with(3, vec![done])]);
    fake.run("orc service wait web").is(0, "", "web version 7 is ready on db[1-3] (3)\n");
}

#[test]
fn a_version_that_was_given_up_is_a_failure() {
    let back = |mut status: ServiceStatus| {
        (status.record.version, status.record.last_version) =
            (ServiceVersion(6), ServiceVersion(7));
        status
    };
    let fake = fake([changing(ready(3)), back(changing(ready(3)))]);
    let flow = ended(FlowState::Failed, JobState::Failed, TaskState::Failed);
    fake.add(flow.clone(), Vec::new());
    fake.tables().watches.push_back(vec![Ok(told_status(&flow))]);
    let ran = fake.run("orc service wait web");
    assert_eq!(ran.code, 2, "{ran:?}");
    let said = "web version 7 was given up for version 6\nwhat happened: orc service show web\n";
    assert!(ran.stderr.ends_with(said), "{ran:?}");
}

#[test]
fn exit_codes_tell_what_came_of_it() {
    let gave_up = with(3, vec![unwell(2, UnitState::GaveUp, Unready::GaveUp), absent(1)]);
    let mut given_up = with(3, vec![unwell(2, UnitState::Starting, Unready::NotReady)]);
    given_up.given_up = hosts(2..=2);
    let mut troubled = with(3, vec![absent(1)]);
    troubled.trouble = Some("group web is gone".to_owned());
    let mut unplaced = ready(2);
    (unplaced.record.hosts, unplaced.unplaced) = (hosts(1..=3), hosts(3..=3));
    let mut stopped = ready(3);
    stopped.record.goal = Goal::Stopped;
    let mut removed = ready(3);
    removed.record.goal = Goal::Removed;
    for (status, code, said) in [
        (gave_up, 2, "is not ready on db2 (1), and stays so\n"),
        (given_up, 2, "is not ready on db2 (1), and stays so\n"),
        (troubled, 2, "is not ready on db1 (1), and stays so: group web is gone\n"),
        (with(3, vec![absent(1), absent(3)]), 4, "is ready but on db[1,3] (2), out of reach\n"),
        (unplaced, 4, "is ready but on db3 (1), out of reach\n"),
        (stopped, 2, "is stopped\n"),
        (removed, 2, "was removed\n"),
    ] {
        let ran = fake([status]).run("orc service wait web");
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(&format!("web version 7 {said}")), "{ran:?}");
    }
    let mut newer = ready(3);
    (newer.record.version, newer.record.last_version) = (ServiceVersion(8), ServiceVersion(8));
    let ran = fake([newer]).run("orc service wait web --version 7");
    ran.is(5, "", "web version 7 is superseded by version 8\n");
}

#[test]
fn who_waits_longer_than_allowed_is_told_so() {
    let backing_off = unwell(2, UnitState::BackingOff, Unready::NotReady);
    let waiting = with(3, vec![backing_off]);
    fake([waiting.clone()]).run("orc service wait web --timeout 200ms").is(
        124,
        "",
        "web is not ready everywhere yet\n\
         service web is still not over; to wait again: orc service wait web\n",
    );
    let mut paused = waiting;
    paused.record.paused_by = Some(alice());
    let ran = fake([paused]).run("orc service wait web --timeout 200ms");
    assert_eq!(ran.code, 124);
    assert!(ran.stderr.starts_with("web is paused by alice; to go on: orc service resume web\n"));
}

#[test]
fn units_are_looked_at_until_they_are_ready() {
    let fake = fake([with(3, vec![unwell(2, UnitState::Starting, Unready::NotReady)]), ready(3)]);
    fake.run("orc service wait web --timeout 60s").is(
        0,
        "",
        "web is not ready everywhere yet\nweb version 7 is ready on db[1-3] (3)\n",
    );
}

#[test]
fn apply_waits_for_its_own_version() {
    let fake = fake([ready(3)]);
    fake.tables().service_changed = v1::ServiceChanged {
        name: "web".to_owned(),
        version: 7,
        flow: FlowId(43).0,
        ..Default::default()
    };
    // Its flow has ended before the first look, and is told all the same.
    let flow = ended(FlowState::Ok, JobState::Ok, TaskState::Ok);
    fake.add(flow.clone(), Vec::new());
    fake.tables().watches.extend([vec![Ok(told_status(&flow))], vec![Ok(told_status(&flow))]]);
    let file = fake.home().join("web.yaml");
    fs::write(&file, "service: web\nscore: serve-web\non: 'db[1-3]'\n").unwrap();
    let line = format!("orc service apply {} --wait", file.display());
    let ran = fake.run(&line);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "applied web version 7, flow 43\n"), "{ran:?}");
    assert!(ran.stderr.ends_with("web version 7 is ready on db[1-3] (3)\n"), "{ran:?}");
    assert_eq!(fake.tables().watched.len(), 1);
    let told = fake.run(&format!("{line} --json")).json();
    assert_eq!((&told["service"]["version"], &told["applied"]), (&7.into(), &().into()));
}

#[test]
fn several_are_waited_for_in_turn() {
    let mut api = ready(3);
    api.record.name = ServiceName::new("api").unwrap();
    let fake = fake([api]);
    fake.tables().services.push(ready(3));
    let line = "orc service wait api web";
    fake.run(line).is(
        0,
        "",
        "api version 7 is ready on db[1-3] (3)\nweb version 7 is ready on db[1-3] (3)\n",
    );
    let told = fake.run(&format!("{line} --json")).json()["waited_for"].clone();
    assert_eq!((&told[0]["name"], &told[1]["name"]), (&"api".into(), &"web".into()));
    fake.run("orc service wait api web --version 7")
        .fails(64, &["--version is of one service, and several are named"]);
    // The worst of them counts.
    let mut stopped = ready(3);
    stopped.record.goal = Goal::Stopped;
    fake.tables().services[1] = stopped;
    assert_eq!(fake.run(line).code, 2);
}

#[test]
fn a_conductor_that_is_away_for_a_moment_is_no_end() {
    let fake = fake([ready(3)]);
    fake.tables().refusals = [tonic::Status::unavailable("the conductor is stopping")].into();
    fake.run("orc service wait web").is(
        0,
        "",
        "asking for service web: the conductor is stopping; trying again\n\
         web version 7 is ready on db[1-3] (3)\n",
    );
    fake.tables().refusals = [tonic::Status::permission_denied("not yours")].into();
    fake.run("orc service wait web").fails(6, &["not yours"]);
}

#[test]
fn who_presses_ctrl_c_is_told_how_to_come_back() {
    let fake = fake([with(3, vec![unwell(2, UnitState::Starting, Unready::NotReady)])]);
    let mut command = fake.command("orc", &["service", "wait", "web"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(finished(child).code, 7);
    let back = "service web goes on; to wait again: orc service wait web\n";
    assert!(said.ends_with(back), "{said}");
}
