//! The one door for verbs: who asked is recorded in the same batch as what was done (promise 12). What
//! happened is recorded here too, and each line is linked to the one before.
//!
//! A verb is recorded when the engine answers it. Rejected verbs, and submissions that were known
//! already, change nothing and are not recorded.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Answer, ReplyId, answer};
use orchestra_model::{
    TaskState,
    audit::{Asker, AuditEntry, AuditMark, AuditRecord, Deed, Happening, Object, Verb},
    record::{Op, Record},
    status::Event,
};
use orchestra_policy::Allowance;

use super::{
    Driver,
    held::{held, not_begun},
    mailbox::Told,
    outgoing::After,
};

/// A verb, and who asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) by: Asker,
    /// The reason, if the verb demands one.
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) verb: Verb,
    /// The rules by which it is allowed; `None` where no policy decided.
    pub(crate) rule: Option<Arc<str>>,
}

impl Asked {
    /// Returns what an audience or a part of Orchestra asks, without a reason.
    pub(crate) fn by(by: impl Into<Asker>, verb: Verb) -> Self {
        Self { by: by.into(), reason: None, verb, rule: None }
    }

    /// Returns what somebody on this host asks.
    pub(crate) fn locally(verb: Verb) -> Self {
        Self::by(Asker::Local, verb)
    }

    pub(crate) fn because(self, reason: &Arc<str>) -> Self {
        Self { reason: Some(Arc::clone(reason)), ..self }
    }

    /// Returns it with the rules by which it is allowed.
    pub(crate) fn under(self, allowance: &Allowance) -> Self {
        Self {
            rule: Some(allowance.to_string().into()).filter(|rule: &Arc<str>| !rule.is_empty()),
            ..self
        }
    }

    /// Returns the entry of what came of it.
    fn entry(self, on: Object, answer: impl Into<Arc<str>>) -> AuditEntry {
        let Self { by, reason, verb, rule } = self;
        AuditEntry { reason, rule, ..AuditEntry::new(by, Deed::Done(verb), on, answer) }
    }
}

impl Driver {
    /// Begins the record of this process, and the chain if there is none yet.
    pub(super) fn begin_record(&mut self) {
        // Where there is no key, because store and key do not belong together, nothing is linked.
        if self.audit.link.is_none() && self.proofs.keys().id().is_some() {
            let before = Object::Lines(self.audit.number);
            self.happened(Happening::ChainBegan, before, "each line is linked from here on");
        }
        let (version, term) = (env!("CARGO_PKG_VERSION"), self.header.term.0);
        let what = format!("version {version}, store {}, term {term}", self.header.store);
        self.happened(Happening::ConductorStarted, Object::Conductor, what);
    }

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
        self.record(asked, on, answer);
    }

    /// Records what somebody asked for and what came of it.
    pub(super) fn record(&mut self, asked: Asked, on: Object, what: String) {
        self.put_line(asked.entry(on, what));
    }

    /// Records verdicts of jobs, and ends of flows.
    pub(super) fn record_ends(&mut self, ends: Vec<AuditEntry>) {
        ends.into_iter().for_each(|entry| self.put_line(entry));
    }

    /// Records which files of the configuration are otherwise than they were, by the hashes of what
    /// was read.
    pub(super) fn record_files(
        &mut self,
        before: &BTreeMap<Arc<str>, Arc<str>>,
        now: &BTreeMap<Arc<str>, Arc<str>>,
    ) {
        // Whoever starts a conductor does so on its host.
        let by = self.asking.as_ref().map_or(Asker::Local, |(_, asked)| asked.by.clone());
        let mut lines: Vec<(Arc<str>, String)> = Vec::new();
        for (file, digest) in now {
            match before.get(file) {
                Some(known) if known == digest => {}
                Some(known) => lines.push((Arc::clone(file), format!("{known} -> {digest}"))),
                None => lines.push((Arc::clone(file), format!("new {digest}"))),
            }
        }
        let gone = before.iter().filter(|(file, _)| !now.contains_key(*file));
        lines.extend(gone.map(|(file, known)| (Arc::clone(file), format!("gone {known}"))));
        for (file, what) in lines {
            let deed = Deed::Happened(Happening::Configured);
            self.put_line(AuditEntry::new(by.clone(), deed, Object::File(file), what));
        }
    }

    /// Records entries that others made, and answers once they are on disk.
    pub(super) fn record_entries(&mut self, entries: Vec<AuditEntry>, reply: Told<()>) {
        entries.into_iter().for_each(|entry| self.put_line(entry));
        self.outgoing.hold(After::Tell(Box::new(|fate| {
            let _ = reply.send(fate.map_err(held));
        })));
    }

    /// Removes the lines below a number, and records that. Answered when it is on disk.
    pub(super) fn prune_audit(&mut self, below: u64, reply: Told<()>) {
        if let Some(trouble) = self.outgoing.trouble() {
            // The asker may have gone.
            let _ = reply.send(Err(not_begun(trouble)));
            return;
        }
        self.outgoing.persist(Op::PruneAudit(below));
        let what = "kept long enough";
        self.happened(Happening::AuditPruned, Object::Lines(below.saturating_sub(1)), what);
        self.outgoing.hold(After::Tell(Box::new(|fate| {
            let _ = reply.send(fate.map_err(held));
        })));
    }

    /// Tells which line is the newest, once that is on disk.
    pub(super) fn tell_audit_head(&mut self, reply: Told<AuditMark>) {
        let head = self.audit;
        self.tell_all(reply, head);
    }

    fn happened(&mut self, what: Happening, on: Object, answer: impl Into<Arc<str>>) {
        self.put_line(AuditEntry::new(Asker::Keeper, Deed::Happened(what), on, answer));
    }

    /// Writes the next line, linked to the one before.
    fn put_line(&mut self, entry: AuditEntry) {
        let (number, at) = (self.audit.number + 1, self.clock.now());
        let mut line = AuditRecord { number, at, entry, link: None };
        line.link = self.proofs.keys().link(self.audit.previous(), &line.to_bytes());
        self.audit = line.mark();
        self.outgoing.persist(Op::Put(Record::Audit(line)));
    }
}

/// Returns the entry of the verdict of a job, or of the end of a flow; `None` if an event is neither.
pub(super) fn entry_of_end(event: &Event) -> Option<AuditEntry> {
    let (happened, flow, what) = match event {
        Event::Flow { flow, state } if state.is_final() => {
            (Happening::FlowEnded, *flow, state.to_string())
        }
        Event::Job { job, state, counts, .. } if state.is_final() => {
            let (ok, all) = (counts.get(TaskState::Ok), counts.total());
            let what = format!("job {}.{}: {state}, {ok} of {all} ok", job.slot, job.job);
            (Happening::Verdict, job.flow, what)
        }
        _ => return None,
    };
    let deed = Deed::Happened(happened);
    Some(AuditEntry::new(Asker::Keeper, deed, Object::Flow(flow), what))
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
