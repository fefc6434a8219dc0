//! Deployments: read with the fleet, told to whoever asks, and never half in force.

use std::fs;

use orchestra_proto::v1;
use rustix::process::Signal;
use tonic::Code;

use crate::harness::{Audience, Conductor, Place, eventually, job};

/// Two clusters of frontends and backends.
pub(crate) const PLAYERS: &str = "fe[1-4].east be[1-2].east fe[1-4].west be[1-2].west";

pub(crate) const WEB: &str = "\
web:
  apps:
    frontend: fe[1-4].east,fe[1-4].west
    backend: be[1-2].east,be[1-2].west
  envs:
    cluster:
      east: fe[1-4].east,be[1-2].east
      west: fe[1-4].west,be[1-2].west
  constraints:
    cluster:
      concurrency: {frontend: 50%, backend: 1}
      sequence: [[backend, frontend]]
";

/// A place with the players above and this file of deployments.
pub(crate) fn place(deployments: &str) -> Place {
    let place = Place::new(&PLAYERS.replace(' ', "\n"));
    fs::create_dir(place.path("deployments.d")).unwrap();
    place.write("deployments.d/web.yaml", deployments);
    place
}

#[tokio::test]
async fn what_is_in_force_is_told() {
    let place = place(WEB);
    place.write("deployments.d/db.toml", "[db]\napps = {db = \"be1.east\"}\n");
    place.write("deployments.d/.web.yaml.swp", "\0");
    place.write("deployments.d/README", "not ours");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let status = alice.status().await;
    assert_eq!((status.deployments, status.cells), (2, 4));

    let all = alice.deployments("").await.unwrap();
    assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["db", "web"]);
    let web = &all[1];
    assert_eq!((web.apps, web.envs, web.cells, web.hosts), (2, 2, 4, 12));
    assert_eq!(web.canonical, "", "only where it was asked for");
    let web = alice.deployments("web").await.unwrap().remove(0);
    assert!(web.canonical.starts_with("web:\n  apps:\n"), "{}", web.canonical);
    assert!(web.canonical.contains("frontend: 50%"), "{}", web.canonical);
    let nothing = alice.deployments("wep").await.unwrap_err();
    assert_eq!(nothing.code(), Code::NotFound);
    assert_eq!(nothing.message(), "there is no deployment wep; did you mean web?");

    // Apps are groups.
    let hosts = v1::ResolveHostsRequest { hosts: "@backend!@db".to_owned() };
    let resolved = alice.client.clone().resolve_hosts(hosts).await.unwrap().into_inner();
    assert_eq!(resolved.hosts, "be[1-2].west,be2.east");
    let flow = alice.submit([job("@frontend")]).await;
    assert_eq!(alice.tasks(flow).await.len(), 8);

    let cells = alice.ledger("", false).await.unwrap();
    let cells: Vec<_> = cells
        .iter()
        .map(|cell| (cell.app.as_str(), cell.env_value.as_str(), cell.hosts, cell.limit))
        .collect();
    let expected = [
        ("backend", "east", 2, Some(1)),
        ("frontend", "east", 4, Some(2)),
        ("backend", "west", 2, Some(1)),
        ("frontend", "west", 4, Some(2)),
    ];
    assert_eq!(cells, expected);
    assert_eq!(alice.ledger("db", false).await.unwrap(), []);
    assert_eq!(alice.ledger("", true).await.unwrap(), []);
    assert_eq!(alice.ledger("nothing", true).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_is_wrong_is_told_all_of_it_and_nothing_changes() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let cases = [
        ("web.yaml", "", vec!["deployments.d/web.yaml"]),
        ("web.yaml", "web: [", vec!["deployments.d/web.yaml", "it is not YAML"]),
        (
            "other.json",
            "{\"other\": {\"apps\": {\"a\": \"fe1.east\"}, \"envz\": {}}, \"web\": {}}",
            vec![
                "2 problems",
                "deployments.d/other.json: other: unknown field \"envz\"",
                "deployments.d/other.json: web: apps is missing",
            ],
        ),
        (
            "other.toml",
            "[other]\napps = {a = \"fe[1-9].east\", b = \"nobody\"}\n",
            vec![
                "deployments.d/other.toml: other, app a: hosts that the players file does not \
                 name: fe[5-9].east",
                "deployments.d/other.toml: other, app b: hosts that the players file does not \
                 name: nobody",
            ],
        ),
        (
            "other.toml",
            "[other]\napps = {a = \"fe[1-4].east!fe9.east\"}\n",
            vec!["other, app a: hosts that the players file does not name: fe9.east"],
        ),
        (
            "../groups.toml",
            "frontend = \"fe1.east\"\n",
            vec!["groups.toml: frontend is an app of deployment web too"],
        ),
        (
            "other.yml",
            "other: {apps: {a: \"@nobody\", b: \"@frontend\"}}",
            vec!["deployments.d/other.yml", "nobody", "frontend"],
        ),
        ("other.yaml", "\u{0}", vec!["deployments.d/other.yaml"]),
    ];
    for (file, text, told) in cases {
        let file = format!("deployments.d/{file}");
        let before = fs::read_to_string(place.path(&file)).ok();
        place.write("players", &format!("{}\nnew", PLAYERS.replace(' ', "\n")));
        place.write(&file, text);
        let refused = alice.reload(true).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        for told in told {
            assert!(refused.message().contains(told), "{told:?} in {refused:?}");
        }
        let status = alice.status().await;
        assert_eq!(status.reload_error, refused.message());
        assert_eq!((status.players, status.deployments, status.cells), (12, 1, 4));
        match before {
            Some(before) => place.write(&file, &before),
            None => fs::remove_file(place.path(&file)).unwrap(),
        }
    }
    alice.reload(false).await.unwrap();
    let status = alice.status().await;
    assert_eq!((status.players, status.reload_error.as_str()), (13, ""));
}

#[tokio::test]
async fn they_change_with_a_hangup() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let cells = async || alice.status().await.cells;
    assert_eq!(cells().await, 4);
    let fewer = WEB.replace("      sequence: [[backend, frontend]]\n", "");
    place.write("deployments.d/web.yaml", &fewer.replace(", backend: 1", ""));
    conductor.signal(Signal::HUP);
    eventually("fewer cells", async || (cells().await == 2).then_some(())).await;
    place.write("deployments.d/web.yaml", &fewer);
    conductor.signal(Signal::HUP);
    eventually("cells", async || (cells().await == 4).then_some(())).await;
    conductor.logged("configuration reloaded").await;
}

/// Both apps of a sequence have these hosts: whoever has them in one slot would wait for ever.
const CIRCLE: &str = "\
circle:
  apps: {first: \"be[1-2].east\", second: \"be[1-2].east\"}
  envs: {cluster: {east: \"be[1-2].east\"}}
  constraints: {cluster: {sequence: [[first, second]]}}
";

#[tokio::test]
async fn hosts_that_would_wait_for_each_other_are_refused() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let flow = alice.submit([job("be[1-2].east")]).await;
    place.write("deployments.d/circle.yaml", CIRCLE);
    let refused = alice.reload(false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains(&format!("slot {flow}.1")), "{refused:?}");
    assert!(refused.message().contains("be[1-2].east"), "{refused:?}");
    assert_eq!(alice.status().await.deployments, 1);
    // Nor is it taken from files that changed meanwhile.
    conductor.kill();
    let told = Conductor::start_refused(&place);
    assert!(told.contains("would wait for each other for ever"), "{told}");
    fs::remove_file(place.path("deployments.d/circle.yaml")).unwrap();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    alice.cancel(flow).await.unwrap();
    // With nothing alive that it would stop, it comes; and then such flows do not.
    place.write("deployments.d/circle.yaml", CIRCLE);
    alice.reload(false).await.unwrap();
    let asked = crate::harness::request([job("be[1-2].east")]);
    let refused = alice.try_submit(asked.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let plan = alice.plan(asked).await.unwrap();
    assert_eq!(plan.refusal, refused.message());
    assert_eq!(plan.digest, "");
}
