//! `orc players`.

use orchestra_model::status::PlayerStatus;

use super::Program;
use crate::{
    args::PlayersArgs,
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    view::{
        json::List,
        players::{Player, line},
    },
};

/// Lists players, a line each, and how many there are.
pub(crate) fn players(args: &PlayersArgs, program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    let wanted = |player: &PlayerStatus| {
        let here = match (args.attached, args.absent) {
            (true, _) => player.attached,
            (_, true) => !player.attached,
            _ => true,
        };
        here && (!args.drained || player.drained.is_some())
    };
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut pages = client.players(args.hosts.as_deref().unwrap_or_default(), false).await?;
        let (json, style) = (program.shared.json, program.console.style);
        let out = &mut program.console.out;
        if json {
            let mut list = List::begin(out, "players").map_err(unwritten)?;
            while let Some(player) = pages.next_item().await? {
                if wanted(&player) {
                    list.add(&Player::from(&player)).map_err(unwritten)?;
                }
            }
            list.end().map_err(unwritten)?;
            return Ok(Exit::Ok);
        }
        let (mut all, mut attached, mut drained) = (0, 0, 0);
        while let Some(player) = pages.next_item().await? {
            all += 1;
            attached += usize::from(player.attached);
            drained += usize::from(player.drained.is_some());
            if wanted(&player) {
                line(out, &player, style).map_err(unwritten)?;
            }
        }
        program.console.out.finish()?;
        let drained = match drained {
            0 => String::new(),
            1 => ", 1 is drained".to_owned(),
            n => format!(", {n} are drained"),
        };
        program.console.narrate(format_args!("{attached} of {all} players are attached{drained}"));
        Ok(Exit::Ok)
    })
}
