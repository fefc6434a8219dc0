//! `orc ledger` and `orc deployment`: cells as the engine has them, deployments as they were read.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_document::{Format, deployment::show};
use orchestra_model::{Deployment, Deployments, limits, names::DeploymentName, nearest};
use orchestra_proto::v1;
use prost::Message as _;

use super::{Desk, Sender, listing::cut, off_the_runtime};
use crate::declined::{Declined, Ground};
use crate::driver::Request as Ask;

/// Cells that are asked for at once.
const PAGE: usize = 100;
/// The same in hosts of these cells, each of which the engine looks at; a cell comes whole.
const PAGE_HOSTS: usize = 10_000;

impl Desk {
    /// The name of a deployment that is in force; `None` where none is given, which means all.
    pub(crate) fn chosen_deployment(&self, name: &str) -> Result<Option<DeploymentName>, Declined> {
        if name.is_empty() {
            return Ok(None);
        }
        let name = DeploymentName::new(name).map_err(|error| Declined::invalid(&error))?;
        let deployments = Arc::clone(self.fleet.borrow().deployments());
        if deployments.get(name.as_str()).is_some() {
            return Ok(Some(name));
        }
        let known = deployments.iter().map(|deployment| deployment.name.as_str());
        let hint = match nearest(name.as_str(), known) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        Err(Declined::new(Ground::Unknown, format!("there is no deployment {name}{hint}")))
    }

    pub(crate) async fn send_cells(
        self,
        deployment: Option<DeploymentName>,
        busy: bool,
        pages: Sender<v1::LedgerPage>,
    ) -> Result<(), Declined> {
        let mut from = match &deployment {
            None => 0,
            Some(name) => first_cell(self.fleet.borrow().deployments(), name),
        };
        let wanted = |name: &DeploymentName| deployment.as_ref().is_none_or(|own| own == name);
        while !pages.is_closed() {
            let limit = page(self.fleet.borrow().deployments(), from);
            let cells = self.ask(|reply| Ask::Cells { from, limit, reply }).await?;
            from += cells.len();
            // They are in the order of their deployments.
            let Some(last) = cells.last() else { break };
            let is_past = !wanted(&last.key.deployment);
            let chosen = cells.iter().filter(|cell| {
                let is_busy = !cell.holders.is_empty() || !cell.waiting.is_empty();
                wanted(&cell.key.deployment) && (is_busy || !busy)
            });
            for cells in cut(chosen.map(Into::into)) {
                if pages.send(Ok(v1::LedgerPage { cells })).await.is_err() {
                    return Ok(());
                }
            }
            if is_past {
                break;
            }
        }
        Ok(())
    }

    pub(crate) async fn send_deployments(
        self,
        chosen: Option<DeploymentName>,
        pages: Sender<v1::DeploymentPage>,
    ) -> Result<(), Declined> {
        let deployments = Arc::clone(self.fleet.borrow().deployments());
        let told = off_the_runtime(move || match chosen {
            None => deployments.iter().map(|deployment| tell(deployment, &deployments)).collect(),
            Some(name) => deployments
                .get(name.as_str())
                .map(|deployment| v1::Deployment {
                    canonical: show([deployment], Format::Yaml),
                    ..tell(deployment, &deployments)
                })
                .into_iter()
                .collect::<Vec<_>>(),
        })
        .await?;
        if let Some(deployment) = told.iter().find(|one| one.encoded_len() > limits::MESSAGE_BYTES)
        {
            let name = &deployment.name;
            let problem = format!("deployment {name} is larger than one answer can carry");
            return Err(Declined::new(Ground::TooMuch, problem));
        }
        for deployments in cut(told.into_iter()) {
            if pages.send(Ok(v1::DeploymentPage { deployments })).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Where the cells of a deployment begin.
fn first_cell(deployments: &Deployments, name: &DeploymentName) -> usize {
    deployments.cells().as_slice().partition_point(|cell| cell.key.deployment < *name)
}

/// How many cells from this one on are asked for at once.
fn page(deployments: &Deployments, from: usize) -> usize {
    let cells = deployments.cells().as_slice().iter().skip(from).take(PAGE);
    let mut hosts = 0;
    let few = cells.take_while(|cell| {
        hosts += cell.hosts.len();
        hosts <= PAGE_HOSTS
    });
    few.count().max(1)
}

fn tell(deployment: &Deployment, all: &Deployments) -> v1::Deployment {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    v1::Deployment {
        name: deployment.name.to_string(),
        apps: count(deployment.apps.len()),
        envs: count(deployment.envs.values().map(BTreeMap::len).sum()),
        cells: count(all.cells().of_deployment(&deployment.name).len()),
        hosts: count(deployment.hosts().len()),
        canonical: String::new(),
    }
}
