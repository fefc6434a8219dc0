//! What is asked of a unit, and what its attempts come to.

use std::time::Duration;

use orchestra_model::{
    Millis,
    delivery::{Outcome, Refusal},
    service::{RunEnd, UnitReport, UnitState, Wanted},
};
use rustix::process::Signal;

use super::{Asked, RECORD, ask, ends_well, kill, prepared, record, run, started, without_cgroups};
use crate::{
    Test,
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("an_order_is_ok_when_its_unit_is_ready", an_order_is_ok_when_its_unit_is_ready),
    ("an_order_that_comes_with_later_ones_is_taken", an_order_that_comes_with_later_ones_is_taken),
    ("a_stop_ends_a_unit_and_another_order_starts_it", a_stop_ends_a_unit),
    ("what_is_gone_leaves_nothing", what_is_gone_leaves_nothing),
    ("a_version_takes_the_place_of_another", a_version_takes_the_place_of_another),
    ("a_score_that_may_not_run_refuses_the_order", a_score_that_may_not_run),
    ("a_cancel_ends_the_watch_and_not_the_unit", a_cancel_ends_the_watch_and_not_the_unit),
    ("units_take_no_place_of_attempts", units_take_no_place_of_attempts),
    ("a_run_has_its_variables_and_no_other", a_run_has_its_variables_and_no_other),
    ("an_attempt_leaves_units_alone_without_cgroups", an_attempt_leaves_units_alone),
];

fn an_order_is_ok_when_its_unit_is_ready() {
    let world = started();
    let key = ask(&world, &Asked::default());
    world.started(key);
    ends_well(&world, key);
    // What is told of the unit comes before that.
    let told = world.unit_reports();
    let last = told.last().unwrap();
    assert_eq!((last.state, last.run.0, last.restarts), (UnitState::Ready, 1, 0));
    assert_eq!((last.instance.ordinal.0, last.instance.placement.0), (3, 7));
    assert!(lives(run(&world, 1).pid));
    let snapshot = world.attach_again();
    let [again] = &snapshot.units.unwrap()[..] else { panic!("one unit is there") };
    assert!(again.run_age >= last.run_age, "a run does not become younger");
    assert_eq!(UnitReport { run_age: last.run_age, ..again.clone() }, *last);
    assert_eq!(snapshot.live, []);
}

/// Later orders do not pass those of units, which are taken once they are on disk.
fn an_order_that_comes_with_later_ones_is_taken() {
    let world = prepared();
    world.score("brief", "exit 0");
    world.start();
    world.signal(Signal::STOP);
    let watch = ask(&world, &Asked::default());
    let refused = ask(
        &world,
        &Asked { score: "nowhere", service: "other".parse().unwrap(), ..Asked::default() },
    );
    let again = ask(&world, &Asked { service: "third".parse().unwrap(), ..Asked::default() });
    let attempt = world.order("brief", &[]);
    world.signal(Signal::CONT);
    assert_eq!(world.refused(refused), Refusal::UnknownScore);
    world.ended(attempt);
    ends_well(&world, watch);
    ends_well(&world, again);
}

fn a_stop_ends_a_unit() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Stopped)));
    assert!(!lives(first.pid));
    assert_eq!(world.unit_reports().last().unwrap().state, UnitState::Stopped);
    assert_eq!(world.attach_again().units.unwrap()[0].last_end, Some(RunEnd::Asked));
    world.crash();
    world.start();
    assert_eq!(record(&world).len(), 1, "what is stopped stays so");
    ends_well(&world, ask(&world, &Asked::default()));
    assert!(lives(run(&world, 2).pid));
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Restarted)));
    assert!(lives(run(&world, 3).pid));
}

fn what_is_gone_leaves_nothing() {
    let world = World::new();
    let leave = "cd $ORC_RUN_DIR; mkdir -p a/b; touch a/b/c d; ln -s /etc e; mkfifo a/f";
    world.score("web", &format!("{leave}; cd /; {RECORD}\nexec sleep 1000"));
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    assert_eq!((world.unit_places().len(), world.logs().len()), (1, 1));
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Gone)));
    assert_eq!(world.unit_reports().last().unwrap().state, UnitState::Gone);
    assert!(!lives(first.pid));
    assert_eq!(world.attach_again().units.unwrap(), []);
    assert_eq!((world.unit_places().len(), world.logs().len()), (0, 0));
}

fn a_version_takes_the_place_of_another() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    // An order that asks for nothing new needs no further run.
    ends_well(&world, ask(&world, &Asked::default()));
    assert_eq!(record(&world).len(), 1);
    ends_well(&world, ask(&world, &Asked { version: 2, ..Asked::default() }));
    let second = run(&world, 2);
    assert_eq!((second.version, lives(first.pid)), (2, false));
    ends_well(&world, ask(&world, &Asked { placement: 9, version: 2, ..Asked::default() }));
    // Its process was there when it counted as ready; what it writes comes a moment later.
    let third = || record(&world).into_iter().find(|line| (line.placement, line.run) == (9, 1));
    eventually("the run of the new placement", third);
    let old = ask(&world, &Asked::default());
    assert!(matches!(world.refused(old), Refusal::Spool(why) if why.contains("placement")));
}

fn a_score_that_may_not_run() {
    let world = started();
    let unknown = ask(&world, &Asked { score: "none", ..Asked::default() });
    assert_eq!(world.refused(unknown), Refusal::UnknownScore);
    world.file("web.conf", "interface = \"pipe\"\n", 0o644);
    world.file("asks.conf", "[params.port]\nrequired = true\n", 0o644);
    world.score("asks", "exec sleep 1000");
    world.score("writable", "exec sleep 1000");
    world.file("writable", "#!/bin/sh\n", 0o777);
    world.signal(Signal::HUP);
    world.hear_of_a_scan();
    let refusal = |score| world.refused(ask(&world, &Asked { score, ..Asked::default() }));
    assert!(matches!(refusal("web"), Refusal::ScoreDisabled(why) if why.contains("pipe")));
    assert!(matches!(refusal("asks"), Refusal::Parameters(_)));
    assert!(matches!(refusal("writable"), Refusal::ScoreDisabled(_)));
    assert_eq!(world.attach_again().units.unwrap(), []);
}

fn a_cancel_ends_the_watch_and_not_the_unit() {
    let world = started();
    let asked = Asked { healthy_for: Millis::minutes(5), ..Asked::default() };
    let key = ask(&world, &Asked { deadline: Millis::minutes(10), ..asked });
    let first = run(&world, 1);
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
    assert!(lives(first.pid));
    kill(first.pid);
    assert!(lives(run(&world, 2).pid));
    let late = ask(
        &world,
        &Asked {
            version: 2,
            healthy_for: Millis::minutes(5),
            deadline: Millis(300),
            ..Asked::default()
        },
    );
    assert_eq!(world.ended(late).outcome, Outcome::TimedOut);
    assert!(lives(run(&world, 3).pid));
}

fn units_take_no_place_of_attempts() {
    let world = prepared();
    world.set("max_tasks", "1");
    world.score("quick", "echo quick");
    world.start();
    let asked = Asked { healthy_for: Millis::minutes(5), ..Asked::default() };
    let key = ask(&world, &Asked { deadline: Millis::minutes(10), ..asked });
    world.started(key);
    assert_eq!(world.output_of("quick", &[]), "quick\n");
}

fn a_run_has_its_variables_and_no_other() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\nenv | sort > $OUT/env.new; stat -c '%a %u' $ORC_RUN_DIR >> $OUT/env.new; mv $OUT/env.new $OUT/env; exec sleep 1000"));
    world.start();
    ends_well(
        &world,
        ask(&world, &Asked { params: vec![("port", "80".to_owned())], ..Asked::default() }),
    );
    let text = world.text_in("env");
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    for (name, wanted) in [
        ("ORC_SERVICE", "web"),
        ("ORC_INSTANCE", "web/3"),
        ("ORC_ORDINAL", "3"),
        ("ORC_VERSION", "1"),
        ("ORC_PLACEMENT", "7"),
        ("ORC_RUN", "1"),
        ("ORC_SCORE", "web"),
        ("ORC_PLAYER", crate::world::PLAYER),
        ("ORC_AUDIENCE", "alice"),
        ("ORC_port", "80"),
    ] {
        assert_eq!(value(name), Some(wanted), "{name}: {text}");
    }
    for name in ["ORC_TASK", "ORC_ATTEMPT", "ORC_FLOW", "NOTIFY_SOCKET", "SECRET_OF_THE_SITTER"] {
        assert_eq!(value(name), None, "{name}: {text}");
    }
    assert!(value("ORC_RUN_DIR").is_some() && value("ORC_SPOOL").is_some(), "{text}");
    let own = format!("700 {}", rustix::process::geteuid().as_raw());
    assert_eq!(text.lines().last(), Some(own.as_str()));
}

fn an_attempt_leaves_units_alone() {
    let world = without_cgroups(World::new());
    // A child of the unit that nothing shows to be its.
    world.score(
        "web",
        &format!(
            "{RECORD}\n(setsid env -i sh -c 'echo $$ > '$OUT/scrubbed'; exec sleep 1000' &)\n\
             exec sleep 1000"
        ),
    );
    world.score("stubborn", "exec sleep 1000");
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    let (first, scrubbed) = (run(&world, 1), world.number_in("scrubbed"));
    let key = world.order_for("stubborn", &[], Some(Duration::from_millis(200)));
    assert_eq!(world.ended(key).outcome, Outcome::TimedOut);
    assert!(lives(first.pid) && lives(scrubbed));
}
