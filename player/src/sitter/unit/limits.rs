//! Limits of what a run may have of its host. They are set before its process is made, and are gone
//! with its leaf.

use orchestra_model::{ServiceName, delivery::Refusal, service::Resources};
use orchestra_units::UnitKey;

use super::place::name_of;
use crate::sitter::{
    Sitter,
    cgroup::{Cgroups, Door, Leaf},
    limits::MissingControllers,
    start::StartError,
};

impl Sitter {
    /// Checks whether this host can keep the limits of a service. If not, refuses the service, or
    /// logs that it runs without them.
    pub(super) fn check_limits(
        &self,
        service: &ServiceName,
        resources: Option<&Resources>,
    ) -> Result<(), Refusal> {
        let Some(resources) = resources else { return Ok(()) };
        match self.missing(resources) {
            None => Ok(()),
            Some(missing) if resources.enforced => Err(Refusal::Limits(format!(
                "{missing}. With resources.enforced: false it runs without these limits"
            ))),
            Some(missing) => {
                tracing::warn!(unit = %service, %missing, "not all limits of a unit are kept");
                Ok(())
            }
        }
    }

    fn missing(&self, resources: &Resources) -> Option<MissingControllers> {
        match &self.cgroups {
            Some(cgroups) => cgroups.limits().missing(resources),
            None => MissingControllers::all_of(resources),
        }
    }

    /// Sets the limits of a unit's next run. Returns ways into the cgroups that the run has to
    /// enter for that.
    pub(super) fn limit(
        &self,
        unit: &UnitKey,
        leaf: Option<&Leaf>,
        resources: Option<&Resources>,
    ) -> Result<Vec<Door>, StartError> {
        let Some(resources) = resources else { return Ok(Vec::new()) };
        if let Some(missing) = self.missing(resources).filter(|_| resources.enforced) {
            return Err(StartError::Limits(missing));
        }
        let Some(cgroups) = &self.cgroups else { return Ok(Vec::new()) };
        let most = |asked: u32| cgroups.processes_max().map_or(asked, |most| most.min(asked));
        let resources = Resources { processes: resources.processes.map(most), ..*resources };
        let name = cgroups.leaf_name_of_unit(&name_of(unit));
        let beside = cgroups.limits().lay(&name, leaf, &resources).map_err(StartError::Limit)?;
        let doors = beside.iter().map(Leaf::door).collect::<Result<_, _>>();
        doors.map_err(StartError::Cgroup)
    }

    /// Returns the leaves that limit a unit's runs, beside the leaf by which they are killed.
    pub(super) fn limiting_leaves(&self, unit: &UnitKey) -> Vec<Leaf> {
        leaves_beside(self.cgroups.as_ref(), unit)
    }

    /// Removes these leaves. Processes that are still in them are killed, and the run waits.
    pub(super) fn empty_limits(&self, unit: &UnitKey) -> Result<(), StartError> {
        let living = self.limiting_leaves(unit).into_iter().filter(|leaf| !leaf.remove());
        match living.inspect(Leaf::kill).count() {
            0 => Ok(()),
            _ => Err(StartError::Cgroup(rustix::io::Errno::AGAIN.into())),
        }
    }
}

/// Returns the leaves of v1 that stand beside the leaf of a unit.
pub(in crate::sitter) fn leaves_beside(cgroups: Option<&Cgroups>, unit: &UnitKey) -> Vec<Leaf> {
    let of_unit =
        |cgroups: &Cgroups| cgroups.limits().beside(&cgroups.leaf_name_of_unit(&name_of(unit)));
    cgroups.map(of_unit).unwrap_or_default()
}
