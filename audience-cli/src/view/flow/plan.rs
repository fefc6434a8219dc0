//! What a submission would do: waves of hosts, what they would wait for, what is missing.

use std::{collections::BTreeMap, io};

use orchestra_model::{
    advice::Advice,
    flow::FlowSpec,
    hostset::HostSet,
    ledger::{Forecast, ScoreSurvey},
    names::JobName,
    score::ScoreHash,
    thresholds::ResolvedLimit,
    time::Millis,
};
use orchestra_proto::Planned;
use serde::Serialize;

use super::tree::{self, PlannedServing};
use crate::view::{
    Output, Page, Style,
    ledger::{OfHolder, holder_lines},
    one_line,
    score::HASH_DIGITS,
};

/// A plan of a submission.
pub(crate) struct Foreseen<'a> {
    pub(crate) planned: &'a Planned,
    pub(crate) spec: &'a FlowSpec,
    /// Whether a person wants only the digest.
    pub(crate) digest_alone: bool,
}

impl Output for Foreseen<'_> {
    fn noun(&self) -> &'static str {
        "plan"
    }

    fn json(self) -> impl Serialize {
        Plan::from(self.planned)
    }

    /// A person is told nothing of a submission that would be refused, because the refusal is a
    /// failure.
    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let Self { planned, spec, digest_alone } = self;
        if planned.refusal.is_some() {
            return Ok(());
        }
        if digest_alone {
            return writeln!(out, "{}", planned.digest);
        }
        write(out, planned, spec, style)
    }
}

/// Writes a plan: a line for each wave, then what the submitter should know.
fn write(
    out: &mut dyn io::Write,
    planned: &Planned,
    spec: &FlowSpec,
    style: Style,
) -> io::Result<()> {
    let Forecast { begins, waves, stuck, awaited, absent, drained, free, serving } =
        &planned.forecast;
    if let Some(begins) = begins {
        writeln!(out, "{}", one_line(begins))?;
    }
    for (index, wave) in waves.iter().enumerate() {
        let step = |(job, hosts): &(JobName, HostSet)| format!("{job} {}", hosts.counted());
        let steps: Vec<String> = wave.iter().map(step).collect();
        writeln!(out, "wave {}: {}", index + 1, steps.join("; "))?;
    }
    if waves.is_empty() {
        writeln!(out, "nothing would start")?;
    }
    tree::planned(out, serving)?;
    for limits in planned.limits.chunk_by(|a, b| a.job == b.job) {
        writeln!(out, "{}: {}", limits[0].job, tell_limits(limits))?;
    }
    for remark in &planned.remarks {
        writeln!(out, "{} {}", style.warning("warning:"), one_line(remark))?;
    }
    for (job, hosts, reason) in stuck {
        let never = style.warning("would never start");
        writeln!(out, "{job} {} {never}: {}", hosts.counted(), one_line(&reason.to_string()))?;
    }
    for line in holder_lines(awaited, style) {
        writeln!(out, "waits at first for: {line}")?;
    }
    if !absent.is_empty() {
        writeln!(out, "not attached: {}, {}", absent.counted(), patience(spec))?;
    }
    for (hosts, what) in [(drained, "drained"), (free, "held back by no limit")] {
        if !hosts.is_empty() {
            writeln!(out, "{what}: {}", hosts.counted())?;
        }
    }
    for survey in &planned.scores {
        scores(out, survey, style)?;
    }
    if !planned.digest.is_empty() {
        writeln!(out, "digest: {}", planned.digest)?;
    }
    Ok(())
}

/// Says how long the tasks of absent players wait.
fn patience(spec: &FlowSpec) -> String {
    let mut jobs: BTreeMap<Option<Millis>, Vec<&str>> = BTreeMap::new();
    for job in spec.slots.iter().flat_map(|slot| &slot.jobs) {
        jobs.entry(job.give_up_after).or_default().push(job.name.as_str());
    }
    let several = jobs.len() > 1;
    let mut told = Vec::with_capacity(jobs.len());
    for (after, jobs) in jobs {
        let by = if several { format!("by {} ", jobs.join(", ")) } else { String::new() };
        told.push(match after {
            None => format!("{by}waited for as long as that takes"),
            Some(after) => format!("{by}unreachable after {after}"),
        });
    }
    told.join("; ")
}

/// `success 80% is 8 of 9, max_failures is 1 of 9`.
fn tell_limits(limits: &[ResolvedLimit]) -> String {
    limits.iter().map(tell_limit).collect::<Vec<_>>().join(", ")
}

fn tell_limit(limit: &ResolvedLimit) -> String {
    let ResolvedLimit { limit, asked, comes_to, of, .. } = limit;
    let asked = asked.map(|asked| format!(" {asked}")).unwrap_or_default();
    format!("{}{asked} is {comes_to} of {of}", one_line(limit))
}

/// Tells what differs or is missing. If nothing does, it writes no line.
fn scores(out: &mut dyn io::Write, survey: &ScoreSurvey, style: Style) -> io::Result<()> {
    let ScoreSurvey { job, score, versions, missing, unheard } = survey;
    let mut line = |what: &str, hosts: &HostSet| {
        let what = style.warning(what);
        writeln!(out, "{job}: score {score} {what} {}", hosts.counted())
    };
    if versions.len() > 1 {
        for (hash, hosts) in versions {
            let hash: String = hash.to_string().chars().take(HASH_DIGITS).collect();
            line(&format!("is {hash} on"), hosts)?;
        }
    }
    for (what, hosts) in [("is missing on", missing), ("is not known yet of", unheard)] {
        if !hosts.is_empty() {
            line(what, hosts)?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Plan<'a> {
    begins: Option<&'a str>,
    waves: Vec<Vec<Step<'a>>>,
    stuck: Vec<Stuck<'a>>,
    awaited: Vec<OfHolder<'a>>,
    absent: String,
    drained: String,
    free: String,
    scores: Vec<Survey<'a>>,
    digest: Option<&'a str>,
    refusal: Option<&'a str>,
    limits: Vec<Limit<'a>>,
    remarks: &'a [String],
    serving: Vec<PlannedServing>,
}

impl<'a> From<&'a Planned> for Plan<'a> {
    fn from(planned: &'a Planned) -> Self {
        let Forecast { begins, waves, stuck, awaited, absent, drained, free, serving } =
            &planned.forecast;
        let steps = |wave: &'a Vec<(JobName, HostSet)>| wave.iter().map(Step::from).collect();
        Self {
            begins: begins.as_deref(),
            waves: waves.iter().map(steps).collect(),
            stuck: stuck.iter().map(Stuck::from).collect(),
            awaited: awaited.iter().map(OfHolder::from).collect(),
            absent: absent.to_string(),
            drained: drained.to_string(),
            free: free.to_string(),
            scores: planned.scores.iter().map(Survey::from).collect(),
            digest: Some(planned.digest.as_str()).filter(|digest| !digest.is_empty()),
            refusal: planned.refusal.as_deref(),
            limits: planned.limits.iter().map(Limit::from).collect(),
            remarks: &planned.remarks,
            serving: serving.iter().map(PlannedServing::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct Limit<'a> {
    job: &'a str,
    limit: &'a str,
    asked: Option<String>,
    comes_to: u32,
    of: u32,
}

impl<'a> From<&'a ResolvedLimit> for Limit<'a> {
    fn from(limit: &'a ResolvedLimit) -> Self {
        Self {
            job: limit.job.as_str(),
            limit: &limit.limit,
            asked: limit.asked.map(|asked| asked.to_string()),
            comes_to: limit.comes_to,
            of: limit.of,
        }
    }
}

#[derive(Serialize)]
struct Step<'a> {
    job: &'a str,
    hosts: String,
    count: usize,
}

impl<'a> From<&'a (JobName, HostSet)> for Step<'a> {
    fn from((job, hosts): &'a (JobName, HostSet)) -> Self {
        Self { job: job.as_str(), hosts: hosts.to_string(), count: hosts.len() }
    }
}

#[derive(Serialize)]
struct Stuck<'a> {
    job: &'a str,
    hosts: String,
    count: usize,
    reason: String,
}

impl<'a> From<&'a (JobName, HostSet, Advice)> for Stuck<'a> {
    fn from((job, hosts, reason): &'a (JobName, HostSet, Advice)) -> Self {
        Self {
            job: job.as_str(),
            hosts: hosts.to_string(),
            count: hosts.len(),
            reason: reason.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Survey<'a> {
    job: &'a str,
    score: &'a str,
    versions: Vec<Version>,
    missing: String,
    unheard: String,
}

#[derive(Serialize)]
struct Version {
    hash: String,
    hosts: String,
    count: usize,
}

impl From<(&ScoreHash, &HostSet)> for Version {
    fn from((hash, hosts): (&ScoreHash, &HostSet)) -> Self {
        Self { hash: hash.to_string(), hosts: hosts.to_string(), count: hosts.len() }
    }
}

impl<'a> From<&'a ScoreSurvey> for Survey<'a> {
    fn from(survey: &'a ScoreSurvey) -> Self {
        Self {
            job: survey.job.as_str(),
            score: survey.score.as_str(),
            versions: survey.versions.iter().map(Version::from).collect(),
            missing: survey.missing.to_string(),
            unheard: survey.unheard.to_string(),
        }
    }
}
