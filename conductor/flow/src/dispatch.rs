//! Which task starts next: wanted, possible, chosen, emitted.

use orchestra_model::{JobId, Millis, TaskState, WaitReason, delivery::Order, record::Op};

use crate::{
    Engine,
    deadline::Deadline,
    effect::{Command, Effect},
    job::Job,
    player::Flying,
    roster::PlayerIx,
    task::{Parked, TaskRef},
};

/// Most tasks of one job that are looked at before the next job has its turn.
const TURN: u32 = 256;

impl Engine {
    /// Puts a job into the queue of those to look at, once.
    pub(crate) fn enqueue(&mut self, id: JobId) {
        let Some(job) = self.job_mut(id) else { return };
        if !std::mem::replace(&mut job.queued, true) {
            self.runnable.push_back(id);
        }
    }

    /// Lets the next queued job start what it may. How many steps that took, at least one; `None`
    /// where no job is queued, or nothing may be sent.
    pub(crate) fn take_turn(&mut self) -> Option<u32> {
        if self.stale.is_some() {
            return None;
        }
        let id = self.runnable.pop_front()?;
        if let Some(job) = self.job_mut(id) {
            job.queued = false;
        }
        for looked_at in 0..TURN {
            let Some(index) = self.job_mut(id).and_then(Job::next_wanted) else {
                return Some(looked_at.max(1));
            };
            self.offer(id, index);
        }
        self.enqueue(id);
        Some(TURN)
    }

    /// Starts a wanted task, or parks it on the gate that stops it.
    fn offer(&mut self, id: JobId, index: u32) {
        let Some(job) = self.job(id) else { return };
        if job.is_one_of() {
            return self.choose(id);
        }
        let (task, player) = (TaskRef::new(id, index), job.targets[index as usize]);
        if !self.roster[player].member {
            return self.withdraw(task);
        }
        match self.roster[player].newcomer_gate(&job.spec.score, task) {
            None => self.start(task, player),
            Some(gate) => self.park(task, player, gate),
        }
    }

    /// One of: the least busy player whose gates are all open, the first of them in host-set
    /// order. Where there is none, whichever opens first.
    fn choose(&mut self, id: JobId) {
        let task = TaskRef::new(id, 0);
        let Some(job) = self.job(id) else { return };
        let score = job.spec.score.clone();
        let candidates: Vec<(u32, PlayerIx)> = job.candidates().collect();
        let is_open = |(place, player): &&(u32, PlayerIx)| {
            let entry = TaskRef::new(id, *place);
            self.roster[*player].newcomer_gate(&score, entry).is_none()
        };
        let open = candidates.iter().filter(is_open);
        if let Some(&(place, player)) = open.min_by_key(|(_, player)| self.roster[*player].taken())
        {
            return self.start(TaskRef::new(id, place), player);
        }
        if !self.is_anybody_left(job) {
            return self.withdraw(task);
        }
        // Also on players that were removed: they may be added again while it waits.
        for (place, player) in candidates {
            self.roster[player].park(&score, TaskRef::new(id, place));
        }
        if let Some(job) = self.job_mut(id) {
            job.park(0, Parked::Player);
        }
        self.arm_give_up(task);
    }

    /// Whether the players file still names one on which the one-of job may run.
    pub(crate) fn is_anybody_left(&self, job: &Job) -> bool {
        job.candidates().any(|(_, player)| self.roster[player].member)
    }

    fn park(&mut self, task: TaskRef, player: PlayerIx, gate: WaitReason) {
        let Some(job) = self.flows.get_mut(&task.job().flow).and_then(|f| f.job_mut(task.job()))
        else {
            return;
        };
        job.park(task.index, Parked::Player);
        self.roster[player].park(&job.spec.score, task);
        if gate == WaitReason::PlayerAbsent {
            job.absent += 1;
            self.changed.insert(task.job());
            self.arm_give_up(task);
        }
    }

    /// Looks again at what is parked on a player, because something changed there.
    pub(crate) fn wake(&mut self, player: PlayerIx) {
        while self.stale.is_none()
            && let Some(entry) = self.roster[player].unpark_next()
        {
            let id = entry.job();
            let Some(job) = self.job_mut(id).filter(|job| job.awaits(entry.index)) else {
                continue;
            };
            if job.may_start() && job.window_is_open() {
                self.start(entry, player);
            } else {
                let index = job.index_of(entry.index);
                job.park(index, Parked::Ready);
                self.leave_behind(id);
            }
        }
    }

    /// Takes window, score concurrency and credit in one step, and emits the records, then the
    /// order. `entry` is as in the player's queue: for a one-of job it names the choice.
    fn start(&mut self, entry: TaskRef, ix: PlayerIx) {
        let (now, store, id) = (self.now, self.store, entry.job());
        let Some(session) = self.roster[ix].session else { return };
        let Some(job) = self.flows.get_mut(&id.flow).and_then(|flow| flow.job_mut(id)) else {
            return;
        };
        let task = TaskRef::new(id, job.index_of(entry.index));
        let was_parked = job.is_parked(task.index);
        if job.is_one_of() {
            job.choice.chosen = Some(entry.index);
        }
        let player = &mut self.roster[ix];
        player.last_order = player.last_order.next();
        player.in_flight.push(Flying { task, score: job.spec.score.clone() });
        job.touched.remove(&task.index);
        job.park(task.index, Parked::No);
        job.shift(task.index, TaskState::Sent);
        let known = job.task_mut(task.index);
        known.attempt += 1;
        known.order = player.last_order;
        known.sent_at = Some(now);
        known.started_at = None;
        known.detail = None;
        let order =
            Order { number: known.order, key: known.key(store, id), timeout: job.spec.timeout };
        for record in [player.record(), job.task(task.index).record(task, &player.host)] {
            self.effects.push_back(Effect::Persist(Op::Put(record)));
        }
        self.send(ix, session, Command::Order(order));
        if was_parked {
            self.leave_behind(id);
        }
    }

    /// Gives back what a task held on its player.
    pub(crate) fn release(&mut self, task: TaskRef, ix: PlayerIx) {
        self.disarm_loss(task, ix);
        let player = &mut self.roster[ix];
        player.in_flight.retain(|flying| flying.task != task);
        player.said_busy = false;
        self.woken.insert(ix);
        self.enqueue(task.job());
    }

    /// Lets a task that was sent wait again, because it is retried or did not start.
    pub(crate) fn wait_again(&mut self, task: TaskRef, player: PlayerIx) {
        self.release(task, player);
        let Some(job) = self.job_mut(task.job()) else { return };
        job.shift(task.index, TaskState::Waiting);
        job.touched.insert(task.index);
        job.park(task.index, Parked::Ready);
        self.record_task(task);
        self.publish_task(task);
        self.changed.insert(task.job());
    }

    /// A player said that it is busy though it should not be: ask again in a while, also if
    /// nothing ends there.
    pub(crate) fn hold_back(&mut self, player: PlayerIx) {
        const PAUSE: Millis = Millis::seconds(1);
        self.roster[player].said_busy = true;
        self.deadlines.insert(self.now.after(PAUSE), Deadline::AskBusyAgain(player));
    }

    /// Ends a task that waits for a player which the players file names no more.
    pub(crate) fn withdraw(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else { return };
        let state = job.task(task.index).given_up_as(TaskState::Cancelled);
        self.finish(task, state, Some("player removed"));
    }
}
