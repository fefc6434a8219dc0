//! `orc groups`.

use crate::{
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    program::Program,
    view::{
        hosts::{Group, line},
        json::List,
    },
};

/// Lists what may stand after an `@`, a line each.
pub(crate) fn groups(program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut pages = client.groups().await?;
        let json = program.shared.json;
        let out = &mut program.console.out;
        if json {
            let mut list = List::begin(out, "groups").map_err(unwritten)?;
            while let Some(group) = pages.next_item().await? {
                list.add(&Group::from(&group)).map_err(unwritten)?;
            }
            list.end().map_err(unwritten)?;
            return Ok(Exit::Ok);
        }
        while let Some(group) = pages.next_item().await? {
            line(out, &group).map_err(unwritten)?;
        }
        Ok(Exit::Ok)
    })
}
