//! What scores write, and lists that are long: all of it bounded.

use std::{fs, time::Instant};

use serde_json::json;

use crate::harness::{Fleet, eventually};

#[test]
fn sixty_four_mebibytes_of_output_are_counted_and_kept_at_both_ends() {
    const BYTES: u64 = 64 << 20;
    let fleet = Fleet::new("p1").players_off().start();
    let body = format!(
        "#!/bin/sh\necho THE START\nhead -c {rest} /dev/zero | tr '\\0' x\necho THE END\n",
        rest = BYTES - 18
    );
    fleet.score("flood", &body, "");
    fleet.start_players();
    let flow = fleet.submitjob(&["flood", "-w", "p1", "--wait"]).exits(0).id();
    let task = fleet.task(flow);
    let stdout = &task["stdout"];
    let (head, tail) = (stdout["head"].as_str().unwrap(), stdout["tail"].as_str().unwrap());
    assert_eq!((&stdout["bytes"], &stdout["truncated"]), (&json!(BYTES), &json!(true)));
    assert!(head.starts_with("THE START\nxxx") && head.len() <= 16 << 10, "{}", head.len());
    assert!(tail.ends_with("xxxTHE END\n") && tail.len() <= 48 << 10, "{}", tail.len());
    let hwm = memory(fleet.player("p1").sitter.pid(), "VmHWM");
    assert!(hwm < 64 << 10, "the sitter needed {hwm} KiB");
    // The player takes more, and of the flood no more is left on its disk than is kept of any attempt.
    fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
    eventually("the spool to be small", || {
        let left = size_of(&fleet.player("p1").spool());
        (left < 2 << 20).then_some(())
    });
}

#[test]
fn the_whole_of_an_output_is_fetched_from_its_host() {
    const LINES: u64 = 4_000_000;
    let fleet = Fleet::new("p1").player_key("output_max", "\"64MiB\"").players_off().start();
    fleet.score("lines", &format!("#!/bin/sh\nseq 1 {LINES}\necho trouble >&2\n"), "");
    fleet.start_players();
    let flow = fleet.submitjob(&["lines", "-w", "p1", "--wait"]).exits(0).id();
    let task = format!("{flow}@p1");
    let all: String = (1..=LINES).map(|line| format!("{line}\n")).collect();
    let whole = || {
        let ran = fleet.orc(&["logs", &task, "--whole"]).exits(0);
        assert!(ran.out == all && ran.err.ends_with("trouble\n"), "{} bytes", ran.out.len());
    };
    whole();
    let player = fleet.player("p1");
    let before = memory(player.sitter.pid(), "VmHWM");
    assert!(before < 40 << 10, "the sitter needed {before} KiB");
    // Whoever reads it slowly has it in no memory, and is in nobody's way.
    let slow = fleet.tool("orc", &["logs", &task, "--whole"]).start();
    slow.signal(rustix::process::Signal::STOP);
    fleet.run(&["hello", "-w", "p1"]);
    slow.signal(rustix::process::Signal::CONT);
    assert!(slow.wait().exits(0).out == all);
    assert!(memory(fleet.conductor.pid(), "VmHWM") < 120 << 10);

    player.kill_agent();
    player.sitter.kill();
    fleet.wait_detached("p1");
    let short = fleet.orc(&["logs", &task, "--whole"]).exits(1);
    let short = short.complains("p1 is not attached").complains("trouble");
    assert!(short.out.starts_with("1\n2\n") && short.out.ends_with("\n4000000\n"));
    assert!(short.out.contains(" bytes left out"), "{}", short.out.len());
    fleet.start_players();
    fleet.wait_attached(&["p1"]);
    whole();

    // What was beyond what is kept of any attempt is missing, although the host has the rest.
    player.sitter.kill();
    fleet.wait_detached("p1");
    player.set("output_max", "\"1MiB\"");
    fleet.start_players();
    fleet.wait_attached(&["p1"]);
    let cut = fleet.submitjob(&["lines", "-w", "p1", "--wait"]).exits(0).id();
    let cut = fleet.orc(&["logs", &format!("{cut}@p1"), "--whole"]).exits(1);
    let cut = cut.complains("some of it is missing here");
    assert!(cut.out.len() > 1 << 20 && cut.out.ends_with("\n4000000\n"), "{}", cut.out.len());

    // What is not there any more is told, and never shown as empty.
    player.sitter.kill();
    fleet.wait_detached("p1");
    player.set("output_keep", "\"0s\"");
    fleet.start_players();
    fleet.wait_attached(&["p1"]);
    let gone = fleet.orc(&["logs", &task, "--whole"]).exits(1);
    let gone = gone.complains("keeps no more of it than its end tells");
    assert!(gone.out.contains(" bytes left out") && gone.out.ends_with("\n4000000\n"));
}

#[test]
fn output_without_a_newline_and_not_utf8_comes_back() {
    let fleet = Fleet::new("p1").players_off().start();
    fleet.score("odd", "#!/bin/sh\nprintf 'a\\377\\376b\\000c'\nprintf 'no newline' >&2\n", "");
    fleet.score("silent", "#!/bin/sh\n", "");
    fleet.start_players();
    let flow = fleet.submitjob(&["odd", "-w", "p1", "--wait"]).exits(0).id();
    let task = fleet.task(flow);
    assert_eq!(task["stdout"]["head"], "a\u{fffd}\u{fffd}b\0c", "{task}");
    assert_eq!(task["stdout"]["bytes"], 6);
    assert_eq!(task["stderr"]["head"], "no newline");
    for how in ["-b", "-L", "--tasks"] {
        fleet.getstatus(&[&flow.to_string(), how]).exits(0);
    }
    let flow = fleet.submitjob(&["silent", "-w", "p1", "--wait"]).exits(0).id();
    assert_eq!(fleet.task(flow)["stdout"]["bytes"], 0);
}

#[test]
fn the_output_of_many_is_gathered_by_identical_text() {
    let fleet = Fleet::new("p[1-4]").players_off().start();
    let body = "#!/bin/sh\n[ $ORC_PLAYER = p3 ] && echo different || echo same\n";
    fleet.score("differ", body, "");
    fleet.start_players();
    let flow = fleet.submitjob(&["differ", "-w", "@all", "--wait"]).exits(0).id();
    let gathered = fleet.getstatus(&[&flow.to_string(), "-b"]).exits(0);
    let gathered = gathered.says("p[1-2,4]").says("p3");
    assert_eq!(gathered.out.matches("same").count(), 1, "{gathered}");
}

#[test]
fn a_hundred_thousand_absent_hosts_are_listed_in_bounded_memory_on_both_sides() {
    const HOSTS: usize = 100_000;
    let fleet = Fleet::new("p1").start();
    fleet.write_players(&format!("p1\nghost[1-{HOSTS}]\n"));
    fleet.orc(&["conductor", "reload"]).exits(0);
    let ghosts = format!("ghost[1-{HOSTS}]");
    let flow = fleet.submitjob(&["hello", "-w", &ghosts]).exits(0).id();
    let id = flow.to_string();
    fleet.getstatus(&[&id]).exits(7);

    let conductor = fleet.conductor.pid();
    // Forgets the highest, which was that of the submission.
    fs::write(format!("/proc/{conductor}/clear_refs"), "5").unwrap();
    let before = memory(conductor, "VmRSS");
    let since = Instant::now();
    for form in [&["--tasks"][..], &["--tasks", "--json"]] {
        let listing = fleet.tool("getstatus", &[&[id.as_str()], form].concat()).start();
        let pid = listing.pid();
        let mut highest = 0;
        eventually("the listing to end", || {
            let now = memory(pid, "VmHWM");
            highest = highest.max(now);
            // A zombie has no memory any more.
            (now == 0 && highest > 0).then_some(())
        });
        let listing = listing.wait().exits(7);
        assert_eq!(
            listing.out.matches("@ghost").count(),
            HOSTS,
            "tasks in {} bytes",
            listing.out.len()
        );
        assert!(highest < 40 << 10, "getstatus needed {highest} KiB");
    }
    let grown = memory(conductor, "VmHWM").saturating_sub(before);
    println!(
        "two listings took {:?}; the conductor has {before} KiB and grew by {grown} KiB",
        since.elapsed()
    );
    assert!(grown < 32 << 10, "the conductor grew by {grown} KiB over {before} KiB");

    // Nobody who reads slowly, or goes away, hurts anybody else.
    let stuck = fleet.tool("getstatus", &[&id, "--tasks"]).start();
    stuck.signal(rustix::process::Signal::STOP);
    fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
    drop(stuck);
    fleet.orc(&["cancel", &id]).exits(0);
    fleet.wait_flow(flow).exits(5);
}

/// A figure of a process, in KiB; 0 where it is gone.
fn memory(pid: i32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let figure = line.and_then(|line| line.trim().strip_suffix(" kB"));
    figure.map_or(0, |figure| figure.parse().unwrap())
}

/// Bytes of all files below a directory.
fn size_of(dir: &std::path::Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// What a score writes is told while it runs, where it runs: as far as it has come, and to its end.
#[test]
fn what_runs_is_read_and_followed() {
    let fleet = Fleet::new("p1").players_off().start();
    let body = "#!/bin/sh\necho begun\necho hm >&2\n\
                until [ -e \"$ORC_SCORE_DIR/../gates/p1\" ]; do sleep 0.05; done\necho over\n";
    fleet.score("slow", body, "");
    fleet.start_players();
    let flow = fleet.submitjob(&["slow", "-w", "p1"]).exits(0).id();
    fleet.wait_state(flow, "running");
    let task = format!("{flow}@p1");
    eventually("what there is so far", || {
        let so_far = fleet.orc(&["logs", &task]).exits(0);
        (so_far.out == "begun\n" && so_far.err.ends_with("hm\n")).then_some(())
    });
    let follower = fleet.tool("orc", &["logs", &task, "-f"]).start();
    eventually("it to be followed", || (follower.so_far("out") == "begun\n").then_some(()));
    // Over a crash of the conductor, which has nothing of it.
    fleet.crash_conductor();
    fleet.go("p1");
    let followed = follower.wait().exits(0);
    assert_eq!(followed.out, "begun\nover\n", "{followed:?}");
    assert!(followed.err.contains("exit 0"), "{followed:?}");
    fleet.orc(&["logs", &task]).exits(0).says("over");
}

/// What many write is followed a line at a time, over a crash of the conductor: each line once.
#[test]
fn what_many_write_is_followed() {
    let fleet = Fleet::new("p[1-3]").players_off().start();
    let body = "#!/bin/sh\necho begun\n\
                until [ -e \"$ORC_SCORE_DIR/../gates/$ORC_PLAYER\" ]; do sleep 0.05; done\necho over >&2\n";
    fleet.score("slow", body, "");
    fleet.start_players();
    let flow = fleet.submitjob(&["slow", "-w", "@all"]).exits(0).id();
    let follower = fleet.tool("orc", &["logs", &flow.to_string(), "-f", "-w", "p[1-2]"]).start();
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let begun = ["p1: begun", "p2: begun"];
    eventually("both to be told", || (lines(&follower.so_far("out")) == begun).then_some(()));
    let gathered = fleet.tool("orc", &["logs", &flow.to_string(), "-fb"]).start();
    let counted = |text: &str| text.matches("begun\n").count();
    eventually("they to be told gathered", || (counted(&gathered.so_far("out")) > 0).then_some(()));
    fleet.crash_conductor();
    fleet.wait_attached(&["p1", "p2", "p3"]);
    fleet.go("p[1-3]");
    let followed = follower.wait().exits(0);
    let all = ["p1! over", "p1: begun", "p2! over", "p2: begun"];
    assert_eq!(lines(&followed.out), all, "{followed:?}");
    // Each host says each once; which say it together is a matter of when.
    let gathered = gathered.wait().exits(0);
    for text in ["begun", "! over"] {
        let blocks = gathered.out.split("---------------\np").skip(1);
        let hosts = blocks.filter(|block| block.lines().any(|line| line == text)).map(|block| {
            let count = block.split(['(', ')']).nth(1).and_then(|count| count.parse().ok());
            count.unwrap_or(0_usize)
        });
        assert_eq!(hosts.sum::<usize>(), 3, "{text} of {gathered:?}");
    }
}
