//! Which flows are about units.

use orchestra_model::{FlowId, HostName, JobId, ServiceName};

use crate::{engine::Engine, tables::flow::Flow};

impl Engine {
    /// The service whose units a job is about, if it is about any and its flow lives.
    pub fn service_of(&self, job: JobId) -> Option<&ServiceName> {
        Some(&self.job(job)?.spec().unit.as_ref()?.service)
    }

    /// The living flows that ask something of the units of a service, oldest first, each with the
    /// hosts of its tasks that are not final.
    pub fn unit_flows(&self) -> Vec<(FlowId, ServiceName, Vec<HostName>)> {
        let of_units = |flow: &Flow| {
            let unit = flow.jobs().find_map(|job| job.spec().unit.as_ref())?;
            Some((flow.id(), unit.service.clone(), self.open_hosts(flow)))
        };
        self.flows.iter().filter_map(of_units).collect()
    }

    fn open_hosts(&self, flow: &Flow) -> Vec<HostName> {
        let open = flow.jobs().flat_map(|job| {
            let indices = (0..job.total()).filter(|index| !job.state_of(*index).is_final());
            indices.filter_map(|index| job.player_of(index))
        });
        open.map(|player| self.roster.host(player).clone()).collect()
    }
}
