//! Lists cells as the engine has them, and deployments as they were read.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_document::{Format, deployment::show};
use orchestra_model::{
    Deployment, Deployments, deployment::CellKey, ledger::CellStatus, names::DeploymentName,
    nearest,
};

use super::{Desk, Recipient, Stopped, off_the_runtime};
use crate::{
    declined::{Declined, Ground},
    driver::Request as Ask,
};

/// Most cells that are asked for at once.
const PAGE: usize = 100;
/// Most hosts of the cells that are asked for at once, because the engine looks at each host. A
/// cell with more hosts is asked for alone.
const PAGE_HOSTS: usize = 10_000;

/// A deployment in a few numbers.
#[derive(Debug)]
pub(crate) struct ListedDeployment {
    pub(crate) name: DeploymentName,
    pub(crate) apps: u32,
    pub(crate) envs: u32,
    pub(crate) cells: u32,
    pub(crate) hosts: u32,
    /// The deployment as a file would say it, if it alone was asked for.
    pub(crate) canonical: Option<String>,
}

impl Desk {
    /// Declines a name that no deployment in force has.
    pub(crate) fn check_deployment(&self, name: &DeploymentName) -> Result<(), Declined> {
        let deployments = Arc::clone(self.fleet.borrow().deployments());
        if deployments.get(name.as_str()).is_some() {
            return Ok(());
        }
        let known = deployments.iter().map(|deployment| deployment.name.as_str());
        let hint = match nearest(name.as_str(), known) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        Err(Declined::new(Ground::Unknown, format!("there is no deployment {name}{hint}")))
    }

    /// Lists the cells of a deployment, or of all. With `busy`, only cells that hosts hold or wait
    /// for.
    pub(crate) async fn list_cells(
        &self,
        deployment: Option<DeploymentName>,
        busy: bool,
        to: &impl Recipient<Vec<CellStatus>>,
    ) -> Result<(), Stopped> {
        let mut from = match &deployment {
            None => 0,
            Some(name) => first_cell(self.fleet.borrow().deployments(), name),
        };
        let wanted =
            |key: &CellKey| deployment.as_ref().is_none_or(|own| key.deployment() == Some(own));
        while !to.is_gone() {
            let limit = page(self.fleet.borrow().deployments(), from);
            let cells = self.ask(|reply| Ask::Cells { from, limit, reply }).await?;
            from += cells.len();
            // Cells are in the order of their deployments.
            let Some(last) = cells.last() else { break };
            let is_past = !wanted(&last.key);
            let chosen = cells.into_iter().filter(|cell| {
                let is_busy = !cell.holders.is_empty() || !cell.waiting.is_empty();
                wanted(&cell.key) && (is_busy || !busy)
            });
            to.give(chosen.collect()).await?;
            if is_past {
                break;
            }
        }
        Ok(())
    }

    /// Lists one deployment with its content, or all of them in numbers.
    pub(crate) async fn list_deployments(
        &self,
        chosen: Option<DeploymentName>,
        to: &impl Recipient<Vec<ListedDeployment>>,
    ) -> Result<(), Stopped> {
        let deployments = Arc::clone(self.fleet.borrow().deployments());
        let listed = off_the_runtime(move || match chosen {
            None => deployments.iter().map(|one| in_numbers(one, &deployments)).collect(),
            Some(name) => deployments
                .get(name.as_str())
                .map(|one| ListedDeployment {
                    canonical: Some(show([one], Format::Yaml)),
                    ..in_numbers(one, &deployments)
                })
                .into_iter()
                .collect(),
        });
        to.give(listed.await?).await
    }
}

/// Returns where the cells of a deployment begin.
fn first_cell(deployments: &Deployments, name: &DeploymentName) -> usize {
    deployments.cells().as_slice().partition_point(|cell| {
        // The cells of services come last.
        cell.key.deployment().is_some_and(|own| own < name)
    })
}

/// Returns how many cells from this one on are asked for at once.
fn page(deployments: &Deployments, from: usize) -> usize {
    let cells = deployments.cells().as_slice().iter().skip(from).take(PAGE);
    let mut hosts = 0;
    let few = cells.take_while(|cell| {
        hosts += cell.hosts.len();
        hosts <= PAGE_HOSTS
    });
    // The cells of services, which follow, may have many hosts each, and are asked for one by one.
    few.count().max(1)
}

fn in_numbers(deployment: &Deployment, all: &Deployments) -> ListedDeployment {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ListedDeployment {
        name: deployment.name.clone(),
        apps: count(deployment.apps.len()),
        envs: count(deployment.envs.values().map(BTreeMap::len).sum()),
        cells: count(all.cells().of_deployment(&deployment.name).len()),
        hosts: count(deployment.hosts().len()),
        canonical: None,
    }
}
