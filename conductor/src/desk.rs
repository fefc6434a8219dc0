//! The desk: what may be asked of the conductor, through any skin. It takes and returns values of
//! the model; a skin like `grpc/` reads requests and writes answers.
//!
//! It decides nothing about flows: it asks the driver, or reads the store. What takes time (host
//! sets, the store) is done on threads for that, and a list goes out at its reader's pace. So
//! neither a large question nor a slow reader delays others.

mod audit;
mod bundles;
mod conductor;
mod explain;
mod failures;
mod flow_list;
mod flows;
mod groups;
mod hosts;
mod ledger;
mod listing;
mod logs;
mod output;
mod plan;
mod players;
mod policy;
mod recipient;
mod refusal;
mod retry;
mod rights;
mod sameness;
mod services;
mod submission;
mod verbs;
mod vitals;
mod watch;

use std::sync::Arc;

use orchestra_certs::Lines;
use orchestra_flow::{Input, Rejection, Reply, ReplyTo};
use orchestra_model::{HostName, Timestamp};
use orchestra_store::{Reader, Readers};
use tokio::sync::{oneshot, watch as watching};

pub(crate) use self::{
    audit::AuditFilter,
    conductor::RecoveryRequest,
    flows::{Choice, WhichFlow},
    groups::ListedGroup,
    hosts::Others,
    ledger::ListedDeployment,
    listing::{TaskFilter, ToldOfEnds},
    logs::{WhichInstance, WhichLog},
    output::{Execution, OutputPart, WantedOutput},
    policy::{ListedRules, RightAnswer, RightQuestion},
    recipient::{Recipient, Stopped},
    retry::WantedRetry,
    services::{ListedVersion, ServiceVerb},
    submission::{Conditions, Proposal, ProposedParams, ReadProposal},
    watch::{Cursor, News, Notice, Since, WatchFilter},
};
use self::{failures::KeptFailures, refusal::rejected};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Handle, Request as Ask, Told, read_answer},
    export::Export,
    fetches::Fetches,
    fleet::Fleet,
    history::HistoryError,
    incidents::Incidents,
    inventory::Inventory,
    lines::LogReadings,
    places::PlacesTold,
    proof::Proofs,
    reload::Reloader,
    vitals::Vitals,
};

/// What does not change while the conductor runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: HostName,
    /// The domain of all certificates.
    pub(crate) domain: HostName,
    pub(crate) store_id: String,
    pub(crate) started_at: Timestamp,
    /// The keys by which submissions are recognised.
    pub(crate) proofs: Proofs,
    /// Where refusals are noted.
    pub(crate) incidents: Incidents,
    /// Where lines of the audit are exported.
    pub(crate) export: Export,
}

/// What the desk reads beside the driver.
pub(crate) struct Sources {
    pub(crate) readers: Arc<dyn Readers>,
    pub(crate) fleet: watching::Receiver<Arc<Fleet>>,
    pub(crate) inventory: Inventory,
    pub(crate) readings: LogReadings,
    pub(crate) vitals: Vitals,
    pub(crate) places: PlacesTold,
    pub(crate) fetches: Fetches,
}

/// The place of all questions and verbs.
#[derive(Clone)]
pub(crate) struct Desk {
    driver: Handle,
    readers: Arc<dyn Readers>,
    fleet: watching::Receiver<Arc<Fleet>>,
    inventory: Inventory,
    reloader: Reloader,
    readings: LogReadings,
    vitals: Vitals,
    places: PlacesTold,
    fetches: Fetches,
    facts: Arc<Facts>,
    failures: KeptFailures,
    /// Lines of what was denied, of which there are few a second.
    denials: Lines,
    /// Becomes true when the conductor stops.
    stopping: watching::Receiver<bool>,
}

impl Desk {
    pub(crate) fn new(
        driver: Handle,
        sources: Sources,
        reloader: Reloader,
        facts: Facts,
        stopping: watching::Receiver<bool>,
    ) -> Self {
        let Sources { readers, fleet, inventory, readings, vitals, places, fetches } = sources;
        let (facts, failures) = (Arc::new(facts), KeptFailures::default());
        Self {
            driver,
            readers,
            fleet,
            inventory,
            reloader,
            readings,
            vitals,
            places,
            fetches,
            facts,
            failures,
            denials: Lines::new(|denied| {
                tracing::warn!(denied, "further requests were denied within a second");
            }),
            stopping,
        }
    }

    /// Returns when the conductor stops.
    pub(crate) async fn until_stopping(&self) {
        // A closed channel means a stop too.
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }

    /// Asks the driver.
    async fn ask<T>(&self, make: impl FnOnce(Told<T>) -> Ask) -> Result<T, Declined> {
        let (reply, answer) = oneshot::channel();
        self.driver.requests.send(make(reply)).await.map_err(|_| Declined::stopping())?;
        answer.await.map_err(|_| Declined::stopping())?
    }

    /// Gives the engine an input. Returns its answer when everything that follows from the input is
    /// on disk.
    async fn change<T: Reply>(
        &self,
        asked: Asked,
        make: impl FnOnce(ReplyTo<T>) -> Input + Send + 'static,
    ) -> Result<T, Declined> {
        match self.try_change(asked, make).await? {
            Ok(answer) => Ok(answer),
            Err(rejection) => Err(rejected(&rejection)),
        }
    }

    /// Gives the engine an input, for callers that go on if the engine rejects it.
    async fn try_change<T: Reply>(
        &self,
        asked: Asked,
        make: impl FnOnce(ReplyTo<T>) -> Input + Send + 'static,
    ) -> Result<Result<T, Rejection>, Declined> {
        const MORE: &str =
            "; it takes effect once the store can be written, unless the conductor ends before";
        let make = Box::new(|id| make(ReplyTo::new(id)));
        match self.ask(|reply| Ask::Change { asked, make, reply }).await {
            Ok(answer) => read_answer(answer),
            Err(why) => Err(why.with_more(|| MORE.to_owned())),
        }
    }

    /// Reads the store, off the runtime's threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, Declined> {
        let readers = Arc::clone(&self.readers);
        let result = off_the_runtime(move || {
            let reader = readers.open().map_err(HistoryError::from)?;
            read(&*reader)
        })
        .await?;
        result.map_err(|error| {
            tracing::error!(error = orchestra_model::chain(&error), "cannot read the store");
            Declined::new(Ground::Internal, orchestra_model::chain(&error))
        })
    }
}

/// Does long work on a thread for that. Fails only if the work panics.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Declined> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Declined::new(Ground::Internal, error.to_string()))
}
