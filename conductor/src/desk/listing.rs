//! Lists of tasks and attempts, asked for in bounded pieces from the engine or the store.

use std::sync::Arc;

use orchestra_model::{
    FlowId, HostName, JobId, TaskState, delivery::EndBytes, record::EndRecord, status::TaskStatus,
};
use orchestra_proto::last_error_line;
use orchestra_store::Reader;

use super::{Desk, Recipient, Stopped, refusal::unknown_flow};
use crate::{
    declined::{Declined, Ground},
    driver::Request as Ask,
    history::{self, HistoryError, StoredFlow, StoredJob},
};

/// Most tasks, flows or players that are asked for at once.
pub(super) const PAGE: u32 = 1_000;
/// Most players that are asked for at once if each may have a few hundred kilobytes of scores.
pub(super) const LARGE_PAGE: u32 = 16;

/// Most tasks that are asked for at once if their ends are wanted.
const WITH_ENDS: u32 = 256;
/// Bytes of ends that are read at once, and one end more.
const ENDS_BYTES: usize = 1 << 20;

/// What pages of the tasks of an ended flow need, once it is read.
#[derive(Default)]
pub(super) struct TasksOfFlow {
    flow: Option<Arc<StoredFlow>>,
    job: Option<(JobId, Arc<StoredJob>)>,
}

/// Which tasks of the chosen jobs are wanted.
#[derive(Debug)]
pub(crate) struct TaskFilter {
    /// Only tasks on this host.
    pub(crate) host: Option<HostName>,
    /// Only tasks in one of these states; empty for any state.
    pub(crate) states: Vec<TaskState>,
}

/// How much is told of the end of a task's newest attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToldOfEnds {
    Nothing,
    /// The last line of standard error, of tasks that are final and not ok.
    LastLines,
    /// All of it.
    Whole,
}

impl TaskFilter {
    fn takes(&self, task: &TaskStatus) -> bool {
        self.host.as_ref().is_none_or(|host| task.host.as_ref() == Some(host))
            && (self.states.is_empty() || self.states.contains(&task.state))
    }
}

impl Desk {
    /// Lists tasks of jobs, with as much of the ends of their newest attempts as is asked for.
    pub(crate) async fn list_tasks(
        &self,
        jobs: Vec<JobId>,
        filter: &TaskFilter,
        told: ToldOfEnds,
        to: &impl Recipient<Vec<TaskStatus>>,
    ) -> Result<(), Stopped> {
        let limit = if told == ToldOfEnds::Whole { WITH_ENDS } else { PAGE };
        let mut tasks = TasksOfFlow::default();
        for job in jobs {
            let mut from = 0;
            loop {
                let page = self.task_page(job, &mut tasks, from, limit).await?;
                let Some(last) = page.last() else { break };
                from = last.index + 1;
                let full = page.len() == limit as usize;
                let mut page: Vec<TaskStatus> =
                    page.into_iter().filter(|task| filter.takes(task)).collect();
                if told == ToldOfEnds::LastLines {
                    page = self.add_last_lines(page).await?;
                }
                while told == ToldOfEnds::Whole && !page.is_empty() && !to.is_gone() {
                    let (whole, rest) = self.add_ends(page).await?;
                    to.give(whole).await?;
                    page = rest;
                }
                to.give(page).await?;
                if !full || to.is_gone() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns a page of a job's tasks: from the engine while the flow lives, then from the store.
    /// What further pages need is read once, into `tasks`.
    pub(super) async fn task_page(
        &self,
        job: JobId,
        tasks: &mut TasksOfFlow,
        from: u32,
        limit: u32,
    ) -> Result<Vec<TaskStatus>, Declined> {
        let known = tasks.job.take().filter(|(known, _)| *known == job);
        let stored = match known {
            Some((_, stored)) => stored,
            None => {
                let living = self.ask(|reply| Ask::Tasks { job, from, limit, reply }).await?;
                if let Some(page) = living {
                    return Ok(page);
                }
                let known = tasks.flow.clone();
                let read = move |reader: &dyn Reader| {
                    let flow = known
                        .map_or_else(|| StoredFlow::read(reader, job.flow).map(Arc::new), Ok)?;
                    let stored = flow.job(reader, job)?;
                    Ok((flow, stored))
                };
                let (whole, read) = self.read(read).await?;
                tasks.flow = Some(whole);
                Arc::new(read.ok_or_else(|| unknown_flow(job.flow))?)
            }
        };
        tasks.job = Some((job, Arc::clone(&stored)));
        self.read(move |reader| stored.tasks(reader, from, limit)).await
    }

    /// Adds to tasks the ends of their newest attempts that have ended, to so many as have [`ENDS_BYTES`].
    /// Returns these, and the rest.
    async fn add_ends(
        &self,
        mut tasks: Vec<TaskStatus>,
    ) -> Result<(Vec<TaskStatus>, Vec<TaskStatus>), Declined> {
        self.read(move |reader| {
            let (mut bytes, mut count) = (0, 0);
            for task in &mut tasks {
                task.end = newest_end(reader, task)?;
                bytes += task.end.as_ref().map_or(0, |end| end.as_slice().len());
                count += 1;
                if bytes >= ENDS_BYTES {
                    break;
                }
            }
            let rest = tasks.split_off(count);
            Ok((tasks, rest))
        })
        .await
    }

    /// Adds to each task that is final and not ok the last line of its standard error. One end at a
    /// time is in memory.
    async fn add_last_lines(
        &self,
        mut tasks: Vec<TaskStatus>,
    ) -> Result<Vec<TaskStatus>, Declined> {
        let is_not_ok = |task: &TaskStatus| task.state.is_final() && task.state != TaskState::Ok;
        if !tasks.iter().any(is_not_ok) {
            return Ok(tasks);
        }
        self.read(move |reader| {
            for task in tasks.iter_mut().filter(|task| is_not_ok(task)) {
                let end = newest_end(reader, task)?;
                task.last_line = end.and_then(|end| last_error_line(&end)).map(Into::into);
            }
            Ok(tasks)
        })
        .await
    }

    /// Checks that one of these jobs has a task on that host.
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

    /// Lists the ends of every attempt of jobs on a host.
    pub(crate) async fn list_attempts(
        &self,
        jobs: Vec<JobId>,
        host: &HostName,
        to: &impl Recipient<EndRecord>,
    ) -> Result<(), Stopped> {
        for job in jobs {
            let whose = host.clone();
            for end in self.read(move |reader| Ok(reader.ends(job, &whose)?)).await? {
                to.give(end).await?;
            }
        }
        Ok(())
    }
}

/// The end of a task's newest attempt that has ended; `None` where none has.
fn newest_end(reader: &dyn Reader, task: &TaskStatus) -> Result<Option<EndBytes>, HistoryError> {
    let (Some(host), 1..) = (&task.host, task.attempt) else { return Ok(None) };
    let ends = reader.ends(task.job, host)?;
    Ok(ends.into_iter().rev().find(|end| !end.late).map(|end| end.end))
}
