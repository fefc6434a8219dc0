//! Whether flows that wait for their moment, or for another flow, may begin when that comes. They were
//! judged when they were submitted; the right to them may be gone by then. It may change only when files
//! are loaded, so all that wait are judged then, and the engine cancels those that are denied once their
//! time comes. A right that comes back before that is as if it had never been gone.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Engine, PendingFlow};
use orchestra_model::{Asker, AudienceName, FlowId, audit::Verb, policy::Right};
use orchestra_policy::{Denial, Policy, What};

/// Returns the flows that may not begin by this policy, and why.
pub(super) fn denied_starts(engine: &Engine, policy: &Policy) -> BTreeMap<FlowId, Arc<str>> {
    if policy.is_open() {
        return BTreeMap::new();
    }
    let denied = engine.pending_flows().filter_map(|pending| {
        // What else submits is a part of the conductor.
        let Asker::Audience(by) = &pending.audience else { return None };
        let denial = check(policy, by, &pending).err()?;
        let why = format!("when its time came {by} {}", denial.shortly());
        Some((pending.flow, why.into()))
    });
    denied.collect()
}

fn check(policy: &Policy, by: &AudienceName, pending: &PendingFlow) -> Result<(), Denial> {
    pending.jobs.iter().try_for_each(|(score, hosts)| {
        let what = What::Score { score: score.as_str(), is_of_others: false };
        policy.check(by, Right::Do(Verb::Submit), what, Some(hosts))
    })
}
