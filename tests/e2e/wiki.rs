//! The three examples of Pogo's wiki, word for word: two flows at once over the same deployment, and
//! a conductor that is killed twice in between. What counts is what scores wrote of their starts
//! and ends.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Chance, Fleet, Line, eventually};

const CLUSTERS: [&str; 2] = ["east", "west"];

/// An app: how its hosts are called, and how many of them may be busy in a cluster.
#[derive(Clone, Copy)]
struct App {
    name: &'static str,
    short: &'static str,
    hosts: usize,
    limit: usize,
}

const FRONTEND: App = App { name: "frontend", short: "fe", hosts: 6, limit: 3 };
const BACKEND: App = App { name: "backend", short: "be", hosts: 5, limit: 1 };

impl App {
    /// Its hosts in a cluster, as a host set.
    fn set(self, cluster: &str) -> String {
        format!("{}[1-{}].{cluster}.example.com", self.short, self.hosts)
    }

    fn has(self, cluster: &str, host: &str) -> bool {
        host.starts_with(self.short) && host.ends_with(&format!(".{cluster}.example.com"))
    }
}

#[test]
fn one_application_in_two_clusters() {
    let frontend = App { limit: 2, ..FRONTEND };
    let example = include_str!("../../proto/document/testdata/wiki-1.yaml");
    two_flows(example, &[frontend], &["cell"]);
}

#[test]
fn two_applications_in_two_clusters() {
    let example = include_str!("../../proto/document/testdata/wiki-2.yaml");
    two_flows(example, &[BACKEND, FRONTEND], &["cell"]);
}

#[test]
fn backends_before_frontends_in_each_cluster() {
    let example = include_str!("../../proto/document/testdata/wiki-3.yaml");
    let (fleet, flows) = two_flows(example, &[BACKEND, FRONTEND], &["cell", "sequence"]);
    let lines = fleet.record.lines();
    for cluster in CLUSTERS {
        for flow in flows {
            let of = |app: App, what: &str| -> Vec<usize> {
                let wanted = |(place, line): (usize, &Line)| {
                    let is_of = line.task.starts_with(&format!("{flow}."))
                        && app.has(cluster, line.host())
                        && line.what == what;
                    is_of.then_some(place)
                };
                lines.iter().enumerate().filter_map(wanted).collect()
            };
            let (ends, starts) = (of(BACKEND, "end"), of(FRONTEND, "start"));
            assert_eq!((ends.len(), starts.len()), (5, 6));
            assert!(ends.last() < starts.first(), "{cluster}, flow {flow}: {lines:?}");
        }
    }
}

/// Lets two flows over all hosts of a deployment end, cell by cell: first all of the east, while
/// nobody in the west gets ahead. Waiting tasks wait for one of `reasons`.
fn two_flows(example: &str, apps: &[App], reasons: &[&str]) -> (Fleet, [u64; 2]) {
    let mut chance = Chance::new(3);
    let sets: Vec<String> =
        CLUSTERS.iter().flat_map(|cluster| apps.iter().map(|app| app.set(cluster))).collect();
    let fleet = Fleet::new(&sets.join(",")).deployment(example).start();
    let flow = over(apps);
    let flows = [fleet.submit_flow(&flow), fleet.submit_flow(&flow)];
    let steps: Vec<(&str, App)> =
        CLUSTERS.iter().flat_map(|cluster| apps.iter().map(|app| (*cluster, *app))).collect();
    let settle = |cluster: &str, app: App| {
        let busy = |flow: &u64| fleet.wait_settled(*flow, reasons);
        eventually(&format!("{} of {cluster} to be full", app.name), || {
            let mut hosts: BTreeSet<String> = flows.iter().flat_map(busy).collect();
            hosts.retain(|host| app.has(cluster, host));
            let started = fleet.record.busy();
            (hosts.len() == app.limit && hosts.is_subset(&started)).then_some(hosts)
        })
    };
    let ended = |cluster: &str, app: App| {
        let lines = fleet.record.of("end");
        lines.iter().filter(|line| app.has(cluster, line.host())).count()
    };
    for (step, (cluster, app)) in steps.iter().enumerate() {
        let before = settle(cluster, *app);
        if step == 0 {
            // With everything as full as it may be.
            fleet.crash_conductor();
            fleet.start_players();
            assert_eq!(settle(cluster, *app), before, "after a restart");
        }
        fleet.go(&app.set(cluster));
        if step + 1 == steps.len() {
            // While one host after the other goes on.
            eventually("some ends", || (ended(cluster, *app) > 0).then_some(()));
            chance.delay(Duration::from_millis(100));
            fleet.crash_conductor();
        }
        eventually(&format!("all {} of {cluster} to end", app.name), || {
            (ended(cluster, *app) == flows.len() * app.hosts).then_some(())
        });
    }
    for flow in flows {
        fleet.wait_flow(flow).exits(0);
    }
    fleet.record.nothing_started_twice();
    assert!(fleet.record.count("start").values().all(|count| *count == 1));
    for (cluster, app) in &steps {
        let most = fleet.record.most_at_once(|host| app.has(cluster, host));
        assert_eq!(most, app.limit, "{} of {cluster}", app.name);
    }
    (fleet, flows)
}

/// A flow of one slot with one job for each app.
fn over(apps: &[App]) -> Value {
    let job = |app: &App| {
        let targets = format!("@{}", app.name);
        json!({"name": app.name, "score": "gate", "targets": targets})
    };
    json!({"slots": [{"jobs": apps.iter().map(job).collect::<Vec<_>>()}]})
}
