//! What may run, and as what: scores that are in order and scores that are not.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;

use crate::harness::{Fleet, eventually, set_mode};

#[test]
fn an_unknown_score_is_refused_by_the_conductor_and_by_the_player() {
    let fleet = Fleet::new("p1").start();
    let arguments = vec!["nothing", "-w", "p1"];
    fleet.submitjob(&arguments).exits(64).complains("no target has a score nothing");
    let flow = fleet.submit_unheard(&[arguments])[0];
    fleet.wait_flow(flow).exits(2);
    let task = fleet.task(flow);
    assert_eq!(task["state"], "refused", "{task}");
    assert_eq!(task["detail"], "the player has no such score", "{task}");
}

#[test]
fn a_score_that_is_not_in_order_is_disabled_with_a_reason_and_the_others_go_on() {
    let fleet = Fleet::new("p1").players_off().start();
    let scores = fleet.dir().join("scores");
    let body = "#!/bin/sh\necho \"start $ORC_TASK $ORC_PLAYER $ORC_ATTEMPT $$\" >>\"$ORC_SCORE_DIR/../record\"\n";
    for name in
        ["not-executable", "writable", "group-writable", "bad-conf", "writable-conf", "fine"]
    {
        fleet.score(name, body, "");
    }
    set_mode(&scores.join("not-executable"), 0o644);
    fs::write(scores.join("not-executable.conf"), "").unwrap();
    set_mode(&scores.join("writable"), 0o757);
    set_mode(&scores.join("group-writable"), 0o775);
    fs::write(scores.join("bad-conf.conf"), "timeout = \"soon\"\n").unwrap();
    fs::write(scores.join("writable-conf.conf"), "").unwrap();
    set_mode(&scores.join("writable-conf.conf"), 0o666);
    let outside = fleet.dir().join("outside");
    fs::write(&outside, body).unwrap();
    set_mode(&outside, 0o755);
    symlink(&outside, scores.join("absolute-link")).unwrap();
    symlink("../outside", scores.join("relative-link")).unwrap();
    symlink("fine", scores.join("link-within")).unwrap();
    fleet.start_players();

    let disabled = [
        ("not-executable", "is not executable"),
        ("writable", "can be written"),
        ("group-writable", "can be written"),
        ("bad-conf", "timeout"),
        ("writable-conf", "can be written"),
        ("absolute-link", "leaves its directory"),
        ("relative-link", "leaves its directory"),
    ];
    for (name, reason) in disabled {
        let line = fleet.orc(&["scores", name]).exits(0);
        assert!(line.out.contains("disabled") && line.out.contains(reason), "{line}");
        fleet.submitjob(&[name, "-w", "p1"]).exits(64).complains("disabled").complains(reason);
    }
    // Whatever the conductor knows, the player has the last word.
    let flows = fleet.submit_unheard(&disabled.map(|(name, _)| vec![name, "-w", "p1"]));
    for (flow, (_, reason)) in flows.into_iter().zip(disabled) {
        fleet.wait_flow(flow).exits(2);
        let task = fleet.task(flow);
        assert_eq!(task["state"], "refused", "{task}");
        assert!(task["detail"].as_str().unwrap().contains(reason), "{task}");
    }
    assert_eq!(fleet.record.lines(), [], "a disabled score ran");
    for name in ["fine", "link-within"] {
        fleet.submitjob(&[name, "-w", "p1", "--wait"]).exits(0);
    }
}

#[test]
fn a_score_that_is_edited_or_replaced_while_it_runs_runs_as_it_was() {
    let fleet = Fleet::new("p1").start();
    let body = |word: &str| {
        // Far behind the first block that a shell reads.
        let padding = "# nothing\n".repeat(4_000);
        format!(
            "#!/bin/sh\necho \"start $ORC_TASK $ORC_PLAYER $ORC_ATTEMPT $$\" >>\"$ORC_SCORE_DIR/../record\"\n\
             while [ ! -e \"$ORC_SCORE_DIR/../go\" ]; do sleep 0.02; done\n{padding}echo {word}\n"
        )
    };
    fleet.score("slow", &body("first"), "");
    let rescanned = |times: usize| {
        fleet.rescan();
        eventually("the scan", || {
            let log = fleet.player("p1").sitter.log();
            (log.matches("scanned the scores").count() > times).then_some(())
        });
    };
    rescanned(1);
    eventually("the score to be known", || {
        (!fleet.orc(&["scores", "slow"]).out.is_empty()).then_some(())
    });
    let path = fleet.dir().join("scores/slow");
    // Edited in its place: the same file.
    let flow = fleet.submitjob(&["slow", "-w", "p1"]).exits(0).id();
    eventually("the start", || (fleet.record.of("start").len() == 1).then_some(()));
    fs::write(&path, body("edited")).unwrap();
    rescanned(2);
    // Replaced: another file of the name.
    fleet.score("slow", &body("replaced"), "");
    rescanned(3);
    fs::write(fleet.dir().join("go"), "").unwrap();
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.task(flow)["stdout"]["head"], "first\n");
    let flow = fleet.run(&["slow", "-w", "p1"]);
    assert_eq!(fleet.task(flow)["stdout"]["head"], "replaced\n");
    // Gone: the next one is refused.
    fs::remove_file(&path).unwrap();
    rescanned(4);
    eventually("the score to be unknown", || {
        fleet.orc(&["scores", "slow"]).out.is_empty().then_some(())
    });
    fleet.submitjob(&["slow", "-w", "p1"]).exits(64).complains("no target has a score slow");
}

#[test]
fn an_attempt_begins_with_nothing_that_it_was_not_given() {
    let fleet = Fleet::new("p1").players_off().start();
    // By builtins: while a shell starts something else, it blocks signals and opens pipes.
    let body = "#!/bin/sh\nread -r pid name state parent group rest </proc/$$/stat\n\
                echo \"group $group $$\"\necho \"cwd $(readlink /proc/$$/cwd)\"\necho \"arguments $#\"\n\
                while read -r line; do case $line in Sig*) echo \"$line\";; esac; done </proc/$$/status\n";
    fleet.score("inside", body, "");
    fleet.score("open", "#!/bin/sh\nexec ls -l /proc/self/fd\n", "");
    fleet.start_players();
    let said = |score: &str| {
        let task = fleet.task(fleet.run(&[score, "-w", "p1"]));
        task["stdout"]["head"].as_str().unwrap().to_owned()
    };
    // Standard input, output, error; the sealed copy of the score; and what `ls` reads.
    let open = said("open");
    let links: Vec<&str> =
        open.lines().filter_map(|line| Some(line.split_once(" -> ")?.1)).collect();
    let [null, stdout, stderr, others @ ..] = &links[..] else { panic!("{open}") };
    assert!(*null == "/dev/null" && stdout.ends_with("/stdout.pipe"), "{open}");
    assert!(stderr.ends_with("/stderr.pipe"), "{open}");
    let known = |to: &&str| to.starts_with("/memfd:score") || to.starts_with("/proc/");
    assert!(others.iter().all(known), "{open}");

    let said = said("inside");
    let lines: Vec<&str> = said.lines().collect();
    for line in ["cwd /", "arguments 0", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(lines.contains(&line), "{line:?} in {said}");
    }
    let group = lines.iter().find_map(|line| line.strip_prefix("group ")).unwrap();
    let (group, own) = group.split_once(' ').unwrap();
    assert_eq!(group, own, "it leads its group");
}

#[test]
fn a_pipe_scores_last_values_are_its_response() {
    let fleet = Fleet::new("p1").players_off().start();
    let body =
        "#!/bin/sh\nprintf 'version=1\\nnot a pair\\nversion=2\\nempty=\\n=x\\nlast=no newline'\n";
    fleet.score("ask", body, "interface = \"pipe\"\n");
    fleet.start_players();
    let flow = fleet.run(&["ask", "-w", "p1"]);
    let task = fleet.task(flow);
    assert_eq!(
        task["response"],
        json!({"version": "2", "empty": "", "last": "no newline"}),
        "{task}"
    );
    fleet.getstatus(&[&flow.to_string(), "--response"]).exits(0).says("version=2");
}

#[test]
fn concurrency_and_exclusive_hold_on_one_player() {
    let fleet = Fleet::new("p1").players_off().start();
    let work = fs::read_to_string(fleet.dir().join("scores/work")).unwrap();
    fleet.score("single", &work, "concurrency = 1\n");
    fleet.score("alone", &work, "exclusive = true\n");
    fleet.start_players();
    let job = |name: &str, score: &str| json!({"name": name, "score": score, "targets": "p1", "params": {"seconds": "0.2"}});
    let flow = fleet.submit_flow(&json!({"slots": [{"jobs": [
        job("a", "single"), job("b", "single"), job("c", "alone"), job("d", "work"), job("e", "work"),
    ]}]}));
    fleet.wait_flow(flow).exits(0);
    let (mut running, mut most) = (Vec::new(), 0);
    for line in fleet.record.lines() {
        let job = line.task.split('@').next().unwrap().to_owned();
        match line.what.as_str() {
            "start" => running.push(job),
            _ => running.retain(|other| *other != job),
        }
        let of = |number: u32| running.contains(&format!("{flow}.1.{number}"));
        assert!(!(of(1) && of(2)), "two of one: {running:?}");
        assert!(!of(3) || running.len() == 1, "not alone: {running:?}");
        most = most.max(running.len());
    }
    assert!(most > 1, "nothing ran side by side");
}
