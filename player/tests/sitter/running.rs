//! What a score meets, and what becomes of what it writes.

use std::fs;

use orchestra_link::ipc::ToAgent;
use orchestra_model::{
    delivery::{Outcome, Refusal},
    limits,
};
use rustix::process::Signal;

use crate::{
    Test,
    world::{PLAYER, World, eventually, is_root},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_score_gets_an_environment_built_anew", a_score_gets_an_environment_built_anew),
    ("a_binary_is_called_by_its_name", a_binary_is_called_by_its_name),
    ("a_score_starts_from_a_plain_state", a_score_starts_from_a_plain_state),
    ("exit_code_and_signal_are_told_apart", exit_code_and_signal_are_told_apart),
    ("interpreters_find_their_script_again_and_again", interpreters_find_their_script),
    ("a_pipe_score_answers", a_pipe_score_answers),
    ("an_answer_is_found_behind_much_talk", an_answer_is_found_behind_much_talk),
    ("64_mib_of_output_are_cut_and_counted", much_output_is_cut_and_counted),
    ("a_running_attempt_keeps_its_version", a_running_attempt_keeps_its_version),
    ("another_user_can_write_its_output", another_user_can_write_its_output),
    ("what_starts_a_script_again_finds_it", what_starts_a_script_again_finds_it),
    ("an_unknown_user_is_a_refusal", an_unknown_user_is_a_refusal),
    ("parameters_never_touch_the_disk", parameters_never_touch_the_disk),
    ("the_largest_parameters_arrive", the_largest_parameters_arrive),
    ("counts_are_kept", counts_are_kept),
    ("nothing_is_left_of_what_ended", nothing_is_left_of_what_ended),
];

fn a_score_gets_an_environment_built_anew() {
    let world = World::new();
    fs::copy("/usr/bin/env", world.path("scores/show")).unwrap();
    world.start();
    let mut lines: Vec<String> = world
        .output_of("show", &[("key", "a b=c"), ("Two", "")])
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    let spool = lines.iter().position(|line| line.starts_with("ORC_SPOOL=")).unwrap();
    assert_eq!(lines.remove(spool).len(), "ORC_SPOOL=".len() + 32);
    let home = lines.remove(0);
    assert!(home.starts_with("HOME=/"), "{home}");
    let dir = format!("ORC_SCORE_DIR={}", world.path("scores").display());
    let player = format!("ORC_PLAYER={PLAYER}");
    assert_eq!(
        lines,
        [
            "LANG=C.UTF-8",
            "ORC_ATTEMPT=1",
            "ORC_AUDIENCE=alice",
            "ORC_FLOW=1",
            "ORC_JOB=job-name",
            &player,
            "ORC_SCORE=show",
            &dir,
            "ORC_TASK=1.1.2",
            "ORC_Two=",
            "ORC_key=a b=c",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    );
}

fn a_binary_is_called_by_its_name() {
    let world = World::new();
    // Complains of missing operands, under the name that it was called by.
    fs::copy("/usr/bin/sleep", world.path("scores/its-name")).unwrap();
    world.start();
    let end = world.ended(world.order("its-name", &[]));
    let stderr = String::from_utf8(end.stderr.head).unwrap();
    assert_eq!(end.outcome, Outcome::Exited(1));
    assert!(stderr.starts_with("its-name: missing operand"), "{stderr}");
}

fn a_score_starts_from_a_plain_state() {
    let world = World::new();
    world.score(
        "look",
        "cat\npwd\numask\ngrep -E '^Sig(Blk|Ign)' /proc/self/status\n\
         read -r stat </proc/$$/stat; set -- ${stat##*) }; echo $$ $3 $4\ncd /proc/$$/fd && echo *; readlink 0\nulimit -n",
    );
    world.start();
    let output = world.output_of("look", &[]);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["/", "0022"], "{output}");
    assert_eq!(lines[2..4], ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]);
    let numbers: Vec<&str> = lines[4].split_whitespace().collect();
    assert!(numbers[0] == numbers[1] && numbers[1] == numbers[2], "{output}");
    // The shell has the script at 3, its own copy of that at 10, and at 4 what it lists here.
    for number in lines[5].split(' ') {
        assert!(["0", "1", "2", "3", "4", "10"].contains(&number), "{output}");
    }
    assert_eq!(lines[6], "/dev/null");
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    assert_eq!(lines[7], own.to_string());
}

fn exit_code_and_signal_are_told_apart() {
    let world = World::new();
    world.score("exit", "exit $ORC_code");
    world.score("die", "kill -$ORC_signal $$");
    world.start();
    for code in ["0", "1", "7", "137", "255"] {
        let end = world.ended(world.order("exit", &[("code", code)]));
        assert_eq!(end.outcome, Outcome::Exited(code.parse().unwrap()));
        assert!(end.started_at.unwrap() <= end.ended_at);
    }
    for signal in ["9", "15", "6", "13"] {
        let end = world.ended(world.order("die", &[("signal", signal)]));
        assert_eq!(end.outcome, Outcome::Signalled(signal.parse().unwrap()));
    }
}

fn interpreters_find_their_script() {
    let world = World::new();
    world.score("sh", "echo from sh");
    world.file("bash", "#!/bin/bash\necho from bash\n", 0o755);
    world.file("perl", "#!/usr/bin/perl\nprint \"from perl\\n\";\n", 0o755);
    world.file("python", "#!/usr/bin/env python3\nprint('from python')\n", 0o755);
    world.start();
    // A host need not have more than a shell.
    let needs = [("sh", "/bin/sh"), ("bash", "/bin/bash"), ("perl", "/usr/bin/perl")];
    for (name, interpreter) in needs.into_iter().chain([("python", "/usr/bin/python3")]) {
        if fs::exists(interpreter).unwrap() {
            for _ in 0..2 {
                assert_eq!(world.output_of(name, &[]), format!("from {name}\n"));
            }
        }
    }
}

fn a_pipe_score_answers() {
    let world = World::new();
    world.score(
        "ask",
        "echo A=1; echo talk; printf 'BAD=x\\377y\\n'; echo A=2 >&2; echo A=3; printf END=last",
    );
    world.file("ask.conf", "interface = \"pipe\"\n", 0o644);
    world.score("mute", "echo A=1");
    world.start();
    let end = world.ended(world.order("ask", &[]));
    let response: Vec<(&str, &str)> =
        end.response.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(response, [("A", "3"), ("BAD", "x\u{fffd}y"), ("END", "last")]);
    assert!(world.ended(world.order("mute", &[])).response.is_empty());
}

fn an_answer_is_found_behind_much_talk() {
    let world = World::new();
    world.set("output_max", "\"64KiB\"");
    world.score("ask", "echo FIRST=1; yes talk | head -c 3000000; echo; echo LAST=2");
    world.file("ask.conf", "interface = \"pipe\"\n", 0o644);
    world.start();
    let end = world.ended(world.order("ask", &[]));
    assert_eq!(end.response.len(), 2, "{:?}", end.response);
    assert_eq!((end.response["FIRST"].as_str(), end.response["LAST"].as_str()), ("1", "2"));
}

/// Without a newline, through a cap far below it, and the last bytes are the true last ones.
fn much_output_is_cut_and_counted() {
    let world = World::new();
    world.score(
        "flood",
        "printf begin; head -c 67108864 /dev/zero | tr '\\0' x; printf end; printf small >&2",
    );
    world.start();
    let end = world.ended(world.order("flood", &[]));
    assert_eq!(end.outcome, Outcome::Exited(0));
    let stdout = end.stdout;
    assert_eq!(stdout.bytes, 67_108_864 + 8);
    assert!(stdout.truncated);
    assert_eq!(stdout.head.len(), limits::OUTPUT_HEAD_BYTES);
    assert_eq!(stdout.tail.len(), limits::OUTPUT_TAIL_BYTES);
    assert!(stdout.head.starts_with(b"beginxxx") && stdout.tail.ends_with(b"xxxend"));
    assert_eq!((&end.stderr.head[..], end.stderr.truncated), (&b"small"[..], false));
}

fn a_running_attempt_keeps_its_version() {
    let world = World::new();
    world.gate("first");
    world.gate("second");
    world.score("version", "echo $$ > $OUT/$ORC_gate.up; cat $OUT/$ORC_gate; echo old");
    let before = world.start().scores;
    let old = world.order("version", &[("gate", "first")]);
    world.number_in("first.up");
    // In place: what runs does not change, nor does what starts before a scan.
    world.score("version", "echo new");
    let frozen = world.order("version", &[("gate", "second")]);
    world.number_in("second.up");
    world.signal(Signal::HUP);
    eventually("a wish for a new session", || {
        matches!(world.hear(), ToAgent::Reattach { .. }).then_some(())
    });
    let after = world.attach_again().scores;
    assert_eq!(after.len(), 1);
    assert_ne!(before[0].hash.unwrap(), after[0].hash.unwrap());
    assert_eq!(world.output_of("version", &[]), "new\n");
    for (key, gate) in [(old, "first"), (frozen, "second")] {
        world.open_gate(gate);
        assert_eq!(world.ended(key).stdout.head, b"old\n");
    }
}

fn another_user_can_write_its_output() {
    if !is_root() {
        return;
    }
    let world = World::new();
    world.score(
        "as-nobody",
        "id -un; id -G; echo $HOME; echo to-stdout > /dev/stdout; echo to-stderr > /dev/stderr\n\
         ls $OUT/../spool && echo entered\nexit 0",
    );
    world.file("as-nobody.conf", "user = \"nobody\"\n", 0o644);
    world.start();
    let end = world.ended(world.order("as-nobody", &[]));
    let stdout = String::from_utf8(end.stdout.head).unwrap();
    let stderr = String::from_utf8(end.stderr.head).unwrap();
    assert!(stdout.starts_with("nobody\n65534\n/"), "{stdout}");
    assert!(stdout.ends_with("to-stdout\n"), "{stdout}");
    assert!(stderr.starts_with("to-stderr\n"), "{stderr}");
}

fn what_starts_a_script_again_finds_it() {
    let world = World::new();
    // As sudo does, it closes all descriptors, so that `$0` is nothing to it.
    world.score(
        "again",
        "if [ \"$1\" ]; then echo again $1; exit; fi\n\
         sh -c 'exec 3<&-; exec \"$0\" by-zero' $0 2> /dev/null\n\
         sh -c 'exec 3<&-; exec \"$0\" by-process' /proc/$$/fd/3",
    );
    world.start();
    assert_eq!(world.output_of("again", &[]), "again by-process\n");
}

fn an_unknown_user_is_a_refusal() {
    let world = World::new();
    world.score("whose", "id");
    world.file("whose.conf", "user = \"no-such-user-here\"\n", 0o644);
    world.score("fine", "echo fine");
    world.start();
    let key = world.order("whose", &[]);
    assert_eq!(
        world.refused(key),
        Refusal::SpawnFailed("there is no user no-such-user-here".to_owned())
    );
    assert_eq!(world.output_of("fine", &[]), "fine\n");
}

fn parameters_never_touch_the_disk() {
    let world = World::new();
    world.gate("go");
    world.score("secret", "[ $ORC_token = geheimnis ] && echo 1 > $OUT/up; cat $OUT/go");
    world.start();
    let key = world.order("secret", &[("token", "geheimnis")]);
    world.number_in("up");
    let found = std::process::Command::new("grep")
        .args(["-r", "-D", "skip", "geheimnis", world.path("spool").to_str().unwrap()])
        .arg(world.path("log"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
}

fn the_largest_parameters_arrive() {
    let world = World::new();
    world.score("sizes", "echo ${#ORC_a} ${#ORC_b} ${#ORC_c} ${#ORC_d}");
    world.start();
    let long = "x".repeat(limits::PARAM_VALUE_BYTES);
    let rest = &long[..limits::PARAMS_BYTES - 3 * long.len() - 4];
    let sizes = world.output_of("sizes", &[("a", &long), ("b", &long), ("c", &long), ("d", rest)]);
    assert_eq!(sizes, format!("{0} {0} {0} {1}\n", long.len(), rest.len()));
}

fn counts_are_kept() {
    let world = World::new();
    world.set("max_tasks", "2");
    world.score("wait", "sleep 1000");
    world.score("one", "sleep 1000");
    world.file("one.conf", "concurrency = 1\n", 0o644);
    world.file("alone.conf", "exclusive = true\n", 0o644);
    world.score("alone", "sleep 1000");
    world.start();
    assert_eq!(world.refused(world.order("none", &[])), Refusal::UnknownScore);
    let one = world.order("one", &[]);
    world.started(one);
    assert_eq!(world.refused(world.order("one", &[])), Refusal::Busy);
    assert_eq!(world.refused(world.order("alone", &[])), Refusal::Busy);
    let two = world.order("wait", &[]);
    world.started(two);
    assert_eq!(world.refused(world.order("wait", &[])), Refusal::Busy);
    for key in [one, two] {
        world.cancel(key);
        assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
    }
    let alone = world.order("alone", &[]);
    world.started(alone);
    assert_eq!(world.refused(world.order("wait", &[])), Refusal::Busy);
    world.cancel(alone);
    assert_eq!(world.ended(alone).outcome, Outcome::Cancelled);
}

fn nothing_is_left_of_what_ended() {
    let world = World::new();
    world.score("quick", "echo quick");
    let spool = world.start().spool;
    for _ in 0..20 {
        assert_eq!(world.output_of("quick", &[]), "quick\n");
    }
    eventually("empty attempts", || (world.attempt_dirs() == 0).then_some(()));
    assert_eq!(world.cgroups(spool), Vec::<std::path::PathBuf>::new());
    let open = fs::read_dir(format!("/proc/{}/fd", world.pid())).unwrap().count();
    assert!(open < 40, "{open} descriptors are open");
    world.signal(Signal::TERM);
    world.wait();
}
