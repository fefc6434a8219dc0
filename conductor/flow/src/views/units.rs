//! Which flows are about services.

use std::collections::BTreeMap;

use orchestra_model::{FlowId, HostName, JobId, ServiceName, flow::JobSpec};

use crate::{
    engine::Engine,
    tables::{flow::Flow, job::Job},
};

impl Engine {
    /// The service that a job is about, if it is about any and its flow lives.
    pub fn service_of(&self, job: JobId) -> Option<&ServiceName> {
        self.job(job)?.spec().service()
    }

    /// The living flows that change services, oldest first: each with every service that it changes,
    /// and the hosts of its tasks about that service that are not final.
    pub fn unit_flows(&self) -> Vec<(FlowId, ServiceName, Vec<HostName>)> {
        let mut all = Vec::new();
        for flow in self.flows.iter() {
            let mut of_flow: BTreeMap<&ServiceName, Vec<HostName>> = BTreeMap::new();
            for job in flow.jobs() {
                let Some(service) = job.spec().service() else { continue };
                of_flow.entry(service).or_default().extend(self.open_hosts(job));
            }
            all.extend(of_flow.into_iter().map(|(name, open)| (flow.id(), name.clone(), open)));
        }
        all
    }

    /// The jobs of living flows that change services, each with what it is.
    pub fn unit_jobs(&self) -> impl Iterator<Item = (JobId, &JobSpec)> {
        let jobs = self.flows.iter().flat_map(Flow::jobs);
        jobs.filter(|job| job.spec().service().is_some()).map(|job| (job.id(), job.spec()))
    }

    fn open_hosts(&self, job: &Job) -> impl Iterator<Item = HostName> {
        let indices = (0..job.total()).filter(|index| !job.state_of(*index).is_final());
        let players = indices.filter_map(|index| job.player_of(index));
        players.map(|player| self.roster.host(player).clone())
    }
}
