//! Completions in real shells, with names that the conductor knows. A shell that this machine lacks is
//! said to be skipped.

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use orchestra_proto::v1;

use crate::{
    fake::{Fake, bare, ran},
    orc::player,
};

/// Longer than any machine takes; a shell that works waits for 100 ms.
const WITHIN: &str = "20s";

/// A conductor with players, a group, a score and deployments.
fn fake() -> Fake {
    let fake = Fake::start();
    let mut tables = fake.tables();
    tables.players =
        vec![player("db1", true, 0xab), player("fe1", true, 0xab), player("fe2", true, 0xab)];
    let group = |name: &str| v1::Group { name: name.to_owned(), ..v1::Group::default() };
    tables.groups = vec![group("web"), group("wiki")];
    let deployment =
        |name: &str| v1::Deployment { name: name.to_owned(), ..v1::Deployment::default() };
    tables.deployments = vec![deployment("shop"), deployment("desk")];
    drop(tables);
    fake
}

/// Where the programs are, and then the usual places.
fn path() -> OsString {
    let own = Path::new(env!("CARGO_BIN_EXE_orc")).parent().unwrap().to_owned();
    let usual = env::var_os("PATH").unwrap_or_default();
    env::join_paths([own].into_iter().chain(env::split_paths(&usual))).unwrap()
}

/// Where a shell is; `None`, said aloud, where this machine has none.
fn shell(name: &str) -> Option<PathBuf> {
    let found = env::split_paths(&path()).map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        writeln!(std::io::stderr().lock(), "skipped: this machine has no {name}").unwrap();
    }
    found
}

/// Runs a script in a shell, beside a conductor. Returns what it prints.
fn run(fake: &Fake, shell: &Path, arguments: &[&str], script: &str) -> String {
    // The environment of a program that reaches the conductor.
    let program = fake.command("orc", &[]);
    let known = program.get_envs().filter_map(|(key, value)| Some((key, value?)));
    let mut command = Command::new(shell);
    command.env_clear().envs(known).env("PATH", path()).env("TERM", "dumb");
    command.env("ORCHESTRA_COMPLETION_WITHIN", WITHIN).stdin(Stdio::null());
    // A shell may lie where nobody looks for its libraries and functions by themselves.
    for name in ["LD_LIBRARY_PATH", "FPATH"] {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    let output = command.args(arguments).arg(script).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn words(told: &str) -> Vec<&str> {
    told.split_whitespace().collect()
}

#[test]
fn bash_completes_names_that_the_conductor_knows() {
    let Some(bash) = shell("bash") else { return };
    let fake = fake();
    // As readline calls it: the line, and the word that bash makes of its end.
    let complete = |program: &str, line: &str| {
        let script = format!(
            "source <(orc completions bash) && COMP_LINE={line:?} COMP_POINT=${{#COMP_LINE}} && \
             COMP_WORDS=($COMP_LINE) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) && \
             _{program}_names {program} \"${{COMP_WORDS[COMP_CWORD]}}\" x && echo \"${{COMPREPLY[@]}}\""
        );
        run(&fake, &bash, &["-c"], &script)
    };
    assert_eq!(words(&complete("orc", "orc drain f")), ["fe1", "fe2"]);
    assert_eq!(words(&complete("submitjob", "submitjob hello -w db1,f")), ["db1,fe1", "db1,fe2"]);
    // What comes before the @ is there already.
    assert_eq!(words(&complete("submitjob", "submitjob hello -w @w")), ["web", "wiki"]);
    assert_eq!(words(&complete("submitjob", "submitjob he")), ["hello"]);
    assert_eq!(words(&complete("orc", "orc deployment show s")), ["shop"]);
    assert_eq!(words(&complete("getstatus", "getstatus l")), ["last"]);
    // Without names all is as the definitions have it.
    assert_eq!(words(&complete("orc", "orc expl")), ["explain"]);
    assert!(complete("orc", "orc drain --rea").contains("--reason"));
}

#[test]
fn fish_completes_names_that_the_conductor_knows() {
    let Some(fish) = shell("fish") else { return };
    let fake = fake();
    let complete = |line: &str| {
        let script = format!("orc completions fish | source; complete -C {line:?}");
        run(&fake, &fish, &["--no-config", "-c"], &script)
    };
    let drained = complete("orc drain f");
    assert!(words(&drained).contains(&"fe1") && !drained.contains("db1"), "{drained}");
    assert!(words(&complete("submitjob hello -w @w")).contains(&"@web"));
    assert!(words(&complete("orc deployment show ")).contains(&"desk"));
    assert!(complete("orc expl").contains("explain"));
}

#[test]
fn zsh_completes_names_that_the_conductor_knows() {
    let Some(zsh) = shell("zsh") else { return };
    let fake = fake();
    // In a function that zsh calls for a word there are `words` and `CURRENT`; what it would offer goes
    // to `compadd`, which is ours here.
    let complete = |program: &str, line: &str| {
        let script = format!(
            "autoload -Uz compinit && compinit -u -d \"$HOME/dump\" 2>/dev/null\n\
             source <(orc completions zsh {program})\n\
             compadd() {{ while [[ $1 != -- ]]; do shift; done; shift; print -l -- \"$@\" }}\n\
             _{program}_static() {{ print static }}\n\
             line={line:?}\n\
             words=(\"${{(@s: :)line}}\") CURRENT=$#words\n\
             _{program}"
        );
        run(&fake, &zsh, &["-f", "-c"], &script)
    };
    assert_eq!(words(&complete("orc", "orc drain f")), ["fe1", "fe2"]);
    assert_eq!(words(&complete("submitjob", "submitjob hello -w db1,f")), ["db1,fe1", "db1,fe2"]);
    assert_eq!(words(&complete("submitjob", "submitjob hello -w @w")), ["@web", "@wiki"]);
    assert_eq!(words(&complete("orc", "orc deployment show s")), ["shop"]);
    assert_eq!(words(&complete("orc", "orc expl")), ["static"]);
}

#[test]
fn whoever_cannot_be_asked_is_silent() {
    let home = tempfile::tempdir().unwrap();
    let silent = |arguments: &[&str]| ran(&mut bare("orc", arguments, home.path())).is(0, "", "");
    silent(&["candidates", "--", "orc", "drain", ""]);
    silent(&["candidates", "--"]);
    silent(&["candidates", "--", "other", "x"]);
    let fake = Fake::start();
    // A port that is taken, and at which nobody listens.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut command = fake.command("orc", &["candidates", "--", "orc", "drain", ""]);
    ran(command.env("ORCHESTRA_CONDUCTOR", taken.local_addr().unwrap().to_string())).is(0, "", "");
    // One who never says a word.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = fake.command("orc", &["candidates", "--", "orc", "drain", ""]);
    ran(command.env("ORCHESTRA_CONDUCTOR", mute.local_addr().unwrap().to_string())).is(0, "", "");
}
