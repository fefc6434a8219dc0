//! One player: whether it is there, what it takes, and which tasks wait for it.
//!
//! The tasks parked on a player lie in one queue a kind, oldest first, so that finding the next
//! that may start looks at each kind once, however many wait. Those of jobs that start nothing now
//! are passed over, and stay as long as the player has no place for them anyway. An entry whose
//! task waits here no more is dropped when it comes up, or swept out before.

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
    /// How many of them are about units.
    of_units: u32,
    /// Attempts that it runs and that no task of ours awaits: they take room all the same.
    strangers: Vec<AttemptKey>,
    /// It said that it is busy; nothing is sent before something ended there, or a pause is over,
    /// but what concerns units.
    said_busy: bool,
    /// It would not take an order about a unit now: no other is sent before then.
    said_busy_to_units: bool,
    /// Who drained it: nothing new starts here.
    drained: Option<Box<Drain>>,
    /// Its cells in the deployments in force; hosts with the same cells share the list.
    cells: Arc<[CellId]>,
    /// Orders that are out and hold its cells.
    holding: u32,
    /// That it counts as down, and so keeps its cells.
    down: Option<Box<Down>>,
    /// Its units that are not well, as told last.
    units: Option<Box<Units>>,
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
    /// Whether it waits, as a host that holds them already, for fewer of their hosts to be in motion.
    waits_for_motion: bool,
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

/// The units of a host that are not well: each makes it hold its cells, but those that gave up and
/// that somebody released.
///
/// Not stored: whoever looks after services tells them, and tells them anew after a start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Units {
    /// Those that count as down, in the order of their services.
    pub(crate) down: Vec<UnwellUnit>,
    /// Those that gave up and were released, until something else is told of them.
    pub(crate) released: Vec<ServiceName>,
}

/// A host as the cells count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// It holds its cells.
    pub(crate) holds: bool,
    /// It does so for orders that are out: it is in motion.
    pub(crate) moves: bool,
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
    /// Something would, were there room in its cells, or fewer hosts in motion there.
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
    /// It is about a unit, and takes no place.
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

    /// With whom it waits for room in the cells of its host, if it does.
    pub(crate) fn party(&self) -> PartyIx {
        self.party
    }

    pub(crate) fn waits_for_room(&self) -> bool {
        self.waits_for_room
    }

    /// Whether it waits, as a host that holds its cells already, for fewer hosts there to be in motion.
    pub(crate) fn waits_for_motion(&self) -> bool {
        self.waits_for_motion
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
    /// the job nor the player says. What is asked of a unit says it itself.
    pub(crate) fn time_limit(&self, job: &JobSpec) -> Option<Millis> {
        if let Some(unit) = &job.unit {
            return Some(unit.deadline + unit.upkeep.stop.grace);
        }
        let own = self.limits(&job.score).map(|limits| limits.timeout);
        let timeout = job.timeout.into_iter().chain(own).min();
        timeout.map(|timeout| timeout + self.kill_grace)
    }

    fn is_exclusive(&self, score: &ScoreName) -> bool {
        self.limits(score).is_some_and(|limits| limits.exclusive)
    }

    /// Orders that are out and run processes of their own, unlike those about units.
    fn attempts(&self) -> impl Iterator<Item = &Flying> {
        self.in_flight.iter().filter(|flying| !flying.is_of_unit)
    }

    /// How many of its places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.in_flight.len() - self.of_units as usize + self.strangers.len()
    }

    /// Whether a task of this kind changes the host. An unknown score is assumed to change the host.
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

    /// What the ledger should count of it. Only a person can end the hold of a host that is down,
    /// where nothing runs, nothing waits that may, no further attempt is to come, and no unit may come
    /// to be well by itself.
    pub(crate) fn to_count(&self) -> Counted {
        let (holds, moves) = (self.holds(), self.holding > 0);
        let is_left = || self.returning == 0 && self.units_down().iter().all(has_given_up);
        let is_awaited = || self.member && self.parked_changes().next().is_some();
        let dead = holds && !moves && is_left() && !is_awaited();
        Counted { holds, moves, dead }
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
