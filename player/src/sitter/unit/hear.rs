//! What a run says of itself. Only words of the run's own processes count. Words that are recorded
//! each time are taken once a second.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::Millis;
use orchestra_units::RunEvent;

use crate::sitter::{
    Sitter,
    clock::BootMillis,
    launcher::{OWN_DESCRIPTOR, TapId, Word, WordKind},
};

/// The least time between two recorded words of one kind, in milliseconds.
const PAUSE: u64 = 1_000;

/// The processes of units that have said something, by what their launcher calls their streams.
#[derive(Default)]
pub(in crate::sitter) struct Seen(BTreeMap<TapId, Option<BTreeSet<i32>>>);

impl Sitter {
    /// A launcher has heard something in the name of a unit. `seen` is shared by what it said in one
    /// breath: a look at the unit's processes takes as long as there are many of them.
    pub(in crate::sitter) fn heard_of_unit(
        &mut self,
        tap: TapId,
        word: Word,
        seen: &mut Seen,
        now: BootMillis,
    ) {
        let Some(run) = self.keeping.runs.values_mut().find(|run| run.tap == Some(tap)) else {
            return;
        };
        let Word { kind, pid } = word;
        if pid != OWN_DESCRIPTOR && !run.has(pid, seen.0.entry(tap).or_default()) {
            if !std::mem::replace(&mut run.heard.others, true) {
                let unit = &run.unit;
                tracing::warn!(%unit, pid, "a process that is not the unit's speaks for it");
            }
            return;
        }
        let may = |last: &mut Option<BootMillis>| {
            let may = last.is_none_or(|last| now >= last.after(PAUSE));
            if may {
                *last = Some(now);
            }
            may
        };
        let event = match kind {
            WordKind::Ready => RunEvent::ReadyTold,
            WordKind::Stopping => RunEvent::StoppingTold,
            WordKind::Watchdog => RunEvent::WatchdogTold,
            WordKind::WatchdogUsec(length) if may(&mut run.heard.watchdog_set) => {
                RunEvent::WatchdogSet(millis(length))
            }
            WordKind::ExtendTimeoutUsec(length) if may(&mut run.heard.extended) => {
                RunEvent::Extended(millis(length))
            }
            WordKind::WatchdogUsec(_) | WordKind::ExtendTimeoutUsec(_) => return,
        };
        let (unit, id) = (run.unit.clone(), run.id);
        self.keeping.tell(&unit, id, event);
    }
}

/// Converts microseconds, rounded up and bounded as every length is.
fn millis(micros: u64) -> Millis {
    Millis(micros.div_ceil(1_000).min(orchestra_model::limits::DURATION_MS))
}
