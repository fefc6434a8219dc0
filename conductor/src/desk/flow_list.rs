//! Lists of flows, newest first: looked for page by page in the store, with what the engine knows of
//! those that are alive.

use std::sync::Arc;

use orchestra_model::{
    AudienceName, FlowId,
    flow_filter::FlowFilter,
    record::{FlowRecord, JobRecord},
    status::{Counts, FlowProgress, FlowSummary},
};
use orchestra_policy::Reach;
use orchestra_store::Reader;

use super::{Desk, Recipient, Stopped, listing::PAGE};
use crate::{
    declined::Declined,
    driver::Request as Ask,
    history::{self, HistoryError},
};

/// Flows of one look at the store.
struct Look {
    flows: Vec<FlowSummary>,
    /// Where the next look goes on; `None` if there are no older flows.
    before: Option<FlowId>,
}

impl Desk {
    /// Lists at most so many of the flows that are wanted and that somebody may see, newest first.
    pub(crate) async fn list_flows(
        &self,
        wanted: FlowFilter,
        most: u32,
        by: &AudienceName,
        to: &impl Recipient<Vec<FlowSummary>>,
    ) -> Result<(), Stopped> {
        let seen = Arc::new(self.some_sight(by)?);
        let mut left = most as usize;
        let mut before = None;
        while left > 0 && !to.is_gone() {
            let (filter, seen) = (wanted.clone(), Arc::clone(&seen));
            let Look { flows, before: next } =
                self.read(move |reader| look(reader, &filter, &seen, before, left)).await?;
            left -= flows.len();
            to.give(self.with_progress(flows).await?).await?;
            let Some(_) = next else { break };
            before = next;
        }
        Ok(())
    }

    /// Adds to flows that are alive how far they have come. One that has ended since the store was
    /// looked at is told as it ended.
    async fn with_progress(
        &self,
        mut flows: Vec<FlowSummary>,
    ) -> Result<Vec<FlowSummary>, Declined> {
        let ids: Vec<FlowId> =
            flows.iter().filter(|flow| !flow.state.is_final()).map(|flow| flow.id).collect();
        if ids.is_empty() {
            return Ok(flows);
        }
        let known = self.ask(|reply| Ask::Progress(ids, reply)).await?;
        let living = flows.iter_mut().filter(|flow| !flow.state.is_final());
        let mut ended = Vec::new();
        for (flow, progress) in living.zip(known) {
            match progress {
                Some(FlowProgress { absent, counts }) => {
                    flow.absent = absent;
                    flow.counts = Some(counts);
                }
                None => ended.push(flow.id),
            }
        }
        if ended.is_empty() {
            return Ok(flows);
        }
        self.read(move |reader| {
            for flow in flows.iter_mut().filter(|flow| ended.contains(&flow.id)) {
                if let Some(record) = reader.flow(flow.id)? {
                    *flow = told(&record, &reader.jobs(flow.id)?);
                }
            }
            Ok(flows)
        })
        .await
    }
}

/// Reads a page of flows, and returns at most so many of them that are wanted.
fn look(
    reader: &dyn Reader,
    wanted: &FlowFilter,
    seen: &Reach,
    before: Option<FlowId>,
    most: usize,
) -> Result<Look, HistoryError> {
    let limit = if wanted.is_any() && seen.is_everywhere() {
        most.min(PAGE as usize)
    } else {
        PAGE as usize
    };
    let page = reader.flows(limit, before, wanted.alive)?;
    let next = page.last().filter(|_| page.len() == limit).map(|oldest| oldest.id);
    let mut look = Look { flows: Vec::new(), before: next };
    for record in page {
        // Flows are in the order of their numbers. Their times may not be, if the clock was set back.
        if !wanted.takes(&history::summary(&record)) {
            continue;
        }
        let jobs = reader.jobs(record.id)?;
        if !has_job(reader, wanted, &jobs)? || !is_seen(reader, seen, &jobs)? {
            continue;
        }
        look.flows.push(told(&record, &jobs));
        if look.flows.len() == most {
            break;
        }
    }
    Ok(look)
}

/// Returns whether all hosts of a flow are seen.
fn is_seen(reader: &dyn Reader, seen: &Reach, jobs: &[JobRecord]) -> Result<bool, HistoryError> {
    if seen.is_everywhere() {
        return Ok(true);
    }
    for job in jobs {
        if !seen.missing(&history::targets(reader, job.id)?).is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether one of a flow's jobs is as the filter asks.
fn has_job(
    reader: &dyn Reader,
    wanted: &FlowFilter,
    jobs: &[JobRecord],
) -> Result<bool, HistoryError> {
    if !wanted.asks_of_jobs() {
        return Ok(true);
    }
    for job in jobs {
        if wanted.score.as_ref().is_some_and(|score| *score != job.score) {
            continue;
        }
        let Some(host) = &wanted.host else { return Ok(true) };
        if history::targets(reader, job.id)?.contains(host) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns a flow with the tasks of its jobs. Those of a flow that is alive are counted as they were
/// when one of its jobs last changed its state.
fn told(flow: &FlowRecord, jobs: &[JobRecord]) -> FlowSummary {
    let mut counts = Counts::default();
    jobs.iter().for_each(|job| counts.add(&job.counts));
    FlowSummary { counts: Some(counts), ..history::summary(flow) }
}
