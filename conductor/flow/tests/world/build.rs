//! Short ways to say what a flow is like.

use orchestra_model::{
    AudienceName, HostName, HostSet, JobName, Millis, Quantity, ScoreName,
    flow::{FlowSpec, JobSpec, Scope, SlotSpec, Stragglers},
};

pub fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub fn hosts(expression: &str) -> HostSet {
    HostSet::parse_plain(expression).unwrap()
}

pub fn audience() -> AudienceName {
    AudienceName::new("alice").unwrap()
}

/// A job of score `work` named like its targets, to be refined.
pub fn job(targets: &str) -> JobSpec {
    let name: String = targets.chars().filter(char::is_ascii_alphanumeric).collect();
    let score = ScoreName::new("work").unwrap();
    JobSpec::new(JobName::new(&name).unwrap(), score, targets)
}

/// Short ways to say what a job is like.
pub trait JobExt {
    fn named(self, name: &str) -> Self;
    fn score(self, score: &str) -> Self;
    fn parallel(self, n: u32) -> Self;
    fn success(self, n: u32) -> Self;
    fn max_failures(self, n: u32) -> Self;
    fn retries(self, n: u32) -> Self;
    fn one_of(self) -> Self;
    fn wait_for_stragglers(self) -> Self;
    fn give_up_after(self, seconds: u64) -> Self;
    fn lost_after(self, seconds: u64) -> Self;
}

impl JobExt for JobSpec {
    fn named(self, name: &str) -> Self {
        Self { name: JobName::new(name).unwrap(), ..self }
    }
    fn score(self, score: &str) -> Self {
        Self { score: ScoreName::new(score).unwrap(), ..self }
    }
    fn parallel(self, n: u32) -> Self {
        Self { parallel: Quantity::Count(n), ..self }
    }
    fn success(self, n: u32) -> Self {
        Self { success: Quantity::Count(n), ..self }
    }
    fn max_failures(self, n: u32) -> Self {
        Self { max_failures: Some(Quantity::Count(n)), ..self }
    }
    fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }
    fn one_of(self) -> Self {
        Self { scope: Scope::One, ..self }
    }
    fn wait_for_stragglers(self) -> Self {
        Self { stragglers: Stragglers::Wait, ..self }
    }
    fn give_up_after(self, seconds: u64) -> Self {
        Self { give_up_after: Some(Millis::seconds(seconds)), ..self }
    }
    fn lost_after(self, seconds: u64) -> Self {
        Self { lost_after: Some(Millis::seconds(seconds)), ..self }
    }
}

pub fn flow(slots: impl IntoIterator<Item = Vec<JobSpec>>) -> FlowSpec {
    FlowSpec { name: None, slots: slots.into_iter().map(|jobs| SlotSpec { jobs }).collect() }
}
