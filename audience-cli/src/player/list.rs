//! `orc players`.

use std::io::{self, Write as _};

use orchestra_model::status::PlayerStatus;
use serde::Serialize;

use crate::{
    args::{PlayersArgs, PlayersVerb, ReleasePlayersArgs},
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    input::Inputs,
    program::Program,
    view::{
        json::{self, List},
        player::{Player, line},
    },
};

#[derive(Serialize)]
struct Released<'a> {
    hosts: &'a str,
    count: u32,
    lost: u32,
}

/// Lists players, or releases some from quarantine.
pub(crate) fn players(args: &PlayersArgs, program: &mut Program) -> Result<Exit, Failure> {
    match &args.verb {
        Some(PlayersVerb::Release(args)) => release(args, program),
        None => list(args, program),
    }
}

/// Goes on with players that are quarantined.
fn release(args: &ReleasePlayersArgs, program: &mut Program) -> Result<Exit, Failure> {
    let hosts = args.hosts(&mut Inputs::new(&mut io::stdin().lock()))?;
    let reason = args.reason.clone();
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let answer = Client::connect(connection).await?.release_players(hosts, reason).await?;
        let (hosts, count, lost) = (answer.hosts.as_str(), answer.count, answer.lost);
        let out = &mut program.console.out;
        if program.shared.json {
            let released = Released { hosts, count, lost };
            json::document(out, "released", &released).map_err(unwritten)?;
            return Ok(Exit::Ok);
        }
        if count == 0 {
            program.console.narrate(format_args!("nothing changed: none of them is quarantined"));
            return Ok(Exit::Ok);
        }
        writeln!(out, "released {hosts} ({count})").map_err(unwritten)?;
        out.finish()?;
        if lost > 0 {
            program.console.narrate(format_args!("tasks in flight to them that are lost: {lost}"));
        }
        Ok(Exit::Ok)
    })
}

/// Lists players, a line each, and how many there are.
fn list(args: &PlayersArgs, program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    let wanted = |player: &PlayerStatus| {
        let here = match (args.attached, args.absent) {
            (true, _) => player.attached,
            (_, true) => !player.attached,
            _ => true,
        };
        here && (!args.drained || player.drained.is_some())
            && (!args.quarantined || player.quarantined.is_some())
    };
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut pages = client.players(args.hosts.as_deref().unwrap_or_default(), false).await?;
        let (as_json, style) = (program.shared.json, program.console.style);
        let out = &mut program.console.out;
        if as_json {
            let mut list = List::begin(out, "players").map_err(unwritten)?;
            while let Some(player) = pages.next_item().await? {
                if wanted(&player) {
                    list.add(&Player::from(&player)).map_err(unwritten)?;
                }
            }
            list.end().map_err(unwritten)?;
            return Ok(Exit::Ok);
        }
        let (mut all, mut attached, mut drained, mut quarantined) = (0, 0, 0, 0);
        while let Some(player) = pages.next_item().await? {
            all += 1;
            attached += usize::from(player.attached);
            drained += usize::from(player.drained.is_some());
            quarantined += usize::from(player.quarantined.is_some());
            if wanted(&player) {
                line(out, &player, style).map_err(unwritten)?;
            }
        }
        program.console.out.finish()?;
        let are = |n: usize, what: &str| match n {
            0 => String::new(),
            1 => format!(", 1 is {what}"),
            n => format!(", {n} are {what}"),
        };
        let (drained, quarantined) = (are(drained, "drained"), are(quarantined, "quarantined"));
        program.console.narrate(format_args!(
            "{attached} of {all} players are attached{drained}{quarantined}"
        ));
        Ok(Exit::Ok)
    })
}
