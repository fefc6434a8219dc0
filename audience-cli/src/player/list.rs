//! `orc players` without a verb.

use orchestra_client::Exit;
use orchestra_model::status::PlayerStatus;

use crate::{
    error::Failure,
    program::{Program, now},
    verb::Verb,
    view::player::{FoldedPlayers, Players, ends_soon},
};

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
    /// Only those whose certificate ends within 30 days
    #[arg(long)]
    expiring: bool,
    /// A line for each, also if nothing tells which ones
    #[arg(short, long)]
    lines: bool,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let hosts = self.hosts.as_deref().unwrap_or_default();
            let pages = client.players(hosts, false).await?;
            if self.is_folded() && !console.answers_in_json() {
                let wanted = |player: &PlayerStatus| self.wants(player);
                console.stream(&mut FoldedPlayers { pages, wanted, now: now() }).await?;
                return Ok(Exit::Ok);
            }
            console.list(Players::those(|player| self.wants(player), now()), pages).await?;
            Ok(Exit::Ok)
        })
    }
}

impl List {
    /// Whether a person is told states and who is in them. Somebody who asks for some players is told
    /// all there is to say of each.
    fn is_folded(&self) -> bool {
        let wants_some = self.absent || self.drained || self.quarantined || self.expiring;
        !self.lines && self.hosts.is_none() && !wants_some
    }

    fn wants(&self, player: &PlayerStatus) -> bool {
        (!self.attached || player.attached)
            && (!self.absent || !player.attached)
            && (!self.drained || player.drained.is_some())
            && (!self.quarantined || player.quarantined.is_some())
            && (!self.expiring || ends_soon(player, now()))
    }
}
