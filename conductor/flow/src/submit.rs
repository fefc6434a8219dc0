//! A flow comes in: checked whole, stored whole, begun.

use std::sync::Arc;

use orchestra_model::{
    FlowId, FlowState, HostSet, JobId, JobState,
    flow::{JobSpec, Scope},
    record::{CHUNK_BYTES, Op, ParamsRecord, Record, SpecChunk, TargetsChunk},
};

use crate::{
    Engine, Submission,
    deadline::Deadline,
    effect::{Answer, Rejection},
    flow::{Flow, shown},
    job::Job,
    roster::PlayerIx,
    task::TaskRef,
};

impl Engine {
    pub(crate) fn submit(&mut self, submission: Submission) {
        let reply = submission.reply;
        let request = (submission.audience.clone(), submission.request);
        if let Some(flow) = self.requests.get(&request) {
            let answer = Answer::Submitted { flow: *flow, repeated: true };
            return self.answer(reply, answer);
        }
        match self.accept(submission) {
            Ok(flow) => {
                self.requests.insert(request, flow);
                self.answer(reply, Answer::Submitted { flow, repeated: false });
                self.begin_slot(flow);
            }
            Err(rejection) => self.answer(reply, Answer::Rejected(rejection)),
        }
    }

    /// Checks everything before anything is changed.
    fn accept(&mut self, submission: Submission) -> Result<FlowId, Rejection> {
        let Submission { request, audience, spec, spec_bytes, targets, mut params, .. } =
            submission;
        spec.check().map_err(Rejection::Invalid)?;
        let id = self.next_flow;
        if id >= FlowId::MAX {
            return Err(Rejection::NoMoreFlows);
        }
        let mut tasks: u64 = 0;
        let mut players: Vec<Vec<Arc<[PlayerIx]>>> = Vec::with_capacity(targets.len());
        for (slot, sets) in spec.slots.iter().zip(&targets) {
            let resolved = slot.jobs.iter().zip(sets).map(|(job, hosts)| {
                tasks += match job.scope {
                    Scope::All => hosts.len() as u64,
                    Scope::One => 1,
                };
                self.resolve(job, hosts)
            });
            players.push(resolved.collect::<Result<_, _>>()?);
        }
        let most = self.settings.most_tasks;
        if tasks > most {
            return Err(Rejection::TooManyTasks { tasks, most });
        }

        self.next_flow = id.next();
        self.persist(Op::Put(Record::NextFlow(self.next_flow)));
        for (index, bytes) in (0..).zip(spec_bytes.chunks(CHUNK_BYTES)) {
            self.persist(Op::Put(Record::Spec(SpecChunk { flow: id, index, bytes: bytes.into() })));
        }
        let mut slots = Vec::with_capacity(spec.slots.len());
        for (slot, ((spec, targets), players)) in
            (1_u16..).zip(spec.slots.into_iter().zip(&targets).zip(players))
        {
            let mut jobs = Vec::with_capacity(spec.jobs.len());
            for (job, ((spec, hosts), players)) in
                (1_u16..).zip(spec.jobs.into_iter().zip(targets).zip(players))
            {
                let job_id = JobId { flow: id, slot, job };
                let params = params.remove(&(slot, job)).unwrap_or_default();
                let folded = hosts.to_string();
                self.persist_targets(job_id, &folded);
                if !params.is_empty() {
                    let params = params.clone();
                    self.persist(Op::Put(Record::Params(ParamsRecord { job: job_id, params })));
                }
                let score = self.roster.intern_score(&spec.score);
                let job = Job::new(job_id, spec, params, score, players, shown(&folded));
                self.persist(job.record());
                jobs.push(job);
            }
            slots.push(jobs);
        }
        let flow = Flow {
            id,
            request,
            audience,
            name: spec.name,
            state: FlowState::Pending,
            submitted_at: self.now,
            ended_at: None,
            cancelled_by: None,
            slots,
            slot: 0,
        };
        self.persist(flow.record());
        self.flows.insert(id, flow);
        Ok(id)
    }

    fn resolve(&self, job: &JobSpec, hosts: &HostSet) -> Result<Arc<[PlayerIx]>, Rejection> {
        if hosts.is_empty() {
            return Err(Rejection::NoHosts(job.name.clone()));
        }
        let players: Option<Arc<[PlayerIx]>> =
            hosts.iter().map(|host| self.roster.member(host)).collect();
        players.ok_or_else(|| {
            let unknown = hosts.unknown(|host| self.roster.member(host).is_some());
            Rejection::UnknownHosts(job.name.clone(), unknown)
        })
    }

    fn persist_targets(&mut self, job: JobId, folded: &str) {
        // Folded host sets are ASCII, so any cut falls between characters.
        for (index, chunk) in (0..).zip(folded.as_bytes().chunks(CHUNK_BYTES)) {
            let text = String::from_utf8_lossy(chunk).as_ref().into();
            self.persist(Op::Put(Record::Targets(TargetsChunk { job, index, text })));
        }
    }

    /// Begins the flow's present slot.
    pub(crate) fn begin_slot(&mut self, id: FlowId) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        let slot = flow.slot;
        let mut begun = Vec::new();
        for job in &mut flow.slots[slot] {
            job.state = JobState::Running;
            job.started_at = Some(now);
            begun.push((job.id, job.record(), job.event(), job.spec.give_up_after));
        }
        self.update_flow(id);
        for (job, record, event, give_up_after) in begun {
            self.persist(record);
            self.publish(event);
            self.enqueue(job);
            let one_of = self.job(job).is_some_and(Job::is_one_of);
            if let (Some(patience), true) = (give_up_after, one_of) {
                self.deadlines.insert(now.after(patience), Deadline::GiveUp(TaskRef::new(job, 0)));
            }
            self.evaluate(job);
        }
    }
}
