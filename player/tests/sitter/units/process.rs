//! What runs are like when they begin, and what they keep: settings of processes, ports, state directories.

use std::fs;

use orchestra_model::{
    delivery::Refusal,
    service::{PortName, PortRule, ProcessRule, Umask, UnitState, Upkeep, Wanted},
};

use super::{Asked, RECORD, ask, ends_well, gone, record, run};
use crate::{
    Test,
    world::{World, eventually},
};

pub(crate) const TESTS: &[Test] = &[
    ("processes_are_as_their_service_says", processes_are_as_their_service_says),
    ("without_a_word_processes_are_as_ever", processes_are_as_ever),
    ("what_the_kernel_refuses_is_told", what_the_kernel_refuses),
    ("a_state_directory_outlives_its_unit", a_state_directory_outlives_its_unit),
    ("an_instance_has_ports_of_its_own", an_instance_has_ports_of_its_own),
    ("parameters_stand_in_others", parameters_stand_in_others),
    ("a_port_that_would_be_too_high_refuses_the_order", a_port_that_is_too_high),
];

/// Writes down what it is like, and stays.
const LOOKS: &str = r#"
touch "$OUT/made.$ORC_RUN"
{ ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; umask; cut -d' ' -f19 /proc/self/stat; } > $OUT/like.new
mv $OUT/like.new $OUT/like.$ORC_RUN
exec sleep 1000"#;

fn looking() -> World {
    let world = World::new();
    world.score("web", &format!("{RECORD}{LOOKS}"));
    world.start();
    world
}

fn with(process: ProcessRule) -> Asked {
    Asked { upkeep: Upkeep { process, ..Upkeep::default() }, ..Asked::default() }
}

/// What the run of this number is like: its limits of files, its score, its mask and its niceness.
fn like(world: &World, run: u64) -> Vec<String> {
    eventually("what it is like", || {
        let text = fs::read_to_string(world.out(&format!("like.{run}"))).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    })
}

fn processes_are_as_their_service_says() {
    let world = looking();
    let process = ProcessRule {
        nofile: Some(200),
        nice: Some(7),
        oom_score_adj: Some(900),
        umask: Umask::new(0o077),
        state_dir: false,
    };
    ends_well(&world, ask(&world, &with(process)));
    assert_eq!(like(&world, 1), ["200", "200", "900", "0077", "7"]);
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    // Those who made it are as they were.
    let sitter = fs::read_to_string(format!("/proc/{}/oom_score_adj", world.pid())).unwrap();
    assert_eq!(sitter, own);
    // Another setting is another run's.
    let other = ProcessRule { nofile: Some(300), ..ProcessRule::default() };
    ends_well(&world, ask(&world, &Asked { version: 2, ..with(other) }));
    let like = like(&world, 2);
    assert_eq!((like[0].as_str(), like[3].as_str(), like[4].as_str()), ("300", "0022", "0"));
}

fn processes_are_as_ever() {
    let world = looking();
    ends_well(&world, ask(&world, &with(ProcessRule::default())));
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let like = like(&world, 1);
    assert_eq!((like[2].as_str(), like[3].as_str(), like[4].as_str()), (own.trim(), "0022", "0"));
}

fn what_the_kernel_refuses() {
    let world = looking();
    // More than any system allows (fs.nr_open), whoever asks.
    let process = ProcessRule { nofile: Some((1 << 30) - 8), ..ProcessRule::default() };
    let most: u64 = fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse().unwrap();
    if most >= 1 << 30 {
        eprintln!("SKIPPED: this system allows any number of files");
        return;
    }
    ask(&world, &with(process));
    let why = loop {
        let report = world.unit_report();
        if report.state == UnitState::BackingOff {
            break report.last_end.unwrap().to_string();
        }
    };
    assert!(why.contains("cannot set how many files it may open (nofile)"), "{why}");
    assert!(why.contains("not permitted"), "{why}");
}

fn a_state_directory_outlives_its_unit() {
    let world = World::new();
    let keeps =
        "echo $ORC_RUN >> $ORC_STATE_DIR/runs; echo $ORC_STATE_DIR > $OUT/where\nexec sleep 1000";
    world.score("web", &format!("{RECORD}\n{keeps}"));
    world.set("services_dir", format!("{:?}", world.path("services").to_str().unwrap()));
    world.start();
    let asked = with(ProcessRule { state_dir: true, ..ProcessRule::default() });
    ends_well(&world, ask(&world, &asked));
    let first = run(&world, 1);
    let place = world.path("services").join("web");
    let kept = || fs::read_to_string(place.join("runs")).unwrap_or_default();
    eventually("what it keeps", || (kept() == "1\n").then_some(()));
    ends_well(&world, ask(&world, &Asked { wanted: Wanted::Gone, ..asked.clone() }));
    gone(first.pid);
    assert_eq!(kept(), "1\n", "nobody has removed it");
    ends_well(&world, ask(&world, &Asked { placement: 8, ..asked }));
    eventually("what it keeps", || (kept() == "1\n1\n").then_some(()));
    assert_eq!(world.text_in("where").trim(), place.to_str().unwrap());
    assert_eq!(record(&world).len(), 2);
}

fn port(number: u16) -> Upkeep {
    let rule = PortRule { number, by_ordinal: true };
    let ports = [(PortName::new("http").unwrap(), rule)].into_iter().collect();
    Upkeep { ports, ..Upkeep::default() }
}

fn an_instance_has_ports_of_its_own() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\necho \"$ORC_at\" > $OUT/at\nexec sleep 1000"));
    // The pattern is one of what it becomes.
    world.file("web.conf", "[params.at]\npattern = '[a-z0-9.-]+:8003/web-3\\{\\}'\n", 0o644);
    world.start();
    let at = "{player}:{port.http}/web-{ordinal}{}".to_owned();
    let asked = Asked { upkeep: port(8_000), params: vec![("at", at)], ..Asked::default() };
    ends_well(&world, ask(&world, &asked));
    let told = world.text_in("at");
    assert!(told.trim().ends_with(":8003/web-3{}") && !told.contains("{player}"), "{told}");
}

fn parameters_stand_in_others() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\necho \"$ORC_at\" > $OUT/at\nexec sleep 1000"));
    world.file("web.conf", "[params.at]\npattern = 'web-3:8003'\n[params.name]\n", 0o644);
    world.start();
    let asked = |at: &str| {
        let params = vec![("at", at.to_owned()), ("name", "web-{ordinal}".to_owned())];
        Asked { upkeep: port(8_000), params, ..Asked::default() }
    };
    // The score's rules are for what it becomes.
    let refused = world.refused(ask(&world, &asked("{name}")));
    let Refusal::Parameters(why) = refused else { panic!("{refused:?}") };
    assert_eq!(why, "parameter at: it does not match the pattern web-3:8003");
    ends_well(&world, ask(&world, &asked("{name}:{port.http}")));
    let told = world.text_in("at");
    assert_eq!(told, "web-3:8003\n");
}

fn a_port_that_is_too_high() {
    let world = looking();
    let key = ask(&world, &Asked { upkeep: port(65_533), ..Asked::default() });
    let refused = world.refused(key);
    let why = "port http of instance 3 would be above 65535";
    assert!(matches!(&refused, Refusal::Parameters(told) if told == why), "{refused:?}");
}
