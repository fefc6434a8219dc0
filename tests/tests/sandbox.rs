//! The sandbox, with its real daemons: what it returns, that it mends what dies, and that nobody
//! is left of it however it ends.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says so by failing")]

mod harness;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use harness::{Place, eventually, orc};
use rustix::{
    net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt},
    process::{Pid, Signal, kill_process},
};

/// A sandbox that runs this script.
fn run(place: &Place, players: &str, script: &str) -> Command {
    let mut command = orc();
    command.args(["sandbox", "run", "--players", players, "--dir"]).arg(&place.sandbox);
    command.args(["--", "sh", "-c", script]).env("ROOT", &place.root).stdin(Stdio::null());
    command
}

/// A process that is killed when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that a daemon can listen on, and nobody else is given while the socket lives.
fn reserve() -> (OwnedFd, u16) {
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&held, true).unwrap();
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(getsockname(&held).unwrap()).unwrap();
    (held, address.port())
}

fn text(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn run_returns_what_the_command_returns() {
    let code = |script: &str| run(&Place::new(), "db1", script).output().unwrap().status.code();
    assert_eq!(code("submitjob hello name=you -w @all --wait && getstatus last -b >&2"), Some(0));
    assert_eq!(code("exit 77"), Some(77));
    assert_eq!(code("kill -KILL $$"), Some(128 + 9));
    let command_not_found = orc()
        .args(["sandbox", "run", "--players", "db1", "--dir"])
        .arg(&Place::new().sandbox)
        .args(["--", "no-such-command"])
        .output()
        .unwrap();
    assert_eq!(command_not_found.status.code(), Some(127));
}

#[test]
fn a_directory_that_holds_something_is_left_alone() {
    let place = Place::new();
    fs::create_dir(&place.sandbox).unwrap();
    fs::write(place.sandbox.join("precious"), "x").unwrap();
    let output = run(&place, "db1", "true").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(fs::read_dir(&place.sandbox).unwrap().count(), 1);
}

#[test]
fn deployments_are_in_force() {
    let place = Place::new();
    let deployments = place.root.join("deployments");
    fs::create_dir(&deployments).unwrap();
    let example = include_str!("../../proto/document/testdata/wiki-1.yaml");
    fs::write(deployments.join("example.yaml"), example).unwrap();
    let script = "set -e; orc deployment show example-deployment; submitjob hello -w @frontend -W";
    let output = orc()
        .args(["sandbox", "run", "--players", "fe[1-6].east.example.com,fe[1-6].west.example.com"])
        .arg("--dir")
        .arg(&place.sandbox)
        .arg("--deployments")
        .arg(&deployments)
        .args(["--", "sh", "-c", script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("frontend: 2"), "{text}\n{errors}");
}

/// Each victim is killed in turn, and comes back under another number, on the same address; then
/// work still gets done.
/// The sample server is asked how it is, and says so.
#[test]
fn the_sample_service_is_as_it_says() {
    let place = Place::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/web.yaml");
    // The test plays the callers of the service, beside the script that waits for what they bring about.
    let script = format!(
        "set -e; state() {{ orc service show web --json | grep -q '\"state\": *\"'$1'\"'; }}
         orc service apply {} --wait >&2
         orc logs web/1 > $ROOT/log; mv $ROOT/log $ROOT/ready; until state unhealthy; do sleep 0.1; done
         orc service show web
         touch $ROOT/unhealthy; until ! state unhealthy; do sleep 0.1; done",
        file.display()
    );
    let mut command = run(&place, "fe[1-4]", &script);
    let running = command.stdout(Stdio::piped()).spawn().unwrap();
    let reached = |name: &str| eventually(name, || place.root.join(name).exists().then_some(()));
    reached("ready");
    let log = fs::read_to_string(place.root.join("ready")).unwrap();
    let socket = log.lines().find_map(|line| line.split(" listens at ").nth(1)).unwrap();
    let socket = Path::new(socket);
    assert!(ask(socket, "GET /").contains(" version 1 run 1\n"));
    ask(socket, "POST /trouble/unhealthy");
    reached("unhealthy");
    ask(socket, "POST /trouble/none");
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("unhealthy: HTTP status 503"), "{shown}");
}

/// Whether this machine has a program; if not, says so aloud.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        let mut told = std::io::stderr().lock();
        writeln!(told, "skipped: this machine has no {program}").unwrap();
    }
    found
}

#[test]
fn a_directory_passes_along_a_tree_from_host_to_host() {
    if !has("rsync") {
        return;
    }
    let place = Place::new();
    let of = |host: &str| place.root.join(host).join("srv/app");
    fs::create_dir_all(of("b1").join("deep")).unwrap();
    fs::write(of("b1").join("deep/file"), "release 7").unwrap();
    fs::create_dir_all(of("w4")).unwrap();
    fs::write(of("w4").join("old"), "release 6").unwrap();
    let script = "set -e\n\
                  submitjob rsync-pull path=/srv/app via=local base=$ROOT root=$ROOT -w 'w[1-6]' \
                  --tree 2 --tree-root b1 --wait >&2\n\
                  orc tree last";
    let tree = text(&mut run(&place, "b1,w[1-6]", script));
    // The root serves two at first, and further ones where it has a place again before others.
    assert!(tree.contains("b1 serves w"), "{tree}");
    for host in ["w1", "w2", "w3", "w4", "w5", "w6"] {
        assert_eq!(fs::read_to_string(of(host).join("deep/file")).unwrap(), "release 7", "{host}");
    }
    assert!(!of("w4").join("old").exists(), "what the parent does not have is deleted");
    // Each began after another had ended: the root serves two at once.
    let record = fs::read_to_string(place.root.join("record")).unwrap();
    let (mut running, mut most) = (0_i32, 0);
    for line in record.lines() {
        running += if line.starts_with("start") { 1 } else { -1 };
        most = most.max(running);
    }
    assert_eq!((running, record.lines().count()), (0, 12), "{record}");
    assert!(most <= 6, "{record}");
}

#[test]
fn a_directory_is_brought_to_others_also_over_an_rsync_daemon() {
    if !has("rsync") {
        return;
    }
    let place = Place::new();
    let of = |host: &str| place.root.join(host).join("srv/app");
    fs::create_dir_all(of("b1")).unwrap();
    fs::write(of("b1").join("file"), "release 7").unwrap();
    // A file lies where the directory of one host is to be.
    fs::create_dir_all(place.root.join("w2/srv")).unwrap();
    fs::write(of("w2"), "").unwrap();
    // A daemon of this test's own. Its port is held by a socket that never listens.
    let (_held, port) = reserve();
    let module = place.root.join("module");
    fs::create_dir(&module).unwrap();
    fs::write(module.join("old"), "release 6").unwrap();
    let conf = place.root.join("rsyncd.conf");
    let ids = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let text_of_conf = format!(
        "[app]\npath = {}\nread only = no\nuse chroot = no\nuid = {}\ngid = {}\n",
        module.display(),
        ids.0,
        ids.1
    );
    fs::write(&conf, text_of_conf).unwrap();
    let daemon = Command::new("rsync")
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--config={}", conf.display()))
        .spawn();
    let _daemon = Ended(daemon.unwrap());
    eventually("the rsync daemon to listen", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
    let script = format!(
        "submitjob rsync-push path=/srv/app to='w1,w2 w3' via=local base=$ROOT root=$ROOT -w b1 --wait >&2; \
         echo $?; orc logs last@b1 2>&1; \
         submitjob rsync-push path=/srv/app to=127.0.0.1 via=daemon module=app port={port} base=$ROOT \
         -w b1 --wait >&2; echo then $?"
    );
    let told = text(&mut run(&place, "b1", &script));
    assert!(told.starts_with("2\n") && told.contains("not brought to w2"), "{told}");
    for host in ["w1", "w3"] {
        assert!(told.contains(&format!("{host} ok")), "{told}");
        assert_eq!(fs::read_to_string(of(host).join("file")).unwrap(), "release 7", "{host}");
    }
    assert!(told.ends_with("then 0\n"), "{told}");
    assert_eq!(fs::read_to_string(module.join("file")).unwrap(), "release 7");
    assert!(!module.join("old").exists(), "what this host does not have is deleted");
}

#[test]
fn whoever_fails_in_a_tree_serves_nobody_and_is_told() {
    if !has("rsync") {
        return;
    }
    let place = Place::new();
    let base = place.root.join("b1/srv/app");
    fs::create_dir_all(&base).unwrap();
    // A file lies where the directory is to be.
    fs::create_dir_all(place.root.join("w1/srv")).unwrap();
    fs::write(place.root.join("w1/srv/app"), "").unwrap();
    let script = "submitjob rsync-pull path=/srv/app via=local base=$ROOT -w 'w[1-4]' --tree 1 \
                  --tree-root b1 --success 3 --wait >&2; echo $?; orc tree last";
    let told = text(&mut run(&place, "b1,w[1-4]", script));
    assert!(told.starts_with("0\n") && told.contains("w1 (1) failed"), "{told}");
    assert!(!told.contains("w1 serves"), "{told}");
    // Without a tree there is no parent, and that is a failure with a reason.
    let script = "submitjob rsync-pull path=/srv/none via=local base=$ROOT -w w2 --wait >&2; \
                  echo $?; getstatus last -b; true";
    let told = text(&mut run(&Place::new(), "w2", script));
    assert!(told.starts_with("2\n"), "{told}");
}

/// What a server on this socket answers.
fn ask(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "{line} HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}

#[test]
fn daemons_that_die_are_started_again() {
    let script = r#"
        set -e
        pid() { orc sandbox ps | while read -r name role pid; do
            [ "$name $role" != "$1" ] || echo "$pid"; done; }
        for victim in "conductor conductor" "db1 sitter" "db2 agent" "conductor conductor"; do
            old=$(pid "$victim")
            kill -KILL "$old"
            while new=$(pid "$victim"); [ -z "$new" ] || [ "$new" = "$old" ]; do sleep 0.1; done
        done
        submitjob hello -w 'db[1-3]' --wait"#;
    let output = run(&Place::new(), "db[1-3]", script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nobody_is_left_when_it_ends() {
    let place = Place::new();
    let output = run(&place, "fe[1-3]", &busy("true")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[test]
fn nobody_is_left_when_run_is_killed() {
    everybody_goes_with(|run, _| kill(run, Signal::KILL));
}

#[test]
fn nobody_is_left_when_the_supervisor_is_killed() {
    everybody_goes_with(|_, supervisor| kill(supervisor, Signal::KILL));
}

#[test]
fn nobody_is_left_when_both_are_killed() {
    everybody_goes_with(|run, supervisor| {
        kill(run, Signal::KILL);
        kill(supervisor, Signal::KILL);
    });
}

#[test]
fn nobody_is_left_when_run_is_told_to_stop() {
    let status = everybody_goes_with(|run, _| kill(run, Signal::TERM));
    assert_eq!(status.code(), Some(128 + 15));
}

#[test]
fn a_started_sandbox_goes_on_until_it_is_stopped_and_meets_no_other() {
    let place = Place::new();
    let of = |verb: &str| {
        let mut command = orc();
        command.args(["sandbox", verb, "--dir"]).arg(&place.sandbox);
        command
    };
    let variables = text(of("start").args(["--players", "db[1-2]"]));
    assert!(variables.contains("export ORCHESTRA_CONDUCTOR='127.0.0.1:"), "{variables}");
    assert!(text(&mut of("status")).contains("running, 2 of 2 players attached"));

    let listed: serde_json::Value = serde_json::from_str(&text(of("ps").arg("--json"))).unwrap();
    let daemons = listed["daemons"].as_array().unwrap().iter();
    let daemons: Vec<_> = daemons.map(|one| (one["name"].as_str(), one["role"].as_str())).collect();
    let expected = [
        ("conductor", "conductor"),
        ("db1", "sitter"),
        ("db1", "agent"),
        ("db2", "sitter"),
        ("db2", "agent"),
    ];
    assert_eq!(daemons, expected.map(|(name, role)| (Some(name), Some(role))));

    // Another fleet of the same names: what is submitted there is not known here.
    let other = run(&Place::new(), "db[1-2]", "submitjob hello -w @all --wait").output().unwrap();
    assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
    let script = format!("{variables}\ntest -z \"$(getstatus 2> /dev/null | grep hello)\"");
    assert!(Command::new("sh").arg("-c").arg(script).status().unwrap().success());

    text(&mut of("stop"));
    assert_eq!(place.processes(), Vec::<String>::new());
    assert_eq!(of("status").output().unwrap().status.code(), Some(1));
}

/// A script that leaves all sorts of processes behind: servers of ended attempts, attempts that
/// ignore TERM, a child of its own. Then it does `then`.
fn busy(then: &str) -> String {
    format!(
        r#"
        set -e
        submitjob restart-apache root="$ROOT" -w @all --wait
        submitjob sleep seconds=600 stubborn=true root="$ROOT" -w @all
        while [ "$(grep -c '^start sleep' "$ROOT/record")" -lt 3 ]; do sleep 0.1; done
        touch "$ROOT/busy"
        {then}"#
    )
}

/// Starts a sandbox, ends it in this way once it is busy, and waits until everybody has gone.
fn everybody_goes_with(end: impl FnOnce(i32, i32)) -> std::process::ExitStatus {
    let place = Place::new();
    let log = fs::File::create(place.root.join("log")).unwrap();
    let mut sandbox = run(&place, "fe[1-3]", &busy("exec sleep 600"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    eventually("the sandbox to be busy", || {
        if let Some(status) = sandbox.try_wait().unwrap() {
            let log = fs::read_to_string(place.root.join("log")).unwrap();
            panic!("it ended with {status}\n{log}");
        }
        place.root.join("busy").exists().then_some(())
    });
    let servers = place.processes().into_iter().filter(|line| line.contains("apache.sh")).count();
    assert_eq!(servers, 3);
    end(id(&sandbox), supervisor(&place.sandbox));
    let status = sandbox.wait().unwrap();
    place.deserted();
    status
}

fn id(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn supervisor(sandbox: &Path) -> i32 {
    let record = fs::read(sandbox.join("sandbox.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    i32::try_from(record["supervisor"]["pid"].as_i64().unwrap()).unwrap()
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}
