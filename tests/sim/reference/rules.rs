//! Rounding, thresholds and verdicts, from `docs/promises.md`, without a line of the product's own.

use orchestra_model::{
    JobState, Quantity, TaskState, Thresholds,
    flow::{JobSpec, Scope},
};

/// Concurrency rounds down, at least 1.
pub(crate) fn window(quantity: Quantity, total: u32) -> u32 {
    rounded_down(quantity, total).max(1)
}

/// Success, quorum and canary round up, and are never more than there are.
pub(crate) fn rounded_up(quantity: Quantity, total: u32) -> u32 {
    match quantity {
        Quantity::Count(n) => n.min(total),
        Quantity::Percent(percent) => {
            let share = |n: u32| u64::from(n) * 100 >= u64::from(percent) * u64::from(total);
            (0..=total).find(|n| share(*n)).unwrap_or(total)
        }
    }
}

/// `max_failures` rounds down.
pub(crate) fn rounded_down(quantity: Quantity, total: u32) -> u32 {
    match quantity {
        Quantity::Count(n) => n,
        Quantity::Percent(percent) => {
            let share = |n: u32| u64::from(n) * 100 <= u64::from(percent) * u64::from(total);
            (0..=total).rev().find(|n| share(*n)).unwrap_or(0)
        }
    }
}

/// How many must succeed: what `success` says, else all that `max_failures` does not tolerate.
pub(crate) fn needed(spec: &JobSpec, total: u32) -> u32 {
    match (spec.success, spec.max_failures) {
        (Some(success), _) => rounded_up(success, total),
        (None, Some(most)) => total - rounded_down(most, total).min(total),
        (None, None) => total,
    }
}

/// How many failures are tolerated: what `success` leaves, unless the job says.
pub(crate) fn tolerated(spec: &JobSpec, total: u32) -> u32 {
    match spec.max_failures {
        Some(most) => rounded_down(most, total),
        None => total - needed(spec, total),
    }
}

/// What a job's limits come to.
pub(crate) fn thresholds(spec: &JobSpec, hosts: u32) -> Thresholds {
    let total = match spec.scope {
        Scope::All => hosts,
        Scope::One => 1,
    };
    Thresholds {
        window: window(spec.parallel, total),
        needed: needed(spec, total),
        tolerated: tolerated(spec, total).min(total),
        quorum: rounded_up(spec.quorum, hosts),
        canary: spec.canary.map_or(0, |canary| rounded_up(canary, total)),
    }
}

/// Whether a limit could never take effect: a count above the job's hosts, or a threshold where one
/// task runs in all. A person is refused it.
pub(crate) fn is_refused(spec: &JobSpec, hosts: u32) -> bool {
    let counts = [spec.success, spec.max_failures, Some(spec.quorum), spec.canary];
    let above = |count| matches!(count, Quantity::Count(n) if n > hosts);
    let one = spec.scope == Scope::One;
    let chosen = !matches!(spec.success, None | Some(Quantity::ALL | Quantity::Count(1)));
    counts.into_iter().flatten().any(above) || one && (chosen || spec.max_failures.is_some())
}

fn count(states: &[TaskState], is: impl Fn(TaskState) -> bool) -> u32 {
    states.iter().filter(|state| is(**state)).count() as u32
}

/// `lost` and `refused` count as failures, `unreachable`, `skipped` and `cancelled` do not.
fn failures(states: &[TaskState]) -> u32 {
    use TaskState::{Failed, Lost, Refused, TimedOut};
    count(states, |state| matches!(state, Failed | TimedOut | Refused | Lost))
}

/// Whether the threshold is out of reach, or too much has failed.
pub(crate) fn is_doomed(spec: &JobSpec, states: &[TaskState]) -> bool {
    let total = states.len() as u32;
    let in_reach = count(states, |state| state == TaskState::Ok || !state.is_final());
    in_reach < needed(spec, total) || failures(states) > tolerated(spec, total)
}

/// A job's verdict, once all of its tasks are final, in a flow that was not cancelled.
pub(crate) fn verdict(spec: &JobSpec, states: &[TaskState]) -> JobState {
    let total = states.len() as u32;
    let ok = count(states, |state| state == TaskState::Ok);
    if ok >= needed(spec, total) && failures(states) <= tolerated(spec, total) {
        JobState::Ok
    } else if ok > 0 {
        JobState::Partial
    } else {
        JobState::Failed
    }
}
