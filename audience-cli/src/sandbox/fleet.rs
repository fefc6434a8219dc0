//! What a sandbox is made of, as flags.

use std::path::PathBuf;

use orchestra_model::HostSet;

use crate::words::number;

/// Most players of a sandbox: each is two processes and a directory.
const PLAYERS: usize = 1_000;

// Flattened into the verbs that make a sandbox, whose help this is not.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fleet {
    /// A player for each of these
    #[arg(long, value_name = "HOSTS", default_value = "db[1-2],fe[1-4]", value_parser = players)]
    pub(super) players: HostSet,
    /// Where everything is kept; must be empty. Without it: a temporary directory, removed on
    /// success
    #[arg(long, value_name = "D")]
    pub(super) dir: Option<PathBuf>,
    /// Scores, as they are; without it: a copy of the samples
    #[arg(long, value_name = "DIR")]
    pub(super) scores: Option<PathBuf>,
    /// The conductor's deployments; copied
    #[arg(long, value_name = "DIR")]
    pub(super) deployments: Option<PathBuf>,
    /// How many attempts each player takes at once
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = number(1..=1_024_u32))]
    pub(super) max_tasks: u32,
    /// A relay beside each player, and a depot of its own: bundles pass from host to host. The first
    /// player's depot is that of the sandbox
    #[arg(long)]
    pub(super) relays: bool,
    /// Leave a daemon that died dead
    #[arg(long)]
    pub(super) no_restart: bool,
}

fn players(text: &str) -> Result<HostSet, String> {
    let players = HostSet::define(text).map_err(|error| error.to_string())?;
    match players.len() {
        0 => Err("no players".to_owned()),
        1..=PLAYERS => Ok(players),
        n => Err(format!("{n} players: a sandbox holds at most {PLAYERS}")),
    }
}
