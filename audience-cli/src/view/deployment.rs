//! Deployments: apps, environments, and the cells that follow from them.

use std::io;

use orchestra_client::DeploymentSummary;
use orchestra_document::{
    Format,
    deployment::{Canonical, show},
};
use orchestra_model::{
    HostSet,
    deployment::{Cell, Cells, Deployment, Deployments},
};
use serde::Serialize;

use super::{Listing, Output, Page, Style, one_line};

/// The deployments in force, a line each.
pub(crate) struct InForce;

impl Listing for InForce {
    type Item = DeploymentSummary;

    const NOUN: &'static str = "deployments";

    fn json(&self, deployment: &DeploymentSummary) -> impl Serialize {
        let DeploymentSummary { name, apps, envs, cells, hosts, .. } = deployment;
        Listed { name, app_count: *apps, env_count: *envs, cell_count: *cells, host_count: *hosts }
    }

    fn heading(&self, out: &mut dyn Page) -> io::Result<()> {
        writeln!(out, "{:>5} {:>5} {:>5} {:>7} NAME", "APPS", "ENVS", "CELLS", "HOSTS")
    }

    fn text(
        &self,
        deployment: &DeploymentSummary,
        out: &mut dyn Page,
        _style: Style,
    ) -> io::Result<()> {
        let DeploymentSummary { name, apps, envs, cells, hosts, .. } = deployment;
        writeln!(out, "{apps:>5} {envs:>5} {cells:>5} {hosts:>7} {}", one_line(name))
    }

    fn remark(&self, told: usize) -> Option<String> {
        (told == 0).then(|| "no deployments".to_owned())
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    app_count: u32,
    env_count: u32,
    cell_count: u32,
    host_count: u32,
}

/// What files mean together.
pub(crate) struct Checked<'a> {
    pub(crate) deployments: &'a Deployments,
    /// The format of the canonical form, if a person asked for it.
    pub(crate) canonical: Option<Format>,
}

impl Output for Checked<'_> {
    fn noun(&self) -> &'static str {
        "deployments"
    }

    fn json(self) -> impl Serialize {
        in_json(self.deployments, true)
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        match self.canonical {
            Some(format) => out.write_all(show(self.deployments.iter(), format).as_bytes()),
            None => write(out, self.deployments),
        }
    }
}

/// Writes each deployment with a line for every app, environment and cell.
fn write(out: &mut dyn io::Write, deployments: &Deployments) -> io::Result<()> {
    for deployment in deployments.iter() {
        writeln!(out, "{}", deployment.name)?;
        let line = |name: String, hosts: &HostSet| (name, hosts.counted().to_string());
        let apps = deployment.apps.iter().map(|(app, hosts)| line(app.to_string(), hosts));
        section(out, "apps", apps.collect())?;
        let envs = deployment.envs.iter().flat_map(|(env_type, values)| {
            values.iter().map(move |(value, hosts)| line(format!("{env_type} {value}"), hosts))
        });
        section(out, "envs", envs.collect())?;
        let cells = deployments.cells();
        let of_apps = cells.of_deployment(&deployment.name).iter();
        let of_apps = of_apps.filter_map(|cell| Some((cell.key.of_app()?, cell)));
        let lines = of_apps.map(|(key, cell)| {
            let limit = cell.limit.map_or_else(|| "any".to_owned(), |limit| limit.to_string());
            let mut what = format!("{limit} of {}", cell.hosts.counted());
            let after = after(cells, cell);
            if !after.is_empty() {
                what += &format!(", after {}", after.join(", "));
            }
            (format!("{} {} {}", key.env_type, key.env_value, key.app), what)
        });
        section(out, "cells", lines.collect())?;
        let unthrottled = cells.unthrottled(&deployment.hosts());
        if !unthrottled.is_empty() {
            writeln!(out, "  unthrottled: {}", unthrottled.counted())?;
        }
    }
    Ok(())
}

/// Names in one column, what they are in the next.
fn section(out: &mut dyn io::Write, title: &str, lines: Vec<(String, String)>) -> io::Result<()> {
    let Some(width) = lines.iter().map(|(name, _)| name.len()).max() else { return Ok(()) };
    writeln!(out, "  {title}")?;
    for (name, what) in lines {
        writeln!(out, "    {name:<width$}  {what}")?;
    }
    Ok(())
}

/// The apps that come before a cell in its environment.
fn after<'a>(cells: &'a Cells, cell: &Cell) -> Vec<&'a str> {
    cell.predecessors.iter().map(|id| cells[*id].key.name()).collect()
}

/// Returns deployments in JSON. Only if these are `all` deployments it is known which hosts no
/// limit holds back.
pub(crate) fn in_json(deployments: &Deployments, all: bool) -> Vec<OfDeployment<'_>> {
    let cells = deployments.cells();
    let of = |deployment| OfDeployment::new(deployment, cells, all);
    deployments.iter().map(of).collect()
}

/// A deployment in JSON: its canonical form, and what follows from it.
#[derive(Serialize)]
pub(crate) struct OfDeployment<'a> {
    name: &'a str,
    #[serde(flatten)]
    canonical: Canonical<'a>,
    cells: Vec<OfCell<'a>>,
    /// Its hosts, folded, that no limit of any deployment holds back.
    unthrottled: Option<String>,
}

impl<'a> OfDeployment<'a> {
    fn new(deployment: &'a Deployment, cells: &'a Cells, all: bool) -> Self {
        let own = cells.of_deployment(&deployment.name);
        Self {
            name: deployment.name.as_str(),
            canonical: Canonical(deployment),
            cells: own.iter().filter_map(|cell| OfCell::new(cells, cell)).collect(),
            unthrottled: all.then(|| cells.unthrottled(&deployment.hosts()).to_string()),
        }
    }
}

#[derive(Serialize)]
struct OfCell<'a> {
    env_type: &'a str,
    env_value: &'a str,
    app: &'a str,
    limit: Option<u32>,
    hosts: String,
    count: usize,
    after: Vec<&'a str>,
}

impl<'a> OfCell<'a> {
    /// Returns `None` for a service's cell, which belongs to no deployment.
    fn new(cells: &'a Cells, cell: &'a Cell) -> Option<Self> {
        let key = cell.key.of_app()?;
        Some(Self {
            env_type: key.env_type.as_str(),
            env_value: key.env_value.as_str(),
            app: key.app.as_str(),
            limit: cell.limit,
            hosts: cell.hosts.to_string(),
            count: cell.hosts.len(),
            after: after(cells, cell),
        })
    }
}
