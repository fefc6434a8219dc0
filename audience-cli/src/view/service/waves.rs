//! In which waves an apply would reach its hosts. They follow from the plan's hosts and the rule of the
//! update, which the conductor makes the flow of.

use orchestra_client::AppliedVersion;
use orchestra_model::{
    Millis,
    service::{HostStep, ServicePlan},
};
use serde::Serialize;

/// Hosts that an apply would reach together, or one after the other.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Wave {
    /// `not-ready`, `surge`, `canary`, `others`, or `leave`, which goes beside the others.
    wave: &'static str,
    count: u32,
    /// How many of them at once, beside the limits of cells.
    at_once: u32,
    /// How long the next wave waits after it. Only a canary has one; without it, until `orc promote`.
    bake_ms: Option<u64>,
}

impl Wave {
    /// Returns the waves of a plan that leads to this version; none where nothing would be done.
    pub(super) fn of(plan: &ServicePlan, after: &AppliedVersion) -> Vec<Self> {
        let update = &after.spec.update;
        let count = |is_it: &dyn Fn(HostStep, bool) -> bool| {
            let steps = plan.steps.iter().filter(|it| is_it(it.step, it.first));
            steps.map(|it| it.hosts.len() as u32).sum::<u32>()
        };
        let runs = |step| matches!(step, HostStep::Start | HostStep::Update | HostStep::Restart);
        let first = count(&|step, first| runs(step) && first);
        let others = count(&|step, first| runs(step) && !first);
        let begin = count(&|step, first| step == HostStep::Start && !first);
        // Where nothing is to be updated after them they are as the others.
        let extra = if update.surge > 0 && begin < others { begin } else { 0 };
        let others = others - extra;
        let leave = count(&|step, _| step == HostStep::Leave);
        let canary = update.canary.map_or(0, |canary| canary.threshold_of(others));
        let at_once = update.parallel.window_of(others.max(1));
        let wave = |wave, count: u32, at_once: u32| {
            let at_once = at_once.min(count);
            Wave { wave, count, at_once, bake_ms: None }
        };
        let bake_ms = update.bake.map(|Millis(ms)| ms);
        let waves = [
            wave("not-ready", first, update.parallel.window_of(first.max(1))),
            wave("surge", extra, update.parallel.window_of(extra.max(1))),
            Wave { bake_ms, ..wave("canary", canary, at_once) },
            wave("others", others - canary, at_once),
            wave("leave", leave, leave),
        ];
        waves.into_iter().filter(|wave| wave.count > 0).collect()
    }

    /// `1 not ready, then 1 as canary, 5m, then 12, 3 at once, and 2 that leave`
    pub(super) fn text(waves: &[Self]) -> String {
        let mut text = String::new();
        for (at, Wave { wave, count, at_once, bake_ms }) in waves.iter().enumerate() {
            text += match (at, *wave) {
                (0, _) => "",
                // These go beside what comes before them.
                (_, "leave" | "surge") => ", and ",
                _ => ", then ",
            };
            text += &match *wave {
                "not-ready" if at_once < count => format!("{count} not ready, {at_once} at once"),
                "not-ready" => format!("{count} not ready"),
                "surge" => format!("{count} more"),
                "canary" => {
                    let bake = bake_ms.map(|ms| Millis(ms).to_string());
                    format!("{count} as canary, {}", bake.as_deref().unwrap_or("until orc promote"))
                }
                "leave" => format!("{count} that leave"),
                _ if at_once < count => format!("{count}, {at_once} at once"),
                _ => format!("{count} at once"),
            };
        }
        text
    }
}
