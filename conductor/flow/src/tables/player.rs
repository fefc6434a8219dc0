//! One player: whether it is attached, what it takes, and which tasks wait for it.
//!
//! The tasks parked on a player lie in queues, one a kind of task, oldest first. So the search for
//! the next task that may start looks at each kind once, however many tasks wait. Tasks of jobs
//! that start nothing now are passed over and stay in their queue. An entry whose task does not
//! wait here any more is dropped when it comes up, unless it was swept out before.

mod change;
mod gates;

use std::sync::Arc;

use orchestra_model::{
    HostName, JobId, Millis, ScoreName, ServiceName, TaskState, Timestamp,
    delivery::{AttemptKey, OrderNumber, SpoolId},
    deployment::CellId,
    flow::JobSpec,
    record::{Drain, HoldRecord, Impact, PlayerRecord, Record},
    score::{Offers, ScoreSpec},
    service::{Unready, UnwellUnit},
};

use crate::{
    ids::{SessionId, TaskKind},
    tables::{parties::PartyIx, quarantine::Quarantine, queues::Queues, task::TaskRef},
};

/// One player.
#[derive(Clone, Debug)]
pub struct Player {
    host: HostName,
    /// Whether the players file names it.
    member: bool,
    session: Option<SessionId>,
    /// Why it is quarantined, if it is. It then gets nothing and counts as absent, although it has
    /// a session.
    quarantine: Option<Box<Quarantine>>,
    /// Attempts that the store does not know, and that somebody let pass when releasing the player
    /// from quarantine.
    tolerated: Vec<AttemptKey>,
    /// Since when it counts as absent; `None` while it does not, or if it never attached.
    detached_at: Option<Timestamp>,
    /// Whether watchers were told that its tasks in flight are on a player that is away.
    told_away: bool,
    spool: Option<SpoolId>,
    last_order: OrderNumber,
    /// The highest order that its spool is known to have answered for.
    answered: OrderNumber,
    max_tasks: u32,
    kill_grace: Millis,
    /// The scores that it offers, shared with other players that offer the same. Empty also while
    /// it has not attached since the conductor started.
    scores: Offers,
    /// Orders that are out.
    in_flight: Vec<Flying>,
    /// How many of the orders that are out are about units.
    of_units: u32,
    /// Attempts that it runs and that no task of ours awaits. They take room on it all the same.
    strangers: Vec<AttemptKey>,
    /// Whether it said that it is busy. Nothing but orders about units is sent until something
    /// ended there, or a pause is over.
    said_busy: bool,
    /// Whether it said so of an order about a unit. No other order about a unit is sent until then.
    said_busy_to_units: bool,
    /// Who drained it: nothing new starts here.
    drained: Option<Box<Drain>>,
    /// Its cells in the deployments in force. Hosts in the same cells share the list.
    cells: Arc<[CellId]>,
    /// How many of the orders that are out hold the host's cells.
    holding: u32,
    /// What left its host down, if it counts as down: then it keeps its cells.
    down: Option<Box<Down>>,
    /// Its units that are not well, as last told.
    units: Option<Box<Units>>,
    /// Since when its host holds its cells; meaningless while it holds none.
    held_since: Timestamp,
    /// How many waiting tasks left its host down and have a further attempt to come.
    returning: u32,
    /// What the ledger counts of its host now.
    counted: Counted,
    /// The party in which it waits for room in its cells.
    party: PartyIx,
    /// Whether it waits for room.
    waits_for_room: bool,
    /// Whether it waits to be in motion, as a host that holds its cells already.
    waits_for_motion: bool,
    parked: Queues,
    /// Whether its gates may have opened since `Roster::change` last looked.
    gates_opened: bool,
    /// Whether a change since then concerns the jobs that have something parked here.
    jobs_concerned: bool,
    /// Whether its host could serve others in a tree when `Roster::change` last looked.
    served: bool,
}

/// What left a host down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Down {
    pub(crate) job: JobId,
    /// The number of the order of the attempt that left it down. Changes with higher numbers came
    /// later.
    pub(crate) order: OrderNumber,
    /// The state of the attempt's task.
    pub(crate) state: TaskState,
}

/// The units of a host that are not well. Each makes the host hold its cells, unless it gave up and
/// somebody released it.
///
/// It is not stored: the conductor's engine of services tells it, and tells it again after a start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Units {
    /// Those that count as down, in the order of their services.
    pub(crate) down: Vec<UnwellUnit>,
    /// The services of units that gave up and were released, until something else is told of them.
    pub(crate) released: Vec<ServiceName>,
}

/// A host as the cells count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Whether it holds its cells.
    pub(crate) holds: bool,
    /// Whether it is in motion: it holds its cells because orders are out to it.
    pub(crate) moves: bool,
    /// Whether only a person can make it let go of its cells.
    pub(crate) dead: bool,
}

/// What is next on a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This task starts.
    Start(TaskRef),
    /// A task of this queue might start, but its job starts nothing now.
    Idle(usize),
    /// A task would start, were there room in the host's cells, or fewer hosts in motion there.
    Room,
    /// Nothing.
    Nothing,
}

/// Whether only a person can help a unit.
fn has_given_up(unit: &UnwellUnit) -> bool {
    unit.unready == Unready::GaveUp
}

/// An order that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flying {
    pub(crate) task: TaskRef,
    pub(crate) score: ScoreName,
    pub(crate) impact: Impact,
    /// Whether it is about a unit: then it takes no place on the player.
    pub(crate) is_of_unit: bool,
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
            of_units: 0,
            strangers: Vec::new(),
            said_busy: false,
            said_busy_to_units: false,
            drained: None,
            cells: Arc::default(),
            holding: 0,
            down: None,
            units: None,
            held_since: Timestamp(0),
            returning: 0,
            counted: Counted::default(),
            party: PartyIx::default(),
            waits_for_room: false,
            waits_for_motion: false,
            parked: Queues::default(),
            gates_opened: false,
            jobs_concerned: false,
            served: false,
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

    /// Attempts that the store does not know, and that somebody let pass when releasing the player
    /// from quarantine.
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

    /// Who drained it and why, if somebody did.
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

    /// What attempt left its host down, if one did.
    pub(crate) fn down(&self) -> Option<&Down> {
        self.down.as_deref()
    }

    /// Its units that count as down, in the order of their services.
    pub(crate) fn units_down(&self) -> &[UnwellUnit] {
        self.units.as_deref().map_or(&[], |units| &units.down)
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

    /// The party in which it waits for room in the cells of its host.
    pub(crate) fn party(&self) -> PartyIx {
        self.party
    }

    pub(crate) fn waits_for_room(&self) -> bool {
        self.waits_for_room
    }

    /// Whether it waits to be in motion, as a host that holds its cells already.
    pub(crate) fn waits_for_motion(&self) -> bool {
        self.waits_for_motion
    }

    /// Whether it can be sent something: it has a session and is not quarantined.
    pub(crate) fn attached(&self) -> bool {
        self.reachable().is_some()
    }

    /// The session through which it can be sent something; `None` while it is quarantined.
    pub(crate) fn reachable(&self) -> Option<SessionId> {
        self.session.filter(|_| self.quarantine.is_none())
    }

    /// What it said of a score; `None` if it does not offer it. An order for a score that it does
    /// not offer is sent all the same, because the player alone decides what it refuses.
    pub(crate) fn limits(&self, score: &ScoreName) -> Option<&ScoreSpec> {
        self.scores.get(score)?.spec.as_ref().ok()
    }

    /// The longest that an attempt of a job may take here, killing included; `None` where neither
    /// the job nor the player says. A job about units says it itself.
    pub(crate) fn time_limit(&self, job: &JobSpec) -> Option<Millis> {
        if let Some(unit) = &job.unit {
            let stop = unit.upkeep.stop;
            return Some(unit.deadline + stop.linger + stop.grace);
        }
        let own = self.limits(&job.score).map(|limits| limits.timeout);
        let timeout = job.timeout.into_iter().chain(own).min();
        timeout.map(|timeout| timeout + self.kill_grace)
    }

    fn is_exclusive(&self, score: &ScoreName) -> bool {
        self.limits(score).is_some_and(|limits| limits.exclusive)
    }

    /// The orders that are out and run processes of their own, which orders about units do not.
    fn attempts(&self) -> impl Iterator<Item = &Flying> {
        self.in_flight.iter().filter(|flying| !flying.is_of_unit)
    }

    /// How many of its places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.in_flight.len() - self.of_units as usize + self.strangers.len()
    }

    /// Whether a task of this kind changes the host. A score that the player does not offer is
    /// assumed to.
    pub(crate) fn is_disruptive(&self, kind: &TaskKind) -> bool {
        kind.unit.is_some() || self.limits(&kind.score).is_none_or(|limits| limits.disruptive)
    }

    /// What an attempt of this kind means for the host's cells.
    pub(crate) fn impact(&self, kind: &TaskKind) -> Impact {
        match (self.is_disruptive(kind), kind.unthrottled) {
            (false, _) => Impact::Look,
            (true, true) => Impact::Unthrottled,
            (true, false) => Impact::Holds,
        }
    }

    /// Whether the host holds its cells: something runs there, or it counts as down, for an attempt or
    /// for a unit.
    pub(crate) fn holds(&self) -> bool {
        self.holding > 0 || self.down.is_some() || !self.units_down().is_empty()
    }

    /// What the ledger should count of its host. Only a person can end its hold where nothing runs,
    /// nothing parked could start, no further attempt is to come, and every unit that is not well
    /// gave up.
    pub(crate) fn to_count(&self) -> Counted {
        let (holds, moves) = (self.holds(), self.holding > 0);
        let is_left = || self.returning == 0 && self.units_down().iter().all(has_given_up);
        let is_awaited = || self.member && self.parked_changes().next().is_some();
        let dead = holds && !moves && is_left() && !is_awaited();
        Counted { holds, moves, dead }
    }

    /// Whether its host can serve others in a tree: it can be reached, and is neither drained nor
    /// left down.
    pub(crate) fn can_serve(&self) -> bool {
        self.attached() && self.member && self.drained.is_none() && self.down.is_none()
    }

    /// Everything that is parked here, in no particular order.
    pub(crate) fn parked(&self) -> impl Iterator<Item = TaskRef> {
        self.parked.iter(|_| true)
    }

    /// The tasks parked here that would take the host's cells.
    pub(crate) fn parked_changes(&self) -> impl Iterator<Item = TaskRef> {
        self.parked.iter(|kind| self.impact(kind) == Impact::Holds)
    }

    /// The record that says that the host keeps its cells.
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
