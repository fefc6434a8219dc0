//! Rounding, thresholds and verdicts, from `product.md`, without a line of the product's own.

use orchestra_model::{JobState, Quantity, TaskState, flow::JobSpec};

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

/// How many must succeed.
fn needed(spec: &JobSpec, total: u32) -> u32 {
    rounded_up(spec.success, total)
}

/// How many failures are tolerated: what `success` leaves, unless the job says.
fn tolerated(spec: &JobSpec, total: u32) -> u32 {
    match spec.max_failures {
        Some(most) => rounded_down(most, total),
        None => total - needed(spec, total),
    }
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
