//! What keeps instances from being where and as they are to be, from the very data that decides.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    HostName, HostSet, Millis, ServiceName,
    names::LabelValue,
    service::{
        Goal, Hindered, LivingChange, Obstacle, OnUnhealthy, Replacing, ReplacingWait, RunEnd,
        UnitReport, UnitState, Waiting, Wanted,
    },
};

use crate::{services::Services, tables::Service};

/// Why no player has room, for each zone that was asked for.
type NoRoom = BTreeMap<Option<LabelValue>, Waiting>;

impl Services {
    /// Returns what keeps the instances of a service from being where and as they are to be: each
    /// host once.
    pub(crate) fn hindered(&self, name: &ServiceName) -> Vec<Hindered> {
        let Some(service) = self.services.get(name) else { return Vec::new() };
        let hosts: BTreeSet<&HostName> =
            service.record.hosts.iter().chain(service.placements.keys()).collect();
        let mut alike: BTreeMap<Obstacle, Vec<HostName>> = BTreeMap::new();
        let mut no_room = NoRoom::new();
        for host in hosts {
            if let Some(obstacle) = self.obstacle(name, service, host, &mut no_room) {
                alike.entry(obstacle).or_default().push(host.clone());
            }
        }
        let hindered = |(by, hosts)| Hindered { hosts: HostSet::from_names(hosts), by };
        alike.into_iter().map(hindered).collect()
    }

    /// Returns what keeps the instance on a host from being where and as it is to be; `None` if
    /// nothing does.
    pub(super) fn obstacle(
        &self,
        name: &ServiceName,
        service: &Service,
        host: &HostName,
        no_room: &mut NoRoom,
    ) -> Option<Obstacle> {
        let obstacle = self.first_obstacle(name, service, host, no_room)?;
        let may_move = matches!(obstacle, Obstacle::Itself | Obstacle::GaveUp | Obstacle::GivenUp);
        let at = may_move.then(|| self.misfit_due(service, host)).flatten();
        Some(match at {
            Some(at) if at > self.now => Obstacle::Misfit(Millis(at.0 - self.now.0)),
            _ => obstacle,
        })
    }

    fn first_obstacle(
        &self,
        name: &ServiceName,
        service: &Service,
        host: &HostName,
        no_room: &mut NoRoom,
    ) -> Option<Obstacle> {
        if self.is_strange(name, host) {
            return Some(Obstacle::Stranger);
        }
        let Some(player) = self.present.get(host) else {
            return self.missing_player(name, service, host, no_room);
        };
        let difference = service.difference(host);
        let is_to_leave_drained = self.drained.contains(host)
            && service.record.layout.is_some()
            && service.goal() == Goal::Running
            && service.is_wanted_on(host);
        if is_to_leave_drained {
            return Some(match self.is_settled() {
                true => self.without_room(name, host, no_room),
                false => Obstacle::Starting,
            });
        }
        if let Some(wanted) = difference {
            return match wanted {
                _ if !player.keeps_units => Some(Obstacle::TooOld),
                Wanted::Gone if !self.may_leave(name, host) => self.successor(name, host),
                Wanted::Running if !self.may_begin_beside(service, host) => Some(Obstacle::Linked),
                Wanted::Running if self.predecessor(name, host).is_some() => {
                    self.predecessor(name, host).cloned().map(Obstacle::Predecessor)
                }
                _ if service.is_open(host) => self.flow_to_come(name, service, host),
                _ if self.drained.contains(host) => Some(Obstacle::Drained),
                _ => self.flow_to_come(name, service, host),
            };
        }
        let report = service.placements.get(host).and_then(|placed| placed.report.as_ref());
        match report {
            Some(report) if service.goal() == Goal::Running => {
                self.unready_run(name, service, host, report)
            }
            // The flow that is to bring it there, or to end it, has not come to it.
            None if service.is_open(host) => self.flow_to_come(name, service, host),
            _ => None,
        }
    }

    /// What keeps an instance whose player is away.
    fn missing_player(
        &self,
        name: &ServiceName,
        service: &Service,
        host: &HostName,
        no_room: &mut NoRoom,
    ) -> Option<Obstacle> {
        let is_awaited = match service.is_wanted_on(host) {
            // Where it is stopped nothing is awaited of a player that has nothing of it.
            true => service.goal() == Goal::Running || service.placements.contains_key(host),
            false => service.placements.contains_key(host),
        };
        if !is_awaited {
            return None;
        }
        Some(match self.replacing(name, host) {
            Some(Replacing::Waits(ReplacingWait::Room)) => self.without_room(name, host, no_room),
            Some(Replacing::Waits(why)) => Obstacle::Replacing(why),
            _ => Obstacle::Absent,
        })
    }

    /// What keeps a unit as it is whose version and placement are those that are wanted.
    fn unready_run(
        &self,
        name: &ServiceName,
        service: &Service,
        host: &HostName,
        report: &UnitReport,
    ) -> Option<Obstacle> {
        let flow = || self.flow_to_come(name, service, host);
        match (report.state, &report.last_end) {
            (UnitState::Ready, _) | (UnitState::Ended, Some(RunEnd::Exited(0))) => None,
            _ if service.is_open(host) => flow(),
            (UnitState::GaveUp | UnitState::Ended, _) => Some(Obstacle::GaveUp),
            (UnitState::AwaitingLinked, _) => Some(Obstacle::Linked),
            (UnitState::AwaitingLease, _) => Some(Obstacle::Lease),
            (UnitState::Unhealthy, _) => {
                let judgement = service.spec().map(|spec| spec.judgement)?;
                let is_believed = service.record.judged.suspicion.is_none();
                match judgement.on_unhealthy {
                    OnUnhealthy::Report | OnUnhealthy::Withdraw => Some(Obstacle::Unhealthy),
                    OnUnhealthy::Restart if report.flapping => Some(Obstacle::Flapping),
                    OnUnhealthy::Restart if self.drained.contains(host) => Some(Obstacle::Drained),
                    OnUnhealthy::Restart if !self.may_begin_beside(service, host) => {
                        Some(Obstacle::Linked)
                    }
                    OnUnhealthy::Restart if !is_believed => Some(Obstacle::Suspicious),
                    OnUnhealthy::Restart => flow(),
                }
            }
            (
                UnitState::Starting
                | UnitState::BackingOff
                | UnitState::Stopping
                | UnitState::Stopped
                | UnitState::AwaitingParams
                | UnitState::Gone,
                _,
            ) => Some(Obstacle::Itself),
        }
    }

    /// That an instance is ended here once it is ready elsewhere. What is linked waits with the other.
    fn successor(&self, name: &ServiceName, host: &HostName) -> Option<Obstacle> {
        let service = self.services.get(name)?;
        let linked_to = service.linked_to().and_then(|other| self.services.get(other));
        let next = linked_to.unwrap_or(service).next_host_of(host)?;
        Some(Obstacle::Successor(next.clone()))
    }

    /// That no player has room for an instance that is to leave this host.
    fn without_room(&self, name: &ServiceName, host: &HostName, no_room: &mut NoRoom) -> Obstacle {
        let Some(wish) = self.wish(name) else { return Obstacle::Room(Box::default()) };
        let zone = self.zone_to_stay_in(&wish, host).cloned();
        let why = no_room.entry(zone.clone());
        let why = why.or_insert_with(|| self.ground.why_waiting(&wish, zone.as_ref(), 1));
        Obstacle::Room(Box::new(why.clone()))
    }

    /// Which flow is to change the unit on a host, or why there is none.
    fn flow_to_come(
        &self,
        name: &ServiceName,
        service: &Service,
        host: &HostName,
    ) -> Option<Obstacle> {
        let record = &service.record;
        // One that ends for something newer does nothing more.
        let goes_on = |change: &&LivingChange| !change.superseded;
        let change = record.living.as_ref().filter(|_| service.open.contains(host));
        let relief = record.relief.as_ref().filter(|_| service.relief.open.contains(host));
        let to_come = change.into_iter().chain(relief).find(goes_on);
        // What was asked for together waits until each of them is free.
        let together = self.together(name);
        let living = |name: &ServiceName| self.services.get(name)?.record.living.as_ref();
        let before = record.living.as_ref().or_else(|| together.iter().find_map(living));
        match () {
            () if to_come.is_some() => to_come.map(|change| Obstacle::Flow(change.flow)),
            () if service.given_up.contains(host) => Some(Obstacle::GivenUp),
            () if record.paused_by.is_some() => Some(Obstacle::Paused),
            () if before.is_some() => before.map(|change| Obstacle::NextFlow(change.flow)),
            () => service.trouble.as_ref().map(|_| Obstacle::NoFlow),
        }
    }
}

impl Service {
    /// Whether a flow of it is not done with a host.
    fn is_open(&self, host: &HostName) -> bool {
        self.open.contains(host) || self.relief.open.contains(host)
    }
}
