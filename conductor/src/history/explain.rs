//! Explains an ended flow, or its tasks, in sentences like those of the engine for living flows.

use orchestra_model::{
    FlowId, HostName, HostSet, JobId, JobState, TaskState,
    advice::{Advice, Remedy},
    ledger::Explanation,
    record::{FlowRecord, JobRecord, TaskRecord},
};
use orchestra_store::Reader;

use super::{HistoryError, spec, targets, thresholds};

/// Most jobs that are explained.
const JOBS: usize = 100;

/// Explains an ended flow, these jobs of it, or their tasks on a host. Returns `None` if the store
/// has no such flow.
pub(crate) fn explain(
    reader: &dyn Reader,
    id: FlowId,
    chosen: Option<&[JobId]>,
    host: Option<&HostName>,
) -> Result<Option<Vec<Explanation>>, HistoryError> {
    let Some(flow) = reader.flow(id)? else { return Ok(None) };
    let jobs = reader.jobs(id)?;
    let jobs = jobs.into_iter().filter(|job| chosen.is_none_or(|chosen| chosen.contains(&job.id)));
    if let Some(host) = host {
        let told = jobs.map(|job| explain_task(reader, &job, host));
        return Ok(Some(told.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()));
    }
    let jobs: Vec<JobRecord> = jobs.collect();
    let of_flow = chosen.is_none().then(|| about(None, tell_flow(&flow, &jobs)));
    let needed = needed(reader, id)?;
    // A whole flow's explanation leaves out jobs that went well. Jobs that were chosen are always
    // explained.
    let told = jobs.iter().filter(|job| chosen.is_some() || job.state != JobState::Ok);
    let told = told.take(JOBS).map(|job| about(Some(job.id), tell_job(job, &needed).into()));
    Ok(Some(of_flow.into_iter().chain(told).collect()))
}

fn about(job: Option<JobId>, text: Advice) -> Explanation {
    let hosts = HostSet::default();
    Explanation { job, hosts, reason: None, dead: false, text, given_up: None }
}

/// Returns how many tasks of each job had to be ok.
fn needed(reader: &dyn Reader, id: FlowId) -> Result<impl Fn(&JobRecord) -> u32, HistoryError> {
    let spec = spec(reader, id)?;
    Ok(move |job: &JobRecord| {
        let slot = spec.slots.get(usize::from(job.id.slot).saturating_sub(1));
        let own = slot.and_then(|slot| slot.jobs.get(usize::from(job.id.job).saturating_sub(1)));
        own.map_or(job.tasks, |own| thresholds(own, job).needed)
    })
}

fn tell_flow(flow: &FlowRecord, jobs: &[JobRecord]) -> Advice {
    let ok = jobs.iter().filter(|job| job.state == JobState::Ok).count();
    let mut text = format!("the flow ended {}: {ok} of {} jobs ok", flow.state, jobs.len());
    if let Some(by) = &flow.cancelled_by {
        text.push_str(&format!("; {by} cancelled it"));
        if let Some(reason) = &flow.cancel_reason {
            text.push_str(&format!(" ({reason})"));
        }
    }
    let text = Advice::from(text);
    if ok == jobs.len() {
        return text;
    }
    text.say("; ").name(Remedy::Retry(flow.id)).say(" runs what is left as a new flow")
}

fn tell_job(job: &JobRecord, needed: &impl Fn(&JobRecord) -> u32) -> String {
    let counts = job.counts.iter().filter(|(state, n)| *n > 0 && *state != TaskState::Ok);
    let others: Vec<String> = counts.map(|(state, n)| format!("{n} {state}")).collect();
    let mut text = format!(
        "job {} ended {}: {} of its {} tasks ok, {} needed",
        job.name,
        job.state,
        job.counts.get(TaskState::Ok),
        job.tasks,
        needed(job)
    );
    if !others.is_empty() {
        text.push_str(&format!("; {}", others.join(", ")));
    }
    text
}

fn explain_task(
    reader: &dyn Reader,
    job: &JobRecord,
    host: &HostName,
) -> Result<Option<Explanation>, HistoryError> {
    let record = reader.task_by_host(job.id, host)?;
    let mut text = Advice::from(match &record {
        Some(task) => tell_task(task, job),
        None if targets(reader, job.id)?.contains(host) => told(job.untouched).to_owned(),
        None => return Ok(None),
    });
    let down = reader.holds()?.into_iter().find(|hold| hold.host == *host && hold.job == job.id);
    let hosts = HostSet::from_names([host.clone()]);
    if down.is_some() {
        text = text
            .say(format_args!("; {host} counts as down and keeps its cells: mend it and "))
            .name(Remedy::Retry(job.id.flow))
            .say(", or ")
            .name(Remedy::ReleaseCells(hosts.clone()));
    }
    let job = Some(job.id);
    Ok(Some(Explanation { job, hosts, reason: None, dead: false, text, given_up: None }))
}

fn tell_task(task: &TaskRecord, job: &JobRecord) -> String {
    let state = match task.state {
        TaskState::Waiting => job.untouched,
        state => state,
    };
    let mut text = told(state).to_owned();
    match (state, task.exit, task.signal) {
        (TaskState::Failed, Some(code), _) => text.push_str(&format!(" with exit code {code}")),
        (TaskState::Failed, _, Some(signal)) => text.push_str(&format!(" of signal {signal}")),
        _ => {}
    }
    if task.attempt > 1 {
        text.push_str(&format!(" in attempt {}", task.attempt));
    }
    if let Some(detail) = &task.detail {
        text.push_str(&format!(": {detail}"));
    }
    text
}

fn told(state: TaskState) -> &'static str {
    match state {
        TaskState::Ok => "ended ok",
        TaskState::Failed => "failed",
        TaskState::TimedOut => "ran out of time and was killed",
        TaskState::Unreachable => "never sent: waiting for its player was given up",
        TaskState::Refused => "its player would not start it",
        TaskState::Cancelled => "cancelled",
        TaskState::Skipped => "never sent: its job was doomed, or its slot never came",
        TaskState::Lost => "sent, and its end will never be known",
        // Tasks of ended flows have none of these states.
        TaskState::Waiting | TaskState::Sent | TaskState::Running => "not over",
    }
}
