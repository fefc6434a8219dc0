//! What is kept running, by its own record: each run writes its numbers and its process to a file.

use std::fs;

use orchestra_model::{
    Asker, JobName, Millis, Params, ScoreName, ServiceName,
    delivery::{AttemptKey, JobPart, Outcome},
    score::ScoreHash,
    service::{RestartRule, ServiceVersion, UnitJob, Upkeep, Wanted},
};
use orchestra_proto::v1;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{World, eventually, lives};

pub(crate) mod cerebro;
pub(crate) mod checks;
pub(crate) mod drift;
pub(crate) mod given;
pub(crate) mod health;
pub(crate) mod leases;
pub(crate) mod leaving;
pub(crate) mod lessons;
pub(crate) mod limits;
pub(crate) mod matrix;
pub(crate) mod orders;
pub(crate) mod process;
pub(crate) mod ready;
pub(crate) mod restarts;
pub(crate) mod signals;
pub(crate) mod starved;
pub(crate) mod vitals;

/// Writes a line for each run and stays.
pub(crate) const RECORD: &str = "echo $ORC_PLACEMENT $ORC_RUN $$ $PPID $ORC_VERSION >> $OUT/runs";

/// What is asked of a unit: of `web`, if nothing else is said.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) service: ServiceName,
    pub(crate) score: &'static str,
    /// What the version's score is.
    pub(crate) score_hash: Option<ScoreHash>,
    pub(crate) version: u64,
    pub(crate) placement: u64,
    pub(crate) wanted: Wanted,
    pub(crate) params: Vec<(&'static str, String)>,
    pub(crate) upkeep: Upkeep,
    pub(crate) healthy_for: Millis,
    pub(crate) deadline: Millis,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            service: ServiceName::new("web").unwrap(),
            score: "web",
            score_hash: None,
            version: 1,
            placement: 7,
            wanted: Wanted::Running,
            params: Vec::new(),
            upkeep: Upkeep::default(),
            healthy_for: Millis(0),
            deadline: Millis::seconds(60),
        }
    }
}

impl Asked {
    pub(crate) fn wanting(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    pub(crate) fn with_restart(restart: RestartRule) -> Self {
        Self { upkeep: Upkeep { restart, ..Upkeep::default() }, ..Self::default() }
    }
}

pub(crate) fn ask(world: &World, asked: &Asked) -> AttemptKey {
    let key = world.fresh_key();
    ask_again(world, asked, key);
    key
}

pub(super) fn ask_again(world: &World, asked: &Asked, key: AttemptKey) {
    let unit = UnitJob {
        service: asked.service.clone(),
        version: ServiceVersion(asked.version),
        wanted: asked.wanted,
        upkeep: asked.upkeep.clone(),
        healthy_for: asked.healthy_for,
        deadline: asked.deadline,
        score_hash: asked.score_hash,
        instances: [].into(),
    };
    let part = JobPart {
        job: key.job,
        name: JobName::new("web").unwrap(),
        score: ScoreName::new(asked.score).unwrap(),
        audience: Asker::from_word("alice").unwrap(),
        params: Params::from_pairs(asked.params.clone()).unwrap(),
        unit: Some(unit.into()),
        seal: None,
    };
    let body = v1::JobBody::from(&part);
    world.send_body(&body, None, key, key.job.flow.0, (3, asked.placement));
}

/// A line of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) placement: u64,
    pub(crate) run: u64,
    pub(crate) pid: i32,
    pub(crate) version: u64,
}

pub(super) fn record(world: &World) -> Vec<Line> {
    let text = fs::read_to_string(world.out("runs")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next()?.parse::<u64>().ok();
        let (placement, run, pid, _, version) = (next()?, next()?, next()?, next()?, next()?);
        Some(Line { placement, run, pid: pid as i32, version })
    });
    lines.collect()
}

/// Waits for the run of this number.
pub(crate) fn run(world: &World, number: u64) -> Line {
    let what = format!("run {number}\n{}", world.log());
    eventually(&what, || record(world).into_iter().find(|line| line.run == number))
}

/// Finds this run, and waits until the sitter has written down that it runs: before that the next
/// sitter would not know of its process, and end it.
pub(super) fn known(world: &World, number: u64) -> Line {
    world.logged(&format!("started a run unit=web run={number} "));
    world.attach_again();
    run(world, number)
}

pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

pub(super) fn gone(pid: i32) {
    eventually("the end of a process", || (!lives(pid)).then_some(()));
}

pub(crate) fn ends_well(world: &World, key: AttemptKey) {
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Exited(0), "{:?}\n{}", end.response, world.log());
}

/// A world whose service stays.
pub(super) fn prepared() -> World {
    let world = World::new();
    world.score("web", &format!("{RECORD}\nexec sleep 1000"));
    world
}

pub(super) fn started() -> World {
    let world = prepared();
    world.start();
    world
}

pub(super) fn without_cgroups(world: World) -> World {
    world.set("cgroup", "\"none\"");
    world
}
