//! Bundles that pass from host to host, over real relays.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use orchestra_ca::new_publisher;
use orchestra_model::AudienceName;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Daemon, Fleet, eventually};

/// A fleet of hosts with a relay each. The first one has the depot that is published into; the others
/// have places for `site`.
struct Spread {
    fleet: Fleet,
    relays: Vec<Daemon>,
    hosts: Vec<String>,
}

impl Spread {
    /// `more` stands in each `relay.toml`.
    fn new(hosts: usize, more: &str) -> Spread {
        Self::with(hosts, more, &[])
    }

    /// As `new`, with these keys in each `player.toml`.
    fn with(hosts: usize, more: &str, keys: &[(&str, &str)]) -> Spread {
        let hosts: Vec<String> = (1..=hosts).map(|n| format!("p{n}")).collect();
        let own = [("places_dir", "\"places.d\""), ("depot_dir", "\"depot\"")];
        let builder = own
            .iter()
            .chain(keys)
            .fold(Fleet::new(&hosts.join(",")).players_off(), |builder, (key, value)| {
                builder.player_key(key, value)
            });
        let fleet = builder.start();
        let home = fleet.dir().join("publishing");
        fs::create_dir_all(home.join("site")).expect("a directory");
        new_publisher(&home, &AudienceName::new("release").expect("a name")).expect("a key");
        let key = fs::read_to_string(home.join("publisher/release.pub")).expect("it was made");
        for name in &hosts[1..] {
            let dir = &fleet.player(name).dir;
            fs::create_dir(dir.join("places.d")).expect("a directory");
            let (key, path) = (key.trim_end(), dir.join("site"));
            let text = format!("publishers = ['{key}']\npath = '{}'\n", path.display());
            fs::write(dir.join("places.d/site.toml"), text).expect("a file");
        }
        let (relays, addresses): (Vec<Daemon>, Vec<String>) =
            hosts.iter().map(|name| fleet.relay_beside(name, more)).unzip();
        let line = |(name, address): (&String, &String)| format!("{name} relay={address}\n");
        fleet.write_players(&hosts.iter().zip(&addresses).map(line).collect::<String>());
        fleet.orc(&["conductor", "reload"]).exits(0);
        fleet.start_players();
        Spread { fleet, relays, hosts }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.fleet.dir().join("publishing").join(name)
    }

    /// Publishes a release of so many bytes that are alike nowhere.
    fn publish(&self, serial: u64, bytes: usize) {
        let mut state = serial;
        let text: Vec<u8> = (0..bytes / 8)
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_le_bytes()
            })
            .collect();
        fs::write(self.home("site/data"), text).expect("a file");
        self.publish_site(serial);
    }

    /// Publishes a release of what is in the site's directory.
    fn publish_site(&self, serial: u64) {
        let depot = self.fleet.player("p1").dir.join("depot").display().to_string();
        let (site, key) = (self.home("site"), self.home("publisher/release.key"));
        let (site, key) = (site.display().to_string(), key.display().to_string());
        let serial = serial.to_string();
        let words = ["bundle", "publish", "--name", "site", "--register", "--source", "p1"];
        let more = [&site, "--depot", &depot, "--sign", &key, "--serial", &serial];
        self.fleet.orc(&[&words[..], &more[..]].concat()).exits(0);
    }

    /// Begins to deliver a release to all hosts but the first.
    fn deliver(&self, serial: u64) -> u64 {
        let (bundle, hosts) = (format!("bundle=site@{serial}"), self.hosts[1..].join(","));
        self.fleet.submitjob(&["@deliver", &bundle, "-w", &hosts]).exits(0).id()
    }

    /// What the conductor is told of the hosts that fetch a release.
    fn fetches(&self, serial: u64) -> Vec<Value> {
        let bundle = format!("site@{serial}");
        let told = self.fleet.orc(&["bundle", "where", &bundle, "--json"]).exits(0).json();
        told["whereabouts"]["fetches"].as_array().cloned().expect("a list")
    }

    /// Waits until a host has so many bytes of a release that is not all there; returns how many.
    fn wait_for_bytes(&self, name: &str, serial: u64, least: u64) -> u64 {
        eventually(&format!("{least} bytes at {name}"), || {
            let fetches = self.fetches(serial);
            let told = fetches.iter().find(|told| told["host"] == name)?;
            told["here_bytes"].as_u64().filter(|here| *here >= least)
        })
    }

    /// How many chunks were there already, each time a host began to fetch.
    fn found(&self, name: &str) -> Vec<u64> {
        let log = self.fleet.player(name).sitter.log();
        let begun = log.lines().filter(|line| line.contains("fetching a bundle"));
        let here = |line: &str| {
            let (_, here) = line.split_once(" here=")?;
            here.split(' ').next()?.parse().ok()
        };
        begun.filter_map(here).collect()
    }

    fn has_release(&self, name: &str, serial: u64) -> bool {
        let releases = self.fleet.player(name).dir.join("site/releases");
        let begins = |entry: fs::DirEntry| {
            entry.file_name().to_string_lossy().starts_with(&format!("{serial}-"))
        };
        fs::read_dir(releases).into_iter().flatten().flatten().any(begins)
    }
}

/// So much of a chunk is one.
const CHUNK: u64 = 256 << 10;
/// Slow enough that something can be done while a bundle arrives.
const SLOW: &str = "serve_rate = '1MiB'";

#[test]
fn a_bundle_passes_from_host_to_host() {
    let spread = Spread::new(4, SLOW);
    spread.publish(1, 3 << 20);
    let flow = spread.deliver(1);
    // They hang in a row, each fetching from the one before it.
    let row = eventually("three hosts to fetch", || {
        let fetches = spread.fetches(1);
        let sources: Option<Vec<&str>> =
            fetches.iter().map(|told| told["source"].as_str()).collect();
        sources.filter(|row| row.len() == 3).map(|row| row.join(" "))
    });
    assert!(row.matches("p1").count() == 1, "{row}");
    let told = spread.fleet.orc(&["explain", &flow.to_string()]).exits(0).out;
    assert!(told.contains("a bundle arrives on 3 hosts: "), "{told}");
    spread.fleet.wait_flow(flow).exits(0);
    for name in &spread.hosts[1..] {
        assert!(spread.has_release(name, 1), "{name}");
        assert_eq!(spread.found(name), [0], "{name}");
    }
    assert!(spread.fetches(1).is_empty());
    // Who served whom is told for a while.
    let tree = spread.fleet.orc(&["tree", &flow.to_string()]).exits(0).out;
    let served = |name: &&String| tree.contains(&format!("{name} (1) ok"));
    assert!(spread.hosts[1..].iter().filter(served).count() == 3, "{tree}");
}

/// Half of a bundle arrives, something is killed, and the rest arrives: what was there counts.
fn goes_on_after(kill: impl FnOnce(&Spread)) {
    let spread = Spread::new(2, SLOW);
    spread.publish(1, 4 << 20);
    let flow = spread.deliver(1);
    let here = spread.wait_for_bytes("p2", 1, 2 << 20);
    kill(&spread);
    spread.fleet.wait_flow(flow).exits(0);
    assert!(spread.has_release("p2", 1));
    let found = spread.found("p2");
    assert!(found.len() == 2 && found[1] * CHUNK * 100 >= here * 95, "{found:?} of {here}");
}

#[test]
fn an_agent_that_is_killed_goes_on_where_it_was() {
    goes_on_after(|spread| spread.fleet.player("p2").kill_agent());
}

#[test]
fn a_sitter_that_is_killed_gives_the_task_back_and_the_rest_arrives() {
    goes_on_after(|spread| {
        spread.fleet.player("p2").sitter.kill();
        spread.fleet.start_players();
    });
}

#[test]
fn a_player_that_stops_gives_the_task_back_and_the_rest_arrives() {
    goes_on_after(|spread| {
        spread.fleet.player("p2").sitter.stop();
        spread.fleet.start_players();
    });
}

#[test]
fn a_player_that_is_executed_anew_goes_on() {
    goes_on_after(|spread| spread.fleet.player("p2").sitter.signal(Signal::USR2));
}

#[test]
fn a_bundle_arrives_while_the_conductor_is_away() {
    let spread = Spread::new(2, SLOW);
    spread.publish(1, 3 << 20);
    let flow = spread.deliver(1);
    spread.wait_for_bytes("p2", 1, 1 << 20);
    spread.fleet.conductor.kill();
    eventually("the release", || spread.has_release("p2", 1).then_some(()));
    spread.fleet.start_conductor();
    spread.fleet.wait_flow(flow).exits(0);
    assert_eq!(spread.found("p2"), [0]);
}

#[test]
fn a_conductor_that_was_killed_names_sources_again() {
    let spread = Spread::new(3, SLOW);
    spread.publish(1, 3 << 20);
    let flow = spread.deliver(1);
    spread.wait_for_bytes("p3", 1, 1 << 20);
    spread.fleet.crash_conductor();
    spread.fleet.wait_flow(flow).exits(0);
    assert!(spread.has_release("p2", 1) && spread.has_release("p3", 1));
}

#[test]
fn whoever_is_served_by_a_relay_that_is_killed_is_served_by_another() {
    let spread = Spread::new(4, SLOW);
    spread.publish(1, 3 << 20);
    let flow = spread.deliver(1);
    let between = eventually("somebody to serve somebody else", || {
        let fetches = spread.fetches(1);
        let mut sources = fetches.iter().filter_map(|told| told["source"].as_str());
        sources.find(|source| *source != "p1").map(ToOwned::to_owned)
    });
    let place = spread.hosts.iter().position(|name| *name == between).expect("a host");
    spread.relays[place].kill();
    spread.fleet.wait_flow(flow).exits(0);
    assert!(spread.hosts[1..].iter().all(|name| spread.has_release(name, 1)));
}

#[test]
fn a_delivery_is_cancelled_while_its_bundle_arrives() {
    let spread = Spread::new(2, SLOW);
    spread.publish(1, 8 << 20);
    let flow = spread.deliver(1);
    spread.wait_for_bytes("p2", 1, 1 << 20);
    spread.fleet.orc(&["cancel", &flow.to_string()]).exits(0);
    spread.fleet.wait_flow(flow).exits(5);
    assert_eq!(spread.fleet.task(flow)["state"], "cancelled");
    eventually("nobody to fetch", || spread.fetches(1).is_empty().then_some(()));
    assert!(!spread.fleet.player("p2").dir.join("site").exists(), "nothing of the place was made");
}

#[test]
fn a_bundle_that_does_not_come_in_time_is_refused_with_what_is_wrong() {
    let spread = Spread::new(2, "");
    spread.publish(1, 1 << 20);
    spread.relays[0].kill();
    let words = ["@deliver", "bundle=site@1", "-w", "p2", "--timeout", "3s"];
    let flow = spread.fleet.submitjob(&words).exits(0).id();
    let explain = [&flow.to_string()[..]].map(|flow| format!("{flow}@p2"));
    eventually("it to be told why", || {
        let told = spread.fleet.orc(&["explain", &explain[0]]).exits(0).out;
        (told.contains("nobody serves it") || told.contains("refused")).then_some(())
    });
    spread.fleet.wait_flow(flow).exits(2);
    let task = spread.fleet.task(flow);
    let why = task["detail"].as_str().unwrap_or_default();
    assert!(task["state"] == "refused" && why.contains("did not arrive within 3s"), "{task}");
}

#[test]
fn a_source_that_lies_is_named_and_nothing_of_it_gets_there() {
    let spread = Spread::new(2, "");
    spread.publish(1, 1 << 20);
    let depot = spread.fleet.player("p1").dir.join("depot");
    let bundle = fs::read_dir(&depot)
        .expect("a depot")
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("sha256-"));
    let content = bundle.expect("a bundle").path().join("content");
    let mut bytes = fs::read(&content).expect("it is there");
    bytes.iter_mut().step_by(CHUNK as usize).for_each(|byte| *byte ^= 1);
    fs::set_permissions(&content, fs::Permissions::from_mode(0o640)).expect("it is ours");
    fs::write(&content, bytes).expect("it is ours");
    let flow = spread.deliver(1);
    spread.fleet.wait_flow(flow).exits(2);
    let task = spread.fleet.task(flow);
    let why = task["detail"].as_str().unwrap_or_default();
    assert!(why.contains("p1: 2 chunks of it were not what was published"), "{task}");
    assert!(!spread.has_release("p2", 1));
}

#[test]
fn two_deliveries_of_one_bundle_to_one_host_fetch_it_once() {
    let spread = Spread::new(2, SLOW);
    spread.publish(1, 2 << 20);
    let flows = [spread.deliver(1), spread.deliver(1)];
    flows.iter().for_each(|flow| drop(spread.fleet.wait_flow(*flow).exits(0)));
    assert!(spread.has_release("p2", 1));
    assert_eq!(spread.found("p2"), [0]);
}

#[test]
fn an_agent_that_is_replaced_goes_on() {
    goes_on_after(|spread| spread.fleet.player("p2").sitter.signal(Signal::USR1));
}

#[test]
fn a_depot_that_has_no_room_is_told_with_what_there_is() {
    let spread = Spread::with(2, "", &[("depot_max", "\"1MiB\"")]);
    spread.publish(1, 2 << 20);
    let flow = spread.deliver(1);
    spread.fleet.wait_flow(flow).exits(2);
    let task = spread.fleet.task(flow);
    let why = task["detail"].as_str().unwrap_or_default();
    assert!(task["state"] == "refused" && why.contains("1MiB"), "{task}");
}

#[test]
fn of_the_next_release_only_what_is_new_is_fetched() {
    let spread = Spread::new(2, "");
    spread.publish(1, 3 << 20);
    spread.fleet.wait_flow(spread.deliver(1)).exits(0);
    // What stands before everything else in the bundle moves all of its chunks.
    fs::write(spread.home("site/a-note"), "release 2").expect("a file");
    spread.publish_site(2);
    spread.fleet.wait_flow(spread.deliver(2)).exits(0);
    assert!(spread.has_release("p2", 2));
    let log = spread.fleet.player("p2").sitter.log();
    assert!(log.contains("other bundles of the depot have these chunks found=12"), "{log}");
}
