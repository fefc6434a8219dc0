//! Lists: streams of bounded pages, whatever is behind them.

use std::sync::Arc;

use bytes::Bytes;
use orchestra_model::{
    FlowId, HostName, HostSet, JobId, TaskState,
    flow::{FlowSpec, Scope},
    names::JobName,
    record::JobRecord,
    status::{FlowSummary, TaskStatus},
};
use orchestra_proto::v1;
use orchestra_store::Reader;
use prost::Message;

use super::{Desk, Sender, refusal::unknown_flow};
use crate::{
    declined::{Declined, Ground},
    driver::Request as Ask,
    history::{self, HistoryError},
};

/// Tasks, flows or players that are asked for at once.
const PAGE: u32 = 1_000;
/// The same where each may have a few hundred kilobytes: ends, or scores.
const LARGE_PAGE: u32 = 16;
/// Where a page is cut, in bytes.
const PAGE_BYTES: usize = 1 << 20;

impl Desk {
    pub(crate) async fn send_tasks(
        self,
        jobs: Vec<JobId>,
        filter: TaskFilter,
        ends: bool,
        pages: Sender<v1::TaskPage>,
    ) -> Result<(), Declined> {
        let limit = if ends { LARGE_PAGE } else { PAGE };
        let mut flow = None;
        for job in jobs {
            let mut from = 0;
            let mut stored = None;
            loop {
                let page = self.task_page(job, &mut flow, &mut stored, from, limit).await?;
                let Some(last) = page.last() else { break };
                from = last.index + 1;
                let full = page.len() == limit as usize;
                let mut page: Vec<TaskStatus> =
                    page.into_iter().filter(|task| filter.takes(task)).collect();
                if ends {
                    page = self.add_ends(page).await?;
                }
                for tasks in cut(page.iter().map(Into::into)) {
                    if pages.send(Ok(v1::TaskPage { tasks })).await.is_err() {
                        return Ok(());
                    }
                }
                // A filter may leave nothing to send for long.
                if !full || pages.is_closed() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A page of a job's tasks: from the engine while the flow lives, then from the store. What
    /// all pages of a flow need is read into `flow` once, and what those of a job need into
    /// `stored`.
    async fn task_page(
        &self,
        job: JobId,
        flow: &mut Option<Arc<StoredFlow>>,
        stored: &mut Option<Arc<StoredJob>>,
        from: u32,
        limit: u32,
    ) -> Result<Vec<TaskStatus>, Declined> {
        if stored.is_none() {
            let living = self.ask(|reply| Ask::Tasks { job, from, limit, reply }).await?;
            if let Some(page) = living {
                return Ok(page);
            }
            let known = flow.clone();
            let read = move |reader: &dyn Reader| {
                let flow =
                    known.map_or_else(|| StoredFlow::read(reader, job.flow).map(Arc::new), Ok)?;
                let stored = flow.job(reader, job)?;
                Ok((flow, stored))
            };
            let (whole, read) = self.read(read).await?;
            *flow = Some(whole);
            *stored = Some(Arc::new(read.ok_or_else(|| unknown_flow(job.flow))?));
        }
        let Some(stored) = stored.clone() else { return Ok(Vec::new()) };
        self.read(move |reader| {
            history::tasks(reader, &stored.record, stored.scope, &stored.hosts, from, limit)
        })
        .await
    }

    /// Adds the end of each task's newest attempt that has one.
    async fn add_ends(&self, mut tasks: Vec<TaskStatus>) -> Result<Vec<TaskStatus>, Declined> {
        self.read(move |reader| {
            for task in &mut tasks {
                let (Some(host), 1..) = (&task.host, task.attempt) else { continue };
                let ends = reader.ends(task.job, host)?;
                let newest = ends.iter().rev().find(|end| !end.late);
                task.end = newest.map(|end| end.end.clone());
            }
            Ok(tasks)
        })
        .await
    }

    pub(crate) async fn send_flows(
        self,
        most: u32,
        only_alive: bool,
        pages: Sender<v1::FlowPage>,
    ) -> Result<(), Declined> {
        let mut left = most;
        let mut before = None;
        while left > 0 {
            let limit = left.min(PAGE) as usize;
            let page = self.read(move |r| Ok(r.flows(limit, before, only_alive)?)).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
            let mut flows: Vec<FlowSummary> = page.iter().map(history::summary).collect();
            let living = flows.iter_mut().filter(|flow| !flow.state.is_final());
            let living: Vec<&mut FlowSummary> = living.collect();
            if !living.is_empty() {
                let ids = living.iter().map(|flow| flow.id).collect();
                let absent = self.ask(|reply| Ask::AbsentIn(ids, reply)).await?;
                living.into_iter().zip(absent).for_each(|(flow, absent)| flow.absent = absent);
            }
            let flows = flows.iter().map(Into::into).collect();
            if pages.send(Ok(v1::FlowPage { flows })).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    pub(crate) async fn send_players(
        self,
        hosts: HostSet,
        scores: bool,
        pages: Sender<v1::PlayerPage>,
    ) -> Result<(), Declined> {
        let size = if scores { LARGE_PAGE } else { PAGE };
        for hosts in hosts.as_slice().chunks(size as usize) {
            let hosts = hosts.to_vec();
            let players = self.ask(|reply| Ask::Players { hosts, scores, reply }).await?;
            for players in cut(players.iter().map(Into::into)) {
                if pages.send(Ok(v1::PlayerPage { players })).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether one of these jobs has a task on that host.
    pub(crate) async fn check_names(
        &self,
        flow: FlowId,
        jobs: &[JobId],
        host: &HostName,
    ) -> Result<(), Declined> {
        let (jobs, whose) = (jobs.to_vec(), host.clone());
        let names = move |reader: &dyn Reader| {
            for job in jobs {
                if history::targets(reader, job)?.contains(&whose) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match self.read(names).await? {
            true => Ok(()),
            false => Err(Declined::new(
                Ground::Unknown,
                format!("flow {flow} has no such task on {host}"),
            )),
        }
    }

    pub(crate) async fn send_logs(
        self,
        jobs: Vec<JobId>,
        host: HostName,
        logs: Sender<v1::AttemptLog>,
    ) -> Result<(), Declined> {
        for job in jobs {
            let whose = host.clone();
            let ends = self.read(move |reader| Ok(reader.ends(job, &whose)?)).await?;
            for end in ends {
                let log = v1::AttemptLog {
                    job: Some(job.into()),
                    host: host.to_string(),
                    attempt: end.attempt,
                    late: end.late,
                    end: Bytes::from_owner(end.end.to_shared()),
                };
                if logs.send(Ok(log)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The jobs of a flow that a request chooses.
    pub(crate) async fn chosen_jobs(
        &self,
        id: FlowId,
        choice: &Choice,
    ) -> Result<Vec<JobId>, Declined> {
        let status = self.status_of(id).await?;
        let jobs: Vec<JobId> = status
            .slots
            .iter()
            .flatten()
            .filter(|job| choice.slot == 0 || u32::from(job.id.slot) == choice.slot)
            .filter(|job| choice.job == 0 || u32::from(job.id.job) == choice.job)
            .filter(|job| choice.name.as_ref().is_none_or(|name| *name == job.name))
            .map(|job| job.id)
            .collect();
        if jobs.is_empty() {
            return Err(Declined::new(
                Ground::Unknown,
                format!("flow {id} has no such slot or job"),
            ));
        }
        Ok(jobs)
    }
}

/// Pages of these, none much larger than [`PAGE_BYTES`] unless a single one is.
pub(crate) fn cut<T: Message>(items: impl Iterator<Item = T>) -> Vec<Vec<T>> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    let mut bytes = 0;
    for item in items {
        let length = item.encoded_len();
        if bytes + length > PAGE_BYTES && !page.is_empty() {
            pages.push(std::mem::take(&mut page));
            bytes = 0;
        }
        bytes += length;
        page.push(item);
    }
    if !page.is_empty() {
        pages.push(page);
    }
    pages
}

/// What every job of an ended flow needs: a flow may have thousands.
struct StoredFlow {
    records: Vec<JobRecord>,
    spec: FlowSpec,
}

/// What every page of an ended job needs.
struct StoredJob {
    record: JobRecord,
    scope: Scope,
    hosts: HostSet,
}

impl StoredFlow {
    fn read(reader: &dyn Reader, flow: FlowId) -> Result<Self, HistoryError> {
        Ok(Self { records: reader.jobs(flow)?, spec: history::spec(reader, flow)? })
    }

    fn job(&self, reader: &dyn Reader, job: JobId) -> Result<Option<StoredJob>, HistoryError> {
        let place = self.records.binary_search_by_key(&job, |record| record.id);
        let Ok(record) = place.map(|place| self.records[place].clone()) else { return Ok(None) };
        let (slot, place) = (usize::from(job.slot) - 1, usize::from(job.job) - 1);
        let spec = self.spec.slots.get(slot).and_then(|slot| slot.jobs.get(place));
        let Some(scope) = spec.map(|spec| spec.scope) else { return Ok(None) };
        let hosts = match scope {
            Scope::All => history::targets(reader, job)?,
            // A one-of task has a record of its own, or never chose a host.
            Scope::One => HostSet::default(),
        };
        Ok(Some(StoredJob { record, scope, hosts }))
    }
}

/// Which jobs of a flow.
pub(crate) struct Choice {
    slot: u32,
    job: u32,
    name: Option<JobName>,
}

impl Choice {
    pub(crate) fn read(slot: u32, job: u32, name: &str) -> Result<Self, Declined> {
        let name = match name {
            "" => None,
            name => Some(JobName::new(name).map_err(|error| Declined::invalid(&error))?),
        };
        Ok(Self { slot, job, name })
    }

    /// Whether it chooses the flow as a whole.
    pub(crate) fn is_all(&self) -> bool {
        (self.slot, self.job) == (0, 0) && self.name.is_none()
    }
}

/// Which tasks of the chosen jobs.
pub(crate) struct TaskFilter {
    host: Option<HostName>,
    states: Vec<TaskState>,
}

impl TaskFilter {
    pub(crate) fn read(host: &str, states: &[String]) -> Result<Self, Declined> {
        let states = states
            .iter()
            .map(|word| {
                TaskState::from_word(word).ok_or_else(|| {
                    let word: String = word.chars().take(80).collect();
                    Declined::new(Ground::Invalid, format!("{word:?} is not a state of a task"))
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { host: read_host(host)?, states })
    }

    fn takes(&self, task: &TaskStatus) -> bool {
        self.host.as_ref().is_none_or(|host| task.host.as_ref() == Some(host))
            && (self.states.is_empty() || self.states.contains(&task.state))
    }
}

/// A host's name; `None` where none is given.
pub(crate) fn read_host(host: &str) -> Result<Option<HostName>, Declined> {
    match host {
        "" => Ok(None),
        host => HostName::new(host).map(Some).map_err(|error| Declined::invalid(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_by_their_size() {
        let player =
            |bytes: usize| v1::PlayerStatus { host: "x".repeat(bytes), ..Default::default() };
        let cut_at = |sizes: &[usize]| -> Vec<usize> {
            cut(sizes.iter().map(|bytes| player(*bytes))).iter().map(Vec::len).collect()
        };
        assert_eq!(cut_at(&[]), [0; 0]);
        assert_eq!(cut_at(&[10; 1_000]), [1_000]);
        assert_eq!(cut_at(&[400 << 10; 5]), [2, 2, 1]);
        assert_eq!(cut_at(&[5 << 20, 1, 5 << 20]), [1, 1, 1]);
    }
}
