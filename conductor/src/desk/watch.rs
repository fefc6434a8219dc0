//! Watching a flow: what changed before, its status, its changes, its final status.
//!
//! ```text
//!          ┌──────── behind, or the flow ended ────────┐
//!          ▼                                           │
//!  tasks that changed since the cursor ─→ status ─→ events with cursors ─→ … ─→ final status
//! ```
//!
//! A cursor is the number of the flow's last change that was told, with store and term. So a status
//! is told only after everything before it. A reader that lost its stream brings its last cursor,
//! and is told from the store what it has missed, piece by piece, up to where the events begin. A
//! reader that falls behind is caught up in the same way. So nothing that is told is older than
//! what was told before.

use std::sync::Arc;

use orchestra_model::{
    FlowId, HostSet, JobId, TaskState,
    delivery::{StoreId, Term},
    flow::Scope,
    record::JobRecord,
    status::{Event, FlowStatus},
};
use orchestra_store::Reader;
use tokio::sync::mpsc;

use super::{Desk, Recipient, Stopped};
use crate::{
    driver::{Request as Ask, Watcher, Watching},
    history::{
        self,
        changes::{Piece, Span, changed, never_sent},
    },
};

/// Most events that wait for a slow watcher. Beyond that it is caught up from the store.
const EVENTS: usize = 1_024;
/// Most records that are read at once for a reader that missed events.
const PIECE: u32 = 1_000;

/// What a reader wants to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchFilter {
    pub(crate) since: Since,
    /// Whether the reader is told also of tasks that were never sent, when their job ends.
    pub(crate) every_end: bool,
    /// Whether the reader understands what the previous release did not tell.
    pub(crate) snapshots: bool,
    /// Whether the reader wants to be told only of tasks in trouble, beside jobs and flow.
    pub(crate) quiet: bool,
}

/// What a reader was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// It wants no past changes.
    Now,
    Nothing,
    /// It was told everything up to this cursor.
    Cursor(Cursor),
}

/// A position in the sequence of a flow's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) store: StoreId,
    pub(crate) term: Term,
    pub(crate) change: u64,
}

/// One message to a reader.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) news: News,
    /// The position up to which the reader knows everything after this message, if that is known.
    pub(crate) cursor: Option<Cursor>,
}

/// What is told.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// Something changed.
    Change(Event),
    /// The flow's status.
    Status(Arc<FlowStatus>),
    /// The store was restored from a copy, so everything is told anew.
    Restored,
}

impl Cursor {
    /// Returns whether the cursor may be ahead of the store, because the store was restored from a
    /// copy since.
    fn is_ahead_of(self, watching: &Watching) -> bool {
        let known = watching.living.as_ref().map(|(_, change)| *change);
        self.store != watching.store
            || self.term > watching.term
            || self.term < watching.recovered
            || known.is_some_and(|known| self.change > known)
    }
}

/// A reader who watches, with its filter.
struct Telling<'a, S> {
    id: FlowId,
    wanted: WatchFilter,
    to: &'a S,
}

impl<S: Recipient<Notice>> Telling<'_, S> {
    async fn tell(&self, news: News, cursor: Option<Cursor>) -> Result<(), Stopped> {
        self.to.give(Notice { news, cursor }).await
    }

    async fn event(&self, event: Event, cursor: Option<Cursor>) -> Result<(), Stopped> {
        // Tools of the previous release take a task without a host for an error.
        let is_unplaced = matches!(event, Event::Task { host: None, .. });
        if is_unplaced && !self.wanted.snapshots {
            return Ok(());
        }
        self.tell(News::Change(event), cursor).await
    }

    async fn piece(&self, piece: Piece) -> Result<(), Stopped> {
        for event in piece.events {
            let is_trouble = matches!(&event, Event::Task { state, .. } if state.is_trouble());
            if is_trouble || !self.wanted.quiet {
                self.event(event, None).await?;
            }
        }
        Ok(())
    }
}

impl Desk {
    /// Tells the reader what it wants, until the flow has ended or the reader is gone.
    pub(crate) async fn watch(
        &self,
        id: FlowId,
        wanted: WatchFilter,
        to: &impl Recipient<Notice>,
    ) -> Result<(), Stopped> {
        self.follow(Telling { id, wanted, to }).await
    }

    async fn follow(&self, telling: Telling<'_, impl Recipient<Notice>>) -> Result<(), Stopped> {
        let Telling { id, wanted, .. } = telling;
        let (mut since, mut told) = (wanted.since, 0);
        loop {
            let (events, mut changes) = mpsc::channel(EVENTS);
            let watcher = Watcher { events, quiet: wanted.quiet };
            let watching = self.ask(|reply| Ask::Watch(id, watcher, reply)).await?;
            let (status, up_to) = match &watching.living {
                Some((status, change)) => (FlowStatus::clone(status), Some(*change)),
                None => (self.status_of(id).await?, None),
            };
            let status = Arc::new(status);
            let caught_up = self.catch_up(&telling, &watching, &status, since, up_to).await?;
            let Watching { store, term, .. } = watching;
            let mut cursor = Cursor { store, term, change: caught_up.unwrap_or(told) };
            telling.tell(News::Status(Arc::clone(&status)), Some(cursor)).await?;
            if up_to.is_none() {
                return Ok(());
            }
            // The flow has ended or the reader is behind. In both cases the reader is caught up
            // next.
            let mut has_ended = false;
            while let Some(event) = tokio::select! {
                event = changes.recv() => event,
                () = telling.to.gone() => return Err(Stopped::Gone),
            } {
                self.tell_never_sent(&telling, &status, &event).await?;
                cursor.change = event.change().unwrap_or(cursor.change);
                has_ended = matches!(event, Event::Flow { state, .. } if state.is_final());
                telling.event(event, Some(cursor)).await?;
            }
            told = cursor.change;
            // Nothing follows the flow's end.
            let is_all = has_ended || !wanted.snapshots;
            since = if is_all { Since::Now } else { Since::Cursor(cursor) };
        }
    }

    /// Tells the tasks that changed since the reader's cursor, up to where the events begin.
    /// Returns the last change that the reader then knows of, if that is not the one that it was
    /// told last.
    async fn catch_up(
        &self,
        telling: &Telling<'_, impl Recipient<Notice>>,
        watching: &Watching,
        status: &FlowStatus,
        since: Since,
        up_to: Option<u64>,
    ) -> Result<Option<u64>, Stopped> {
        let above = match since {
            Since::Now => return Ok(up_to),
            Since::Nothing => None,
            Since::Cursor(cursor) if cursor.is_ahead_of(watching) => {
                telling.tell(News::Restored, None).await?;
                None
            }
            Since::Cursor(cursor) if up_to == Some(cursor.change) => return Ok(up_to),
            Since::Cursor(cursor) => Some(cursor.change),
        };
        let span = Span { above, up_to };
        let flow = telling.id;
        let jobs = self.read(move |reader| Ok(reader.jobs(flow)?)).await?;
        let mut last = above.unwrap_or_default();
        for job in jobs {
            let (scope, job) = (scope_of(status, job.id), Arc::new(job));
            let told = self.tell_changed(telling, &job, scope, span).await?;
            last = last.max(told).max(job.change);
            if span.contains(job.change) {
                self.tell_untouched(telling, &job, scope).await?;
            }
        }
        Ok(up_to.or(Some(last)))
    }

    /// Tells the tasks of a job that changed and have records. Returns the last of these changes.
    async fn tell_changed(
        &self,
        telling: &Telling<'_, impl Recipient<Notice>>,
        job: &Arc<JobRecord>,
        scope: Scope,
        span: Span,
    ) -> Result<u64, Stopped> {
        let (mut last, mut next) = (0, Some(0));
        while let Some(from) = next {
            let job = Arc::clone(job);
            let read =
                move |reader: &dyn Reader| changed(reader, &job, scope, span, from, PIECE as usize);
            let piece = self.read(read).await?;
            last = piece.events.iter().filter_map(Event::change).max().unwrap_or(last).max(last);
            next = piece.next;
            telling.piece(piece).await?;
        }
        Ok(last)
    }

    /// Tells each task of a job that was never sent, before the end of the job is told.
    async fn tell_never_sent(
        &self,
        telling: &Telling<'_, impl Recipient<Notice>>,
        status: &FlowStatus,
        event: &Event,
    ) -> Result<(), Stopped> {
        let Event::Job { job, state, counts, .. } = event else { return Ok(()) };
        let is_any = [TaskState::Skipped, TaskState::Cancelled, TaskState::Unreachable]
            .into_iter()
            .any(|state| counts.get(state) > 0);
        if !state.is_final() || !is_any || !telling.wanted.every_end {
            return Ok(());
        }
        let id = *job;
        if let Some(job) = self.read(move |reader| Ok(reader.job(id)?)).await? {
            self.tell_untouched(telling, &Arc::new(job), scope_of(status, id)).await?;
        }
        Ok(())
    }

    /// Tells the tasks of an ended job that were never sent.
    async fn tell_untouched(
        &self,
        telling: &Telling<'_, impl Recipient<Notice>>,
        job: &Arc<JobRecord>,
        scope: Scope,
    ) -> Result<(), Stopped> {
        let is_any = job.state.is_final() && job.untouched.is_final();
        if !is_any || !telling.wanted.every_end {
            return Ok(());
        }
        let id = job.id;
        let hosts = match scope {
            Scope::All => self.read(move |reader| history::targets(reader, id)).await?,
            Scope::One => HostSet::default(),
        };
        let (hosts, mut next) = (Arc::new(hosts), Some(0));
        while let Some(from) = next {
            let (job, hosts) = (Arc::clone(job), Arc::clone(&hosts));
            let read = move |reader: &dyn Reader| never_sent(reader, &job, &hosts, from, PIECE);
            let piece = self.read(read).await?;
            next = piece.next;
            telling.piece(piece).await?;
        }
        Ok(())
    }
}

/// Returns the scope of a job of the flow.
fn scope_of(status: &FlowStatus, id: JobId) -> Scope {
    let slot = status.slots.get(usize::from(id.slot).wrapping_sub(1));
    let job = slot.and_then(|jobs| jobs.get(usize::from(id.job).wrapping_sub(1)));
    job.map_or(Scope::All, |job| job.scope)
}
