//! Records in ordered maps. A clone is one moment, which a reader keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, JobId, Params, ServiceName, Timestamp,
    audit::{AuditMark, AuditRecord},
    bundle::{BundleId, RegisteredBundle},
    delivery::RequestId,
    record::{
        EndRecord, FlowRecord, HoldRecord, InForce, JobRecord, Op, PlayerRecord, Record, Recovered,
        TaskRecord,
    },
    service::{Brakes, PlacementRecord, ServiceRecord, ServiceVersion, VersionRecord},
};

use crate::{ReadError, Reader, pieces};

/// Every record. Those of a flow are seen only as long as it is not in `pruned`.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    next_flow: Option<FlowId>,
    recovered: Recovered,
    in_force: InForce,
    brakes: Brakes,
    bundles: BTreeMap<BundleId, RegisteredBundle>,
    flows: BTreeMap<FlowId, FlowRecord>,
    pruned: BTreeSet<FlowId>,
    spec: BTreeMap<(FlowId, u32), Arc<[u8]>>,
    jobs: BTreeMap<JobId, JobRecord>,
    targets: BTreeMap<(JobId, u32), Arc<str>>,
    trees: BTreeMap<(JobId, u32), Arc<str>>,
    params: BTreeMap<JobId, Params>,
    tasks: BTreeMap<(JobId, u32), TaskRecord>,
    ends: BTreeMap<(JobId, HostName, u32), EndRecord>,
    players: BTreeMap<HostName, PlayerRecord>,
    holds: BTreeMap<HostName, HoldRecord>,
    audit: BTreeMap<u64, AuditRecord>,
    audit_head: AuditMark,
    audit_base: AuditMark,
    services: BTreeMap<ServiceName, ServiceRecord>,
    versions: BTreeMap<(ServiceName, ServiceVersion), VersionRecord>,
    placements: BTreeMap<(ServiceName, HostName), PlacementRecord>,
}

impl Tables {
    /// The flows that ended, the earliest end first.
    fn by_end(&self) -> BTreeSet<(Timestamp, FlowId)> {
        let ended = self.flows.values().filter(|flow| flow.state.is_final());
        ended.filter_map(|flow| Some((flow.ended_at?, flow.id))).collect()
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(record) => self.put(record.clone()),
            Op::EraseParams(job) => {
                self.params.remove(job);
            }
            Op::PruneFlow(flow) => {
                if self.flows.remove(flow).is_some() {
                    self.pruned.insert(*flow);
                }
            }
            Op::Release(host) => {
                self.holds.remove(host);
            }
            Op::PruneAudit(below) => {
                let kept = self.audit.split_off(below);
                if let Some(line) = std::mem::replace(&mut self.audit, kept).pop_last() {
                    self.audit_base = line.1.mark();
                }
            }
            Op::PruneVersion(service, version) => {
                self.versions.remove(&(service.clone(), *version));
            }
            Op::Displace(service, host) => {
                self.placements.remove(&(service.clone(), host.clone()));
            }
            Op::ForgetBundle(id) => drop(self.bundles.remove(id)),
        }
    }

    fn put(&mut self, record: Record) {
        match record {
            Record::NextFlow(next) => self.next_flow = Some(next),
            Record::Recovered(recovered) => self.recovered = recovered,
            Record::InForce(in_force) => self.in_force = in_force,
            Record::Brakes(brakes) => self.brakes = brakes,
            Record::Bundle(bundle) => {
                self.bundles.insert(bundle.seal.statement.id, *bundle);
            }
            Record::Flow(flow) => drop(self.flows.insert(flow.id, flow)),
            Record::Spec(chunk) => drop(self.spec.insert((chunk.flow, chunk.index), chunk.bytes)),
            Record::Job(job) => drop(self.jobs.insert(job.id, job)),
            Record::Targets(chunk) => {
                drop(self.targets.insert((chunk.job, chunk.index), chunk.text));
            }
            Record::Tree(chunk) => drop(self.trees.insert((chunk.job, chunk.index), chunk.text)),
            Record::Params(record) => drop(self.params.insert(record.job, record.params)),
            Record::Task(task) => drop(self.tasks.insert((task.job, task.index), task)),
            Record::End(end) => {
                let key = (end.job, end.host.clone(), end.attempt);
                self.ends.entry(key).or_insert(end);
            }
            Record::Player(player) => drop(self.players.insert(player.host.clone(), player)),
            Record::Hold(hold) => drop(self.holds.insert(hold.host.clone(), hold)),
            Record::Audit(line) => {
                self.audit_head = line.mark();
                self.audit.insert(line.number, line);
            }
            Record::Service(service) => {
                self.services.insert(service.name.clone(), *service);
            }
            Record::Version(version) => {
                self.versions.insert((version.service.clone(), version.version), version);
            }
            Record::Placement(placed) => {
                self.placements.insert((placed.service.clone(), placed.host.clone()), placed);
            }
        }
    }

    /// Takes from the readers what a submission wrote that did not get as far as its flow's
    /// record.
    pub(super) fn note_orphans(&mut self) {
        let newest = self.flows.keys().next_back().max(self.pruned.last()).copied();
        let newest = newest.unwrap_or(FlowId(0));
        let spec = self.spec.keys().map(|(flow, _)| *flow);
        let jobs = self.jobs.keys().chain(self.params.keys()).map(|job| job.flow);
        let pieces = self.targets.keys().chain(self.tasks.keys()).map(|(job, _)| job.flow);
        let ends = self.ends.keys().map(|(job, ..)| job.flow);
        let trees = self.trees.keys().map(|(job, _)| job.flow);
        let orphans =
            spec.chain(jobs).chain(pieces).chain(ends).chain(trees).filter(|flow| *flow > newest);
        self.pruned.extend(orphans);
    }

    /// Removes at most `left` records of pruned flows; whether nothing is left of them.
    pub(super) fn sweep(&mut self, mut left: usize) -> bool {
        while let Some(flow) = self.pruned.first().copied() {
            left -= remove_some(&mut self.params, left, |job| job.flow == flow);
            left -= remove_some(&mut self.ends, left, |(job, ..)| job.flow == flow);
            left -= remove_some(&mut self.tasks, left, |(job, _)| job.flow == flow);
            left -= remove_some(&mut self.targets, left, |(job, _)| job.flow == flow);
            left -= remove_some(&mut self.trees, left, |(job, _)| job.flow == flow);
            left -= remove_some(&mut self.jobs, left, |job| job.flow == flow);
            left -= remove_some(&mut self.spec, left, |(of, _)| *of == flow);
            if left == 0 {
                return false;
            }
            self.pruned.remove(&flow);
            left -= 1;
        }
        true
    }

    /// How many records there are of flows, but for the flows' own.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        let of_jobs = self.jobs.len() + self.params.len() + self.targets.len() + self.trees.len();
        self.spec.len() + of_jobs + self.tasks.len() + self.ends.len()
    }

    /// Whether a flow's pieces only wait to be swept.
    fn is_pruned(&self, flow: FlowId) -> bool {
        self.pruned.contains(&flow)
    }
}

/// Removes at most `limit` entries of those keys, and says how many.
fn remove_some<K: Ord + Clone, V>(
    map: &mut BTreeMap<K, V>,
    limit: usize,
    is_of: impl Fn(&K) -> bool,
) -> usize {
    let found: Vec<K> = map.keys().filter(|key| is_of(key)).take(limit).cloned().collect();
    found.iter().for_each(|key| drop(map.remove(key)));
    found.len()
}

impl Reader for Arc<Tables> {
    fn next_flow(&self) -> Result<FlowId, ReadError> {
        Ok(self.next_flow.unwrap_or(FlowId(1)))
    }

    fn recovered(&self) -> Result<Recovered, ReadError> {
        Ok(self.recovered)
    }

    fn services(&self) -> Result<Vec<ServiceRecord>, ReadError> {
        Ok(self.services.values().cloned().collect())
    }

    fn versions(&self) -> Result<Vec<VersionRecord>, ReadError> {
        Ok(self.versions.values().cloned().collect())
    }

    fn placements(&self) -> Result<Vec<PlacementRecord>, ReadError> {
        Ok(self.placements.values().cloned().collect())
    }

    fn audit_head(&self) -> Result<AuditMark, ReadError> {
        Ok(self.audit_head)
    }

    fn audit_base(&self) -> Result<AuditMark, ReadError> {
        Ok(self.audit_base)
    }

    fn audit_after(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, ReadError> {
        let lines = self.audit.range(after.saturating_add(1)..);
        Ok(lines.take(limit).map(|(_, line)| line.clone()).collect())
    }

    fn oldest_audit(&self, limit: usize) -> Result<Vec<(u64, Timestamp)>, ReadError> {
        Ok(self.audit.values().take(limit).map(|line| (line.number, line.at)).collect())
    }

    fn audit(&self, limit: usize, before: Option<u64>) -> Result<Vec<AuditRecord>, ReadError> {
        let lines = self.audit.range(..before.unwrap_or(u64::MAX));
        Ok(lines.rev().take(limit).map(|(_, line)| line.clone()).collect())
    }

    fn bundles(&self) -> Result<Vec<RegisteredBundle>, ReadError> {
        Ok(self.bundles.values().cloned().collect())
    }

    fn brakes(&self) -> Result<Brakes, ReadError> {
        Ok(self.brakes.clone())
    }

    fn in_force(&self) -> Result<InForce, ReadError> {
        Ok(self.in_force.clone())
    }

    fn players(&self) -> Result<Vec<PlayerRecord>, ReadError> {
        Ok(self.players.values().cloned().collect())
    }

    fn holds(&self) -> Result<Vec<HoldRecord>, ReadError> {
        Ok(self.holds.values().cloned().collect())
    }

    fn live_flows(&self) -> Result<Vec<FlowRecord>, ReadError> {
        Ok(self.flows.values().filter(|flow| !flow.state.is_final()).cloned().collect())
    }

    fn flow(&self, flow: FlowId) -> Result<Option<FlowRecord>, ReadError> {
        Ok(self.flows.get(&flow).cloned())
    }

    fn flows(
        &self,
        limit: usize,
        before: Option<FlowId>,
        only_alive: bool,
    ) -> Result<Vec<FlowRecord>, ReadError> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let newest_first = self.flows.range((Bound::Unbounded, end)).rev().map(|(_, flow)| flow);
        let wanted = newest_first.filter(|flow| !only_alive || !flow.state.is_final());
        Ok(wanted.take(limit).cloned().collect())
    }

    fn ended_by(&self, moment: Timestamp, limit: usize) -> Result<Vec<FlowId>, ReadError> {
        let ended = self.by_end().into_iter().take_while(|(at, _)| *at <= moment);
        Ok(ended.take(limit).map(|(_, flow)| flow).collect())
    }

    fn ended_before_the_last(&self, kept: usize, limit: usize) -> Result<Vec<FlowId>, ReadError> {
        let latest_first = self.by_end().into_iter().rev();
        Ok(latest_first.skip(kept).take(limit).map(|(_, flow)| flow).collect())
    }

    fn newest_of(&self, audience: &Asker) -> Result<Option<FlowId>, ReadError> {
        let mut newest_first = self.flows.values().rev();
        Ok(newest_first.find(|flow| flow.audience == *audience).map(|flow| flow.id))
    }

    fn request(&self, audience: &Asker, request: RequestId) -> Result<Option<FlowId>, ReadError> {
        let mut flows = self.flows.values();
        let found = flows.find(|flow| flow.audience == *audience && flow.request == request);
        Ok(found.map(|flow| flow.id))
    }

    fn requests(&self) -> Result<Vec<(Asker, RequestId, FlowId, FlowState)>, ReadError> {
        let flows = self.flows.values();
        Ok(flows.map(|flow| (flow.audience.clone(), flow.request, flow.id, flow.state)).collect())
    }

    fn spec(&self, flow: FlowId) -> Result<Option<Vec<u8>>, ReadError> {
        if self.is_pruned(flow) {
            return Ok(None);
        }
        let pieces = self.spec.range((flow, 0)..=(flow, u32::MAX));
        let numbered = pieces.map(|((_, number), bytes)| (*number, &**bytes));
        Ok(pieces::in_order("spec", flow, numbered)?.map(|pieces| pieces.concat()))
    }

    fn jobs(&self, flow: FlowId) -> Result<Vec<JobRecord>, ReadError> {
        if self.is_pruned(flow) {
            return Ok(Vec::new());
        }
        let first = JobId { flow, slot: 0, job: 0 };
        let last = JobId { flow, slot: u16::MAX, job: u16::MAX };
        Ok(self.jobs.range(first..=last).map(|(_, job)| job.clone()).collect())
    }

    fn job(&self, job: JobId) -> Result<Option<JobRecord>, ReadError> {
        Ok(self.jobs.get(&job).filter(|job| !self.is_pruned(job.id.flow)).cloned())
    }

    fn targets(&self, job: JobId) -> Result<Option<String>, ReadError> {
        if self.is_pruned(job.flow) {
            return Ok(None);
        }
        let pieces = self.targets.range((job, 0)..=(job, u32::MAX));
        let numbered = pieces.map(|((_, number), text)| (*number, &**text));
        Ok(pieces::in_order("targets", job, numbered)?.map(|pieces| pieces.concat()))
    }

    fn tree(&self, job: JobId) -> Result<Option<String>, ReadError> {
        if self.is_pruned(job.flow) {
            return Ok(None);
        }
        let pieces = self.trees.range((job, 0)..=(job, u32::MAX));
        let numbered = pieces.map(|((_, number), text)| (*number, &**text));
        Ok(pieces::in_order("trees", job, numbered)?.map(|pieces| pieces.concat()))
    }

    fn params(&self, job: JobId) -> Result<Option<Params>, ReadError> {
        if self.is_pruned(job.flow) {
            return Ok(None);
        }
        Ok(self.params.get(&job).cloned())
    }

    fn tasks(
        &self,
        job: JobId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<TaskRecord>, ReadError> {
        if self.is_pruned(job.flow) {
            return Ok(Vec::new());
        }
        let start = after.map_or(Bound::Included((job, 0)), |index| Bound::Excluded((job, index)));
        let range = self.tasks.range((start, Bound::Included((job, u32::MAX))));
        Ok(range.take(limit).map(|(_, task)| task.clone()).collect())
    }

    fn task_by_host(&self, job: JobId, host: &HostName) -> Result<Option<TaskRecord>, ReadError> {
        if self.is_pruned(job.flow) {
            return Ok(None);
        }
        let mut tasks = self.tasks.range((job, 0)..=(job, u32::MAX)).map(|(_, task)| task);
        Ok(tasks.find(|task| task.host == *host).cloned())
    }

    fn ends(&self, job: JobId, host: &HostName) -> Result<Vec<EndRecord>, ReadError> {
        if self.is_pruned(job.flow) {
            return Ok(Vec::new());
        }
        let ends = self.ends.range((job, host.clone(), 0)..=(job, host.clone(), u32::MAX));
        Ok(ends.map(|(_, end)| end.clone()).collect())
    }

    fn end(
        &self,
        job: JobId,
        host: &HostName,
        attempt: u32,
    ) -> Result<Option<EndRecord>, ReadError> {
        if self.is_pruned(job.flow) {
            return Ok(None);
        }
        Ok(self.ends.get(&(job, host.clone(), attempt)).cloned())
    }
}
