//! Operators: they submit, steer, and edit files.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Answer, Input, Rejection, ReplyId, ReplyTo, Submission, answer};
use orchestra_model::{
    Asker, FlowId, HostName, HostSet, Millis, Params, Quantity, TaskState,
    delivery::RequestId,
    flow::{FlowSpec, Scope, SlotSpec},
    start::{After, NeededEnd, Start},
    thresholds::Excess,
};

use super::{World, conductor::encode_spec, fleet, units, words};
use crate::{
    chance::Chance,
    reference::{Flow, Job, Note, Submitted, rules},
    script::Deed,
};

/// A submission as its client keeps it, to send again.
#[derive(Clone, Debug)]
pub(crate) struct Submitting {
    request: RequestId,
    submitted: Submitted,
    retry_of: Option<FlowId>,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    Submission(RequestId),
    Other,
}

/// Most flows alive at once: enough to meet, few enough to end.
const ALIVE: usize = 5;

fn somebody() -> Asker {
    Asker::from_word("alice").unwrap()
}

impl World {
    pub(super) fn operate(&mut self, deed: Deed, chance: &mut Chance) {
        let by = somebody();
        match deed {
            Deed::Submit => self.submit_new(chance),
            Deed::Resubmit => {
                if let Some(again) = chance.pick(&self.submissions).cloned() {
                    self.submit(&again);
                }
            }
            Deed::Cancel => {
                let abandon = chance.percent(40);
                if let Some(flow) = self.some_flow(chance) {
                    let note = if abandon { Note::Abandon(flow) } else { Note::Other };
                    self.ask(note, |reply| Input::CancelRequested {
                        reply,
                        flow,
                        by,
                        reason: None,
                        abandon,
                    });
                }
            }
            Deed::Pause => {
                if let Some(flow) = self.some_flow(chance) {
                    self.ask(Note::Other, |reply| Input::PauseRequested { reply, flow, by });
                }
            }
            Deed::Resume => {
                let paused = |flow: &&Flow| flow.paused;
                if let Some(flow) = self.some_flow_that(chance, |flow| paused(&flow)) {
                    self.ask(Note::Other, |reply| Input::ResumeRequested { reply, flow });
                }
            }
            Deed::Retry => {
                let failed = |job: &Job| {
                    job.states().iter().any(|state| state.is_final() && *state != TaskState::Ok)
                };
                let Some(flow) =
                    self.some_flow_that(chance, |flow| flow.present().iter().any(failed))
                else {
                    return;
                };
                let hosts = chance.maybe(30, |chance| self.some_hosts(chance));
                let job = None;
                self.ask(Note::Retry(flow), |reply| Input::RetryRequested {
                    reply,
                    flow,
                    job,
                    hosts,
                });
            }
            Deed::RetryEnded => self.retry_ended(chance),
            Deed::Promote => {
                let waits = |job: &Job| job.spec.canary.is_some();
                if let Some(flow) =
                    self.some_flow_that(chance, |flow| flow.present().iter().any(waits))
                {
                    let job = None;
                    self.ask(Note::Other, |reply| Input::PromoteRequested { reply, flow, job, by });
                }
            }
            Deed::Drain => {
                let (hosts, reason) = (self.some_hosts(chance), Arc::from("disks"));
                self.ask(Note::Other, |reply| Input::DrainRequested { reply, hosts, by, reason });
            }
            Deed::Undrain => {
                let hosts = match chance.percent(50) {
                    true => self.roster.clone(),
                    false => self.some_hosts(chance),
                };
                self.undrain(hosts);
            }
            Deed::Release => {
                let hosts = match chance.percent(50) {
                    true => HostSet::from_names(self.everybody.clone()),
                    false => self.some_hosts(chance),
                };
                self.release(hosts);
            }
            Deed::Roster => {
                let mut hosts = chance.some(&self.everybody, 85);
                if hosts.is_empty() {
                    hosts = self.everybody.clone();
                }
                self.load_roster(HostSet::from_names(hosts));
            }
            Deed::Deployments => {
                let deployments = match chance.percent(60) {
                    true => fleet::deployments(chance, &self.everybody),
                    false => fleet::deployments(&mut Chance::new(self.seed), &self.everybody),
                };
                let deployments = self.with_services(deployments, chance.next());
                self.load_deployments(deployments);
            }
            Deed::ReleaseLiars => self.release_liars(),
            Deed::Recover => self.recovering |= self.conductor().engine.stale().is_some(),
            Deed::Expire => {
                let ended = self.reference.flows.iter().filter(|(_, flow)| flow.state.is_final());
                let ended: Vec<FlowId> = ended.map(|(id, _)| *id).collect();
                if let Some(flow) = chance.pick(&ended).copied() {
                    self.ask(Note::Other, |_: ReplyTo<()>| Input::FlowExpired { flow });
                }
            }
            _ => {}
        }
    }

    /// Asks the conductor for something; in vain while it cannot write.
    pub(super) fn ask<T>(
        &mut self,
        note: Note,
        input: impl FnOnce(ReplyTo<T>) -> Input,
    ) -> Option<Answer> {
        self.ask_about(Asked::Other, note, input)
    }

    fn ask_about<T>(
        &mut self,
        asked: Asked,
        note: Note,
        input: impl FnOnce(ReplyTo<T>) -> Input,
    ) -> Option<Answer> {
        if self.conductor().trouble {
            return None;
        }
        self.next_reply += 1;
        let reply = ReplyId(self.next_reply);
        self.asked.insert(reply, asked);
        let input = input(ReplyTo::new(reply));
        self.tell(|| format!("  asks: {}", words::input(&input)));
        self.take(note, input);
        let answer = self.conductor().newest_answer().cloned();
        self.tell(|| format!("  decided: {answer:?}"));
        answer
    }

    fn submit_new(&mut self, chance: &mut Chance) {
        let alive = self.reference.flows.values().filter(|flow| !flow.state.is_final());
        let members: Vec<HostName> = self.roster.iter().cloned().collect();
        if alive.count() >= ALIVE || members.is_empty() {
            return;
        }
        let (mut spec, targets) = fleet::flow(chance, &members, units::are_in(self.seed));
        spec.start = self.some_start(chance);
        let has_params = chance.percent(30);
        let submitting = Submitting {
            request: RequestId(chance.next().to_le_bytes().repeat(2).try_into().unwrap()),
            submitted: Submitted { spec, targets, has_params },
            retry_of: None,
        };
        self.submissions.push(submitting.clone());
        self.submit(&submitting);
    }

    /// Now and then a moment to wait for, or a flow, whether it lives or not.
    fn some_start(&self, chance: &Chance) -> Start {
        // By chances of its own, so that flows which begin at once are as they would be without others.
        let mut chance = Chance::new(chance.clone().next() ^ 0x57a7);
        let now = self.conductor().clock(self.now);
        let at =
            chance.maybe(8, |chance| now.after(Millis::seconds(chance.between(0, 300) as u64)));
        let known: Vec<FlowId> = self.reference.flows.keys().copied().collect();
        let after = chance.maybe(15, |chance| {
            let flow = chance.pick(&known).copied()?;
            let end = *chance.pick(NeededEnd::ALL)?;
            Some(After { flow, end })
        });
        Start { at, after: after.flatten() }
    }

    fn submit(&mut self, submitting: &Submitting) {
        let Submitting { request, submitted, retry_of } = submitting.clone();
        let spec_bytes = encode_spec(&submitted.spec, &mut self.specs);
        let params = Params::from_pairs([("key", "value")]).unwrap();
        let params = match submitted.has_params {
            true => BTreeMap::from([((1, 1), params)]),
            false => BTreeMap::new(),
        };
        // What is left of a job may be less than its limits were made for.
        let excess = if retry_of.is_some() { Excess::Capped } else { Excess::Refused };
        let note = Note::Submit(request, Box::new(submitted.clone()));
        let may_be_refused = submitted.is_refused() || excess == Excess::Capped;
        let trees = submitted.trees();
        let Submitted { spec, targets, .. } = submitted;
        let answer =
            self.ask_about(Asked::Submission(request), note, |reply| Input::FlowSubmitted {
                reply,
                submission: Box::new(Submission {
                    request,
                    audience: somebody(),
                    by_keeper: false,
                    spec,
                    spec_bytes,
                    targets,
                    trees,
                    params,
                    kept_params: BTreeMap::new(),
                    retry_of,
                    mac: None,
                    excess,
                }),
            });
        if let Some(Answer::Rejected(Rejection::Invalid(_) | Rejection::AboveHosts(..))) = &answer {
            assert!(may_be_refused, "what can take effect is refused: {answer:?}");
        }
    }

    /// What a conductor makes of `orc retry` of an ended flow: its tasks that are not ok, with what
    /// is left of its limits.
    fn retry_ended(&mut self, chance: &mut Chance) {
        let members = self.roster.clone();
        let ended = self.reference.flows.iter().filter(|(_, flow)| {
            flow.state.is_final() && flow.jobs().any(|job| job.states().iter().any(is_left))
        });
        let ended: Vec<(FlowId, Flow)> = ended.map(|(id, flow)| (*id, flow.clone())).collect();
        let Some((id, flow)) = chance.pick(&ended).cloned() else { return };
        let (mut slots, mut targets) = (Vec::new(), Vec::new());
        for slot in &flow.slots {
            let (mut jobs, mut sets) = (Vec::new(), Vec::new());
            for job in slot {
                let states = job.states();
                let left = |index: usize| match states.len() == job.targets.len() {
                    true => is_left(&states[index]),
                    false => states.iter().any(is_left),
                };
                let hosts = job.targets.iter().enumerate().filter(|(index, _)| left(*index));
                let hosts = HostSet::from_names(hosts.map(|(_, host)| host.clone()));
                let hosts = hosts.intersection(&members);
                if hosts.is_empty() {
                    continue;
                }
                let total = states.len() as u32;
                let ok = states.iter().filter(|state| **state == TaskState::Ok).count() as u32;
                let mut spec = job.spec.clone();
                spec.targets = hosts.to_string();
                if spec.scope == Scope::All {
                    let needed = rules::needed(&job.spec, total);
                    let tolerated = rules::tolerated(&job.spec, total);
                    spec.success = Some(Quantity::Count(needed.saturating_sub(ok).max(1)));
                    spec.max_failures =
                        spec.max_failures.map(|_| Quantity::Count(tolerated.min(total)));
                }
                spec.parallel = Quantity::Count(rules::window(job.spec.parallel, total));
                if !spec.canary.is_some_and(|_| states.iter().any(is_left)) {
                    (spec.canary, spec.bake) = (None, None);
                }
                jobs.push(spec);
                sets.push(hosts);
            }
            if !jobs.is_empty() {
                slots.push(SlotSpec { jobs });
                targets.push(sets);
            }
        }
        if slots.is_empty() {
            return;
        }
        let submitting = Submitting {
            request: RequestId(chance.next().to_le_bytes().repeat(2).try_into().unwrap()),
            submitted: Submitted { spec: FlowSpec::new(slots), targets, has_params: false },
            retry_of: Some(id),
        };
        self.submissions.push(submitting.clone());
        self.submit(&submitting);
    }

    pub(super) fn undrain(&mut self, hosts: HostSet) {
        self.ask(Note::Other, |reply| Input::UndrainRequested { reply, hosts });
    }

    pub(super) fn release(&mut self, hosts: HostSet) {
        self.steady_cells = false;
        let note = Note::Release(hosts.clone());
        self.ask(note, |reply| Input::ReleaseRequested { reply, hosts });
    }

    pub(super) fn load_roster(&mut self, hosts: HostSet) {
        let most_removed = u32::MAX;
        let loading = hosts.clone();
        let answer =
            self.ask(Note::Other, |reply| Input::RosterLoaded { reply, hosts, most_removed });
        if matches!(answer, Some(Answer::Loaded(answer::Loaded { .. }))) {
            self.roster = loading;
        }
    }

    fn load_deployments(&mut self, deployments: orchestra_model::Deployments) {
        let deployments = Arc::new(deployments);
        let note = Note::Deployments(Arc::clone(&deployments));
        let loading = Arc::clone(&deployments);
        let answer = self.ask(note, |reply| Input::DeploymentsLoaded { reply, deployments });
        if matches!(answer, Some(Answer::DeploymentsLoaded(answer::DeploymentsLoaded { .. }))) {
            self.deployments = loading;
            self.steady_cells = false;
        }
    }

    pub(super) fn resume_everything(&mut self) {
        for flow in self.alive() {
            self.ask(Note::Other, |reply| Input::ResumeRequested { reply, flow });
            let (job, by) = (None, somebody());
            self.ask(Note::Other, |reply| Input::PromoteRequested { reply, flow, job, by });
        }
    }

    pub(super) fn cancel_everything(&mut self) {
        for flow in self.alive() {
            let by = somebody();
            self.ask(Note::Abandon(flow), |reply| Input::CancelRequested {
                reply,
                flow,
                by,
                reason: None,
                abandon: true,
            });
        }
    }

    pub(super) fn alive(&self) -> Vec<FlowId> {
        self.conductor().engine.alive().collect()
    }

    fn some_flow(&self, chance: &mut Chance) -> Option<FlowId> {
        // Now and then one that has ended, or never was.
        match chance.percent(5) {
            true => Some(FlowId(chance.between(1, 9) as u64)),
            false => self.some_flow_that(chance, |_| true),
        }
    }

    fn some_flow_that(&self, chance: &mut Chance, is: impl Fn(&Flow) -> bool) -> Option<FlowId> {
        let flows = self.reference.flows.iter();
        let alive = flows.filter(|(_, flow)| !flow.state.is_final() && is(flow));
        let alive: Vec<FlowId> = alive.map(|(id, _)| *id).collect();
        chance.pick(&alive).copied()
    }

    fn some_hosts(&self, chance: &mut Chance) -> HostSet {
        let members: Vec<HostName> = self.roster.iter().cloned().collect();
        let percent = *chance.pick(&[10, 30, 60]).unwrap();
        let mut some = chance.some(&members, percent);
        some.extend(chance.pick(&members).cloned());
        HostSet::from_names(some)
    }
}

fn is_left(state: &TaskState) -> bool {
    *state != TaskState::Ok
}
