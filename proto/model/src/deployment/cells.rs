//! What follows from deployments: cells, which hosts are in them, which come after which.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    fmt, iter,
    sync::Arc,
};

use super::{
    Deployment, DeploymentProblem, InvalidDeployment, InvalidServiceCell, ServiceCell, order::Order,
};
use crate::{
    hostset::HostSet,
    limits,
    names::{AppName, DeploymentName, EnvType, EnvValue, HostName, ServiceName},
};

/// What a cell is called: it stays the same while files change, so it is what records name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CellKey {
    /// An app in an environment, as files have it.
    App(AppCell),
    /// The hosts of a service.
    Service(ServiceName),
}

/// An app in an environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppCell {
    /// The deployment.
    pub deployment: DeploymentName,
    /// The type of environment that the constraint is on.
    pub env_type: EnvType,
    /// The environment.
    pub env_value: EnvValue,
    /// The app.
    pub app: AppName,
}

impl CellKey {
    /// The app and its environment; `None` for a service's cell.
    pub fn of_app(&self) -> Option<&AppCell> {
        match self {
            Self::App(cell) => Some(cell),
            Self::Service(_) => None,
        }
    }

    /// The service; `None` for an app's cell.
    pub fn of_service(&self) -> Option<&ServiceName> {
        match self {
            Self::App(_) => None,
            Self::Service(service) => Some(service),
        }
    }

    /// The deployment that it follows from; `None` for a service's cell.
    pub fn deployment(&self) -> Option<&DeploymentName> {
        self.of_app().map(|cell| &cell.deployment)
    }

    /// What it is called among the cells of its environment: the app, or the service.
    pub fn name(&self) -> &str {
        match self {
            Self::App(cell) => cell.app.as_str(),
            Self::Service(service) => service.as_str(),
        }
    }
}

/// `frontend in cluster east of example-deployment`, `service/web`
impl fmt::Display for CellKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(AppCell { deployment, env_type, env_value, app }) => {
                write!(f, "{app} in {env_type} {env_value} of {deployment}")
            }
            Self::Service(service) => write!(f, "service/{service}"),
        }
    }
}

/// A cell's place in [`Cells`]. Good for those cells alone, not for what a reload makes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(u32);

impl CellId {
    /// The index in [`Cells::as_slice`], for those who keep tables of their own beside it.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The hosts that an app has in an environment, where a constraint names the app, or the hosts of a
/// service. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What it is called.
    pub key: CellKey,
    /// How many of its hosts may hold it at once; at least 1, and it may be more than there are
    /// hosts. `None`: no limit, the cell is there because a sequence names the app.
    pub limit: Option<u32>,
    /// Its hosts, whatever a job targets.
    pub hosts: HostSet,
    /// The cells of the same environment that come before it, near or far: where one of their
    /// hosts is among those of a slot and not done, this cell's hosts wait.
    pub predecessors: Vec<CellId>,
}

/// All cells of all deployments, and behind them those of services, in the order of their keys.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    cells: Vec<Cell>,
    /// Hosts that share their cells share the list.
    of_host: BTreeMap<HostName, Arc<[CellId]>>,
    lists: Vec<Arc<[CellId]>>,
    /// Whether any hosts at all can wait for each other for ever: fewer hosts never make more of
    /// that, so that asking costs nothing where it is ruled out for all of them.
    pub(super) may_conflict: bool,
}

impl Cells {
    /// Those of deployments without problems, each name once, in the order of names.
    pub(super) fn of<'a>(
        deployments: impl IntoIterator<Item = &'a Deployment>,
    ) -> Result<Cells, InvalidDeployment> {
        let mut builder = Builder::default();
        for deployment in deployments {
            builder
                .add(deployment)
                .map_err(|problem| InvalidDeployment::new(&deployment.name, problem))?;
        }
        let mut cells = builder.finish();
        cells.may_conflict = cells.cells.iter().any(|cell| !cell.predecessors.is_empty())
            && !cells.conflicts_among(cells.of_host.keys()).is_empty();
        Ok(cells)
    }

    /// These, and behind them one for each service that has hosts, in the order of names. None of
    /// those comes before or after another, so whether hosts can wait for each other for ever stays as
    /// it is.
    pub(super) fn with_services<'a>(
        &self,
        services: impl IntoIterator<Item = (&'a ServiceName, &'a ServiceCell)>,
    ) -> Result<Cells, InvalidServiceCell> {
        let of_deployments = self.cells.iter().take_while(|cell| cell.key.of_app().is_some());
        let mut builder = Builder::of(of_deployments);
        for (service, cell) in services {
            builder
                .add_service(service, cell)
                .map_err(|problem| InvalidServiceCell { service: service.clone(), problem })?;
        }
        Ok(Cells { may_conflict: self.may_conflict, ..builder.finish() })
    }

    /// All of them, by [`CellId::index`].
    pub fn as_slice(&self) -> &[Cell] {
        &self.cells
    }

    /// All of them, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (CellId, &Cell)> {
        (0..).map(CellId).zip(&self.cells)
    }

    /// Those of one deployment.
    pub fn of_deployment(&self, name: &DeploymentName) -> &[Cell] {
        // Services' cells come last.
        let is_before = |cell: &Cell| cell.key.deployment().is_some_and(|own| own < name);
        let own = &self.cells[self.cells.partition_point(is_before)..];
        &own[..own.partition_point(|cell| cell.key.deployment() == Some(name))]
    }

    /// The cell of that name, where it still exists.
    pub fn find(&self, key: &CellKey) -> Option<CellId> {
        let index = self.cells.binary_search_by(|cell| cell.key.cmp(key)).ok()?;
        u32::try_from(index).ok().map(CellId)
    }

    /// The cells of a host, with and without limits, rising; none where no constraint is on it.
    pub fn of_host(&self, host: &HostName) -> &[CellId] {
        self.of_host.get(host).map_or(&[], |cells| cells)
    }

    /// The cells of a host, for those who keep the list: hosts that share their cells share it.
    pub fn shared_of_host(&self, host: &HostName) -> Arc<[CellId]> {
        self.of_host.get(host).cloned().unwrap_or_default()
    }

    /// The hosts that are in at least one cell, with their cells. Hosts that share their cells
    /// share the list.
    pub fn by_host(&self) -> impl Iterator<Item = (&HostName, &Arc<[CellId]>)> {
        self.of_host.iter()
    }

    /// Those lists, each once, in their order.
    pub fn lists(&self) -> &[Arc<[CellId]>] {
        &self.lists
    }

    /// Whether there are hosts at all that would wait for each other for ever.
    pub fn may_conflict(&self) -> bool {
        self.may_conflict
    }

    /// Those of `hosts` that no limit holds back: they are in no app, or in none of its
    /// environments, or their app has no limit; and they have no service.
    pub fn unthrottled(&self, hosts: &HostSet) -> HostSet {
        hosts.unknown(|host| self.of_host(host).iter().any(|id| self[*id].limit.is_some()))
    }
}

/// An id from other cells may panic or name another cell.
impl std::ops::Index<CellId> for Cells {
    type Output = Cell;

    fn index(&self, id: CellId) -> &Cell {
        &self.cells[id.index()]
    }
}

/// Cells so far, and what is left of the bounds.
struct Builder {
    cells: Vec<Cell>,
    of_host: HashMap<HostName, Vec<CellId>>,
    hosts_left: usize,
    pairs_left: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            cells: Vec::new(),
            of_host: HashMap::new(),
            hosts_left: limits::CELL_HOSTS,
            pairs_left: limits::CELL_PAIRS,
        }
    }
}

impl Builder {
    /// Begins with these cells, which are within the bounds.
    fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut builder = Self::default();
        for (id, cell) in (0..).map(CellId).zip(cells) {
            builder.hosts_left = builder.hosts_left.saturating_sub(cell.hosts.len());
            for host in &cell.hosts {
                builder.of_host.entry(host.clone()).or_default().push(id);
            }
            builder.cells.push(cell.clone());
        }
        builder
    }

    fn add_service(
        &mut self,
        service: &ServiceName,
        cell: &ServiceCell,
    ) -> Result<(), DeploymentProblem> {
        let hosts = cell.hosts.clone();
        if hosts.is_empty() {
            return Ok(());
        }
        if hosts.len() > self.hosts_left {
            return Err(too_many_hosts());
        }
        let total = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let (key, limit) = (CellKey::Service(service.clone()), cell.limit.window_of(total));
        self.push(Cell { key, limit: Some(limit), hosts, predecessors: Vec::new() })?;
        Ok(())
    }

    fn add(&mut self, deployment: &Deployment) -> Result<(), DeploymentProblem> {
        for (env_type, constraint) in &deployment.constraints {
            let Some(values) = deployment.envs.get(env_type) else { continue };
            let apps: Vec<_> = constraint
                .apps()
                .into_iter()
                .filter_map(|app| deployment.apps.get_key_value(app))
                .collect();
            let sets: Vec<&HostSet> = apps.iter().map(|(_, hosts)| *hosts).collect();
            let order = Order::of(&constraint.sequence);
            let mut meets = meet(&sets, values.values(), self.hosts_left)?;
            for (value_index, env_value) in values.keys().enumerate() {
                let mut here: BTreeMap<&AppName, CellId> = BTreeMap::new();
                for ((app, _), meets) in apps.iter().zip(&mut meets) {
                    let hosts = std::mem::take(&mut meets[value_index]);
                    if hosts.is_empty() {
                        continue;
                    }
                    let total = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
                    let limit = constraint.concurrency.get(*app);
                    let key = CellKey::App(AppCell {
                        deployment: deployment.name.clone(),
                        env_type: env_type.clone(),
                        env_value: env_value.clone(),
                        app: (*app).clone(),
                    });
                    let limit = limit.map(|limit| limit.window_of(total));
                    here.insert(
                        app,
                        self.push(Cell { key, limit, hosts, predecessors: Vec::new() })?,
                    );
                }
                self.put_in_order(&order, &here)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, cell: Cell) -> Result<CellId, DeploymentProblem> {
        let index = self.cells.len();
        let id = u32::try_from(index).ok().filter(|_| index < limits::CELLS).map(CellId);
        let id = id.ok_or_else(too_many_cells)?;
        self.hosts_left = self.hosts_left.saturating_sub(cell.hosts.len());
        for host in &cell.hosts {
            self.of_host.entry(host.clone()).or_default().push(id);
        }
        self.cells.push(cell);
        Ok(id)
    }

    /// Tells the cells of one environment which of them come before them.
    fn put_in_order(
        &mut self,
        order: &Order<'_>,
        here: &BTreeMap<&AppName, CellId>,
    ) -> Result<(), DeploymentProblem> {
        for (&app, &id) in here {
            for after in order.after(app) {
                let Some(after) = here.get(after) else { continue };
                self.pairs_left = self.pairs_left.checked_sub(1).ok_or_else(too_many_pairs)?;
                self.cells[after.index()].predecessors.push(id);
            }
        }
        Ok(())
    }

    fn finish(self) -> Cells {
        let mut lists: BTreeSet<Arc<[CellId]>> = BTreeSet::new();
        let mut shared = |cells: Vec<CellId>| match lists.get(cells.as_slice()) {
            Some(list) => Arc::clone(list),
            None => {
                let list: Arc<[CellId]> = cells.into();
                lists.insert(Arc::clone(&list));
                list
            }
        };
        let of_host = self.of_host.into_iter().map(|(host, cells)| (host, shared(cells))).collect();
        let lists = lists.into_iter().collect();
        Cells { cells: self.cells, of_host, lists, may_conflict: false }
    }
}

/// The hosts that each app has in each environment: a list per app of a set per environment.
///
/// Fails where that is more cells, or more hosts in them than `most`, before making them.
pub(super) fn meet<'a>(
    apps: &[&HostSet],
    values: impl ExactSizeIterator<Item = &'a HostSet>,
    most: usize,
) -> Result<Vec<Vec<HostSet>>, DeploymentProblem> {
    let count = values.len();
    if apps.len().saturating_mul(count) > limits::CELLS {
        return Err(too_many_cells());
    }
    // By host, so that many small apps and environments cost no more than few large ones. The first
    // value is apart from the others: most hosts are in one of a type.
    let mut values_of: HashMap<&HostName, (usize, Vec<usize>)> = HashMap::new();
    for (index, hosts) in values.enumerate() {
        for host in hosts {
            match values_of.entry(host) {
                Entry::Vacant(host) => {
                    host.insert((index, Vec::new()));
                }
                Entry::Occupied(mut host) => host.get_mut().1.push(index),
            }
        }
    }
    let mut left = most;
    let in_values = |hosts: &&HostSet| {
        let mut meets = vec![Vec::new(); count];
        for host in *hosts {
            let Some((first, others)) = values_of.get(host) else { continue };
            for &index in iter::once(first).chain(others) {
                left = left.checked_sub(1).ok_or_else(too_many_hosts)?;
                meets[index].push(host.clone());
            }
        }
        Ok(meets.into_iter().map(HostSet::from_names).collect())
    };
    apps.iter().map(in_values).collect()
}

fn too_many_cells() -> DeploymentProblem {
    let what = "cells, together with the deployments before it";
    DeploymentProblem::TooMany { what, most: limits::CELLS }
}

fn too_many_hosts() -> DeploymentProblem {
    let what = "hosts in its cells, together with the deployments before it";
    DeploymentProblem::TooMany { what, most: limits::CELL_HOSTS }
}

fn too_many_pairs() -> DeploymentProblem {
    let what = "cells that come after others, together with the deployments before it";
    DeploymentProblem::TooMany { what, most: limits::CELL_PAIRS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_counted_before_they_are_collected() {
        let set = |hosts| HostSet::parse_plain(hosts).unwrap();
        let (app, east, west) = (set("h[1-9]"), set("h[1-5]"), set("h[4-8],g1"));
        let meets = meet(&[&app], [&east, &west].into_iter(), 10).unwrap();
        assert_eq!(meets, [[set("h[1-5]"), set("h[4-8]")]]);
        let wrong = meet(&[&app], [&east, &west].into_iter(), 9).unwrap_err();
        assert!(wrong.to_string().starts_with("it has too many hosts in its cells"), "{wrong}");
    }
}
