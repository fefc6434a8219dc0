//! Plans: what a submission would do. The engine's own rules tell it over a copy of what they need,
//! so that nothing waits meanwhile.
//!
//! A plan's digest stands for what a person approved: which hosts act together, what runs there,
//! and under which deployments. Players that come and go do not change it. A submission that
//! demands a digest is planned again right before it is stored. What other flows do in that moment
//! no plan can know.

use std::{collections::BTreeSet, fmt::Write as _};

use orchestra_flow::{Overlay, Rejection, Submission};
use orchestra_model::{
    Asker, HostSet, hex,
    ledger::{Forecast, Holder, ScoreSurvey},
    thresholds::{ResolvedLimit, Thresholds},
};
use orchestra_policy::Reach;
use orchestra_proto::Planned;
use sha2::{Digest as _, Sha256};

use super::{
    Desk, off_the_runtime,
    refusal::{refused, rejected},
    submission::ReadProposal,
};
use crate::{
    declined::{Declined, Ground},
    driver::Request as Ask,
    inventory::{Survey, bounded},
};

impl Desk {
    /// Plans a submission; stores nothing.
    pub(crate) async fn plan(
        &self,
        read: ReadProposal,
        same_score: bool,
    ) -> Result<Planned, Declined> {
        let ReadProposal { submission, remarks } = read;
        let (submission, survey, _) = self.survey(submission).await?;
        // A submission that no target could accept is refused here as it is when submitted.
        if let Some(refusal) = survey.refusal(false) {
            return Err(refused(&refusal));
        }
        let told = told_limits(&submission);
        let seen = match &submission.audience {
            Asker::Audience(by) => self.sight(by),
            _ => Reach::everywhere(),
        };
        let mut planned = self.forecast(submission, survey, same_score).await?;
        planned.limits = told.0;
        let hidden = hide_holders(&mut planned.forecast, &seen);
        planned.remarks = bounded(remarks.into_iter().chain(told.1).chain(hidden).collect());
        Ok(planned)
    }

    /// Returns the submission if a plan made now has this digest.
    pub(crate) async fn as_planned(
        &self,
        submission: Box<Submission>,
        survey: Survey,
        digest: &str,
    ) -> Result<Box<Submission>, Declined> {
        let copy = move || (Box::clone(&submission), submission);
        let (copy, submission) = off_the_runtime(copy).await?;
        let planned = self.forecast(copy, survey, false).await?;
        let why = match planned.refusal {
            Some(refusal) => return Err(Declined::new(Ground::Prevented, refusal)),
            None if planned.digest == digest => return Ok(submission),
            None => format!(
                "the plan has changed: waves, versions of scores or deployments are no longer \
                 what they were; look at the new plan, whose digest is {}",
                planned.digest
            ),
        };
        Err(Declined::new(Ground::PlanChanged, why))
    }

    /// Plans a submission. The driver only copies what that needs; the plan is made on another
    /// thread.
    async fn forecast(
        &self,
        submission: Box<Submission>,
        survey: Survey,
        same_score: bool,
    ) -> Result<Planned, Declined> {
        let deployments = *self.fleet.borrow().deployments_digest();
        let overlay = self.ask(|reply| Ask::Overlay(submission, reply)).await?;
        let plan = move || {
            let refused =
                survey.refusal(same_score).map(|refusal| orchestra_proto::spelt(&refusal.advice()));
            plan(overlay, survey.into_scores(), refused, &deployments)
        };
        off_the_runtime(plan).await?
    }
}

/// Takes out of a forecast the holders whose hosts may not be seen. Returns a remark if there are any.
fn hide_holders(forecast: &mut Forecast, seen: &Reach) -> Option<String> {
    let of = |holder: &Holder| HostSet::from_names([holder.host.clone()]);
    let before = forecast.awaited.len();
    forecast.awaited.retain(|holder| seen.missing(&of(holder)).is_empty());
    let is_whole = forecast.awaited.len() == before;
    if !seen.is_everywhere() {
        // What they would wait for is told in words, which name hosts.
        let elsewhere = "what it would wait for may be on hosts that you may not see";
        forecast.stuck.iter_mut().for_each(|(_, _, why)| *why = elsewhere.into());
    }
    (!is_whole).then(|| "it would also wait for hosts that you may not see".to_owned())
}

/// Returns what each limit of a submission comes to, and remarks on the limits.
fn told_limits(submission: &Submission) -> (Vec<ResolvedLimit>, Vec<String>) {
    let (mut limits, mut remarks) = (Vec::new(), Vec::new());
    let slots = submission.spec.slots.iter().zip(&submission.targets);
    for (job, hosts) in slots.flat_map(|(slot, sets)| slot.jobs.iter().zip(sets)) {
        let hosts = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let thresholds = Thresholds::capped(job, hosts);
        limits.extend(thresholds.resolved(job, hosts));
        remarks.extend(thresholds.remarks(job, hosts));
    }
    (limits, bounded(remarks))
}

/// Returns remarks on limits of a submission's jobs that may not do what the submitter expects.
pub(crate) fn limit_remarks(submission: &Submission) -> Vec<String> {
    // Nobody wrote the limits of a retry, which follow from what was left.
    if submission.retry_of.is_some() {
        return Vec::new();
    }
    told_limits(submission).1
}

/// Makes a plan. What is wrong with the request itself is an error, as when it is submitted. What
/// prevents it at the moment is a part of the plan.
fn plan(
    overlay: Overlay,
    scores: Vec<ScoreSurvey>,
    refused: Option<String>,
    deployments: &[u8; 32],
) -> Result<Planned, Declined> {
    let (forecast, refusal) = match overlay.run() {
        Ok(forecast) => (forecast, refused),
        Err(why @ (Rejection::Conflicts { .. } | Rejection::NoMoreFlows)) => {
            (Forecast::default(), Some(why.to_string()))
        }
        Err(rejection) => return Err(rejected(&rejection)),
    };
    let digest = match refusal {
        None => digest(&forecast, &scores, deployments),
        Some(_) => String::new(),
    };
    Ok(Planned { forecast, scores, digest, refusal, ..Planned::default() })
}

/// Returns the SHA-256, in hex, of a text that is the same for equal plans.
fn digest(forecast: &Forecast, scores: &[ScoreSurvey], deployments: &[u8; 32]) -> String {
    let mut text = String::from("orchestra plan 1\n");
    // Writing to a string does not fail.
    for wave in &forecast.waves {
        let _ = writeln!(text, "wave");
        let steps: BTreeSet<String> =
            wave.iter().map(|(job, hosts)| format!("{job} {hosts}\n")).collect();
        text.extend(steps);
    }
    for survey in scores {
        let _ = write!(text, "score {} {}", survey.job, survey.score);
        for hash in survey.versions.keys() {
            let _ = write!(text, " {hash}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "deployments {}", hex(deployments));
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use orchestra_model::{HostSet, JobName, ScoreName, score::ScoreHash};

    use super::*;

    fn step(job: &str, hosts: &str) -> (JobName, HostSet) {
        (JobName::new(job).unwrap(), HostSet::parse_plain(hosts).unwrap())
    }

    fn survey(versions: &[(u8, &str)], unheard: &str) -> ScoreSurvey {
        let version = |(hash, hosts): &(u8, &str)| {
            (ScoreHash([*hash; 32]), HostSet::parse_plain(hosts).unwrap())
        };
        ScoreSurvey {
            job: JobName::new("web").unwrap(),
            score: ScoreName::new("restart").unwrap(),
            versions: versions.iter().map(version).collect::<BTreeMap<_, _>>(),
            missing: HostSet::default(),
            unheard: HostSet::parse_plain(unheard).unwrap(),
        }
    }

    /// Whoever holds what it would wait for is told to those who may see them.
    #[test]
    fn a_plan_names_no_host_that_may_not_be_seen() {
        let holder = |host: &str| Holder {
            host: orchestra_model::HostName::new(host).unwrap(),
            jobs: Vec::new(),
            since: orchestra_model::Timestamp(1),
            down: None,
            units: Vec::new(),
            absence: None,
        };
        let stuck = || (JobName::new("web").unwrap(), HostSet::default(), "fe1 holds it".into());
        let forecast = || Forecast {
            awaited: vec![holder("db1"), holder("fe1")],
            stuck: vec![stuck()],
            ..Forecast::default()
        };
        let mut all = forecast();
        assert_eq!(hide_holders(&mut all, &Reach::everywhere()), None);
        assert_eq!(all, forecast());
        let mut some = forecast();
        let seen = Reach::These(HostSet::parse_plain("db1").unwrap());
        assert!(hide_holders(&mut some, &seen).unwrap().contains("may not see"));
        assert_eq!(some.awaited, [holder("db1")]);
        assert!(!format!("{some:?}").contains("fe1"), "{some:?}");
    }

    #[test]
    fn a_digest_is_of_waves_versions_and_deployments() {
        let waves =
            vec![vec![step("web", "fe[1-2]"), step("api", "api1")], vec![step("web", "fe3")]];
        let forecast = Forecast { waves, ..Forecast::default() };
        let scores = vec![survey(&[(1, "fe[1-3]")], "")];
        let first = digest(&forecast, &scores, &[0; 32]);
        assert_eq!(first.len(), 64);

        // The order of the entries and absent players do not change the digest.
        let mut same = forecast.clone();
        same.waves[0].reverse();
        same.absent = HostSet::parse_plain("fe2").unwrap();
        assert_eq!(digest(&same, &[survey(&[(1, "fe[1-2]")], "fe3")], &[0; 32]), first);

        let mut merged = forecast.clone();
        let last = merged.waves.pop().unwrap();
        merged.waves[0].extend(last);
        assert_ne!(digest(&merged, &scores, &[0; 32]), first);
        let drift = [survey(&[(1, "fe[1-2]"), (2, "fe3")], "")];
        assert_ne!(digest(&forecast, &drift, &[0; 32]), first);
        assert_ne!(digest(&forecast, &scores, &[1; 32]), first);
    }
}
