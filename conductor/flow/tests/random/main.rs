//! Everything at once, by chance: flows, deployments, whatever operators ask for, reloads, players
//! that come, go, crash and are wiped, reports said twice and in any order, time, and conductors that
//! crash with any part of their last batch on disk. After every step the engine is audited and held
//! against the truth: what runs, who is down, how many hosts of a cell that makes. Then the world is
//! healed, every flow has to end or say truly that it is stalled, and each verdict has to be what the
//! outcomes of its tasks say.
//!
//! A failure prints its seed: `SEED=17 cargo test -p orchestra-flow --test random`. `SEEDS=100000`
//! goes on for longer.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
#![expect(clippy::disallowed_methods, reason = "the seed to repeat comes from the environment")]

#[path = "../world/mod.rs"]
mod world;

mod heal;

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Answer, Input, ReplyId, ReplyTo, answer};
use orchestra_model::{
    Deployments, FlowId, HostName, HostSet, Millis, Quantity,
    delivery::{AttemptKey, Outcome},
    flow::{FlowSpec, JobSpec, OnDoomed, Scope, SequenceOnFailure, Stragglers},
};

use world::{World, chance::Chance, flow, hosts, job, named_deployment, submitted};

const REPLY: ReplyId = ReplyId(0);

const FLEET: &str = "h[1-5]";
const SEEDS: u64 = 250;
const STEPS: u32 = 250;

struct Run {
    world: World,
    chance: Chance,
    submitted: Vec<FlowId>,
    /// Operators give tasks of living flows further attempts.
    retries: bool,
    /// From here on.
    all_goes_well: bool,
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
    let (submitted, truth, retries) = (Vec::new(), BTreeMap::new(), seed % 2 == 1);
    let mut run = Run { world, chance, submitted, truth, retries, all_goes_well: false };
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
                let changes = self.chance.one_in(2);
                self.world.player(name).offer_as("other", changes);
            }
            22..23 => {
                let tasks = 1 + self.chance.below(4) as u32;
                self.world.player(name).takes(tasks);
            }
            23..24 => self.cancel(),
            24..25 => self.reload(),
            25..27 => self.deploy(),
            27..34 => self.operate(name),
            34..38 => self.pass(),
            38..40 => self.restart(),
            40..41 => self.say_twice(name),
            41..58 => self.end_something(name),
            58..73 => drop(self.world.deliver_down(name)),
            73..88 => self.deliver_up(name),
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
        let mut submission = self.world.submission(spec);
        let ended = |id: &&FlowId| self.world.disk.flow(**id).is_some_and(|f| f.state.is_final());
        let ended: Vec<FlowId> = self.submitted.iter().filter(ended).copied().collect();
        submission.retry_of = self.chance.pick(&ended).copied().filter(|_| self.chance.one_in(4));
        self.world.input(submitted(submission));
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
        let scores = ["work", "work", "work", "other", "single", "alone", "look", "nonsense"];
        let score = *self.chance.pick(&scores).unwrap();
        let chance = &mut self.chance;
        let scope = if chance.one_in(4) { Scope::One } else { Scope::All };
        let has_canary = scope == Scope::All && chance.one_in(4);
        let canary = has_canary.then(|| count(chance, 1));
        JobSpec {
            scope,
            parallel: count(chance, 1),
            success: chance.maybe(|chance| count(chance, 0)).filter(|_| scope == Scope::All),
            max_failures: chance.maybe(|chance| count(chance, 0)).filter(|_| scope == Scope::All),
            give_up_after: chance.maybe(seconds),
            lost_after: chance.maybe(seconds),
            stragglers: if chance.one_in(2) { Stragglers::Wait } else { Stragglers::GiveUp },
            retries: chance.below(3) as u32,
            retry_delay: if chance.one_in(3) { seconds(chance) } else { Millis(0) },
            quorum: if chance.one_in(4) { count(chance, 0) } else { Quantity::Count(0) },
            canary,
            bake: canary.and_then(|_| chance.maybe(seconds)),
            on_doomed: if chance.one_in(2) { OnDoomed::Cancel } else { OnDoomed::Finish },
            sequence_on_failure: match chance.one_in(2) {
                true => SequenceOnFailure::Continue,
                false => SequenceOnFailure::Wait,
            },
            unthrottled: chance.one_in(6),
            ..world::JobExt::score(world::JobExt::named(job(&some.to_string()), name), score)
        }
    }

    fn cancel(&mut self) {
        if let Some(flow) = self.any_alive() {
            let (by, abandon) = (world::audience(), self.chance.one_in(3));
            self.world.input(Input::CancelRequested {
                reply: ReplyTo::new(REPLY),
                flow,
                by,
                abandon,
            });
        }
    }

    fn any_alive(&mut self) -> Option<FlowId> {
        let alive: Vec<FlowId> = self.world.engine.alive().collect();
        self.chance.pick(&alive).copied()
    }

    /// An operator asks for something.
    fn operate(&mut self, name: &str) {
        let (reply, by, one) = (REPLY, world::audience(), hosts(name));
        let flow = self.any_alive();
        let input = match (self.chance.below(7), flow) {
            (0, _) => Input::DrainRequested {
                reply: ReplyTo::new(reply),
                hosts: one,
                by,
                reason: Arc::from("a new disk"),
            },
            (1, _) => Input::UndrainRequested { reply: ReplyTo::new(reply), hosts: one },
            (2, _) => Input::ReleaseRequested { reply: ReplyTo::new(reply), hosts: one },
            (_, None) => return,
            (3, Some(flow)) => Input::PauseRequested { reply: ReplyTo::new(reply), flow, by },
            (4, Some(flow)) => Input::ResumeRequested { reply: ReplyTo::new(reply), flow },
            (5, Some(flow)) => {
                Input::PromoteRequested { reply: ReplyTo::new(reply), flow, job: None, by }
            }
            (_, Some(_)) if !self.retries => return,
            (_, Some(flow)) => {
                self.world.disk.may_retry = true;
                let hosts = self.chance.maybe(|_| one);
                Input::RetryRequested { reply: ReplyTo::new(reply), flow, job: None, hosts }
            }
        };
        self.world.input(input);
    }

    /// Other deployments: limits rise and fall, hosts move from cell to cell, orders change.
    fn deploy(&mut self) {
        let some = |chance: &mut Chance| -> Vec<HostName> {
            hosts(FLEET).iter().filter(|_| chance.one_in(2)).cloned().collect()
        };
        let of = |names: &[HostName]| HostSet::from_names(names.to_vec()).to_string();
        let chance = &mut self.chance;
        let (mut first, mut second) = (some(chance), some(chance));
        if chance.one_in(2) {
            second.retain(|host| !first.contains(host));
        }
        first.push(world::host("h1"));
        second.push(world::host("h5"));
        let mut limit = || match chance.below(4) {
            0 => None,
            1 => Some(Quantity::Percent(50)),
            most => Some(Quantity::Count(most as u32 - 1)),
        };
        let (of_first, of_second, of_rack) = (limit(), limit(), limit());
        let sequence: &[&str] = if chance.one_in(2) { &["first", "second"] } else { &[] };
        let apps = [("first", &*of(&first), of_first), ("second", &*of(&second), of_second)];
        let halves: &[_] = &[("east", "h[1-3]"), ("west", "h[3-5]")];
        let envs = if chance.one_in(2) { halves } else { &[("all", FLEET)] };
        let mut site = named_deployment("site", &apps, envs, sequence);
        for constraint in site.constraints.values_mut() {
            constraint.concurrency.retain(|_, most| !most.is_zero());
        }
        let rack = some(chance);
        let rack = [("racked", &*of(&rack), of_rack)];
        let two = !rack[0].1.is_empty() && chance.one_in(2);
        let rack = two.then(|| named_deployment("rack", &rack, &[("one", FLEET)], &[]));
        if let Ok(all) = Deployments::new([site].into_iter().chain(rack)) {
            self.load(Arc::new(all));
        }
    }

    fn load(&mut self, deployments: Arc<Deployments>) {
        self.world.perform();
        let loaded = Arc::clone(&deployments);
        self.world
            .input(Input::DeploymentsLoaded { reply: ReplyTo::new(REPLY), deployments: loaded });
        self.world.perform();
        if let Some(Answer::DeploymentsLoaded(answer::DeploymentsLoaded { .. })) =
            self.world.answers.last()
        {
            self.world.disk.deployments = deployments;
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
        let hosts = fleet.clone();
        self.world.input(Input::RosterLoaded {
            reply: ReplyTo::new(REPLY),
            hosts,
            most_removed: u32::MAX,
        });
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
            _ if self.all_goes_well => Outcome::Exited(0),
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
}
