//! Deployments: which hosts are which application in which environment, and what may happen to
//! them at once.
//!
//! A [`Deployment`] is what an operator wrote, with its host sets resolved. [`Deployments`] are all
//! that hold at one time, checked, with what follows from them for the ledger: [`Cells`]. From a
//! deployment
//!
//! ```text
//! apps          frontend = fe[1-6].east, fe[1-6].west       backend = be[1-5].east, be[1-5].west
//! envs          cluster:  east = fe[1-6].east, be[1-5].east    west = fe[1-6].west, be[1-5].west
//! constraints   cluster:  concurrency frontend 50%, backend 1     sequence [backend, frontend]
//! ```
//!
//! follow four cells, one for each app that a constraint names and each environment of its type:
//! 3 of the 6 frontends of east at once, 1 of the 5 backends of east, and the same for west; and
//! the frontends of east come after the backends of east. Percentages count the hosts that app
//! and environment have in common, whatever a job targets. Beside them stands a cell for each service,
//! over the hosts of its instances ([`Deployments::with_services`]).
//!
//! Apps and environments may overlap: a host takes every cell that it is in, in every deployment.
//! Files and their shapes are left to `orchestra-document`, holds to the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    hostset::HostSet,
    names::{AppName, DeploymentName, EnvType, EnvValue, GroupName, ServiceName},
    quantity::Quantity,
};

mod cells;
mod check;
mod conflict;
mod order;
mod problem;

pub use cells::{AppCell, Cell, CellId, CellKey, Cells};
pub use conflict::{HostConflict, Step};
pub use problem::{DeploymentProblem, InvalidDeployment, InvalidDeployments, InvalidServiceCell};

/// Apps, environments and constraints under a name. Valid when [`problems`](Self::problems) finds
/// none; within [`Deployments`] it is.
///
/// This is the canonical form: however a file spells it, it becomes these maps, and two files mean
/// the same when these are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Unique among all that hold at one time.
    pub name: DeploymentName,
    /// At least one; each with at least one host. They may overlap.
    pub apps: BTreeMap<AppName, HostSet>,
    /// By type and value; each with at least one host. They may overlap.
    pub envs: BTreeMap<EnvType, BTreeMap<EnvValue, HostSet>>,
    /// What holds within each environment of a type.
    pub constraints: BTreeMap<EnvType, Constraint>,
}

/// What holds within each environment of one type, for each by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraint {
    /// How many hosts of an app may be busy or down at once: of those that the app has in the
    /// environment, rounded as [`Quantity::window_of`] does.
    pub concurrency: BTreeMap<AppName, Quantity>,
    /// Apps whose hosts come one after another. `[a, b, c]` puts `a` before `c` even where there
    /// is no `b`; several lists hold together.
    pub sequence: Vec<Vec<AppName>>,
}

impl Constraint {
    /// The apps that it names.
    pub fn apps(&self) -> BTreeSet<&AppName> {
        self.concurrency.keys().chain(self.sequence.iter().flatten()).collect()
    }
}

impl Deployment {
    /// Every host that an app or an environment names.
    pub fn hosts(&self) -> HostSet {
        union(self.apps.values().chain(self.envs.values().flat_map(BTreeMap::values)))
    }
}

/// How many hosts of a service may be busy or down at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCell {
    /// The hosts of its instances; where there are none, there is no cell.
    pub hosts: HostSet,
    /// How many of them, rounded as [`Quantity::window_of`] does.
    pub limit: Quantity,
}

/// All deployments that hold at one time, each valid, with the cells that follow from them and from
/// the services beside them.
#[derive(Clone, Debug, Default)]
pub struct Deployments {
    all: BTreeMap<DeploymentName, Deployment>,
    services: BTreeMap<ServiceName, ServiceCell>,
    cells: Cells,
}

impl Deployments {
    /// Checks each by itself and all together.
    ///
    /// Fails with everything that is wrong: [`Deployment::problems`] of each, names that are given
    /// twice, and the bounds over all ([`limits::CELLS`](crate::limits::CELLS) and the next two).
    pub fn new(
        deployments: impl IntoIterator<Item = Deployment>,
    ) -> Result<Deployments, InvalidDeployments> {
        let mut all = BTreeMap::new();
        let mut wrong = Vec::new();
        for deployment in deployments {
            let name = deployment.name.clone();
            let own = deployment.problems();
            wrong.extend(own.into_iter().map(|problem| InvalidDeployment::new(&name, problem)));
            if all.insert(name.clone(), deployment).is_some() {
                wrong.push(InvalidDeployment::new(&name, DeploymentProblem::Duplicate));
            }
        }
        if !wrong.is_empty() {
            return Err(InvalidDeployments(wrong));
        }
        let cells = Cells::of(all.values()).map_err(|wrong| InvalidDeployments(vec![wrong]))?;
        Ok(Deployments { all, services: BTreeMap::new(), cells })
    }

    /// These deployments, with a cell for each of these services instead of those that were there for
    /// others: `service/NAME`, in no environment and in no sequence.
    ///
    /// Fails where a service comes twice, or a bound over all cells is passed
    /// ([`limits::CELLS`](crate::limits::CELLS) and [`limits::CELL_HOSTS`](crate::limits::CELL_HOSTS)).
    pub fn with_services(
        &self,
        services: impl IntoIterator<Item = (ServiceName, ServiceCell)>,
    ) -> Result<Deployments, InvalidServiceCell> {
        let mut known = BTreeMap::new();
        for (service, cell) in services {
            if known.insert(service.clone(), cell).is_some() {
                return Err(InvalidServiceCell { service, problem: DeploymentProblem::Duplicate });
            }
        }
        let cells = self.cells.with_services(&known)?;
        Ok(Deployments { all: self.all.clone(), services: known, cells })
    }

    /// The services that have a cell of their own, in the order of their names.
    pub fn services(&self) -> impl ExactSizeIterator<Item = (&ServiceName, &ServiceCell)> {
        self.services.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Deployment> {
        self.all.values()
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<&Deployment> {
        self.all.get(name)
    }

    /// What follows from them for the ledger.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The group `@NAME` that an app is: its hosts in all deployments that have such an app. `None`
    /// where none has.
    pub fn app(&self, name: &GroupName) -> Option<HostSet> {
        let mut found =
            self.iter().filter_map(|deployment| deployment.apps.get(name.as_str())).peekable();
        found.peek()?;
        Some(union(found))
    }

    /// The names of all apps, once each.
    pub fn apps(&self) -> BTreeSet<&AppName> {
        self.iter().flat_map(|deployment| deployment.apps.keys()).collect()
    }

    /// Every host that any of them names.
    pub fn hosts(&self) -> HostSet {
        let sets = |deployment: &Deployment| deployment.hosts();
        union(&self.iter().map(sets).collect::<Vec<_>>())
    }
}

/// Equal deployments and services have equal cells.
impl PartialEq for Deployments {
    fn eq(&self, other: &Deployments) -> bool {
        self.all == other.all && self.services == other.services
    }
}

impl Eq for Deployments {}

/// What any of the sets has, with one sort.
fn union<'a>(sets: impl IntoIterator<Item = &'a HostSet>) -> HostSet {
    sets.into_iter().flatten().cloned().collect()
}
