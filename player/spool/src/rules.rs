//! What each input means: the rules of delivery, one function for each input. A function decides in
//! the order in which it is written.

use orchestra_model::{
    delivery::{AgentSession, AttemptKey, OrderNumber, Refusal, Report, StoreId, Term},
    process::ProcessMark,
    proof::{Attempted, Evidence, Mac, Proof},
};

use crate::{
    attempt::{Plan, Settlement},
    bounds,
    effect::Effect,
    entry::Entry,
    input::Input,
    spool::{Connection, Spool},
};

impl Spool {
    /// Takes an input. What follows from it is then in [`Spool::unwritten`] and
    /// [`Spool::poll_effect`]. Several inputs may share one write.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Opened { session } => self.opened(session),
            Input::Attached { session, store } => self.attached(session, store),
            Input::Detached { session } => self.detached(session),
            Input::TermSeen { store, term, issued } => self.term_seen(store, term, issued),
            Input::Ordered { term, order, key, mac, admission } => {
                let proof = mac.map(|mac| Proof { term, mac });
                self.ordered(term, order, key, proof, admission);
            }
            Input::Cancelled { term, order, key, mac } => {
                let proof = mac.map(|mac| Proof { term, mac });
                self.cancelled(term, order, key, proof);
            }
            Input::Acknowledged { term, key, order } => self.acknowledged(term, key, order),
            Input::Started { key, process } => self.started(key, process),
            Input::StartFailed { key, refusal } => self.start_failed(key, refusal),
            Input::Ended { key, end } => self.settle(key, Settlement::Ended(end)),
        }
    }

    fn opened(&mut self, session: AgentSession) {
        self.connection = Some(Connection { session, store: None });
        self.act_snapshot(session);
    }

    /// Reports everything that the conductor may have missed, also attempts that started since the
    /// snapshot. Nothing is reported between snapshot and welcome.
    fn attached(&mut self, session: AgentSession, store: StoreId) {
        match &mut self.connection {
            Some(connection) if connection.session == session => connection.store = Some(store),
            _ => return,
        }
        // The conductor's term is not kept, because it comes without a proof and the player must be
        // able to prove what it claims. A conductor whose store is an old copy may listen, and
        // gives no proof.
        let state = self.state();
        let keys: Vec<AttemptKey> = (state.live().keys().chain(state.settled().keys()))
            .filter(|key| key.store == store)
            .copied()
            .collect();
        for key in keys {
            self.repeat(key);
        }
    }

    fn detached(&mut self, session: AgentSession) {
        self.connection.take_if(|connection| connection.session == session);
    }

    /// Keeps the highest term of a store. Refuses a lower term, and a store beyond the most.
    fn see_term(&mut self, store: StoreId, term: Term) -> Result<(), Refusal> {
        self.check_term(store, term)?;
        if term > self.state().term(store) {
            self.record(Entry::Term { store, term });
        }
        Ok(())
    }

    fn check_term(&self, store: StoreId, term: Term) -> Result<(), Refusal> {
        let seen = self.state().term(store);
        if term < seen {
            let evidence = self.state().evidence(store);
            return Err(Refusal::StaleTerm { seen, evidence });
        }
        let leaps = seen > Term(0) && term.0 - seen.0 > bounds::TERM_LEAP;
        if leaps || term.0 > bounds::REACHABLE {
            let (term, seen) = (term.0, seen.0);
            return Err(Refusal::Spool(format!(
                "term {term} cannot be one of this store, which was at {seen}"
            )));
        }
        let stores = self.state().stores();
        if !stores.contains_key(&store) && stores.len() >= bounds::STORES {
            let most = bounds::STORES;
            return Err(Refusal::Spool(format!("it has served {most} stores, the most it can")));
        }
        Ok(())
    }

    /// Keeps what a conductor proved when it named its term, so that the player can show it later.
    fn term_seen(&mut self, store: StoreId, term: Term, issued: Option<(OrderNumber, Mac)>) {
        if self.see_term(store, term).is_err() {
            return;
        }
        if let Some((order, mac)) = issued.filter(|(order, _)| is_reachable(*order)) {
            let proof = Proof { term, mac };
            self.keep_evidence(store, Evidence { order, attempt: None, proof });
        }
    }

    /// Returns whether an order is news that only its admission may still refuse.
    pub fn is_open_to(&self, term: Term, order: OrderNumber, key: AttemptKey) -> bool {
        let state = self.state();
        let is_known = state.live().contains_key(&key) || state.settled().contains_key(&key);
        let is_news = !is_known
            && order > state.mark(key.store)
            && !state.is_cancelled_ahead(key.store, order);
        let has_room = !state.is_full() && !state.is_heavy() && self.broken.is_none();
        is_news && has_room && is_reachable(order) && self.check_term(key.store, term).is_ok()
    }

    fn ordered(
        &mut self,
        term: Term,
        order: OrderNumber,
        key: AttemptKey,
        proof: Option<Proof>,
        admission: Result<Plan, Refusal>,
    ) {
        let possible = self.see_term(key.store, term).and_then(|()| check_number(order));
        if let Err(refusal) = possible {
            return self.say(Report::Refused { key, order, refusal });
        }
        self.keep_proof(key, order, proof);
        if self.state().live().contains_key(&key) || self.state().settled().contains_key(&key) {
            // A known attempt under a further number is a duplicate too. The mark rises to that
            // number, which otherwise would count as news once the attempt is forgotten.
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
                self.record(Entry::Starting { key, order, proof, plan: plan.clone() });
                self.act(Effect::Start { key, order, plan });
            }
            Err(refusal) => {
                self.settle_order(key, order, proof, Settlement::Refused(bounded(refusal)));
            }
        }
    }

    fn keep_proof(&mut self, key: AttemptKey, order: OrderNumber, proof: Option<Proof>) {
        if let Some(proof) = proof {
            let attempt = Some(Attempted::from(key));
            self.keep_evidence(key.store, Evidence { order, attempt, proof });
        }
    }

    /// Keeps what a store proved if it says more than the evidence before.
    fn keep_evidence(&mut self, store: StoreId, evidence: Evidence) {
        if self.state().is_news(store, &evidence) {
            self.record(Entry::Evidence { store, evidence });
        }
    }

    /// Decides whether an order that is news may run now.
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
        if admission.as_ref().is_ok_and(Plan::is_watching) {
            return admission;
        }
        let plans = || self.state().live().values().map(|live| &live.plan);
        let live = || plans().filter(|plan| !plan.is_watching());
        if live().count() >= self.capacity || live().any(|plan| plan.exclusive) {
            return Err(Refusal::Busy);
        }
        let plan = admission?;
        let of_score = live().filter(|running| running.score == plan.score).count();
        let crowded = plan.concurrency.is_some_and(|most| of_score >= most as usize);
        let shared = plan.exclusive && live().next().is_some();
        if crowded || shared { Err(Refusal::Busy) } else { Ok(plan) }
    }

    fn cancelled(&mut self, term: Term, order: OrderNumber, key: AttemptKey, proof: Option<Proof>) {
        if let Err(refusal) = self.see_term(key.store, term) {
            // `StaleTerm` tells a superseded conductor that it is one. Another refusal would
            // promise that the attempt never runs, which this spool has no room to remember. So the
            // cancel stays unanswered and comes again.
            if matches!(refusal, Refusal::StaleTerm { .. }) {
                self.say(Report::Refused { key, order, refusal });
            }
            return;
        }
        if !is_reachable(order) {
            return;
        }
        self.keep_proof(key, order, proof);
        let remembered = self.cancel_ahead(key.store, order);
        if self.state().settled().contains_key(&key) {
            return self.repeat(key);
        }
        if let Some(live) = self.state().live().get(&key) {
            let first = !live.cancelling;
            // The order for a watched unit holds, so its watch is not withdrawn.
            if !live.plan.is_watching() && self.withdraw_start(key) {
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
            self.settle_order(key, order, proof, Settlement::Refused(Refusal::Cancelled));
        }
    }

    /// Remembers that an order that has not come must not run. Returns whether there was room to
    /// remember it.
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
        // As with an attach, the term is not kept.
        if term < self.state().term(key.store) {
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

/// Returns whether a store can have reached this number.
fn is_reachable(order: OrderNumber) -> bool {
    order.0 <= bounds::REACHABLE
}

fn check_number(order: OrderNumber) -> Result<(), Refusal> {
    match is_reachable(order) {
        true => Ok(()),
        false => Err(Refusal::Spool(format!("no store can have issued order {order}"))),
    }
}

/// Returns the refusal, its text cut to [`bounds::REFUSAL_BYTES`].
fn bounded(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::ScoreDisabled(why) => Refusal::ScoreDisabled(shortened(why)),
        Refusal::Parameters(why) => Refusal::Parameters(shortened(why)),
        Refusal::SpawnFailed(why) => Refusal::SpawnFailed(shortened(why)),
        Refusal::Spool(why) => Refusal::Spool(shortened(why)),
        Refusal::Limits(why) => Refusal::Limits(shortened(why)),
        Refusal::Bundle(why) => Refusal::Bundle(shortened(why)),
        Refusal::Source(why) => Refusal::Source(shortened(why)),
        Refusal::Policy(why) => Refusal::Policy(shortened(why)),
        other => other,
    }
}

/// Returns the text, cut to [`bounds::REFUSAL_BYTES`].
pub(crate) fn shortened(mut text: String) -> String {
    let mut end = text.len().min(bounds::REFUSAL_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
