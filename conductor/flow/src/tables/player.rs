//! One player: whether it is there, what it takes, and which tasks wait for it.
//!
//! The tasks parked on a player lie in one queue a kind, oldest first, so that finding the next
//! that may start looks at each kind once, however many wait. Those of jobs that start nothing now
//! are passed over, and stay as long as the player has no place for them anyway. An entry whose
//! task waits here no more is dropped when it comes up, or swept out before.

mod change;

use std::sync::Arc;

use orchestra_model::{
    HostName, JobId, Millis, ScoreName, TaskState, Timestamp, WaitReason,
    delivery::{AttemptKey, OrderNumber, SpoolId},
    deployment::CellId,
    flow::JobSpec,
    record::{Drain, HoldRecord, Impact, PlayerRecord, Record},
    score::{Offers, ScoreSpec},
};

use crate::{
    ids::{SessionId, TaskKind},
    tables::{
        few::Few, ledger::Ledger, parties::PartyIx, quarantine::Quarantine, queues::Queues,
        task::TaskRef,
    },
};

/// One player.
#[derive(Clone, Debug)]
pub struct Player {
    host: HostName,
    /// Whether the players file names it.
    member: bool,
    session: Option<SessionId>,
    /// Why it gets nothing although it has a session: it counts as absent.
    quarantine: Option<Box<Quarantine>>,
    /// Attempts that the store does not know and that a release from quarantine let pass.
    tolerated: Vec<AttemptKey>,
    /// Since when it counts as absent; `None` while it does not, or if it never attached.
    detached_at: Option<Timestamp>,
    /// Its tasks in flight were told to be on a player that is away.
    told_away: bool,
    spool: Option<SpoolId>,
    last_order: OrderNumber,
    /// The highest order that its spool is known to have answered for.
    answered: OrderNumber,
    max_tasks: u32,
    kill_grace: Millis,
    /// What it offers; shared with the other players that offer the same. Empty too where it has
    /// not attached since the conductor started.
    scores: Offers,
    /// Orders that are out.
    in_flight: Vec<Flying>,
    /// Attempts that it runs and that no task of ours awaits: they take room all the same.
    strangers: Vec<AttemptKey>,
    /// It said that it is busy; nothing is sent before something ended there, or a pause is over.
    said_busy: bool,
    /// Who drained it: nothing new starts here.
    drained: Option<Box<Drain>>,
    /// Its cells in the deployments in force; hosts with the same cells share the list.
    cells: Arc<[CellId]>,
    /// Orders that are out and hold its cells.
    holding: u32,
    /// That it counts as down, and so keeps its cells.
    down: Option<Box<Down>>,
    /// Since when it holds its cells, if it does.
    held_since: Timestamp,
    /// Waiting tasks that left it down and have a further attempt to come.
    returning: u32,
    /// What the ledger has counted of it.
    counted: Counted,
    /// With whom it waits for room in them.
    party: PartyIx,
    /// Whether it does.
    waits_for_room: bool,
    parked: Queues,
    /// Its gates may have opened since `Roster::change` looked last.
    gates_opened: bool,
    /// Jobs that have something parked here are concerned by what changed since then.
    jobs_concerned: bool,
}

/// What left a host down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Down {
    pub(crate) job: JobId,
    /// A change of a higher order is a later one.
    pub(crate) order: OrderNumber,
    /// How the task stands.
    pub(crate) state: TaskState,
}

/// A host as the cells count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// It holds its cells.
    pub(crate) holds: bool,
    /// Only a person can end that.
    pub(crate) dead: bool,
}

/// What is next on a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This task starts.
    Start(TaskRef),
    /// The tasks of this queue might, but for their jobs.
    Idle(usize),
    /// Something would, were there room in its cells.
    Room,
    /// Nothing.
    Nothing,
}

/// An order that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flying {
    pub(crate) task: TaskRef,
    pub(crate) score: ScoreName,
    pub(crate) impact: Impact,
}

impl Player {
    pub(crate) fn new(host: HostName) -> Self {
        Self {
            host,
            member: false,
            session: None,
            quarantine: None,
            tolerated: Vec::new(),
            detached_at: None,
            told_away: false,
            spool: None,
            last_order: OrderNumber(0),
            answered: OrderNumber(0),
            max_tasks: 1,
            kill_grace: Millis(0),
            scores: Offers::default(),
            in_flight: Vec::new(),
            strangers: Vec::new(),
            said_busy: false,
            drained: None,
            cells: Arc::default(),
            holding: 0,
            down: None,
            held_since: Timestamp(0),
            returning: 0,
            counted: Counted::default(),
            party: PartyIx::default(),
            waits_for_room: false,
            parked: Queues::default(),
            gates_opened: false,
            jobs_concerned: false,
        }
    }

    pub(crate) fn host(&self) -> &HostName {
        &self.host
    }

    /// Whether the players file names it.
    pub(crate) fn is_member(&self) -> bool {
        self.member
    }

    /// Its session, also while it is quarantined.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub(crate) fn quarantine(&self) -> Option<&Quarantine> {
        self.quarantine.as_deref()
    }

    /// Attempts that the store does not know and that a release from quarantine let pass.
    pub(crate) fn tolerated(&self) -> &[AttemptKey] {
        &self.tolerated
    }

    /// Since when it counts as absent; `None` while it does not, or if it never attached.
    pub(crate) fn detached_at(&self) -> Option<Timestamp> {
        self.detached_at
    }

    pub(crate) fn spool(&self) -> Option<SpoolId> {
        self.spool
    }

    pub(crate) fn last_order(&self) -> OrderNumber {
        self.last_order
    }

    /// The highest order that its spool is known to have answered for.
    pub(crate) fn answered(&self) -> OrderNumber {
        self.answered
    }

    /// How many orders it takes at once.
    pub(crate) fn max_tasks(&self) -> u32 {
        self.max_tasks
    }

    /// What it offers.
    pub(crate) fn scores(&self) -> &Offers {
        &self.scores
    }

    /// Orders that are out.
    pub(crate) fn in_flight(&self) -> &[Flying] {
        &self.in_flight
    }

    /// The order of this task, if it is out.
    pub(crate) fn flight_of(&self, task: TaskRef) -> Option<&Flying> {
        self.in_flight.iter().find(|flying| flying.task == task)
    }

    /// Attempts that it runs and that no task of ours awaits.
    pub(crate) fn strangers(&self) -> &[AttemptKey] {
        &self.strangers
    }

    /// Who drained it, if somebody did.
    pub(crate) fn drained(&self) -> Option<&Drain> {
        self.drained.as_deref()
    }

    /// The cells of its host in the deployments in force.
    pub(crate) fn cells(&self) -> &[CellId] {
        &self.cells
    }

    /// Orders that are out and hold the cells of its host.
    pub(crate) fn holding(&self) -> u32 {
        self.holding
    }

    /// What left its host down, if it counts as down.
    pub(crate) fn down(&self) -> Option<&Down> {
        self.down.as_deref()
    }

    /// Since when its host holds its cells, if it does.
    pub(crate) fn held_since(&self) -> Timestamp {
        self.held_since
    }

    /// How many waiting tasks left its host down and have a further attempt to come.
    pub(crate) fn returning(&self) -> u32 {
        self.returning
    }

    /// What the cells count of its host.
    pub(crate) fn counted(&self) -> Counted {
        self.counted
    }

    /// With whom it waits for room in the cells of its host, if it does.
    pub(crate) fn party(&self) -> PartyIx {
        self.party
    }

    pub(crate) fn waits_for_room(&self) -> bool {
        self.waits_for_room
    }

    /// Whether it is there to be sent something.
    pub(crate) fn attached(&self) -> bool {
        self.reachable().is_some()
    }

    /// The session through which it may be sent something: none while it is quarantined.
    pub(crate) fn reachable(&self) -> Option<SessionId> {
        self.session.filter(|_| self.quarantine.is_none())
    }

    /// What it said of a score. An order for one that it does not offer is sent all the same, for
    /// the player alone decides what it refuses.
    pub(crate) fn limits(&self, score: &ScoreName) -> Option<&ScoreSpec> {
        self.scores.get(score)?.spec.as_ref().ok()
    }

    /// The longest that an attempt of a job may take here, killing included; `None` where neither
    /// the job nor the player says.
    pub(crate) fn time_limit(&self, job: &JobSpec) -> Option<Millis> {
        let own = self.limits(&job.score).map(|limits| limits.timeout);
        let timeout = job.timeout.into_iter().chain(own).min();
        timeout.map(|timeout| timeout + self.kill_grace)
    }

    fn is_exclusive(&self, score: &ScoreName) -> bool {
        self.limits(score).is_some_and(|limits| limits.exclusive)
    }

    /// How many of its places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.in_flight.len() + self.strangers.len()
    }

    /// Whether a task of `score` changes the host. An unknown score is assumed to change the host.
    pub(crate) fn is_disruptive(&self, score: &ScoreName) -> bool {
        self.limits(score).is_none_or(|limits| limits.disruptive)
    }

    /// What an attempt of this kind means for the host's cells.
    pub(crate) fn impact(&self, kind: &TaskKind) -> Impact {
        match (self.is_disruptive(&kind.score), kind.unthrottled) {
            (false, _) => Impact::Look,
            (true, true) => Impact::Unthrottled,
            (true, false) => Impact::Holds,
        }
    }

    /// Whether the host holds its cells: something runs there, or it counts as down.
    pub(crate) fn holds(&self) -> bool {
        self.holding > 0 || self.down.is_some()
    }

    /// What the ledger should count of it. Only a person can end the hold of a host that is down,
    /// where nothing runs, nothing waits that may, and no further attempt is to come.
    pub(crate) fn to_count(&self) -> Counted {
        let is_left = || self.holding == 0 && self.returning == 0;
        let is_awaited = || self.member && self.parked_changes().next().is_some();
        let dead = self.down.is_some() && is_left() && !is_awaited();
        Counted { holds: self.holds(), dead }
    }

    /// The first gate of this player that stops a task of this kind, if any: presence, drain,
    /// credit, exclusiveness, the score's concurrency, cells.
    pub(crate) fn gate(&self, kind: &TaskKind, ledger: &Ledger) -> Option<WaitReason> {
        let score = &kind.score;
        if self.quarantine.is_some() {
            return Some(WaitReason::Quarantined);
        }
        if !self.attached() {
            return Some(WaitReason::PlayerAbsent);
        }
        if self.drained.is_some() {
            return Some(WaitReason::PlayerDrained);
        }
        let taken = self.taken();
        if self.said_busy || taken >= self.max_tasks as usize {
            return Some(WaitReason::PlayerBusy);
        }
        let alone = |flying: &Flying| self.is_exclusive(&flying.score);
        if (self.is_exclusive(score) && taken > 0) || self.in_flight.iter().any(alone) {
            return Some(WaitReason::Exclusive);
        }
        if let Some(most) = self.limits(score).and_then(|limits| limits.concurrency) {
            let running = self.in_flight.iter().filter(|flying| flying.score == *score).count();
            if running >= most as usize {
                return Some(WaitReason::ScoreBusy);
            }
        }
        let has_no_room = self.needs_room(kind) && ledger.is_full_in(&self.cells);
        has_no_room.then_some(WaitReason::Cell)
    }

    /// A cell of the host without room for it, where a task of this kind needs that.
    pub(crate) fn full_cell(&self, kind: &TaskKind, ledger: &Ledger) -> Option<CellId> {
        self.needs_room(kind).then(|| ledger.full_of(&self.cells))?
    }

    fn needs_room(&self, kind: &TaskKind) -> bool {
        !self.cells.is_empty() && !self.holds() && self.impact(kind) == Impact::Holds
    }

    /// The first gate that stops a task which does not queue here yet. Where an older exclusive one
    /// waits for the player to become empty, newcomers queue behind it, or it would wait for ever.
    pub(crate) fn newcomer_gate(
        &self,
        kind: &TaskKind,
        task: TaskRef,
        ledger: &Ledger,
    ) -> Option<WaitReason> {
        let holds_back = |(kind, first): (&TaskKind, TaskRef)| {
            self.is_exclusive(&kind.score)
                && first < task
                && matches!(self.gate(kind, ledger), None | Some(WaitReason::Exclusive))
        };
        self.gate(kind, ledger)
            .or_else(|| self.parked.firsts().any(holds_back).then_some(WaitReason::Exclusive))
    }

    /// The oldest task that may start here, of those of the `open` jobs. Where that is an exclusive
    /// one that has to wait until the player is empty, nothing overtakes it.
    pub(crate) fn next(&self, ledger: &Ledger, open: &Few<JobId>) -> Next {
        let mut start: Option<TaskRef> = None;
        let mut idle: Option<(TaskRef, usize)> = None;
        let mut exclusive: Option<TaskRef> = None;
        let mut full: Option<TaskRef> = None;
        let is_older = |task, than: Option<TaskRef>| than.is_none_or(|than| task < than);
        for (ix, (kind, first)) in self.parked.firsts().enumerate() {
            match self.gate(kind, ledger) {
                None => {
                    let wanted = self.parked.first_of(ix, open);
                    start = wanted.filter(|task| is_older(*task, start)).or(start);
                    if wanted != Some(first) && is_older(first, idle.map(|(task, _)| task)) {
                        idle = Some((first, ix));
                    }
                }
                Some(WaitReason::Exclusive) if is_older(first, exclusive) => {
                    exclusive = Some(first);
                }
                Some(WaitReason::Cell) if is_older(first, full) => full = Some(first),
                Some(_) => {}
            }
        }
        // Of those behind the exclusive one, nothing is looked at.
        match (start, idle, full) {
            (Some(task), ..) if is_older(task, exclusive) => Next::Start(task),
            (_, Some((task, ix)), _) if is_older(task, exclusive) => Next::Idle(ix),
            (_, _, Some(task)) if is_older(task, exclusive) => Next::Room,
            _ => Next::Nothing,
        }
    }

    /// Everything that is parked here, in no particular order.
    pub(crate) fn parked(&self) -> impl Iterator<Item = TaskRef> {
        self.parked.iter(|_| true)
    }

    /// What is parked here and would take the host's cells.
    pub(crate) fn parked_changes(&self) -> impl Iterator<Item = TaskRef> {
        self.parked.iter(|kind| self.impact(kind) == Impact::Holds)
    }

    /// That the host keeps its cells, as the store has it.
    pub(crate) fn hold_record(&self, down: &Down) -> Record {
        Record::Hold(HoldRecord {
            host: self.host.clone(),
            job: down.job,
            order: down.order,
            state: down.state,
            since: self.held_since,
        })
    }

    pub(crate) fn record(&self) -> Record {
        Record::Player(PlayerRecord {
            host: self.host.clone(),
            spool: self.spool,
            last_order: self.last_order,
            detached_at: self.detached_at,
            removed: !self.member,
            drained: self.drained.as_deref().cloned(),
        })
    }
}
