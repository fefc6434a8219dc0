//! A flow: slots of jobs, one slot at a time.

use std::sync::Arc;

use orchestra_model::{
    Asker, FlowId, FlowState, JobId, JobState, Timestamp,
    delivery::RequestId,
    names::FlowName,
    proof::Mac,
    record::{FlowRecord, Record},
    start::{Start, StartStatus},
    status::{Event, FlowSummary},
};

use crate::tables::{job::Job, sequence::Sequence};

/// A living flow.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    id: FlowId,
    request: RequestId,
    audience: Asker,
    by_keeper: bool,
    name: Option<FlowName>,
    state: FlowState,
    submitted_at: Timestamp,
    ended_at: Option<Timestamp>,
    cancelled_by: Option<Asker>,
    cancel_reason: Option<Arc<str>>,
    paused_by: Option<Asker>,
    retry_of: Option<FlowId>,
    request_mac: Option<Mac>,
    start: Start,
    /// How the flow ended that it begins after.
    predecessor: Option<FlowState>,
    /// Whether it has not begun, because it waits for what `start` says.
    waits_to_begin: bool,
    slots: Vec<Vec<Job>>,
    /// The present slot, which is the last that has begun; counted from 0.
    slot: usize,
    tally: Tally,
    /// Which of the present slot's hosts come after which.
    sequence: Sequence,
    /// How many changes of its tasks and jobs were written. Each change has a number, so that a
    /// reader who missed some can ask for them.
    changes: u64,
}

/// Counts of jobs from which a flow's state follows, kept so that the end of a job need not look at
/// all the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Jobs that have begun and not ended.
    pub(crate) open: usize,
    /// Open jobs that are doomed.
    pub(crate) doomed: usize,
    /// Jobs that ended otherwise than ok. If there is one, no further slot begins.
    pub(crate) failed: usize,
    /// Open jobs that are stuck: nothing of them goes on, and only a person can help.
    pub(crate) stuck: usize,
}

impl Tally {
    pub(crate) fn of<'a>(jobs: impl Iterator<Item = &'a Job>) -> Self {
        let mut tally = Tally::default();
        for job in jobs {
            tally.count(JobState::Pending, job.state());
            tally.stuck += usize::from(job.is_stuck());
        }
        tally
    }

    fn count(&mut self, from: JobState, to: JobState) {
        let is_open = |state| matches!(state, JobState::Running | JobState::Doomed);
        let is_failed = |state: JobState| state.is_final() && state != JobState::Ok;
        let moved = |n: &mut usize, is: &dyn Fn(JobState) -> bool| {
            *n = *n + usize::from(is(to)) - usize::from(is(from));
        };
        moved(&mut self.open, &is_open);
        moved(&mut self.doomed, &|state| state == JobState::Doomed);
        moved(&mut self.failed, &is_failed);
    }
}

impl Flow {
    /// A flow as its record says: a new one, or one as it was when the store was written. `changes`
    /// is how many of its changes were written.
    pub(crate) fn new(
        record: FlowRecord,
        start: Start,
        slots: Vec<Vec<Job>>,
        changes: u64,
    ) -> Self {
        let has_begun = |slot: &Vec<Job>| slot.iter().any(|job| job.started_at().is_some());
        Self {
            id: record.id,
            request: record.request,
            audience: record.audience,
            by_keeper: record.by_keeper,
            name: record.name,
            state: record.state,
            submitted_at: record.submitted_at,
            ended_at: record.ended_at,
            cancelled_by: record.cancelled_by,
            cancel_reason: record.cancel_reason,
            paused_by: record.paused_by,
            retry_of: record.retry_of,
            request_mac: record.request_mac,
            start,
            predecessor: record.predecessor,
            waits_to_begin: !start.is_now() && !slots.iter().any(has_begun),
            slot: slots.iter().rposition(has_begun).unwrap_or(0),
            tally: Tally::of(slots.iter().flatten()),
            slots,
            sequence: Sequence::default(),
            changes,
        }
    }

    pub(crate) fn id(&self) -> FlowId {
        self.id
    }

    pub(crate) fn submitted_at(&self) -> Timestamp {
        self.submitted_at
    }

    pub(crate) fn audience(&self) -> &Asker {
        &self.audience
    }

    pub(crate) fn state(&self) -> FlowState {
        self.state
    }

    pub(crate) fn cancelled_by(&self) -> Option<&Asker> {
        self.cancelled_by.as_ref()
    }

    /// Why it was cancelled, if somebody said.
    pub(crate) fn cancel_reason(&self) -> Option<&Arc<str>> {
        self.cancel_reason.as_ref()
    }

    pub(crate) fn paused_by(&self) -> Option<&Asker> {
        self.paused_by.as_ref()
    }

    pub(crate) fn retry_of(&self) -> Option<FlowId> {
        self.retry_of
    }

    pub(crate) fn slots(&self) -> &[Vec<Job>] {
        &self.slots
    }

    /// The number of the slot that has begun last, from 0.
    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    /// The jobs of the slot that has begun last; none while the flow waits to begin.
    pub(crate) fn present_slot(&self) -> &[Job] {
        if self.waits_to_begin { &[] } else { &self.slots[self.slot] }
    }

    /// Whether it has not begun, because it waits for a moment or for the end of another flow.
    pub(crate) fn waits_to_begin(&self) -> bool {
        self.waits_to_begin
    }

    /// What it waits for before it begins, or waited for.
    pub(crate) fn awaited(&self) -> StartStatus {
        StartStatus { start: self.start, ended: self.predecessor }
    }

    /// Notes how the flow ended that it begins after.
    pub(crate) fn note_predecessor(&mut self, state: FlowState) {
        self.predecessor = Some(state);
    }

    /// Notes that it waits to begin no more.
    pub(crate) fn begin(&mut self) {
        self.waits_to_begin = false;
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Which of the present slot's hosts come after which.
    pub(crate) fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// How many changes of its tasks and jobs were written. Each change has a number, so that a
    /// reader who missed some can ask for them.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The submission that it came from.
    pub(crate) fn into_submission(self) -> (Asker, RequestId) {
        (self.audience, self.request)
    }

    pub(crate) fn cancel(&mut self, by: Asker, reason: Option<Arc<str>>) {
        self.cancelled_by = Some(by);
        self.cancel_reason = reason;
    }

    /// Notes who paused the flow; `None` notes that nobody does any more. Returns whether that
    /// changes anything.
    pub(crate) fn pause(&mut self, by: Option<Asker>) -> bool {
        let changes = self.paused_by.is_some() != by.is_some();
        if changes {
            self.paused_by = by;
        }
        changes
    }

    /// Makes the next slot the present one.
    pub(crate) fn go_to_next_slot(&mut self) {
        self.slot += 1;
    }

    pub(crate) fn set_sequence(&mut self, sequence: Sequence) {
        self.sequence = sequence;
    }

    pub(crate) fn take_sequence(&mut self) -> Sequence {
        std::mem::take(&mut self.sequence)
    }

    pub(crate) fn sequence_mut(&mut self) -> &mut Sequence {
        &mut self.sequence
    }

    /// Brings the flow's state in line with its jobs' states. Returns whether that changes it.
    pub(crate) fn follow_jobs(&mut self, now: Timestamp) -> bool {
        let state = self.derived_state();
        if state == self.state {
            return false;
        }
        self.state = state;
        if state.is_final() {
            self.ended_at = Some(now);
        }
        true
    }

    #[inline]
    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        let (slot, job) = place(id)?;
        self.slots.get(slot)?.get(job)
    }

    #[inline]
    pub(in crate::tables) fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        let (slot, job) = place(id)?;
        self.slots.get_mut(slot)?.get_mut(job)
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.slots.iter().flatten()
    }

    /// Moves a job to another state. Returns the job's record and the number of this change of the
    /// flow: the caller persists and publishes them.
    pub(in crate::tables) fn shift_job(
        &mut self,
        id: JobId,
        to: JobState,
        now: Timestamp,
    ) -> Option<(Record, Event)> {
        let change = if to.is_final() { self.next_change() } else { self.changes };
        let job = self.job_mut(id)?;
        let from = job.set_state(to);
        match to {
            JobState::Running => job.begin(now),
            to if to.is_final() => job.end(now, change),
            _ => {}
        }
        self.tally.count(from, to);
        if to != JobState::Running {
            self.set_stuck(id, false);
        }
        let job = self.job(id)?;
        Some((job.record(), job.event(change)))
    }

    /// Notes whether a job is stuck. Returns whether that is news.
    pub(in crate::tables) fn set_stuck(&mut self, id: JobId, stuck: bool) -> bool {
        let Some(job) = self.job_mut(id) else { return false };
        let was = job.set_stuck(stuck);
        self.tally.stuck = self.tally.stuck + usize::from(stuck) - usize::from(was);
        was != stuck
    }

    /// The flow's state. Once its first slot has begun, it is over when no job of its present slot
    /// is open.
    pub(crate) fn derived_state(&self) -> FlowState {
        if self.waits_to_begin {
            return match (self.cancelled_by.is_some(), self.paused_by.is_some()) {
                (true, _) => FlowState::Cancelling,
                (false, true) => FlowState::Paused,
                (false, false) => FlowState::Pending,
            };
        }
        let Tally { open, doomed, failed, stuck } = self.tally;
        match (open == 0, self.cancelled_by.is_some()) {
            (true, true) => FlowState::Cancelled,
            (false, true) => FlowState::Cancelling,
            (true, false) if failed > 0 => FlowState::Failed,
            (true, false) => FlowState::Ok,
            (false, false) if stuck == open => FlowState::Stalled,
            (false, false) if doomed + failed > 0 => FlowState::Doomed,
            (false, false) if self.paused_by.is_some() => FlowState::Paused,
            (false, false) => FlowState::Running,
        }
    }

    /// Returns the number of a change that is about to be written.
    pub(crate) fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    pub(crate) fn record(&self) -> Record {
        Record::Flow(FlowRecord {
            id: self.id,
            request: self.request,
            audience: self.audience.clone(),
            by_keeper: self.by_keeper,
            name: self.name.clone(),
            state: self.state,
            submitted_at: self.submitted_at,
            ended_at: self.ended_at,
            cancelled_by: self.cancelled_by.clone(),
            cancel_reason: self.cancel_reason.clone(),
            paused_by: self.paused_by.clone(),
            retry_of: self.retry_of,
            predecessor: self.predecessor,
            request_mac: self.request_mac,
        })
    }

    pub(crate) fn request_mac(&self) -> Option<Mac> {
        self.request_mac
    }

    pub(crate) fn summary(&self) -> FlowSummary {
        FlowSummary {
            id: self.id,
            name: self.name.clone(),
            state: self.state,
            audience: self.audience.clone(),
            by_keeper: self.by_keeper,
            submitted_at: self.submitted_at,
            ended_at: self.ended_at,
            absent: 0,
            counts: None,
        }
    }

    pub(crate) fn event(&self) -> Event {
        Event::Flow { flow: self.id, state: self.state }
    }
}

/// The indices of a job's slot, and of the job in it. Ids count from 1, so an id with a 0, which a
/// player might name, has none.
fn place(id: JobId) -> Option<(usize, usize)> {
    Some((usize::from(id.slot).checked_sub(1)?, usize::from(id.job).checked_sub(1)?))
}

/// Cuts a folded host set to the length that a list can show.
pub fn shown(folded: &str) -> Arc<str> {
    const SHOWN: usize = 200;
    match folded.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &folded[..end]).into(),
        None => folded.into(),
    }
}
