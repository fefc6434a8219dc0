//! Which flows are about units.

use orchestra_model::{FlowId, JobId, ServiceName};

use crate::engine::Engine;

impl Engine {
    /// The service whose units a job is about, if it is about any and its flow lives.
    pub fn service_of(&self, job: JobId) -> Option<&ServiceName> {
        Some(&self.job(job)?.spec().unit.as_ref()?.service)
    }

    /// The living flows that ask something of the units of a service, oldest first.
    pub fn unit_flows(&self) -> Vec<(FlowId, ServiceName)> {
        let service = |flow: &crate::tables::flow::Flow| {
            let unit = flow.jobs().find_map(|job| job.spec().unit.as_ref())?;
            Some((flow.id(), unit.service.clone()))
        };
        self.flows.iter().filter_map(service).collect()
    }
}
