//! When instances are replaced whose players are away, as docs/services.md says it.

use std::collections::BTreeMap;

use orchestra_model::{
    HostName, Millis,
    service::{Goal, Replacing, ReplacingWait, ServiceStatus},
};

use crate::world::World;

/// What was seen of absent players.
#[derive(Default)]
pub(super) struct Absences {
    /// When each player that is not attached was there last, at the latest.
    seen: BTreeMap<HostName, u64>,
    before: Option<ServiceStatus>,
}

impl Absences {
    pub(super) fn look(&mut self, world: &World, now: &ServiceStatus) {
        self.check_replaced(world, now);
        for host in world.players.iter().filter(|host| world.attached.contains(*host)) {
            self.seen.insert(host.clone(), world.now());
        }
        check_told(world, now);
        if world.is_settled() {
            check_brakes(world);
        }
        self.before = Some(now.clone());
    }

    /// Whoever is replaced was away for as long as its version says.
    fn check_replaced(&self, world: &World, now: &ServiceStatus) {
        let Some(before) = &self.before else { return };
        let is_placed =
            |it: &ServiceStatus| it.record.layout.is_some() && it.record.goal == Goal::Running;
        if before.record.version != now.record.version || !is_placed(before) || !is_placed(now) {
            return;
        }
        for host in &before.record.hosts.minus(&now.record.hosts) {
            let number = |it: &ServiceStatus, on: &HostName| {
                let instance = it.instances.iter().find(|instance| instance.host == *on);
                instance.map(|instance| instance.instance.ordinal)
            };
            let next = now.record.hosts.iter().find(|on| number(now, on) == number(before, host));
            let is_moved = next.is_some() && number(before, host).is_some();
            let is_away = !world.attached.contains(host) && world.players.contains(host);
            if !is_moved || !is_away || world.drained.contains(host) {
                continue;
            }
            let last = self.seen.get(host).copied().unwrap_or_default();
            let away = Millis(world.now() - last);
            let after = world.replaces_after();
            let is_due = after.is_some_and(|after| away >= after);
            assert!(is_due, "{host} was away for {away}, and is replaced after {after:?}");
        }
    }
}

/// What is told of whoever is away is so.
fn check_told(world: &World, now: &ServiceStatus) {
    let has_none = |host: &&HostName| now.instances.iter().all(|it| it.host != **host);
    let is_open = |host: &&HostName| {
        world.attached.contains(*host)
            && world.offering.contains(*host)
            && !world.drained.contains(*host)
    };
    let free = world.players.iter().find(|host| is_open(host) && has_none(host));
    for instance in &now.instances {
        let (host, absence) = (&instance.host, instance.absence.as_ref());
        assert!(absence.is_none() || !world.attached.contains(host), "{host}: {absence:?}");
        let is_wanted = now.record.hosts.contains(host);
        match absence.and_then(|absence| absence.replacing.as_ref()) {
            Some(Replacing::At(at)) => assert!(at.0 > world.now(), "{host}: it is {absence:?}"),
            Some(Replacing::Waits(ReplacingWait::Room)) => {
                assert_eq!(free, None, "{host}: somebody has room");
            }
            Some(Replacing::By(next)) => {
                assert!(!is_wanted && now.record.hosts.contains(next), "{host}: {absence:?}");
            }
            Some(Replacing::Never) => assert_eq!(world.replaces_after(), None, "{host}"),
            Some(Replacing::Waits(_)) | None => {}
        }
    }
}

/// Which brakes there are, once players had their time to come back: one that is engaged stays for a
/// while, in which the others may come back.
fn check_brakes(world: &World) {
    let is_away = |host: &&HostName| !world.attached.contains(*host);
    let met: Vec<&HostName> = world.players.iter().filter(|it| world.met.contains(*it)).collect();
    let check = |all: &[&HostName], is_braked: bool| {
        let away = all.iter().copied().filter(is_away).count();
        let is_many = away >= 3 && away * 100 > all.len() * 55;
        let is_right = if is_braked { away > 0 } else { !is_many };
        assert!(is_right, "{away} of {all:?} are away, and it is braked: {is_braked}");
    };
    let fleet = world.engine.zones();
    if fleet.zones.is_empty() {
        // Nobody has read the players file yet.
        return;
    }
    check(&met, fleet.brake.is_some());
    for status in &fleet.zones {
        let of_zone: Vec<&HostName> =
            met.iter().copied().filter(|host| world.zones[*host] == status.zone).collect();
        check(&of_zone, status.brake.is_some());
    }
}
