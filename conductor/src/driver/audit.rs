//! The one door for verbs: who asked is recorded in the same batch as what was done (promise 12).
//!
//! A verb is recorded when the engine answers it. Rejected verbs, and submissions that were known
//! already, change nothing and are not recorded.

use std::sync::Arc;

use orchestra_flow::{Answer, ReplyId, answer};
use orchestra_model::{
    audit::{Asker, AuditRecord, Object, Verb},
    record::{Op, Record},
};

use super::Driver;

/// A verb, and who asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) by: Asker,
    /// The reason, if the verb demands one.
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) verb: Verb,
}

impl Asked {
    /// Returns what an audience or a part of Orchestra asks, without a reason.
    pub(crate) fn by(by: impl Into<Asker>, verb: Verb) -> Self {
        Self { by: by.into(), reason: None, verb }
    }

    /// Returns what somebody on this host asks.
    pub(crate) fn locally(verb: Verb) -> Self {
        Self { by: Asker::Local, reason: None, verb }
    }

    pub(crate) fn because(self, reason: &Arc<str>) -> Self {
        Self { reason: Some(Arc::clone(reason)), ..self }
    }
}

impl Driver {
    /// Does what somebody asks for. What the engine answers to this address meanwhile is recorded
    /// with it.
    pub(super) fn do_as_asked(
        &mut self,
        asked: Option<Asked>,
        reply: ReplyId,
        work: impl FnOnce(&mut Self),
    ) {
        self.asking = asked.map(|asked| (reply, asked));
        work(self);
        self.asking = None;
    }

    /// Records what somebody asked for, with the engine's answer.
    pub(super) fn record_answer(&mut self, reply: ReplyId, answer: &Answer) {
        let Some((_, asked)) = self.asking.take_if(|(id, _)| *id == reply) else { return };
        let Some((on, answer)) = outcome(answer) else { return };
        let Asked { by, reason, verb } = asked;
        self.last_audit += 1;
        let (number, at) = (self.last_audit, self.clock.now());
        let answer = answer.into();
        let line = AuditRecord { number, at, by, verb, on, reason, answer };
        self.outgoing.persist(Op::Put(Record::Audit(line)));
    }
}

/// Returns what an answer is about, and what it says; `None` if nothing was done.
fn outcome(answer: &Answer) -> Option<(Object, String)> {
    let folded = |hosts: &orchestra_model::HostSet| Object::Hosts(hosts.to_string().into());
    Some(match answer {
        Answer::Submitted(answer::Submitted { repeated: true, .. }) | Answer::Rejected(_) => {
            return None;
        }
        Answer::Submitted(answer::Submitted { flow, .. }) => {
            (Object::Flow(*flow), "taken".to_owned())
        }
        Answer::Cancelled(answer::Cancelled { flow, state })
        | Answer::Changed(answer::Changed { flow, state }) => {
            (Object::Flow(*flow), format!("{state}"))
        }
        Answer::Retried(answer::Retried { flow, tasks }) => {
            (Object::Flow(*flow), format!("{tasks} tasks"))
        }
        Answer::Drained(answer::Drained { hosts, in_flight }) => {
            (folded(hosts), format!("{} hosts, {in_flight} orders out", hosts.len()))
        }
        Answer::ReleasedHolds(answer::ReleasedHolds { hosts }) => {
            (folded(hosts), format!("{} hosts", hosts.len()))
        }
        Answer::ReleasedPlayers(answer::ReleasedPlayers { hosts, lost }) => {
            (folded(hosts), format!("{} hosts, {lost} tasks lost", hosts.len()))
        }
        Answer::DeploymentsLoaded(answer::DeploymentsLoaded { deployments, cells }) => {
            (Object::Conductor, format!("{deployments} deployments, {cells} cells"))
        }
        Answer::Loaded(answer::Loaded { players, added, removed }) => {
            (Object::Conductor, format!("{players} players, {added} added, {removed} removed"))
        }
        Answer::Recovered(answer::Recovered { next_flow }) => {
            (Object::Conductor, format!("next flow {next_flow}"))
        }
    })
}
