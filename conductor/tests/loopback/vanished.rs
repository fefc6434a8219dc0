//! Limits that are in force, and files that are gone: nothing is lifted without a word.

use std::{fs, os::unix::fs::symlink};

use orchestra_proto::v1;
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

use crate::{
    deployments::{WEB, place},
    harness::{Audience, Conductor, Place, eventually, soon},
};

/// How the deployments go, what does it, and how the refusal names it.
type Way = (&'static str, fn(&Place), &'static str);

const WAYS: [Way; 3] = [
    (
        "it is not there",
        |place| fs::rename(place.path("deployments.d"), place.path("away")).unwrap(),
        "deployments.d is not there, and with it deployment web",
    ),
    (
        "nothing is mounted on it",
        |place| {
            fs::rename(place.path("deployments.d"), place.path("away")).unwrap();
            fs::create_dir(place.path("deployments.d")).unwrap();
        },
        "deployments.d is empty, without deployment web",
    ),
    (
        "what its link leads to is gone",
        |place| {
            fs::rename(place.path("deployments.d"), place.path("away")).unwrap();
            symlink("not-mounted", place.path("deployments.d")).unwrap();
        },
        "deployments.d: it cannot be read: it is a link that leads nowhere",
    ),
];

/// Undoes each of them.
fn bring_back(place: &Place) {
    let path = place.path("deployments.d");
    let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    fs::rename(place.path("away"), &path).unwrap();
}

#[tokio::test]
async fn a_limit_in_force_is_lifted_neither_by_a_reload_nor_by_a_start() {
    let place = place(WEB);
    let mut conductor = Conductor::start(&place);
    for (way, vanish, told) in WAYS {
        let alice = Audience::new(&place, &conductor.address).await;
        vanish(&place);
        let refused = alice.reload(false).await.unwrap_err();
        assert!(refused.message().contains(told), "{way}: {refused:?}");
        conductor.signal(Signal::HUP);
        let told_twice = || {
            let log = conductor.log();
            log.matches(told).count() >= 2
        };
        eventually("the signal's reload", async || told_twice().then_some(())).await;
        assert_eq!(alice.status().await.cells, 4, "{way}");
        conductor.kill();
        let refused = Conductor::start_refused(&place);
        assert!(refused.contains(told), "{way}: {refused}");
        bring_back(&place);
        conductor = Conductor::start(&place);
    }
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.reload(false).await.unwrap().added, 0);
}

#[tokio::test]
async fn who_says_so_lifts_it_and_the_answer_counts() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let count = |answer: v1::ReloadResponse| {
        let changes = answer.deployments.unwrap();
        (changes.now, changes.added, changes.changed, changes.removed)
    };
    place.write("deployments.d/db.toml", "[db]\napps = {db = \"be1.east\"}\n");
    place.write("deployments.d/web.yaml", &WEB.replace("50%", "25%"));
    assert_eq!(count(alice.reload(false).await.unwrap()), (2, 1, 1, 0));
    fs::remove_file(place.path("deployments.d/web.yaml")).unwrap();
    let refused = alice.reload(false).await.unwrap_err();
    let told = "limits that are in force would be lifted: deployments.d/web.yaml is not there, and \
                with it deployment web; mend the files, or allow it with `orc conductor reload \
                --allow-removal`, or start the conductor with --allow-removal";
    assert_eq!(refused.message(), told);
    assert_eq!(count(alice.reload(true).await.unwrap()), (1, 0, 0, 1));
    // It was said once; from now on it is nothing that is missed.
    conductor.kill();
    drop(Conductor::start(&place));
    fs::remove_dir_all(place.path("deployments.d")).unwrap();
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains("deployments.d is not there"), "{refused}");
    Conductor::start_with(&place, &["--allow-removal"]).kill();
    drop(Conductor::start(&place));
}

#[tokio::test]
async fn a_group_that_loses_much_of_the_fleet_is_refused_as_a_removal_is() {
    let place = Place::new("db[1-10] tier=1\n");
    place.write("groups.toml", "prod = \"db[1-8]\"\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    place.write("groups.toml", "prod = \"db[1-6]\"\n");
    alice.reload(false).await.unwrap();
    place.write("groups.toml", "prod = \"db1\"\n");
    let told = "groups and labels lack 5 of 10 players that were in them, more than 2: @prod lacks \
                db[2-6] (5)";
    let refused = alice.reload(false).await.unwrap_err();
    assert!(refused.message().starts_with(told), "{refused:?}");
    assert!(refused.message().contains("--allow-removal"), "{refused:?}");
    conductor.kill();
    assert!(Conductor::start_refused(&place).contains(told));
    Conductor::start_with(&place, &["--allow-removal"]).kill();
    // Labels are held to the same.
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    place.write("players", "db[1-7] tier=1\ndb[8-10]\n");
    let refused = alice.reload(false).await.unwrap_err();
    assert!(refused.message().contains("@tier=1 lacks db[8-10] (3)"), "{refused:?}");
    alice.reload(true).await.unwrap();
    assert_eq!(alice.reload(false).await.unwrap().removed, 0);
}

#[tokio::test]
async fn groups_that_go_are_missed_as_well() {
    let place = Place::new("db[1-3]\n");
    place.write("groups.toml", "prod = \"db[1-2]\"\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    fs::rename(place.path("groups.toml"), place.path("away")).unwrap();
    let refused = alice.reload(false).await.unwrap_err();
    assert!(refused.message().contains("groups.toml, which had 1 group"), "{refused:?}");
    let hosts = v1::ResolveHostsRequest { hosts: "@prod".to_owned() };
    assert_eq!(alice.client.clone().resolve_hosts(hosts).await.unwrap().into_inner().count, 2);
    symlink("not-mounted", place.path("groups.toml")).unwrap();
    let refused = alice.reload(true).await.unwrap_err();
    assert!(refused.message().contains("a link that leads nowhere"), "{refused:?}");
    fs::remove_file(place.path("groups.toml")).unwrap();
    conductor.kill();
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains("groups.toml, which had 1 group"), "{refused}");
    Conductor::start_with(&place, &["--allow-removal"]).kill();
    drop(Conductor::start(&place));
}

#[tokio::test]
async fn a_file_that_is_a_pipe_holds_no_reload() {
    let place = Place::new("db[1-3]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    for name in ["players", "groups.toml", "conductor.toml", "ca/ca.pem"] {
        let path = place.path(name);
        let kept = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let refused = soon("an answer", alice.reload(true)).await.unwrap_err();
        assert!(refused.message().contains("it is not a regular file"), "{name}: {refused:?}");
        fs::remove_file(&path).unwrap();
        if let Some(kept) = kept {
            fs::write(&path, kept).unwrap();
        }
        soon("a reload that is as ever", alice.reload(false)).await.unwrap();
    }
}
