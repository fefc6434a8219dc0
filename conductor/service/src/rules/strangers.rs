//! Strangers: units that no placement of this store explains. They are left alone until somebody
//! adopts or stops them.

use orchestra_model::{
    Asker, HostName, HostSet, ScoreName, ServiceName,
    flow::{FlowSpec, JobSpec, SlotSpec},
    names::FlowName,
    quantity::Quantity,
    record::{Op, Record},
    service::{
        Cause, Change, Forgotten, Instance, UnitJob, UnitReport, UpdateRule, Upkeep, Wanted,
    },
};

use super::asked::new;
use crate::{
    effect::{Effect, FlowService, UnitFlow},
    input::{Rejection, ReplyId},
    services::Services,
    tables::Service,
};

/// The score of a service that this store does not know. No run is begun with it.
const UNKNOWN_SCORE: &str = "unknown";

impl Services {
    /// Makes strangers units of a service, on hosts where it is wanted. They are brought to its
    /// version.
    pub(super) fn adopt(
        &mut self,
        name: &ServiceName,
        hosts: Option<&HostSet>,
    ) -> Result<bool, Rejection> {
        let wanted_on = self.existing(name)?.record.hosts.clone();
        let strange = self.strange_hosts(name, hosts);
        if strange.is_empty() {
            return Err(Rejection::NoStrangers(name.clone()));
        }
        let adopted = wanted_on.intersection(&strange);
        if adopted.is_empty() {
            return Err(Rejection::NotItsHosts(name.clone(), strange));
        }
        for host in &adopted {
            self.outrank(name, host);
            if let Some(units) = self.strangers.get_mut(host) {
                units.retain(|unit| unit.service != *name);
            }
        }
        Ok(true)
    }

    /// Gives a host an instance that is later than the stranger there, because its player would
    /// refuse an earlier one. The numbers in between are skipped.
    fn outrank(&mut self, name: &ServiceName, host: &HostName) {
        let Some(Instance { placement: known, .. }) = self.stranger(name, host) else { return };
        let Some(service) = self.services.get_mut(name) else { return };
        let record = &mut service.record;
        if known > record.last_placement {
            let placements = (record.last_placement, known);
            let versions = (record.last_version, record.last_version);
            record.forgotten.push(Forgotten { placements, versions });
            record.last_placement = known;
        }
        let Some(placed) = service.placements.get(host) else { return };
        if placed.instance.placement >= known {
            return;
        }
        let ordinal = placed.instance.ordinal;
        service.place(host, ordinal);
        let placement = service.placement_record(host);
        self.put_service(name);
        if let Some(placement) = placement {
            self.persist(Op::Put(Record::Placement(placement)));
        }
    }

    /// Ends strangers by a flow of their own. While it lives the service has no other.
    pub(super) fn stop_strangers(
        &mut self,
        reply: ReplyId,
        by: &Asker,
        name: &ServiceName,
        hosts: Option<&HostSet>,
    ) {
        let hosts = self.strange_hosts(name, hosts);
        if let Some(rejection) = self.cannot_stop(name, &hosts) {
            self.effects.push_back(Effect::Answer(reply, Err(rejection)));
            return;
        }
        let Some(flow) = self.flow_of_strangers(name, hosts, by) else { return };
        self.put_service(name);
        self.effects.push_back(Effect::Submit(Box::new(flow)));
        self.submitting.insert(name.clone());
        // The answer waits for the flow, and tells it.
        self.answering = Some((reply, vec![(name.clone(), false)]));
    }

    /// Returns why the strangers on these hosts are not stopped now, if so.
    fn cannot_stop(&self, name: &ServiceName, hosts: &HostSet) -> Option<Rejection> {
        if hosts.is_empty() {
            return Some(Rejection::NoStrangers(name.clone()));
        }
        let record = &self.services.get(name)?.record;
        if let Some(living) = &record.living {
            let why = format!("flow {} changes it: wait for that, or cancel it", living.flow);
            return Some(Rejection::Busy(name.clone(), why));
        }
        let change = record.pending.as_ref()?;
        let why = format!("it is paused, and {} by {} waits: resume it", change.cause, change.by);
        Some(Rejection::Busy(name.clone(), why))
    }

    /// Returns those of these hosts whose attached players have a stranger of the service.
    fn strange_hosts(&self, name: &ServiceName, hosts: Option<&HostSet>) -> HostSet {
        let is_meant = |host: &&HostName| {
            hosts.is_none_or(|hosts| hosts.contains(host))
                && self.present.contains_key(*host)
                && self.is_strange(name, host)
        };
        HostSet::from_names(self.strangers.keys().filter(is_meant).cloned())
    }

    /// Returns a flow that ends the strangers on these hosts. If there is no service of this name,
    /// a removed one is made for it.
    fn flow_of_strangers(
        &mut self,
        name: &ServiceName,
        hosts: HostSet,
        by: &Asker,
    ) -> Option<UnitFlow> {
        let instances = hosts.iter().filter_map(|host| self.stranger(name, host)).collect();
        let (score, skipped) = (ScoreName::new(UNKNOWN_SCORE).ok()?, self.skipped);
        let service =
            self.services.entry(name.clone()).or_insert_with(|| new(name, &score, by, skipped));
        let record = &mut service.record;
        let cause = Cause::StopStranger;
        record.pending =
            Some(Change { hosts: Some(hosts.clone()), ..Change::new(cause, by.clone()) });
        service.ordered.clear();
        let unit = UnitJob {
            service: name.clone(),
            version: record.version,
            wanted: Wanted::Gone,
            upkeep: Upkeep::default(),
            healthy_for: UpdateRule::default().healthy_for,
            deadline: UpdateRule::default().deadline,
            score_hash: None,
            instances,
        };
        let title = orchestra_model::JobName::new(cause.as_str()).ok()?;
        let mut job = JobSpec::new(title, record.score.clone(), hosts.to_string());
        job.give_up_after = Some(unit.deadline);
        job.max_failures = Some(Quantity::ALL);
        job.unit = Some(std::sync::Arc::new(unit));
        Some(UnitFlow {
            services: vec![FlowService { name: name.clone(), cause, version: record.version }],
            audience: by.clone(),
            by_keeper: false,
            spec: FlowSpec {
                name: FlowName::new(&format!("{name}-strangers")).ok(),
                ..FlowSpec::new(vec![SlotSpec { jobs: vec![job] }])
            },
            targets: vec![vec![hosts]],
            params: Default::default(),
        })
    }

    /// Returns the instance that a stranger of a service reports.
    pub(crate) fn stranger(&self, name: &ServiceName, host: &HostName) -> Option<Instance> {
        let mut units = self.strangers.get(host)?.iter();
        units.find(|unit: &&UnitReport| unit.service == *name).map(|unit| unit.instance)
    }

    /// Returns whether a service's flow ends strangers: the living flow, or the one that is being
    /// submitted, whose first orders may leave before its number is told.
    pub(crate) fn ends_strangers(&self, name: &ServiceName) -> bool {
        let Some(Service { record, .. }) = self.services.get(name) else { return false };
        let living = record.living.as_ref().map(|living| living.cause);
        let asked = record.pending.as_ref().map(|change| change.cause);
        [living, asked].contains(&Some(Cause::StopStranger))
    }
}
