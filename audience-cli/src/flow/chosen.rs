//! Which flows a verb is about: those that are named, or those that are as somebody says.

use orchestra_client::Client;
use orchestra_model::{
    flow_filter::FlowFilter,
    ids::FlowId,
    names::{HostName, ScoreName},
    state::FlowState,
    time::Timestamp,
};

use crate::{audit::since, console::Console, error::Failure, words::ids::whole_flows};

/// What flows have to be like. All of it counts.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Conditions {
    /// Only what this audience submitted
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only in this state; several: failed,cancelled
    #[arg(long, value_name = "STATE", value_parser = state, value_delimiter = ',')]
    state: Vec<FlowState>,
    /// Only with this text in their name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only with a job of this score
    #[arg(long, value_name = "SCORE")]
    score: Option<ScoreName>,
    /// Only with this host among the targets (of that job)
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Only submitted within so long a time, like 2h; or since a time, like 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Only submitted before; as --since
    #[arg(long, value_name = "TIME", value_parser = since)]
    until: Option<u64>,
}

impl Conditions {
    pub(super) fn filter(self) -> FlowFilter {
        let Self { by, state, name, score, host, since, until } = self;
        let (since, until) = (since.map(Timestamp), until.map(Timestamp));
        FlowFilter { alive: false, by, states: state, name, since, until, score, host }
    }
}

/// Flows on a command line. With conditions, those that have not ended.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// 42 or last; several: 1,3,5-8
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Every flow that has not ended; with conditions, those that meet them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    conditions: Conditions,
}

/// The same, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Named(Vec<Option<FlowId>>),
    /// All that pass.
    Those(FlowFilter),
}

impl Chosen {
    /// Reads what a verb, `orc cancel` for example, is about. One that is about nothing is refused.
    pub(super) fn read(self, verb: &str) -> Result<Choice, Failure> {
        let Self { ids, all, conditions } = self;
        let conditions = conditions.filter();
        let is_by_conditions = all || !conditions.is_any();
        match (ids.is_empty(), is_by_conditions) {
            (false, false) => whole_flows(&ids, verb).map(Choice::Named),
            (true, true) => Ok(Choice::Those(FlowFilter { alive: true, ..conditions })),
            (false, true) => {
                Err(Failure::usage(format!("{verb}: flows are named, or chosen by conditions")))
            }
            (true, false) => Err(Failure::usage(format!("{verb}: which flows?")).hint(format!(
                "{verb} 42, or by conditions: {verb} --by alice --score restart-apache"
            ))),
        }
    }
}

impl Choice {
    /// Returns whether it is one flow, whatever the conductor says.
    pub(super) fn is_one(&self) -> bool {
        matches!(self, Self::Named(flows) if flows.len() == 1)
    }

    /// Returns the flows. Those that were not named are the newest first, so that one which is ended
    /// makes no room for another that is about to be.
    pub(super) async fn flows(
        self,
        client: &mut Client,
        console: &Console,
    ) -> Result<Vec<Option<FlowId>>, Failure> {
        let filter = match self {
            Self::Named(flows) => return Ok(flows),
            Self::Those(filter) => filter,
        };
        let mut pages = client.flows(&filter, u32::MAX).await?;
        let mut flows = Vec::new();
        while let Some(page) = pages.next().await? {
            flows.extend(page.into_iter().map(|flow| Some(flow.id)));
        }
        if flows.is_empty() {
            console.narrate("no flow that has not ended is like that");
        }
        Ok(flows)
    }
}

fn state(word: &str) -> Result<FlowState, String> {
    FlowState::from_word(word).ok_or_else(|| {
        let states: Vec<&str> = FlowState::ALL.iter().map(|state| state.as_str()).collect();
        format!("there are {}", states.join(", "))
    })
}
