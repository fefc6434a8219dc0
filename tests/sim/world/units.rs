//! Units, in small: what a driver tells of them. Players know nothing of units here: an order about one
//! is a process like any other, whose start and end change how its unit stands. Beside that units fall
//! and come to be well by themselves.
//!
//! A third of all seeds has services; the others are what they were without.

use std::collections::BTreeSet;

use orchestra_flow::Input;
use orchestra_model::{
    Deployments, HostName, HostSet, ServiceName,
    delivery::{AttemptKey, Outcome},
    deployment::ServiceCell,
    service::{Unready, UnwellUnit, Wanted},
};

use super::{World, fleet};
use crate::{chance::Chance, reference::Note};

/// The services that there may be.
pub(super) const SERVICES: [&str; 2] = ["cache", "web"];

/// Whether a seed has services.
pub(super) fn are_in(seed: u64) -> bool {
    seed % 3 == 2
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

impl World {
    /// The deployments of files, with cells of services where this seed has any.
    pub(super) fn with_services(&self, of_files: Deployments, salt: u64) -> Deployments {
        if !are_in(self.seed) {
            return of_files;
        }
        let mut chance = Chance::new(self.seed ^ salt);
        let mut cell = |name: &&str| {
            let hosts = HostSet::from_names(chance.some(&self.everybody, 60));
            (service(name), ServiceCell { hosts, limit: fleet::limit(&mut chance) })
        };
        let cells: Vec<_> = SERVICES.iter().map(&mut cell).collect();
        of_files.with_services(cells).unwrap()
    }

    /// What an attempt asks of a unit, if it does.
    fn asked_of_unit(&self, key: AttemptKey) -> Option<(ServiceName, Wanted)> {
        let unit = self.reference.job(key.job)?.spec.unit.clone()?;
        Some((unit.service.clone(), unit.wanted))
    }

    /// An order about a unit has come: what it asks for begins.
    pub(super) fn note_unit_ordered(&mut self, host: &HostName, key: AttemptKey) {
        let Some((service, wanted)) = self.asked_of_unit(key) else { return };
        let at = (host.clone(), service);
        match wanted {
            // A run of the same version goes on.
            Wanted::Running | Wanted::Signalled(_) => {
                self.units.entry(at).or_insert(Some(Unready::NotReady));
            }
            Wanted::Restarted => drop(self.units.insert(at, Some(Unready::NotReady))),
            // Nobody tells how old it is.
            Wanted::Younger(_) => drop(self.units.insert(at, Some(Unready::NotReady))),
            // What is well goes on, and what is not begins anew.
            Wanted::Healthy => {
                let unready = self.units.entry(at).or_insert(Some(Unready::NotReady));
                if unready.is_some() {
                    *unready = Some(Unready::NotReady);
                }
            }
            Wanted::Stopped => drop(self.units.insert(at, None)),
            Wanted::Gone => drop(self.units.remove(&at)),
        }
    }

    /// What an order asked of a unit is answered.
    pub(super) fn note_unit_answered(
        &mut self,
        host: &HostName,
        key: AttemptKey,
        outcome: &Outcome,
    ) {
        let Some((service, wanted)) = self.asked_of_unit(key) else { return };
        let unready = match outcome {
            Outcome::Exited(0) => None,
            Outcome::Exited(_) => Some(Unready::GaveUp),
            _ => return,
        };
        if wanted.is_to_run() {
            self.units.insert((host.clone(), service), unready);
        }
    }

    /// A unit falls, gives up, or comes to be well.
    pub(super) fn change_some_unit(&mut self, chance: &mut Chance) {
        let known: Vec<(HostName, ServiceName)> = self.units.keys().cloned().collect();
        let at = if known.len() < 2 {
            let host = chance.pick(&self.everybody).cloned();
            host.zip(chance.pick(&SERVICES).map(|name| service(name)))
        } else {
            chance.pick(&known).cloned()
        };
        let unready = *chance
            .pick(&[None, None, None, Some(Unready::NotReady), Some(Unready::GaveUp)])
            .unwrap();
        if let Some(at) = at {
            self.tell(|| format!("  {} on {}: {unready:?}", at.1, at.0));
            self.units.insert(at, unready);
        }
    }

    /// In the healed world sitters bring their units to be well, but those that gave up; and those of
    /// hosts that are no players any more are gone.
    pub(super) fn heal_units(&mut self) {
        let roster = &self.roster;
        self.units.retain(|(host, _), _| roster.contains(host));
        for unready in self.units.values_mut() {
            unready.take_if(|unready| *unready == Unready::NotReady);
        }
    }

    /// Tells the conductor of each host's units what it has not been told.
    pub(super) fn tell_units(&mut self) {
        let hosts: BTreeSet<HostName> = self
            .units
            .keys()
            .map(|(host, _)| host)
            .chain(self.told_units.keys())
            .cloned()
            .collect();
        for host in hosts {
            let roster = self.conductor().engine.roster();
            let Some(player) = roster.known(&host) else { continue };
            let is_there =
                roster.session(player).is_some() && roster.why_quarantined(player).is_none();
            let theirs = self.units.iter().filter(|((at, _), _)| *at == host);
            let unwell = theirs.filter_map(|((_, service), unready)| {
                let unready = if is_there { *unready } else { Some(Unready::Untold) };
                Some(UnwellUnit { service: service.clone(), unready: unready? })
            });
            let unwell: Vec<UnwellUnit> = unwell.collect();
            if self.told_units.get(&host).map_or(&[][..], Vec::as_slice) == unwell {
                continue;
            }
            self.steady_cells &= unwell.is_empty();
            self.tell(|| format!("  units of {host}: {unwell:?}"));
            self.told_units.insert(host.clone(), unwell.clone());
            let note = Note::Units(host, unwell.clone());
            self.take(note, Input::UnitsTold { player, unwell });
        }
    }
}
