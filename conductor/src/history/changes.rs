//! Which tasks of a flow changed in a span of its changes, for readers that missed the events.
//!
//! Every record of a task has the number of the flow's change that wrote it (`TaskRecord::change`).
//! So the store knows what a reader has missed, even over a crash of the conductor. Tasks that were
//! never sent have no records: they change with their job's end.

use orchestra_model::{
    HostSet, TaskState,
    delivery::{EndSummary, Outcome},
    flow::Scope,
    record::{JobRecord, TaskRecord},
    status::Event,
};
use orchestra_proto::summarize_end;
use orchestra_store::Reader;

use super::HistoryError;

/// Some of a flow's changes, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Changes above this one; `None`: from the first on.
    pub(crate) above: Option<u64>,
    /// Changes up to this one; `None`: to the last.
    pub(crate) up_to: Option<u64>,
}

impl Span {
    pub(crate) fn contains(self, change: u64) -> bool {
        self.above.is_none_or(|above| change > above)
            && self.up_to.is_none_or(|up_to| change <= up_to)
    }
}

/// A part of a list that is read piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// What happened.
    pub(crate) events: Vec<Event>,
    /// Where the next piece begins; `None` after the last one.
    pub(crate) next: Option<u32>,
}

/// Returns the tasks of a job that changed, among the next `limit` that have records from index
/// `from` on. Before each task come the ends of its earlier attempts, which the reader may have
/// missed too.
pub(crate) fn changed(
    reader: &dyn Reader,
    job: &JobRecord,
    scope: Scope,
    span: Span,
    from: u32,
    limit: usize,
) -> Result<Piece, HistoryError> {
    let records = reader.tasks(job.id, from.checked_sub(1), limit)?;
    let mut piece = Piece::default();
    if records.len() == limit {
        piece.next = records.last().and_then(|record| record.index.checked_add(1));
    }
    for record in records.iter().filter(|record| span.contains(record.change)) {
        if record.attempt > 1 {
            for end in reader.ends(job.id, &record.host)? {
                let is_earlier = !end.late && end.attempt < record.attempt;
                if is_earlier {
                    let summary = summarize_end(&end.end)
                        .map_err(|cause| HistoryError::End(job.id, cause))?;
                    piece.events.push(earlier(record, end.attempt, &summary));
                }
            }
        }
        piece.events.extend(task(record, scope));
    }
    Ok(piece)
}

/// Returns the tasks of an ended job that were never sent, among the `limit` from index `from` on.
pub(crate) fn never_sent(
    reader: &dyn Reader,
    job: &JobRecord,
    hosts: &HostSet,
    from: u32,
    limit: u32,
) -> Result<Piece, HistoryError> {
    let end = from.saturating_add(limit).min(job.tasks);
    let records = reader.tasks(job.id, from.checked_sub(1), limit as usize)?;
    let mut records = records.iter().map(|record| record.index).peekable();
    let without = (from..end).filter(|index| records.next_if_eq(index).is_none());
    let events = without.map(|index| Event::Task {
        job: job.id,
        index,
        host: hosts.as_slice().get(index as usize).cloned(),
        state: job.untouched,
        attempt: 0,
        exit: None,
        signal: None,
        detail: None,
        before: None,
        absence: None,
        change: job.change,
    });
    Ok(Piece { events: events.collect(), next: (end < job.tasks).then_some(end) })
}

/// Returns the event of a task's record; `None` if it is not worth telling.
fn task(record: &TaskRecord, scope: Scope) -> Option<Event> {
    let state = match record.state {
        TaskState::Sent if record.started_at.is_none() => return None,
        TaskState::Sent => TaskState::Running,
        TaskState::Waiting if record.attempt == 0 => return None,
        state => state,
    };
    // A one-of task that was given up without a choice is recorded under its first host.
    let is_chosen = scope == Scope::All || record.sent_at.is_some();
    let in_flight = state.is_in_flight();
    Some(Event::Task {
        job: record.job,
        index: record.index,
        host: is_chosen.then(|| record.host.clone()),
        state,
        attempt: record.attempt,
        exit: record.exit.filter(|_| !in_flight),
        signal: record.signal.filter(|_| !in_flight),
        detail: record.detail.clone(),
        before: record.before,
        absence: None,
        change: record.change,
    })
}

/// Returns the event of an attempt after which there was another: then the task waited.
fn earlier(record: &TaskRecord, attempt: u32, end: &EndSummary) -> Event {
    let (before, exit, signal) = match &end.outcome {
        Outcome::Exited(0) => (TaskState::Ok, Some(0), None),
        Outcome::Exited(code) => (TaskState::Failed, Some(*code), None),
        Outcome::Signalled(signal) => (TaskState::Failed, None, Some(*signal)),
        Outcome::TimedOut => (TaskState::TimedOut, None, None),
        Outcome::Cancelled => (TaskState::Cancelled, None, None),
        Outcome::Lost(_) => (TaskState::Lost, None, None),
    };
    Event::Task {
        job: record.job,
        index: record.index,
        host: Some(record.host.clone()),
        state: TaskState::Waiting,
        attempt,
        exit,
        signal,
        detail: None,
        before: Some(before),
        absence: None,
        change: record.change,
    }
}
