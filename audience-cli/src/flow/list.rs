//! `orc flows`, and `getstatus` without an id.

use crate::{
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    program::Program,
    view::{
        flow,
        json::{Flow, List},
    },
};

/// Lists the newest flows; 0 is the conductor's own limit.
pub(crate) fn flows(limit: u32, alive: bool, program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut pages = client.flows(limit, alive).await?;
        let now = program.now();
        let (json, style) = (program.shared.json, program.console.style);
        let out = &mut program.console.out;
        if json {
            let mut list = List::begin(out, "flows").map_err(unwritten)?;
            while let Some(flow) = pages.next_item().await? {
                list.add(&Flow::from(&flow)).map_err(unwritten)?;
            }
            list.end().map_err(unwritten)?;
            return Ok(Exit::Ok);
        }
        let mut some = false;
        while let Some(summary) = pages.next_item().await? {
            if !std::mem::replace(&mut some, true) {
                flow::summaries_heading(out).map_err(unwritten)?;
            }
            flow::summary(out, &summary, now, style).map_err(unwritten)?;
        }
        if !some {
            program.console.narrate("no flows");
        }
        Ok(Exit::Ok)
    })
}
