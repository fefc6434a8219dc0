//! Daemons that start, stop, and meet another of their kind.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Chance, Fleet, eventually, within};

#[test]
fn a_second_conductor_on_the_same_store_is_refused() {
    let fleet = Fleet::new("p1").start();
    let second = fleet.dir().join("second");
    fs::create_dir(&second).unwrap();
    for name in ["conductor.toml", "players"] {
        let text = fs::read_to_string(fleet.dir().join("conductor").join(name)).unwrap();
        fs::write(second.join(name), text.replace(&fleet.address(), "127.0.0.1:0")).unwrap();
    }
    let ran = fleet.tool("conductor", &["--config-dir", &second.display().to_string()]).run();
    let ran = ran.exits(1).complains("in use");
    assert_eq!(ran.out, "", "it listened before it had the store");
    // The first did not notice.
    fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
}

#[test]
fn a_second_player_on_the_same_spool_is_refused() {
    let fleet = Fleet::new("p1").start();
    let config = fleet.player("p1").dir.join("player.toml").display().to_string();
    let ran = fleet.tool("player", &["--config", &config]).run().exits(1);
    ran.complains("in use by another player");
    fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
}

#[test]
fn of_two_live_sessions_of_one_name_the_older_stays() {
    let fleet = Fleet::new("p1").start();
    let double = fleet.double_of("p1");
    double.sitter.start();
    let told = "p1 has another session, which is alive";
    eventually("the newer to be refused", || double.sitter.log().contains(told).then_some(()));
    eventually("the conductor to say so", || fleet.conductor.log().contains(told).then_some(()));
    let flow = fleet.submitjob(&["work", "seconds=0", "-w", "p1", "--wait"]).exits(0).id();
    assert_eq!(fleet.task(flow)["state"], "ok");
    assert!(!double.sitter.log().contains("started an attempt"), "{}", double.sitter.log());

    // An older one that does not answer is superseded: it may be a host that is gone.
    fleet.player("p1").signal_agent(Signal::STOP);
    eventually("the double to be let in", || {
        double.sitter.log().contains("INFO attached").then_some(())
    });
    let flow = fleet.submitjob(&["work", "seconds=0", "-w", "p1", "--wait"]).exits(0).id();
    assert_eq!(fleet.task(flow)["state"], "ok");
    eventually("the double to say so", || {
        double.sitter.log().contains("started an attempt").then_some(())
    });
    assert_eq!(fleet.record.of("start").len(), 2);
}

/// It closes nothing, and its host's kernel takes what it is sent: it answers no ping.
#[test]
fn a_player_whose_agent_is_stopped_counts_as_absent() {
    let fleet = Fleet::new("p1").start();
    let player = fleet.player("p1");
    player.signal_agent(Signal::STOP);
    let flow = fleet.submitjob(&["work", "seconds=0", "-w", "p1"]).exits(0).id();
    // Twice the time of the rule, which a busy machine may need.
    within(Duration::from_secs(90), "p1 to be absent", || {
        fleet.orc(&["players", "--absent"]).out.contains("p1 ").then_some(())
    });
    assert!(fleet.getstatus(&[&flow.to_string()]).out.contains("absent p1"));
    player.signal_agent(Signal::CONT);
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.record.of("start").len(), 1);
}

#[test]
fn a_conductor_that_is_told_to_stop_has_everything_on_disk() {
    let mut chance = Chance::new(7);
    let fleet = Fleet::new("p[1-2]").start();
    for signal in [Signal::TERM, Signal::INT] {
        let flow = fleet.submitjob(&["work", "seconds=1", "-w", "@all"]).exits(0).id();
        chance.delay(std::time::Duration::from_millis(200));
        let waiting =
            fleet.tool("orc", &["wait", &flow.to_string(), "--connect-timeout", "30s"]).start();
        fleet.conductor.signal(signal);
        assert!(fleet.conductor.wait().success(), "{}", fleet.conductor.log_tail());
        assert!(fleet.conductor.log().contains("conductor stopped"));
        fleet.start_conductor();
        // Who waited goes on waiting over the restart.
        waiting.wait().exits(0);
        fleet.getstatus(&[&flow.to_string()]).exits(0);
    }
    assert!(fleet.record.count("start").values().all(|count| *count == 1));
    assert_eq!(fleet.record.of("start").len(), 4);
}

#[test]
fn a_player_that_is_told_to_stop_leaves_its_scores_to_the_next() {
    let fleet = Fleet::new("p1").start();
    let flow = fleet.submitjob(&["chatter", "lines=40", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let player = fleet.player("p1");
    let agent = player.agent();
    assert!(player.sitter.stop().success());
    assert!(!fleet.score_processes().is_empty(), "the score was left alone");
    eventually("the agent to be gone", || (!crate::harness::is_alive(agent)).then_some(()));
    player.sitter.start();
    fleet.wait_flow(flow);
    let task = fleet.task(flow);
    assert!(["ok", "lost"].contains(&task["state"].as_str().unwrap()), "{task}");
    assert_eq!(fleet.record.of("broken"), []);
    fleet.wait_no_score_runs();
    fleet.record.nothing_started_twice();
}

#[test]
fn a_player_with_a_stop_grace_waits_for_what_runs_and_takes_nothing_new() {
    let fleet = Fleet::new("p1").player_key("stop_grace", "\"30s\"").start();
    let flow = fleet.submitjob(&["work", "seconds=1", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let player = fleet.player("p1");
    player.sitter.signal(Signal::TERM);
    let late = fleet.submitjob(&["work", "seconds=0", "-w", "p1"]).exits(0).id();
    assert!(player.sitter.wait().success());
    assert_eq!(fleet.record.of("end").len(), 1);
    assert_eq!(fleet.record.of("start").len(), 1, "it took work although it was stopping");
    player.sitter.start();
    fleet.wait_flow(flow).exits(0);
    fleet.wait_flow(late).exits(0);
    assert_eq!(fleet.task(late)["state"], json!("ok"));
}

#[test]
fn daemons_with_a_broken_configuration_say_everything_that_is_wrong() {
    let fleet = Fleet::new("p1").players_off().start();
    let player = fleet.player("p1");
    player.set("max_tasks", "0");
    player.set("output_max", "\"lots\"");
    player.set("conducters", "[]");
    let config = player.dir.join("player.toml").display().to_string();
    let ran = fleet.tool("player", &["--config", &config]).run().exits(1);
    ran.complains("max_tasks").complains("output_max").complains("conducters").complains(&config);
    fleet.tool("player", &["--frobnicate"]).run().exits(64);
    fleet.tool("conductor", &["--frobnicate"]).run().exits(64);
    for program in ["conductor", "player", "submitjob", "getstatus", "orc", "orchestra-certs"] {
        fleet.tool(program, &["--version"]).run().exits(0);
        fleet.tool(program, &["--help"]).run().exits(0);
    }
}

#[test]
fn everything_goes_when_the_lifeline_is_cut() {
    let fleet = Fleet::new("p1").players_off().start();
    // Its standard input becomes the lifeline, whose other end is here.
    let config = fleet.player("p1").dir.join("player.toml");
    let script = format!(
        "exec {player} --config {config} --lifeline 9 9<&0 </dev/null",
        player =
            std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("player").display(),
        config = config.display(),
    );
    let mut sitter = Command::new("bash")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stderr(fs::File::create(fleet.dir().join("lifeline.log")).unwrap())
        .spawn()
        .unwrap();
    fleet.submitjob(&["escape", "-w", "p1"]).exits(0);
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    drop(sitter.stdin.take());
    let ended = sitter.wait().unwrap();
    let log = fs::read_to_string(fleet.dir().join("lifeline.log")).unwrap();
    assert!(ended.success(), "{ended}: {log}");
    assert_eq!(fleet.score_processes(), []);
}
