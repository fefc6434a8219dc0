//! What is installed may be another score than the version's: the next run uses it and says so, unless
//! the service asks for the same.

use std::fs;

use super::{Asked, RECORD, ask, ends_well, kill, known, prepared, record, run};
use crate::{Test, scores, world::World};
use orchestra_model::{
    delivery::Refusal,
    score::ScoreHash,
    service::{RunEnd, UnitReport, UnitState, Upkeep, Wanted},
};

pub(crate) const TESTS: &[Test] = &[
    ("the_next_run_uses_what_is_installed", the_next_run_uses_what_is_installed),
    ("what_requires_its_score_runs_no_other", what_requires_its_score_runs_no_other),
    ("a_score_that_is_gone_is_named_by_the_next_run", a_score_that_is_gone),
];

/// What the player offers as the score, after it has looked anew.
fn rescan(world: &World) -> Option<ScoreHash> {
    let offers = scores::rescan(world).scores;
    offers.iter().find(|offer| offer.name.as_str() == "web").and_then(|offer| offer.hash)
}

/// Installs another version of the score, and returns what it is.
fn install(world: &World, what: &str) -> ScoreHash {
    world.score("web", &format!("# {what}\n{RECORD}\nexec sleep 1000"));
    rescan(world).unwrap()
}

/// Waits for a report of this run in this state, or of a later one: what cannot begin is tried again.
fn told(world: &World, number: u64, state: UnitState) -> UnitReport {
    loop {
        let report = world.unit_report();
        if report.run.0 >= number && report.state == state {
            return report;
        }
    }
}

fn the_next_run_uses_what_is_installed() {
    let world = prepared();
    let first = world.start().scores[0].hash;
    ends_well(&world, ask(&world, &Asked { score_hash: first, ..Asked::default() }));
    let report = world.unit_reports().pop().unwrap();
    assert_eq!((report.score_hash, first.is_some()), (first, true));
    let second = install(&world, "another");
    assert_ne!(Some(second), first);
    assert_eq!(world.attach_again().units.unwrap()[0].score_hash, first, "nothing is restarted");
    kill(run(&world, 1).pid);
    assert_eq!(told(&world, 2, UnitState::Ready).score_hash, Some(second));
    // The sitter that finds the run knows it.
    known(&world, 2);
    world.crash();
    let units = world.start().units.unwrap();
    assert_eq!((units[0].run.0, units[0].score_hash), (2, Some(second)));
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Stopped)));
    assert_eq!(world.attach_again().units.unwrap()[0].score_hash, None, "it has no run");
}

fn what_requires_its_score_runs_no_other() {
    let world = prepared();
    let first = world.start().scores[0].hash;
    let upkeep = Upkeep { require_same_score: true, ..Upkeep::default() };
    let asked = Asked { score_hash: first, upkeep, ..Asked::default() };
    ends_well(&world, ask(&world, &asked));
    let script = fs::read_to_string(world.path("scores/web")).unwrap();
    let second = install(&world, "another");
    // What runs goes on; the next run does not begin.
    let line = run(&world, 1);
    kill(line.pid);
    let report = told(&world, 2, UnitState::BackingOff);
    let Some(RunEnd::NotSpawned(why)) = &report.last_end else { panic!("{report:?}") };
    let named =
        format!("it is {}, and the version's is {}", second.short(), first.unwrap().short());
    assert!(why.contains("require_same_score") && why.contains(&named), "{why}");
    let refused = |asked: &Asked| match world.refused(ask(&world, asked)) {
        Refusal::ScoreDisabled(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(&Asked { version: 2, ..asked.clone() }).contains(&named));
    let unknown = Asked { score_hash: None, ..asked.clone() };
    assert!(refused(&unknown).contains("not known"));
    assert_eq!(record(&world).len(), 1, "{}", world.log());
    // What was installed before may run again, and so may what the version is from now on.
    world.file("web", &script, 0o755);
    assert_eq!(rescan(&world), first);
    ends_well(&world, ask(&world, &asked));
    let third = install(&world, "a third");
    let asked = Asked { score_hash: Some(third), wanted: Wanted::Restarted, ..asked };
    ends_well(&world, ask(&world, &asked));
    assert_eq!(world.attach_again().units.unwrap()[0].score_hash, Some(third));
}

fn a_score_that_is_gone() {
    let world = prepared();
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    fs::remove_file(world.path("scores/web")).unwrap();
    assert_eq!(rescan(&world), None);
    kill(run(&world, 1).pid);
    let report = told(&world, 2, UnitState::BackingOff);
    let why = "the player has no such score".to_owned();
    assert_eq!(report.last_end, Some(RunEnd::NotSpawned(why)));
}
