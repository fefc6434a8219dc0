//! Everything at once, by chance: flows, cancels, reloads, players that come, go, crash and are
//! wiped, reports said twice and in any order, time, and conductors that crash with any part of
//! their last batch on disk. After every step the engine is audited and held against the truth;
//! then the world is healed, every flow has to end, and each verdict has to be what the outcomes of
//! its tasks say.
//!
//! A failure prints its seed: `SEED=17 cargo test -p orchestra-flow --test random`. `SEEDS=100000`
//! goes on for longer.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
#![expect(clippy::disallowed_methods, reason = "the seed to repeat comes from the environment")]

mod world;

use std::collections::BTreeMap;

use orchestra_flow::Input;
use orchestra_model::{
    FlowId, FlowState, HostName, HostSet, JobId, JobState, Millis, Quantity, TaskState,
    delivery::{AttemptKey, Outcome},
    flow::{FlowSpec, JobSpec, Scope, Stragglers},
};

use world::{World, flow, hosts, job};

const FLEET: &str = "h[1-5]";
const SEEDS: u64 = 250;
const STEPS: u32 = 250;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0, below `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(2).then(|| value(self))
    }
}

struct Run {
    world: World,
    chance: Chance,
    submitted: Vec<FlowId>,
    /// How each process really ended.
    truth: BTreeMap<(HostName, AttemptKey), Outcome>,
}

#[test]
fn whatever_happens_the_promises_hold() {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match asked("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| drop(run(seed)));
        if let Err(panic) = result {
            eprintln!("SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_effects() {
    for seed in 0..20 {
        let (once, again) = (run(seed), run(seed));
        let differs = once.iter().zip(&again).find(|(once, again)| once != again);
        assert!(differs.is_none() && once.len() == again.len(), "SEED={seed}: {differs:?}");
    }
}

/// What one seed makes of the world. Everything that the engine asked for.
fn run(seed: u64) -> Vec<orchestra_flow::Effect> {
    let mut world = World::new(FLEET);
    world.immediate = false;
    let chance = Chance(seed);
    let mut run = Run { world, chance, submitted: Vec::new(), truth: BTreeMap::new() };
    for _ in 0..STEPS {
        run.step();
        assert_eq!(run.world.engine.stale(), None);
    }
    run.heal();
    run.check_outcomes();
    run.world.asked
}

impl Run {
    fn step(&mut self) {
        let everyone: Vec<HostName> = self.world.players.keys().cloned().collect();
        let name = self.chance.pick(&everyone).unwrap().clone();
        let name = name.as_str();
        match self.chance.below(100) {
            0..4 => self.submit(),
            4..12 => self.world.dial(name),
            12..15 => self.world.detach(name),
            // The engine has not noticed yet.
            15..17 => drop(self.world.player(name).hang_up()),
            17..18 => self.world.player(name).crash(),
            18..19 if self.chance.one_in(2) => self.wipe(name),
            19..22 => {
                let flag = self.chance.one_in(2);
                self.world.player(name).stopping = flag && self.chance.one_in(2);
                self.world.player(name).cannot_spawn = flag && self.chance.one_in(2);
                self.world.player(name).kills_slowly = flag;
            }
            22..23 => {
                let tasks = 1 + self.chance.below(4) as u32;
                self.world.player(name).takes(tasks);
            }
            23..25 => self.cancel(),
            25..26 => self.reload(),
            26..30 => self.pass(),
            30..32 => self.restart(),
            32..34 => self.say_twice(name),
            34..54 => self.end_something(name),
            54..70 => drop(self.world.deliver_down(name)),
            70..86 => self.deliver_up(name),
            _ => self.world.perform(),
        }
        self.world.work();
    }

    fn submit(&mut self) {
        let slots = 1 + self.chance.below(3);
        let spec: FlowSpec = flow((0..slots).map(|slot| {
            let jobs = 1 + self.chance.below(2);
            (0..jobs).map(|job| self.job(&format!("j{slot}{job}"))).collect()
        }));
        let members = self.world.members();
        let unknown = |job: &JobSpec| !hosts(&job.targets).minus(&members).is_empty();
        if spec.slots.iter().flat_map(|slot| &slot.jobs).any(unknown) {
            return;
        }
        let next = self.world.engine.alive().last();
        let submission = self.world.submission(spec);
        self.world.input(Input::FlowSubmitted(Box::new(submission)));
        let submitted = self.world.engine.alive().last();
        if submitted != next {
            self.submitted.extend(submitted);
        }
    }

    fn job(&mut self, name: &str) -> JobSpec {
        let all = hosts(FLEET);
        let mut some: HostSet = all.iter().filter(|_| self.chance.one_in(2)).cloned().collect();
        if some.is_empty() {
            some = all;
        }
        let n = some.len();
        let count = |chance: &mut Chance, from: usize| {
            Quantity::Count((from + chance.below(n + 1 - from)) as u32)
        };
        let seconds = |chance: &mut Chance| Millis::seconds(5 + chance.below(100) as u64);
        let scores = ["work", "work", "work", "other", "single", "alone", "nonsense"];
        let score = *self.chance.pick(&scores).unwrap();
        let chance = &mut self.chance;
        JobSpec {
            scope: if chance.one_in(4) { Scope::One } else { Scope::All },
            parallel: count(chance, 1),
            success: count(chance, 0),
            max_failures: chance.maybe(|chance| count(chance, 0)),
            give_up_after: chance.maybe(seconds),
            lost_after: chance.maybe(seconds),
            stragglers: if chance.one_in(2) { Stragglers::Wait } else { Stragglers::GiveUp },
            retries: chance.below(3) as u32,
            ..world::JobExt::score(world::JobExt::named(job(&some.to_string()), name), score)
        }
    }

    fn cancel(&mut self) {
        let alive: Vec<FlowId> = self.world.engine.alive().collect();
        if let Some(flow) = self.chance.pick(&alive).copied() {
            let reply = orchestra_flow::ReplyId(0);
            let by = world::audience();
            self.world.input(Input::CancelRequested { reply, flow, by, abandon: false });
        }
    }

    fn reload(&mut self) {
        let all = hosts(FLEET);
        let keep = all.iter().filter(|_| !self.chance.one_in(5)).cloned();
        let fleet: HostSet = keep.collect();
        if !fleet.is_empty() {
            self.reload_to(&fleet);
        }
    }

    fn reload_to(&mut self, fleet: &HostSet) {
        let reply = orchestra_flow::ReplyId(0);
        let hosts = fleet.clone();
        self.world.input(Input::RosterLoaded { reply, hosts, most_removed: u32::MAX });
    }

    fn pass(&mut self) {
        let most = *self.chance.pick(&[2, 20, 2_000]).unwrap();
        let seconds = self.chance.below(most) as u64;
        self.world.pass(seconds);
    }

    /// Any part of what was asked to be written is on disk, and nothing else was done.
    fn restart(&mut self) {
        let asked = self.world.asked_to_write().len();
        let kept = self.chance.below(asked + 1);
        self.world.crash_keeping(kept);
        let known = |flow: &FlowId| self.world.disk.flow(*flow).is_some();
        self.submitted.retain(known);
    }

    fn wipe(&mut self, name: &str) {
        self.world.player(name).wipe();
    }

    fn say_twice(&mut self, name: &str) {
        let waiting = self.world.player(name).waiting_reports();
        if let Some(report) = self.chance.pick(&waiting).cloned() {
            self.world.report(name, report);
        }
    }

    fn deliver_up(&mut self, name: &str) {
        if self.chance.one_in(4) {
            self.world.player(name).shuffle_reports();
        }
        self.world.deliver_up(name);
    }

    fn end_something(&mut self, name: &str) {
        let running = self.world.player(name).running();
        let Some(key) = self.chance.pick(&running).copied() else { return };
        let outcome = match self.chance.below(20) {
            0..12 => Outcome::Exited(0),
            12..16 => Outcome::Exited(1),
            16 => Outcome::Signalled(9),
            17..19 => Outcome::TimedOut,
            _ => Outcome::Lost("the sitter was killed".to_owned()),
        };
        self.truth.insert((world::host(name), key), outcome.clone());
        self.world.player(name).end(key, &outcome);
        self.world.drain(name);
    }

    /// Everybody comes back and works, until every flow has ended.
    fn heal(&mut self) {
        self.world.perform();
        self.reload_to(&hosts(FLEET));
        self.world.perform();
        let everyone: Vec<HostName> = self.world.players.keys().cloned().collect();
        for name in &everyone {
            let player = self.world.player(name.as_str());
            (player.stopping, player.cannot_spawn, player.kills_slowly) = (false, false, false);
            self.world.dial(name.as_str());
        }
        for _ in 0..100 {
            self.world.perform();
            self.world.flow_through();
            self.world.perform();
            for name in &everyone {
                self.end_something(name.as_str());
            }
            self.world.flow_through();
            self.world.pass(1);
            if self.world.engine.alive_count() == 0 && self.world.pending.is_empty() {
                break;
            }
        }
        let alive: Vec<_> =
            self.world.engine.alive().filter_map(|id| self.world.engine.flow_status(id)).collect();
        assert!(alive.is_empty(), "flows hang: {alive:#?}");
        for name in &everyone {
            self.world.perform();
            self.world.flow_through();
            let settled = self.world.player(name.as_str()).settled();
            assert!(settled.is_empty(), "{name} was never told to forget {settled:?}");
        }
    }

    fn check_outcomes(&self) {
        for id in &self.submitted {
            let record = self.world.disk.flow(*id).unwrap();
            assert!(record.state.is_final());
            let spec = self.world.disk.spec_of(*id);
            let cancelled = record.cancelled_by.is_some();
            let mut goes_on = true;
            let mut all_ok = true;
            for (slot, jobs) in (1..).zip(&spec.slots) {
                let mut slot_ok = true;
                for (job, spec) in (1..).zip(&jobs.jobs) {
                    let id = JobId { flow: *id, slot, job };
                    let state = self.world.disk.job(id).state;
                    let states = self.check_tasks(id);
                    let expected = verdict(spec, &states);
                    if cancelled {
                        let fits = state == JobState::Cancelled || state == expected;
                        assert!(fits, "{id} is {state}: {states:?}");
                    } else if goes_on {
                        assert_eq!(state, expected, "{id}: {states:?}");
                    } else {
                        assert_eq!(state, JobState::Skipped, "{id}: {states:?}");
                    }
                    slot_ok &= state == JobState::Ok;
                }
                all_ok &= slot_ok;
                goes_on &= slot_ok;
            }
            let expected = match (cancelled, all_ok) {
                (true, _) => FlowState::Cancelled,
                (false, true) => FlowState::Ok,
                (false, false) => FlowState::Failed,
            };
            assert_eq!(record.state, expected, "flow {id}");
            let first = JobId { flow: *id, slot: 1, job: 1 };
            assert!(!self.world.disk.has_params(first), "parameters of {first} are kept");
        }
    }

    /// What the store says of tasks is what happened. Their final states.
    fn check_tasks(&self, job: JobId) -> Vec<TaskState> {
        let states = self.world.disk.final_states(job);
        for (index, state) in (0..).zip(&states) {
            assert!(state.is_final(), "task {index} of {job} is {state}");
            let Some(record) = self.world.disk.task(job, index) else {
                // Nothing happened to it, so nothing ran.
                continue;
            };
            let store = world::disk::STORE;
            let key = AttemptKey { store, job, attempt: record.attempt };
            let truth = self.truth.get(&(record.host.clone(), key));
            let end = self.world.disk.end(job, record.host.as_str(), record.attempt);
            let started = self.world.starts.contains_key(&(record.host.clone(), key));
            match state {
                TaskState::Ok => assert_eq!(truth, Some(&Outcome::Exited(0)), "{key}"),
                TaskState::Failed => {
                    let is_failure =
                        |end: &Outcome| matches!(end, Outcome::Exited(1) | Outcome::Signalled(_));
                    // Of an attempt before, where the newest was refused.
                    assert!(!started || truth.is_some_and(is_failure), "{key} did not fail");
                }
                TaskState::TimedOut => {
                    assert!(!started || truth == Some(&Outcome::TimedOut), "{key} had time");
                }
                TaskState::Refused | TaskState::Unreachable | TaskState::Skipped => {
                    assert!(!started, "{key} is {state} and ran");
                }
                // Cancelled is what was killed as well as what never ran; lost may be anything.
                _ => {}
            }
            if matches!(state, TaskState::Ok) {
                assert!(!end.unwrap().late, "{key} has its end as a note");
            }
        }
        states
    }
}

/// A job's verdict, by its definition.
fn verdict(spec: &JobSpec, states: &[TaskState]) -> JobState {
    let total = states.len() as u32;
    let count =
        |is: &dyn Fn(TaskState) -> bool| states.iter().filter(|state| is(**state)).count() as u32;
    let ok = count(&|state| state == TaskState::Ok);
    let failures = count(&|state| {
        use TaskState::{Failed, Lost, Refused, TimedOut};
        matches!(state, Failed | TimedOut | Refused | Lost)
    });
    let needed = spec.success.threshold_of(total);
    let tolerated = match spec.max_failures {
        Some(most) => most.floor_of(total),
        None => total - needed,
    };
    match ok {
        ok if ok >= needed && failures <= tolerated => JobState::Ok,
        0 => JobState::Failed,
        _ => JobState::Partial,
    }
}
