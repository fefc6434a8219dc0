//! `orc top`.

use std::time::Duration;

use orchestra_client::{Client, Exit};
use orchestra_model::{ServiceName, vitals::HostUsage};

use crate::{
    console::Console,
    error::Failure,
    program::Program,
    verb::Verb,
    view::top::{By, TopPlayers, TopUnits},
    words::number,
};

/// How often a terminal is written anew: players tell every ten seconds while somebody looks, not
/// all at the same moment.
const REFRESH: Duration = Duration::from_secs(5);
/// Most lines, if nobody says how many: with the others they fit a small terminal.
const LINES: usize = 20;

/// `orc top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc top 'fe[1-6]' --by memory
  orc top --players --limit 0 --json")]
pub(crate) struct Top {
    /// Only on these
    #[arg(value_name = "HOSTS")]
    hosts: Option<String>,
    /// Only units of this service
    #[arg(long, value_name = "NAME", conflicts_with = "players")]
    service: Option<ServiceName>,
    /// Players instead of units
    #[arg(long)]
    players: bool,
    /// What comes first
    #[arg(long, value_name = "WHAT", default_value = "cpu")]
    by: By,
    /// Most lines; 0: all. Without it 20, and with --json all
    #[arg(long, value_name = "N", value_parser = number(0..=usize::MAX))]
    limit: Option<usize>,
    /// Once, also on a terminal
    #[arg(long)]
    once: bool,
}

impl Verb for Top {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let goes_on = console.can_refresh() && !self.once;
            loop {
                let hosts = self.ask(client).await?;
                if goes_on {
                    console.clear()?;
                }
                self.tell(console, hosts)?;
                if !goes_on {
                    return Ok(Exit::Ok);
                }
                console.finish()?;
                tokio::time::sleep(REFRESH).await;
            }
        })
    }
}

impl Top {
    async fn ask(&self, client: &mut Client) -> Result<Vec<HostUsage>, Failure> {
        let hosts = self.hosts.as_deref().unwrap_or_default();
        let mut pages = client.vitals(hosts, !self.players).await?;
        let mut all = Vec::new();
        while let Some(page) = pages.next().await? {
            all.extend(page);
        }
        Ok(all)
    }

    fn tell(&self, console: &mut Console, hosts: Vec<HostUsage>) -> Result<(), Failure> {
        let usual = if console.answers_in_json() { 0 } else { LINES };
        let most = Some(self.limit.unwrap_or(usual)).filter(|most| *most > 0);
        if self.players {
            console.answer(TopPlayers::new(hosts, self.by, most))
        } else {
            console.answer(TopUnits::new(hosts, self.service.as_ref(), self.by, most))
        }
    }
}
