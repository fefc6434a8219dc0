//! What is submitted: a flow of slots of jobs, after parsing and within bounds.
//!
//! The file format (names, defaults, hints) is the audience's business and lives with its tools;
//! this is what the wire carries and the scheduler reads.

use std::{collections::BTreeSet, fmt, sync::Arc};

use crate::{
    limits,
    names::{FlowName, JobName, ScoreName, ServiceName},
    quantity::Quantity,
    service::{RecipeJob, UnitJob},
    start::Start,
    time::Millis,
    tree::TreeSpec,
};

/// A flow: slots in order. Valid when [`FlowSpec::check`] passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSpec {
    /// For people.
    pub name: Option<FlowName>,
    /// What it waits for before its first slot begins.
    pub start: Start,
    /// At least one, at most [`limits::SLOTS`].
    pub slots: Vec<SlotSpec>,
}

/// Jobs that run side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSpec {
    /// At least one.
    pub jobs: Vec<JobSpec>,
}

/// One score over a host set. Its parameters travel beside it, because they are erased earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Unique in the flow.
    pub name: JobName,
    /// What runs.
    pub score: ScoreName,
    /// Where: a host set expression, resolved by the conductor once, at submission.
    pub targets: String,
    /// On all of them, or on one.
    pub scope: Scope,
    /// How many tasks at once, a sliding window.
    pub parallel: Quantity,
    /// How many must succeed. `None`: what `max_failures` does not tolerate, else all.
    pub success: Option<Quantity>,
    /// Failures tolerated; one more dooms the job. A failure counts when its task is final, after
    /// its retries. `None`: what `success` leaves.
    pub max_failures: Option<Quantity>,
    /// Of one attempt; at most the score's own. `None`: the score's.
    pub timeout: Option<Millis>,
    /// How long a task may wait for a player that is not there. `None`: for ever.
    pub give_up_after: Option<Millis>,
    /// What happens when `success` is met and only absent players' tasks are left.
    pub stragglers: Stragglers,
    /// How long a sent or running task waits for a player that went away before it is `lost`.
    /// `None`: timeout + grace + 10 minutes.
    pub lost_after: Option<Millis>,
    /// Extra attempts after `failed` or `timed-out`.
    pub retries: u32,
    /// How long such an attempt waits after the one before it ended.
    pub retry_delay: Millis,
    /// How many of its players must be attached before anything starts.
    pub quorum: Quantity,
    /// How many tasks go first, in host-set order; the others wait until all of these are ok and
    /// `bake` is over, or somebody promotes the job.
    pub canary: Option<Quantity>,
    /// How long the others wait then. `None`: until somebody promotes the job.
    pub bake: Option<Millis>,
    /// What becomes of running tasks when the job is doomed.
    pub on_doomed: OnDoomed,
    /// What tasks do whose predecessors, by a deployment's sequence, failed for good.
    pub sequence_on_failure: SequenceOnFailure,
    /// Its tasks take no cells and wait for no sequence.
    pub unthrottled: bool,
    /// A job of an earlier slot. A task whose host has a task of that job which did not end ok is
    /// skipped. Only the conductor's own flows have it.
    pub only_where_ok: Option<JobName>,
    /// The recipe of a service that its tasks do; `None`: none. Only the conductor's own flows have it.
    pub recipe: Option<RecipeJob>,
    /// What its tasks ask of the units of a service; `None`: each runs the score once. Only the
    /// conductor's own flows have it.
    pub unit: Option<Arc<UnitJob>>,
    /// Each of its tasks fetches from a host that has ended already; `None`: they have nothing to do
    /// with each other.
    pub tree: Option<Arc<TreeSpec>>,
}

/// All hosts of the set, or one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// One task a host.
    #[default]
    All,
    /// One task in all, on the least busy attached player.
    One,
}

/// What to do with tasks of absent players once enough others succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stragglers {
    /// They become `unreachable`, and the job ends.
    #[default]
    GiveUp,
    /// The job waits for them.
    Wait,
}

/// What becomes of running tasks of a doomed job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDoomed {
    /// They run to their end.
    #[default]
    Finish,
    /// They are killed.
    Cancel,
}

/// What a task does whose predecessors failed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SequenceOnFailure {
    /// It waits: only a person can help.
    #[default]
    Wait,
    /// It starts once none of them goes on, whatever became of them.
    Continue,
}

impl JobSpec {
    /// The service whose units the job changes, or whose recipe it does; `None` where it is about none.
    pub fn service(&self) -> Option<&ServiceName> {
        let of_units = self.unit.as_ref().map(|unit| &unit.service);
        of_units.or_else(|| self.recipe.as_ref().map(|recipe| &recipe.service))
    }

    /// A job with every limit at its default.
    pub fn new(name: JobName, score: ScoreName, targets: impl Into<String>) -> Self {
        Self {
            name,
            score,
            targets: targets.into(),
            scope: Scope::All,
            parallel: Quantity::ALL,
            success: None,
            max_failures: None,
            timeout: None,
            give_up_after: None,
            stragglers: Stragglers::GiveUp,
            lost_after: None,
            retries: 0,
            retry_delay: Millis(0),
            quorum: Quantity::Count(0),
            canary: None,
            bake: None,
            on_doomed: OnDoomed::Finish,
            sequence_on_failure: SequenceOnFailure::Wait,
            unthrottled: false,
            only_where_ok: None,
            recipe: None,
            unit: None,
            tree: None,
        }
    }
}

/// Why a flow cannot be run as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFlow {
    /// No slot, or a slot without a job (its number, from 1).
    Empty(Option<usize>),
    /// More slots or jobs than the bound.
    TooMany {
        /// `slots` or `jobs`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// Two jobs of the same name.
    DuplicateJob(JobName),
    /// A limit that makes no sense.
    Limit {
        job: JobName,
        /// The field and what is wrong with it.
        problem: &'static str,
    },
}

impl fmt::Display for InvalidFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(None) => f.write_str("the flow has no slots"),
            Self::Empty(Some(slot)) => write!(f, "slot {slot} has no jobs"),
            Self::TooMany { what, count, most } => {
                write!(f, "the flow has {count} {what}; at most {most} are allowed")
            }
            Self::DuplicateJob(name) => {
                write!(f, "two jobs are named {name}; names are unique in a flow")
            }
            Self::Limit { job, problem } => write!(f, "job {job}: {problem}"),
        }
    }
}

impl FlowSpec {
    /// A flow without a name that begins at once.
    pub fn new(slots: Vec<SlotSpec>) -> Self {
        Self { name: None, start: Start::default(), slots }
    }

    /// Checks what no single field can: counts, unique names, limits that contradict themselves.
    pub fn check(&self) -> Result<(), InvalidFlow> {
        let jobs: usize = self.slots.iter().map(|slot| slot.jobs.len()).sum();
        if self.slots.is_empty() {
            return Err(InvalidFlow::Empty(None));
        }
        for (what, count, most) in
            [("slots", self.slots.len(), limits::SLOTS), ("jobs", jobs, limits::JOBS)]
        {
            if count > most {
                return Err(InvalidFlow::TooMany { what, count, most });
            }
        }
        let (mut names, mut earlier) = (BTreeSet::new(), BTreeSet::new());
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.jobs.is_empty() {
                return Err(InvalidFlow::Empty(Some(index + 1)));
            }
            for job in &slot.jobs {
                if !names.insert(&job.name) {
                    return Err(InvalidFlow::DuplicateJob(job.name.clone()));
                }
                let is_earlier = |other| earlier.contains(other);
                let problem = match &job.only_where_ok {
                    Some(other) if !is_earlier(other) => {
                        Some("only_where_ok names no job of an earlier slot")
                    }
                    _ => job.problem(),
                };
                if let Some(problem) = problem {
                    return Err(InvalidFlow::Limit { job: job.name.clone(), problem });
                }
            }
            earlier.extend(slot.jobs.iter().map(|job| &job.name));
        }
        Ok(())
    }
}

impl JobSpec {
    /// The first limit that makes no sense.
    fn problem(&self) -> Option<&'static str> {
        let zero = |length: Option<Millis>| length == Some(Millis(0));
        if self.parallel.is_zero() {
            Some("parallel is 0, so nothing could ever start; leave it out for all at once")
        } else if zero(self.timeout) {
            Some("timeout is 0; leave it out for the score's own")
        } else if self.canary.is_some_and(Quantity::is_zero) {
            Some("canary is 0; leave it out to start without one")
        } else if self.bake.is_some() && self.canary.is_none() {
            Some("bake without canary: there is nothing to wait after")
        } else if self.canary.is_some() && self.scope == Scope::One {
            Some("canary makes no sense where one task runs in all")
        } else if self.scope == Scope::One && self.max_failures.is_some() {
            Some("max_failures makes no sense where one task runs in all; leave it out")
        } else if self.scope == Scope::One
            && !matches!(self.success, None | Some(Quantity::ALL | Quantity::Count(1)))
        {
            Some("success other than 100% makes no sense where one task runs in all; leave it out")
        } else if self.retry_delay > Millis(0) && self.retries == 0 {
            Some("retry_delay without retries: nothing would ever wait for it")
        } else if self.retries > limits::RETRIES {
            Some("retries is above 1000")
        } else if self.targets.len() > limits::HOSTSET_BYTES {
            Some("targets is longer than 4 MiB")
        } else if self.unit.is_some() {
            self.problem_of_units()
        } else {
            self.tree.as_deref().and_then(|tree| self.problem_of_tree(tree))
        }
    }

    /// The first limit that makes no sense where its tasks ask something of units.
    fn problem_of_units(&self) -> Option<&'static str> {
        if self.scope == Scope::One {
            Some("it is about units, and so about all of its hosts")
        } else if self.retries > 0 {
            Some("retries makes no sense for units: they are restarted by their own rule")
        } else if self.timeout.is_some() {
            Some("timeout makes no sense for units: they have a deadline")
        } else if self.tree.is_some() {
            Some("tree makes no sense for units: nothing passes from one to the other")
        } else {
            None
        }
    }

    /// The first limit that makes no sense where its tasks follow a tree.
    fn problem_of_tree(&self, tree: &TreeSpec) -> Option<&'static str> {
        if self.scope == Scope::One {
            Some("tree makes no sense where one task runs in all")
        } else if tree.root.as_ref().is_some_and(|root| root.len() > limits::HOSTSET_BYTES) {
            Some("tree.root is longer than 4 MiB")
        } else {
            tree.problem()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{ServiceVersion, Upkeep, Wanted};

    fn job(name: &str) -> JobSpec {
        JobSpec::new(JobName::new(name).unwrap(), ScoreName::new("hello").unwrap(), "a")
    }

    #[test]
    fn a_flow_has_slots_jobs_and_unique_names() {
        let flow = |slots: Vec<Vec<JobSpec>>| {
            FlowSpec::new(slots.into_iter().map(|jobs| SlotSpec { jobs }).collect())
        };
        assert_eq!(flow(vec![vec![job("a")], vec![job("b")]]).check(), Ok(()));
        assert_eq!(flow(vec![]).check(), Err(InvalidFlow::Empty(None)));
        assert_eq!(flow(vec![vec![job("a")], vec![]]).check(), Err(InvalidFlow::Empty(Some(2))));
        assert!(matches!(
            flow(vec![vec![job("a")], vec![job("a")]]).check(),
            Err(InvalidFlow::DuplicateJob(_))
        ));
        let never = JobSpec { parallel: Quantity::Percent(0), ..job("a") };
        assert!(matches!(flow(vec![vec![never]]).check(), Err(InvalidFlow::Limit { .. })));
    }

    #[test]
    fn a_job_of_units_has_neither_scope_nor_retries_nor_a_timeout() {
        let unit = Arc::new(UnitJob {
            service: ServiceName::new("web").unwrap(),
            version: ServiceVersion(1),
            wanted: Wanted::Running,
            upkeep: Upkeep::default(),
            healthy_for: Millis::seconds(10),
            deadline: Millis::minutes(10),
            score_hash: None,
            instances: Arc::default(),
        });
        let of_units = JobSpec { unit: Some(unit), ..job("a") };
        let problem =
            |job: JobSpec| FlowSpec::new(vec![SlotSpec { jobs: vec![job] }]).check().err();
        assert_eq!(problem(of_units.clone()), None);
        for (wrong, word) in [
            (JobSpec { scope: Scope::One, ..of_units.clone() }, "all of its hosts"),
            (JobSpec { retries: 1, ..of_units.clone() }, "retries"),
            (JobSpec { timeout: Some(Millis(1)), ..of_units }, "timeout"),
        ] {
            let told = problem(wrong).unwrap().to_string();
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn a_tree_is_of_many_hosts() {
        let tree = Some(Arc::new(TreeSpec::default()));
        let problem =
            |job: JobSpec| FlowSpec::new(vec![SlotSpec { jobs: vec![job] }]).check().err();
        assert_eq!(problem(JobSpec { tree: tree.clone(), ..job("a") }), None);
        let one = problem(JobSpec { tree, scope: Scope::One, ..job("a") });
        assert!(one.unwrap().to_string().contains("tree"));
        let none = Some(Arc::new(TreeSpec { branches: 0, ..TreeSpec::default() }));
        let told = problem(JobSpec { tree: none, ..job("a") });
        assert!(told.unwrap().to_string().contains("branches"));
    }

    #[test]
    fn a_one_of_job_has_no_thresholds_to_choose() {
        let one = JobSpec { scope: Scope::One, ..job("a") };
        let problem =
            |job: JobSpec| FlowSpec::new(vec![SlotSpec { jobs: vec![job] }]).check().err();
        for fine in [None, Some(Quantity::ALL), Some(Quantity::Count(1))] {
            assert_eq!(problem(JobSpec { success: fine, ..one.clone() }), None, "{fine:?}");
        }
        for success in [Quantity::Count(0), Quantity::Count(2), Quantity::Percent(50)] {
            let told = problem(JobSpec { success: Some(success), ..one.clone() });
            assert!(told.unwrap().to_string().contains("success other than 100%"), "{success}");
        }
        for most in [Quantity::Count(0), Quantity::ALL] {
            let told = problem(JobSpec { max_failures: Some(most), ..one.clone() });
            assert!(told.unwrap().to_string().contains("max_failures"), "{most}");
        }
    }
}
