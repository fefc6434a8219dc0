//! What an ended flow has left undone, as a flow of its own: what `orc retry` submits.
//!
//! Tasks that ended ok are done. The new flow has the others, with the same limits in numbers: if 8
//! of 10 had to be ok and 5 were, 3 of the other 5 have to be. At least 1 has to, because otherwise
//! a retry that did nothing would count as ok. Jobs and slots that have nothing left are not in the
//! new flow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use orchestra_model::{
    FlowId, HostSet, JobId, JobName, ParamKey, Params, Quantity, TaskState,
    flow::{FlowSpec, JobSpec, Scope, SlotSpec},
    params::InvalidParams,
    record::JobRecord,
    thresholds::Thresholds,
    tree::{TreeShape, TreeSpec},
};
use orchestra_store::{ReadError, Reader};

use super::{HistoryError, spec, targets, thresholds, tree};

/// What is left of a flow.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The new flow.
    pub(crate) spec: FlowSpec,
    /// The host sets of its jobs, slot by slot.
    pub(crate) targets: Vec<Vec<HostSet>>,
    /// The roots of their trees, and the hosts that serve because they are ok already, by slot and job
    /// of the new flow.
    pub(crate) trees: BTreeMap<(u16, u16), TreeShape>,
    /// Their parameters, by slot and job of the new flow.
    pub(crate) params: BTreeMap<(u16, u16), Params>,
    /// How many tasks it has.
    pub(crate) tasks: u32,
    /// Hosts that had something left and are no players any more. They are not in the new flow.
    pub(crate) gone: HostSet,
}

/// Why there is no new flow.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRest {
    /// The old flow cannot be read.
    Read(#[source] HistoryError),
    /// The store has no such flow.
    Unknown(FlowId),
    /// The flow has not ended.
    Alive(FlowId),
    /// Every named task is ok, or its host is no player any more.
    Nothing(FlowId),
    /// The parameters that were not kept when the old flow ended are not given, or others are.
    Params(Vec<WrongKeys>),
    /// What is given is too much beside the parameters that were kept.
    TooMuch(#[source] InvalidParams),
}

/// A job whose parameters are not given with the same keys.
#[derive(Debug)]
pub(crate) struct WrongKeys {
    job: JobName,
    /// Keys that the job had and that are not given.
    missing: Vec<ParamKey>,
    /// Keys that are given and that the job did not have.
    extra: Vec<ParamKey>,
}

impl fmt::Display for NoRest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("what is left of the flow cannot be read"),
            Self::Unknown(flow) => write!(f, "there is no flow {flow}"),
            Self::Alive(flow) => write!(f, "flow {flow} has not ended"),
            Self::Nothing(flow) => {
                write!(f, "flow {flow} has ended, and nothing is left to do of it")
            }
            Self::Params(jobs) => f.write_str(&tell_wrong(jobs)),
            Self::TooMuch(_) => f.write_str("the parameters, with those that were kept"),
        }
    }
}

/// Says what is wrong with the keys of all jobs, at once.
fn tell_wrong(jobs: &[WrongKeys]) -> String {
    let mut told = Vec::new();
    for WrongKeys { job, extra, .. } in jobs.iter().filter(|job| !job.extra.is_empty()) {
        let keys: Vec<&str> = extra.iter().map(ParamKey::as_str).collect();
        let keys = keys.join(", ");
        told.push(format!("job {job} had no parameters {keys}; a retry has what it had"));
    }
    let set = |WrongKeys { job, missing, .. }: &WrongKeys| -> String {
        missing.iter().map(|key| format!(" --set {job}/{key}=VALUE")).collect()
    };
    let missing: String = jobs.iter().map(set).collect();
    if !missing.is_empty() {
        told.push(format!(
            "what may be secret was erased when the flow ended; give it again:{missing}"
        ));
    }
    told.join("; ")
}

impl From<HistoryError> for NoRest {
    fn from(cause: HistoryError) -> Self {
        Self::Read(cause)
    }
}

impl From<ReadError> for NoRest {
    fn from(cause: ReadError) -> Self {
        Self::Read(cause.into())
    }
}

impl Rest {
    /// Reads what is left of an ended flow, or of one job of it, on those of its hosts that are
    /// still `players`. Parameters are `given` by slot and job of the old flow.
    pub(crate) fn read(
        reader: &dyn Reader,
        flow: FlowId,
        only: Option<JobId>,
        mut given: BTreeMap<(u16, u16), Params>,
        players: &HostSet,
    ) -> Result<Rest, NoRest> {
        let record = reader.flow(flow)?.ok_or(NoRest::Unknown(flow))?;
        if !record.state.is_final() {
            return Err(NoRest::Alive(flow));
        }
        let old = spec(reader, flow)?;
        let mut records = reader.jobs(flow)?.into_iter();
        let mut rest = Rest {
            spec: FlowSpec { name: old.name, ..FlowSpec::new(Vec::new()) },
            targets: Vec::new(),
            trees: BTreeMap::new(),
            params: BTreeMap::new(),
            tasks: 0,
            gone: HostSet::default(),
        };
        let mut wrong = Vec::new();
        for slot in old.slots {
            let (mut jobs, mut sets) = (Vec::new(), Vec::new());
            for (spec, record) in slot.jobs.into_iter().zip(records.by_ref()) {
                if only.is_some_and(|only| only != record.id) {
                    continue;
                }
                let left = Left::read(reader, &spec, &record)?;
                let gone = left.hosts.unknown(|host| players.contains(host));
                let hosts = left.hosts.minus(&gone);
                rest.gone = rest.gone.union(&gone);
                if hosts.is_empty() {
                    continue;
                }
                let params = given.remove(&(record.id.slot, record.id.job)).unwrap_or_default();
                let params = params.beside(&record.kept_params).map_err(NoRest::TooMuch)?;
                wrong.extend(wrong_keys(&record, &params));
                let tasks = if spec.scope == Scope::One { 1 } else { hosts.len() };
                rest.tasks += u32::try_from(tasks).unwrap_or(u32::MAX);
                let place = (place(rest.spec.slots.len()), place(jobs.len()));
                let mut job = narrowed(spec, &record, left.ok, &hosts);
                if let Some(tree) = &job.tree {
                    let shape = serving(reader, record.id, &left.done, &hosts, players)?;
                    let root = (!shape.root.is_empty()).then(|| shape.root.to_string());
                    job.tree = Some(Arc::new(TreeSpec { root, ..TreeSpec::clone(tree) }));
                    rest.trees.insert(place, shape);
                }
                jobs.push(job);
                sets.push(hosts);
                if !params.is_empty() {
                    rest.params.insert(place, params);
                }
            }
            if !jobs.is_empty() {
                rest.spec.slots.push(SlotSpec { jobs });
                rest.targets.push(sets);
            }
        }
        match rest.tasks {
            0 => Err(NoRest::Nothing(flow)),
            _ if !wrong.is_empty() => Err(NoRest::Params(wrong)),
            _ => Ok(rest),
        }
    }
}

/// Returns the number, from 1, of a slot or job. There are no more slots and jobs than fit.
fn place(index: usize) -> u16 {
    u16::try_from(index + 1).unwrap_or(u16::MAX)
}

/// What is left of one job.
struct Left {
    /// Its hosts that are not ok; all hosts if it is a one-of job that is not ok.
    hosts: HostSet,
    /// How many tasks are ok.
    ok: u32,
    /// The hosts of those.
    done: HostSet,
}

impl Left {
    fn read(reader: &dyn Reader, spec: &JobSpec, job: &JobRecord) -> Result<Left, NoRest> {
        let mut done = BTreeSet::new();
        reader.each_task(job.id, &mut |task| {
            if task.state == TaskState::Ok {
                done.insert(task.index);
            }
        })?;
        let ok = u32::try_from(done.len()).unwrap_or(u32::MAX);
        let all = targets(reader, job.id)?;
        let those = (0..).zip(&all).filter(|(index, _)| done.contains(index));
        let ended_ok = those.map(|(_, host)| host.clone()).collect();
        let hosts = match spec.scope {
            Scope::One if ok > 0 => HostSet::default(),
            Scope::One => all,
            Scope::All => {
                let left = (0..).zip(all).filter(|(index, _)| !done.contains(index));
                left.map(|(_, host)| host).collect()
            }
        };
        Ok(Left { hosts, ok, done: ended_ok })
    }
}

/// Returns who serves in the tree of what is left of a job: its root, and the hosts that are ok, as
/// far as they are still players.
fn serving(
    reader: &dyn Reader,
    job: JobId,
    done: &HostSet,
    targets: &HostSet,
    players: &HostSet,
) -> Result<TreeShape, HistoryError> {
    let old = tree(reader, job)?;
    let kept = |hosts: &HostSet| hosts.intersection(players).minus(targets);
    let (root, done) = (kept(&old.root), kept(&old.done.union(done)));
    Ok(TreeShape { root, done, groups: Vec::new() })
}

/// Returns the job for what is left of it. Limits that were shares of all its hosts become the
/// numbers that they came to.
fn narrowed(spec: JobSpec, record: &JobRecord, ok: u32, hosts: &HostSet) -> JobSpec {
    let is_past_canary = record.canary_ok_at.is_some() || record.promoted_by.is_some();
    let Thresholds { window, needed, tolerated, .. } = thresholds(&spec, record);
    // For a one-of job one host had to succeed, and still has to. `max_failures` is kept only if
    // `success` does not bound the failures as well.
    let (success, max_failures) = match spec.scope {
        Scope::One => (None, None),
        Scope::All => {
            let bound = spec.max_failures.filter(|_| needed + tolerated != record.tasks);
            (
                Some(Quantity::Count(needed.saturating_sub(ok).max(1))),
                bound.map(|_| Quantity::Count(tolerated)),
            )
        }
    };
    JobSpec {
        targets: hosts.to_string(),
        parallel: Quantity::Count(window),
        success,
        max_failures,
        canary: spec.canary.filter(|_| !is_past_canary),
        bake: spec.bake.filter(|_| !is_past_canary),
        ..spec
    }
}

/// Returns what is wrong with the keys of the parameters that a job is given again, if anything.
fn wrong_keys(job: &JobRecord, given: &Params) -> Option<WrongKeys> {
    let had: BTreeSet<&ParamKey> = job.param_keys.iter().collect();
    let has: BTreeSet<&ParamKey> = given.iter().map(|(key, _)| key).collect();
    if had == has {
        return None;
    }
    let only = |one: &BTreeSet<&ParamKey>, other: &BTreeSet<&ParamKey>| {
        one.difference(other).map(|key| (*key).clone()).collect()
    };
    Some(WrongKeys { job: job.name.clone(), missing: only(&had, &has), extra: only(&has, &had) })
}
