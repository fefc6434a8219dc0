//! Trees: who serves whom, one line for each host that serves.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

use orchestra_model::{
    JobId, JobName,
    hostset::HostSet,
    ledger::Serving,
    names::HostName,
    state::TaskState,
    status::{FlowStatus, TaskStatus},
    tree::Parent,
};
use serde::Serialize;

use crate::view::{Output, Page, Style};

/// The trees of a flow, as far as they have come.
pub(crate) struct Trees {
    jobs: BTreeMap<JobId, OfJob>,
}

/// The tree of a job.
struct OfJob {
    name: JobName,
    /// Who serves whom; children by their state.
    served: BTreeMap<Option<HostName>, BTreeMap<TaskState, Vec<HostName>>>,
    waiting: Vec<HostName>,
}

impl Trees {
    pub(crate) fn of(flow: &FlowStatus) -> Self {
        let jobs = flow.slots.iter().flatten().map(|job| {
            let name = job.name.clone();
            (job.id, OfJob { name, served: BTreeMap::new(), waiting: Vec::new() })
        });
        Self { jobs: jobs.collect() }
    }

    /// Adds a task.
    pub(crate) fn add(&mut self, task: TaskStatus) {
        let Some((job, host)) = self.jobs.get_mut(&task.job).zip(task.host) else { return };
        match task.parent {
            Some(parent) => {
                let children = job.served.entry(parent.host().cloned()).or_default();
                children.entry(task.state).or_default().push(host);
            }
            None if task.state == TaskState::Waiting => job.waiting.push(host),
            None => {}
        }
    }

    /// Whether anything was sent along a tree.
    pub(crate) fn is_any(&self) -> bool {
        self.trees().next().is_some()
    }

    fn trees(&self) -> impl Iterator<Item = (&JobId, &OfJob)> {
        self.jobs.iter().filter(|(_, job)| !job.served.is_empty())
    }
}

impl OfJob {
    /// The hosts that serve, those nearest to the root first, each with its distance.
    fn servers(&self) -> Vec<(u32, Option<&HostName>)> {
        let children: BTreeSet<&HostName> =
            self.served.values().flat_map(BTreeMap::values).flatten().collect();
        let roots = self.served.keys().map(Option::as_ref);
        let roots = roots.filter(|host| host.is_none_or(|host| !children.contains(host)));
        let mut next: VecDeque<(u32, Option<&HostName>)> = roots.map(|host| (0, host)).collect();
        let mut servers = Vec::new();
        while let Some((depth, server)) = next.pop_front() {
            let Some(served) = self.served.get(&server.cloned()) else { continue };
            servers.push((depth, server));
            let children = served.values().flatten();
            next.extend(children.map(|child| (depth + 1, Some(child))));
        }
        servers
    }
}

impl Output for Trees {
    fn noun(&self) -> &'static str {
        "trees"
    }

    fn json(self) -> impl Serialize {
        let of_job = |(id, job): (&JobId, &OfJob)| Tree {
            id: id.to_string(),
            name: job.name.to_string(),
            serving: job.servers().into_iter().map(|server| Server::of(job, server)).collect(),
            waiting: HostSet::from_names(job.waiting.iter().cloned()).to_string(),
        };
        self.trees().map(of_job).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        for (id, job) in self.trees() {
            writeln!(out, "{id} {}", job.name)?;
            for (depth, server) in job.servers() {
                let served = &job.served[&server.cloned()];
                let state = |(state, hosts): (&TaskState, &Vec<HostName>)| {
                    let hosts = HostSet::from_names(hosts.iter().cloned());
                    format!("{} {}", hosts.counted(), style.task(*state))
                };
                let served: Vec<String> = served.iter().map(state).collect();
                line(out, depth, server, &served.join(", "))?;
            }
            if !job.waiting.is_empty() {
                let waiting = HostSet::from_names(job.waiting.iter().cloned());
                writeln!(out, "  waiting: {}", waiting.counted())?;
            }
        }
        Ok(())
    }
}

/// Writes the planned trees of a submission.
pub(super) fn planned(out: &mut dyn io::Write, serving: &[Serving]) -> io::Result<()> {
    for of_job in serving.chunk_by(|a, b| a.job == b.job) {
        writeln!(out, "{} tree:", of_job[0].job)?;
        let mut depths: BTreeMap<&HostName, u32> = BTreeMap::new();
        for Serving { parent, children, .. } in of_job {
            let depth = match parent {
                Parent::Nobody => 0,
                Parent::Host(host) => depths.get(host).copied().unwrap_or_default(),
            };
            depths.extend(children.iter().map(|child| (child, depth + 1)));
            line(out, depth, parent.host(), &children.counted().to_string())?;
        }
    }
    Ok(())
}

/// Writes whom a host serves.
fn line(
    out: &mut dyn io::Write,
    depth: u32,
    server: Option<&HostName>,
    served: &str,
) -> io::Result<()> {
    /// Deeper lines are not moved further to the right.
    const DEEPEST: u32 = 12;
    let indent = (2 + 2 * depth.min(DEEPEST)) as usize;
    match server {
        Some(host) => writeln!(out, "{:indent$}{host} serves {served}", ""),
        None => writeln!(out, "{:indent$}first: {served}", ""),
    }
}

#[derive(Serialize)]
struct Tree {
    id: String,
    name: String,
    serving: Vec<Server>,
    waiting: String,
}

#[derive(Serialize)]
struct Server {
    /// `None` for hosts that nobody serves.
    host: Option<String>,
    depth: u32,
    served: Vec<Served>,
}

#[derive(Serialize)]
struct Served {
    state: TaskState,
    hosts: String,
    count: usize,
}

impl Server {
    fn of(job: &OfJob, (depth, server): (u32, Option<&HostName>)) -> Self {
        let served = job.served.get(&server.cloned()).into_iter().flatten();
        let served = served.map(|(state, hosts)| {
            let hosts = HostSet::from_names(hosts.iter().cloned());
            Served { state: *state, count: hosts.len(), hosts: hosts.to_string() }
        });
        Self { host: server.map(ToString::to_string), depth, served: served.collect() }
    }
}

/// Who is planned to serve whom, in JSON.
#[derive(Serialize)]
pub(super) struct PlannedServing {
    job: String,
    /// `None` for hosts that nobody serves.
    parent: Option<String>,
    children: String,
    count: usize,
}

impl From<&Serving> for PlannedServing {
    fn from(serving: &Serving) -> Self {
        Self {
            job: serving.job.to_string(),
            parent: serving.parent.host().map(ToString::to_string),
            children: serving.children.to_string(),
            count: serving.children.len(),
        }
    }
}
