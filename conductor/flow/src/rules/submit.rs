//! Submissions: each is checked whole, stored whole, and begun.

use std::sync::Arc;

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, HostSet, JobId, JobState,
    delivery::RequestId,
    flow::{JobSpec, Scope, SlotSpec},
    proof::Mac,
    record::{CHUNK_BYTES, FlowRecord, HostsChunk, Impact, ParamsRecord, Record, SpecChunk},
    thresholds::Thresholds,
};

use crate::{
    Engine, Submission,
    answer::{self, Rejection, ReplyTo},
    ids::{PlayerIx, TaskKind},
    rules::units::check_units,
    tables::{
        flow::{Flow, shown},
        job::Job,
    },
};

impl Engine {
    pub(crate) fn submit(&mut self, reply: ReplyTo<answer::Submitted>, submission: Submission) {
        let request = (submission.audience.clone(), submission.request);
        if let Some(flow) = self.requests.get(&request) {
            let answer = answer::Submitted { flow: *flow, repeated: true };
            return self.answer(reply, answer);
        }
        match self.accept(submission) {
            Ok(flow) => {
                self.requests.insert(request, flow);
                let retry_of = self.flows.get(flow).and_then(Flow::retry_of);
                if let Some(ended) = retry_of {
                    self.hand_over_holds(ended, flow);
                }
                self.answer(reply, answer::Submitted { flow, repeated: false });
                match self.flows.get(flow).is_some_and(Flow::waits_to_begin) {
                    true => self.look_at_start(flow),
                    false => self.begin_slot(flow),
                }
            }
            Err(rejection) => self.reject(reply, rejection),
        }
    }

    /// The flow of a request that was accepted, even if it is not on disk yet.
    pub fn submitted(&self, audience: &Asker, request: RequestId) -> Option<FlowId> {
        self.requests.get(&(audience.clone(), request)).copied()
    }

    /// The mac over the submission of a living flow; `None` if it has none.
    pub fn request_mac(&self, flow: FlowId) -> Option<Mac> {
        self.flows.get(flow)?.request_mac()
    }

    /// Checks everything before anything is changed.
    fn accept(&mut self, submission: Submission) -> Result<FlowId, Rejection> {
        submission.spec.check().map_err(Rejection::Invalid)?;
        let id = self.next_flow;
        if id >= FlowId::MAX {
            return Err(Rejection::NoMoreFlows);
        }
        let (tasks, most) = (count_tasks(&submission), self.settings.most_tasks);
        if tasks > most {
            return Err(Rejection::TooManyTasks { tasks, most });
        }
        let players = self.resolve_all(&submission)?;
        check_units(&submission)?;
        let thresholds = resolve_limits(&submission)?;
        self.check_start(&submission.spec.start)?;
        self.check_conflicts(&submission)?;
        self.check_trees(&submission)?;

        self.next_flow = id.next();
        self.put(Record::NextFlow(self.next_flow));
        for (index, bytes) in (0..).zip(submission.spec_bytes.chunks(CHUNK_BYTES)) {
            self.put(Record::Spec(SpecChunk { flow: id, index, bytes: bytes.into() }));
        }
        let Submission {
            request,
            audience,
            by_keeper,
            spec,
            targets,
            mut trees,
            mut params,
            mut kept_params,
            retry_of,
            mac,
            ..
        } = submission;
        let mut slots = Vec::with_capacity(spec.slots.len());
        let mut thresholds = thresholds.into_iter();
        let parts = spec.slots.into_iter().zip(&targets).zip(players);
        for (slot, ((spec, targets), players)) in (1_u16..).zip(parts) {
            let mut jobs = Vec::with_capacity(spec.jobs.len());
            let parts = spec.jobs.into_iter().zip(targets).zip(players).zip(thresholds.by_ref());
            for (job, (((spec, hosts), players), thresholds)) in (1_u16..).zip(parts) {
                let job = JobId { flow: id, slot, job };
                let params = params.remove(&(slot, job.job)).unwrap_or_default();
                let folded = hosts.to_string();
                self.put_hosts(job, &folded, Record::Targets);
                let tree = trees.remove(&(slot, job.job)).filter(|_| spec.tree.is_some());
                if let Some(tree) = &tree {
                    self.put_hosts(job, &tree.to_text(), Record::Tree);
                }
                let tree = self.make_tree(&spec, &players, &tree.unwrap_or_default());
                if !params.is_empty() {
                    self.put(Record::Params(ParamsRecord { job, params: params.clone() }));
                }
                let job = Job::new(job, spec, params, players, shown(&folded), thresholds);
                let kept = kept_params.remove(&(slot, job.id().job)).unwrap_or_default();
                let job = job.with_tree(tree).with_kept_params(kept);
                self.put(job.record());
                jobs.push(job);
            }
            slots.push(jobs);
        }
        let record = FlowRecord {
            id,
            request,
            audience,
            by_keeper,
            name: spec.name,
            state: FlowState::Pending,
            submitted_at: self.now,
            ended_at: None,
            cancelled_by: None,
            cancel_reason: None,
            paused_by: None,
            retry_of,
            predecessor: None,
            request_mac: mac,
        };
        let flow = Flow::new(record, spec.start, slots, 0);
        self.put(flow.record());
        self.flows.insert(flow);
        Ok(id)
    }

    /// The players of each job, slot by slot.
    fn resolve_all(&self, submission: &Submission) -> Result<Vec<Vec<Players>>, Rejection> {
        let Submission { spec, targets, .. } = submission;
        let none = HostSet::default();
        let of_slot = |(at, slot): (usize, &SlotSpec)| {
            let sets = targets.get(at);
            let set = |job: usize| sets.and_then(|sets| sets.get(job)).unwrap_or(&none);
            let jobs = slot.jobs.iter().enumerate();
            jobs.map(|(at, job)| self.resolve(job, set(at))).collect()
        };
        spec.slots.iter().enumerate().map(of_slot).collect()
    }

    /// Hosts of one slot must not wait for each other for ever.
    fn check_conflicts(&self, submission: &Submission) -> Result<(), Rejection> {
        let cells = self.deployments().cells();
        if !cells.may_conflict() {
            return Ok(());
        }
        let slots = submission.spec.slots.iter().zip(&submission.targets);
        for (slot, (spec, sets)) in (1..).zip(slots) {
            let jobs = spec.jobs.iter().zip(sets);
            // Only a task that changes its host ever waits for another host.
            let changes = |kind: &TaskKind, host: &HostName| {
                let player = self.roster.member(host).map(|ix| &self.roster[ix]);
                player.is_some_and(|player| player.impact(kind) == Impact::Holds)
            };
            let hosts = jobs.flat_map(|(job, set)| {
                let kind = TaskKind::of(job);
                set.iter().filter(move |host| changes(&kind, host))
            });
            let conflicts = cells.conflicts(&HostSet::from_names(hosts.cloned()));
            if !conflicts.is_empty() {
                return Err(Rejection::Conflicts { slot, conflicts });
            }
        }
        Ok(())
    }

    fn resolve(&self, job: &JobSpec, hosts: &HostSet) -> Result<Players, Rejection> {
        if hosts.is_empty() {
            return Err(Rejection::NoHosts(job.name.clone()));
        }
        let players: Option<Players> = hosts.iter().map(|host| self.roster.member(host)).collect();
        players.ok_or_else(|| {
            let unknown = hosts.unknown(|host| self.roster.member(host).is_some());
            Rejection::UnknownHosts(job.name.clone(), unknown)
        })
    }

    /// Writes a text that names hosts of a job, piece by piece.
    fn put_hosts(&mut self, job: JobId, text: &str, record: fn(HostsChunk) -> Record) {
        // Such a text is ASCII, so any cut falls between characters.
        for (index, chunk) in (0..).zip(text.as_bytes().chunks(CHUNK_BYTES)) {
            let text = String::from_utf8_lossy(chunk).as_ref().into();
            self.put(record(HostsChunk { job, index, text }));
        }
    }

    /// Begins those jobs of the flow's present slot that have not begun.
    pub(crate) fn begin_slot(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else {
            return self.inconsistent(id, "a slot begins of a flow that is not there");
        };
        let pending = flow.present_slot().iter().filter(|job| job.state() == JobState::Pending);
        let jobs: Vec<JobId> = pending.map(Job::id).collect();
        self.count_gates(id);
        for job in jobs {
            // All players of the job may have been removed meanwhile.
            self.shift_job(job, JobState::Running);
            self.skip_where_not_ok(job);
            self.begin_tree(job);
            self.await_quorum(job);
        }
        self.update_flow(id);
    }
}

/// The players of a job, in host-set order.
type Players = Arc<[PlayerIx]>;

/// The numbers that the limits of all jobs come to, slot by slot. From here on only these count.
fn resolve_limits(submission: &Submission) -> Result<Vec<Thresholds>, Rejection> {
    let slots = submission.spec.slots.iter().zip(&submission.targets);
    let jobs = slots.flat_map(|(slot, sets)| slot.jobs.iter().zip(sets));
    let of_job = |(job, hosts): (&JobSpec, &HostSet)| {
        let hosts = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        Thresholds::of(job, hosts, submission.excess)
            .map_err(|above| Rejection::AboveHosts(job.name.clone(), above))
    };
    jobs.map(of_job).collect()
}

fn count_tasks(submission: &Submission) -> u64 {
    let slots = submission.spec.slots.iter().zip(&submission.targets);
    let jobs = slots.flat_map(|(slot, sets)| slot.jobs.iter().zip(sets));
    jobs.map(|(job, hosts)| match job.scope {
        Scope::All => hosts.len() as u64,
        Scope::One => 1,
    })
    .sum()
}
