//! Placed services whose instances change places while somebody uses them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{Fleet, Running, eventually};

/// How long after one request the next is sent: 500 a second, where the machine is fast enough.
const BETWEEN: Duration = Duration::from_millis(2);
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of requests.
#[derive(Debug, Default)]
struct Answers {
    /// By the words of who answered: `web/3 version 2 run 5`.
    of: BTreeMap<String, u32>,
    failed: Vec<String>,
}

impl Answers {
    /// Whether an instance of a version has answered, for so many instances.
    fn count_of(&self, version: u64) -> usize {
        let words = format!(" version {version} ");
        self.of.keys().filter(|name| name.contains(&words)).count()
    }
}

/// The instances that were told last: their numbers and hosts.
fn told(watched: &Running) -> Vec<(String, String)> {
    let out = watched.so_far("out");
    let whole = out.rfind('\n').map_or("", |end| &out[..end]);
    let Some(last) = whole.lines().next_back() else { return Vec::new() };
    let document: Value = serde_json::from_str(last).expect("a line of JSON");
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    let all = document["endpoints"].as_array().expect("a list").iter();
    all.map(|endpoint| (word(&endpoint["id"]), word(&endpoint["host"]))).collect()
}

/// Where the sample service of a player listens.
fn socket_of(fleet: &Fleet, host: &str) -> Option<PathBuf> {
    let below = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let places = below(&fleet.player(host).dir.join("r"));
    let units = places.iter().flat_map(|place| below(place));
    units.map(|unit| unit.join("run/web.sock")).find(|socket| socket.exists())
}

/// Asks one instance who it is.
fn ask(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.strip_prefix("HTTP/1.1 200 OK\r\n").and_then(|it| it.split_once("\r\n\r\n"));
    body.map(|(_, body)| body.trim_end().to_owned()).ok_or_else(|| io::Error::other(answer.clone()))
}

/// Sends requests to those that are told, in turn, until it is told to stop.
fn use_it(fleet: &Fleet, watched: &Running, is_over: &AtomicBool, answers: &Mutex<Answers>) {
    let mut next = Instant::now();
    for turn in 0_usize.. {
        let instances = told(watched);
        let answer = match instances.get(turn % instances.len().max(1)) {
            None => Err("no instance is told".to_owned()),
            Some((id, host)) => {
                let socket = socket_of(fleet, host).ok_or_else(|| io::Error::other("no socket"));
                socket.and_then(|it| ask(&it)).map_err(|why| format!("{id} on {host}: {why}"))
            }
        };
        let mut answers = answers.lock().expect("no test panicked in here");
        match answer {
            Ok(name) => *answers.of.entry(name).or_default() += 1,
            Err(why) => answers.failed.push(why),
        }
        drop(answers);
        if is_over.load(Ordering::Acquire) {
            return;
        }
        next += BETWEEN;
        while Instant::now() < next {
            thread::sleep(BETWEEN / 4);
        }
    }
}

/// Ends the requests when it is dropped, also by a test that fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The file of two instances of the sample service, with these parameters. Each is out of its endpoints
/// for ten looks of whoever follows them before it ends.
fn two_with_one_more(fleet: &Fleet, params: &str) -> String {
    let path = fleet.dir().join("web.yaml");
    let text = format!(
        "service: web\nscore: serve-web\nparams: {params}\nplace: {{count: 2}}\n\
         ports: {{http: 80}}\nready: {{notify: true, deadline: 30s}}\nstop: {{linger: 10s}}\n\
         update: {{surge: 1, healthy_for: 500ms, deadline: 2m}}\n"
    );
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn no_request_of_those_who_follow_the_endpoints_fails_while_a_version_comes() {
    let fleet = Fleet::new("p[1-3]").player_key("run_dir", "\"r\"").start();
    fleet.sample_service();
    let first = two_with_one_more(&fleet, "{}");
    fleet.orc(&["service", "apply", &first, "--wait"]).exits(0);
    let watched = fleet.tool("orc", &["service", "endpoints", "web", "--watch", "--json"]).start();
    eventually("both to be told", || (told(&watched).len() == 2).then_some(()));
    let (is_over, answers) = (AtomicBool::new(false), Mutex::new(Answers::default()));
    let count_of = |version| answers.lock().expect("no test panicked in here").count_of(version);
    thread::scope(|scope| {
        let over = Over(&is_over);
        scope.spawn(|| use_it(&fleet, &watched, &is_over, &answers));
        eventually("answers of both", || (count_of(1) == 2).then_some(()));
        let second = two_with_one_more(&fleet, "{trouble: none}");
        fleet.orc(&["service", "apply", &second, "--wait"]).exits(0);
        let service = fleet.wait_ready(2);
        assert_eq!(service["instances"].as_array().map(Vec::len), Some(2), "{service}");
        eventually("answers of the next version", || (count_of(2) >= 2).then_some(()));
        drop(over);
    });
    let answers = answers.into_inner().expect("no test panicked in here");
    assert_eq!(answers.failed, Vec::<String>::new(), "{:?}", answers.of);
}

#[test]
fn a_rebalance_moves_one_of_two_to_the_empty_zone_and_takes_nothing_away() {
    let fleet = Fleet::new("p[1-4]").start();
    fleet.write_players("p[1-2] zone=east\np[3-4] zone=west\n");
    fleet.orc(&["conductor", "reload"]).exits(0);
    fleet.orc(&["drain", "p[3-4]", "--reason", "the other zone is to be filled first"]).exits(0);
    let path = fleet.dir().join("placed.yaml");
    let text = "service: web\nscore: serve\nplace: {count: 2}\n\
                update: {parallel: 100%, healthy_for: 300ms, deadline: 20s}\n";
    fs::write(&path, text).expect("a file");
    fleet.orc(&["service", "apply", &path.display().to_string(), "--wait"]).exits(0);
    let all_up = fleet.record.lines().len();
    let hosts = || -> Vec<String> {
        let service = fleet.service();
        let all = service["instances"].as_array().expect("instances").iter();
        all.map(|it| it["host"].as_str().expect("a host").to_owned()).collect()
    };
    assert_eq!(hosts(), ["p1", "p2"]);
    fleet.orc(&["undrain", "p[3-4]"]).exits(0);
    let planned = fleet.orc(&["service", "rebalance", "web", "--plan", "--json"]).exits(0).json();
    let moves = planned["rebalance_planned"]["moves"].as_array().expect("moves").clone();
    assert_eq!(moves.len(), 1, "{planned}");
    assert_eq!(hosts(), ["p1", "p2"], "a plan moves nothing");
    let moved = fleet.orc(&["service", "rebalance", "web", "--json"]).exits(0).json();
    assert_eq!(moved["rebalanced"]["moves"].as_array(), Some(&moves), "{moved}");
    let (from, to) = (moves[0]["from"].as_str(), moves[0]["to"].as_str());
    eventually("one instance in each zone", || {
        let hosts = hosts();
        let has = |host: Option<&str>| hosts.iter().any(|it| Some(it.as_str()) == host);
        (hosts.len() == 2 && has(to) && !has(from)).then_some(())
    });
    fleet.wait_ready(2);
    // What the instances wrote: the one begins before the other ends.
    let mut lives = 2_i32;
    for line in fleet.record.lines().into_iter().skip(all_up) {
        match line.what.as_str() {
            "run" => lives += 1,
            "down" => lives -= 1,
            _ => {}
        }
        assert!(lives >= 2, "{:#?}", fleet.record.lines());
    }
    let again = fleet.orc(&["service", "rebalance", "web", "--plan", "--json"]).exits(0).json();
    assert_eq!(again["rebalance_planned"]["moves"], serde_json::json!([]), "{again}");
    fleet.no_run_was_doubled();
}
