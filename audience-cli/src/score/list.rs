//! `orc scores`: which player holds which score with which hash.

use crate::{
    args::ScoresArgs,
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    program::Program,
    view::{json, score::Scores},
};

/// Lists scores by version, with the hosts that hold each.
pub(crate) fn scores(args: &ScoresArgs, program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut pages = client.players(args.hosts.as_deref().unwrap_or_default(), true).await?;
        let mut scores = Scores::default();
        while let Some(player) = pages.next_item().await? {
            scores.add(player, args.score.as_ref());
        }
        if args.drift {
            scores.keep_drift();
        }
        let style = program.console.style;
        let out = &mut program.console.out;
        if program.shared.json {
            json::document(out, "scores", &scores.into_json()).map_err(unwritten)?;
        } else if scores.is_empty() {
            program.console.narrate(if args.drift { "no score differs" } else { "no scores" });
        } else {
            scores.write(out, style).map_err(unwritten)?;
        }
        Ok(Exit::Ok)
    })
}
