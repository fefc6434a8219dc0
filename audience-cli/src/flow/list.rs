//! `orc flows`, and `getstatus` without an id.

use orchestra_client::Exit;
use orchestra_model::{state::FlowState, status::FlowSummary, time::Timestamp};

use crate::{
    audit::since,
    error::Failure,
    program::{Program, now},
    verb::Verb,
    view::flow::Flows,
    words::number,
};

/// How many flows are listed if nobody says.
const USUAL: u32 = 20;

/// `orc flows`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc flows --alive
  orc flows --by alice --state failed --since 2d")]
pub(crate) struct List {
    /// Only those that have not ended
    #[arg(long)]
    alive: bool,
    /// Only what this audience submitted
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only in this state; several: failed,cancelled
    #[arg(long, value_name = "STATE", value_parser = state, value_delimiter = ',')]
    state: Vec<FlowState>,
    /// Only with this text in their name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only submitted within so long a time, like 2h; or since a time, like 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Only submitted before; as --since
    #[arg(long, value_name = "TIME", value_parser = since)]
    until: Option<u64>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = USUAL, value_parser = number(0..=u32::MAX))]
    limit: u32,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let is_whole = self.by.is_none() && self.state.is_empty() && self.name.is_none();
        // The conductor knows none of these conditions: it tells flows until enough of them are
        // found, newest first.
        let asked = match is_whole && self.since.is_none() && self.until.is_none() {
            true => self.limit,
            false => u32::MAX,
        };
        let wanted = |flow: &FlowSummary| self.wants(flow);
        let since = Timestamp(self.since.unwrap_or_default());
        let listing = Flows::new(now(), wanted).until(self.limit, since);
        program.ask(async |client, console| {
            console.list(listing, client.flows(asked, self.alive).await?).await?;
            Ok(Exit::Ok)
        })
    }
}

impl List {
    fn wants(&self, flow: &FlowSummary) -> bool {
        let named = flow.name.as_ref().map_or("", |name| name.as_str());
        self.by.as_ref().is_none_or(|by| flow.actor().to_string() == *by)
            && (self.state.is_empty() || self.state.contains(&flow.state))
            && self.name.as_ref().is_none_or(|text| named.contains(text.as_str()))
            && self.until.is_none_or(|until| flow.submitted_at.0 < until)
    }
}

/// Lists the newest flows; 0 is the conductor's own limit.
pub(super) fn newest(program: &mut Program) -> Result<Exit, Failure> {
    program.ask(async |client, console| {
        console
            .list(Flows::new(now(), |_: &FlowSummary| true), client.flows(0, false).await?)
            .await?;
        Ok(Exit::Ok)
    })
}

fn state(word: &str) -> Result<FlowState, String> {
    FlowState::from_word(word).ok_or_else(|| {
        let states: Vec<&str> = FlowState::ALL.iter().map(|state| state.as_str()).collect();
        format!("there are {}", states.join(", "))
    })
}
