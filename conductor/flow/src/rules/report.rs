//! What a player reports about orders: started, ended, refused.
//!
//! Whatever is durable on the player is acknowledged once it is durable here, also if it is late,
//! unknown, or of another store; otherwise the player would repeat it for ever. There is one
//! exception. While the store may be an old copy, or the player is quarantined, only reports of
//! attempts that this store sent are acknowledged. All others are evidence, which the player keeps.

use orchestra_model::{
    Millis, TaskState, Timestamp,
    delivery::{
        AttemptKey, EndBytes, EndSummary, KnownEnd, OrderNumber, Outcome, Refusal, Report, Term,
    },
    record::{EndRecord, Record},
};

use crate::{
    Engine,
    effect::Command,
    ids::{PlayerIx, SessionId},
    rules::holds::Left,
    tables::{
        job::Job,
        task::{Exit, TaskRef},
    },
};

impl Engine {
    pub(crate) fn report(
        &mut self,
        player: PlayerIx,
        session: SessionId,
        report: Report<KnownEnd>,
    ) {
        if self.roster[player].session() != Some(session) {
            return;
        }
        let key = report.key();
        let awaited = self.awaited(player, key);
        let is_doubted = self.stale.is_some() || self.roster[player].quarantine().is_some();
        let is_known = awaited.is_some() || self.is_late(player, key);
        let is_about_term =
            matches!(report, Report::Refused { refusal: Refusal::StaleTerm { .. }, .. });
        if is_doubted && !is_known && !is_about_term {
            return;
        }
        match report {
            Report::Started { order, at, .. } => {
                self.note_answered(player, key, order);
                if let Some(task) = awaited {
                    self.note_start(task, at);
                }
            }
            Report::Ended { order, end: KnownEnd { summary, bytes }, .. } => {
                self.note_answered(player, key, order);
                match awaited {
                    Some(task) => {
                        self.keep_end(player, key, bytes, false);
                        self.end_attempt(player, task, &summary);
                    }
                    None if is_known => self.keep_end(player, key, bytes, true),
                    None => {}
                }
                self.forget_stranger(player, key);
                self.send(player, session, Command::Acknowledge(key));
            }
            Report::Refused { refusal: Refusal::StaleTerm { seen, evidence }, .. } => {
                // Such a refusal says nothing of the attempt, which an earlier order may have
                // started.
                let proven = evidence.map_or(Term(0), |evidence| evidence.proof.term);
                if proven > self.term {
                    self.find_stale(format!(
                        "player {} has proof of term {} of this store, which is at term {}",
                        self.roster.host(player),
                        proven.0,
                        self.term.0,
                    ));
                } else if seen > self.term {
                    self.doubt_term(player, seen);
                }
            }
            Report::Refused { refusal, .. } => {
                // An attempt with this refusal has been forgotten by the player, so nothing is to
                // be acknowledged.
                let kept = refusal != Refusal::AlreadyAcknowledged;
                if let Some(task) = awaited {
                    self.refuse(player, task, &refusal);
                }
                self.forget_stranger(player, key);
                if kept {
                    self.send(player, session, Command::Acknowledge(key));
                }
            }
        }
    }

    /// The task in flight on this player whose newest attempt is this one.
    fn awaited(&self, player: PlayerIx, key: AttemptKey) -> Option<TaskRef> {
        if key.store != self.store {
            return None;
        }
        let mut in_flight = self.roster[player].in_flight().iter().map(|flying| flying.task);
        let task = in_flight.find(|task| task.job() == key.job)?;
        let attempt = self.job(key.job)?.task(task.index).attempt;
        (attempt == key.attempt).then_some(task)
    }

    /// Whether an end that nobody awaits is to be kept, because it is the end of an attempt that
    /// was given up as lost. If the flow has ended, only the store knows which attempts have an
    /// end; it never replaces an end by one that came late.
    fn is_late(&self, player: PlayerIx, key: AttemptKey) -> bool {
        if key.store != self.store {
            return false;
        }
        let Some(flow) = self.flows.get(key.job.flow) else {
            return self.ended.contains_key(&key.job.flow);
        };
        flow.job(key.job).is_some_and(|job| {
            let Some(place) = self.roster.place_among(job.targets(), player) else { return false };
            let task = job.task(job.index_of(place));
            // The store keeps the first end of an attempt that it knows of. It keeps the end of a
            // later attempt only if it may have forgotten that the attempt was sent.
            task.state == TaskState::Lost || key.attempt <= task.attempt
        })
    }

    /// Notes that a spool has answered for an order. From then on its mark is never below that
    /// order, unless the spool has gone back to an older state; the next attach shows which.
    fn note_answered(&mut self, player: PlayerIx, key: AttemptKey, order: OrderNumber) {
        if key.store == self.store {
            self.roster.change(player, |player| player.note_answered(order));
        }
    }

    fn keep_end(&mut self, player: PlayerIx, key: AttemptKey, end: EndBytes, late: bool) {
        let (job, attempt, host) = (key.job, key.attempt, self.host(player));
        self.put(Record::End(EndRecord { job, host, attempt, late, end }));
    }

    fn forget_stranger(&mut self, ix: PlayerIx, key: AttemptKey) {
        self.roster.change(ix, |player| player.forget_stranger(key));
    }

    /// Notes that an attempt's process exists, and writes that. Should the spool not know of the
    /// process later, it has gone back to an older state and would start the attempt a second time.
    pub(crate) fn note_start(&mut self, task: TaskRef, at: Timestamp) {
        let now = self.now;
        match self.flows.change(task.job(), |job| job.note_start(task.index, at, now)).flatten() {
            Some(true) => self.tell_task(task),
            Some(false) => self.publish_task(task),
            None => {}
        }
    }

    fn end_attempt(&mut self, player: PlayerIx, task: TaskRef, end: &EndSummary) {
        let now = self.now;
        let (state, detail) = match &end.outcome {
            Outcome::Exited(0) => (TaskState::Ok, None),
            Outcome::Exited(_) | Outcome::Signalled(_) => (TaskState::Failed, None),
            Outcome::TimedOut => (TaskState::TimedOut, None),
            Outcome::Cancelled => (TaskState::Cancelled, None),
            Outcome::Lost(why) => (TaskState::Lost, Some(why.as_str())),
        };
        let delay = self.flows.change(task.job(), |job| {
            let exit = Exit::of(&end.outcome);
            job.end_attempt(task.index, state, exit, end.started_at, now)
        });
        match delay.flatten() {
            Some(delay) => {
                let due = (delay > Millis(0)).then(|| now.after(delay));
                self.wait_again(task, player, Left::Down(state), due);
            }
            None => self.finish(task, state, detail),
        }
    }

    /// Takes the player's word that an attempt did not start and never will.
    fn refuse(&mut self, player: PlayerIx, task: TaskRef, refusal: &Refusal) {
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task that was refused is of no job");
        };
        if *refusal == Refusal::AlreadyAcknowledged {
            return self.finish(task, TaskState::Lost, Some("the player has no trace of it"));
        }
        let cancelled = *refusal == Refusal::Cancelled && job.is_to_be_killed();
        let (closed, moves) = (job.is_closed() || cancelled, self.may_move(job));
        let about_unit = job.spec().unit.is_some();
        self.release(task, player, Left::Unstarted);
        match refusal {
            _ if closed => self.finish(task, TaskState::Cancelled, None),
            // The player may remember a cancel that a restored store has forgotten, or the cancel
            // of a doomed job that somebody has retried since.
            Refusal::Busy | Refusal::Stopping | Refusal::Cancelled => {
                self.step_back(player, task, false);
                self.ask_busy_later(player, about_unit);
            }
            _ if moves => self.step_back(player, task, true),
            refusal => self.finish(task, TaskState::Refused, Some(&refusal.to_string())),
        }
    }

    /// Whether a task that its player will never start may still go to another player: it is a
    /// one-of task, not bound to this player by a retry, and another candidate is left.
    fn may_move(&self, job: &Job) -> bool {
        let is_left =
            |place| Some(place) != job.choice().chosen && !job.choice().struck.contains(&place);
        let mut places = (0..).zip(job.targets().iter());
        job.is_one_of()
            && job.task(0).before.is_none()
            && places.any(|(place, player)| is_left(place) && self.roster[*player].is_member())
    }

    /// Makes the task wait again. A one-of task may go to another player, because this one did not
    /// start it, unless a retry binds it here. With `strike`, this player is excluded for good.
    fn step_back(&mut self, player: PlayerIx, task: TaskRef, strike: bool) {
        let moves = |job: &&Job| job.is_one_of() && job.task(0).before.is_none();
        let goes_elsewhere = self.job(task.job()).filter(moves).is_some();
        if goes_elsewhere {
            self.flows.change(task.job(), Job::unbind);
        }
        self.wait_again(task, player, Left::Unstarted, None);
        if !goes_elsewhere {
            return;
        }
        self.flows.change(task.job(), |job| job.choose_anew(strike));
        self.recount_choice(task.job());
    }
}
