//! Vitals of hosts and units.

use orchestra_model::{HostSet, service::ServiceStatus, vitals::HostUsage};

use super::{Desk, Recipient, Stopped, listing::PAGE};

impl Desk {
    /// Lists the vitals of hosts, with those of their units if that is asked for. This counts as a
    /// look at these hosts.
    pub(crate) async fn list_vitals(
        &self,
        hosts: HostSet,
        units: bool,
        to: &impl Recipient<Vec<HostUsage>>,
    ) -> Result<(), Stopped> {
        for hosts in hosts.as_slice().chunks(PAGE as usize) {
            self.vitals.look(hosts);
            to.give(self.vitals.read(hosts, units)).await?;
        }
        Ok(())
    }

    /// Adds what the instances of a service use.
    pub(super) fn with_usage(&self, mut status: ServiceStatus) -> ServiceStatus {
        for instance in &mut status.instances {
            instance.usage = self.vitals.of_unit(&instance.host, &status.record.name);
        }
        status
    }
}
