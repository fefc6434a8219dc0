//! Which task starts next: wanted, possible, chosen, emitted.

use orchestra_model::{JobId, Millis, TaskState, WaitReason, delivery::Order};

use crate::{
    Engine,
    deadline::Deadline,
    effect::{Command, Effect},
    job::Job,
    roster::{Flying, PlayerIx},
    task::{Exit, Parked, TaskRef},
};

/// Most tasks of one job that are looked at before the next job has its turn.
const TURN: u32 = 256;
/// Most tasks that are looked at before the engine takes in what happened meanwhile.
const STEPS: u32 = 4 * TURN;

impl Engine {
    /// Puts a job into the queue of those to look at, once.
    pub(crate) fn enqueue(&mut self, id: JobId) {
        let Some(job) = self.job_mut(id) else { return };
        if !std::mem::replace(&mut job.queued, true) {
            self.runnable.push_back(id);
        }
    }

    /// Lets queued jobs start what they may, in turns, up to a bound.
    pub(crate) fn dispatch(&mut self) {
        if self.stale.is_some() {
            return;
        }
        let mut steps = 0;
        while steps < STEPS {
            let Some(id) = self.runnable.pop_front() else {
                break;
            };
            let Some(job) = self.job_mut(id) else {
                continue;
            };
            job.queued = false;
            let mut turn = 0;
            while turn < TURN {
                let Some(index) = self.job_mut(id).and_then(next_wanted) else {
                    break;
                };
                self.offer(id, index);
                turn += 1;
            }
            if turn == TURN {
                self.enqueue(id);
            }
            steps += turn.max(1);
        }
    }

    /// Starts a wanted task, or parks it on the gate that stops it.
    fn offer(&mut self, id: JobId, index: u32) {
        let Some(job) = self.job(id) else { return };
        let score = job.score;
        let Some(player) = job.player_of(index) else {
            return self.choose(id);
        };
        if !self.roster[player].member {
            return self.finish(TaskRef::new(id, index), TaskState::Cancelled, removed());
        }
        let parked = match job.choice.chosen {
            Some(place) => TaskRef::new(id, place),
            None => TaskRef::new(id, index),
        };
        match self.newcomer_gate(player, score) {
            None => self.start(TaskRef::new(id, index), player),
            Some(gate) => self.park(parked, player, gate),
        }
    }

    /// The gate that stops a task which has not queued at this player yet.
    fn newcomer_gate(&self, player: PlayerIx, score: crate::roster::ScoreIx) -> Option<WaitReason> {
        let player = &self.roster[player];
        player.gate(score).or_else(|| player.exclusive_waits().then_some(WaitReason::Exclusive))
    }

    /// One of: the least busy player whose gates are all open, the first of them in host-set
    /// order. Where there is none, whichever opens first.
    fn choose(&mut self, id: JobId) {
        let Some(job) = self.job(id) else { return };
        let places = (0_u32..).zip(job.targets.iter().copied());
        let candidates: Vec<(u32, PlayerIx)> = places
            .filter(|(place, player)| {
                !job.choice.struck.contains(place) && self.roster[*player].member
            })
            .collect();
        let score = job.score;
        let open = candidates
            .iter()
            .filter(|(_, player)| self.newcomer_gate(*player, score).is_none())
            .min_by_key(|(_, player)| self.roster[*player].in_flight.len());
        if let Some((place, player)) = open.copied() {
            if let Some(job) = self.job_mut(id) {
                job.choice.chosen = Some(place);
            }
            return self.start(TaskRef::new(id, 0), player);
        }
        if candidates.is_empty() {
            return self.finish(TaskRef::new(id, 0), TaskState::Cancelled, removed());
        }
        for (place, player) in candidates {
            self.roster[player].park(score, TaskRef::new(id, place));
        }
        if let Some(job) = self.job_mut(id) {
            job.task_mut(0).parked = Parked::Player;
        }
    }

    fn park(&mut self, task: TaskRef, player: PlayerIx, gate: WaitReason) {
        let Some(job) = self.job_mut(task.job()) else {
            return;
        };
        let index = if job.is_one_of() { 0 } else { task.index };
        job.task_mut(index).parked = Parked::Player;
        let absent = gate == WaitReason::PlayerAbsent;
        if absent && !job.is_one_of() {
            job.absent += 1;
        }
        let score = job.score;
        self.roster[player].park(score, task);
        if absent {
            self.arm_give_up(task, player);
            self.evaluate(task.job());
        }
    }

    /// Looks again at what is parked on a player, because something changed there.
    pub(crate) fn wake(&mut self, player: PlayerIx) {
        while self.stale.is_none() {
            let Some(task) = self.roster[player].unpark_next() else {
                return;
            };
            let id = task.job();
            let Some(job) = self.job_mut(id) else {
                continue;
            };
            let index = if job.is_one_of() { 0 } else { task.index };
            let elsewhere = job.choice.chosen.is_some_and(|place| place != task.index);
            if !job.is_parked(index) || job.untouched.is_final() || (job.is_one_of() && elsewhere) {
                continue;
            }
            if !job.may_start() || !job.window_is_open() {
                job.task_mut(index).parked = Parked::Ready;
                job.ready.insert(index);
                continue;
            }
            if job.is_one_of() {
                job.choice.chosen = Some(task.index);
            }
            self.start(TaskRef::new(id, index), player);
        }
    }

    /// Takes window, score concurrency and credit in one step, and emits the records, then the
    /// order.
    fn start(&mut self, task: TaskRef, ix: PlayerIx) {
        let (now, store) = (self.now, self.store);
        let Some(session) = self.roster[ix].session else {
            return;
        };
        let id = task.job();
        let Some(job) = self.flows.get_mut(&id.flow).and_then(|flow| flow.job_mut(id)) else {
            return;
        };
        let player = &mut self.roster[ix];
        player.last_order = player.last_order.next();
        player.in_flight.push(Flying { task, score: job.score });
        job.touched.remove(&task.index);
        job.shift(task.index, TaskState::Sent);
        let order = player.last_order;
        let state = job.task_mut(task.index);
        state.parked = Parked::No;
        state.attempt += 1;
        state.order = order;
        state.sent_at = Some(now);
        state.started_at = None;
        state.exit = Exit::None;
        state.detail = None;
        let key = state.key(store, id);
        let record = state.record(task, &player.host);
        let order = Order { number: order, key, timeout: job.spec.timeout };
        let player_record = player.record();
        self.persist(player_record);
        self.persist(record);
        self.effects.push_back(Effect::Send {
            player: ix,
            session,
            command: Command::Order(order),
        });
    }

    /// Gives back what a task held on its player. The caller wakes the player once it is done.
    pub(crate) fn release(&mut self, task: TaskRef, player: PlayerIx) {
        let player = &mut self.roster[player];
        player.in_flight.retain(|flying| flying.task != task);
        player.said_busy = false;
        self.enqueue(task.job());
    }

    /// Lets a task that was sent wait again: for a retry, or because it did not start.
    pub(crate) fn wait_again(&mut self, task: TaskRef) {
        let Some(job) = self.job_mut(task.job()) else {
            return;
        };
        job.shift(task.index, TaskState::Waiting);
        job.touched.insert(task.index);
        job.ready.insert(task.index);
        job.task_mut(task.index).parked = Parked::Ready;
        self.record_task(task);
        self.enqueue(task.job());
    }

    /// A player said that it is busy though it should not be: ask again in a while, also if
    /// nothing ends there.
    pub(crate) fn hold_back(&mut self, player: PlayerIx) {
        const PAUSE: Millis = Millis::seconds(1);
        self.roster[player].said_busy = true;
        self.deadlines.insert(self.now.after(PAUSE), Deadline::AskBusyAgain(player));
    }
}

/// The next task of the job that only its player's gates could stop.
fn next_wanted(job: &mut Job) -> Option<u32> {
    loop {
        if !job.may_start() || job.untouched.is_final() || !job.window_is_open() {
            return None;
        }
        let index = match job.ready.pop_first() {
            Some(index) => index,
            None if job.cursor < job.total() => {
                job.cursor += 1;
                job.cursor - 1
            }
            None => return None,
        };
        if job.state_of(index) == TaskState::Waiting {
            return Some(index);
        }
    }
}

fn removed() -> Option<&'static str> {
    Some("player removed")
}
