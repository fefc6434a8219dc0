//! What users of other supervisors met with, and must not meet with here. What of that is tested
//! elsewhere: a child for whom memory was not enough (`limits.rs`), lines at the end of a log's file and
//! logs of earlier versions (`logs.rs`, `flood.rs`), what was removed while its player was away
//! (`tests/e2e/service_outages.rs`).

use std::fs;

use orchestra_model::{
    Millis,
    service::{
        Probe, ReadyRule, ReadySign, RestartRule, RestartWhen, RunEnd, Target, UnitState, Upkeep,
        Wanted,
    },
};

use super::{Asked, RECORD, ask, ends_well, health::listen, known, record, run, without_cgroups};
use crate::{
    Test,
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_stop_leaves_no_grandchild", || leaves_no_grandchild(&World::new(), Wanted::Stopped)),
    ("a_stop_leaves_no_grandchild_without_cgroups", || {
        leaves_no_grandchild(&without_cgroups(World::new()), Wanted::Stopped);
    }),
    ("a_restart_leaves_no_grandchild", || leaves_no_grandchild(&World::new(), Wanted::Restarted)),
    ("who_gave_up_runs_when_somebody_asks", who_gave_up_runs_when_somebody_asks),
    ("a_run_whose_probe_fails_is_followed", a_run_whose_probe_fails_is_followed),
];

/// A program that is started by a program that is started by a shell is ended with them: when the shell
/// has ended by the signal and the others have not, they are killed, and nobody is told before that the
/// stop is done. Otherwise the old one holds its port against the next one.
fn leaves_no_grandchild(world: &World, wanted: Wanted) {
    world.score(
        "web",
        &format!(
            "{RECORD}\nsh -c 'trap \"\" TERM; echo $$ >> $OUT/below; \
             sh -c \"echo \\$\\$ >> $OUT/below; while :; do sleep 1000; done\"; :' &\n\
             wait"
        ),
    );
    world.start();
    ends_well(world, ask(world, &Asked::default()));
    let main = known(world, 1).pid;
    let below = eventually("a child and its child", || {
        let text = fs::read_to_string(world.out("below")).ok()?;
        let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    });
    ends_well(world, ask(world, &Asked::wanting(wanted)));
    let left: Vec<i32> =
        [vec![main], below].concat().into_iter().filter(|pid| lives(*pid)).collect();
    assert!(left.is_empty(), "{left:?}\n{}", world.log());
}

/// What a person asks for is not counted against the limit of what happens by itself: a unit that gave up
/// runs at once when it is asked to, as often as it is asked to, and has all its attempts again.
fn who_gave_up_runs_when_somebody_asks() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\n[ -e $OUT/mended ] || exit 9\nexec sleep 1000"));
    world.start();
    let rule = RestartRule { attempts: Some(2), ..RestartRule::default() };
    let patient = Asked { healthy_for: Millis::seconds(30), ..Asked::with_restart(rule) };
    let again = Asked { wanted: Wanted::Restarted, ..patient.clone() };
    for (asked, runs) in [(&patient, 3), (&again, 6), (&again, 9)] {
        let end = world.ended(ask(&world, asked));
        assert_eq!(end.response["cause"], "exited 9", "{}", world.log());
        assert_eq!(world.unit_reports().last().unwrap().state, UnitState::GaveUp);
        assert_eq!(record(&world).len(), runs, "{}", world.log());
    }
    fs::write(world.out("mended"), "").unwrap();
    ends_well(&world, ask(&world, &Asked { healthy_for: Millis(0), ..again }));
    let unit = world.attach_again().units.unwrap().remove(0);
    assert_eq!((unit.state, unit.run.0, unit.restarts), (UnitState::Ready, 10, 0));
}

/// Where a probe says whether a run is ready, and it fails until the deadline, that run is ended, and the
/// next one follows by the rule for failures: it is not given up, nor left as it is.
fn a_run_whose_probe_fails_is_followed() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\nexec sleep 1000"));
    world.start();
    let (listener, port) = listen(0);
    drop(listener);
    let sign = ReadySign::Probe(Probe::Tcp(Target::Port(port)));
    let ready = ReadyRule { sign, deadline: Millis(1_000) };
    let restart = RestartRule { when: RestartWhen::OnFailure, ..RestartRule::default() };
    let upkeep = Upkeep { restart, ready, ..Upkeep::default() };
    let key = ask(&world, &Asked { upkeep, deadline: Millis::minutes(10), ..Asked::default() });
    world.started(key);
    run(&world, 3);
    let _listener = listen(port);
    ends_well(&world, key);
    let unit = world.attach_again().units.unwrap().remove(0);
    assert_eq!((unit.state, unit.last_end), (UnitState::Ready, Some(RunEnd::NeverReady)));
    let alive = record(&world).iter().filter(|line| lives(line.pid)).count();
    assert_eq!(alive, 1, "{}", world.log());
}
