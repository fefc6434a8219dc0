//! Lists, page by page.

use std::{iter::Peekable, vec};

use orchestra_model::{
    bundle::{HeldPlace, HeldTrouble, RegisteredBundle},
    delivery::EndBytes,
    failures::FailureGroup,
    ids::JobId,
    ledger::CellStatus,
    names::HostName,
    relay::FetchStatus,
    score::HeldScore,
    status::{FlowSummary, PlayerStatus, TaskStatus},
    vitals::HostUsage,
};
use orchestra_proto::{Invalid, v1};
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    DeploymentSummary, Group,
    client::{ANSWER, invalid},
    exit::Exit,
    failure::Failure,
    refusal::failure,
};

/// Completes a page.
type Prepare<P> = Box<dyn FnMut(P) -> Result<P, Invalid> + Send>;

/// A list that comes in pages. One page is held at a time.
pub struct Pages<P: ListPage> {
    stream: Streaming<P>,
    /// Whether a page was made of all that was asked.
    is_of_all: fn(&P) -> bool,
    /// Completes a page by what came in earlier ones.
    prepare: Prepare<P>,
    page: Peekable<vec::IntoIter<P::Item>>,
    what: String,
}

impl<P: ListPage> Pages<P> {
    pub(crate) fn new(stream: Streaming<P>, what: String) -> Self {
        let page = Vec::new().into_iter().peekable();
        Self { stream, is_of_all: |_| true, prepare: Box::new(Ok), page, what }
    }

    /// Fails at a page that does not say that it was made of all that was asked: an older conductor
    /// leaves out of a question what it does not know.
    pub(crate) fn demanding(self, is_of_all: fn(&P) -> bool) -> Self {
        Self { is_of_all, ..self }
    }

    /// Completes each page before its items are read.
    pub(crate) fn prepared(
        self,
        prepare: impl FnMut(P) -> Result<P, Invalid> + Send + 'static,
    ) -> Self {
        Self { prepare: Box::new(prepare), ..self }
    }

    /// Returns what is left of the present page, or the next page; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<P::Item>>, Failure> {
        self.fill().await?;
        let page: Vec<P::Item> = self.page.by_ref().collect();
        Ok(Some(page).filter(|page| !page.is_empty()))
    }

    /// Returns the next item; `None` at the end.
    pub async fn next_item(&mut self) -> Result<Option<P::Item>, Failure> {
        self.fill().await?;
        Ok(self.page.next())
    }

    /// Returns the next item if it is `wanted`; otherwise it stays the next.
    pub async fn next_item_if(
        &mut self,
        wanted: impl FnOnce(&P::Item) -> bool,
    ) -> Result<Option<P::Item>, Failure> {
        self.fill().await?;
        Ok(self.page.next_if(wanted))
    }

    /// Fetches a page if none is held, unless the list is at its end.
    async fn fill(&mut self) -> Result<(), Failure> {
        while self.page.peek().is_none() {
            let page = match timeout(ANSWER, self.stream.message()).await {
                Ok(page) => page.map_err(|status| failure(&self.what, &status))?,
                Err(_) => {
                    let what = &self.what;
                    return Err(Failure::new(
                        Exit::Away,
                        format!("{what}: no page within {ANSWER:?}"),
                    ));
                }
            };
            let Some(page) = page else { break };
            if !(self.is_of_all)(&page) {
                let what = format!("{}: the conductor is too old for these conditions", self.what);
                return Err(Failure::broken(what).hint("update the conductor before the tools"));
            }
            let page = (self.prepare)(page).map_err(|error| invalid(&self.what, error))?;
            let items = page.items().map_err(|error| invalid(&self.what, error))?;
            self.page = items.into_iter().peekable();
        }
        Ok(())
    }
}

/// The tasks of a flow.
pub type Tasks = Pages<v1::TaskPage>;

/// The ends of attempts.
pub type Attempts = Pages<v1::AttemptLog>;

/// A message that carries a part of a list.
pub trait ListPage: 'static {
    /// What is listed.
    type Item;

    /// Converts the items to the model.
    fn items(self) -> Result<Vec<Self::Item>, Invalid>;
}

impl ListPage for v1::TaskPage {
    type Item = TaskStatus;

    fn items(self) -> Result<Vec<TaskStatus>, Invalid> {
        self.tasks.into_iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::FailurePage {
    type Item = FailureGroup;

    fn items(self) -> Result<Vec<FailureGroup>, Invalid> {
        self.failures.into_iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::FlowPage {
    type Item = FlowSummary;

    fn items(self) -> Result<Vec<FlowSummary>, Invalid> {
        self.flows.into_iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::PlayerPage {
    type Item = PlayerStatus;

    fn items(self) -> Result<Vec<PlayerStatus>, Invalid> {
        self.players.into_iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::ScorePage {
    /// The players that told their scores, folded, where the page says so; and versions of scores.
    type Item = (String, Vec<HeldScore>);

    fn items(self) -> Result<Vec<(String, Vec<HeldScore>)>, Invalid> {
        let scores = self.scores.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(vec![(self.heard, scores)])
    }
}

impl ListPage for v1::PlacePage {
    /// The players that told their places, folded, where the page says so; places; and what is wrong
    /// with directories of places.
    type Item = (String, Vec<HeldPlace>, Vec<HeldTrouble>);

    fn items(self) -> Result<Vec<Self::Item>, Invalid> {
        let places = self.places.iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(vec![(self.heard, places, self.troubles.into_iter().map(Into::into).collect())])
    }
}

impl ListPage for v1::FetchPage {
    type Item = FetchStatus;

    fn items(self) -> Result<Vec<FetchStatus>, Invalid> {
        self.fetches.iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::BundlePage {
    type Item = RegisteredBundle;

    fn items(self) -> Result<Vec<RegisteredBundle>, Invalid> {
        self.bundles.iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::VitalsPage {
    type Item = HostUsage;

    fn items(self) -> Result<Vec<HostUsage>, Invalid> {
        self.hosts.iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::GroupPage {
    type Item = Group;

    fn items(self) -> Result<Vec<Group>, Invalid> {
        Ok(self.groups.into_iter().map(Into::into).collect())
    }
}

impl ListPage for v1::LedgerPage {
    type Item = CellStatus;

    fn items(self) -> Result<Vec<CellStatus>, Invalid> {
        self.cells.into_iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::DeploymentPage {
    type Item = DeploymentSummary;

    fn items(self) -> Result<Vec<DeploymentSummary>, Invalid> {
        Ok(self.deployments.into_iter().map(Into::into).collect())
    }
}

impl ListPage for v1::AttemptLog {
    type Item = AttemptLog;

    fn items(self) -> Result<Vec<AttemptLog>, Invalid> {
        let field = Invalid::field;
        Ok(vec![AttemptLog {
            job: self.job.as_ref().ok_or_else(|| field("AttemptLog.job"))?.try_into()?,
            host: HostName::new(&self.host).map_err(|_| field("AttemptLog.host"))?,
            attempt: self.attempt,
            late: self.late,
            end: EndBytes::new(&self.end[..]).map_err(|_| field("AttemptLog.end"))?,
        }])
    }
}

/// How one attempt ended, for `orc logs`.
#[derive(Clone, Debug)]
pub struct AttemptLog {
    pub job: JobId,
    pub host: HostName,
    /// Counted from 1.
    pub attempt: u32,
    /// Whether it came after the task was final.
    pub late: bool,
    /// How it ended.
    pub end: EndBytes,
}
