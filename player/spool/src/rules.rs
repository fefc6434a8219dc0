//! What each input means: the rules of delivery, one function each, in the order in which they are
//! decided.

use orchestra_model::delivery::{AttemptKey, OrderNumber, Refusal, StoreId, Term};

use crate::{
    attempt::{Plan, ProcessMark, Settlement},
    bounds,
    effect::{Effect, Report},
    entry::Entry,
    input::{Input, Session},
    spool::{Connection, Spool},
};

impl Spool {
    /// Takes in what happened. What it leads to is then in [`Spool::unwritten`] and
    /// [`Spool::poll_effect`]; several inputs may share one write.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Opened { session } => self.opened(session),
            Input::Attached { session, store, term } => self.attached(session, store, term),
            Input::Detached { session } => self.detached(session),
            Input::TermSeen { store, term } => drop(self.see_term(store, term)),
            Input::Ordered { term, order, key, admission } => {
                self.ordered(term, order, key, admission);
            }
            Input::Cancelled { term, order, key } => self.cancelled(term, order, key),
            Input::Acknowledged { term, key, order } => self.acknowledged(term, key, order),
            Input::Started { key, process } => self.started(key, process),
            Input::StartFailed { key, refusal } => self.start_failed(key, refusal),
            Input::Ended { key, end } => self.settle(key, Settlement::Ended(end)),
        }
    }

    fn opened(&mut self, session: Session) {
        self.connection = Some(Connection { session, store: None });
        self.act_snapshot(session);
    }

    /// Between snapshot and welcome nothing was said; so everything that the conductor may have
    /// missed is said now, also of attempts that started meanwhile.
    fn attached(&mut self, session: Session, store: StoreId, term: Term) {
        match &mut self.connection {
            Some(connection) if connection.session == session => connection.store = Some(store),
            _ => return,
        }
        // A stale conductor may listen; it cannot change anything.
        drop(self.see_term(store, term));
        let state = self.state();
        let keys: Vec<AttemptKey> = (state.live().keys().chain(state.settled().keys()))
            .filter(|key| key.store == store)
            .copied()
            .collect();
        for key in keys {
            self.repeat(key);
        }
    }

    fn detached(&mut self, session: Session) {
        self.connection.take_if(|connection| connection.session == session);
    }

    /// Keeps the highest term of a store. Refuses a lower one, and a store too many.
    fn see_term(&mut self, store: StoreId, term: Term) -> Result<(), Refusal> {
        let seen = self.state().term(store);
        if term < seen {
            return Err(Refusal::StaleTerm(seen));
        }
        let stores = self.state().stores();
        if !stores.contains_key(&store) && stores.len() >= bounds::STORES {
            let most = bounds::STORES;
            return Err(Refusal::Spool(format!("it has served {most} stores, the most it can")));
        }
        if term > seen {
            self.record(Entry::Term { store, term });
        }
        Ok(())
    }

    fn ordered(
        &mut self,
        term: Term,
        order: OrderNumber,
        key: AttemptKey,
        admission: Result<Plan, Refusal>,
    ) {
        if let Err(refusal) = self.see_term(key.store, term) {
            return self.say(Report::Refused { key, order, refusal });
        }
        if self.state().live().contains_key(&key) || self.state().settled().contains_key(&key) {
            // The same attempt under a further number is a duplicate too; the mark takes note of
            // it, or that number would count as news once the attempt is forgotten.
            self.raise_mark(key.store, order);
            return self.repeat(key);
        }
        if order <= self.state().mark(key.store) {
            return self.say(Report::Refused { key, order, refusal: Refusal::AlreadyAcknowledged });
        }
        if self.state().is_full() {
            let refusal = Refusal::Spool("too much waits to be acknowledged".to_owned());
            return self.say(Report::Refused { key, order, refusal });
        }
        let verdict = self.admit(key.store, order, admission);
        self.raise_mark(key.store, order);
        match verdict {
            Ok(plan) => {
                self.record(Entry::Starting { key, order, plan: plan.clone() });
                self.act(Effect::Start { key, order, plan });
            }
            Err(refusal) => {
                self.settle_order(key, order, Settlement::Refused(bounded(refusal)));
            }
        }
    }

    /// Whether an order that is news may run now.
    fn admit(
        &self,
        store: StoreId,
        order: OrderNumber,
        admission: Result<Plan, Refusal>,
    ) -> Result<Plan, Refusal> {
        if self.state().is_cancelled_ahead(store, order) {
            return Err(Refusal::Cancelled);
        }
        if self.state().is_heavy() {
            return Err(Refusal::Busy);
        }
        if let Some(why) = &self.broken {
            return Err(Refusal::Spool(why.clone()));
        }
        if admission == Err(Refusal::Stopping) {
            return Err(Refusal::Stopping);
        }
        let live = || self.state().live().values().map(|live| &live.plan);
        if live().count() >= self.capacity || live().any(|plan| plan.exclusive) {
            return Err(Refusal::Busy);
        }
        let plan = admission?;
        let of_score = live().filter(|running| running.score == plan.score).count();
        let crowded = plan.concurrency.is_some_and(|most| of_score >= most as usize);
        let shared = plan.exclusive && live().next().is_some();
        if crowded || shared { Err(Refusal::Busy) } else { Ok(plan) }
    }

    fn cancelled(&mut self, term: Term, order: OrderNumber, key: AttemptKey) {
        if let Err(refusal) = self.see_term(key.store, term) {
            // `StaleTerm` tells a superseded conductor what it is. Another refusal would promise
            // that the attempt never runs; without a place to remember that, the cancel stays
            // unanswered and comes again.
            if matches!(refusal, Refusal::StaleTerm(_)) {
                self.say(Report::Refused { key, order, refusal });
            }
            return;
        }
        let remembered = self.cancel_ahead(key.store, order);
        if self.state().settled().contains_key(&key) {
            return self.repeat(key);
        }
        if let Some(live) = self.state().live().get(&key) {
            let first = !live.cancelling;
            if self.withdraw_start(key) {
                return self.settle(key, Settlement::Refused(Refusal::Cancelled));
            }
            if first {
                self.record(Entry::Cancelling { key });
            }
            return self.act(Effect::Kill { key });
        }
        if order <= self.state().mark(key.store) {
            let refusal = Refusal::AlreadyAcknowledged;
            return self.say(Report::Refused { key, order, refusal });
        }
        if remembered && !self.state().is_full() {
            self.settle_order(key, order, Settlement::Refused(Refusal::Cancelled));
        }
    }

    /// Keeps in mind that an order that has not come shall not run. Whether it is kept in mind.
    fn cancel_ahead(&mut self, store: StoreId, order: OrderNumber) -> bool {
        if order <= self.state().mark(store) {
            return false;
        }
        if self.state().is_cancelled_ahead(store, order) {
            return true;
        }
        let known = self.state().stores().get(&store).map_or(0, |known| known.ahead.len());
        let room = known < bounds::CANCELLED_AHEAD;
        if room {
            self.record(Entry::CancelledAhead { store, order });
        }
        room
    }

    fn acknowledged(&mut self, term: Term, key: AttemptKey, order: Option<OrderNumber>) {
        if self.see_term(key.store, term).is_err() {
            return;
        }
        let meant = |settled: OrderNumber| order.is_none_or(|order| order == settled);
        if self.state().settled().get(&key).is_some_and(|settled| meant(settled.order)) {
            self.record(Entry::Acknowledged { key });
        }
    }

    fn started(&mut self, key: AttemptKey, process: ProcessMark) {
        if self.is_starting(key) {
            self.record(Entry::Started { key, process });
            self.repeat(key);
        }
    }

    fn start_failed(&mut self, key: AttemptKey, refusal: Refusal) {
        if self.is_starting(key) {
            self.settle(key, Settlement::Refused(bounded(refusal)));
        }
    }

    fn is_starting(&self, key: AttemptKey) -> bool {
        self.state().live().get(&key).is_some_and(|live| live.process.is_none())
    }

    fn raise_mark(&mut self, store: StoreId, order: OrderNumber) {
        if order > self.state().mark(store) {
            self.record(Entry::Mark { store, mark: order });
        }
    }
}

/// The refusal with its text within [`bounds::REFUSAL_BYTES`].
fn bounded(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::ScoreDisabled(why) => Refusal::ScoreDisabled(shortened(why)),
        Refusal::Parameters(why) => Refusal::Parameters(shortened(why)),
        Refusal::SpawnFailed(why) => Refusal::SpawnFailed(shortened(why)),
        Refusal::Spool(why) => Refusal::Spool(shortened(why)),
        other => other,
    }
}

/// The text within [`bounds::REFUSAL_BYTES`].
pub(crate) fn shortened(mut text: String) -> String {
    let mut end = text.len().min(bounds::REFUSAL_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
