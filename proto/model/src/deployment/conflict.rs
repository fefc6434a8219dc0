//! Hosts that would wait for each other for ever: known only once it is known which hosts a slot
//! has, so asked at submission.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use super::cells::{AppCell, CellId, CellKey, Cells};
use crate::{
    hostset::HostSet,
    names::{AppName, DeploymentName, EnvType, HostName},
};

/// Hosts of which none could ever start, because sequences make them wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostConflict {
    /// Hosts in two apps of one environment of which one comes after the other: each would wait
    /// for itself.
    InBoth {
        /// The deployment.
        deployment: DeploymentName,
        /// The type of environment.
        env_type: EnvType,
        /// The app that comes first.
        first: AppName,
        /// The app that comes after it.
        second: AppName,
        /// The hosts in both.
        hosts: HostSet,
    },
    /// Hosts in opposite roles: each waits for the next, the last for the first. At least two.
    Circle(Vec<Step>),
}

/// One host of a circle, and why it waits for the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub host: HostName,
    /// The cell in which it waits.
    pub waits_in: CellKey,
    /// The cell that it waits for, in which the next host is.
    pub waits_for: CellKey,
}

impl fmt::Display for HostConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InBoth { deployment, env_type, first, second, hosts } => write!(
                f,
                "{deployment} puts {first} before {second} within each {env_type}, and in both \
                 are {}",
                hosts.counted()
            ),
            Self::Circle(steps) => {
                let next = steps.iter().cycle().skip(1);
                for (n, (step, next)) in steps.iter().zip(next).enumerate() {
                    let Step { host, waits_in, waits_for } = step;
                    let comma = if n == 0 { "" } else { ", " };
                    write!(
                        f,
                        "{comma}{host} ({waits_in}) waits for {} ({})",
                        next.host,
                        waits_for.name()
                    )?;
                }
                Ok(())
            }
        }
    }
}

impl Cells {
    /// What would keep some of `hosts` waiting for ever if all of them were tasks of one slot:
    /// every pair of apps that share hosts, and one circle among the other hosts if there is any.
    /// None: whatever the order of their ends, all can start.
    ///
    /// Costs nothing where no hosts of these deployments could, which is known since they were
    /// loaded; else what the cells of `hosts` cost to look at, however many others there are.
    pub fn conflicts(&self, hosts: &HostSet) -> Vec<HostConflict> {
        if self.may_conflict { self.conflicts_among(hosts) } else { Vec::new() }
    }

    pub(super) fn conflicts_among<'a>(
        &'a self,
        hosts: impl IntoIterator<Item = &'a HostName>,
    ) -> Vec<HostConflict> {
        let mut in_both: BTreeMap<(AppCell, AppName), Vec<HostName>> = BTreeMap::new();
        let mut others = Vec::new();
        for host in hosts {
            let cells = self.of_host(host);
            let mut is_in_both = false;
            for &second in cells {
                for first in &self[second].predecessors {
                    // Only cells of apps have any.
                    let keys = (self[second].key.of_app(), self[*first].key.of_app());
                    if let (Some(second), Some(AppCell { app, .. })) = keys
                        && cells.binary_search(first).is_ok()
                    {
                        is_in_both = true;
                        // Told once for all environments of the type.
                        let key = (second.clone(), app.clone());
                        in_both.entry(key).or_default().push(host.clone());
                    }
                }
            }
            if !is_in_both && !cells.is_empty() {
                others.push(host);
            }
        }
        let mut conflicts = Vec::new();
        let mut pairs: BTreeMap<_, Vec<HostName>> = BTreeMap::new();
        for ((second, first), hosts) in in_both {
            let key = (second.deployment, second.env_type, first, second.app);
            pairs.entry(key).or_default().extend(hosts);
        }
        for ((deployment, env_type, first, second), hosts) in pairs {
            let hosts = HostSet::from_names(hosts);
            conflicts.push(HostConflict::InBoth { deployment, env_type, first, second, hosts });
        }
        conflicts.extend(Slot::new(self, others).circle().map(HostConflict::Circle));
        conflicts
    }
}

/// The hosts of a slot with those of their cells that have an order among them, and what of it is
/// not done yet.
struct Slot<'a> {
    cells: &'a Cells,
    hosts: Vec<&'a HostName>,
    touched: BTreeMap<CellId, Touched>,
    /// For each host, how many of its cells wait.
    waits: Vec<usize>,
}

/// A cell that hosts of the slot are in.
#[derive(Default)]
struct Touched {
    /// Indices of its hosts.
    hosts: Vec<usize>,
    /// How many of them are not done.
    pending: usize,
    /// How many of its predecessors have such hosts.
    blocked_by: usize,
    /// The cells that come after it.
    successors: Vec<CellId>,
}

impl<'a> Slot<'a> {
    fn new(cells: &'a Cells, hosts: Vec<&'a HostName>) -> Self {
        let mut touched: BTreeMap<CellId, Touched> = BTreeMap::new();
        for (index, host) in hosts.iter().enumerate() {
            for id in cells.of_host(host) {
                let cell = touched.entry(*id).or_default();
                cell.hosts.push(index);
                cell.pending += 1;
            }
        }
        let ids: Vec<CellId> = touched.keys().copied().collect();
        for id in ids {
            let mut blocked_by = 0;
            for predecessor in &cells[id].predecessors {
                if let Some(predecessor) = touched.get_mut(predecessor) {
                    predecessor.successors.push(id);
                    blocked_by += 1;
                }
            }
            if let Some(cell) = touched.get_mut(&id) {
                cell.blocked_by = blocked_by;
            }
        }
        let is_blocked = |id: &&CellId| touched.get(*id).is_some_and(|cell| cell.blocked_by > 0);
        let waits = hosts.iter().map(|host| cells.of_host(host).iter().filter(is_blocked).count());
        let waits = waits.collect();
        Self { cells, hosts, touched, waits }
    }

    /// A shortest circle through some host that is in one.
    fn circle(mut self) -> Option<Vec<Step>> {
        self.finish_what_can();
        let first = self.waits.iter().position(|waits| *waits > 0)?;
        for cell in self.touched.values_mut() {
            cell.hosts.retain(|host| self.waits[*host] > 0);
        }
        // Who waits for ever is in a circle or waits for one: following the waits leads there.
        let (mut host, mut seen) = (first, BTreeSet::new());
        while seen.insert(host) {
            let (_, _, hosts) = self.awaited(host).next()?;
            host = *hosts.first()?;
        }
        self.circle_through(host)
    }

    /// Lets every host end that does not wait, and those that waited for it alone, and so on.
    fn finish_what_can(&mut self) {
        let mut able: Vec<usize> =
            (0..self.hosts.len()).filter(|host| self.waits[*host] == 0).collect();
        while let Some(host) = able.pop() {
            for id in self.cells.of_host(self.hosts[host]) {
                let Some(cell) = self.touched.get_mut(id) else { continue };
                cell.pending -= 1;
                if cell.pending > 0 {
                    continue;
                }
                for id in std::mem::take(&mut cell.successors) {
                    let Some(successor) = self.touched.get_mut(&id) else { continue };
                    successor.blocked_by -= 1;
                    if successor.blocked_by > 0 {
                        continue;
                    }
                    for &host in &successor.hosts {
                        self.waits[host] -= 1;
                        if self.waits[host] == 0 {
                            able.push(host);
                        }
                    }
                }
            }
        }
    }

    /// What a host waits for: in which cell, for which cell, and who is in that one and waits for
    /// ever too.
    fn awaited(&self, host: usize) -> impl Iterator<Item = (CellId, CellId, &[usize])> {
        self.cells.of_host(self.hosts[host]).iter().flat_map(move |id| {
            self.cells[*id].predecessors.iter().filter_map(move |predecessor| {
                let hosts = self.touched.get(predecessor)?.hosts.as_slice();
                (!hosts.is_empty()).then_some((*id, *predecessor, hosts))
            })
        })
    }

    fn circle_through(&self, start: usize) -> Option<Vec<Step>> {
        let mut reached: BTreeMap<usize, (usize, CellId, CellId)> = BTreeMap::new();
        // A cell that was looked into leads to nobody new.
        let mut looked_into: BTreeSet<CellId> = BTreeSet::new();
        let mut queue = VecDeque::from([start]);
        while let Some(host) = queue.pop_front()
            && !reached.contains_key(&start)
        {
            for (waits_in, waits_for, hosts) in self.awaited(host) {
                if !looked_into.insert(waits_for) {
                    continue;
                }
                for &next in hosts {
                    reached.entry(next).or_insert_with(|| {
                        queue.push_back(next);
                        (host, waits_in, waits_for)
                    });
                }
            }
        }
        let key = |id: CellId| self.cells[id].key.clone();
        let mut steps = Vec::new();
        let mut at = start;
        loop {
            let (from, waits_in, waits_for) = *reached.get(&at)?;
            let host = self.hosts[from].clone();
            steps.push(Step { host, waits_in: key(waits_in), waits_for: key(waits_for) });
            at = from;
            if at == start {
                break;
            }
        }
        steps.reverse();
        Some(steps)
    }
}
