//! What a conductor is told of units: all of them when the player attaches, and changes from then
//! on.

use std::collections::BTreeMap;

use orchestra_model::{
    delivery::{AgentSession, StoreId},
    service::UnitReport,
};
use orchestra_units::UnitKey;

use super::now;
use crate::sitter::{Sitter, clock::BootMillis};

/// The session that is told.
pub(super) struct Hearer {
    pub(super) session: AgentSession,
    /// Its store; not known between its snapshot and its welcome.
    pub(super) store: Option<StoreId>,
    /// What has changed between the two.
    changed: BTreeMap<UnitKey, UnitReport>,
}

impl Sitter {
    /// Returns the reports of all units, for a snapshot. Later changes are told to this session.
    pub(in crate::sitter) fn units_for(
        &mut self,
        session: AgentSession,
    ) -> Vec<(StoreId, Vec<UnitReport>)> {
        self.keeping.hearer = Some(Hearer { session, store: None, changed: BTreeMap::new() });
        let (engine, now) = (&self.keeping.engine, now());
        let of = |store| (store, engine.aged_reports(now, store).collect());
        engine.stores().into_iter().map(of).collect()
    }

    /// Returns the session that is told what changes: one that was welcomed.
    pub(in crate::sitter) fn hearer(&self) -> Option<AgentSession> {
        let hearer = self.keeping.hearer.as_ref()?;
        hearer.store.map(|_| hearer.session)
    }

    /// Takes of which store the session is.
    pub(in crate::sitter) fn welcome(&mut self, session: AgentSession, store: StoreId) {
        let Some(hearer) = &mut self.keeping.hearer else { return };
        if hearer.session != session {
            return;
        }
        hearer.store = Some(store);
        let changed = std::mem::take(&mut hearer.changed);
        for (_, report) in changed.into_iter().filter(|(unit, _)| unit.store == store) {
            self.agent.report_unit(session, report);
        }
        self.tell_places();
        self.look_after_leases(BootMillis::now());
    }

    pub(super) fn tell_unit(&mut self, store: StoreId, report: UnitReport) {
        let (unit, state, run) = (&report.service, report.state, report.run);
        tracing::info!(%unit, %state, %run, "a unit");
        match &mut self.keeping.hearer {
            Some(Hearer { session, store: Some(theirs), .. }) if *theirs == store => {
                self.agent.report_unit(*session, report);
            }
            Some(Hearer { store: None, changed, .. }) => {
                let unit = UnitKey { store, service: report.service.clone() };
                changed.insert(unit, report);
            }
            // There is no session; one that attaches is told all.
            _ => {}
        }
    }
}
