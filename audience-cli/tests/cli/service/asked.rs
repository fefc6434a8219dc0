//! What is asked of services, and what is told of what came of it.

use std::{fs, io::Write as _, process::Stdio};

use orchestra_model::{Millis, service::ReadySign};
use orchestra_proto::{decode_service, v1};
use serde_json::json;
use v1::change_service_request::Verb;

use crate::fake::{Fake, finished};

const FILE: &str = "service: web\nscore: serve-web\non: 'db[1-3]'\nready: {notify: true}\n";

fn changed() -> v1::ServiceChanged {
    v1::ServiceChanged { name: "web".to_owned(), version: 7, flow: 42, ..Default::default() }
}

fn fake() -> Fake {
    let fake = Fake::start();
    fake.tables().service_changed = changed();
    fs::write(fake.home().join("web.yaml"), FILE).unwrap();
    fake
}

fn apply(fake: &Fake, flags: &str) -> crate::fake::Ran {
    fake.run(&format!("orc service apply {}{flags}", fake.home().join("web.yaml").display()))
}

#[test]
fn a_file_is_applied() {
    let fake = fake();
    apply(&fake, "").is(0, "applied web version 7, flow 42\n", "to follow it: orc wait 42\n");
    let spec = decode_service(&fake.tables().applied[0].specs[0]).unwrap();
    assert_eq!((spec.name.as_str(), spec.on.as_str()), ("web", "db[1-3]"));
    assert_eq!(spec.upkeep.ready.sign, ReadySign::Notify);
    apply(&fake, " --take-over").is(
        0,
        "applied web version 7, flow 42\n",
        "to follow it: orc wait 42\n",
    );
    let takes_over: Vec<bool> = fake.tables().applied.iter().map(|it| it.take_over).collect();
    assert_eq!(takes_over, [false, true]);
    assert_eq!(
        apply(&fake, " --json").json(),
        json!({"schema": 1, "applied": {"service": "web", "version": 7, "unchanged": false,
               "flow": 42, "left_out": "", "waiting": [], "moves": [], "trouble": null}})
    );
}

#[test]
fn several_files_are_applied_at_once() {
    let fake = fake();
    let (web, api) = (fake.home().join("web.yaml"), fake.home().join("api.yaml"));
    fs::write(&api, FILE.replace("service: web", "service: api")).unwrap();
    let line = format!("orc service apply {} {}", api.display(), web.display());
    let follow = "to follow it: orc wait 42\n";
    fake.run(&line).is(
        0,
        "applied api version 7, flow 42\napplied web version 7, flow 42\n",
        follow,
    );
    let asked = fake.tables().applied[0].clone();
    let names = asked.specs.iter().map(|spec| decode_service(spec).unwrap().name.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["api", "web"]);
    let told = fake.run(&format!("{line} --json")).json();
    let told: Vec<_> = told["all_applied"].as_array().unwrap().iter().collect();
    assert_eq!((told.len(), &told[0]["service"], &told[1]["flow"]), (2, &json!("api"), &json!(42)));
    fake.tables().service_plan = v1::ServicePlan { unchanged: true, ..Default::default() };
    let plans = fake.run(&format!("{line} --plan --json")).json()["plans"].clone();
    assert_eq!((&plans[0]["service"], &plans[1]["service"]), (&json!("api"), &json!("web")));
    let both = format!("orc service apply {} {}", web.display(), web.display());
    let path = web.display();
    fake.run(&both).fails(
        64,
        &[
            &format!("reading the services from {path}, {path}"),
            &format!("both {path} and {path} are service web"),
            "apply one of them",
        ],
    );
    assert_eq!(fake.tables().applied.len(), 2, "nobody was asked");
}

#[test]
fn who_applies_a_lease_is_told_what_it_means() {
    let fake = fake();
    fs::write(fake.home().join("web.yaml"), format!("{FILE}at_most_one: {{lease: 2m}}\n")).unwrap();
    let note = "an outage of the conductor that is longer than its lease (2m) stops the service\n\
                to follow it: orc wait 42\n";
    apply(&fake, "").is(0, "applied web version 7, flow 42\n", note);
    let spec = decode_service(&fake.tables().applied[0].specs[0]).unwrap();
    assert_eq!(spec.upkeep.lease(), Some(Millis::minutes(2)));
}

#[test]
fn standard_input_is_a_file_too() {
    let fake = fake();
    let mut command = fake.command("orc", &["service", "apply", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = r#"{"service": "web", "score": "serve-web", "on": "@web"}"#;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert_eq!(finished(child).code, 0);
    let applied = decode_service(&fake.tables().applied[0].specs[0]).unwrap();
    assert_eq!(applied.on, "@web");
}

#[test]
fn what_is_wrong_with_a_file_is_told_before_anybody_is_asked() {
    let fake = fake();
    fs::write(fake.home().join("web.yaml"), "service: web\nlogs: []\nRestartSec: 1\n").unwrap();
    apply(&fake, "").fails(
        64,
        &[
            "error: reading the service from ",
            "4 problems",
            "field \"logs\" is not offered yet",
            "here it is called restart.first",
            "score is missing",
        ],
    );
    assert!(fake.tables().applied.is_empty());
    apply(&fake, " --timeout 5m").fails(64, &[]);
    fs::write(fake.home().join("web.yaml"), FILE).unwrap();
    apply(&fake, " --timeout 5m").fails(64, &["add --wait"]);
    fake.run("orc service apply nowhere.yaml").fails(64, &["nowhere.yaml"]);
}

#[test]
fn what_is_left_out_is_told_with_the_reason() {
    let fake = fake();
    fake.tables().service_changed = v1::ServiceChanged {
        flow: 0,
        left_out: "db[1-3]".to_owned(),
        trouble: "no score serve-web is installed there".to_owned(),
        waiting: vec![super::foreseen::waiting()],
        ..changed()
    };
    apply(&fake, "").is(
        0,
        "applied web version 7\n",
        "no flow could be made: no score serve-web is installed there\n\
         left out, and brought up when they can be: db[1-3] (3): they are absent, drained, or of a \
         release that keeps no services (orc players)\n\
         2 of zone east wait for room: of 10 players 4 are of another zone or lack a label, 6 have \
         not 1GiB left\n\
         how it stands: orc service show web\n",
    );
    let told = apply(&fake, " --json").json();
    assert_eq!(told["applied"]["flow"], json!(null));
    assert_eq!(told["applied"]["left_out"], "db[1-3]");
    assert_eq!(told["applied"]["trouble"], "no score serve-web is installed there");
}

#[test]
fn what_would_move_is_told_and_what_does() {
    let fake = fake();
    let moved = |ordinal, from: &str, to: &str| v1::ServiceMove {
        ordinal,
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let moves = vec![moved(3, "db1", "db4"), moved(5, "db1", "db7")];
    fake.tables().service_changed =
        v1::ServiceChanged { flow: 0, unchanged: true, moves: moves.clone(), ..changed() };
    let lines = "  web/3 from db1 to db4\n  web/5 from db1 to db7\n";
    let expected = format!("rebalance planned web version 7\n{lines}");
    fake.run("orc service rebalance web --plan").is(0, expected.as_str(), "");
    let asked = fake.tables().service_changes.pop().unwrap();
    assert_eq!(asked.verb, Some(Verb::Rebalance(v1::ServiceRebalance { plan: true })));
    let told = fake.run("orc service rebalance web --plan --json").json();
    assert_eq!(
        told["rebalance_planned"]["moves"][1],
        json!({"id": "web/5", "from": "db1", "to": "db7"})
    );
    fake.tables().service_changed = v1::ServiceChanged { moves, ..changed() };
    let expected = format!("rebalanced web version 7, flow 42\n{lines}");
    fake.run("orc service rebalance web").is(0, expected.as_str(), "to follow it: orc wait 42\n");
    fake.tables().service_changed = v1::ServiceChanged { flow: 0, unchanged: true, ..changed() };
    fake.run("orc service rebalance web").is(0, "unchanged web version 7\n", "");
}

#[test]
fn nothing_changes_where_nothing_differs() {
    let fake = fake();
    fake.tables().service_changed = v1::ServiceChanged { flow: 0, unchanged: true, ..changed() };
    apply(&fake, "").is(0, "unchanged web version 7\n", "");
    assert_eq!(apply(&fake, " --json").json()["applied"]["unchanged"], true);
}

#[test]
fn each_verb_asks_for_what_it_says() {
    let fake = fake();
    let nothing = v1::Empty {};
    for (line, what, verb) in [
        ("restart web", "restarted", Verb::Restart(String::new())),
        ("restart web -w db[1-2]", "restarted", Verb::Restart("db[1-2]".to_owned())),
        ("reload web", "reloaded", Verb::Reload(String::new())),
        ("reload web -w db1", "reloaded", Verb::Reload("db1".to_owned())),
        ("signal web USR1", "signalled", signal(10, "")),
        ("rebalance web", "rebalanced", Verb::Rebalance(v1::ServiceRebalance { plan: false })),
        ("scale web 5", "scaled", scale("", 5, false)),
        ("scale web east=0 --take-over", "scaled", scale("east", 0, true)),
        ("signal web sigquit -w db[1-2]", "signalled", signal(3, "db[1-2]")),
        ("stop web --yes", "stopped", Verb::Stop(nothing)),
        ("start web", "started", Verb::Start(nothing)),
        ("pause web", "paused", Verb::Pause(nothing)),
        ("resume web", "resumed", Verb::Resume(nothing)),
        ("remove web --yes", "removed", Verb::Remove(nothing)),
        ("adopt web", "adopted", Verb::Adopt(String::new())),
        ("adopt web -w db1", "adopted", Verb::Adopt("db1".to_owned())),
        ("stop-stranger web --yes", "stopped", Verb::StopStranger(String::new())),
        ("stop-stranger web -w db1 --yes", "stopped", Verb::StopStranger("db1".to_owned())),
        ("declare-dead web/3 --yes", "declared", Verb::DeclareDead(3)),
        ("revert web", "reverted", Verb::Revert(0)),
        ("revert web 6", "reverted", Verb::Revert(6)),
    ] {
        let text = match line.starts_with("stop-stranger") {
            true => format!("{what} strangers of web, flow 42\n"),
            false => format!("{what} web version 7, flow 42\n"),
        };
        let line = format!("orc service {line}");
        fake.run(&line).is(0, &text, "to follow it: orc wait 42\n");
        let asked = fake.tables().service_changes.pop().unwrap();
        assert_eq!((asked.name.as_str(), asked.verb), ("web", Some(verb)), "{line}");
        let told = fake.run(&format!("{line} --json")).json();
        assert_eq!(told[what]["flow"], 42, "{line}");
    }
}

fn scale(zone: &str, count: u32, take_over: bool) -> Verb {
    Verb::Scale(v1::ServiceScale { zone: zone.to_owned(), count, take_over })
}

fn signal(signal: i32, hosts: &str) -> Verb {
    Verb::Signal(v1::ServiceSignal { signal, hosts: hosts.to_owned() })
}

#[test]
fn a_signal_that_no_program_answers_is_not_sent() {
    let fake = fake();
    let all =
        "expected one of HUP, INT, QUIT, ABRT, USR1, USR2, ALRM, TERM, CONT, TTIN, TTOU, WINCH";
    for (signal, why) in [("KILL", "KILL: no program"), ("19", "STOP: no program"), ("11", all)] {
        fake.run(&format!("orc service signal web {signal}")).fails(64, &[why]);
    }
    fake.run("orc service signal web 99").fails(64, &["expected a signal like TERM"]);
    assert!(fake.tables().service_changes.is_empty());
}

#[test]
fn what_ends_every_run_has_to_be_meant() {
    let fake = fake();
    fake.run("orc service stop web")
        .fails(64, &["hint: if that is meant: orc service stop web --yes"]);
    fake.run("orc service remove web").fails(64, &["orc service remove web --yes"]);
    fake.run("orc service stop-stranger web")
        .fails(64, &["hint: if that is meant: orc service stop-stranger web --yes"]);
    fake.run("orc service declare-dead web/3").fails(
        64,
        &["if that one is alive nevertheless, two are", "orc service declare-dead web/3 --yes"],
    );
    assert!(fake.tables().service_changes.is_empty());
}

#[test]
fn words_that_are_none_are_refused_here() {
    let fake = fake();
    fake.run("orc service start Web").fails(64, &["Web"]);
    fake.run("orc service revert web 0").fails(64, &["0"]);
    for instance in ["web", "web/0", "web/x", "Web/1", "/1"] {
        fake.run(&format!("orc service declare-dead {instance} --yes")).fails(64, &[instance]);
    }
    fake.run("orc service restart web -w a!a").fails(3, &["the host set is empty"]);
    assert!(fake.tables().service_changes.is_empty());
}

#[test]
fn what_the_conductor_refuses_is_told() {
    let fake = fake();
    fake.tables().refusals = [tonic::Status::not_found("there is no service web")].into();
    fake.run("orc service start web")
        .fails(8, &["error: starting service web: there is no service web"]);
}
