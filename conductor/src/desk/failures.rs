//! What did not end ok of a flow, folded.
//!
//! Many may wait for one flow, and when it ends all of them ask for this at once. What an ended flow's
//! failures are never changes, so they are read and folded once, whoever else asks meanwhile waits for
//! that, and they are kept for whoever asks next.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use orchestra_model::{
    FlowId, JobId,
    failures::{FailureFold, FailureGroup},
};
use tokio::sync::OnceCell;

use super::{
    Desk, Recipient, Stopped,
    listing::{PAGE, TasksOfFlow},
};
use crate::{declined::Declined, driver::Request as Ask, history::StoredFlow};

/// Most flows whose failures are kept.
const FLOWS: usize = 64;
/// Most bytes of host sets and causes that are kept, beside those of the flow that was asked for last.
const BYTES: usize = 32 << 20;

/// The failures of one ended flow, once they are known.
type Kept = Arc<OnceCell<Arc<[FailureGroup]>>>;

/// The failures of flows that ended, those that were asked for last.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptFailures(Arc<Mutex<VecDeque<(FlowId, Kept)>>>);

impl KeptFailures {
    /// Returns the place of a flow's failures.
    fn of(&self, flow: FlowId) -> Kept {
        let mut flows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = flows.iter().position(|(known, _)| *known == flow);
        let entry =
            known.and_then(|place| flows.remove(place)).unwrap_or_else(|| (flow, Kept::default()));
        let kept = Arc::clone(&entry.1);
        flows.push_front(entry);
        let mut bytes = 0;
        let mut stays = 0;
        for (_, kept) in flows.iter().take(FLOWS) {
            bytes += kept.get().map_or(0, |groups| weight(groups));
            if stays > 0 && bytes > BYTES {
                break;
            }
            stays += 1;
        }
        flows.truncate(stays);
        kept
    }
}

fn weight(groups: &[FailureGroup]) -> usize {
    let text =
        |group: &FailureGroup| group.hosts.len() + group.detail.as_deref().map_or(0, str::len);
    groups.iter().map(|group| size_of::<FailureGroup>() + text(group)).sum()
}

impl Desk {
    /// Lists what did not end ok of these jobs of a flow.
    pub(crate) async fn list_failures(
        &self,
        flow: FlowId,
        jobs: Vec<JobId>,
        to: &impl Recipient<Vec<FailureGroup>>,
    ) -> Result<(), Stopped> {
        let is_alive = self.ask(|reply| Ask::FlowStatus(flow, reply)).await?.is_some();
        if is_alive {
            return to.give(self.failures_so_far(jobs).await?).await;
        }
        let all = self.failures_of(flow).await?;
        let chosen = all.iter().filter(|group| jobs.binary_search(&group.job).is_ok());
        to.give(chosen.cloned().collect()).await
    }

    /// Returns the failures of an ended flow.
    async fn failures_of(&self, flow: FlowId) -> Result<Arc<[FailureGroup]>, Declined> {
        let kept = self.failures.of(flow);
        let read = self.read_failures(flow);
        kept.get_or_try_init(|| read).await.cloned()
    }

    async fn read_failures(&self, flow: FlowId) -> Result<Arc<[FailureGroup]>, Declined> {
        let read = self.read(move |reader| StoredFlow::read(reader, flow)?.failures(reader));
        Ok(read.await?.into())
    }

    /// Returns the failures of jobs of a flow that lives, or did a moment ago.
    async fn failures_so_far(&self, jobs: Vec<JobId>) -> Result<Vec<FailureGroup>, Declined> {
        let mut fold = FailureFold::default();
        let mut tasks = TasksOfFlow::default();
        for job in jobs {
            let mut from = 0;
            loop {
                let page = self.task_page(job, &mut tasks, from, PAGE).await?;
                page.iter().for_each(|task| fold.add(task));
                let Some(last) = page.last().filter(|_| page.len() == PAGE as usize) else { break };
                from = last.index + 1;
            }
        }
        Ok(fold.finish())
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::TaskState;

    use super::*;

    fn failures(flow: FlowId, bytes: usize) -> Arc<[FailureGroup]> {
        let group = FailureGroup {
            job: JobId { flow, slot: 1, job: 1 },
            state: TaskState::Failed,
            exit: Some(3),
            signal: None,
            detail: None,
            hosts: "x".repeat(bytes).into(),
            tasks: 1,
        };
        [group].into()
    }

    #[test]
    fn those_that_were_asked_for_last_are_kept() {
        let kept = KeptFailures::default();
        let know = |flow: u64, bytes: usize| {
            kept.of(FlowId(flow)).set(failures(FlowId(flow), bytes)).unwrap();
        };
        let is_known = |flow: u64| kept.of(FlowId(flow)).get().is_some();
        for flow in 1..=2 * FLOWS as u64 {
            know(flow, 10);
        }
        assert_eq!(kept.0.lock().unwrap().len(), FLOWS);
        assert!(is_known(2 * FLOWS as u64) && !is_known(1));
        // A large one is kept as long as nobody asks for another.
        know(1_000, 2 * BYTES);
        assert!(is_known(1_000));
        assert_eq!(kept.0.lock().unwrap().len(), 1);
        assert!(!is_known(1_001));
        assert!(!is_known(1_000), "it is too large to be kept beside another");
    }
}
