//! Which flows are about units.

use std::collections::BTreeMap;

use orchestra_model::{FlowId, HostName, JobId, ServiceName};

use crate::{
    engine::Engine,
    tables::{flow::Flow, job::Job},
};

impl Engine {
    /// The service whose units a job is about, if it is about any and its flow lives.
    pub fn service_of(&self, job: JobId) -> Option<&ServiceName> {
        Some(&self.job(job)?.spec().unit.as_ref()?.service)
    }

    /// The living flows that ask something of units, oldest first: each with every service whose units
    /// those are, and the hosts of its tasks about them that are not final.
    pub fn unit_flows(&self) -> Vec<(FlowId, ServiceName, Vec<HostName>)> {
        let mut all = Vec::new();
        for flow in self.flows.iter() {
            let mut of_flow: BTreeMap<&ServiceName, Vec<HostName>> = BTreeMap::new();
            for job in flow.jobs() {
                let Some(unit) = &job.spec().unit else { continue };
                of_flow.entry(&unit.service).or_default().extend(self.open_hosts(job));
            }
            all.extend(of_flow.into_iter().map(|(name, open)| (flow.id(), name.clone(), open)));
        }
        all
    }

    /// The jobs of living flows that ask something of units, each with the service whose units those
    /// are.
    pub fn unit_jobs(&self) -> impl Iterator<Item = (JobId, ServiceName)> {
        let jobs = self.flows.iter().flat_map(Flow::jobs);
        jobs.filter_map(|job| Some((job.id(), job.spec().unit.as_ref()?.service.clone())))
    }

    fn open_hosts(&self, job: &Job) -> impl Iterator<Item = HostName> {
        let indices = (0..job.total()).filter(|index| !job.state_of(*index).is_final());
        let players = indices.filter_map(|index| job.player_of(index));
        players.map(|player| self.roster.host(player).clone())
    }
}
