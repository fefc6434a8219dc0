//! Who may ask for what. Each question and verb of the desk asks here, before it tells or does
//! anything, so that a skin cannot forget to.
//!
//! A flow is told to those who may see all its hosts, and a service likewise. To others neither
//! exists. What is told of the whole fleet at once, as the ledger, is told to those who may see every
//! player.

use std::sync::Arc;

use orchestra_flow::Submission;
use orchestra_model::{
    Asker, AudienceName, FlowId, HostSet, JobId, ScoreName,
    advice::{Advice, Remedy},
    audit::Verb,
    policy::Right,
    service::ServiceStatus,
};
use orchestra_policy::{Allowance, Denial, Policy, Reach, What};

use super::{Desk, refusal::unknown_flow};
use crate::{
    declined::{Declined, Ground},
    history,
};

/// A job of a flow, as far as rights are about it.
struct JobFacts {
    job: JobId,
    score: ScoreName,
    hosts: HostSet,
}

/// Whose a flow is, and what it does.
struct FlowFacts {
    by: Asker,
    jobs: Vec<JobFacts>,
}

impl Desk {
    /// Returns the policy in force.
    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(self.fleet.borrow().policy())
    }

    /// Declines what somebody may not do on one of these hosts; `None` if it is not about hosts.
    pub(super) fn check_right(
        &self,
        by: &AudienceName,
        right: Right,
        what: What<'_>,
        hosts: Option<&HostSet>,
    ) -> Result<(), Declined> {
        self.policy().check(by, right, what, hosts).map_err(|denial| self.denied(&denial))
    }

    /// Declines a verb on hosts. Returns under what it is allowed.
    pub(super) fn check_verb(
        &self,
        by: &AudienceName,
        verb: Verb,
        what: What<'_>,
        hosts: Option<&HostSet>,
    ) -> Result<Allowance, Declined> {
        let allowed = self.policy().allow(by, Right::Do(verb), what, hosts);
        allowed.map_err(|denial| self.denied(&denial))
    }

    /// Returns why something may not go on that was allowed when it began, once that is so. It is asked
    /// again whenever files were loaded, which may have changed the policy, and once at first, for those
    /// that were loaded since it began.
    pub(crate) async fn until_denied<C>(&self, still: impl Fn(Self) -> C) -> Declined
    where
        C: Future<Output = Result<(), Declined>>,
    {
        let mut fleet = self.fleet.clone();
        fleet.mark_changed();
        loop {
            if fleet.changed().await.is_err() {
                return Declined::stopping();
            }
            if let Err(declined) = still(self.clone()).await {
                return declined;
            }
        }
    }

    /// Returns the hosts that somebody may see.
    pub(super) fn sight(&self, by: &AudienceName) -> Reach {
        self.policy().reach(Some(by), Right::See, &What::Hosts)
    }

    /// Returns the hosts that somebody may see, of which there has to be one.
    pub(super) fn some_sight(&self, by: &AudienceName) -> Result<Reach, Declined> {
        self.check_right(by, Right::See, What::Hosts, None)?;
        Ok(self.sight(by))
    }

    /// Declines to tell of the whole fleet to those who may not see every player.
    pub(crate) fn check_sees_all(&self, by: &AudienceName) -> Result<(), Declined> {
        let fleet = Arc::clone(&self.fleet.borrow());
        self.check_right(by, Right::See, What::Hosts, Some(fleet.hosts()))
    }

    /// Returns the players of an expression, if somebody may see them. Without an expression those
    /// that they may see.
    pub(crate) async fn seen_players(
        &self,
        expression: String,
        by: &AudienceName,
    ) -> Result<HostSet, Declined> {
        if expression.is_empty() {
            let seen = self.some_sight(by)?;
            return Ok(seen.of(self.fleet.borrow().hosts()));
        }
        let hosts = self.players(expression, by).await?;
        self.check_right(by, Right::See, What::Hosts, Some(&hosts))?;
        Ok(hosts)
    }

    /// Declines a flow that somebody may not see as one that does not exist.
    pub(crate) async fn check_sees_flow(
        &self,
        by: &AudienceName,
        flow: FlowId,
    ) -> Result<(), Declined> {
        let seen = self.sight(by);
        if seen.is_everywhere() {
            return Ok(());
        }
        // One that is not on disk yet nobody was told of.
        let facts = self.flow_facts(flow).await?.ok_or_else(|| unknown_flow(flow))?;
        match facts.jobs.iter().all(|job| seen.missing(&job.hosts).is_empty()) {
            true => Ok(()),
            false => Err(unknown_flow(flow)),
        }
    }

    /// Declines what somebody may not do to a flow: to all of it, or to one job, or to some hosts.
    /// Returns under what it is allowed.
    pub(super) async fn check_flow_right(
        &self,
        by: &AudienceName,
        right: Right,
        flow: FlowId,
        (job, hosts): (Option<JobId>, Option<&HostSet>),
    ) -> Result<Allowance, Declined> {
        let (policy, mut allowance) = (self.policy(), Allowance::default());
        if policy.is_open() {
            return Ok(Allowance::Open);
        }
        // One that is not on disk yet nobody was told of.
        let facts = self.flow_facts(flow).await?.ok_or_else(|| unknown_flow(flow))?;
        let is_of_others = facts.by != Asker::from(by);
        let chosen = facts.jobs.iter().filter(|facts| job.is_none_or(|job| job == facts.job));
        for JobFacts { score, hosts: targets, .. } in chosen {
            let targets = match hosts {
                Some(hosts) => targets.intersection(hosts),
                None => targets.clone(),
            };
            let what = What::Score { score: score.as_str(), is_of_others };
            let allowed = policy.allow(by, right, what, Some(&targets));
            allowance = allowance.and(allowed.map_err(|denial| self.denied(&denial))?);
        }
        Ok(allowance)
    }

    /// Declines what somebody may not do to a flow as a whole.
    pub(super) async fn check_flow_verb(
        &self,
        by: &AudienceName,
        verb: Verb,
        flow: FlowId,
    ) -> Result<Allowance, Declined> {
        self.check_flow_right(by, Right::Do(verb), flow, (None, None)).await
    }

    /// Declines to show what attempts of a flow print.
    pub(crate) async fn check_reads_output(
        &self,
        by: &AudienceName,
        flow: FlowId,
        hosts: Option<&HostSet>,
    ) -> Result<(), Declined> {
        self.check_flow_right(by, Right::ReadOutput, flow, (None, hosts)).await.map(drop)
    }

    async fn flow_facts(&self, flow: FlowId) -> Result<Option<FlowFacts>, Declined> {
        self.read(move |reader| {
            let Some(record) = reader.flow(flow)? else { return Ok(None) };
            let mut jobs = Vec::new();
            for job in reader.jobs(flow)? {
                let hosts = history::targets(reader, job.id)?;
                jobs.push(JobFacts { job: job.id, score: job.score, hosts });
            }
            Ok(Some(FlowFacts { by: record.audience, jobs }))
        })
        .await
    }

    /// Declines a request, logs that at most so often, and has it recorded.
    pub(super) fn denied(&self, denial: &Denial) -> Declined {
        self.denials.write(|| tracing::warn!(audience = %denial.who, %denial, "denied"));
        self.facts.incidents.denied(denial);
        let told = denial.told_to(&self.policy().known_to(&denial.who));
        let text = Advice::from(told).say("; ").name(Remedy::ListRights);
        Declined::new(Ground::Forbidden, text.say(" tells what you may do"))
    }
}

/// Returns the hosts that a service is on, or is to be on.
pub(super) fn hosts_of_service(status: &ServiceStatus) -> HostSet {
    let placed = status.instances.iter().map(|instance| instance.host.clone());
    status.record.hosts.union(&HostSet::from_names(placed))
}

/// Returns whether all hosts of a service are seen.
pub(super) fn sees_service(seen: &Reach, status: &ServiceStatus) -> bool {
    let is_seen = || seen.missing(&hosts_of_service(status)).is_empty();
    seen.is_everywhere() || (!seen.is_nowhere() && is_seen())
}

/// Denies a submission of which its submitter may not have some part done. Returns under what it is
/// allowed.
pub(super) fn check_submission(
    policy: &Policy,
    submission: &Submission,
) -> Result<Allowance, Denial> {
    let mut allowance = Allowance::default();
    // What else submits is a part of the conductor.
    let Asker::Audience(by) = &submission.audience else { return Ok(allowance) };
    let right = Right::Do(Verb::Submit);
    for (slot, (jobs, sets)) in (1..).zip(submission.spec.slots.iter().zip(&submission.targets)) {
        for (number, (job, hosts)) in (1..).zip(jobs.jobs.iter().zip(sets)) {
            let what = What::Score { score: job.score.as_str(), is_of_others: false };
            // Hosts of a tree's root serve.
            let root = submission.trees.get(&(slot, number)).map(|tree| hosts.union(&tree.root));
            let hosts = root.as_ref().unwrap_or(hosts);
            allowance = allowance.and(policy.allow(by, right, what, Some(hosts))?);
        }
    }
    Ok(allowance)
}
