//! Checks of every invariant, over the whole state. Tests and the simulation call them after each
//! step.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use orchestra_model::{JobState, TaskState, record::Impact, status::Counts};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::{
        deadlines::Deadline,
        flow::{Flow, Tally},
        job::Job,
        player::{Counted, Next},
        task::{Parked, TaskRef},
        tree::Bound,
    },
};

/// A broken invariant, which is a mistake of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// Fails with a formatted violation unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(Violation(format!($($text)+)));
        }
    };
}

/// What the tables of players should say, computed from the jobs.
#[derive(Default)]
struct Expected {
    in_flight: BTreeMap<PlayerIx, BTreeSet<TaskRef>>,
    parked: BTreeMap<PlayerIx, BTreeSet<TaskRef>>,
    /// How many waiting tasks left each host down.
    returning: BTreeMap<PlayerIx, u32>,
}

impl Engine {
    /// Checks every invariant over the whole state. Takes time in proportion to it.
    pub fn audit(&self) -> Result<(), Violation> {
        ensure!(
            self.flows.changed().is_empty(),
            "jobs {:?} have changed unheard",
            self.flows.changed()
        );
        let mut expected = Expected::default();
        for flow in self.flows.iter() {
            self.audit_flow(flow)?;
            for job in flow.jobs() {
                self.audit_job(job, &mut expected)?;
            }
        }
        for player in self.roster.indices() {
            self.audit_player(player, &mut expected)?;
        }
        let returning = &expected.returning;
        for player in self.roster.indices() {
            let (ours, host) = (&self.roster[player], self.roster.host(player));
            let there = returning.get(&player).copied().unwrap_or_default();
            ensure!(
                ours.returning() == there,
                "player {host} awaits {} further attempts, there are {there}",
                ours.returning()
            );
        }
        self.audit_starts()?;
        self.audit_cells()
    }

    /// Checks that each flow that has not begun will be looked at.
    fn audit_starts(&self) -> Result<(), Violation> {
        ensure!(!self.starts.has_due(), "flows whose wait is over have not been looked at");
        let mut waiting = 0;
        for flow in self.flows.iter().filter(|flow| flow.waits_to_begin()) {
            let (id, awaited) = (flow.id(), flow.awaited());
            match (awaited.start.after, self.begins_at(flow)) {
                (_, Some(at)) => {
                    let is_armed = self.deadlines.contains(at, Deadline::Begin(id));
                    ensure!(is_armed, "flow {id} waits for a moment at which nobody looks");
                }
                (Some(after), None) => {
                    waiting += 1;
                    let (other, end) = (after.flow, after.end);
                    let is_known = self.starts.awaits(id, other) && self.flows.contains(other);
                    ensure!(is_known, "flow {id} waits in vain until {other} is {end}");
                }
                (None, None) => ensure!(false, "flow {id} waits for nothing"),
            }
        }
        ensure!(self.starts.len() == waiting, "{waiting} flows wait, not {}", self.starts.len());
        Ok(())
    }

    fn audit_flow(&self, flow: &Flow) -> Result<(), Violation> {
        let (id, state, derived) = (flow.id(), flow.state(), flow.derived_state());
        ensure!(id < self.next_flow, "flow {id} is not issued");
        ensure!(!self.ended.contains_key(&id), "flow {id} is alive and has ended");
        ensure!(!state.is_final(), "flow {id} has ended and is still here");
        ensure!(state == derived, "flow {id} is {state} but its jobs say {derived}");
        let tally = Tally::of(flow.jobs());
        ensure!(flow.tally() == tally, "flow {id} counts {:?}, has {tally:?}", flow.tally());
        let (line, expected) = (flow.sequence().counts(), self.counted_gates(flow.present_slot()));
        ensure!(
            line == expected || !self.roster.ledger().has_sequences(),
            "flow {id} lines up as {line:?}, should as {expected:?}"
        );
        for task in flow.sequence().waiting() {
            let job = flow.job(task.job());
            let waits = job.is_some_and(|job| {
                job.state_of(task.index) == TaskState::Waiting
                    && (job.is_one_of() || job.place_of(task.index) == Parked::Sequence)
            });
            ensure!(waits, "{task:?} is in line and does not wait there");
        }
        for (slot, jobs) in flow.slots().iter().enumerate() {
            for job in jobs {
                ensure!(
                    (slot > flow.slot() || flow.waits_to_begin())
                        == (job.state() == JobState::Pending),
                    "job {} is {} though its flow is at slot {}",
                    job.id(),
                    job.state(),
                    flow.slot() + 1
                );
            }
        }
        Ok(())
    }

    fn audit_job(&self, job: &Job, expected: &mut Expected) -> Result<(), Violation> {
        let id = job.id();
        let mut counts = Counts::default();
        let (mut parked, mut absent, mut sequenced, mut delayed) = (0, 0, 0, 0);
        let mut unserved = 0;
        let (mut ok, mut failed, mut away) = (0, 0, 0);
        for index in 0..job.total() {
            let (task, place) = (job.task(index), job.place_of(index));
            let state = job.state_of(index);
            if index < job.canary().tasks && state.is_final() && !job.is_closed() {
                ok += u32::from(state == TaskState::Ok);
                failed += u32::from(state != TaskState::Ok);
            }
            if task.is_returning()
                && let Some(player) = job.player_of(index)
            {
                *expected.returning.entry(player).or_default() += 1;
            }
            counts.set(state, counts.get(state) + 1);
            if state.is_in_flight() {
                let Some(player) = job.player_of(index) else {
                    return Err(Violation(format!("task {index} of {id} is in flight on nobody")));
                };
                expected.in_flight.entry(player).or_default().insert(TaskRef::new(id, index));
                away += u32::from(!self.roster[player].attached());
                ensure!(
                    task.order <= self.roster[player].last_order(),
                    "task {index} of {id} has an order that was not issued"
                );
            }
            if state != TaskState::Waiting {
                continue;
            }
            unserved += u32::from(place == Parked::Server);
            sequenced += u32::from(place == Parked::Sequence);
            delayed += u32::from(place == Parked::Delayed);
            ensure!(
                job.ready().contains(&index) == (place == Parked::Ready),
                "task {index} of {id} is parked: {:?}",
                place
            );
            ensure!(
                index >= job.cursor() || place != Parked::No,
                "task {index} of {id} waits before the cursor and nobody will look at it"
            );
            if place == Parked::Player {
                parked += 1;
                let places: Vec<(u32, PlayerIx)> = match job.is_one_of() {
                    true => {
                        let may_go = |(_, player): &(u32, PlayerIx)| {
                            self.gate_before(job, 0, *player).is_none()
                        };
                        job.candidates().filter(may_go).collect()
                    }
                    false => vec![(index, job.targets()[index as usize])],
                };
                let waits_for = places.iter().any(|(_, player)| self.roster[*player].is_member())
                    || (job.is_one_of() && self.is_anybody_left(job));
                ensure!(waits_for, "task {index} of {id} waits for nobody");
                for (place, player) in places {
                    expected.parked.entry(player).or_default().insert(TaskRef::new(id, place));
                    absent += u32::from(!job.is_one_of() && !self.roster[player].attached());
                }
            }
        }
        ensure!(counts == *job.counts(), "job {id} counts {:?}, has {counts:?}", job.counts());
        ensure!(parked == job.parked(), "job {id} counts {} parked, has {parked}", job.parked());
        ensure!(away == job.away(), "job {id} counts {} away, has {away}", job.away());
        ensure!(absent == job.absent(), "job {id} counts {} absent, has {absent}", job.absent());
        ensure!(
            (sequenced, delayed) == (job.sequenced(), job.delayed()),
            "job {id} counts {} in line and {} delayed, has {sequenced} and {delayed}",
            job.sequenced(),
            job.delayed()
        );
        ensure!(
            unserved == job.unserved(),
            "job {id} counts {} that wait for a server, has {unserved}",
            job.unserved()
        );
        ensure!(
            job.is_closed() || (ok, failed) == (job.canary().ok, job.canary().failed),
            "job {id} counts {:?}, has {ok} ok and {failed} failed",
            job.canary()
        );
        let in_flight = counts.in_flight();
        let window = job.thresholds().window;
        ensure!(in_flight <= window, "job {id} has {in_flight} of {window} in flight");
        self.audit_tree(job)?;
        self.audit_progress(job)
    }

    /// Checks that a tree counts what its hosts and tasks say, that only hosts which have it serve,
    /// that they serve no more than they may, and that no task waits beside a server with a free
    /// place.
    fn audit_tree(&self, job: &Job) -> Result<(), Violation> {
        let Some(tree) = job.tree() else { return Ok(()) };
        let id = job.id();
        for (index, task) in job.known_tasks() {
            let is_bound = tree.bound(index).is_some();
            ensure!(is_bound || task.attempt == 0, "task {index} of {id} was sent and not bound");
            if let Some(Bound::Node(parent)) = tree.bound(index) {
                let is_root = tree.roots().first() == job.node_player(parent).as_ref();
                ensure!(
                    tree.has(parent) || is_root,
                    "task {index} of {id} is served by {parent}, which does not have it"
                );
            }
        }
        if job.is_closed() || !self.flows.trees().contains(&id) {
            return Ok(());
        }
        let (tally, expected) = (tree.tally(), self.expected_tally(job, tree));
        ensure!(tally == expected, "the tree of {id} counts {tally:?}, has {expected:?}");
        let most = tally.taken.iter().copied().max().unwrap_or_default();
        ensure!(most <= tree.branches(), "a host of {id} serves {most}");
        let is_looked_at = job.is_queued() || !job.window_is_open() || self.stale.is_some();
        let idler = tree.idler().filter(|_| job.may_start() && !is_looked_at);
        ensure!(
            idler.is_none(),
            "task {idler:?} of {id} waits for a server and need not: {tally:?}"
        );
        Ok(())
    }

    /// Checks that nothing stands still that could go on.
    fn audit_progress(&self, job: &Job) -> Result<(), Violation> {
        let (id, counts) = (job.id(), job.counts());
        if job.state().is_final() {
            ensure!(counts.finished() == job.total(), "job {id} has ended, not all of its tasks");
        } else if job.state() != JobState::Pending {
            ensure!(counts.finished() < job.total(), "job {id} is over and does not say so");
            ensure!(!job.is_closed() || counts.in_flight() > 0, "job {id} is closed and not over");
        }
        if job.state() == JobState::Doomed && !job.is_closed() {
            ensure!(job.is_doomed(), "job {id} says that it is doomed and is not");
            ensure!(counts.in_flight() > 0, "job {id} is doomed and waits for nothing");
        }
        if job.may_start() {
            ensure!(!job.is_doomed(), "job {id} is doomed and does not say so");
            let is_known = !job.window_is_open() || self.flows.open().contains(id);
            ensure!(
                is_known || job.parked() == 0,
                "job {id} has room and its players pass it over"
            );
            let unseen = job.cursor() < job.admitted() || !job.ready().is_empty();
            let looked_at = job.is_queued() || !job.window_is_open() || self.stale.is_some();
            ensure!(looked_at || !unseen, "job {id} has room in its window and looks at nothing");
        }
        ensure!(
            job.is_stuck() == self.is_stuck(job),
            "job {id} says that it is stuck: {}, which is not so",
            job.is_stuck()
        );
        ensure!(
            job.is_queued() == self.flows.runnable().contains(&id),
            "job {id} is queued: {}, which is not so",
            job.is_queued()
        );
        Ok(())
    }

    fn audit_player(&self, ix: PlayerIx, expected: &mut Expected) -> Result<(), Violation> {
        let player = &self.roster[ix];
        let host = player.host();
        let in_flight: BTreeSet<TaskRef> = player.in_flight().iter().map(|f| f.task).collect();
        let ours = expected.in_flight.remove(&ix).unwrap_or_default();
        ensure!(
            in_flight == ours && in_flight.len() == player.in_flight().len(),
            "player {host} has {:?} in flight, jobs say {ours:?}",
            player.in_flight()
        );
        let parked: BTreeSet<TaskRef> = player.parked().collect();
        let ours = expected.parked.remove(&ix).unwrap_or_default();
        ensure!(parked.is_superset(&ours), "player {host} has {parked:?} parked, not {ours:?}");
        for entry in parked.difference(&ours) {
            let is_meant = self.job(entry.job()).is_some_and(|job| job.awaits(entry.index));
            ensure!(is_meant || self.is_leftover(*entry), "player {host} keeps {entry:?}");
        }
        ensure!(
            player.is_member() || player.session().is_none(),
            "player {host} has a session and is removed"
        );
        ensure!(
            player.quarantine().is_none() || player.session().is_some(),
            "player {host} is quarantined without a session"
        );
        ensure!(
            player.quarantine().is_some() == self.roster.quarantined().any(|other| other == ix),
            "player {host} is miscounted among the quarantined"
        );
        ensure!(
            player.answered() <= player.last_order(),
            "player {host} has answered for too much"
        );
        ensure!(
            self.stale.is_some()
                || !matches!(
                    player.next(self.roster.ledger(), self.flows.open()),
                    Next::Start(_) | Next::Idle(_)
                )
                || self.roster.is_woken(ix),
            "player {host} has room and looks at nothing"
        );
        self.audit_hold(ix)
    }

    /// Checks that a host's hold follows from the orders that are out and from what left it down,
    /// and its place among waiting players from which cells are full.
    fn audit_hold(&self, ix: PlayerIx) -> Result<(), Violation> {
        let player = &self.roster[ix];
        let host = player.host();
        let holding = player.in_flight().iter().filter(|f| f.impact == Impact::Holds).count();
        ensure!(
            player.holding() as usize == holding,
            "player {host} counts {} orders that hold, has {holding}",
            player.holding()
        );
        let of_units = player.in_flight().iter().filter(|flying| flying.is_of_unit).count();
        let attempts = player.in_flight().len() - of_units;
        ensure!(
            player.taken() == attempts + player.strangers().len(),
            "player {host} counts {} places taken, has {attempts} attempts",
            player.taken()
        );
        let counts = player.to_count();
        ensure!(
            player.counted() == counts,
            "the ledger counts {:?} of {host}, which is {counts:?}",
            player.counted()
        );
        self.audit_wait_to_move(ix)?;
        let (waits, barred) = self.roster.ledger().waits(ix, player.party());
        ensure!(
            waits == player.waits_for_room(),
            "player {host} waits for room: {}, and in its party: {waits}",
            player.waits_for_room()
        );
        ensure!(
            barred == self.roster.ledger().is_full_in(player.cells()),
            "player {host} is barred: {barred}, and not so by its cells"
        );
        let needs_room =
            !player.holds() && player.next(self.roster.ledger(), self.flows.open()) == Next::Room;
        ensure!(
            !needs_room || waits || self.stale.is_some() || self.roster.is_woken(ix),
            "player {host} needs room and does not wait for it"
        );
        ensure!(
            !waits || barred || self.roster.ledger().has_opened(),
            "player {host} waits for room that there is"
        );
        Ok(())
    }

    /// Checks that a host that holds its cells waits to be in motion only while one of the cells is
    /// still.
    fn audit_wait_to_move(&self, ix: PlayerIx) -> Result<(), Violation> {
        let (player, ledger) = (&self.roster[ix], self.roster.ledger());
        let host = player.host();
        let (waits, barred) = ledger.waits_to_move(ix, player.party());
        ensure!(
            waits == player.waits_for_motion(),
            "player {host} waits to be in motion: {}, and in its party: {waits}",
            player.waits_for_motion()
        );
        ensure!(
            barred == ledger.is_still_in(player.cells()),
            "player {host} is barred from motion: {barred}, and not so by its cells"
        );
        let needs_motion = player.holds() && player.next(ledger, self.flows.open()) == Next::Room;
        ensure!(
            !needs_motion || waits || self.stale.is_some() || self.roster.is_woken(ix),
            "player {host} has to wait to be in motion, and does not"
        );
        ensure!(
            !waits || barred || ledger.has_opened(),
            "player {host} waits to be in motion, and may be"
        );
        Ok(())
    }

    /// Checks that cells count what their hosts say. It does not check that no cell is above its
    /// limit: a reload may have lowered the limit, which only the caller knows.
    fn audit_cells(&self) -> Result<(), Violation> {
        let players: Vec<PlayerIx> = self.roster.indices().collect();
        for (id, cell) in self.deployments().cells().iter() {
            let is_in = |ix: &&PlayerIx| self.roster[**ix].cells().contains(&id);
            let of = |counted: fn(&Counted) -> bool| {
                let inside = players.iter().filter(is_in);
                inside.filter(|ix| counted(&self.roster[**ix].counted())).count()
            };
            let (held, dead) = (of(|counted| counted.holds), of(|counted| counted.dead));
            let moves = of(|counted| counted.moves);
            let (counts_held, counts_dead, _) = self.roster.ledger().counts(id);
            ensure!(
                (counts_held as usize, counts_dead as usize) == (held, dead),
                "{} counts {counts_held} holders, {counts_dead} of them dead; has {held} and {dead}",
                cell.key
            );
            let counts_moves = self.roster.ledger().moves(id);
            ensure!(
                counts_moves as usize == moves && moves <= held,
                "{} counts {counts_moves} in motion; has {moves} of {held} holders",
                cell.key
            );
        }
        Ok(())
    }

    fn is_leftover(&self, entry: TaskRef) -> bool {
        self.leftovers.iter().any(|leftover| leftover.job == entry.job())
    }
}
