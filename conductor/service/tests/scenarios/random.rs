//! Whatever happens, in whatever order: what holds always, and what holds once everything is whole.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    HostName, HostSet, Millis, ServiceName,
    score::ScoreHash,
    service::{
        AbsenceBrake, BrakeScope, Cause, Goal, HostStep, Placement, RunEnd, ServiceVersion,
        UnitState, Wanted,
    },
};
use orchestra_service::{Ask, Input, UnitFlow};

use self::{absences::Absences, papers::Papers};
use crate::world::{
    World, apply, exporter, filed, filed_linked, h, linked, placed, spec, together, web,
};

mod absences;
mod obstacles;
mod papers;

/// Chance from a seed (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn host(&mut self) -> String {
        format!("db{}", 1 + self.below(5))
    }

    /// From one to five hosts.
    fn hosts(&mut self) -> HostSet {
        let count = 1 + self.below(5);
        HostSet::from_names((0..count).map(|_| h(&self.host())))
    }
}

/// What is seen over all of a story.
#[derive(Default)]
struct Seen {
    /// Whose each placement is.
    placements: BTreeMap<Placement, HostName>,
    versions: ServiceVersion,
    /// What each version's score was, once it was known.
    scores: BTreeMap<ServiceVersion, ScoreHash>,
    papers: Papers,
    absences: Absences,
}

impl Seen {
    fn look(&mut self, world: &World) {
        look_at_flows(world);
        let Some(status) = world.engine.status(&web()) else { return };
        assert!(status.record.last_version >= self.versions, "versions run back");
        self.versions = status.record.last_version;
        self.absences.look(world, &status);
        obstacles::look(world, &status);
        for instance in status.instances {
            let owner = self.placements.entry(instance.instance.placement);
            let owner = owner.or_insert_with(|| instance.host.clone());
            assert_eq!(*owner, instance.host, "a placement is given twice");
        }
        look_at_linked(world);
        look_at_unwell(world);
        self.look_at_scores(world);
    }

    /// What a version's score is changes only if somebody asks for new runs everywhere, and of each a
    /// run with another one is told once.
    fn look_at_scores(&mut self, world: &World) {
        for kept in world.kept() {
            let before = self.scores.get(&kept.version).copied();
            let may_change = before.is_none() || world.restarts_all;
            assert!(may_change || kept.score_hash == before, "{kept:?} was {before:?}");
            self.scores.extend(kept.score_hash.map(|hash| (kept.version, hash)));
        }
        let status = world.status();
        for instance in &status.instances {
            let Some(report) = &instance.report else { continue };
            let kept = world.kept().find(|kept| kept.version == report.version);
            let wanted = kept.and_then(|kept| kept.score_hash);
            let drifted = wanted.zip(report.score_hash).map(|(wanted, runs)| wanted != runs);
            assert_eq!(instance.drifted, drifted, "{instance:?}");
            let is_wanted = report.version == status.record.version && instance.attached;
            let is_told = kept.is_some_and(|kept| kept.drift_told);
            assert!(!is_wanted || drifted != Some(true) || is_told, "{instance:?}");
        }
    }
}

/// One flow changes a service, and beside it at most one restarts units that are unhealthy. Which two
/// ask nothing of one unit at once, the engine's audit says.
fn look_at_flows(world: &World) {
    for name in [web(), exporter()] {
        let parts = world.flows.iter().flat_map(|(_, flow)| &flow.services);
        let causes: Vec<Cause> = parts.filter(|it| it.name == name).map(|it| it.cause).collect();
        let others = causes.iter().filter(|cause| **cause != Cause::Unhealthy).count();
        assert!(others <= 1 && causes.len() <= 2, "{causes:?} change {name}");
        assert!(causes.len() < 2 || others == 1, "{causes:?} change {name}");
    }
}

/// What is linked is where the other is, and only while that is there.
fn look_at_linked(world: &World) {
    let Some(linked) = world.engine.status(&exporter()).map(|status| status.record) else { return };
    if linked.goal != Goal::Removed {
        let other = world.status().record;
        assert_ne!(other.goal, Goal::Removed, "it was removed beside what is linked to it");
        assert_eq!(linked.hosts, other.hosts);
    }
}

/// A unit counts as down only where it is to run.
fn look_at_unwell(world: &World) {
    let is_to_run = |name: &ServiceName, host: &HostName| {
        world.engine.status(name).is_some_and(|status| {
            status.record.goal == Goal::Running && status.record.hosts.contains(host)
        })
    };
    for (host, units) in &world.unwell {
        for unit in units {
            let others =
                if unit.service == exporter() { vec![exporter(), web()] } else { vec![web()] };
            let all = others.iter().all(|name| is_to_run(name, host));
            assert!(all, "{host} is unwell: {unit:?} of what is not to run");
        }
    }
}

fn step(world: &mut World, chance: &mut Chance, version: &mut u32, papers: &mut Papers) {
    let host = chance.host();
    let pending = world.engine.status(&web()).and_then(|it| it.record.pending);
    world.restarts_all = pending.is_some_and(|it| it.cause == Cause::Restart && it.hosts.is_none());
    match chance.below(29) {
        0 | 1 => world.attach(&host),
        2 => world.detach(&host),
        3 => {
            world.detach(&host);
            world.wipe(&host);
        }
        4 => {
            let n = u64::from(*version) + 1;
            world.bad.insert((h(&host), n));
        }
        5 => {
            world.bad.clear();
            world.hanging.clear();
        }
        23 => match chance.below(4) {
            0 => drop(world.hanging.insert(h(&host))),
            1 => world.calm(&host),
            2 => release(world, chance),
            _ => world.pass(1_000 * (1 + chance.below(400))),
        },
        26 => {
            // Many turn at once.
            for n in 1..=5 {
                let host = format!("db{n}");
                let unit = world.units.get(&h(&host)).and_then(|units| units.get(&web()));
                if unit.is_some_and(|unit| unit.state == UnitState::Ready) {
                    world.turn(&host, UnitState::Unhealthy, None);
                }
            }
        }
        6 | 7 => {
            *version += u32::try_from(chance.below(2)).unwrap();
            let hosts = chance.hosts();
            let ask = apply(spec(&hosts.to_string(), *version), hosts);
            apply_as_planned(world, papers, maybe_over(ask, chance));
        }
        8 => {
            let hosts = chance.hosts();
            let all = (0..200).map(|n| (ServiceVersion(n), hosts.clone())).collect();
            let _ = world.ask(Ask::Revert { service: web(), to: None, hosts: all });
        }
        9 => {
            let ask = match chance.below(8) {
                0 => Ask::Stop(web()),
                1 => Ask::Start(web()),
                2 => return drop(papers.ask(world, Ask::Remove(web()))),
                3 => Ask::Pause(web()),
                4 => Ask::Resume(web()),
                5 => Ask::Reload { service: web(), hosts: None },
                6 => Ask::Signal { service: web(), hosts: Some(chance.hosts()), signal: 10 },
                _ => {
                    let hosts = (chance.below(3) > 0).then(|| chance.hosts());
                    world.restarts_all = hosts.is_none();
                    Ask::Restart { service: web(), hosts }
                }
            };
            let _ = world.ask(ask);
        }
        10 => turn(world, chance, &host),
        11 => world.restart(),
        19 => {
            let mut files = Vec::new();
            if chance.below(3) == 0 {
                // What it is linked to comes behind it.
                files.push(filed_linked(1 + u32::try_from(chance.below(2)).unwrap()));
            }
            if chance.below(4) > 0 {
                *version += u32::try_from(chance.below(2)).unwrap();
                let hosts = chance.hosts().to_string();
                let name = format!("services.d/{}.yaml", chance.below(2));
                files.push(filed(&name, &hosts, *version));
            }
            if chance.below(3) == 0 && !papers.last.is_empty() {
                // Nobody has touched them.
                files.clone_from(&papers.last);
            }
            papers.load(world, &files, chance.below(4) == 0);
        }
        // Nothing that was issued comes near it.
        20 if chance.below(3) == 0 => world.plant(&host, (1 << 40) + chance.below(1 << 20)),
        21 => {
            let (service, hosts) = (web(), Some(chance.hosts()));
            match chance.below(2) {
                0 => stop_strangers(world, &hosts.unwrap()),
                _ => drop(world.ask(Ask::Adopt { service, hosts })),
            }
        }
        24 => place(world, papers, chance, version),
        22 => update_what_is_not_ready(world, papers, chance, version),
        12 => {
            // Only what names its hosts is resolved.
            let is_named = world.engine.expressions().any(|(name, _)| *name == web());
            let hosts = is_named.then(|| (web(), Ok(chance.hosts()))).into_iter().collect();
            world.handle(Input::FleetLoaded { hosts });
        }
        13 => {
            let (hosts, drained) = (chance.hosts(), chance.below(2) == 0);
            world.handle(Input::DrainChanged { hosts, drained });
        }
        14 => match chance.below(4) {
            0 => drop(world.refusing.insert(h(&host))),
            1 => world.refusing.clear(),
            2 => drop(world.unpreparable.insert(h(&host))),
            _ => world.unpreparable.clear(),
        },
        16 if chance.below(3) == 0 => apply_both(world, papers, chance, version),
        16 => {
            let spec = linked(1 + u32::try_from(chance.below(2)).unwrap());
            apply_as_planned(world, papers, maybe_over(apply(spec, HostSet::default()), chance));
        }
        17 => {
            let ask = match chance.below(4) {
                0 => Ask::Stop(exporter()),
                1 => Ask::Start(exporter()),
                2 => return drop(papers.ask(world, Ask::Remove(exporter()))),
                _ => Ask::Restart { service: exporter(), hosts: None },
            };
            let _ = world.ask(ask);
        }
        27 => world.install(&host, u8::try_from(chance.below(3)).unwrap()),
        // Whatever is in the way, flows come to an end.
        15 => drop(world.settle()),
        _ => {
            let flows = world.flows.len() as u64;
            if flows > 0 && chance.below(3) == 0 {
                // Some of it, of whichever.
                let place = chance.below(flows) as usize;
                world.run_tasks(place, 1 + chance.below(2) as usize);
            } else if flows > 0 {
                world.run_flow();
            }
        }
    }
}

/// Somebody releases a brake, if there is one.
fn release(world: &mut World, chance: &mut Chance) {
    match world.engine.zones().brake.filter(AbsenceBrake::is_engaged) {
        Some(_) if chance.below(2) == 0 => world.release(&BrakeScope::Fleet).unwrap(),
        _ => drop(world.ask(Ask::ReleaseBrake(web()))),
    }
}

/// What has to do with placement: some instances, or other players.
fn place(world: &mut World, papers: &mut Papers, chance: &mut Chance, version: &mut u32) {
    match chance.below(7) {
        6 => drop(world.ask(Ask::Rebalance { service: web(), plan: chance.below(4) == 0 })),
        0 => load_players(world, chance),
        1 => world.pass(45_000),
        5 => world.pass(1_000 * (1 + chance.below(400))),
        2 => {
            let count = u32::try_from(chance.below(7)).unwrap();
            let take_over = chance.below(3) == 0;
            let ask = Ask::Scale { service: web(), zone: None, count, take_over };
            drop(papers.ask(world, ask));
        }
        _ => {
            *version += u32::try_from(chance.below(2)).unwrap();
            let count = u32::try_from(chance.below(7)).unwrap();
            let ask = apply(placed(count, *version), HostSet::default());
            apply_as_planned(world, papers, maybe_over(ask, chance));
        }
    }
}

/// The players file is read: all five players, but now and then not db5.
fn load_players(world: &mut World, chance: &mut Chance) {
    let zones = ["zone=east", "zone=west"];
    let zone = zones[usize::try_from(chance.below(2)).unwrap()];
    let first = ("db[1-4]", "zone=east");
    match chance.below(3) {
        0 => world.load_players(&[first]),
        _ => world.load_players(&[first, ("db5", zone)]),
    }
}

/// A service that is placed has as many instances as there are to be, as far as there are players.
fn look_at_placed(world: &World) {
    let status = world.status();
    let Some(layout) = &status.record.layout else { return };
    if status.record.goal == Goal::Running && world.strangers().is_empty() {
        let wanted = usize::try_from(layout.total()).unwrap().min(5);
        assert_eq!(status.record.hosts.len(), wanted, "{:?}", status.waiting);
    }
}

/// The unit of a host changes by itself, if it has one.
fn turn(world: &mut World, chance: &mut Chance, host: &str) {
    let state = match chance.below(6) {
        0 => UnitState::Ready,
        1 => UnitState::BackingOff,
        2 => UnitState::GaveUp,
        3 | 4 => UnitState::Unhealthy,
        _ => UnitState::AwaitingParams,
    };
    let has_unit = world.units.get(&h(host)).is_some_and(|units| units.contains_key(&web()));
    if has_unit {
        world.turn(host, state, Some(RunEnd::Exited(1)));
    }
}

/// A new version comes when nothing else is going on, and some units are not ready: they come first.
fn update_what_is_not_ready(
    world: &mut World,
    papers: &mut Papers,
    chance: &mut Chance,
    version: &mut u32,
) {
    world.attach("db[1-5]");
    world.settle();
    stop_strangers(world, &HostSet::parse_plain("db[1-5]").unwrap());
    world.settle();
    let host = chance.host();
    turn(world, chance, &host);
    *version += 1;
    let hosts = chance.hosts();
    let mut ask = apply(spec(&hosts.to_string(), *version), hosts);
    if let Ask::Apply { take_over, .. } = &mut ask {
        *take_over = true;
    }
    apply_as_planned(world, papers, ask);
}

/// Applies the service and what is linked to it at once: one flow makes both changes.
fn apply_both(world: &mut World, papers: &mut Papers, chance: &mut Chance, version: &mut u32) {
    *version += u32::try_from(chance.below(2)).unwrap();
    let hosts = chance.hosts();
    let other = linked(1 + u32::try_from(chance.below(2)).unwrap());
    let both = together([
        apply(other, HostSet::default()),
        apply(spec(&hosts.to_string(), *version), hosts),
    ]);
    let Ok(taken) = papers.ask_all(world, maybe_over(both, chance)) else { return };
    let flows: BTreeSet<_> =
        taken.iter().filter(|it| !it.unchanged).filter_map(|it| it.flow).collect();
    let is_joint = |flow| {
        let (_, flow) = world.flows.iter().find(|(id, _)| *id == flow).unwrap();
        flow.services.len() == 2 || flow.services[0].cause != Cause::Update
    };
    assert!(flows.len() < 2 || flows.into_iter().all(is_joint), "{taken:?}");
}

/// It may take what is applied from its file.
fn maybe_over(mut ask: Ask, chance: &mut Chance) -> Ask {
    if let Ask::Apply { take_over, .. } = &mut ask {
        *take_over = chance.below(3) == 0;
    }
    ask
}

/// Ends strangers, on the hosts that somebody named and nowhere else.
fn stop_strangers(world: &mut World, hosts: &HostSet) {
    let flows = world.flows.len();
    let _ = world.ask(Ask::StopStrangers { service: web(), hosts: Some(hosts.clone()) });
    let ends = |flow: &&UnitFlow| flow.services[0].cause == Cause::StopStranger;
    for flow in world.flows.iter().skip(flows).map(|(_, flow)| flow).filter(ends) {
        let targets = flow.targets.iter().flatten().flat_map(|it| it.iter());
        assert!(targets.into_iter().all(|host| hosts.contains(host)), "{flow:?}, not {hosts}");
    }
}

/// Applies something, and looks whether the flow that is made asks of which hosts what was foretold.
fn apply_as_planned(world: &mut World, papers: &mut Papers, ask: Ask) {
    let name = ask.services().remove(0);
    let plan = world.plan(ask.clone());
    let status = world.engine.status(&name);
    let is_free =
        status.is_none_or(|it| it.record.living.is_none() && it.record.paused_by.is_none());
    let flows = world.flows.len();
    let (taken, plan) = match (papers.ask(world, ask), plan) {
        (Ok(taken), Ok((_, plan))) => (taken, plan),
        (Err(taken), Err(plan)) => return assert_eq!(taken, plan),
        (taken, plan) => panic!("{taken:?}, and {plan:?} was foretold"),
    };
    if !is_free || taken.unchanged {
        return;
    }
    let act = |step: HostStep| match step {
        HostStep::Leave => Some(Wanted::Gone),
        HostStep::Stop => Some(Wanted::Stopped),
        HostStep::Start | HostStep::Update | HostStep::Restart => Some(Wanted::Running),
        _ => None,
    };
    let mut foretold = BTreeSet::new();
    for it in &plan.steps {
        let Some(wanted) = act(it.step) else { continue };
        foretold
            .extend(it.hosts.iter().map(|host| (host.clone(), format!("{wanted:?}"), it.first)));
    }
    // What is linked to it follows by flows of its own.
    let mut made = BTreeSet::new();
    for (_, flow) in world.flows.iter().skip(flows) {
        for (slot, targets) in flow.spec.slots.iter().zip(&flow.targets) {
            let jobs = slot.jobs.iter().zip(targets);
            for (job, hosts) in jobs {
                let Some(unit) = job.unit.as_ref().filter(|unit| unit.service == name) else {
                    continue;
                };
                let wanted = format!("{:?}", unit.wanted);
                let is_first = job.name.as_str() == "sick";
                made.extend(hosts.iter().map(|host| (host.clone(), wanted.clone(), is_first)));
            }
        }
    }
    assert_eq!(made, foretold, "{plan:?}");
}

/// Mends everything, and looks whether what is wanted is so; then nothing more happens.
fn heal(world: &mut World) {
    world.bad.clear();
    world.hanging.clear();
    world.refusing.clear();
    world.unpreparable.clear();
    let hosts = HostSet::parse_plain("db[1-5]").unwrap();
    world.handle(Input::DrainChanged { hosts, drained: false });
    world.load_players(&[("db[1-5]", "zone=east")]);
    world.attach("db[1-5]");
    world.settle();
    for n in 1..=5 {
        world.calm(&format!("db{n}"));
    }
    world.settle();
    believe(world);
    if !world.strangers().is_empty() {
        if world.engine.status(&web()).is_some_and(|it| it.record.pending.is_some()) {
            world.ask(Ask::Resume(web())).unwrap();
            world.settle();
        }
        world.ask(Ask::StopStrangers { service: web(), hosts: None }).unwrap();
        world.settle();
        assert!(world.strangers().is_empty());
    }
    let Some(status) = world.engine.status(&web()) else { return };
    let (goal, hosts) = (status.record.goal, status.record.hosts.clone());
    if goal == Goal::Running && status.record.paused_by.is_none() {
        // Each has attached anew: nobody has to be asked for what is wanted to come there.
        for host in &hosts {
            let unit = world.units.get(host).and_then(|units| units.get(&web()));
            let version = unit.map(|unit| unit.version);
            assert_eq!(version, Some(status.record.version), "{host}");
            let is_unhealthy = unit.is_some_and(|unit| unit.state == UnitState::Unhealthy);
            assert!(!is_unhealthy || !world.is_restarted_for_health(), "{host}: {unit:?}");
        }
    }
    if goal != Goal::Removed {
        world.ask(Ask::Resume(web())).unwrap();
        world.settle();
    }
    if goal == Goal::Running {
        // Units that gave up wait for a person.
        world.ask(Ask::Restart { service: web(), hosts: None }).unwrap();
        world.settle();
    }
    let status = world.status();
    // Those that are placed may have moved to where strangers were.
    let hosts = if status.record.layout.is_some() { status.record.hosts.clone() } else { hosts };
    let wanted = match goal {
        Goal::Running => Some(UnitState::Ready),
        Goal::Stopped => Some(UnitState::Stopped),
        Goal::Removed => None,
    };
    for (host, units) in &world.units {
        let unit = units.get(&web());
        let state = unit.map(|unit| unit.state);
        let wanted = wanted.filter(|_| hosts.contains(host));
        // A service that was stopped before it came somewhere is not brought there to be stopped.
        let is_right = state == wanted || (goal == Goal::Stopped && state.is_none());
        assert!(
            is_right,
            "{host}: {state:?}, and not {wanted:?}: {unit:?} {:?} {:?} {:?}",
            status.instances,
            status.given_up,
            world.engine.strangers().collect::<Vec<_>>()
        );
        if goal == Goal::Running && wanted.is_some() {
            assert_eq!(unit.unwrap().version, status.record.version, "{host}");
            assert_eq!(world.unready(host.as_str()), None, "{host}");
        }
    }
    heal_linked(world);
    look_at_placed(world);
    for (name, record) in world.records() {
        // Where it is wanted again, nothing is cleaned up.
        let left = world.engine.status(&name).unwrap().uncleaned.minus(&record.hosts);
        let waits = record.paused_by.is_some();
        assert!(waits || left.is_empty(), "{name} is left on {left}");
    }
    if let Some(max_age) = rejuvenated(world) {
        return keep_young(world, max_age.0);
    }
    let written = world.writes;
    world.attach("db[1-5]");
    world.pass(1_000_000);
    assert_eq!((world.writes, world.flows.len()), (written, 0), "it comes to rest");
}

/// How old runs may become of what is there, if that matters for one of the two services.
fn rejuvenated(world: &World) -> Option<Millis> {
    let is_kept = |name: &ServiceName| {
        let record = world.engine.status(name).map(|status| status.record);
        record.is_some_and(|it| it.goal == Goal::Running && it.paused_by.is_none())
    };
    [web(), exporter()].iter().filter(|name| is_kept(name)).find_map(|name| world.max_age(name))
}

/// Where all is well no run becomes older than its version says, by more than a tenth and what it takes
/// to begin a new one.
fn keep_young(world: &mut World, max_age: u64) {
    const MINUTE: u64 = 60_000;
    world.attach("db[1-5]");
    for _ in 0..max_age * 3 / MINUTE {
        world.pass(MINUTE);
        world.settle();
        for (host, _, state) in world.versions() {
            let is_meant = state == UnitState::Ready && world.max_age(&web()).is_some();
            let age = world.age(&h(&host));
            assert!(!is_meant || age <= max_age * 11 / 10 + MINUTE, "{host}: {age}");
        }
    }
}

/// A suspicion ends by itself where units are to be restarted, for that helps now.
fn believe(world: &mut World) {
    let is_suspicious = |world: &World| {
        world.engine.status(&web()).is_some_and(|it| it.record.judged.suspicion.is_some())
    };
    if !is_suspicious(world) {
        return;
    }
    let record = world.status().record;
    let is_wanted = |host: &HostName| record.hosts.contains(host);
    let is_tried = record.paused_by.is_none()
        && world
            .versions()
            .iter()
            .any(|(host, _, state)| *state == UnitState::Unhealthy && is_wanted(&h(host)));
    if is_tried {
        for _ in 0..5 {
            world.pass(300_000);
            world.settle();
        }
        assert!(!is_suspicious(world), "{:?}", world.status());
    } else {
        world.ask(Ask::ReleaseBrake(web())).unwrap();
        world.settle();
    }
}

/// What is linked is where and as the other is, once somebody has asked where flows gave it up.
fn heal_linked(world: &mut World) {
    let Some(linked) = world.engine.status(&exporter()) else { return };
    if linked.record.goal != Goal::Removed {
        world.ask(Ask::Resume(exporter())).unwrap();
        world.settle();
    }
    let other = world.status().record;
    let wanted = match (linked.record.goal, other.goal) {
        (Goal::Removed, _) => None,
        (Goal::Running, Goal::Running) if other.paused_by.is_none() => Some(UnitState::Ready),
        (Goal::Running, Goal::Running) => return,
        _ => Some(UnitState::Stopped),
    };
    if wanted == Some(UnitState::Ready) {
        // Units that back off or gave up are as they were told to be: a person helps them.
        world.ask(Ask::Restart { service: exporter(), hosts: None }).unwrap();
        world.settle();
    }
    for (host, units) in &world.units {
        let state = units.get(&exporter()).map(|unit| unit.state);
        let wanted = wanted.filter(|_| other.hosts.contains(host));
        let is_right = state == wanted || (wanted == Some(UnitState::Stopped) && state.is_none());
        assert!(is_right, "{host}: {state:?}, and not {wanted:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long somebody wants to look")]
fn whatever_happens_what_is_wanted_comes_about_once_everything_is_whole() {
    let seeds = std::env::var("SEEDS").ok().map_or(2_000_u64, |seeds| seeds.parse().unwrap());
    let from = std::env::var("FROM").ok().map_or(0, |from| from.parse().unwrap());
    for seed in from..from + seeds {
        let told = std::panic::catch_unwind(|| {
            let (mut world, mut chance) = (World::new(), Chance(seed));
            let (mut seen, mut version) = (Seen::default(), 1);
            load_players(&mut world, &mut chance);
            for _ in 0..60 {
                step(&mut world, &mut chance, &mut version, &mut seen.papers);
                seen.look(&world);
            }
            heal(&mut world);
        });
        assert!(told.is_ok(), "seed {seed}");
    }
}
