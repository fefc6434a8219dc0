//! The conductor itself: its status, the reload of its files, and the recovery from an old copy of
//! its store.

use orchestra_flow::answer;
use orchestra_model::{AudienceName, FlowId, audit::Verb, delivery::Term, status::ConductorStatus};
use orchestra_policy::What;

use super::{Desk, refusal::rejected};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Request as Ask, read_answer},
    reload::{Allowed, Loaded},
};

/// Most characters of a given id that are repeated in an answer.
const ID_CHARS: usize = 64;

/// What the request for a recovery says of the store.
#[derive(Debug)]
pub(crate) struct RecoveryRequest {
    /// The store that is meant.
    pub(crate) store_id: String,
    /// The asker knows that nothing shows this store to be an old copy.
    pub(crate) although_healthy: bool,
}

/// What a recovery would do.
#[derive(Debug)]
pub(crate) struct RecoveryOutlook {
    pub(crate) store_id: String,
    /// Why the store counts as an old copy; `None` if it does not.
    pub(crate) stale_store: Option<String>,
    /// The least term that would begin.
    pub(crate) term: Term,
    pub(crate) next_flow: FlowId,
    /// How many players would have to attach anew.
    pub(crate) attached: u32,
    pub(crate) quarantined: u32,
}

impl Desk {
    /// Returns the status of the conductor.
    pub(crate) async fn conductor_status(
        &self,
        by: &AudienceName,
    ) -> Result<ConductorStatus, Declined> {
        self.check_sees_all(by)?;
        let health = self.ask(Ask::Health).await?;
        let shared = self.reloader.shared();
        let certificates = self.reloader.certificates();
        Ok(ConductorStatus {
            name: self.facts.name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.facts.started_at,
            store_id: self.facts.store_id.clone(),
            term: health.term.0,
            players: health.players,
            attached: health.attached,
            quarantined: health.quarantined,
            flows_alive: health.flows_alive,
            deployments: health.deployments,
            cells: health.cells,
            loaded_at: shared.loaded_at,
            reload_error: shared.error,
            revocation_error: self.reloader.revocation_trouble(),
            audit_export_error: self.facts.export.trouble(),
            certificate_ends: Some(certificates.own.1),
            now: Some(self.reloader.now()),
            certificates_ending: u32::try_from(certificates.ending.len()).unwrap_or(u32::MAX),
            stale_store: health.stale_store,
            store_error: health.store_error,
            store_held_since: health.store_held_since,
        })
    }

    /// Reads the configuration's files again.
    pub(crate) async fn reload(
        &self,
        allowed: Allowed,
        by: &AudienceName,
    ) -> Result<Loaded, Declined> {
        let allowance = self.check_verb(by, Verb::Reload, What::Conductor, None)?;
        tracing::info!(audience = %by, "reload requested");
        let asked = Asked::by(by, Verb::Reload).under(&allowance);
        self.reloader.reload(allowed, asked).await
    }

    /// Returns what a recovery would do now.
    pub(crate) async fn plan_recovery(
        &self,
        by: &AudienceName,
    ) -> Result<RecoveryOutlook, Declined> {
        self.check_verb(by, Verb::Recover, What::Conductor, None)?;
        let health = self.ask(Ask::Health).await?;
        Ok(RecoveryOutlook {
            store_id: self.facts.store_id.clone(),
            stale_store: health.stale_store,
            term: health.recovery.term,
            next_flow: health.recovery.next_flow,
            attached: health.attached,
            quarantined: health.quarantined,
        })
    }

    /// Declares the store valid, although it is an old copy. Returns the new term and the next
    /// flow's number.
    pub(crate) async fn recover(
        &self,
        request: &RecoveryRequest,
        by: &AudienceName,
    ) -> Result<(Term, FlowId), Declined> {
        let allowance = self.check_verb(by, Verb::Recover, What::Conductor, None)?;
        self.check_recovery(request).await?;
        let asked = Asked::by(by, Verb::Recover).under(&allowance);
        let answer = self.ask(|reply| Ask::Recover(asked, reply)).await?;
        let answer::Recovered { next_flow } =
            read_answer(answer)?.map_err(|rejection| rejected(&rejection))?;
        let term = self.ask(Ask::Health).await?.term;
        tracing::warn!(
            audience = %by, term = term.0, %next_flow, "recovered from an old copy of the store"
        );
        Ok((term, next_flow))
    }

    /// Checks that a request for a recovery means this store and knows its state. On a healthy
    /// store a recovery would make all players attach anew and skip numbers for nothing.
    async fn check_recovery(&self, request: &RecoveryRequest) -> Result<(), Declined> {
        let ours = &self.facts.store_id;
        if request.store_id != *ours {
            return Err(Declined::new(
                Ground::Invalid,
                format!(
                    "this conductor's store is {ours}, not {:?}; name the one that you mean",
                    request.store_id.chars().take(ID_CHARS).collect::<String>()
                ),
            ));
        }
        let is_stale = self.ask(Ask::Health).await?.stale_store.is_some();
        if !is_stale && !request.although_healthy {
            return Err(Declined::new(
                Ground::Prevented,
                "nothing says that this store is an old copy; a recovery would send every player \
                 away and leave out numbers. If it was restored from a backup all the same, say so",
            ));
        }
        Ok(())
    }
}
