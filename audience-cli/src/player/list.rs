//! `orc players` without a verb.

use orchestra_client::Exit;
use orchestra_model::status::PlayerStatus;

use crate::{error::Failure, program::Program, verb::Verb, view::player::Players};

// Flattened into `orc players`, whose help this is not.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only these
    #[arg(value_name = "HOSTS")]
    hosts: Option<String>,
    /// Only those that are attached
    #[arg(long)]
    attached: bool,
    /// Only those that are not
    #[arg(long, conflicts_with = "attached")]
    absent: bool,
    /// Only those that are drained
    #[arg(long)]
    drained: bool,
    /// Only those that are quarantined
    #[arg(long)]
    quarantined: bool,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let hosts = self.hosts.as_deref().unwrap_or_default();
            let pages = client.players(hosts, false).await?;
            console.list(Players::those(|player| self.wants(player)), pages).await?;
            Ok(Exit::Ok)
        })
    }
}

impl List {
    fn wants(&self, player: &PlayerStatus) -> bool {
        (!self.attached || player.attached)
            && (!self.absent || !player.attached)
            && (!self.drained || player.drained.is_some())
            && (!self.quarantined || player.quarantined.is_some())
    }
}
