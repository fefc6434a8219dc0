//! The engine's effects: gathered, and performed once everything before them is on disk.

use std::sync::Arc;

use orchestra_flow::{Answer, Command, Effect, Input, PlayerIx, ReplyId, ReplyTo, SessionId};
use orchestra_model::{
    FlowId, JobId,
    delivery::{AttemptKey, OrderNumber},
    proof::{Attempted, Mac, Statement},
    status::Event,
};
use orchestra_proto::{mac_to_wire, order_to_wire, v1, v1::command::Kind};
use orchestra_store::CommitError;
use tokio::time::Instant;

use super::{
    Driver,
    audit::entry_of_end,
    held::{held, not_begun, not_told},
    outgoing::{After, Done},
};
use crate::{
    declined::{Declined, Ground},
    lines::{EncodedJob, Goodbye, Header},
    writer::Written,
};

impl Driver {
    /// Sorts the engine's effects into what is to be written and what waits for that.
    pub(super) fn gather(&mut self) {
        let effects: Vec<Effect> = self.engine.effects().collect();
        self.sort(effects);
        self.serve_services();
    }

    pub(super) fn sort(&mut self, effects: Vec<Effect>) {
        // What somebody asked for is on record before what came of it.
        let mut ends = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(op) => self.outgoing.persist(op),
                Effect::Send { player, session, command: Command::Order(order) } => {
                    let order = self.with_instance(order, player);
                    let Some(job) = self.encoded_job(order.key.job) else { continue };
                    let Some(mac) = self.prove(player, session, order.number, Some(order.key))
                    else {
                        continue;
                    };
                    let order = order_to_wire(&order, job.digest.clone(), mac);
                    self.outgoing.hold(After::Order { session, order, job });
                }
                effect => {
                    match &effect {
                        Effect::Answer { reply, answer } => self.note_answer(*reply, answer),
                        Effect::Publish(event) => {
                            ends.extend(entry_of_end(event));
                            self.note_unit_event(event);
                        }
                        _ => {}
                    }
                    self.outgoing.hold(After::Effect(effect));
                }
            }
        }
        self.record_ends(ends);
    }

    /// Does what an answer means for others than its asker.
    fn note_answer(&mut self, reply: ReplyId, answer: &Answer) {
        self.record_answer(reply, answer);
        if let Answer::Drained(drained) = answer {
            self.note_drained(&drained.hosts);
        }
    }

    /// Returns the proof that an order was issued to a player, in the term of its session; `None`
    /// if the session is over.
    fn prove(
        &self,
        player: PlayerIx,
        session: SessionId,
        order: OrderNumber,
        key: Option<AttemptKey>,
    ) -> Option<Mac> {
        let Header { store, term } = self.sessions.get(&session)?.header;
        let (player, attempt) = (self.engine.roster().host(player), key.map(Attempted::from));
        Some(self.proofs.keys().prove(&Statement { store, player, term, order, attempt }))
    }

    /// Returns the large part of a job's orders, which is encoded when the first order leaves.
    fn encoded_job(&mut self, id: JobId) -> Option<Arc<EncodedJob>> {
        if let Some(job) = self.jobs.get(&id) {
            return Some(Arc::clone(job));
        }
        let mut part = self.engine.job_part(id)?;
        part.seal = self.seal_for(&part.score, &part.params);
        let body = v1::JobBody::from(&part);
        let job = Arc::new(EncodedJob::new(self.header, &body));
        self.jobs.insert(id, Arc::clone(&job));
        Some(job)
    }

    /// Gives what was gathered to the writer, if it is free, and does what needs no writing.
    pub(super) fn flush(&mut self) {
        for after in self.outgoing.flush() {
            self.perform(after);
        }
    }

    /// Takes the writer's answer.
    pub(super) fn settle(&mut self, written: Written) -> Result<(), CommitError> {
        let done = self.outgoing.settle(written)?;
        self.held_since = match self.outgoing.trouble() {
            Some(_) => self.held_since.or(Some(self.clock.now())),
            None => None,
        };
        match done {
            Done::Perform(held) => held.into_iter().for_each(|after| self.perform(after)),
            Done::Raised(outcome) => {
                let Some((asked, reply)) = self.recovering.take() else { return Ok(()) };
                match outcome {
                    Ok((term, keys)) => {
                        self.proofs.replace(keys);
                        self.header = Header { term, ..self.header };
                        // Encoded jobs carry the old term.
                        self.jobs.clear();
                        let Some(reply) = self.begin(reply) else { return Ok(()) };
                        let input = Input::StoreRecovered { reply: ReplyTo::new(reply), term };
                        self.do_as_asked(Some(asked), reply, |driver| driver.handle(input));
                        self.tell_services(orchestra_service::Input::StoreRecovered { term });
                    }
                    Err(trouble) => {
                        let _ = reply.send(Err(not_begun(&trouble)));
                    }
                }
            }
            Done::Trouble => self.refuse_all(),
        }
        Ok(())
    }

    /// Tells everybody who waits for the store that it cannot be written. Only the loader of a
    /// fleet waits on: that fleet is in force already, and its limits and certificates must follow.
    fn refuse_all(&mut self) {
        let trouble = self.outgoing.trouble().unwrap_or_default().to_owned();
        // A rejection changed nothing, so it need not wait for the disk.
        for id in self.outgoing.rejected() {
            if let Some(reply) = self.replies.remove(&id) {
                let _ = reply.send(Err(not_begun(&trouble)));
            }
        }
        let loading = &self.loading;
        for (_, reply) in self.replies.extract_if(|id, _| !loading.contains(id)) {
            let _ = reply.send(Err(held(&trouble)));
        }
        for after in self.outgoing.take_answers() {
            refuse(after, &trouble);
        }
        if self.outgoing.call_off_raise()
            && let Some((_, reply)) = self.recovering.take()
        {
            let _ = reply.send(Err(not_begun(&trouble)));
        }
    }

    pub(super) fn perform(&mut self, after: After) {
        match after {
            After::Order { session, order, job } => {
                if let Some(session) = self.sessions.get(&session) {
                    session.outbox.order(session.header, order, &job);
                }
            }
            After::Tell(tell) => tell(Ok(())),
            After::Watch { flow, watcher, watching, reply } => {
                if reply.send(Ok(*watching)).is_ok() {
                    self.watchers.add(flow, watcher);
                }
            }
            After::Effect(effect) => self.perform_effect(effect),
        }
    }

    fn perform_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Send { player, session: id, command } => {
                let Some(session) = self.sessions.get(&id) else { return };
                let prove = |order, key| {
                    self.prove(player, id, order, key).map(mac_to_wire).unwrap_or_default()
                };
                match command {
                    Command::Hello(issued) => {
                        let hello = v1::Hello { issued: issued.0, mac: prove(issued, None) };
                        session.outbox.command(session.header, Kind::Hello(hello));
                    }
                    Command::Cancel { key, order } => {
                        let mac = prove(order, Some(key));
                        let cancel = v1::Cancel { key: Some(key.into()), order: order.0, mac };
                        session.outbox.command(session.header, Kind::Cancel(cancel));
                    }
                    Command::Acknowledge(key) => {
                        let acknowledge = v1::Acknowledge { key: Some(key.into()), order: 0 };
                        let (kind, now) = (Kind::Acknowledge(acknowledge), Instant::now());
                        if session.outbox.later(session.header, kind, now) {
                            self.lingering.add(now, id);
                        }
                    }
                    // `gather` has sorted these out.
                    Command::Order(_) => {}
                }
            }
            Effect::Close { player, session, reason } => {
                let host = self.engine.roster().host(player);
                tracing::info!(player = %host, %reason, "session ended");
                if let Some(session) = self.sessions.remove(&session) {
                    let why = Declined::new(Ground::Overtaken, reason.to_string());
                    session.outbox.end(Goodbye::Declined(why));
                }
            }
            Effect::Answer { reply, answer } => self.answer(reply, answer),
            Effect::Publish(event) => self.publish(&event),
            Effect::Inconsistent { flow, what } => {
                tracing::error!(
                    %flow, what,
                    "the conductor's tables contradict each other, which is a mistake of ours: \
                     nothing new of the flow starts until it is paused and resumed, or the \
                     conductor starts anew"
                );
            }
            // `gather` has sorted these out.
            Effect::Persist(_) => {}
        }
    }

    /// Sends acknowledgements that have waited long enough.
    pub(super) fn send_lingering(&mut self, now: Instant) {
        for (since, session) in self.lingering.take_due(now) {
            if let Some(session) = self.sessions.get(&session) {
                session.outbox.hurry(since);
            }
        }
    }

    fn answer(&mut self, id: ReplyId, answer: Answer) {
        self.loading.remove(&id);
        if let Some(reply) = self.replies.remove(&id) {
            // The asker may have gone.
            let _ = reply.send(Ok(answer));
        }
    }

    fn publish(&mut self, event: &Event) {
        self.watchers.tell(event);
        if let Event::Flow { flow, state } = event
            && state.is_final()
        {
            self.watchers.end(*flow);
            self.forget_jobs(*flow);
        }
    }

    /// Forgets the encoded jobs of a flow, because its parameters are erased.
    fn forget_jobs(&mut self, flow: FlowId) {
        let first = JobId { flow, slot: 0, job: 0 };
        let next = JobId { flow: flow.next(), ..first };
        let ended: Vec<JobId> = self.jobs.range(first..next).map(|(job, _)| *job).collect();
        for job in ended {
            self.jobs.remove(&job);
        }
    }
}

/// Answers an asker who waits that there is no answer.
pub(super) fn refuse(after: After, trouble: &str) {
    // The asker may have gone.
    match after {
        After::Tell(tell) => tell(Err(trouble)),
        After::Watch { reply, .. } => {
            let _ = reply.send(Err(not_told(trouble)));
        }
        After::Effect(_) | After::Order { .. } => {}
    }
}
