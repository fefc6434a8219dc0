//! Watching a flow: what changed before, its status, its changes, its final status.
//!
//! ```text
//!          ┌──────── behind, or the flow ended ────────┐
//!          ▼                                           │
//!  tasks that changed since the cursor ─→ status ─→ events with cursors ─→ … ─→ final status
//! ```
//!
//! A cursor is the number of the flow's last change that was told, with store and term. So a status
//! is told only when everything before it has been; a reader that loses its stream brings the last
//! cursor it had, and whoever falls behind here is caught up in the same way. What is told that way
//! comes from the store, piece by piece, and ends where the events begin: nothing is told of a
//! moment before what was told last.

use std::sync::Arc;

use orchestra_model::{
    FlowId, HostSet, JobId, TaskState,
    delivery::{StoreId, Term},
    flow::Scope,
    record::JobRecord,
    status::{Event, FlowStatus},
};
use orchestra_proto::{store_id, v1, v1::watch_event::Event as Wire};
use orchestra_store::Reader;
use tokio::sync::mpsc;

use super::{Desk, Sender};
use crate::{
    declined::{Declined, Ground},
    driver::{Request as Ask, Watching},
    history::{
        self,
        changes::{Piece, Span, changed, never_sent},
    },
};

/// Events that wait for a slow watcher before it is caught up from the store instead.
const EVENTS: usize = 1_024;
/// Records that are read at once for somebody who missed events.
const PIECE: u32 = 1_000;

/// What a reader wants to hear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    since: Since,
    /// Tasks that were never sent, too, when their job ends.
    every_end: bool,
    /// It understands what the previous release did not tell.
    snapshots: bool,
}

/// What a reader has heard so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// It does not care.
    Now,
    /// Nothing.
    Nothing,
    /// Everything up to here.
    Cursor(Cursor),
}

/// A place in a flow's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    store: StoreId,
    term: Term,
    change: u64,
}

impl Wanted {
    /// Reads what a request says.
    pub(crate) fn read(request: &v1::WatchRequest) -> Result<Self, Declined> {
        let v1::WatchRequest { since, every_end, snapshots, .. } = request;
        let since = match since {
            None => Since::Now,
            Some(cursor) if cursor.store.is_empty() => Since::Nothing,
            Some(cursor) => Since::Cursor(Cursor {
                store: store_id(&cursor.store)
                    .map_err(|_| Declined::new(Ground::Invalid, "the cursor is of no store"))?,
                term: Term(cursor.term),
                change: cursor.change,
            }),
        };
        Ok(Self { since, every_end: *every_end, snapshots: *snapshots })
    }
}

impl Cursor {
    fn to_wire(self) -> v1::Cursor {
        v1::Cursor { store: self.store.0.to_vec().into(), term: self.term.0, change: self.change }
    }

    /// Whether it may say more than the store knows, because that was restored from a copy since.
    fn is_ahead_of(self, watching: &Watching) -> bool {
        let known = watching.living.as_ref().map(|(_, change)| *change);
        self.store != watching.store
            || self.term > watching.term
            || self.term < watching.recovered
            || known.is_some_and(|known| self.change > known)
    }
}

/// The reader of a stream: what it wants, and how far it has heard.
struct Telling {
    id: FlowId,
    wanted: Wanted,
    events: Sender<v1::WatchEvent>,
}

/// Nobody listens any more.
struct Gone;

impl Telling {
    async fn tell(&self, event: v1::WatchEvent) -> Result<(), Gone> {
        self.events.send(Ok(event)).await.map_err(|_| Gone)
    }

    async fn event(&self, event: &Event, cursor: Option<Cursor>) -> Result<(), Gone> {
        // The previous release's tools take a task without a host for a mistake.
        let is_unplaced = matches!(event, Event::Task { host: None, .. });
        if is_unplaced && !self.wanted.snapshots {
            return Ok(());
        }
        let cursor = cursor.map(Cursor::to_wire);
        self.tell(v1::WatchEvent { cursor, ..event.into() }).await
    }

    async fn piece(&self, piece: &Piece) -> Result<(), Gone> {
        for event in &piece.events {
            self.event(event, None).await?;
        }
        Ok(())
    }
}

/// Why a stream is over before the flow is.
enum Stopped {
    Gone,
    Failed(Declined),
}

impl From<Gone> for Stopped {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Declined> for Stopped {
    fn from(status: Declined) -> Self {
        Self::Failed(status)
    }
}

impl Desk {
    /// Sends what the reader wants to hear, until the flow has ended or nobody listens.
    pub(crate) async fn send_events(
        self,
        id: FlowId,
        wanted: Wanted,
        events: Sender<v1::WatchEvent>,
    ) -> Result<(), Declined> {
        match self.follow(Telling { id, wanted, events }).await {
            Ok(()) | Err(Stopped::Gone) => Ok(()),
            Err(Stopped::Failed(status)) => Err(status),
        }
    }

    async fn follow(&self, telling: Telling) -> Result<(), Stopped> {
        let Telling { id, wanted, .. } = telling;
        let (mut since, mut told) = (wanted.since, 0);
        loop {
            let (watcher, mut changes) = mpsc::channel(EVENTS);
            let watching = self.ask(|reply| Ask::Watch(id, watcher, reply)).await?;
            let (status, up_to): (FlowStatus, _) = match &watching.living {
                Some((status, change)) => (FlowStatus::clone(status), Some(*change)),
                None => (self.status_of(id).await?, None),
            };
            let caught_up = self.catch_up(&telling, &watching, &status, since, up_to).await?;
            let Watching { store, term, .. } = watching;
            let mut cursor = Cursor { store, term, change: caught_up.unwrap_or(told) };
            let event = Some(Wire::Status((&status).into()));
            telling.tell(v1::WatchEvent { event, cursor: Some(cursor.to_wire()) }).await?;
            if up_to.is_none() {
                return Ok(());
            }
            // Over, or behind: either way the reader is caught up next.
            let mut has_ended = false;
            while let Some(event) = tokio::select! {
                event = changes.recv() => event,
                () = telling.events.closed() => return Ok(()),
            } {
                self.tell_never_sent(&telling, &status, &event).await?;
                cursor.change = event.change().unwrap_or(cursor.change);
                telling.event(&event, Some(cursor)).await?;
                has_ended = matches!(event, Event::Flow { state, .. } if state.is_final());
            }
            told = cursor.change;
            // Nothing follows the flow's end.
            let is_all = has_ended || !wanted.snapshots;
            since = if is_all { Since::Now } else { Since::Cursor(cursor) };
        }
    }

    /// Tells the tasks that changed since the reader heard last, up to what the events begin with.
    /// The last change that the reader knows of then, where that is not what it was told last.
    async fn catch_up(
        &self,
        telling: &Telling,
        watching: &Watching,
        status: &FlowStatus,
        since: Since,
        up_to: Option<u64>,
    ) -> Result<Option<u64>, Stopped> {
        let above = match since {
            Since::Now => return Ok(up_to),
            Since::Nothing => None,
            Since::Cursor(cursor) if cursor.is_ahead_of(watching) => {
                let event = Some(Wire::Restored(v1::StoreRestored {}));
                telling.tell(v1::WatchEvent { event, cursor: None }).await?;
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

    /// Tells the tasks of a job that changed and have records. The last of these changes.
    async fn tell_changed(
        &self,
        telling: &Telling,
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
            telling.piece(&piece).await?;
            next = piece.next;
        }
        Ok(last)
    }

    /// Before the end of a job is told: its tasks that were never sent, each.
    async fn tell_never_sent(
        &self,
        telling: &Telling,
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
        telling: &Telling,
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
            telling.piece(&piece).await?;
            next = piece.next;
        }
        Ok(())
    }
}

/// Whether a job of the flow is of all its hosts or of one.
fn scope_of(status: &FlowStatus, id: JobId) -> Scope {
    let slot = status.slots.get(usize::from(id.slot).wrapping_sub(1));
    let job = slot.and_then(|jobs| jobs.get(usize::from(id.job).wrapping_sub(1)));
    job.map_or(Scope::All, |job| job.scope)
}
