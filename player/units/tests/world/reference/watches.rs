//! When a watch may end, and when it has to have ended.

use orchestra_model::service::{RunEnd, Wanted};
use orchestra_units::{UnitFailure, Units, WatchEnd};

use super::{RefRun, RefUnit, RefWatch, Reference, Rest};

impl Reference {
    pub(super) fn follow_watches(&mut self, units: &Units, at: u64, woken: bool) {
        for (key, watch) in &mut self.watches {
            let told = units.state().watches().get(key).unwrap_or_else(|| panic!("{key} forgot"));
            assert_eq!(told.accepted, watch.accepted, "{key}");
            let unit = self.units.get(&watch.unit);
            match (&watch.end, &told.end) {
                (None, Some(end)) => {
                    let right = is_right(end, unit, watch, at);
                    assert!(right, "{key}: {end:?} {watch:?} {unit:?} at {at}");
                    watch.end = Some(end.clone());
                }
                (before, end) => assert_eq!(before, end, "{key}"),
            }
            let Some(unit) = unit.filter(|_| woken && watch.end.is_none()) else { continue };
            let found = unit.run.as_ref().is_none_or(|run| run.found || !run.is_up());
            assert!(!found || at < watch.deadline, "{key} is not timed out: {unit:?} at {at}");
            let healthy = unit.run.as_ref().and_then(|run| run.healthy_at(unit, watch));
            assert!(!found || healthy.is_none_or(|healthy| at < healthy), "{key} is not ready");
        }
    }
}

fn is_right(end: &WatchEnd, unit: Option<&RefUnit>, watch: &RefWatch, at: u64) -> bool {
    let is_late = *end == WatchEnd::TimedOut && at >= watch.deadline;
    let Some(unit) = unit else { return *end == WatchEnd::Ready || is_late };
    let rule = &unit.order.unit;
    match end {
        WatchEnd::Ready if matches!(rule.wanted, Wanted::Stopped) => unit.run.is_none(),
        WatchEnd::Ready => [&unit.run, &unit.over].into_iter().flatten().any(|run| {
            let bad = [run.stopping, run.unhealthy, run.ending.as_ref().map(|(_, at)| *at)];
            let bad = bad.into_iter().flatten().min().unwrap_or(at);
            run.found
                && run.of == watch.order
                && run.signals.is_empty()
                && run.ready.is_some_and(|ready| {
                    let since = ready.max(watch.accepted).max(run.signalled);
                    let healthy = since + rule.healthy_for.0;
                    healthy <= bad.min(watch.deadline)
                })
        }),
        WatchEnd::TimedOut => is_late,
        WatchEnd::Failed { failure: UnitFailure::GaveUp, .. } => unit.rest == Rest::GaveUp,
        WatchEnd::Failed { failure: UnitFailure::Ended, .. } => unit.rest == Rest::Ended,
        WatchEnd::Failed { failure: UnitFailure::OutOfMemory, .. } => {
            unit.run.as_ref().is_some_and(|run| {
                matches!(run.ending, Some((RunEnd::OutOfMemory(_), _))) && run.of == watch.order
            })
        }
        // They are noted when they are caused.
        WatchEnd::Cancelled | WatchEnd::Superseded | WatchEnd::Unwritten(_) => false,
    }
}

impl RefRun {
    pub(super) fn is_up(&self) -> bool {
        self.up.is_some() && self.ending.is_none()
    }

    fn healthy_at(&self, unit: &RefUnit, watch: &RefWatch) -> Option<u64> {
        let goes_on = self.is_up() && self.stopping.is_none() && self.of == watch.order;
        let goes_on = goes_on && self.unhealthy.is_none() && self.signals.is_empty();
        let ready = self.ready.filter(|_| goes_on && unit.order.unit.wanted != Wanted::Stopped)?;
        let since = ready.max(watch.accepted).max(self.signalled);
        Some(since + unit.order.unit.healthy_for.0)
    }
}
