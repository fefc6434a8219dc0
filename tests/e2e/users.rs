//! Three users where there is root: the sitter, its agent, and those that scores run as. What each
//! of them cannot reach.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
};

use crate::harness::{Fleet, eventually, set_mode};

/// Users that every system has, and that these tests own no files of.
const AGENT: &str = "games";
const TASK: &str = "nobody";
const OTHER_TASK: &str = "daemon";

/// A player with three users; `None`, and said so, where they cannot be had.
fn fleet() -> Option<Fleet> {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can become somebody else");
        return None;
    }
    let missing = [AGENT, TASK, OTHER_TASK].into_iter().find(|name| ids(name).is_none());
    if let Some(missing) = missing {
        println!("not run: there is no user {missing} here");
        return None;
    }
    let fleet = Fleet::new("p1")
        .players_off()
        .player_key("agent_user", &format!("{AGENT:?}"))
        .player_key("task_user", &format!("{TASK:?}"))
        .start();
    let (uid, gid) = ids(AGENT).unwrap();
    let key = fleet.player("p1").dir.join("key.pem");
    chown(&key, Some(uid), Some(gid)).unwrap();
    set_mode(&key, 0o600);
    Some(fleet)
}

#[test]
fn a_score_runs_as_the_task_user_or_as_its_conf_says() {
    let Some(fleet) = fleet() else { return };
    let body = "#!/bin/sh\nid -un; id -Gn; echo \"$HOME\"; grep -E '^(CapEff|CapPrm|CapInh)' /proc/$$/status\n\
                echo through its name >/dev/stdout\n";
    fleet.score("whoami", body, "");
    fleet.score("other", body, &format!("user = {OTHER_TASK:?}\n"));
    fleet.score("nouser", body, "user = \"no-such-user-here\"\n");
    fleet.start_players();
    for (score, user) in [("whoami", TASK), ("other", OTHER_TASK)] {
        let flow = fleet.submitjob(&[score, "-w", "p1", "--wait"]).exits(0).id();
        let task = fleet.task(flow);
        let said = task["stdout"]["head"].as_str().unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], user, "{task}");
        assert!(!lines[1].split(' ').any(|group| group == "root"), "{task}");
        assert!(lines.contains(&"CapEff:\t0000000000000000"), "{task}");
        assert_eq!(lines.last(), Some(&"through its name"), "{task}");
    }
    let flow = fleet.submitjob(&["nouser", "-w", "p1", "--wait"]).exits(2).id();
    let task = fleet.task(flow);
    assert_eq!(task["state"], "refused", "{task}");
    assert!(task["detail"].as_str().unwrap().contains("no-such-user-here"), "{task}");
}

#[test]
fn a_score_reads_neither_key_nor_spool_nor_the_output_of_another_user() {
    let Some(fleet) = fleet() else { return };
    let player = fleet.player("p1");
    let secret = "#!/bin/sh\necho \"start $ORC_TASK $ORC_PLAYER $ORC_ATTEMPT $$\" >>\"$ORC_SCORE_DIR/../record\"\n\
                  echo the secret output\nsleep 30\n";
    fleet.score("secret", secret, &format!("user = {OTHER_TASK:?}\n"));
    // Each line is an attempt; `reached` must not be said once.
    let probe = "#!/bin/sh\n\
        try() { \"$@\" >/dev/null 2>&1 && echo \"reached: $*\"; }\n\
        try cat \"$ORC_player/key.pem\"\n\
        try ls \"$ORC_player/spool\"\n\
        try cat \"$ORC_player/spool/journal\"\n\
        for of in $ORC_others; do\n\
            try cat /proc/$of/environ\n\
            try ls /proc/$of/fd/\n\
            try cat /proc/$of/fd/1\n\
            try cat /proc/$of/mem\n\
            try kill -0 $of\n\
            try kill -STOP $of\n\
        done\n\
        for file in $ORC_files; do try cat $file; try touch $file; done\n\
        try touch \"$ORC_SCORE_DIR/planted\"\n\
        try sh -c ': > \"$ORC_SCORE_DIR/hello\"'\n\
        echo done\n";
    fleet.score("probe", probe, "");
    fleet.start_players();
    let running = fleet.submitjob(&["secret", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let other = fleet.record.of("start")[0].pid;
    let files = files_below(&player.spool());
    assert!(files.len() > 3, "{files:?}");
    let others = format!("others={other} {} {}", player.sitter.pid(), player.agent());
    let files = format!("files={}", files.join(" "));
    let dir = format!("player={}", player.dir.display());
    let flow =
        fleet.submitjob(&["probe", &others, &files, &dir, "-w", "p1", "--wait"]).exits(0).id();
    let task = fleet.task(flow);
    assert_eq!(task["stdout"]["head"], "done\n", "{task}");
    fleet.orc(&["cancel", &running.to_string()]).exits(0);
    fleet.wait_flow(running).exits(5);
    assert_eq!(fleet.score_processes(), []);
    let logs = fleet.orc(&["logs", &format!("{running}@p1")]);
    assert!(logs.out.contains("the secret output"), "{logs}");
}

#[test]
fn the_agent_reads_neither_spool_nor_output_and_signals_no_score() {
    let Some(fleet) = fleet() else { return };
    fleet.start_players();
    let player = fleet.player("p1");
    fleet.submitjob(&["stubborn", "-w", "p1"]).exits(0);
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let score = fleet.record.of("start")[0].pid.to_string();
    let sitter = player.sitter.pid().to_string();

    let agent = fs::read_to_string(format!("/proc/{}/status", player.agent())).unwrap();
    let line = |key: &str| {
        let line = agent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {key} in {agent}"))
    };
    let (uid, gid) = ids(AGENT).unwrap();
    assert_eq!(line("Uid"), format!("{uid}\t{uid}\t{uid}\t{uid}"));
    assert_eq!(line("Gid"), format!("{gid}\t{gid}\t{gid}\t{gid}"));
    assert!(!line("Groups").split(' ').any(|group| group == "0"), "{agent}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(line(set), "0000000000000000", "{set}");
    }
    assert_eq!(line("NoNewPrivs"), "1");

    // What whoever takes it over could do, tried by somebody with its rights.
    let spool = player.spool();
    let reached = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let ran = command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .uid(uid)
            .gid(gid)
            .output();
        ran.unwrap().status.success()
    };
    assert!(reached("cat", &[&player.dir.join("key.pem").display().to_string()]), "its own key");
    assert!(!reached("ls", &[&spool.display().to_string()]));
    for file in files_below(&spool) {
        assert!(!reached("cat", &[&file]), "{file}");
    }
    for other in [&score, &sitter] {
        for signal in ["-0", "-TERM", "-KILL", "-STOP"] {
            // Of the shell, for there may be no other.
            let kill = ["-c", "kill \"$@\"", "sh", signal, other];
            assert!(!reached("sh", &kill), "kill {signal} {other}");
        }
        assert!(!reached("cat", &[&format!("/proc/{other}/environ")]));
        assert!(!reached("ls", &[&format!("/proc/{other}/fd/")]));
    }
    assert!(!reached("sh", &["-c", &format!(": >{}/scores/hello", fleet.dir().display())]));
    fleet.orc(&["cancel", "last"]).exits(0);
    fleet.wait_flow(1).exits(5);
}

/// A user's numbers.
fn ids(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Every file and directory below a directory, itself too.
fn files_below(dir: &Path) -> Vec<String> {
    let mut found = vec![dir.display().to_string()];
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}
