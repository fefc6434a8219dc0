//! The audience's service: decodes, asks the driver or reads the store, encodes. Decides nothing.
//!
//! What takes time (host sets, the store) is done on threads for that, and a list is a stream
//! whose reader sets the pace: neither a large question nor a slow reader is in anybody's way.

mod audit;
mod explain;
mod groups;
mod ledger;
mod listing;
mod plan;
mod refusal;
mod retry;
mod sameness;
mod submission;
mod verbs;
mod watch;

use std::sync::Arc;

use orchestra_flow::{Input, Rejection, Reply, ReplyTo};
use orchestra_model::{
    AudienceName, FlowId, HostName, HostSet, Timestamp, hostset::Groups, limits, names::GroupName,
    status::FlowStatus,
};
use orchestra_proto::v1::{self, flow_ref::Flow as FlowRefKind};
use orchestra_store::{Reader, Readers};
use tokio::sync::{mpsc, oneshot, watch as watching};

pub(crate) use self::{
    audit::Wanted as AuditWanted,
    listing::{Choice, TaskFilter, read_host},
    refusal::rejected,
    watch::Wanted,
};
use self::{
    refusal::{invalid_hosts, unknown_flow},
    submission::read_request_id,
};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Handle, Request as Ask, Told, read_answer},
    fleet::Fleet,
    history::{self, HistoryError},
    inventory::Inventory,
    proof::Proofs,
    reload::Reloader,
};

/// Where pages go, to whoever reads them.
pub(crate) type Sender<T> = mpsc::Sender<Result<T, Declined>>;

/// What does not change while the conductor runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: HostName,
    pub(crate) store_id: String,
    pub(crate) started_at: Timestamp,
    /// With which submissions are recognised.
    pub(crate) proofs: Proofs,
}

/// The service for the audience.
#[derive(Clone)]
pub(crate) struct Desk {
    driver: Handle,
    readers: Arc<dyn Readers>,
    fleet: watching::Receiver<Arc<Fleet>>,
    inventory: Inventory,
    pub(crate) reloader: Reloader,
    pub(crate) facts: Arc<Facts>,
    /// Becomes true when the conductor stops.
    pub(crate) stopping: watching::Receiver<bool>,
}

impl Desk {
    pub(crate) fn new(
        driver: Handle,
        readers: Arc<dyn Readers>,
        fleet: watching::Receiver<Arc<Fleet>>,
        inventory: Inventory,
        reloader: Reloader,
        facts: Facts,
        stopping: watching::Receiver<bool>,
    ) -> Self {
        let facts = Arc::new(facts);
        Self { driver, readers, fleet, inventory, reloader, facts, stopping }
    }

    pub(crate) async fn ask<T>(&self, make: impl FnOnce(Told<T>) -> Ask) -> Result<T, Declined> {
        let (reply, answer) = oneshot::channel();
        self.driver.requests.send(make(reply)).await.map_err(|_| Declined::stopping())?;
        answer.await.map_err(|_| Declined::stopping())?
    }

    /// Gives the engine an input; its answer comes when everything that follows is on disk.
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

    /// Gives the engine an input, for those who go on where the engine rejects it.
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

    pub(crate) async fn flow_id(
        &self,
        flow: Option<v1::FlowRef>,
        audience: &AudienceName,
    ) -> Result<FlowId, Declined> {
        match flow.and_then(|flow| flow.flow) {
            Some(FlowRefKind::Id(id)) => Ok(FlowId(id)),
            Some(FlowRefKind::Last(_)) => {
                let whose = audience.clone();
                let newest = self.read(move |reader| Ok(reader.newest_of(&whose)?)).await?;
                newest.ok_or_else(|| {
                    Declined::new(
                        Ground::Unknown,
                        format!("{audience} has not submitted any flow yet"),
                    )
                })
            }
            Some(FlowRefKind::Request(id)) => {
                let id = read_request_id(&id)?;
                let flow = self.submitted_before(audience, id, Vec::new()).await?;
                flow.ok_or_else(|| {
                    Declined::new(Ground::Unknown, format!(
                        "request {id} of {audience} is not known: nothing was taken in under it, or \
                         its flow was pruned"
                    ))
                })
            }
            None => Err(Declined::new(Ground::Invalid, "the request names no flow")),
        }
    }

    /// The flow's status, from the engine while it lives, else from the store.
    pub(crate) async fn status_of(&self, id: FlowId) -> Result<FlowStatus, Declined> {
        if let Some(status) = self.ask(|reply| Ask::FlowStatus(id, reply)).await? {
            return Ok(status);
        }
        let status = self.read(move |reader| history::flow_status(reader, id)).await?;
        status.ok_or_else(|| unknown_flow(id))
    }

    /// Resolves a host set, off the runtime's threads. Any other name than those of players, and
    /// of hosts that `others` are, is refused, wherever it stands.
    pub(crate) async fn hosts(
        &self,
        expression: String,
        others: Others,
    ) -> Result<HostSet, Declined> {
        if expression.len() > limits::HOSTSET_BYTES {
            return Err(Declined::new(Ground::Invalid, "the host set is longer than 4 MiB"));
        }
        let fleet = Arc::clone(&self.fleet.borrow());
        off_the_runtime(move || {
            let hosts = HostSet::parse(&expression, &Known::with(&fleet, others));
            hosts.map_err(|error| invalid_hosts(&error))
        })
        .await?
    }

    /// Resolves a host set whose hosts must be players.
    pub(crate) async fn players(&self, expression: String) -> Result<HostSet, Declined> {
        self.hosts(expression, Others::Some(HostSet::default())).await
    }
}

/// Which hosts an expression may name beside the players.
pub(crate) enum Others {
    /// These.
    Some(HostSet),
    /// Whatever looks like one: nothing is done to them.
    Any,
}

/// The fleet's groups and labels, where a host set may name others than its players.
struct Known<'a> {
    fleet: &'a Fleet,
    hosts: Option<HostSet>,
}

impl<'a> Known<'a> {
    fn with(fleet: &'a Fleet, others: Others) -> Self {
        let hosts = match others {
            Others::Some(others) => Some(fleet.hosts().union(&others)),
            Others::Any => None,
        };
        Self { fleet, hosts }
    }
}

impl Groups for Known<'_> {
    fn all(&self) -> HostSet {
        self.fleet.all()
    }

    fn group(&self, name: &GroupName) -> Option<HostSet> {
        self.fleet.group(name)
    }

    fn labelled(&self, key: &str, value: &str) -> Option<HostSet> {
        self.fleet.labelled(key, value)
    }

    fn hosts(&self) -> Option<&HostSet> {
        self.hosts.as_ref()
    }
}

/// Does what takes long on a thread for that. Fails only where the work panics.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Declined> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Declined::new(Ground::Internal, error.to_string()))
}
