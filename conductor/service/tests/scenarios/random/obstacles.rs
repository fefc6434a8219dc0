//! What is told of instances that are not where or as they are to be, as docs/services.md says it. That
//! something is told of each, the engine's audit says.

use orchestra_model::{
    HostName, HostSet,
    service::{Cause, Obstacle, OnUnhealthy, ServiceStatus, UnitState},
};

use crate::world::{World, web};

/// Looks whether what is told is so, and whether nothing is told of what is as wanted.
pub(super) fn look(world: &World, now: &ServiceStatus) {
    let mut seen = HostSet::default();
    for hindered in &now.hindered {
        assert!(seen.intersection(&hindered.hosts).is_empty(), "each host once: {hindered:?}");
        seen = seen.union(&hindered.hosts);
        for host in &hindered.hosts {
            check(world, now, host, &hindered.by);
        }
    }
    let goes_on = now.record.living.is_some() || now.record.relief.is_some();
    for instance in &now.instances {
        let report = instance.report.as_ref().filter(|_| instance.attached);
        let is_as_wanted = now.record.hosts.contains(&instance.host)
            && now.record.goal == orchestra_model::service::Goal::Running
            && report.is_some_and(|it| {
                (it.state, it.version) == (UnitState::Ready, now.record.version)
                    && it.instance == instance.instance
            })
            && !goes_on
            && !world.drained.contains(&instance.host);
        assert!(!is_as_wanted || !seen.contains(&instance.host), "{instance:?} of {now:?}");
    }
}

fn check(world: &World, now: &ServiceStatus, host: &HostName, by: &Obstacle) {
    let is_attached = world.attached.contains(host);
    let is_drained = world.drained.contains(host);
    let unit = world.units.get(host).and_then(|units| units.get(&web()));
    let state = unit.map(|unit| unit.state);
    let is_so = match by {
        Obstacle::Absent | Obstacle::Replacing(_) => !is_attached,
        Obstacle::Room(waiting) => {
            let others = world.attached.iter().filter(|it| world.offering.contains(*it));
            let mut open = others.filter(|it| !world.drained.contains(*it));
            let has_one = |host: &HostName| now.instances.iter().any(|it| it.host == *host);
            (is_drained || !is_attached)
                && waiting.players as usize == world.players.len()
                && open.all(|host| !world.players.contains(host) || has_one(host))
        }
        Obstacle::Starting => is_drained && !world.is_settled(),
        Obstacle::Drained => is_attached && is_drained,
        Obstacle::TooOld => false,
        Obstacle::Stranger => now.strangers.contains(host),
        // `web` is linked to nothing, and nobody asks for leases of it here.
        Obstacle::Linked | Obstacle::Lease => false,
        Obstacle::Successor(next) => {
            let unit = world.units.get(next).and_then(|units| units.get(&web()));
            let is_ready = unit.is_some_and(|unit| unit.state == UnitState::Ready);
            let counts = world.attached.contains(next) && !now.strangers.contains(next);
            now.record.hosts.contains(next) && !(is_ready && counts)
        }
        Obstacle::Predecessor(other) => {
            let is_single = world.wanted_spec().upkeep.at_most_one.is_some();
            is_single && now.instances.iter().any(|it| it.host == *other)
        }
        Obstacle::Flow(flow) => world.is_awaited(*flow, host),
        Obstacle::NextFlow(flow) => {
            let living = now.record.living.as_ref();
            // What ends strangers is no flow by which the service comes there.
            let ends_strangers = living.is_some_and(|it| it.cause == Cause::StopStranger);
            let lives = world.flows.iter().any(|(id, _)| id == flow);
            lives && (ends_strangers || !world.is_awaited(*flow, host))
        }
        Obstacle::GivenUp => now.given_up.contains(host),
        Obstacle::Paused => now.record.paused_by.is_some(),
        Obstacle::NoFlow => now.trouble.is_some(),
        Obstacle::Suspicious => {
            now.record.judged.suspicion.is_some() && state == Some(UnitState::Unhealthy)
        }
        Obstacle::Flapping => unit.is_some_and(|unit| unit.flapping),
        Obstacle::Unhealthy => {
            state == Some(UnitState::Unhealthy)
                && world.wanted_spec().judgement.on_unhealthy != OnUnhealthy::Restart
        }
        Obstacle::Misfit(left) => {
            let version = Some(now.record.version);
            let is_well = |it: &orchestra_model::service::InstanceStatus| {
                let report = it.report.as_ref().filter(|_| it.attached);
                report.is_some_and(|it| (it.state, Some(it.version)) == (UnitState::Ready, version))
            };
            let others = now.instances.iter().filter(|it| it.host != *host);
            left.0 > 0
                && state != Some(UnitState::Ready)
                && (others.filter(|it| is_well(it)).count() > 0 || now.record.hosts.len() == 1)
        }
        Obstacle::GaveUp => matches!(state, Some(UnitState::GaveUp | UnitState::Ended)),
        Obstacle::Itself => {
            matches!(state, Some(UnitState::Starting | UnitState::BackingOff | UnitState::Stopping))
        }
    };
    assert!(is_so, "{host}: {by:?} of {now:?}");
}
